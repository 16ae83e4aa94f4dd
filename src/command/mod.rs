//! One file per command.

mod backup;
mod check;
mod demo;
mod list;
mod live;
mod load;
mod rebuild;
mod rejections;
mod restore;
mod revisions;
mod score_truth;
mod serve;
mod simulate;
mod sql;
mod sql_worker;
mod watch;

use std::io::Write as _;

use shiyu_ingest::hub::{HubError, LogChoice};
use shiyu_log::LogError;

use crate::cli::{Cli, Command, LogArgs, WatchCommand};
use crate::exit::{Exit, Failure};

/// Runs the command.
pub(crate) async fn run(cli: Cli) -> Result<(), Failure> {
    let (data_dir, output) = (cli.data_dir.as_deref(), cli.output);
    match cli.command {
        Command::Demo(args) => demo::run(data_dir, output, args).await,
        Command::Serve(args) => serve::run(data_dir, args).await,
        Command::Load(args) => load::run(data_dir, output, args).await,
        Command::Sql(args) => sql::run(data_dir, output, args).await,
        Command::Watch(WatchCommand::Risk(args)) => watch::run(output, args).await,
        Command::Check(args) => check::run(output, &args),
        Command::Simulate(args) => simulate::run(output, &args).await,
        Command::ScoreTruth(args) => score_truth::run(data_dir, output, &args).await,
        Command::Backup(args) => backup::run(data_dir, output, args).await,
        Command::Restore(args) => restore::run(data_dir, output, args).await,
        Command::Rebuild(args) => rebuild::run(data_dir, output, args).await,
        Command::Rejections(command) => rejections::run(data_dir, output, command).await,
        Command::Revisions(command) => revisions::run(data_dir, output, command).await,
        Command::List(args) => list::run(output, args),
        Command::SqlWorker(args) => sql_worker::run(data_dir, args).await,
    }
}

/// Prints a line to standard error.
pub(crate) fn print_error(text: &str) {
    // Nothing can be done about a closed terminal.
    let _written = writeln!(std::io::stderr(), "{text}");
}

/// Prints a line to standard output.
pub(crate) fn print_line(text: &str) {
    let _written = writeln!(std::io::stdout(), "{text}");
}

/// Processes that do different things meet at Kafka and in a folder.
pub(crate) fn check_roles(args: &LogArgs, all: bool) -> Result<(), Failure> {
    let problem = match (&args.log, &args.shared) {
        (LogChoice::Local, _) if !all => {
            "the embedded log is for one process with all roles; for others give --log kafka://… and --shared DIR"
        }
        (LogChoice::Local, Some(_)) => "--shared is for --log kafka://…; the embedded log has one process",
        (LogChoice::Kafka(_), None) if !all => {
            "processes with different roles need --shared DIR, a folder they all read and write"
        }
        _ => return Ok(()),
    };
    Err(Failure::new(Exit::Config, anyhow::anyhow!(problem)))
}

/// The exit code an error of the hub asks for.
pub(crate) fn hub_failure(error: HubError) -> Failure {
    let exit = match &error {
        HubError::City(_) | HubError::Connector(_) | HubError::Revision { .. } => Exit::Config,
        HubError::UnknownRevision { .. } | HubError::NothingToRead { .. } => Exit::NoInput,
        HubError::Backup { .. } | HubError::Trimmed { .. } => Exit::Data,
        HubError::UnknownFeed { .. } | HubError::NotHere { .. } | HubError::EmbeddedOnly { .. } => Exit::Usage,
        HubError::Key { .. } | HubError::Position { .. } | HubError::DamagedRevision { .. } => Exit::Io,
        _ => crate::disk::exit_of(&error).unwrap_or(Exit::Software),
    };
    Failure::new(exit, error)
}

/// The exit code an error of the log asks for.
pub(crate) fn log_exit(error: &LogError) -> Exit {
    match error {
        LogError::Locked { .. } => Exit::NotPermitted,
        LogError::Incompatible { .. } | LogError::Topic { .. } => Exit::Config,
        LogError::Kafka { .. } => Exit::Unavailable,
        LogError::Unsure { .. } => Exit::TryLater,
        error if error.is_full() => Exit::TryLater,
        _ => Exit::Io,
    }
}
