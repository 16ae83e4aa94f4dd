//! Questions about places: SQL for analysts, scores for subscribers.
//!
//! In reading order:
//! - [`table`]: the tables as analysts see them, at one common snapshot
//! - [`guard`]: what a query may be, decided before anything is planned
//! - `dialect`: what people write for PostgreSQL
//! - [`session`]: sessions with nothing in them but our tables and functions
//! - [`wire`]: types as clients know them
//! - [`risk`]: scores of cells, and why
//! - [`serve`]: the doors
//! - [`error`]: what can go wrong, and how each door says it

mod dialect;
pub mod error;
pub mod guard;
pub mod risk;
pub mod serve;
pub mod session;
pub mod table;
pub mod wire;

pub use error::QueryError;
pub use serve::{BoundAddresses, SqlServeOptions, run_query, serve_sql};
