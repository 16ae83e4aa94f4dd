//! Neighbours and distances.

use h3o::CellIndex;

use crate::function::Function;
use crate::hierarchy::CELLS_MAX;
use crate::value::{Kind, Problem, Value};

/// Rings one call may ask for.
const RINGS_MAX: i64 = 200;

fn rings(value: &Value) -> Result<u32, Problem> {
    let rings = value.int()?;
    if (0..=RINGS_MAX).contains(&rings) {
        Ok(rings as u32)
    } else {
        Err("k must be 0 to 200")
    }
}

fn disk(values: &[Value]) -> Result<Value, Problem> {
    let disk: Vec<CellIndex> = values[0].cell()?.grid_disk(rings(&values[1])?);
    Ok(Value::of_cells(disk))
}

fn ring(values: &[Value]) -> Result<Value, Problem> {
    let (cell, k) = (values[0].cell()?, rings(&values[1])?);
    let disk: Vec<(CellIndex, u32)> = cell.grid_disk_distances(k);
    Ok(Value::of_cells(
        disk.into_iter()
            .filter(|(_, distance)| *distance == k)
            .map(|(cell, _)| cell),
    ))
}

fn rings_around(values: &[Value]) -> Result<Value, Problem> {
    let (cell, k) = (values[0].cell()?, rings(&values[1])?);
    let mut by_distance = vec![Vec::new(); k as usize + 1];
    for (cell, distance) in cell.grid_disk_distances::<Vec<_>>(k) {
        by_distance[distance as usize].push(u64::from(cell) as i64);
    }
    Ok(Value::Rings(by_distance))
}

fn distance(values: &[Value]) -> Result<Value, Problem> {
    let distance = values[0].cell()?.grid_distance(values[1].cell()?);
    distance
        .map(|distance| Value::Int(i64::from(distance)))
        .map_err(|_error| "the cells are too far apart or of two resolutions")
}

fn path(values: &[Value]) -> Result<Value, Problem> {
    const APART: Problem = "the cells are too far apart or of two resolutions";
    let (from, to) = (values[0].cell()?, values[1].cell()?);
    if u64::from(from.grid_distance(to).map_err(|_error| APART)?.unsigned_abs()) > CELLS_MAX {
        return Err("more than 1,000,000 cells");
    }
    let cells = from.grid_path_cells(to).map_err(|_error| APART)?;
    cells
        .collect::<Result<Vec<_>, _>>()
        .map(Value::of_cells)
        .map_err(|_error| APART)
}

fn neighbours(values: &[Value]) -> Result<Value, Problem> {
    let neighbours = values[0].cell()?.is_neighbor_with(values[1].cell()?);
    neighbours
        .map(Value::Bool)
        .map_err(|_error| "the cells must be of one resolution")
}

const AROUND: &[(&str, Kind)] = &[("cell", Kind::Cell), ("k", Kind::Int)];
const PAIR: &[(&str, Kind)] = &[("cell", Kind::Cell), ("other", Kind::Cell)];

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new(
        "h3_grid_disk",
        &["h3kring", "h3_kring"],
        AROUND,
        Kind::Cells,
        "Cells within k steps, the cell among them",
        "h3_grid_disk('8928308280fffff', 1)",
        disk,
    ),
    Function::new(
        "h3_grid_disk_distances",
        &["h3_kringdistances"],
        AROUND,
        Kind::Rings,
        "Cells within k steps, one list per distance from 0 to k",
        "h3_grid_disk_distances('8928308280fffff', 1)",
        rings_around,
    ),
    Function::new(
        "h3_grid_ring",
        &["h3_grid_ring_unsafe", "h3hexring", "h3_hexring"],
        AROUND,
        Kind::Cells,
        "Cells exactly k steps away",
        "h3_grid_ring('8928308280fffff', 1)",
        ring,
    ),
    Function::new(
        "h3_grid_distance",
        &["h3distance", "h3_distance"],
        PAIR,
        Kind::Int,
        "Steps between two cells",
        "h3_grid_distance('8928308280fffff', '8928308280bffff')",
        distance,
    ),
    Function::new(
        "h3_grid_path_cells",
        &["h3_grid_path", "h3line"],
        PAIR,
        Kind::Cells,
        "Cells of a line between two cells, both among them",
        "h3_grid_path_cells('8928308280fffff', '8928308280bffff')",
        path,
    ),
    Function::new(
        "h3_are_neighbor_cells",
        &["h3indexesareneighbors"],
        PAIR,
        Kind::Bool,
        "Whether two cells share an edge",
        "h3_are_neighbor_cells('8928308280fffff', '8928308280bffff')",
        neighbours,
    ),
];
