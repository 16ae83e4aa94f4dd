"""The bare work of benches/backfill.rs by others: CSV -> H3 cell of resolution 11 (where they have it) -> Parquet, zstd 1.

    python3 peers.py polars|duckdb orders.csv out.parquet

Needs the packages of benches/requirements.txt; says "skipped" without them.
"""

import sys


def with_polars(orders: str, output: str) -> None:
    try:
        import polars
        import polars_h3
    except ImportError as missing:
        print(f"skipped: no {missing.name}")
        return
    (
        polars.scan_csv(orders)
        .with_columns(polars_h3.latlng_to_cell("lat", "lng", 11).alias("cell"))
        .sink_parquet(output, compression="zstd", compression_level=1)
    )


def with_duckdb(orders: str, output: str) -> None:
    try:
        import duckdb
    except ImportError:
        print("skipped: no duckdb")
        return
    connection = duckdb.connect()
    connection.execute(
        f"copy (select * from read_csv('{orders}')) to '{output}' (format parquet, compression zstd, compression_level 1)"
    )


if __name__ == "__main__":
    {"polars": with_polars, "duckdb": with_duckdb}[sys.argv[1]](sys.argv[2], sys.argv[3])
