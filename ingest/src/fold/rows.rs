//! What the step did, as Arrow rows of the stored tables.

use arrow::array::RecordBatch;
use shiyu_schemas::code::Code;
use shiyu_schemas::table::{CASE_CHANGES, CELL_CHANGES, EVENTS, REJECTIONS, SCORES};
use shiyu_schemas::v1::{self, Outcome};

use super::case::{Description, RecordState, Standing, areas_json};
use super::columns::{TableRows, finish, json_object, json_text};
use super::event::Event;
use super::step::{OtherChange, OwnChange};

/// Rows of the tables that events fold into.
#[derive(Debug)]
pub struct EventRows {
    partition: i32,
    events: TableRows,
    cases: TableRows,
    cells: TableRows,
    areas: Vec<u8>,
    json: Vec<u8>,
}

impl EventRows {
    /// No rows yet.
    pub fn new(partition: u32) -> Self {
        Self {
            partition: partition as i32,
            events: TableRows::new(&EVENTS),
            cases: TableRows::new(&CASE_CHANGES),
            cells: TableRows::new(&CELL_CHANGES),
            areas: Vec::new(),
            json: Vec::new(),
        }
    }

    /// An event, if it is accepted or stale, and the change of its own case, if there is one, by that number.
    pub fn push(&mut self, event: &Event<'_>, outcome: Outcome, own: Option<OwnChange>, sequence: u64) {
        if !matches!(outcome, Outcome::Accepted | Outcome::Stale) {
            return;
        }
        self.areas.clear();
        areas_json(event, &mut self.areas);
        self.push_event(event, outcome);
        if let Some(change) = own {
            self.push_own(event, change, sequence);
        }
    }

    fn push_event(&mut self, event: &Event<'_>, outcome: Outcome) {
        let rows = &mut self.events;
        rows.text(event.feed);
        rows.text(event.record_id);
        rows.text(event.kind().word());
        rows.text(outcome.word());
        rows.big(event.source_version);
        rows.time_option((event.updated_at_us != 0).then_some(event.updated_at_us));
        rows.hash(&[event.content_hash_high, event.content_hash_low]);
        rows.text(event.channel().word());
        rows.text(event.origin().word());
        rows.text(event.category);
        rows.text(event.source_category);
        rows.text(event.state().word());
        rows.text(event.source_status);
        rows.int(event.severity as i32);
        rows.text_or_null(event.holder);
        rows.time(event.occurred_at_us);
        rows.text(event.time_precision().word());
        rows.date(event.local_date);
        rows.int_option((event.local_hour >= 0).then_some(event.local_hour));
        rows.date(event.local_month);
        rows.time_option(event.reported_at_us);
        rows.time_option(event.closed_at_us);
        rows.time_option(event.due_at_us);
        rows.time(event.received_at_us);
        rows.text(event.source_occurred_at);
        rows.double_option(event.lat);
        rows.double_option(event.lng);
        rows.big_option((event.cell != 0).then_some(event.cell));
        rows.text(event.place_precision().word());
        rows.text_or_null(event.source_x);
        rows.text_or_null(event.source_y);
        rows.text_or_null(event.source_datum);
        rows.text_or_null(event.address);
        rows.text_or_null(json_text(&self.areas));
        self.json.clear();
        json_object(&event.attributes, &mut self.json);
        rows.text_or_null(json_text(&self.json));
        self.json.clear();
        for flag in &event.flags {
            if !self.json.is_empty() {
                self.json.push(b',');
            }
            self.json.extend_from_slice(flag.as_bytes());
        }
        rows.text_or_null(json_text(&self.json));
        rows.text(event.source);
        rows.big(event.source_row as i64);
        rows.hash(&[event.revision]);
        rows.end_row();
    }

    fn push_own(&mut self, event: &Event<'_>, change: OwnChange, sequence: u64) {
        let case = CaseRow {
            record_id: event.record_id,
            standing: Standing::of(event, change.paired),
            channel: event.channel(),
            origin: event.origin(),
            category: event.category,
            severity: event.severity,
            holder: event.holder,
            occurred_at_us: event.occurred_at_us,
            time_precision: event.time_precision(),
            local_date: event.local_date,
            local_hour: event.local_hour,
            reported_at_us: event.reported_at_us,
            closed_at_us: event.closed_at_us,
            due_at_us: event.due_at_us,
            lat: event.lat,
            lng: event.lng,
            cell: event.cell,
            place_precision: event.place_precision(),
            areas: json_text(&self.areas),
            versions: change.versions,
            match_key: event.match_key,
        };
        case.push(&mut self.cases, event.feed, self.partition, sequence);
    }

    /// The change of another case of the event's feed.
    pub fn push_other(&mut self, feed: &str, change: &OtherChange, sequence: u64) {
        CaseRow::of(change).push(&mut self.cases, feed, self.partition, sequence);
    }

    /// Changes of counts.
    pub fn push_cells(&mut self, changes: &[v1::CellChange]) {
        let rows = &mut self.cells;
        for change in changes {
            rows.big_option((change.cell != 0).then_some(change.cell));
            rows.time(change.hour_us);
            rows.boolean(change.day_only);
            rows.text(&change.category);
            rows.text(change.channel().word());
            rows.text(change.origin().word());
            rows.text(change.place_precision().word());
            rows.big(change.count);
            rows.big(change.open);
            rows.big(change.severity);
            rows.end_row();
        }
    }

    /// Rows by table, where there are any; afterwards there are none.
    pub fn finish(&mut self) -> Vec<(&'static str, RecordBatch)> {
        finish([&mut self.events, &mut self.cases, &mut self.cells])
    }
}

/// A row of `case_changes`, from an event or from a remembered state.
struct CaseRow<'a> {
    record_id: &'a str,
    standing: Standing,
    channel: v1::Channel,
    origin: v1::Origin,
    category: &'a str,
    severity: u32,
    holder: &'a str,
    occurred_at_us: i64,
    time_precision: v1::TimePrecision,
    local_date: i32,
    local_hour: i32,
    reported_at_us: Option<i64>,
    closed_at_us: Option<i64>,
    due_at_us: Option<i64>,
    lat: Option<f64>,
    lng: Option<f64>,
    cell: i64,
    place_precision: v1::PlacePrecision,
    areas: &'a str,
    versions: u32,
    match_key: &'a str,
}

impl<'a> CaseRow<'a> {
    fn of(change: &'a OtherChange) -> Self {
        let state: &RecordState = &change.state;
        let description: &Description = state
            .description
            .as_deref()
            .expect("only records with a match key, which are described, change by others");
        Self {
            record_id: &change.record_id,
            standing: state.standing(),
            channel: state.channel(),
            origin: state.origin(),
            category: &state.category,
            severity: state.severity,
            holder: &description.holder,
            occurred_at_us: description.occurred_at_us,
            time_precision: description.time_precision(),
            local_date: description.local_date,
            local_hour: description.local_hour,
            reported_at_us: description.reported_at_us,
            closed_at_us: description.closed_at_us,
            due_at_us: description.due_at_us,
            lat: description.lat,
            lng: description.lng,
            cell: description.cell,
            place_precision: state.place_precision(),
            areas: &description.areas,
            versions: state.versions,
            match_key: &description.match_key,
        }
    }

    fn push(&self, rows: &mut TableRows, feed: &str, partition: i32, sequence: u64) {
        rows.text(feed);
        rows.text(self.record_id);
        rows.int(partition);
        rows.big(sequence as i64);
        rows.text(if self.standing.is_correction() {
            "withdrawal"
        } else {
            "case"
        });
        rows.text(self.standing.word());
        rows.boolean(self.standing.is_open());
        rows.boolean(self.standing.is_counted());
        rows.text(self.channel.word());
        rows.text(self.origin.word());
        rows.text(self.category);
        rows.int(self.severity as i32);
        rows.text_or_null(self.holder);
        rows.time(self.occurred_at_us);
        rows.text(self.time_precision.word());
        rows.date(self.local_date);
        rows.int_option((self.local_hour >= 0).then_some(self.local_hour));
        rows.time_option(self.reported_at_us);
        rows.time_option(self.closed_at_us);
        rows.time_option(self.due_at_us);
        rows.double_option(self.lat);
        rows.double_option(self.lng);
        rows.big_option((self.cell != 0).then_some(self.cell));
        rows.text(self.place_precision.word());
        rows.text_or_null(self.areas);
        rows.int(self.versions as i32);
        rows.text_or_null(self.match_key);
        rows.end_row();
    }
}

/// Rows of the table of rejections. The sealed originals stay in the log.
#[derive(Debug)]
pub struct RejectionRows {
    rejections: TableRows,
}

impl Default for RejectionRows {
    fn default() -> Self {
        Self {
            rejections: TableRows::new(&REJECTIONS),
        }
    }
}

impl RejectionRows {
    /// A rejection.
    pub fn push(&mut self, rejection: &v1::Rejection) {
        let rows = &mut self.rejections;
        rows.text(&rejection.feed);
        rows.text(&rejection.source);
        rows.big(rejection.source_row as i64);
        rows.text(&rejection.code);
        rows.text(&rejection.column);
        rows.text(&rejection.message);
        rows.time(rejection.received_at_us);
        rows.hash(&[rejection.revision]);
        rows.end_row();
    }

    /// Rows by table, where there are any; afterwards there are none.
    pub fn finish(&mut self) -> Vec<(&'static str, RecordBatch)> {
        finish([&mut self.rejections])
    }
}

/// Rows of the table of scores.
#[derive(Debug)]
pub struct ScoreRows {
    scores: TableRows,
}

impl Default for ScoreRows {
    fn default() -> Self {
        Self {
            scores: TableRows::new(&SCORES),
        }
    }
}

impl ScoreRows {
    /// A score.
    pub fn push(&mut self, score: &v1::Score) {
        let contributions: serde_json::Map<_, _> = score
            .contributions
            .iter()
            .map(|part| {
                let values = serde_json::json!({ "value": part.value, "points": part.points });
                (part.factor.clone(), values)
            })
            .collect();
        let rows = &mut self.scores;
        rows.text(&score.model);
        rows.hash(&[score.definition]);
        rows.big(score.cell);
        rows.time(score.window_start_us);
        rows.time(score.window_end_us);
        rows.double_option(Some(score.score));
        rows.text(score.level().word());
        rows.text(&serde_json::Value::Object(contributions).to_string());
        rows.big(score.input_offset as i64);
        rows.time(score.scored_at_us);
        rows.end_row();
    }

    /// Rows by table, where there are any; afterwards there are none.
    pub fn finish(&mut self) -> Vec<(&'static str, RecordBatch)> {
        finish([&mut self.scores])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::Int32Type;

    use super::*;

    #[test]
    fn an_accepted_event_gives_a_row_of_every_column() {
        let event = v1::Event {
            feed: "hotline".to_owned(),
            record_id: "1".to_owned(),
            local_hour: -1,
            content_hash_low: 0xab,
            flags: vec!["scrubbed".to_owned(), "late".to_owned()],
            areas: vec![v1::AreaRef {
                level: "ward".to_owned(),
                code: "7".to_owned(),
            }],
            ..v1::Event::default()
        };
        let mut rows = EventRows::new(3);
        let event = Event::of(&event);
        rows.push(&event, Outcome::Unchanged, None, 8);
        rows.push(
            &event,
            Outcome::Stale,
            Some(OwnChange {
                versions: 2,
                paired: false,
            }),
            9,
        );
        rows.push_cells(&[v1::CellChange {
            count: -1,
            ..v1::CellChange::default()
        }]);
        let tables = rows.finish();
        assert_eq!(
            tables.iter().map(|(table, _)| *table).collect::<Vec<_>>(),
            ["events", "case_changes", "cell_changes"]
        );
        let events = &tables[0].1;
        assert_eq!(events.num_rows(), 1);
        let text = |name| events.column(EVENTS.index(name)).as_string::<i32>().value(0).to_owned();
        assert_eq!(text("outcome"), "stale");
        assert_eq!(text("content_hash"), "000000000000000000000000000000ab");
        assert_eq!(text("areas"), r#"{"ward":"7"}"#);
        assert_eq!(text("flags"), "scrubbed,late");
        assert!(events.column(EVENTS.index("local_hour")).is_null(0));
        let cases = &tables[1].1;
        assert_eq!(
            cases
                .column(CASE_CHANGES.index("partition"))
                .as_primitive::<Int32Type>()
                .value(0),
            3
        );
        assert!(rows.finish().is_empty(), "finished rows are gone");
    }
}
