//! Deliveries of one feed into the log, and their outcomes back.
//!
//! Rows are durable first, the position that covers them after. Outcomes are counted when the fold has settled them, so the balance
//! speaks of exactly the records this run has read. Reading, the door and the log overlap; what waits is bounded.

use std::sync::Arc;
use std::time::Duration;

use shiyu_connectors::{Delivery, Reader};
use shiyu_log::event_log::partition_of;
use shiyu_log::{EventLog, Records, Topic, fault};
use shiyu_schemas::v1;
use tokio::sync::{Mutex, mpsc};

use super::positions::Positions;
use super::{Clock, FeedBalance, HubError};
use crate::door::{Door, DoorOutput};
use crate::fold::FoldHandle;

/// Rows of a delivery, about.
pub const BATCH_ROWS: usize = 16_384;
/// How far a record's times may run ahead of the hub's clock: clocks of departments and of hubs are wrong by a day now and then, and a
/// record must not be refused for that.
const AHEAD_MAX: Duration = Duration::from_hours(48);
/// Deliveries that may wait between two stages.
const QUEUE: usize = 2;

/// Told of progress: feed, delivery's source, bytes done, bytes in all, records read so far.
pub type Progress = dyn Fn(&v1::LoadProgress) + Send + Sync;

/// One feed's way into the log.
pub(super) struct Pipeline<'a> {
    pub(super) feed: &'a str,
    pub(super) door: &'a Arc<Door>,
    pub(super) log: &'a dyn EventLog,
    pub(super) fold: &'a FoldHandle,
    pub(super) clock: &'a Arc<dyn Clock>,
}

/// What a delivery became, and where it came from.
struct Passed {
    output: DoorOutput,
    delivery: DeliveryInfo,
}

struct DeliveryInfo {
    source: String,
    position: String,
    replaced_characters: u64,
    unknown_columns: Vec<String>,
    bytes_done: u64,
    bytes_total: u64,
}

/// Offsets of appended events, to be settled.
struct Range {
    partition: u32,
    first_offset: u64,
    next_offset: u64,
}

impl Pipeline<'_> {
    /// Reads to the end of the reader.
    pub(super) async fn run(
        &self,
        reader: Box<dyn Reader>,
        positions: &Mutex<Positions>,
        progress: &Progress,
    ) -> Result<FeedBalance, HubError> {
        let (read_sender, read_receiver) = mpsc::channel(QUEUE);
        let (door_sender, mut door_receiver) = mpsc::channel(QUEUE);
        let (range_sender, range_receiver) = mpsc::channel(64);
        let reading = tokio::spawn(read_all(reader, read_sender));
        let passing = tokio::spawn(pass_all(
            self.door.clone(),
            self.clock.clone(),
            read_receiver,
            door_sender,
        ));
        let appending = async {
            let mut balance = FeedBalance::default();
            while let Some(passed) = door_receiver.recv().await {
                match passed {
                    Ok(passed) => {
                        self.append(passed, positions, progress, &mut balance, &range_sender)
                            .await?;
                    }
                    Err(problem) => balance.failed_sources.push(problem),
                }
            }
            drop(range_sender);
            Ok::<_, HubError>(balance)
        };
        let (balance, settled) = tokio::join!(appending, self.settle(range_receiver));
        let mut balance = balance?;
        reading.await?;
        passing.await?;
        for (outcome, count) in settled? {
            for _ in 0..count {
                balance.count(outcome);
            }
        }
        Ok(balance)
    }

    async fn append(
        &self,
        passed: Passed,
        positions: &Mutex<Positions>,
        progress: &Progress,
        balance: &mut FeedBalance,
        ranges: &mpsc::Sender<Range>,
    ) -> Result<(), HubError> {
        let Passed { mut output, delivery } = passed;
        note(balance, &output, &delivery);
        let rejected = output.rejections.len() as u64;
        let mut late = fault::bug("rejection-after-position").then(|| DoorOutput {
            rejections: std::mem::take(&mut output.rejections),
            ..DoorOutput::default()
        });
        for range in self.append_output(&mut output).await? {
            if ranges.send(range).await.is_err() {
                // The settling side failed; its error is returned by `run`.
                return Ok(());
            }
        }
        let position = v1::SourcePosition {
            feed: self.feed.to_owned(),
            source: delivery.source.clone(),
            position: delivery.position,
            received_at_us: self.clock.now_us(),
            read: output.read,
            excluded: output.excluded,
            rejected,
            replaced_characters: delivery.replaced_characters,
        };
        positions.lock().await.append(self.log, position).await?;
        fault::pass("position.appended")?;
        if let Some(late) = late.as_mut() {
            self.append_output(late).await?;
        }
        metrics::counter!("shiyu_intake_records_total", "feed" => self.feed.to_owned()).increment(output.read);
        progress(&v1::LoadProgress {
            feed: self.feed.to_owned(),
            source: delivery.source,
            bytes_done: delivery.bytes_done,
            bytes_total: delivery.bytes_total,
            records: balance.read,
        });
        Ok(())
    }

    /// Appends events and rejections; returns when both are durable.
    async fn append_output(&self, output: &mut DoorOutput) -> Result<Vec<Range>, HubError> {
        let received_at_us = self.clock.now_us();
        let partitions = self.log.partitions(Topic::Events);
        let mut parts: Vec<Records> = (0..partitions).map(|_| Records::new()).collect();
        let mut key = Vec::new();
        for event in &mut output.events {
            event.received_at_us = received_at_us;
            key.clear();
            log_key(event, &mut key);
            parts[partition_of(&key, partitions) as usize].push_message(&key, event);
        }
        let mut rejections = Records::new();
        for rejection in &mut output.rejections {
            rejection.received_at_us = received_at_us;
            rejections.push_message(rejection.feed.as_bytes(), rejection);
        }
        if !rejections.is_empty() {
            self.log.append(Topic::Rejections, 0, rejections).await?;
            fault::pass("rejections.appended")?;
        }
        let appends = parts
            .into_iter()
            .enumerate()
            .filter(|(_, records)| !records.is_empty())
            .map(|(partition, records)| async move {
                let partition = partition as u32;
                let appended = self.log.append(Topic::Events, partition, records).await?;
                Ok::<_, HubError>(Range {
                    partition,
                    first_offset: appended.first_offset,
                    next_offset: appended.next_offset,
                })
            });
        futures::future::try_join_all(appends).await
    }

    /// Waits for the fold's outcome of every range.
    async fn settle(&self, mut ranges: mpsc::Receiver<Range>) -> Result<Vec<(v1::Outcome, u64)>, HubError> {
        let mut sums: Vec<(v1::Outcome, u64)> = Vec::new();
        while let Some(range) = ranges.recv().await {
            for outcome in self
                .fold
                .outcomes(range.partition, range.first_offset, range.next_offset)
                .await?
            {
                match sums.iter_mut().find(|(known, _)| *known == outcome) {
                    Some((_, count)) => *count += 1,
                    None => sums.push((outcome, 1)),
                }
            }
        }
        Ok(sums)
    }

    /// Takes one delivery and answers with a receipt per record, in order.
    pub(super) async fn push(&self, delivery: Delivery, wait_settled: bool) -> Result<Vec<v1::Receipt>, HubError> {
        let rows = delivery.batch.num_rows() + delivery.malformed.len();
        let door = self.door.clone();
        let latest_us = latest_us(self.clock.as_ref());
        let mut output = tokio::task::spawn_blocking(move || door.process(&delivery, latest_us)).await?;
        let mut receipts = vec![
            v1::Receipt {
                outcome: v1::Outcome::Excluded.into(),
                ..v1::Receipt::default()
            };
            rows
        ];
        for rejection in &output.rejections {
            receipts[rejection.source_row as usize - 1] = v1::Receipt {
                outcome: v1::Outcome::Rejected.into(),
                record_id: String::new(),
                code: rejection.code.clone(),
                column: rejection.column.clone(),
                message: rejection.message.clone(),
            };
        }
        let partitions = self.log.partitions(Topic::Events);
        let mut rows_of_partition: Vec<Vec<usize>> = vec![Vec::new(); partitions as usize];
        let mut key = Vec::new();
        for event in &output.events {
            let row = event.source_row as usize - 1;
            receipts[row].outcome = v1::Outcome::Logged.into();
            receipts[row].record_id.clone_from(&event.record_id);
            key.clear();
            log_key(event, &mut key);
            rows_of_partition[partition_of(&key, partitions) as usize].push(row);
        }
        let ranges = self.append_output(&mut output).await?;
        fault::pass("push.answer")?;
        if wait_settled {
            for range in ranges {
                let outcomes = self
                    .fold
                    .outcomes(range.partition, range.first_offset, range.next_offset)
                    .await?;
                for (&row, outcome) in rows_of_partition[range.partition as usize].iter().zip(outcomes) {
                    receipts[row].outcome = outcome.into();
                }
            }
        }
        Ok(receipts)
    }
}

/// Versions of one record stay in one partition; so do a withdrawal and the record it cancels.
fn log_key(event: &v1::Event, key: &mut Vec<u8>) {
    key.extend_from_slice(event.feed.as_bytes());
    key.push(0);
    let own = if event.match_key.is_empty() {
        &event.record_id
    } else {
        &event.match_key
    };
    key.extend_from_slice(own.as_bytes());
}

fn note(balance: &mut FeedBalance, output: &DoorOutput, delivery: &DeliveryInfo) {
    balance.read += output.read;
    balance.excluded += output.excluded;
    balance.rejected += output.rejections.len() as u64;
    balance.replaced_characters += delivery.replaced_characters;
    balance.unknown_columns.extend(delivery.unknown_columns.iter().cloned());
    for rejection in &output.rejections {
        *balance
            .reasons
            .entry(format!("{} {}", rejection.code, rejection.column))
            .or_default() += 1;
    }
    for (flag, count) in &output.flags {
        *balance.flags.entry((*flag).to_owned()).or_default() += count;
    }
}

async fn read_all(mut reader: Box<dyn Reader>, sender: mpsc::Sender<Result<Delivery, String>>) {
    loop {
        let delivery = match reader.next().await {
            Ok(Some(delivery)) => Ok(delivery),
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "failed to read a source");
                Err(chain(&error))
            }
        };
        if sender.send(delivery).await.is_err() {
            return;
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

async fn pass_all(
    door: Arc<Door>,
    clock: Arc<dyn Clock>,
    mut receiver: mpsc::Receiver<Result<Delivery, String>>,
    sender: mpsc::Sender<Result<Passed, String>>,
) {
    while let Some(delivery) = receiver.recv().await {
        let passed = match delivery {
            Ok(delivery) => {
                let door = door.clone();
                let latest_us = latest_us(clock.as_ref());
                let passing = tokio::task::spawn_blocking(move || pass(&door, delivery, latest_us));
                match passing.await {
                    Ok(passed) => Ok(passed),
                    Err(error) => Err(format!("cannot map a delivery: {error}")),
                }
            }
            Err(problem) => Err(problem),
        };
        if sender.send(passed).await.is_err() {
            return;
        }
    }
}

/// The latest time a record may tell of.
fn latest_us(clock: &dyn Clock) -> i64 {
    clock.now_us().saturating_add(AHEAD_MAX.as_micros() as i64)
}

fn pass(door: &Door, delivery: Delivery, latest_us: i64) -> Passed {
    let output = door.process(&delivery, latest_us);
    Passed {
        output,
        delivery: DeliveryInfo {
            source: delivery.source,
            position: delivery.position,
            replaced_characters: delivery.replaced_characters,
            unknown_columns: delivery.unknown_columns,
            bytes_done: delivery.bytes_done,
            bytes_total: delivery.bytes_total,
        },
    }
}
