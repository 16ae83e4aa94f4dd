//! Errors of the fold. All end the worker: what the fold cannot read it must not skip.

use std::sync::Arc;

use shiyu_log::LogError;
use thiserror::Error;

/// What ends the fold, or a question to it.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum FoldError {
    /// Log, state store or tables failed.
    #[error(transparent)]
    Log(Arc<LogError>),
    /// A record of the log is not what its topic holds.
    #[error(
        "cannot decode {topic} partition {partition} offset {offset}: it was written by a newer version, or by another program"
    )]
    Record {
        /// Topic's name.
        topic: &'static str,
        /// Partition.
        partition: u32,
        /// Offset.
        offset: u64,
        /// Why.
        #[source]
        source: prost::DecodeError,
    },
    /// Bytes in the state store are not what the fold wrote.
    #[error("cannot decode {what} in the state store: rebuild the state from the log")]
    State {
        /// Which part of the state.
        what: &'static str,
        /// Why.
        #[source]
        source: prost::DecodeError,
    },
    /// A blob of the outbox is damaged.
    #[error("cannot read epoch {epoch} in the outbox: {problem}; rebuild the state from the log")]
    Outbox {
        /// Epoch.
        epoch: u64,
        /// What is wrong.
        problem: String,
    },
    /// The state was folded from another log, or is ahead of this one.
    #[error("cannot fold {topic} partition {partition}: {problem}")]
    Foreign {
        /// Topic's name.
        topic: &'static str,
        /// Partition.
        partition: u32,
        /// What does not fit.
        problem: String,
    },
    /// A snapshot of a state is damaged, or none at all.
    #[error("cannot use the snapshot \"{path}\": {problem}")]
    Snapshot {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The outcomes asked for are no longer in memory.
    #[error("cannot tell outcomes of partition {partition} from offset {offset}: they are kept from offset {start}")]
    OutcomesForgotten {
        /// Partition.
        partition: u32,
        /// Offset asked for.
        offset: u64,
        /// First offset kept.
        start: u64,
    },
    /// No such partition is folded here: another process does it, or none.
    #[error("cannot tell of {topic} partition {partition}: it is not folded in this process")]
    UnknownPartition {
        /// Topic's name.
        topic: &'static str,
        /// Partition.
        partition: u32,
    },
    /// The fold was shut down while something waited for it.
    #[error("cannot use the fold: it has stopped")]
    Stopped,
    /// A task of the fold panicked.
    #[error("cannot go on: a task of the fold ended unexpectedly: {problem}")]
    Task {
        /// What the task said.
        problem: String,
    },
}

impl From<LogError> for FoldError {
    fn from(error: LogError) -> Self {
        Self::Log(Arc::new(error))
    }
}

impl From<tokio::task::JoinError> for FoldError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Task {
            problem: error.to_string(),
        }
    }
}
