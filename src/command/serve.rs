//! `shiyu serve`: everything of a city in one process, analysts' SQL in a second one.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use shiyu_ingest::hub::{Hub, LogChoice, Roles};
use shiyu_log::table::Snapshot;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::load::hub_options;
use crate::cli::{AddressArgs, ServeArgs};
use crate::disk;
use crate::exit::{Exit, Failure, OrExit as _};
use crate::folder::{CityFolder, data_dir};
use crate::newest;
use crate::readiness::Readiness;
use crate::reserve::Reserve;
use crate::serving::{ServeAddresses, access_of, engine_of, serve_grpc, serve_http};
use crate::signals::Signals;

const TRIM_EVERY: Duration = Duration::from_mins(1);
/// Time to end well; with what the program's own end may take, ten seconds.
const STOP_WITHIN: Duration = Duration::from_secs(8);
/// Time before folders are watched again that a full disk interrupted.
const WATCH_AGAIN: Duration = Duration::from_secs(1);

/// Serves until a signal.
pub(crate) async fn run(given: Option<&Path>, args: ServeArgs) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let folder = CityFolder::load(&args.city, &[])?;
    super::check_roles(&args.log, args.roles == Roles::ALL)?;
    let data_dir = data_dir(given, &folder.city.config.city)?;
    match serve(&folder, &data_dir, &args, &mut signals).await {
        Err(failure) if disk::waits_for_room(&failure, &data_dir) => {
            Err(disk::restart_when_there_is_room(failure, &data_dir, &mut signals).await)
        }
        ended => ended,
    }
}

async fn serve(folder: &CityFolder, data_dir: &Path, args: &ServeArgs, signals: &mut Signals) -> Result<(), Failure> {
    let Some(started) = signals.unless_received(start(folder, data_dir, args)).await else {
        tracing::info!("told to end before anything was served");
        return Ok(());
    };
    let serving = started?;
    serving.print();
    serving.until_signal(signals).await
}

async fn start(folder: &CityFolder, data_dir: &Path, args: &ServeArgs) -> Result<Serving, Failure> {
    if args.log_keep.is_some() && args.log.log != LogChoice::Local {
        return Err(Failure::new(
            Exit::Config,
            anyhow!("--log-keep is for the embedded log; for Kafka give retention_days in --log"),
        ));
    }
    let options = hub_options(folder, data_dir.to_owned(), args.log.clone(), args.roles);
    let hub = Hub::open(options).await.map_err(super::hub_failure)?;
    let mut serving = Serving::start(hub, folder, &args.addresses, args.sql_memory).await?;
    if let Some(log_keep) = args.log_keep {
        serving.trim_log(log_keep << 20);
    }
    Ok(serving)
}

/// A hub that serves.
pub(crate) struct Serving {
    hub: Arc<Hub>,
    reserve: Reserve,
    /// Where its doors are.
    pub(crate) addresses: ServeAddresses,
    stop: CancellationToken,
    tasks: JoinSet<anyhow::Result<()>>,
    /// Answers analysts' SQL; none without the role query.
    worker: Option<Child>,
}

impl Serving {
    /// Opens all doors and starts the connectors that watch.
    pub(crate) async fn start(
        hub: Hub,
        folder: &CityFolder,
        addresses: &AddressArgs,
        sql_memory: u64,
    ) -> Result<Self, Failure> {
        let (tls, access) = access_of(addresses)?;
        let metrics = metrics_exporter_prometheus::PrometheusBuilder::new()
            .install_recorder()
            .or_exit(Exit::Software)?;
        let hub = Arc::new(hub);
        let reserve = Reserve::keep(hub.data_dir());
        // The tables must be there before the worker opens them.
        hub.flush().await.map_err(super::hub_failure)?;
        let grpc = bind(addresses.grpc).await?;
        let http = bind(addresses.http).await?;
        let stop = CancellationToken::new();
        let mut tasks: JoinSet<anyhow::Result<()>> = JoinSet::new();
        let (mut worker, mut board) = (None, None);
        let mut bound = ServeAddresses {
            pid: std::process::id(),
            grpc: grpc.local_addr().or_exit(Exit::Unavailable)?,
            flight: addresses.flight,
            postgres: addresses.postgres,
            http: http.local_addr().or_exit(Exit::Unavailable)?,
        };
        if hub.roles().query {
            wait_for_tables(hub.data_dir()).await?;
            let engine = engine_of(&hub).await.or_exit(Exit::Config)?;
            board = Some(engine.board());
            let engine_stop = stop.clone();
            tasks.spawn(async move { Ok(engine.run(engine_stop).await?) });
            let started = start_worker(hub.data_dir(), folder, addresses, sql_memory)
                .await
                .or_exit(Exit::Unavailable)?;
            (bound.flight, bound.postgres) = (started.flight, started.postgres);
            worker = Some(started.process);
            let (newest, worker_stop) = (hub.fold().newest(), stop.clone());
            tasks.spawn(async move {
                // Whoever waits for the worker says that it ended.
                if let Err(error) = newest::answer(newest, started.output, started.input, worker_stop).await {
                    tracing::warn!(%error, "cannot talk to the SQL worker");
                }
                Ok(())
            });
        }
        bound.write(hub.data_dir()).or_exit(Exit::Io)?;
        tasks.spawn(serve_grpc(hub.clone(), board, grpc, tls, access, stop.clone()));
        let readiness = Arc::new(Readiness::new(&hub, worker.is_some().then_some(bound.postgres)));
        tasks.spawn(serve_http(http, metrics, readiness, stop.clone()));
        // A hub whose fold is dead would acknowledge what no table ever shows: better it ends.
        let (folding, fold_stop) = (hub.clone(), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = fold_stop.cancelled() => Ok(()),
                failure = folding.fold().ended() => Err(failure.into()),
            }
        });
        // So must a hub whose log has failed: after a failed sync nobody knows what is on disk.
        let (log, log_stop) = (hub.log(), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = log_stop.cancelled() => Ok(()),
                failure = log.failed() => Err(failure.into()),
            }
        });
        let (watching, watch_stop) = (hub.clone(), stop.clone());
        tasks.spawn(async move { watch(&watching, &watch_stop).await });
        Ok(Self {
            hub,
            reserve,
            addresses: bound,
            stop,
            tasks,
            worker,
        })
    }

    /// Trims the log now and then.
    fn trim_log(&mut self, bytes_kept: u64) {
        let (hub, stop) = (self.hub.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            let mut due = tokio::time::interval(TRIM_EVERY);
            loop {
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    _now = due.tick() => {
                        hub.trim(bytes_kept).await?;
                    }
                }
            }
        });
    }

    /// Prints the addresses and a sample question.
    pub(crate) fn print(&self) {
        let ServeAddresses {
            grpc,
            flight,
            postgres,
            http,
            ..
        } = &self.addresses;
        let city = &self.hub.city().config;
        super::print_line(&format!(
            "{} is served{}\n  gRPC         http://{grpc}   shiyu watch risk --address http://{grpc}\n  Flight SQL   grpc://{flight}\n  PostgreSQL   psql -h {} -p {} shiyu\n  HTTP         http://{http}/metrics\n  sample SQL   SELECT category, sum(count) AS cases FROM cells GROUP BY category ORDER BY cases DESC LIMIT 10",
            city.title,
            if city.simulated { " (simulated data)" } else { "" },
            postgres.ip(),
            postgres.port(),
        ));
    }

    /// Serves until a signal, or until a part fails; then drains.
    pub(crate) async fn until_signal(mut self, signals: &mut Signals) -> Result<(), Failure> {
        let ended = tokio::select! {
            () = signals.received() => Ok(()),
            status = ended(&mut self.worker) => Err(anyhow!("the SQL worker ended: {status:?}")),
            failed = first_failure(&mut self.tasks) => Err(failed),
        };
        if let Err(error) = ended {
            let exit = disk::exit_of(error.as_ref()).unwrap_or(Exit::Software);
            if matches!(exit, Exit::Io | Exit::TryLater) {
                // Draining would write to a disk that has failed.
                if let Some(worker) = &mut self.worker {
                    drop(worker.kill().await);
                }
            } else if let Err(failure) = self.stop().await {
                // Why it ended is the news; that it did not end well follows from it.
                tracing::warn!(error = %failure.error, "not everything ended well");
            }
            return Err(Failure::new(exit, error));
        }
        self.stop().await
    }

    /// Stops the doors, commits what is in flight, closes the data folder.
    pub(crate) async fn stop(mut self) -> Result<(), Failure> {
        let deadline = tokio::time::Instant::now() + STOP_WITHIN;
        self.reserve.spend_if_full();
        // That closes the worker's standard input, which ends it.
        self.stop.cancel();
        let drained = tokio::time::timeout_at(deadline, async {
            while let Some(ended) = self.tasks.join_next().await {
                if let Ok(Err(error)) = ended {
                    tracing::warn!(%error, "a part ended badly");
                }
            }
            if let Some(worker) = &mut self.worker {
                let _status = worker.wait().await;
            }
        })
        .await;
        if drained.is_err() {
            return Err(Failure::new(
                Exit::TryLater,
                anyhow!("not everything ended in time; nothing acknowledged is lost"),
            ));
        }
        match Arc::try_unwrap(self.hub) {
            Ok(hub) => match tokio::time::timeout_at(deadline, hub.close()).await {
                Ok(closed) => closed.map_err(super::hub_failure),
                Err(_elapsed) => Err(Failure::new(
                    Exit::TryLater,
                    anyhow!("log or tables do not take what is under way; nothing acknowledged is lost"),
                )),
            },
            Err(_shared) => Err(Failure::new(
                Exit::TryLater,
                anyhow!("the hub is still in use; nothing acknowledged is lost"),
            )),
        }
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen at {address}; give another address, or port 0"))
        .or_exit(Exit::Unavailable)
}

/// Waits for the worker's end; for ever where there is none.
async fn ended(worker: &mut Option<Child>) -> std::io::Result<std::process::ExitStatus> {
    match worker {
        Some(worker) => worker.wait().await,
        None => std::future::pending().await,
    }
}

/// Waits until a process with the role ingest has made the tables.
async fn wait_for_tables(data_dir: &Path) -> Result<(), Failure> {
    let root = data_dir.join("tables");
    let mut told = false;
    while Snapshot::read(&root).or_exit(Exit::Io)?.is_none() {
        if !told {
            tracing::info!(folder = %root.display(), "waiting for a process with the role ingest to make the tables");
            told = true;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

async fn first_failure(tasks: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Error {
    loop {
        match tasks.join_next().await {
            Some(Ok(Ok(()))) => {}
            Some(Ok(Err(error))) => return error,
            Some(Err(error)) => return error.into(),
            None => std::future::pending().await,
        }
    }
}

/// Reads the feeds whose connectors watch, until `stop`.
async fn watch(hub: &Hub, stop: &CancellationToken) -> anyhow::Result<()> {
    if !hub.roles().connect {
        return Ok(());
    }
    let feeds: Vec<String> = hub
        .city()
        .feeds
        .iter()
        .filter(|feed| feed.manifest.connector.with.get("watch") == Some(&serde_json::Value::Bool(true)))
        .map(|feed| feed.manifest.feed.clone())
        .collect();
    if feeds.is_empty() {
        return Ok(());
    }
    loop {
        match hub.load(&feeds, &[], true, stop, &|_progress| {}).await {
            Ok(_balances) => return Ok(()),
            Err(error) if disk::exit_of(&error) == Some(Exit::TryLater) => {
                tracing::warn!(%error, "the watched folders wait for room on the disk");
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    () = tokio::time::sleep(WATCH_AGAIN) => {}
                }
            }
            Err(error) => {
                // The doors stay open: pushes and loads do not need the folders that are watched.
                tracing::error!(%error, "cannot watch the feeds' folders");
                return Ok(());
            }
        }
    }
}

/// The process that answers analysts' SQL.
struct Worker {
    process: Child,
    /// It ends when this closes; `Child::wait` would close it at once.
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    flight: SocketAddr,
    postgres: SocketAddr,
}

/// Starts the process that answers analysts' SQL, and waits for its addresses.
async fn start_worker(
    data_dir: &Path,
    folder: &CityFolder,
    addresses: &AddressArgs,
    sql_memory: u64,
) -> anyhow::Result<Worker> {
    let program: PathBuf = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(program);
    command
        .arg("--data-dir")
        .arg(data_dir)
        .arg("sql-worker")
        .arg("--city")
        .arg(&folder.path);
    command
        .arg("--flight")
        .arg(addresses.flight.to_string())
        .arg("--postgres")
        .arg(addresses.postgres.to_string());
    command.arg("--sql-memory").arg(sql_memory.to_string());
    if let Some(data) = folder.variables.get("CITY_DATA") {
        command.arg("--var").arg(format!("CITY_DATA={data}"));
    }
    for (flag, file) in [
        ("--tls-cert", &addresses.tls_cert),
        ("--tls-key", &addresses.tls_key),
        ("--tokens", &addresses.tokens),
    ] {
        if let Some(file) = file {
            command.arg(flag).arg(file);
        }
    }
    let mut process = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start the SQL worker")?;
    let input = process.stdin.take().context("the SQL worker has no input")?;
    let output = process.stdout.take().context("the SQL worker has no output")?;
    let (mut line, mut output) = (String::new(), BufReader::new(output));
    output.read_line(&mut line).await?;
    let Some((flight, postgres)) = line.trim().split_once(' ') else {
        bail!("the SQL worker ended before it served; its reason stands above");
    };
    Ok(Worker {
        flight: flight.parse()?,
        postgres: postgres.parse()?,
        process,
        input,
        output,
    })
}
