//! `epochs`: up to where an answer shows everything, so that two answers can be compared.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::catalog::TableProvider;
use datafusion::common::Result;
use datafusion::datasource::MemTable;
use shiyu_schemas::table::{Column, ColumnType, MergeRule, TableShape};

use super::Sources;

/// Columns of the table.
pub(crate) const SHAPE: &TableShape = &TableShape {
    name: "epochs",
    comment: "up to where the tables of this query show everything: all at one epoch per partition of the fold",
    partition_by: None,
    sort_by: &[],
    merge: MergeRule::Keep,
    columns: &[
        Column {
            name: "partition",
            kind: ColumnType::Text,
            nullable: false,
            comment: "topic and number, e.g. events-0",
        },
        Column {
            name: "epoch",
            kind: ColumnType::BigInt,
            nullable: false,
            comment: "newest epoch the tables show",
        },
        Column {
            name: "stored_epoch",
            kind: ColumnType::BigInt,
            nullable: true,
            comment: "newest epoch in the tables' files; what is beyond it comes from the hub's memory",
        },
    ],
};

/// Makes the table.
pub(crate) fn make(sources: &Sources<'_>) -> Result<Arc<dyn TableProvider>> {
    let partitions: StringArray = sources.epochs.keys().map(Some).collect();
    let epochs: Int64Array = sources.epochs.values().map(|epoch| Some(*epoch as i64)).collect();
    let stored = sources.epochs.keys();
    let stored: Int64Array = stored
        .map(|partition| sources.stored_epochs.get(partition).map(|epoch| *epoch as i64))
        .collect();
    let columns: Vec<ArrayRef> = vec![Arc::new(partitions), Arc::new(epochs), Arc::new(stored)];
    let schema = SHAPE.schema();
    let rows = RecordBatch::try_new(schema.clone(), columns)?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![rows]])?))
}
