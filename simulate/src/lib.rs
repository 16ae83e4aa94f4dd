//! Yunlan (云澜), an invented Chinese prefecture city with known truth: deterministic for a seed, labelled as simulated.
//!
//! In reading order:
//! - [`random`], [`calendar`], [`weather`], [`datum`]: chance, days and coordinates, the same bits on every machine
//! - [`place`]: the invented land: areas, roads, addresses
//! - [`world`]: all that days have in common
//! - [`kind`], [`plan`], [`incident`]: what truly happens, with what is planted
//! - [`report`], [`patrol`]: who notices, through which channel, how often
//! - [`life`], [`gaming`]: what departments do with it, and how they play with their figures
//! - [`channel`], [`text`]: records as departments have them
//! - [`day`]: one day, made alone, so that days are made in parallel and written in order
//! - [`write`], [`register`], [`truth`]: files
//! - [`statistics`]: what came out, beside what the sources say
//!
//! It knows `schemas` only; no place in any list of divisions bears the name, no real boundary is copied.

pub mod calendar;
pub mod channel;
pub mod datum;
pub mod day;
pub mod gaming;
pub mod incident;
pub mod kind;
pub mod life;
pub mod patrol;
pub mod place;
pub mod plan;
pub mod random;
pub mod register;
pub mod report;
mod run;
pub mod score;
pub mod statistics;
pub mod text;
pub mod truth;
pub mod weather;
pub mod world;
pub mod write;

use std::path::PathBuf;

use thiserror::Error;

pub use run::{Simulation, simulate};
pub use statistics::{StatisticLine, Statistics};

/// What to simulate.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulationOptions {
    /// The same seed gives the same bytes.
    pub seed: u64,
    /// Days from 2025-01-01 on.
    pub days: u32,
    /// Share of a full city's records, 0.001 to 100.
    pub scale: f64,
    /// Grids, 400 to 9,375.
    pub grids: u32,
    /// Threads that make days; 0 = one a core. They do not change a byte.
    pub threads: usize,
}

impl Default for SimulationOptions {
    fn default() -> Self {
        Self {
            seed: 7,
            days: 30,
            scale: 1.0,
            grids: place::land::GRIDS,
            threads: 0,
        }
    }
}

/// What can go wrong.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SimulateError {
    /// A file cannot be written.
    #[error("failed to write \"{path}\"")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The folder holds something that no simulation wrote.
    #[error("cannot write to \"{path}\": it holds files that are not of a simulation; name a new or empty folder")]
    Occupied {
        /// The folder.
        path: PathBuf,
    },
    /// A truth table cannot be written.
    #[error("failed to write the truth tables")]
    Truth(#[from] parquet::errors::ParquetError),
    /// Options make no sense.
    #[error(
        "cannot simulate {days} days at scale {scale} with {grids} grids: days 1 to 3660, scale 0.001 to 100, grids 400 to 9375"
    )]
    Options {
        /// Days asked for.
        days: u32,
        /// Scale asked for.
        scale: f64,
        /// Grids asked for.
        grids: u32,
    },
    /// A thread that makes days has ended before its time.
    #[error("a thread that makes days has ended; this is a fault of the program")]
    Thread,
}
