//! Changes of the events' own cases, but for those an event opens: what an event and its case have in common is written once, as a column
//! of `events`.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanBuilder, Int32Builder, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use shiyu_schemas::table::{CASE_CHANGES, EVENTS};

use super::case::Standing;
use super::event::Event;
use super::step::OwnChange;
use super::texts::Texts;

/// What only the case has, per changed case; the rest is taken from the events' rows.
#[derive(Debug)]
pub(super) struct OwnCases {
    schema: SchemaRef,
    /// Rows of the events.
    events: Vec<u32>,
    kind: Texts,
    state: Texts,
    open: BooleanBuilder,
    counted: BooleanBuilder,
    versions: Int32Builder,
    match_key: Texts,
}

impl OwnCases {
    /// No rows yet.
    pub(super) fn new() -> Self {
        Self {
            schema: CASE_CHANGES.row_schema(),
            events: Vec::new(),
            kind: Texts::new(),
            state: Texts::new(),
            open: BooleanBuilder::new(),
            counted: BooleanBuilder::new(),
            versions: Int32Builder::new(),
            match_key: Texts::new(),
        }
    }

    /// The change of the case of an event, which is that row of `events`.
    pub(super) fn push(&mut self, event: &Event<'_>, row: usize, change: OwnChange) {
        let standing = Standing::of(event, change.paired);
        self.events.push(row as u32);
        self.kind.push(Some(kind_word(standing)));
        self.state.push(Some(standing.word()));
        self.open.append_value(standing.is_open());
        self.counted.append_value(standing.is_counted());
        self.versions.append_value(change.versions as i32);
        self.match_key
            .push((!event.match_key.is_empty()).then_some(event.match_key));
    }

    /// The rows, if there are any; afterwards there are none. `events` holds the events' rows.
    pub(super) fn finish(&mut self, events: &RecordBatch) -> Option<(&'static str, RecordBatch)> {
        let rows = UInt32Array::from(std::mem::take(&mut self.events));
        if rows.is_empty() {
            return None;
        }
        let all = rows.len() == events.num_rows();
        let columns = CASE_CHANGES.columns.iter().map(|column| match column.name {
            "kind" => self.kind.finish(),
            "state" => self.state.finish(),
            "open" => Arc::new(self.open.finish()) as ArrayRef,
            "counted" => Arc::new(self.counted.finish()),
            "versions" => Arc::new(self.versions.finish()),
            "match_key" => self.match_key.finish(),
            shared => {
                let column = events.column(EVENTS.index(shared));
                if all {
                    column.clone()
                } else {
                    take(column, &rows, None).expect("the rows are rows of the events")
                }
            }
        });
        let columns = columns.collect();
        let cases = RecordBatch::try_new(self.schema.clone(), columns).expect("the shapes agree on what they share");
        Some((CASE_CHANGES.name, cases))
    }
}

/// Word for the kind of a case.
pub(super) fn kind_word(standing: Standing) -> &'static str {
    if standing.is_correction() { "withdrawal" } else { "case" }
}
