#!/usr/bin/env python3
"""Counts located events per area by testing every point against every polygon (even-odd rule), without Shiyu's code or an index.

    areas.py --data DIR --city chicago|stlouis|boston [--json OUT]

Beside the counts per area: how the areas agree with the label the city itself wrote into the record (Chicago, St. Louis).
Rings are straight between their vertices in degrees, as GeoJSON says; vertices in feet or metres are unprojected first.
"""

import argparse
import json
import math
import struct
import sys
from collections import Counter
from pathlib import Path

import counts
import source


def geojson(path, code):
    """{code: rings of (lng, lat)}"""
    areas = {}
    for feature in json.loads(Path(path).read_text(encoding="utf-8"))["features"]:
        geometry = feature["geometry"]
        polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
        areas[str(feature["properties"][code])] = [[tuple(point[:2]) for point in ring] for rings in polygons for ring in rings]
    return areas


def shapefile(path, code, to_lat_lng):
    """{code: rings of (lng, lat)} of a polygon Shapefile and its .dbf."""
    shp, codes = Path(path).read_bytes(), dbf_column(Path(path).with_suffix(".dbf"), code)
    areas, at = {}, 100
    for name in codes:
        (words,) = struct.unpack_from(">i", shp, at + 4)
        kind, *_box, parts, points = struct.unpack_from("<i4d2i", shp, at + 8)
        if kind != 5:
            raise ValueError(f"{path}: shape type {kind} is no polygon")
        starts = [*struct.unpack_from(f"<{parts}i", shp, at + 52), points]
        flat = struct.unpack_from(f"<{2 * points}d", shp, at + 52 + 4 * parts)
        degrees = [to_lat_lng(x, y)[::-1] for x, y in zip(flat[::2], flat[1::2])]
        areas[name] = [degrees[start:end] for start, end in zip(starts, starts[1:])]
        at += 8 + 2 * words
    return areas


def dbf_column(path, column):
    raw = Path(path).read_bytes()
    number, head, length = struct.unpack_from("<IHH", raw, 4)
    field, offset = 32, 1
    while raw[field : field + 11].rstrip(b"\0").decode() != column:
        offset += raw[field + 16]
        field += 32
    width = raw[field + 16]
    return [raw[head + row * length + offset :][:width].decode().strip() for row in range(number)]


def inside(rings, lng, lat):
    """Even-odd: is the point inside an odd number of the rings?"""
    odd = False
    for ring in rings:
        x_1, y_1 = ring[-1]
        for x_2, y_2 in ring:
            if (y_1 > lat) != (y_2 > lat) and lng < (x_2 - x_1) * (lat - y_1) / (y_2 - y_1) + x_1:
                odd = not odd
            x_1, y_1 = x_2, y_2
    return odd


def edge_distance_m(rings, lng, lat):
    """Metres from the point to the nearest edge, on a plane at the point."""
    east_m, best = 111_320 * math.cos(math.radians(lat)), math.inf
    for ring in rings:
        x_1, y_1 = (ring[-1][0] - lng) * east_m, (ring[-1][1] - lat) * 111_133
        for point in ring:
            x_2, y_2 = (point[0] - lng) * east_m, (point[1] - lat) * 111_133
            dx, dy = x_2 - x_1, y_2 - y_1
            along = max(0.0, min(1.0, -(x_1 * dx + y_1 * dy) / (dx * dx + dy * dy))) if dx or dy else 0.0
            best = min(best, math.hypot(x_1 + along * dx, y_1 + along * dy))
            x_1, y_1 = x_2, y_2
    return best


class Layer:
    """All areas of a level. A point's box test only spares time: a point outside the box is outside the polygon."""

    def __init__(self, areas):
        self.areas, self.known = areas, {}
        self.boxes = []
        for code, rings in areas.items():
            lngs, lats = zip(*(point for ring in rings for point in ring))
            self.boxes.append((min(lngs), min(lats), max(lngs), max(lats), code, rings))

    def codes_at(self, point):
        if point not in self.known:
            lat, lng = point
            self.known[point] = tuple(
                code for west, south, east, north, code, rings in self.boxes
                if west <= lng <= east and south <= lat <= north and inside(rings, lng, lat))
        return self.known[point]


LAYERS = {
    "chicago": lambda data: Layer(geojson(data / "chicago" / "ComArea_ACS14_f.geojson", "ComAreaID")),
    "stlouis": lambda data: Layer(shapefile(data / "stl" / "boundaries" / "hoods.shp", "NHD_NUM", source.ESRI_102696.to_lat_lng)),
    "boston": lambda data: Layer(shapefile(
        data / "boston_311_2015" / "boundaries" / "Boston_Nhoods.shp", "Nghb_ID", source.MASSACHUSETTS_M.to_lat_lng)),
}


def count(layer, places):
    """Figures of one feed; `places` are (point or None, the city's own label or None) of its accepted events."""
    per_area, label = Counter(), Counter()
    far_m = 0.0
    for point, own in places:
        codes = layer.codes_at(point) if point else ()
        per_area.update(codes)
        if point is None:
            label["unlocated"] += 1
        elif not codes:
            label["outside_all"] += 1
        elif own is None:
            label["not_labelled"] += 1
        elif own not in layer.areas:
            label[f"labelled_{own or 'nothing'}"] += 1
        elif own in codes:
            label["inside_own"] += 1
        else:
            label["in_another"] += 1
            distance_m = edge_distance_m(layer.areas[own], point[1], point[0])
            far_m = max(far_m, distance_m)
            label["in_another_within_1_m_of_own"] += distance_m <= 1.0
    figures = {"areas": len(layer.areas), "events_by_area": dict(sorted(per_area.items())), "against_label": dict(label)}
    return figures | ({"in_another_farthest_m": round(far_m, 1)} if far_m else {})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--city", required=True, choices=sorted(LAYERS))
    parser.add_argument("--json", type=Path, help="write the figures here, else to standard output")
    options = parser.parse_args()
    if not options.data.is_dir():
        print(f"skipped: no {options.data}")
        return 0
    layer = LAYERS[options.city](options.data)
    feeds = {name: count(layer, feed.places) for name, feed in counts.COUNT[options.city](options.data).items()}
    text = json.dumps({"city": options.city, "feeds": feeds}, indent=1)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
