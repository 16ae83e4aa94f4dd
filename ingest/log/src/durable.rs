//! Small files that are there whole or not at all.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use crate::LogError;

/// Replaces a file's contents atomically and durably: written beside it, synced, renamed, folder synced.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), LogError> {
    let failed = |action: &'static str| {
        move |source| LogError::Io {
            action,
            path: path.to_owned(),
            source,
        }
    };
    let beside = path.with_extension("tmp");
    let mut file = File::create(&beside).map_err(failed("create"))?;
    file.write_all(bytes).map_err(failed("write"))?;
    file.sync_all().map_err(failed("sync"))?;
    fs::rename(&beside, path).map_err(failed("rename"))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed("sync the folder of"))
}

/// A random number that a file keeps: read, or made once.
pub fn read_or_make_number(path: &Path) -> Result<u64, LogError> {
    match fs::read_to_string(path) {
        Ok(text) => u64::from_str_radix(text.trim(), 16).map_err(|_no_number| LogError::Incompatible {
            path: path.to_owned(),
            problem: "it does not hold a hexadecimal number".to_owned(),
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            use std::hash::{BuildHasher as _, RandomState};
            // The keys of RandomState come from the system's random source.
            let number = RandomState::new().hash_one(path);
            replace(path, format!("{number:016x}\n").as_bytes())?;
            Ok(number)
        }
        Err(source) => Err(LogError::Io {
            action: "read",
            path: path.to_owned(),
            source,
        }),
    }
}
