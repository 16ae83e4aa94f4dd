//! Revisions of the city folder in the log: what the folder held when its records were mapped.
//!
//! A revision stands in `revisions.v1` before the first record it maps, with its files, in parts that any log takes. One that the log holds
//! already, and that is not the newest one, comes again without them. The topic is never trimmed. Parts of a revision whose writer died are
//! passed over.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use prost::Message as _;
use shiyu_log::lock::DataFolder;
use shiyu_log::{EventLog, Records, Topic};
use shiyu_schemas::city::error::did_you_mean;
use shiyu_schemas::city::revision::{ReadFile, hash_of, is_inside};
use shiyu_schemas::v1;

use super::{Hub, HubError, HubOptions, LogChoice};

/// Packed bytes of a part.
const PART_BYTES: usize = 1 << 20;
/// Bytes of the files of a revision, at most.
const FILES_BYTES_MAX: u64 = 1 << 30;
const COMPRESSION_LEVEL: i32 = 3;
const READ_BYTES: usize = 4 << 20;
/// Partitions of the log of a new data folder; here none is made.
const PARTITIONS: u32 = 1;

/// A revision the log tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// As in the tables' column `revision`.
    pub hash: u64,
    /// From when on it mapped records, microseconds since 1970 UTC.
    pub recorded_at_us: i64,
    /// Number of its files.
    pub files: u64,
    /// Bytes of its files.
    pub bytes: u64,
}

/// What a log tells of revisions.
#[derive(Debug, Default)]
pub struct Revisions {
    /// In the order of the log; one that came back stands twice.
    pub listed: Vec<Revision>,
    /// Parts seen of those that are not whole yet.
    gathered: BTreeMap<(u64, i64), Gathered>,
    wanted: Option<u64>,
    /// Files of the wanted one, packed.
    packed: Option<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Gathered {
    parts: u32,
    packed: Vec<u8>,
}

/// A hash as people read it: 16 hexadecimal digits.
pub fn hash_text(hash: u64) -> String {
    format!("{hash:016x}")
}

impl Revisions {
    /// Keeps the files of one revision, if any; the next record is the log's first.
    pub fn wanting(wanted: Option<u64>) -> Self {
        Self {
            wanted,
            ..Self::default()
        }
    }

    /// Takes the next record of the log.
    pub fn take(&mut self, record: v1::Revision) {
        if record.parts > 0 {
            let key = (record.hash, record.recorded_at_us);
            let gathered = self.gathered.entry(key).or_default();
            if record.part != gathered.parts {
                return;
            }
            gathered.parts += 1;
            if self.wanted == Some(record.hash) {
                gathered.packed.extend_from_slice(&record.packed);
            }
            if gathered.parts < record.parts {
                return;
            }
            let whole = self.gathered.remove(&key).unwrap_or_default();
            if self.wanted == Some(record.hash) {
                self.packed = Some(whole.packed);
            }
        }
        // Two processes may have told it at once.
        if self.newest() != Some(record.hash) {
            self.listed.push(Revision {
                hash: record.hash,
                recorded_at_us: record.recorded_at_us,
                files: record.files,
                bytes: record.bytes,
            });
        }
    }

    /// The newest one.
    pub fn newest(&self) -> Option<u64> {
        self.listed.last().map(|revision| revision.hash)
    }

    /// Whether the log holds a revision with its files.
    fn holds(&self, hash: u64) -> bool {
        self.listed.iter().any(|revision| revision.hash == hash)
    }

    /// The revision a text means: its hash or the beginning of it, where that is clear.
    pub fn find(&self, text: &str) -> Result<u64, HubError> {
        let mut known: Vec<(u64, String)> = Vec::new();
        for revision in self.listed.iter().rev() {
            if !known.iter().any(|(hash, _)| *hash == revision.hash) {
                known.push((revision.hash, hash_text(revision.hash)));
            }
        }
        let text = text.to_ascii_lowercase();
        let mut meant = known
            .iter()
            .filter(|(_, name)| !text.is_empty() && name.starts_with(&text));
        if let (Some((hash, _)), None) = (meant.next(), meant.next()) {
            return Ok(*hash);
        }
        let hint = did_you_mean(&text, known.iter().map(|(_, name)| name.as_str()));
        let names: Vec<String> = known.into_iter().map(|(_, name)| name).collect();
        let known = match names.as_slice() {
            [] => "there is none yet".to_owned(),
            names => format!("there are, newest first: {}", names.join(", ")),
        };
        Err(HubError::UnknownRevision {
            revision: text,
            known: format!("{hint}; {known}"),
        })
    }

    /// The files of the wanted revision, unpacked and checked.
    pub fn into_files(self) -> Result<Vec<v1::RevisionFile>, HubError> {
        let hash = self.wanted.unwrap_or_default();
        let damaged = |problem: String| HubError::DamagedRevision {
            revision: hash_text(hash),
            problem,
        };
        let packed = self
            .packed
            .ok_or_else(|| damaged("its files are not there".to_owned()))?;
        let mut plain = Vec::new();
        // Names and lengths come on top of the files' bytes.
        zstd::stream::read::Decoder::new(packed.as_slice())
            .and_then(|decoder| decoder.take(2 * FILES_BYTES_MAX).read_to_end(&mut plain))
            .map_err(|error| damaged(error.to_string()))?;
        let files = v1::RevisionFiles::decode(plain.as_slice()).map_err(|error| damaged(error.to_string()))?;
        if hash_of(files.files.iter().map(|file| file.content.as_slice())) != hash {
            return Err(damaged("its files have another hash".to_owned()));
        }
        if let Some(file) = files.files.iter().find(|file| !is_inside(&file.name)) {
            return Err(damaged(format!("\"{}\" leads out of its folder", file.name)));
        }
        Ok(files.files)
    }

    /// Reads a whole log.
    pub async fn read(log: &dyn EventLog, wanted: Option<u64>) -> Result<Self, HubError> {
        let mut revisions = Self::wanting(wanted);
        let (mut offset, end) = log.ask_range(Topic::Revisions, 0).await?;
        while offset < end {
            let (records, next) = records_from(log, offset).await?;
            for record in records {
                revisions.take(record);
            }
            offset = next;
        }
        Ok(revisions)
    }

    /// Reads the log of a data folder nobody else owns, without folding anything.
    pub async fn read_folder(
        data_dir: &Path,
        city: &str,
        choice: &LogChoice,
        wanted: Option<u64>,
    ) -> Result<Self, HubError> {
        let mut folder = DataFolder::open(data_dir, city, PARTITIONS)?;
        let log = choice.open(data_dir, city, &mut folder).await?.log();
        let revisions = Self::read(log.as_ref(), wanted).await;
        log.close();
        revisions
    }
}

/// Records from an offset on, and the offset behind them.
async fn records_from(log: &dyn EventLog, offset: u64) -> Result<(Vec<v1::Revision>, u64), HubError> {
    let mut next = offset;
    let mut records = Vec::new();
    for batch in log.read(Topic::Revisions, 0, offset, READ_BYTES).await? {
        for value in batch.values {
            let record = v1::Revision::decode(value).map_err(|source| HubError::Position {
                topic: Topic::Revisions.name(),
                offset: next,
                source,
            })?;
            records.push(record);
            next += 1;
        }
    }
    Ok((records, next))
}

/// Tells the log of the city's revision, unless it is the newest there: before the first record it maps.
pub(super) async fn record(log: &dyn EventLog, options: &HubOptions) -> Result<(), HubError> {
    let city = &options.city;
    let known = Revisions::read(log, None).await?;
    if known.newest() == Some(city.revision) {
        return Ok(());
    }
    let (folder, files, hash) = (options.city_folder.clone(), city.files.clone(), city.revision);
    let packing = tokio::task::spawn_blocking(move || pack(&folder, &files, hash));
    let (mut parts, told) = packing.await??;
    if known.holds(city.revision) {
        parts.clear();
    }
    let told = v1::Revision {
        recorded_at_us: options.clock.now_us(),
        parts: parts.len() as u32,
        ..told
    };
    let revision = hash_text(told.hash);
    tracing::info!(%revision, files = told.files, bytes = told.bytes, "another revision of the city folder");
    for record in records_of(&told, parts) {
        let mut records = Records::new();
        records.push_message(b"", &record);
        log.append(Topic::Revisions, 0, records).await?;
    }
    Ok(())
}

impl Hub {
    /// Records of revisions from an offset on (0 at first), with the files of none but the `wanted` one, and the offset to go on from;
    /// none at the end.
    pub async fn revisions(&self, offset: u64, wanted: u64) -> Result<Option<(Vec<v1::Revision>, u64)>, HubError> {
        let (start, end) = self.log.ask_range(Topic::Revisions, 0).await?;
        let offset = offset.max(start);
        if offset >= end {
            return Ok(None);
        }
        let (mut records, next) = records_from(self.log.as_ref(), offset).await?;
        for record in &mut records {
            if record.hash != wanted {
                record.packed.clear();
            }
        }
        Ok(Some((records, next)))
    }
}

/// One record for each part; one without files where there are none.
fn records_of(told: &v1::Revision, parts: Vec<Vec<u8>>) -> Vec<v1::Revision> {
    if parts.is_empty() {
        return vec![told.clone()];
    }
    let numbered = (0..).zip(parts);
    numbered
        .map(|(part, packed)| v1::Revision {
            part,
            packed,
            ..told.clone()
        })
        .collect()
}

/// The files of a revision, packed, in parts; and what is told of them. Blocks.
fn pack(folder: &Path, files: &[ReadFile], hash: u64) -> Result<(Vec<Vec<u8>>, v1::Revision), HubError> {
    let problem = |problem: String| HubError::Revision {
        problem: format!("the city folder \"{}\": {problem}", folder.display()),
    };
    let mut bytes = 0;
    let mut packed = v1::RevisionFiles::default();
    for file in files {
        let path: PathBuf = folder.join(&file.path);
        let content =
            std::fs::read(&path).map_err(|error| problem(format!("cannot read \"{}\": {error}", path.display())))?;
        bytes += content.len() as u64;
        if bytes > FILES_BYTES_MAX {
            return Err(problem(format!(
                "its files are larger than {} MiB together, the log takes no more of them",
                FILES_BYTES_MAX >> 20
            )));
        }
        packed.files.push(v1::RevisionFile {
            name: file.name.clone(),
            content,
        });
    }
    if hash_of(packed.files.iter().map(|file| file.content.as_slice())) != hash {
        return Err(problem("a file changed since it was read; start again".to_owned()));
    }
    let whole = zstd::bulk::compress(&packed.encode_to_vec(), COMPRESSION_LEVEL)
        .map_err(|error| problem(format!("cannot pack it: {error}")))?;
    let parts = whole.chunks(PART_BYTES).map(<[u8]>::to_vec).collect();
    let told = v1::Revision {
        hash,
        files: files.len() as u64,
        bytes,
        ..v1::Revision::default()
    };
    Ok((parts, told))
}

/// Writes files to `to`, an empty or missing folder. Blocks.
pub fn write_files(files: &[v1::RevisionFile], to: &Path) -> Result<(), HubError> {
    super::backup::make_empty(to)?;
    for file in files {
        let path = to.join(&file.name);
        let written = path
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| std::fs::write(&path, &file.content));
        written.map_err(|source| shiyu_log::LogError::Io {
            action: "write",
            path,
            source,
        })?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "revisions_tests.rs"]
mod tests;
