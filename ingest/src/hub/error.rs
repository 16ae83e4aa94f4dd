//! Errors of the intake.

use shiyu_connectors::ConnectorError;
use shiyu_log::LogError;
use shiyu_schemas::city::CityErrors;
use thiserror::Error;

/// What can go wrong in the intake. Bad records are values, not errors.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HubError {
    /// The log, the state or the tables failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The fold ended.
    #[error(transparent)]
    Fold(#[from] crate::fold::FoldError),
    /// A connector cannot read its source.
    #[error(transparent)]
    Connector(#[from] ConnectorError),
    /// A mapping of the city folder cannot be planned.
    #[error("{0}")]
    City(CityErrors),
    /// Another process does this.
    #[error("cannot take records: this process runs without the role {role}; ask one that has it")]
    NotHere {
        /// The role.
        role: &'static str,
    },
    /// Kafka does this in its own way.
    #[error(
        "cannot {what}: that is for the embedded log; over Kafka the topics' replication and retention take its place"
    )]
    EmbeddedOnly {
        /// What was asked for.
        what: &'static str,
    },
    /// No feed of that name.
    #[error("cannot find feed \"{feed}\"; there are: {known}")]
    UnknownFeed {
        /// Name asked for.
        feed: String,
        /// Names there are.
        known: String,
    },
    /// What was given to read belongs to no feed.
    #[error("no feed reads {inputs}; files are named like this: {patterns} (connector.with.paths of a feed)")]
    NothingToRead {
        /// Files and folders given.
        inputs: String,
        /// Feeds asked, and what their files are named like.
        patterns: String,
    },
    /// The sealing key cannot be read or made.
    #[error("failed to {action} the sealing key \"{path}\"")]
    Key {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A position in the log is damaged.
    #[error("cannot decode a position of \"{topic}\" at offset {offset}")]
    Position {
        /// Topic.
        topic: &'static str,
        /// Offset.
        offset: u64,
        /// Why.
        #[source]
        source: prost::DecodeError,
    },
    /// A backup cannot be made, or is not what it says.
    #[error("cannot use \"{path}\": {problem}")]
    Backup {
        /// Folder or file.
        path: std::path::PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The log does not reach back to the first record.
    #[error(
        "cannot rebuild: {topic} partition {partition} begins at offset {start}, what lay before is trimmed; restore a backup, it holds what was folded"
    )]
    Trimmed {
        /// Topic's name.
        topic: &'static str,
        /// Partition.
        partition: u32,
        /// First offset there is.
        start: u64,
    },
    /// A revision of the city folder cannot be kept in the log.
    #[error("cannot keep this revision of the city folder in the log: {problem}")]
    Revision {
        /// What is wrong.
        problem: String,
    },
    /// A revision in the log is not what its hash says.
    #[error("cannot read revision {revision} of the city folder from the log: {problem}")]
    DamagedRevision {
        /// Its hash.
        revision: String,
        /// What is wrong.
        problem: String,
    },
    /// No revision of that hash.
    #[error("cannot find revision \"{revision}\"{known}")]
    UnknownRevision {
        /// Text asked for.
        revision: String,
        /// What it may have meant, and what there is.
        known: String,
    },
    /// A task of the hub panicked.
    #[error("cannot go on: a task of the hub ended unexpectedly")]
    Task(#[from] tokio::task::JoinError),
}
