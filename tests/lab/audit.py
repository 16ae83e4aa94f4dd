#!/usr/bin/env python3
"""The auditor of the fault lab: what was sent, acknowledged, and what the tables hold.

It reads the Delta log and the Parquet files itself (pyarrow, no Delta library), at the versions that snapshot.json publishes, and computes
the generator's orders again. Violations: lost (acknowledged, not stored), duplicated, invented (stored, never sent), reordered (the case
does not show its newest version), miscounted (counts differ from a recount of the cases), wrong rejections, windows ahead of the events.

    audit.py --data DIR --ledger FILE --seed N [--load FILE.csv] [--readable]
"""
import argparse
import datetime
import json
import pathlib
import sys
import urllib.parse

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

STATES = {1: "filed", 2: "dispatched", 3: "closed"}
CATEGORIES = ["rubbish", "noise", "heat"]
SEVERITY = {"rubbish": 2, "noise": 3, "heat": 4}


def mix(number):
    with np.errstate(over="ignore"):
        mixed = number + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))


def chance_of(record, seed):
    return mix(record.astype(np.uint64) ^ np.uint64(seed << 40))


def orders(numbers, seed):
    """Record and version of the generator's orders."""
    numbers = numbers.astype(np.uint64)
    within = numbers % np.uint64(4000)
    record = numbers // np.uint64(4000) * np.uint64(1000) + within % np.uint64(1000)
    chance = chance_of(record, seed)
    step, shift = np.uint64(1) + np.uint64(2) * (chance & np.uint64(1)), (chance >> np.uint64(1)) & np.uint64(3)
    version = (within // np.uint64(1000) * step + shift) % np.uint64(4) + np.uint64(1)
    return record, version


def ranges(path):
    """Numbers of the orders of a ledger; a line cut short by a crash of the generator's machine does not count."""
    if not path.exists():
        return np.empty(0, np.uint64), []
    pairs = [line.split() for line in path.read_text().split("\n")[:-1]]
    starts = [(int(first), int(count)) for first, count in pairs]
    parts = [np.arange(first, first + count, dtype=np.uint64) for first, count in starts]
    return np.unique(np.concatenate(parts)) if parts else np.empty(0, np.uint64), starts


class Table:
    """One Delta table at one version."""

    def __init__(self, folder, version=None):
        self.folder = folder
        log = folder / "_delta_log"
        commits = {int(path.stem): path for path in log.glob("*.json") if path.stem.isdigit()}
        checkpoints = {int(path.name.split(".")[0]) for path in log.glob("*.checkpoint.parquet")}
        self.version = max(list(commits) + list(checkpoints), default=-1) if version is None else version
        usable = [number for number in checkpoints if number <= self.version]
        self.files, first = {}, 0
        self.partition_columns = []
        if usable:
            first = max(usable) + 1
            self.read_checkpoint(log / f"{max(usable):020}.checkpoint.parquet")
        for number in range(first, self.version + 1):
            if number not in commits:
                raise ValueError(f"{folder.name}: commit {number} is missing")
            text = commits[number].read_text()
            if not text.strip():
                raise ValueError(f"{folder.name}: commit {number} is empty")
            for line in text.splitlines():
                self.apply(json.loads(line))

    def read_checkpoint(self, path):
        names = pq.ParquetFile(path).schema_arrow.names
        rows = pq.read_table(path, columns=[name for name in ("add", "metaData") if name in names])
        for row in rows.to_pylist():
            self.apply({kind: value for kind, value in row.items() if value})

    def apply(self, action):
        if action.get("add"):
            self.files[action["add"]["path"]] = action["add"]
        elif action.get("remove"):
            self.files.pop(action["remove"]["path"], None)
        elif action.get("metaData"):
            self.partition_columns = action["metaData"]["partitionColumns"]

    def paths(self):
        return [self.folder / urllib.parse.unquote(name) for name in self.files]

    def rows(self, columns):
        parts = [pq.ParquetFile(path).read(columns=columns) for path in self.paths()]
        parts = [part.cast(parts[0].schema) for part in parts]
        return pa.concat_tables(parts) if parts else None

    def check_readable(self):
        for path in self.paths():
            pq.ParquetFile(path)


def tables_of(data):
    snapshot = json.loads((data / "tables" / "snapshot.json").read_text())
    return {name: Table(data / "tables" / name, version) for name, version in snapshot["tables"].items()}


def numbers_of(texts):
    """R17 → 17."""
    return np.array(pc.cast(pc.utf8_slice_codeunits(texts, 1), pa.uint64()).combine_chunks(), dtype=np.uint64)


def key_of(record, version):
    return record * np.uint64(8) + version


def loaded(path):
    """Records of a file that was loaded: good ones as (record, version), bad rows as (name, row)."""
    good, bad = [], []
    for row, line in enumerate(path.read_text().splitlines()[1:], start=1):
        fields = line.split(",")
        if fields[2] == "never":
            bad.append((path.name, row))
        else:
            good.append(int(fields[0][1:]) * 8 + int(fields[1]))
    return np.array(good, np.uint64), bad


def audit(arguments):
    seed = arguments.seed
    tables = tables_of(arguments.data)
    result = {"lost": 0, "duplicated": 0, "invented": 0, "reordered": 0, "miscounted": 0}
    sent, sent_batches = ranges(arguments.ledger.with_suffix(".sent"))
    acknowledged, batches = ranges(arguments.ledger)
    good_sent, good_acknowledged = sent[sent % 500 != 499], acknowledged[acknowledged % 500 != 499]
    sent_keys, acknowledged_keys = key_of(*orders(good_sent, seed)), key_of(*orders(good_acknowledged, seed))
    bad = {(f"push:{seed}-{first}", number - first + 1) for first, count in batches for number in range(first, first + count) if number % 500 == 499}
    bad_sent = {(f"push:{seed}-{first}", number - first + 1) for first, count in sent_batches for number in range(first, first + count) if number % 500 == 499}
    for path in arguments.load:
        good, wrong = loaded(path)
        sent_keys, acknowledged_keys = np.append(sent_keys, good), np.append(acknowledged_keys, good)
        bad |= set(wrong)
        bad_sent |= set(wrong)

    events = tables["events"].rows(["record_id", "source_version"])
    stored = np.empty(0, np.uint64)
    if events is not None:
        record = numbers_of(events["record_id"])
        version = np.array(pc.cast(events["source_version"], pa.uint64()).combine_chunks(), dtype=np.uint64)
        stored = key_of(record, version)
    unique = np.unique(stored)
    result["stored"] = int(len(unique))
    result["lost"] = int(len(np.setdiff1d(acknowledged_keys, unique)))
    result["duplicated"] = int(len(stored) - len(unique))
    result["invented"] = int(len(np.setdiff1d(unique, sent_keys)))
    if len(unique):
        result.update(cases_and_counts(tables, unique, seed, arguments.load))
    result.update(rejections(tables, bad, bad_sent))
    result["windows_ahead"] = windows_ahead(tables, unique, arguments.watermark)
    result["sent"], result["acknowledged"] = int(len(sent)), int(len(acknowledged))
    result["versions"] = {name: table.version for name, table in tables.items()}
    bad_keys = ("lost", "duplicated", "invented", "reordered", "miscounted", "rejections_lost", "rejections_duplicated", "rejections_invented", "windows_ahead")
    result["violations"] = sum(result.get(key, 0) for key in bad_keys)
    return result


ENDED = ["resolved", "closed", "evaluated", "duplicate", "withdrawn"]
UNCOUNTED = ["duplicate", "withdrawn"]


def changes_of_cases(tables):
    """All changes of cases: the events that opened one, and what came later."""
    own = ["record_id", "partition", "sequence", "state", "category", "severity", "occurred_at"]
    opened = tables["events"].rows([*own, "opens_case"])
    later = tables["case_changes"].rows([*own, "counted", "open"])
    if opened is None:
        return later
    opened = opened.filter(opened["opens_case"]).drop_columns(["opens_case"])
    for name, words in (("counted", UNCOUNTED), ("open", ENDED)):
        opened = opened.append_column(name, pc.invert(pc.is_in(opened["state"], pa.array(words))))
    return opened if later is None else pa.concat_tables([opened, later.select(opened.column_names)], promote_options="permissive")


def cases_and_counts(tables, unique, seed, loads):
    changes = changes_of_cases(tables)
    record = numbers_of(changes["record_id"])
    order = np.lexsort((changes["sequence"].to_numpy(), record))
    last = np.append(record[order][1:] != record[order][:-1], True)
    newest = changes.take(pa.array(order[last]))
    found = record[order[last]]
    # The newest version of each record that is stored.
    wanted, version = unique // np.uint64(8), unique % np.uint64(8)
    last = np.append(wanted[1:] != wanted[:-1], True)
    wanted, version = wanted[last], version[last]
    if not np.array_equal(found, wanted):
        return {"reordered": int(len(np.setxor1d(found, wanted))), "miscounted": 0}
    gone = (chance_of(wanted, seed) >> np.uint64(8)) % np.uint64(10) == 0
    state = np.where(version == 1, "filed", np.where(version == 2, "dispatched", np.where(version == 3, "closed", np.where(gone, "withdrawn", "evaluated"))))
    category = np.array(CATEGORIES)[((wanted + version) % np.uint64(3)).astype(int)]
    states, categories = np.array(newest["state"].to_pylist()), np.array(newest["category"].to_pylist())
    wrong = int(np.sum((states != state) | (categories != category)))
    return {"reordered": wrong, "miscounted": miscounted(tables, newest)}


def miscounted(tables, newest):
    hours = pc.floor_temporal(newest["occurred_at"], unit="hour")
    mine = pa.table({"hour": hours, "category": newest["category"], "count": pc.cast(newest["counted"], pa.int64()), "open": pc.cast(newest["open"], pa.int64()), "severity": pc.multiply(pc.cast(newest["counted"], pa.int64()), pc.cast(newest["severity"], pa.int64()))})
    cells = tables["cell_changes"].rows(["hour", "category", "count", "open", "severity"])
    sums = []
    for rows in (mine, cells):
        summed = rows.group_by(["hour", "category"]).aggregate([("count", "sum"), ("open", "sum"), ("severity", "sum")])
        sums.append({(row["hour"], row["category"]): (row["count_sum"], row["open_sum"], row["severity_sum"]) for row in summed.to_pylist()})
    zero = (0, 0, 0)
    return sum(1 for key in sums[0].keys() | sums[1].keys() if sums[0].get(key, zero) != sums[1].get(key, zero))


def rejections(tables, bad, bad_sent):
    rows = tables["rejections"].rows(["source", "source_row"])
    found = [] if rows is None else [(pathlib.PurePath(row["source"]).name if not row["source"].startswith("push:") else row["source"], row["source_row"]) for row in rows.to_pylist()]
    return {
        "rejections": len(found),
        "rejections_lost": len(bad - set(found)),
        "rejections_duplicated": len(found) - len(set(found)),
        "rejections_invented": len(set(found) - bad_sent),
    }


def windows_ahead(tables, unique, watermark):
    """Whether the watermark (seconds since 1970) ran ahead of the local midnight after the newest event, and scores whose window did."""
    if not len(unique):
        return 0
    newest_minute = int(max(unique // np.uint64(8) % np.uint64(20000)))
    midnight = datetime.datetime(2025, 3, 1, tzinfo=datetime.timezone.utc) + datetime.timedelta(days=1 + newest_minute // 1440, hours=-8)
    ahead = int(watermark > midnight.timestamp())
    scores = tables["scores"].rows(["window_end"])
    if scores is None:
        return ahead
    return ahead + int(pc.sum(pc.cast(pc.greater(scores["window_end"], pa.scalar(midnight, pa.timestamp("us", "UTC"))), pa.int64())).as_py() or 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--ledger", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--load", type=pathlib.Path, action="append", default=[])
    parser.add_argument("--watermark", type=float, default=0, help="the hub's newest watermark, seconds since 1970")
    parser.add_argument("--readable", action="store_true", help="only open every table and file")
    arguments = parser.parse_args()
    if arguments.readable:
        unreadable = 0
        for name, table in tables_of(arguments.data).items():
            try:
                table.check_readable()
                Table(table.folder).check_readable()
            except (OSError, ValueError, pa.ArrowInvalid) as error:
                print(f"{name}: {error}", file=sys.stderr)
                unreadable += 1
        print(json.dumps({"unreadable": unreadable}))
        return
    print(json.dumps(audit(arguments)))


if __name__ == "__main__":
    main()
