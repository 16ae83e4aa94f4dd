//! Where: coordinates in the department's datum become a WGS84 point, a cell and areas.

use std::str::FromStr as _;
use std::sync::Arc;

use arrow::array::{Array as _, StringArray};
use shiyu_schemas::city::manifest::{OutsideRule, PlaceSection};
use shiyu_schemas::code::Code as _;
use shiyu_schemas::place::datum::Datum;
use shiyu_schemas::place::{Cell, LatLng};
use shiyu_schemas::rejection::RejectionCode;
use shiyu_schemas::v1;

use super::{Problem, text_at};

/// H3 resolution at which events are kept.
const RESOLUTION: u8 = 11;
/// Coordinates this near to a default point are that point (degrees, metres or feet).
const DEFAULT_POINT_TOLERANCE: f64 = 1e-6;

/// One layer of boundaries, as the door needs it.
pub trait AreaLookup: Send + Sync {
    /// Level of the layer.
    fn level(&self) -> &str;

    /// Code of the area a point lies in by its exact polygon, as the boundary was on a local date (days since 1970-01-01). `cell` is the
    /// point's own, at any resolution: it spares looking for it again.
    fn code_at(&self, point: LatLng, cell: Cell, local_date: i32) -> Option<&str>;
}

/// Reads the places of one feed.
pub(super) struct Locator {
    datum: Datum,
    /// The datum as the manifest writes it.
    pub(super) datum_text: String,
    pub(super) precision: v1::PlacePrecision,
    default_points: Vec<[f64; 2]>,
    outside: OutsideRule,
    bounds: [f64; 4],
}

/// What a pair of coordinates means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Spot {
    /// A place of the city.
    At(LatLng, Cell),
    /// Not located, and why.
    Nowhere(&'static str),
    /// The record is refused.
    Refused(RejectionCode),
}

impl Locator {
    pub(super) fn compile(section: &PlaceSection, bounds: [f64; 4]) -> Result<Self, Problem> {
        let datum =
            Datum::from_str(&section.datum).map_err(|error| Problem::new("map.place.datum", error.to_string()))?;
        let precision = v1::PlacePrecision::from_word(&section.precision).ok_or_else(|| {
            let word = &section.precision;
            Problem::new(
                "map.place.precision",
                format!("\"{word}\" is none of exact, block, area_centre, none"),
            )
        })?;
        Ok(Self {
            datum,
            datum_text: section.datum.clone(),
            precision,
            default_points: section.default_points.clone(),
            outside: section.outside,
            bounds,
        })
    }

    /// The places of all rows.
    pub(super) fn locate(&self, xs: &StringArray, ys: &StringArray) -> Vec<Spot> {
        let rows = xs.len();
        let mut spots = Vec::with_capacity(rows);
        let mut numbers = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        for row in 0..rows {
            let (spot, x, y) = self.read(text_at(xs, row), text_at(ys, row));
            spots.push(spot);
            numbers.0.push(x);
            numbers.1.push(y);
        }
        let mut points = vec![None; rows];
        self.datum.to_wgs84_many(&numbers.0, &numbers.1, &mut points);
        spots
            .into_iter()
            .zip(points)
            .map(|(spot, point)| spot.unwrap_or_else(|| self.place(point)))
            .collect()
    }

    /// What the texts alone decide, else their numbers.
    fn read(&self, x: Option<&str>, y: Option<&str>) -> (Option<Spot>, f64, f64) {
        let (Some(x), Some(y)) = (x, y) else {
            return (Some(Spot::Nowhere("no_coordinates")), 0.0, 0.0);
        };
        let (Ok(x), Ok(y)) = (x.parse::<f64>(), y.parse::<f64>()) else {
            return (Some(Spot::Refused(RejectionCode::BadCoordinate)), 0.0, 0.0);
        };
        if !(x.is_finite() && y.is_finite()) {
            return (Some(Spot::Refused(RejectionCode::BadCoordinate)), 0.0, 0.0);
        }
        let near = |[px, py]: &[f64; 2]| {
            (x - px).abs() <= DEFAULT_POINT_TOLERANCE && (y - py).abs() <= DEFAULT_POINT_TOLERANCE
        };
        if near(&[0.0, 0.0]) || self.default_points.iter().any(near) {
            return (Some(Spot::Nowhere("default_point")), 0.0, 0.0);
        }
        (None, x, y)
    }

    fn place(&self, point: Option<(f64, f64)>) -> Spot {
        let [south, west, north, east] = self.bounds;
        let inside = point.filter(|(lat, lng)| (south..=north).contains(lat) && (west..=east).contains(lng));
        let located = inside.and_then(|(lat, lng)| {
            let point = LatLng::new(lat, lng).ok()?;
            Some(Spot::At(point, point.to_cell(RESOLUTION)?))
        });
        located.unwrap_or(match self.outside {
            OutsideRule::Unlocated => Spot::Nowhere("outside_city"),
            OutsideRule::Reject => Spot::Refused(RejectionCode::OutsideCity),
        })
    }
}

/// Writes the areas of a place, one per layer that has one there on the event's date.
pub(super) fn put_areas(layers: &[Arc<dyn AreaLookup>], point: LatLng, cell: Cell, event: &mut v1::Event) {
    let mut filled = 0;
    for layer in layers {
        if let Some(code) = layer.code_at(point, cell, event.local_date) {
            let area = slot(&mut event.areas, filled);
            layer.level().clone_into(&mut area.level);
            code.clone_into(&mut area.code);
            filled += 1;
        }
    }
    event.areas.truncate(filled);
}

/// The item at an index, made where the list ends.
pub(super) fn slot<T: Default>(items: &mut Vec<T>, index: usize) -> &mut T {
    if index == items.len() {
        items.push(T::default());
    }
    &mut items[index]
}
