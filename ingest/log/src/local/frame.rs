//! One append as bytes: a header, then keys and values in one zstd frame.
//!
//! | bytes | what, little-endian |
//! |---|---|
//! | 4 | magic `SYF2` |
//! | 4 | length of the payload |
//! | 4 | length of the payload before compression |
//! | 4 | number of records |
//! | 8 | offset of the first record |
//! | 4 | records of the same write that stand before this frame |
//! | 4 | CRC32C over the payload, then the 28 bytes above |
//!
//! A write may hold several frames and is synced once. A frame therefore says where its write began: everything before that was
//! synced when it was written, so damage there is damage, while damage behind it may be what a crash left of the write.
//!
//! The payload: per record the lengths of key and value (4 bytes each), then all keys, then all values.

use bytes::Bytes;

use crate::event_log::{ReadBatch, Records};

/// Bytes of the header.
pub const HEADER_BYTES: usize = 32;
/// First bytes of every frame.
pub const MAGIC: [u8; 4] = *b"SYF2";
/// Payloads beyond this are no frames of ours.
pub const PAYLOAD_MAX: usize = 256 << 20;
/// Faster than 1 by a third, and larger by a quarter.
const COMPRESSION_LEVEL: i32 = -1;

/// A compressed frame that has no offset yet.
#[derive(Debug)]
pub struct Frame {
    payload: Vec<u8>,
    /// The payload before compression.
    raw: Bytes,
    records: u32,
    payload_crc: u32,
}

impl Frame {
    /// Compresses records.
    pub fn encode(records: &Records) -> std::io::Result<Self> {
        let mut raw = Vec::with_capacity(records.size_bytes() + 8 * records.len());
        for (key, value) in records.iter() {
            raw.extend_from_slice(&(key.len() as u32).to_le_bytes());
            raw.extend_from_slice(&(value.len() as u32).to_le_bytes());
        }
        raw.extend_from_slice(records.keys());
        raw.extend_from_slice(records.values());
        let payload = zstd::bulk::compress(&raw, COMPRESSION_LEVEL)?;
        let payload_crc = crc32c::crc32c(&payload);
        Ok(Self {
            payload,
            raw: raw.into(),
            records: records.len() as u32,
            payload_crc,
        })
    }

    /// Number of records.
    pub fn records(&self) -> u32 {
        self.records
    }

    /// The payload before compression.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// Bytes of the whole frame.
    pub fn length(&self) -> u64 {
        (HEADER_BYTES + self.payload.len()) as u64
    }

    /// Appends the frame's bytes, with its first record at `base_offset`; the write it is part of begins at `write_offset`.
    pub fn write(&self, base_offset: u64, write_offset: u64, buffer: &mut Vec<u8>) {
        let start = buffer.len();
        buffer.extend_from_slice(&MAGIC);
        buffer.extend_from_slice(&(self.payload.len() as u32).to_le_bytes());
        buffer.extend_from_slice(&(self.raw.len() as u32).to_le_bytes());
        buffer.extend_from_slice(&self.records.to_le_bytes());
        buffer.extend_from_slice(&base_offset.to_le_bytes());
        buffer.extend_from_slice(&((base_offset - write_offset) as u32).to_le_bytes());
        let crc = crc32c::crc32c_append(self.payload_crc, &buffer[start..]);
        buffer.extend_from_slice(&crc.to_le_bytes());
        buffer.extend_from_slice(&self.payload);
    }
}

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Length of the payload.
    pub payload_length: u32,
    /// Its length before compression.
    pub raw_length: u32,
    /// Number of records.
    pub records: u32,
    /// Offset of the first record.
    pub base_offset: u64,
    /// Offset where the write it is part of begins.
    pub write_offset: u64,
    crc: u32,
    covered: [u8; HEADER_BYTES - 4],
}

impl Header {
    /// Reads a header; `None` if the bytes are none.
    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let mut covered = [0; HEADER_BYTES - 4];
        covered.copy_from_slice(&bytes[..HEADER_BYTES - 4]);
        let mut offset = [0; 8];
        offset.copy_from_slice(&bytes[16..24]);
        let base_offset = u64::from_le_bytes(offset);
        let write_offset = base_offset.checked_sub(u64::from(word(24)))?;
        let header = Self {
            payload_length: word(4),
            raw_length: word(8),
            records: word(12),
            base_offset,
            write_offset,
            crc: word(28),
            covered,
        };
        let sane = header.payload_length as usize <= PAYLOAD_MAX && header.raw_length as usize <= PAYLOAD_MAX * 8;
        (bytes[..4] == MAGIC && sane && header.records > 0).then_some(header)
    }

    /// Whether the payload is the one the header was written with.
    pub fn matches(&self, payload: &[u8]) -> bool {
        crc32c::crc32c_append(crc32c::crc32c(payload), &self.covered) == self.crc
    }

    /// Unpacks the values; `None` if the payload is damaged in spite of its checksum.
    pub fn decode(&self, payload: &[u8]) -> Option<ReadBatch> {
        let raw = Bytes::from(zstd::bulk::decompress(payload, self.raw_length as usize).ok()?);
        Some(ReadBatch {
            first_offset: self.base_offset,
            values: values_of(&raw, self.records as usize)?,
        })
    }
}

/// The values in a payload that is not compressed; `None` if it is damaged.
pub(super) fn values_of(raw: &Bytes, records: usize) -> Option<Vec<Bytes>> {
    let word = |at: usize| {
        raw.get(at..at + 4)
            .map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize)
    };
    let mut keys = 0;
    for record in 0..records {
        keys += word(record * 8)?;
    }
    let mut start = records * 8 + keys;
    let mut values = Vec::with_capacity(records);
    for record in 0..records {
        let end = start + word(record * 8 + 4)?;
        if end > raw.len() {
            return None;
        }
        values.push(raw.slice(start..end));
        start = end;
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_frame_comes_back_and_a_changed_bit_is_seen() {
        let mut records = Records::new();
        records.push(b"k1", |buffer| buffer.extend_from_slice(b"first"));
        records.push(b"", |buffer| buffer.extend_from_slice(b""));
        records.push(b"k3", |buffer| buffer.extend_from_slice(&[7; 1000]));
        let mut bytes = Vec::new();
        Frame::encode(&records).unwrap().write(42, 40, &mut bytes);
        let (head, payload) = bytes.split_at(HEADER_BYTES);
        let header = Header::parse(head.try_into().unwrap()).unwrap();
        assert!(header.matches(payload));
        assert_eq!((header.base_offset, header.write_offset), (42, 40));
        let batch = header.decode(payload).unwrap();
        assert_eq!(batch.first_offset, 42);
        assert_eq!(batch.values[0], "first");
        assert!(batch.values[1].is_empty());
        assert_eq!(batch.values[2], vec![7; 1000]);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            let (head, payload) = damaged.split_at(HEADER_BYTES);
            let seen = Header::parse(head.try_into().unwrap())
                .is_none_or(|header| header.payload_length as usize != payload.len() || !header.matches(payload));
            assert!(seen, "bit at {at}");
        }
    }
}
