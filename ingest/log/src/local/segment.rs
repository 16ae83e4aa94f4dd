//! One segment file: frames one behind the other, named by the offset of its first record.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::frame::{HEADER_BYTES, Header, MAGIC};
use crate::event_log::ReadBatch;
use crate::vfs::{Vfs, VfsFile};
use crate::{LogError, fault};

/// Frames read at a time.
const FRAMES_MAX: usize = 256;

/// Where a frame stands.
#[derive(Debug, Clone, Copy)]
pub struct FramePlace {
    /// Offset of its first record.
    pub base_offset: u64,
    /// Byte where its header starts.
    pub position: u64,
}

/// A segment and the index of its frames.
#[derive(Debug)]
pub struct Segment {
    /// The file.
    pub path: PathBuf,
    /// Open for reading.
    pub file: Arc<dyn VfsFile>,
    /// Offset of the first record.
    pub base_offset: u64,
    /// Every frame.
    pub frames: Vec<FramePlace>,
    /// Bytes of whole frames.
    pub length: u64,
    /// Offset behind the last record.
    pub next_offset: u64,
}

/// File name of a segment.
pub fn file_name(base_offset: u64) -> String {
    format!("{base_offset:020}.seg")
}

/// The offset a segment's name says it starts at.
pub fn base_offset_of(path: &Path) -> Result<u64, LogError> {
    path.file_stem()
        .and_then(|stem| stem.to_str())
        .and_then(|stem| stem.parse().ok())
        .ok_or_else(|| corrupt(path, 0, "the file's name is no offset"))
}

impl Segment {
    /// A new empty segment, durable in its folder. Where there is no room for it, nothing has changed; another failure is final.
    pub fn create(vfs: &dyn Vfs, folder: &Path, base_offset: u64) -> Result<Self, LogError> {
        let path = folder.join(file_name(base_offset));
        let failed = |action: &'static str| {
            let path = path.clone();
            move |source| LogError::Io { action, path, source }
        };
        let mut file = fault::point("log.create")
            .and_then(|()| vfs.open(&path, true))
            .map_err(|source| LogError::unwritten("create", &path, source))?;
        file.sync().map_err(failed("sync"))?;
        fault::point("log.created").map_err(failed("sync"))?;
        if !fault::bug("no-folder-sync") {
            vfs.sync_folder(folder).map_err(failed("sync the folder of"))?;
        }
        Ok(Self {
            path,
            file: Arc::from(file),
            base_offset,
            frames: Vec::new(),
            length: 0,
            next_offset: base_offset,
        })
    }

    /// Opens a segment and walks its frames. The last segment's torn tail is cut; anything else that is damaged is an error.
    pub fn open(vfs: &dyn Vfs, path: &Path, is_last: bool) -> Result<Self, LogError> {
        let base_offset = base_offset_of(path)?;
        let failed = |source| LogError::Io {
            action: "open",
            path: path.to_owned(),
            source,
        };
        let file = vfs.open(path, false).map_err(failed)?;
        let size = file.length().map_err(failed)?;
        let file: Arc<dyn VfsFile> = Arc::from(file);
        let mut segment = Self {
            path: path.to_owned(),
            file,
            base_offset,
            frames: Vec::new(),
            length: 0,
            next_offset: base_offset,
        };
        while segment.length < size {
            // Only the last segment can hold a write that was cut short: there every payload is checked.
            match segment.frame_at(segment.length, size, is_last)? {
                Some(header) if header.base_offset == segment.next_offset => segment.note(&header),
                _ if is_last => {
                    segment.cut_tail(vfs, size)?;
                    break;
                }
                _ => return Err(corrupt(path, segment.length, "the frame is damaged")),
            }
        }
        Ok(segment)
    }

    fn note(&mut self, header: &Header) {
        self.frames.push(FramePlace {
            base_offset: header.base_offset,
            position: self.length,
        });
        self.length += (HEADER_BYTES + header.payload_length as usize) as u64;
        self.next_offset += u64::from(header.records);
    }

    /// The frame at a position; `None` where there is no whole one.
    fn frame_at(&self, position: u64, size: u64, check_payload: bool) -> Result<Option<Header>, LogError> {
        let Some(header) = header_at(&self.path, self.file.as_ref(), position)? else {
            return Ok(None);
        };
        let end = position + (HEADER_BYTES + header.payload_length as usize) as u64;
        if end > size {
            return Ok(None);
        }
        if check_payload && !header.matches(&payload_of(&self.path, self.file.as_ref(), position, &header)?) {
            return Ok(None);
        }
        Ok(Some(header))
    }

    /// Cuts what a crash left of the last write. If a whole frame of a later write follows, it was no torn write but damage.
    fn cut_tail(&self, vfs: &dyn Vfs, size: u64) -> Result<(), LogError> {
        let mut tail = vec![0; (size - self.length) as usize];
        self.file
            .read_at(self.length, &mut tail)
            .map_err(|source| LogError::Io {
                action: "read",
                path: self.path.clone(),
                source,
            })?;
        for start in memchr::memmem::find_iter(&tail, &MAGIC).filter(|&start| start > 0) {
            if let Some(header) = self.frame_at(self.length + start as u64, size, true)?
                && header.write_offset > self.next_offset
            {
                return Err(corrupt(
                    &self.path,
                    self.length,
                    "the frame is damaged, and whole ones follow",
                ));
            }
        }
        tracing::warn!(bytes = size - self.length, "cut a write that a crash left unfinished");
        vfs.open(&self.path, false)
            .and_then(|mut file| file.truncate(self.length))
            .map_err(|source| LogError::Io {
                action: "cut",
                path: self.path.clone(),
                source,
            })
    }

    /// The frame that holds `offset` and some behind it, to be read without holding the segments.
    pub fn frames_from(&self, offset: u64) -> SegmentFrames {
        let first = self
            .frames
            .partition_point(|frame| frame.base_offset <= offset)
            .saturating_sub(1);
        let frames = self.frames[first..].iter().take(FRAMES_MAX);
        SegmentFrames {
            path: self.path.clone(),
            file: self.file.clone(),
            frames: frames.copied().collect(),
        }
    }
}

/// Some frames of a segment.
#[derive(Debug)]
pub struct SegmentFrames {
    path: PathBuf,
    file: Arc<dyn VfsFile>,
    frames: Vec<FramePlace>,
}

impl SegmentFrames {
    /// Reads the frames until about `max_bytes`; records before `offset` are left out.
    pub fn read(&self, offset: u64, max_bytes: usize) -> Result<Vec<ReadBatch>, LogError> {
        let mut batches = Vec::new();
        let mut bytes = 0;
        for frame in &self.frames {
            if bytes > 0 && bytes >= max_bytes {
                break;
            }
            let mut batch = self.batch_at(frame)?;
            bytes += batch.values.iter().map(bytes::Bytes::len).sum::<usize>();
            batch.skip_to(offset);
            batches.push(batch);
        }
        Ok(batches)
    }

    fn batch_at(&self, frame: &FramePlace) -> Result<ReadBatch, LogError> {
        let damaged = || corrupt(&self.path, frame.position, "the frame is damaged");
        let header = header_at(&self.path, self.file.as_ref(), frame.position)?.ok_or_else(damaged)?;
        let payload = payload_of(&self.path, self.file.as_ref(), frame.position, &header)?;
        if !header.matches(&payload) {
            return Err(damaged());
        }
        header.decode(&payload).ok_or_else(damaged)
    }
}

fn header_at(path: &Path, file: &dyn VfsFile, position: u64) -> Result<Option<Header>, LogError> {
    let mut bytes = [0; HEADER_BYTES];
    match file.read_at(position, &mut bytes) {
        Ok(()) => Ok(Header::parse(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(source) => Err(LogError::Io {
            action: "read",
            path: path.to_owned(),
            source,
        }),
    }
}

fn payload_of(path: &Path, file: &dyn VfsFile, position: u64, header: &Header) -> Result<Vec<u8>, LogError> {
    let mut payload = vec![0; header.payload_length as usize];
    file.read_at(position + HEADER_BYTES as u64, &mut payload)
        .map_err(|source| LogError::Io {
            action: "read",
            path: path.to_owned(),
            source,
        })?;
    Ok(payload)
}

fn corrupt(path: &Path, position: u64, problem: &str) -> LogError {
    LogError::Corrupt {
        path: path.to_owned(),
        position,
        problem: problem.to_owned(),
    }
}
