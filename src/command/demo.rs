//! `shiyu demo`: the invented city, simulated, loaded and served.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use shiyu_ingest::hub::{Hub, HubError, Roles};
use shiyu_schemas::v1;
use shiyu_simulate::SimulationOptions;
use tokio_util::sync::CancellationToken;

use super::live::LiveTarget;
use super::load::{hub_options, print_balances};
use super::serve::Serving;
use crate::cli::{CityArgs, DemoArgs, LogArgs, OutputFormat};
use crate::exit::{Exit, Failure, OrExit as _};
use crate::folder::{CityFolder, data_dir};
use crate::output;
use crate::signals::Signals;

const SAMPLE: &str = "SELECT category, sum(count) AS cases FROM cells GROUP BY category ORDER BY cases DESC LIMIT 10";

/// Simulates, loads, serves.
pub(crate) async fn run(given: Option<&Path>, format: OutputFormat, args: DemoArgs) -> Result<(), Failure> {
    let data_dir = data_dir(given, "yunlan")?;
    let records = data_dir.join("simulated");
    super::print_error(&format!(
        "simulating {} days of Yunlan (云澜), an invented city",
        args.days
    ));
    let options = SimulationOptions {
        seed: args.seed,
        days: args.days,
        scale: args.scale,
        ..SimulationOptions::default()
    };
    shiyu_simulate::simulate(&options, &records).map_err(super::simulate::failure)?;
    let city = CityArgs {
        city: city_folder().or_exit(Exit::NoInput)?,
        variables: vec![("CITY_DATA".to_owned(), records.to_string_lossy().into_owned())],
    };
    let folder = CityFolder::load(&city, &[])?;
    let mut signals = Signals::listen()?;
    let Some(loaded) = signals.unless_received(load(&folder, &data_dir)).await else {
        return Ok(());
    };
    let (hub, balances) = loaded.map_err(super::hub_failure)?;
    print_balances(format, &balances).or_exit(Exit::Io)?;
    let (schema, batches) = shiyu_query::run_query(&data_dir, Some(folder.city.clone()), SAMPLE)
        .await
        .or_exit(Exit::Data)?;
    super::print_line(&format!("\n{SAMPLE}"));
    output::print_batches(format, &schema, &batches).or_exit(Exit::Io)?;
    if args.once {
        return hub.close().await.map_err(super::hub_failure);
    }
    let started = Serving::start(hub, &folder, &args.addresses, 1024);
    let Some(serving) = signals.unless_received(started).await else {
        return Ok(());
    };
    let serving = serving?;
    serving.print();
    let stop = CancellationToken::new();
    let living = live_on(options, &args, serving.addresses.grpc, stop.clone());
    let ended = serving.until_signal(&mut signals).await;
    stop.cancel();
    if let Some(living) = living {
        living.await.or_exit(Exit::Software)?;
    }
    ended
}

/// Opens the hub and loads what was simulated.
async fn load(folder: &CityFolder, data_dir: &Path) -> Result<(Hub, Vec<v1::Balance>), HubError> {
    let hub = Hub::open(hub_options(folder, data_dir.to_owned(), LogArgs::default(), Roles::ALL)).await?;
    let balances = hub
        .load_and_flush(&[], &[], &CancellationToken::new(), &|_progress| {})
        .await?;
    Ok((hub, balances))
}

/// The city goes on behind its past, so that a subscriber sees things move.
fn live_on(
    options: SimulationOptions,
    args: &DemoArgs,
    grpc: std::net::SocketAddr,
    stop: CancellationToken,
) -> Option<tokio::task::JoinHandle<()>> {
    if args.live <= 0.0 {
        return None;
    }
    if args.addresses.tls_cert.is_some() || args.addresses.tokens.is_some() {
        super::print_error("shiyu: with TLS or tokens the demo stands still; push with shiyu simulate --live");
        return None;
    }
    super::print_error(&format!(
        "the city lives on at {} times the clock's speed; shiyu watch risk shows what changes",
        args.live
    ));
    let target = LiveTarget {
        address: format!("http://{grpc}"),
        token: None,
        speed: args.live,
        days: None,
    };
    Some(tokio::spawn(async move {
        if let Err(error) = super::live::run(options, target, stop.clone()).await
            && !stop.is_cancelled()
        {
            tracing::error!(error = format!("{error:#}"), "the city stands still");
        }
    }))
}

/// `deploy/cities/yunlan`, below the current folder or one of those above the program.
fn city_folder() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let here = std::env::current_dir().context("cannot find the current folder")?;
    [here, program, PathBuf::from(env!("CARGO_MANIFEST_DIR"))]
        .iter()
        .flat_map(|start| {
            start
                .ancestors()
                .map(|folder| folder.join("deploy/cities/yunlan"))
                .collect::<Vec<_>>()
        })
        .find(|folder| folder.join("city.yaml").is_file())
        .ok_or_else(|| anyhow!("cannot find deploy/cities/yunlan; run the demo from the repository"))
}
