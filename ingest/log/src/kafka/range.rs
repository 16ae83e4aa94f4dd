//! Where a partition starts and ends, as the brokers tell.

use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use tokio::time::Instant;

use super::client::{self, ASK_TIMEOUT, Context};
use super::{ASK_AGAIN, Inner, Lane, kafka_error};
use crate::LogError;

/// How often starts and ends are asked for anew.
const REFRESH_INTERVAL: Duration = Duration::from_secs(5);
/// How long an end that went back, or a topic that is not known, may be a new leader's or broker's ignorance.
const IGNORANCE_MAX: Duration = Duration::from_secs(45);

/// What brokers say to one question.
enum Answer {
    /// Start and end.
    Range(u64, u64),
    /// There is no such topic.
    Unknown,
    /// Nothing.
    None,
}

impl Inner {
    /// `[start, end)` as the brokers tell now; asks until they answer.
    pub(super) async fn ask_range(&self, lane: &Lane) -> Result<(u64, u64), LogError> {
        let patience = IGNORANCE_MAX.min(self.settings.delivery_timeout);
        let mut odd_since: Option<Instant> = None;
        loop {
            let (_, known) = lane.range();
            let problem = match self.or_closed(self.ask(lane)).await?? {
                Answer::Range(start, end) if end >= known => {
                    lane.range.send_if_modified(|range| {
                        let now = (start, end.max(range.1));
                        let changed = *range != now;
                        *range = now;
                        changed
                    });
                    return Ok(lane.range());
                }
                Answer::Range(start, end) => Some(lane.truncated(known, (start, end))),
                Answer::Unknown => Some(LogError::Topic {
                    topic: lane.name.clone(),
                    problem: "it was deleted".to_owned(),
                }),
                Answer::None => None,
            };
            if let Some(problem) = problem {
                if odd_since.get_or_insert_with(Instant::now).elapsed() >= patience {
                    return Err(problem);
                }
                tracing::warn!(%problem, "asking again, for a broker that is new to this may not know better");
            }
            self.or_closed(tokio::time::sleep(ASK_AGAIN)).await?;
        }
    }

    /// One question.
    async fn ask(&self, lane: &Lane) -> Result<Answer, LogError> {
        let (asker, name, partition) = (self.asker.clone(), lane.name.clone(), lane.partition as i32);
        let answer = tokio::task::spawn_blocking(move || {
            client::serve(&asker);
            ask_leader(&asker, &name, partition)
        })
        .await
        .map_err(|_ended| LogError::Closed)?;
        match answer {
            Ok(answer) => Ok(answer),
            Err(error) => {
                if let Some(RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::Authentication) =
                    error.rdkafka_error_code()
                {
                    Err(kafka_error("ask for offsets of", &lane.name)(error))
                } else {
                    tracing::warn!(%error, topic = lane.name, "brokers do not tell offsets; asking again");
                    Ok(Answer::None)
                }
            }
        }
    }
}

/// Asks the leader of a partition. librdkafka does not notice by itself that its idea of who that is has become old: where the answer is
/// an error, the brokers are asked for the leaders first. Blocks.
fn ask_leader(asker: &BaseConsumer<Context>, name: &str, partition: i32) -> Result<Answer, KafkaError> {
    let range = |(start, end): (i64, i64)| Answer::Range(start.max(0) as u64, end.max(0) as u64);
    if let Ok(found) = asker.fetch_watermarks(name, partition, ASK_TIMEOUT) {
        return Ok(range(found));
    }
    let metadata = asker.fetch_metadata(Some(name), ASK_TIMEOUT)?;
    let is_unknown = metadata
        .topics()
        .iter()
        .find(|topic| topic.name() == name)
        .is_none_or(|topic| topic.error() == Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART));
    if is_unknown {
        return Ok(Answer::Unknown);
    }
    asker.fetch_watermarks(name, partition, ASK_TIMEOUT).map(range)
}

/// Asks for starts and ends now and then, and tells how far readers are behind.
pub(super) async fn refresh(inner: Weak<Inner>) {
    loop {
        tokio::time::sleep(REFRESH_INTERVAL).await;
        let Some(inner) = inner.upgrade() else { return };
        if *inner.closed.borrow() {
            return;
        }
        for lane in inner.lanes.values() {
            match inner.ask(lane).await {
                // An end that went back is left to those who read and append: they tell it as what it is.
                Ok(Answer::Range(start, end)) => {
                    lane.range.send_if_modified(|range| {
                        let further = end > range.1;
                        *range = (start.max(range.0), end.max(range.1));
                        further
                    });
                }
                Ok(Answer::None | Answer::Unknown) => {}
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
