//! Records that could not become events: what is wrong with them, and their sealed originals.

use arrow::array::{Array as _, AsArray as _, Int64Array, RecordBatch};
use shiyu_connectors::Delivery;
use shiyu_schemas::rejection::RejectionCode;
use shiyu_schemas::v1;

use super::hash::delivery_hash;
use super::sql::{FILE_COLUMN, ROW_COLUMN};
use super::{Door, message_of};

/// What is wrong with the rows of a batch; the first finding of a row stays.
#[derive(Debug)]
pub(super) struct Marks<'a> {
    rows: Vec<Option<(RejectionCode, &'a str)>>,
    any: bool,
}

impl<'a> Marks<'a> {
    pub(super) fn new(rows: usize) -> Self {
        Self {
            rows: vec![None; rows],
            any: false,
        }
    }

    pub(super) fn set(&mut self, row: usize, code: RejectionCode, field: &'a str) {
        self.rows[row].get_or_insert((code, field));
        self.any = true;
    }

    pub(super) fn has(&self, row: usize) -> bool {
        self.any && self.rows[row].is_some()
    }
}

/// Rows in the source, from 1.
pub(super) struct SourceRows<'a>(Option<&'a Int64Array>);

impl<'a> SourceRows<'a> {
    pub(super) fn of(batch: &'a RecordBatch) -> Self {
        Self(
            batch
                .column_by_name(ROW_COLUMN)
                .and_then(|column| column.as_primitive_opt()),
        )
    }

    pub(super) fn at(&self, row: usize) -> u64 {
        match self.0 {
            Some(rows) if rows.is_valid(row) => rows.value(row) as u64,
            _ => row as u64 + 1,
        }
    }
}

impl Door {
    pub(super) fn rejections(
        &self,
        delivery: &Delivery,
        batch: &RecordBatch,
        refused_by_filter: &[usize],
        kept: &RecordBatch,
        marks: &Marks<'_>,
    ) -> Vec<v1::Rejection> {
        let mut rejections = Vec::new();
        for row in refused_by_filter {
            let original = original_of(batch, *row);
            rejections.push(self.rejection(
                delivery,
                SourceRows::of(batch).at(*row),
                RejectionCode::BadValue,
                "where",
                &original,
            ));
        }
        if marks.any {
            for (row, mark) in marks.rows.iter().enumerate() {
                if let Some((code, field)) = mark {
                    let original = original_of(kept, row);
                    rejections.push(self.rejection(delivery, SourceRows::of(kept).at(row), *code, field, &original));
                }
            }
        }
        for malformed in &delivery.malformed {
            let mut rejection =
                self.rejection(delivery, malformed.row, RejectionCode::MalformedRow, "", &malformed.raw);
            rejection.message.clone_from(&malformed.problem);
            rejections.push(rejection);
        }
        rejections.sort_by_key(|rejection| rejection.source_row);
        rejections
    }

    fn rejection(
        &self,
        delivery: &Delivery,
        source_row: u64,
        code: RejectionCode,
        field: &str,
        original: &[u8],
    ) -> v1::Rejection {
        let (sealed, key_id) = self.sealer.seal(original);
        v1::Rejection {
            feed: self.feed.clone(),
            source: delivery.source.clone(),
            source_row,
            code: code.word().to_owned(),
            column: field.to_owned(),
            message: message_of(code, field),
            sealed,
            key_id,
            received_at_us: 0,
            delivery_hash: delivery_hash(&self.feed, &delivery.source, source_row, &mut Vec::new()),
            revision: self.revision,
        }
    }
}

/// The record as a push would bring it: a JSON object of its filled columns.
fn original_of(batch: &RecordBatch, row: usize) -> Vec<u8> {
    let mut object = serde_json::Map::new();
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        if let Some(texts) = column.as_string_opt::<i32>()
            && field.name() != FILE_COLUMN
            && texts.is_valid(row)
        {
            object.insert(field.name().clone(), texts.value(row).into());
        }
    }
    serde_json::Value::Object(object).to_string().into_bytes()
}
