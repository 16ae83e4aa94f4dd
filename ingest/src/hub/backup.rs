//! Backups: all a hub needs to go on from one instant, in a folder with a list of hashes; and a hub made of one.
//!
//! A backup holds the state of every partition at one instant, the tables at the versions that fit it, and the log to behind both. What
//! the state has not folded of it is folded after a restore. Sealing keys are not in it, only their ids: keep `keys/` elsewhere.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write as _};
use std::path::{Component, Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use shiyu_log::local::LocalLog;
use shiyu_log::state::{PartitionState, Space, StateBatch, StateSnapshot, StateStore};
use shiyu_log::table::{FrozenTables, TableWriter};
use shiyu_log::vfs::RealVfs;
use shiyu_log::{EventLog as _, LogError, Topic, durable};
use shiyu_schemas::table::STORED;
use shiyu_schemas::v1;

use super::HubError;
use crate::fold::FOLDED;
use crate::fold::head::{place_of_head, rebase};
use crate::fold::partition::state_name;

/// The list of what a backup holds; written last, so a folder without it is none.
pub const MANIFEST: &str = "backup.json";
/// Backups made of a data folder, in the data folder.
const REGISTER: &str = "backups.json";
const FORMAT: u32 = 1;
const COMPRESSION_LEVEL: i32 = 1;
/// Entries of one commit of a restored state.
const COMMIT_ENTRIES: usize = 20_000;
/// Keys of `meta` that say which log a state belongs to, which is another one after a restore.
const HEAD: &[u8] = b"head";

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupManifest {
    /// Version of this format.
    pub format: u32,
    /// The city.
    pub city: String,
    /// When it was made, microseconds since 1970 UTC.
    pub created_at_us: i64,
    /// Ids of the keys that open the originals of its rejections.
    pub keys: Vec<String>,
    /// Delta version by table.
    pub tables: BTreeMap<String, u64>,
    /// State by partition.
    pub partitions: BTreeMap<String, PartitionBackup>,
    /// Every file, below the backup's folder.
    pub files: Vec<FileEntry>,
}

/// The state of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionBackup {
    /// Offset of the next record to fold.
    pub offset: u64,
    /// Epochs committed.
    pub epoch: u64,
    /// Entries of its state.
    pub entries: u64,
    /// SHA-256 of all entries but the head, hexadecimal.
    pub checksum: String,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Below the backup's folder, with `/`.
    pub path: String,
    /// Length.
    pub bytes: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// A backup the data folder knows of: the log is not trimmed behind what it has not folded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredBackup {
    /// Where it lies.
    pub path: PathBuf,
    /// When it was made, microseconds since 1970 UTC.
    pub created_at_us: i64,
    /// Offset folded, by partition.
    pub offsets: BTreeMap<String, u64>,
}

impl BackupManifest {
    /// Reads the manifest of a backup.
    pub fn read(folder: &Path) -> Result<Self, HubError> {
        let path = folder.join(MANIFEST);
        let bytes = fs::read(&path).map_err(io_error("read", &path))?;
        let manifest: Self = serde_json::from_slice(&bytes).map_err(|error| problem(&path, error.to_string()))?;
        if manifest.format > FORMAT {
            return Err(problem(&path, "a newer version of shiyu wrote it; use that".to_owned()));
        }
        Ok(manifest)
    }

    /// As an answer to who asked for it.
    pub fn to_message(&self, to: &Path) -> v1::BackupResponse {
        let events = self.partitions.iter().filter(|(name, _)| name.starts_with("events-"));
        v1::BackupResponse {
            to: to.to_string_lossy().into_owned(),
            files: self.files.len() as u64,
            bytes: self.files.iter().map(|file| file.bytes).sum(),
            events: events.map(|(_, partition)| partition.offset).sum(),
            keys: self.keys.clone(),
        }
    }
}

/// What is backed up; see [`super::Hub::backup`].
pub(super) struct Source<'a> {
    pub(super) data_dir: &'a Path,
    pub(super) city: &'a str,
    pub(super) log: &'a LocalLog,
    pub(super) state: &'a StateSnapshot,
    pub(super) tables: &'a FrozenTables,
    pub(super) keys: Vec<String>,
    pub(super) created_at_us: i64,
}

/// Refuses a folder that has something in it, and makes one that is not there.
pub fn make_empty(folder: &Path) -> Result<(), HubError> {
    fs::create_dir_all(folder).map_err(io_error("make", folder))?;
    let mut entries = fs::read_dir(folder).map_err(io_error("list", folder))?;
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(problem(folder, "it is not empty; name a new folder".to_owned())),
    }
}

/// Copies everything to `to`, where the tables' Delta logs lie already. Blocks.
pub(super) fn write(source: &Source<'_>, to: &Path) -> Result<BackupManifest, HubError> {
    // Positions first: what they cover is in the events that are copied later.
    copy_log(source.log, Topic::Sources, to)?;
    let mut partitions = BTreeMap::new();
    for topic in FOLDED {
        for number in 0..source.log.partitions(topic) {
            let name = state_name(topic, number);
            if let Some(backup) = export(source.state, &name, &to.join("state").join(format!("{name}.zst")))? {
                partitions.insert(name, backup);
            }
        }
    }
    for topic in Topic::ALL.into_iter().filter(|topic| *topic != Topic::Sources) {
        copy_log(source.log, topic, to)?;
    }
    for file in &source.tables.files {
        durable::copy_file(&source.tables.root.join(file), &to.join("tables").join(file), None)?;
    }
    durable::copy_file(&source.data_dir.join("hub.json"), &to.join("hub.json"), None)?;
    let manifest = BackupManifest {
        format: FORMAT,
        city: source.city.to_owned(),
        created_at_us: source.created_at_us,
        keys: source.keys.clone(),
        tables: source.tables.snapshot.tables.clone(),
        partitions,
        files: hash_files(to)?,
    };
    let text = serde_json::to_vec_pretty(&manifest).map_err(|error| problem(to, error.to_string()))?;
    durable::replace(&to.join(MANIFEST), &text)?;
    register(source.data_dir, to, &manifest)?;
    Ok(manifest)
}

fn copy_log(log: &LocalLog, topic: Topic, to: &Path) -> Result<(), HubError> {
    for partition in 0..log.partitions(topic) {
        for (path, length) in log.files(topic, partition)? {
            let name = path.file_name().unwrap_or_default();
            let place = to.join("log").join(topic.name()).join(partition.to_string());
            if let Some(folder) = path.parent() {
                copy_small_files(folder, &place)?;
            }
            durable::copy_file(&path, &place.join(name), Some(length))?;
        }
    }
    Ok(())
}

/// What lies beside the segments: where the log begins, once it was trimmed.
fn copy_small_files(from: &Path, to: &Path) -> Result<(), HubError> {
    for entry in fs::read_dir(from).map_err(io_error("list", from))? {
        let path = entry.map_err(io_error("list", from))?.path();
        let is_segment = path
            .extension()
            .is_some_and(|extension| extension == "seg" || extension == "tmp");
        if let (false, Some(name)) = (is_segment, path.file_name()) {
            durable::copy_file(&path, &to.join(name), None)?;
        }
    }
    Ok(())
}

/// Entries as bytes: space, length of key, length of value, key, value.
fn put_entry(out: &mut Vec<u8>, space: Space, key: &[u8], value: &[u8]) {
    out.clear();
    out.push(space as u8);
    out.extend_from_slice(&(key.len() as u32).to_le_bytes());
    out.extend_from_slice(&(value.len() as u32).to_le_bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(value);
}

/// Writes the state of a partition as one file; none where it has none yet.
fn export(state: &StateSnapshot, name: &str, path: &Path) -> Result<Option<PartitionBackup>, HubError> {
    let failed = io_error("write", path);
    let failed = |error: io::Error| failed(error);
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(failed)?;
    let file = File::create(path).map_err(failed)?;
    let mut encoder = zstd::Encoder::new(BufWriter::new(file), COMPRESSION_LEVEL).map_err(failed)?;
    let mut sum = StateSum::default();
    let mut bytes = Vec::new();
    state.for_each(name, |space, key, value| {
        sum.add(space, key, value)?;
        put_entry(&mut bytes, space, key, value);
        encoder.write_all(&bytes).map_err(failed)
    })?;
    let file = encoder.finish().map_err(failed)?;
    let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    Ok(sum.finish())
}

/// Number of entries and hash of a state, without its head.
struct StateSum {
    entries: u64,
    hash: Context,
    head: Option<(u64, u64)>,
    bytes: Vec<u8>,
}

impl Default for StateSum {
    fn default() -> Self {
        Self {
            entries: 0,
            hash: Context::new(&SHA256),
            head: None,
            bytes: Vec::new(),
        }
    }
}

impl StateSum {
    fn add(&mut self, space: Space, key: &[u8], value: &[u8]) -> Result<(), HubError> {
        self.entries += 1;
        if (space, key) == (Space::Meta, HEAD) {
            self.head = Some(place_of_head(value)?);
        } else {
            put_entry(&mut self.bytes, space, key, value);
            self.hash.update(&self.bytes);
        }
        Ok(())
    }

    /// None where the partition was never committed.
    fn finish(self) -> Option<PartitionBackup> {
        let (offset, epoch) = self.head?;
        Some(PartitionBackup {
            offset,
            epoch,
            entries: self.entries,
            checksum: hex(self.hash.finish().as_ref()),
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or_default();
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// Every file below a folder, with its hash, sorted.
fn hash_files(folder: &Path) -> Result<Vec<FileEntry>, HubError> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).map_err(io_error("list", &next))? {
            let entry = entry.map_err(io_error("list", &next))?;
            if entry.file_type().map_err(io_error("list", &next))?.is_dir() {
                folders.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    files
        .iter()
        .map(|path| {
            let (bytes, sha256) = hash_file(path)?;
            let below = path.strip_prefix(folder).unwrap_or(path);
            let path = below.to_string_lossy().into_owned();
            Ok(FileEntry { path, bytes, sha256 })
        })
        .collect()
}

fn hash_file(path: &Path) -> Result<(u64, String), HubError> {
    let mut file = File::open(path).map_err(io_error("open", path))?;
    let mut hash = Context::new(&SHA256);
    let mut buffer = vec![0; 1 << 20];
    let mut length = 0;
    loop {
        let read = file.read(&mut buffer).map_err(io_error("read", path))?;
        if read == 0 {
            return Ok((length, hex(hash.finish().as_ref())));
        }
        hash.update(&buffer[..read]);
        length += read as u64;
    }
}

/// Backups made of a data folder that still lie where they were put.
pub fn registered(data_dir: &Path) -> Result<Vec<RegisteredBackup>, HubError> {
    let path = data_dir.join(REGISTER);
    match fs::read(&path) {
        Ok(bytes) => {
            let all: Vec<RegisteredBackup> =
                serde_json::from_slice(&bytes).map_err(|error| problem(&path, error.to_string()))?;
            Ok(all
                .into_iter()
                .filter(|backup| backup.path.join(MANIFEST).is_file())
                .collect())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(io_error("read", &path)(error)),
    }
}

fn register(data_dir: &Path, to: &Path, manifest: &BackupManifest) -> Result<(), HubError> {
    let mut all = registered(data_dir)?;
    all.push(RegisteredBackup {
        path: to.to_owned(),
        created_at_us: manifest.created_at_us,
        offsets: manifest
            .partitions
            .iter()
            .map(|(name, partition)| (name.clone(), partition.offset))
            .collect(),
    });
    let path = data_dir.join(REGISTER);
    let text = serde_json::to_vec_pretty(&all).map_err(|error| problem(&path, error.to_string()))?;
    Ok(durable::replace(&path, &text)?)
}

/// Compares every file of a backup with its hash. Blocks.
pub fn verify_files(from: &Path, manifest: &BackupManifest) -> Result<(), HubError> {
    for file in &manifest.files {
        let path = from.join(plain(from, &file.path)?);
        let (bytes, sha256) = hash_file(&path)?;
        if bytes != file.bytes || sha256 != file.sha256 {
            return Err(problem(
                &path,
                "it is not as it was written; use another backup".to_owned(),
            ));
        }
    }
    Ok(())
}

/// A path of a manifest, which must not lead out of the backup.
fn plain(from: &Path, path: &str) -> Result<PathBuf, HubError> {
    let path = PathBuf::from(path);
    let is_plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    if is_plain {
        Ok(path)
    } else {
        Err(problem(
            &from.join(MANIFEST),
            format!("it names \"{}\"", path.display()),
        ))
    }
}

/// Makes a data folder of a backup; the folder must be empty. Its log is a new one, so what was told about the old one's offsets is not
/// taken for its own. Blocks.
pub fn restore(from: &Path, data_dir: &Path) -> Result<BackupManifest, HubError> {
    let manifest = BackupManifest::read(from)?;
    make_empty(data_dir)?;
    verify_files(from, &manifest)?;
    for file in &manifest.files {
        let path = plain(from, &file.path)?;
        if path.starts_with("log") || path.starts_with("tables") {
            durable::copy_file(&from.join(&path), &data_dir.join(&path), None)?;
        }
    }
    let log = durable::read_or_make_number(&RealVfs, &data_dir.join("log").join("incarnation"))?;
    let store = StateStore::open(&data_dir.join("state"))?;
    for name in manifest.partitions.keys() {
        let state = store.partition(name)?;
        import(&state, &from.join("state").join(format!("{name}.zst")))?;
        rebase(&state, log)?;
    }
    drop(store);
    // Last: a folder without it is no hub's.
    durable::copy_file(&from.join("hub.json"), &data_dir.join("hub.json"), None)?;
    Ok(manifest)
}

fn import(state: &PartitionState, path: &Path) -> Result<(), HubError> {
    let failed = |error: io::Error| io_error("read", path)(error);
    let file = File::open(path).map_err(failed)?;
    let mut decoder = BufReader::new(zstd::Decoder::new(file).map_err(failed)?);
    let mut batch = StateBatch::new();
    let mut entries = 0;
    loop {
        let mut head = [0; 9];
        match decoder.read_exact(&mut head[..1]) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            other => other.map_err(failed)?,
        }
        decoder.read_exact(&mut head[1..]).map_err(failed)?;
        let [space, k0, k1, k2, k3, v0, v1, v2, v3] = head;
        let space = Space::ALL
            .into_iter()
            .find(|known| *known as u8 == space)
            .ok_or_else(|| problem(path, "it is no state of a partition".to_owned()))?;
        let mut key = vec![0; u32::from_le_bytes([k0, k1, k2, k3]) as usize];
        let mut value = vec![0; u32::from_le_bytes([v0, v1, v2, v3]) as usize];
        decoder.read_exact(&mut key).map_err(failed)?;
        decoder.read_exact(&mut value).map_err(failed)?;
        batch.put(space, key, value);
        entries += 1;
        if entries % COMMIT_ENTRIES == 0 {
            state.commit(std::mem::take(&mut batch))?;
        }
    }
    Ok(state.commit(batch)?)
}

/// Reads a restored data folder back and compares it with the backup: the state of every partition, the versions of the tables.
pub async fn verify(data_dir: &Path, manifest: &BackupManifest) -> Result<(), HubError> {
    let (folder, expected) = (data_dir.to_owned(), manifest.partitions.clone());
    tokio::task::spawn_blocking(move || {
        let store = StateStore::open(&folder.join("state"))?;
        let state = store.snapshot();
        for (name, expected) in &expected {
            let mut sum = StateSum::default();
            state.for_each(name, |space, key, value| sum.add(space, key, value))?;
            if sum.finish().as_ref() != Some(expected) {
                let problem_text = format!("the state of {name} is not the backup's");
                return Err(problem(&folder, problem_text));
            }
        }
        Ok::<_, HubError>(())
    })
    .await??;
    let tables = TableWriter::open(&data_dir.join("tables"), STORED).await?;
    if tables.versions() == manifest.tables {
        Ok(())
    } else {
        Err(problem(
            data_dir,
            "the tables are not at the backup's versions".to_owned(),
        ))
    }
}

fn problem(path: &Path, problem: String) -> HubError {
    HubError::Backup {
        path: path.to_owned(),
        problem,
    }
}

fn io_error(action: &'static str, path: &Path) -> impl Fn(io::Error) -> HubError {
    let path = path.to_owned();
    move |source| {
        HubError::Log(LogError::Io {
            action,
            path: path.clone(),
            source,
        })
    }
}
