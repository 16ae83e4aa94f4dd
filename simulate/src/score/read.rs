//! Columns of batches by name, whatever text type the engine gave.

use std::fs::File;
use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray as _, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::ScoreError;

/// The batches of a truth table, these columns only.
pub(super) fn truth_table(folder: &Path, name: &str, columns: &[&str]) -> Result<Vec<RecordBatch>, ScoreError> {
    let path = folder.join(format!("{name}.parquet"));
    let file = File::open(&path).map_err(|source| ScoreError::Io {
        path: path.clone(),
        source,
    })?;
    let failed = |source| ScoreError::Parquet {
        path: path.clone(),
        source,
    };
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(failed)?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
    let reader = builder.with_projection(mask).build().map_err(failed)?;
    reader
        .map(|batch| batch.map_err(|error| failed(error.into())))
        .collect()
}

/// Reads the columns of one table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) table: &'a str,
    pub(super) batch: &'a RecordBatch,
}

impl Reader<'_> {
    fn column(&self, name: &str, kind: &DataType) -> Result<ArrayRef, ScoreError> {
        let missing = || ScoreError::Column {
            table: self.table.to_owned(),
            column: name.to_owned(),
        };
        let column = self.batch.column_by_name(name).ok_or_else(missing)?;
        cast(column, kind).map_err(|_no_cast| missing())
    }

    pub(super) fn texts(&self, name: &str) -> Result<StringArray, ScoreError> {
        Ok(self.column(name, &DataType::Utf8)?.as_string::<i32>().clone())
    }

    pub(super) fn reals(&self, name: &str) -> Result<Float64Array, ScoreError> {
        Ok(self
            .column(name, &DataType::Float64)?
            .as_primitive::<Float64Type>()
            .clone())
    }

    pub(super) fn wholes(&self, name: &str) -> Result<Int64Array, ScoreError> {
        Ok(self.column(name, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
    }

    pub(super) fn truths(&self, name: &str) -> Result<BooleanArray, ScoreError> {
        Ok(self.column(name, &DataType::Boolean)?.as_boolean().clone())
    }

    /// Microseconds since 1970.
    pub(super) fn times(&self, name: &str) -> Result<Int64Array, ScoreError> {
        let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let column = self.column(name, &micros)?;
        let whole = cast(&column, &DataType::Int64).map_err(|_no_cast| ScoreError::Column {
            table: self.table.to_owned(),
            column: name.to_owned(),
        })?;
        Ok(whole.as_primitive::<Int64Type>().clone())
    }
}

/// A text, where there is one.
pub(super) fn text_at(array: &StringArray, row: usize) -> Option<&str> {
    array.is_valid(row).then(|| array.value(row))
}
