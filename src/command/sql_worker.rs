//! `shiyu sql-worker`: analysts' SQL in a process of its own, so that no query can hurt the intake.

use std::io::Read as _;
use std::path::Path;

use shiyu_query::{SqlServeOptions, serve_sql};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::cli::SqlWorkerArgs;
use crate::exit::{Exit, Failure, OrExit as _};
use crate::folder::{CityFolder, data_dir};
use crate::serving::access_of;

/// Serves SQL until standard input closes, which it does when the hub ends. Prints `<flight> <postgres>` when it is ready.
pub(crate) async fn run(given: Option<&Path>, args: SqlWorkerArgs) -> Result<(), Failure> {
    let folder = CityFolder::load(&args.city, &[])?;
    let (tls, access) = access_of(&args.addresses)?;
    let options = SqlServeOptions {
        data_dir: data_dir(given, &folder.city.config.city)?,
        city: Some(folder.city),
        flight: args.addresses.flight,
        postgres: args.addresses.postgres,
        tls,
        access,
        memory_bytes: usize::try_from(args.sql_memory << 20).or_exit(Exit::Usage)?,
    };
    let (ready, bound) = oneshot::channel();
    let stop = CancellationToken::new();
    let ended = tokio::spawn(serve_sql(options, ready, stop.clone()));
    if let Ok(bound) = bound.await {
        super::print_line(&format!("{} {}", bound.flight, bound.postgres));
    }
    std::thread::spawn(move || {
        let mut nothing = Vec::new();
        // The end of the hub is the end of this process, whatever the reading says.
        let _closed = std::io::stdin().read_to_end(&mut nothing);
        stop.cancel();
    });
    ended.await.or_exit(Exit::Software)?.or_exit(Exit::Unavailable)
}
