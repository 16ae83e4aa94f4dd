//! Rows of one table in the making: columns are written in the order of the table's shape, row by row.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Float64Builder, Int32Builder, Int64Builder, RecordBatch,
    TimestampMicrosecondBuilder,
};
use arrow::datatypes::SchemaRef;
use shiyu_schemas::table::{ColumnType, TableShape};

use super::event::Pair;
use super::texts::Texts;

/// Rows of one table, in the making.
#[derive(Debug)]
pub(super) struct TableRows {
    shape: &'static TableShape,
    schema: SchemaRef,
    columns: Vec<Column>,
    next: usize,
    rows: usize,
}

#[derive(Debug)]
enum Column {
    Text(Texts),
    BigInt(Int64Builder),
    Int(Int32Builder),
    Double(Float64Builder),
    Boolean(BooleanBuilder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
}

macro_rules! writers {
    ($($(#[$doc:meta])* $name:ident, $option:ident: $kind:ident($type:ty);)+) => {$(
        $(#[$doc])*
        pub(super) fn $name(&mut self, value: $type) {
            self.$option(Some(value));
        }

        #[doc = "The same, where NULL may stand."]
        pub(super) fn $option(&mut self, value: Option<$type>) {
            let Column::$kind(builder) = self.next_column() else {
                unreachable!("columns are written in the order of the shape")
            };
            builder.append_option(value);
        }
    )+};
}

impl TableRows {
    /// No rows yet.
    pub(super) fn new(shape: &'static TableShape) -> Self {
        let schema = shape.row_schema();
        let columns = shape.columns.iter().map(|column| Column::new(column.kind)).collect();
        Self {
            shape,
            schema,
            columns,
            next: 0,
            rows: 0,
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.rows
    }

    /// The rows so far; afterwards there are none.
    pub(super) fn finish(&mut self) -> RecordBatch {
        self.rows = 0;
        let arrays = self.columns.iter_mut().map(Column::finish).collect();
        RecordBatch::try_new(self.schema.clone(), arrays).expect("every row writes every column of the shape")
    }

    fn next_column(&mut self) -> &mut Column {
        let column = &mut self.columns[self.next];
        self.next += 1;
        column
    }

    /// Ends the row; every column is written.
    pub(super) fn end_row(&mut self) {
        debug_assert_eq!(
            self.next,
            self.columns.len(),
            "a row of {} is not whole",
            self.shape.name
        );
        self.next = 0;
        self.rows += 1;
    }

    writers! {
        /// A 64-bit number.
        big, big_option: BigInt(i64);
        /// A 32-bit number.
        int, int_option: Int(i32);
        /// True or false.
        boolean, boolean_option: Boolean(bool);
        /// Days since 1970-01-01.
        date, date_option: Date(i32);
        /// Microseconds since 1970 UTC.
        time, time_option: Timestamp(i64);
    }

    /// A text.
    pub(super) fn text(&mut self, text: &str) {
        self.text_option(Some(text));
    }

    /// The same, where NULL may stand.
    pub(super) fn text_option(&mut self, text: Option<&str>) {
        let Column::Text(texts) = self.next_column() else {
            unreachable!("columns are written in the order of the shape")
        };
        texts.push(text);
    }

    /// Degrees; NULL where there is no place.
    pub(super) fn double_option(&mut self, value: Option<f64>) {
        let Column::Double(builder) = self.next_column() else {
            unreachable!("columns are written in the order of the shape")
        };
        builder.append_option(value);
    }

    /// A text; NULL where it is empty.
    pub(super) fn text_or_null(&mut self, value: &str) {
        self.text_option((!value.is_empty()).then_some(value));
    }

    /// A hash in hexadecimal.
    pub(super) fn hash(&mut self, words: &[u64]) {
        let mut digits = [0_u8; 32];
        for (word, digits) in words.iter().zip(digits.chunks_exact_mut(16)) {
            digits[..8].copy_from_slice(&hexadecimal((word >> 32) as u32));
            digits[8..].copy_from_slice(&hexadecimal(*word as u32));
        }
        let length = words.len() * 16;
        self.text(std::str::from_utf8(&digits[..length]).expect("hexadecimal digits are UTF-8"));
    }
}

/// Eight hexadecimal digits, all at once.
fn hexadecimal(word: u32) -> [u8; 8] {
    // A byte per digit, the first digit in the highest byte.
    let mut digits = u64::from(word);
    digits = (digits | digits << 16) & 0x0000_ffff_0000_ffff;
    digits = (digits | digits << 8) & 0x00ff_00ff_00ff_00ff;
    digits = (digits | digits << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    // 1 where the digit is a letter.
    let letters = ((digits + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    let to_letter = u64::from(b'a' - b'0' - 10);
    (digits + 0x3030_3030_3030_3030 + letters * to_letter).to_be_bytes()
}

impl Column {
    fn new(kind: ColumnType) -> Self {
        match kind {
            ColumnType::Text => Self::Text(Texts::new()),
            ColumnType::BigInt => Self::BigInt(Int64Builder::new()),
            ColumnType::Int => Self::Int(Int32Builder::new()),
            ColumnType::Double => Self::Double(Float64Builder::new()),
            ColumnType::Boolean => Self::Boolean(BooleanBuilder::new()),
            ColumnType::Date => Self::Date(Date32Builder::new()),
            ColumnType::Timestamp => Self::Timestamp(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
            ColumnType::Binary => unreachable!("no table of the fold holds bytes"),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(texts) => texts.finish(),
            Self::BigInt(builder) => Arc::new(builder.finish()),
            Self::Int(builder) => Arc::new(builder.finish()),
            Self::Double(builder) => Arc::new(builder.finish()),
            Self::Boolean(builder) => Arc::new(builder.finish()),
            Self::Date(builder) => Arc::new(builder.finish()),
            Self::Timestamp(builder) => Arc::new(builder.finish()),
        }
    }
}

/// Rows by table, where there are any; afterwards there are none.
pub(super) fn finish<'a>(tables: impl IntoIterator<Item = &'a mut TableRows>) -> Vec<(&'static str, RecordBatch)> {
    tables
        .into_iter()
        .filter(|rows| !rows.is_empty())
        .map(|rows| (rows.shape.name, rows.finish()))
        .collect()
}

/// Writes texts as a JSON object with sorted names, the first value of a name; nothing where there are none.
pub(super) fn json_object(pairs: &[Pair<'_>], json: &mut String) {
    if pairs.is_empty() {
        return;
    }
    if !pairs.is_sorted_by(|left, right| left.0 < right.0) {
        let mut sorted = pairs.to_vec();
        sorted.sort_by(|left, right| left.0.cmp(right.0));
        sorted.dedup_by(|next, kept| next.0 == kept.0);
        return json_object(&sorted, json);
    }
    json.push('{');
    for (index, (name, value)) in pairs.iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        json_string(name, json);
        json.push(':');
        json_string(value, json);
    }
    json.push('}');
}

fn json_string(text: &str, json: &mut String) {
    let plain = text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\');
    if plain {
        json.push('"');
        json.push_str(text);
        json.push('"');
    } else {
        json.push_str(&serde_json::Value::from(text).to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_the_number() {
        for word in [0, 1, 0x0123_4567, 0x89ab_cdef, 0xffff_ffff, 0xa0f9_0001, 0x1000_0000] {
            assert_eq!(hexadecimal(word), format!("{word:08x}").as_bytes());
        }
    }

    #[test]
    fn names_are_sorted_and_quotes_escaped() {
        let mut json = String::new();
        json_object(&[("b", "2"), ("a", "say \"1\""), ("b", "3")], &mut json);
        assert_eq!(json, r#"{"a":"say \"1\"","b":"2"}"#);
        json.clear();
        json_object(&[], &mut json);
        assert!(json.is_empty());
    }
}
