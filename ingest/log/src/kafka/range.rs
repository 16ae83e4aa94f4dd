//! Where a partition starts and ends, as the brokers tell.

use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode;

use super::client::ASK_TIMEOUT;
use super::{ASK_AGAIN, Inner, Lane, kafka_error};
use crate::LogError;

/// How often starts and ends are asked for anew.
const REFRESH_INTERVAL: Duration = Duration::from_secs(5);
/// An end that went back is asked for again so often, for a new leader may not know it yet.
const WENT_BACK_TRIES: u32 = 4;
const WENT_BACK_WAIT: Duration = Duration::from_millis(500);

impl Inner {
    /// `[start, end)` as the brokers tell now; asks until they answer.
    pub(super) async fn ask_range(&self, lane: &Lane) -> Result<(u64, u64), LogError> {
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
