"""Checks a simulation's truth against itself and against the records: 0 contradictions, or the first of them and exit code 1.

Needs pyarrow. Shares nothing with the simulator but the files.
"""

import csv
import io
import json
import re
import sys
import zipfile
from collections import Counter, defaultdict
from pathlib import Path

import pyarrow.parquet as parquet

out = Path(sys.argv[1])
contradictions = []


def contradiction(text):
    contradictions.append(text)


def table(name):
    return parquet.read_table(out / "truth" / f"{name}.parquet").to_pylist()


def rows_of(feed):
    rows = []
    for path in sorted((out / feed).iterdir()):
        if "_resend" in path.name:
            if path.read_bytes() != path.with_name(path.name.replace("_resend", "")).read_bytes():
                contradiction(f"{path.name} was sent again, but is another")
            continue
        if path.suffix == ".ndjson":
            rows += [json.loads(line) for line in path.read_text("utf-8").splitlines()]
            continue
        encoding = "gb18030" if feed == "hotline" else "utf-8-sig"
        rows += csv.DictReader(io.StringIO(path.read_bytes().decode(encoding)))
    return rows


def rings(feature):
    return feature["geometry"]["coordinates"]


def holds(polygon, x, y):
    inside = False
    for ring in polygon:
        for (ax, ay), (bx, by) in zip(ring, ring[1:]):
            if (ay > y) != (by > y) and x < (bx - ax) * (y - ay) / (by - ay) + ax:
                inside = not inside
    return inside


areas = {}
for level in ("community", "grid"):
    areas[level] = defaultdict(list)
    for feature in json.loads((out / "areas" / f"{level}.geojson").read_text("utf-8"))["features"]:
        p = feature["properties"]
        areas[level][p["code"]].append((p.get("valid_from", ""), p.get("valid_to", "9999"), rings(feature)))

incidents = {}
for row in table("incidents"):
    if row["incident"] in incidents:
        contradiction(f"incident {row['incident']} stands twice")
    incidents[row["incident"]] = row
    day = (row["occurred_at"].timestamp() + 8 * 3600) // 86400
    date = __import__("datetime").date.fromordinal(719163 + int(day)).isoformat()
    for level in ("community", "grid"):
        held = [r for since, until, r in areas[level][row[level]] if since <= date < until]
        if not any(holds(r, row["lng"], row["lat"]) for r in held):
            contradiction(f"incident {row['incident']} is not in its {level} {row[level]} on {date}")

ids = {"hotline": ("工单编号", "工单号"), "police": ("警情编号",), "grid": ("id",), "petition": ("信访编号",), "device": ("event_id",)}
counts = {}
for feed, names in ids.items():
    rows = rows_of(feed)
    counts[feed] = Counter(next(row[name] for name in names if row.get(name)) for row in rows)
    print(f"{feed}: {len(rows)} rows, {len(counts[feed])} records")

dumped = Counter()
for path in sorted((out / "hotline_dump").iterdir()):
    dumped.update(re.findall(r"^\('(DH\w+)'", path.read_text("utf-8"), re.MULTILINE))
if dumped != counts["hotline"]:
    contradiction("the dump has other orders than the CSV files")
sheets = Counter()
for path in sorted((out / "petition_xlsx").iterdir()):
    sheet = zipfile.ZipFile(path).read("xl/worksheets/sheet1.xml").decode("utf-8")
    sheets.update(re.findall(r"<row><c t=\"inlineStr\"><is><t>(XF\w+)</t>", sheet))
if sheets != counts["petition"]:
    contradiction("the workbooks have other petitions than the CSV files")

records = {}
firsts = {}
for row in table("records"):
    name = f"{row['feed']}:{row['record_id']}"
    if name in records:
        contradiction(f"{name} stands twice")
    records[name] = row
    if counts[row["feed"]].pop(row["record_id"], 0) != row["changes"]:
        contradiction(f"{name} has another number of rows than the truth says")
    if row["incident"] is None:
        if row["class"] == "real" or row["duplicate_of"]:
            contradiction(f"{name} is real or a duplicate without an incident")
        continue
    incident = incidents.get(row["incident"])
    if incident is None:
        contradiction(f"{name} names an incident that is not there")
    elif incident["category"] != row["category"] or (incident["lat"], incident["lng"]) != (row["lat"], row["lng"]):
        contradiction(f"{name} is not of its incident's category or place")
    if row["duplicate_of"] is None:
        if row["incident"] in firsts:
            contradiction(f"incident {row['incident']} has two first reports")
        firsts[row["incident"]] = name
for feed, left in counts.items():
    if left:
        contradiction(f"{feed} has {len(left)} records that the truth does not know")
for name, row in records.items():
    first = row["duplicate_of"]
    if first is not None and (first == name or firsts.get(row["incident"], first) != first):
        contradiction(f"{name} is a duplicate of {first}, which is not the first")

last = {}
for row in table("changes"):
    name = f"{row['feed']}:{row['record_id']}"
    before = last.get(name)
    if before and (row["sequence"] != before["sequence"] + 1 or row["changed_at"] <= before["changed_at"]):
        contradiction(f"changes of {name} are out of order")
    last[name] = row
if set(last) != set(records):
    contradiction("records and changes name other records")
for name, row in last.items():
    if (row["sequence"] + 1, row["state"]) != (records[name]["changes"], records[name]["state"]):
        contradiction(f"{name} does not end in its state")

plans = {row["plan"]: row for row in table("plans")}
for row in incidents.values():
    plan = plans.get(row["plan"])
    if row["plan"] is not None and (plan is None or plan["category"] != row["category"] or not plan["start_at"] <= row["occurred_at"] < plan["end_at"]):
        contradiction(f"incident {row['incident']} does not fit its plan")

for text in contradictions[:20]:
    print("contradiction:", text)
print(f"{len(incidents)} incidents, {len(records)} records, {len(last)} lives, {len(plans)} plans: {len(contradictions)} contradictions")
sys.exit(1 if contradictions else 0)
