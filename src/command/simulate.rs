//! `shiyu simulate`.

use std::time::Instant;

use shiyu_simulate::report::FEEDS;
use shiyu_simulate::{SimulateError, Simulation, SimulationOptions};
use tokio_util::sync::CancellationToken;

use super::live::{self, LiveTarget};
use crate::cli::{OutputFormat, SimulateArgs};
use crate::exit::{Exit, Failure, OrExit as _};
use crate::output;

/// Writes the invented city's records, prints how many, and lives on where that is asked for.
pub(crate) async fn run(format: OutputFormat, args: &SimulateArgs) -> Result<(), Failure> {
    let options = SimulationOptions {
        seed: args.seed,
        days: args.days,
        scale: args.scale,
        grids: args.grids,
        threads: args.threads,
    };
    if let Some(out) = &args.out {
        let started = Instant::now();
        let simulation = shiyu_simulate::simulate(&options, out).map_err(failure)?;
        let (seconds, rows) = (started.elapsed().as_secs_f64(), simulation.statistics.all_rows());
        super::print_error(&format!(
            "shiyu: {rows} rows in {seconds:.2} s, {:.0} a second{}",
            rows as f64 / seconds,
            peak_memory().map_or_else(String::new, |mib| format!(", peak memory {mib} MiB"))
        ));
        print(format, &simulation, args.statistics).or_exit(Exit::Io)?;
    }
    let Some(speed) = args.live else { return Ok(()) };
    let target = LiveTarget {
        address: args.address.clone(),
        token: args.token.clone(),
        speed,
        days: args.live_days,
    };
    let stop = CancellationToken::new();
    let signal = stop.clone();
    tokio::spawn(async move {
        // Without a handler for the signal the process ends by it, which is as well.
        if tokio::signal::ctrl_c().await.is_ok() {
            signal.cancel();
        }
    });
    let pushed = live::run(options, target, stop).await.or_exit(Exit::Unavailable)?;
    super::print_error(&format!("shiyu: pushed {pushed} simulated records"));
    Ok(())
}

/// The most memory this process has had, MiB; only Linux tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1_024)
}

/// The exit code a failed simulation asks for.
pub(crate) fn failure(error: SimulateError) -> Failure {
    let exit = match error {
        SimulateError::Options { .. } | SimulateError::Occupied { .. } => Exit::Usage,
        SimulateError::Thread => Exit::Software,
        _ => Exit::Io,
    };
    Failure::new(exit, error)
}

fn print(format: OutputFormat, simulation: &Simulation, statistics: bool) -> anyhow::Result<()> {
    let counts = &simulation.statistics;
    if !statistics {
        let rows: Vec<Vec<String>> = FEEDS
            .iter()
            .map(|feed| {
                let index = *feed as usize;
                vec![
                    feed.word().to_owned(),
                    counts.records[index].to_string(),
                    counts.rows[index].to_string(),
                ]
            })
            .collect();
        return output::print_rows(format, &["feed (simulated)", "records", "rows"], &rows);
    }
    let rows: Vec<Vec<String>> = counts
        .page(&simulation.world)
        .into_iter()
        .map(|line| {
            vec![
                line.parameter.to_owned(),
                line.simulated,
                line.source.to_owned(),
                line.mark.to_owned(),
                line.from.to_owned(),
            ]
        })
        .collect();
    output::print_rows(format, &["parameter", "simulated", "source", "mark", "from"], &rows)
}
