//! How far each source has been read, from the log's topic `sources.v1`.

use std::collections::BTreeMap;

use prost::Message as _;
use shiyu_log::{EventLog, LogError, Records, Topic, fault};
use shiyu_schemas::v1;

use super::HubError;

const READ_BYTES: usize = 4 << 20;

/// Newest position per feed and source.
#[derive(Debug, Default)]
pub struct Positions {
    newest: BTreeMap<(String, String), String>,
}

impl Positions {
    /// Reads them back.
    pub async fn read(log: &dyn EventLog) -> Result<Self, HubError> {
        let (mut offset, end) = log.ask_range(Topic::Sources, 0).await?;
        let mut positions = Self::default();
        while offset < end {
            for batch in log.read(Topic::Sources, 0, offset, READ_BYTES).await? {
                for value in &batch.values {
                    let position = v1::SourcePosition::decode(value.as_ref()).map_err(|source| HubError::Position {
                        topic: Topic::Sources.name(),
                        offset,
                        source,
                    })?;
                    // A record without a feed is the log's own identity (Kafka).
                    if !position.feed.is_empty() {
                        positions
                            .newest
                            .insert((position.feed, position.source), position.position);
                    }
                    offset += 1;
                }
            }
        }
        Ok(positions)
    }

    /// Positions of one feed, by source.
    pub fn of(&self, feed: &str) -> BTreeMap<String, String> {
        self.newest
            .iter()
            .filter(|((name, _), _)| name == feed)
            .map(|((_, source), position)| (source.clone(), position.clone()))
            .collect()
    }

    /// Appends positions, in one write; call it only when the rows they cover are durable.
    pub async fn append(
        &mut self,
        log: &dyn EventLog,
        positions: impl IntoIterator<Item = v1::SourcePosition>,
    ) -> Result<(), LogError> {
        let positions: Vec<v1::SourcePosition> = positions.into_iter().collect();
        let mut records = Records::new();
        for position in &positions {
            records.push_message(position.source.as_bytes(), position);
        }
        fault::pass("position.append")?;
        log.append(Topic::Sources, 0, records).await?;
        let newest = positions
            .into_iter()
            .map(|position| ((position.feed, position.source), position.position));
        self.newest.extend(newest);
        Ok(())
    }
}
