//! Merges sorted Parquet files of one table into fewer, by the table's [`MergeRule`].
//!
//! All inputs are read side by side, a batch of each in memory, so the size of a table is no matter. What is not sorted as the table says
//! is merged less well, but never wrongly.

use std::collections::VecDeque;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{AsArray as _, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::{filter_record_batch, interleave_record_batch};
use arrow::datatypes::{Int64Type, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::Rows;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use shiyu_schemas::table::{MergeRule, TableShape};

use super::file;
use super::order::Converter;

/// Rows read from an input at a time.
const BATCH_ROWS: usize = 2048;
/// Rows gathered before they are written.
const GATHERED_ROWS: usize = 8192;
/// A merged file beyond this is closed and a new one begun.
const FILE_BYTES: usize = 32 << 20;

/// Files that follow one another in order, read as one.
pub(super) type Run = VecDeque<PathBuf>;

/// A merged file, in memory.
#[derive(Debug)]
pub(super) struct MergedFile {
    pub(super) bytes: Vec<u8>,
    pub(super) rows: usize,
}

/// Merges runs; `emit` gets every file as it is whole. `false` where `stop` was set before the end. Blocks.
pub(super) fn merge<E: From<ParquetError>>(
    shape: &TableShape,
    runs: Vec<Run>,
    stop: &AtomicBool,
    mut emit: impl FnMut(MergedFile) -> Result<(), E>,
) -> Result<bool, E> {
    let mut cursors = Vec::with_capacity(runs.len());
    for run in runs {
        cursors.extend(Cursor::open(shape, run)?);
    }
    let Some(first) = cursors.first() else {
        return Ok(true);
    };
    let schema = first.batch.schema();
    let mut gathered = Gathered::new(shape, &schema);
    let mut files = Files::new(schema);
    while let Some(index) = least(&cursors) {
        gathered.take(&mut cursors[index]);
        if !cursors[index].next()? {
            cursors.remove(index);
        }
        if gathered.is_full() {
            if stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            let rows = gathered.flush(true).map_err(ParquetError::from)?;
            for cursor in &mut cursors {
                cursor.held = None;
            }
            if let Some(file) = files.write(&rows)? {
                emit(file)?;
            }
        }
    }
    let rows = gathered.flush(false).map_err(ParquetError::from)?;
    for file in [files.write(&rows)?, files.finish()?].into_iter().flatten() {
        emit(file)?;
    }
    Ok(true)
}

/// The input whose next row comes first. Without a sort order: the first input, to its end.
fn least(cursors: &[Cursor]) -> Option<usize> {
    (0..cursors.len()).min_by(|&one, &other| match (&cursors[one].keys, &cursors[other].keys) {
        (Some(left), Some(right)) => left.row(cursors[one].at).cmp(&right.row(cursors[other].at)),
        _ => one.cmp(&other),
    })
}

/// Where the reading of one run stands.
struct Cursor {
    files: Run,
    reader: ParquetRecordBatchReader,
    batch: RecordBatch,
    key: Converter,
    order: Converter,
    keys: Option<Rows>,
    orders: Option<Rows>,
    at: usize,
    /// Where the batch is among those gathered, once a row of it is.
    held: Option<usize>,
}

impl Cursor {
    /// At the first row; `None` where there is none.
    fn open(shape: &TableShape, mut files: Run) -> Result<Option<Self>, ParquetError> {
        let order = match shape.merge {
            MergeRule::Newest(columns) => columns,
            MergeRule::Keep | MergeRule::Sum(_) => &[],
        };
        let Some(path) = files.pop_front() else {
            return Ok(None);
        };
        let reader = open_file(&path)?;
        let schema = reader_schema(&reader);
        let mut cursor = Self {
            files,
            reader,
            key: Converter::new(&schema, shape.sort_by)?,
            order: Converter::new(&schema, order)?,
            batch: RecordBatch::new_empty(schema),
            keys: None,
            orders: None,
            at: 0,
            held: None,
        };
        Ok(cursor.load()?.then_some(cursor))
    }

    /// Goes to the next row; `false` behind the last.
    fn next(&mut self) -> Result<bool, ParquetError> {
        self.at += 1;
        if self.at < self.batch.num_rows() {
            return Ok(true);
        }
        self.load()
    }

    fn load(&mut self) -> Result<bool, ParquetError> {
        loop {
            match self.reader.next() {
                Some(batch) => {
                    let batch = batch?;
                    if batch.num_rows() > 0 {
                        self.keys = self.key.rows(&batch)?;
                        self.orders = self.order.rows(&batch)?;
                        self.batch = batch;
                        self.at = 0;
                        self.held = None;
                        return Ok(true);
                    }
                }
                None => match self.files.pop_front() {
                    Some(path) => self.reader = open_file(&path)?,
                    None => return Ok(false),
                },
            }
        }
    }
}

fn open_file(path: &PathBuf) -> Result<ParquetRecordBatchReader, ParquetError> {
    let file = File::open(path)?;
    ParquetRecordBatchReaderBuilder::try_new(file)?
        .with_batch_size(BATCH_ROWS)
        .build()
}

fn reader_schema(reader: &ParquetRecordBatchReader) -> SchemaRef {
    arrow::array::RecordBatchReader::schema(reader)
}

/// Rows picked and not yet written.
struct Gathered {
    rule: MergeRule,
    /// Positions of the summed columns.
    summed: Vec<usize>,
    schema: SchemaRef,
    held: Vec<RecordBatch>,
    picks: Vec<(usize, usize)>,
    /// For each pick, its sums.
    sums: Vec<Vec<i64>>,
    last_key: Vec<u8>,
    last_order: Vec<u8>,
}

impl Gathered {
    fn new(shape: &TableShape, schema: &SchemaRef) -> Self {
        let summed: Vec<usize> = match shape.merge {
            MergeRule::Sum(columns) => columns
                .iter()
                .filter_map(|column| schema.index_of(column).ok())
                .collect(),
            MergeRule::Keep | MergeRule::Newest(_) => Vec::new(),
        };
        Self {
            rule: shape.merge,
            sums: vec![Vec::new(); summed.len()],
            summed,
            schema: schema.clone(),
            held: Vec::new(),
            picks: Vec::new(),
            last_key: Vec::new(),
            last_order: Vec::new(),
        }
    }

    fn is_full(&self) -> bool {
        self.picks.len() >= GATHERED_ROWS || self.held.len() >= GATHERED_ROWS / 64
    }

    /// Takes the cursor's row.
    fn take(&mut self, cursor: &mut Cursor) {
        let same = self.rule != MergeRule::Keep
            && !self.picks.is_empty()
            && cursor
                .keys
                .as_ref()
                .is_some_and(|keys| keys.row(cursor.at).as_ref() == self.last_key.as_slice());
        if same && matches!(self.rule, MergeRule::Sum(_)) {
            for (sums, &column) in self.sums.iter_mut().zip(&self.summed) {
                if let Some(sum) = sums.last_mut() {
                    *sum += integer(&cursor.batch, column, cursor.at);
                }
            }
            return;
        }
        if same && let Some(orders) = &cursor.orders {
            let order = orders.row(cursor.at);
            if order.as_ref() < self.last_order.as_slice() {
                return;
            }
            self.picks.pop();
        }
        self.pick(cursor);
    }

    fn pick(&mut self, cursor: &mut Cursor) {
        let held = *cursor.held.get_or_insert_with(|| {
            self.held.push(cursor.batch.clone());
            self.held.len() - 1
        });
        self.picks.push((held, cursor.at));
        for (sums, &column) in self.sums.iter_mut().zip(&self.summed) {
            sums.push(integer(&cursor.batch, column, cursor.at));
        }
        remember(&mut self.last_key, cursor.keys.as_ref(), cursor.at);
        remember(&mut self.last_order, cursor.orders.as_ref(), cursor.at);
    }

    /// The rows gathered; with `keep_last` the last one stays, for the next may belong to it.
    fn flush(&mut self, keep_last: bool) -> Result<RecordBatch, ArrowError> {
        let count = self.picks.len() - usize::from(keep_last && !self.picks.is_empty());
        let rows = if count == 0 {
            RecordBatch::new_empty(self.schema.clone())
        } else {
            let batches: Vec<&RecordBatch> = self.held.iter().collect();
            let rows = interleave_record_batch(&batches, &self.picks[..count])?;
            self.with_sums(rows, count)?
        };
        let last = self.picks.pop().filter(|_| keep_last);
        let last = last.map(|(batch, row)| self.held[batch].slice(row, 1));
        self.held.clear();
        self.picks.clear();
        self.sums.iter_mut().for_each(|sums| drop(sums.drain(..count)));
        if let Some(last) = last {
            self.held.push(last);
            self.picks.push((0, 0));
        }
        Ok(rows)
    }

    fn with_sums(&self, rows: RecordBatch, count: usize) -> Result<RecordBatch, ArrowError> {
        if self.summed.is_empty() {
            return Ok(rows);
        }
        let mut columns = rows.columns().to_vec();
        for (sums, &column) in self.sums.iter().zip(&self.summed) {
            columns[column] = Arc::new(Int64Array::from(sums[..count].to_vec()));
        }
        let some: BooleanArray = (0..count)
            .map(|row| Some(self.sums.iter().any(|sums| sums[row] != 0)))
            .collect();
        filter_record_batch(&RecordBatch::try_new(rows.schema(), columns)?, &some)
    }
}

fn integer(batch: &RecordBatch, column: usize, row: usize) -> i64 {
    batch.column(column).as_primitive::<Int64Type>().value(row)
}

fn remember(bytes: &mut Vec<u8>, rows: Option<&Rows>, at: usize) {
    bytes.clear();
    if let Some(rows) = rows {
        bytes.extend_from_slice(rows.row(at).as_ref());
    }
}

/// Writes files one after another.
struct Files {
    schema: SchemaRef,
    writer: Option<ArrowWriter<Vec<u8>>>,
    rows: usize,
}

impl Files {
    fn new(schema: SchemaRef) -> Self {
        Self {
            schema,
            writer: None,
            rows: 0,
        }
    }

    /// Writes rows; gives a file that is full.
    fn write(&mut self, rows: &RecordBatch) -> Result<Option<MergedFile>, ParquetError> {
        if rows.num_rows() == 0 {
            return Ok(None);
        }
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => file::writer(&self.schema, std::slice::from_ref(rows))?,
        };
        writer.write(rows)?;
        self.rows += rows.num_rows();
        let full = writer.bytes_written() + writer.in_progress_size() >= FILE_BYTES;
        self.writer = Some(writer);
        if full { self.finish() } else { Ok(None) }
    }

    fn finish(&mut self) -> Result<Option<MergedFile>, ParquetError> {
        let Some(writer) = self.writer.take() else {
            return Ok(None);
        };
        let rows = std::mem::take(&mut self.rows);
        Ok(Some(MergedFile {
            bytes: writer.into_inner()?,
            rows,
        }))
    }
}
