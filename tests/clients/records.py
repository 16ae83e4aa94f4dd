#!/usr/bin/env python3
"""Writes the records of the invented city in `city/`. The same every time.

usage: records.py FOLDER
"""

import csv
import datetime
import json
import pathlib
import random
import sys

ORDERS = 3_000
PATROLS = 800
DAY = datetime.datetime(2026, 3, 2)
KINDS = ["噪声", "夜间噪声", "路灯", "不在表里"]
STATUSES = ["派单", "办理中", "办结"]


def orders(chance):
    for number in range(ORDERS):
        at = DAY + datetime.timedelta(seconds=chance.randrange(5 * 86_400))
        closed = at + datetime.timedelta(hours=chance.randrange(1, 72))
        row = {
            "id": f"GD{number:06d}",
            "at": at,
            "updated": at,
            "kind": chance.choice(KINDS),
            "lng": f"{chance.gauss(120.2, 0.03):.6f}",
            "lat": f"{chance.gauss(30.2, 0.03):.6f}",
            "address": f"文一路{chance.randrange(1, 900)}号, \"东门\"" if number % 7 else "",
            "status": chance.choice(STATUSES),
            "closed": "",
        }
        if number % 11 == 0:
            row |= {"lng": "", "lat": ""}
        if number % 97 == 0:
            row["at"] = "yesterday"
        yield row
        if number % 5 == 0 and number % 97:
            yield row | {"updated": closed, "status": "办结", "closed": closed}
        if number % 50 == 0:
            yield row


def patrols(chance):
    rows = []
    for number in range(PATROLS):
        row = {
            "id": f"p{number}",
            "day": f"{DAY + datetime.timedelta(days=chance.randrange(5)):%Y-%m-%d}",
            "kind": chance.choice(["hole", "light", "other"]),
            "lng": f"{chance.uniform(120.1, 120.3):.3f}",
            "lat": f"{chance.uniform(30.1, 30.3):.3f}",
            "sign": "1",
        }
        rows.append(row)
        if number % 20 == 0:
            rows.append(row | {"id": f"c{number}", "sign": "-1"})
        if number % 100 == 0:
            rows.append(row | {"id": f"w{number}", "sign": "-1", "lat": "30.000"})
    return rows


def main():
    folder = pathlib.Path(sys.argv[1])
    chance = random.Random(20260302)
    (folder / "orders").mkdir(parents=True)
    (folder / "patrol").mkdir()
    rows = list(orders(chance))
    with open(folder / "orders" / "orders.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    with open(folder / "patrol" / "patrol.ndjson", "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in patrols(chance))


main()
