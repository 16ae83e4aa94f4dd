//! Commits rows of many epochs of all partitions to the tables, in one commit per table; then trims the outbox.
//!
//! A commit comes when its time has come, when enough bytes wait, or when somebody asks. Until it is done the epochs lie in the outbox,
//! so a crash costs nothing but the work. Files are merged beside this, in one job at a time, which holds up no commit.

use std::path::PathBuf;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use shiyu_log::table::{
    EpochMark, EpochRows, FrozenTables, MergeStop, Merged, NewestRows, Snapshot, TableWriter, TakeOver,
};
use shiyu_log::{LogError, Topic, fault};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::error::FoldError;
use super::handle::FoldOptions;
use super::outbox::OutboxTrimmer;
use super::partition::state_name;
use super::worker::FULL_RETRY;

/// Bytes a unit of the budget stands for.
const UNIT_BYTES: usize = 1024;

/// What reaches the flusher.
#[derive(Debug)]
pub enum Handed {
    /// Rows of one epoch.
    Rows(Box<HandedRows>),
    /// Commit what came before; the answer is the snapshot that shows it.
    Flush(oneshot::Sender<Snapshot>),
    /// Commit what came before, and hold everything while a backup begins.
    Freeze(Box<Freeze>),
    /// From now on only these generations may write rows of their partitions; the answer is how far the tables have them.
    TakeOver(Vec<TakeOver>, oneshot::Sender<Vec<BTreeSet<u64>>>),
}

/// Asks for the tables as they are.
#[derive(Debug)]
pub struct Freeze {
    /// Where to copy what changes in place.
    pub to: PathBuf,
    /// The answer.
    pub frozen: oneshot::Sender<Result<FrozenTables, LogError>>,
    /// Until this is closed no table is committed and no outbox trimmed.
    pub released: oneshot::Receiver<()>,
}

/// Tables that the fold of a topic writes.
pub fn tables_of(topic: Topic) -> &'static [&'static str] {
    match topic {
        Topic::Rejections => &["rejections"],
        Topic::Scores => &["scores"],
        _ => &["events", "case_changes", "cell_changes"],
    }
}

/// Rows of one epoch of one partition.
#[derive(Debug)]
pub struct HandedRows {
    /// Topic that was folded.
    pub topic: Topic,
    /// Its partition.
    pub partition: u32,
    /// Life of the fold.
    pub incarnation: u64,
    /// Generation of the partition's owner; 0 where partitions have no owners.
    pub generation: u64,
    /// Takes the epoch out of the outbox.
    pub trimmer: OutboxTrimmer,
    /// Epoch.
    pub epoch: u64,
    /// The one before it.
    pub after: u64,
    /// Rows by table.
    pub tables: Vec<(&'static str, RecordBatch)>,
    /// Room the rows take; given back when the tables have them.
    pub permit: OwnedSemaphorePermit,
}

impl HandedRows {
    /// As the tables take them. Rows are shared, not copied.
    pub fn epoch_rows(&self) -> EpochRows {
        let mark = EpochMark {
            partition: state_name(self.topic, self.partition),
            incarnation: self.incarnation,
            epoch: self.epoch,
        };
        EpochRows {
            mark,
            after: self.after,
            rows: self.tables.clone(),
        }
    }
}

/// Units of the budget rows take: at most half of it, so that whoever waits knows that a commit is due.
pub fn budget_units(tables: &[(&'static str, RecordBatch)], bytes_max: usize) -> u32 {
    let bytes: usize = tables.iter().map(|(_, batch)| batch.get_array_memory_size()).sum();
    bytes.div_ceil(UNIT_BYTES).clamp(1, budget_total(bytes_max) / 2) as u32
}

/// Units of the whole budget.
pub fn budget_total(bytes_max: usize) -> usize {
    (bytes_max / UNIT_BYTES).max(2)
}

/// Since when the oldest rows wait for the tables; seen by the rest of the hub.
#[derive(Debug, Clone, Default)]
pub struct WaitingSince(Arc<Mutex<Option<Instant>>>);

impl WaitingSince {
    /// The instant, if rows wait.
    pub fn get(&self) -> Option<Instant> {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        // The value is replaced as a whole: a holder that panicked leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Collects rows and commits them.
#[derive(Debug)]
pub struct Flusher {
    tables: TableWriter,
    options: FoldOptions,
    waiting: Vec<HandedRows>,
    waiting_units: usize,
    waiting_since: WaitingSince,
    newest: NewestRows,
    due: Option<Instant>,
    merging: Option<JoinHandle<Result<Option<Merged>, LogError>>>,
    stop_merging: MergeStop,
    keeper: Keeper,
    merging_as: Keeper,
}

/// The partition whose owner keeps the tables up, where several processes write them.
const KEEPER: &str = "events-0";

/// Who keeps the tables up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeper {
    /// This process: it is the only one.
    Alone,
    /// This process: it owns the partition [`KEEPER`], with this generation.
    Owner(u64),
    /// Another process.
    Other,
}

impl Flusher {
    /// Nothing waits yet.
    pub fn new(tables: TableWriter, options: FoldOptions, waiting_since: WaitingSince, newest: NewestRows) -> Self {
        let keeper = if tables.is_shared() {
            Keeper::Other
        } else {
            Keeper::Alone
        };
        Self {
            tables,
            options,
            waiting: Vec::new(),
            waiting_units: 0,
            waiting_since,
            newest,
            due: None,
            merging: None,
            stop_merging: MergeStop::default(),
            keeper,
            merging_as: keeper,
        }
    }

    /// Runs until every sender is gone, commits what is left, and ends.
    pub async fn run(mut self, mut receiver: mpsc::Receiver<Handed>) -> Result<(), FoldError> {
        loop {
            let due = self.due;
            let handed = tokio::select! {
                biased;
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.commit().await?;
                    continue;
                }
                merged = merged(&mut self.merging), if self.merging.is_some() => {
                    self.merging = None;
                    self.keep_up(merged?).await?;
                    continue;
                }
                handed = receiver.recv() => handed,
            };
            match handed {
                Some(Handed::Rows(rows)) => self.take(*rows).await?,
                Some(Handed::Flush(answer)) => {
                    self.commit().await?;
                    // Whoever asked may have gone: nothing is lost by that.
                    drop(answer.send(self.tables.snapshot().clone()));
                }
                Some(Handed::Freeze(freeze)) => {
                    self.commit().await?;
                    let Freeze { to, frozen, released } = *freeze;
                    let answer = self.tables.freeze(&to);
                    if frozen.send(answer).is_ok() {
                        // Closed is all it ever is.
                        let _closed = released.await;
                    }
                }
                Some(Handed::TakeOver(takeovers, answer)) => {
                    // What waits may be of the owner before, in this process: it goes first.
                    self.commit().await?;
                    // Whoever asked may have gone: the tables know the owner all the same.
                    drop(answer.send(self.take_over(takeovers).await?));
                }
                None => {
                    self.commit().await?;
                    return self.end_merging().await;
                }
            }
        }
    }

    async fn take_over(&mut self, takeovers: Vec<TakeOver>) -> Result<Vec<BTreeSet<u64>>, FoldError> {
        let applied = self.tables.take_over(&takeovers).await?;
        if let Some(keeper) = takeovers.iter().find(|takeover| takeover.partition == KEEPER) {
            self.keeper = Keeper::Owner(keeper.generation);
        }
        Ok(applied)
    }

    /// Commits what was merged, and starts the next merge.
    async fn keep_up(&mut self, merged: Option<Merged>) -> Result<(), FoldError> {
        if let Some(merged) = merged
            && let Err(error) = self.apply(merged).await
        {
            if !error.is_full() {
                return Err(error.into());
            }
            tracing::warn!(%error, "files stay unmerged for want of room on the disk");
            self.tables.reopen().await?;
            return Ok(());
        }
        if self.keeper == Keeper::Other {
            return Ok(());
        }
        self.merging_as = self.keeper;
        match self.tables.next_merge(&self.stop_merging)? {
            Some(job) => self.merging = Some(tokio::task::spawn_blocking(move || job.run())),
            None => self.tables.tidy().await?,
        }
        Ok(())
    }

    /// Commits merged files in the name of who this process was when it began to merge them.
    async fn apply(&mut self, merged: Merged) -> Result<(), LogError> {
        let Keeper::Owner(generation) = self.merging_as else {
            return self.tables.apply(merged).await;
        };
        if !self.tables.apply_owned(merged, KEEPER, generation).await? && self.keeper == self.merging_as {
            self.keeper = Keeper::Other;
        }
        Ok(())
    }

    /// A merge that runs is given up; its files go when the tables are tidied.
    async fn end_merging(&mut self) -> Result<(), FoldError> {
        self.stop_merging.stop();
        if let Some(merging) = self.merging.take() {
            // Files that were not merged are read as they are.
            if let Err(error) = merging.await? {
                tracing::warn!(%error, "a merge of files failed");
            }
        }
        Ok(())
    }

    async fn take(&mut self, rows: HandedRows) -> Result<(), FoldError> {
        self.waiting_units += rows.permit.num_permits();
        self.waiting.push(rows);
        self.waiting_since.lock().get_or_insert_with(Instant::now);
        self.due
            .get_or_insert_with(|| Instant::now() + self.options.flush_interval);
        let full = budget_total(self.options.unflushed_bytes_max) / 2;
        if self.waiting_units >= full.min(budget_total(self.options.flush_bytes)) {
            self.commit().await?;
        }
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), FoldError> {
        self.due = None;
        self.waiting_units = 0;
        if self.waiting.is_empty() {
            return Ok(());
        }
        let begun = Instant::now();
        let mut permits = Vec::with_capacity(self.waiting.len());
        let mut epochs = Vec::with_capacity(self.waiting.len());
        let mut rows = Vec::with_capacity(self.waiting.len());
        let mut generations = BTreeMap::new();
        for handed in self.waiting.drain(..) {
            let own = handed.epoch_rows();
            if handed.generation > 0 {
                generations.insert(own.mark.partition.clone(), handed.generation);
            }
            rows.push(own);
            epochs.push((handed.trimmer, handed.epoch));
            permits.push(handed.permit);
        }
        if fault::bug("outbox-trimmed-first") {
            self.trim(epochs.clone()).await?;
        }
        if generations.is_empty() {
            self.commit_rows(&rows).await?;
        } else {
            let lost = self.commit_owned_rows(&rows, &generations).await?;
            if lost.contains(KEEPER) {
                self.keeper = Keeper::Other;
            }
            if !lost.is_empty() {
                tracing::warn!(partitions = ?lost, "another process owns partitions; their rows are not ours to write");
                // They stay in the outbox: the tables do not have them from us.
                epochs.retain(|(trimmer, _): &(OutboxTrimmer, u64)| {
                    let (topic, number) = trimmer.partition();
                    !lost.contains(&state_name(topic, number))
                });
            }
        }
        self.waiting_since.lock().take();
        self.newest.remove(&rows);
        drop(rows);
        drop(permits);
        metrics::histogram!("shiyu_fold_flush_seconds").record(begun.elapsed().as_secs_f64());
        metrics::counter!("shiyu_fold_flushed_epochs").increment(epochs.len() as u64);
        epochs.sort_by_key(|(trimmer, epoch)| (trimmer.partition(), *epoch));
        self.trim(epochs).await?;
        if self.merging.is_none() {
            self.keep_up(None).await?;
        }
        Ok(())
    }

    /// Commits; where the disk is full it waits for room, and asks the tables first whether the failed commit is there.
    async fn commit_rows(&mut self, rows: &[EpochRows]) -> Result<(), FoldError> {
        while let Err(error) = self.tables.commit(rows).await {
            if !error.is_full() {
                return Err(error.into());
            }
            tracing::warn!(%error, "the tables wait for room on the disk");
            tokio::time::sleep(FULL_RETRY).await;
            self.tables.reopen().await?;
        }
        Ok(())
    }

    /// The same for partitions that have owners; returns the partitions others own by now.
    async fn commit_owned_rows(
        &mut self,
        rows: &[EpochRows],
        generations: &BTreeMap<String, u64>,
    ) -> Result<BTreeSet<String>, FoldError> {
        loop {
            match self.tables.commit_owned(rows, generations).await {
                Ok(lost) => return Ok(lost),
                Err(error) if !error.is_full() => return Err(error.into()),
                Err(error) => tracing::warn!(%error, "the tables wait for room on the disk"),
            }
            tokio::time::sleep(FULL_RETRY).await;
            self.tables.reopen().await?;
        }
    }

    async fn trim(&self, epochs: Vec<(OutboxTrimmer, u64)>) -> Result<(), FoldError> {
        tokio::task::spawn_blocking(move || {
            let mut epochs = epochs.into_iter().peekable();
            while let Some((trimmer, epoch)) = epochs.next() {
                let mut own = vec![epoch];
                while let Some((_, epoch)) = epochs.next_if(|(next, _)| next.partition() == trimmer.partition()) {
                    own.push(epoch);
                }
                trimmer.trim(own.into_iter())?;
            }
            Ok(())
        })
        .await?
    }
}

/// The end of the merge that runs.
async fn merged(
    merging: &mut Option<JoinHandle<Result<Option<Merged>, LogError>>>,
) -> Result<Option<Merged>, FoldError> {
    match merging {
        Some(merging) => match merging.await? {
            Err(error) if error.is_full() => {
                tracing::warn!(%error, "files stay unmerged for want of room on the disk");
                Ok(None)
            }
            other => Ok(other?),
        },
        None => std::future::pending().await,
    }
}
