//! What the step did, as Arrow rows of the stored tables.

use arrow::array::RecordBatch;
use shiyu_schemas::code::Code;
use shiyu_schemas::table::{CASE_CHANGES, CELL_CHANGES, EVENTS, REJECTIONS, SCORES};
use shiyu_schemas::v1::{self, Outcome};

use super::case::{Description, RecordState, areas_json};
use super::columns::{TableRows, finish, json_object};
use super::event::Event;
use super::own_cases::{OwnCases, kind_word};
use super::step::{OtherChange, OwnChange};

/// Rows of the tables that events fold into.
#[derive(Debug)]
pub struct EventRows {
    partition: i32,
    events: TableRows,
    /// Changes of the events' own cases, but for those they open.
    own: OwnCases,
    /// Changes of other cases.
    others: TableRows,
    cells: TableRows,
    json: String,
}

impl EventRows {
    /// No rows yet.
    pub fn new(partition: u32) -> Self {
        Self {
            partition: partition as i32,
            events: TableRows::new(&EVENTS),
            own: OwnCases::new(),
            others: TableRows::new(&CASE_CHANGES),
            cells: TableRows::new(&CELL_CHANGES),
            json: String::new(),
        }
    }

    /// An event, if it is accepted or stale, and the change of its own case, if there is one, by that number.
    pub fn push(&mut self, event: &Event<'_>, outcome: Outcome, own: Option<OwnChange>, sequence: u64) {
        if !matches!(outcome, Outcome::Accepted | Outcome::Stale) {
            return;
        }
        let opens_case = own.is_some_and(|change| change.opens_case(event));
        if let Some(change) = own.filter(|_| !opens_case) {
            self.own.push(event, self.events.len(), change);
        }
        self.push_event(event, outcome);
        let rows = &mut self.events;
        rows.int(self.partition);
        rows.big_option(own.map(|_| sequence as i64));
        rows.boolean(opens_case);
        rows.end_row();
    }

    /// What the event says of itself.
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
        self.json.clear();
        areas_json(event, &mut self.json);
        rows.text_or_null(&self.json);
        self.json.clear();
        json_object(&event.attributes, &mut self.json);
        rows.text_or_null(&self.json);
        self.json.clear();
        for flag in &event.flags {
            if !self.json.is_empty() {
                self.json.push(',');
            }
            self.json.push_str(flag);
        }
        rows.text_or_null(&self.json);
        rows.text(event.source);
        rows.big(event.source_row as i64);
        rows.hash(&[event.revision]);
    }

    /// The change of another case of the event's feed.
    pub fn push_other(&mut self, feed: &str, change: &OtherChange, sequence: u64) {
        push_case(&mut self.others, feed, change, self.partition, sequence);
    }

    /// A change of counts.
    pub fn push_cell(&mut self, change: &v1::CellChange) {
        let rows = &mut self.cells;
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

    /// Rows by table, where there are any; afterwards there are none. A table may come twice.
    pub fn finish(&mut self) -> Vec<(&'static str, RecordBatch)> {
        let mut tables = finish([&mut self.events]);
        if let Some((_, events)) = tables.first() {
            tables.extend(self.own.finish(events));
        }
        tables.extend(finish([&mut self.others, &mut self.cells]));
        tables
    }
}

/// A row of `case_changes` from a remembered state.
fn push_case(rows: &mut TableRows, feed: &str, change: &OtherChange, partition: i32, sequence: u64) {
    let state: &RecordState = &change.state;
    let description: &Description = state
        .description
        .as_deref()
        .expect("only records with a match key, which are described, change by others");
    let standing = state.standing();
    rows.text(feed);
    rows.text(&change.record_id);
    rows.int(partition);
    rows.big(sequence as i64);
    rows.text(kind_word(standing));
    rows.text(standing.word());
    rows.boolean(standing.is_open());
    rows.boolean(standing.is_counted());
    rows.text(state.channel().word());
    rows.text(state.origin().word());
    rows.text(&state.category);
    rows.int(state.severity as i32);
    rows.text_or_null(&description.holder);
    rows.time(description.occurred_at_us);
    rows.text(description.time_precision().word());
    rows.date(description.local_date);
    rows.int_option((description.local_hour >= 0).then_some(description.local_hour));
    rows.time_option(description.reported_at_us);
    rows.time_option(description.closed_at_us);
    rows.time_option(description.due_at_us);
    rows.double_option(description.lat);
    rows.double_option(description.lng);
    rows.big_option((description.cell != 0).then_some(description.cell));
    rows.text(state.place_precision().word());
    rows.text_or_null(&description.areas);
    rows.int(state.versions as i32);
    rows.text_or_null(&description.match_key);
    rows.end_row();
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
    use arrow::datatypes::{Int32Type, Int64Type};

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
        rows.push_cell(&v1::CellChange {
            count: -1,
            ..v1::CellChange::default()
        });
        let tables = rows.finish();
        assert_eq!(
            tables.iter().map(|(table, _)| *table).collect::<Vec<_>>(),
            ["events", "case_changes", "cell_changes"]
        );
        let events = &tables[0].1;
        assert_eq!(events.num_rows(), 1);
        let text = |name| events.column(EVENTS.index(name)).as_string_view().value(0).to_owned();
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

    #[test]
    fn a_case_that_its_event_opens_has_no_other_row() {
        let version = |kind: v1::EventKind, match_key: &str| v1::Event {
            kind: kind.into(),
            match_key: match_key.to_owned(),
            ..v1::Event::default()
        };
        let (upsert, change) = (version(v1::EventKind::Upsert, ""), |versions| OwnChange {
            versions,
            paired: false,
        });
        let mut rows = EventRows::new(3);
        rows.push(&Event::of(&upsert), Outcome::Accepted, Some(change(1)), 10);
        rows.push(&Event::of(&upsert), Outcome::Accepted, Some(change(2)), 11);
        rows.push(&Event::of(&upsert), Outcome::Stale, None, 12);
        let matched = version(v1::EventKind::Upsert, "k");
        rows.push(&Event::of(&matched), Outcome::Accepted, Some(change(1)), 12);
        let withdrawn = version(v1::EventKind::Withdraw, "");
        rows.push(&Event::of(&withdrawn), Outcome::Accepted, Some(change(1)), 13);
        let tables = rows.finish();
        let (events, cases) = (&tables[0].1, &tables[1].1);
        let opens = events.column(EVENTS.index("opens_case")).as_boolean();
        assert_eq!(
            opens.iter().flatten().collect::<Vec<_>>(),
            [true, false, false, false, false]
        );
        let sequences = |rows: &RecordBatch, column| {
            rows.column(column)
                .as_primitive::<Int64Type>()
                .iter()
                .collect::<Vec<_>>()
        };
        assert_eq!(
            sequences(events, EVENTS.index("sequence")),
            [Some(10), Some(11), None, Some(12), Some(13)]
        );
        assert_eq!(
            sequences(cases, CASE_CHANGES.index("sequence")),
            [Some(11), Some(12), Some(13)]
        );
    }

    #[test]
    fn a_case_has_what_its_event_has_also_between_events_that_change_none() {
        let mut rows = EventRows::new(3);
        for (number, outcome) in [
            (1, Outcome::Stale),
            (2, Outcome::Accepted),
            (3, Outcome::Stale),
            (4, Outcome::Accepted),
        ] {
            let event = v1::Event {
                record_id: number.to_string(),
                holder: if number == 2 { "unit" } else { "" }.to_owned(),
                match_key: if number == 4 { "key" } else { "" }.to_owned(),
                kind: v1::EventKind::Upsert.into(),
                ..v1::Event::default()
            };
            let own = (outcome == Outcome::Accepted).then_some(OwnChange {
                versions: number,
                paired: number == 4,
            });
            rows.push(&Event::of(&event), outcome, own, u64::from(number) * 10);
        }
        let other = RecordState {
            description: Some(Box::default()),
            ..RecordState::default()
        };
        let change = OtherChange {
            record_id: "5".to_owned(),
            state: other,
        };
        rows.push_other("hotline", &change, 50);
        let tables = rows.finish();
        let cases: Vec<&RecordBatch> = tables[1..].iter().map(|(_, rows)| rows).collect();
        assert_eq!(tables[1].0, "case_changes");
        assert_eq!((cases[0].num_rows(), cases[1].num_rows()), (2, 1));
        assert_eq!(cases[0].schema(), cases[1].schema());
        let text = |name, row| {
            let column = cases[0].column(CASE_CHANGES.index(name)).as_string_view();
            (!column.is_null(row)).then(|| column.value(row).to_owned())
        };
        assert_eq!(
            (text("record_id", 0), text("record_id", 1)),
            (Some("2".to_owned()), Some("4".to_owned()))
        );
        assert_eq!((text("holder", 0), text("holder", 1)), (Some("unit".to_owned()), None));
        assert_eq!(
            (text("match_key", 0), text("match_key", 1)),
            (None, Some("key".to_owned()))
        );
        assert_eq!(text("state", 1).as_deref(), Some("withdrawn"));
        let sequences = cases[0]
            .column(CASE_CHANGES.index("sequence"))
            .as_primitive::<Int64Type>();
        assert_eq!(sequences.values(), &[20, 40]);
    }
}
