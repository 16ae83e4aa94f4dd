//! One partition: its segments, and the thread that writes them.
//!
//! The thread takes every append that waits, writes their frames in one go and syncs once: appends that come while it syncs share the
//! next sync (group commit without a timer). A failed write or sync poisons the partition: nothing is acknowledged any more, and the
//! process is expected to end (exit 74), for a retry may report success on lost pages.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;

use tokio::sync::{mpsc, oneshot, watch};

use super::frame::Frame;
use super::segment::{FramePlace, Segment};
use crate::LogError;
use crate::event_log::{Appended, ReadBatch};
use crate::vfs::{Vfs, VfsFile};

/// Appends that may wait for the writer.
const QUEUE: usize = 64;

type Answer = oneshot::Sender<Result<Appended, LogError>>;

/// Segments, shared by the writer and the readers.
type Segments = Arc<RwLock<Vec<Segment>>>;

/// One partition.
#[derive(Debug)]
pub struct Partition {
    segments: Segments,
    /// `[start, end)` of what is durable; `None` when closed.
    durable: watch::Receiver<Option<(u64, u64)>>,
    writer: RwLock<Option<mpsc::Sender<(Frame, Answer)>>>,
    thread: RwLock<Option<thread::JoinHandle<()>>>,
}

impl Partition {
    /// Opens or makes the partition in `folder`, and starts its writer.
    pub fn open(folder: &Path, vfs: Arc<dyn Vfs>, segment_bytes: u64) -> Result<Self, LogError> {
        let failed = |source| LogError::Io {
            action: "open",
            path: folder.to_owned(),
            source,
        };
        vfs.create_folder(folder).map_err(failed)?;
        let files: Vec<PathBuf> = vfs
            .list(folder)
            .map_err(failed)?
            .into_iter()
            .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
            .collect();
        let mut segments: Vec<Segment> = Vec::new();
        for (index, path) in files.iter().enumerate() {
            let segment = Segment::open(vfs.as_ref(), path, index + 1 == files.len())?;
            if let Some(before) = segments.last()
                && before.next_offset != segment.base_offset
            {
                return Err(LogError::Corrupt {
                    path: path.clone(),
                    position: 0,
                    problem: format!("the segment before ends at offset {}", before.next_offset),
                });
            }
            segments.push(segment);
        }
        if segments.is_empty() {
            segments.push(Segment::create(vfs.as_ref(), folder, 0)?);
        }
        let range = (segments[0].base_offset, segments[segments.len() - 1].next_offset);
        let (told, durable) = watch::channel(Some(range));
        let (sender, receiver) = mpsc::channel(QUEUE);
        let segments: Segments = Arc::new(RwLock::new(segments));
        let file = {
            let segments = read(&segments);
            vfs.open(&segments[segments.len() - 1].path, false).map_err(failed)?
        };
        let writer = Writer {
            segments: segments.clone(),
            file,
            vfs,
            folder: folder.to_owned(),
            segment_bytes,
            told,
        };
        let thread = thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || writer.run(receiver))
            .map_err(|source| LogError::Io {
                action: "start the writer of",
                path: folder.to_owned(),
                source,
            })?;
        Ok(Self {
            segments,
            durable,
            writer: RwLock::new(Some(sender)),
            thread: RwLock::new(Some(thread)),
        })
    }

    /// Appends a frame and returns when it is durable.
    pub async fn append(&self, frame: Frame) -> Result<Appended, LogError> {
        let sender = read(&self.writer).clone().ok_or(LogError::Closed)?;
        let (answer, answered) = oneshot::channel();
        sender.send((frame, answer)).await.map_err(|_ended| LogError::Closed)?;
        answered.await.map_err(|_ended| LogError::Closed)?
    }

    /// `[start, end)` of what is durable.
    pub fn range(&self) -> (u64, u64) {
        self.durable.borrow().unwrap_or_else(|| {
            let segments = read(&self.segments);
            (segments[0].base_offset, segments[segments.len() - 1].next_offset)
        })
    }

    /// Waits until there is a record at or behind `offset`.
    pub async fn wait_for(&self, offset: u64) -> Result<(), LogError> {
        let mut durable = self.durable.clone();
        let range = durable
            .wait_for(|range| range.is_none_or(|(_, end)| end > offset))
            .await
            .map_err(|_ended| LogError::Closed)?;
        if range.is_some() { Ok(()) } else { Err(LogError::Closed) }
    }

    /// Reads what is durable now.
    pub fn reader(&self) -> SegmentReader {
        SegmentReader {
            segments: self.segments.clone(),
            end: self.range().1,
        }
    }

    /// Ends the writer behind what it was given.
    pub fn close(&self) {
        drop(write(&self.writer).take());
        if let Some(thread) = write(&self.thread).take() {
            // A writer that panicked has acknowledged nothing since.
            let _ended = thread.join();
        }
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        self.close();
    }
}

/// Reads a partition off the async threads.
#[derive(Debug)]
pub struct SegmentReader {
    segments: Segments,
    end: u64,
}

impl SegmentReader {
    /// See [`crate::EventLog::read`].
    pub fn read(&self, offset: u64, max_bytes: usize) -> Result<Vec<ReadBatch>, LogError> {
        let frames = {
            let segments = read(&self.segments);
            let index = segments
                .partition_point(|segment| segment.base_offset <= offset)
                .saturating_sub(1);
            segments[index].frames_from(offset, self.end)
        };
        frames.read(offset, max_bytes)
    }
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

struct Writer {
    segments: Segments,
    /// The last segment's file.
    file: Box<dyn VfsFile>,
    vfs: Arc<dyn Vfs>,
    folder: PathBuf,
    segment_bytes: u64,
    told: watch::Sender<Option<(u64, u64)>>,
}

impl Writer {
    fn run(mut self, mut receiver: mpsc::Receiver<(Frame, Answer)>) {
        let mut waiting = Vec::new();
        while receiver.blocking_recv_many(&mut waiting, QUEUE) > 0 {
            let (frames, answers): (Vec<Frame>, Vec<Answer>) = waiting.drain(..).unzip();
            match self.write(&frames) {
                Ok(appended) => {
                    for (answer, appended) in answers.into_iter().zip(appended) {
                        // Whoever asked may have gone; the records stay.
                        let _gone = answer.send(Ok(appended));
                    }
                }
                Err(error) => {
                    tracing::error!(%error, folder = %self.folder.display(), "failed to write the log; nothing more is acknowledged");
                    for answer in answers {
                        let _gone = answer.send(Err(LogError::Closed));
                    }
                    break;
                }
            }
        }
        self.told.send_replace(None);
    }

    /// Writes and syncs frames; returns where each stands. Readers go on meanwhile: they see only what is synced.
    fn write(&mut self, frames: &[Frame]) -> Result<Vec<Appended>, LogError> {
        self.roll()?;
        let (path, length, mut offset) = {
            let segments = read(&self.segments);
            let last = &segments[segments.len() - 1];
            (last.path.clone(), last.length, last.next_offset)
        };
        let failed = |action: &'static str| {
            let path = path.clone();
            move |source| LogError::Io { action, path, source }
        };
        let mut bytes = Vec::with_capacity(frames.iter().map(|frame| frame.length() as usize).sum());
        let mut appended = Vec::with_capacity(frames.len());
        let mut places = Vec::with_capacity(frames.len());
        for frame in frames {
            places.push(FramePlace {
                base_offset: offset,
                position: length + bytes.len() as u64,
            });
            frame.write(offset, &mut bytes);
            let next_offset = offset + u64::from(frame.records());
            appended.push(Appended::contiguous(offset, next_offset));
            offset = next_offset;
        }
        self.file.append(&bytes).map_err(failed("write"))?;
        self.file.sync().map_err(failed("sync"))?;
        let start = {
            let mut segments = write(&self.segments);
            let last = segments.last_mut().expect("a partition has at least one segment");
            last.frames.extend(places);
            last.length += bytes.len() as u64;
            last.next_offset = offset;
            segments[0].base_offset
        };
        metrics::counter!("shiyu_log_synced_bytes_total").increment(bytes.len() as u64);
        self.told.send_replace(Some((start, offset)));
        Ok(appended)
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
            self.file = self.vfs.open(&segment.path, false).map_err(|source| LogError::Io {
                action: "open",
                path: segment.path.clone(),
                source,
            })?;
            write(&self.segments).push(segment);
        }
        Ok(())
    }
}
