//! An object store on local disk whose files are durable when a put returns.
//!
//! `object_store` renames into place without a sync: after a power cut a Delta log on local disk can hold files of 0 bytes and be
//! unreadable. Here a file is written beside its place, synced, linked or renamed into place, and its folder synced.

use std::fmt;
use std::fs::{self, File};
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path as FsPath, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

/// Local disk, synced. Locations are absolute paths.
#[derive(Debug, Default)]
pub struct SyncedFileSystem {
    inner: LocalFileSystem,
    counter: AtomicU64,
}

impl fmt::Display for SyncedFileSystem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SyncedFileSystem")
    }
}

/// A failed operation on a file; keeps the reason, for a full disk is no broken one.
#[derive(Debug, thiserror::Error)]
#[error("failed to write \"{}\"", path.display())]
struct FileError {
    path: PathBuf,
    source: std::io::Error,
}

fn failed(path: &FsPath, source: std::io::Error) -> Error {
    let path = path.to_owned();
    Error::Generic {
        store: "SyncedFileSystem",
        source: Box::new(FileError { path, source }),
    }
}

/// Makes a folder and those above it, durably.
fn create_folder(path: &FsPath) -> std::io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(FsPath::new("/"));
    create_folder(parent)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other.and_then(|()| File::open(parent)?.sync_all()),
    }
}

/// Writes `payload` to `place`; with `create` only if there is nothing yet.
///
/// What fails before the file has its name leaves nothing. A folder whose sync fails is final: the name may be there or not.
pub(super) fn put_synced(place: &FsPath, beside: &FsPath, payload: &PutPayload, create: bool) -> std::io::Result<()> {
    let folder = place.parent().unwrap_or(FsPath::new("/"));
    create_folder(folder)?;
    let named = write_synced(beside, payload).and_then(|()| {
        if create {
            fs::hard_link(beside, place)
        } else {
            fs::rename(beside, place)
        }
    });
    if create || named.is_err() {
        // What cannot be removed is only in the way of nobody.
        let _left = fs::remove_file(beside);
    }
    named?;
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| std::io::Error::other(format!("its folder cannot be synced: {error}")))
}

fn write_synced(path: &FsPath, payload: &PutPayload) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    for part in payload {
        file.write_all(part)?;
    }
    file.sync_all()
}

impl SyncedFileSystem {
    async fn put_all(&self, location: &Path, payload: PutPayload, create: bool) -> Result<PutResult> {
        let place = self.inner.path_to_filesystem(location)?;
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let mut beside = place.clone().into_os_string();
        beside.push(format!("#{}-{number}", std::process::id()));
        let beside = PathBuf::from(beside);
        let target = place.clone();
        tokio::task::spawn_blocking(move || put_synced(&target, &beside, &payload, create))
            .await
            .map_err(|source| Error::JoinError { source })?
            .map_err(|source| match source.kind() {
                std::io::ErrorKind::AlreadyExists => Error::AlreadyExists {
                    path: location.to_string(),
                    source: Box::new(source),
                },
                _ => failed(&place, source),
            })?;
        Ok(PutResult {
            e_tag: None,
            version: None,
        })
    }
}

#[async_trait]
impl ObjectStore for SyncedFileSystem {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        match options.mode {
            PutMode::Overwrite => self.put_all(location, payload, false).await,
            PutMode::Create => self.put_all(location, payload, true).await,
            PutMode::Update(_) => self.inner.put_opts(location, payload, options).await,
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let place = self.inner.path_to_filesystem(location)?;
        let mut beside = place.clone().into_os_string();
        beside.push(format!(
            "#{}-{}",
            std::process::id(),
            self.counter.fetch_add(1, Ordering::Relaxed)
        ));
        Ok(Box::new(Upload {
            place,
            beside: PathBuf::from(beside),
            parts: Vec::new(),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let payload = self.inner.get_opts(from, GetOptions::default()).await?.bytes().await?;
        let create = matches!(options.mode, object_store::CopyMode::Create);
        self.put_all(to, payload.into(), create).await.map(|_| ())
    }
}

/// A large file, gathered in memory: ours are tens of megabytes at most.
#[derive(Debug)]
struct Upload {
    place: PathBuf,
    beside: PathBuf,
    parts: Vec<Bytes>,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts.extend(data);
        Box::pin(std::future::ready(Ok(())))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let payload: PutPayload = std::mem::take(&mut self.parts).into_iter().collect();
        put_synced(&self.place, &self.beside, &payload, false).map_err(|source| failed(&self.place, source))?;
        Ok(PutResult {
            e_tag: None,
            version: None,
        })
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use object_store::ObjectStoreExt as _;

    #[tokio::test]
    async fn a_second_create_is_refused_and_leaves_nothing_beside() {
        let folder = tempfile::tempdir().unwrap();
        let store = SyncedFileSystem::default();
        let place = Path::from_filesystem_path(folder.path())
            .unwrap()
            .join("log")
            .join("0.json");
        let create = || PutOptions::from(PutMode::Create);
        store.put_opts(&place, "first".into(), create()).await.unwrap();
        let error = store.put_opts(&place, "second".into(), create()).await.unwrap_err();
        assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
        assert_eq!(store.get(&place).await.unwrap().bytes().await.unwrap(), "first");
        assert_eq!(fs::read_dir(folder.path().join("log")).unwrap().count(), 1);
        store.put(&place, "third".into()).await.unwrap();
        assert_eq!(store.get(&place).await.unwrap().bytes().await.unwrap(), "third");
    }
}
