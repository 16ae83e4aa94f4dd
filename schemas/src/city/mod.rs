//! The city folder: everything that differs between two cities, nothing of it in code.
//!
//! - [`config`]: `city.yaml`
//! - [`manifest`]: `feeds/*.yaml`
//! - [`model`]: `models/*.yaml`

pub mod config;
pub mod manifest;
pub mod model;
