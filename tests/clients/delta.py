#!/usr/bin/env python3
"""Reads the Delta tables with another engine, at the versions of snapshot.json, and prints what is in them.

usage: delta.py DATA_DIR [--table TABLE]

Prints for every stored table (or the one named) its name, its rows, and an order-free checksum of the columns that every engine writes
alike, tab-separated. `--cases` and `--cells` print what the views `cases` and `cells` count, computed here on its own. Skips loudly
without the deltalake package.
"""

import argparse
import json
import pathlib
import sys

try:
    import deltalake
    import pyarrow as pa
    import pyarrow.compute as pc
except ImportError:
    print("SKIPPED: deltalake is not installed (pip install deltalake pyarrow)")
    sys.exit(0)


def read(root, versions, table):
    return pa.table(deltalake.DeltaTable(str(root / table), version=versions[table]).to_pyarrow_table())


def cases(changes):
    """Open, counted and all cases: the newest change of each record, by (partition, sequence)."""
    newest = {}
    for row in changes.select(["feed", "record_id", "partition", "sequence", "kind", "open", "counted"]).to_pylist():
        key = (row["feed"], row["record_id"])
        if key not in newest or (row["partition"], row["sequence"]) > (newest[key]["partition"], newest[key]["sequence"]):
            newest[key] = row
    kept = [row for row in newest.values() if row["kind"] == "case"]
    return len(kept), sum(row["open"] for row in kept), sum(row["counted"] for row in kept)


def cells(changes):
    """Cells with anything in them, and what they sum to."""
    keys = ["cell", "hour", "day_only", "category", "channel", "origin", "place_precision"]
    sums = changes.group_by(keys).aggregate([("count", "sum"), ("open", "sum"), ("severity", "sum")])
    names = ["count_sum", "open_sum", "severity_sum"]
    some = pc.or_(pc.or_(pc.not_equal(sums[names[0]], 0), pc.not_equal(sums[names[1]], 0)), pc.not_equal(sums[names[2]], 0))
    kept = sums.filter(some)
    return (kept.num_rows, *(pc.sum(kept[name]).as_py() or 0 for name in names))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data_dir", type=pathlib.Path)
    parser.add_argument("--table")
    parser.add_argument("--cases", action="store_true")
    parser.add_argument("--cells", action="store_true")
    arguments = parser.parse_args()
    root = arguments.data_dir / "tables"
    versions = json.loads((root / "snapshot.json").read_text())["tables"]
    if arguments.cases:
        print(*cases(read(root, versions, "case_changes")), sep="\t")
        return
    if arguments.cells:
        print(*cells(read(root, versions, "cell_changes")), sep="\t")
        return
    for table in [arguments.table] if arguments.table else sorted(versions):
        rows = read(root, versions, table)
        numbers = [
            str(pc.sum(rows[field.name]).as_py() or 0)
            for field in rows.schema
            if pa.types.is_integer(field.type) and field.name not in ("cell", "source_version")
        ]
        print(table, rows.num_rows, *numbers, sep="\t")


main()
