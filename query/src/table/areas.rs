//! `areas`: the boundaries of the city folder.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray};
use datafusion::catalog::TableProvider;
use datafusion::common::Result;
use datafusion::datasource::MemTable;
use shiyu_schemas::city::Layer;
use shiyu_schemas::place::area::Area;
use shiyu_schemas::table::{AREAS, TableShape};

use super::Sources;

/// Columns of the table.
pub(crate) const SHAPE: &TableShape = &AREAS;

/// Makes the table.
pub(crate) fn make(sources: &Sources<'_>) -> Result<Arc<dyn TableProvider>> {
    let layers: &[Layer] = sources.city.map_or(&[], |city| &city.layers);
    let areas: Vec<(&Layer, &Area)> = layers
        .iter()
        .flat_map(|layer| layer.index.areas().iter().map(move |area| (layer, area.as_ref())))
        .collect();
    let column = |text: fn(&Area) -> &str| -> ArrayRef {
        Arc::new(areas.iter().map(|(_, area)| Some(text(area))).collect::<StringArray>())
    };
    let date = |day: fn(&Area) -> Option<i32>| -> ArrayRef {
        Arc::new(areas.iter().map(|(_, area)| day(area)).collect::<Date32Array>())
    };
    let parent_levels = areas
        .iter()
        .map(|(layer, area)| area.parent.as_ref().and(layer.config.parent_level.as_deref()));
    let columns: Vec<ArrayRef> = vec![
        column(|area| &area.level),
        column(|area| &area.code),
        column(|area| &area.name),
        Arc::new(parent_levels.collect::<StringArray>()),
        Arc::new(
            areas
                .iter()
                .map(|(_, area)| area.parent.as_deref())
                .collect::<StringArray>(),
        ),
        date(|area| area.valid_from),
        date(|area| area.valid_to),
        Arc::new(areas.iter().map(|(_, area)| area.population).collect::<Int64Array>()),
        Arc::new(
            areas
                .iter()
                .map(|(_, area)| Some(area.area_km2()))
                .collect::<Float64Array>(),
        ),
        Arc::new(areas.iter().map(|(_, area)| Some(wkt(area))).collect::<StringArray>()),
    ];
    let schema = SHAPE.schema();
    let rows = RecordBatch::try_new(schema.clone(), columns)?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![rows]])?))
}

/// A boundary as WKT, `MULTIPOLYGON`, degrees (lng lat).
fn wkt(area: &Area) -> String {
    let ring = |points: &geo::LineString| {
        let points: Vec<String> = points
            .coords()
            .map(|point| format!("{} {}", point.x, point.y))
            .collect();
        format!("({})", points.join(", "))
    };
    let mut text = String::new();
    for polygon in area.polygon() {
        let rings: Vec<String> = std::iter::once(polygon.exterior())
            .chain(polygon.interiors())
            .map(ring)
            .collect();
        let separator = if text.is_empty() { "" } else { ", " };
        write!(text, "{separator}({})", rings.join(", ")).expect("a String takes what is written to it");
    }
    if text.is_empty() {
        "MULTIPOLYGON EMPTY".to_owned()
    } else {
        format!("MULTIPOLYGON ({text})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boundary_with_a_hole_is_one_polygon_with_two_rings() {
        let square = |at: f64, side: f64| {
            vec![
                (at, at),
                (at + side, at),
                (at + side, at + side),
                (at, at + side),
                (at, at),
            ]
        };
        let area = Area {
            level: "district".to_owned(),
            code: "1".to_owned(),
            name: "One".to_owned(),
            parent: None,
            valid_from: None,
            valid_to: None,
            population: None,
            rings: vec![square(0.0, 3.0), square(1.0, 1.0)],
        };
        let text = wkt(&area);
        assert!(text.starts_with("MULTIPOLYGON (((0 0, 3 0"), "{text}");
        assert_eq!(text.matches("), (").count(), 1, "{text}");
    }
}
