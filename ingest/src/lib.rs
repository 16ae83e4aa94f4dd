//! Record → event → (log) → case, cell → tables.
//!
//! In reading order:
//! - [`city_folder`]: the city folder on disk
//! - [`door`]: map, scrub, locate, check: pure and columnar
//! - [`fold`]: what the log folds into: cases, cells; one commit point per partition
//! - [`hub`]: the intake that puts connectors, door, log and fold together

pub mod city_folder;
pub mod door;
pub mod fold;
pub mod hub;
