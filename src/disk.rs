//! What a failed or full disk means for the program.
//!
//! - A failed write or sync, or damage: the program ends (exit 74). Only a start from what is on disk is sure of what is on disk.
//! - A full disk: pushes are refused and tried again by their callers, tables wait. Where the state store itself found no room, the
//!   program starts anew in its place once there is room again: nothing acknowledged is lost by that.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use shiyu_ingest::fold::FoldError;
use shiyu_ingest::hub::HubError;
use shiyu_log::LogError;
use shiyu_query::risk::EngineError;

use crate::command::log_exit;
use crate::exit::{Exit, Failure};
use crate::signals::Signals;

/// Room there must be before the program starts anew, bytes.
const ROOM_BYTES: usize = 4 << 20;
/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The exit code an error asks for, if log, state, tables or the fold over them are its reason.
pub(crate) fn exit_of(error: &(dyn Error + 'static)) -> Option<Exit> {
    let of_fold =
        || std::iter::successors(Some(error), |&error| error.source()).any(<dyn Error + 'static>::is::<FoldError>);
    log_error_of(error)
        .map(log_exit)
        .or_else(|| of_fold().then_some(Exit::Io))
}

/// Whether the program may go on once there is room on the disk.
pub(crate) fn waits_for_room(failure: &Failure, data_dir: &Path) -> bool {
    match log_error_of(failure.error.as_ref()) {
        Some(error @ LogError::State { .. }) => error.is_full() || !has_room(data_dir),
        Some(error) => error.is_full(),
        None => failure
            .error
            .chain()
            .any(|cause| cause.downcast_ref().is_some_and(is_no_space)),
    }
}

fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The error of the log, the state or the tables behind an error.
fn log_error_of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a LogError> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let fold: Option<&FoldError> = match error.downcast_ref::<HubError>() {
            Some(HubError::Log(error)) => return Some(error),
            Some(HubError::Fold(error)) => Some(error),
            _ => error.downcast_ref(),
        };
        if let Some(FoldError::Log(error)) = fold {
            return Some(error);
        }
        if let Some(EngineError::Log(error)) = error.downcast_ref() {
            return Some(error);
        }
        if let Some(error) = error.downcast_ref::<LogError>() {
            return Some(error);
        }
        if let Some(error) = error.downcast_ref::<std::sync::Arc<LogError>>() {
            return Some(error);
        }
        cause = error.source();
    }
    None
}

fn has_room(data_dir: &Path) -> bool {
    let path = data_dir.join("room.tmp");
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(&vec![1; ROOM_BYTES])?;
        file.sync_all()
    });
    written.is_ok() & fs::remove_file(&path).is_ok()
}

/// Waits for room (or a signal) and starts the program anew in its place; returns only where that is not to be.
pub(crate) async fn restart_when_there_is_room(failure: Failure, data_dir: &Path, signals: &mut Signals) -> Failure {
    tracing::warn!(error = %failure.error, "the disk is full; nothing acknowledged is lost, waiting for room");
    loop {
        let waited = signals.unless_received(tokio::time::sleep(LOOK_EVERY)).await;
        if waited.is_none() {
            return failure;
        }
        if has_room(data_dir) {
            return Failure::new(Exit::TryLater, restart());
        }
    }
}

/// Becomes a fresh run of the same command line; returns only why it could not.
fn restart() -> io::Error {
    use std::os::unix::process::CommandExt as _;
    match std::env::current_exe() {
        Ok(program) => {
            tracing::info!("there is room again, starting anew");
            std::process::Command::new(program)
                .args(std::env::args_os().skip(1))
                .exec()
        }
        Err(error) => error,
    }
}
