//! Small files that are there whole or not at all.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use crate::vfs::{RealVfs, Vfs};
use crate::{LogError, fault};

/// Replaces a file's contents atomically and durably: written beside it, synced, renamed, folder synced.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), LogError> {
    replace_in(&RealVfs, path, bytes)
}

/// [`replace`] on a given file system. What fails before the rename leaves the old contents; it may be tried again.
pub fn replace_in(vfs: &dyn Vfs, path: &Path, bytes: &[u8]) -> Result<(), LogError> {
    let failed = |action: &'static str| move |source| LogError::io(action, path, source);
    let beside = path.with_extension("tmp");
    let unwritten = |action: &'static str| move |source| LogError::unwritten(action, path, source);
    let mut file = vfs.create(&beside).map_err(unwritten("create"))?;
    file.append(bytes).map_err(unwritten("write"))?;
    file.sync().map_err(failed("sync"))?;
    fault::point("replace.rename")
        .and_then(|()| vfs.rename(&beside, path))
        .map_err(unwritten("rename"))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    vfs.sync_folder(folder).map_err(failed("sync the folder of"))
}

/// Copies the first `length` bytes of a file (all where none is given), durably; makes the folders above.
pub fn copy_file(from: &Path, to: &Path, length: Option<u64>) -> Result<(), LogError> {
    let failed = |action: &'static str, path: &Path| {
        let path = path.to_owned();
        move |source| LogError::Io { action, path, source }
    };
    let folder = to.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(failed("make", folder))?;
    let mut source = File::open(from)
        .map_err(failed("open", from))?
        .take(length.unwrap_or(u64::MAX));
    let mut target = File::create(to).map_err(failed("create", to))?;
    io::copy(&mut source, &mut target).map_err(failed("copy", from))?;
    target.sync_all().map_err(failed("sync", to))?;
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed("sync the folder of", to))
}

/// Copies the files of a folder, not those of the folders in it, durably.
pub fn copy_folder(from: &Path, to: &Path) -> Result<(), LogError> {
    let failed = |source| LogError::Io {
        action: "list",
        path: from.to_owned(),
        source,
    };
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_file() {
            copy_file(&entry.path(), &to.join(entry.file_name()), None)?;
        }
    }
    Ok(())
}

/// A random number that a file keeps: read, or made once. Durable when it returns, also where a killed process had only just made it.
pub fn read_or_make_number(vfs: &dyn Vfs, path: &Path) -> Result<u64, LogError> {
    match vfs.read(path) {
        Ok(bytes) => {
            vfs.sync_folder(path.parent().unwrap_or(Path::new(".")))
                .map_err(|source| LogError::io("sync the folder of", path, source))?;
            u64::from_str_radix(String::from_utf8_lossy(&bytes).trim(), 16).map_err(|_no_number| {
                LogError::Incompatible {
                    path: path.to_owned(),
                    problem: "it does not hold a hexadecimal number".to_owned(),
                }
            })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            use std::hash::{BuildHasher as _, RandomState};
            // The keys of RandomState come from the system's random source.
            let number = RandomState::new().hash_one(path);
            replace_in(vfs, path, format!("{number:016x}\n").as_bytes())?;
            Ok(number)
        }
        Err(source) => Err(LogError::io("read", path, source)),
    }
}
