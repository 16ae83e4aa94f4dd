//! Cells → scores. Pure: no clock, no network; time comes in with the data.
//!
//! In reading order:
//! - [`live`]: the counts of every cell, in memory
//! - [`factor`]: one factor's SQL, compiled once
//! - [`transform`]: from a factor's value to 0..1, with what is frozen per window
//! - [`model`]: factors together: the score of a cell, which its contributions sum to
//! - [`board`]: the newest scores and the recent changes, for subscribers
//! - `checkpoint`: the engine's state in a file
//! - [`engine`]: the fold over `cells.v1` that keeps all this up to date

pub mod board;
mod checkpoint;
pub mod engine;
#[cfg(test)]
mod engine_tests;
pub mod factor;
pub mod live;
pub mod model;
pub mod transform;

pub use board::ScoreBoard;
pub use engine::{EngineError, EngineOptions, RiskEngine};
pub use model::CompiledModel;
