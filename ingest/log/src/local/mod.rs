//! The embedded log: segment files on local disk.
//!
//! - [`frame`]: one append as bytes
//! - [`segment`]: one file of frames, its recovery
//! - [`partition`]: one partition: its segments, its writer thread with group commit

pub mod frame;
pub mod partition;
pub mod segment;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

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
}

impl LocalLog {
    /// Opens or makes the log in `folder`.
    pub fn open(folder: &Path, vfs: Arc<dyn Vfs>, options: LocalLogOptions) -> Result<Self, LogError> {
        let failed = |source| LogError::Io {
            action: "open",
            path: folder.to_owned(),
            source,
        };
        vfs.create_folder(folder).map_err(failed)?;
        let incarnation = durable::read_or_make_number(&folder.join("incarnation"))?;
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
                    Partition::open(&folder, vfs.clone(), options.segment_bytes)
                })
                .collect::<Result<Vec<_>, _>>()?;
            partitions.insert(topic, opened);
        }
        Ok(Self {
            partitions,
            incarnation,
            options,
        })
    }

    /// Ends the writers behind what they were given; later appends and waits are refused.
    pub fn close(&self) {
        self.partitions.values().flatten().for_each(Partition::close);
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
        if offset < start || offset > end {
            return Err(LogError::OffsetOutOfRange {
                topic: topic.name(),
                partition,
                offset,
                start,
                end,
            });
        }
        if offset == end {
            return Ok(Vec::new());
        }
        let reader = source.reader();
        tokio::task::spawn_blocking(move || reader.read(offset, max_bytes))
            .await
            .map_err(|_ended| LogError::Closed)?
    }

    async fn wait_for(&self, topic: Topic, partition: u32, offset: u64) -> Result<(), LogError> {
        self.partition(topic, partition)?.wait_for(offset).await
    }

    fn range(&self, topic: Topic, partition: u32) -> (u64, u64) {
        self.partition(topic, partition).map_or((0, 0), Partition::range)
    }

    fn incarnation(&self) -> u64 {
        self.incarnation
    }

    fn close(&self) {
        Self::close(self);
    }
}

#[cfg(test)]
mod tests;
