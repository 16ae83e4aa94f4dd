//! What a feed forgets, and when: the horizon of repeats.
//!
//! A feed whose manifest has `dedupe_days` forgets records whose case ended so many days before the feed's newest time. An event carries
//! the days, so the limit of a feed ([`super::count::Counts::forgotten_before_us`]) is a function of the records of the log before it:
//! wherever epochs end, whoever folds, and after any crash, the same event has the same outcome. A record behind the limit is treated as
//! if it had never been seen ([`super::step`]) whether its key still lies on the disk or not; so [`Sweep`] may take keys away at leisure.
//!
//! What never goes: cases that are open, correction rows, and records with a match key, which a correction row may still cancel.
//!
//! A record's end is not before its creation. So no version of a forgotten record passes for new, unless its department moves its
//! creation behind the limit.

use std::collections::BTreeMap;
use std::ops::Bound;

use prost::Message as _;
use shiyu_log::state::{PartitionState, Space};
use shiyu_schemas::v1::EventKind;

use super::cache::{Changes, records_prefix};
use super::case::Standing;
use super::count::{Counts, DAY_US, FeedCounts};
use super::error::FoldError;
use super::event::Event;

/// Keys an epoch looks at, beside one for each of its records.
const KEYS_SEEN_MIN: usize = 256;
/// Keys an epoch looks at, at most.
const KEYS_SEEN_MAX: usize = 4096;

/// The day (since 1970, UTC) on which the event's case ended; none where it is not forgotten.
pub fn end_day_of(event: &Event<'_>) -> Option<i32> {
    if event.dedupe_days == 0 || !event.match_key.is_empty() || event.kind() == EventKind::Cancel {
        return None;
    }
    // Without a match key nothing is paired.
    if Standing::of(event, false).is_open() {
        return None;
    }
    let times = [
        event.occurred_at_us,
        event.updated_at_us,
        event.reported_at_us.unwrap_or(i64::MIN),
        event.closed_at_us.unwrap_or(i64::MIN),
    ];
    let end_us = times.into_iter().max().unwrap_or(i64::MIN);
    // Days of 64 bits of microseconds fit.
    Some(end_us.div_euclid(DAY_US) as i32)
}

/// Whether a whole day lies before a limit, microseconds since 1970 UTC.
pub fn is_behind(end_day: i32, limit_us: i64) -> bool {
    (i64::from(end_day) + 1) * DAY_US <= limit_us
}

/// What the sweep needs of a [`super::case::RecordState`]; the rest is passed over.
#[derive(Clone, PartialEq, prost::Message)]
struct Ended {
    #[prost(sint32, optional, tag = "20")]
    end_day: Option<i32>,
}

/// Where the sweep through a partition's keys stands; part of the commits it takes keys away with.
///
/// One feed at a time, a few keys an epoch; a feed again when its limit has moved since its last sweep began, which it does by days.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Sweep {
    /// Limit with which the last whole sweep of a feed began.
    #[prost(btree_map = "string, sint64", tag = "1")]
    swept: BTreeMap<String, i64>,
    /// The feed swept now, or last.
    #[prost(string, tag = "2")]
    feed: String,
    /// The key to go on from; empty where no sweep runs.
    #[prost(bytes = "vec", tag = "3")]
    next_key: Vec<u8>,
    /// Limit with which this sweep began.
    #[prost(sint64, tag = "4")]
    began_limit_us: i64,
}

/// Keys to take away.
#[derive(Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// Of which feed.
    pub feed: String,
    /// In order.
    pub keys: Vec<Vec<u8>>,
}

impl Forgotten {
    /// Counts them.
    pub fn report(&self, partition: u32) {
        let labels = [("feed", self.feed.clone()), ("partition", partition.to_string())];
        metrics::counter!("shiyu_fold_removed_keys", &labels).increment(self.keys.len() as u64);
    }
}

impl Sweep {
    /// Goes on by as many keys as an epoch of so many records may look at. Keys the epoch changes are left for the next sweep. None where
    /// nothing is to be swept; else the sweep has moved and must be committed with the removal. Blocks.
    pub fn next(
        &mut self,
        state: &PartitionState,
        counts: &FeedCounts,
        changes: &Changes,
        records: usize,
    ) -> Result<Option<Forgotten>, FoldError> {
        if self.next_key.is_empty() && !self.begin(counts) {
            return Ok(None);
        }
        let limit_us = counts.feeds.get(&self.feed).map_or(i64::MIN, Counts::limit_us);
        let prefix = records_prefix(&self.feed);
        let budget = (KEYS_SEEN_MIN + records).min(KEYS_SEEN_MAX);
        let mut seen = 0;
        let mut keys = Vec::new();
        let mut damaged = None;
        let start = std::mem::take(&mut self.next_key);
        state.for_each_from(Space::Records, &start, |key, value| {
            if !key.starts_with(&prefix) {
                return false;
            }
            if seen == budget {
                key.clone_into(&mut self.next_key);
                return false;
            }
            seen += 1;
            match Ended::decode(value) {
                Ok(Ended { end_day: Some(day) }) if is_behind(day, limit_us) && !changes.contains(key) => {
                    keys.push(key.to_vec());
                }
                Ok(_) => {}
                Err(error) => damaged = Some(error),
            }
            damaged.is_none()
        })?;
        if let Some(source) = damaged {
            return Err(FoldError::State {
                what: "a record",
                source,
            });
        }
        if self.next_key.is_empty() {
            self.swept.insert(self.feed.clone(), self.began_limit_us);
        }
        Ok(Some(Forgotten {
            feed: self.feed.clone(),
            keys,
        }))
    }

    /// Begins with the next feed in turn whose limit has moved, if there is one.
    fn begin(&mut self, counts: &FeedCounts) -> bool {
        let last = (Bound::Excluded(self.feed.as_str()), Bound::Unbounded);
        let behind = counts.feeds.range::<str, _>(last);
        let found = behind.chain(&counts.feeds).find(|(feed, counts)| {
            let swept_us = self.swept.get(feed.as_str()).copied().unwrap_or(i64::MIN);
            counts.limit_us() > swept_us
        });
        let Some((feed, counts)) = found else { return false };
        self.began_limit_us = counts.limit_us();
        self.next_key = records_prefix(feed);
        self.feed.clone_from(feed);
        true
    }
}

#[cfg(test)]
#[path = "horizon_tests.rs"]
mod tests;
