#!/usr/bin/env python3
"""Reads every table with every client there is, and compares the rows: the same values, typed as each client gives them.

usage: same_rows.py --data-dir DIR --city DIR --shiyu PROGRAM [--jars FOLDER]

Clients: `shiyu sql`, ADBC (Flight SQL), psql, both JDBC drivers, and Polars over the Delta tables at the versions of snapshot.json (which
computes the views `cases`, `withdrawals` and `cells` on its own). A client that is not there is skipped loudly; two differences are an
error. Prints one line per table: rows, checksum, clients.
"""

import argparse
import csv
import datetime
import hashlib
import io
import json
import pathlib
import shutil
import subprocess
import sys
import time

import adbc_driver_flightsql.dbapi as flight_sql
import polars as pl

TABLES = ["events", "cases", "withdrawals", "cells", "scores", "rejections", "areas", "feeds", "categories", "epochs"]
NULL = "\\N"
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
HERE = pathlib.Path(__file__).resolve().parent


def plain(value):
    """A typed value as every client must give it."""
    match value:
        case None:
            return NULL
        case bool():
            return str(value).lower()
        case float():
            return str(round(value * 1e7))
        case datetime.datetime():
            return str((value - EPOCH) // datetime.timedelta(microseconds=1))
        case datetime.date():
            return value.isoformat()
        case _:
            return str(value)


def by_type(kind):
    """How to read a text that stands for a value of an Arrow type."""
    kind = str(kind)
    if kind == "bool":
        return lambda text: {"t": "true", "f": "false"}.get(text, text)
    if kind == "double":
        return lambda text: plain(float(text))
    if kind.startswith("timestamp"):
        return lambda text: plain(datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.timezone.utc))
    return str


def adbc(connection, table):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table}")
        rows = cursor.fetch_arrow_table()
    return rows.schema, [tuple(plain(value) for value in row.values()) for row in rows.to_pylist()]


def psql(address, table, schema):
    command = ["psql", "--no-psqlrc", "--csv", "--tuples-only", "--pset", f"null={NULL}", "--set", "ON_ERROR_STOP=1"]
    host, port = address.rsplit(":", 1)
    command += ["--host", host, "--port", port, "--username", "analyst", "--dbname", "shiyu", "--command", f"SELECT * FROM {table}"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    readers = [by_type(field.type) for field in schema]
    return [tuple(text if text == NULL else read(text) for read, text in zip(readers, row)) for row in csv.reader(io.StringIO(printed))]


def shiyu_sql(arguments, table, schema):
    command = [arguments.shiyu, "--data-dir", arguments.data_dir, "--output", "json", "sql", "--city", arguments.city]
    printed = subprocess.run([*map(str, command), f"SELECT * FROM {table}"], check=True, capture_output=True, text=True).stdout
    readers = {field.name: by_type(field.type) for field in schema}
    rows = []
    for line in printed.splitlines():
        row = json.loads(line)
        values = [row.get(field.name) for field in schema]
        rows.append(tuple(NULL if value is None else readers[field.name](text_of(value)) for field, value in zip(schema, values)))
    return rows


def text_of(value):
    return plain(value) if isinstance(value, bool) else str(value)


def jdbc(jars, addresses):
    """Rows by driver and table."""
    command = ["java", "-Duser.timezone=UTC", "-Dfile.encoding=UTF-8", "-Dstdout.encoding=UTF-8", "--add-opens=java.base/java.nio=ALL-UNNAMED"]
    command += ["-cp", f"{jars}/*", str(HERE / "Drivers.java"), "rows", addresses["flight"], addresses["postgres"], *TABLES]
    ran = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    if ran.returncode != 0:
        sys.exit(f"FAILED: jdbc: {ran.stderr}")
    rows = {}
    for line in ran.stdout.split("\n"):
        if line.startswith(("flight\t", "postgres\t")):
            driver, table, *values = line.split("\t")
            rows.setdefault((driver, table), []).append(tuple(values))
    return rows


def polars_tables(root):
    """The tables analysts see, out of what is stored."""
    versions = json.loads((root / "snapshot.json").read_text())["tables"]
    stored = {name: pl.scan_delta(str(root / name), version=version).collect() for name, version in versions.items()}
    state_is = lambda *words: pl.col("state").is_in(words)
    opened = stored["events"].filter(pl.col("opens_case")).with_columns(
        kind=pl.lit("case"),
        open=~state_is("resolved", "closed", "evaluated", "duplicate", "withdrawn"),
        counted=~state_is("duplicate", "withdrawn"),
        versions=pl.lit(1, pl.Int32),
        match_key=pl.lit(None, pl.String),
    )
    changes = pl.concat([stored["case_changes"], opened.select(stored["case_changes"].columns)])
    newest = changes.sort("partition", "sequence").unique(["feed", "record_id"], keep="last")
    of_kind = lambda kind, *hidden: newest.filter(pl.col("kind") == kind).drop("partition", "sequence", "kind", *hidden)
    sums = ["count", "open", "severity"]
    keys = [name for name in stored["cell_changes"].columns if name not in sums]
    cells = stored["cell_changes"].group_by(keys).agg([pl.col(name).sum() for name in sums])
    return {
        **{name: stored[name] for name in ("events", "rejections", "scores")},
        "cases": of_kind("case", "match_key"),
        "withdrawals": of_kind("withdrawal", "open", "counted", "versions"),
        "cells": cells.filter(pl.any_horizontal([pl.col(name) != 0 for name in sums])),
    }


def polars_rows(frame, schema):
    return [tuple(plain(value) for value in row) for row in frame.select([field.name for field in schema]).iter_rows()]


def checksum(rows):
    return hashlib.sha256("\n".join("\t".join(row) for row in sorted(rows)).encode()).hexdigest()[:16]


def first_difference(name, rows, expected):
    ours, theirs = sorted(rows), sorted(expected)
    for one, other in zip(ours, theirs):
        if one != other:
            return f"{name} has\n  {one}\nflight sql has\n  {other}"
    return f"{name} has {len(ours)} rows, flight sql {len(theirs)}"


def wait_until_files_hold_all(root):
    """Rows wait for the tables' files at most 5 s, and are seen before that by those who ask the hub."""
    while time.time() - (root / "snapshot.json").stat().st_mtime < 6:
        time.sleep(0.2)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", type=pathlib.Path, required=True)
    parser.add_argument("--city", required=True)
    parser.add_argument("--shiyu", required=True)
    parser.add_argument("--jars", type=pathlib.Path)
    arguments = parser.parse_args()
    addresses = json.loads((arguments.data_dir / "run" / "serve.json").read_text())
    wait_until_files_hold_all(arguments.data_dir / "tables")
    has_psql = shutil.which("psql") is not None
    java = jdbc(arguments.jars, addresses) if arguments.jars and shutil.which("java") else None
    for there, what in [(has_psql, "psql"), (java, "JDBC drivers")]:
        if not there:
            print(f"skipped: no {what}")
    frames = polars_tables(arguments.data_dir / "tables")
    failed = False
    with flight_sql.connect(f"grpc://{addresses['flight']}", autocommit=True) as connection:
        for table in TABLES:
            schema, expected = adbc(connection, table)
            answers = {"shiyu sql": shiyu_sql(arguments, table, schema)}
            if has_psql:
                answers["psql"] = psql(addresses["postgres"], table, schema)
            if java is not None:
                answers["jdbc flight sql"] = java.get(("flight", table), [])
                answers["jdbc postgresql"] = java.get(("postgres", table), [])
            if table in frames:
                answers["polars (delta)"] = polars_rows(frames[table], schema)
            print(f"{table:12} {len(expected):6} rows  {checksum(expected)}  flight sql (adbc), {', '.join(answers)}")
            for name, rows in answers.items():
                if sorted(rows) != sorted(expected):
                    failed = True
                    print("FAILED:", first_difference(name, rows, expected))
            if not expected:
                failed = True
                print(f"FAILED: {table} is empty, which tests nothing")
    sys.exit(1 if failed else 0)


main()
