//! Appends: records of one append go to one partition, in order, and are answered together.
//!
//! The producer is idempotent: what librdkafka sends again is stored once, and records of one partition stay in order. Other
//! processes write to the same partition, so the records of one append may have theirs in between: the answer says which offsets are
//! whose. Delivery reports of a partition come in order, so the n-th report is the n-th record's.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rdkafka::Message as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ThreadedProducer};
use tokio::sync::oneshot;

use super::client::{self, Context};
use super::settings::KafkaSettings;
use super::{Lane, kafka_error};
use crate::LogError;
use crate::event_log::{Appended, Records};

/// How long to wait where the producer's queue is full.
const QUEUE_FULL_WAIT: Duration = Duration::from_millis(5);

type OurProducer = ThreadedProducer<Context>;

/// Writes to all partitions.
pub(super) struct Appender {
    settings: KafkaSettings,
    producer: RwLock<Arc<OurProducer>>,
}

impl std::fmt::Debug for Appender {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Appender").finish_non_exhaustive()
    }
}

impl Appender {
    pub(super) fn new(settings: &KafkaSettings) -> Result<Self, LogError> {
        Ok(Self {
            settings: settings.clone(),
            producer: RwLock::new(Arc::new(new_producer(settings)?)),
        })
    }

    /// Appends and returns when every record is where it must be. After an error some of them may be in the log.
    pub(super) async fn append(&self, lane: &Lane, records: &Records) -> Result<Delivered, LogError> {
        let producer = self.usable_producer()?;
        let (pending, answered) = Pending::new(records.len());
        {
            // One append after the other hands its records over, so that they stand together.
            let _turn = lane.turn.lock().await;
            for (handed, (key, value)) in records.iter().enumerate() {
                if let Err(error) = send(&producer, lane, key, value, &pending).await {
                    pending.refused(records.len() - handed, &error);
                    break;
                }
            }
        }
        let answer = answered.await.map_err(|_ended| LogError::Closed)?;
        answer.map_err(|problem| {
            metrics::counter!("shiyu_kafka_failed_appends_total", "topic" => lane.topic.name()).increment(1);
            LogError::Unsure {
                topic: lane.topic.name(),
                partition: lane.partition,
                problem,
            }
        })
    }

    /// The producer; a new one where the old one may not go on (it lost count of what brokers have).
    fn usable_producer(&self) -> Result<Arc<OurProducer>, LogError> {
        let producer = self.producer.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some((code, reason)) = producer.client().fatal_error() else {
            return Ok(producer);
        };
        let mut current = self.producer.write().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&current, &producer) {
            tracing::warn!(%code, reason, "replacing a producer that may not go on");
            *current = Arc::new(new_producer(&self.settings)?);
        }
        Ok(current.clone())
    }
}

fn new_producer(settings: &KafkaSettings) -> Result<OurProducer, LogError> {
    client::producer(settings)?
        .create_with_context(Context::new(settings))
        .map_err(kafka_error("start a producer for", &settings.to_string()))
}

async fn send(
    producer: &OurProducer,
    lane: &Lane,
    key: &[u8],
    value: &[u8],
    pending: &Arc<Pending>,
) -> Result<(), KafkaError> {
    loop {
        let record = BaseRecord::with_opaque_to(&lane.name, pending.clone())
            .partition(lane.partition as i32)
            .key(key)
            .payload(value);
        match producer.send(record).map_err(|(error, _record)| error) {
            Err(KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) => {
                tokio::time::sleep(QUEUE_FULL_WAIT).await;
            }
            other => return other,
        }
    }
}

/// Records that are where they must be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Delivered {
    /// At these offsets.
    Placed(Appended),
    /// Somewhere: an answer was lost, and what librdkafka sent again the brokers had already.
    Unplaced,
}

/// An append under way.
pub(super) struct Pending(Mutex<Counting>);

struct Counting {
    left: usize,
    extents: Vec<(u64, u64)>,
    problem: Option<String>,
    unplaced: bool,
    answer: Option<oneshot::Sender<Result<Delivered, String>>>,
}

impl Pending {
    fn new(records: usize) -> (Arc<Self>, oneshot::Receiver<Result<Delivered, String>>) {
        let (answer, answered) = oneshot::channel();
        let counting = Counting {
            left: records,
            extents: Vec::new(),
            problem: None,
            unplaced: false,
            answer: Some(answer),
        };
        (Arc::new(Self(Mutex::new(counting))), answered)
    }

    /// A broker has the next record, or librdkafka gave up on it.
    pub(super) fn delivered(&self, result: &DeliveryResult<'_>) {
        self.count(1, |counting| match result {
            Ok(message) => counting.add(message.offset()),
            Err((error, _message)) => counting.fail(&error.to_string()),
        });
    }

    /// The last records were never handed over.
    fn refused(&self, records: usize, error: &KafkaError) {
        self.count(records, |counting| counting.fail(&error.to_string()));
    }

    fn count(&self, records: usize, note: impl FnOnce(&mut Counting)) {
        let mut counting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        note(&mut counting);
        counting.left -= records.min(counting.left);
        if counting.left == 0
            && let Some(answer) = counting.answer.take()
        {
            let result = match counting.problem.take() {
                Some(problem) => Err(problem),
                None if counting.unplaced => Ok(Delivered::Unplaced),
                None => Ok(Delivered::Placed(Appended::of_extents(std::mem::take(
                    &mut counting.extents,
                )))),
            };
            // Whoever asked may have gone; the records stay.
            let _gone = answer.send(result);
        }
    }
}

impl Counting {
    fn add(&mut self, offset: i64) {
        let Ok(offset) = u64::try_from(offset) else {
            self.unplaced = true;
            return;
        };
        match self.extents.last_mut() {
            Some((_, end)) if *end == offset => *end += 1,
            Some((_, end)) if *end > offset => self.fail("offsets of one append are not in order"),
            _ => self.extents.push((offset, offset + 1)),
        }
    }

    fn fail(&mut self, problem: &str) {
        self.problem.get_or_insert_with(|| problem.to_owned());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn of(offsets: &[i64]) -> Result<Delivered, String> {
        let (pending, mut answered) = Pending::new(offsets.len());
        for &offset in offsets {
            pending.count(1, |counting| counting.add(offset));
        }
        answered.try_recv().unwrap()
    }

    #[test]
    fn records_of_others_in_between_are_not_ours() {
        let Delivered::Placed(appended) = of(&[3, 4, 9, 10, 12]).unwrap() else {
            panic!("it has its place")
        };
        assert_eq!((appended.first_offset, appended.next_offset), (3, 13));
        assert_eq!(appended.extents().collect::<Vec<_>>(), [(3, 5), (9, 11), (12, 13)]);
        assert_eq!(of(&[5, 6]).unwrap(), Delivered::Placed(Appended::contiguous(5, 7)));
    }

    #[test]
    fn offsets_out_of_order_are_an_error() {
        assert!(of(&[3, 4, 2]).is_err());
        assert!(of(&[3, 3]).is_err());
    }

    #[test]
    fn records_whose_answer_was_lost_are_there_and_nobody_knows_where() {
        assert_eq!(of(&[3, -1001, 5]).unwrap(), Delivered::Unplaced);
    }
}
