//! One partition: its [`Journal`], and the thread that writes it.
//!
//! The thread takes every append that waits, writes their frames in one go and syncs once: appends that come while it syncs share the
//! next sync (group commit without a timer). Where the disk is full they are all told so, and the next ones are tried again. Any other
//! failure is final: nothing is acknowledged any more, and the process is expected to end (exit 74).

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;

use tokio::sync::{mpsc, oneshot, watch};

use super::Failure;
use super::frame::Frame;
use super::journal::{Journal, SharedSegments};
use crate::LogError;
use crate::event_log::Appended;
use crate::vfs::Vfs;

/// Appends that may wait for the writer.
const QUEUE: usize = 64;

type Answer<T> = oneshot::Sender<Result<T, LogError>>;

/// What the writer is asked for.
#[derive(Debug)]
enum Asked {
    Append(Frame, Answer<Appended>),
    Trim(u64, Answer<u64>),
}

/// One partition.
#[derive(Debug)]
pub struct Partition {
    segments: SharedSegments,
    /// `[start, end)` of what is durable; `None` when closed.
    durable: watch::Receiver<Option<(u64, u64)>>,
    writer: RwLock<Option<mpsc::Sender<Asked>>>,
    thread: RwLock<Option<thread::JoinHandle<()>>>,
}

impl Partition {
    /// Opens or makes the partition in `folder`, and starts its writer. A failure that ends it is told to `failure`.
    pub(super) fn open(
        folder: &Path,
        vfs: Arc<dyn Vfs>,
        segment_bytes: u64,
        failure: Failure,
    ) -> Result<Self, LogError> {
        let journal = Journal::open(folder, vfs, segment_bytes)?;
        let segments = journal.shared();
        let (told, durable) = watch::channel(Some(journal.range()));
        let (sender, receiver) = mpsc::channel(QUEUE);
        let writer = Writer { journal, told, failure };
        let thread = thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || writer.run(receiver))
            .map_err(|source| LogError::io("start the writer of", folder, source))?;
        Ok(Self {
            segments,
            durable,
            writer: RwLock::new(Some(sender)),
            thread: RwLock::new(Some(thread)),
        })
    }

    /// Appends a frame and returns when it is durable.
    pub async fn append(&self, frame: Frame) -> Result<Appended, LogError> {
        self.ask(|answer| Asked::Append(frame, answer)).await
    }

    /// Removes whole segments before an offset; returns the first offset there is then.
    pub async fn trim(&self, before: u64) -> Result<u64, LogError> {
        self.ask(|answer| Asked::Trim(before, answer)).await
    }

    async fn ask<T>(&self, asked: impl FnOnce(Answer<T>) -> Asked) -> Result<T, LogError> {
        let sender = read(&self.writer).clone().ok_or(LogError::Closed)?;
        let (answer, answered) = oneshot::channel();
        sender.send(asked(answer)).await.map_err(|_ended| LogError::Closed)?;
        answered.await.map_err(|_ended| LogError::Closed)?
    }

    /// `[start, end)` of what is durable.
    pub fn range(&self) -> (u64, u64) {
        self.durable.borrow().unwrap_or_else(|| self.segments.range())
    }

    /// Whether the writer still writes.
    pub fn is_writable(&self) -> bool {
        self.durable.borrow().is_some()
    }

    /// Files of the partition and their bytes that are durable now, oldest first.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        self.segments.files()
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

    /// Reads what is durable.
    pub fn reader(&self) -> SharedSegments {
        self.segments.clone()
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

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

struct Writer {
    journal: Journal,
    told: watch::Sender<Option<(u64, u64)>>,
    failure: Failure,
}

impl Writer {
    fn run(mut self, mut receiver: mpsc::Receiver<Asked>) {
        let mut waiting = Vec::new();
        while receiver.blocking_recv_many(&mut waiting, QUEUE) > 0 {
            if let Err(error) = self.serve(&mut waiting) {
                tracing::error!(%error, folder = %self.journal.folder().display(), "failed to write the log; nothing more is acknowledged");
                self.failure.tell(error);
                break;
            }
        }
        self.told.send_replace(None);
    }

    /// Does what was asked: all appends in one write, then trims. An error is final.
    fn serve(&mut self, waiting: &mut Vec<Asked>) -> Result<(), LogError> {
        let (mut frames, mut answers, mut trims) = (Vec::new(), Vec::new(), Vec::new());
        for asked in waiting.drain(..) {
            match asked {
                Asked::Append(frame, answer) => {
                    frames.push(frame);
                    answers.push(answer);
                }
                Asked::Trim(before, answer) => trims.push((before, answer)),
            }
        }
        if !frames.is_empty() {
            self.append(&frames, answers)?;
        }
        for (before, answer) in trims {
            let trimmed = self.journal.trim(before);
            self.told.send_replace(Some(self.journal.range()));
            reply(answer, trimmed)?;
        }
        Ok(())
    }

    fn append(&mut self, frames: &[Frame], answers: Vec<Answer<Appended>>) -> Result<(), LogError> {
        match self.journal.write(frames) {
            Ok(appended) => {
                self.told.send_replace(Some(self.journal.range()));
                for (answer, appended) in answers.into_iter().zip(appended) {
                    reply(answer, Ok(appended))?;
                }
                Ok(())
            }
            Err(LogError::Full { action, path, source }) => {
                tracing::warn!(path = %path.display(), "the disk is full; appends are refused until there is room");
                for answer in answers {
                    let source = std::io::Error::from(source.kind());
                    let path = path.clone();
                    reply(answer, Err(LogError::Full { action, path, source }))?;
                }
                Ok(())
            }
            // Whoever asked sees the answer's sender gone: closed.
            Err(error) => Err(error),
        }
    }
}

/// Answers; what is not merely a full disk is handed on. Whoever asked may have gone: the records stay.
fn reply<T>(answer: Answer<T>, result: Result<T, LogError>) -> Result<(), LogError> {
    match result {
        Err(error) if !error.is_full() => Err(error),
        result => {
            let _gone = answer.send(result);
            Ok(())
        }
    }
}
