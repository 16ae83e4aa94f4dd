//! Starts the fold, and what the rest of the hub sees of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use shiyu_log::state::{PartitionState, StateStore};
use shiyu_log::table::{FrozenTables, NewestRows, Snapshot, TableWriter, TakeOver};
use shiyu_log::{EventLog, Topic};
use shiyu_schemas::v1;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::attempt::PoisonOptions;
use super::count::{Counts, FeedCounts};
use super::error::FoldError;
use super::flusher::{Flusher, Freeze, Handed, WaitingSince, budget_total};
use super::partition::{Partition, state_name};
use super::progress::Progress;
use super::worker::Worker;

/// Epochs that may wait in the flusher's queue; their bytes have a bound of their own.
const QUEUED_EPOCHS: usize = 64;

/// What is folded into tables. Changes of counts go to their table with the events they come from.
pub const FOLDED: [Topic; 3] = [Topic::Events, Topic::Rejections, Topic::Scores];

/// Sizes and times of the fold.
#[derive(Debug, Clone)]
pub struct FoldOptions {
    /// Rows wait for the tables at most this long.
    pub flush_interval: Duration,
    /// Bytes of rows that cause a commit of the tables.
    pub flush_bytes: usize,
    /// Bytes of rows that may wait for the tables; at this bound the fold waits.
    pub unflushed_bytes_max: usize,
    /// Least time between the starts of two epochs that had to wait for records: bounds syncs per second.
    pub epoch_interval: Duration,
    /// Records of an epoch, at most.
    pub epoch_records: usize,
    /// Bytes of records of an epoch, about.
    pub epoch_bytes: usize,
    /// Bytes read from the log at once, about.
    pub read_bytes: usize,
    /// Outcomes kept per partition for those who wait for them.
    pub outcomes_kept: usize,
    /// What isolating a record that kills the process needs; without it such a record is tried for ever.
    pub poison: Option<PoisonOptions>,
}

impl Default for FoldOptions {
    fn default() -> Self {
        Self {
            flush_interval: Duration::from_secs(5),
            flush_bytes: 64 << 20,
            unflushed_bytes_max: 128 << 20,
            epoch_interval: Duration::from_millis(20),
            epoch_records: 16_384,
            epoch_bytes: 16 << 20,
            read_bytes: 8 << 20,
            outcomes_kept: 1 << 20,
            poison: None,
        }
    }
}

/// The fold of partitions of `events.v1`, `rejections.v1` and `scores.v1`.
#[derive(Debug, Clone, Copy)]
pub struct Fold;

impl Fold {
    /// Opens every partition's state, sends again what the tables may not have, and goes on folding from where it was.
    pub async fn start(
        log: Arc<dyn EventLog>,
        state: StateStore,
        tables: TableWriter,
        options: FoldOptions,
    ) -> Result<FoldHandle, FoldError> {
        let opened = {
            let (log, kept) = (log.clone(), options.outcomes_kept);
            tokio::task::spawn_blocking(move || open_partitions(log.as_ref(), &state, kept)).await??
        };
        let handle = Self::idle(log, tables, options);
        for (partition, progress) in opened {
            handle.run_partition(partition, progress)?;
        }
        Ok(handle)
    }

    /// A fold that has no partitions yet: they are given to it, and taken away again, while it runs.
    pub fn idle(log: Arc<dyn EventLog>, tables: TableWriter, options: FoldOptions) -> FoldHandle {
        let (sender, receiver) = mpsc::channel(QUEUED_EPOCHS);
        let ending = Arc::new(Ending {
            stop: CancellationToken::new(),
            failure: OnceLock::new(),
        });
        let (waiting_since, newest) = (WaitingSince::default(), NewestRows::default());
        let flusher = Flusher::new(tables, options.clone(), waiting_since.clone(), newest.clone());
        let flusher = tokio::spawn(watched(ending.clone(), flusher.run(receiver)));
        let stop = ending.stop.clone().drop_guard();
        FoldHandle {
            budget: Arc::new(Semaphore::new(budget_total(options.unflushed_bytes_max))),
            log,
            options,
            running: RwLock::default(),
            sender: Mutex::new(Some(sender)),
            ending,
            flusher: Mutex::new(Some(flusher)),
            is_here: true,
            waiting_since,
            newest,
            _stop: stop,
        }
    }
}

impl Fold {
    /// Where another process folds: nothing runs here, and every outcome is somebody else's to tell.
    pub fn elsewhere(log: Arc<dyn EventLog>, options: FoldOptions) -> FoldHandle {
        let stop = CancellationToken::new();
        FoldHandle {
            budget: Arc::new(Semaphore::new(budget_total(options.unflushed_bytes_max))),
            log,
            options,
            running: RwLock::default(),
            sender: Mutex::new(None),
            ending: Arc::new(Ending {
                stop: stop.clone(),
                failure: OnceLock::new(),
            }),
            flusher: Mutex::new(None),
            is_here: false,
            waiting_since: WaitingSince::default(),
            newest: NewestRows::default(),
            _stop: stop.drop_guard(),
        }
    }
}

type Opened = (Partition, Arc<Progress>);

fn open_partitions(log: &dyn EventLog, state: &StateStore, outcomes_kept: usize) -> Result<Vec<Opened>, FoldError> {
    let mut opened = Vec::new();
    for topic in FOLDED {
        for number in 0..log.partitions(topic) {
            let state = state.partition(&state_name(topic, number))?;
            let partition = Partition::open(log, state, topic, number)?;
            let progress = Arc::new(Progress::new(&partition, outcomes_kept)?);
            opened.push((partition, progress));
        }
    }
    Ok(opened)
}

/// How the fold ends.
#[derive(Debug)]
struct Ending {
    stop: CancellationToken,
    failure: OnceLock<FoldError>,
}

impl Ending {
    fn fail(&self, error: FoldError) {
        // A worker that finds the flusher gone says only "stopped": the flusher's own failure is the reason.
        if !matches!(error, FoldError::Stopped) {
            tracing::error!(%error, "the fold failed");
            // The first failure is the reason; later ones follow from it.
            self.failure.get_or_init(|| error);
        }
        self.stop.cancel();
    }

    fn reason(&self) -> FoldError {
        self.failure.get().cloned().unwrap_or(FoldError::Stopped)
    }
}

/// Runs a task of the fold; what fails ends all of them. A task that panics counts as failed.
async fn watched(ending: Arc<Ending>, task: impl Future<Output = Result<(), FoldError>> + Send + 'static) {
    let result = match tokio::spawn(task).await {
        Ok(result) => result,
        Err(error) => Err(error.into()),
    };
    if let Err(error) = result {
        ending.fail(error);
    }
}

/// What can be seen of the fold at one moment.
#[derive(Debug)]
pub struct FoldSeen {
    /// Why it ended, if it did.
    pub ended: Option<FoldError>,
    /// Every partition it folds: topic, number, offset behind the last record applied.
    pub applied: Vec<(Topic, u32, u64)>,
    /// How long the oldest rows wait for the tables.
    pub rows_wait: Duration,
}

/// One partition that is folded.
#[derive(Debug)]
struct Running {
    progress: Arc<Progress>,
    state: PartitionState,
    stop: CancellationToken,
    worker: JoinHandle<()>,
}

/// The running fold.
#[derive(Debug)]
pub struct FoldHandle {
    log: Arc<dyn EventLog>,
    options: FoldOptions,
    budget: Arc<Semaphore>,
    running: RwLock<BTreeMap<(Topic, u32), Running>>,
    sender: Mutex<Option<mpsc::Sender<Handed>>>,
    ending: Arc<Ending>,
    flusher: Mutex<Option<JoinHandle<()>>>,
    is_here: bool,
    waiting_since: WaitingSince,
    newest: NewestRows,
    /// A handle that is dropped stops the fold too.
    _stop: DropGuard,
}

impl FoldHandle {
    /// Folds a partition from where its state is.
    pub fn start_partition(&self, partition: Partition) -> Result<(), FoldError> {
        let progress = Arc::new(Progress::new(&partition, self.options.outcomes_kept)?);
        self.run_partition(partition, progress)
    }

    fn run_partition(&self, mut partition: Partition, progress: Arc<Progress>) -> Result<(), FoldError> {
        let sender = self.sender()?;
        if let Some(poison) = &self.options.poison {
            partition.isolate_poison(poison)?;
        }
        let (state, stop) = (partition.state(), self.ending.stop.child_token());
        let worker = Worker {
            log: self.log.clone(),
            flusher: sender,
            budget: self.budget.clone(),
            progress: progress.clone(),
            newest: self.newest.clone(),
            options: self.options.clone(),
            stop: stop.clone(),
        };
        let key = (partition.topic(), partition.number());
        let worker = tokio::spawn(watched(self.ending.clone(), worker.run(partition)));
        let running = Running {
            progress,
            state,
            stop,
            worker,
        };
        write(&self.running).insert(key, running);
        Ok(())
    }

    /// Ends the fold of a partition between two epochs; everything applied is in the tables when this returns. Its state, if it was
    /// folded here.
    pub async fn stop_partition(&self, topic: Topic, number: u32) -> Result<Option<PartitionState>, FoldError> {
        let Some(running) = write(&self.running).remove(&(topic, number)) else {
            return Ok(None);
        };
        running.progress.moved();
        running.stop.cancel();
        running.worker.await?;
        self.flush().await?;
        Ok(Some(running.state))
    }

    /// The partitions that are folded here, with their states and how far they are.
    pub fn partitions(&self) -> Vec<(Topic, u32, PartitionState, u64)> {
        read(&self.running)
            .iter()
            .map(|(&(topic, number), running)| (topic, number, running.state.clone(), running.progress.applied()))
            .collect()
    }

    /// From now on only these generations write their partitions' rows; returns for each how far the tables have them.
    pub async fn take_over(&self, takeovers: Vec<TakeOver>) -> Result<Vec<BTreeSet<u64>>, FoldError> {
        let sender = self.sender()?;
        let (answer, answered) = oneshot::channel();
        self.until_end(async {
            sender
                .send(Handed::TakeOver(takeovers, answer))
                .await
                .map_err(|_closed| FoldError::Stopped)?;
            answered.await.map_err(|_closed| FoldError::Stopped)
        })
        .await
    }

    /// Ends the fold because of an error.
    pub fn fail(&self, error: FoldError) {
        self.ending.fail(error);
    }

    fn sender(&self) -> Result<mpsc::Sender<Handed>, FoldError> {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        sender.clone().ok_or(FoldError::Stopped)
    }

    fn progress(&self, topic: Topic, partition: u32) -> Result<Arc<Progress>, FoldError> {
        read(&self.running)
            .get(&(topic, partition))
            .map(|running| running.progress.clone())
            .ok_or(FoldError::UnknownPartition {
                topic: topic.name(),
                partition,
            })
    }

    fn all_progress(&self) -> Vec<Arc<Progress>> {
        read(&self.running)
            .values()
            .map(|running| running.progress.clone())
            .collect()
    }

    /// Waits for something of the fold, but not beyond the fold's end.
    async fn until_end<T>(&self, wanted: impl Future<Output = Result<T, FoldError>>) -> Result<T, FoldError> {
        tokio::select! {
            biased;
            result = wanted => match result {
                Err(FoldError::Stopped) => Err(self.ending.reason()),
                other => other,
            },
            () = self.ending.stop.cancelled() => Err(self.ending.reason()),
        }
    }

    /// Waits until every record before `offset` is applied and committed.
    pub async fn settled(&self, topic: Topic, partition: u32, offset: u64) -> Result<(), FoldError> {
        let progress = self.progress(topic, partition)?;
        self.until_end(progress.reached(offset)).await
    }

    /// Outcomes of events `[first_offset, next_offset)` of a partition, once all are settled. Only recent ones are kept
    /// ([`FoldOptions::outcomes_kept`]).
    pub async fn outcomes(
        &self,
        partition: u32,
        first_offset: u64,
        next_offset: u64,
    ) -> Result<Vec<v1::Outcome>, FoldError> {
        let progress = self.progress(Topic::Events, partition)?;
        self.until_end(progress.reached(next_offset)).await?;
        progress.outcomes(first_offset, next_offset)
    }

    /// Commits everything applied so far in this process to the tables; the snapshot that shows it is published when this returns. Fails once the fold
    /// has failed.
    pub async fn flush(&self) -> Result<Snapshot, FoldError> {
        if let Some(failure) = self.ending.failure.get() {
            return Err(failure.clone());
        }
        if !self.is_here {
            return Ok(Snapshot::default());
        }
        let sender = self.sender()?;
        let (answer, answered) = oneshot::channel();
        self.until_end(async {
            sender
                .send(Handed::Flush(answer))
                .await
                .map_err(|_closed| FoldError::Stopped)?;
            answered.await.map_err(|_closed| FoldError::Stopped)
        })
        .await
    }

    /// Commits everything applied so far, copies what of the tables changes in place to `to`, and holds tables and outbox as they are until
    /// the second value is dropped: a state snapshot taken meanwhile fits the tables.
    pub async fn freeze(&self, to: PathBuf) -> Result<(FrozenTables, oneshot::Sender<()>), FoldError> {
        if let Some(failure) = self.ending.failure.get() {
            return Err(failure.clone());
        }
        let sender = self.sender()?;
        let (frozen, answered) = oneshot::channel();
        let (release, released) = oneshot::channel();
        self.until_end(async {
            sender
                .send(Handed::Freeze(Box::new(Freeze { to, frozen, released })))
                .await
                .map_err(|_closed| FoldError::Stopped)?;
            let tables = answered.await.map_err(|_closed| FoldError::Stopped)??;
            Ok((tables, release))
        })
        .await
    }

    /// The epochs folded here that are not in the tables yet.
    pub fn newest(&self) -> NewestRows {
        self.newest.clone()
    }

    /// Durable totals per feed, over all partitions.
    pub fn counters(&self) -> BTreeMap<String, Counts> {
        let mut counts = FeedCounts::default();
        for progress in self.all_progress() {
            progress.add_counts(&mut counts);
        }
        counts.feeds
    }

    /// The least watermark of the partitions that have seen events, microseconds since 1970 UTC; none before the first event.
    pub fn watermark_us(&self) -> Option<i64> {
        self.all_progress()
            .iter()
            .filter(|progress| progress.topic() == Topic::Events)
            .map(|progress| progress.watermark_us())
            .filter(|watermark| *watermark != i64::MIN)
            .min()
    }

    /// Looks at the fold without waiting for anything.
    pub fn look(&self) -> FoldSeen {
        let progress = self.all_progress();
        let applied = progress
            .iter()
            .map(|progress| (progress.topic(), progress.partition(), progress.applied()));
        FoldSeen {
            ended: self.ending.stop.is_cancelled().then(|| self.ending.reason()),
            applied: applied.collect(),
            rows_wait: self.waiting_since.get().map_or(Duration::ZERO, |since| since.elapsed()),
        }
    }

    /// Waits until the fold ends by itself, and says why.
    pub async fn ended(&self) -> FoldError {
        self.ending.stop.cancelled().await;
        self.ending.reason()
    }

    /// Ends the workers between two epochs, commits what they handed over, and returns the failure that ended the fold, if any.
    pub async fn shutdown(&self) -> Result<(), FoldError> {
        self.ending.stop.cancel();
        let running = std::mem::take(&mut *write(&self.running));
        for running in running.into_values() {
            running.worker.await?;
        }
        drop(self.sender.lock().unwrap_or_else(PoisonError::into_inner).take());
        let flusher = self.flusher.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(flusher) = flusher {
            flusher.await?;
        }
        self.ending.failure.get().cloned().map_or(Ok(()), Err)
    }
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
