//! A file system in memory that keeps apart what was synced and what was not, for tests of the log.
//!
//! Every call that changes something is an operation. At a chosen one the machine stops: the operation itself is not synced, and all
//! later ones fail. [`SimVfs::after_crash`] then gives the disk as the next start finds it, by one of the [`Loss`]es. Or a chosen
//! operation fails with an error and the machine goes on: a write without room is cut short; a sync that fails loses the pages for good
//! and says so only once, as Linux does.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Vfs, VfsFile};

/// Bytes that are lost or kept together.
const SECTOR: usize = 512;

/// What a crash does to what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// All of it is gone.
    All,
    /// Any of its sectors and names is there, any is not; what was between is zeros or garbage.
    Subset,
    /// All is there but the end of the last write.
    Torn,
}

impl Loss {
    pub(crate) const ALL: [Self; 3] = [Self::All, Self::Subset, Self::Torn];
}

/// An error at one operation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failing {
    /// The first operation that fails, from 1.
    pub(crate) at: u64,
    /// How many fail, one after the other.
    pub(crate) times: u64,
    /// What it says.
    pub(crate) kind: io::ErrorKind,
}

/// Small numbers that look random and are the same each time.
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Folder,
    File(usize),
}

/// A change of names that no sync of its folder has covered.
#[derive(Debug, Clone)]
struct NameChange {
    /// What the names are then; none: gone. A rename is one change of two names, both in one folder.
    names: Vec<(PathBuf, Option<Entry>)>,
}

#[derive(Debug, Clone, Default)]
struct Contents {
    synced: Vec<u8>,
    current: Vec<u8>,
    /// Sectors written since the last sync.
    dirty: BTreeSet<usize>,
    /// Length of the last write, if it is not synced.
    last_write: usize,
}

#[derive(Debug, Clone, Default)]
struct Disk {
    files: Vec<Contents>,
    names: BTreeMap<PathBuf, Entry>,
    synced_names: BTreeMap<PathBuf, Entry>,
    pending: Vec<NameChange>,
    operations: u64,
    crash_at: Option<u64>,
    failing: Option<Failing>,
    crashed: bool,
    /// The file written last.
    last_written: Option<usize>,
    /// A cut that was under way at the crash.
    cutting: Option<(usize, u64)>,
}

/// The simulated file system; clones share the disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct SimVfs(Arc<Mutex<Disk>>);

/// What an operation is to do.
enum Course {
    Happen,
    /// The machine stops in the middle of it.
    Crash,
    Fail(io::Error),
}

fn stopped() -> io::Error {
    io::Error::other("the machine has stopped")
}

impl Disk {
    fn begin(&mut self) -> io::Result<Course> {
        if self.crashed {
            return Err(stopped());
        }
        self.operations += 1;
        if self.crash_at == Some(self.operations) {
            self.crashed = true;
            return Ok(Course::Crash);
        }
        Ok(match self.failing {
            Some(Failing { at, times, kind }) if (at..at + times).contains(&self.operations) => {
                Course::Fail(io::Error::from(kind))
            }
            _ => Course::Happen,
        })
    }

    /// Changes names, now or at a crash in between.
    fn rename_all(&mut self, names: Vec<(PathBuf, Option<Entry>)>) -> io::Result<()> {
        let course = self.begin()?;
        if let Course::Fail(error) = course {
            return Err(error);
        }
        for (path, entry) in &names {
            match entry {
                Some(entry) => self.names.insert(path.clone(), *entry),
                None => self.names.remove(path),
            };
        }
        self.pending.push(NameChange { names });
        self.answer(course)
    }

    fn answer(&self, course: Course) -> io::Result<()> {
        match course {
            Course::Happen => Ok(()),
            Course::Crash => Err(stopped()),
            Course::Fail(error) => Err(error),
        }
    }

    fn write(&mut self, file: usize, bytes: &[u8]) {
        let contents = &mut self.files[file];
        let start = contents.current.len();
        contents.current.extend_from_slice(bytes);
        contents
            .dirty
            .extend(start / SECTOR..=(start + bytes.len().max(1) - 1) / SECTOR);
        contents.last_write = bytes.len();
        self.last_written = Some(file);
    }

    fn sync(&mut self, file: usize) {
        let contents = &mut self.files[file];
        contents.synced.resize(contents.current.len(), 0);
        for sector in std::mem::take(&mut contents.dirty) {
            let end = ((sector + 1) * SECTOR).min(contents.current.len());
            let range = sector * SECTOR..end;
            contents.synced[range.clone()].copy_from_slice(&contents.current[range]);
        }
        contents.last_write = 0;
    }

    fn cut(&mut self, file: usize, length: u64) {
        let contents = &mut self.files[file];
        contents.current.truncate(length as usize);
        contents.synced.truncate(length as usize);
        let sectors = (length as usize).div_ceil(SECTOR);
        contents.dirty.retain(|sector| *sector < sectors);
        contents.last_write = 0;
    }

    fn file_of(&self, path: &Path) -> io::Result<usize> {
        match self.names.get(path) {
            Some(Entry::File(file)) => Ok(*file),
            Some(Entry::Folder) => Err(io::Error::from(io::ErrorKind::IsADirectory)),
            None => Err(io::Error::from(io::ErrorKind::NotFound)),
        }
    }

    /// The disk a start after the crash finds.
    fn lose(mut self, loss: Loss, random: &mut Random) -> Self {
        if let Some((file, length)) = self.cutting
            && (loss == Loss::Torn || (loss == Loss::Subset && random.coin()))
        {
            self.cut(file, length);
        }
        let mut names = self.synced_names;
        for change in &self.pending {
            if loss == Loss::Torn || (loss == Loss::Subset && random.coin()) {
                for (path, entry) in &change.names {
                    match entry {
                        Some(entry) => names.insert(path.clone(), *entry),
                        None => names.remove(path),
                    };
                }
            }
        }
        let last_written = self.last_written;
        let files = self.files.into_iter().enumerate().map(|(number, contents)| {
            let kept = match loss {
                Loss::All => contents.synced,
                Loss::Torn if last_written == Some(number) && contents.last_write > 0 => {
                    let cut = random.below(contents.last_write + 1);
                    let mut bytes = contents.current;
                    bytes.truncate(bytes.len() - cut);
                    bytes
                }
                Loss::Torn => contents.current,
                Loss::Subset => some_sectors(contents, random),
            };
            Contents {
                synced: kept.clone(),
                current: kept,
                ..Contents::default()
            }
        });
        Self {
            files: files.collect(),
            synced_names: names.clone(),
            names,
            ..Self::default()
        }
    }
}

fn some_sectors(contents: Contents, random: &mut Random) -> Vec<u8> {
    let mut bytes = contents.synced;
    // The length is data about the file, and may or may not have reached the disk.
    let length = match random.below(3) {
        0 => contents.current.len(),
        1 => bytes.len(),
        _ => bytes.len() + random.below(contents.current.len().saturating_sub(bytes.len()) + 1),
    };
    let synced = bytes.len();
    let garbage = random.below(4) == 0;
    bytes.resize(length.max(synced), 0);
    if garbage {
        for byte in &mut bytes[synced..] {
            *byte = random.next() as u8;
        }
    }
    for sector in contents.dirty {
        let end = ((sector + 1) * SECTOR).min(contents.current.len()).min(bytes.len());
        let start = sector * SECTOR;
        if start < end && random.coin() {
            bytes[start..end].copy_from_slice(&contents.current[start..end]);
        }
    }
    bytes
}

impl SimVfs {
    /// Stops the machine in the middle of an operation, counted from 1.
    pub(crate) fn crash_at(self, operation: u64) -> Self {
        self.disk(|disk| disk.crash_at = Some(operation));
        self
    }

    /// Makes operations fail.
    pub(crate) fn failing(self, failing: Failing) -> Self {
        self.disk(|disk| disk.failing = Some(failing));
        self
    }

    /// Operations so far.
    pub(crate) fn operations(&self) -> u64 {
        self.disk(|disk| disk.operations)
    }

    /// Whether the machine has stopped.
    pub(crate) fn has_crashed(&self) -> bool {
        self.disk(|disk| disk.crashed)
    }

    /// The disk as the next start finds it; this one is not changed.
    pub(crate) fn after_crash(&self, loss: Loss, random: &mut Random) -> Self {
        Self(Arc::new(Mutex::new(self.disk(|disk| disk.clone()).lose(loss, random))))
    }

    /// The same disk after the process was killed at that point, but the machine goes on: nothing is lost yet, nothing is synced.
    pub(crate) fn after_kill(&self) -> Self {
        let mut disk = self.disk(|disk| disk.clone());
        disk.crashed = false;
        disk.crash_at = None;
        if let Some((file, length)) = disk.cutting.take() {
            disk.cut(file, length);
        }
        Self(Arc::new(Mutex::new(disk)))
    }

    /// Flips a bit of a file, on disk and in memory.
    pub(crate) fn damage(&self, path: &Path, position: usize, bit: u8) {
        self.disk(|disk| {
            let file = disk.file_of(path).expect("the file is there");
            disk.files[file].current[position] ^= 1 << bit;
            disk.files[file].synced[position] ^= 1 << bit;
        });
    }

    fn disk<T>(&self, work: impl FnOnce(&mut Disk) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn handle(&self, file: usize) -> Box<dyn VfsFile> {
        Box::new(SimFile {
            vfs: self.clone(),
            file,
        })
    }
}

impl Vfs for SimVfs {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        let missing: Vec<&Path> = {
            let known = self.disk(|disk| disk.names.clone());
            path.ancestors().filter(|folder| !known.contains_key(*folder)).collect()
        };
        for folder in missing.into_iter().rev() {
            if folder.as_os_str().is_empty() || folder == Path::new("/") {
                continue;
            }
            self.disk(|disk| disk.rename_all(vec![(folder.to_owned(), Some(Entry::Folder))]))?;
            self.sync_folder(folder.parent().unwrap_or(Path::new("/")))?;
        }
        Ok(())
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn VfsFile>> {
        let file = self.disk(|disk| match disk.file_of(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && create => {
                disk.files.push(Contents::default());
                let file = disk.files.len() - 1;
                disk.rename_all(vec![(path.to_owned(), Some(Entry::File(file)))])?;
                Ok(file)
            }
            other => other,
        })?;
        Ok(self.handle(file))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        let file = self.disk(|disk| {
            disk.files.push(Contents::default());
            let file = disk.files.len() - 1;
            disk.rename_all(vec![(path.to_owned(), Some(Entry::File(file)))])?;
            Ok::<_, io::Error>(file)
        })?;
        Ok(self.handle(file))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.disk(|disk| disk.file_of(path).map(|file| disk.files[file].current.clone()))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk(|disk| {
            let file = disk.file_of(from)?;
            disk.rename_all(vec![(to.to_owned(), Some(Entry::File(file))), (from.to_owned(), None)])
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk(|disk| {
            disk.file_of(path)?;
            disk.rename_all(vec![(path.to_owned(), None)])
        })
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.disk(|disk| {
            let names = disk.names.keys();
            Ok(names.filter(|name| name.parent() == Some(path)).cloned().collect())
        })
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.disk(|disk| {
            let course = disk.begin()?;
            if matches!(course, Course::Happen) {
                let inside = |change: &NameChange| change.names[0].0.parent() == Some(path);
                let (synced, rest) = std::mem::take(&mut disk.pending).into_iter().partition(inside);
                disk.pending = rest;
                let synced: Vec<NameChange> = synced;
                for (path, entry) in synced.into_iter().flat_map(|change| change.names) {
                    match entry {
                        Some(entry) => disk.synced_names.insert(path, entry),
                        None => disk.synced_names.remove(&path),
                    };
                }
            }
            disk.answer(course)
        })
    }
}

#[derive(Debug)]
struct SimFile {
    vfs: SimVfs,
    file: usize,
}

impl VfsFile for SimFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.vfs.disk(|disk| {
            let course = disk.begin()?;
            match course {
                // What fits is there all the same.
                Course::Fail(_) => disk.write(self.file, &bytes[..bytes.len() / 2]),
                _ => disk.write(self.file, bytes),
            }
            disk.answer(course)
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.vfs.disk(|disk| {
            let course = disk.begin()?;
            match course {
                Course::Happen => disk.sync(self.file),
                Course::Crash => {}
                // The pages are dropped, and count as clean from now on.
                Course::Fail(_) => disk.files[self.file].dirty.clear(),
            }
            disk.answer(course)
        })
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.vfs.disk(|disk| {
            let course = disk.begin()?;
            match course {
                Course::Happen => {
                    disk.cut(self.file, length);
                    disk.sync(self.file);
                }
                Course::Crash => disk.cutting = Some((self.file, length)),
                Course::Fail(_) => {}
            }
            disk.answer(course)
        })
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.vfs.disk(|disk| disk.files[self.file].current.len() as u64))
    }

    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.vfs.disk(|disk| {
            let bytes = &disk.files[self.file].current;
            let end = position as usize + buffer.len();
            let wanted = bytes
                .get(position as usize..end)
                .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
            buffer.copy_from_slice(wanted);
            Ok(())
        })
    }
}
