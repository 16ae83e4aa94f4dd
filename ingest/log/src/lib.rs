//! The durable ground: what was acknowledged is here, whatever dies.
//!
//! In reading order:
//! - [`event_log`]: the contract [`EventLog`] that local segments and Kafka fit
//! - [`vfs`]: the file operations the embedded log needs
//! - [`local`]: the embedded log: segment files
//! - [`kafka`]: Apache Kafka as the log
//! - [`state`]: the fold's state, one commit point per partition
//! - [`filter`]: which keys are surely new
//! - [`table`]: the Delta tables and their one writer
//! - [`lock`]: the data folder has one owner
//! - [`durable`]: small files that are there whole or not at all
//! - [`fault`]: named points where tests make effects fail; nothing in normal builds
//! - [`error`]: what can go wrong, who must act
//!
//! What it deliberately does not know: what an event means (`fold`), where records come from (`connectors`).

pub mod durable;
pub mod error;
pub mod event_log;
pub mod fault;
pub mod filter;
pub mod kafka;
pub mod local;
pub mod lock;
pub mod state;
pub mod table;
pub mod vfs;

pub use error::LogError;
pub use event_log::{Appended, EventLog, ReadBatch, Records, Topic};

#[cfg(test)]
mod contract_tests;
