//! Where the fold of a partition stands: one value of its state, part of every commit.

use prost::Message;
use shiyu_log::state::{PartitionState, Space, StateBatch};

use super::epoch::EpochRecord;
use super::error::FoldError;

/// Key of the head, in `meta`.
pub(super) const HEAD: &[u8] = b"head";

/// The value, as it is stored.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Head {
    /// The log it is folded from.
    #[prost(fixed64, tag = "1")]
    pub(super) log: u64,
    /// This life of the fold.
    #[prost(fixed64, tag = "2")]
    pub(super) incarnation: u64,
    /// Offset of the next record.
    #[prost(uint64, tag = "3")]
    pub(super) offset: u64,
    /// The last epoch committed; an epoch's number is the offset behind its last record.
    #[prost(uint64, tag = "4")]
    pub(super) epoch: u64,
    /// Case changes made.
    #[prost(uint64, tag = "5")]
    pub(super) sequence: u64,
    /// Microseconds since 1970 UTC.
    #[prost(sint64, tag = "6")]
    pub(super) watermark_us: i64,
    /// Epochs whose changes of counts were in the log when this was committed.
    #[prost(uint64, tag = "7")]
    pub(super) cells_epoch: u64,
    /// Offset of `cells.v1` behind these changes, as far as this owner appended them.
    #[prost(uint64, tag = "8")]
    pub(super) cells_offset: u64,
    /// Generation of the owner; 0 where partitions have no owners.
    #[prost(uint64, tag = "9")]
    pub(super) generation: u64,
    /// Hash of the last record folded, by which a topic that was made anew is known; 0: none yet.
    #[prost(fixed64, tag = "10")]
    pub(super) last_record: u64,
}

/// Where the fold of a partition stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Offset of the next record to fold.
    pub offset: u64,
    /// Epochs committed.
    pub epoch: u64,
    /// First offset of what the outbox still holds, or else `offset`: what lies before it is never read again.
    pub needed_from: u64,
}

/// Where a committed state stands; none where nothing was committed. Blocks.
pub fn standing_of(state: &PartitionState) -> Result<Option<Standing>, FoldError> {
    let Some(head) = head_of(state.get(Space::Meta, HEAD)?)? else {
        return Ok(None);
    };
    let mut needed_from = head.offset;
    if let Some((key, blob)) = state.prefix(Space::Outbox, b"")?.first() {
        let epoch = key.as_slice().try_into().map_or(0, u64::from_be_bytes);
        needed_from = EpochRecord::from_blob(epoch, blob)?.first_offset;
    }
    Ok(Some(Standing {
        offset: head.offset,
        epoch: head.epoch,
        needed_from,
    }))
}

/// Offset of the next record and number of epochs, from a head's bytes.
pub fn place_of_head(bytes: &[u8]) -> Result<(u64, u64), FoldError> {
    let head: Head = decode(bytes, "the head of a partition")?;
    Ok((head.offset, head.epoch))
}

/// Makes a state go on with another log, which holds the same records: a restored one. Blocks.
pub fn rebase(state: &PartitionState, log: u64) -> Result<(), FoldError> {
    let Some(head) = head_of(state.get(Space::Meta, HEAD)?)? else {
        return Ok(());
    };
    let mut batch = StateBatch::new();
    batch.put(Space::Meta, HEAD, Head { log, ..head }.encode_to_vec());
    Ok(state.commit(batch)?)
}

/// The head of a state, if it has one.
pub(super) fn head_of(bytes: Option<Vec<u8>>) -> Result<Option<Head>, FoldError> {
    bytes.map(|bytes| decode(&bytes, "the head of a partition")).transpose()
}

/// The offset a state is at; none where nothing was committed.
pub fn offset_of(state: &PartitionState) -> Result<Option<u64>, FoldError> {
    Ok(head_of(state.get(Space::Meta, HEAD)?)?.map(|head| head.offset))
}

pub(super) fn decode<T: Message + Default>(bytes: &[u8], what: &'static str) -> Result<T, FoldError> {
    T::decode(bytes).map_err(|source| FoldError::State { what, source })
}
