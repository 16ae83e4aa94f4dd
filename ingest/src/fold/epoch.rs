//! What one epoch did, small enough to lie in the outbox until the tables have it.
//!
//! The log holds the events already, so the outbox does not hold them again: it holds what the step said about each (a byte) and what
//! the log cannot tell (changes of other cases, summed counts). Rows are made from both, the first time and after a crash, by the same
//! code. So the log may be trimmed only behind the outbox.

use bytes::Bytes;
use prost::Message;
use shiyu_schemas::v1::{self, Outcome};

use super::error::FoldError;
use super::event::{self, Event};
use super::rows::{EventRows, RejectionRows, ScoreRows};
use super::step::{Effects, OtherChange, OwnChange};

/// First byte of a blob: the format.
const FORMAT: u8 = 1;

/// Bit of an outcome's byte that says that the record is late.
pub const LATE: u8 = 0x80;
const LATE_FLAG: &str = "late";

/// Blobs live for seconds: for speed.
const COMPRESSION_LEVEL: i32 = -3;

/// Largest blob taken, bytes; what is larger is damaged.
const BLOB_BYTES_MAX: usize = 1 << 30;

/// What one epoch of a partition did.
#[derive(Clone, PartialEq, prost::Message)]
pub struct EpochRecord {
    /// Offset of its first record.
    #[prost(uint64, tag = "1")]
    pub first_offset: u64,
    /// Outcome of each record: protobuf's number, and [`LATE`] where the record is late.
    #[prost(bytes = "vec", tag = "2")]
    pub outcomes: Vec<u8>,
    /// For each accepted record: versions, and in the lowest bit whether it is paired.
    #[prost(uint64, repeated, tag = "3")]
    pub own: Vec<u64>,
    /// Changes of other cases, in order.
    #[prost(message, repeated, tag = "4")]
    pub others: Vec<IndexedChange>,
    /// Number of the first case change.
    #[prost(uint64, tag = "5")]
    pub sequence: u64,
    /// Changes of counts as they go to `cells.v1`, an encoded [`v1::CellChanges`]; none for rejections.
    #[prost(bytes = "bytes", optional, tag = "6")]
    pub cells: Option<Bytes>,
}

/// A change of another case, and the record of the epoch that caused it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct IndexedChange {
    /// Position of the record within the epoch.
    #[prost(uint32, tag = "1")]
    pub index: u32,
    /// The change.
    #[prost(message, required, tag = "2")]
    pub change: OtherChange,
}

impl EpochRecord {
    /// Offset behind its last record.
    pub fn next_offset(&self) -> u64 {
        self.first_offset + self.outcomes.len() as u64
    }

    /// Case changes it makes.
    pub fn case_changes(&self) -> u64 {
        (self.own.len() + self.others.len()) as u64
    }

    /// Adds what the next event did.
    pub fn push(&mut self, effects: &mut Effects, is_late: bool) {
        let index = self.outcomes.len() as u32;
        self.outcomes
            .push(effects.outcome as u8 | if is_late { LATE } else { 0 });
        if let Some(own) = effects.own {
            self.own.push(u64::from(own.versions) << 1 | u64::from(own.paired));
        }
        self.others
            .extend(effects.others.drain(..).map(|change| IndexedChange { index, change }));
    }

    /// As a blob of the outbox.
    pub fn to_blob(&self) -> Result<Vec<u8>, FoldError> {
        let plain = self.encode_to_vec();
        let mut blob = vec![FORMAT];
        blob.extend_from_slice(&(plain.len() as u32).to_le_bytes());
        let packed = zstd::bulk::compress(&plain, COMPRESSION_LEVEL).map_err(|error| FoldError::Outbox {
            epoch: self.next_offset(),
            problem: error.to_string(),
        })?;
        blob.extend_from_slice(&packed);
        Ok(blob)
    }

    /// Changes of counts; none where it has none.
    pub fn cell_changes(&self) -> Result<Vec<v1::CellChange>, prost::DecodeError> {
        match &self.cells {
            Some(cells) => Ok(v1::CellChanges::decode(cells.as_ref())?.changes),
            None => Ok(Vec::new()),
        }
    }

    /// From a blob of the outbox.
    pub fn from_blob(epoch: u64, blob: &[u8]) -> Result<Self, FoldError> {
        let damaged = |problem: String| FoldError::Outbox { epoch, problem };
        let Some((head, packed)) = blob.split_first_chunk::<5>() else {
            return Err(damaged(format!("it has only {} bytes", blob.len())));
        };
        let [format, length @ ..] = *head;
        if format != FORMAT {
            return Err(damaged(format!("its format is {format}, this program reads {FORMAT}")));
        }
        let length = u32::from_le_bytes(length) as usize;
        if length > BLOB_BYTES_MAX {
            return Err(damaged(format!("it claims {length} bytes")));
        }
        let plain = zstd::bulk::decompress(packed, length).map_err(|error| damaged(error.to_string()))?;
        Self::decode(plain.as_slice()).map_err(|error| damaged(error.to_string()))
    }

    /// Makes the rows again from the records of the log, which `values` gives in order.
    pub fn replay_events(&self, values: &[Bytes], rows: &mut EventRows) -> Result<(), prost::DecodeError> {
        let mut own = self.own.iter();
        let mut others = self.others.iter().peekable();
        let mut sequence = self.sequence;
        for (index, (value, &byte)) in values.iter().zip(&self.outcomes).enumerate() {
            let outcome = outcome_of(byte);
            if !matches!(outcome, Outcome::Accepted | Outcome::Stale) {
                continue;
            }
            let packed = if outcome == Outcome::Accepted { own.next() } else { None };
            let change = packed.map(|packed| OwnChange {
                versions: (packed >> 1) as u32,
                paired: packed & 1 == 1,
            });
            event::with_event(value, |mut event| {
                if byte & LATE != 0 {
                    mark_late(&mut event);
                }
                rows.push(&event, outcome, change, sequence);
                sequence += u64::from(change.is_some());
                while let Some(other) = others.next_if(|other| other.index as usize == index) {
                    rows.push_other(event.feed, &other.change, sequence);
                    sequence += 1;
                }
            })?;
        }
        self.cell_changes()?.iter().for_each(|change| rows.push_cell(change));
        Ok(())
    }

    /// The same for rejections.
    pub fn replay_rejections(&self, values: &[Bytes], rows: &mut RejectionRows) -> Result<(), prost::DecodeError> {
        for (value, outcome) in values.iter().zip(&self.outcomes) {
            if outcome_of(*outcome) == Outcome::Rejected {
                rows.push(&v1::Rejection::decode(value.clone())?);
            }
        }
        Ok(())
    }
}

/// Makes the rows of scores again; their fold says nothing about them that the log does not.
pub fn replay_scores(values: &[Bytes], rows: &mut ScoreRows) -> Result<(), prost::DecodeError> {
    for value in values {
        rows.push(&v1::Score::decode(value.clone())?);
    }
    Ok(())
}

/// Marks an event that came when its window may have been told already.
pub fn mark_late(event: &mut Event<'_>) {
    event.flags.push(LATE_FLAG);
}

/// The outcome of a byte.
pub fn outcome_of(byte: u8) -> Outcome {
    Outcome::try_from(i32::from(byte & !LATE)).unwrap_or(Outcome::Unspecified)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_blob_gives_back_what_was_put_in() {
        let record = EpochRecord {
            first_offset: 7,
            outcomes: vec![1, 2, 3],
            own: vec![3],
            ..EpochRecord::default()
        };
        assert_eq!(EpochRecord::from_blob(1, &record.to_blob().unwrap()).unwrap(), record);
        assert_eq!(record.next_offset(), 10);
    }

    #[test]
    fn a_damaged_blob_is_refused() {
        let blob = EpochRecord {
            outcomes: vec![1; 100],
            ..EpochRecord::default()
        }
        .to_blob()
        .unwrap();
        assert!(EpochRecord::from_blob(1, &blob[..3]).is_err());
        assert!(EpochRecord::from_blob(1, &blob[..blob.len() - 3]).is_err());
        assert!(EpochRecord::from_blob(1, &[9, 0, 0, 0, 0, 0]).is_err());
    }
}
