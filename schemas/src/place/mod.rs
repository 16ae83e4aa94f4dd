//! Place: points, H3 cells, datums, areas. Pure: everything is parsed from bytes.
//!
//! In reading order:
//! - [`latlng`]: a point in WGS84
//! - [`cell`]: an H3 cell
//! - [`datum`]: from a department's coordinates to WGS84
//! - [`area`]: boundaries, and which area a point lies in

pub mod area;
pub mod cell;
pub mod datum;
pub mod latlng;

#[cfg(test)]
mod data_tests;

pub use cell::Cell;
pub use latlng::LatLng;
