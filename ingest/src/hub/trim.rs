//! Takes old segments off the log, behind everybody who may need them.

use shiyu_log::local::LocalLog;
use shiyu_log::{EventLog as _, Topic};

use super::{Hub, HubError, backup};
use crate::fold::head::standing_of;
use crate::fold::partition::state_name;

/// Topics that are trimmed. `cells.v1` and `scores.v1` are read whole when the engine starts, `sources.v1` and
/// `revisions.v1` when the hub does.
const TRIMMED: [Topic; 2] = [Topic::Events, Topic::Rejections];

impl Hub {
    /// Removes segments of `events.v1` and `rejections.v1` that lie wholly before what the fold and its outbox need, durably, and before
    /// what every backup that still exists has folded; `bytes_kept` of each partition stay in any case. Without a backup nothing goes, for
    /// then only the log could make the tables again.
    pub async fn trim(&self, bytes_kept: u64) -> Result<(), HubError> {
        let (Some(log), Some(state)) = (self.embedded.clone(), self.state.clone()) else {
            return Err(HubError::EmbeddedOnly { what: "trim the log" });
        };
        let data_dir = self.data_dir().to_owned();
        let names: Vec<(Topic, u32)> = TRIMMED
            .into_iter()
            .flat_map(|topic| (0..log.partitions(topic)).map(move |partition| (topic, partition)))
            .collect();
        let looking = tokio::task::spawn_blocking(move || {
            let backups = backup::registered(&data_dir)?;
            let mut behind = Vec::new();
            for (topic, partition) in names {
                let name = state_name(topic, partition);
                let folded = standing_of(&state.partition(&name)?)?.map(|standing| standing.needed_from);
                let backed_up = backups
                    .iter()
                    .map(|backup| backup.offsets.get(&name).copied().unwrap_or(0));
                if let (Some(folded), Some(backed_up)) = (folded, backed_up.min()) {
                    behind.push((topic, partition, folded.min(backed_up)));
                }
            }
            Ok::<_, HubError>(behind)
        });
        for (topic, partition, offset) in looking.await?? {
            let before = offset.min(kept_from(&log, topic, partition, bytes_kept)?);
            let start = log.trim(topic, partition, before).await?;
            let labels = [("topic", topic.name().to_owned()), ("partition", partition.to_string())];
            metrics::gauge!("shiyu_log_start_offset", &labels).set(start as f64);
        }
        Ok(())
    }
}

/// First offset of the segment with which `bytes_kept` are kept.
fn kept_from(log: &LocalLog, topic: Topic, partition: u32, bytes_kept: u64) -> Result<u64, HubError> {
    let mut bytes = 0;
    for (path, length) in log.files(topic, partition)?.into_iter().rev() {
        bytes += length;
        if bytes >= bytes_kept {
            let base = path.file_stem().and_then(|stem| stem.to_str());
            return Ok(base.and_then(|base| base.parse().ok()).unwrap_or(0));
        }
    }
    Ok(0)
}
