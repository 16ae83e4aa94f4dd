//! Formats, each a source of rows.

use std::fs::File;
use std::io;
use std::path::Path;

use arrow::array::{Array as _, AsArray as _};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use serde_json::value::RawValue;
use shiyu_schemas::city::manifest::RecordSection;

use super::csv::{Found, Splitter};
use super::decode;
use super::text::Text;
use super::{FileSettings, Format};
use crate::columns::{Columns, Shape};
use crate::contract::MalformedRow;
use crate::json::{json_records, json_row};

/// Where reading stands: rows and, for plain UTF-8, bytes before the next row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    pub(super) row: u64,
    pub(super) byte: u64,
}

/// Rows of one file.
pub(super) struct Rows {
    kind: Kind,
    pub(super) unknown: Vec<String>,
    pub(super) place: Place,
    /// Rows before this were delivered in an earlier run.
    skip_to: u64,
    max_row_bytes: usize,
    /// A last line without its end is left for later: the file may still be growing.
    hold_open_line: bool,
}

enum Kind {
    Csv {
        text: Text,
        splitter: Splitter,
        shape: Shape,
    },
    Ndjson {
        text: Text,
        record: RecordSection,
    },
    Json {
        records: std::vec::IntoIter<Box<RawValue>>,
        record: RecordSection,
    },
    Parquet {
        batches: parquet::arrow::arrow_reader::ParquetRecordBatchReader,
        shape: Shape,
        pending: Option<Pending>,
    },
}

/// A Parquet batch cast to text, and its next row.
struct Pending {
    columns: Vec<arrow::array::StringArray>,
    next: usize,
    rows: usize,
}

/// What is wrong with a source as a whole.
pub(super) enum OpenError {
    Io(io::Error),
    Problem(String),
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Rows {
    /// Opens a file behind `place`; `hold_open_line`: it may still be growing.
    pub(super) fn open(
        path: &Path,
        settings: &FileSettings,
        record: &RecordSection,
        place: Place,
        hold_open_line: bool,
    ) -> Result<Self, OpenError> {
        let format = settings.format.unwrap_or_else(|| format_of(path));
        let text = |from| -> io::Result<Text> {
            let stream = decode::open(path, settings.compression, settings.encoding, from)?;
            Ok(Text::new(stream))
        };
        if let Some(problem) = decode::foreign(path)? {
            return Err(OpenError::Problem(problem.to_owned()));
        }
        let mut unknown = Vec::new();
        let mut at = Place::default();
        let kind = match format {
            Format::Csv => {
                let mut first = text(0)?;
                let mut splitter = Splitter::new(settings.delimiter as u8, settings.quote as u8);
                let Found::Row { length, fields } = splitter.read_row(&mut first, settings.max_row_bytes)? else {
                    return Err(OpenError::Problem("it is empty: not even a header".to_owned()));
                };
                let mut names = Vec::new();
                splitter.each_field(first.rest(), fields, |_, name| names.push(name.to_owned()));
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let shape = Shape::of(record, &names).map_err(OpenError::Problem)?;
                unknown.clone_from(&shape.unknown);
                first.take(length);
                at.byte = length as u64;
                if first.stream.is_plain && place.byte > at.byte {
                    first = text(place.byte)?;
                    at = place;
                }
                Kind::Csv {
                    text: first,
                    splitter,
                    shape,
                }
            }
            Format::Ndjson => {
                let mut first = text(0)?;
                if first.stream.is_plain && place.byte > 0 {
                    first = text(place.byte)?;
                    at = place;
                }
                Kind::Ndjson {
                    text: first,
                    record: record.clone(),
                }
            }
            Format::Json => {
                let mut all = text(0)?;
                while all.more()? {}
                let records = json_records(all.rest(), settings.records_path.as_deref()).map_err(OpenError::Problem)?;
                Kind::Json {
                    records: records.into_iter(),
                    record: record.clone(),
                }
            }
            Format::Parquet => {
                let builder = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)
                    .map_err(|error| OpenError::Problem(format!("cannot read it as Parquet: {error}")))?;
                let schema = builder.schema().clone();
                let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
                let shape = Shape::of(record, &names).map_err(OpenError::Problem)?;
                unknown.clone_from(&shape.unknown);
                let batches = builder.build().map_err(|error| OpenError::Problem(error.to_string()))?;
                Kind::Parquet {
                    batches,
                    shape,
                    pending: None,
                }
            }
        };
        Ok(Self {
            kind,
            unknown,
            place: at,
            skip_to: place.row,
            max_row_bytes: settings.max_row_bytes,
            hold_open_line,
        })
    }

    /// Replacement characters put in so far.
    pub(super) fn replaced_characters(&self) -> u64 {
        match &self.kind {
            Kind::Csv { text, .. } | Kind::Ndjson { text, .. } => text.stream.replaced_characters,
            Kind::Json { .. } | Kind::Parquet { .. } => 0,
        }
    }

    /// Whether [`Place::byte`] can be sought.
    pub(super) fn is_plain(&self) -> bool {
        match &self.kind {
            Kind::Csv { text, .. } | Kind::Ndjson { text, .. } => text.stream.is_plain,
            Kind::Json { .. } | Kind::Parquet { .. } => false,
        }
    }

    /// Reads rows until there are `rows_wanted`; false at the end.
    pub(super) fn read(
        &mut self,
        columns: &mut Columns,
        malformed: &mut Vec<MalformedRow>,
        rows_wanted: usize,
    ) -> io::Result<bool> {
        while columns.len() + malformed.len() < rows_wanted {
            let more = match &mut self.kind {
                Kind::Csv { text, splitter, shape } => {
                    let Found::Row { length, fields } = splitter.read_row(text, self.max_row_bytes)? else {
                        return Ok(false);
                    };
                    let rest = text.rest();
                    if self.hold_open_line && text.ended && length == rest.len() && !rest.ends_with('\n') {
                        return Ok(false);
                    }
                    let is_blank = fields == 1 && splitter.begins_blank(rest);
                    self.place.byte += length as u64;
                    if !is_blank {
                        self.place.row += 1;
                        if self.place.row > self.skip_to {
                            splitter.put_row(rest, (length, fields), self.place.row, shape, columns, malformed);
                        }
                    }
                    text.take(length);
                    true
                }
                Kind::Ndjson { text, record } => {
                    let Some((end, length)) = text.line()? else {
                        return Ok(false);
                    };
                    if self.hold_open_line && end == length {
                        return Ok(false);
                    }
                    let line = &text.rest()[..end];
                    if !line.trim_ascii().is_empty() {
                        self.place.row += 1;
                        if self.place.row > self.skip_to {
                            json_row(record, line, self.place.row, columns, malformed, |_key| {});
                        }
                    }
                    self.place.byte += length as u64;
                    text.take(length);
                    true
                }
                Kind::Json { records, record } => match records.next() {
                    Some(written) => {
                        self.place.row += 1;
                        if self.place.row > self.skip_to {
                            json_row(record, written.get(), self.place.row, columns, malformed, |_key| {});
                        }
                        true
                    }
                    None => false,
                },
                Kind::Parquet {
                    batches,
                    shape,
                    pending,
                } => next_parquet_row(batches, shape, pending, &mut self.place, self.skip_to, columns)?,
            };
            if !more {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn format_of(path: &Path) -> Format {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let name = name.trim_end_matches(".gz").trim_end_matches(".zst");
    match name.rsplit('.').next() {
        Some("ndjson" | "jsonl") => Format::Ndjson,
        Some("json") => Format::Json,
        Some("parquet") => Format::Parquet,
        _ => Format::Csv,
    }
}

fn next_parquet_row(
    batches: &mut parquet::arrow::arrow_reader::ParquetRecordBatchReader,
    shape: &Shape,
    pending: &mut Option<Pending>,
    place: &mut Place,
    skip_to: u64,
    columns: &mut Columns,
) -> io::Result<bool> {
    while pending.as_ref().is_none_or(|pending| pending.next == pending.rows) {
        let Some(batch) = batches.next() else { return Ok(false) };
        let batch = batch.map_err(io::Error::other)?;
        let texts = batch
            .columns()
            .iter()
            .map(|column| {
                Ok(cast(column, &DataType::Utf8)
                    .map_err(io::Error::other)?
                    .as_string::<i32>()
                    .clone())
            })
            .collect::<io::Result<Vec<_>>>()?;
        *pending = Some(Pending {
            columns: texts,
            next: 0,
            rows: batch.num_rows(),
        });
    }
    if let Some(pending) = pending {
        place.row += 1;
        if place.row > skip_to {
            for (values, target) in pending.columns.iter().zip(&shape.targets) {
                if let Some(column) = target
                    && !values.is_null(pending.next)
                {
                    columns.set(*column, values.value(pending.next));
                }
            }
            columns.end_row(place.row);
        }
        pending.next += 1;
    }
    Ok(true)
}
