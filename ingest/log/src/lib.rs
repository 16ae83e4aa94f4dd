//! The durable ground: what was acknowledged is here, whatever dies.
//!
//! In reading order:
//! - [`event_log`]: the contract [`EventLog`] that local segments and Kafka fit
//! - [`error`]: what can go wrong, who must act
//!
//! What it deliberately does not know: what an event means (`fold`), where records come from (`connectors`).

pub mod error;
pub mod event_log;

pub use error::LogError;
pub use event_log::{Appended, EventLog, Records, ReadBatch, Topic};
