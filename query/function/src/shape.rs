//! Cells and polygons, as WKT.

use std::fmt::Write as _;
use std::str::FromStr as _;

use geo::{Geometry, MultiPolygon};
use h3o::geom::{ContainmentMode, TilerBuilder};
use wkt::{ToWkt as _, Wkt};

use crate::function::Function;
use crate::hierarchy::CELLS_MAX;
use crate::value::{Kind, Problem, Value};

fn boundary(values: &[Value]) -> Result<Value, Problem> {
    let corners = values[0].cell()?.boundary();
    let mut text = String::from("POLYGON ((");
    for corner in corners.iter().chain(corners.first()) {
        let separator = if text.ends_with('(') { "" } else { ", " };
        write!(text, "{separator}{:.6} {:.6}", corner.lng(), corner.lat()).map_err(|_full| "no room")?;
    }
    Ok(Value::Text(text + "))"))
}

fn polygon_to_cells(values: &[Value]) -> Result<Value, Problem> {
    let wkt: Wkt<f64> = Wkt::from_str(values[0].text()?).map_err(|_error| "no WKT")?;
    let polygons = match Geometry::try_from(wkt).map_err(|_error| "no WKT")? {
        Geometry::Polygon(polygon) => MultiPolygon::from(polygon),
        Geometry::MultiPolygon(polygons) => polygons,
        _ => return Err("the WKT must be a POLYGON or MULTIPOLYGON"),
    };
    let mode = match values.get(2).map_or(Ok("center"), Value::text)? {
        "center" => ContainmentMode::ContainsCentroid,
        "full" => ContainmentMode::ContainsBoundary,
        "overlapping" => ContainmentMode::Covers,
        _ => return Err("mode must be center, full or overlapping"),
    };
    let mut tiler = TilerBuilder::new(values[1].resolution()?)
        .containment_mode(mode)
        .build();
    for polygon in polygons {
        tiler.add(polygon).map_err(|_error| "the polygon is not valid")?;
    }
    if tiler.coverage_size_hint() as u64 > CELLS_MAX {
        return Err("more than 1,000,000 cells");
    }
    let mut cells: Vec<_> = tiler.into_coverage().collect();
    cells.sort_unstable();
    Ok(Value::of_cells(cells))
}

fn cells_to_multi_polygon(values: &[Value]) -> Result<Value, Problem> {
    let cells = values[0].cells()?;
    let polygons = h3o::geom::SolventBuilder::new().build().dissolve(cells);
    let polygons = polygons.map_err(|_error| "the cells must be of one resolution, each once")?;
    Ok(Value::Text(polygons.wkt_string()))
}

const POLYGON: &[(&str, Kind)] = &[("wkt", Kind::Text), ("resolution", Kind::Int), ("mode", Kind::Text)];

pub(crate) const FUNCTIONS: &[Function] = &[
    Function {
        name: "h3_cell_to_boundary_wkt",
        aliases: &["h3_boundaryaswkt"],
        arguments: &[("cell", Kind::Cell)],
        required: 1,
        result: Kind::Text,
        description: "The cell's outline as WKT, (lng lat) degrees",
        example: "h3_cell_to_boundary_wkt('8928308280fffff')",
        lenient: false,
        call: boundary,
    },
    Function {
        name: "h3_polygon_wkt_to_cells",
        aliases: &[],
        arguments: POLYGON,
        required: 2,
        result: Kind::Cells,
        description: "Cells of a polygon: those whose centre is inside (center), that lie inside (full), that touch it (overlapping)",
        example: "h3_polygon_wkt_to_cells('POLYGON ((112.5 37.8, 112.6 37.8, 112.6 37.9, 112.5 37.8))', 8, 'overlapping')",
        lenient: false,
        call: polygon_to_cells,
    },
    Function {
        name: "h3_try_polygon_wkt_to_cells",
        aliases: &[],
        arguments: POLYGON,
        required: 2,
        result: Kind::Cells,
        description: "Cells of a polygon; NULL where it is none",
        example: "h3_try_polygon_wkt_to_cells('POLYGON ((112.5 37.8, 112.6 37.8, 112.6 37.9, 112.5 37.8))', 8)",
        lenient: true,
        call: polygon_to_cells,
    },
    Function {
        name: "h3_cells_to_multi_polygon_wkt",
        aliases: &[],
        arguments: &[("cells", Kind::Cells)],
        required: 1,
        result: Kind::Text,
        description: "Outline of cells as WKT",
        example: "h3_cells_to_multi_polygon_wkt(h3_grid_disk('8928308280fffff', 1))",
        lenient: false,
        call: cells_to_multi_polygon,
    },
];
