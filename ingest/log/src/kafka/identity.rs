//! The log's identity: the first record of `sources.v1`.

use std::hash::{BuildHasher as _, RandomState};

use prost::Message as _;
use shiyu_schemas::v1;

use super::Inner;
use crate::LogError;
use crate::event_log::{Records, Topic};

/// Source under which the log's identity stands in `sources.v1`; its feed is empty.
const IDENTITY_SOURCE: &str = "log";

impl Inner {
    /// The identity of the log, made by whoever finds the topic empty; of two, the first counts.
    pub(super) async fn read_identity(&self) -> Result<u64, LogError> {
        let lane = self.lane(Topic::Sources, 0)?;
        let events = self.lane(Topic::Events, 0)?;
        let events_partitions = self.lanes.keys().filter(|(topic, _)| *topic == Topic::Events).count();
        if lane.range() == (0, 0) {
            // The keys of RandomState come from the system's random source.
            let number = RandomState::new().hash_one(&lane.name);
            let identity = v1::SourcePosition {
                source: IDENTITY_SOURCE.to_owned(),
                position: format!("{number:016x}:{events_partitions}"),
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
            .and_then(|first| parse_identity(&first.position));
        let Some((number, partitions)) = identity else {
            return Err(LogError::Topic {
                topic: lane.name.clone(),
                problem: "its first record is no identity of a log of ours: another program wrote to it".to_owned(),
            });
        };
        if partitions != events_partitions {
            return Err(LogError::Topic {
                topic: events.name.clone(),
                problem: format!(
                    "it has {events_partitions} partitions and was made with {partitions}: versions of one record would be \
                     folded apart; load the city into a new prefix"
                ),
            });
        }
        Ok(number)
    }
}

/// Number of the log and partitions of its events.
fn parse_identity(text: &str) -> Option<(u64, usize)> {
    let (number, partitions) = text.split_once(':')?;
    Some((u64::from_str_radix(number, 16).ok()?, partitions.parse().ok()?))
}
