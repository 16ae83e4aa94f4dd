//! A feed that forgets, on a real state store: nothing within the horizon changes, nothing beyond it is new, and the store shrinks.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use shiyu_log::local::{LocalLog, LocalLogOptions};
use shiyu_log::state::{PartitionState, StateStore};
use shiyu_log::vfs::RealVfs;
use shiyu_log::{EventLog as _, Records, Topic};
use shiyu_schemas::v1::{self, CaseState, EventKind, Outcome, TimePrecision};

use super::*;
use crate::fold::epoch::outcome_of;
use crate::fold::partition::{Epoch, Partition};
use crate::fold::snapshot::{read_snapshot, write_snapshot};

const HORIZON_DAYS: u32 = 10;

/// A version of a record of the feed `hotline`, created on a day and delivered whenever.
fn version(record: &str, version: i64, created_day: i64, state: CaseState, changed_day: i64) -> v1::Event {
    let closed = !shiyu_schemas::lifecycle::is_open(state);
    v1::Event {
        feed: "hotline".to_owned(),
        record_id: record.to_owned(),
        kind: EventKind::Upsert.into(),
        source_version: version,
        content_hash_low: version as u64 + 1,
        delivery_hash: version as u64,
        state: state.into(),
        severity: 1,
        category: "noise".to_owned(),
        occurred_at_us: created_day * DAY_US,
        time_precision: TimePrecision::Minute.into(),
        closed_at_us: closed.then_some(changed_day * DAY_US),
        // No clock of the hub holds the watermark back.
        received_at_us: 100_000 * DAY_US,
        dedupe_days: HORIZON_DAYS,
        ..v1::Event::default()
    }
}

/// An open case that moves the watermark to a day.
fn tick(day: i64) -> v1::Event {
    version(&format!("tick-{day}"), 0, day, CaseState::Filed, day)
}

/// A log with one partition of events, and a state store.
struct World {
    folder: tempfile::TempDir,
    log: LocalLog,
    states: StateStore,
    values: Vec<Bytes>,
}

impl World {
    fn of(events: &[v1::Event]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = LocalLogOptions {
            events_partitions: 1,
            ..LocalLogOptions::default()
        };
        let log = LocalLog::open(&folder.path().join("log"), Arc::new(RealVfs), options).unwrap();
        let mut records = Records::new();
        let mut values = Vec::new();
        for event in events {
            records.push_message(b"k", event);
            values.push(Bytes::from(event.encode_to_vec()));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(log.append(Topic::Events, 0, records)).unwrap();
        let states = StateStore::open(&folder.path().join("state")).unwrap();
        Self {
            folder,
            log,
            states,
            values,
        }
    }

    fn state(&self, name: &str) -> PartitionState {
        self.states.partition(name).unwrap()
    }

    /// What a process finds that opens the partition.
    fn open(&self, name: &str) -> Partition {
        Partition::open_as(&self.log, self.state(name), Topic::Events, 0, 1).unwrap()
    }

    /// Folds what is left in epochs of these sizes, again and again; where `crash`, each epoch in a process of its own.
    fn fold(&self, name: &str, sizes: &[usize], crash: bool) -> Told {
        let mut partition = self.open(name);
        let mut told = Told::default();
        for size in sizes.iter().copied().cycle() {
            let first = partition.offset() as usize;
            let last = self.values.len().min(first + size.max(1));
            if first == last {
                return told;
            }
            told.take(partition.fold(&self.values[first..last]).unwrap());
            if crash {
                drop(partition);
                partition = self.open(name);
            }
        }
        told
    }

    fn keys(&self, name: &str) -> Vec<String> {
        let mut keys = Vec::new();
        self.state(name)
            .for_each_key(Space::Records, |key| {
                keys.push(String::from_utf8_lossy(key).into_owned());
            })
            .unwrap();
        keys
    }
}

/// What a fold said.
#[derive(Debug, Default, PartialEq)]
struct Told {
    /// Of each event, with its mark for lateness.
    outcomes: Vec<u8>,
    /// Of each accepted one: versions, and whether it is paired.
    own: Vec<u64>,
    cells: BTreeMap<(i64, i64, String), [i64; 3]>,
}

impl Told {
    fn take(&mut self, epoch: Epoch) {
        let cell_changes = epoch.record.cell_changes().unwrap();
        self.outcomes.extend(epoch.record.outcomes);
        self.own.extend(epoch.record.own);
        for change in cell_changes {
            let sum = self
                .cells
                .entry((change.cell, change.hour_us, change.category))
                .or_default();
            for (sum, change) in sum.iter_mut().zip([change.count, change.open, change.severity]) {
                *sum += change;
            }
        }
        self.cells.retain(|_, sum| *sum != [0; 3]);
    }

    fn outcomes(&self) -> Vec<Outcome> {
        self.outcomes.iter().map(|byte| outcome_of(*byte)).collect()
    }
}

/// One record: created, closed so many days later (or never), and what is delivered after that.
#[derive(Debug, Clone)]
struct Life {
    created_day: i64,
    closed_after: Option<i64>,
    withdrawn: bool,
    /// Days behind its creation on which versions come again, and which.
    again: Vec<(i64, i64)>,
    reopened_after: Option<i64>,
}

fn any_life() -> impl Strategy<Value = Life> {
    (
        0..30_i64,
        prop::option::weighted(0.8, 0..6_i64),
        any::<bool>(),
        prop::collection::vec((0..40_i64, 0..3_i64), 0..4),
        prop::option::weighted(0.3, 0..40_i64),
    )
        .prop_map(|(created_day, closed_after, withdrawn, again, reopened_after)| Life {
            created_day,
            closed_after,
            withdrawn,
            again,
            reopened_after,
        })
}

/// Deliveries in the order of their days, beside a record that moves the watermark every day.
fn deliveries(lives: &[Life]) -> Vec<v1::Event> {
    let mut arriving: Vec<(i64, v1::Event)> = (0..75).map(|day| (day, tick(day))).collect();
    for (number, life) in lives.iter().enumerate() {
        let created = life.created_day;
        let closed_day = created + life.closed_after.unwrap_or(3);
        let versions = |which: i64| {
            let (state, day) = match (which, life.closed_after) {
                (0, _) => (CaseState::Filed, created),
                (1, Some(after)) if life.withdrawn => (CaseState::Withdrawn, created + after),
                (1, Some(after)) => (CaseState::Closed, created + after),
                (1, None) => (CaseState::Dispatched, created + 3),
                _ => (CaseState::Reopened, created + life.reopened_after.unwrap_or(0)),
            };
            version(&format!("record-{number}"), which, created, state, day)
        };
        arriving.push((created, versions(0)));
        arriving.push((closed_day, versions(1)));
        if let Some(after) = life.reopened_after {
            arriving.push((created + after, versions(2)));
        }
        for (index, &(after, which)) in life.again.iter().enumerate() {
            let which = if life.reopened_after.is_none() {
                which.min(1)
            } else {
                which
            };
            let event = v1::Event {
                // Some come from the same place, some from another.
                delivery_hash: if index % 2 == 0 {
                    which as u64
                } else {
                    100 + index as u64
                },
                ..versions(which)
            };
            arriving.push((created + after, event));
        }
    }
    arriving.sort_by_key(|(day, _)| *day);
    arriving.into_iter().map(|(_, event)| event).collect()
}

/// Which events come within the horizon, by a rule of its own: known and not ended so long ago, or new and not created so long ago.
fn within(events: &[v1::Event]) -> Vec<bool> {
    let mut newest_day = None;
    let mut known: BTreeMap<&str, &v1::Event> = BTreeMap::new();
    let mut kept = Vec::new();
    for event in events {
        let limit_day = newest_day.map_or(i64::MIN, |day| day - i64::from(HORIZON_DAYS));
        let ended_day = |event: &v1::Event| match (event.closed_at_us, event.state()) {
            (Some(closed_at_us), _) => Some(closed_at_us / DAY_US),
            (None, _) => None,
        };
        let current = known.get(event.record_id.as_str()).copied();
        let is_known = current.is_some_and(|current| ended_day(current).is_none_or(|day| day >= limit_day));
        let is_kept = is_known || event.occurred_at_us / DAY_US >= limit_day;
        if is_kept {
            let newer = current.is_none_or(|current| !is_known || event.source_version > current.source_version);
            if newer {
                known.insert(&event.record_id, event);
            }
        }
        kept.push(is_kept);
        newest_day = newest_day.max(Some(event.occurred_at_us / DAY_US));
    }
    kept
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn within_the_horizon_nothing_differs_and_beyond_it_all_is_stale_wherever_epochs_end(
        lives in prop::collection::vec(any_life(), 1..25),
        sizes in prop::collection::vec(1..40_usize, 1..5),
        crash in any::<bool>(),
    ) {
        let events = deliveries(&lives);
        let kept = within(&events);
        let plain: Vec<v1::Event> = events
            .iter()
            .zip(&kept)
            .filter(|(_, kept)| **kept)
            .map(|(event, _)| v1::Event { dedupe_days: 0, ..event.clone() })
            .collect();
        let expected = World::of(&plain).fold("events-0", &[1000], false);
        let world = World::of(&events);
        let told = world.fold("events-0", &sizes, crash);
        let mut outcomes = expected.outcomes.iter();
        for (index, (outcome, kept)) in told.outcomes.iter().zip(&kept).enumerate() {
            let stale = Outcome::Stale as u8;
            let wanted = if *kept { outcomes.next().unwrap() } else { &stale };
            prop_assert_eq!(outcome, wanted, "event {} of {:?}", index, &events[index]);
        }
        prop_assert_eq!(&told.own, &expected.own);
        prop_assert_eq!(&told.cells, &expected.cells);
        // Folded by somebody else, in other epochs: the same.
        let again = world.fold("events-elsewhere", &[13], !crash);
        prop_assert_eq!(told, again);
    }
}

/// Ten days and more behind the end of a closed case.
fn long_after(events: impl IntoIterator<Item = v1::Event>) -> (World, Told) {
    let first = [
        version("a", 0, 0, CaseState::Filed, 0),
        version("a", 1, 0, CaseState::Closed, 2),
    ];
    let all: Vec<v1::Event> = first.into_iter().chain((1..20).map(tick)).chain(events).collect();
    let world = World::of(&all);
    let told = world.fold("events-0", &[4], true);
    (world, told)
}

#[test]
fn a_repeat_and_a_later_version_beyond_the_horizon_are_stale_and_change_nothing() {
    let (_, calm) = long_after([]);
    let (world, told) = long_after([
        version("a", 1, 0, CaseState::Closed, 2),
        version("a", 2, 0, CaseState::Reopened, 19),
        version("a", 1, 0, CaseState::Closed, 2),
        // Nobody knows it, and it is from the time that was forgotten.
        version("b", 0, 3, CaseState::Filed, 3),
        // Nobody knows it, and it happened then, but was reported now.
        v1::Event {
            reported_at_us: Some(19 * DAY_US),
            ..version("c", 0, 3, CaseState::Filed, 3)
        },
    ]);
    let outcomes = told.outcomes();
    let (_, last) = outcomes.split_at(calm.outcomes.len());
    assert_eq!(
        last,
        [
            Outcome::Stale,
            Outcome::Stale,
            Outcome::Stale,
            Outcome::Stale,
            Outcome::Accepted
        ]
    );
    assert_eq!(told.own.len(), calm.own.len() + 1);
    let keys = world.keys("events-0");
    assert!(!keys.contains(&"rhotline\0a".to_owned()), "it is gone");
    assert!(!keys.contains(&"rhotline\0b".to_owned()), "nothing is remembered of it");
    let counts = world.open("events-0").counts().feeds["hotline"].clone();
    assert_eq!((counts.stale, counts.limit_us()), (4, 9 * DAY_US));
}

#[test]
fn within_the_horizon_a_repeat_is_a_repeat() {
    let first = [
        version("a", 0, 0, CaseState::Filed, 0),
        version("a", 1, 0, CaseState::Closed, 2),
    ];
    let repeat = version("a", 1, 0, CaseState::Closed, 2);
    let events: Vec<v1::Event> = first.into_iter().chain((1..13).map(tick)).chain([repeat]).collect();
    let told = World::of(&events).fold("events-0", &[3], true);
    assert_eq!(told.outcomes().last(), Some(&Outcome::Duplicate));
}

#[test]
fn the_store_shrinks_by_a_bounded_part_an_epoch_and_only_what_has_ended_goes() {
    let closed = |number: u32| version(&format!("closed-{number}"), 0, 0, CaseState::Closed, 1);
    let mut events: Vec<v1::Event> = (0..6000).map(closed).collect();
    events.push(version("open", 0, 0, CaseState::Filed, 0));
    events.push(v1::Event {
        match_key: "k".to_owned(),
        ..version("matched", 0, 0, CaseState::Closed, 1)
    });
    events.push(v1::Event {
        kind: EventKind::Cancel.into(),
        ..version("correction", 0, 0, CaseState::Closed, 1)
    });
    let other = |feed: &str, dedupe_days| v1::Event {
        feed: feed.to_owned(),
        dedupe_days,
        ..version("x", 0, 0, CaseState::Closed, 1)
    };
    // The first has no horizon, the second one that is not over, the third stands still.
    events.extend([other("bus", 0), other("hotline-2", 300), other("zoo", 10)]);
    let filled = events.len();
    events.extend((1..14).map(tick));
    let world = World::of(&events);
    let mut partition = world.open("events-0");
    partition.fold(&world.values[..filled]).unwrap();
    assert_eq!(
        world.keys("events-0").len(),
        filled + 1,
        "and the group of the match key"
    );
    let mut before = world.keys("events-0").len();
    let mut epochs = 0;
    for value in &world.values[filled..] {
        partition.fold(std::slice::from_ref(value)).unwrap();
        let now = world.keys("events-0").len();
        assert!(before + 1 - now <= KEYS_SEEN_MAX);
        epochs += u32::from(now < before);
        before = now;
    }
    assert!(epochs > 1, "not all at once");
    // A small epoch looks at few keys: with more of them the sweep comes to its end.
    let more: Vec<v1::Event> = (0..40).map(|_| tick(13)).collect();
    for event in &more {
        partition.fold(&[Bytes::from(event.encode_to_vec())]).unwrap();
    }
    let left: Vec<String> = world
        .keys("events-0")
        .into_iter()
        .filter(|key| !key.contains("tick"))
        .collect();
    assert_eq!(
        left,
        [
            "ghotline\0k",
            "rbus\0x",
            "rhotline\0correction",
            "rhotline\0matched",
            "rhotline\0open",
            "rhotline-2\0x",
            "rzoo\0x"
        ]
    );
}

#[test]
fn a_state_that_moves_takes_what_was_forgotten_and_the_sweep_along() {
    let closed = |number: u32| version(&format!("closed-{number}"), 0, 0, CaseState::Closed, 1);
    let again = |number: u32| version(&format!("closed-{number}"), 1, 0, CaseState::Reopened, 13);
    let mut events: Vec<v1::Event> = (0..1000).map(closed).collect();
    events.extend((1..14).map(tick));
    let half = events.len();
    events.extend((0..100).map(again));
    let world = World::of(&events);
    let mut partition = world.open("events-0");
    for values in [&world.values[..1000], &world.values[1000..half]] {
        partition.fold(values).unwrap();
    }
    let moved = world.state("events-moved");
    let file = world.folder.path().join("moved");
    write_snapshot(&world.state("events-0"), "events-0", &file)
        .unwrap()
        .unwrap();
    read_snapshot(&file, &moved).unwrap();
    assert_eq!(world.open("events-moved").offset(), half as u64);
    let told = world.fold("events-moved", &[10], true);
    assert!(told.outcomes().iter().all(|outcome| *outcome == Outcome::Stale));
    assert_eq!(told, world.fold("events-0", &[7], false));
    assert!(!world.keys("events-moved").iter().any(|key| key.contains("closed")));
}

#[test]
fn a_feed_that_gets_a_horizon_later_forgets_what_is_delivered_again() {
    let before = |event: v1::Event| v1::Event {
        dedupe_days: 0,
        ..event
    };
    let first = [
        before(version("a", 0, 0, CaseState::Closed, 1)),
        before(version("b", 0, 0, CaseState::Closed, 1)),
        before(tick(2)),
        v1::Event {
            delivery_hash: 7,
            ..version("a", 0, 0, CaseState::Closed, 1)
        },
    ];
    let events: Vec<v1::Event> = first.into_iter().chain((3..15).map(tick)).collect();
    let world = World::of(&events);
    let told = world.fold("events-0", &[1], false);
    assert_eq!(told.outcomes()[3], Outcome::Unchanged);
    let keys = world.keys("events-0");
    assert!(!keys.contains(&"rhotline\0a".to_owned()));
    assert!(keys.contains(&"rhotline\0b".to_owned()));
}
