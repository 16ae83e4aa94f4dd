//! The door: a delivery of raw records becomes checked events and rejections. Pure and columnar; no clock, no IO.
//!
//! In reading order:
//! - [`sql`]: a manifest's SQL, planned once against the batch `record`
//! - [`mapping`]: which expression gives which field
//! - [`place`]: datum → WGS84, cell, areas
//! - [`words`]: categories and statuses, looked up once per batch
//! - [`scrub`]: what points at a person leaves the text
//! - [`event`]: the row becomes an event
//! - [`rejection`]: or it becomes a rejection
//! - [`hash`]: when two versions are the same
//! - [`seal`]: originals of rejected records, encrypted
//! - [`wire`]: the event as the log holds it
//! - [`city`]: the door of a feed of a city folder
//!
//! One bad row never stops the others. Where a delivery is cut does not change what its rows become. The time of receipt is
//! handed in; how late a time may be follows from it.

mod city;
mod event;
mod hash;
mod mapping;
mod place;
mod rejection;
pub mod scrub;
pub mod seal;
mod sql;
#[cfg(test)]
mod tests;
pub mod wire;
mod words;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, RecordBatch, StringArray};
use arrow::array::{BooleanArray, new_null_array};
use arrow::compute::{cast, filter_record_batch};
use shiyu_connectors::Delivery;
use shiyu_schemas::city::manifest::FeedManifest;
use shiyu_schemas::code::Code as _;
use shiyu_schemas::rejection::RejectionCode;
use shiyu_schemas::v1;

pub use place::AreaLookup;
pub use seal::{AesSealer, Sealer};
pub use words::CategoryLookup;

use mapping::Mapping;
use rejection::Marks;

/// Bytes of a row's texts, at most: a larger one is no record.
const ROW_BYTES_MAX: usize = 1 << 20;

/// What the door needs of a city to map one feed.
pub struct DoorInputs<'a> {
    /// The feed.
    pub manifest: &'a FeedManifest,
    /// The city's IANA zone.
    pub zone: &'a str,
    /// The city's bounds: south, west, north, east, WGS84 degrees.
    pub bounds: [f64; 4],
    /// The feed's crosswalk and the tree's severities.
    pub categories: Box<CategoryLookup>,
    /// Boundary layers, coarse to fine.
    pub layers: Vec<Arc<dyn AreaLookup>>,
    /// Hash of the city folder's revision.
    pub revision: u64,
}

/// Why a mapping cannot be planned, and at which key of the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Key, dotted, e.g. `map.occurred_at.sql`.
    pub key: String,
    /// What is wrong.
    pub message: String,
}

impl Problem {
    fn new(key: &str, message: impl Into<String>) -> Self {
        Self {
            key: key.to_owned(),
            message: message.into(),
        }
    }
}

/// One feed's door, planned. Cheap to share between threads.
pub struct Door {
    feed: String,
    channel: v1::Channel,
    origin: v1::Origin,
    mapping: Mapping,
    categories: Box<CategoryLookup>,
    layers: Vec<Arc<dyn AreaLookup>>,
    revision: u64,
    lateness_hours: u32,
    /// 0 = for ever.
    dedupe_days: u32,
    sealer: Arc<dyn Sealer>,
}

/// What a delivery became. `read = events + rejections + excluded`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DoorOutput {
    /// Accepted records in the order of the source.
    pub events: Vec<v1::Event>,
    /// Refused records in the order of the source.
    pub rejections: Vec<v1::Rejection>,
    /// Records of the delivery, malformed ones included.
    pub read: u64,
    /// Records the feed's own filter left out.
    pub excluded: u64,
    /// What was noticed about accepted records, with counts.
    pub flags: BTreeMap<&'static str, u64>,
    /// Replacement characters the decoding put in.
    pub replaced_characters: u64,
}

impl Door {
    /// Plans the mapping, or tells everything that is wrong with it.
    pub fn from_inputs(inputs: DoorInputs<'_>, sealer: Arc<dyn Sealer>) -> Result<Self, Vec<Problem>> {
        let manifest = inputs.manifest;
        let mut problems = Vec::new();
        let channel = v1::Channel::from_word(&manifest.channel);
        if channel.is_none() {
            problems.push(Problem::new("channel", unknown_word::<v1::Channel>(&manifest.channel)));
        }
        let origin = v1::Origin::from_word(&manifest.origin);
        if origin.is_none() {
            problems.push(Problem::new("origin", unknown_word::<v1::Origin>(&manifest.origin)));
        }
        match (Mapping::compile(manifest, inputs.zone, inputs.bounds), channel, origin) {
            (Ok(mapping), Some(channel), Some(origin)) => Ok(Self {
                feed: manifest.feed.clone(),
                channel,
                origin,
                mapping,
                categories: inputs.categories,
                layers: inputs.layers,
                revision: inputs.revision,
                lateness_hours: manifest.lateness_hours,
                dedupe_days: manifest.dedupe_days.unwrap_or(0),
                sealer,
            }),
            (mapping, ..) => {
                problems.extend(mapping.err().into_iter().flatten());
                Err(problems)
            }
        }
    }

    /// Maps, locates, scrubs and checks one delivery received at `received_at_us`, microseconds since 1970 UTC.
    pub fn process(&self, delivery: &Delivery, received_at_us: i64) -> DoorOutput {
        let mut events = Vec::with_capacity(delivery.batch.num_rows());
        let output = self.process_each(delivery, received_at_us, |event| events.push(event.clone()));
        DoorOutput { events, ..output }
    }

    /// The same, but gives each event to `take` instead of keeping it. Events and rejections are stamped with `received_at_us`; times
    /// more than two days behind it are refused, but for a due date.
    pub fn process_each(
        &self,
        delivery: &Delivery,
        received_at_us: i64,
        mut take: impl FnMut(&v1::Event),
    ) -> DoorOutput {
        let batch = self.conform(&delivery.batch);
        let rows = batch.num_rows();
        let mut output = DoorOutput {
            read: (rows + delivery.malformed.len()) as u64,
            replaced_characters: delivery.replaced_characters,
            ..DoorOutput::default()
        };
        let (kept, refused) = self.filter(&batch);
        let kept_rows = kept.num_rows();
        output.excluded = (rows - kept_rows - refused.len()) as u64;
        let mut marks = Marks::new(kept_rows);
        mark_large_rows(&kept, &mut marks);
        self.events(
            &kept,
            &delivery.source,
            received_at_us,
            &mut marks,
            &mut output.flags,
            &mut take,
        );
        output.rejections = self.rejections(delivery, &batch, &refused, &kept, &marks);
        for rejection in &mut output.rejections {
            rejection.received_at_us = received_at_us;
        }
        output
    }

    /// The batch with exactly the manifest's columns; what the source lacks is NULL.
    fn conform(&self, batch: &RecordBatch) -> RecordBatch {
        let schema = &self.mapping.schema;
        let same = batch.schema_ref().fields().len() == schema.fields().len()
            && batch
                .schema_ref()
                .fields()
                .iter()
                .zip(schema.fields())
                .all(|(given, wanted)| given.name() == wanted.name() && given.data_type() == wanted.data_type());
        let columns = if same {
            batch.columns().to_vec()
        } else {
            schema
                .fields()
                .iter()
                .map(|field| {
                    batch
                        .column_by_name(field.name())
                        .and_then(|column| cast(column, field.data_type()).ok())
                        .unwrap_or_else(|| new_null_array(field.data_type(), batch.num_rows()))
                })
                .collect()
        };
        RecordBatch::try_new_with_options(
            schema.clone(),
            columns,
            &arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows())),
        )
        .expect("the columns were cast to the schema's types and have the batch's length")
    }

    /// The rows the filter lets in, and those on which it fails.
    fn filter(&self, batch: &RecordBatch) -> (RecordBatch, Vec<usize>) {
        let Some(filter) = &self.mapping.filter else {
            return (batch.clone(), Vec::new());
        };
        let evaluated = filter.conditions(batch);
        let kept: BooleanArray = evaluated.values.iter().map(|value| Some(value == Some(true))).collect();
        if kept.true_count() == batch.num_rows() {
            return (batch.clone(), Vec::new());
        }
        let filtered = filter_record_batch(batch, &kept).expect("the condition has the batch's length");
        (filtered, evaluated.failed)
    }
}

/// Rows that are too large to be one record of a department.
fn mark_large_rows(batch: &RecordBatch, marks: &mut Marks<'_>) {
    let texts: Vec<&StringArray> = batch
        .columns()
        .iter()
        .filter_map(|column| column.as_string_opt())
        .collect();
    let all: usize = texts.iter().map(|column| column.value_data().len()).sum();
    if all <= ROW_BYTES_MAX {
        return;
    }
    for row in 0..batch.num_rows() {
        let bytes: i32 = texts.iter().map(|column| column.value_length(row)).sum();
        if bytes as usize > ROW_BYTES_MAX {
            marks.set(row, RejectionCode::TooLarge, "");
        }
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Door")
            .field("feed", &self.feed)
            .finish_non_exhaustive()
    }
}

fn unknown_word<C: shiyu_schemas::code::Code>(word: &str) -> String {
    let known: Vec<&str> = C::ALL.iter().map(|(_, word)| *word).collect();
    format!("\"{word}\" is none of {}", known.join(", "))
}

/// A column's text in a row, trimmed; `None` where there is none.
fn text_at(column: &StringArray, row: usize) -> Option<&str> {
    if column.is_null(row) {
        return None;
    }
    let text = column.value(row);
    let text = if is_trimmed(text) { text } else { text.trim() };
    (!text.is_empty()).then_some(text)
}

/// Whether a text surely has no blanks at its ends: both are plain ASCII or a character of three bytes behind all blanks there are.
fn is_trimmed(text: &str) -> bool {
    let plain = |byte: u8| (0x21..0x7f).contains(&byte);
    let behind_blanks = |byte: u8| (0xe4..=0xef).contains(&byte);
    let bytes = text.as_bytes();
    let begins = bytes
        .first()
        .is_some_and(|first| plain(*first) || behind_blanks(*first));
    let ends = match bytes {
        [.., last] if plain(*last) => true,
        [.., lead, _, _] => behind_blanks(*lead),
        _ => false,
    };
    begins && ends
}

/// The code and what to tell the department, without the value.
fn message_of(code: RejectionCode, field: &str) -> String {
    match code {
        RejectionCode::MissingId => "nothing names the record: fill what map.id reads".to_owned(),
        RejectionCode::MissingTime => format!("\"{field}\" is empty: fill it, or map another column"),
        RejectionCode::BadTime => {
            format!("\"{field}\" is in none of the manifest's formats: correct it, or add its format")
        }
        RejectionCode::JunkDate => format!("\"{field}\" is a date the manifest declares as junk: give the true date"),
        RejectionCode::TimeInGap => format!("\"{field}\" never was: the clock was set forward over it"),
        RejectionCode::FutureTime => format!("\"{field}\" is in the future: correct the clock"),
        RejectionCode::BadCoordinate => format!("\"{field}\" is no pair of numbers: correct it, or leave it empty"),
        RejectionCode::OutsideCity => format!("\"{field}\" is outside the city's bounds: check coordinates and datum"),
        RejectionCode::BadValue => {
            format!("\"{field}\" cannot be read as the mapping reads it: correct the value or the mapping")
        }
        RejectionCode::ForbiddenField => format!("\"{field}\" is never admitted: leave it out"),
        RejectionCode::MalformedRow => "the row cannot be split into columns".to_owned(),
        RejectionCode::PoisonCrash => "the record killed the process three times: report it".to_owned(),
        RejectionCode::TooLarge => "the row is larger than 1 MiB: shorten its texts".to_owned(),
    }
}
