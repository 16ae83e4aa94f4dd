//! Yunlan (云澜), an invented Chinese prefecture city, and its records: deterministic for a seed, labelled as simulated.
//!
//! In reading order:
//! - [`place`]: the invented land: districts, towns, communities, roads and addresses
//! - [`rhythm`]: how many, at which hour
//! - [`text`]: what people write, with invented personal data in it, so that the door has something to take off
//! - [`record`]: the files of four departments, each with its own codes, clock and coordinates
//! - [`truth`]: what really happened, for scorers only
//!
//! It knows `schemas` only; no place in any list of divisions bears the name, no real boundary is copied.

pub mod place;
pub mod record;
pub mod rhythm;
pub mod text;
pub mod truth;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use thiserror::Error;

/// First simulated day.
pub const FIRST_DAY: Date = jiff::civil::date(2025, 1, 1);

/// What to simulate.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulationOptions {
    /// The same seed gives the same bytes.
    pub seed: u64,
    /// Days from [`FIRST_DAY`] on.
    pub days: u32,
    /// Share of a full city's records, > 0.
    pub scale: f64,
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
    /// The truth table cannot be written.
    #[error("failed to write the truth tables")]
    Truth(#[from] parquet::errors::ParquetError),
    /// Days or scale make no sense.
    #[error("cannot simulate {days} days at scale {scale}: days 1 to 3660, scale above 0 to 100")]
    Options {
        /// Days asked for.
        days: u32,
        /// Scale asked for.
        scale: f64,
    },
}

/// Records written, by feed.
pub type Summary = BTreeMap<&'static str, u64>;

/// Writes `hotline/`, `police/`, `grid/`, `petition/`, `truth/` and `areas/` below `out`.
pub fn simulate(options: &SimulationOptions, out: &Path) -> Result<Summary, SimulateError> {
    let is_sane = (1..=3660).contains(&options.days) && options.scale > 0.0 && options.scale <= 100.0;
    if !is_sane {
        return Err(SimulateError::Options {
            days: options.days,
            scale: options.scale,
        });
    }
    let land = place::Land::invent();
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    let mut writer = record::FeedWriter::new(out);
    let mut truth = truth::TruthWriter::create(&out.join("truth"))?;
    for day in 0..options.days {
        let mut incidents = rhythm::incidents_of_day(&mut rng, &land, day, options.scale);
        incidents.sort_by_key(|incident| incident.minute);
        for incident in &incidents {
            let records = record::records_of(&mut rng, &land, incident, day);
            truth.add(&land, incident, day, &records);
            writer.take(records);
        }
        writer.write_until(FIRST_DAY, day)?;
        truth.flush_if_full()?;
    }
    writer.finish(FIRST_DAY, options.days)?;
    truth.finish()?;
    for (level, text) in land.area_files() {
        write_file(&out.join("areas").join(format!("{level}.geojson")), text.as_bytes())?;
    }
    Ok(writer.into_summary())
}

pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), SimulateError> {
    let failed = |source| SimulateError::Io {
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    fs::write(path, bytes).map_err(failed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(next) = folders.pop() {
            for entry in fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.insert(path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap());
                }
            }
        }
        found
    }

    fn run(seed: u64) -> (Summary, BTreeMap<PathBuf, Vec<u8>>) {
        let folder = tempfile::tempdir().unwrap();
        let summary = simulate(
            &SimulationOptions {
                seed,
                days: 3,
                scale: 0.05,
            },
            folder.path(),
        )
        .unwrap();
        (summary, files(folder.path()))
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let (summary, first) = run(7);
        assert!(summary.values().all(|&count| count > 0), "{summary:?}");
        assert_eq!(first, run(7).1);
        assert_ne!(first, run(8).1);
    }

    #[test]
    fn senseless_options_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (days, scale) in [(0, 1.0), (3, 0.0), (3, f64::NAN)] {
            assert!(simulate(&SimulationOptions { seed: 1, days, scale }, folder.path()).is_err());
        }
    }

    #[test]
    fn the_shipped_boundaries_are_the_invented_ones() {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/cities/yunlan/areas");
        for (level, text) in place::Land::invent().area_files() {
            let path = shipped.join(format!("{level}.geojson"));
            assert_eq!(
                fs::read_to_string(&path).unwrap(),
                text,
                "{} differs: write it anew with shiyu simulate",
                path.display()
            );
        }
    }
}
