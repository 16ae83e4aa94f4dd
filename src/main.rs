//! Shiyu (市域): a city's event hub. This program puts the parts together; what they do is in their crates.
//!
//! - [`cli`]: the command line
//! - [`command`]: one file per command
//! - [`folder`]: the city folder on disk
//! - [`serving`]: addresses, access and the doors of one process
//! - [`readiness`]: whether every stage moves
//! - [`output`], [`exit`]: how results are printed, how the program ends
//! - [`signals`]: what ends a server
//! - [`disk`]: what a failed or full disk means for the program

mod cli;
mod command;
mod disk;
mod exit;
mod folder;
mod newest;
mod output;
mod readiness;
mod reserve;
mod serving;
mod signals;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use cli::Cli;
use exit::Exit;

/// Batches are made in one thread and freed in another: of the system's allocator each thread's arena then keeps its largest, a gigabyte and
/// more in ten minutes of a busy hub over Kafka. This one gives pages back (`.cargo/config.toml` says how many arenas it has).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How long work that blocks may hold up the end of the program.
const ENDING: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            // Nothing can be done about a closed terminal.
            let _printed = error.print();
            return exit.into();
        }
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_unset| EnvFilter::new("warn,shiyu=info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    // Two providers are in the tree; without a choice the first use of TLS would panic.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        tracing::debug!("a TLS provider was installed before");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "failed to start the runtime");
            return Exit::Software.into();
        }
    };
    let done = runtime.block_on(command::run(cli));
    // Work that still blocks must not keep a program from ending that has failed.
    runtime.shutdown_timeout(ENDING);
    match done {
        Ok(()) => Exit::Ok.into(),
        Err(failure) => {
            tracing::debug!(error = ?failure.error, "failed");
            command::print_error(&format!("shiyu: {:#}", failure.error));
            failure.exit.into()
        }
    }
}
