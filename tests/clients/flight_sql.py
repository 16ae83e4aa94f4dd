#!/usr/bin/env python3
"""Drives Flight SQL with the ADBC driver: catalogue, schema, query, parameters.

usage: flight_sql.py HOST:PORT [--token TOKEN] [--ca FILE]

Skips loudly without the driver.
"""

import argparse
import sys

try:
    import adbc_driver_flightsql.dbapi as flight_sql
    from adbc_driver_flightsql import DatabaseOptions
except ImportError:
    print("skipped: no adbc_driver_flightsql (bash tests/clients/setup)")
    sys.exit(0)

TABLES = {"events", "cases", "withdrawals", "cells", "scores", "rejections", "areas", "feeds", "categories", "epochs"}


def connect(address, token, ca):
    options = {}
    if token:
        # Sent as Basic in a handshake, answered with a bearer.
        options |= {"username": "analyst", "password": token}
    if ca:
        options[DatabaseOptions.TLS_ROOT_CERTS.value] = open(ca, encoding="utf-8").read()
    scheme = "grpc+tls" if ca else "grpc"
    return flight_sql.connect(f"{scheme}://{address}", db_kwargs=options, autocommit=True)


def check_catalogue(connection):
    objects = connection.adbc_get_objects(depth="all").read_all().to_pylist()
    assert [catalog["catalog_name"] for catalog in objects] == ["shiyu"], objects
    (schema,) = objects[0]["catalog_db_schemas"]
    assert schema["db_schema_name"] == "core", schema["db_schema_name"]
    tables = {table["table_name"]: table for table in schema["db_schema_tables"]}
    assert tables.keys() == TABLES, tables.keys()
    columns = [column["column_name"] for column in tables["events"]["table_columns"]]
    assert columns[:2] == ["feed", "record_id"] and "cell" in columns, columns
    few = connection.adbc_get_objects(depth="tables", table_name_filter="c%s").read_all().to_pylist()
    names = {table["table_name"] for table in few[0]["catalog_db_schemas"][0]["db_schema_tables"]}
    assert names == {"cases", "cells", "categories"}, names
    assert set(connection.adbc_get_table_types()) == {"TABLE", "VIEW"}
    info = connection.adbc_get_info()
    assert info["vendor_name"] == "Shiyu", info


def check_schema(connection):
    schema = connection.adbc_get_table_schema("events", db_schema_filter="core")
    assert str(schema.field("cell").type) == "int64", schema
    assert str(schema.field("occurred_at").type) == "timestamp[us, tz=UTC]", schema
    for table in TABLES:
        schema = connection.adbc_get_table_schema(table, db_schema_filter="core")
        for field in schema:
            assert field.metadata and field.metadata[b"comment"], f"{table}.{field.name} has no comment"
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {table} LIMIT 0")
            assert cursor.fetch_arrow_table().schema.types == schema.types, table


def check_queries(connection):
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*), count(DISTINCT feed) FROM events")
        ((events, feeds),) = cursor.fetchall()
        cursor.execute("SELECT feed, count(*) FROM events GROUP BY feed ORDER BY feed")
        by_feed = cursor.fetchall()
        assert len(by_feed) == feeds and sum(count for _, count in by_feed) == events
        for feed, count in by_feed:
            cursor.execute("SELECT count(*) FROM events WHERE feed = $1 AND source_row >= $2", (feed, 0))
            assert cursor.fetchone()[0] == count
            cursor.execute("SELECT count(*) FROM events WHERE feed = ?", (feed,))
            assert cursor.fetchone()[0] == count
        cursor.execute("SELECT cast($1 AS bigint) + 1, $2", (41, "ä 中"))
        assert cursor.fetchone() == (42, "ä 中")
        cursor.execute("SELECT gcj02_to_wgs84(30.2, 120.2) AS place, h3_grid_disk(617700169958293503, 1) AS cells")
        ((place, cells),) = cursor.fetchall()
        assert place.keys() == {"lat", "lng"} and len(cells) == 7, (place, cells)
        values = tuple(range(12))
        cursor.execute("SELECT " + ", ".join(f"cast(${n + 1} AS bigint)" for n in values), values)
        assert cursor.fetchone() == values


def check_refusals(connection):
    refused = [
        "CREATE TABLE t AS SELECT 1",
        "COPY (SELECT 1) TO '/tmp/shiyu.csv'",
        "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'",
        "SELECT * FROM '/etc/passwd'",
        "SET datafusion.execution.batch_size = 1",
        "SELECT 1; SELECT 2",
        "SELECT repeat('x', 2000000000)",
        "SELECT " + " OR ".join(["1=0"] * 10_000),
    ]
    for sql in refused:
        with connection.cursor() as cursor:
            try:
                cursor.execute(sql)
                cursor.fetchall()
            except flight_sql.Error:
                continue
            raise AssertionError(f"was not refused: {sql[:60]}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--token")
    parser.add_argument("--ca")
    arguments = parser.parse_args()
    with connect(arguments.address, arguments.token, arguments.ca) as connection:
        check_catalogue(connection)
        check_schema(connection)
        check_queries(connection)
        check_refusals(connection)
        print("ok: flight sql (adbc)")


main()
