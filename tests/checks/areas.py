"""Compares the areas the hub found for a city's events with a brute force over every polygon, and with the city's own labels:

    areas.py EXPECTED FOUND

EXPECTED is what tests/oracle/areas.py wrote (JSON), FOUND the hub's answer (JSON, a line per feed, area and label). Prints every kind of
agreement and disagreement with both counts.
"""

import json
import sys
from collections import Counter


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        expected = json.load(file)
    found = {}
    with open(sys.argv[2], encoding="utf-8") as file:
        for row in map(json.loads, filter(str.strip, file)):
            found.setdefault(row["feed"], []).append(row)
    differences = 0
    for feed, figures in expected["feeds"].items():
        per_area, label = Counter(), Counter()
        for row in found[feed]:
            area, own, events = row.get("area"), row.get("label"), int(row["events"])
            if area is not None:
                per_area[area] += events
            if not row["located"]:
                label["unlocated"] += events
            elif area is None:
                label["outside_all"] += events
            elif own is None:
                label["not_labelled"] += events
            elif own not in figures["events_by_area"]:
                label[f"labelled_{own or 'nothing'}"] += events
            else:
                label["inside_own" if own == area else "in_another"] += events
        for code in sorted(figures["events_by_area"].keys() | per_area.keys()):
            differs = figures["events_by_area"].get(code, 0) != per_area[code]
            differences += differs
            if differs:
                print(f"{expected['city']} {feed} area {code}: {figures['events_by_area'].get(code, 0)} {per_area[code]}  DIFFERS")
        print(f"{expected['city']} {feed}: {figures['areas']} areas, {sum(per_area.values())} events inside, by brute force the same")
        for kind, count in sorted(figures["against_label"].items()):
            if kind == "in_another_within_1_m_of_own":
                print(f"  of those within 1 m of their own: {count}; the farthest {figures['in_another_farthest_m']} m")
                continue
            same = label[kind] == count
            differences += not same
            print(f"  {kind}: {count} {label[kind]}{'' if same else '  DIFFERS'}")
    return 1 if differences else 0


sys.exit(main())
