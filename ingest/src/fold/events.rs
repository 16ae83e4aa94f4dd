//! The fold of a partition of `events.v1`: the pure step over every event of an epoch, and what it adds up to.

use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use shiyu_log::{Topic, fault};
use shiyu_schemas::v1::{self, Outcome};

use super::cache::{Changes, StateCache, StateView};
use super::cell::{self, CellDelta};
use super::count::{Counts, FeedCounts};
use super::epoch::{EpochRecord, mark_late};
use super::error::FoldError;
use super::event::{self, Event};
use super::rows::EventRows;
use super::step::step;

/// How far an event's time may run ahead of the hub's clock and still move the watermark.
const AHEAD_MAX: Duration = Duration::from_mins(5);

/// What stands before each of the `changes` of [`v1::CellChanges`]: field 4, of a length.
const CHANGES_KEY: u8 = 4 << 3 | 2;

/// Folds events; one epoch at a time.
#[derive(Debug)]
pub struct EventFold<V> {
    partition: u32,
    cache: StateCache<V>,
    rows: EventRows,
    record: EpochRecord,
    deltas: Vec<CellDelta>,
    watermark_us: i64,
}

impl<V: StateView> EventFold<V> {
    /// Over committed states; `watermark_us` is the one committed last.
    pub fn new(partition: u32, view: V, watermark_us: i64) -> Self {
        Self {
            partition,
            cache: StateCache::new(view),
            rows: EventRows::new(partition),
            record: EpochRecord::default(),
            deltas: Vec::new(),
            watermark_us,
        }
    }

    /// Greatest time of an event seen, clamped to five minutes behind its arrival; microseconds since 1970 UTC.
    pub fn watermark_us(&self) -> i64 {
        self.watermark_us
    }

    /// The committed states.
    pub fn view_mut(&mut self) -> &mut V {
        self.cache.view_mut()
    }

    /// The rows of the epoch.
    pub fn rows_mut(&mut self) -> &mut EventRows {
        &mut self.rows
    }

    /// Starts an epoch at an offset; its first case change has the number `sequence`.
    pub fn begin(&mut self, first_offset: u64, sequence: u64) {
        self.record = EpochRecord {
            first_offset,
            sequence,
            ..EpochRecord::default()
        };
    }

    /// Applies the next record of the partition.
    pub fn apply(&mut self, value: &Bytes, counts: &mut FeedCounts) -> Result<(), FoldError> {
        event::with_event(value, |mut event| self.apply_event(&mut event, counts)).map_err(|source| {
            FoldError::Record {
                topic: Topic::Events.name(),
                partition: self.partition,
                offset: self.record.next_offset(),
                source,
            }
        })?
    }

    fn apply_event(&mut self, event: &mut Event<'_>, counts: &mut FeedCounts) -> Result<(), FoldError> {
        let totals = counts.of(event.feed);
        let mut effects = step(&mut self.cache, event, totals.limit_us())?;
        totals.count(effects.outcome);
        totals.withdrawn = totals.withdrawn.saturating_add_signed(effects.matched);
        totals.waiting = totals.waiting.saturating_add_signed(effects.waiting);
        // A later version of a known record moves its own count; only a record never seen can fall into a window that was told.
        let is_late = effects.own.is_some_and(|own| own.versions == 1)
            && totals.is_late(event.occurred_at_us, event.lateness_hours);
        if is_late {
            mark_late(event);
        }
        if effects.outcome == Outcome::Accepted {
            for flag in &event.flags {
                Counts::note(&mut totals.flags, flag);
            }
        }
        let ahead_us = event.received_at_us.saturating_add(AHEAD_MAX.as_micros() as i64);
        let time_us = event.occurred_at_us.min(ahead_us);
        totals.advance(time_us);
        totals.forget_behind(event.dedupe_days);
        self.watermark_us = self.watermark_us.max(time_us);
        if fault::bug("wall-clock-watermark") {
            self.watermark_us = jiff::Timestamp::now().as_microsecond();
        }

        let mut sequence = self.record.sequence + self.record.case_changes();
        self.rows.push(event, effects.outcome, effects.own, sequence);
        sequence += u64::from(effects.own.is_some());
        for other in &effects.others {
            self.rows.push_other(event.feed, other, sequence);
            sequence += 1;
        }
        self.deltas.extend(effects.deltas.drain(..));
        self.record.push(&mut effects, is_late);
        Ok(())
    }

    /// Passes the next record by: it is rejected.
    pub fn pass_by(&mut self) {
        self.record.outcomes.push(Outcome::Rejected as u8);
    }

    /// Ends the epoch: what goes to the state store, and what it did. The rows wait in [`Self::rows_mut`].
    pub fn end(&mut self, incarnation: u64, epoch: u64) -> (Changes, EpochRecord) {
        let head = v1::CellChanges {
            partition: self.partition,
            incarnation,
            epoch,
            watermark_us: self.watermark_us,
            // Who owns the partition when this is appended is set then.
            ..v1::CellChanges::default()
        };
        // Written once: as the log gets it, which is as the outbox holds it.
        let mut cells = head.encode_to_vec();
        let rows = &mut self.rows;
        cell::sum(&mut self.deltas, |change| {
            rows.push_cell(change);
            cells.push(CHANGES_KEY);
            change
                .encode_length_delimited(&mut cells)
                .expect("a vector has room for any message");
        });
        self.deltas.clear();
        let mut record = std::mem::take(&mut self.record);
        record.cells = Some(cells.into());
        (self.cache.take_changes(), record)
    }
}
