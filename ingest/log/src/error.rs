//! Errors of the durable ground. "failed to …" may work next time, "cannot …" never will.

use std::path::PathBuf;

use thiserror::Error;

/// What can go wrong below the fold.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LogError {
    /// The disk failed; after a failed fsync the process must end (exit 74), for a retry may report success on lost pages.
    #[error("failed to {action} \"{path}\"")]
    Io {
        /// What was tried: open, write, sync, …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is no room on the disk. Nothing of what was to be written is there; the same may be tried again.
    #[error("failed to {action} \"{path}\": the disk is full; free space, it goes on by itself")]
    Full {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Bytes that were synced are damaged: never skipped silently (exit 74).
    #[error("cannot read \"{path}\" at byte {position}: {problem}; restore it from a backup")]
    Corrupt {
        /// The segment file.
        path: PathBuf,
        /// Where the damaged frame starts.
        position: u64,
        /// What is wrong.
        problem: String,
    },
    /// The reader asks for what is trimmed or was never written.
    #[error("cannot read {topic} partition {partition} at offset {offset}: the log holds [{start}, {end})")]
    OffsetOutOfRange {
        /// Topic's name.
        topic: &'static str,
        /// Partition.
        partition: u32,
        /// Offset asked for.
        offset: u64,
        /// First offset there is.
        start: u64,
        /// Offset behind the last.
        end: u64,
    },
    /// The batch is larger than the log takes.
    #[error("cannot append {bytes} bytes in one batch: the limit is {limit}")]
    TooLarge {
        /// Size of the batch.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Another process owns the data folder.
    #[error("cannot open \"{path}\": process {owner} owns it; stop it, or hand it the work")]
    Locked {
        /// The data folder.
        path: PathBuf,
        /// Who owns it, as far as known.
        owner: String,
    },
    /// Written by a newer version, or for another city.
    #[error("cannot open \"{path}\": {problem}")]
    Incompatible {
        /// The folder.
        path: PathBuf,
        /// What does not fit.
        problem: String,
    },
    /// The state store failed.
    #[error("failed to {action} the state store")]
    State {
        /// What was tried.
        action: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A table failed.
    #[error("failed to {action} table \"{table}\"")]
    Table {
        /// What was tried.
        action: &'static str,
        /// The table.
        table: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Kafka did not do what was asked; what can mend itself was waited for.
    #[error("failed to {action} {target}")]
    Kafka {
        /// What was tried.
        action: &'static str,
        /// Cluster or topic.
        target: String,
        /// Why.
        #[source]
        source: rdkafka::error::KafkaError,
    },
    /// A topic is not what the log needs; somebody must change it, or the settings.
    #[error("cannot use topic \"{topic}\": {problem}")]
    Topic {
        /// Topic's name at the brokers.
        topic: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An append was not answered: its records may be in the log. The same records again are absorbed as repeats.
    #[error("failed to append to {topic} partition {partition}, whether its records are there is not known: {problem}")]
    Unsure {
        /// Topic's name.
        topic: &'static str,
        /// Partition.
        partition: u32,
        /// What the brokers or librdkafka said.
        problem: String,
    },
    /// Records that were acknowledged are gone: an alarm, never a jump (exit 74).
    #[error(
        "cannot go on at offset {offset} of \"{topic}\" partition {partition}: it holds [{start}, {end}); the topic was trimmed, cut or made anew. Bring its records back, or restore from a backup"
    )]
    Truncated {
        /// Topic's name at the brokers.
        topic: String,
        /// Partition.
        partition: u32,
        /// Offset that must be there.
        offset: u64,
        /// First offset there is.
        start: u64,
        /// Offset behind the last.
        end: u64,
    },
    /// The log was closed while something waited for it.
    #[error("cannot use the log: it is closed")]
    Closed,
}

impl LogError {
    /// A failed operation on a file.
    pub(crate) fn io(action: &'static str, path: &std::path::Path, source: std::io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }

    /// A failed operation whose effect is not there: where there was no room, it may be tried again.
    pub(crate) fn unwritten(action: &'static str, path: &std::path::Path, source: std::io::Error) -> Self {
        let path = path.to_owned();
        if is_no_space(&source) {
            Self::Full { action, path, source }
        } else {
            Self::Io { action, path, source }
        }
    }

    /// Whether the disk is full: the same may work once there is space again.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Full { .. } => true,
            Self::State { source, .. } | Self::Table { source, .. } => says_full(source.as_ref()),
            // A failed sync is final, whatever its reason.
            _ => false,
        }
    }
}

/// Whether an error, or one that caused it, says that there is no room on the disk.
fn says_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref().is_some_and(is_no_space) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Whether an operation failed for lack of space or quota.
pub(crate) fn is_no_space(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
    )
}
