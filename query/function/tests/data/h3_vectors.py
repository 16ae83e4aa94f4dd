#!/usr/bin/env python3
"""Writes h3_vectors.csv: calls in SQL, and what Python's h3 (the reference C library) answers.

usage: h3_vectors.py > h3_vectors.csv        (pip install h3==4.5.0)

Columns: kind (text, number, cells, rings, place, places), call, answer. Cells are decimal, lists are joined by blanks and sorted, rings by " / ", numbers
have 15 digits; latitude and longitude of a place are joined by a comma, places by blanks.
"""

import csv
import math
import random
import sys

import h3

POINTS = [(37.87, 112.55), (31.23, 121.47), (38.627, -90.199), (41.88, -87.63), (42.36, -71.06), (0.0, 0.0), (-33.87, 151.21),
          (89.9, 10.0), (-89.9, -170.0), (0.5, 179.999), (64.70000012793489, 10.53619907546772), (12.3, -179.99)]
rows = []


def cell_id(cell):
    return str(h3.str_to_int(cell))


def cells(found):
    return " ".join(str(number) for number in sorted(h3.str_to_int(cell) for cell in found))


def number(value):
    return f"{value:.15g}"


def place(latlng):
    return f"{latlng[0]:.15g},{latlng[1]:.15g}"


def add(kind, call, answer):
    rows.append((kind, call, answer))


def of_cell(cell, chance):
    resolution = h3.get_resolution(cell)
    add("text", f"h3_h3_to_string(h3_string_to_h3('{cell}'))", cell)
    add("number", f"h3_get_resolution('{cell}')", str(resolution))
    add("number", f"h3_get_base_cell_number('{cell}')", str(h3.get_base_cell_number(cell)))
    add("text", f"cast(h3_is_pentagon('{cell}') as text)", str(h3.is_pentagon(cell)).lower())
    add("place", f"h3_cell_to_latlng('{cell}')", place(h3.cell_to_latlng(cell)))
    add("places", f"h3_cell_to_boundary('{cell}')", " ".join(place(corner) for corner in h3.cell_to_boundary(cell)))
    add("number", f"h3_cell_area('{cell}', 'km^2')", number(h3.cell_area(cell, "km^2")))
    if resolution > 0:
        parent = chance.randrange(resolution)
        add("cells", f"h3_cell_to_parent('{cell}', {parent})", cell_id(h3.cell_to_parent(cell, parent)))
    if resolution < 14:
        add("cells", f"h3_cell_to_children('{cell}', {resolution + 1})", cells(h3.cell_to_children(cell)))
        add("cells", f"h3_cell_to_center_child('{cell}', {resolution + 2})", cell_id(h3.cell_to_center_child(cell, resolution + 2)))
    add("cells", f"h3_grid_disk('{cell}', 2)", cells(h3.grid_disk(cell, 2)))
    add("cells", f"h3_grid_ring('{cell}', 1)", cells(h3.grid_ring(cell, 1)))
    add("rings", f"h3_grid_disk_distances('{cell}', 2)", " / ".join(cells(h3.grid_ring(cell, k)) for k in range(3)))
    near = sorted(h3.grid_ring(cell, 1))[0]
    add("text", f"cast(h3_are_neighbor_cells('{cell}', '{near}') as text)", str(h3.are_neighbor_cells(cell, near)).lower())
    edge = h3.cells_to_directed_edge(cell, near)
    add("cells", f"h3_cells_to_directed_edge('{cell}', '{near}')", cell_id(edge))
    add("number", f"h3_edge_length('{edge}', 'm')", number(h3.edge_length(edge, "m")))
    if not h3.is_pentagon(cell) and resolution > 3:
        far = sorted(h3.grid_disk(cell, 3))[-1]
        add("number", f"h3_grid_distance('{cell}', '{far}')", str(h3.grid_distance(cell, far)))
        add("cells", f"h3_grid_path_cells('{cell}', '{far}')", cells(h3.grid_path_cells(cell, far)))
        disk = h3.grid_disk(cell, 3)
        several = ", ".join(cell_id(one) for one in sorted(disk))
        add("cells", f"h3_compact_cells(make_array({several}))", cells(h3.compact_cells(disk)))


def of_polygon(lat, lng, resolution, chance):
    ring = []
    for step in range(7):
        angle, radius = 2 * math.pi * step / 7, chance.uniform(0.01, 0.03)
        ring.append((round(lat + radius * math.sin(angle), 5), round(lng + radius * math.cos(angle), 5)))
    shape = h3.LatLngPoly(ring)
    wkt = "POLYGON ((" + ", ".join(f"{x} {y}" for y, x in ring + ring[:1]) + "))"
    modes = {"center": "center", "full": "full", "overlapping": "overlap"}
    for ours, theirs in modes.items():
        found = h3.h3shape_to_cells_experimental(shape, resolution, contain=theirs)
        add("cells", f"h3_polygon_wkt_to_cells('{wkt}', {resolution}, '{ours}')", cells(found))


def main():
    chance = random.Random(4)
    for lat, lng in POINTS:
        for resolution in (0, 5, 9, 11, 15):
            add("text", f"h3_latlng_to_cell_string({lat}, {lng}, {resolution})", h3.latlng_to_cell(lat, lng, resolution))
        of_cell(h3.latlng_to_cell(lat, lng, chance.choice([1, 4, 7, 9, 11])), chance)
    for cell in sorted(h3.get_pentagons(5))[:3]:
        of_cell(cell, chance)
    for resolution in (0, 5, 9, 15):
        add("number", f"h3_get_hexagon_area_avg({resolution}, 'km^2')", number(h3.average_hexagon_area(resolution, "km^2")))
        add("number", f"h3_get_hexagon_edge_length_avg({resolution}, 'm')", number(h3.average_hexagon_edge_length(resolution, "m")))
    for lat, lng in POINTS[:5]:
        for resolution in (7, 8, 9):
            of_polygon(lat, lng, resolution, chance)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("kind", "call", "answer"))
    writer.writerows(rows)


main()
