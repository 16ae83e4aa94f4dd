//! The contract of the log.
//!
//! - A topic has partitions; a partition is a sequence of records, each with an offset counted from 0 (per record, as in Kafka).
//! - [`EventLog::append`] returns after the records are durable (local: fdatasync of the group; Kafka: acks=all). What it returned
//!   is never lost, never reordered within its partition, never cut.
//! - Records of one append stay in order. In the embedded log they stay together; in Kafka other processes' records may stand in
//!   between, and [`Appended::extents`] says which offsets are whose.
//! - [`EventLog::read`] returns only durable records.
//! - Where the disk is full an append fails with [`LogError::Full`]: nothing of it is there, and it may be tried again.
//! - Any other append that failed may still appear (ambiguous); readers tell repeats by content.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::LogError;

/// The topics of a hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// `Event`, keyed by feed + record id (or match key).
    Events,
    /// `Rejection`.
    Rejections,
    /// `CellChanges`, one record per epoch of a partition of the fold.
    Cells,
    /// `Score`s.
    Scores,
    /// `SourcePosition`.
    Sources,
    /// `Revision`: what the city folder held.
    Revisions,
}

impl Topic {
    /// All topics.
    pub const ALL: [Self; 6] = [
        Self::Events,
        Self::Rejections,
        Self::Cells,
        Self::Scores,
        Self::Sources,
        Self::Revisions,
    ];

    /// Name, e.g. `events.v1`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Events => "events.v1",
            Self::Rejections => "rejections.v1",
            Self::Cells => "cells.v1",
            Self::Scores => "scores.v1",
            Self::Sources => "sources.v1",
            Self::Revisions => "revisions.v1",
        }
    }
}

/// Encoded records to append, keys and values in one buffer each.
#[derive(Debug, Clone, Default)]
pub struct Records {
    keys: Vec<u8>,
    key_ends: Vec<u32>,
    values: Vec<u8>,
    value_ends: Vec<u32>,
}

impl Records {
    /// No records yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// No records yet, and room for that many bytes of values.
    pub fn with_capacity(value_bytes: usize) -> Self {
        Self {
            values: Vec::with_capacity(value_bytes),
            ..Self::default()
        }
    }

    /// Adds a record; `write` appends the value's bytes.
    pub fn push(&mut self, key: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        self.keys.extend_from_slice(key);
        self.key_ends.push(self.keys.len() as u32);
        write(&mut self.values);
        self.value_ends.push(self.values.len() as u32);
    }

    /// Adds a protobuf message.
    pub fn push_message(&mut self, key: &[u8], message: &impl prost::Message) {
        self.push(key, |buffer| {
            message.encode(buffer).expect("a Vec grows as needed");
        });
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.value_ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.value_ends.is_empty()
    }

    /// Bytes of keys and values.
    pub fn size_bytes(&self) -> usize {
        self.keys.len() + self.values.len()
    }

    /// All keys, one behind the other.
    pub fn keys(&self) -> &[u8] {
        &self.keys
    }

    /// All values, one behind the other.
    pub fn values(&self) -> &[u8] {
        &self.values
    }

    /// Key and value of each record, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let key_starts = std::iter::once(0).chain(self.key_ends.iter().copied());
        let value_starts = std::iter::once(0).chain(self.value_ends.iter().copied());
        key_starts
            .zip(&self.key_ends)
            .zip(value_starts.zip(&self.value_ends))
            .map(|((key_start, &key_end), (value_start, &value_end))| {
                (
                    &self.keys[key_start as usize..key_end as usize],
                    &self.values[value_start as usize..value_end as usize],
                )
            })
    }
}

/// Where appended records stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the first record.
    pub first_offset: u64,
    /// Offset behind the last record.
    pub next_offset: u64,
    /// Where records of others stand in between: all extents, in order; else none.
    pieces: Vec<(u64, u64)>,
}

impl Appended {
    /// Records that stand together in `[first_offset, next_offset)`.
    pub fn contiguous(first_offset: u64, next_offset: u64) -> Self {
        Self {
            first_offset,
            next_offset,
            pieces: Vec::new(),
        }
    }

    /// Records in these extents, which are in order and not empty.
    pub fn of_extents(extents: Vec<(u64, u64)>) -> Self {
        let first_offset = extents.first().map_or(0, |(first, _)| *first);
        let next_offset = extents.last().map_or(first_offset, |(_, next)| *next);
        Self {
            first_offset,
            next_offset,
            pieces: if extents.len() > 1 { extents } else { Vec::new() },
        }
    }

    /// The offsets of the records, in their order, as half-open extents.
    pub fn extents(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let whole = self.pieces.is_empty().then_some((self.first_offset, self.next_offset));
        whole.into_iter().chain(self.pieces.iter().copied())
    }
}

/// Durable records of one append, in order.
#[derive(Debug, Clone)]
pub struct ReadBatch {
    /// Offset of the first record in `values`.
    pub first_offset: u64,
    /// Values; slices of one buffer.
    pub values: Vec<Bytes>,
}

impl ReadBatch {
    /// Offset behind the last record.
    pub fn next_offset(&self) -> u64 {
        self.first_offset + self.values.len() as u64
    }

    /// Leaves out what lies before an offset.
    pub fn skip_to(&mut self, offset: u64) {
        if self.first_offset < offset {
            self.values.drain(..(offset - self.first_offset) as usize);
            self.first_offset = offset;
        }
    }
}

/// A durable log of topics and partitions. See the module for its rules.
#[async_trait]
pub trait EventLog: Send + Sync + std::fmt::Debug {
    /// Number of partitions of a topic.
    fn partitions(&self, topic: Topic) -> u32;

    /// Appends records to one partition and returns when they are durable.
    async fn append(&self, topic: Topic, partition: u32, records: Records) -> Result<Appended, LogError>;

    /// Reads whole batches from `offset` on until about `max_bytes` (at least one batch if there is any); empty at the end.
    /// An offset inside a batch gives the rest of that batch.
    async fn read(
        &self,
        topic: Topic,
        partition: u32,
        offset: u64,
        max_bytes: usize,
    ) -> Result<Vec<ReadBatch>, LogError>;

    /// Waits until the partition holds durable records at or behind `offset`; [`LogError::Closed`] when the log closes.
    async fn wait_for(&self, topic: Topic, partition: u32, offset: u64) -> Result<(), LogError>;

    /// Removes records before an offset where that is cheap (whole segments), and returns the first offset there is then. Whoever
    /// calls it makes sure that nobody needs them any more.
    async fn trim(&self, topic: Topic, partition: u32, before: u64) -> Result<u64, LogError>;

    /// Waits until the log has failed for good, and says why: nothing is acknowledged any more, the process must end (exit 74).
    async fn failed(&self) -> Arc<LogError> {
        std::future::pending().await
    }

    /// First and next offset of the partition, `[start, end)`, as far as this process knows: others may have appended since.
    fn range(&self, topic: Topic, partition: u32) -> (u64, u64);

    /// Whether appends are taken: not any more once a write or sync has failed, or the log is closed.
    fn is_writable(&self) -> bool {
        true
    }

    /// The range as the log itself tells it now; waits until it answers.
    async fn ask_range(&self, topic: Topic, partition: u32) -> Result<(u64, u64), LogError> {
        Ok(self.range(topic, partition))
    }

    /// Identity of this log: a new one has a new incarnation, so that offsets of an old one are never taken for its own.
    fn incarnation(&self) -> u64;

    /// Ends behind what was given; later appends and waits are refused with [`LogError::Closed`].
    fn close(&self);
}

/// The partition of a key.
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    (xxhash_rust::xxh3::xxh3_64(key) % u64::from(partitions.max(1))) as u32
}
