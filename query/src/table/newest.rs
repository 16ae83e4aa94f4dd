//! Rows that are folded and not in the tables yet: asked of the hub before each query, kept until a snapshot has them.

use std::collections::BTreeMap;
use std::fmt;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use async_trait::async_trait;
use shiyu_log::table::Snapshot;
use shiyu_log::table::newest::ToldEpoch;
use shiyu_schemas::table::{STORED, TableShape};

use crate::error::QueryError;

/// Who knows the epochs that wait for the tables.
#[async_trait]
pub trait NewestSource: fmt::Debug + Send + Sync {
    /// The epochs beyond `known` (partition to epoch), those of a partition in their order.
    async fn since(&self, known: BTreeMap<String, u64>) -> Result<Vec<ToldEpoch>, QueryError>;
}

/// What is known of these epochs.
#[derive(Debug, Default)]
pub(super) struct Newest {
    epochs: Vec<Kept>,
}

#[derive(Debug)]
struct Kept {
    partition: String,
    after: u64,
    epoch: u64,
    rows: Vec<(&'static str, RecordBatch)>,
}

impl Newest {
    /// The newest epoch known, by partition.
    pub(super) fn known(&self) -> BTreeMap<String, u64> {
        let mut known = BTreeMap::new();
        for kept in &self.epochs {
            let newest = known.entry(kept.partition.clone()).or_default();
            *newest = kept.epoch.max(*newest);
        }
        known
    }

    /// Adds what was told; nothing of it where one table is not as ours, since a part of an epoch must never be seen.
    pub(super) fn add(&mut self, told: Vec<ToldEpoch>) -> Result<(), ArrowError> {
        let kept = told.into_iter().map(Kept::of);
        let kept: Vec<Kept> = kept.collect::<Result<_, _>>()?;
        self.epochs.extend(kept);
        Ok(())
    }

    /// Forgets what a snapshot has.
    pub(super) fn forget(&mut self, snapshot: &Snapshot) {
        let epochs = &snapshot.epochs;
        self.epochs
            .retain(|kept| epochs.get(&kept.partition).is_none_or(|stored| kept.epoch > *stored));
    }

    /// The epochs that follow what a snapshot has without a gap: what lies before the others is not known, or they may stand in its tables in
    /// part.
    pub(super) fn behind(&self, snapshot: &Snapshot) -> Behind<'_> {
        let mut epochs = snapshot.epochs.clone();
        let mut rows = Vec::new();
        for kept in &self.epochs {
            let reached = epochs.entry(kept.partition.clone()).or_default();
            if kept.after == *reached && !snapshot.ahead.contains_key(&kept.partition) {
                *reached = kept.epoch;
                rows.extend(&kept.rows);
            }
        }
        Behind { epochs, rows }
    }
}

/// What is seen beyond a snapshot.
pub(super) struct Behind<'a> {
    /// Newest epoch seen by partition, with the snapshot's own.
    pub(super) epochs: BTreeMap<String, u64>,
    rows: Vec<&'a (&'static str, RecordBatch)>,
}

impl Behind<'_> {
    /// Rows of one table.
    pub(super) fn rows_of(&self, shape: &TableShape) -> Vec<RecordBatch> {
        let own = self.rows.iter().filter(|(table, _)| *table == shape.name);
        own.map(|(_, rows)| rows.clone()).collect()
    }
}

impl Kept {
    fn of(told: ToldEpoch) -> Result<Self, ArrowError> {
        let mut rows = Vec::with_capacity(told.rows.len());
        for (table, batch) in &told.rows {
            // A table of a newer hub is none of ours.
            if let Some(shape) = STORED.iter().find(|shape| shape.name == table) {
                rows.push((shape.name, as_seen(shape, batch)?));
            }
        }
        Ok(Self {
            partition: told.partition,
            after: told.after,
            epoch: told.epoch,
            rows,
        })
    }
}

/// Rows with the comments of the table.
fn as_seen(shape: &TableShape, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = shape.schema();
    let columns = schema.fields().iter().map(|field| {
        let column = rows.column_by_name(field.name()).cloned();
        column.ok_or_else(|| ArrowError::SchemaError(format!("the hub told no column \"{}\"", field.name())))
    });
    RecordBatch::try_new(schema.clone(), columns.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(partition: &str, after: u64, epoch: u64) -> ToldEpoch {
        ToldEpoch {
            partition: partition.to_owned(),
            after,
            epoch,
            rows: Vec::new(),
        }
    }

    fn snapshot(epochs: &[(&str, u64)]) -> Snapshot {
        Snapshot {
            epochs: epochs
                .iter()
                .map(|(partition, epoch)| ((*partition).to_owned(), *epoch))
                .collect(),
            ..Snapshot::default()
        }
    }

    /// Keeps these epochs of one partition; how far is seen at each epoch of a snapshot.
    fn seen(epochs: &[(u64, u64)], stored: &[u64]) -> Vec<u64> {
        let mut newest = Newest::default();
        let epochs = epochs.iter().map(|(after, epoch)| told("events-0", *after, *epoch));
        newest.add(epochs.collect()).expect("there are no rows");
        let seen = stored.iter().map(|stored| {
            let snapshot = snapshot(&[("events-0", *stored)]);
            newest.forget(&snapshot);
            newest.behind(&snapshot).epochs["events-0"]
        });
        seen.collect()
    }

    #[test]
    fn only_epochs_that_follow_the_snapshot_without_a_gap_are_seen() {
        assert_eq!(seen(&[(0, 7), (7, 9), (9, 20)], &[0, 7, 9, 20]), [20, 20, 20, 20]);
        assert_eq!(
            seen(&[(7, 9), (9, 20)], &[0, 7]),
            [0, 20],
            "what lies between is not known"
        );
        assert_eq!(
            seen(&[(0, 10), (10, 20)], &[0, 7, 10, 20]),
            [20, 7, 20, 20],
            "another owner ended an epoch at 7"
        );
        assert_eq!(seen(&[(0, 10), (7, 30)], &[7]), [30], "and then we own it again");
    }

    #[test]
    fn what_some_tables_have_already_is_not_seen_beside_them() {
        let mut newest = Newest::default();
        newest
            .add(vec![told("events-0", 7, 9), told("events-1", 3, 4)])
            .expect("there are no rows");
        let mut snapshot = snapshot(&[("events-0", 7), ("events-1", 3)]);
        snapshot.ahead.insert("events-0".to_owned(), 9);
        assert_eq!(newest.behind(&snapshot).epochs["events-0"], 7);
        assert_eq!(newest.behind(&snapshot).epochs["events-1"], 4);
    }

    #[test]
    fn partitions_are_seen_each_for_itself() {
        let mut newest = Newest::default();
        let epochs = [
            told("events-0", 0, 5),
            told("events-1", 3, 6),
            told("events-0", 5, 8),
            told("scores-0", 0, 1),
        ];
        newest.add(epochs.to_vec()).expect("there are no rows");
        let snapshot = snapshot(&[("events-0", 5), ("events-1", 2), ("events-2", 4)]);
        newest.forget(&snapshot);
        let seen = newest.behind(&snapshot).epochs;
        let seen: Vec<_> = seen
            .iter()
            .map(|(partition, epoch)| (partition.as_str(), *epoch))
            .collect();
        assert_eq!(
            seen,
            [("events-0", 8), ("events-1", 2), ("events-2", 4), ("scores-0", 1)]
        );
        assert_eq!(newest.known()["events-1"], 6);
    }
}
