//! Rows of one table in the making: columns are written in the order of the table's shape, row by row.

use std::sync::Arc;

use arrow::array::{
    ArrayBuilder as _, ArrayRef, BooleanBuilder, Date32Builder, Float64Builder, Int32Builder, Int64Builder,
    RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::SchemaRef;
use shiyu_schemas::table::{ColumnType, TableShape};

use super::event::Pair;

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
    Text(StringBuilder),
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
        let schema = shape.schema();
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
        /// A text.
        text, text_option: Text(&str);
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
        let mut length = 0;
        for word in words {
            for byte in word.to_be_bytes() {
                digits[length] = HEX[usize::from(byte >> 4)];
                digits[length + 1] = HEX[usize::from(byte & 15)];
                length += 2;
            }
        }
        self.text(std::str::from_utf8(&digits[..length]).expect("hexadecimal digits are UTF-8"));
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

impl Column {
    fn new(kind: ColumnType) -> Self {
        match kind {
            ColumnType::Text => Self::Text(StringBuilder::new()),
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
            Self::Text(builder) => {
                // The next epoch will be about as large.
                let next = StringBuilder::with_capacity(builder.len(), builder.values_slice().len());
                Arc::new(std::mem::replace(builder, next).finish())
            }
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
pub(super) fn json_object(pairs: &[Pair<'_>], json: &mut Vec<u8>) {
    if pairs.is_empty() {
        return;
    }
    if !pairs.is_sorted_by(|left, right| left.0 < right.0) {
        let mut sorted = pairs.to_vec();
        sorted.sort_by(|left, right| left.0.cmp(right.0));
        sorted.dedup_by(|next, kept| next.0 == kept.0);
        return json_object(&sorted, json);
    }
    json.push(b'{');
    for (index, (name, value)) in pairs.iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        json_string(name, json);
        json.push(b':');
        json_string(value, json);
    }
    json.push(b'}');
}

fn json_string(text: &str, json: &mut Vec<u8>) {
    let plain = text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\');
    if plain {
        json.push(b'"');
        json.extend_from_slice(text.as_bytes());
        json.push(b'"');
    } else {
        serde_json::to_writer(json, text).expect("a Vec takes every text");
    }
}

/// JSON as text.
pub(super) fn json_text(json: &[u8]) -> &str {
    std::str::from_utf8(json).expect("written from texts")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_quotes_escaped() {
        let mut json = Vec::new();
        json_object(&[("b", "2"), ("a", "say \"1\""), ("b", "3")], &mut json);
        assert_eq!(json_text(&json), r#"{"a":"say \"1\"","b":"2"}"#);
        json.clear();
        json_object(&[], &mut json);
        assert!(json.is_empty());
    }
}
