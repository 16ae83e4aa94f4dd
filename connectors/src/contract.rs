//! The contract of connectors.
//!
//! - A connector is a factory: `open` checks its settings and returns a reader of one feed.
//! - A reader delivers Arrow batches of raw text (Utf8, nullable; blank and declared null texts are NULL) with the manifest's columns in
//!   the manifest's order, then `_file` (Utf8) and `_row` (Int64, row in the source from 1).
//! - Rows stay in the source's order; a delivery comes from one source; its `position` covers exactly the rows up to its end.
//! - The reader keeps no position durable. Whoever calls it appends the rows to the log first and the position after; on the next start
//!   the newest position of each source is given back through [`OpenContext::positions`]. So rows may be delivered twice, with the same
//!   `_file` and `_row`, never lost.
//! - A row that cannot be split into columns is delivered in `malformed`, never dropped.
//! - In one pass `next` returns `None` at the end of everything; a watching reader waits instead, and returns `None` after `stop`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use shiyu_schemas::city::manifest::FeedManifest;
use tokio_util::sync::CancellationToken;

use crate::ConnectorError;

/// What a reader is opened with.
#[derive(Debug, Clone)]
pub struct OpenContext {
    /// Values of `${NAME}` in settings.
    pub variables: BTreeMap<String, String>,
    /// Files and folders to read instead of the manifest's own roots (`load --input`).
    pub inputs: Vec<PathBuf>,
    /// Folder of the city, against which relative paths are taken.
    pub city_folder: PathBuf,
    /// Newest position per source, as JSON the connector itself made.
    pub positions: BTreeMap<String, String>,
    /// False: one pass over what is there. True: go on watching.
    pub watch: bool,
    /// Rows a delivery should have, about.
    pub batch_rows: usize,
    /// Cancelled when the reader shall end.
    pub stop: CancellationToken,
}

/// A row that could not be split into columns.
#[derive(Debug, Clone)]
pub struct MalformedRow {
    /// Row in the source, from 1.
    pub row: u64,
    /// What is wrong; never quotes the row.
    pub problem: String,
    /// The bytes as read (decoded to text where possible), to be sealed.
    pub raw: Vec<u8>,
}

/// One batch of raw records of one source.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Name of the source (a file's path relative to its root; never an absolute path).
    pub source: String,
    /// Raw records, see the module.
    pub batch: RecordBatch,
    /// Rows that could not be split.
    pub malformed: Vec<MalformedRow>,
    /// Connector's position behind this delivery, JSON.
    pub position: String,
    /// Replacement characters the decoding put in.
    pub replaced_characters: u64,
    /// Header columns the manifest does not name (told once per source).
    pub unknown_columns: Vec<String>,
    /// Bytes of the source read so far, and its size where known.
    pub bytes_done: u64,
    /// See `bytes_done`; 0 where unknown.
    pub bytes_total: u64,
    /// True for the last delivery of the source in this pass.
    pub end_of_source: bool,
}

/// Reads one feed.
#[async_trait]
pub trait Reader: Send {
    /// The next delivery; `None` at the end of a pass or after `stop`.
    async fn next(&mut self) -> Result<Option<Delivery>, ConnectorError>;

    /// Sources of the feed that were there when it was opened, those read before among them.
    fn source_count(&self) -> usize;
}

/// A way records get in.
pub trait Connector: Send + Sync {
    /// Name in manifests, e.g. `file`.
    fn kind(&self) -> &'static str;

    /// One sentence for `shiyu list connectors`.
    fn summary(&self) -> &'static str;

    /// A complete commented sample of `connector.with`, YAML.
    fn sample(&self) -> &'static str;

    /// Checks the settings without touching the source.
    fn check(&self, manifest: &FeedManifest) -> Result<(), ConnectorError>;

    /// Opens a reader.
    fn open(&self, manifest: &FeedManifest, context: OpenContext) -> Result<Box<dyn Reader>, ConnectorError>;
}
