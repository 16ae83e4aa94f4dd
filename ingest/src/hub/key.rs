//! The key that seals originals of rejected records: `keys/seal.key`, 32 random bytes, readable by the owner only.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use super::HubError;
use crate::door::seal::{AesSealer, Sealer};

const KEY_BYTES: usize = 32;

/// Opens the folder's key, or makes one.
pub fn sealer(data_dir: &Path) -> Result<Arc<dyn Sealer>, HubError> {
    let path = data_dir.join("keys").join("seal.key");
    let failed = |action: &'static str| {
        let path = path.clone();
        move |source| HubError::Key { action, path, source }
    };
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut bytes = vec![0; KEY_BYTES];
            aws_lc_rs::rand::fill(&mut bytes)
                .map_err(|_unspecified| std::io::Error::other("no random bytes"))
                .map_err(failed("make"))?;
            fs::create_dir_all(data_dir.join("keys")).map_err(failed("make"))?;
            // Beside its place first, then linked: two processes that make it at once take the same one.
            let beside = path.with_extension(std::process::id().to_string());
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&beside)
                .map_err(failed("make"))?;
            file.write_all(&bytes)
                .and_then(|()| file.sync_all())
                .map_err(failed("write"))?;
            let linked = fs::hard_link(&beside, &path);
            fs::remove_file(&beside).map_err(failed("make"))?;
            match linked {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    bytes = fs::read(&path).map_err(failed("read"))?;
                }
                other => other.map_err(failed("make"))?,
            }
            bytes
        }
        Err(source) => return Err(failed("read")(source)),
    };
    let key: [u8; KEY_BYTES] = bytes
        .try_into()
        .map_err(|_wrong_length| std::io::Error::other("the file does not hold 32 bytes"))
        .map_err(failed("use"))?;
    Ok(Arc::new(AesSealer::new(&key)))
}
