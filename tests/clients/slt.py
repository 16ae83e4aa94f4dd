#!/usr/bin/env python3
"""Runs tests/sql/*.slt (the format of sqllogictest) through both doors: Flight SQL by ADBC, PostgreSQL's protocol by psql.

usage: slt.py --flight HOST:PORT --postgres HOST:PORT FILE…
"""

import argparse
import csv
import io
import re
import shutil
import subprocess
import sys

import adbc_driver_flightsql.dbapi as flight_sql


class Refused(Exception):
    """What a door says."""


def text_of(value):
    if value is None:
        return "NULL"
    return str(value).lower() if isinstance(value, bool) else str(value)


def by_adbc(connection):
    def run(sql):
        with connection.cursor() as cursor:
            try:
                cursor.execute(sql)
                return [[text_of(value) for value in row] for row in cursor.fetchall()]
            except flight_sql.Error as error:
                raise Refused(str(error)) from error

    return run


def by_psql(address):
    host, port = address.rsplit(":", 1)
    command = ["psql", "--no-psqlrc", "--csv", "--tuples-only", "--pset", "null=NULL", "--set", "ON_ERROR_STOP=1", "--host", host]
    command += ["--port", port, "--username", "analyst", "--dbname", "shiyu", "--command"]

    def run(sql):
        ran = subprocess.run([*command, sql], capture_output=True, text=True)
        if ran.returncode:
            raise Refused(ran.stderr)
        rows = csv.reader(io.StringIO(ran.stdout))
        return [[{"t": "true", "f": "false"}.get(value, value) for value in row] for row in rows]

    return run


def records(text):
    """(line, directive words, sql, expected lines)"""
    line = 1
    for block in re.split(r"\n\s*\n", text):
        lines = block.split("\n")
        start = line
        line += len(lines) + 1
        while lines and (not lines[0].strip() or lines[0].startswith("#")):
            lines.pop(0)
            start += 1
        if not lines:
            continue
        middle = lines.index("----") if "----" in lines else len(lines)
        yield start, lines[0], "\n".join(lines[1:middle]), [row for row in lines[middle + 1 :] if row]


def check(run, directive, sql, expected):
    """What is wrong, if anything."""
    kind, *words = directive.split(" ", 2)
    if kind == "statement" and words[0] == "error":
        try:
            run(sql)
        except Refused as refusal:
            return None if re.search(words[1], str(refusal)) else f"refused for another reason: {refusal}"
        return "was not refused"
    try:
        rows = [" ".join(row) for row in run(sql)]
    except Refused as refusal:
        return f"refused: {refusal}"
    if "rowsort" in words:
        rows.sort()
    return None if rows == expected else f"gives {rows}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--flight", required=True)
    parser.add_argument("--postgres", required=True)
    parser.add_argument("files", nargs="+")
    arguments = parser.parse_args()
    connection = flight_sql.connect(f"grpc://{arguments.flight}", autocommit=True)
    doors = {"flight sql": by_adbc(connection)}
    if shutil.which("psql"):
        doors["postgresql"] = by_psql(arguments.postgres)
    else:
        print("skipped: no psql")
    failed = ran = 0
    for file in arguments.files:
        for line, directive, sql, expected in records(open(file, encoding="utf-8").read()):
            for door, run in doors.items():
                ran += 1
                if problem := check(run, directive, sql, expected):
                    failed += 1
                    print(f"FAILED: {file}:{line} through {door}: {problem}")
    connection.close()
    if failed:
        sys.exit(1)
    print(f"ok: {ran} records of {len(arguments.files)} files through {', '.join(doors)}")


main()
