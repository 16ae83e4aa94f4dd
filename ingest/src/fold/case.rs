//! The state of one record: its current version, the deliveries seen, and what it gives to the counts.
//!
//! A case stands in the counts unless it is withdrawn (by its department, or by a correction row), or its department labels it a
//! duplicate of another record: one incident is one count.
//!
//! States are protobuf messages of our own, so that fields can be added; they never leave the state store.

use std::cmp::Ordering;

use h3o::{CellIndex, Resolution};
use shiyu_schemas::code::Code;
use shiyu_schemas::lifecycle::{is_counted, is_open};
use shiyu_schemas::v1::{self, CaseState, EventKind, TimePrecision};

use super::cell::{CellDelta, CellKey};
use super::columns::json_object;
use super::event::Event;
use super::horizon;

/// Deliveries, and versions that are not current, remembered per record. An older one that comes again is `unchanged` or `stale` instead of
/// `duplicate`; it is never counted twice.
const REMEMBERED_MAX: usize = 64;

const HOUR_US: i64 = 3_600_000_000;

/// What the fold knows of one record.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RecordState {
    /// Kind of the current version.
    #[prost(enumeration = "EventKind", tag = "1")]
    pub kind: i32,
    /// The current version's first order key.
    #[prost(sint64, tag = "2")]
    pub source_version: i64,
    /// The current version's second order key, microseconds since 1970 UTC.
    #[prost(sint64, tag = "3")]
    pub updated_at_us: i64,
    /// The current version's third order key, high half.
    #[prost(fixed64, tag = "4")]
    pub content_hash_high: u64,
    /// Low half.
    #[prost(fixed64, tag = "5")]
    pub content_hash_low: u64,
    /// Deliveries seen, oldest first.
    #[prost(fixed64, repeated, tag = "6")]
    pub deliveries: Vec<u64>,
    /// Versions accepted so far.
    #[prost(uint32, tag = "7")]
    pub versions: u32,
    /// State of the current version, as the department gave it.
    #[prost(enumeration = "CaseState", tag = "8")]
    pub state: i32,
    /// Severity, 0..5.
    #[prost(uint32, tag = "9")]
    pub severity: u32,
    /// Cell at resolution 9; 0 where there is no place.
    #[prost(sfixed64, tag = "10")]
    pub cell: i64,
    /// Start of the hour, or of the local day where only the date is known; microseconds since 1970 UTC.
    #[prost(sint64, tag = "11")]
    pub hour_us: i64,
    /// Whether only the date is known.
    #[prost(bool, tag = "12")]
    pub day_only: bool,
    /// Category code.
    #[prost(string, tag = "13")]
    pub category: String,
    /// Channel.
    #[prost(enumeration = "v1::Channel", tag = "14")]
    pub channel: i32,
    /// Origin.
    #[prost(enumeration = "v1::Origin", tag = "15")]
    pub origin: i32,
    /// Precision of the place.
    #[prost(enumeration = "v1::PlacePrecision", tag = "16")]
    pub place_precision: i32,
    /// An upsert: a correction row cancels it. A correction row: it has found its record.
    #[prost(bool, tag = "17")]
    pub paired: bool,
    /// What a row of `case_changes` needs beyond this; only where another record's event can change the case (match key).
    #[prost(message, optional, boxed, tag = "18")]
    pub description: Option<Box<Description>>,
    /// Versions that are not current, by [`version_hash`], oldest knowledge first: each is a row of `events` once.
    #[prost(fixed64, repeated, tag = "19")]
    pub superseded: Vec<u64>,
    /// The day (since 1970, UTC) on which the case ended, where its feed has a horizon behind which it is forgotten.
    #[prost(sint32, optional, tag = "20")]
    pub end_day: Option<i32>,
}

/// What a case is about: the rest of a row of `case_changes`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Description {
    /// Key a withdrawal and its record share.
    #[prost(string, tag = "1")]
    pub match_key: String,
    /// Unit that holds the case.
    #[prost(string, tag = "2")]
    pub holder: String,
    /// When it happened, microseconds since 1970 UTC.
    #[prost(sint64, tag = "3")]
    pub occurred_at_us: i64,
    /// How precisely that is known.
    #[prost(enumeration = "TimePrecision", tag = "4")]
    pub time_precision: i32,
    /// Days since 1970-01-01.
    #[prost(sint32, tag = "5")]
    pub local_date: i32,
    /// 0..23; -1 where only the date is known.
    #[prost(sint32, tag = "6")]
    pub local_hour: i32,
    /// Microseconds since 1970 UTC.
    #[prost(sint64, optional, tag = "7")]
    pub reported_at_us: Option<i64>,
    /// Microseconds since 1970 UTC.
    #[prost(sint64, optional, tag = "8")]
    pub closed_at_us: Option<i64>,
    /// Microseconds since 1970 UTC.
    #[prost(sint64, optional, tag = "9")]
    pub due_at_us: Option<i64>,
    /// Degrees.
    #[prost(double, optional, tag = "10")]
    pub lat: Option<f64>,
    /// Degrees.
    #[prost(double, optional, tag = "11")]
    pub lng: Option<f64>,
    /// Cell at resolution 11; 0 where there is none.
    #[prost(sfixed64, tag = "12")]
    pub cell: i64,
    /// JSON, level to code; empty where there is none.
    #[prost(string, tag = "13")]
    pub areas: String,
}

/// How a case stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Kind of the current version.
    pub kind: EventKind,
    /// State as the department gave it.
    pub state: CaseState,
    /// An upsert: a correction row cancels it. A correction row: it has found its record.
    pub paired: bool,
}

impl Standing {
    /// How the event's case stands, once the match key's group has said whether it is paired.
    pub fn of(event: &Event<'_>, paired: bool) -> Self {
        Self {
            kind: event.kind(),
            state: event.state(),
            paired,
        }
    }

    /// Whether this is a correction row that cancels another record.
    pub fn is_correction(self) -> bool {
        self.kind == EventKind::Cancel
    }

    /// Whether the case would stand in the counts if no correction row cancelled it.
    fn stands_by_itself(self) -> bool {
        self.kind == EventKind::Upsert && is_counted(self.state)
    }

    /// Whether the case stands in the counts.
    pub fn is_counted(self) -> bool {
        self.stands_by_itself() && !self.paired
    }

    /// Whether the case still asks for work.
    pub fn is_open(self) -> bool {
        self.is_counted() && is_open(self.state)
    }

    /// Word for the state now: withdrawn, whatever its department says of it, once it is taken back or cancelled; of a correction
    /// row: matched or waiting.
    pub fn word(self) -> &'static str {
        match (self.kind, self.paired) {
            (EventKind::Cancel, true) => "matched",
            (EventKind::Cancel, false) => "waiting",
            (EventKind::Withdraw, _) | (EventKind::Upsert, true) => CaseState::Withdrawn.word(),
            (EventKind::Upsert | EventKind::Unspecified, _) => self.state.word(),
        }
    }
}

/// Which side of a match key a record stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// A record a correction row may cancel.
    Record,
    /// A correction row.
    Correction,
}

impl RecordState {
    /// The state after `event` becomes the current version; `paired` is left for the match key's group to say.
    pub fn of(event: &Event<'_>) -> Self {
        let day_only = is_day_only(event.time_precision());
        let description = (!event.match_key.is_empty()).then(|| Box::new(Description::of(event)));
        Self {
            kind: event.kind,
            source_version: event.source_version,
            updated_at_us: event.updated_at_us,
            content_hash_high: event.content_hash_high,
            content_hash_low: event.content_hash_low,
            deliveries: Vec::new(),
            versions: 0,
            state: event.state,
            severity: event.severity,
            cell: parent_at_nine(event.cell),
            hour_us: if day_only {
                event.occurred_at_us
            } else {
                event.occurred_at_us.div_euclid(HOUR_US) * HOUR_US
            },
            day_only,
            category: event.category.to_owned(),
            channel: event.channel,
            origin: event.origin,
            place_precision: event.place_precision,
            paired: false,
            description,
            superseded: Vec::new(),
            end_day: horizon::end_day_of(event),
        }
    }

    /// Whether the record is forgotten at this limit, microseconds since 1970 UTC: as if it had never been seen.
    pub fn is_forgotten(&self, limit_us: i64) -> bool {
        self.end_day.is_some_and(|day| horizon::is_behind(day, limit_us))
    }

    /// How an event's version stands to the current one: by source version, source time, content, kind; never by arrival.
    pub fn order_of(&self, event: &Event<'_>) -> Ordering {
        (
            event.source_version,
            event.updated_at_us,
            event.content_hash_high,
            event.content_hash_low,
            event.kind,
        )
            .cmp(&(
                self.source_version,
                self.updated_at_us,
                self.content_hash_high,
                self.content_hash_low,
                self.kind,
            ))
    }

    /// Whether the event says what the current version says.
    pub fn has_content_of(&self, event: &Event<'_>) -> bool {
        self.content_hash_high == event.content_hash_high
            && self.content_hash_low == event.content_hash_low
            && self.kind == event.kind
    }

    /// Remembers a delivery.
    pub fn remember(&mut self, delivery_hash: u64) {
        remember(&mut self.deliveries, delivery_hash);
    }

    /// Remembers a version that is not current.
    pub fn supersede(&mut self, version_hash: u64) {
        remember(&mut self.superseded, version_hash);
    }

    /// The current version, as [`version_hash`] of its event gives it.
    pub fn version_hash(&self) -> u64 {
        hash_of_version(
            self.source_version,
            self.updated_at_us,
            [self.content_hash_high, self.content_hash_low],
            self.kind,
        )
    }

    /// How the case stands now.
    pub fn standing(&self) -> Standing {
        Standing {
            kind: self.kind(),
            state: self.state(),
            paired: self.paired,
        }
    }

    /// The match key and the side on which the record stands there; none where it can neither cancel nor be cancelled.
    pub fn membership(&self) -> Option<(&str, Side)> {
        let match_key = self.description.as_ref()?.match_key.as_str();
        let standing = self.standing();
        if standing.is_correction() {
            Some((match_key, Side::Correction))
        } else if standing.stands_by_itself() {
            Some((match_key, Side::Record))
        } else {
            None
        }
    }

    /// What the case gives to the counts, with sign; none where it does not stand in them.
    pub fn delta(&self, sign: i64) -> Option<CellDelta> {
        let standing = self.standing();
        standing.is_counted().then(|| CellDelta {
            key: CellKey {
                cell: self.cell,
                hour_us: self.hour_us,
                day_only: self.day_only,
                category: self.category.clone(),
                channel: self.channel,
                origin: self.origin,
                place_precision: self.place_precision,
            },
            count: sign,
            open: if standing.is_open() { sign } else { 0 },
            severity: sign * i64::from(self.severity),
        })
    }
}

/// What tells one version of a record from another.
pub fn version_hash(event: &Event<'_>) -> u64 {
    hash_of_version(
        event.source_version,
        event.updated_at_us,
        [event.content_hash_high, event.content_hash_low],
        event.kind,
    )
}

fn hash_of_version(source_version: i64, updated_at_us: i64, content: [u64; 2], kind: i32) -> u64 {
    let mut bytes = [0; 36];
    bytes[..8].copy_from_slice(&source_version.to_le_bytes());
    bytes[8..16].copy_from_slice(&updated_at_us.to_le_bytes());
    bytes[16..24].copy_from_slice(&content[0].to_le_bytes());
    bytes[24..32].copy_from_slice(&content[1].to_le_bytes());
    bytes[32..].copy_from_slice(&kind.to_le_bytes());
    xxhash_rust::xxh3::xxh3_64(&bytes)
}

fn remember(known: &mut Vec<u64>, hash: u64) {
    if known.contains(&hash) {
        return;
    }
    if known.len() >= REMEMBERED_MAX {
        known.remove(0);
    }
    known.push(hash);
}

impl Description {
    /// What the event says.
    pub fn of(event: &Event<'_>) -> Self {
        let mut areas = String::new();
        areas_json(event, &mut areas);
        Self {
            match_key: event.match_key.to_owned(),
            holder: event.holder.to_owned(),
            occurred_at_us: event.occurred_at_us,
            time_precision: event.time_precision,
            local_date: event.local_date,
            local_hour: event.local_hour,
            reported_at_us: event.reported_at_us,
            closed_at_us: event.closed_at_us,
            due_at_us: event.due_at_us,
            lat: event.lat,
            lng: event.lng,
            cell: event.cell,
            areas,
        }
    }
}

/// Writes the areas of an event as JSON, level to code, levels sorted; nothing where there are none.
pub fn areas_json(event: &Event<'_>, json: &mut String) {
    json_object(&event.areas, json);
}

fn is_day_only(precision: TimePrecision) -> bool {
    matches!(precision, TimePrecision::Day | TimePrecision::Month)
}

/// The parent at resolution 9; 0 where the cell is none or coarser.
fn parent_at_nine(cell: i64) -> i64 {
    CellIndex::try_from(cell as u64)
        .ok()
        .and_then(|cell| cell.parent(Resolution::Nine))
        .map_or(0, |parent| u64::from(parent) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(state: CaseState) -> v1::Event {
        v1::Event {
            kind: EventKind::Upsert.into(),
            state: state.into(),
            severity: 3,
            occurred_at_us: -1,
            time_precision: TimePrecision::Minute.into(),
            ..v1::Event::default()
        }
    }

    fn state(event: &v1::Event) -> RecordState {
        RecordState::of(&Event::of(event))
    }

    #[test]
    fn an_hour_starts_before_its_events_also_before_1970() {
        assert_eq!(state(&order(CaseState::Filed)).hour_us, -HOUR_US);
    }

    #[test]
    fn a_date_only_event_keeps_the_start_of_its_local_day() {
        let event = v1::Event {
            time_precision: TimePrecision::Day.into(),
            ..order(CaseState::Filed)
        };
        let record = state(&event);
        assert!(record.day_only);
        assert_eq!(record.hour_us, -1);
    }

    #[test]
    fn a_case_labelled_duplicate_by_its_department_is_not_counted() {
        assert!(state(&order(CaseState::Filed)).standing().is_counted());
        assert!(!state(&order(CaseState::Duplicate)).standing().is_counted());
        assert!(state(&order(CaseState::Withdrawn)).delta(1).is_none());
    }

    #[test]
    fn a_closed_case_is_counted_but_not_open() {
        let delta = state(&order(CaseState::Closed)).delta(-1).expect("it is counted");
        assert_eq!((delta.count, delta.open, delta.severity), (-1, 0, -3));
    }

    #[test]
    fn remembered_deliveries_have_a_limit() {
        let mut record = state(&order(CaseState::Filed));
        for delivery in 0..200 {
            record.remember(delivery);
        }
        assert_eq!(record.deliveries.len(), REMEMBERED_MAX);
        assert_eq!(record.deliveries.last(), Some(&199));
    }

    #[test]
    fn a_cell_of_resolution_11_counts_in_its_parent_at_9() {
        let cell = h3o::LatLng::new(41.88, -87.63)
            .expect("a place")
            .to_cell(Resolution::Eleven);
        let parent = CellIndex::try_from(parent_at_nine(u64::from(cell) as i64) as u64).expect("a cell");
        assert_eq!(parent.resolution(), Resolution::Nine);
        assert_eq!(parent_at_nine(0), 0);
    }
}
