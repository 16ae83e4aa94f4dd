//! The same seed gives the same bytes: twice, on one and two threads, on every machine.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use shiyu_simulate::{SimulationOptions, simulate};

/// CRC-32 over the names and bytes of all files of [`small`]. It differs where a machine, a library or a change of the simulator gives other
/// bytes; who means the change writes the new number here.
const GOLDEN: u32 = 2_706_893_876;

fn small() -> SimulationOptions {
    SimulationOptions {
        seed: 7,
        days: 20,
        scale: 0.02,
        threads: 1,
        ..SimulationOptions::default()
    }
}

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

fn run(options: &SimulationOptions) -> BTreeMap<PathBuf, Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    simulate(options, folder.path()).unwrap();
    files(folder.path())
}

#[test]
fn threads_do_not_change_a_byte_and_the_golden_sum_is_met() {
    let one = run(&small());
    let two = run(&SimulationOptions { threads: 2, ..small() });
    assert_eq!(one.keys().collect::<Vec<_>>(), two.keys().collect::<Vec<_>>());
    for (path, bytes) in &one {
        assert!(bytes == &two[path], "{} differs", path.display());
    }
    let mut sum = crc32fast::Hasher::new();
    for (path, bytes) in &one {
        sum.update(path.to_str().unwrap().as_bytes());
        sum.update(bytes);
    }
    assert_eq!(sum.finalize(), GOLDEN);
}

#[test]
fn another_seed_gives_other_records_in_the_same_land() {
    let one = run(&SimulationOptions { days: 2, ..small() });
    let other = run(&SimulationOptions {
        days: 2,
        seed: 8,
        ..small()
    });
    let file = Path::new("hotline/orders_2025-01-01.csv");
    assert_ne!(one[file], other[file]);
    let file = Path::new("areas/grid.geojson");
    assert_eq!(one[file], other[file]);
}

#[test]
fn a_longer_run_begins_with_the_same_files() {
    let short = run(&SimulationOptions { days: 3, ..small() });
    let long = run(&SimulationOptions { days: 6, ..small() });
    for folder in ["hotline", "police", "grid", "device"] {
        let of_folder = |path: &Path| path.starts_with(folder);
        for (path, bytes) in short.iter().filter(|(path, _)| of_folder(path)) {
            assert!(long[path] == *bytes, "{} differs", path.display());
        }
    }
}

#[test]
fn a_folder_that_is_not_a_simulations_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("grid")).unwrap();
    fs::write(folder.path().join("grid/mine.txt"), "mine").unwrap();
    let error = simulate(&small(), folder.path()).unwrap_err();
    assert!(error.to_string().contains("not of a simulation"), "{error}");
    assert!(folder.path().join("grid/mine.txt").exists());
    for (days, scale, grids) in [(0, 1.0, 2_000), (3, 0.0, 2_000), (3, f64::NAN, 2_000), (3, 1.0, 399)] {
        let options = SimulationOptions {
            days,
            scale,
            grids,
            ..small()
        };
        assert!(simulate(&options, folder.path()).is_err());
    }
}

#[test]
fn the_shipped_boundaries_are_the_invented_ones() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/cities/yunlan/areas");
    let land = shiyu_simulate::place::Land::invent(9_375);
    for (level, text) in shiyu_simulate::place::boundary::files(&land).into_iter().take(2) {
        let path = shipped.join(format!("{level}.geojson"));
        assert!(
            fs::read_to_string(&path).unwrap() == text,
            "{} differs: copy it from areas/ of a simulation",
            path.display()
        );
    }
}
