//! Rows into files, as departments exchange them.
//!
//! - [`gb18030`]: the hotline's encoding
//! - [`csv`], [`json`], [`sql`], [`xlsx`]: one format each
//! - [`files`]: which file a row goes to; what is sent again

pub mod csv;
pub mod files;
pub mod gb18030;
pub mod json;
pub mod sql;
pub mod xlsx;

pub use files::FileWriter;
