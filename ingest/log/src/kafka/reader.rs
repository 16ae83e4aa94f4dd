//! Reads a partition from offsets we name. Each reader is a consumer of its own with a bounded read-ahead; a partition keeps at most two
//! idle ones, so that whoever reads on from where it was need not seek.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures::FutureExt as _;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Message as _, Offset, TopicPartitionList};

use super::client::{self, Context};
use super::settings::KafkaSettings;
use super::{Lane, kafka_error};
use crate::LogError;
use crate::event_log::ReadBatch;

/// Readers a partition keeps while nobody reads.
const IDLE_MAX: usize = 2;

/// What reading came upon.
#[derive(Debug)]
pub(super) enum Step {
    /// The record at the reader's offset.
    Record,
    /// There is none yet.
    End,
    /// The brokers do not have this offset.
    OutOfRange,
}

/// One consumer, at one offset of one partition.
pub(super) struct Reader {
    consumer: StreamConsumer<Context>,
    next_offset: u64,
    /// A record that was looked at and not taken.
    looked_at: Option<Bytes>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Reader")
            .field("next_offset", &self.next_offset)
            .finish_non_exhaustive()
    }
}

impl Reader {
    fn open(settings: &KafkaSettings, lane: &Lane, offset: u64) -> Result<Self, LogError> {
        let consumer: StreamConsumer<Context> = client::reader(settings)?
            .create_with_context(Context::new(settings))
            .map_err(kafka_error("start a consumer of", &lane.name))?;
        let mut reader = Self {
            consumer,
            next_offset: offset,
            looked_at: None,
        };
        reader.seek(lane, offset)?;
        Ok(reader)
    }

    /// Goes to an offset; what was read ahead is dropped.
    pub(super) fn seek(&mut self, lane: &Lane, offset: u64) -> Result<(), LogError> {
        let mut assignment = TopicPartitionList::new();
        assignment
            .add_partition_offset(&lane.name, lane.partition as i32, Offset::Offset(offset as i64))
            .and_then(|()| self.consumer.assign(&assignment))
            .map_err(kafka_error("seek in", &lane.name))?;
        self.next_offset = offset;
        self.looked_at = None;
        Ok(())
    }

    /// Offset of the next record.
    pub(super) fn next_offset(&self) -> u64 {
        self.next_offset
    }

    /// Waits for the next record without taking it, or for the end. Cancel-safe.
    pub(super) async fn look(&mut self, lane: &Lane) -> Result<Step, LogError> {
        if self.looked_at.is_some() {
            return Ok(Step::Record);
        }
        loop {
            let message = match self.consumer.recv().await {
                Ok(message) => message,
                Err(error) => match trouble(&error, lane)? {
                    Some(step) => return Ok(step),
                    None => continue,
                },
            };
            let offset = message.offset() as u64;
            if offset < self.next_offset {
                continue;
            }
            if offset > self.next_offset {
                tracing::error!(
                    topic = lane.name,
                    offset,
                    wanted = self.next_offset,
                    "records are missing"
                );
                return Ok(Step::OutOfRange);
            }
            self.looked_at = Some(Bytes::copy_from_slice(message.payload().unwrap_or_default()));
            return Ok(Step::Record);
        }
    }

    /// Takes the record that [`Self::look`] found.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        let value = self.looked_at.take()?;
        self.next_offset += 1;
        Some(value)
    }

    /// Takes what is at hand, until about `max_bytes`.
    pub(super) fn take_ready(&mut self, lane: &Lane, max_bytes: usize) -> Result<ReadBatch, LogError> {
        let first_offset = self.next_offset;
        let mut gathered = Vec::new();
        let mut ends = Vec::new();
        while gathered.len() < max_bytes {
            if self.looked_at.is_none() {
                match self.look(lane).now_or_never() {
                    Some(Ok(Step::Record)) => {}
                    Some(Err(error)) if ends.is_empty() => return Err(error),
                    Some(Ok(Step::OutOfRange)) => {
                        // Told once: after a seek it is told again, to whoever reads on.
                        self.seek(lane, self.next_offset)?;
                        break;
                    }
                    _ => break,
                }
            }
            let Some(value) = self.take() else { break };
            gathered.extend_from_slice(&value);
            ends.push(gathered.len());
        }
        let gathered = Bytes::from(gathered);
        let mut start = 0;
        let values = ends
            .into_iter()
            .map(|end| {
                let value = gathered.slice(start..end);
                start = end;
                value
            })
            .collect();
        Ok(ReadBatch { first_offset, values })
    }
}

/// What an error of a consumer means: a step, or nothing (librdkafka mends it), or the end.
fn trouble(error: &KafkaError, lane: &Lane) -> Result<Option<Step>, LogError> {
    let code = match error {
        KafkaError::PartitionEOF(_) => return Ok(Some(Step::End)),
        KafkaError::MessageConsumption(code) | KafkaError::Global(code) => *code,
        KafkaError::MessageConsumptionFatal(code) => {
            return Err(LogError::Kafka {
                action: "read",
                target: lane.name.clone(),
                source: KafkaError::MessageConsumptionFatal(*code),
            });
        }
        _ => return Ok(None),
    };
    match code {
        RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => Ok(Some(Step::OutOfRange)),
        RDKafkaErrorCode::UnknownTopic
        | RDKafkaErrorCode::UnknownTopicOrPartition
        | RDKafkaErrorCode::UnknownPartition => Err(LogError::Topic {
            topic: lane.name.clone(),
            problem: "it was deleted while it was read".to_owned(),
        }),
        RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::Authentication => Err(LogError::Kafka {
            action: "read",
            target: lane.name.clone(),
            source: error.clone(),
        }),
        _ => {
            tracing::debug!(%error, topic = lane.name, "reading goes on");
            Ok(None)
        }
    }
}

/// Idle readers of one partition.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Vec<Reader>>);

impl Pool {
    /// A reader at an offset: one that stands there, or an idle one that seeks, or a new one.
    pub(super) fn lease(&self, settings: &KafkaSettings, lane: &Lane, offset: u64) -> Result<Lease<'_>, LogError> {
        let found = {
            let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match idle.iter().position(|reader| reader.next_offset == offset) {
                Some(index) => Some(idle.remove(index)),
                None if idle.len() >= IDLE_MAX => Some(idle.remove(0)),
                None => None,
            }
        };
        let reader = match found {
            Some(mut reader) => {
                if reader.next_offset != offset {
                    reader.seek(lane, offset)?;
                }
                reader
            }
            None => Reader::open(settings, lane, offset)?,
        };
        Ok(Lease {
            reader: Some(reader),
            pool: self,
        })
    }
}

/// A reader somebody uses; it goes back to the pool, even where the use is cancelled.
#[derive(Debug)]
pub(super) struct Lease<'a> {
    reader: Option<Reader>,
    pool: &'a Pool,
}

impl std::ops::Deref for Lease<'_> {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        self.reader
            .as_ref()
            .expect("a lease holds its reader until it is dropped")
    }
}

impl std::ops::DerefMut for Lease<'_> {
    fn deref_mut(&mut self) -> &mut Reader {
        self.reader
            .as_mut()
            .expect("a lease holds its reader until it is dropped")
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let Some(reader) = self.reader.take() else {
            return;
        };
        let mut idle = self.pool.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(reader);
        if idle.len() > IDLE_MAX {
            // Closing a consumer takes a while: not under the lock.
            let oldest = idle.remove(0);
            drop(idle);
            drop(oldest);
        }
    }
}
