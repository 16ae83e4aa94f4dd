//! How fast the simulator is: `cargo run --release -p shiyu-simulate --example speed -- DAYS SCALE THREADS OUT`.

#![allow(clippy::print_stdout, reason = "it prints its figures")]

use std::path::PathBuf;
use std::time::Instant;

use shiyu_simulate::{SimulateError, SimulationOptions, simulate};

fn main() -> Result<(), SimulateError> {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |index: usize, default: f64| {
        arguments
            .get(index)
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    let options = SimulationOptions {
        days: number(1, 30.0) as u32,
        scale: number(2, 1.0),
        threads: number(3, 1.0) as usize,
        ..SimulationOptions::default()
    };
    let out = arguments
        .get(4)
        .map_or_else(|| std::env::temp_dir().join("yunlan-speed"), PathBuf::from);
    let started = Instant::now();
    let simulation = simulate(&options, &out)?;
    let (seconds, rows) = (started.elapsed().as_secs_f64(), simulation.statistics.all_rows());
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap_or("VmHWM: unknown");
    println!(
        "{} days, scale {}, {} threads: {rows} rows in {seconds:.2} s, {:.0} rows a second, {peak}",
        options.days,
        options.scale,
        options.threads,
        rows as f64 / seconds
    );
    Ok(())
}
