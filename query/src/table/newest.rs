//! Rows that are folded and not in the tables yet: asked of the hub before each query, kept until a snapshot has them.

use std::collections::BTreeMap;
use std::fmt;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::error::ArrowError;
use async_trait::async_trait;
use shiyu_log::table::Snapshot;
use shiyu_log::table::newest::TableRows;
use shiyu_schemas::table::{STORED, TableShape};

use crate::error::QueryError;

/// Who knows the rows that wait for the tables.
#[async_trait]
pub trait NewestSource: fmt::Debug + Send + Sync {
    /// Rows of the epochs beyond `known` (partition to epoch). Every epoch that is in no published snapshot yet is told, or none of its
    /// partition after it.
    async fn since(&self, known: BTreeMap<String, u64>) -> Result<Vec<TableRows>, QueryError>;
}

/// What is known of these rows.
#[derive(Debug, Default)]
pub(super) struct Newest {
    rows: Vec<Kept>,
}

#[derive(Debug)]
struct Kept {
    table: &'static str,
    partition: String,
    epoch: u64,
    rows: RecordBatch,
}

impl Newest {
    /// The newest epoch known, by partition.
    pub(super) fn epochs(&self) -> BTreeMap<String, u64> {
        let mut epochs = BTreeMap::new();
        for kept in &self.rows {
            let newest = epochs.entry(kept.partition.clone()).or_default();
            *newest = kept.epoch.max(*newest);
        }
        epochs
    }

    /// Adds what was told.
    pub(super) fn add(&mut self, told: Vec<TableRows>) -> Result<(), ArrowError> {
        for told in told {
            // A table of a newer hub is none of ours.
            let Some(shape) = STORED.iter().find(|shape| shape.name == told.table) else {
                continue;
            };
            self.rows.push(Kept {
                table: shape.name,
                partition: told.partition,
                epoch: told.epoch,
                rows: as_seen(shape, &told.rows)?,
            });
        }
        Ok(())
    }

    /// Forgets what a snapshot has.
    pub(super) fn forget(&mut self, snapshot: &Snapshot) {
        let epochs = &snapshot.epochs;
        self.rows
            .retain(|kept| epochs.get(&kept.partition).is_none_or(|stored| kept.epoch > *stored));
    }

    /// Rows of one table.
    pub(super) fn of(&self, shape: &TableShape) -> Vec<RecordBatch> {
        let own = self.rows.iter().filter(|kept| kept.table == shape.name);
        own.map(|kept| kept.rows.clone()).collect()
    }
}

/// Rows in the types and with the comments of the table.
fn as_seen(shape: &TableShape, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = shape.schema();
    let columns = schema.fields().iter().map(|field| {
        let column = rows
            .column_by_name(field.name())
            .ok_or_else(|| ArrowError::SchemaError(format!("the hub told no column \"{}\"", field.name())))?;
        cast(column, field.data_type())
    });
    RecordBatch::try_new(schema.clone(), columns.collect::<Result<_, _>>()?)
}
