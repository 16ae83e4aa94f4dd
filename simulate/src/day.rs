//! One day, made whole and alone: what happened, who reported it, every row that will ever be written about it, and the truth.

use crate::calendar::DAY_S;
use crate::channel::{self, Case, CaseText, flag};
use crate::incident::incidents_of;
use crate::life::{self, Life};
use crate::random::{Purpose, Random};
use crate::report::{FEEDS, Feed, reports_of};
use crate::statistics::Statistics;
use crate::truth::{TruthBatch, TruthRows};
use crate::world::World;

/// Rows of one feed that are delivered on one day.
#[derive(Debug, Default)]
pub struct Chunk {
    bytes: Vec<u8>,
    rows: Vec<RowPlace>,
}

/// Where a row lies in its chunk.
#[derive(Debug, Clone, Copy)]
struct RowPlace {
    /// When it is delivered, seconds since the first day's midnight.
    at: u32,
    start: u32,
    end: u32,
}

impl Chunk {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// When a row is delivered, and the row.
    pub fn row(&self, index: usize) -> (u32, &[u8]) {
        let row = self.rows[index];
        (row.at, &self.bytes[row.start as usize..row.end as usize])
    }
}

/// Everything a day brings.
#[derive(Debug)]
pub struct DayBatch {
    /// The day.
    pub day: u32,
    /// By feed, by days from this one until delivery.
    pub chunks: [Vec<Chunk>; 5],
    /// The truth.
    pub truth: TruthBatch,
    /// Counts.
    pub statistics: Statistics,
}

/// Makes a day. Rows delivered on day `end` or later never come.
pub fn make_day(world: &World, day: u32, end: u32) -> Result<DayBatch, arrow::error::ArrowError> {
    let incidents = incidents_of(world, day);
    let reports = reports_of(world, day, &incidents);
    let mut random = Random::new(world.options.seed, day, Purpose::Exchange);
    let mut chunks: [Vec<Chunk>; 5] = FEEDS.map(|_| Vec::new());
    let mut statistics = Statistics::new();
    let mut truth = TruthRows::new(world, day, end);
    let (mut life, mut text) = (Life::new(), CaseText::default());
    for incident in &incidents {
        truth.add_incident(incident);
    }
    statistics.incidents += incidents.len() as u64;
    for report in &reports {
        let case = Case {
            world,
            report,
            address: &world.book.addresses[report.address as usize],
        };
        life::live(&mut life, &world.calendar, report, &mut random);
        channel::describe(case, &mut text, &mut random);
        // Only now, so that what comes after it does not depend on how long the run is.
        if report.filed / DAY_S >= end {
            continue;
        }
        if life.changes.iter().any(|change| change.said != life.changes[0].said) {
            text.flags |= flag::CORRECTED;
        }
        let chunks = &mut chunks[report.feed as usize];
        let mut written = 0;
        for change in &life.changes {
            let delivered = change.at + change.late_days * DAY_S;
            if delivered / DAY_S >= end {
                continue;
            }
            text.flags |= if change.late_days > 0 { flag::LATE } else { 0 };
            push_row(chunks, delivered, day, |out| {
                channel::write_row(case, &text, change, out);
            });
            written += 1;
        }
        statistics.count(world, report, &life, &text, written);
        truth.add_record(case, &life, &text);
    }
    Ok(DayBatch {
        day,
        chunks,
        truth: truth.finish()?,
        statistics,
    })
}

fn push_row(chunks: &mut Vec<Chunk>, delivered: u32, day: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let index = (delivered / DAY_S - day) as usize;
    if chunks.len() <= index {
        chunks.resize_with(index + 1, Chunk::default);
    }
    let chunk = &mut chunks[index];
    let start = chunk.bytes.len() as u32;
    write(&mut chunk.bytes);
    let end = chunk.bytes.len() as u32;
    chunk.rows.push(RowPlace {
        at: delivered,
        start,
        end,
    });
}

/// Rows that were made and wait for their day.
#[derive(Debug, Default)]
pub struct Waiting {
    /// By feed, by day from the next one on: chunks in the order of the days that made them.
    days: [std::collections::VecDeque<Vec<Chunk>>; 5],
}

impl Waiting {
    /// Takes a day's rows; days come in order.
    pub fn take(&mut self, chunks: [Vec<Chunk>; 5]) {
        for (days, chunks) in self.days.iter_mut().zip(chunks) {
            for (index, chunk) in chunks.into_iter().enumerate().filter(|(_, chunk)| !chunk.is_empty()) {
                if days.len() <= index {
                    days.resize_with(index + 1, Vec::new);
                }
                days[index].push(chunk);
            }
        }
    }

    /// The rows of the next day, by feed.
    pub fn next_day(&mut self) -> [DayRows; 5] {
        FEEDS.map(|feed| DayRows::new(self.days[feed as usize].pop_front().unwrap_or_default()))
    }
}

/// A feed's rows of one day, in the order in which they are delivered.
#[derive(Debug)]
pub struct DayRows {
    chunks: Vec<Chunk>,
    /// Time, chunk, row.
    order: Vec<(u32, u32, u32)>,
}

impl DayRows {
    fn new(chunks: Vec<Chunk>) -> Self {
        let mut order: Vec<(u32, u32, u32)> = chunks
            .iter()
            .enumerate()
            .flat_map(|(number, chunk)| {
                chunk
                    .rows
                    .iter()
                    .enumerate()
                    .map(move |(index, row)| (row.at, number as u32, index as u32))
            })
            .collect();
        // No two entries are equal, so the order is the same everywhere.
        order.sort_unstable();
        Self { chunks, order }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Each row with the second at which it is delivered.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.order
            .iter()
            .map(|&(_, chunk, row)| self.chunks[chunk as usize].row(row as usize))
    }
}

/// Whether a feed's files of a day are sent a second time.
pub fn is_sent_again(seed: u64, feed: Feed, day: u32) -> bool {
    let mut random = Random::new(seed ^ 0x5e_a1, day, Purpose::Exchange);
    (0..=feed as u32).map(|_| random.chance(35)).last().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::SimulationOptions;
    use crate::channel::columns;
    use crate::write::csv::fields;

    fn world() -> World {
        let options = SimulationOptions {
            days: 20,
            scale: 1.0,
            ..SimulationOptions::default()
        };
        World::invent(options, 20)
    }

    #[test]
    fn every_row_has_a_field_for_every_column_and_its_id_first() {
        let world = world();
        let batch = make_day(&world, 16, 400).unwrap();
        for feed in FEEDS {
            let mut rows = 0;
            for chunk in &batch.chunks[feed as usize] {
                for index in 0..chunk.len() {
                    let (_, row) = chunk.row(index);
                    assert!(std::str::from_utf8(row).is_ok());
                    assert_eq!(
                        fields(row).count(),
                        columns(feed).len(),
                        "{}",
                        String::from_utf8_lossy(row)
                    );
                    rows += 1;
                }
            }
            assert!(rows > 0, "{} has no rows", feed.word());
        }
    }

    #[test]
    fn rows_wait_for_their_day_and_come_in_order_of_time() {
        let world = world();
        let mut waiting = Waiting::default();
        for day in 0..5 {
            waiting.take(make_day(&world, day, 400).unwrap().chunks);
            for rows in waiting.next_day() {
                let times: Vec<u32> = rows.iter().map(|(at, _)| at).collect();
                assert!(times.is_sorted());
                assert!(times.iter().all(|at| at / DAY_S == day), "day {day}");
            }
        }
    }

    #[test]
    fn some_files_are_sent_again() {
        let again = (0..365).filter(|&day| is_sent_again(7, Feed::Hotline, day)).count();
        assert!((4..30).contains(&again), "{again} days");
    }
}
