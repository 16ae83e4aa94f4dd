//! The engine's state in one file, so that a start reads only what came after it.
//!
//! It can be lost: then the engine reads `cells.v1` and `scores.v1` from their start. It is replaced whole (written beside, synced,
//! renamed), and counts and the offset up to which they are in stand in the same file, so a crash leaves the old one or the new one.
//!
//! Bytes: magic `SYR1`, xxh3-64 of what follows (little-endian), length before compression (8 bytes), one zstd frame of [`Checkpoint`].

use std::path::Path;

use prost::Message as _;
use shiyu_log::{LogError, durable};
use shiyu_schemas::v1;

const MAGIC: [u8; 4] = *b"SYR1";
const HEAD_BYTES: usize = 20;
/// Checkpoints beyond this are no files of ours, bytes before compression.
const BYTES_MAX: u64 = 16 << 30;

/// What a start needs.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Checkpoint {
    /// Identity of the log whose offsets these are.
    #[prost(fixed64, tag = "1")]
    pub(super) log: u64,
    /// Next offset of `cells.v1`.
    #[prost(uint64, tag = "2")]
    pub(super) input_offset: u64,
    /// The live cells.
    #[prost(message, required, tag = "3")]
    pub(super) live: LiveState,
    /// What the open windows froze.
    #[prost(message, repeated, tag = "4")]
    pub(super) frozen: Vec<FrozenState>,
    /// Offset of `scores.v1` at which `scores` were the newest of their cells.
    #[prost(uint64, tag = "5")]
    pub(super) scores_offset: u64,
    /// See `scores_offset`.
    #[prost(message, repeated, tag = "6")]
    pub(super) scores: Vec<v1::Score>,
}

/// The live cells.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct LiveState {
    /// Category codes; rows name them by their number.
    #[prost(string, repeated, tag = "1")]
    pub(super) categories: Vec<String>,
    /// The cells.
    #[prost(message, repeated, tag = "2")]
    pub(super) cells: Vec<CellRows>,
    /// Last epoch of each partition and incarnation.
    #[prost(message, repeated, tag = "3")]
    pub(super) epochs: Vec<SeenEpoch>,
    /// Generation of the owner of each partition.
    #[prost(message, repeated, tag = "4")]
    pub(super) owners: Vec<Owner>,
    /// Greatest watermark, microseconds since 1970 UTC.
    #[prost(sint64, optional, tag = "5")]
    pub(super) watermark_us: Option<i64>,
}

/// Rows of one cell, column by column.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct CellRows {
    /// Resolution 9.
    #[prost(sfixed64, tag = "1")]
    pub(super) cell: i64,
    /// Hours, each as the difference to the one before it, microseconds.
    #[prost(sint64, repeated, tag = "2")]
    pub(super) hours: Vec<i64>,
    /// Category's number, whether only the day is known, channel, origin, precision: 32, 8, 8, 8, 8 bits.
    #[prost(uint64, repeated, tag = "3")]
    pub(super) kinds: Vec<u64>,
    /// Cases.
    #[prost(sint64, repeated, tag = "4")]
    pub(super) counts: Vec<i64>,
    /// Open cases.
    #[prost(sint64, repeated, tag = "5")]
    pub(super) open: Vec<i64>,
    /// Sums of severities.
    #[prost(sint64, repeated, tag = "6")]
    pub(super) severities: Vec<i64>,
}

/// Last epoch seen.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SeenEpoch {
    /// Partition of the fold.
    #[prost(uint32, tag = "1")]
    pub(super) partition: u32,
    /// Life of the fold.
    #[prost(fixed64, tag = "2")]
    pub(super) incarnation: u64,
    /// The epoch.
    #[prost(uint64, tag = "3")]
    pub(super) epoch: u64,
}

/// Who owns a partition.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Owner {
    /// Partition of the fold.
    #[prost(uint32, tag = "1")]
    pub(super) partition: u32,
    /// The owner's generation.
    #[prost(uint64, tag = "2")]
    pub(super) generation: u64,
}

/// What a window froze for one model.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct FrozenState {
    /// The model.
    #[prost(string, tag = "1")]
    pub(super) model: String,
    /// Hash of its definition: another one freezes anew.
    #[prost(fixed64, tag = "2")]
    pub(super) definition: u64,
    /// Priors by factor.
    #[prost(message, repeated, tag = "3")]
    pub(super) priors: Vec<PriorState>,
    /// Cases in all cells when it was frozen.
    #[prost(sint64, tag = "4")]
    pub(super) total: i64,
    /// End of the window, microseconds since 1970 UTC.
    #[prost(sint64, tag = "5")]
    pub(super) window_end_us: i64,
}

/// Prior of one factor; none where it has no rate.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct PriorState {
    /// Pseudo-exposure.
    #[prost(double, optional, tag = "1")]
    pub(super) exposure: Option<f64>,
    /// Pseudo-count.
    #[prost(double, optional, tag = "2")]
    pub(super) count: Option<f64>,
    /// Shrunken rate that gives 1.
    #[prost(double, optional, tag = "3")]
    pub(super) full: Option<f64>,
}

impl Checkpoint {
    /// The file's bytes.
    pub(super) fn to_bytes(&self) -> std::io::Result<Vec<u8>> {
        let plain = self.encode_to_vec();
        let packed = zstd::bulk::compress(&plain, -1)?;
        let mut bytes = Vec::with_capacity(HEAD_BYTES + packed.len());
        bytes.extend(MAGIC);
        bytes.extend([0; 8]);
        bytes.extend((plain.len() as u64).to_le_bytes());
        bytes.extend(packed);
        let hash = xxhash_rust::xxh3::xxh3_64(&bytes[12..]);
        bytes[4..12].copy_from_slice(&hash.to_le_bytes());
        Ok(bytes)
    }

    /// From a file's bytes; what is wrong with them, if they are none.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let (magic, rest) = bytes.split_first_chunk::<4>().ok_or("it is cut off")?;
        let (hash, covered) = rest.split_first_chunk::<8>().ok_or("it is cut off")?;
        let (length, packed) = covered.split_first_chunk::<8>().ok_or("it is cut off")?;
        if *magic != MAGIC {
            return Err("its format is another one".to_owned());
        }
        let length = u64::from_le_bytes(*length);
        if u64::from_le_bytes(*hash) != xxhash_rust::xxh3::xxh3_64(covered) || length > BYTES_MAX {
            return Err("its checksum does not match".to_owned());
        }
        let plain = zstd::bulk::decompress(packed, length as usize).map_err(|error| error.to_string())?;
        Self::decode(plain.as_slice()).map_err(|error| error.to_string())
    }

    /// Reads the checkpoint of a log; none where there is none that can be used, which is told.
    pub(super) fn read(path: &Path, log: u64) -> Option<Self> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot read the checkpoint; reading the log from its start");
                return None;
            }
        };
        match Self::from_bytes(&bytes) {
            Ok(checkpoint) if checkpoint.log == log => Some(checkpoint),
            Ok(_foreign) => {
                tracing::info!(path = %path.display(), "the checkpoint is of another log; reading this one from its start");
                None
            }
            Err(problem) => {
                tracing::warn!(path = %path.display(), problem, "cannot use the checkpoint; reading the log from its start");
                None
            }
        }
    }

    /// Replaces the file. Blocks.
    pub(super) fn write(&self, path: &Path) -> Result<(), LogError> {
        let io = |action: &'static str| {
            move |source| LogError::Io {
                action,
                path: path.to_owned(),
                source,
            }
        };
        let bytes = self.to_bytes().map_err(io("compress"))?;
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(io("make the folder of"))?;
        }
        durable::replace(path, &bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn small() -> Checkpoint {
        Checkpoint {
            log: 7,
            input_offset: 12,
            scores_offset: 3,
            scores: vec![v1::Score::default()],
            ..Checkpoint::default()
        }
    }

    #[test]
    fn a_checkpoint_comes_back_and_a_damaged_or_foreign_one_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine/checkpoint");
        assert!(Checkpoint::read(&path, 7).is_none());
        small().write(&path).unwrap();
        assert_eq!(Checkpoint::read(&path, 7), Some(small()));
        assert_eq!(Checkpoint::read(&path, 8), None);
        let bytes = std::fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(Checkpoint::from_bytes(&damaged).is_err(), "byte {at}");
            assert!(Checkpoint::from_bytes(&bytes[..at]).is_err(), "cut at {at}");
        }
    }
}
