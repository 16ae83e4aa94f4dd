//! Kafka as the log.
//!
//! - [`settings`]: where it is and how it is reached
//! - `client`: configuration of librdkafka's clients, and what they call back
//! - `token`: tokens for SASL OAUTHBEARER
//! - `topics`: the topics of a city, made and checked
//! - `append`: appends, answered when every replica that must have the records has them
//! - `reader`: reading from offsets we name
//! - [`group`]: which partitions are this process's
//!
//! Positions are ours: no group is committed to, no offset is stored at the brokers, and an offset the brokers do not have is an alarm,
//! never a jump. The log's identity is the first record of `sources.v1`, for topics' own ids are not told to clients of librdkafka's
//! Rust binding; what it cannot tell (one topic alone made anew) the fold sees, which knows the last record it has folded.

mod append;
mod client;
pub mod group;
mod reader;
pub mod settings;
mod token;
mod topics;

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use prost::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use shiyu_schemas::v1;
use tokio::sync::{Mutex, watch};

use crate::LogError;
use crate::event_log::{Appended, EventLog, ReadBatch, Records, Topic};
use append::Appender;
use client::{ASK_TIMEOUT, Context};
pub use group::{GroupChange, GroupMember, LetGo};
use reader::{Pool, Step};
pub use settings::{KafkaSettings, SettingsError};

/// Largest append, as with the embedded log.
const BATCH_BYTES_MAX: usize = 64 << 20;
/// How often starts and ends are asked for anew.
const REFRESH_INTERVAL: Duration = Duration::from_secs(5);
/// How long to wait before brokers that do not answer are asked again.
const ASK_AGAIN: Duration = Duration::from_millis(250);
/// An end that went back is asked for again so often, for a new leader may not know it yet.
const WENT_BACK_TRIES: u32 = 4;
const WENT_BACK_WAIT: Duration = Duration::from_millis(500);
/// How long to wait for more records once some are read.
const MORE_WAIT: Duration = Duration::from_millis(10);
/// Source under which the log's identity stands in `sources.v1`; its feed is empty.
const IDENTITY_SOURCE: &str = "log";

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
        tokio::spawn(refresh(Arc::downgrade(&inner)));
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

    /// The identity of the log, made by whoever finds the topic empty; of two, the first counts.
    async fn read_identity(&self) -> Result<u64, LogError> {
        let lane = self.lane(Topic::Sources, 0)?;
        if lane.range() == (0, 0) {
            // The keys of RandomState come from the system's random source.
            let number = RandomState::new().hash_one(&lane.name);
            let identity = v1::SourcePosition {
                source: IDENTITY_SOURCE.to_owned(),
                position: format!("{number:016x}"),
                ..v1::SourcePosition::default()
            };
            let mut records = Records::new();
            records.push_message(IDENTITY_SOURCE.as_bytes(), &identity);
            self.append(lane, &records).await?;
        }
        if lane.range().0 > 0 {
            return Err(lane.truncated(0, lane.range()));
        }
        let first = self.read(lane, 0, 1).await?;
        let identity = first
            .first()
            .and_then(|batch| batch.values.first())
            .and_then(|value| v1::SourcePosition::decode(value.as_ref()).ok())
            .filter(|first| first.feed.is_empty() && first.source == IDENTITY_SOURCE)
            .and_then(|first| u64::from_str_radix(&first.position, 16).ok());
        identity.ok_or_else(|| LogError::Topic {
            topic: lane.name.clone(),
            problem: "its first record is no identity of a log of ours: another program wrote to it".to_owned(),
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
        let appended = self.appender.append(lane, records).await?;
        if appended.first_offset < end {
            return Err(lane.truncated(end, (0, appended.first_offset)));
        }
        lane.note_end(appended.next_offset);
        metrics::counter!("shiyu_log_synced_bytes_total").increment(records.size_bytes() as u64);
        Ok(appended)
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

    /// `[start, end)` as the brokers tell now; asks until they answer.
    async fn ask_range(&self, lane: &Lane) -> Result<(u64, u64), LogError> {
        let mut went_back = 0;
        loop {
            let (_, known) = lane.range();
            match self.or_closed(self.ask(lane)).await?? {
                Some((start, end)) if end >= known => {
                    lane.range.send_if_modified(|range| {
                        let now = (start, end.max(range.1));
                        let changed = *range != now;
                        *range = now;
                        changed
                    });
                    return Ok(lane.range());
                }
                Some(range) if went_back >= WENT_BACK_TRIES => return Err(lane.truncated(known, range)),
                Some(_) => {
                    went_back += 1;
                    self.or_closed(tokio::time::sleep(WENT_BACK_WAIT)).await?;
                }
                None => self.or_closed(tokio::time::sleep(ASK_AGAIN)).await?,
            }
        }
    }

    /// One question; `None` where the brokers do not answer.
    async fn ask(&self, lane: &Lane) -> Result<Option<(u64, u64)>, LogError> {
        let (asker, name, partition) = (self.asker.clone(), lane.name.clone(), lane.partition as i32);
        let answer = tokio::task::spawn_blocking(move || {
            // Serves what librdkafka wants to tell, and its wish for a token.
            let _nothing = asker.poll(Duration::ZERO);
            asker.fetch_watermarks(&name, partition, ASK_TIMEOUT)
        })
        .await
        .map_err(|_ended| LogError::Closed)?;
        match answer {
            Ok((start, end)) => Ok(Some((start.max(0) as u64, end.max(0) as u64))),
            Err(error) => match error.rdkafka_error_code() {
                Some(
                    RDKafkaErrorCode::UnknownTopicOrPartition
                    | RDKafkaErrorCode::UnknownTopic
                    | RDKafkaErrorCode::UnknownPartition,
                ) => Err(LogError::Topic {
                    topic: lane.name.clone(),
                    problem: "it was deleted".to_owned(),
                }),
                Some(RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::Authentication) => {
                    Err(kafka_error("ask for offsets of", &lane.name)(error))
                }
                _ => {
                    tracing::warn!(%error, topic = lane.name, "brokers do not tell offsets; asking again");
                    Ok(None)
                }
            },
        }
    }
}

fn size_of(batch: &ReadBatch) -> usize {
    batch.values.iter().map(bytes::Bytes::len).sum::<usize>().max(1)
}

/// Asks for starts and ends now and then, and tells how far readers are behind.
async fn refresh(inner: Weak<Inner>) {
    loop {
        tokio::time::sleep(REFRESH_INTERVAL).await;
        let Some(inner) = inner.upgrade() else { return };
        if *inner.closed.borrow() {
            return;
        }
        for lane in inner.lanes.values() {
            match inner.ask(lane).await {
                // An end that went back is left to those who read and append: they tell it as what it is.
                Ok(Some((start, end))) => {
                    lane.range.send_if_modified(|range| {
                        let further = end > range.1;
                        *range = (start.max(range.0), end.max(range.1));
                        further
                    });
                }
                Ok(None) => {}
                Err(error) => tracing::error!(%error, topic = lane.name, "the log is in danger"),
            }
            let labels = [
                ("topic", lane.topic.name().to_owned()),
                ("partition", lane.partition.to_string()),
            ];
            let (_, end) = lane.range();
            metrics::gauge!("shiyu_kafka_end_offset", &labels).set(end as f64);
            let read_to = lane.read_to.load(Ordering::Relaxed);
            if read_to > 0 {
                let lag = end.saturating_sub(read_to);
                metrics::gauge!("shiyu_kafka_consumer_lag", &labels).set(lag as f64);
            }
        }
    }
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
