//! Room kept on the data folder's disk, given back when a full disk would keep the hub from ending well.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;

/// Bytes kept.
pub(crate) const RESERVE_BYTES: u64 = 64 << 20;

/// Free bytes of a folder's disk, where they can be told.
pub(crate) fn free_bytes(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// The file `reserve` of a data folder.
#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    /// Keeps room, where there is as much again; without it the hub runs all the same, and says so.
    pub(crate) fn keep(folder: &Path) -> Self {
        let path = folder.join("reserve");
        if free_bytes(folder).is_some_and(|free| free < 2 * RESERVE_BYTES) && !path.exists() {
            tracing::warn!(
                mib = RESERVE_BYTES >> 20,
                "the disk has no room to keep for a stop on a full disk"
            );
        } else if let Err(error) = allocate(&path) {
            tracing::warn!(%error, path = %path.display(), "no room is kept for a stop on a full disk");
            drop(fs::remove_file(&path));
        }
        Self { path }
    }

    /// Gives the room back where less than it is free, so that what is under way can still be written.
    pub(crate) fn spend_if_full(&self) {
        let folder = self.path.parent().unwrap_or(&self.path);
        if free_bytes(folder).is_none_or(|free| free >= RESERVE_BYTES) {
            return;
        }
        match fs::remove_file(&self.path) {
            Ok(()) => tracing::warn!(
                mib = RESERVE_BYTES >> 20,
                "the disk is full: the room kept is given back"
            ),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, path = %self.path.display(), "cannot give back the room kept"),
        }
    }
}

fn allocate(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().create(true).write(true).truncate(false).open(path)?;
    Ok(rustix::fs::fallocate(file, FallocateFlags::empty(), 0, RESERVE_BYTES)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn room_is_kept_on_the_disk_and_not_given_back_while_there_is_enough() {
        use std::os::unix::fs::MetadataExt as _;
        let folder = tempfile::tempdir().unwrap();
        if free_bytes(folder.path()).unwrap() < 3 * RESERVE_BYTES {
            println!("skipped: no room on the disk of temporary files");
            return;
        }
        let reserve = Reserve::keep(folder.path());
        let kept = fs::metadata(folder.path().join("reserve")).unwrap();
        assert_eq!(kept.len(), RESERVE_BYTES);
        assert!(kept.blocks() * 512 >= RESERVE_BYTES, "the room is only promised");
        reserve.spend_if_full();
        assert!(folder.path().join("reserve").exists());
    }
}
