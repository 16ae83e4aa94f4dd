#!/usr/bin/env python3
"""Counts what a city's real records must give, without Shiyu's code: outcomes, cases, withdrawals, months, places, cells.

    counts.py --data DIR --city chicago|stlouis|boston [--json OUT]

DIR is the folder that holds chicago/, stl/ and boston_311_2015/. Needs Python 3.9 with its standard library and the machine's time zones
(tzdata); with the package `h3` the cells are counted too, else they are "skipped". Compare with compare.py.

What the figures mean (all per feed; `events` are accepted versions, `cases` are the latest version of each record):
read = accepted + unchanged + duplicate + stale + excluded + rejected. A case is counted unless it is
withdrawn or labelled a duplicate by its department.
"""

import argparse
import csv
import json
import sys
from collections import Counter, defaultdict
from datetime import datetime
from pathlib import Path

import source

try:
    import h3
except ImportError:
    h3 = None

CITIES = Path(__file__).resolve().parents[2] / "deploy" / "cities"
DAY, MINUTE, SECOND = "%Y-%m-%d", "%m/%d/%Y %H:%M", "%m/%d/%Y %I:%M:%S %p"
OUTCOMES = ["accepted", "unchanged", "duplicate", "stale", "excluded", "rejected"]
OPEN_STATES = {"filed", "in_progress"}
UNCOUNTED_STATES = {"withdrawn", "duplicate"}


class Crosswalk:
    """categories/<tree>.<feed>.csv of the city folder: source text → category; a trailing * is a prefix, the longest wins."""

    def __init__(self, city, feed):
        self.exact, self.prefixes = {}, {}
        path = CITIES / city / "categories" / f"{city}.{feed}.csv"
        with path.open(encoding="utf-8", newline="") as file:
            for line in csv.DictReader(file):
                text, code = line["source"], line["code"]
                if text.endswith("*"):
                    self.prefixes[text[:-1]] = code
                else:
                    self.exact[text] = code

    def __getitem__(self, text):
        if text in self.exact:
            return self.exact[text]
        for length in range(len(text), -1, -1):
            if text[:length] in self.prefixes:
                return self.prefixes[text[:length]]
        return ""


class Feed:
    """Folds one feed's records in the order they stand in the files."""

    def __init__(self, city, feed):
        self.crosswalk = Crosswalk(city, feed)
        self.outcomes, self.rejections, self.flags = Counter(), Counter(), Counter()
        self.months, self.statuses = Counter(), Counter()
        self.current = {}
        self.cancels = []
        # Of every accepted event: the point or None, and the city's own label of its area or None (for areas.py).
        self.places = []

    def reject(self, code):
        self.outcomes["rejected"] += 1
        self.rejections[code] += 1

    def add(self, record_id, content, case):
        """One good row. Its version is its place in the file: it is newer than what is known unless it says the same."""
        known = self.current.get(record_id)
        if known is not None and known["content"] == content:
            self.outcomes["unchanged"] += 1
            return
        self.accept(case)
        self.current[record_id] = case | {"content": content}

    def cancel(self, record_id, case):
        """A correction row: accepted as an event, cancels a record of the same key in `report`."""
        self.accept(case)
        self.cancels.append((record_id, case["match_key"]))

    def accept(self, case):
        self.outcomes["accepted"] += 1
        self.flags.update(case["flags"])
        self.months[case["month"]] += 1
        self.statuses[case.get("status", "")] += 1
        self.places.append((case["point"], case.get("label")))

    def withdraw(self):
        """Per key with n records and m corrections the first min(n, m) records are withdrawn; what is over waits."""
        by_key = defaultdict(list)
        for record_id in sorted(self.current):
            by_key[self.current[record_id].get("match_key")].append(record_id)
        corrections = defaultdict(int)
        for _, key in self.cancels:
            corrections[key] += 1
        matched, waiting = Counter(), Counter()
        for key, number in corrections.items():
            hit = by_key.get(key, [])[:number]
            for record_id in hit:
                self.current[record_id]["state"] = "withdrawn"
            matched[key[0]] += len(hit)
            waiting[key[0]] += number - len(hit)
        return matched, waiting

    def report(self):
        matched, waiting = self.withdraw()
        cases = self.current.values()
        counted = [case for case in cases if case["state"] not in UNCOUNTED_STATES]
        read = sum(self.outcomes.values())
        located = sum(case["precision"] != "none" for case in counted)
        figures = {"read": read} | {outcome: self.outcomes[outcome] for outcome in OUTCOMES}
        figures |= {
            "rejected_by_code": dict(self.rejections),
            "events_by_flag": dict(self.flags),
            "events_by_month": dict(sorted(self.months.items())),
            "events_by_source_status": dict(sorted(self.statuses.items())),
            "cases": len(self.current),
            "cases_by_state": dict(Counter(case["state"] for case in cases)),
            "cases_counted": len(counted),
            "cases_open": sum(case["state"] in OPEN_STATES for case in counted),
            "cases_located": located,
            "cases_not_located": len(counted) - located,
            "cases_by_place_precision": dict(Counter(case["precision"] for case in counted)),
            "cases_by_category": dict(sorted(Counter(case["category"] for case in counted).items())),
        }
        if self.cancels:
            figures |= {
                "withdrawals": len(self.cancels),
                "withdrawals_matched": sum(matched.values()),
                "withdrawals_waiting": sum(waiting.values()),
                "withdrawals_matched_by_complaint": matched["C"],
                "withdrawals_matched_by_date_and_address": matched["D"],
                "withdrawals_waiting_by_complaint": waiting["C"],
                "withdrawals_waiting_by_date_and_address": waiting["D"],
            }
        return figures | {"cells": count_cells(counted)}


def count_cells(cases):
    """Counted, located cases per H3 cell of resolution 9: the parent of the cell of resolution 11 that is stored."""
    if h3 is None:
        return "skipped: no Python package h3"
    fine = Counter(h3.latlng_to_cell(*case["point"], 11) for case in cases if case["precision"] != "none")
    cells = Counter()
    for cell, number in fine.items():
        cells[h3.cell_to_parent(cell, 9)] += number
    ranked = sorted(cells.items(), key=lambda item: (-item[1], item[0]))
    return {"distinct": len(cells), "located": sum(cells.values()), "top": dict(ranked[:20]), "all": dict(sorted(cells.items()))}


def place(lat, lng, bounds, defaults=()):
    """(precision, point, flags): 0,0, default points and places outside [south, west, north, east] have no place."""
    if (lat, lng) == (0.0, 0.0):
        return "none", None, []
    if (lat, lng) in defaults:
        return "none", None, ["default_point"]
    south, west, north, east = bounds
    if not (south <= lat <= north and west <= lng <= east):
        return "none", None, ["outside_city"]
    return "exact", (lat, lng), []


def bounds_of(city):
    """`bounds:` of city.yaml, a single line: [south, west, north, east]."""
    for line in (CITIES / city / "city.yaml").read_text(encoding="utf-8").splitlines():
        if line.startswith("bounds:"):
            return json.loads(line.removeprefix("bounds:").split("#")[0])
    raise ValueError(f"{city}/city.yaml has no line \"bounds:\"")


def chicago(data):
    bounds = bounds_of("chicago")
    states = {"Completed": "closed", "Completed - Dup": "duplicate", "Open - Dup": "duplicate"}
    requests = Feed("chicago", "sanitation_311")
    for _, row in source.rows(next((data / "chicago").glob("sanitation_311_*.csv"))):
        x, y = row["X_Coordinate"], row["Y_Coordinate"]
        precision, point, flags = "none", None, []
        if x and y and (float(x), float(y)) != (0.0, 0.0):
            precision, point, flags = place(*source.EPSG_3435.to_lat_lng(float(x), float(y)), bounds)
        closed = row["Completion_Date"]
        if closed and closed < row["Creation_Date"]:
            flags = [*flags, "closed_before_opened"]
        requests.add(row["Service_Request_Number"], tuple(row.values()), {
            "month": month(datetime.strptime(row["Creation_Date"], DAY)),
            "status": row["Status"], "state": states[row["Status"]],
            "category": requests.crosswalk[row["What_is_the_Nature_of_this_Code_Violation"] or row["Type_of_Service_Request"]],
            "precision": precision, "point": point, "flags": flags, "label": row["Community_Area"],
        })
    inspections = Feed("chicago", "food_inspections")
    for _, row in source.rows(next((data / "chicago").glob("food_inspections_*.csv"))):
        precision, point, flags = "none", None, []
        if row["Latitude"] and row["Longitude"]:
            precision, point, flags = place(float(row["Latitude"]), float(row["Longitude"]), bounds)
        inspections.add(row["Inspection_ID"], tuple(row.values()), {
            "month": month(datetime.strptime(row["Inspection_Date"], DAY)),
            "status": row["Results"], "state": "closed", "category": inspections.crosswalk[row["Results"]],
            "precision": precision, "point": point, "flags": flags,
        })
    return {"sanitation_311": requests, "food_inspections": inspections}


# Headers of the shapes of 18 columns (to 2013-08) and of 26 (2017-05) → those of the 20 columns.
ST_LOUIS_NAMES = {
    "MonthReportedtoMSHP": "CodedMonth", "DateOccured": "DateOccur",
    "Date Occur": "DateOccur", "Coded Month": "CodedMonth",
    "ILEADS-Address": "ILEADSAddress", "ILEADS-Street": "ILEADSStreet", "X-Coord": "XCoord", "Y-Coord": "YCoord",
}


def stlouis(data):
    bounds, police = bounds_of("stlouis"), Feed("stlouis", "police")
    for path in sorted((data / "stl" / "police").rglob("20??-??.csv")):
        for number, row in source.rows(path, ST_LOUIS_NAMES):
            instant, local, shifted, ambiguous = source.clock(row["DateOccur"], MINUTE, "America/Chicago")
            if local.date().isoformat() == "1900-01-01":
                police.reject("junk_date")
                continue
            precision, point, flags = "none", None, []
            x, y = float(row["XCoord"]), float(row["YCoord"])
            if (x, y) != (0.0, 0.0):
                precision, point, flags = place(*source.ESRI_102696.to_lat_lng(x, y), bounds)
            flags = flags + ["shifted_time"] * shifted + ["ambiguous_time"] * ambiguous
            code = row["Crime"].zfill(6)
            written = datetime.strptime(row["DateOccur"], MINUTE).isoformat()
            key = ("C", row["Complaint"], code) if row.get("Complaint") else (
                "D", written, code, row["ILEADSAddress"], row["ILEADSStreet"])
            case = {
                "month": month(local), "state": "filed", "category": police.crosswalk[code],
                "precision": precision, "point": point, "flags": flags, "match_key": key, "label": row["Neighborhood"],
            }
            record_id = f"{path.name}#{number:06}"
            if row["Count"] == "-1":
                police.cancel(record_id, case)
            else:
                police.add(record_id, None, case)
    return {"police": police}


def boston(data):
    bounds, requests = bounds_of("boston"), Feed("boston", "requests_311")
    for path in sorted((data / "boston_311_2015").glob("*.csv")):
        for _, row in source.rows(path):
            opened, local, shifted, ambiguous = source.clock(row["OPEN_DT"], SECOND, "America/New_York")
            closed = source.clock(row["CLOSED_DT"], SECOND, "America/New_York")[0] if row["CLOSED_DT"] else None
            precision, point, flags = place(
                float(row["LATITUDE"]), float(row["LONGITUDE"]), bounds, {(42.3594, -71.0587)})
            flags = flags + ["shifted_time"] * shifted + ["ambiguous_time"] * ambiguous
            if closed is not None and closed < opened:
                flags.append("closed_before_opened")
            requests.add(row["CASE_ENQUIRY_ID"], tuple(row.values()), {
                "month": month(local), "status": row["CASE_STATUS"],
                "state": {"Open": "filed", "Closed": "closed"}[row["CASE_STATUS"]],
                "category": requests.crosswalk[row["TYPE"]],
                "precision": precision, "point": point, "flags": flags,
            })
    return {"requests_311": requests}


def month(local):
    return local.strftime("%Y-%m")


COUNT = {"chicago": chicago, "stlouis": stlouis, "boston": boston}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--city", required=True, choices=sorted(COUNT))
    parser.add_argument("--json", type=Path, help="write the figures here, else to standard output")
    options = parser.parse_args()
    if not options.data.is_dir():
        print(f"skipped: no {options.data}")
        return 0
    feeds = {name: feed.report() for name, feed in COUNT[options.city](options.data).items()}
    text = json.dumps({"city": options.city, "feeds": feeds}, indent=1, ensure_ascii=False)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
