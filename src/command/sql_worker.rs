//! `shiyu sql-worker`: analysts' SQL in a process of its own, so that no query can hurt the intake.

use std::path::Path;
use std::sync::Arc;

use shiyu_query::{SqlServeOptions, serve_sql};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::cli::SqlWorkerArgs;
use crate::exit::{Exit, Failure, OrExit as _};
use crate::folder::{CityFolder, data_dir};
use crate::newest::AskHub;
use crate::serving::access_of;

/// Serves SQL until standard input closes, which it does when the hub ends. Prints `<flight> <postgres>` when it is ready.
pub(crate) async fn run(given: Option<&Path>, args: SqlWorkerArgs) -> Result<(), Failure> {
    let folder = CityFolder::load(&args.city, &[])?;
    let (tls, access) = access_of(&args.addresses)?;
    let stop = CancellationToken::new();
    let hub = Arc::new(AskHub::start(stop.clone()));
    let options = SqlServeOptions {
        data_dir: data_dir(given, &folder.city.config.city)?,
        city: Some(folder.city),
        newest: Some(hub.clone()),
        flight: args.addresses.flight,
        postgres: args.addresses.postgres,
        tls,
        access,
        memory_bytes: usize::try_from(args.sql_memory << 20).or_exit(Exit::Usage)?,
    };
    let (ready, bound) = oneshot::channel();
    let ended = tokio::spawn(serve_sql(options, ready, stop.clone()));
    if let Ok(bound) = bound.await {
        hub.announce(&format!("{} {}", bound.flight, bound.postgres)).await;
    }
    ended.await.or_exit(Exit::Software)?.or_exit(Exit::Unavailable)
}
