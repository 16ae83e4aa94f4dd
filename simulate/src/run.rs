//! A run: days are made by threads and written in order; memory does not grow with days.

use std::fs;
use std::path::Path;
use std::sync::mpsc;

use crate::calendar::DAYS_MAX;
use crate::day::{DayBatch, DayRows, Waiting, make_day};
use crate::place::land::{GRIDS_MAX, GRIDS_MIN};
use crate::statistics::Statistics;
use crate::truth::TruthWriter;
use crate::world::World;
use crate::write::FileWriter;
use crate::{SimulateError, SimulationOptions, register};

/// Days a thread may be ahead.
const AHEAD: usize = 2;
/// Says that a folder is a simulation's.
const MARKER: &str = "SIMULATED.md";
/// Days behind the asked ones in which a live city goes on, at most.
const LIVE_DAYS: u32 = 400;

const README: &str = "# Simulated data (模拟数据)

Everything here is invented by `shiyu simulate`: the city 云澜 (Yunlan), its people, records and boundaries. No record is of a real event,
no number or name of a real person.

| folder | holds |
|---|---|
| hotline | 12345 orders, CSV in GB18030, GCJ-02; another header from 2025-01-16 on; `_resend` files were sent a second time |
| hotline_dump | the same rows as a MySQL dump (UTF-8) |
| police | 110 calls, CSV, CGCS2000 plane metres (EPSG:4547), X is northing |
| grid | reports of grid inspectors, NDJSON, WGS84 (one county sends GCJ-02 from 2025-01-11 on) |
| petition, petition_xlsx | petitions of a month, CSV and workbook |
| device | events of smoke, manhole, water level and rubbish sensors, NDJSON, UTC |
| areas | boundaries, GeoJSON; some change on 2025-03-01 |
| registers | addresses, points of interest, roads, cells, calendar, weather, patrol effort |
| truth | what truly happened, Parquet. For scorers only: a hub must never read it |
";

/// Simulates, and writes everything below `out`.
pub fn simulate(options: &SimulationOptions, out: &Path) -> Result<Simulation, SimulateError> {
    Simulation::run(options, out)
}

/// A city whose days were simulated, ready to live on.
#[derive(Debug)]
pub struct Simulation {
    /// The city.
    pub world: World,
    /// What came out.
    pub statistics: Statistics,
    waiting: Waiting,
    next: u32,
}

impl Simulation {
    fn run(options: &SimulationOptions, out: &Path) -> Result<Self, SimulateError> {
        let is_sane = (1..=3_660).contains(&options.days)
            && (0.001..=100.0).contains(&options.scale)
            && (GRIDS_MIN..=GRIDS_MAX).contains(&options.grids);
        if !is_sane {
            return Err(SimulateError::Options {
                days: options.days,
                scale: options.scale,
                grids: options.grids,
            });
        }
        claim(out)?;
        let world = World::invent(options.clone(), options.days);
        let mut writer = Writer {
            files: FileWriter::create(out)?,
            truth: TruthWriter::create(&out.join("truth"))?,
            out,
            waiting: Waiting::default(),
            statistics: Statistics::new(),
        };
        register::write(&world, out)?;
        let threads = match options.threads {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            threads => threads,
        };
        if threads == 1 {
            for day in 0..options.days {
                writer.write(&world, make_day(&world, day, options.days).map_err(in_truth)?)?;
            }
        } else {
            run_threads(&world, threads.min(options.days as usize), &mut writer)?;
        }
        let Writer {
            truth,
            waiting,
            statistics,
            ..
        } = writer;
        truth.finish(&world, options.days)?;
        Ok(Self {
            next: options.days,
            world,
            statistics,
            waiting,
        })
    }

    /// A city without a past that lives on from day `options.days`, the days before made and thrown away. Rows that come later than the past's
    /// last day are kept, so that what was filed then goes on.
    pub fn live_on(options: &SimulationOptions) -> Result<Self, SimulateError> {
        let end = (options.days + LIVE_DAYS).min(DAYS_MAX);
        let world = World::invent(options.clone(), end);
        // Two months back is as far as a case reaches.
        let first = options.days.saturating_sub(75);
        let mut simulation = Self {
            world,
            statistics: Statistics::new(),
            waiting: Waiting::default(),
            next: first,
        };
        while simulation.next < options.days {
            simulation.next_day()?;
        }
        Ok(simulation)
    }

    /// The rows of the next day, by feed, in the order in which they are delivered.
    pub fn next_day(&mut self) -> Result<[DayRows; 5], SimulateError> {
        let batch = make_day(&self.world, self.next, u32::MAX / 2).map_err(in_truth)?;
        self.next += 1;
        self.waiting.take(batch.chunks);
        Ok(self.waiting.next_day())
    }

    /// The day whose rows come next.
    pub fn day(&self) -> u32 {
        self.next
    }
}

fn in_truth(error: arrow::error::ArrowError) -> SimulateError {
    SimulateError::Truth(error.into())
}

/// Makes sure that nothing but an earlier simulation is written over.
fn claim(out: &Path) -> Result<(), SimulateError> {
    let failed = |source| SimulateError::Io {
        path: out.to_owned(),
        source,
    };
    fs::create_dir_all(out).map_err(failed)?;
    let is_empty = fs::read_dir(out).map_err(failed)?.next().is_none();
    let marker = out.join(MARKER);
    if !is_empty && !marker.exists() {
        return Err(SimulateError::Occupied { path: out.to_owned() });
    }
    fs::write(&marker, README).map_err(|source| SimulateError::Io { path: marker, source })
}

struct Writer<'a> {
    files: FileWriter,
    truth: TruthWriter,
    out: &'a Path,
    waiting: Waiting,
    statistics: Statistics,
}

impl Writer<'_> {
    fn write(&mut self, world: &World, batch: DayBatch) -> Result<(), SimulateError> {
        let day = batch.day;
        self.truth.add(&batch.truth)?;
        self.statistics.add(&batch.statistics);
        self.waiting.take(batch.chunks);
        let rows = self.waiting.next_day();
        let is_last = day + 1 == world.options.days;
        self.files.write_day(world, day, &rows, is_last, &mut self.statistics)?;
        if day == 0 || world.calendar.day(day).day == 1 {
            register::write_effort(world, self.out, day)?;
        }
        Ok(())
    }
}

/// Thread k makes days k, k + n, …; they are taken in order of day.
fn run_threads(world: &World, threads: usize, writer: &mut Writer<'_>) -> Result<(), SimulateError> {
    let days = world.options.days;
    std::thread::scope(|scope| {
        let receivers: Vec<_> = (0..threads)
            .map(|thread| {
                let (sender, receiver) = mpsc::sync_channel(AHEAD);
                scope.spawn(move || {
                    for day in (thread as u32..days).step_by(threads) {
                        // The receiver is gone only where the run has failed already.
                        if sender.send(make_day(world, day, days)).is_err() {
                            return;
                        }
                    }
                });
                receiver
            })
            .collect();
        for day in 0..days {
            let batch = receivers[day as usize % threads]
                .recv()
                .map_err(|_gone| SimulateError::Thread)?;
            writer.write(world, batch.map_err(in_truth)?)?;
        }
        Ok(())
    })
}
