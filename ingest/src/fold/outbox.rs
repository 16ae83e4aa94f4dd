//! Takes out of a partition's outbox what the tables have.

use shiyu_log::state::{PartitionState, Space, StateBatch};
use shiyu_log::{LogError, Topic, fault};

/// Takes epochs out of a partition's outbox.
#[derive(Debug, Clone)]
pub struct OutboxTrimmer {
    topic: Topic,
    number: u32,
    state: PartitionState,
}

impl OutboxTrimmer {
    /// Of the partition whose state this is.
    pub(super) fn new(topic: Topic, number: u32, state: PartitionState) -> Self {
        Self { topic, number, state }
    }

    /// Which partition's it is.
    pub fn partition(&self) -> (Topic, u32) {
        (self.topic, self.number)
    }

    /// Takes epochs out, in one commit. Blocks.
    pub fn trim(&self, epochs: impl Iterator<Item = u64>) -> Result<(), LogError> {
        let mut batch = StateBatch::new();
        for epoch in epochs {
            batch.delete(Space::Outbox, epoch.to_be_bytes());
        }
        if batch.is_empty() {
            return Ok(());
        }
        fault::pass("outbox.trim")?;
        self.state.commit(batch)?;
        fault::pass("outbox.trimmed")
    }
}
