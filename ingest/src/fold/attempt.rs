//! A record that kills the process is left out after three tries, so that the others flow.
//!
//! Before an epoch is folded its place is noted in a small file, one per partition. A process that begins at a place noted there knows that
//! the one before it died in that epoch, and notes every record of it before it is folded. A record that was noted by two processes which
//! died is poison: it goes to `rejections.v1` with its bytes sealed, and the fold passes it by. So a record kills three processes at most.
//!
//! The file is not synced: what it must outlive is this process, not the machine. A failure that is told (a full disk) is no attempt.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shiyu_schemas::rejection::RejectionCode;
use shiyu_schemas::v1;

use crate::door::Sealer;

/// Processes that may die of a record, once records are noted one by one.
const DEATHS_MAX: u32 = 2;
const BYTES: usize = 20;

/// What isolating needs; without it a record that kills the process does so for ever.
#[derive(Clone)]
pub struct PoisonOptions {
    /// Folder of the files.
    pub folder: PathBuf,
    /// Seals what is left out.
    pub sealer: Arc<dyn Sealer>,
}

impl std::fmt::Debug for PoisonOptions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("PoisonOptions")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

/// Attempts of one partition.
#[derive(Debug)]
pub struct Attempts {
    file: File,
    /// The record noted last, and how many processes have noted it.
    record: u64,
    count: u32,
    /// Up to here records are noted one by one.
    careful_until: u64,
    /// The record at which the process before died, and how many had noted it.
    died_at: (u64, u32),
}

impl Attempts {
    /// Reads what the process before left.
    pub fn open(folder: &Path, partition: &str) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(folder.join(partition))?;
        let mut bytes = [0; BYTES];
        match file.read_exact_at(&mut bytes, 0) {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
            _ => {}
        }
        let [
            r0,
            r1,
            r2,
            r3,
            r4,
            r5,
            r6,
            r7,
            c0,
            c1,
            c2,
            c3,
            u0,
            u1,
            u2,
            u3,
            u4,
            u5,
            u6,
            u7,
        ] = bytes;
        let record = u64::from_le_bytes([r0, r1, r2, r3, r4, r5, r6, r7]);
        let count = u32::from_le_bytes([c0, c1, c2, c3]);
        Ok(Self {
            file,
            record,
            count,
            careful_until: u64::from_le_bytes([u0, u1, u2, u3, u4, u5, u6, u7]),
            died_at: (record, count),
        })
    }

    /// The record that is to be passed by, if there is one.
    pub fn poison(&self) -> Option<u64> {
        let (record, deaths) = self.died_at;
        (deaths >= DEATHS_MAX).then_some(record)
    }

    /// Notes that records `[first, next)` are about to be folded. Returns whether each is to be noted.
    pub fn begin(&mut self, first: u64, next: u64) -> io::Result<bool> {
        let careful = first < self.careful_until;
        self.careful_until = self.careful_until.max(next);
        self.write()?;
        Ok(careful)
    }

    /// Notes one record.
    pub fn note(&mut self, offset: u64) -> io::Result<()> {
        let (record, deaths) = self.died_at;
        self.count = if record == offset { deaths + 1 } else { 1 };
        self.record = offset;
        self.write()
    }

    /// What was begun is committed up to `next`.
    pub fn done(&mut self, next: u64) {
        self.count = 0;
        if self.died_at.0 < next {
            self.died_at = (0, 0);
        }
        if next >= self.careful_until {
            self.careful_until = 0;
        }
    }

    /// The fold told why it ended: that was no attempt.
    pub fn take_back(&mut self) -> io::Result<()> {
        self.count = self.count.saturating_sub(1);
        self.careful_until = 0;
        self.write()
    }

    fn write(&self) -> io::Result<()> {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&self.record.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.count.to_le_bytes());
        bytes[12..].copy_from_slice(&self.careful_until.to_le_bytes());
        self.file.write_all_at(&bytes, 0)
    }
}

/// The rejection of an event's record that kills the process.
pub fn rejection(sealer: &dyn Sealer, value: &[u8], topic: &str, partition: u32, offset: u64) -> v1::Rejection {
    let (sealed, key_id) = sealer.seal(value);
    v1::Rejection {
        feed: feed_of(value).to_owned(),
        source: format!("{topic}/{partition}"),
        source_row: offset + 1,
        code: RejectionCode::PoisonCrash.word().to_owned(),
        message: "the record killed the process three times: report it, with the version of shiyu".to_owned(),
        sealed,
        key_id,
        delivery_hash: xxhash_rust::xxh3::xxh3_64(value),
        ..v1::Rejection::default()
    }
}

/// The feed of an encoded event, without decoding it: its first field.
fn feed_of(value: &[u8]) -> &str {
    match value {
        [0x0a, length, rest @ ..] if *length < 0x80 => rest
            .get(..*length as usize)
            .and_then(|feed| std::str::from_utf8(feed).ok())
            .unwrap_or_default(),
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use prost::Message as _;

    use super::*;

    /// Folds ten records from `from` on, in epochs of five, dying at record 7; returns whether it died.
    fn life(folder: &Path, from: &mut u64, passed_by: &mut Vec<u64>) -> bool {
        let mut attempts = Attempts::open(folder, "events-0").unwrap();
        while *from < 10 {
            let next = *from + 5;
            let careful = attempts.begin(*from, next).unwrap();
            for record in *from..next {
                if attempts.poison() == Some(record) {
                    passed_by.push(record);
                    continue;
                }
                if careful {
                    attempts.note(record).unwrap();
                }
                if record == 7 {
                    return true;
                }
            }
            *from = next;
            attempts.done(next);
        }
        false
    }

    #[test]
    fn a_record_that_kills_is_passed_by_at_the_third_restart_and_no_other_is() {
        let folder = tempfile::tempdir().unwrap();
        let (mut from, mut passed_by) = (0, Vec::new());
        for _ in 0..3 {
            assert!(life(folder.path(), &mut from, &mut passed_by));
            assert_eq!(from, 5);
        }
        assert!(!life(folder.path(), &mut from, &mut passed_by));
        assert_eq!((from, passed_by), (10, vec![7]));
    }

    #[test]
    fn a_failure_that_is_told_is_no_attempt() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..5 {
            let mut attempts = Attempts::open(folder.path(), "events-0").unwrap();
            assert_eq!(attempts.poison(), None);
            attempts.begin(7, 9).unwrap();
            attempts.note(7).unwrap();
            attempts.take_back().unwrap();
        }
    }

    #[test]
    fn the_feed_is_read_without_decoding() {
        let event = v1::Event {
            feed: "hotline".to_owned(),
            record_id: "1".to_owned(),
            ..v1::Event::default()
        };
        assert_eq!(feed_of(&event.encode_to_vec()), "hotline");
        assert_eq!(feed_of(&[0xff, 1]), "");
    }
}
