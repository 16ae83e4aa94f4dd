//! Files in order of name; where each was left; new and grown files while watching.
//!
//! A position holds a hash of the file's first bytes: a file that was replaced is read from its start, one that grew is read on.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use shiyu_schemas::city::manifest::{FeedManifest, RecordSection};

use super::FileSettings;
use super::glob::{self, Found};
use super::rows::{OpenError, Place, Rows};
use crate::columns::Columns;
use crate::{ConnectorError, Delivery, OpenContext, Reader};

const POLL: Duration = Duration::from_secs(1);
const FINGERPRINT_BYTES: u64 = 4096;

/// Where a file was left, as JSON in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    row: u64,
    byte: u64,
    /// Whether reading can go on at that byte of the file; else rows are counted.
    #[serde(default)]
    plain: bool,
    /// Size of the file when it was read to its end; 0 before.
    size: u64,
    /// Bytes the fingerprint covers.
    covered: u64,
    fingerprint: u64,
}

/// Reads the files of one feed.
pub(super) struct FileReader {
    state: Option<State>,
    source_count: usize,
}

struct State {
    feed: String,
    record: RecordSection,
    settings: FileSettings,
    context: OpenContext,
    watch: bool,
    queue: VecDeque<Found>,
    positions: BTreeMap<String, Position>,
    /// Files that could not be opened, with their size then: not tried again until they change.
    refused: BTreeMap<String, u64>,
    open: Option<OpenFile>,
}

struct OpenFile {
    found: Found,
    rows: Rows,
    columns: Columns,
    size: u64,
    covered: u64,
    fingerprint: u64,
    replaced_before: u64,
    told_unknown: bool,
}

enum Step {
    Delivery(Box<Delivery>),
    /// Nothing now.
    Idle,
}

impl FileReader {
    pub(super) fn open(
        manifest: &FeedManifest,
        settings: FileSettings,
        context: OpenContext,
    ) -> Result<Self, ConnectorError> {
        let positions = context
            .positions
            .iter()
            .filter_map(|(source, text)| Some((source.clone(), serde_json::from_str(text).ok()?)))
            .collect();
        let watch = context.watch && settings.watch;
        let mut state = State {
            feed: manifest.feed.clone(),
            record: manifest.record.clone(),
            settings,
            context,
            watch,
            queue: VecDeque::new(),
            positions,
            refused: BTreeMap::new(),
            open: None,
        };
        let source_count = state.find()?;
        Ok(Self {
            state: Some(state),
            source_count,
        })
    }
}

#[async_trait]
impl Reader for FileReader {
    async fn next(&mut self) -> Result<Option<Delivery>, ConnectorError> {
        loop {
            let Some(mut state) = self.state.take() else {
                return Ok(None);
            };
            let stop = state.context.stop.clone();
            if stop.is_cancelled() {
                return Ok(None);
            }
            let feed = state.feed.clone();
            let (state, step) = tokio::task::spawn_blocking(move || {
                let step = state.step();
                (state, step)
            })
            .await
            .map_err(|error| ConnectorError::Source {
                feed,
                origin: "files".to_owned(),
                problem: format!("the reader ended unexpectedly: {error}"),
            })?;
            let watch = state.watch;
            self.state = Some(state);
            match step? {
                Step::Delivery(delivery) => return Ok(Some(*delivery)),
                Step::Idle if !watch => return Ok(None),
                Step::Idle => {
                    tokio::select! {
                        () = stop.cancelled() => return Ok(None),
                        () = tokio::time::sleep(POLL) => {}
                    }
                }
            }
        }
    }

    fn source_count(&self) -> usize {
        self.source_count
    }
}

impl State {
    /// Queues the files that may hold what was not read yet; how many files there are.
    fn find(&mut self) -> Result<usize, ConnectorError> {
        let found = glob::find(&self.settings, &self.context).map_err(|problem| ConnectorError::Source {
            feed: self.feed.clone(),
            origin: self.settings.paths.join(", "),
            problem,
        })?;
        let count = found.len();
        self.queue = found.into_iter().filter(|found| self.has_more(found)).collect();
        Ok(count)
    }

    /// Whether a file may hold what was not read yet.
    fn has_more(&self, found: &Found) -> bool {
        let Ok(metadata) = std::fs::metadata(&found.path) else {
            return false;
        };
        if self.refused.get(&found.name) == Some(&metadata.len()) {
            return false;
        }
        self.positions.get(&found.name).is_none_or(|position| {
            position.size != metadata.len()
                || fingerprint(&found.path, position.covered).ok() != Some((position.covered, position.fingerprint))
        })
    }

    fn step(&mut self) -> Result<Step, ConnectorError> {
        loop {
            if self.open.is_none() {
                if self.queue.is_empty() && self.watch {
                    self.find()?;
                }
                let Some(found) = self.queue.pop_front() else {
                    return Ok(Step::Idle);
                };
                self.open = self.open_file(found)?;
            }
            if let Some(delivery) = self.deliver()? {
                return Ok(Step::Delivery(Box::new(delivery)));
            }
        }
    }

    fn open_file(&mut self, found: Found) -> Result<Option<OpenFile>, ConnectorError> {
        let io = |source| ConnectorError::Io {
            feed: self.feed.clone(),
            origin: found.name.clone(),
            source,
        };
        let size = std::fs::metadata(&found.path).map_err(io)?.len();
        let known = self.positions.get(&found.name).filter(|position| {
            fingerprint(&found.path, position.covered).ok() == Some((position.covered, position.fingerprint))
        });
        let place = known.map_or_else(Place::default, |position| Place {
            row: position.row,
            byte: if position.plain { position.byte } else { 0 },
        });
        let (covered, fingerprint) = fingerprint(&found.path, FINGERPRINT_BYTES).map_err(io)?;
        match Rows::open(&found.path, &self.settings, &self.record, place, self.watch) {
            Ok(rows) => Ok(Some(OpenFile {
                columns: Columns::new(&self.record),
                found,
                rows,
                size,
                covered,
                fingerprint,
                replaced_before: 0,
                told_unknown: false,
            })),
            Err(OpenError::Io(source)) => Err(io(source)),
            Err(OpenError::Problem(problem)) => {
                self.refused.insert(found.name.clone(), size);
                Err(ConnectorError::Source {
                    feed: self.feed.clone(),
                    origin: found.name,
                    problem,
                })
            }
        }
    }

    /// The open file's next rows; `None` when it is done and there was nothing more in it.
    fn deliver(&mut self) -> Result<Option<Delivery>, ConnectorError> {
        let Some(mut file) = self.open.take() else {
            return Ok(None);
        };
        let mut malformed = Vec::new();
        let more = file
            .rows
            .read(&mut file.columns, &mut malformed, self.context.batch_rows)
            .map_err(|source| ConnectorError::Io {
                feed: self.feed.clone(),
                origin: file.found.name.clone(),
                source,
            })?;
        let position = Position {
            row: file.rows.place.row,
            byte: file.rows.place.byte,
            plain: file.rows.is_plain(),
            size: if more { 0 } else { file.size },
            covered: file.covered,
            fingerprint: file.fingerprint,
        };
        let before = self.positions.insert(file.found.name.clone(), position.clone());
        let replaced = file.rows.replaced_characters();
        let is_empty = file.columns.len() == 0 && malformed.is_empty();
        // An end without rows is delivered once, so that the position says the file is done.
        if is_empty && before.as_ref() == Some(&position) {
            return Ok(None);
        }
        let delivery = Delivery {
            source: file.found.name.clone(),
            batch: file.columns.take(&file.found.name),
            malformed,
            position: serde_json::to_string(&position).expect("the struct has only plain fields"),
            replaced_characters: replaced - file.replaced_before,
            unknown_columns: if file.told_unknown {
                Vec::new()
            } else {
                file.rows.unknown.clone()
            },
            bytes_done: if more {
                file.rows.place.byte.min(file.size)
            } else {
                file.size
            },
            bytes_total: file.size,
            end_of_source: !more,
        };
        file.replaced_before = replaced;
        file.told_unknown = true;
        if more {
            self.open = Some(file);
        }
        Ok(Some(delivery))
    }
}

/// Hash of a file's first bytes, and how many there were.
fn fingerprint(path: &Path, bytes_max: u64) -> std::io::Result<(u64, u64)> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(bytes_max).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64, xxhash_rust::xxh3::xxh3_64(&bytes)))
}
