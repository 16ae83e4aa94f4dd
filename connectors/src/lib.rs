//! How records get in. One file per connector, one registry.
//!
//! In reading order:
//! - [`contract`]: the traits [`Connector`] and [`Reader`] with their rules
//! - [`error`]: what can go wrong, and whether a retry may help
//! - [`registry`]: the connectors there are
//! - [`file`](mod@file): CSV, NDJSON, JSON, Parquet
//!
//! What it deliberately does not do: it does not look into records (`ingest::door`), it keeps no positions (the log does).

pub mod contract;
pub mod error;
pub mod file;
pub mod registry;

pub use contract::{Connector, Delivery, OpenContext, Reader};
pub use error::ConnectorError;
pub use registry::{CONNECTORS, find};
