//! `shiyu load`: one pass over files, then the balance.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use indicatif::{ProgressBar, ProgressStyle};
use shiyu_ingest::hub::{Hub, HubError, HubOptions, Roles, SystemClock};
use shiyu_log::LogError;
use shiyu_schemas::v1;
use tokio_util::sync::CancellationToken;

use crate::cli::{LoadArgs, LogArgs, OutputFormat};
use crate::exit::{Exit, Failure, OrExit as _};
use crate::folder::{CityFolder, data_dir};
use crate::output;
use crate::serving::ServeAddresses;

/// Partitions of a new log: one per core, two to sixteen.
pub(crate) fn partitions() -> u32 {
    std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 16) as u32)
}

/// Settings of a hub over a data folder.
pub(crate) fn hub_options(folder: &CityFolder, data_dir: PathBuf, log: LogArgs, roles: Roles) -> HubOptions {
    HubOptions {
        data_dir,
        city: folder.city.clone(),
        city_folder: folder.path.clone(),
        variables: folder.variables.clone(),
        log: log.log,
        roles,
        shared: log.shared,
        partitions: partitions(),
        flush_interval: Duration::from_secs(5),
        clock: Arc::new(SystemClock),
    }
}

/// Loads, here or through the running hub that owns the data folder.
pub(crate) async fn run(given: Option<&Path>, format: OutputFormat, args: LoadArgs) -> Result<(), Failure> {
    for input in &args.inputs {
        if !input.exists() {
            return Err(Failure::new(
                Exit::NoInput,
                anyhow!("cannot find \"{}\"", input.display()),
            ));
        }
    }
    super::check_roles(&args.log, args.roles.connect && args.roles.ingest)?;
    let folder = CityFolder::load(&args.city, &args.inputs)?;
    let data_dir = data_dir(given, &folder.city.config.city)?;
    for warning in &folder.city.warnings {
        tracing::warn!(%warning, "the city folder is odd");
    }
    let roles = Roles {
        query: false,
        ..args.roles
    };
    let balances = match Hub::open(hub_options(&folder, data_dir.clone(), args.log.clone(), roles)).await {
        Ok(hub) => load_here(hub, &args).await?,
        Err(HubError::Log(LogError::Locked { .. })) => hand_over(&data_dir, &args).await?,
        Err(error) => return Err(super::hub_failure(error)),
    };
    print_balances(format, &balances).or_exit(Exit::Io)?;
    let open: Vec<&str> = balances
        .iter()
        .filter(|balance| !closes(balance))
        .map(|balance| balance.feed.as_str())
        .collect();
    if !open.is_empty() {
        return Err(Failure::new(
            Exit::Software,
            anyhow!("the balance does not close for {}", open.join(", ")),
        ));
    }
    let failed: usize = balances.iter().map(|balance| balance.failed_sources.len()).sum();
    if failed > 0 {
        return Err(Failure::new(Exit::Data, anyhow!("{failed} sources could not be read")));
    }
    Ok(())
}

fn closes(balance: &v1::Balance) -> bool {
    balance.read
        == balance.accepted
            + balance.unchanged
            + balance.duplicate
            + balance.stale
            + balance.excluded
            + balance.rejected
            + balance.logged
}

async fn load_here(hub: Hub, args: &LoadArgs) -> Result<Vec<v1::Balance>, Failure> {
    let bar = progress_bar();
    let told = bar.clone();
    let progress = move |progress: &v1::LoadProgress| show(&told, progress);
    let stop = CancellationToken::new();
    let balances = hub
        .load_and_flush(&args.feeds, &args.inputs, &stop, &progress)
        .await
        .map_err(super::hub_failure)?;
    bar.finish_and_clear();
    hub.close().await.map_err(super::hub_failure)?;
    Ok(balances)
}

/// Asks the process that owns the data folder.
async fn hand_over(data_dir: &Path, args: &LoadArgs) -> Result<Vec<v1::Balance>, Failure> {
    let addresses = ServeAddresses::read(data_dir)
        .context("another process owns the data folder, and it is not a running `shiyu serve`")
        .or_exit(Exit::NotPermitted)?;
    super::print_error(&format!(
        "shiyu: process {} serves this data folder; it does the work",
        addresses.pid
    ));
    let mut client = v1::intake_service_client::IntakeServiceClient::connect(format!("http://{}", addresses.grpc))
        .await
        .or_exit(Exit::Unavailable)?;
    let inputs = args
        .inputs
        .iter()
        .map(|input| Ok(std::path::absolute(input)?.to_string_lossy().into_owned()))
        .collect::<std::io::Result<Vec<String>>>()
        .or_exit(Exit::NoInput)?;
    let request = v1::LoadRequest {
        feeds: args.feeds.clone(),
        inputs,
    };
    let mut steps = client.load(request).await.or_exit(Exit::Unavailable)?.into_inner();
    let bar = progress_bar();
    let mut balances = None;
    while let Some(message) = steps.message().await.or_exit(Exit::Unavailable)? {
        match message.step {
            Some(v1::load_response::Step::Progress(progress)) => show(&bar, &progress),
            Some(v1::load_response::Step::Summary(summary)) => balances = Some(summary.balances),
            None => {}
        }
    }
    bar.finish_and_clear();
    balances.ok_or_else(|| Failure::new(Exit::TryLater, anyhow!("the hub ended before the load was done")))
}

fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{spinner} {prefix} {msg} [{elapsed}]");
    bar.set_style(style.unwrap_or_else(|_template| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn show(bar: &ProgressBar, progress: &v1::LoadProgress) {
    let percent = (progress.bytes_done * 100)
        .checked_div(progress.bytes_total)
        .unwrap_or(0);
    bar.set_prefix(progress.feed.clone());
    bar.set_message(format!("{} records, {} {percent} %", progress.records, progress.source));
}

/// Prints the balances, then the reasons.
pub(crate) fn print_balances(format: OutputFormat, balances: &[v1::Balance]) -> anyhow::Result<()> {
    const COLUMNS: [&str; 10] = [
        "feed",
        "read",
        "accepted",
        "unchanged",
        "duplicate",
        "stale",
        "excluded",
        "rejected",
        "withdrawn",
        "waiting",
    ];
    let rows: Vec<Vec<String>> = balances
        .iter()
        .map(|balance| {
            let numbers = [
                balance.read,
                balance.accepted,
                balance.unchanged,
                balance.duplicate,
                balance.stale,
                balance.excluded,
                balance.rejected,
                balance.withdrawn,
                balance.waiting,
            ];
            std::iter::once(balance.feed.clone())
                .chain(numbers.map(|number| number.to_string()))
                .collect()
        })
        .collect();
    output::print_rows(format, &COLUMNS, &rows)?;
    let mut notes: Vec<Vec<String>> = Vec::new();
    for balance in balances {
        let mut note = |kind: &str, about: &str, count: u64| {
            notes.push(vec![
                balance.feed.clone(),
                kind.to_owned(),
                about.to_owned(),
                count.to_string(),
            ]);
        };
        balance
            .reasons
            .iter()
            .for_each(|reason| note("rejected", &reason.reason, reason.count));
        balance
            .flags
            .iter()
            .for_each(|flag| note("noticed", &flag.reason, flag.count));
        balance
            .unknown_columns
            .iter()
            .for_each(|column| note("column left out", column, 0));
        balance
            .failed_sources
            .iter()
            .for_each(|source| note("not read", source, 0));
        if balance.logged > 0 {
            note("logged, settled by another process", "", balance.logged);
        }
        if balance.replaced_characters > 0 {
            note("replaced characters", "", balance.replaced_characters);
        }
    }
    if notes.is_empty() {
        Ok(())
    } else {
        output::print_rows(format, &["feed", "note", "about", "count"], &notes)
    }
}
