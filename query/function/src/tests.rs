#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use arrow::util::display::array_value_to_string;

use super::*;

async fn answer(sql: &str) -> Result<String, String> {
    let context = SessionContext::new();
    register_all(&context);
    let batches = context
        .sql(&format!("SELECT {sql}"))
        .await
        .map_err(|error| error.to_string())?
        .collect()
        .await
        .map_err(|error| error.to_string())?;
    Ok(array_value_to_string(batches[0].column(0), 0).unwrap())
}

#[tokio::test]
async fn every_example_runs_and_null_gives_null() {
    for function in manual() {
        let example = answer(function.example)
            .await
            .unwrap_or_else(|error| panic!("{}: {error}", function.name));
        assert!(!example.is_empty(), "{} gives nothing", function.example);
        let nulls = vec!["NULL"; function.required].join(", ");
        assert_eq!(
            answer(&format!("{}({nulls})", function.name)).await.unwrap(),
            "",
            "{}",
            function.name
        );
        assert!(function.signature().starts_with(function.name) && !function.description.is_empty());
    }
}

#[test]
fn no_name_stands_twice() {
    let mut names: Vec<&str> = manual()
        .flat_map(|function| function.aliases.iter().chain([&function.name]))
        .copied()
        .collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

/// One row of the vectors: kind, call, answer.
fn vectors() -> Vec<(String, String, String)> {
    include_str!("../tests/data/h3_vectors.csv")
        .lines()
        .skip(1)
        .map(|line| {
            let (kind, rest) = line.split_once(',').unwrap();
            let (call, answer) = match rest.strip_prefix('"') {
                Some(quoted) => quoted.split_once("\",").unwrap(),
                None => rest.split_once(',').unwrap(),
            };
            (kind.to_owned(), call.to_owned(), answer.trim_matches('"').to_owned())
        })
        .collect()
}

/// Numbers in a text, whatever stands between them.
fn numbers(text: &str) -> Vec<f64> {
    text.split(|character: char| !(character.is_ascii_digit() || "+-.e".contains(character)))
        .filter_map(|word| word.parse().ok())
        .collect()
}

fn cells(text: &str) -> Vec<i64> {
    let digits = |character: char| !character.is_ascii_digit();
    let mut cells: Vec<i64> = text.split(digits).filter_map(|word| word.parse().ok()).collect();
    cells.sort_unstable();
    cells
}

fn agree(kind: &str, ours: &str, theirs: &str) -> bool {
    match kind {
        "text" => ours == theirs,
        "cells" => cells(ours) == cells(theirs),
        "rings" => {
            let ours: Vec<_> = ours.split("],").map(cells).collect();
            ours == theirs.split('/').map(cells).collect::<Vec<_>>()
        }
        _ => {
            let (ours, theirs) = (numbers(ours), numbers(theirs));
            // The reference keeps its averages with six digits at the finest resolutions; places are compared in degrees.
            let tolerance = |number: f64| if kind == "number" { 1e-6 * number.abs() } else { 1e-9 };
            let near = |(one, other): (&f64, &f64)| (one - other).abs() <= tolerance(*other);
            ours.len() == theirs.len() && ours.iter().zip(&theirs).all(near)
        }
    }
}

/// The vectors come from `tests/data/h3_vectors.py`: Python's h3 4.5.0, which is the reference C library.
#[tokio::test]
async fn answers_are_those_of_the_reference_implementation() {
    let vectors = vectors();
    assert!(vectors.len() > 350);
    for (kind, call, theirs) in vectors {
        let ours = answer(&call).await.unwrap_or_else(|error| panic!("{call}: {error}"));
        // Lengths of lists are compared as well: a place of one more corner has one more number.
        assert!(
            agree(&kind, &ours.replace("lat:", "").replace("lng:", ""), &theirs),
            "{call}: {ours} is not {theirs}"
        );
    }
}

#[tokio::test]
async fn wkb_and_wkt_tell_the_same() {
    let cell = "'8928308280fffff'";
    for (one, other) in [
        (
            // By centres: text has fewer digits than WKB, and cells that only touch the border would come and go with them.
            "h3_polygon_wkb_to_cells(h3_cell_to_boundary_wkb('86283082fffffff'), 9, 'center')".to_owned(),
            "h3_polygon_wkt_to_cells(h3_cell_to_boundary_wkt('86283082fffffff'), 9, 'center')".to_owned(),
        ),
        (
            format!("h3_polygon_wkb_to_cells(h3_cells_to_multi_polygon_wkb(h3_grid_disk({cell}, 1)), 9)"),
            format!("h3_polygon_wkt_to_cells(h3_cells_to_multi_polygon_wkt(h3_grid_disk({cell}, 1)), 9)"),
        ),
        (
            format!("array_sort(h3_grid_disk({cell}, 1))"),
            format!("h3_polygon_wkb_to_cells(h3_cells_to_multi_polygon_wkb(h3_grid_disk({cell}, 1)), 9)"),
        ),
        (
            format!("h3_coverash3(h3_boundaryaswkt({cell}), 9)"),
            format!("st_h3cellids(h3_boundaryaswkt({cell}), 9, true)"),
        ),
    ] {
        assert_eq!(answer(&one).await.unwrap(), answer(&other).await.unwrap(), "{one}");
    }
    assert_eq!(answer("h3_try_polygon_wkb_to_cells(x'0103', 9)").await.unwrap(), "");
    assert!(
        answer("h3_polygon_wkb_to_cells(x'0103', 9)")
            .await
            .unwrap_err()
            .contains("no WKB")
    );
}

#[tokio::test]
async fn a_struct_of_latitude_and_longitude_holds_what_the_single_functions_give() {
    for name in [
        "gcj02_to_wgs84",
        "wgs84_to_gcj02",
        "bd09_to_wgs84",
        "wgs84_to_bd09",
        "gcj02_to_bd09",
        "bd09_to_gcj02",
    ] {
        let both = answer(&format!("{name}(37.87, 112.55)")).await.unwrap();
        let lat = answer(&format!("{name}(37.87, 112.55)['lat'] = {name}_lat(37.87, 112.55)")).await;
        let lng = answer(&format!("{name}(37.87, 112.55)['lng'] = {name}_lng(37.87, 112.55)")).await;
        assert_eq!(
            (lat.unwrap().as_str(), lng.unwrap().as_str()),
            ("true", "true"),
            "{name}: {both}"
        );
    }
    assert_eq!(
        answer("to_wgs84(584000, 3608000, 'EPSG:4547')['lng'] = to_wgs84_lng(584000, 3608000, 'EPSG:4547')")
            .await
            .unwrap(),
        "true"
    );
}

/// Names of the other dialects, DuckDB, h3-pg, Snowflake, ClickHouse, Databricks, CARTO, Sedona.
#[test]
fn names_of_other_dialects_are_known() {
    let known: Vec<&str> = manual()
        .flat_map(|function| function.aliases.iter().chain([&function.name]))
        .copied()
        .collect();
    let theirs = "h3_latlng_to_cell h3_lat_lng_to_cell geoToH3 h3_longlatash3 h3_latlng_to_cell_string h3_longlatash3string
        h3_cell_to_lat h3_cell_to_lng h3_cell_to_latlng H3_CELL_TO_POINT h3ToGeo h3_centeraswkt h3_centeraswkb h3_centerasgeojson
        h3_cell_to_boundary_wkt h3_cell_to_boundary_wkb H3_CELL_TO_BOUNDARY h3ToGeoBoundary h3_boundaryaswkt h3_boundaryaswkb
        h3_boundaryasgeojson h3_cell_to_parent h3ToParent h3_toparent h3_cell_to_children h3ToChildren h3_tochildren
        h3_cell_to_center_child h3ToCenterChild h3_grid_disk h3kRing h3_kring h3_grid_disk_distances h3_kringdistances h3_grid_ring
        h3_grid_ring_unsafe h3HexRing h3_hexring h3_grid_distance h3Distance h3_distance h3_grid_path_cells H3_GRID_PATH h3Line
        h3_compact_cells h3_uncompact_cells h3_compact h3_uncompact h3_polygon_wkt_to_cells h3_polygon_wkb_to_cells
        h3_polygon_to_cells H3_COVERAGE h3PolygonToCells h3_polyfillash3 h3_coverash3 h3_cells_to_multi_polygon_wkt
        h3_cells_to_multi_polygon h3_get_resolution h3_is_valid_cell h3_is_pentagon h3_get_base_cell_number h3GetResolution h3IsValid
        h3IsPentagon h3GetBaseCell h3_resolution h3_isvalid h3_ispentagon h3_cell_area h3_get_hexagon_area_avg h3_edge_length
        h3CellAreaM2 h3HexAreaKm2 h3_h3_to_string h3_string_to_h3 H3_INT_TO_STRING H3_STRING_TO_INT h3ToString stringToH3
        h3_h3tostring h3_stringtoh3 h3_are_neighbor_cells h3IndexesAreNeighbors H3_FROMLONGLAT ST_H3CellIDs";
    for name in theirs.split_whitespace() {
        assert!(known.contains(&name.to_lowercase().as_str()), "{name}");
    }
}

#[tokio::test]
async fn bad_input_is_an_error_that_does_not_quote_it() {
    let error = answer("h3_latlng_to_cell(99.125, 0, 9)").await.unwrap_err();
    assert!(
        error.contains("latitude must be") && !error.contains("99.125: "),
        "{error}"
    );
    assert!(
        answer("h3_grid_disk('8928308280fffff', 100000)")
            .await
            .unwrap_err()
            .contains("0 to 200")
    );
    assert!(
        answer("h3_cell_to_children('8928308280fffff', 15, 3)")
            .await
            .unwrap_err()
            .contains("takes other arguments")
    );
}
