//! Edges between neighbours.

use crate::function::Function;
use crate::value::{Kind, Problem, Value};

const UNIT: Problem = "unit must be km, m or rads";

fn edge_between(values: &[Value]) -> Result<Value, Problem> {
    let edge = values[0].cell()?.edge(values[1].cell()?);
    edge.map(|edge| Value::Int(u64::from(edge) as i64))
        .ok_or("the cells are no neighbours")
}

fn length(values: &[Value]) -> Result<Value, Problem> {
    let edge = values[0].edge()?;
    match values[1].text()? {
        "km" => Ok(Value::Double(edge.length_km())),
        "m" => Ok(Value::Double(edge.length_m())),
        "rads" => Ok(Value::Double(edge.length_rads())),
        _ => Err(UNIT),
    }
}

fn length_average(values: &[Value]) -> Result<Value, Problem> {
    let resolution = values[0].resolution()?;
    match values[1].text()? {
        "km" => Ok(Value::Double(resolution.edge_length_km())),
        "m" => Ok(Value::Double(resolution.edge_length_m())),
        "rads" => Ok(Value::Double(resolution.edge_length_rads())),
        _ => Err(UNIT),
    }
}

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new(
        "h3_cells_to_directed_edge",
        &[],
        &[("origin", Kind::Cell), ("destination", Kind::Cell)],
        Kind::Int,
        "Edge from a cell to its neighbour",
        "h3_cells_to_directed_edge('8928308280fffff', '8928308280bffff')",
        edge_between,
    ),
    Function::new(
        "h3_edge_length",
        &[],
        &[("edge", Kind::Cell), ("unit", Kind::Text)],
        Kind::Double,
        "Length of an edge between neighbours; unit km, m or rads",
        "h3_edge_length(h3_cells_to_directed_edge('8928308280fffff', '8928308280bffff'), 'm')",
        length,
    ),
    Function::new(
        "h3_get_hexagon_edge_length_avg",
        &[],
        &[("resolution", Kind::Int), ("unit", Kind::Text)],
        Kind::Double,
        "Mean length of a cell's edge; unit km, m or rads",
        "h3_get_hexagon_edge_length_avg(9, 'm')",
        length_average,
    ),
];
