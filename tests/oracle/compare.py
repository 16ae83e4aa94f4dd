#!/usr/bin/env python3
"""Compares two files of figures side by side: compare.py EXPECTED.json ACTUAL.json. Exits 1 on any difference.

A figure that one side says is "skipped…" is shown and not compared. Maps of more than 40 figures show their differences only.
"""

import json
import sys
from pathlib import Path

LONG_MAP = 40


def flatten(value, path=()):
    """{path: figure} of nested maps; an empty map has no figures."""
    if not isinstance(value, dict):
        return {path: value}
    return {deep: figure for name, inner in value.items() for deep, figure in flatten(inner, (*path, name)).items()}


def skipped(value):
    return isinstance(value, str) and value.startswith("skipped")


def prune(expected, actual):
    """Takes out what either side skipped; says so."""
    for name in list(expected):
        if name in actual and (skipped(expected[name]) or skipped(actual[name])):
            print(f"  {name}: {expected.pop(name) if skipped(expected[name]) else actual[name]}")
            expected.pop(name, None)
            actual.pop(name)
        elif isinstance(expected[name], dict) and isinstance(actual.get(name), dict):
            prune(expected[name], actual[name])


def main():
    if len(sys.argv) != 3:
        print(__doc__)
        return 2
    expected, actual = (json.loads(Path(name).read_text(encoding="utf-8")) for name in sys.argv[1:])
    prune(expected, actual)
    left, right = flatten(expected), flatten(actual)
    paths = list(left) + [path for path in right if path not in left]
    sizes = {}
    for path in paths:
        sizes[path[:-1]] = sizes.get(path[:-1], 0) + 1
    differences = 0
    print(f"{'figure':<72} {'expected':>14} {'actual':>14}")
    for path in paths:
        # A count that one side does not name is 0.
        one, other = left.get(path, 0), right.get(path, 0)
        same = one == other
        differences += not same
        if not same or sizes[path[:-1]] <= LONG_MAP:
            print(f"{'.'.join(path):<72} {one!s:>14} {other!s:>14}{'' if same else '  DIFFERS'}")
    for path, size in sizes.items():
        if size > LONG_MAP:
            print(f"{'.'.join(path) + ' (' + str(size) + ' figures)':<72} compared")
    print(f"{len(paths)} figures, {differences} differ")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
