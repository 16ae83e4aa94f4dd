//! The few file operations the log needs, as a trait, so that tests can lose what was not synced.
//!
//! - [`RealVfs`]: the machine's file system
//! - `sim`: a file system in memory that crashes at a chosen operation and loses what was not synced (tests only)

#[cfg(test)]
pub(crate) mod sim;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// A file system.
pub trait Vfs: Send + Sync + std::fmt::Debug {
    /// Makes a folder and those above it, durably.
    fn create_folder(&self, path: &Path) -> io::Result<()>;
    /// Opens a file for appending and reading; makes it if `create`. The caller syncs the folder.
    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn VfsFile>>;
    /// Makes an empty file, over whatever stood there. The caller syncs file and folder.
    fn create(&self, path: &Path) -> io::Result<Box<dyn VfsFile>>;
    /// The whole of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Gives a file another name, over whatever had that name. The caller syncs the folder.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file. The caller syncs the folder.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Files of a folder, sorted.
    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>>;
    /// Makes creations and removals in a folder durable.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
}

/// An open file.
pub trait VfsFile: Send + Sync + std::fmt::Debug {
    /// Appends all bytes.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes what was appended durable.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file, durably.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
    /// Length, bytes.
    fn length(&self) -> io::Result<u64>;
    /// Fills `buffer` from `position`; an end before that is `UnexpectedEof`.
    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<()>;
}

/// The machine's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealVfs;

impl Vfs for RealVfs {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            // Somebody may have made it and been killed before the sync.
            return match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => match self.sync_folder(parent) {
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
                    other => other,
                },
                _ => Ok(()),
            };
        }
        match path.parent() {
            // The parent of a single relative name is the folder we are in.
            Some(parent) if !parent.as_os_str().is_empty() => self.create_folder(parent)?,
            _ => {}
        }
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other?,
        }
        match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => self.sync_folder(parent),
            _ => Ok(()),
        }
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn VfsFile>> {
        let file = OpenOptions::new().read(true).append(true).create(create).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let mut files = fs::read_dir(path)?
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<Vec<_>>>()?;
        files.sort();
        Ok(files)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

#[derive(Debug)]
struct RealFile(File);

impl VfsFile for RealFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)?;
        self.0.sync_all()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buffer, position)
    }
}
