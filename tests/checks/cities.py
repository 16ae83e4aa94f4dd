"""Compares one city's balance with the independent count: cities.py EXPECTED BALANCE CASES (JSON; the last two a line per feed)."""

import json
import sys

BALANCE = ["read", "accepted", "unchanged", "duplicate", "stale", "excluded", "rejected"]


def lines(name):
    with open(name, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file if line.strip()]
    return {row["feed"]: row for row in rows if "note" not in row}


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        expected = json.load(file)
    balance, cases = lines(sys.argv[2]), lines(sys.argv[3])
    differences = 0
    for feed, counted in expected["feeds"].items():
        actual = {name: int(balance[feed][name]) for name in BALANCE}
        pairs = [(name, counted[name], actual[name]) for name in BALANCE]
        pairs += [(name, counted[name], int(cases[feed][name.removeprefix("cases_")])) for name in ("cases", "cases_counted", "cases_located")]
        total = sum(actual[name] for name in BALANCE[1:])
        pairs.append(("sum of outcomes", actual["read"], total))
        for name, one, other in pairs:
            same = one == other
            differences += not same
            print(f"{expected['city']} {feed} {name}: {one} {other}{'' if same else '  DIFFERS'}")
    return 1 if differences else 0


sys.exit(main())
