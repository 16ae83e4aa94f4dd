//! Kafka as the log.
//!
//! - [`settings`]: where it is and how it is reached
//! - `client`: configuration of librdkafka's clients, and what they call back
//! - `token`: tokens for SASL OAUTHBEARER
//! - `topics`: the topics of a city, made and checked
//! - `append`: appends, answered when every replica that must have the records has them
//! - `range`: where partitions start and end
//! - `identity`: which log this is
//! - `reader`: reading from offsets we name
//! - [`group`]: which partitions are this process's
//!
//! Positions are ours: no group is committed to, no offset is stored at the brokers, and an offset the brokers do not have is an alarm,
//! never a jump. The log's identity is the first record of `sources.v1`, for topics' own ids are not told to clients of librdkafka's
//! Rust binding; what it cannot tell (one topic alone made anew) the fold sees, which knows the last record it has folded.

mod append;
mod client;
pub mod group;
mod identity;
mod range;
mod reader;
pub mod settings;
mod token;
mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use tokio::sync::{Mutex, watch};

use crate::LogError;
use crate::event_log::{Appended, EventLog, ReadBatch, Records, Topic};
use append::{Appender, Delivered};
use client::Context;
pub use group::{GroupChange, GroupMember, LetGo};
use reader::{Pool, Step};
pub use settings::{KafkaSettings, SettingsError};

/// Largest append, as with the embedded log.
const BATCH_BYTES_MAX: usize = 64 << 20;
/// How long to wait before brokers that do not answer are asked again.
const ASK_AGAIN: Duration = Duration::from_millis(250);
/// How often, and in which steps, records are looked for whose place was not told.
const LOCATE_TRIES: u32 = 240;
const LOCATE_BYTES: usize = 4 << 20;
/// How long to wait for more records once some are read.
const MORE_WAIT: Duration = Duration::from_millis(10);

/// One partition of one topic.
#[derive(Debug)]
struct Lane {
    topic: Topic,
    partition: u32,
    /// The topic's name at the brokers.
    name: String,
    /// Who hands records over.
    turn: Mutex<()>,
    readers: Pool,
    /// `[start, end)` as far as known.
    range: watch::Sender<(u64, u64)>,
    /// Offset behind the last record anybody read here; 0: nobody did.
    read_to: AtomicU64,
}

impl Lane {
    fn range(&self) -> (u64, u64) {
        *self.range.borrow()
    }

    /// Records up to `end` are known to be there.
    fn note_end(&self, end: u64) {
        self.range.send_if_modified(|(_, known)| {
            let further = end > *known;
            *known = end.max(*known);
            further
        });
    }

    fn truncated(&self, offset: u64, (start, end): (u64, u64)) -> LogError {
        LogError::Truncated {
            topic: self.name.clone(),
            partition: self.partition,
            offset,
            start,
            end,
        }
    }
}

/// A city's log at a Kafka cluster.
#[derive(Debug)]
pub struct KafkaLog {
    inner: Arc<Inner>,
}

struct Inner {
    settings: KafkaSettings,
    city: String,
    lanes: BTreeMap<(Topic, u32), Lane>,
    appender: Appender,
    /// Answers questions about offsets.
    asker: Arc<BaseConsumer<Context>>,
    incarnation: u64,
    closed: watch::Sender<bool>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Inner")
            .field("settings", &self.settings)
            .field("incarnation", &self.incarnation)
            .finish_non_exhaustive()
    }
}

impl KafkaLog {
    /// Reaches the cluster, makes or checks the city's topics, and reads the log's identity.
    pub async fn open(settings: KafkaSettings, city: &str) -> Result<Self, LogError> {
        let partitions = topics::prepare(&settings, city).await?;
        let asker: BaseConsumer<Context> = client::common(&settings)?
            .create_with_context(Context::new(&settings))
            .map_err(kafka_error("start a client for", &settings.to_string()))?;
        let lanes = partitions
            .into_iter()
            .flat_map(|(topic, count)| (0..count).map(move |partition| (topic, partition)))
            .map(|(topic, partition)| {
                let lane = Lane {
                    topic,
                    partition,
                    name: settings.topic_name(city, topic),
                    turn: Mutex::new(()),
                    readers: Pool::default(),
                    range: watch::Sender::new((0, 0)),
                    read_to: AtomicU64::new(0),
                };
                ((topic, partition), lane)
            })
            .collect();
        let mut inner = Inner {
            appender: Appender::new(&settings)?,
            settings,
            city: city.to_owned(),
            lanes,
            asker: Arc::new(asker),
            incarnation: 0,
            closed: watch::Sender::new(false),
        };
        for lane in inner.lanes.values() {
            inner.ask_range(lane).await?;
        }
        inner.incarnation = inner.read_identity().await?;
        let inner = Arc::new(inner);
        tokio::spawn(range::refresh(Arc::downgrade(&inner)));
        Ok(Self { inner })
    }
}

impl KafkaLog {
    /// Name of the group whose members share the partitions.
    pub fn group(&self) -> String {
        format!("{}.{}.ingest", self.inner.settings.prefix, self.inner.city)
    }
}

impl Inner {
    fn lane(&self, topic: Topic, partition: u32) -> Result<&Lane, LogError> {
        self.lanes.get(&(topic, partition)).ok_or(LogError::OffsetOutOfRange {
            topic: topic.name(),
            partition,
            offset: 0,
            start: 0,
            end: 0,
        })
    }

    async fn append(&self, lane: &Lane, records: &Records) -> Result<Appended, LogError> {
        let (_, end) = lane.range();
        if records.is_empty() {
            return Ok(Appended::contiguous(end, end));
        }
        if records.size_bytes() > BATCH_BYTES_MAX {
            return Err(LogError::TooLarge {
                bytes: records.size_bytes(),
                limit: BATCH_BYTES_MAX,
            });
        }
        if let Some(bytes) = records.iter().map(|(key, value)| key.len() + value.len()).max()
            && bytes > client::MESSAGE_BYTES_MAX - 1024
        {
            return Err(LogError::TooLarge {
                bytes,
                limit: client::MESSAGE_BYTES_MAX - 1024,
            });
        }
        let appended = match self.appender.append(lane, records).await? {
            Delivered::Placed(appended) => appended,
            Delivered::Unplaced => self.locate(lane, end, records).await?,
        };
        if appended.first_offset < end {
            return Err(lane.truncated(end, (0, appended.first_offset)));
        }
        lane.note_end(appended.next_offset);
        metrics::counter!("shiyu_log_synced_bytes_total").increment(records.size_bytes() as u64);
        Ok(appended)
    }

    /// Finds records that are in the log, from `offset` on. Equal ones of others are as good: whoever appends what must not be taken for
    /// another's puts a number of its own into it.
    async fn locate(&self, lane: &Lane, mut offset: u64, records: &Records) -> Result<Appended, LogError> {
        tracing::info!(
            topic = lane.name,
            partition = lane.partition,
            "looking for where records were put"
        );
        let wanted: Vec<&[u8]> = records.iter().map(|(_, value)| value).collect();
        let mut found = 0;
        let mut extents: Vec<(u64, u64)> = Vec::new();
        for _ in 0..LOCATE_TRIES {
            let (_, end) = self.ask_range(lane).await?;
            while offset < end && found < wanted.len() {
                for batch in self.read(lane, offset, LOCATE_BYTES).await? {
                    for (at, value) in (batch.first_offset..).zip(&batch.values) {
                        if wanted.get(found) != Some(&value.as_ref()) {
                            continue;
                        }
                        found += 1;
                        match extents.last_mut() {
                            Some((_, next)) if *next == at => *next += 1,
                            _ => extents.push((at, at + 1)),
                        }
                    }
                    offset = batch.next_offset();
                }
            }
            if found == wanted.len() {
                return Ok(Appended::of_extents(extents));
            }
            // They are on one broker, and not yet on all that must have them.
            self.or_closed(tokio::time::sleep(ASK_AGAIN)).await?;
        }
        Err(LogError::Unsure {
            topic: lane.topic.name(),
            partition: lane.partition,
            problem: "brokers say they have the records, and do not show them".to_owned(),
        })
    }

    async fn read(&self, lane: &Lane, offset: u64, max_bytes: usize) -> Result<Vec<ReadBatch>, LogError> {
        let (start, end) = match lane.range() {
            (start, end) if offset >= start && offset < end => (start, end),
            _ => self.ask_range(lane).await?,
        };
        if offset < start || offset > end {
            return Err(LogError::OffsetOutOfRange {
                topic: lane.topic.name(),
                partition: lane.partition,
                offset,
                start,
                end,
            });
        }
        if offset == end {
            return Ok(Vec::new());
        }
        let mut reader = lane.readers.lease(&self.settings, lane, offset)?;
        self.until_record(lane, &mut reader).await?;
        let mut batches = vec![reader.take_ready(lane, max_bytes)?];
        let mut bytes = size_of(&batches[0]);
        while bytes < max_bytes && reader.next_offset() < end {
            match tokio::time::timeout(MORE_WAIT, reader.look(lane)).await {
                Ok(Ok(Step::Record)) => {}
                Ok(Ok(Step::OutOfRange)) => {
                    let offset = reader.next_offset();
                    reader.seek(lane, offset)?;
                    break;
                }
                Ok(Err(error)) => return Err(error),
                Ok(Ok(Step::End)) | Err(_) => break,
            }
            let batch = reader.take_ready(lane, max_bytes - bytes)?;
            bytes += size_of(&batch);
            batches.push(batch);
        }
        lane.note_end(reader.next_offset());
        lane.read_to.fetch_max(reader.next_offset(), Ordering::Relaxed);
        Ok(batches)
    }

    /// Waits until the reader has the record at its offset, which is known to be there.
    async fn until_record(&self, lane: &Lane, reader: &mut reader::Reader) -> Result<(), LogError> {
        loop {
            match self.or_closed(reader.look(lane)).await?? {
                Step::Record => return Ok(()),
                Step::End => {}
                Step::OutOfRange => {
                    let (start, end) = self.ask_range(lane).await?;
                    let offset = reader.next_offset();
                    if offset < start || offset > end {
                        return Err(lane.truncated(offset, (start, end)));
                    }
                    tracing::warn!(topic = lane.name, partition = lane.partition, offset, "seeking again");
                    tokio::time::sleep(ASK_AGAIN).await;
                    reader.seek(lane, offset)?;
                }
            }
        }
    }

    async fn wait_for(&self, lane: &Lane, offset: u64) -> Result<(), LogError> {
        loop {
            let (_, end) = lane.range();
            if end > offset {
                return Ok(());
            }
            let mut told = lane.range.subscribe();
            tokio::select! {
                found = self.look_at(lane, end) => found?,
                _ = told.wait_for(|(_, known)| *known > end) => {}
            }
        }
    }

    /// Waits for the record at the end of what is known.
    async fn look_at(&self, lane: &Lane, end: u64) -> Result<(), LogError> {
        let mut reader = lane.readers.lease(&self.settings, lane, end)?;
        self.until_record(lane, &mut reader).await?;
        lane.note_end(end + 1);
        Ok(())
    }

    async fn or_closed<T>(&self, work: impl Future<Output = T>) -> Result<T, LogError> {
        let mut closed = self.closed.subscribe();
        tokio::select! {
            _ = closed.wait_for(|closed| *closed) => Err(LogError::Closed),
            done = work => Ok(done),
        }
    }
}

fn size_of(batch: &ReadBatch) -> usize {
    batch.values.iter().map(bytes::Bytes::len).sum::<usize>().max(1)
}

#[async_trait]
impl EventLog for KafkaLog {
    fn partitions(&self, topic: Topic) -> u32 {
        self.inner.lanes.keys().filter(|(known, _)| *known == topic).count() as u32
    }

    async fn append(&self, topic: Topic, partition: u32, records: Records) -> Result<Appended, LogError> {
        if *self.inner.closed.borrow() {
            return Err(LogError::Closed);
        }
        let lane = self.inner.lane(topic, partition)?;
        self.inner.append(lane, &records).await
    }

    async fn read(
        &self,
        topic: Topic,
        partition: u32,
        offset: u64,
        max_bytes: usize,
    ) -> Result<Vec<ReadBatch>, LogError> {
        let lane = self.inner.lane(topic, partition)?;
        self.inner.read(lane, offset, max_bytes).await
    }

    async fn wait_for(&self, topic: Topic, partition: u32, offset: u64) -> Result<(), LogError> {
        let lane = self.inner.lane(topic, partition)?;
        self.inner.or_closed(self.inner.wait_for(lane, offset)).await?
    }

    /// Kafka removes records by its topics' own retention: nothing is done here.
    async fn trim(&self, topic: Topic, partition: u32, _before: u64) -> Result<u64, LogError> {
        Ok(self.ask_range(topic, partition).await?.0)
    }

    fn range(&self, topic: Topic, partition: u32) -> (u64, u64) {
        self.inner.lane(topic, partition).map_or((0, 0), Lane::range)
    }

    async fn ask_range(&self, topic: Topic, partition: u32) -> Result<(u64, u64), LogError> {
        let lane = self.inner.lane(topic, partition)?;
        self.inner.ask_range(lane).await
    }

    fn incarnation(&self) -> u64 {
        self.inner.incarnation
    }

    fn close(&self) {
        self.inner.closed.send_replace(true);
    }
}

/// Gives an error of Kafka's the place it happened at.
fn kafka_error(action: &'static str, target: &str) -> impl FnOnce(KafkaError) -> LogError {
    let target = target.to_owned();
    move |source| LogError::Kafka { action, target, source }
}

#[cfg(test)]
mod tests;
