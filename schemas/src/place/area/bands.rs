//! A boundary's edges in bands of latitude, so that a point meets only the few edges at its height.
//!
//! The comparisons are those of [`super::ring_contains`], so the answers are the same to the last bit.

use super::{Edge, Ring};

/// Entries per edge, at most, on average: long edges stand in many bands.
const ENTRIES_PER_EDGE: f64 = 4.0;

/// All edges of all rings of one boundary.
#[derive(Debug)]
pub(super) struct Bands {
    south: f64,
    north: f64,
    per_degree: f64,
    /// Where each band begins in `edges`, and the end.
    starts: Vec<u32>,
    edges: Vec<Edge>,
}

impl Bands {
    pub(super) fn new(rings: &[Ring]) -> Self {
        let edges: Vec<Edge> = rings
            .iter()
            .flat_map(|ring| ring.windows(2))
            .map(|ends| Edge::new(ends[0], ends[1]))
            .collect();
        let south = edges.iter().map(|edge| edge.south.1).fold(f64::INFINITY, f64::min);
        let north = edges.iter().map(|edge| edge.north.1).fold(f64::NEG_INFINITY, f64::max);
        let climbed: f64 = edges.iter().map(|edge| edge.north.1 - edge.south.1).sum();
        let count = (ENTRIES_PER_EDGE - 1.0) * edges.len() as f64 * (north - south) / climbed;
        // Flat or empty: one band. `max` also takes the NaN of 0 / 0.
        let count = count.max(1.0).min(edges.len().max(1) as f64).floor();
        let per_degree = if north > south { count / (north - south) } else { 0.0 };
        let mut bands = Self {
            south,
            north,
            per_degree,
            starts: vec![0; count as usize + 1],
            edges: Vec::new(),
        };
        bands.fill(&edges);
        bands
    }

    fn fill(&mut self, edges: &[Edge]) {
        let mut by_band: Vec<Vec<Edge>> = vec![Vec::new(); self.starts.len() - 1];
        for edge in edges {
            let (first, last) = (self.band(edge.south.1), self.band(edge.north.1));
            for band in &mut by_band[first..=last] {
                band.push(*edge);
            }
        }
        for (band, edges) in by_band.into_iter().enumerate() {
            self.edges.extend(edges);
            self.starts[band + 1] = self.edges.len() as u32;
        }
    }

    /// Never falls as `lat` rises: an edge stands in the band of every latitude it passes.
    fn band(&self, lat: f64) -> usize {
        (((lat - self.south) * self.per_degree) as usize).min(self.starts.len() - 2)
    }

    /// Whether a point is inside an odd number of rings.
    pub(super) fn contains(&self, lat: f64, lng: f64) -> bool {
        if !(self.south..self.north).contains(&lat) {
            return false;
        }
        let band = self.band(lat);
        let edges = &self.edges[self.starts[band] as usize..self.starts[band + 1] as usize];
        edges
            .iter()
            .fold(false, |inside, edge| inside ^ edge.is_east_of(lat, lng))
    }

    /// The edges that may pass between two latitudes (some of them twice).
    pub(super) fn between(&self, south: f64, north: f64) -> &[Edge] {
        if north < self.south || south > self.north || self.edges.is_empty() {
            return &[];
        }
        let (first, last) = (self.band(south.max(self.south)), self.band(north.min(self.north)));
        &self.edges[self.starts[first] as usize..self.starts[last + 1] as usize]
    }
}
