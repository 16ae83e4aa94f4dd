//! `shiyu simulate`.

use shiyu_simulate::{SimulateError, SimulationOptions};

use crate::cli::{OutputFormat, SimulateArgs};
use crate::exit::{Exit, Failure, OrExit as _};
use crate::output;

/// Writes the invented city's records and prints how many.
pub(crate) fn run(format: OutputFormat, args: &SimulateArgs) -> Result<(), Failure> {
    let options = SimulationOptions {
        seed: args.seed,
        days: args.days,
        scale: args.scale,
    };
    let summary = shiyu_simulate::simulate(&options, &args.out).map_err(|error| {
        let exit = if matches!(error, SimulateError::Options { .. }) {
            Exit::Usage
        } else {
            Exit::Io
        };
        Failure::new(exit, error)
    })?;
    let rows: Vec<Vec<String>> = summary
        .iter()
        .map(|(feed, records)| vec![(*feed).to_owned(), records.to_string()])
        .collect();
    output::print_rows(format, &["feed (simulated)", "records"], &rows).or_exit(Exit::Io)
}
