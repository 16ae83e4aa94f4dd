//! The newest frames of a partition as they were before they were packed: who reads as fast as others write needs neither disk nor
//! unpacking. Only what is synced comes here.

use std::collections::VecDeque;

use bytes::Bytes;

use super::frame::values_of;
use crate::event_log::ReadBatch;

/// Bytes kept per partition, unless one frame alone has more.
const BYTES_MAX: usize = 24 << 20;

/// Frames without a gap, the newest last.
#[derive(Debug, Default)]
pub(super) struct Tail {
    frames: VecDeque<TailFrame>,
    bytes: usize,
}

#[derive(Debug)]
struct TailFrame {
    base_offset: u64,
    records: u32,
    /// The frame's payload before compression.
    raw: Bytes,
}

impl Tail {
    /// Adds the frame behind the last one.
    pub(super) fn push(&mut self, base_offset: u64, records: u32, raw: Bytes) {
        self.bytes += raw.len();
        self.frames.push_back(TailFrame {
            base_offset,
            records,
            raw,
        });
        while self.bytes > BYTES_MAX && self.frames.len() > 1 {
            self.bytes -= self.frames.pop_front().map_or(0, |frame| frame.raw.len());
        }
    }

    /// Batches from `offset` on until about `max_bytes`; `None` where that lies before what is kept.
    pub(super) fn read(&self, offset: u64, max_bytes: usize) -> Option<Vec<ReadBatch>> {
        if self.frames.front()?.base_offset > offset {
            return None;
        }
        let mut batches = Vec::new();
        let mut bytes = 0;
        for frame in &self.frames {
            if frame.base_offset + u64::from(frame.records) <= offset {
                continue;
            }
            if bytes > 0 && bytes >= max_bytes {
                break;
            }
            let mut batch = ReadBatch {
                first_offset: frame.base_offset,
                values: values_of(&frame.raw, frame.records as usize)?,
            };
            bytes += frame.raw.len();
            batch.skip_to(offset);
            batches.push(batch);
        }
        (!batches.is_empty()).then_some(batches)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::frame::Frame;
    use super::*;
    use crate::event_log::Records;

    fn raw(values: &[&[u8]]) -> Bytes {
        let mut records = Records::new();
        for value in values {
            records.push(b"key", |buffer| buffer.extend_from_slice(value));
        }
        Frame::encode(&records).unwrap().raw().clone()
    }

    #[test]
    fn what_is_kept_is_read_from_any_offset_and_what_is_not_is_told() {
        let mut tail = Tail::default();
        assert!(tail.read(0, 1).is_none());
        tail.push(7, 2, raw(&[b"a", b"b"]));
        tail.push(9, 1, raw(&[b"c"]));
        assert!(tail.read(6, 100).is_none());
        let all = tail.read(7, 100).unwrap();
        assert_eq!(all.iter().map(|batch| batch.first_offset).collect::<Vec<_>>(), [7, 9]);
        let rest = tail.read(8, 1).unwrap();
        assert_eq!((rest.len(), rest[0].first_offset, rest[0].values.len()), (1, 8, 1));
        assert_eq!(rest[0].values[0], "b");
        assert!(tail.read(10, 100).is_none());
    }

    #[test]
    fn the_oldest_go_where_there_are_too_many() {
        let mut tail = Tail::default();
        let large = vec![7; BYTES_MAX];
        tail.push(0, 1, raw(&[b"a"]));
        tail.push(1, 1, raw(&[&large]));
        assert!(tail.read(0, 1).is_none());
        assert_eq!(tail.read(1, 1).unwrap()[0].values[0].len(), BYTES_MAX);
    }
}
