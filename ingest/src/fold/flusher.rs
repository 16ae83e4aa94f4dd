//! Commits rows of many epochs of all partitions to the tables, in one commit per table; then trims the outbox.
//!
//! A commit comes when its time has come, when enough bytes wait, or when somebody asks. Until it is done the epochs lie in the outbox,
//! so a crash costs nothing but the work.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;
use shiyu_log::Topic;
use shiyu_log::table::{EpochMark, EpochRows, Snapshot, TableWriter};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::Instant;

use super::error::FoldError;
use super::handle::FoldOptions;
use super::partition::{OutboxTrimmer, state_name};

/// Bytes a unit of the budget stands for.
const UNIT_BYTES: usize = 1024;

/// What reaches the flusher.
#[derive(Debug)]
pub enum Handed {
    /// Rows of one epoch.
    Rows(Box<HandedRows>),
    /// Commit what came before; the answer is the snapshot that shows it.
    Flush(oneshot::Sender<Snapshot>),
    /// From now on only this generation may write rows of a partition; the answer is how far each table has them.
    TakeOver(TakeOver, oneshot::Sender<BTreeSet<u64>>),
}

/// A partition that changes its owner.
#[derive(Debug, Clone)]
pub struct TakeOver {
    /// Name of the partition's state, e.g. `events-0`.
    pub partition: String,
    /// Life of the fold.
    pub incarnation: u64,
    /// Generation of the new owner.
    pub generation: u64,
    /// Tables its fold writes.
    pub tables: &'static [&'static str],
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
    /// Rows by table.
    pub tables: Vec<(&'static str, RecordBatch)>,
    /// Room the rows take; given back when the tables have them.
    pub permit: OwnedSemaphorePermit,
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

/// Collects rows and commits them.
#[derive(Debug)]
pub struct Flusher {
    tables: TableWriter,
    options: FoldOptions,
    waiting: Vec<HandedRows>,
    waiting_units: usize,
    due: Option<Instant>,
}

impl Flusher {
    /// Nothing waits yet.
    pub fn new(tables: TableWriter, options: FoldOptions) -> Self {
        Self {
            tables,
            options,
            waiting: Vec::new(),
            waiting_units: 0,
            due: None,
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
                handed = receiver.recv() => handed,
            };
            match handed {
                Some(Handed::Rows(rows)) => self.take(*rows).await?,
                Some(Handed::Flush(answer)) => {
                    self.commit().await?;
                    // Whoever asked may have gone: nothing is lost by that.
                    drop(answer.send(self.tables.snapshot().clone()));
                }
                Some(Handed::TakeOver(takeover, answer)) => {
                    // What waits may be of the owner before, in this process: it goes first.
                    self.commit().await?;
                    let TakeOver {
                        partition,
                        incarnation,
                        generation,
                        tables,
                    } = takeover;
                    let applied = self
                        .tables
                        .take_over(&partition, incarnation, generation, tables)
                        .await?;
                    drop(answer.send(applied));
                }
                None => return self.commit().await,
            }
        }
    }

    async fn take(&mut self, rows: HandedRows) -> Result<(), FoldError> {
        self.waiting_units += rows.permit.num_permits();
        self.waiting.push(rows);
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
            epochs.push((handed.trimmer, handed.epoch));
            permits.push(handed.permit);
            let partition = state_name(handed.topic, handed.partition);
            if handed.generation > 0 {
                generations.insert(partition.clone(), handed.generation);
            }
            let mark = EpochMark {
                partition,
                incarnation: handed.incarnation,
                epoch: handed.epoch,
            };
            rows.push(EpochRows {
                mark,
                rows: handed.tables,
            });
        }
        if generations.is_empty() {
            self.tables.commit(&rows).await?;
        } else {
            let lost = self.tables.commit_owned(&rows, &generations).await?;
            if !lost.is_empty() {
                tracing::warn!(partitions = ?lost, "another process owns partitions; their rows are not ours to write");
                // They stay in the outbox: the tables do not have them from us.
                epochs.retain(|(trimmer, _): &(OutboxTrimmer, u64)| {
                    let (topic, number) = trimmer.partition();
                    !lost.contains(&state_name(topic, number))
                });
            }
        }
        drop(rows);
        drop(permits);
        metrics::histogram!("shiyu_fold_flush_seconds").record(begun.elapsed().as_secs_f64());
        metrics::counter!("shiyu_fold_flushed_epochs").increment(epochs.len() as u64);
        epochs.sort_by_key(|(trimmer, epoch)| (trimmer.partition(), *epoch));
        self.trim(epochs).await
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
