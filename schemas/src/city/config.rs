//! `city.yaml`: the city itself, and `areas/areas.yaml`: where its boundaries come from.

use serde::{Deserialize, Serialize};

/// `city.yaml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CityConfig {
    /// Name of the city: lower-case letters, digits, `_`.
    pub city: String,
    /// What people call it.
    pub title: String,
    /// True for an invented city: everything that shows its data says so.
    #[serde(default)]
    pub simulated: bool,
    /// IANA zone in which the city lives.
    pub zone: String,
    /// Places outside are not the city's: `[south, west, north, east]`, WGS84 degrees.
    pub bounds: [f64; 4],
    /// The city's own category tree: `categories/<tree>.csv`.
    pub categories: String,
    /// Boundary layers, coarse to fine. A feature's file stands in `areas/` or is named through a variable.
    #[serde(default)]
    pub areas: Vec<AreaLayer>,
}

/// One level of boundaries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AreaLayer {
    /// Level, e.g. `district`, `neighbourhood`, `grid`.
    pub level: String,
    /// GeoJSON (`.geojson`, `.json`) or Shapefile (`.shp`, with `.dbf`, `.prj`, `.cpg` beside it). Relative to the city folder, or through `${VARIABLE}`.
    pub file: String,
    /// Property that holds the code.
    pub code: String,
    /// Property that holds the name.
    pub name: String,
    /// Property that holds the parent's code, and the level the parent is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Level of the parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_level: Option<String>,
    /// Property that holds the first day a boundary holds (YYYY-MM-DD).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<String>,
    /// Property that holds the first day a boundary no longer holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<String>,
    /// Property that holds the population.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub population: Option<String>,
    /// Datum, where the file does not say (GeoJSON: wgs84; Shapefile: its `.prj`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datum: Option<String>,
}
