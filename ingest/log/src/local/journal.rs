//! The files of one partition: written, synced, trimmed. No thread and no waiting, so that tests can drive it step by step.
//!
//! - A write that finds no room is taken back whole ([`LogError::Full`]); the same may be tried again.
//! - Any other failed write or sync is final: after a failed sync the pages may be gone although a second sync reports success.
//! - What is found at opening is synced before it counts: a process that was killed may have left what only the page cache holds.
//! - Trimming writes down first where the log starts (file `start`), then removes: what a crash leaves is removed at the next opening,
//!   and a first segment that is missing is seen.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::frame::Frame;
use super::segment::{FramePlace, Segment, base_offset_of};
use super::tail::Tail;
use crate::error::is_no_space;
use crate::event_log::{Appended, ReadBatch};
use crate::vfs::{Vfs, VfsFile};
use crate::{LogError, durable, fault};

/// File that holds the first offset, once something was trimmed.
const START: &str = "start";

/// Segments, shared by the writer and the readers.
type Segments = Arc<RwLock<Vec<Segment>>>;

/// The files of one partition.
#[derive(Debug)]
pub struct Journal {
    segments: Segments,
    tail: Arc<Mutex<Tail>>,
    /// The last segment's file.
    file: Box<dyn VfsFile>,
    vfs: Arc<dyn Vfs>,
    folder: PathBuf,
    segment_bytes: u64,
    /// A write or sync has failed for good.
    broken: bool,
}

impl Journal {
    /// Opens or makes the partition in `folder`.
    pub fn open(folder: &Path, vfs: Arc<dyn Vfs>, segment_bytes: u64) -> Result<Self, LogError> {
        vfs.create_folder(folder)
            .map_err(|source| LogError::io("open", folder, source))?;
        vfs.sync_folder(folder)
            .map_err(|source| LogError::io("sync", folder, source))?;
        let start = read_start(vfs.as_ref(), folder)?;
        let files = segment_files(vfs.as_ref(), folder, start)?;
        let mut segments: Vec<Segment> = Vec::new();
        for (index, path) in files.iter().enumerate() {
            let segment = Segment::open(vfs.as_ref(), path, index + 1 == files.len())?;
            let expected = segments.last().map_or(start, |before| before.next_offset);
            if segment.base_offset != expected {
                return Err(LogError::Corrupt {
                    path: path.clone(),
                    position: 0,
                    problem: format!("it starts at offset {}, expected is {expected}", segment.base_offset),
                });
            }
            segments.push(segment);
        }
        if segments.is_empty() {
            if start > 0 {
                return Err(LogError::Corrupt {
                    path: folder.to_owned(),
                    position: 0,
                    problem: format!("the segment of offset {start} is missing"),
                });
            }
            segments.push(Segment::create(vfs.as_ref(), folder, 0)?);
        }
        let last = &segments[segments.len() - 1].path;
        let mut file = vfs
            .open(last, false)
            .map_err(|source| LogError::io("open", last, source))?;
        file.sync().map_err(|source| LogError::io("sync", last, source))?;
        Ok(Self {
            segments: Arc::new(RwLock::new(segments)),
            tail: Arc::default(),
            file,
            vfs,
            folder: folder.to_owned(),
            segment_bytes,
            broken: false,
        })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// `[start, end)` of what is durable.
    pub fn range(&self) -> (u64, u64) {
        self.shared().range()
    }

    /// What readers read from.
    pub fn shared(&self) -> SharedSegments {
        SharedSegments {
            segments: self.segments.clone(),
            tail: self.tail.clone(),
        }
    }

    /// Writes and syncs frames; returns where each stands. Readers go on meanwhile: they see only what is synced.
    pub fn write(&mut self, frames: &[Frame]) -> Result<Vec<Appended>, LogError> {
        self.guarded(|journal| journal.try_write(frames))
    }

    /// Removes whole segments that lie before `before`; never the last one. Returns the first offset there is now.
    pub fn trim(&mut self, before: u64) -> Result<u64, LogError> {
        self.guarded(|journal| journal.try_trim(before))
    }

    /// What fails but for lack of space is the end.
    fn guarded<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, LogError>) -> Result<T, LogError> {
        if self.broken {
            return Err(LogError::Closed);
        }
        let result = work(self);
        self.broken = matches!(&result, Err(error) if !error.is_full());
        result
    }

    fn try_write(&mut self, frames: &[Frame]) -> Result<Vec<Appended>, LogError> {
        self.roll()?;
        let (path, length, write_offset) = {
            let segments = read(&self.segments);
            let last = &segments[segments.len() - 1];
            (last.path.clone(), last.length, last.next_offset)
        };
        let mut offset = write_offset;
        let mut bytes = Vec::with_capacity(frames.iter().map(|frame| frame.length() as usize).sum());
        let mut appended = Vec::with_capacity(frames.len());
        let mut places = Vec::with_capacity(frames.len());
        for frame in frames {
            places.push(FramePlace {
                base_offset: offset,
                position: length + bytes.len() as u64,
            });
            frame.write(offset, write_offset, &mut bytes);
            let next_offset = offset + u64::from(frame.records());
            appended.push(Appended::contiguous(offset, next_offset));
            offset = next_offset;
        }
        if let Err(source) = fault::point("log.append").and_then(|()| self.file.append(&bytes)) {
            return Err(self.take_back(&path, length, source));
        }
        self.sync().map_err(|source| LogError::io("sync", &path, source))?;
        let mut tail = locked(&self.tail);
        for (frame, appended) in frames.iter().zip(&appended) {
            tail.push(appended.first_offset, frame.records(), frame.raw().clone());
        }
        drop(tail);
        let mut segments = write(&self.segments);
        let last = segments.last_mut().expect("a partition has at least one segment");
        last.frames.extend(places);
        last.length += bytes.len() as u64;
        last.next_offset = offset;
        metrics::counter!("shiyu_log_synced_bytes_total").increment(bytes.len() as u64);
        Ok(appended)
    }

    fn sync(&mut self) -> std::io::Result<()> {
        if fault::bug("ack-before-sync") {
            return Ok(());
        }
        let synced = fault::point("log.sync").and_then(|()| self.file.sync());
        if synced.is_err() && fault::bug("sync-retried") {
            return self.file.sync();
        }
        synced?;
        fault::point("log.synced")
    }

    /// After a write that found no room: what of it is there goes, so that the next one stands behind whole frames.
    fn take_back(&mut self, path: &Path, length: u64, source: std::io::Error) -> LogError {
        if !is_no_space(&source) {
            return LogError::io("write", path, source);
        }
        match self.file.truncate(length) {
            Ok(()) => LogError::unwritten("write", path, source),
            Err(source) => LogError::io("take back an unfinished write of", path, source),
        }
    }

    /// Begins a new segment where the last one is full.
    fn roll(&mut self) -> Result<(), LogError> {
        let next = {
            let segments = read(&self.segments);
            let last = &segments[segments.len() - 1];
            (last.length >= self.segment_bytes).then_some(last.next_offset)
        };
        if let Some(base_offset) = next {
            let segment = Segment::create(self.vfs.as_ref(), &self.folder, base_offset)?;
            self.file = self
                .vfs
                .open(&segment.path, false)
                .map_err(|source| LogError::io("open", &segment.path, source))?;
            write(&self.segments).push(segment);
        }
        Ok(())
    }

    fn try_trim(&mut self, before: u64) -> Result<u64, LogError> {
        let (removed, start) = {
            let segments = read(&self.segments);
            let kept = segments.partition_point(|segment| segment.base_offset <= before);
            let mut first = kept.saturating_sub(1);
            if fault::bug("trim-too-early") {
                first = (first + 1).min(segments.len() - 1);
            }
            let removed: Vec<PathBuf> = segments[..first].iter().map(|segment| segment.path.clone()).collect();
            (removed, segments[first].base_offset)
        };
        if removed.is_empty() {
            return Ok(start);
        }
        durable::replace_in(
            self.vfs.as_ref(),
            &self.folder.join(START),
            format!("{start}\n").as_bytes(),
        )?;
        write(&self.segments).drain(..removed.len());
        let failed = |source| LogError::io("trim", &self.folder, source);
        fault::point("log.trim").map_err(failed)?;
        for path in &removed {
            self.vfs.remove(path).map_err(failed)?;
        }
        self.vfs.sync_folder(&self.folder).map_err(failed)?;
        Ok(start)
    }
}

/// The first offset there is.
fn read_start(vfs: &dyn Vfs, folder: &Path) -> Result<u64, LogError> {
    let path = folder.join(START);
    match vfs.read(&path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes)
            .trim()
            .parse()
            .map_err(|_no_number| LogError::Corrupt {
                path,
                position: 0,
                problem: "it holds no offset".to_owned(),
            }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(source) => Err(LogError::io("read", &path, source)),
    }
}

/// Segment files from `start` on, in order; what a crash left of trimmed ones is removed.
fn segment_files(vfs: &dyn Vfs, folder: &Path, start: u64) -> Result<Vec<PathBuf>, LogError> {
    let failed = |source| LogError::io("open", folder, source);
    let mut files = Vec::new();
    for path in vfs.list(folder).map_err(failed)? {
        if path.extension().is_none_or(|extension| extension != "seg") {
            continue;
        }
        if base_offset_of(&path)? < start {
            vfs.remove(&path).map_err(failed)?;
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

/// The segments of a partition as readers see them; cheap to clone.
#[derive(Debug, Clone)]
pub struct SharedSegments {
    segments: Segments,
    tail: Arc<Mutex<Tail>>,
}

impl SharedSegments {
    /// Files and their bytes that are durable now, oldest first.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let segments = read(&self.segments);
        segments
            .iter()
            .map(|segment| (segment.path.clone(), segment.length))
            .collect()
    }

    /// `[start, end)` of what is durable.
    pub fn range(&self) -> (u64, u64) {
        let segments = read(&self.segments);
        (segments[0].base_offset, segments[segments.len() - 1].next_offset)
    }

    /// Reads off the async threads; see [`crate::EventLog::read`]. Where `offset` was trimmed, the first batch starts behind it.
    pub fn read(&self, offset: u64, max_bytes: usize) -> Result<Vec<ReadBatch>, LogError> {
        let kept = locked(&self.tail).read(offset, max_bytes);
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let frames = {
            let segments = read(&self.segments);
            let index = segments
                .partition_point(|segment| segment.base_offset <= offset)
                .saturating_sub(1);
            segments[index].frames_from(offset)
        };
        frames.read(offset, max_bytes)
    }
}

fn locked(tail: &Mutex<Tail>) -> MutexGuard<'_, Tail> {
    tail.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
