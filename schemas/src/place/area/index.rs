//! Which area of a level a point lies in: the H3 cover says which areas may, the polygon itself decides.
//!
//! Each cell of the cover names its candidate areas. Where no edge of a candidate passes the cell's surroundings, the whole cell is in it
//! or outside; else the point is tested against the polygon. The answer equals the test against every polygon.

use std::sync::Arc;

use ahash::{AHashMap, AHashSet};
use geo::{LineString, Polygon};
use h3o::geom::{ContainmentMode, TilerBuilder};
use h3o::{CellIndex, Resolution};

use super::{Area, Ring, ring_contains};
use crate::place::{Cell, LatLng};

/// Cells of one level's cover, about; a finer one costs memory, a coarser one time.
const CELLS_WANTED: f64 = 15_000.0;

#[derive(Debug, Clone, Copy)]
struct Candidate {
    area: u32,
    /// The whole cell is inside.
    whole: bool,
}

/// Areas of one level, ready to be asked.
#[derive(Debug)]
pub struct AreaIndex {
    /// In order of code: the smallest code wins where two hold a point.
    areas: Vec<Arc<Area>>,
    resolution: u8,
    cells: AHashMap<CellIndex, Vec<Candidate>>,
}

impl AreaIndex {
    /// Builds the cover.
    pub fn build(mut areas: Vec<Area>) -> Self {
        areas.sort_by(|a, b| a.code.cmp(&b.code).then(a.valid_from.cmp(&b.valid_from)));
        let size_km2: f64 = areas.iter().map(Area::area_km2).sum();
        let resolution = resolution_for(size_km2);
        let mut cells: AHashMap<CellIndex, Vec<Candidate>> = AHashMap::new();
        for (index, area) in areas.iter().enumerate() {
            for cell in cover(area, resolution) {
                if let Some(whole) = relation(area, cell) {
                    cells.entry(cell).or_default().push(Candidate {
                        area: index as u32,
                        whole,
                    });
                }
            }
        }
        Self {
            areas: areas.into_iter().map(Arc::new).collect(),
            resolution: resolution.into(),
            cells,
        }
    }

    /// The areas, in order of code.
    pub fn areas(&self) -> &[Arc<Area>] {
        &self.areas
    }

    /// The area a point lies in, with the boundaries of a day (days since 1970-01-01).
    pub fn locate(&self, point: LatLng, day: i32) -> Option<&Arc<Area>> {
        let cell = point.to_cell(self.resolution).map(Cell::index)?;
        self.cells.get(&cell)?.iter().find_map(|candidate| {
            let area = &self.areas[candidate.area as usize];
            (area.is_valid_on(day) && (candidate.whole || area.contains(point.lat(), point.lng()))).then_some(area)
        })
    }
}

fn resolution_for(size_km2: f64) -> Resolution {
    [
        Resolution::Eleven,
        Resolution::Ten,
        Resolution::Nine,
        Resolution::Eight,
        Resolution::Seven,
    ]
    .into_iter()
    .find(|resolution| size_km2 / resolution.area_km2() <= CELLS_WANTED)
    .unwrap_or(Resolution::Six)
}

/// Every cell that may hold a point of the area, and some that do not.
fn cover(area: &Area, resolution: Resolution) -> AHashSet<CellIndex> {
    let mut cells = AHashSet::new();
    for ring in &area.rings {
        let mut tiler = TilerBuilder::new(resolution)
            .containment_mode(ContainmentMode::Covers)
            .build();
        // A ring that the tiler refuses (it crosses itself) is covered along its edges and by its surroundings below.
        if tiler
            .add(Polygon::new(LineString::from(ring.clone()), Vec::new()))
            .is_ok()
        {
            cells.extend(tiler.into_coverage());
        }
        cells.extend(along(ring, resolution));
    }
    // Cells and straight edges differ by a hair at their borders: one ring more is always enough.
    let rim: Vec<CellIndex> = cells.iter().flat_map(|cell| cell.grid_disk::<Vec<_>>(1)).collect();
    cells.extend(rim);
    cells
}

/// Cells along a ring's edges.
fn along(ring: &Ring, resolution: Resolution) -> Vec<CellIndex> {
    let step = resolution.edge_length_km() / 111.0 / 2.0;
    let mut cells = Vec::new();
    for edge in ring.windows(2) {
        let ((x1, y1), (x2, y2)) = (edge[0], edge[1]);
        let steps = ((x2 - x1).hypot(y2 - y1) / step).ceil().max(1.0) as usize;
        for index in 0..=steps {
            let part = index as f64 / steps as f64;
            let point = h3o::LatLng::new(y1 + (y2 - y1) * part, x1 + (x2 - x1) * part);
            cells.extend(point.ok().map(|point| point.to_cell(resolution)));
        }
    }
    cells
}

/// `Some(true)`: every point of the cell is in the area; `Some(false)`: ask the polygon; `None`: no point is.
fn relation(area: &Area, cell: CellIndex) -> Option<bool> {
    let bounds = surroundings(cell);
    if area
        .rings
        .iter()
        .any(|ring| ring.windows(2).any(|edge| passes(edge[0], edge[1], &bounds)))
    {
        return Some(false);
    }
    // No edge passes: all points of the box agree with its middle.
    let (lat, lng) = (
        f64::midpoint(bounds.south, bounds.north),
        f64::midpoint(bounds.west, bounds.east),
    );
    let inside = area.rings.iter().filter(|ring| ring_contains(ring, lat, lng)).count() % 2 == 1;
    inside.then_some(true)
}

struct Bounds {
    south: f64,
    west: f64,
    north: f64,
    east: f64,
}

/// A box around a cell, a tenth wider on every side than its corners: a cell's edges are arcs.
fn surroundings(cell: CellIndex) -> Bounds {
    let mut bounds = Bounds {
        south: f64::MAX,
        west: f64::MAX,
        north: f64::MIN,
        east: f64::MIN,
    };
    for corner in cell.boundary().iter() {
        bounds.south = bounds.south.min(corner.lat());
        bounds.north = bounds.north.max(corner.lat());
        bounds.west = bounds.west.min(corner.lng());
        bounds.east = bounds.east.max(corner.lng());
    }
    let (height, width) = ((bounds.north - bounds.south) / 10.0, (bounds.east - bounds.west) / 10.0);
    Bounds {
        south: bounds.south - height,
        north: bounds.north + height,
        west: bounds.west - width,
        east: bounds.east + width,
    }
}

/// Whether a segment passes a box (Liang-Barsky).
fn passes(from: (f64, f64), to: (f64, f64), bounds: &Bounds) -> bool {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let (mut enter, mut leave) = (0.0_f64, 1.0_f64);
    let sides = [
        (-dx, from.0 - bounds.west),
        (dx, bounds.east - from.0),
        (-dy, from.1 - bounds.south),
        (dy, bounds.north - from.1),
    ];
    for (direction, distance) in sides {
        if direction == 0.0 {
            if distance < 0.0 {
                return false;
            }
        } else if direction < 0.0 {
            enter = enter.max(distance / direction);
        } else {
            leave = leave.min(distance / direction);
        }
    }
    enter <= leave
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::super::tests::{area, square};
    use super::*;

    /// A star with `spikes` corners around a middle.
    fn star(lng: f64, lat: f64, radii: &[f64]) -> Ring {
        let mut ring: Ring = radii
            .iter()
            .enumerate()
            .map(|(index, radius)| {
                let angle = index as f64 / radii.len() as f64 * std::f64::consts::TAU;
                (lng + radius * angle.cos(), lat + radius * angle.sin())
            })
            .collect();
        ring.push(ring[0]);
        ring
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn the_index_equals_the_test_against_every_polygon(
            radii in prop::collection::vec(0.005..0.03_f64, 5..30),
            hole in prop::collection::vec(0.001..0.004_f64, 3..8),
            points in prop::collection::vec((-0.05..0.05_f64, -0.05..0.05_f64), 300),
        ) {
            let areas = vec![
                area("a", vec![star(112.5, 37.8, &radii), star(112.5, 37.8, &hole)]),
                area("b", vec![square(112.51, 37.79, 0.02)]),
            ];
            let index = AreaIndex::build(areas.clone());
            for (x, y) in points {
                let point = LatLng::new(37.8 + y, 112.5 + x).unwrap();
                let expected = areas.iter().find(|area| area.contains(point.lat(), point.lng()));
                let found = index.locate(point, 0);
                prop_assert_eq!(found.map(|area| &area.code), expected.map(|area| &area.code));
            }
        }
    }

    #[test]
    fn the_boundary_of_the_day_decides() {
        let mut old = area("old", vec![square(112.5, 37.8, 0.02)]);
        old.valid_to = Some(100);
        let mut new = area("new", vec![square(112.5, 37.8, 0.02)]);
        new.valid_from = Some(100);
        let index = AreaIndex::build(vec![old, new]);
        let point = LatLng::new(37.81, 112.51).unwrap();
        assert_eq!(index.locate(point, 99).unwrap().code, "old");
        assert_eq!(index.locate(point, 100).unwrap().code, "new");
    }
}
