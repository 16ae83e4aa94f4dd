//! Boundaries, and which area a point lies in.
//!
//! - [`source`]: boundary files (GeoJSON, Shapefile) in any datum
//! - [`index`]: H3 cover first, then the polygon itself
//!
//! A point is in an area if it is inside an odd number of the area's rings (even-odd rule). For valid polygons this is the usual
//! meaning; invalid ones (a hole given as a second shell) get the meaning they were drawn with, and are reported.

pub mod index;
pub mod source;

use geo::{LineString, MultiPolygon, Polygon};

pub use index::AreaIndex;
pub use source::{AreaFile, AreaReport};

/// A closed ring of `(lng, lat)`, WGS84 degrees; first and last point are equal.
pub type Ring = Vec<(f64, f64)>;

/// One boundary.
#[derive(Debug, Clone, PartialEq)]
pub struct Area {
    /// Level, e.g. `district`.
    pub level: String,
    /// Code, unique within the level at any time.
    pub code: String,
    /// Name.
    pub name: String,
    /// Code of the parent, at the layer's parent level.
    pub parent: Option<String>,
    /// First day the boundary holds, days since 1970-01-01.
    pub valid_from: Option<i32>,
    /// First day it no longer holds.
    pub valid_to: Option<i32>,
    /// People who live there.
    pub population: Option<i64>,
    /// All rings, shells and holes alike.
    pub rings: Vec<Ring>,
}

impl Area {
    /// Whether the boundary holds on a day (days since 1970-01-01).
    pub fn is_valid_on(&self, day: i32) -> bool {
        self.valid_from.is_none_or(|from| from <= day) && self.valid_to.is_none_or(|to| day < to)
    }

    /// Whether a point is inside an odd number of rings.
    pub fn contains(&self, lat: f64, lng: f64) -> bool {
        self.rings.iter().filter(|ring| ring_contains(ring, lat, lng)).count() % 2 == 1
    }

    /// The rings as polygons with holes: a ring inside an odd number of others is a hole of the smallest of them.
    pub fn polygon(&self) -> MultiPolygon {
        let inside: Vec<Vec<usize>> = (0..self.rings.len())
            .map(|ring| {
                let (lng, lat) = inner_point(&self.rings[ring]);
                (0..self.rings.len())
                    .filter(|&other| other != ring && ring_contains(&self.rings[other], lat, lng))
                    .collect()
            })
            .collect();
        let line = |ring: usize| LineString::from(self.rings[ring].clone());
        let shells = (0..self.rings.len()).filter(|&ring| inside[ring].len().is_multiple_of(2));
        MultiPolygon::new(
            shells
                .map(|shell| {
                    let holes = (0..self.rings.len())
                        .filter(|&ring| inside[ring].len() == inside[shell].len() + 1 && inside[ring].contains(&shell));
                    Polygon::new(line(shell), holes.map(line).collect())
                })
                .collect(),
        )
    }

    /// Size on the ellipsoid, square kilometres.
    pub fn area_km2(&self) -> f64 {
        use geo::GeodesicArea as _;
        self.polygon().geodesic_area_unsigned() / 1e6
    }
}

/// A point just inside a ring, near its first edge: decides which rings hold a ring even where they touch.
fn inner_point(ring: &Ring) -> (f64, f64) {
    let ((x1, y1), (x2, y2)) = (ring[0], ring[1]);
    let (middle_x, middle_y) = (f64::midpoint(x1, x2), f64::midpoint(y1, y2));
    let (normal_x, normal_y) = (-(y2 - y1) * 1e-6, (x2 - x1) * 1e-6);
    let left = (middle_x + normal_x, middle_y + normal_y);
    if ring_contains(ring, left.1, left.0) {
        left
    } else {
        (middle_x - normal_x, middle_y - normal_y)
    }
}

/// Whether a point is inside a ring: its ray eastwards crosses an odd number of edges. Half-open, so that a point on an edge that two
/// rings share is in exactly one of them; each edge is computed from its southern end, so that both rings see the same crossing.
pub fn ring_contains(ring: &Ring, lat: f64, lng: f64) -> bool {
    let mut inside = false;
    for edge in ring.windows(2) {
        let (south, north) = if edge[0].1 <= edge[1].1 {
            (edge[0], edge[1])
        } else {
            (edge[1], edge[0])
        };
        if south.1 <= lat && lat < north.1 {
            let crossing = south.0 + (lat - south.1) * (north.0 - south.0) / (north.1 - south.1);
            inside ^= lng < crossing;
        }
    }
    inside
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn square(west: f64, south: f64, side: f64) -> Ring {
        let (east, north) = (west + side, south + side);
        vec![
            (west, south),
            (east, south),
            (east, north),
            (west, north),
            (west, south),
        ]
    }

    pub(crate) fn area(code: &str, rings: Vec<Ring>) -> Area {
        Area {
            level: "test".to_owned(),
            code: code.to_owned(),
            name: code.to_owned(),
            parent: None,
            valid_from: None,
            valid_to: None,
            population: None,
            rings,
        }
    }

    #[test]
    fn a_second_shell_inside_the_first_is_a_hole() {
        let area = area("1", vec![square(0.0, 0.0, 10.0), square(4.0, 4.0, 2.0)]);
        assert!(area.contains(1.0, 1.0));
        assert!(!area.contains(5.0, 5.0));
        let polygon = area.polygon();
        assert_eq!(polygon.0.len(), 1);
        assert_eq!(polygon.0[0].interiors().len(), 1);
    }

    #[test]
    fn a_point_on_a_shared_edge_is_in_exactly_one() {
        let west = area("1", vec![square(0.0, 0.0, 1.0)]);
        let east = area("2", vec![square(1.0, 0.0, 1.0)]);
        for lat in [0.0, 0.25, 0.999] {
            assert!(west.contains(lat, 1.0) ^ east.contains(lat, 1.0));
        }
    }

    #[test]
    fn a_boundary_holds_until_the_day_it_ends() {
        let mut area = area("1", vec![square(0.0, 0.0, 1.0)]);
        area.valid_from = Some(10);
        area.valid_to = Some(20);
        assert_eq!(
            [9, 10, 19, 20].map(|day| area.is_valid_on(day)),
            [false, true, true, false]
        );
    }
}
