//! A partition's state as a file: what it moves to another process with, and what a backup holds.
//!
//! | bytes | what, little-endian |
//! |---|---|
//! | 8 | magic `SYSTATE1` |
//! | block | the header, protobuf |
//! | blocks | entries, in order of space and key |
//! | block | nothing: the end |
//!
//! A block is the length of its contents before and after compression (4 bytes each), the CRC32C of these 8 bytes and the compressed
//! contents (4 bytes), and the contents as zstd. An entry is its space (1 byte), the lengths of key and value (4 bytes each), key, value.
//! The end tells how many entries there are (8 bytes), so that a file that was cut is never taken for a whole one.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};

use prost::Message as _;
use shiyu_log::LogError;
use shiyu_log::state::{PartitionState, Space, StateBatch};

use super::error::FoldError;
use super::head::{HEAD, head_of};

const MAGIC: [u8; 8] = *b"SYSTATE1";
/// Contents of a block before compression, about.
const BLOCK_BYTES: usize = 1 << 20;
/// Larger blocks are no blocks of ours.
const BLOCK_BYTES_MAX: usize = 1 << 28;
const SPACES: [Space; 3] = [Space::Records, Space::Outbox, Space::Meta];

/// What a snapshot is of.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SnapshotHeader {
    /// Partition of the fold, e.g. `events-0`.
    #[prost(string, tag = "1")]
    pub partition: String,
    /// Identity of the log it was folded from.
    #[prost(fixed64, tag = "2")]
    pub log: u64,
    /// Life of the fold.
    #[prost(fixed64, tag = "3")]
    pub incarnation: u64,
    /// Offset of the next record.
    #[prost(uint64, tag = "4")]
    pub offset: u64,
    /// Last epoch committed.
    #[prost(uint64, tag = "5")]
    pub epoch: u64,
    /// Generation of the owner that wrote it; 0 where partitions have no owners.
    #[prost(uint64, tag = "6")]
    pub generation: u64,
    /// Offset of `cells.v1` behind the changes of counts that its owner knew to be there; later ones are at or behind it.
    #[prost(uint64, tag = "7")]
    pub cells_offset: u64,
    /// The last epoch whose changes of counts its owner knew to be there.
    #[prost(uint64, tag = "8")]
    pub cells_epoch: u64,
}

/// Writes a partition's state, as of its last commit, to `path`: there whole and durable, or not at all. Commits go on meanwhile.
/// `None` where nothing was committed yet. Blocks.
pub fn write_snapshot(
    state: &PartitionState,
    partition: &str,
    path: &Path,
) -> Result<Option<SnapshotHeader>, FoldError> {
    let frozen = state.freeze();
    let Some(head) = head_of(frozen.get(Space::Meta, HEAD)?)? else {
        return Ok(None);
    };
    let header = SnapshotHeader {
        partition: partition.to_owned(),
        log: head.log,
        incarnation: head.incarnation,
        offset: head.offset,
        epoch: head.epoch,
        generation: head.generation,
        cells_offset: head.cells_offset,
        cells_epoch: head.cells_epoch,
    };
    let beside = path.with_extension("tmp");
    let failed = |action: &'static str, path: &Path| {
        let path = path.to_owned();
        move |source| FoldError::from(LogError::Io { action, path, source })
    };
    let file = File::create(&beside).map_err(failed("create", &beside))?;
    let mut writer = BlockWriter::new(BufWriter::new(file));
    writer.start(&header).map_err(failed("write", &beside))?;
    for space in SPACES {
        let mut written = Ok(());
        frozen.for_each(space, |key, value| {
            if written.is_ok() {
                written = writer.entry(space, key, value);
            }
        })?;
        written.map_err(failed("write", &beside))?;
    }
    writer
        .end()
        .and_then(|file| file.sync_all())
        .map_err(failed("write", &beside))?;
    std::fs::rename(&beside, path).map_err(failed("rename", path))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed("sync the folder of", path))?;
    Ok(Some(header))
}

/// Reads what a snapshot is of. Blocks.
pub fn read_header(path: &Path) -> Result<SnapshotHeader, FoldError> {
    BlockReader::open(path)?.header()
}

/// Checks every byte of a snapshot. Blocks.
pub fn verify_snapshot(path: &Path) -> Result<SnapshotHeader, FoldError> {
    let mut reader = BlockReader::open(path)?;
    let header = reader.header()?;
    reader.entries(|_space, _key, _value| Ok(()))?;
    Ok(header)
}

/// Puts a snapshot into a state that is empty. What it was folded from is written last, so that a state half filled is known as such.
/// Blocks.
pub fn read_snapshot(path: &Path, state: &PartitionState) -> Result<SnapshotHeader, FoldError> {
    let mut reader = BlockReader::open(path)?;
    let header = reader.header()?;
    let mut batch = StateBatch::new();
    let mut last = StateBatch::new();
    let mut bytes = 0;
    reader.entries(|space, key, value| {
        if space == Space::Meta {
            last.put(space, key, value);
            return Ok(());
        }
        bytes += key.len() + value.len();
        batch.put(space, key, value);
        if bytes > BLOCK_BYTES_MAX / 16 {
            state.commit(std::mem::take(&mut batch))?;
            bytes = 0;
        }
        Ok(())
    })?;
    if !batch.is_empty() {
        state.commit(batch)?;
    }
    state.commit(last)?;
    Ok(header)
}

struct BlockWriter {
    file: BufWriter<File>,
    block: Vec<u8>,
    entries: u64,
}

impl BlockWriter {
    fn new(file: BufWriter<File>) -> Self {
        Self {
            file,
            block: Vec::with_capacity(BLOCK_BYTES + 4096),
            entries: 0,
        }
    }

    fn start(&mut self, header: &SnapshotHeader) -> std::io::Result<()> {
        self.file.write_all(&MAGIC)?;
        self.block.extend_from_slice(&header.encode_to_vec());
        self.flush()
    }

    fn entry(&mut self, space: Space, key: &[u8], value: &[u8]) -> std::io::Result<()> {
        self.block.push(number_of(space));
        self.block.extend_from_slice(&(key.len() as u32).to_le_bytes());
        self.block.extend_from_slice(&(value.len() as u32).to_le_bytes());
        self.block.extend_from_slice(key);
        self.block.extend_from_slice(value);
        self.entries += 1;
        if self.block.len() >= BLOCK_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let packed = zstd::bulk::compress(&self.block, 1)?;
        let mut lengths = [0; 8];
        lengths[..4].copy_from_slice(&(self.block.len() as u32).to_le_bytes());
        lengths[4..].copy_from_slice(&(packed.len() as u32).to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&lengths), &packed);
        self.file.write_all(&lengths)?;
        self.file.write_all(&crc.to_le_bytes())?;
        self.file.write_all(&packed)?;
        self.block.clear();
        Ok(())
    }

    fn end(mut self) -> std::io::Result<File> {
        if !self.block.is_empty() {
            self.flush()?;
        }
        self.flush()?;
        self.file.write_all(&self.entries.to_le_bytes())?;
        self.file.into_inner().map_err(std::io::IntoInnerError::into_error)
    }
}

struct BlockReader {
    path: PathBuf,
    file: BufReader<File>,
}

impl BlockReader {
    fn open(path: &Path) -> Result<Self, FoldError> {
        let file = File::open(path).map_err(|source| LogError::Io {
            action: "open",
            path: path.to_owned(),
            source,
        })?;
        let mut reader = Self {
            path: path.to_owned(),
            file: BufReader::new(file),
        };
        let mut magic = [0; 8];
        reader.fill(&mut magic)?;
        if magic == MAGIC {
            Ok(reader)
        } else {
            Err(reader.damaged("it is no snapshot, or one of another version"))
        }
    }

    fn damaged(&self, problem: &str) -> FoldError {
        FoldError::Snapshot {
            path: self.path.clone(),
            problem: problem.to_owned(),
        }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), FoldError> {
        self.file.read_exact(bytes).map_err(|source| match source.kind() {
            std::io::ErrorKind::UnexpectedEof => self.damaged("it ends too early"),
            _ => FoldError::from(LogError::Io {
                action: "read",
                path: self.path.clone(),
                source,
            }),
        })
    }

    fn block(&mut self) -> Result<Vec<u8>, FoldError> {
        let (mut lengths, mut crc) = ([0; 8], [0; 4]);
        self.fill(&mut lengths)?;
        self.fill(&mut crc)?;
        let length = |at: usize| u32::from_le_bytes([lengths[at], lengths[at + 1], lengths[at + 2], lengths[at + 3]]);
        let (raw, packed) = (length(0) as usize, length(4) as usize);
        if raw > BLOCK_BYTES_MAX || packed > BLOCK_BYTES_MAX {
            return Err(self.damaged("a block claims too many bytes"));
        }
        let mut bytes = vec![0; packed];
        self.fill(&mut bytes)?;
        if crc32c::crc32c_append(crc32c::crc32c(&lengths), &bytes) != u32::from_le_bytes(crc) {
            return Err(self.damaged("a checksum is wrong"));
        }
        zstd::bulk::decompress(&bytes, raw).map_err(|error| self.damaged(&error.to_string()))
    }

    fn header(&mut self) -> Result<SnapshotHeader, FoldError> {
        let block = self.block()?;
        SnapshotHeader::decode(block.as_slice()).map_err(|error| self.damaged(&error.to_string()))
    }

    fn entries(&mut self, mut see: impl FnMut(Space, &[u8], &[u8]) -> Result<(), FoldError>) -> Result<(), FoldError> {
        let mut entries = 0_u64;
        loop {
            let block = self.block()?;
            if block.is_empty() {
                break;
            }
            let mut rest = block.as_slice();
            while let Some((&number, behind)) = rest.split_first() {
                let space = SPACES.into_iter().find(|&space| number_of(space) == number);
                let parts = space.and_then(|space| {
                    let (key_length, behind) = behind.split_first_chunk::<4>()?;
                    let (value_length, behind) = behind.split_first_chunk::<4>()?;
                    let (key, behind) = behind.split_at_checked(u32::from_le_bytes(*key_length) as usize)?;
                    let (value, behind) = behind.split_at_checked(u32::from_le_bytes(*value_length) as usize)?;
                    Some((space, key, value, behind))
                });
                let Some((space, key, value, behind)) = parts else {
                    return Err(self.damaged("an entry is cut"));
                };
                see(space, key, value)?;
                entries += 1;
                rest = behind;
            }
        }
        let mut told = [0; 8];
        self.fill(&mut told)?;
        if u64::from_le_bytes(told) == entries {
            Ok(())
        } else {
            Err(self.damaged("entries are missing"))
        }
    }
}

fn number_of(space: Space) -> u8 {
    match space {
        Space::Records => 1,
        Space::Meta => 2,
        Space::Outbox => 3,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use shiyu_log::state::StateStore;

    use super::super::head::Head;
    use super::*;

    fn filled(store: &StateStore, records: u32) -> PartitionState {
        let state = store.partition("events-0").unwrap();
        let head = Head {
            log: 5,
            incarnation: 6,
            offset: 7,
            epoch: 7,
            cells_offset: 4,
            generation: 3,
            ..Head::default()
        };
        let mut batch = StateBatch::new();
        batch.put(Space::Meta, HEAD, head.encode_to_vec());
        batch.put(Space::Outbox, b"o".as_slice(), vec![9; 100]);
        for number in 0..records {
            batch.put(Space::Records, number.to_be_bytes(), number.to_le_bytes().repeat(30));
        }
        state.commit(batch).unwrap();
        state
    }

    #[test]
    fn a_state_comes_back_from_its_snapshot() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("7.state");
        let store = StateStore::open(&folder.path().join("one")).unwrap();
        let state = filled(&store, 30_000);
        let written = write_snapshot(&state, "events-0", &path).unwrap().unwrap();
        assert_eq!(
            (written.log, written.incarnation, written.offset, written.generation),
            (5, 6, 7, 3)
        );
        assert_eq!(read_header(&path).unwrap(), written);
        assert_eq!(verify_snapshot(&path).unwrap(), written);
        let other = StateStore::open(&folder.path().join("two")).unwrap();
        let copy = other.partition("events-0").unwrap();
        assert_eq!(read_snapshot(&path, &copy).unwrap(), written);
        for space in SPACES {
            assert_eq!(copy.prefix(space, b"").unwrap(), state.prefix(space, b"").unwrap());
        }
    }

    #[test]
    fn a_state_without_a_commit_has_no_snapshot() {
        let folder = tempfile::tempdir().unwrap();
        let store = StateStore::open(folder.path()).unwrap();
        let state = store.partition("events-0").unwrap();
        let path = folder.path().join("0.state");
        let written = write_snapshot(&state, "events-0", &path).unwrap();
        assert!(written.is_none() && !path.exists());
    }

    #[test]
    fn a_changed_bit_and_a_cut_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("7.state");
        let store = StateStore::open(&folder.path().join("one")).unwrap();
        write_snapshot(&filled(&store, 20), "events-0", &path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, &damaged).unwrap();
            assert!(verify_snapshot(&path).is_err(), "bit at {at}");
            std::fs::write(&path, &bytes[..at]).unwrap();
            assert!(verify_snapshot(&path).is_err(), "cut at {at}");
        }
    }
}
