//! Rows as Parquet files: one per value of the partition column, sorted.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, RecordBatch, UInt32Array};
use arrow::compute::{SortColumn, SortOptions, concat_batches, lexsort_to_indices, take_record_batch};
use arrow::datatypes::{Date32Type, SchemaRef};
use arrow::error::ArrowError;
use arrow::temporal_conversions::date32_to_datetime;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use shiyu_schemas::table::TableShape;

/// Rows of a row group.
const ROW_GROUP_ROWS: usize = 131_072;

/// How every column of `sort_by` is sorted.
pub const SORT: SortOptions = SortOptions {
    descending: false,
    nulls_first: true,
};

/// One Parquet file, in memory.
#[derive(Debug)]
pub struct TableFile {
    /// Partition column and its value, if the table has one.
    pub partition: Option<(&'static str, Option<String>)>,
    /// The file's bytes.
    pub bytes: Vec<u8>,
    /// Rows in it.
    pub rows: usize,
}

/// Writes rows as files.
pub fn encode(shape: &TableShape, batches: &[RecordBatch]) -> Result<Vec<TableFile>, ParquetError> {
    let all = concat_batches(&shape.schema(), batches)?;
    split(shape, &all)?
        .into_iter()
        .map(|(value, rows)| {
            let rows = sorted(shape, &rows)?;
            let rows = without_partition(shape, &rows)?;
            Ok(TableFile {
                partition: shape.partition_by.map(|column| (column, value)),
                bytes: parquet_bytes(&rows)?,
                rows: rows.num_rows(),
            })
        })
        .collect()
}

/// Rows by value of the partition column (a date, as `YYYY-MM-DD`).
fn split(shape: &TableShape, all: &RecordBatch) -> Result<Vec<(Option<String>, RecordBatch)>, ArrowError> {
    let Some(column) = shape.partition_by else {
        return Ok(vec![(None, all.clone())]);
    };
    let dates = all.column(shape.index(column)).as_primitive::<Date32Type>();
    let mut rows: BTreeMap<Option<i32>, Vec<u32>> = BTreeMap::new();
    for row in 0..all.num_rows() {
        let date = (!dates.is_null(row)).then(|| dates.value(row));
        rows.entry(date).or_default().push(row as u32);
    }
    rows.into_iter()
        .map(|(date, rows)| {
            let text = date.and_then(date32_to_datetime).map(|date| date.date().to_string());
            Ok((text, take_record_batch(all, &UInt32Array::from(rows))?))
        })
        .collect()
}

fn sorted(shape: &TableShape, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    if shape.sort_by.is_empty() {
        return Ok(rows.clone());
    }
    let columns: Vec<SortColumn> = shape
        .sort_by
        .iter()
        .map(|column| SortColumn {
            values: rows.column(shape.index(column)).clone(),
            options: Some(SORT),
        })
        .collect();
    take_record_batch(rows, &lexsort_to_indices(&columns, None)?)
}

/// Delta keeps the partition column in its log, not in the file.
fn without_partition(shape: &TableShape, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let Some(column) = shape.partition_by else {
        return Ok(rows.clone());
    };
    let kept: Vec<usize> = (0..rows.num_columns())
        .filter(|&index| index != shape.index(column))
        .collect();
    rows.project(&kept)
}

fn parquet_bytes(rows: &RecordBatch) -> Result<Vec<u8>, ParquetError> {
    let mut writer = writer(rows.schema_ref())?;
    writer.write(rows)?;
    writer.into_inner()
}

/// A writer of one of our files, in memory.
pub fn writer(schema: &SchemaRef) -> Result<ArrowWriter<Vec<u8>>, ParquetError> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .build();
    let plain = schema.as_ref().clone().with_metadata(HashMap::new());
    ArrowWriter::try_new(Vec::new(), Arc::new(plain), Some(properties))
}
