//! Rows as Parquet files: one per value of the partition column, sorted.

use std::collections::HashMap;
use std::iter::repeat_n;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch, StringViewArray, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Date32Type, Float64Type, Int64Type, Schema, SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::row::Rows;
use arrow::temporal_conversions::date32_to_datetime;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use shiyu_schemas::table::{ColumnType, TableShape};

use super::order::Converter;

/// Rows of a row group.
const ROW_GROUP_ROWS: usize = 131_072;
/// Rows put in order at a time: what is sorted is never in memory as a whole.
const CHUNK_ROWS: usize = 8_192;
/// Values looked at to tell how a column is best written.
const SAMPLE_ROWS: usize = 256;

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

/// Where a row stands: its partition, then its place in the order, then its batch and row.
type RowKey = (Option<i32>, Option<i64>, u32, u32);

/// Writes rows as files.
pub fn encode(shape: &TableShape, batches: &[RecordBatch]) -> Result<Vec<TableFile>, ParquetError> {
    let Some(first) = batches.first() else {
        return Ok(Vec::new());
    };
    let keys = keys_of(shape, &first.schema(), batches)?;
    let stored: Vec<RecordBatch> = batches
        .iter()
        .map(|batch| without_partition(shape, batch))
        .collect::<Result<_, ArrowError>>()?;
    let schema = stored[0].schema();
    if shape.partition_by.is_none() && shape.sort_by.is_empty() {
        let mut writer = writer(&schema, &stored)?;
        for batch in &stored {
            writer.write(batch)?;
        }
        return Ok(vec![TableFile {
            partition: None,
            bytes: writer.into_inner()?,
            rows: keys.len(),
        }]);
    }
    keys.chunk_by(|left, right| left.0 == right.0)
        .map(|rows| {
            Ok(TableFile {
                partition: shape.partition_by.map(|column| (column, date_text(rows[0].0))),
                bytes: parquet_bytes(&schema, &stored, rows)?,
                rows: rows.len(),
            })
        })
        .collect()
}

/// A key per row, sorted where the table has an order; NULL stands first.
fn keys_of(shape: &TableShape, schema: &Schema, batches: &[RecordBatch]) -> Result<Vec<RowKey>, ArrowError> {
    // A BIGINT that comes first is compared as itself, which is much faster; the rest of an order as rows of bytes.
    let first = match shape.sort_by {
        [column, ..] if shape.columns[shape.index(column)].kind == ColumnType::BigInt => Some(shape.index(column)),
        _ => None,
    };
    let mut keys = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
    for (index, batch) in (0..).zip(batches) {
        let dates = shape
            .partition_by
            .map(|column| batch.column(shape.index(column)).as_primitive::<Date32Type>());
        let order = first.map(|column| batch.column(column).as_primitive::<Int64Type>());
        for row in 0..batch.num_rows() {
            let date = dates.filter(|dates| dates.is_valid(row)).map(|dates| dates.value(row));
            let place = order.filter(|order| order.is_valid(row)).map(|order| order.value(row));
            keys.push((date, place, index, row as u32));
        }
    }
    let rest = &shape.sort_by[usize::from(first.is_some())..];
    if rest.is_empty() {
        keys.sort_unstable();
        return Ok(keys);
    }
    let converter = Converter::new(schema, rest)?;
    let rows: Vec<Rows> = batches
        .iter()
        .filter_map(|batch| converter.rows(batch).transpose())
        .collect::<Result<_, _>>()?;
    let row = |key: &RowKey| rows[key.2 as usize].row(key.3 as usize);
    // Rows of an epoch mostly are in order already: a sort that takes runs as they are.
    keys.sort_by(|left, right| {
        (left.0, left.1)
            .cmp(&(right.0, right.1))
            .then_with(|| (row(left), left.2, left.3).cmp(&(row(right), right.2, right.3)))
    });
    Ok(keys)
}

fn date_text(date: Option<i32>) -> Option<String> {
    date.and_then(date32_to_datetime).map(|date| date.date().to_string())
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

fn parquet_bytes(schema: &SchemaRef, batches: &[RecordBatch], rows: &[RowKey]) -> Result<Vec<u8>, ParquetError> {
    let mut writer = writer(schema, batches)?;
    let columns: Vec<Gathering<'_>> = (0..schema.fields().len())
        .map(|column| Gathering::of(batches.iter().map(|batch| batch.column(column).as_ref()).collect()))
        .collect();
    for chunk in rows.chunks(CHUNK_ROWS) {
        let places: Vec<(usize, usize)> = chunk
            .iter()
            .map(|(_, _, batch, row)| (*batch as usize, *row as usize))
            .collect();
        let chunk = columns.iter().map(|column| column.rows(&places));
        writer.write(&RecordBatch::try_new(schema.clone(), chunk.collect::<Result<_, _>>()?)?)?;
    }
    writer.into_inner()
}

/// One column of all batches, to be put in order.
enum Gathering<'a> {
    /// Every row holds the same: as many of them as a chunk has. Most columns of texts are so, and gathering them costs the most.
    Same(ArrayRef),
    Mixed(Vec<&'a dyn Array>),
}

impl<'a> Gathering<'a> {
    fn of(arrays: Vec<&'a dyn Array>) -> Self {
        let Some(first) = arrays.first() else {
            return Self::Mixed(arrays);
        };
        if arrays.iter().all(|array| array.null_count() == array.len()) {
            return Self::Same(new_null_array(first.data_type(), CHUNK_ROWS));
        }
        let text = arrays
            .iter()
            .map(|array| only_text(*array))
            .reduce(|one, other| one.filter(|_| one == other));
        match text.flatten() {
            Some(text) => Self::Same(Arc::new(StringViewArray::from_iter_values(repeat_n(text, CHUNK_ROWS)))),
            None => Self::Mixed(arrays),
        }
    }

    /// The rows at these places (batch, row), at most a chunk of them.
    fn rows(&self, places: &[(usize, usize)]) -> Result<ArrayRef, ArrowError> {
        match self {
            Self::Same(rows) => Ok(rows.slice(0, places.len())),
            Self::Mixed(arrays) => interleave(arrays, places),
        }
    }
}

/// The text every row of an array looks at, if it is made so.
fn only_text(array: &dyn Array) -> Option<&str> {
    let texts = array.as_string_view_opt().filter(|texts| texts.null_count() == 0)?;
    let (first, rest) = texts.views().split_first()?;
    rest.iter().all(|view| view == first).then(|| texts.value(0))
}

/// A writer of one of our files, in memory; `sample` tells how its columns are best written.
pub fn writer(schema: &SchemaRef, sample: &[RecordBatch]) -> Result<ArrowWriter<Vec<u8>>, ParquetError> {
    let plain: SchemaRef = Arc::new(schema.as_ref().clone().with_metadata(HashMap::new()));
    // Whether a text was a view in memory is nothing a file should say: readers take the types of the table.
    let options = ArrowWriterOptions::new()
        .with_properties(properties(&plain, sample)?)
        .with_skip_arrow_metadata(true);
    ArrowWriter::try_new_with_options(Vec::new(), plain, options)
}

/// How to write the columns. A dictionary of values that hardly repeat costs more than it saves; least and greatest texts say little of
/// rows that are in the order of their cells.
fn properties(schema: &SchemaRef, rows: &[RecordBatch]) -> Result<WriterProperties, ParquetError> {
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::Chunk);
    let Some(sample) = rows.iter().max_by_key(|batch| batch.num_rows()) else {
        return Ok(builder.build());
    };
    for (field, column) in schema.fields().iter().zip(sample.columns()) {
        let path = ColumnPath::from(field.name().as_str());
        if matches!(field.data_type(), DataType::Utf8 | DataType::Utf8View) {
            builder = builder.set_column_statistics_enabled(path.clone(), EnabledStatistics::None);
        }
        if repeats(column.as_ref()) {
            continue;
        }
        builder = builder.set_column_dictionary_enabled(path.clone(), false);
        if matches!(field.data_type(), DataType::Int64 | DataType::Timestamp(..)) {
            builder = builder.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
        }
    }
    Ok(builder.build())
}

/// Whether a column's values repeat, as a sample of them says.
fn repeats(column: &dyn Array) -> bool {
    let step = column.len().div_ceil(SAMPLE_ROWS).max(1);
    let rows = || (0..column.len()).step_by(step).filter(|&row| column.is_valid(row));
    let seen = rows().count();
    let distinct = match column.data_type() {
        DataType::Utf8 => distinct(rows().map(|row| column.as_string::<i32>().value(row))),
        DataType::Utf8View => distinct(rows().map(|row| column.as_string_view().value(row))),
        DataType::Int64 => distinct(rows().map(|row| column.as_primitive::<Int64Type>().value(row))),
        DataType::Timestamp(..) => {
            distinct(rows().map(|row| column.as_primitive::<TimestampMicrosecondType>().value(row)))
        }
        DataType::Float64 => distinct(rows().map(|row| column.as_primitive::<Float64Type>().value(row).to_bits())),
        _ => 0,
    };
    distinct * 2 <= seen
}

fn distinct<T: std::hash::Hash + Eq>(values: impl Iterator<Item = T>) -> usize {
    values.collect::<std::collections::HashSet<T>>().len()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use arrow::array::{BooleanArray, Int64Array, StringArray, TimestampMicrosecondArray};
    use arrow::compute::cast;
    use bytes::Bytes;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use shiyu_schemas::table::CELL_CHANGES;

    use super::*;

    fn batch(cells: &[Option<i64>], category: &str) -> RecordBatch {
        let rows = cells.len();
        let text = |word: &str| Arc::new(StringArray::from(vec![word.to_owned(); rows])) as ArrayRef;
        let numbers = |from: i64| Arc::new((from..).take(rows).collect::<Int64Array>()) as ArrayRef;
        let columns = vec![
            Arc::new(cells.iter().copied().collect::<Int64Array>()) as ArrayRef,
            Arc::new(TimestampMicrosecondArray::from(vec![7; rows]).with_timezone("UTC")),
            Arc::new(BooleanArray::from(vec![false; rows])),
            text(category),
            text("hotline"),
            text("citizen"),
            text("exact"),
            numbers(1),
            numbers(100),
            numbers(200),
        ];
        RecordBatch::try_new(CELL_CHANGES.schema(), columns).unwrap()
    }

    #[test]
    fn rows_of_all_batches_come_back_sorted_with_what_belongs_to_them() {
        let files = encode(
            &CELL_CHANGES,
            &[batch(&[Some(9), None, Some(3)], "noise"), batch(&[Some(5)], "water")],
        )
        .unwrap();
        assert_eq!((files.len(), files[0].rows), (1, 4));
        let rows = read(&files[0]).remove(0);
        let cells: Vec<Option<i64>> = rows.column(0).as_primitive::<Int64Type>().iter().collect();
        assert_eq!(cells, [None, Some(3), Some(5), Some(9)]);
        let categories: Vec<Option<&str>> = rows.column(3).as_string::<i32>().iter().collect();
        assert_eq!(categories, ["noise", "noise", "water", "noise"].map(Some));
        let counts: Vec<i64> = rows.column(7).as_primitive::<Int64Type>().values().to_vec();
        assert_eq!(counts, [2, 3, 1, 1]);
    }

    fn read(file: &TableFile) -> Vec<RecordBatch> {
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file.bytes.clone())).unwrap();
        reader.build().unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn columns_of_one_text_or_none_come_back_as_others_do() {
        let views = |batch: RecordBatch| {
            let schema = CELL_CHANGES.row_schema();
            let columns = batch.columns().iter().zip(schema.fields());
            let columns = columns.map(|(column, field)| cast(column, field.data_type()).unwrap());
            RecordBatch::try_new(schema.clone(), columns.collect()).unwrap()
        };
        for (one, other) in [
            ("noise", "noise"),
            ("noise", "water"),
            ("a long category", "a long category"),
        ] {
            let batches = [
                batch(&[Some(9), None, Some(3)], one),
                batch(&[Some(5)], other),
                batch(&[Some(7)], one),
            ];
            let plain = encode(&CELL_CHANGES, &batches).unwrap();
            let viewed = encode(&CELL_CHANGES, &batches.map(views)).unwrap();
            assert_eq!(read(&plain[0]), read(&viewed[0]));
        }
        let nowhere = [batch(&[None, None], "noise"), batch(&[None], "noise")];
        let rows = read(&encode(&CELL_CHANGES, &nowhere.map(views)).unwrap()[0]);
        assert_eq!((rows[0].num_rows(), rows[0].column(0).null_count()), (3, 3));
    }

    #[test]
    fn a_column_of_few_values_repeats_and_one_of_many_does_not() {
        let words = |count: usize| {
            (0..1000)
                .map(|row| Some(format!("{}", row % count)))
                .collect::<StringArray>()
        };
        assert!(repeats(&words(20)));
        assert!(!repeats(&words(1000)));
        assert!(repeats(&StringArray::new_null(5)));
    }
}
