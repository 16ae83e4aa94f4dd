//! The embedded log: segment files on local disk.
//!
//! - [`frame`]: one append as bytes
//! - [`segment`]: one file of frames, its recovery
//! - `tail`: the newest frames, in memory
//! - [`journal`]: the files of one partition, written, synced, trimmed
//! - [`partition`]: one partition: its journal, its writer thread with group commit

pub mod frame;
pub mod journal;
pub mod partition;
pub mod segment;
mod tail;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::event_log::{Appended, EventLog, ReadBatch, Records, Topic};
use crate::vfs::Vfs;
use crate::{LogError, durable};
use frame::Frame;
use partition::Partition;

/// Settings of the embedded log.
#[derive(Debug, Clone)]
pub struct LocalLogOptions {
    /// Partitions of `events.v1`; the other topics have one.
    pub events_partitions: u32,
    /// A segment beyond this is closed and a new one begun.
    pub segment_bytes: u64,
    /// Largest append, before compression.
    pub batch_bytes_max: usize,
}

impl Default for LocalLogOptions {
    fn default() -> Self {
        Self {
            events_partitions: 2,
            segment_bytes: 256 << 20,
            batch_bytes_max: 64 << 20,
        }
    }
}

/// The embedded log.
#[derive(Debug)]
pub struct LocalLog {
    partitions: BTreeMap<Topic, Vec<Partition>>,
    incarnation: u64,
    options: LocalLogOptions,
    failure: Failure,
}

/// The failure that ended a writer: the first one counts.
#[derive(Debug, Clone)]
struct Failure(Arc<watch::Sender<Option<Arc<LogError>>>>);

impl Failure {
    fn tell(&self, error: LogError) {
        self.0.send_if_modified(|told| {
            let first = told.is_none();
            told.get_or_insert_with(|| Arc::new(error));
            first
        });
    }

    async fn wait(&self) -> Arc<LogError> {
        let mut told = self.0.subscribe();
        let failure = match told.wait_for(Option::is_some).await {
            Ok(failure) => failure.clone(),
            Err(_closed) => None,
        };
        failure.unwrap_or_else(|| Arc::new(LogError::Closed))
    }
}

impl LocalLog {
    /// Opens or makes the log in `folder`.
    pub fn open(folder: &Path, vfs: Arc<dyn Vfs>, options: LocalLogOptions) -> Result<Self, LogError> {
        vfs.create_folder(folder)
            .map_err(|source| LogError::io("open", folder, source))?;
        let incarnation = durable::read_or_make_number(vfs.as_ref(), &folder.join("incarnation"))?;
        let failure = Failure(Arc::new(watch::Sender::new(None)));
        let mut partitions = BTreeMap::new();
        for topic in Topic::ALL {
            let count = if topic == Topic::Events {
                options.events_partitions.max(1)
            } else {
                1
            };
            let opened = (0..count)
                .map(|number| {
                    let folder = folder.join(topic.name()).join(number.to_string());
                    Partition::open(&folder, vfs.clone(), options.segment_bytes, failure.clone())
                })
                .collect::<Result<Vec<_>, _>>()?;
            partitions.insert(topic, opened);
        }
        Ok(Self {
            partitions,
            incarnation,
            options,
            failure,
        })
    }

    /// Ends the writers behind what they were given; later appends and waits are refused.
    pub fn close(&self) {
        self.partitions.values().flatten().for_each(Partition::close);
    }

    /// Files of a partition and their bytes that are durable now, oldest first.
    pub fn files(&self, topic: Topic, partition: u32) -> Result<Vec<(PathBuf, u64)>, LogError> {
        Ok(self.partition(topic, partition)?.files())
    }

    fn partition(&self, topic: Topic, partition: u32) -> Result<&Partition, LogError> {
        self.partitions[&topic]
            .get(partition as usize)
            .ok_or(LogError::OffsetOutOfRange {
                topic: topic.name(),
                partition,
                offset: 0,
                start: 0,
                end: 0,
            })
    }
}

#[async_trait]
impl EventLog for LocalLog {
    fn partitions(&self, topic: Topic) -> u32 {
        self.partitions[&topic].len() as u32
    }

    async fn append(&self, topic: Topic, partition: u32, records: Records) -> Result<Appended, LogError> {
        let target = self.partition(topic, partition)?;
        if records.is_empty() {
            let (_, end) = target.range();
            return Ok(Appended::contiguous(end, end));
        }
        if records.size_bytes() > self.options.batch_bytes_max {
            return Err(LogError::TooLarge {
                bytes: records.size_bytes(),
                limit: self.options.batch_bytes_max,
            });
        }
        let frame = tokio::task::spawn_blocking(move || Frame::encode(&records))
            .await
            .map_err(|_ended| LogError::Closed)?
            .map_err(|source| LogError::Io {
                action: "compress a batch for",
                path: topic.name().into(),
                source,
            })?;
        target.append(frame).await
    }

    async fn read(
        &self,
        topic: Topic,
        partition: u32,
        offset: u64,
        max_bytes: usize,
    ) -> Result<Vec<ReadBatch>, LogError> {
        let source = self.partition(topic, partition)?;
        let (start, end) = source.range();
        let outside = |start| LogError::OffsetOutOfRange {
            topic: topic.name(),
            partition,
            offset,
            start,
            end,
        };
        if offset < start || offset > end {
            return Err(outside(start));
        }
        if offset == end {
            return Ok(Vec::new());
        }
        let reader = source.reader();
        let batches = tokio::task::spawn_blocking(move || reader.read(offset, max_bytes))
            .await
            .map_err(|_ended| LogError::Closed)??;
        match batches.first() {
            // Trimmed meanwhile.
            Some(first) if first.first_offset > offset => Err(outside(first.first_offset)),
            _ => Ok(batches),
        }
    }

    async fn trim(&self, topic: Topic, partition: u32, before: u64) -> Result<u64, LogError> {
        self.partition(topic, partition)?.trim(before).await
    }

    async fn failed(&self) -> Arc<LogError> {
        self.failure.wait().await
    }

    async fn wait_for(&self, topic: Topic, partition: u32, offset: u64) -> Result<(), LogError> {
        self.partition(topic, partition)?.wait_for(offset).await
    }

    fn range(&self, topic: Topic, partition: u32) -> (u64, u64) {
        self.partition(topic, partition).map_or((0, 0), Partition::range)
    }

    fn is_writable(&self) -> bool {
        self.partitions.values().flatten().all(Partition::is_writable)
    }

    fn incarnation(&self) -> u64 {
        self.incarnation
    }

    fn close(&self) {
        Self::close(self);
    }
}

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod tests;
