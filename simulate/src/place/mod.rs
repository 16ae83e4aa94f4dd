//! The invented land, the same for every seed.
//!
//! - [`mesh`]: one bent lattice, of which every area is a set of quads, so that areas share borders exactly
//! - [`names`]: what places are called
//! - [`land`]: districts, towns, communities, grids, people
//! - [`address`]: roads, standard addresses, points of interest, aliases
//! - [`boundary`]: GeoJSON of every level, with the one change of boundaries

pub mod address;
pub mod boundary;
pub mod land;
pub mod mesh;
mod names;

pub use address::{Address, AddressBook};
pub use land::Land;
pub use mesh::Point;
