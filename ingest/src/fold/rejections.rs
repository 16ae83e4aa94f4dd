//! The fold of `rejections.v1`: the same delivery refused for the same reason is one rejection.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message;
use shiyu_log::Topic;
use shiyu_schemas::v1::{self, Outcome};

use super::cache::{Changes, StateView, key_hash};
use super::count::{Counts, FeedCounts};
use super::epoch::EpochRecord;
use super::error::FoldError;
use super::rows::RejectionRows;

/// Folds rejections; one epoch at a time.
#[derive(Debug)]
pub struct RejectionFold<V> {
    partition: u32,
    view: V,
    rows: RejectionRows,
    record: EpochRecord,
    fresh: BTreeSet<Box<[u8]>>,
    key: Vec<u8>,
}

impl<V: StateView> RejectionFold<V> {
    /// Over the committed keys.
    pub fn new(partition: u32, view: V) -> Self {
        Self {
            partition,
            view,
            rows: RejectionRows::default(),
            record: EpochRecord::default(),
            fresh: BTreeSet::new(),
            key: Vec::new(),
        }
    }

    /// The committed keys.
    pub fn view_mut(&mut self) -> &mut V {
        &mut self.view
    }

    /// The rows of the epoch.
    pub fn rows_mut(&mut self) -> &mut RejectionRows {
        &mut self.rows
    }

    /// Starts an epoch at an offset.
    pub fn begin(&mut self, first_offset: u64) {
        self.record = EpochRecord {
            first_offset,
            ..EpochRecord::default()
        };
    }

    /// Applies the next record of the partition.
    pub fn apply(&mut self, value: &Bytes, counts: &mut FeedCounts) -> Result<(), FoldError> {
        let rejection = v1::Rejection::decode(value.clone()).map_err(|source| FoldError::Record {
            topic: Topic::Rejections.name(),
            partition: self.partition,
            offset: self.record.next_offset(),
            source,
        })?;
        self.key.clear();
        self.key.push(b'x');
        self.key.extend_from_slice(rejection.feed.as_bytes());
        self.key.push(0);
        self.key.extend_from_slice(&rejection.delivery_hash.to_be_bytes());
        self.key.extend_from_slice(rejection.code.as_bytes());
        let known = self.fresh.contains(self.key.as_slice()) || self.view.get(&self.key)?.is_some();
        let totals = counts.of(&rejection.feed);
        if known {
            totals.rejected_again += 1;
            self.record.outcomes.push(Outcome::Duplicate as u8);
        } else {
            totals.rejected += 1;
            Counts::note(&mut totals.reasons, &format!("{} {}", rejection.code, rejection.column));
            self.fresh.insert(self.key.as_slice().into());
            self.rows.push(&rejection);
            self.record.outcomes.push(Outcome::Rejected as u8);
        }
        Ok(())
    }

    /// Ends the epoch: what goes to the state store, and what it did. The rows wait in [`Self::rows_mut`].
    pub fn end(&mut self) -> (Changes, EpochRecord) {
        let mut changes = Changes::default();
        for key in std::mem::take(&mut self.fresh) {
            changes.push(&key, key_hash(&key), Some(|bytes: &mut Vec<u8>| bytes.push(1)));
        }
        (changes, std::mem::take(&mut self.record))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::cache::tests::MemoryView;
    use super::*;

    fn refused(delivery_hash: u64) -> Bytes {
        let rejection = v1::Rejection {
            feed: "police".to_owned(),
            code: "bad_time".to_owned(),
            delivery_hash,
            ..v1::Rejection::default()
        };
        rejection.encode_to_vec().into()
    }

    #[test]
    fn a_rejection_delivered_again_is_one_row() {
        let mut fold = RejectionFold::new(0, MemoryView::default());
        let mut counts = FeedCounts::default();
        fold.begin(0);
        fold.apply(&refused(1), &mut counts).unwrap();
        fold.apply(&refused(1), &mut counts).unwrap();
        let (changes, _) = fold.end();
        fold.view_mut().apply(&changes);
        fold.begin(2);
        fold.apply(&refused(1), &mut counts).unwrap();
        fold.apply(&refused(2), &mut counts).unwrap();
        let totals = &counts.feeds["police"];
        assert_eq!((totals.rejected, totals.rejected_again), (2, 2));
        assert_eq!(fold.rows_mut().finish()[0].1.num_rows(), 2);
    }
}
