//! The pure step: one event, the state before it, what it does. No clock, no randomness, no IO.
//!
//! - A record never seen: accepted.
//! - Greater than the current version, by source version, source time, content: accepted. The old version's part in the counts is
//!   taken back exactly, the new one's added. (Also where the delivery was seen: a file written over in place is no repeat.)
//! - The same delivery again, or a version that stands in `events` already: duplicate; nothing changes.
//! - The current version's content again: unchanged; only the order key may rise, so that a version between the two is stale
//!   whatever came first.
//! - Less than the current version: stale; kept in `events`, the case stays.
//! - A record never seen, or forgotten ([`super::horizon`]), that came into being before what its feed has forgotten: stale, too, and
//!   nothing is remembered of it. It may be a repeat, so it is never new.
//!
//! A withdrawal is a version whose case does not stand in the counts; a later version brings the case back. Correction rows cancel
//! records of the same match key by [`super::withdrawal`]'s rule, and change exactly the cases whose partner changes.
//!
//! The final state and the counts depend on the events only, not on their order; the words accepted, unchanged and stale, and the
//! number of versions, tell what was known on arrival.

use std::cmp::Ordering;

use shiyu_log::fault;
use shiyu_schemas::v1::{EventKind, Outcome};
use smallvec::SmallVec;

use super::cache::{RecordSlot, StateCache, StateView};
use super::case::{RecordState, version_hash};
use super::cell::CellDelta;
use super::error::FoldError;
use super::event::Event;
use super::horizon;
use super::withdrawal::Flip;

/// What one event does.
#[derive(Debug, Clone, PartialEq)]
pub struct Effects {
    /// Its outcome.
    pub outcome: Outcome,
    /// Change of its own case, where it is accepted.
    pub own: Option<OwnChange>,
    /// Cases that found or lost a partner because of it.
    pub others: Vec<OtherChange>,
    /// What to add to the counts; not yet summed. Mostly one, without memory of its own.
    pub deltas: SmallVec<[CellDelta; 1]>,
    /// Change of the number of correction rows that have found their record.
    pub matched: i64,
    /// Change of the number of correction rows that wait for theirs.
    pub waiting: i64,
}

/// Change of the event's own case: everything else stands in the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnChange {
    /// Versions accepted so far.
    pub versions: u32,
    /// Whether a correction row cancels it; of a correction row: whether it has found its record.
    pub paired: bool,
}

impl OwnChange {
    /// Whether the event, whose change this is, says all there is to say about its case: the first version of a record that no correction
    /// row can cancel.
    pub fn opens_case(self, event: &Event<'_>) -> bool {
        self.versions == 1 && event.kind() == EventKind::Upsert && event.match_key.is_empty()
    }
}

/// Change of another record of the same feed.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OtherChange {
    /// The record.
    #[prost(string, tag = "1")]
    pub record_id: String,
    /// Its new state.
    #[prost(message, required, tag = "2")]
    pub state: RecordState,
}

impl Effects {
    fn only(outcome: Outcome) -> Self {
        Self {
            outcome,
            own: None,
            others: Vec::new(),
            deltas: SmallVec::new(),
            matched: 0,
            waiting: 0,
        }
    }

    /// Takes a state's part away (-1) or puts it in (1).
    fn add(&mut self, state: &RecordState, sign: i64) {
        self.deltas.extend(state.delta(sign));
        if state.versions > 0 && state.standing().is_correction() {
            *(if state.paired {
                &mut self.matched
            } else {
                &mut self.waiting
            }) += sign;
        }
    }
}

/// Applies one event of a feed that has forgotten what ended before `limit_us`, microseconds since 1970 UTC.
pub fn step<V: StateView>(cache: &mut StateCache<V>, event: &Event<'_>, limit_us: i64) -> Result<Effects, FoldError> {
    let slot = cache.find_record(event.feed, event.record_id)?;
    let current = cache.record(slot);
    if current.versions == 0 || current.is_forgotten(limit_us) {
        if event.created_at_us() < limit_us {
            return Ok(Effects::only(Outcome::Stale));
        }
        // Whether a forgotten state still lies on the disk must not be seen.
        if current.versions != 0 {
            *cache.record_mut(slot) = RecordState::default();
        }
        return accept(cache, slot, event);
    }
    let outcome = outcome_of(current, event);
    match outcome {
        Outcome::Accepted => return accept(cache, slot, event),
        Outcome::Unchanged => {
            let state = cache.record_mut(slot);
            state.remember(event.delivery_hash);
            state.end_day = state.end_day.max(horizon::end_day_of(event));
            if state.order_of(event) == Ordering::Greater {
                state.source_version = event.source_version;
                state.updated_at_us = event.updated_at_us;
            }
        }
        Outcome::Stale => {
            let state = cache.record_mut(slot);
            state.remember(event.delivery_hash);
            state.supersede(version_hash(event));
        }
        _ => {}
    }
    Ok(Effects::only(outcome))
}

/// Outcome of an event of a known record.
fn outcome_of(current: &RecordState, event: &Event<'_>) -> Outcome {
    let order = current.order_of(event);
    let same_content = current.has_content_of(event);
    if fault::bug("late-overwrites") && !same_content && !current.deliveries.contains(&event.delivery_hash) {
        return Outcome::Accepted;
    }
    if order == Ordering::Greater && !same_content {
        return Outcome::Accepted;
    }
    if order != Ordering::Greater && current.deliveries.contains(&event.delivery_hash) {
        Outcome::Duplicate
    } else if same_content {
        Outcome::Unchanged
    } else if !current.superseded.is_empty() && current.superseded.contains(&version_hash(event)) {
        Outcome::Duplicate
    } else {
        Outcome::Stale
    }
}

fn accept<V: StateView>(cache: &mut StateCache<V>, slot: RecordSlot, event: &Event<'_>) -> Result<Effects, FoldError> {
    let mut before = std::mem::take(cache.record_mut(slot));
    let mut after = RecordState::of(event);
    after.versions = before.versions.saturating_add(1);
    after.deliveries = std::mem::take(&mut before.deliveries);
    after.remember(event.delivery_hash);
    after.superseded = std::mem::take(&mut before.superseded);
    if before.versions > 0 {
        after.supersede(before.version_hash());
    }
    let flips = regroup(cache, event, &before, &mut after)?;

    let mut effects = Effects::only(Outcome::Accepted);
    effects.own = Some(OwnChange {
        versions: after.versions,
        paired: after.paired,
    });
    if !fault::bug("no-retraction") {
        effects.add(&before, -1);
    }
    effects.add(&after, 1);
    *cache.record_mut(slot) = after;
    for flip in flips {
        let other = cache.find_record(event.feed, &flip.record_id)?;
        let state = cache.record_mut(other);
        effects.add(state, -1);
        state.paired = flip.paired;
        effects.add(state, 1);
        effects.others.push(OtherChange {
            record_id: flip.record_id,
            state: state.clone(),
        });
    }
    Ok(effects)
}

/// Moves the record between match keys and sides, says whether it is paired now, and returns whose partner changed.
fn regroup<V: StateView>(
    cache: &mut StateCache<V>,
    event: &Event<'_>,
    before: &RecordState,
    after: &mut RecordState,
) -> Result<Vec<Flip>, FoldError> {
    let from = before.membership();
    let to = after.membership();
    if from == to {
        let paired = to.is_some() && before.paired;
        after.paired = paired;
        return Ok(Vec::new());
    }
    let mut flips = Vec::new();
    let mut paired = false;
    let same_key = matches!((from, to), (Some((left, _)), Some((right, _))) if left == right);
    if let Some((key, side)) = from {
        let slot = cache.find_group(event.feed, key)?;
        let next = if same_key { to.map(|(_, side)| side) } else { None };
        flips.extend(cache.group_mut(slot).shift(event.record_id, Some(side), next));
    }
    if let Some((key, side)) = to {
        let slot = cache.find_group(event.feed, key)?;
        let group = cache.group_mut(slot);
        if !same_key {
            flips.extend(group.shift(event.record_id, None, Some(side)));
        }
        paired = group.is_paired(event.record_id, side);
    }
    after.paired = paired;
    Ok(flips)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use shiyu_schemas::v1::{self, CaseState};

    use super::super::cache::tests::MemoryView;
    use super::*;

    fn version(id: &str, version: i64, content: u64) -> v1::Event {
        v1::Event {
            feed: "hotline".to_owned(),
            record_id: id.to_owned(),
            kind: EventKind::Upsert.into(),
            source_version: version,
            content_hash_low: content,
            delivery_hash: content * 1000 + version as u64,
            state: CaseState::Filed.into(),
            severity: 2,
            ..v1::Event::default()
        }
    }

    fn run(cache: &mut StateCache<MemoryView>, event: &v1::Event) -> Effects {
        step(cache, &Event::of(event), i64::MIN).unwrap()
    }

    fn count(effects: &Effects) -> i64 {
        effects.deltas.iter().map(|delta| delta.count).sum()
    }

    #[test]
    fn every_event_has_the_outcome_its_order_gives() {
        let mut cache = StateCache::new(MemoryView::default());
        assert_eq!(run(&mut cache, &version("1", 2, 7)).outcome, Outcome::Accepted);
        assert_eq!(run(&mut cache, &version("1", 2, 7)).outcome, Outcome::Duplicate);
        let again = v1::Event {
            delivery_hash: 1,
            ..version("1", 2, 7)
        };
        assert_eq!(run(&mut cache, &again).outcome, Outcome::Unchanged);
        assert_eq!(run(&mut cache, &again).outcome, Outcome::Duplicate);
        assert_eq!(run(&mut cache, &version("1", 1, 6)).outcome, Outcome::Stale);
        let effects = run(&mut cache, &version("1", 3, 8));
        assert_eq!(effects.outcome, Outcome::Accepted);
        assert_eq!(
            effects.own,
            Some(OwnChange {
                versions: 2,
                paired: false
            })
        );
        assert_eq!(count(&effects), 0, "the old version's count is taken back");
    }

    #[test]
    fn a_row_written_over_in_place_is_a_new_version() {
        let mut cache = StateCache::new(MemoryView::default());
        run(&mut cache, &version("1", 1, 7));
        let rewritten = v1::Event {
            delivery_hash: version("1", 1, 7).delivery_hash,
            ..version("1", 2, 8)
        };
        assert_eq!(run(&mut cache, &rewritten).outcome, Outcome::Accepted);
        assert_eq!(run(&mut cache, &version("1", 1, 7)).outcome, Outcome::Duplicate);
    }

    #[test]
    fn an_old_version_delivered_anew_is_in_the_history_once() {
        let mut cache = StateCache::new(MemoryView::default());
        run(&mut cache, &version("1", 3, 9));
        let again = |version: v1::Event, delivery_hash| v1::Event {
            delivery_hash,
            ..version
        };
        assert_eq!(run(&mut cache, &version("1", 1, 7)).outcome, Outcome::Stale);
        assert_eq!(
            run(&mut cache, &again(version("1", 1, 7), 1)).outcome,
            Outcome::Duplicate
        );
        assert_eq!(run(&mut cache, &version("1", 4, 10)).outcome, Outcome::Accepted);
        assert_eq!(
            run(&mut cache, &again(version("1", 3, 9), 2)).outcome,
            Outcome::Duplicate
        );
    }

    #[test]
    fn a_version_between_two_of_the_same_content_is_stale_whatever_came_first() {
        let mut cache = StateCache::new(MemoryView::default());
        run(&mut cache, &version("1", 1, 7));
        assert_eq!(run(&mut cache, &version("1", 3, 7)).outcome, Outcome::Unchanged);
        assert_eq!(run(&mut cache, &version("1", 2, 8)).outcome, Outcome::Stale);
    }

    #[test]
    fn a_withdrawn_order_leaves_the_counts_and_a_later_version_brings_it_back() {
        let mut cache = StateCache::new(MemoryView::default());
        assert_eq!(count(&run(&mut cache, &version("1", 1, 1))), 1);
        let withdrawal = v1::Event {
            kind: EventKind::Withdraw.into(),
            ..version("1", 2, 2)
        };
        let effects = run(&mut cache, &withdrawal);
        assert_eq!(count(&effects), -1);
        assert_eq!(effects.deltas[0].severity, -2);
        assert_eq!(count(&run(&mut cache, &version("1", 3, 3))), 1);
    }

    fn row(id: &str, kind: EventKind) -> v1::Event {
        v1::Event {
            match_key: "k".to_owned(),
            kind: kind.into(),
            ..version(id, 0, 1)
        }
    }

    #[test]
    fn a_correction_row_cancels_one_record_of_its_key() {
        let mut cache = StateCache::new(MemoryView::default());
        let effects = run(&mut cache, &row("c", EventKind::Cancel));
        assert_eq!((effects.matched, effects.waiting, count(&effects)), (0, 1, 0));
        let effects = run(&mut cache, &row("b", EventKind::Upsert));
        assert_eq!((effects.matched, effects.waiting, count(&effects)), (1, -1, 0));
        assert_eq!(
            effects.own,
            Some(OwnChange {
                versions: 1,
                paired: true
            })
        );
        assert_eq!(effects.others.len(), 1, "the correction is matched now");
        let effects = run(&mut cache, &row("a", EventKind::Upsert));
        assert_eq!(
            (effects.matched, effects.waiting, count(&effects)),
            (0, 0, 1),
            "a goes, b comes back"
        );
        assert_eq!(effects.others.len(), 1);
        assert_eq!(effects.others[0].record_id, "b");
        assert!(effects.others[0].state.standing().is_counted());
    }

    #[test]
    fn a_record_taken_back_by_its_department_frees_its_correction() {
        let mut cache = StateCache::new(MemoryView::default());
        run(&mut cache, &row("a", EventKind::Upsert));
        run(&mut cache, &row("c", EventKind::Cancel));
        let withdrawal = v1::Event {
            source_version: 1,
            delivery_hash: 9,
            ..row("a", EventKind::Withdraw)
        };
        let effects = run(&mut cache, &withdrawal);
        assert_eq!((effects.matched, effects.waiting, count(&effects)), (-1, 1, 0));
    }
}
