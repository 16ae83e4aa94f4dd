//! The hub's intake: from a connector's delivery, through the door, into the log, settled by the fold.
//!
//! In reading order:
//! - [`clock`]: the wall clock, read once, here
//! - [`ground`]: which log a hub stands on
//! - [`balance`]: every record read has one outcome
//! - [`pipeline`]: deliveries of one feed into the log, and their outcomes back
//! - [`push`]: pushed JSON as a delivery
//! - [`positions`]: how far each source has been read
//! - `share`: partitions of the fold that processes take over from one another
//! - [`key`]: the key that seals originals of rejected records
//! - [`backup`]: all a hub needs to go on, in a folder; and a hub made of one
//! - [`rebuild`]: state and tables folded again from the log
//! - [`revisions`]: what the city folder held when records were mapped
//! - `rejected`: rejections, read back from the log
//! - `trim`: old segments go, behind everybody who may need them
//! - [`service`]: gRPC `IntakeService` over all this
//!
//! [`Hub`] puts them together and owns the data folder.

pub mod backup;
pub mod balance;
pub mod clock;
pub mod error;
pub mod ground;
pub mod key;
pub mod pipeline;
pub mod positions;
pub mod push;
pub mod rebuild;
mod rejected;
pub mod revisions;
pub mod service;
mod share;
mod trim;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use shiyu_connectors::OpenContext;
use shiyu_log::local::LocalLog;
use shiyu_log::lock::DataFolder;
use shiyu_log::state::StateStore;
use shiyu_log::table::{Snapshot, TableWriter};
use shiyu_log::{EventLog, LogError, Topic};
use shiyu_schemas::city::City;
use shiyu_schemas::table::STORED;
use shiyu_schemas::v1;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

pub use balance::FeedBalance;
pub use clock::{Clock, SystemClock};
pub use error::HubError;
pub use ground::LogChoice;

use backup::BackupManifest;

use crate::door::{Door, Sealer};
use crate::fold::attempt::PoisonOptions;
use crate::fold::{Fold, FoldError, FoldHandle, FoldOptions};
use ground::Ground;
use pipeline::{Pipeline, Progress};
use positions::Positions;
use share::Keeping;

/// What a process does of a city's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// Takes records, and puts them into the log.
    pub connect: bool,
    /// Folds the log into the tables.
    pub ingest: bool,
    /// Answers questions and scores.
    pub query: bool,
}

impl Roles {
    /// Everything.
    pub const ALL: Self = Self {
        connect: true,
        ingest: true,
        query: true,
    };
}

/// Settings of a hub.
#[derive(Debug, Clone)]
pub struct HubOptions {
    /// Folder that holds everything.
    pub data_dir: PathBuf,
    /// The city.
    pub city: Arc<City>,
    /// The city's folder, against which relative paths are taken.
    pub city_folder: PathBuf,
    /// Values of `${NAME}` in connectors' settings.
    pub variables: BTreeMap<String, String>,
    /// Where the log is.
    pub log: LogChoice,
    /// What this process does.
    pub roles: Roles,
    /// Folder that all processes of a city read and write: tables, snapshots of the fold's state, keys. None: this is the only process.
    pub shared: Option<PathBuf>,
    /// Partitions of a new embedded log; an old one keeps its own.
    pub partitions: u32,
    /// How often tables are committed.
    pub flush_interval: Duration,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Hub")
            .field("data_dir", &self.data_dir())
            .finish_non_exhaustive()
    }
}

/// Owns the data folder: log, fold, tables, doors.
pub struct Hub {
    options: HubOptions,
    log: Arc<dyn EventLog>,
    /// The same, where it is the embedded one.
    embedded: Option<Arc<LocalLog>>,
    /// None where another process folds.
    state: Option<StateStore>,
    fold: Arc<FoldHandle>,
    keeping: Keeping,
    sealer: Arc<dyn Sealer>,
    doors: BTreeMap<String, Arc<Door>>,
    positions: Mutex<Positions>,
    /// The lock on the folder is held as long as this lives.
    folder: DataFolder,
}

impl Hub {
    /// Opens the data folder (or makes it), starts the fold.
    pub async fn open(options: HubOptions) -> Result<Self, HubError> {
        let city = &options.city.config.city;
        let mut folder = DataFolder::open(&options.data_dir, city, options.partitions)?;
        rebuild::clear(&options.data_dir)?;
        if let Some(shared) = &options.shared {
            ground::share_tables(&options.data_dir, shared)?;
        }
        let sealer = key::sealer(options.shared.as_ref().unwrap_or(&options.data_dir))?;
        let doors = if options.roles.connect {
            doors_of(&options, &sealer)?
        } else {
            BTreeMap::new()
        };
        let ground = options.log.open(&options.data_dir, city, &mut folder).await?;
        let log = ground.log();
        if options.roles.connect {
            revisions::record(log.as_ref(), &options).await?;
        }
        let (fold, keeping, state) = fold_of(&options, &ground, &sealer).await?;
        let positions = if options.roles.connect {
            Positions::read(log.as_ref()).await?
        } else {
            Positions::default()
        };
        Ok(Self {
            options,
            log,
            embedded: ground.embedded(),
            state,
            fold,
            sealer,
            keeping,
            doors,
            positions: Mutex::new(positions),
            folder,
        })
    }

    /// Opens the data folder, unless a rebuild of it has begun.
    async fn open_unless_marked(options: &HubOptions) -> Result<Option<Self>, HubError> {
        if rebuild::is_marked(&options.data_dir) {
            return Ok(None);
        }
        Self::open(options.clone()).await.map(Some)
    }

    /// Writes a backup of everything applied so far to `to`, an empty or missing folder, while the hub goes on.
    pub async fn backup(&self, to: &Path) -> Result<BackupManifest, HubError> {
        let to = std::path::absolute(to).map_err(|source| LogError::Io {
            action: "name",
            path: to.to_owned(),
            source,
        })?;
        let (Some(log), Some(state)) = (self.embedded.clone(), &self.state) else {
            return Err(HubError::EmbeddedOnly { what: "make a backup" });
        };
        backup::make_empty(&to)?;
        let (tables, held) = self.fold.freeze(to.join("tables")).await?;
        let state = state.snapshot();
        drop(held);
        let data_dir = self.data_dir().to_owned();
        let (city, keys) = (self.options.city.config.city.clone(), vec![self.sealer.key_id()]);
        let created_at_us = self.now_us();
        let writing = tokio::task::spawn_blocking(move || {
            let source = backup::Source {
                data_dir: &data_dir,
                city: &city,
                log: &log,
                state: &state,
                tables: &tables,
                keys,
                created_at_us,
            };
            backup::write(&source, &to)
        });
        writing.await?
    }

    /// What this process does.
    pub fn roles(&self) -> Roles {
        self.options.roles
    }

    /// The log.
    pub fn log(&self) -> Arc<dyn EventLog> {
        self.log.clone()
    }

    /// The fold.
    pub fn fold(&self) -> &FoldHandle {
        &self.fold
    }

    /// The city.
    pub fn city(&self) -> &Arc<City> {
        &self.options.city
    }

    /// The data folder.
    pub fn data_dir(&self) -> &Path {
        self.folder.path()
    }

    /// Microseconds since 1970 UTC by the hub's clock.
    pub fn now_us(&self) -> i64 {
        self.options.clock.now_us()
    }

    /// Reads the feeds' sources once (`watch` false) or until `stop`, and returns the balance of each feed.
    ///
    /// `feeds` empty: all. `inputs` empty: the manifests' own. A source that cannot be read is told in the balance; the others go on.
    pub async fn load(
        &self,
        feeds: &[String],
        inputs: &[PathBuf],
        watch: bool,
        stop: &CancellationToken,
        progress: &Progress,
    ) -> Result<BTreeMap<String, FeedBalance>, HubError> {
        self.takes_records()?;
        let wanted = self.wanted(feeds)?;
        let mut balances = BTreeMap::new();
        if watch {
            // Watching never ends by itself: all feeds at once.
            let runs = wanted.into_iter().map(|name| async move {
                let balance = self.load_feed(&name, inputs, true, stop, progress).await?;
                Ok::<_, HubError>((name, balance))
            });
            balances.extend(futures::future::try_join_all(runs).await?);
        } else {
            for name in wanted {
                let balance = self.load_feed(&name, inputs, false, stop, progress).await?;
                balances.insert(name, balance);
            }
        }
        if !inputs.is_empty() && balances.values().all(|balance| balance.sources == 0) {
            return Err(self.nothing_to_read(inputs, balances.keys()));
        }
        Ok(balances)
    }

    fn nothing_to_read<'a>(&self, inputs: &[PathBuf], feeds: impl Iterator<Item = &'a String>) -> HubError {
        let quoted: Vec<String> = inputs.iter().map(|input| format!("\"{}\"", input.display())).collect();
        let patterns = feeds.map(|name| match self.feed(name).manifest.connector.with.get("paths") {
            Some(paths) => format!("{name} {paths}"),
            None => format!("{name} has no files"),
        });
        HubError::NothingToRead {
            inputs: quoted.join(", "),
            patterns: patterns.collect::<Vec<_>>().join(", "),
        }
    }

    /// Whether other processes may fold what this one appends.
    fn folds_elsewhere(&self) -> bool {
        self.options.shared.is_some() || !self.options.roles.ingest
    }

    fn takes_records(&self) -> Result<(), HubError> {
        if self.options.roles.connect {
            Ok(())
        } else {
            Err(HubError::NotHere { role: "connect" })
        }
    }

    fn wanted(&self, feeds: &[String]) -> Result<Vec<String>, HubError> {
        if feeds.is_empty() {
            return Ok(self.doors.keys().cloned().collect());
        }
        for feed in feeds {
            if !self.doors.contains_key(feed) {
                let known = self.doors.keys().cloned().collect::<Vec<_>>().join(", ");
                return Err(HubError::UnknownFeed {
                    feed: feed.clone(),
                    known,
                });
            }
        }
        Ok(feeds.to_vec())
    }

    async fn load_feed(
        &self,
        name: &str,
        inputs: &[PathBuf],
        watch: bool,
        stop: &CancellationToken,
        progress: &Progress,
    ) -> Result<FeedBalance, HubError> {
        let door = &self.doors[name];
        let manifest = &self.feed(name).manifest;
        let connector = shiyu_connectors::find(&manifest.connector.kind, name)?;
        let context = OpenContext {
            variables: self.options.variables.clone(),
            inputs: inputs.to_vec(),
            city_folder: self.options.city_folder.clone(),
            positions: self.positions.lock().await.of(name),
            watch,
            batch_rows: pipeline::BATCH_ROWS,
            stop: stop.clone(),
        };
        let reader = connector.open(manifest, context)?;
        let sources = reader.source_count();
        let balance = self.pipeline(name, door).run(reader, &self.positions, progress).await?;
        Ok(FeedBalance { sources, ..balance })
    }

    fn feed(&self, name: &str) -> &shiyu_schemas::city::Feed {
        self.options
            .city
            .feeds
            .iter()
            .find(|feed| feed.manifest.feed == name)
            .expect("a door stands only for a feed of the city")
    }

    fn pipeline<'a>(&'a self, name: &'a str, door: &'a Arc<Door>) -> Pipeline<'a> {
        Pipeline {
            feed: name,
            door,
            log: self.log.as_ref(),
            fold: &self.fold,
            shared: self.folds_elsewhere(),
            clock: &self.options.clock,
        }
    }

    /// Takes pushed records; the receipts are in the records' order.
    pub async fn push(&self, request: &v1::PushRequest) -> Result<Vec<v1::Receipt>, HubError> {
        self.takes_records()?;
        let Some((name, door)) = self.doors.get_key_value(&request.feed) else {
            let known = self.doors.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(HubError::UnknownFeed {
                feed: request.feed.clone(),
                known,
            });
        };
        let source = match request.idempotency_key.as_str() {
            "" => format!("push:{}", self.now_us()),
            key => format!("push:{key}"),
        };
        let delivery = push::delivery_of(&self.feed(name).manifest.record, &source, &request.records);
        self.pipeline(name, door)
            .push(delivery, request.wait() == v1::Wait::Settled)
            .await
    }

    /// Waits until what the log holds now is applied: also what a run before this one logged and, killed, did not fold. Where several
    /// processes share the log: of the partitions that are folded here.
    pub async fn settle(&self) -> Result<(), HubError> {
        for topic in [Topic::Events, Topic::Rejections] {
            for partition in 0..self.log.partitions(topic) {
                let (_, end) = self.log.range(topic, partition);
                match self.fold.settled(topic, partition, end).await {
                    Err(FoldError::UnknownPartition { .. }) if self.folds_elsewhere() => {}
                    other => other?,
                }
            }
        }
        Ok(())
    }

    /// Everything applied so far is in the tables when this returns.
    pub async fn flush(&self) -> Result<Snapshot, HubError> {
        Ok(self.fold.flush().await?)
    }

    /// Stops the fold behind what it has read, commits the tables, closes the log.
    pub async fn close(self) -> Result<(), HubError> {
        self.fold.flush().await?;
        self.keeping.end().await;
        self.fold.shutdown().await?;
        self.log.close();
        drop(self.folder);
        Ok(())
    }
}

fn doors_of(options: &HubOptions, sealer: &Arc<dyn Sealer>) -> Result<BTreeMap<String, Arc<Door>>, HubError> {
    let doors = options.city.feeds.iter().map(|feed| {
        let door = Door::compile(feed, &options.city, sealer.clone()).map_err(HubError::City)?;
        Ok((feed.manifest.feed.clone(), Arc::new(door)))
    });
    doors.collect()
}

type Folding = (Arc<FoldHandle>, Keeping, Option<StateStore>);

/// Starts the fold, of all partitions, or of those that the group of processes gives to this one.
async fn fold_of(options: &HubOptions, ground: &Ground, sealer: &Arc<dyn Sealer>) -> Result<Folding, HubError> {
    let attempts = match &options.shared {
        // Attempts move with their partition: a record that kills one owner kills the next one too.
        Some(shared) => shared.join("attempts"),
        None => options.data_dir.join("run").join("attempts"),
    };
    let fold_options = FoldOptions {
        flush_interval: options.flush_interval,
        poison: Some(PoisonOptions {
            folder: attempts,
            sealer: sealer.clone(),
        }),
        ..FoldOptions::default()
    };
    let log = ground.log();
    if !options.roles.ingest {
        return Ok((Arc::new(Fold::elsewhere(log, fold_options)), Keeping::default(), None));
    }
    let state = StateStore::open(&options.data_dir.join("state"))?;
    let tables = options.data_dir.join("tables");
    let Ground::Kafka(kafka) = ground else {
        let tables = TableWriter::open(&tables, STORED).await?;
        let fold = Fold::start(log, state.clone(), tables, fold_options).await?;
        return Ok((Arc::new(fold), Keeping::default(), Some(state)));
    };
    let tables = TableWriter::open_shared(&tables, STORED).await?;
    let fold = Arc::new(Fold::idle(log.clone(), tables, fold_options));
    let (_, cells_end) = log.range(Topic::Cells, 0);
    let keeper = share::Keeper {
        log,
        fold: fold.clone(),
        state: state.clone(),
        snapshots: options.shared.as_ref().unwrap_or(&options.data_dir).join("snapshots"),
        shared: options.shared.is_some(),
        generations: Arc::default(),
        watched: Arc::new(tokio::sync::watch::Sender::new(cells_end)),
    };
    let keeping = keeper.start(kafka).await?;
    Ok((fold, keeping, Some(state)))
}
