//! The laws of the fold: arrival order does not matter, the sum of changes is the recount, nothing counts twice, a crash changes nothing.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use prost::Message;
use shiyu_schemas::v1::{self, CaseState, EventKind, PlacePrecision, TimePrecision};

use super::cache::StateCache;
use super::cache::tests::MemoryView;
use super::case::RecordState;
use super::cell::{self, CellDelta};
use super::event::Event;
use super::step::step;

/// A small world, so that versions, withdrawals and corrections meet often. The content decides everything but the order key.
pub(super) fn event(record: u8, version: i64, content: u8, kind: EventKind) -> v1::Event {
    let match_key = if content.is_multiple_of(3) {
        String::new()
    } else {
        format!("key-{}", content % 2)
    };
    let state = match content % 5 {
        0 => CaseState::Closed,
        1 => CaseState::Duplicate,
        _ => CaseState::Filed,
    };
    v1::Event {
        feed: "police".to_owned(),
        record_id: format!("record-{record}"),
        kind: kind.into(),
        source_version: version,
        content_hash_low: u64::from(content),
        delivery_hash: u64::from(record) << 32 | (version as u64) << 16 | u64::from(content) << 8 | kind as u64,
        category: format!("category-{}", content % 2),
        channel: v1::Channel::Police.into(),
        origin: v1::Origin::Citizen.into(),
        state: state.into(),
        severity: u32::from(content % 4),
        match_key,
        occurred_at_us: i64::from(content) * 1_800_000_000,
        time_precision: TimePrecision::Minute.into(),
        place_precision: PlacePrecision::Block.into(),
        cell: if content == 0 { 0 } else { 0x08b2_664c_1ac4_cfff },
        ..v1::Event::default()
    }
}

fn any_event() -> impl Strategy<Value = v1::Event> {
    let kind = prop_oneof![
        6 => Just(EventKind::Upsert),
        1 => Just(EventKind::Withdraw),
        3 => Just(EventKind::Cancel),
    ];
    (0..8_u8, 0..4_i64, 0..6_u8, kind)
        .prop_map(|(record, version, content, kind)| event(record, version, content, kind))
}

/// Events with repeats, and the same events in another order.
fn two_orders() -> impl Strategy<Value = (Vec<v1::Event>, Vec<v1::Event>)> {
    prop::collection::vec(any_event(), 0..60).prop_flat_map(|events| {
        let shuffled = Just(events.clone()).prop_shuffle();
        (Just(events), shuffled)
    })
}

/// What a fold leaves behind.
#[derive(Debug, PartialEq)]
struct Folded {
    /// Key to the state without what tells of the arrival (deliveries, versions), and to groups.
    states: BTreeMap<Vec<u8>, Vec<u8>>,
    cells: Vec<v1::CellChange>,
    matched: i64,
    waiting: i64,
}

fn fold(events: &[v1::Event], epoch_records: usize) -> Folded {
    let mut cache = StateCache::new(MemoryView::default());
    let mut deltas = Vec::new();
    let (mut matched, mut waiting) = (0, 0);
    for epoch in events.chunks(epoch_records.max(1)) {
        for event in epoch {
            let effects = step(&mut cache, &Event::of(event), i64::MIN).unwrap();
            deltas.extend(effects.deltas);
            matched += effects.matched;
            waiting += effects.waiting;
        }
        let changes = cache.take_changes();
        cache.view_mut().apply(&changes);
    }
    let states = cache.view_mut().bytes.iter().map(|(key, bytes)| {
        let bytes = if key[0] == b'r' {
            let state = RecordState::decode(bytes.as_slice()).unwrap();
            RecordState {
                deliveries: Vec::new(),
                superseded: Vec::new(),
                versions: 1,
                ..state
            }
            .encode_to_vec()
        } else {
            bytes.clone()
        };
        (key.clone(), bytes)
    });
    Folded {
        states: states.collect(),
        cells: summed(&mut deltas),
        matched,
        waiting,
    }
}

fn summed(deltas: &mut [CellDelta]) -> Vec<v1::CellChange> {
    let mut changes = Vec::new();
    cell::sum(deltas, |change| changes.push(change.clone()));
    changes
}

fn records(folded: &Folded) -> impl Iterator<Item = RecordState> {
    let records = folded.states.iter().filter(|(key, _)| key[0] == b'r');
    records.map(|(_, bytes)| RecordState::decode(bytes.as_slice()).unwrap())
}

proptest! {
    #[test]
    fn arrival_order_does_not_matter((events, shuffled) in two_orders(), epoch_records in 1..20_usize) {
        prop_assert_eq!(fold(&events, 7), fold(&shuffled, epoch_records));
    }

    #[test]
    fn the_sum_of_changes_is_the_recount_of_the_cases((events, _) in two_orders()) {
        let folded = fold(&events, 5);
        let mut recount: Vec<CellDelta> = records(&folded).filter_map(|record| record.delta(1)).collect();
        prop_assert_eq!(&folded.cells, &summed(&mut recount));
        let corrections = |paired| {
            records(&folded).filter(|record| record.standing().is_correction() && record.paired == paired).count() as i64
        };
        prop_assert_eq!((folded.matched, folded.waiting), (corrections(true), corrections(false)));
    }

    #[test]
    fn nothing_counts_twice_on_redelivery((events, again) in two_orders()) {
        let once = fold(&events, 5);
        let twice: Vec<v1::Event> = events.iter().chain(&again).cloned().collect();
        prop_assert_eq!(once, fold(&twice, 5));
    }

    #[test]
    fn a_correction_cancels_at_most_one_record_and_none_waits_beside_a_record_that_stands((events, _) in two_orders()) {
        let folded = fold(&events, 5);
        let mut sides: BTreeMap<String, (i64, i64, bool, bool)> = BTreeMap::new();
        for record in records(&folded) {
            let Some((key, _)) = record.membership() else { continue };
            let side = sides.entry(key.to_owned()).or_default();
            match (record.standing().is_correction(), record.paired) {
                (true, true) => side.0 += 1,
                (false, true) => side.1 += 1,
                (true, false) => side.2 = true,
                (false, false) => side.3 = true,
            }
        }
        for (matched, cancelled, waits, stands) in sides.into_values() {
            prop_assert_eq!(matched, cancelled);
            prop_assert!(!(waits && stands));
        }
    }
}

/// A number that looks random.
fn mix(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn shuffle<T>(items: &mut [T], seed: u64) {
    for last in (1..items.len()).rev() {
        items.swap(last, (mix(seed ^ last as u64) % (last as u64 + 1)) as usize);
    }
}

/// Orders with twelve status changes each, a tenth of them withdrawn at some point.
fn orders(count: u64) -> Vec<v1::Event> {
    let states = [
        CaseState::Filed,
        CaseState::Dispatched,
        CaseState::InProgress,
        CaseState::Closed,
    ];
    let mut events = Vec::new();
    for order in 0..count {
        let withdrawn_at = (order % 10 == 0).then(|| mix(order) % 12);
        for change in 0..12_u64 {
            let kind = if withdrawn_at == Some(change) {
                EventKind::Withdraw
            } else {
                EventKind::Upsert
            };
            events.push(v1::Event {
                feed: "hotline".to_owned(),
                record_id: order.to_string(),
                kind: kind.into(),
                // A third of the sources has no version of its own, a third no time.
                source_version: if order % 3 == 0 { 0 } else { change as i64 },
                updated_at_us: if order % 3 == 1 { 0 } else { change as i64 * 60_000_000 },
                content_hash_low: mix(order << 8 | change),
                delivery_hash: order << 8 | change,
                state: states[(change / 3) as usize].into(),
                severity: (mix(order ^ change) % 6) as u32,
                occurred_at_us: (order * 1_000_000_007) as i64,
                category: format!("category-{}", order % 7),
                ..v1::Event::default()
            });
        }
    }
    events
}

#[test]
fn a_hundred_arrival_orders_of_the_same_changes_leave_the_same_states_and_counts() {
    let events = orders(300);
    let expected = fold(&events, 1000);
    for arrival in 0..100 {
        let mut arriving = events.clone();
        let repeats = events
            .iter()
            .enumerate()
            .filter(|(index, _)| mix(arrival << 32 | *index as u64) % 10 < 3);
        arriving.extend(repeats.map(|(index, event)| v1::Event {
            // Half of the repeats are new deliveries of the same version.
            delivery_hash: event.delivery_hash | (index as u64 % 2) << 63,
            ..event.clone()
        }));
        shuffle(&mut arriving, mix(arrival));
        for event in &mut arriving {
            let day_us = (mix(arrival ^ event.delivery_hash) % 3) as i64 - 1;
            event.received_at_us = day_us * 86_400_000_000;
        }
        assert_eq!(fold(&arriving, 700), expected, "arrival order {arrival}");
    }
}
