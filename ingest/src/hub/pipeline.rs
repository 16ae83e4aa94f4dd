//! Deliveries of one feed into the log, and their outcomes back.
//!
//! Rows are durable first, the position that covers them after. Outcomes are counted when the fold has settled them, so the balance
//! speaks of exactly the records this run has read. Reading, the door and the log overlap; what waits is bounded.

use std::sync::Arc;

use futures::StreamExt as _;
use shiyu_connectors::{Delivery, Reader};
use shiyu_log::event_log::partition_of;
use shiyu_log::{EventLog, Records, Topic, fault};
use shiyu_schemas::v1;
use tokio::sync::{Mutex, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use super::positions::Positions;
use super::{Clock, FeedBalance, HubError};
use crate::door::wire::write_event;
use crate::door::{Door, DoorOutput};
use crate::fold::{FoldError, FoldHandle};

/// Rows of a delivery, about.
pub const BATCH_ROWS: usize = 16_384;
/// Deliveries that may wait between two stages.
const QUEUE: usize = 2;
/// Appends of events that may wait to be settled: so few that the fold finds what it reads in the log's memory.
const UNSETTLED: usize = 6;
/// Deliveries that pass the door at once, at most: one per core up to this.
const DOORS_MAX: usize = 8;

/// Told of progress: feed, delivery's source, bytes done, bytes in all, records read so far.
pub type Progress = dyn Fn(&v1::LoadProgress) + Send + Sync;

/// One feed's way into the log.
pub(super) struct Pipeline<'a> {
    pub(super) feed: &'a str,
    pub(super) door: &'a Arc<Door>,
    pub(super) log: &'a dyn EventLog,
    pub(super) fold: &'a FoldHandle,
    /// Whether other processes may fold some of the partitions.
    pub(super) shared: bool,
    pub(super) clock: &'a Arc<dyn Clock>,
}

/// What a delivery became, and where it came from.
struct Passed {
    /// Without its events, which are encoded.
    output: DoorOutput,
    encoded: Encoded,
    delivery: DeliveryInfo,
}

/// Events by partition, and rejections, as they go into the log.
struct Encoded {
    events: Vec<Records>,
    rejections: Records,
}

struct DeliveryInfo {
    source: String,
    position: String,
    replaced_characters: u64,
    unknown_columns: Vec<String>,
    bytes_done: u64,
    bytes_total: u64,
}

/// A delivery whose rows are durable; its position is not yet.
struct Covered {
    position: v1::SourcePosition,
    bytes_done: u64,
    bytes_total: u64,
    /// Read so far, by this run.
    records: u64,
    /// A planted bug: rejections that come behind the position.
    late: Option<Records>,
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
        let (range_sender, range_receiver) = mpsc::channel(UNSETTLED);
        let (covered_sender, covered_receiver) = mpsc::channel(QUEUE);
        let reading = tokio::spawn(read_all(reader, read_sender));
        let entrance = Entrance {
            door: self.door.clone(),
            partitions: self.log.partitions(Topic::Events),
        };
        let passing = tokio::spawn(pass_all(entrance, self.clock.clone(), read_receiver, door_sender));
        let appending = async {
            let mut balance = FeedBalance::default();
            while let Some(passed) = door_receiver.recv().await {
                match passed {
                    Ok(passed) => {
                        let covered = self.append(passed, &mut balance, &range_sender).await?;
                        if covered_sender.send(covered).await.is_err() {
                            // The covering side failed; its error is returned below.
                            break;
                        }
                    }
                    Err(problem) => balance.failed_sources.push(problem),
                }
            }
            drop((range_sender, covered_sender));
            Ok::<_, HubError>(balance)
        };
        let (balance, covered, settled) = tokio::join!(
            appending,
            self.cover(covered_receiver, positions, progress),
            self.settle(range_receiver)
        );
        let mut balance = balance?;
        covered?;
        reading.await?;
        passing.await?;
        for (outcome, count) in settled? {
            for _ in 0..count {
                balance.count(outcome);
            }
        }
        Ok(balance)
    }

    /// Appends a delivery's events and rejections; returns when both are durable.
    async fn append(
        &self,
        passed: Passed,
        balance: &mut FeedBalance,
        ranges: &mpsc::Sender<Range>,
    ) -> Result<Covered, HubError> {
        let Passed {
            output,
            mut encoded,
            delivery,
        } = passed;
        note(balance, &output, &delivery);
        let late = fault::bug("rejection-after-position").then(|| std::mem::take(&mut encoded.rejections));
        for range in self.append_encoded(encoded).await? {
            if ranges.send(range).await.is_err() {
                // The settling side failed; its error is returned by `run`.
                break;
            }
        }
        metrics::counter!("shiyu_intake_records_total", "feed" => self.feed.to_owned()).increment(output.read);
        let position = v1::SourcePosition {
            feed: self.feed.to_owned(),
            source: delivery.source.clone(),
            position: delivery.position,
            received_at_us: self.clock.now_us(),
            read: output.read,
            excluded: output.excluded,
            rejected: output.rejections.len() as u64,
            replaced_characters: delivery.replaced_characters,
        };
        Ok(Covered {
            position,
            bytes_done: delivery.bytes_done,
            bytes_total: delivery.bytes_total,
            records: balance.read,
            late,
        })
    }

    /// Appends the positions that cover what is durable, while the next rows are on their way.
    async fn cover(
        &self,
        mut receiver: mpsc::Receiver<Covered>,
        positions: &Mutex<Positions>,
        progress: &Progress,
    ) -> Result<(), HubError> {
        let mut waiting = Vec::with_capacity(QUEUE);
        while receiver.recv_many(&mut waiting, QUEUE).await > 0 {
            let covering = waiting.iter().map(|covered| covered.position.clone());
            positions.lock().await.append(self.log, covering).await?;
            fault::pass("position.appended")?;
            for covered in waiting.drain(..) {
                if let Some(late) = covered.late {
                    self.append_rejections(late).await?;
                }
                progress(&v1::LoadProgress {
                    feed: self.feed.to_owned(),
                    source: covered.position.source,
                    bytes_done: covered.bytes_done,
                    bytes_total: covered.bytes_total,
                    records: covered.records,
                });
            }
        }
        Ok(())
    }

    /// Appends events and rejections; returns when both are durable.
    async fn append_encoded(&self, encoded: Encoded) -> Result<Vec<Range>, HubError> {
        self.append_rejections(encoded.rejections).await?;
        let appends = encoded
            .events
            .into_iter()
            .enumerate()
            .filter(|(_, records)| !records.is_empty())
            .map(|(partition, records)| async move {
                let partition = partition as u32;
                let appended = self.log.append(Topic::Events, partition, records).await?;
                Ok::<_, HubError>((partition, appended))
            });
        let appended = futures::future::try_join_all(appends).await?;
        let ranges = appended.iter().flat_map(|(partition, appended)| {
            appended.extents().map(|(first_offset, next_offset)| Range {
                partition: *partition,
                first_offset,
                next_offset,
            })
        });
        Ok(ranges.collect())
    }

    async fn append_rejections(&self, rejections: Records) -> Result<(), HubError> {
        if !rejections.is_empty() {
            self.log.append(Topic::Rejections, 0, rejections).await?;
            fault::pass("rejections.appended")?;
        }
        Ok(())
    }

    /// Waits for the fold's outcome of every range.
    async fn settle(&self, mut ranges: mpsc::Receiver<Range>) -> Result<Vec<(v1::Outcome, u64)>, HubError> {
        let mut sums: Vec<(v1::Outcome, u64)> = Vec::new();
        while let Some(range) = ranges.recv().await {
            for outcome in self.outcomes(&range).await? {
                match sums.iter_mut().find(|(known, _)| *known == outcome) {
                    Some((_, count)) => *count += 1,
                    None => sums.push((outcome, 1)),
                }
            }
        }
        Ok(sums)
    }

    /// The fold's outcomes of a range, once they are committed; where another process folds the partition: that it is logged.
    async fn outcomes(&self, range: &Range) -> Result<Vec<v1::Outcome>, HubError> {
        let outcomes = self
            .fold
            .outcomes(range.partition, range.first_offset, range.next_offset)
            .await;
        match outcomes {
            Err(FoldError::UnknownPartition { .. } | FoldError::OutcomesForgotten { .. }) if self.shared => Ok(vec![
                    v1::Outcome::Logged;
                    (range.next_offset - range.first_offset) as usize
                ]),
            other => Ok(other?),
        }
    }

    /// Takes one delivery and answers with a receipt per record, in order.
    pub(super) async fn push(&self, delivery: Delivery, wait_settled: bool) -> Result<Vec<v1::Receipt>, HubError> {
        let rows = delivery.batch.num_rows() + delivery.malformed.len();
        let entrance = Entrance {
            door: self.door.clone(),
            partitions: self.log.partitions(Topic::Events),
        };
        let received_at_us = self.clock.now_us();
        let (output, encoded, taken) = tokio::task::spawn_blocking(move || {
            let mut taken = Vec::new();
            let (output, encoded) = entrance.pass(&delivery, received_at_us, |event, partition| {
                taken.push((event.source_row as usize - 1, event.record_id.clone(), partition));
            });
            (output, encoded, taken)
        })
        .await?;
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
        let mut rows_of_partition: Vec<Vec<usize>> = vec![Vec::new(); encoded.events.len()];
        for (row, record_id, partition) in taken {
            receipts[row].outcome = v1::Outcome::Logged.into();
            receipts[row].record_id = record_id;
            rows_of_partition[partition as usize].push(row);
        }
        let ranges = self.append_encoded(encoded).await?;
        fault::pass("push.answer")?;
        if wait_settled {
            let mut rows: Vec<_> = rows_of_partition.iter().map(|rows| rows.iter()).collect();
            for range in ranges {
                let outcomes = self.outcomes(&range).await?;
                for (outcome, &row) in outcomes.into_iter().zip(&mut rows[range.partition as usize]) {
                    receipts[row].outcome = outcome.into();
                }
            }
        }
        Ok(receipts)
    }
}

/// The door and what is behind it, up to the log.
#[derive(Clone)]
struct Entrance {
    door: Arc<Door>,
    /// Of the topic of events.
    partitions: u32,
}

impl Entrance {
    /// Takes a delivery through the door and encodes what it became; `note` is told each event and its partition.
    fn pass(
        &self,
        delivery: &Delivery,
        received_at_us: i64,
        mut note: impl FnMut(&v1::Event, u32),
    ) -> (DoorOutput, Encoded) {
        // An event holds its record's texts and about as much again.
        let share = delivery.batch.get_array_memory_size() * 2 / self.partitions.max(1) as usize;
        let mut events: Vec<Records> = (0..self.partitions).map(|_| Records::with_capacity(share)).collect();
        let mut key = Vec::new();
        let output = self.door.process_each(delivery, received_at_us, |event| {
            key.clear();
            log_key(event, &mut key);
            let partition = partition_of(&key, self.partitions);
            events[partition as usize].push(&key, |bytes| write_event(event, bytes));
            note(event, partition);
        });
        let mut rejections = Records::new();
        for rejection in &output.rejections {
            rejections.push_message(rejection.feed.as_bytes(), rejection);
        }
        (output, Encoded { events, rejections })
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

/// Takes deliveries through the door, several at once, and gives them on in their order.
async fn pass_all(
    entrance: Entrance,
    clock: Arc<dyn Clock>,
    receiver: mpsc::Receiver<Result<Delivery, String>>,
    sender: mpsc::Sender<Result<Passed, String>>,
) {
    let at_once = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(DOORS_MAX));
    let mut passing = ReceiverStream::new(receiver)
        .map(|delivery| {
            let (entrance, received_at_us) = (entrance.clone(), clock.now_us());
            let passing =
                delivery.map(|delivery| tokio::task::spawn_blocking(move || pass(&entrance, received_at_us, delivery)));
            async move {
                let passed = passing?.await;
                passed.map_err(|error| format!("cannot map a delivery: {error}"))
            }
        })
        .buffered(at_once);
    while let Some(passed) = passing.next().await {
        if sender.send(passed).await.is_err() {
            return;
        }
    }
}

fn pass(entrance: &Entrance, received_at_us: i64, delivery: Delivery) -> Passed {
    let (output, encoded) = entrance.pass(&delivery, received_at_us, |_event, _partition| {});
    Passed {
        output,
        encoded,
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
