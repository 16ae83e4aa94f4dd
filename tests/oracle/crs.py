#!/usr/bin/env python3
"""Writes random points of projected systems with PROJ's answers, the vectors the datums are tested against.

    crs.py [--out schemas/tests/data/proj_vectors.csv]      needs: pip install pyproj

Points are drawn evenly from each system's area of use (seeded: the same file every time), projected, rounded to what the file holds,
and taken back to WGS84 by PROJ. NAD83, ETRS89 and CGCS2000 are taken for WGS84, PROJ's default where it has no grids.
"""

import argparse
import random
from pathlib import Path

import pyproj

SEED = 20261124
# The datums of the cities whose records we know, and CGCS2000; then a few of every other rule of the table.
MAIN, MAIN_POINTS = ["ESRI:102696", "EPSG:3435", "EPSG:26986", "EPSG:4547"], 40
OTHERS, OTHER_POINTS = [
    "EPSG:3857", "EPSG:4491", "EPSG:4502", "EPSG:4512", "EPSG:4513", "EPSG:4526", "EPSG:4533", "EPSG:4534", "EPSG:4554",
    "EPSG:32650", "EPSG:32756", "EPSG:26916", "EPSG:25832",
    "EPSG:26943", "EPSG:2227", "EPSG:26945", "EPSG:2229", "EPSG:26971", "EPSG:26985", "EPSG:2248", "EPSG:2249", "EPSG:26996", "EPSG:26997",
    "EPSG:26998", "ESRI:102697", "ESRI:102698", "ESRI:102100", "EPSG:32118", "EPSG:2263", "EPSG:32129", "EPSG:2272", "EPSG:32139", "EPSG:2277",
    "EPSG:32148", "EPSG:2285",
], 3


def vectors(code, count, rng):
    """(x, y, lat, lng) of `count` points of a system: easting and northing in its unit, degrees."""
    system = pyproj.CRS(code)
    west, south, east, north = system.area_of_use.bounds
    # Drawn in the system's own degrees, answered in WGS84's: a shift that PROJ has and we do not shows.
    project = pyproj.Transformer.from_crs(system.geodetic_crs, system, always_xy=True)
    unproject = pyproj.Transformer.from_crs(system, "EPSG:4326", always_xy=True)
    for _ in range(count):
        x, y = project.transform(rng.uniform(west, east), rng.uniform(south, north), errcheck=True)
        x, y = round(x, 4), round(y, 4)
        lng, lat = unproject.transform(x, y, errcheck=True)
        yield x, y, lat, lng


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).resolve().parents[2] / "schemas" / "tests" / "data" / "proj_vectors.csv"
    parser.add_argument("--out", type=Path, default=default)
    options = parser.parse_args()
    pyproj.network.set_network_enabled(False)
    rng = random.Random(SEED)
    lines = [
        "# Random points and PROJ's answers, written by tests/oracle/crs.py (invented points, no records).",
        f"# PROJ {pyproj.proj_version_str}, pyproj {pyproj.__version__}, seed {SEED}. x, y: easting, northing in the system's unit; WGS84 degrees.",
        "datum,x,y,lat,lng",
    ]
    for code, count in [(code, MAIN_POINTS) for code in MAIN] + [(code, OTHER_POINTS) for code in OTHERS]:
        lines += [f"{code},{x:.4f},{y:.4f},{lat:.12f},{lng:.12f}" for x, y, lat, lng in vectors(code, count, rng)]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(lines) - 3} vectors written to {options.out}")


if __name__ == "__main__":
    main()
