//! How records get in. One file per connector, one registry.
//!
//! In reading order:
//! - [`contract`]: the traits [`Connector`] and [`Reader`] with their rules
//! - [`error`]: what can go wrong, and whether a retry may help
//! - [`registry`]: the connectors there are
//! - [`Columns`]: from named texts to the manifest's columns
//! - [`json`]: rows of JSON objects
//! - [`file`](mod@file): CSV, NDJSON, JSON, Parquet
//!
//! What it deliberately does not do: it does not look into records (`ingest::door`), it keeps no positions (the log does).

mod columns;
pub mod contract;
pub mod error;
pub mod file;
pub mod json;
pub mod registry;

pub use columns::Columns;
pub use contract::{Connector, Delivery, OpenContext, Reader};
pub use error::ConnectorError;
pub use registry::{CONNECTORS, find};
