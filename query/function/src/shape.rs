//! Cells and polygons, as WKT, WKB, GeoJSON and lists of points.

use std::str::FromStr as _;

use geo::{Coord, Geometry, LineString, MultiPolygon, Polygon};
use h3o::geom::{ContainmentMode, SolventBuilder, TilerBuilder};
use h3o::{LatLng, Resolution};
use wkt::{ToWkt as _, Wkt};

use crate::function::Function;
use crate::hierarchy::CELLS_MAX;
use crate::value::{Kind, Problem, Value};
use crate::wkb;

/// Corners of a cell, the first one again at the end.
fn corners(cell: &Value) -> Result<Vec<LatLng>, Problem> {
    let boundary = cell.cell()?.boundary();
    Ok(boundary.iter().chain(boundary.first()).copied().collect())
}

fn boundary_text(cell: &Value, separator: &str, pair: fn(&LatLng) -> String) -> Result<String, Problem> {
    Ok(corners(cell)?.iter().map(pair).collect::<Vec<_>>().join(separator))
}

fn boundary_wkt(values: &[Value]) -> Result<Value, Problem> {
    let text = boundary_text(&values[0], ", ", |corner| {
        format!("{:.6} {:.6}", corner.lng(), corner.lat())
    })?;
    Ok(Value::Text(format!("POLYGON (({text}))")))
}

fn boundary_geojson(values: &[Value]) -> Result<Value, Problem> {
    let text = boundary_text(&values[0], ",", |corner| {
        format!("[{:.6},{:.6}]", corner.lng(), corner.lat())
    })?;
    Ok(Value::Text(format!(r#"{{"type":"Polygon","coordinates":[[{text}]]}}"#)))
}

fn boundary_wkb(values: &[Value]) -> Result<Value, Problem> {
    let ring = corners(&values[0])?.into_iter().map(|corner| Coord {
        x: corner.lng(),
        y: corner.lat(),
    });
    let polygon = Polygon::new(LineString(ring.collect()), Vec::new());
    Ok(Value::Bytes(wkb::of_polygon(&polygon)))
}

fn boundary(values: &[Value]) -> Result<Value, Problem> {
    let corners = values[0].cell()?.boundary();
    Ok(Value::Places(
        corners.iter().map(|corner| (corner.lat(), corner.lng())).collect(),
    ))
}

fn center_wkt(values: &[Value]) -> Result<Value, Problem> {
    let center = LatLng::from(values[0].cell()?);
    Ok(Value::Text(format!("POINT ({:.6} {:.6})", center.lng(), center.lat())))
}

fn center_geojson(values: &[Value]) -> Result<Value, Problem> {
    let center = LatLng::from(values[0].cell()?);
    Ok(Value::Text(format!(
        r#"{{"type":"Point","coordinates":[{:.6},{:.6}]}}"#,
        center.lng(),
        center.lat()
    )))
}

fn center_wkb(values: &[Value]) -> Result<Value, Problem> {
    let center = LatLng::from(values[0].cell()?);
    Ok(Value::Bytes(wkb::of_point(center.lat(), center.lng())))
}

fn polygons_of_wkt(text: &str) -> Result<MultiPolygon, Problem> {
    let wkt: Wkt<f64> = Wkt::from_str(text).map_err(|_error| "no WKT")?;
    match Geometry::try_from(wkt).map_err(|_error| "no WKT")? {
        Geometry::Polygon(polygon) => Ok(MultiPolygon::from(polygon)),
        Geometry::MultiPolygon(polygons) => Ok(polygons),
        _ => Err("the WKT must be a POLYGON or MULTIPOLYGON"),
    }
}

/// Whether cells must have their centre inside, lie inside, or touch; the words are H3's.
fn mode_of(given: Option<&Value>) -> Result<ContainmentMode, Problem> {
    match given.map_or(Ok("center"), Value::text)? {
        "center" => Ok(ContainmentMode::ContainsCentroid),
        "full" => Ok(ContainmentMode::ContainsBoundary),
        "overlapping" => Ok(ContainmentMode::Covers),
        _ => Err("mode must be center, full or overlapping"),
    }
}

fn tiled(polygons: MultiPolygon, resolution: Resolution, mode: ContainmentMode) -> Result<Value, Problem> {
    let mut tiler = TilerBuilder::new(resolution).containment_mode(mode).build();
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

fn polygon_wkt_to_cells(values: &[Value]) -> Result<Value, Problem> {
    let polygons = polygons_of_wkt(values[0].text()?)?;
    tiled(polygons, values[1].resolution()?, mode_of(values.get(2))?)
}

fn polygon_wkb_to_cells(values: &[Value]) -> Result<Value, Problem> {
    let polygons = wkb::to_polygons(values[0].bytes()?)?;
    tiled(polygons, values[1].resolution()?, mode_of(values.get(2))?)
}

fn coverage(values: &[Value]) -> Result<Value, Problem> {
    let polygons = polygons_of_wkt(values[0].text()?)?;
    tiled(polygons, values[1].resolution()?, ContainmentMode::Covers)
}

fn cell_ids(values: &[Value]) -> Result<Value, Problem> {
    let polygons = polygons_of_wkt(values[0].text()?)?;
    let mode = if values[2].bool()? {
        ContainmentMode::Covers
    } else {
        ContainmentMode::ContainsCentroid
    };
    tiled(polygons, values[1].resolution()?, mode)
}

fn dissolved(cells: &Value) -> Result<MultiPolygon, Problem> {
    SolventBuilder::new()
        .build()
        .dissolve(cells.cells()?)
        .map_err(|_error| "the cells must be of one resolution, each once")
}

const CELL: &[(&str, Kind)] = &[("cell", Kind::Cell)];
const CELLS: &[(&str, Kind)] = &[("cells", Kind::Cells)];
const WKT: &[(&str, Kind)] = &[("wkt", Kind::Text), ("resolution", Kind::Int), ("mode", Kind::Text)];
const WKB: &[(&str, Kind)] = &[("wkb", Kind::Bytes), ("resolution", Kind::Int), ("mode", Kind::Text)];
const COVER: &[(&str, Kind)] = &[("wkt", Kind::Text), ("resolution", Kind::Int)];
const FULL_COVER: &[(&str, Kind)] = &[
    ("wkt", Kind::Text),
    ("resolution", Kind::Int),
    ("full_cover", Kind::Bool),
];

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new(
        "h3_cell_to_boundary_wkt",
        &["h3_boundaryaswkt"],
        CELL,
        Kind::Text,
        "The cell's outline as WKT, (lng lat) degrees",
        "h3_cell_to_boundary_wkt('8928308280fffff')",
        boundary_wkt,
    ),
    Function::new(
        "h3_cell_to_boundary_wkb",
        &["h3_boundaryaswkb"],
        CELL,
        Kind::Bytes,
        "The cell's outline as WKB, (lng lat) degrees",
        "h3_cell_to_boundary_wkb('8928308280fffff')",
        boundary_wkb,
    ),
    Function::new(
        "h3_boundaryasgeojson",
        &[],
        CELL,
        Kind::Text,
        "The cell's outline as GeoJSON",
        "h3_boundaryasgeojson('8928308280fffff')",
        boundary_geojson,
    ),
    Function::new(
        "h3_cell_to_boundary",
        &["h3togeoboundary"],
        CELL,
        Kind::Places,
        "The cell's corners, degrees",
        "h3_cell_to_boundary('8928308280fffff')",
        boundary,
    ),
    Function::new(
        "h3_centeraswkt",
        &[],
        CELL,
        Kind::Text,
        "The cell's centre as WKT, (lng lat) degrees",
        "h3_centeraswkt('8928308280fffff')",
        center_wkt,
    ),
    Function::new(
        "h3_centeraswkb",
        &[],
        CELL,
        Kind::Bytes,
        "The cell's centre as WKB, (lng lat) degrees",
        "h3_centeraswkb('8928308280fffff')",
        center_wkb,
    ),
    Function::new(
        "h3_centerasgeojson",
        &[],
        CELL,
        Kind::Text,
        "The cell's centre as GeoJSON",
        "h3_centerasgeojson('8928308280fffff')",
        center_geojson,
    ),
    Function::new(
        "h3_polygon_wkt_to_cells",
        &["h3_polygon_to_cells", "h3polygontocells", "h3_polyfillash3"],
        WKT,
        Kind::Cells,
        "Cells of a polygon: those whose centre is inside (center), that lie inside (full), that touch it (overlapping)",
        "h3_polygon_wkt_to_cells('POLYGON ((112.5 37.8, 112.6 37.8, 112.6 37.9, 112.5 37.8))', 8, 'overlapping')",
        polygon_wkt_to_cells,
    ).last_optional(),
    Function::new(
        "h3_try_polygon_wkt_to_cells",
        &["h3_try_polyfillash3"],
        WKT,
        Kind::Cells,
        "Cells of a polygon; NULL where it is none",
        "h3_try_polygon_wkt_to_cells('POLYGON ((112.5 37.8, 112.6 37.8, 112.6 37.9, 112.5 37.8))', 8)",
        polygon_wkt_to_cells,
    ).last_optional().lenient(),
    Function::new(
        "h3_polygon_wkb_to_cells",
        &[],
        WKB,
        Kind::Cells,
        "Cells of a polygon given as WKB; modes as of h3_polygon_wkt_to_cells",
        "h3_polygon_wkb_to_cells(h3_cell_to_boundary_wkb('8828308281fffff'), 9)",
        polygon_wkb_to_cells,
    ).last_optional(),
    Function::new(
        "h3_try_polygon_wkb_to_cells",
        &[],
        WKB,
        Kind::Cells,
        "Cells of a polygon given as WKB; NULL where it is none",
        "h3_try_polygon_wkb_to_cells(h3_cell_to_boundary_wkb('8828308281fffff'), 9)",
        polygon_wkb_to_cells,
    ).last_optional().lenient(),
    Function::new(
        "h3_coverash3",
        &["h3_coverage"],
        COVER,
        Kind::Cells,
        "Cells that touch a polygon",
        "h3_coverash3('POLYGON ((112.5 37.8, 112.6 37.8, 112.6 37.9, 112.5 37.8))', 8)",
        coverage,
    ),
    Function::new(
        "st_h3cellids",
        &[],
        FULL_COVER,
        Kind::Cells,
        "Cells of a polygon: those that touch it (full cover) or whose centre is inside",
        "st_h3cellids('POLYGON ((112.5 37.8, 112.6 37.8, 112.6 37.9, 112.5 37.8))', 8, true)",
        cell_ids,
    ),
    Function::new(
        "h3_cells_to_multi_polygon_wkt",
        &["h3_cells_to_multi_polygon"],
        CELLS,
        Kind::Text,
        "Outline of cells as WKT",
        "h3_cells_to_multi_polygon_wkt(h3_grid_disk('8928308280fffff', 1))",
        |values| dissolved(&values[0]).map(|polygons| Value::Text(polygons.wkt_string())),
    ),
    Function::new(
        "h3_cells_to_multi_polygon_wkb",
        &[],
        CELLS,
        Kind::Bytes,
        "Outline of cells as WKB",
        "h3_cells_to_multi_polygon_wkb(h3_grid_disk('8928308280fffff', 1))",
        |values| dissolved(&values[0]).map(|polygons| Value::Bytes(wkb::of_multi_polygon(&polygons))),
    ),
];
