"""Loads the same status changes in many arrival orders and compares the tables with each other and with a recompute in DuckDB.

Every order has twelve changes; a tenth of the orders is withdrawn at some point (and half of these come back); three tenths of all changes
come twice; some come with a stamp in 2099, which must be refused. Prints one JSON line; exits 1 where anything differs.
"""

import argparse
import csv
import hashlib
import io
import json
import os
import pathlib
import random
import subprocess
import sys
import time

import duckdb
import h3

CITY = """city: order
title: Order
zone: Asia/Shanghai
bounds: [32.0, 114.0, 33.0, 116.0]
categories: order
"""
FEED = """feed: orders
title: Orders
department: Order
channel: hotline
origin: citizen
connector: { kind: file, with: { paths: ["${CITY_DATA}/*.csv"] } }
record:
  columns: [{ name: id }, { name: version }, { name: kind }, { name: changed }, { name: filed }, { name: closed }, { name: status }, { name: category }, { name: severity }, { name: unit }, { name: lng }, { name: lat }]
map:
  id: id
  version: CAST(version AS BIGINT)
  kind: kind
  occurred_at: { sql: filed, formats: ["%Y-%m-%d %H:%M:%S"] }
  updated_at: { sql: changed, formats: ["%Y-%m-%d %H:%M:%S"] }
  closed_at: { sql: closed, formats: ["%Y-%m-%d %H:%M:%S"] }
  category: category
  severity: CAST(severity AS BIGINT)
  holder: unit
  status: { sql: status, words: { filed: filed, dispatched: dispatched, in_progress: in_progress, closed: closed } }
  place: { x: lng, y: lat, datum: wgs84 }
"""
COLUMNS = ["id", "version", "kind", "changed", "filed", "closed", "status", "category", "severity", "unit", "lng", "lat"]
STATES = ["filed", "dispatched", "in_progress", "closed"]
CASES = "feed, record_id, state, open, counted, category, severity, holder, occurred_at, local_date, local_hour, closed_at, lat, lng, cell"
# What an event says, without what tells of its arrival (outcome, received_at, source, source_row, flags).
EVENTS = "feed, record_id, kind, source_version, updated_at, content_hash, category, state, severity, holder, occurred_at, closed_at, lat, lng, cell"
CELLS = "cell, hour, day_only, category, channel, origin, place_precision, count, open, severity"


def stamp(second):
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(1735689600 + second))


def changes(orders, generator):
    """Every version of every order, each once."""
    rows = []
    for order in range(orders):
        filed = generator.randrange(0, 200 * 86400)
        withdrawn = generator.randrange(12) if order % 10 == 0 else None
        comes_back = order % 20 == 0
        lng, lat = round(114.5 + generator.random() * 0.9, 6), round(32.3 + generator.random() * 0.6, 6)
        for change in range(12):
            gone = withdrawn is not None and (change == withdrawn if comes_back else change >= withdrawn)
            state = STATES[min(change // 3, 3)]
            rows.append({
                "id": f"o{order}",
                # Some sources number their versions, some only say when they changed, some do both.
                "version": 0 if order % 3 == 0 else change,
                "kind": "withdraw" if gone else "upsert",
                "changed": "" if order % 3 == 1 else stamp(filed + 600 * change),
                "filed": stamp(filed),
                "closed": stamp(filed + 600 * change) if state == "closed" else "",
                "status": state,
                "category": generator.choice(["noise", "rubbish"]),
                "severity": 1 + generator.randrange(5),
                "unit": f"unit {order % 9}-{change}",
                "lng": lng,
                "lat": lat,
            })
    return rows


def arrival(rows, number):
    generator = random.Random(1000 + number)
    again = [row for row in rows if generator.random() < 0.3]
    wrong = []
    for row in generator.sample(rows, max(1, len(rows) // 100)):
        column = generator.choice(["filed", "changed", "closed"])
        wrong.append({**row, column: "2099-06-01 00:00:00", "unit": "from the future", "version": row["version"] + 50})
    arriving = rows + again + wrong
    generator.shuffle(arriving)
    return arriving, len(again), len(wrong)


def run(arguments, environment, *command):
    done = subprocess.run([arguments.shiyu, *command], env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command[:6])} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def checksum(text):
    lines = text.splitlines()
    return hashlib.sha256("\n".join(lines[:1] + sorted(lines[1:])).encode()).hexdigest()


def load(arguments, city, number, rows):
    folder = pathlib.Path(arguments.work) / f"arrival-{number}"
    (folder / "in").mkdir(parents=True)
    arriving, again, wrong = arrival(rows, number)
    parts = 1 + number % 4
    for part in range(parts):
        with open(folder / "in" / f"part-{part}.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(arriving[part::parts])
    environment = dict(os.environ)
    if arguments.clock:
        environment["LD_PRELOAD"] = arguments.clock
        environment["CLOCK_SHIFT_SECONDS"] = str((number % 3 - 1) * 86400)
    common = ["--data-dir", str(folder / "data"), "--output"]
    balance = run(arguments, environment, *common, "json", "load", "--city", str(city), "--input", str(folder / "in"))
    balance = json.loads(balance.splitlines()[0])
    answers = {}
    for table, columns in [("cases", CASES), ("events", EVENTS), ("cells", CELLS)]:
        answers[table] = run(arguments, environment, *common, "csv", "sql", "--city", str(city), f"SELECT {columns} FROM {table}")
    return balance, again, wrong, answers


def cell(lat, lng, resolution):
    """The parent of the place's cell at resolution 11: children lie only about in their parents."""
    return h3.str_to_int(h3.cell_to_parent(h3.latlng_to_cell(lat, lng, 11), resolution))


def recompute(rows, path):
    """The newest version of each order and its counts, by DuckDB, from the changes as they were made."""
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    database = duckdb.connect()
    database.create_function("cell", cell, ["DOUBLE", "DOUBLE", "INTEGER"], "BIGINT")
    database.execute("SET TimeZone = 'UTC'")
    database.execute(f"CREATE TABLE change AS SELECT * FROM read_csv('{path}', all_varchar = true)")
    database.execute("""CREATE TABLE newest AS SELECT *,
        CAST(filed AS TIMESTAMP) - INTERVAL 8 HOUR AS occurred_at, kind = 'upsert' AS counted, kind = 'upsert' AND status <> 'closed' AS open
        FROM change QUALIFY row_number() OVER (PARTITION BY id ORDER BY CAST(version AS BIGINT) DESC, changed DESC NULLS LAST) = 1""")
    cases = database.execute("""SELECT id, CASE WHEN counted THEN status ELSE 'withdrawn' END, open, counted, category, CAST(severity AS BIGINT), unit,
        strftime(occurred_at, '%Y-%m-%dT%H:%M:%S'), cell(CAST(lat AS DOUBLE), CAST(lng AS DOUBLE), 11) FROM newest ORDER BY id""").fetchall()
    cells = database.execute("""SELECT cell(CAST(lat AS DOUBLE), CAST(lng AS DOUBLE), 9) AS cell9, strftime(date_trunc('hour', occurred_at), '%Y-%m-%dT%H:%M:%S') AS hour, category,
        count(*), count(*) FILTER (open), sum(CAST(severity AS BIGINT)) FROM newest WHERE counted GROUP BY ALL ORDER BY ALL""").fetchall()
    return cases, [tuple(int(value) if index > 2 else value for index, value in enumerate(row)) for row in cells]


def ours(answers):
    def rows(table):
        return list(csv.DictReader(io.StringIO(answers[table])))

    def truth(text):
        return text == "true"

    cases = sorted(
        (row["record_id"], row["state"], truth(row["open"]), truth(row["counted"]), row["category"], int(row["severity"]), row["holder"],
         row["occurred_at"][:19].replace(" ", "T"), int(row["cell"])) for row in rows("cases"))
    cells = sorted(
        (int(row["cell"]), row["hour"][:19].replace(" ", "T"), row["category"], int(row["count"]), int(row["open"]), int(row["severity"])) for row in rows("cells"))
    return cases, cells


def main():
    parser = argparse.ArgumentParser()
    for name in ["--shiyu", "--work", "--clock"]:
        parser.add_argument(name, required=True)
    parser.add_argument("--arrivals", type=int, default=3)
    parser.add_argument("--orders", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    city = pathlib.Path(arguments.work) / "city"
    for folder in ["feeds", "categories"]:
        (city / folder).mkdir(parents=True)
    (city / "city.yaml").write_text(CITY)
    (city / "feeds/orders.yaml").write_text(FEED)
    (city / "categories/order.csv").write_text("code,parent,name,name_zh,severity\nnoise,,Noise,噪声,2\nrubbish,,Rubbish,垃圾,2\n")
    (city / "categories/order.orders.csv").write_text("source,code\nnoise,noise\nrubbish,rubbish\n")

    rows = changes(arguments.orders, random.Random(arguments.seed))
    begun = time.time()
    sums, problems, records = {}, [], 0
    expected_cases, expected_cells = recompute(rows, pathlib.Path(arguments.work) / "changes.csv")
    for number in range(arguments.arrivals):
        balance, again, wrong, answers = load(arguments, city, number, rows)
        records += int(balance["read"])
        refused = int(balance["rejected"])
        if refused != wrong:
            problems.append(f"arrival {number}: {refused} of {wrong} stamps in 2099 were refused")
        if int(balance["accepted"]) + int(balance["stale"]) != len(rows):
            problems.append(f"arrival {number}: {balance['accepted']} accepted and {balance['stale']} stale are not {len(rows)} versions")
        sums.setdefault(tuple(checksum(answers[table]) for table in sorted(answers)), []).append(number)
        if number == 0:
            cases, cells = ours(answers)
            for name, mine, theirs in [("cases", cases, sorted(expected_cases)), ("cells", cells, sorted(expected_cells))]:
                different = set(mine) ^ set(theirs)
                if different or len(mine) != len(theirs):
                    problems.append(f"{name}: {len(mine)} rows here, {len(theirs)} in DuckDB, {len(different)} differ, e.g. {sorted(different, key=str)[:2]}")
    if len(sums) != 1:
        problems.append(f"{len(sums)} different checksums: {list(sums.values())}")
    print(json.dumps({
        "check": "order", "seed": arguments.seed, "arrivals": arguments.arrivals, "orders": arguments.orders, "changes": arguments.orders * 12,
        "records": records, "clock_moved": bool(arguments.clock), "distinct_checksums": len(sums), "equal_to_duckdb": not any(":" in p and "DuckDB" in p for p in problems),
        "problems": problems, "seconds": round(time.time() - begun, 1)}, ensure_ascii=False))
    sys.exit(1 if problems else 0)


main()
