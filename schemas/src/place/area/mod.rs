//! Boundaries, and which area a point lies in.
//!
//! - [`source`]: boundary files (GeoJSON, Shapefile) in any datum
//! - [`report`]: what is odd about a boundary as its file has it
//! - [`index`]: H3 cover first, then the polygon itself
//! - `bands`: a boundary's edges by latitude, for the index
//!
//! A point is in an area if it is inside an odd number of the area's rings (even-odd rule). For valid polygons this is the usual
//! meaning; invalid ones (a hole given as a second shell) get the meaning they were drawn with, and are reported.

mod bands;
pub mod index;
pub mod report;
pub mod source;

use geo::{LineString, MultiPolygon, Polygon};

pub use index::AreaIndex;
pub use report::AreaReport;
pub use source::AreaFile;

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
        let holders = self.holders();
        let line = |ring: usize| LineString::from(self.rings[ring].clone());
        let shells = (0..self.rings.len()).filter(|&ring| holders[ring].len().is_multiple_of(2));
        MultiPolygon::new(
            shells
                .map(|shell| {
                    let holes = (0..self.rings.len()).filter(|&ring| {
                        holders[ring].len() == holders[shell].len() + 1 && holders[ring].contains(&shell)
                    });
                    Polygon::new(line(shell), holes.map(line).collect())
                })
                .collect(),
        )
    }

    /// For every ring, the rings that hold it.
    fn holders(&self) -> Vec<Vec<usize>> {
        (0..self.rings.len())
            .map(|ring| {
                let (lng, lat) = inner_point(&self.rings[ring]);
                (0..self.rings.len())
                    .filter(|&other| other != ring && ring_contains(&self.rings[other], lat, lng))
                    .collect()
            })
            .collect()
    }

    /// Size on the ellipsoid, square kilometres.
    pub fn area_km2(&self) -> f64 {
        use geo::GeodesicArea as _;
        self.polygon().geodesic_area_unsigned() / 1e6
    }
}

/// A point just inside a ring, beside the middle of its longest edge: decides which rings hold a ring even where they touch.
fn inner_point(ring: &Ring) -> (f64, f64) {
    let length = |ends: &[(f64, f64)]| (ends[1].0 - ends[0].0).hypot(ends[1].1 - ends[0].1);
    let Some(ends) = ring.windows(2).max_by(|a, b| length(a).total_cmp(&length(b))) else {
        return (f64::NAN, f64::NAN);
    };
    let ((x1, y1), (x2, y2)) = (ends[0], ends[1]);
    let (middle_x, middle_y) = (f64::midpoint(x1, x2), f64::midpoint(y1, y2));
    let (normal_x, normal_y) = (-(y2 - y1) * 1e-6, (x2 - x1) * 1e-6);
    let left = (middle_x + normal_x, middle_y + normal_y);
    if ring_contains(ring, left.1, left.0) {
        left
    } else {
        (middle_x - normal_x, middle_y - normal_y)
    }
}

/// An edge from its southern to its northern end, `(lng, lat)`: two rings that share it compute the same crossing.
#[derive(Debug, Clone, Copy)]
struct Edge {
    south: (f64, f64),
    north: (f64, f64),
}

impl Edge {
    fn new(from: (f64, f64), to: (f64, f64)) -> Self {
        if from.1 <= to.1 {
            Self { south: from, north: to }
        } else {
            Self { south: to, north: from }
        }
    }

    /// Whether a point's ray eastwards crosses the edge. Half-open: the northern end belongs to the next edge.
    fn is_east_of(&self, lat: f64, lng: f64) -> bool {
        let (south, north) = (self.south, self.north);
        south.1 <= lat && lat < north.1 && lng < south.0 + (lat - south.1) * (north.0 - south.0) / (north.1 - south.1)
    }
}

/// Whether a point is inside a ring: its ray eastwards crosses an odd number of edges. Half-open, so that a point on an edge that two
/// rings share is in exactly one of them.
pub fn ring_contains(ring: &Ring, lat: f64, lng: f64) -> bool {
    ring.windows(2).fold(false, |inside, ends| {
        inside ^ Edge::new(ends[0], ends[1]).is_east_of(lat, lng)
    })
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
