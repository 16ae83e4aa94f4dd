//! Drives one partition: read from its own offset, apply, commit; then the effects that may be repeated.
//!
//! After the commit of epoch n, in this order: its changes of counts go to `cells.v1`, its rows to the flusher, its offset to those who
//! wait. What a crash leaves undone lies in the outbox and is done again at the next start; readers drop an epoch they have seen.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use shiyu_log::table::NewestRows;
use shiyu_log::{EventLog, LogError, ReadBatch, Records, Topic, fault};
use shiyu_schemas::v1;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::epoch::EpochRecord;
use super::error::FoldError;
use super::flusher::{Handed, HandedRows, budget_units};
use super::handle::FoldOptions;
use super::partition::{Epoch, Partition};
use super::progress::Progress;

/// Time between two tries where the disk is full.
pub(super) const FULL_RETRY: Duration = Duration::from_millis(500);

/// What a worker works with.
#[derive(Debug)]
pub struct Worker {
    /// Where events come from and changes of counts go.
    pub log: Arc<dyn EventLog>,
    /// Where rows go.
    pub flusher: mpsc::Sender<Handed>,
    /// Bytes of rows that may wait for the tables, in units of the flusher.
    pub budget: Arc<Semaphore>,
    /// What the rest of the hub sees.
    pub progress: Arc<Progress>,
    /// Rows that wait for the tables, for those who ask questions.
    pub newest: NewestRows,
    /// Sizes and times.
    pub options: FoldOptions,
    /// Ends the worker between two epochs.
    pub stop: CancellationToken,
}

impl Worker {
    /// Runs until `stop` (between two epochs), or until the log closes, or until something fails.
    pub async fn run(self, mut partition: Partition) -> Result<(), FoldError> {
        let (unopened, outbox) = blocking(partition, |partition| partition.outbox()).await?;
        partition = unopened;
        let resent = !outbox.is_empty();
        for (number, record) in outbox {
            partition = self.resend(partition, number, record).await?;
        }
        if resent {
            // At once: a hub that dies again before its next commit must not have all of it to do again.
            let flush = Handed::Flush(oneshot::channel().0);
            self.flusher.send(flush).await.map_err(|_closed| FoldError::Stopped)?;
        }
        let mut backlog = Backlog::default();
        let mut begun = Instant::now();
        while !self.stop.is_cancelled() {
            if backlog.is_empty() {
                tokio::select! {
                    biased;
                    () = self.stop.cancelled() => break,
                    read = self.read(&partition, begun + self.options.epoch_interval) => match read {
                        Err(FoldError::Log(error)) if matches!(*error, LogError::Closed) => break,
                        read => backlog.fill(read?),
                    },
                }
                begun = Instant::now();
            }
            let records_max = partition.records_max(self.options.epoch_records);
            let values = backlog.take(records_max, self.options.epoch_bytes);
            if values.is_empty() {
                continue;
            }
            self.reject_poison(&partition, &values).await?;
            let (folded, epoch) = blocking(partition, move |partition| partition.fold(&values)).await?;
            partition = folded;
            self.report(&epoch, begun.elapsed());
            self.deliver(&mut partition, epoch, true).await?;
        }
        Ok(())
    }

    /// Waits for records and reads what there is, not before `earliest`.
    async fn read(&self, partition: &Partition, earliest: Instant) -> Result<Vec<ReadBatch>, FoldError> {
        let (topic, number, offset) = (partition.topic(), partition.number(), partition.offset());
        self.log.wait_for(topic, number, offset).await?;
        tokio::time::sleep_until(earliest).await;
        Ok(self.log.read(topic, number, offset, self.options.read_bytes).await?)
    }

    /// A record that killed three processes is rejected, durably, before it is passed by.
    async fn reject_poison(&self, partition: &Partition, values: &[Bytes]) -> Result<(), FoldError> {
        let poison = self.options.poison.as_ref();
        let Some(mut rejection) = poison.and_then(|poison| partition.poison(values, poison)) else {
            return Ok(());
        };
        tracing::error!(
            feed = rejection.feed,
            source = rejection.source,
            offset = rejection.source_row - 1,
            "a record killed the process three times; it is rejected"
        );
        rejection.received_at_us = partition.watermark_us().max(0);
        let mut records = Records::new();
        records.push_message(rejection.feed.as_bytes(), &rejection);
        self.log.append(Topic::Rejections, 0, records).await?;
        Ok(())
    }

    /// The effects of a committed epoch, in the order that makes them repeatable.
    async fn deliver(&self, partition: &mut Partition, mut epoch: Epoch, is_new: bool) -> Result<(), FoldError> {
        if let Some(cells) = &epoch.record.cells
            && !epoch.cells_appended
        {
            let offset = self
                .append_cells(partition.number(), cells, partition.generation())
                .await?;
            partition.note_cells_appended(epoch.number, offset);
        }
        let units = budget_units(&epoch.tables, self.options.unflushed_bytes_max);
        let permit = self
            .budget
            .clone()
            .acquire_many_owned(units)
            .await
            .map_err(|_closed| FoldError::Stopped)?;
        let rows = HandedRows {
            topic: partition.topic(),
            partition: partition.number(),
            incarnation: partition.incarnation(),
            generation: partition.generation(),
            trimmer: partition.trimmer(),
            epoch: epoch.number,
            after: epoch.record.first_offset,
            tables: std::mem::take(&mut epoch.tables),
            permit,
        };
        // Whoever is told adds them to what the tables show.
        if is_new && !partition.may_be_stored(epoch.number) {
            self.newest.add(rows.epoch_rows());
        }
        self.flusher
            .send(Handed::Rows(Box::new(rows)))
            .await
            .map_err(|_closed| FoldError::Stopped)?;
        self.progress.advance(&epoch);
        Ok(())
    }

    /// Appends changes of counts (encoded) under the owner's generation; returns the offset behind them. Where the disk is full it waits
    /// for room.
    async fn append_cells(&self, partition: u32, cells: &[u8], generation: u64) -> Result<u64, FoldError> {
        // Protobuf merges what stands behind one another.
        let owned = v1::CellChanges {
            generation,
            ..v1::CellChanges::default()
        };
        loop {
            let mut records = Records::new();
            records.push(&partition.to_be_bytes(), |buffer| {
                buffer.extend_from_slice(cells);
                buffer.extend(owned.encode_to_vec());
            });
            fault::pass("cells.append")?;
            match self.log.append(Topic::Cells, 0, records).await {
                Err(error) if error.is_full() => self.wait_for_room().await?,
                // It may be there: readers drop an epoch they have seen.
                Err(error @ LogError::Unsure { .. }) => {
                    tracing::warn!(%error, "appending changes of counts again");
                    self.wait_for_room().await?;
                }
                other => {
                    let appended = other?;
                    fault::pass("cells.appended")?;
                    return Ok(appended.next_offset);
                }
            }
        }
    }

    /// The disk is full: the epoch is committed, its effects wait.
    async fn wait_for_room(&self) -> Result<(), FoldError> {
        tokio::select! {
            () = self.stop.cancelled() => Err(FoldError::Stopped),
            () = tokio::time::sleep(FULL_RETRY) => Ok(()),
        }
    }

    /// Makes a committed epoch's rows again and delivers them again.
    async fn resend(&self, partition: Partition, number: u64, record: EpochRecord) -> Result<Partition, FoldError> {
        tracing::info!(
            topic = partition.topic().name(),
            partition = partition.number(),
            epoch = number,
            "resending"
        );
        let values = self.read_again(&partition, &record).await?;
        let (mut partition, epoch) =
            blocking(partition, move |partition| partition.replay(number, record, &values)).await?;
        // The tables may have it, whatever the newest snapshot says: nobody is told of it beside them.
        self.deliver(&mut partition, epoch, false).await?;
        Ok(partition)
    }

    async fn read_again(&self, partition: &Partition, record: &EpochRecord) -> Result<Vec<Bytes>, FoldError> {
        let wanted = record.outcomes.len();
        let mut values = Vec::with_capacity(wanted);
        while values.len() < wanted {
            let offset = record.first_offset + values.len() as u64;
            let batches = self
                .log
                .read(partition.topic(), partition.number(), offset, self.options.read_bytes)
                .await?;
            if batches.is_empty() {
                return Err(partition.foreign(format!("its state is ahead of the log, which ends at offset {offset}")));
            }
            values.extend(batches.into_iter().flat_map(|batch| batch.values));
        }
        values.truncate(wanted);
        Ok(values)
    }

    fn report(&self, epoch: &Epoch, elapsed: Duration) {
        let topic = self.progress.topic().name();
        let partition = self.progress.partition().to_string();
        let labels = [("topic", topic.to_owned()), ("partition", partition)];
        let (_, end) = self.log.range(self.progress.topic(), self.progress.partition());
        metrics::counter!("shiyu_fold_received_records", &labels).increment(epoch.record.outcomes.len() as u64);
        metrics::gauge!("shiyu_fold_lag_records", &labels).set(end.saturating_sub(epoch.record.next_offset()) as f64);
        metrics::histogram!("shiyu_fold_epoch_seconds", &labels).record(elapsed.as_secs_f64());
        if epoch.record.cells.is_some() && epoch.watermark_us != i64::MIN {
            metrics::gauge!("shiyu_fold_watermark_seconds", &labels).set(epoch.watermark_us as f64 / 1e6);
        }
        for (feed, counts) in &epoch.counts.feeds {
            let outcomes = [
                ("accepted", counts.accepted),
                ("unchanged", counts.unchanged),
                ("duplicate", counts.duplicate),
                ("stale", counts.stale),
                ("rejected", counts.rejected),
            ];
            for (outcome, total) in outcomes {
                let labels = [
                    ("feed", feed.clone()),
                    ("outcome", outcome.to_owned()),
                    ("partition", labels[1].1.clone()),
                ];
                metrics::counter!("shiyu_fold_produced_records", &labels).absolute(total);
            }
        }
    }
}

/// Runs what blocks (the step, the synced commit) off the runtime's threads.
async fn blocking<T: Send + 'static>(
    mut partition: Partition,
    work: impl FnOnce(&mut Partition) -> Result<T, FoldError> + Send + 'static,
) -> Result<(Partition, T), FoldError> {
    let task = tokio::task::spawn_blocking(move || {
        let done = work(&mut partition)?;
        Ok((partition, done))
    });
    task.await?
}

/// What is read and not yet folded.
#[derive(Debug, Default)]
struct Backlog {
    values: VecDeque<Bytes>,
}

impl Backlog {
    fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    fn fill(&mut self, batches: Vec<ReadBatch>) {
        self.values.extend(batches.into_iter().flat_map(|batch| batch.values));
    }

    /// At most that many records and about that many bytes; at least one record if there is any.
    fn take(&mut self, records_max: usize, bytes_max: usize) -> Vec<Bytes> {
        let mut bytes = 0;
        let fitting = self.values.iter().take(records_max).take_while(|value| {
            let fits = bytes == 0 || bytes + value.len() <= bytes_max;
            bytes += value.len().max(1);
            fits
        });
        let count = fitting.count();
        self.values.drain(..count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_takes_what_fits_and_never_nothing() {
        let mut backlog = Backlog::default();
        let values = vec![Bytes::from_static(b"12345"); 3];
        backlog.fill(vec![ReadBatch {
            first_offset: 0,
            values,
        }]);
        assert_eq!(backlog.take(10, 1).len(), 1);
        assert_eq!(backlog.take(1, 100).len(), 1);
        assert_eq!(backlog.take(10, 100).len(), 1);
        assert!(backlog.is_empty());
    }
}
