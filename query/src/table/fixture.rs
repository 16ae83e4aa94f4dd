//! A small data folder for tests: every column has a value, the ones a test cares about are given.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use shiyu_log::table::writer::{EpochMark, EpochRows, TableWriter};
use shiyu_schemas::table::{ColumnType, STORED, TableShape};

/// Columns of a row and their values; the others get a plain one.
pub(crate) type Row = Vec<(&'static str, String)>;

/// One row, as `column=value` words.
pub(crate) fn row(words: &'static str) -> Row {
    words
        .split_whitespace()
        .map(|word| word.split_once('=').unwrap())
        .map(|(name, value)| (name, value.to_owned()))
        .collect()
}

/// Rows of a table.
pub(crate) fn batch(shape: &TableShape, rows: &[Row]) -> RecordBatch {
    let columns = shape.columns.iter().map(|column| {
        let plain = match column.kind {
            ColumnType::Text => "x",
            ColumnType::Boolean => "true",
            ColumnType::Date => "2024-05-01",
            ColumnType::Timestamp => "2024-05-01T00:00:00Z",
            _ => "0",
        };
        let value = |row: &Row| {
            let given = row
                .iter()
                .find(|(name, _)| *name == column.name)
                .map(|(_, value)| value.clone());
            given.or_else(|| (!column.nullable).then(|| plain.to_owned()))
        };
        let texts: ArrayRef = Arc::new(rows.iter().map(value).collect::<StringArray>());
        arrow::compute::cast(&texts, &column.kind.data_type()).unwrap()
    });
    RecordBatch::try_new(shape.schema(), columns.collect()).unwrap()
}

/// Adds rows to the tables of a data folder, as one epoch.
pub(crate) async fn add(data_dir: &Path, epoch: u64, rows: Vec<(&'static TableShape, Vec<Row>)>) {
    let mut writer = TableWriter::open(&data_dir.join("tables"), STORED).await.unwrap();
    let rows = rows
        .iter()
        .map(|(shape, rows)| (shape.name, batch(shape, rows)))
        .collect();
    let mark = EpochMark {
        partition: "events-0".to_owned(),
        incarnation: 1,
        epoch,
    };
    let after = epoch.saturating_sub(1);
    writer.commit(&[EpochRows { mark, after, rows }]).await.unwrap();
}
