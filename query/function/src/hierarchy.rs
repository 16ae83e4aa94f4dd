//! Parents and children.

use h3o::{CellIndex, Resolution};

use crate::function::Function;
use crate::value::{Kind, Problem, Value};

/// Cells one call may give.
pub(crate) const CELLS_MAX: u64 = 1_000_000;

fn parent(values: &[Value]) -> Result<Value, Problem> {
    let cell = values[0].cell()?;
    let resolution = match values.get(1) {
        Some(resolution) => resolution.resolution()?,
        None => cell.resolution().pred().ok_or("a cell of resolution 0 has no parent")?,
    };
    cell.parent(resolution)
        .map(Value::of_cell)
        .ok_or("the parent's resolution must not be finer than the cell's")
}

fn child_resolution(cell: CellIndex, given: Option<&Value>) -> Result<Resolution, Problem> {
    let resolution = match given {
        Some(resolution) => resolution.resolution()?,
        None => cell
            .resolution()
            .succ()
            .ok_or("a cell of resolution 15 has no children")?,
    };
    if resolution < cell.resolution() {
        return Err("the children's resolution must not be coarser than the cell's");
    }
    Ok(resolution)
}

fn children(values: &[Value]) -> Result<Value, Problem> {
    let cell = values[0].cell()?;
    let resolution = child_resolution(cell, values.get(1))?;
    if cell.children_count(resolution) > CELLS_MAX {
        return Err("more than 1,000,000 cells");
    }
    Ok(Value::of_cells(cell.children(resolution)))
}

fn center_child(values: &[Value]) -> Result<Value, Problem> {
    let cell = values[0].cell()?;
    let resolution = child_resolution(cell, values.get(1))?;
    cell.center_child(resolution)
        .map(Value::of_cell)
        .ok_or("no child at that resolution")
}

fn compact(values: &[Value]) -> Result<Value, Problem> {
    let mut cells = values[0].cells()?;
    CellIndex::compact(&mut cells).map_err(|_error| "the cells must be of one resolution, each once")?;
    Ok(Value::of_cells(cells))
}

fn uncompact(values: &[Value]) -> Result<Value, Problem> {
    let cells = values[0].cells()?;
    let resolution = values[1].resolution()?;
    let count: u64 = cells.iter().map(|cell| cell.children_count(resolution)).sum();
    if count > CELLS_MAX {
        return Err("more than 1,000,000 cells");
    }
    Ok(Value::of_cells(CellIndex::uncompact(cells, resolution)))
}

const RELATED: &[(&str, Kind)] = &[("cell", Kind::Cell), ("resolution", Kind::Int)];

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new(
        "h3_cell_to_parent",
        &["h3toparent", "h3_toparent"],
        RELATED,
        Kind::Cell,
        "Ancestor at a resolution; without one, the parent",
        "h3_cell_to_parent('8928308280fffff', 7)",
        parent,
    )
    .last_optional(),
    Function::new(
        "h3_try_cell_to_parent",
        &[],
        RELATED,
        Kind::Cell,
        "Ancestor at a resolution; NULL where there is none",
        "h3_try_cell_to_parent('8928308280fffff', 7)",
        parent,
    )
    .last_optional()
    .lenient(),
    Function::new(
        "h3_cell_to_children",
        &["h3tochildren", "h3_tochildren"],
        RELATED,
        Kind::Cells,
        "Descendants at a resolution; without one, the children",
        "h3_cell_to_children('8928308280fffff', 10)",
        children,
    )
    .last_optional(),
    Function::new(
        "h3_cell_to_center_child",
        &["h3tocenterchild"],
        RELATED,
        Kind::Cell,
        "The descendant at the cell's centre",
        "h3_cell_to_center_child('8928308280fffff', 10)",
        center_child,
    )
    .last_optional(),
    Function::new(
        "h3_compact_cells",
        &["h3_compact"],
        &[("cells", Kind::Cells)],
        Kind::Cells,
        "The same surface in as few cells as possible",
        "h3_compact_cells(h3_cell_to_children('8928308280fffff'))",
        compact,
    ),
    Function::new(
        "h3_uncompact_cells",
        &["h3_uncompact"],
        &[("cells", Kind::Cells), ("resolution", Kind::Int)],
        Kind::Cells,
        "The same surface in cells of one resolution",
        "h3_uncompact_cells(h3_cell_to_children('8928308280fffff'), 10)",
        uncompact,
    ),
];
