//! Which area of a level a point lies in: the H3 cover says which areas may, the polygon itself decides.
//!
//! Each cell of the cover names its candidate areas. Where no edge of a candidate passes the cell's surroundings, the whole cell is in it
//! or outside; else the point is tested against the polygon. The answer equals the test against every polygon, bit for bit.
//! Not for boundaries that hold a pole or pass the 180th meridian.

use std::sync::Arc;

use ahash::{AHashMap, AHashSet};
use h3o::{CellIndex, Resolution};

use super::bands::Bands;
use super::{Area, Edge, Ring};
use crate::place::{Cell, LatLng};

/// Cells of one level's cover, about; a finer one costs memory, a coarser one time.
const CELLS_WANTED: f64 = 15_000.0;

/// How much wider the box around a cell is than its corners, on every side, as a part of its size. A cell's edges are arcs, and the
/// points of its descendants reach 5 % of its radius beyond it (a part of 0.11), so that a descendant's ancestor may be asked too.
const MARGIN: f64 = 0.2;

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
    /// The areas' edges.
    bands: Vec<Bands>,
    resolution: Resolution,
    /// Where a cell's candidates begin and end.
    cells: AHashMap<CellIndex, (u32, u32)>,
    /// By cell, then in order of code.
    candidates: Vec<Candidate>,
}

impl AreaIndex {
    /// Builds the cover.
    pub fn build(mut areas: Vec<Area>) -> Self {
        areas.sort_by(|a, b| a.code.cmp(&b.code).then(a.valid_from.cmp(&b.valid_from)));
        let resolution = resolution_for(areas.iter().map(Area::area_km2).sum());
        let bands: Vec<Bands> = areas.iter().map(|area| Bands::new(&area.rings)).collect();
        let mut found: Vec<(CellIndex, Candidate)> = Vec::new();
        for (area, (shape, bands)) in (0..).zip(areas.iter().zip(&bands)) {
            let cover = cover(&shape.rings, bands, resolution);
            found.extend(cover.into_iter().map(|(cell, whole)| (cell, Candidate { area, whole })));
        }
        found.sort_by_key(|(cell, candidate)| (*cell, candidate.area));
        let mut cells = AHashMap::new();
        let mut begin = 0;
        for same in found.chunk_by(|a, b| a.0 == b.0) {
            let end = begin + same.len() as u32;
            cells.insert(same[0].0, (begin, end));
            begin = end;
        }
        let candidates = found.into_iter().map(|(_, candidate)| candidate).collect();
        Self {
            areas: areas.into_iter().map(Arc::new).collect(),
            bands,
            resolution,
            cells,
            candidates,
        }
    }

    /// The areas, in order of code.
    pub fn areas(&self) -> &[Arc<Area>] {
        &self.areas
    }

    /// The area a point lies in, with the boundaries of a day (days since 1970-01-01).
    pub fn locate(&self, point: LatLng, day: i32) -> Option<&Arc<Area>> {
        let cell = point.to_cell(self.resolution.into())?;
        self.ask(cell.index(), point, day)
    }

    /// As [`locate`](Self::locate), for a point whose cell is known at any resolution: twice as fast where it is fine enough (11 is).
    pub fn locate_cell(&self, point: LatLng, cell: Cell, day: i32) -> Option<&Arc<Area>> {
        match cell.index().parent(self.resolution) {
            Some(ancestor) => self.ask(ancestor, point, day),
            None => self.locate(point, day),
        }
    }

    fn ask(&self, cell: CellIndex, point: LatLng, day: i32) -> Option<&Arc<Area>> {
        let &(begin, end) = self.cells.get(&cell)?;
        self.candidates[begin as usize..end as usize]
            .iter()
            .find_map(|candidate| {
                let index = candidate.area as usize;
                let area = &self.areas[index];
                let holds = || candidate.whole || self.bands[index].contains(point.lat(), point.lng());
                (area.is_valid_on(day) && holds()).then_some(area)
            })
    }
}

fn resolution_for(size_km2: f64) -> Resolution {
    (4..=11)
        .rev()
        .filter_map(|resolution| Resolution::try_from(resolution).ok())
        .find(|resolution| size_km2 / resolution.area_km2() <= CELLS_WANTED)
        .unwrap_or(Resolution::Four)
}

/// Every cell that holds a point of the area, and whether it lies wholly inside. Spreads from the rings: what lies inside hangs together
/// with a ring, also where rings cross themselves or each other.
fn cover(rings: &[Ring], bands: &Bands, resolution: Resolution) -> Vec<(CellIndex, bool)> {
    let mut found = Vec::new();
    let rim: AHashSet<CellIndex> = rings.iter().flat_map(|ring| along(ring, resolution)).collect();
    let mut open: Vec<CellIndex> = rim.into_iter().flat_map(|cell| cell.grid_disk::<Vec<_>>(2)).collect();
    let mut seen = AHashSet::new();
    while let Some(cell) = open.pop() {
        if !seen.insert(cell) {
            continue;
        }
        if let Some(whole) = relation(bands, cell) {
            found.push((cell, whole));
            open.extend(cell.grid_disk::<Vec<_>>(1));
        }
    }
    found
}

/// Cells along a ring's edges.
fn along(ring: &Ring, resolution: Resolution) -> AHashSet<CellIndex> {
    let step = resolution.edge_length_km() / 111.0 / 2.0;
    let mut cells = AHashSet::new();
    for ends in ring.windows(2) {
        let ((x1, y1), (x2, y2)) = (ends[0], ends[1]);
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
fn relation(bands: &Bands, cell: CellIndex) -> Option<bool> {
    let bounds = surroundings(cell);
    if bands
        .between(bounds.south, bounds.north)
        .iter()
        .any(|edge| passes(edge, &bounds))
    {
        return Some(false);
    }
    // No edge passes: all points of the box agree with its middle.
    let inside = bands.contains(
        f64::midpoint(bounds.south, bounds.north),
        f64::midpoint(bounds.west, bounds.east),
    );
    inside.then_some(true)
}

struct Bounds {
    south: f64,
    west: f64,
    north: f64,
    east: f64,
}

/// A box around a cell, wider than its corners by [`MARGIN`].
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
    let (height, width) = (
        (bounds.north - bounds.south) * MARGIN,
        (bounds.east - bounds.west) * MARGIN,
    );
    Bounds {
        south: bounds.south - height,
        north: bounds.north + height,
        west: bounds.west - width,
        east: bounds.east + width,
    }
}

/// Whether an edge passes a box (Liang-Barsky).
fn passes(edge: &Edge, bounds: &Bounds) -> bool {
    let (from, to) = (edge.south, edge.north);
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

    fn code(area: Option<&Arc<Area>>) -> Option<&str> {
        area.map(|area| area.code.as_str())
    }

    /// Both ways to ask, against every polygon in order of code.
    fn agrees(index: &AreaIndex, lat: f64, lng: f64) -> bool {
        let point = LatLng::new(lat, lng).unwrap();
        let expected = code(index.areas().iter().find(|area| area.contains(lat, lng)));
        let by_cell = index.locate_cell(point, point.to_cell(11).unwrap(), 0);
        code(index.locate(point, 0)) == expected && code(by_cell) == expected
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn the_index_equals_the_test_against_every_polygon(
            lat in -60.0..60.0_f64,
            lng in -170.0..170.0_f64,
            radii in prop::collection::vec(0.005..0.03_f64, 5..30),
            hole in prop::collection::vec(0.001..0.004_f64, 3..8),
            // Mostly crosses itself.
            tangle in prop::collection::vec((-0.05..0.05_f64, -0.05..0.05_f64), 3..12),
            points in prop::collection::vec((-0.06..0.06_f64, -0.06..0.06_f64), 400),
        ) {
            let mut tangle: Ring = tangle.into_iter().map(|(x, y)| (lng + x, lat + y)).collect();
            tangle.push(tangle[0]);
            let index = AreaIndex::build(vec![
                area("a", vec![star(lng, lat, &radii), star(lng, lat, &hole)]),
                area("b", vec![square(lng + 0.01, lat - 0.01, 0.02)]),
                area("c", vec![tangle]),
            ]);
            for (x, y) in points {
                prop_assert!(agrees(&index, lat + y, lng + x));
            }
            // Vertices and middles of edges too: there a border decides.
            for ends in index.areas().iter().flat_map(|area| &area.rings).flat_map(|ring| ring.windows(2)) {
                let ((x1, y1), (x2, y2)) = (ends[0], ends[1]);
                prop_assert!(agrees(&index, y1, x1) && agrees(&index, f64::midpoint(y1, y2), f64::midpoint(x1, x2)));
            }
        }

        #[test]
        fn every_point_of_a_descendant_lies_in_the_surroundings(lat in -80.0..80.0_f64, lng in -170.0..170.0_f64) {
            let cell = h3o::LatLng::new(lat, lng).unwrap().to_cell(Resolution::Fifteen);
            for resolution in (4..=11).filter_map(|resolution| Resolution::try_from(resolution).ok()) {
                let bounds = surroundings(cell.parent(resolution).unwrap());
                if bounds.east - bounds.west < 180.0 {
                    prop_assert!((bounds.south..bounds.north).contains(&lat) && (bounds.west..bounds.east).contains(&lng));
                }
            }
        }
    }

    #[test]
    fn an_area_smaller_than_a_cell_and_one_with_flat_edges_are_found() {
        let index = AreaIndex::build(vec![
            area("big", vec![square(112.0, 37.0, 0.5)]),
            area("tiny", vec![square(112.6, 37.0, 1e-6)]),
        ]);
        assert_eq!(
            code(index.locate(LatLng::new(37.000_000_5, 112.600_000_5).unwrap(), 0)),
            Some("tiny")
        );
        for (lat, lng) in [
            (37.0, 112.25),
            (37.5, 112.25),
            (37.25, 112.0),
            (37.25, 112.5),
            (37.0, 112.0),
            (37.5, 112.5),
        ] {
            assert!(agrees(&index, lat, lng), "{lat} {lng}");
        }
        assert!(
            AreaIndex::build(Vec::new())
                .locate(LatLng::new(37.0, 112.0).unwrap(), 0)
                .is_none()
        );
    }

    #[test]
    fn the_boundary_of_the_day_decides() {
        let mut old = area("old", vec![square(112.5, 37.8, 0.02)]);
        old.valid_to = Some(100);
        let mut new = area("new", vec![square(112.5, 37.8, 0.02)]);
        new.valid_from = Some(100);
        let index = AreaIndex::build(vec![old, new]);
        let point = LatLng::new(37.81, 112.51).unwrap();
        assert_eq!(code(index.locate(point, 99)), Some("old"));
        assert_eq!(code(index.locate(point, 100)), Some("new"));
    }
}
