//! The key that seals originals of rejected records: `keys/seal.key`, 32 random bytes, readable by the owner only.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use shiyu_log::vfs::{RealVfs, Vfs as _};

use super::HubError;
use crate::door::seal::{AesSealer, Sealer};

const KEY_BYTES: usize = 32;

/// Opens the folder's key, which must be there.
pub fn opener(data_dir: &Path) -> Result<Arc<dyn Sealer>, HubError> {
    let path = data_dir.join("keys").join("seal.key");
    let failed = |action: &'static str| {
        let path = path.clone();
        move |source| HubError::Key { action, path, source }
    };
    sealer_of(fs::read(&path).map_err(failed("read"))?).map_err(failed("use"))
}

fn sealer_of(bytes: Vec<u8>) -> std::io::Result<Arc<dyn Sealer>> {
    let key: [u8; KEY_BYTES] = bytes
        .try_into()
        .map_err(|_wrong_length| std::io::Error::other("the file does not hold 32 bytes"))?;
    Ok(Arc::new(AesSealer::new(&key)))
}

/// Opens the folder's key, or makes one.
pub fn sealer(data_dir: &Path) -> Result<Arc<dyn Sealer>, HubError> {
    let path = data_dir.join("keys").join("seal.key");
    let failed = |action: &'static str| {
        let path = path.clone();
        move |source| HubError::Key { action, path, source }
    };
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => make(&path).map_err(failed("make"))?,
        Err(source) => return Err(failed("read")(source)),
    };
    sealer_of(bytes).map_err(failed("use"))
}

/// Makes a key; it is there whole and durably, or not at all: what it sealed could not be opened without it. Of processes that make it
/// at once all take the same one.
fn make(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; KEY_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_unspecified| io::Error::other("no random bytes"))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    RealVfs.create_folder(folder)?;
    let beside = path.with_extension(std::process::id().to_string());
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    let linked = fs::hard_link(&beside, path);
    fs::remove_file(&beside)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => bytes = fs::read(path)?,
        other => other?,
    }
    RealVfs.sync_folder(folder)?;
    Ok(bytes)
}
