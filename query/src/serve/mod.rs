//! The doors.
//!
//! - [`sql_service`]: what all doors for SQL share: who may ask, how many at a time, how a query runs
//! - [`flight_sql`]: Arrow Flight SQL
//! - [`pgwire`]: PostgreSQL's wire protocol
//! - [`sql_server`]: both of them at their addresses
//! - [`place_filter`], [`risk_service`]: gRPC `RiskService`

pub mod flight_sql;
pub mod pgwire;
pub mod place_filter;
pub mod risk_service;
#[cfg(test)]
mod slt_tests;
pub mod sql_server;
pub mod sql_service;

pub use sql_server::{BoundAddresses, SqlServeOptions, run_query, serve_sql};
pub use sql_service::{Access, HashedToken, SqlService};
