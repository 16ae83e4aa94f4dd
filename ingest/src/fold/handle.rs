//! Starts the fold, and what the rest of the hub sees of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use shiyu_log::state::StateStore;
use shiyu_log::table::{FrozenTables, Snapshot, TableWriter};
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

/// The fold of all partitions of `events.v1`, `rejections.v1` and `scores.v1`.
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
        let trimmers = opened.iter().map(|(partition, _)| partition.trimmer()).collect();
        let (sender, receiver) = mpsc::channel(QUEUED_EPOCHS);
        let budget = Arc::new(Semaphore::new(budget_total(options.unflushed_bytes_max)));
        let ending = Arc::new(Ending {
            stop: CancellationToken::new(),
            failure: OnceLock::new(),
        });

        let waiting_since = WaitingSince::default();
        let flusher = Flusher::new(tables, trimmers, options.clone(), waiting_since.clone());
        let flusher = tokio::spawn(watched(ending.clone(), flusher.run(receiver)));
        let mut workers = Vec::new();
        let mut progress = Vec::new();
        for (mut partition, seen) in opened {
            if let Some(poison) = &options.poison {
                partition.isolate_poison(poison)?;
            }
            progress.push(seen.clone());
            let worker = Worker {
                log: log.clone(),
                flusher: sender.clone(),
                budget: budget.clone(),
                progress: seen,
                options: options.clone(),
                stop: ending.stop.clone(),
            };
            workers.push(tokio::spawn(watched(ending.clone(), worker.run(partition))));
        }
        let stop = ending.stop.clone().drop_guard();
        Ok(FoldHandle {
            progress,
            sender,
            ending,
            workers,
            flusher,
            waiting_since,
            _stop: stop,
        })
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
    // A worker that finds the flusher gone says only "stopped": the flusher's own failure is the reason.
    if let Err(error) = result {
        if !matches!(error, FoldError::Stopped) {
            tracing::error!(%error, "the fold failed");
            // The first failure is the reason; later ones follow from it.
            ending.failure.get_or_init(|| error);
        }
        ending.stop.cancel();
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

/// The running fold.
#[derive(Debug)]
pub struct FoldHandle {
    progress: Vec<Arc<Progress>>,
    sender: mpsc::Sender<Handed>,
    ending: Arc<Ending>,
    workers: Vec<JoinHandle<()>>,
    flusher: JoinHandle<()>,
    waiting_since: WaitingSince,
    /// A handle that is dropped stops the fold too.
    _stop: DropGuard,
}

impl FoldHandle {
    fn progress(&self, topic: Topic, partition: u32) -> Result<&Progress, FoldError> {
        self.progress
            .iter()
            .find(|progress| progress.topic() == topic && progress.partition() == partition)
            .map(AsRef::as_ref)
            .ok_or(FoldError::UnknownPartition {
                topic: topic.name(),
                partition,
            })
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
        self.until_end(self.progress(topic, partition)?.reached(offset)).await
    }

    /// Outcomes of events `[first_offset, next_offset)` of a partition, once all are settled. Only recent ones are kept
    /// ([`FoldOptions::outcomes_kept`]).
    pub async fn outcomes(
        &self,
        partition: u32,
        first_offset: u64,
        next_offset: u64,
    ) -> Result<Vec<v1::Outcome>, FoldError> {
        self.settled(Topic::Events, partition, next_offset).await?;
        self.progress(Topic::Events, partition)?
            .outcomes(first_offset, next_offset)
    }

    /// Commits everything applied so far to the tables; the snapshot that shows it is published when this returns. Fails once the fold
    /// has failed.
    pub async fn flush(&self) -> Result<Snapshot, FoldError> {
        if let Some(failure) = self.ending.failure.get() {
            return Err(failure.clone());
        }
        let (answer, answered) = oneshot::channel();
        self.until_end(async {
            self.sender
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
        let (frozen, answered) = oneshot::channel();
        let (release, released) = oneshot::channel();
        self.until_end(async {
            self.sender
                .send(Handed::Freeze(Box::new(Freeze { to, frozen, released })))
                .await
                .map_err(|_closed| FoldError::Stopped)?;
            let tables = answered.await.map_err(|_closed| FoldError::Stopped)??;
            Ok((tables, release))
        })
        .await
    }

    /// Durable totals per feed, over all partitions.
    pub fn counters(&self) -> BTreeMap<String, Counts> {
        let mut counts = FeedCounts::default();
        for progress in &self.progress {
            progress.add_counts(&mut counts);
        }
        counts.feeds
    }

    /// The least watermark of the partitions that have seen events, microseconds since 1970 UTC; none before the first event.
    pub fn watermark_us(&self) -> Option<i64> {
        let events = self
            .progress
            .iter()
            .filter(|progress| progress.topic() == Topic::Events);
        events
            .map(|progress| progress.watermark_us())
            .filter(|watermark| *watermark != i64::MIN)
            .min()
    }

    /// Looks at the fold without waiting for anything.
    pub fn look(&self) -> FoldSeen {
        let applied = self
            .progress
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
    pub async fn shutdown(self) -> Result<(), FoldError> {
        self.ending.stop.cancel();
        for worker in self.workers {
            worker.await?;
        }
        drop(self.sender);
        self.flusher.await?;
        self.ending.failure.get().cloned().map_or(Ok(()), Err)
    }
}
