//! Formats, each a source of rows.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::path::Path;

use arrow::array::{Array as _, AsArray as _};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use csv_core::ReadRecordResult;
use serde_json::Value;
use shiyu_schemas::city::manifest::RecordSection;

use super::columns::{Columns, Shape};
use super::decode::{self, TextStream};
use super::{FileSettings, Format};
use crate::contract::MalformedRow;

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
        reader: Box<csv_core::Reader>,
        shape: Shape,
        fields: Fields,
    },
    Ndjson {
        text: Text,
        record: RecordSection,
    },
    Json {
        records: std::vec::IntoIter<Value>,
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

/// Text not yet split.
struct Text {
    stream: TextStream,
    buffer: Vec<u8>,
    start: usize,
    ended: bool,
}

/// The fields of a row.
struct Fields {
    /// Bytes of the row, and room for more.
    bytes: Vec<u8>,
    /// How many of them the row has.
    used: usize,
    /// Where each field ends.
    ends: Vec<usize>,
    /// Bytes between two fields: 1 where the row stands here as it was read.
    gap: usize,
    delimiter: u8,
    quote: u8,
}

/// What one attempt at a row gave.
enum Found {
    Row {
        length: usize,
        fields: usize,
    },
    /// More text is needed.
    Cut,
    End,
}

impl Text {
    fn rest(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Reads more; false at the end.
    fn more(&mut self) -> io::Result<bool> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.ended = !self.stream.fill(&mut self.buffer)?;
        Ok(!self.ended)
    }

    /// The next line without its end, and its length with it; `None` at the end.
    fn line(&mut self) -> io::Result<Option<(usize, usize)>> {
        let mut searched = 0;
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.rest()[searched..]) {
                let end = searched + at;
                let cut = usize::from(end > 0 && self.rest()[end - 1] == b'\r');
                return Ok(Some((end - cut, end + 1)));
            }
            searched = self.rest().len();
            if !self.more()? {
                return Ok((searched > 0).then_some((searched, searched)));
            }
        }
    }
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
            Ok(Text {
                stream,
                buffer: Vec::new(),
                start: 0,
                ended: false,
            })
        };
        let mut unknown = Vec::new();
        let mut at = Place::default();
        let kind = match format {
            Format::Csv => {
                let mut first = text(0)?;
                let mut reader = Box::new(
                    csv_core::ReaderBuilder::new()
                        .delimiter(settings.delimiter as u8)
                        .quote(settings.quote as u8)
                        .build(),
                );
                let mut fields = Fields::new(settings.delimiter as u8, settings.quote as u8);
                let header = read_row(&mut first, &mut reader, &mut fields, settings.max_row_bytes)?;
                let Found::Row { length, fields: count } = header else {
                    return Err(OpenError::Problem("it is empty: not even a header".to_owned()));
                };
                let names: Vec<String> = (0..count).map(|index| fields.text(index).into_owned()).collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let shape = Shape::of(record, &names).map_err(OpenError::Problem)?;
                unknown.clone_from(&shape.unknown);
                first.start += length;
                at.byte = length as u64;
                if first.stream.is_plain && place.byte > at.byte {
                    first = text(place.byte)?;
                    at = place;
                }
                Kind::Csv {
                    text: first,
                    reader,
                    shape,
                    fields,
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

    /// Reads rows until there are `rows_wanted`; false at the end.
    pub(super) fn read(
        &mut self,
        columns: &mut Columns,
        malformed: &mut Vec<MalformedRow>,
        rows_wanted: usize,
    ) -> io::Result<bool> {
        while columns.len() + malformed.len() < rows_wanted {
            let more = match &mut self.kind {
                Kind::Csv {
                    text,
                    reader,
                    shape,
                    fields,
                } => {
                    let found = read_row(text, reader, fields, self.max_row_bytes)?;
                    let Found::Row { length, fields: count } = found else {
                        return Ok(false);
                    };
                    if self.hold_open_line && text.ended && length == text.rest().len() && !text.rest().ends_with(b"\n")
                    {
                        return Ok(false);
                    }
                    let is_blank = count == 1 && fields.text(0).trim().is_empty();
                    self.place.byte += length as u64;
                    if !is_blank {
                        self.place.row += 1;
                        if self.place.row > self.skip_to {
                            csv_row(text, shape, fields, length, count, self.place.row, columns, malformed);
                        }
                    }
                    text.start += length;
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
                            json_line(record, line, self.place.row, columns, malformed);
                        }
                    }
                    self.place.byte += length as u64;
                    text.start += length;
                    true
                }
                Kind::Json { records, record } => match records.next() {
                    Some(value) => {
                        self.place.row += 1;
                        if self.place.row > self.skip_to {
                            json_row(record, &value, self.place.row, columns, malformed);
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

impl Fields {
    fn new(delimiter: u8, quote: u8) -> Self {
        Self {
            bytes: vec![0; 4096],
            used: 0,
            ends: vec![0; 64],
            gap: 0,
            delimiter,
            quote,
        }
    }

    fn range(&self, index: usize) -> std::ops::Range<usize> {
        let start = if index == 0 { 0 } else { self.ends[index - 1] + self.gap };
        start..self.ends[index]
    }

    fn text(&self, index: usize) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes[self.range(index)])
    }

    /// Calls `take` with the number and text of each of the first `count` fields. The text was made UTF-8 as a whole, but a file that
    /// changes while it is read may still hold anything.
    fn each(&self, count: usize, mut take: impl FnMut(usize, &str)) {
        let whole = std::str::from_utf8(&self.bytes[..self.used]).ok();
        for index in 0..count {
            match whole.and_then(|whole| whole.get(self.range(index))) {
                Some(text) => take(index, text),
                None => take(index, &self.text(index)),
            }
        }
    }

    /// Splits the row at the start of `input`, if it ends there and needs no unquoting: nearly every row. Else csv-core has to say.
    fn split_plain(&mut self, input: &[u8]) -> Option<Found> {
        let end = memchr::memchr(b'\n', input)?;
        let row = &input[..end];
        let row = row.strip_suffix(b"\r").unwrap_or(row);
        if row.is_empty() || row.starts_with(b"\xef\xbb\xbf") || memchr::memchr2(self.quote, b'\r', row).is_some() {
            return None;
        }
        if self.bytes.len() < row.len() {
            self.bytes.resize(row.len(), 0);
        }
        self.bytes[..row.len()].copy_from_slice(row);
        (self.used, self.gap) = (row.len(), 1);
        let mut count = 0;
        for end in memchr::memchr_iter(self.delimiter, row).chain(std::iter::once(row.len())) {
            if count == self.ends.len() {
                self.ends.resize(count * 2, 0);
            }
            self.ends[count] = end;
            count += 1;
        }
        Some(Found::Row {
            length: end + 1,
            fields: count,
        })
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

/// Splits the row at the text's start; reads more text as needed. A row beyond `max_row_bytes` (an open quote, most likely) is cut at the
/// end of its first line.
fn read_row(
    text: &mut Text,
    reader: &mut csv_core::Reader,
    fields: &mut Fields,
    max_row_bytes: usize,
) -> io::Result<Found> {
    loop {
        match split(text, reader, fields) {
            Found::Cut if text.rest().len() > max_row_bytes => {
                let (_, length) = text.line()?.unwrap_or((0, text.rest().len()));
                return Ok(Found::Row {
                    length,
                    fields: usize::MAX,
                });
            }
            Found::Cut => {
                if !text.more()? && text.rest().is_empty() {
                    return Ok(Found::End);
                }
            }
            found => return Ok(found),
        }
    }
}

fn split(text: &Text, reader: &mut csv_core::Reader, fields: &mut Fields) -> Found {
    let input = text.rest();
    if input.is_empty() {
        return if text.ended { Found::End } else { Found::Cut };
    }
    match fields.split_plain(input) {
        Some(found) => found,
        None => split_quoted(input, text.ended, reader, fields),
    }
}

/// Splits by csv-core.
fn split_quoted(input: &[u8], ended: bool, reader: &mut csv_core::Reader, fields: &mut Fields) -> Found {
    reader.reset();
    let (mut read, mut written, mut count) = (0, 0, 0);
    loop {
        // At the end of the file an empty input tells csv-core that nothing follows.
        if read == input.len() && !ended {
            return Found::Cut;
        }
        let (result, consumed, bytes, ends) =
            reader.read_record(&input[read..], &mut fields.bytes[written..], &mut fields.ends[count..]);
        read += consumed;
        written += bytes;
        count += ends;
        match result {
            ReadRecordResult::OutputFull => fields.bytes.resize(fields.bytes.len() * 2, 0),
            ReadRecordResult::OutputEndsFull => fields.ends.resize(fields.ends.len() * 2, 0),
            ReadRecordResult::InputEmpty => {}
            // A row whose end may be followed by the rest of a line break is whole only when that is known.
            ReadRecordResult::Record if read == input.len() && input[read - 1] == b'\r' && !ended => {
                return Found::Cut;
            }
            ReadRecordResult::Record => {
                if input.get(read.wrapping_sub(1)) == Some(&b'\r') && input.get(read) == Some(&b'\n') {
                    read += 1;
                }
                (fields.used, fields.gap) = (written, 0);
                return Found::Row {
                    length: read,
                    fields: count,
                };
            }
            ReadRecordResult::End => return Found::End,
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "one row's worth of borrowed parts of Rows")]
fn csv_row(
    text: &Text,
    shape: &Shape,
    fields: &Fields,
    length: usize,
    count: usize,
    row: u64,
    columns: &mut Columns,
    malformed: &mut Vec<MalformedRow>,
) {
    if count != shape.targets.len() {
        let problem = if count == usize::MAX {
            "the row is too long; is a quote not closed?".to_owned()
        } else {
            format!("the row has {count} fields, the header {}", shape.targets.len())
        };
        malformed.push(MalformedRow {
            row,
            problem,
            raw: text.rest()[..length].to_vec(),
        });
        return;
    }
    fields.each(count, |index, text| {
        if let Some(column) = shape.targets[index] {
            columns.set(column, text);
        }
    });
    columns.end_row(row);
}

fn json_line(record: &RecordSection, line: &[u8], row: u64, columns: &mut Columns, malformed: &mut Vec<MalformedRow>) {
    match serde_json::from_slice::<Value>(line) {
        Ok(value) => json_row(record, &value, row, columns, malformed),
        Err(error) => {
            let problem = format!("the line is no JSON (column {})", error.column());
            malformed.push(MalformedRow {
                row,
                problem,
                raw: line.to_vec(),
            });
        }
    }
}

fn json_row(record: &RecordSection, value: &Value, row: u64, columns: &mut Columns, malformed: &mut Vec<MalformedRow>) {
    let Value::Object(object) = value else {
        let raw = value.to_string().into_bytes();
        malformed.push(MalformedRow {
            row,
            problem: "the record is no JSON object".to_owned(),
            raw,
        });
        return;
    };
    for (index, column) in record.columns.iter().enumerate() {
        let found = std::iter::once(&column.name)
            .chain(&column.also)
            .find_map(|name| object.get(name));
        match found {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => columns.set(index, text),
            Some(other) => columns.set(index, &other.to_string()),
        }
    }
    columns.end_row(row);
}

fn json_records(text: &[u8], path: Option<&str>) -> Result<Vec<Value>, String> {
    let mut at: Value = serde_json::from_slice(text).map_err(|error| format!("cannot read it as JSON: {error}"))?;
    for part in path.into_iter().flat_map(|path| path.split('.')) {
        at = at
            .get_mut(part)
            .map(Value::take)
            .ok_or_else(|| format!("it has no \"{part}\" (records_path)"))?;
    }
    match at {
        Value::Array(records) => Ok(records),
        _ => Err("its records are no array; give records_path".to_owned()),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Length of the first row, and its fields.
    fn row_of(found: &Found, fields: &Fields) -> Option<(usize, Vec<String>)> {
        match found {
            Found::Row { length, fields: count } => {
                let mut texts = Vec::new();
                fields.each(*count, |_, text| texts.push(text.to_owned()));
                Some((*length, texts))
            }
            Found::Cut | Found::End => None,
        }
    }

    #[test]
    fn a_row_split_without_csv_core_is_split_as_csv_core_does() {
        const ALPHABET: [&str; 7] = ["a", ",", "\"", "\r", "\n", "é", "\u{feff}"];
        let mut plain = 0;
        for number in 0..ALPHABET.len().pow(5) {
            let mut text = String::new();
            let mut rest = number;
            for _ in 0..5 {
                text.push_str(ALPHABET[rest % ALPHABET.len()]);
                rest /= ALPHABET.len();
            }
            text.push('\n');
            let mut fields = Fields::new(b',', b'"');
            let Some(found) = fields.split_plain(text.as_bytes()) else {
                continue;
            };
            plain += 1;
            let quick = row_of(&found, &fields);
            let mut fields = Fields::new(b',', b'"');
            let mut reader = csv_core::Reader::new();
            let found = split_quoted(text.as_bytes(), true, &mut reader, &mut fields);
            assert_eq!(quick, row_of(&found, &fields), "{text:?}");
        }
        assert!(plain > 1_000, "{plain}");
    }
}
