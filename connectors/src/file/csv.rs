//! Rows of CSV.

use std::borrow::Cow;
use std::io;

use csv_core::ReadRecordResult;

use super::text::Text;
use crate::columns::{Columns, Shape};
use crate::contract::MalformedRow;

/// Splits rows, and holds the fields of the last one.
pub(super) struct Splitter {
    reader: Box<csv_core::Reader>,
    /// A row that csv-core unquoted, and room for more.
    unquoted: Vec<u8>,
    /// Bytes of the row's fields, and of what stands between them.
    used: usize,
    /// Where each field ends.
    ends: Vec<usize>,
    /// Whether the fields stand in the text as they are, a byte between two.
    is_plain: bool,
    delimiter: u8,
    quote: u8,
}

/// What one attempt at a row gave.
pub(super) enum Found {
    Row {
        length: usize,
        fields: usize,
    },
    /// More text is needed.
    Cut,
    End,
}

impl Splitter {
    pub(super) fn new(delimiter: u8, quote: u8) -> Self {
        let reader = csv_core::ReaderBuilder::new().delimiter(delimiter).quote(quote).build();
        Self {
            reader: Box::new(reader),
            unquoted: vec![0; 4096],
            used: 0,
            ends: vec![0; 64],
            is_plain: false,
            delimiter,
            quote,
        }
    }

    /// Splits the row at the text's start; reads more text as needed. A row beyond `max_row_bytes` (an open quote, most likely) is cut at
    /// the end of its first line.
    pub(super) fn read_row(&mut self, text: &mut Text, max_row_bytes: usize) -> io::Result<Found> {
        loop {
            match self.split(text.rest(), text.ended) {
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

    fn split(&mut self, input: &str, ended: bool) -> Found {
        if input.is_empty() {
            return if ended { Found::End } else { Found::Cut };
        }
        match self.split_plain(input.as_bytes()) {
            Some(found) => found,
            None => self.split_quoted(input.as_bytes(), ended),
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
        (self.used, self.is_plain) = (row.len(), true);
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

    /// Splits by csv-core.
    fn split_quoted(&mut self, input: &[u8], ended: bool) -> Found {
        self.reader.reset();
        let (mut read, mut written, mut count) = (0, 0, 0);
        loop {
            // At the end of the file an empty input tells csv-core that nothing follows.
            if read == input.len() && !ended {
                return Found::Cut;
            }
            let (result, consumed, bytes, ends) =
                self.reader
                    .read_record(&input[read..], &mut self.unquoted[written..], &mut self.ends[count..]);
            read += consumed;
            written += bytes;
            count += ends;
            match result {
                ReadRecordResult::OutputFull => self.unquoted.resize(self.unquoted.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::InputEmpty => {}
                // A row whose end may be followed by the rest of a line break is whole only when that is known.
                ReadRecordResult::Record if read == input.len() && input[read - 1] == b'\r' && !ended => {
                    return Found::Cut;
                }
                ReadRecordResult::Record => {
                    if input.get(read.wrapping_sub(1)) == Some(&b'\r') && input.get(read) == Some(&b'\n') {
                        read += 1;
                    }
                    (self.used, self.is_plain) = (written, false);
                    return Found::Row {
                        length: read,
                        fields: count,
                    };
                }
                ReadRecordResult::End => return Found::End,
            }
        }
    }

    /// The fields of the row at the start of `rest`, which was split last, as one text.
    fn row<'a>(&'a self, rest: &'a str) -> Cow<'a, str> {
        if self.is_plain {
            Cow::Borrowed(&rest[..self.used])
        } else {
            String::from_utf8_lossy(&self.unquoted[..self.used])
        }
    }

    /// Whether the first field of the row at the start of `rest`, which was split last, is blank.
    pub(super) fn begins_blank(&self, rest: &str) -> bool {
        self.row(rest)
            .get(..self.ends[0])
            .is_none_or(|field| field.trim().is_empty())
    }

    /// Calls `take` with the number and text of each of the first `count` fields of the row at the start of `rest`, which was split last.
    pub(super) fn each_field(&self, rest: &str, count: usize, mut take: impl FnMut(usize, &str)) {
        let row = self.row(rest);
        let gap = usize::from(self.is_plain);
        let mut start = 0;
        for (index, &end) in self.ends[..count].iter().enumerate() {
            // What splits is ASCII, so fields are whole characters.
            take(index, row.get(start..end).unwrap_or_default());
            start = end + gap;
        }
    }

    /// Adds the row at the start of the text, which was split last, to the columns, or to what is malformed.
    pub(super) fn put_row(
        &self,
        rest: &str,
        (length, count): (usize, usize),
        row: u64,
        shape: &Shape,
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
                raw: rest.as_bytes()[..length].to_vec(),
            });
            return;
        }
        self.each_field(rest, count, |index, text| {
            if let Some(column) = shape.targets[index] {
                columns.set(column, text);
            }
        });
        columns.end_row(row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Length of the first row, and its fields.
    fn row_of(found: &Found, splitter: &Splitter, text: &str) -> Option<(usize, Vec<String>)> {
        match found {
            Found::Row { length, fields } => {
                let mut texts = Vec::new();
                splitter.each_field(text, *fields, |_, text| texts.push(text.to_owned()));
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
            let mut splitter = Splitter::new(b',', b'"');
            let Some(found) = splitter.split_plain(text.as_bytes()) else {
                continue;
            };
            plain += 1;
            let quick = row_of(&found, &splitter, &text);
            let found = splitter.split_quoted(text.as_bytes(), true);
            assert_eq!(quick, row_of(&found, &splitter, &text), "{text:?}");
        }
        assert!(plain > 1_000, "{plain}");
    }
}
