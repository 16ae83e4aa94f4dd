//! From evaluated columns to events, row by row over columns that are already there.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::{Array as _, Int64Array, RecordBatch, StringArray};
use shiyu_schemas::code::Code as _;
use shiyu_schemas::rejection::RejectionCode;
use shiyu_schemas::time::calendar::month_start;
use shiyu_schemas::time::{Clock, Reading};
use shiyu_schemas::v1;

use super::hash::{content_hash, delivery_hash};
use super::mapping::{ClockField, Mapping};
use super::place::{Spot, put_areas, slot};
use super::rejection::{Marks, SourceRows};
use super::scrub::address::scrub_address;
use super::scrub::{scrub, scrub_text};
use super::sql::{Evaluated, Expression};
use super::words::{Category, Words, category};
use super::{Door, text_at};

/// Severities are 1 lowest to 5 highest.
const SEVERITIES: std::ops::RangeInclusive<i64> = 1..=5;

/// The columns of a batch, evaluated.
struct Columns<'a> {
    id: StringArray,
    version: Option<Int64Array>,
    kind: Option<StringArray>,
    origins: Words<Option<v1::Origin>>,
    occurred_at: StringArray,
    optional_clocks: [Option<(StringArray, &'a Clock, &'a str)>; 4],
    categories: Words<Category>,
    statuses: Words<Option<v1::CaseState>>,
    severity: Option<Int64Array>,
    holders: Words<()>,
    xy: Option<(StringArray, StringArray)>,
    spots: Vec<Spot>,
    address: Option<StringArray>,
    text: Option<StringArray>,
    attributes: Vec<(&'a str, StringArray)>,
    match_key: Option<StringArray>,
}

/// The times of a record.
struct Times {
    occurred: Reading,
    reported: Option<Reading>,
    updated: Option<Reading>,
    closed: Option<Reading>,
    due: Option<Reading>,
}

/// How far a record's times may run ahead of the hub's clock: clocks of departments and of hubs are wrong by a day now and then, and a
/// record must not be refused for that.
const AHEAD_MAX: Duration = Duration::from_hours(48);

/// Flags of one record.
type Flags = Vec<&'static str>;

impl Door {
    /// Gives the events of the rows that are not marked to `take`, in order; marks the others. One event is filled again and again, so
    /// that a row costs no memory of its own.
    pub(super) fn events<'a>(
        &'a self,
        batch: &RecordBatch,
        source: &str,
        received_at_us: i64,
        marks: &mut Marks<'a>,
        counts: &mut BTreeMap<&'static str, u64>,
        take: &mut dyn FnMut(&v1::Event),
    ) {
        let columns = self.columns(batch, marks);
        let mut event = v1::Event {
            feed: self.feed.clone(),
            channel: self.channel.into(),
            source: source.rsplit('/').next().unwrap_or(source).to_owned(),
            received_at_us,
            revision: self.revision,
            lateness_hours: self.lateness_hours,
            dedupe_days: self.dedupe_days,
            ..v1::Event::default()
        };
        let mut buffer = Vec::with_capacity(1024);
        let mut flags = Flags::new();
        let source_rows = SourceRows::of(batch);
        for row in 0..batch.num_rows() {
            flags.clear();
            if marks.has(row) {
                continue;
            }
            match self.fill(&columns, row, &mut event, &mut flags) {
                Ok(()) => {
                    let row = source_rows.at(row);
                    event.source_row = row;
                    event.delivery_hash = delivery_hash(&self.feed, source, row, &mut buffer);
                    let hash = content_hash(&event, &mut buffer);
                    event.content_hash_high = (hash >> 64) as u64;
                    event.content_hash_low = hash as u64;
                    event.flags.resize(flags.len(), String::new());
                    for (flag, written) in flags.iter().zip(&mut event.flags) {
                        (*flag).clone_into(written);
                        *counts.entry(flag).or_default() += 1;
                    }
                    take(&event);
                }
                Err((code, field)) => marks.set(row, code, field),
            }
        }
    }

    fn columns<'a>(&'a self, batch: &RecordBatch, marks: &mut Marks<'a>) -> Columns<'a> {
        let mapping: &'a Mapping = &self.mapping;
        let rows = batch.num_rows();
        let mut texts = |expression: &'a Expression| keep(expression, expression.texts(batch), marks);
        let id = texts(&mapping.id);
        let kind = mapping.kind.as_ref().map(&mut texts);
        let origin_texts = mapping.origin.as_ref().map(&mut texts);
        let occurred_at = texts(&mapping.occurred_at.text);
        let optional_clocks = mapping.optional_clocks.each_ref().map(|clock| {
            let ClockField { text, clock } = clock.as_ref()?;
            Some((texts(text), clock, text.field.as_str()))
        });
        let category_texts = texts(&mapping.category);
        let status_texts = mapping.status.as_ref().map(|(text, _)| texts(text));
        let holder_texts = mapping.holder.as_ref().map(&mut texts);
        let xy = mapping.place.as_ref().map(|place| (texts(&place.x), texts(&place.y)));
        let address = mapping.address.as_ref().map(&mut texts);
        let text = mapping.text.as_ref().map(&mut texts);
        let attributes = mapping
            .attributes
            .iter()
            .map(|(name, sql)| (name.as_str(), texts(sql)))
            .collect();
        let match_key = mapping.match_key.as_ref().map(&mut texts);
        let mut integers = |expression: &'a Expression| keep(expression, expression.integers(batch), marks);
        let version = mapping.version.as_ref().map(&mut integers);
        let severity = mapping.severity.as_ref().map(&mut integers);
        let spots = match (&mapping.place, &xy) {
            (Some(place), Some((xs, ys))) => place.locator.locate(xs, ys),
            _ => Vec::new(),
        };
        Columns {
            id,
            version,
            kind,
            origins: Words::read(origin_texts.as_ref(), rows, v1::Origin::from_word),
            occurred_at,
            optional_clocks,
            categories: Words::read(Some(&category_texts), rows, |text| category(&self.categories, text)),
            statuses: Words::read(status_texts.as_ref(), rows, |text| {
                mapping.status.as_ref().and_then(|(_, words)| words.state(text))
            }),
            severity,
            holders: Words::read(holder_texts.as_ref(), rows, |_| ()),
            xy,
            spots,
            address,
            text,
            attributes,
            match_key,
        }
    }

    /// Writes every field that depends on the row, whatever stood there.
    fn fill<'a>(
        &'a self,
        columns: &Columns<'a>,
        row: usize,
        event: &mut v1::Event,
        flags: &mut Flags,
    ) -> Result<(), (RejectionCode, &'a str)> {
        let record_id = text_at(&columns.id, row).ok_or((RejectionCode::MissingId, "id"))?;
        self.put_identifier(record_id, &mut event.record_id, flags);
        event.kind = kind_at(columns.kind.as_ref(), row)?.into();
        event.origin = origin_at(&columns.origins, row, self.origin)?.into();
        let times = self.times(columns, row, flags)?;
        self.check_future(&times, event.received_at_us)?;
        times.put(event);
        event.source_version = columns
            .version
            .as_ref()
            .filter(|column| column.is_valid(row))
            .map_or(0, |column| column.value(row));
        event.match_key.clear();
        if let Some(key) = columns.match_key.as_ref().and_then(|column| text_at(column, row)) {
            self.put_identifier(key, &mut event.match_key, flags);
        }
        put_text(Some(&columns.occurred_at), row, &mut event.source_occurred_at);
        self.put_place(columns, row, event, flags)?;
        put_words(columns, row, event, flags)?;
        put_texts(columns, row, event, flags);
        Ok(())
    }

    /// A key of a record. Where it points at a person a pseudonym stands for it: the same text gives the same one, and nothing gives it back.
    fn put_identifier(&self, text: &str, target: &mut String, flags: &mut Flags) {
        if matches!(scrub(text), Cow::Borrowed(_)) {
            text.clone_into(target);
        } else {
            flag(flags, "pseudonym");
            *target = self.sealer.pseudonym(text);
        }
    }

    fn times<'a>(
        &'a self,
        columns: &Columns<'a>,
        row: usize,
        flags: &mut Flags,
    ) -> Result<Times, (RejectionCode, &'a str)> {
        let field = &self.mapping.occurred_at;
        let occurred = text_at(&columns.occurred_at, row)
            .ok_or(RejectionCode::MissingTime)
            .and_then(|text| field.clock.read(text))
            .map_err(|code| (code, field.text.field.as_str()))?;
        let mut shifted = occurred.shifted;
        let mut ambiguous = occurred.ambiguous;
        let mut optional = [None; 4];
        for (reading, clock) in optional.iter_mut().zip(&columns.optional_clocks) {
            let Some((column, clock, name)) = clock else { continue };
            let Some(text) = text_at(column, row) else { continue };
            match clock.read(text) {
                Ok(read) => {
                    shifted |= read.shifted;
                    ambiguous |= read.ambiguous;
                    *reading = Some(read);
                }
                Err(RejectionCode::JunkDate) => flag(flags, "junk_time"),
                Err(code) => return Err((code, name)),
            }
        }
        let [reported, updated, mut closed, due] = optional;
        if closed.is_some_and(|closed| is_before(&closed, reported.as_ref().unwrap_or(&occurred))) {
            closed = None;
            flag(flags, "closed_before_opened");
        }
        if shifted {
            flag(flags, "shifted_time");
        }
        if ambiguous {
            flag(flags, "ambiguous_time");
        }
        Ok(Times {
            occurred,
            reported,
            updated,
            closed,
            due,
        })
    }

    /// A source's clock that runs years ahead would make its version the newest for ever.
    fn check_future(&self, times: &Times, received_at_us: i64) -> Result<(), (RejectionCode, &str)> {
        let latest_us = received_at_us.saturating_add(AHEAD_MAX.as_micros() as i64);
        let optional = self.mapping.optional_clocks.each_ref().map(Option::as_ref);
        let [reported, updated, closed, _due] = optional;
        let checked = [
            (Some(times.occurred), Some(&self.mapping.occurred_at)),
            (times.reported, reported),
            (times.updated, updated),
            (times.closed, closed),
        ];
        let late = checked.into_iter().find_map(|(reading, clock)| {
            let is_late = reading.is_some_and(|reading| reading.at_us > latest_us);
            clock.filter(|_| is_late)
        });
        match late {
            Some(clock) => Err((RejectionCode::FutureTime, clock.text.field.as_str())),
            None => Ok(()),
        }
    }

    fn put_place<'a>(
        &'a self,
        columns: &Columns<'a>,
        row: usize,
        event: &mut v1::Event,
        flags: &mut Flags,
    ) -> Result<(), (RejectionCode, &'a str)> {
        event.place_precision = v1::PlacePrecision::None.into();
        (event.lat, event.lng, event.cell) = (None, None, 0);
        let (Some(place), Some((xs, ys))) = (&self.mapping.place, &columns.xy) else {
            return Ok(());
        };
        put_text(Some(xs), row, &mut event.source_x);
        put_text(Some(ys), row, &mut event.source_y);
        event.source_datum.clone_from(&place.locator.datum_text);
        match columns.spots[row] {
            Spot::At(point, cell) => {
                event.lat = Some(point.lat());
                event.lng = Some(point.lng());
                event.cell = cell.to_i64();
                event.place_precision = place.locator.precision.into();
                put_areas(&self.layers, point, cell, event);
            }
            Spot::Nowhere(why) => {
                event.areas.clear();
                flag(flags, why);
            }
            Spot::Refused(code) => return Err((code, "place")),
        }
        Ok(())
    }
}

impl Times {
    fn put(&self, event: &mut v1::Event) {
        event.occurred_at_us = self.occurred.at_us;
        event.time_precision = self.occurred.precision.into();
        event.local_date = self.occurred.local_date;
        event.local_hour = self.occurred.local_hour;
        event.local_month = month_start(
            self.reported
                .map_or(self.occurred.local_date, |reported| reported.local_date),
        );
        event.reported_at_us = self.reported.map(|reading| reading.at_us);
        event.updated_at_us = self.updated.map_or(0, |reading| reading.at_us);
        event.closed_at_us = self.closed.map(|reading| reading.at_us);
        event.due_at_us = self.due.map(|reading| reading.at_us);
    }
}

/// Marks the rows on which an expression fails.
fn keep<'a, A>(expression: &'a Expression, evaluated: Evaluated<A>, marks: &mut Marks<'a>) -> A {
    for row in evaluated.failed {
        marks.set(row, RejectionCode::BadValue, &expression.field);
    }
    evaluated.values
}

fn put_text(column: Option<&StringArray>, row: usize, target: &mut String) {
    let text = column.and_then(|column| text_at(column, row));
    text.unwrap_or_default().clone_into(target);
}

fn flag(flags: &mut Flags, word: &'static str) {
    if !flags.contains(&word) {
        flags.push(word);
    }
}

/// Whether a case ended before it began; dates without hours are compared as dates.
fn is_before(closed: &Reading, opened: &Reading) -> bool {
    if closed.local_hour < 0 || opened.local_hour < 0 {
        closed.local_date < opened.local_date
    } else {
        closed.at_us < opened.at_us
    }
}

fn kind_at<'a>(column: Option<&StringArray>, row: usize) -> Result<v1::EventKind, (RejectionCode, &'a str)> {
    match column.and_then(|column| text_at(column, row)) {
        None => Ok(v1::EventKind::Upsert),
        Some(word) => v1::EventKind::from_word(word).ok_or((RejectionCode::BadValue, "kind")),
    }
}

fn origin_at<'a>(
    origins: &Words<Option<v1::Origin>>,
    row: usize,
    of_feed: v1::Origin,
) -> Result<v1::Origin, (RejectionCode, &'a str)> {
    let word = origins.at(row);
    match word.meaning {
        Some(origin) => Ok(origin),
        None if word.text.is_empty() => Ok(of_feed),
        None => Err((RejectionCode::BadValue, "origin")),
    }
}

fn put_words<'a>(
    columns: &Columns<'a>,
    row: usize,
    event: &mut v1::Event,
    flags: &mut Flags,
) -> Result<(), (RejectionCode, &'a str)> {
    let category = columns.categories.at(row);
    event.category.clone_from(&category.meaning.code);
    event.source_category.clone_from(&category.text);
    if !category.meaning.known {
        flag(flags, "unknown_category");
    }
    let own = columns
        .severity
        .as_ref()
        .filter(|column| column.is_valid(row))
        .map(|column| column.value(row));
    event.severity = match own {
        Some(severity) if SEVERITIES.contains(&severity) => severity as u32,
        Some(_) => return Err((RejectionCode::BadValue, "severity")),
        None => category.meaning.severity,
    };
    let status = columns.statuses.at(row);
    let default = if event.closed_at_us.is_some() {
        v1::CaseState::Closed
    } else {
        v1::CaseState::Filed
    };
    event.state = match status.meaning {
        Some(state) => state.into(),
        None if status.text.is_empty() => default.into(),
        None => {
            flag(flags, "unknown_status");
            v1::CaseState::Filed.into()
        }
    };
    event.source_status.clone_from(&status.text);
    let holder = columns.holders.at(row);
    event.holder.clone_from(&holder.text);
    if category.scrubbed || status.scrubbed || holder.scrubbed {
        flag(flags, "scrubbed");
    }
    Ok(())
}

fn put_texts(columns: &Columns<'_>, row: usize, event: &mut v1::Event, flags: &mut Flags) {
    event.address.clear();
    if let Some(address) = columns.address.as_ref().and_then(|column| text_at(column, row)) {
        let (address, scrubbed) = scrub_address(address);
        put_cow(address, &mut event.address);
        if scrubbed {
            flag(flags, "scrubbed");
        }
    }
    let mut put = |text: Cow<'_, str>, target: &mut String| {
        if put_cow(text, target) {
            flag(flags, "scrubbed");
        }
    };
    event.text.clear();
    if let Some(text) = columns.text.as_ref().and_then(|column| text_at(column, row)) {
        put(scrub_text(text), &mut event.text);
    }
    let mut filled = 0;
    for (name, column) in &columns.attributes {
        let Some(text) = text_at(column, row) else { continue };
        let attribute = slot(&mut event.attributes, filled);
        (*name).clone_into(&mut attribute.name);
        put(scrub(text), &mut attribute.value);
        filled += 1;
    }
    event.attributes.truncate(filled);
}

/// Whether the text is another than was given.
fn put_cow(text: Cow<'_, str>, target: &mut String) -> bool {
    match text {
        Cow::Borrowed(same) => {
            same.clone_into(target);
            false
        }
        Cow::Owned(changed) => {
            *target = changed;
            true
        }
    }
}
