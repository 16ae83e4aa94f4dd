//! What the rest of the hub sees of one partition: how far it is, recent outcomes, totals, watermark.

use std::collections::VecDeque;

use parking::{Mutex, lock};
use shiyu_log::Topic;
use shiyu_schemas::v1::Outcome;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::count::FeedCounts;
use super::epoch::outcome_of;
use super::error::FoldError;
use super::partition::{Epoch, Partition};

/// A lock whose holder cannot leave it poisoned in a way that matters: every change is a whole assignment.
mod parking {
    pub(super) use std::sync::Mutex;
    use std::sync::{MutexGuard, PoisonError};

    pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Progress of one partition.
#[derive(Debug)]
pub struct Progress {
    topic: Topic,
    partition: u32,
    applied: watch::Sender<u64>,
    /// Cancelled when another process folds the partition.
    moved: CancellationToken,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    outcomes: OutcomeRing,
    counts: FeedCounts,
    watermark_us: i64,
}

impl Progress {
    /// Of a partition just opened; keeps that many outcomes. What is committed but waits in the outbox is not yet applied for those who
    /// wait: its rows are still to be handed to the tables.
    pub fn new(partition: &Partition, outcomes_kept: usize) -> Result<Self, FoldError> {
        let outcomes = OutcomeRing {
            start: partition.offset(),
            bytes: VecDeque::new(),
            kept: outcomes_kept,
        };
        let seen = Seen {
            outcomes,
            counts: partition.counts().clone(),
            watermark_us: partition.watermark_us(),
        };
        let waiting = partition.outbox()?;
        let applied = waiting
            .first()
            .map_or(partition.offset(), |(_, record)| record.first_offset);
        Ok(Self {
            topic: partition.topic(),
            partition: partition.number(),
            applied: watch::Sender::new(applied),
            moved: CancellationToken::new(),
            seen: Mutex::new(seen),
        })
    }

    /// The topic.
    pub fn topic(&self) -> Topic {
        self.topic
    }

    /// Number of the partition.
    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// Offset behind the last record that is applied and committed.
    pub fn applied(&self) -> u64 {
        *self.applied.borrow()
    }

    /// An epoch is committed and its effects are on their way.
    pub fn advance(&self, epoch: &Epoch) {
        {
            let mut seen = lock(&self.seen);
            seen.outcomes.push(epoch.record.first_offset, &epoch.record.outcomes);
            seen.counts.clone_from(&epoch.counts);
            seen.watermark_us = epoch.watermark_us;
        }
        self.applied.send_if_modified(|applied| {
            let next_offset = epoch.record.next_offset();
            let further = next_offset > *applied;
            *applied = next_offset.max(*applied);
            further
        });
    }

    /// Waits until everything before `offset` is applied.
    pub async fn reached(&self, offset: u64) -> Result<(), FoldError> {
        let mut applied = self.applied.subscribe();
        tokio::select! {
            biased;
            reached = applied.wait_for(|applied| *applied >= offset) => {
                reached.map_err(|_closed| FoldError::Stopped)?;
                Ok(())
            }
            () = self.moved.cancelled() => Err(FoldError::UnknownPartition {
                topic: self.topic.name(),
                partition: self.partition,
            }),
        }
    }

    /// Another process folds the partition: whoever waits, waits in vain.
    pub fn moved(&self) {
        self.moved.cancel();
    }

    /// Outcomes of `[first_offset, next_offset)`, which are applied.
    pub fn outcomes(&self, first_offset: u64, next_offset: u64) -> Result<Vec<Outcome>, FoldError> {
        let seen = lock(&self.seen);
        seen.outcomes
            .get(first_offset, next_offset)
            .ok_or(FoldError::OutcomesForgotten {
                partition: self.partition,
                offset: first_offset,
                start: seen.outcomes.start,
            })
    }

    /// Adds the totals to others.
    pub fn add_counts(&self, counts: &mut FeedCounts) {
        counts.add(&lock(&self.seen).counts);
    }

    /// Microseconds since 1970 UTC.
    pub fn watermark_us(&self) -> i64 {
        lock(&self.seen).watermark_us
    }
}

/// Outcomes of the last offsets.
#[derive(Debug)]
struct OutcomeRing {
    start: u64,
    bytes: VecDeque<u8>,
    kept: usize,
}

impl OutcomeRing {
    fn push(&mut self, first_offset: u64, outcomes: &[u8]) {
        if first_offset != self.start + self.bytes.len() as u64 {
            // Epochs of the outbox lie before the offset the partition was opened at: nobody waits for them.
            return;
        }
        self.bytes.extend(outcomes);
        let over = self.bytes.len().saturating_sub(self.kept.max(outcomes.len()));
        self.bytes.drain(..over);
        self.start += over as u64;
    }

    fn get(&self, first_offset: u64, next_offset: u64) -> Option<Vec<Outcome>> {
        let from = first_offset.checked_sub(self.start)? as usize;
        let to = next_offset.checked_sub(self.start)? as usize;
        if from > to || to > self.bytes.len() {
            return None;
        }
        Some(self.bytes.range(from..to).map(|byte| outcome_of(*byte)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_forgets_the_oldest_outcomes() {
        let mut ring = OutcomeRing {
            start: 10,
            bytes: VecDeque::new(),
            kept: 3,
        };
        ring.push(10, &[1, 2]);
        ring.push(12, &[3, 4]);
        assert_eq!(
            ring.get(11, 14),
            Some(vec![Outcome::Unchanged, Outcome::Duplicate, Outcome::Stale])
        );
        assert_eq!(ring.get(10, 12), None);
        assert_eq!(ring.get(12, 15), None);
        ring.push(3, &[1]);
        assert_eq!(ring.get(14, 14), Some(vec![]));
    }
}
