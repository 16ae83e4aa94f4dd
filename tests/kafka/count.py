"""The auditor of the Kafka lab: what the tables hold, against what the department knows.

It reads the Delta log and Parquet itself (tests/lab/audit.py has the readers), at the versions that snapshot.json publishes.
"""

import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lab"))
from audit import changes_of_cases, miscounted, numbers_of, tables_of  # noqa: E402
from department import state_of  # noqa: E402


def folded(shared, partitions):
    """Records of each partition of `events.v1` the tables have: an epoch's number is the offset behind its last record."""
    found = [0] * partitions
    try:
        epochs = json.loads((shared / "tables" / "snapshot.json").read_text())["epochs"]
    except FileNotFoundError:
        return found
    for name, epoch in epochs.items():
        if name.startswith("events-"):
            found[int(name.split("/")[0].removeprefix("events-"))] = epoch
    return found


def count(shared, sent, acknowledged):
    """Lost, duplicated, invented versions; cases that do not show their newest version; counts that a recount does not find."""
    tables = tables_of(shared)
    events = tables["events"].rows(["record_id", "source_version"])
    stored = np.empty(0, np.uint64)
    if events is not None:
        stored = numbers_of(events["record_id"]) * np.uint64(8) + events["source_version"].to_numpy().astype(np.uint64)
    unique = np.unique(stored)
    sent, acknowledged = (np.fromiter(names, np.uint64, len(names)) for names in (sent, acknowledged))
    result = {
        "stored": len(unique),
        "lost": len(np.setdiff1d(acknowledged, unique)),
        "duplicated": len(stored) - len(unique),
        "invented": len(np.setdiff1d(unique, sent)),
    }
    result.update(cases(tables, unique))
    return result


def cases(tables, unique):
    changes = changes_of_cases(tables)
    if changes is None:
        return {"reordered": len(unique), "miscounted": 0}
    record = numbers_of(changes["record_id"])
    in_order = np.lexsort((changes["sequence"].to_numpy(), record))
    last = in_order[np.append(record[in_order][1:] != record[in_order][:-1], True)]
    newest = changes.take(last)
    shown = dict(zip(record[last].tolist(), newest["state"].to_pylist()))
    wanted = {}
    for name in unique.tolist():
        wanted[name // 8] = state_of(name // 8, name % 8)
    wrong = sum(1 for index in shown.keys() | wanted.keys() if shown.get(index) != wanted.get(index))
    return {"reordered": wrong, "miscounted": miscounted(tables, newest)}
