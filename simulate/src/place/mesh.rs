//! One bent lattice. Its nodes stand dense where people do; areas are sets of its quads, so that neighbours share their border's nodes.

use std::collections::{BTreeMap, BTreeSet};

use crate::random::Random;

/// Quads from west to east.
pub const COLUMNS: u32 = 100;
/// Quads from south to north.
pub const ROWS: u32 = 80;
/// Units of a degree: all places are whole numbers of 10⁻⁷ degrees.
pub const PER_DEGREE: f64 = 1e7;

const SOUTH: f64 = 32.40;
const WEST: f64 = 114.60;
const HEIGHT: f64 = 0.40;
const WIDTH: f64 = 0.64;
/// A node is off its place by at most this share of a quad, in thousandths; below 250 every quad stays convex.
const BEND: u32 = 220;

/// A place, 10⁻⁷ degrees WGS84.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// Latitude.
    pub lat: i32,
    /// Longitude.
    pub lng: i32,
}

impl Point {
    /// Latitude in degrees.
    pub fn lat_degrees(self) -> f64 {
        f64::from(self.lat) / PER_DEGREE
    }

    /// Longitude in degrees.
    pub fn lng_degrees(self) -> f64 {
        f64::from(self.lng) / PER_DEGREE
    }

    /// The place this many centimetres to the north and east, near 32.6° N.
    #[must_use]
    pub fn moved_cm(self, north: i32, east: i32) -> Self {
        Self {
            lat: self.lat + (i64::from(north) * 9_017 / 10_000) as i32,
            lng: self.lng + (i64::from(east) * 10_665 / 10_000) as i32,
        }
    }

    /// Squared distance in square metres, near 32.6° N.
    pub fn square_metres_to(self, other: Self) -> f64 {
        let north = f64::from(self.lat - other.lat) * 0.011_090;
        let east = f64::from(self.lng - other.lng) * 0.009_377;
        north * north + east * east
    }
}

/// A block of quads, half-open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// First column.
    pub west: u32,
    /// First row.
    pub south: u32,
    /// Column behind the last.
    pub east: u32,
    /// Row behind the last.
    pub north: u32,
}

impl Block {
    /// Number of quads.
    pub fn quads(self) -> u32 {
        (self.east - self.west) * (self.north - self.south)
    }

    /// Its quads, row by row.
    pub fn iter(self) -> impl Iterator<Item = (u32, u32)> {
        (self.south..self.north).flat_map(move |row| (self.west..self.east).map(move |column| (column, row)))
    }

    /// The same block on a lattice this many times finer.
    #[must_use]
    pub fn finer(self, times: u32) -> Self {
        Self {
            west: self.west * times,
            south: self.south * times,
            east: self.east * times,
            north: self.north * times,
        }
    }

    /// Cuts it into `parts` blocks of about the same size, across its longer side each time.
    pub fn split(self, parts: u32, random: &mut Random) -> Vec<Self> {
        if parts <= 1 {
            return vec![self];
        }
        let (width, height) = (self.east - self.west, self.north - self.south);
        let is_wide = width > height || (width == height && random.chance(500));
        let length = if is_wide { width } else { height };
        let even = (length * (parts / 2) + parts / 2) / parts;
        let bent = if length > 8 { even + random.below(3) - 1 } else { even };
        let cut = bent.clamp(1, length - 1);
        let (mut low, mut high) = (self, self);
        if is_wide {
            low.east = self.west + cut;
            high.west = low.east;
        } else {
            low.north = self.south + cut;
            high.south = low.north;
        }
        // Each side has parts by its size, and a quad for each of them.
        let by_size = (parts * low.quads() + self.quads() / 2) / self.quads();
        let first = by_size.clamp(parts.saturating_sub(high.quads()).max(1), low.quads().min(parts - 1));
        let mut blocks = low.split(first, random);
        blocks.extend(high.split(parts - first, random));
        blocks
    }
}

/// The lattice.
#[derive(Debug)]
pub struct Mesh {
    nodes: Vec<Point>,
}

impl Mesh {
    /// Bends the lattice.
    pub fn invent(random: &mut Random) -> Self {
        let mut nodes = Vec::new();
        for row in 0..=ROWS {
            for column in 0..=COLUMNS {
                let mut bend = || (f64::from(random.below(2 * BEND + 1)) - f64::from(BEND)) / 1_000.0;
                let x = dense_middle((f64::from(column) + bend()) / f64::from(COLUMNS));
                let y = dense_middle((f64::from(row) + bend()) / f64::from(ROWS));
                nodes.push(Point {
                    lat: even((SOUTH + y * HEIGHT) * PER_DEGREE),
                    lng: even((WEST + x * WIDTH) * PER_DEGREE),
                });
            }
        }
        Self { nodes }
    }

    /// A node.
    pub fn node(&self, column: u32, row: u32) -> Point {
        self.nodes[(row * (COLUMNS + 1) + column) as usize]
    }

    /// A node of the lattice this many times (1 or 2) finer: new nodes stand in the middle of sides and quads.
    pub fn finer_node(&self, times: u32, column: u32, row: u32) -> Point {
        let (west, south) = (column / times, row / times);
        let (east, north) = (column.div_ceil(times), row.div_ceil(times));
        let corners = [(west, south), (east, south), (west, north), (east, north)].map(|(x, y)| self.node(x, y));
        Point {
            lat: (corners.iter().map(|point| i64::from(point.lat)).sum::<i64>() / 4) as i32,
            lng: (corners.iter().map(|point| i64::from(point.lng)).sum::<i64>() / 4) as i32,
        }
    }

    /// The point of a quad at the share `(u, v)` of its width and height, in ten thousandths.
    pub fn inside(&self, (column, row): (u32, u32), u: u32, v: u32) -> Point {
        let mix = |low: i64, high: i64, share: u32| low * i64::from(10_000 - share) + high * i64::from(share);
        let of = |axis: fn(Point) -> i32| {
            let at = |column, row| i64::from(axis(self.node(column, row)));
            let south = mix(at(column, row), at(column + 1, row), u);
            let north = mix(at(column, row + 1), at(column + 1, row + 1), u);
            (mix(south, north, v) / 100_000_000) as i32
        };
        Point {
            lat: of(|point| point.lat),
            lng: of(|point| point.lng),
        }
    }

    /// Size of a quad in square kilometres.
    pub fn quad_km2(&self, (column, row): (u32, u32)) -> f64 {
        let corners = [(0, 0), (1, 0), (1, 1), (0, 1)].map(|(x, y)| self.node(column + x, row + y));
        let metres = |point: Point| {
            (
                f64::from(point.lng - corners[0].lng) * 0.009_377,
                f64::from(point.lat - corners[0].lat) * 0.011_090,
            )
        };
        let twice: f64 = (0..4)
            .map(|index| {
                let (a, b) = (metres(corners[index]), metres(corners[(index + 1) % 4]));
                a.0 * b.1 - b.0 * a.1
            })
            .sum();
        twice / 2e6
    }
}

/// Draws the middle of `[0, 1]` together: quads there are about a fifth of the mean.
fn dense_middle(share: f64) -> f64 {
    let offset = 2.0 * share - 1.0;
    f64::midpoint(offset * (0.45 + 0.55 * offset * offset), 1.0)
}

/// The nearest even whole number, so that the middle between two nodes is whole as well.
fn even(value: f64) -> i32 {
    ((value / 2.0).round() as i32) * 2
}

/// The rings around a set of quads as nodes, interior to the left, not closed. Quads that touch in a corner only have rings of their own.
pub fn rings_around(quads: &BTreeSet<(u32, u32)>) -> Vec<Vec<(u32, u32)>> {
    let mut sides: BTreeMap<(u32, u32), Vec<(u32, u32)>> = BTreeMap::new();
    let holds = |column: Option<u32>, row: Option<u32>| matches!((column, row), (Some(column), Some(row)) if quads.contains(&(column, row)));
    for &(x, y) in quads {
        let mut side = |from, to, inside: bool| {
            if !inside {
                sides.entry(from).or_default().push(to);
            }
        };
        side((x, y), (x + 1, y), holds(Some(x), y.checked_sub(1)));
        side((x + 1, y), (x + 1, y + 1), holds(Some(x + 1), Some(y)));
        side((x + 1, y + 1), (x, y + 1), holds(Some(x), Some(y + 1)));
        side((x, y + 1), (x, y), holds(x.checked_sub(1), Some(y)));
    }
    let mut rings = Vec::new();
    while let Some((&start, _)) = sides.first_key_value() {
        let mut ring = vec![start];
        let (mut at, mut came) = (start, None);
        loop {
            let next = take_side(&mut sides, at, came);
            came = Some(at);
            at = next;
            if at == start {
                break;
            }
            ring.push(at);
        }
        rings.push(ring);
    }
    rings
}

/// Takes the side that leaves a node; of two the one to the left, which stays with the same quad.
fn take_side(
    sides: &mut BTreeMap<(u32, u32), Vec<(u32, u32)>>,
    at: (u32, u32),
    came: Option<(u32, u32)>,
) -> (u32, u32) {
    let leaving = sides.get_mut(&at).expect("every side that arrives leaves again");
    let turn = |to: &(u32, u32)| {
        let Some(from) = came else { return 0 };
        let step = |a: (u32, u32), b: (u32, u32)| (i64::from(b.0) - i64::from(a.0), i64::from(b.1) - i64::from(a.1));
        let (before, after) = (step(from, at), step(at, *to));
        before.0 * after.1 - before.1 * after.0
    };
    let best = (0..leaving.len())
        .max_by_key(|&index| turn(&leaving[index]))
        .expect("a node in the map has a side");
    let next = leaving.swap_remove(best);
    if leaving.is_empty() {
        sides.remove(&at);
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;

    #[test]
    fn every_quad_is_convex() {
        let mesh = Mesh::invent(&mut Random::new(0, 0, Purpose::Land));
        for row in 0..ROWS {
            for column in 0..COLUMNS {
                let corners = [(0, 0), (1, 0), (1, 1), (0, 1)].map(|(x, y)| mesh.node(column + x, row + y));
                for index in 0..4 {
                    let [a, b, c] = [0, 1, 2].map(|step| corners[(index + step) % 4]);
                    let turn = i64::from(b.lng - a.lng) * i64::from(c.lat - b.lat)
                        - i64::from(b.lat - a.lat) * i64::from(c.lng - b.lng);
                    assert!(turn > 0, "quad {column} {row}");
                }
            }
        }
    }

    #[test]
    fn blocks_are_cut_into_as_many_parts_as_asked_and_cover_the_whole() {
        let mut random = Random::new(3, 0, Purpose::Land);
        let whole = Block {
            west: 2,
            south: 1,
            east: 7,
            north: 5,
        };
        for parts in [1, 2, 5, 11, 20] {
            let blocks = whole.split(parts, &mut random);
            assert_eq!(blocks.len() as u32, parts);
            assert!(blocks.iter().all(|block| block.quads() > 0));
            let quads: BTreeSet<_> = blocks.iter().flat_map(|block| block.iter()).collect();
            assert_eq!(quads.len() as u32, whole.quads());
            assert_eq!(blocks.iter().map(|block| block.quads()).sum::<u32>(), whole.quads());
        }
    }

    #[test]
    fn rings_go_around_holes_and_split_where_quads_touch_in_a_corner() {
        let square: BTreeSet<_> = Block {
            west: 0,
            south: 0,
            east: 3,
            north: 3,
        }
        .iter()
        .collect();
        assert_eq!(rings_around(&square).len(), 1);
        let mut holed = square.clone();
        holed.remove(&(1, 1));
        assert_eq!(rings_around(&holed).iter().map(Vec::len).collect::<Vec<_>>(), [12, 4]);
        let touching = BTreeSet::from([(0, 0), (1, 1)]);
        assert_eq!(rings_around(&touching).iter().map(Vec::len).collect::<Vec<_>>(), [4, 4]);
    }
}
