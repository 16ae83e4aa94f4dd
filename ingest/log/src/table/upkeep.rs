//! What keeps the tables quick to open and small: merging of files, clean-up of the Delta log, removal of files nobody reads any more.
//!
//! Files of about one size are merged when there are enough of them, so a partition has a few of each size and a row is rewritten a few
//! times in all. A table whose rows supersede one another ([`MergeRule`]) is merged as a whole now and then: the files that come of it are
//! the base, named `base-…`, in which no key stands twice. A merge changes no answer and blocks nobody: its inputs never change, and its
//! commit adds and removes at once. Files that were merged away stay for a while, for queries that read an older snapshot.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use deltalake::kernel::{Action, Add, LogicalFileView, Remove, Transaction};
use deltalake::protocol::DeltaOperation;
use object_store::PutPayload;
use parquet::errors::ParquetError;
use shiyu_schemas::table::{MergeRule, TableShape};

use super::delta::{CommitFailure, Table, table_error};
use super::merge::{MergedFile, Run, merge};
use super::store::put_synced;
use super::writer::TableWriter;
use crate::LogError;

/// First letters of the names of files in which no key stands twice.
pub const BASE_PREFIX: &str = "base-";
/// Files merged at once, at most.
const INPUTS_MAX: usize = 128;
/// Sizes below which files are of one class, bytes. Beyond the last they are large enough.
const CLASSES_BYTES: [u64; 3] = [16 << 10, 128 << 10, 1 << 20];
/// Between two looks for what to merge there are so many commits.
pub(super) const LOOK_COMMITS: u32 = 4;

/// How the tables are kept up.
#[derive(Debug, Clone)]
pub struct UpkeepOptions {
    /// Files of one size class and partition that cause a merge.
    pub merge_files: usize,
    /// Least time between two merges of a whole table.
    pub base_interval: Duration,
    /// Commits of the Delta log that stay readable behind the newest checkpoint, at least.
    pub log_commits: u64,
    /// How long files that were merged away stay for those who still read them.
    pub retention: Duration,
}

impl Default for UpkeepOptions {
    fn default() -> Self {
        Self {
            merge_files: 8,
            base_interval: Duration::from_mins(10),
            log_commits: 80,
            retention: Duration::from_hours(1),
        }
    }
}

/// When what was done to one table.
#[derive(Debug)]
pub(super) struct Upkeep {
    base_at: Instant,
    tidied_at: Instant,
    /// Files on disk that no version of now has, and since when this process knows.
    dead: HashMap<PathBuf, Instant>,
}

impl Default for Upkeep {
    fn default() -> Self {
        let now = Instant::now();
        Self {
            base_at: now,
            tidied_at: now,
            dead: HashMap::new(),
        }
    }
}

/// Files to merge; can run beside the writer.
#[derive(Debug)]
pub struct MergeJob {
    shape: &'static TableShape,
    folder: PathBuf,
    /// Folder of the partition below the table's, with its slash; empty where there is none.
    below: String,
    partition_values: HashMap<String, Option<String>>,
    runs: Vec<Run>,
    removes: Vec<Remove>,
    is_base: bool,
    version: u64,
    stop: MergeStop,
}

/// Files that were merged, to be committed by the writer.
#[derive(Debug)]
pub struct Merged {
    shape: &'static TableShape,
    removes: Vec<Remove>,
    adds: Vec<Add>,
}

impl Merged {
    /// The table.
    pub(super) fn table(&self) -> &'static str {
        self.shape.name
    }

    /// Paths of the files that were merged.
    pub(super) fn inputs(&self) -> Vec<&str> {
        self.removes.iter().map(|file| file.path.as_str()).collect()
    }
}

impl MergeJob {
    /// Writes the merged files, durably; `None` where it was told to stop. Blocks.
    pub fn run(self) -> Result<Option<Merged>, LogError> {
        let begun = Instant::now();
        let mut adds = Vec::new();
        let emit = |file: MergedFile| {
            let add = self.write(adds.len(), file)?;
            adds.push(add);
            Ok::<(), ParquetError>(())
        };
        let done = merge(self.shape, self.runs.clone(), &self.stop.0, emit)
            .map_err(|error| table_error("merge files of", self.shape, error))?;
        metrics::histogram!("shiyu_table_merge_seconds", "table" => self.shape.name)
            .record(begun.elapsed().as_secs_f64());
        Ok(done.then_some(Merged {
            shape: self.shape,
            removes: self.removes,
            adds,
        }))
    }

    fn write(&self, number: usize, file: MergedFile) -> io::Result<Add> {
        use std::hash::{BuildHasher as _, RandomState};
        let kind = if self.is_base { BASE_PREFIX } else { "part-" };
        let unique = RandomState::new().hash_one(number);
        let name = format!(
            "{}{kind}{:08}-{number:05}-{unique:016x}.parquet",
            self.below, self.version
        );
        let place = self.folder.join(&name);
        let beside = place.with_extension("merging");
        let size = file.bytes.len() as i64;
        put_synced(&place, &beside, &PutPayload::from(file.bytes), true)?;
        Ok(Add {
            path: name,
            partition_values: self.partition_values.clone(),
            size,
            modification_time: 0,
            data_change: false,
            stats: Some(format!("{{\"numRecords\":{}}}", file.rows)),
            ..Add::default()
        })
    }
}

impl TableWriter {
    /// Keeps the tables up in another way.
    #[must_use]
    pub fn with_upkeep(mut self, options: UpkeepOptions) -> Self {
        self.upkeep = options;
        self
    }

    /// What to merge next, if anything; looks after every few commits. `stop` ends the job early.
    pub fn next_merge(&mut self, stop: &MergeStop) -> Result<Option<MergeJob>, LogError> {
        self.commits_since_look += 1;
        if self.commits_since_look < LOOK_COMMITS {
            return Ok(None);
        }
        for table in &mut self.tables {
            if let Some(job) = table.next_merge(&self.root, &self.upkeep, stop)? {
                return Ok(Some(job));
            }
        }
        self.commits_since_look = 0;
        Ok(None)
    }

    /// Commits merged files and publishes the snapshot that has them.
    pub async fn apply(&mut self, merged: Merged) -> Result<(), LogError> {
        self.look_for_merges_again();
        let upkeep = self.upkeep.clone();
        let Some(table) = self
            .tables
            .iter_mut()
            .find(|table| table.shape.name == merged.shape.name)
        else {
            return Ok(());
        };
        table
            .apply(merged, Vec::new())
            .await
            .map_err(|failure| table.not_committed(failure))?;
        table.look_after_log(&upkeep).await?;
        self.publish(BTreeMap::new())
    }

    /// Where files were merged there may be more to merge at once.
    pub(super) fn look_for_merges_again(&mut self) {
        self.commits_since_look = LOOK_COMMITS;
    }

    /// Removes files nobody reads any more. Call it while no merge runs.
    pub async fn tidy(&mut self) -> Result<(), LogError> {
        for table in &mut self.tables {
            if table.care.tidied_at.elapsed() >= self.upkeep.retention / 4 {
                table.remove_dead(&self.root, self.upkeep.retention).await?;
            }
        }
        Ok(())
    }

    /// Merges all there is to merge, here and now, and tidies.
    pub async fn keep_up(&mut self) -> Result<(), LogError> {
        let stop = MergeStop::default();
        self.commits_since_look = LOOK_COMMITS;
        while let Some(job) = self.next_merge(&stop)? {
            let merged = tokio::task::spawn_blocking(move || job.run())
                .await
                .map_err(|_ended| LogError::Closed)??;
            if let Some(merged) = merged {
                self.apply(merged).await?;
            }
        }
        self.tidy().await
    }
}

impl Table {
    fn next_merge(
        &mut self,
        root: &Path,
        options: &UpkeepOptions,
        stop: &MergeStop,
    ) -> Result<Option<MergeJob>, LogError> {
        let state = self
            .delta
            .snapshot()
            .map_err(|error| table_error("list files of", self.shape, error))?;
        let mut partitions: BTreeMap<String, Vec<LogicalFileView>> = BTreeMap::new();
        let mut count = 0_u32;
        for file in state.log_data().iter() {
            count += 1;
            let path = file.path();
            let below = path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
            partitions.entry(below).or_default().push(file);
        }
        metrics::gauge!("shiyu_table_files", "table" => self.shape.name).set(f64::from(count));
        let picked = partitions
            .into_values()
            .find_map(|files| pick(self.shape, files, options, self.care.base_at));
        let Some((mut files, is_base)) = picked else {
            return Ok(None);
        };
        if is_base {
            self.care.base_at = Instant::now();
        }
        files.sort_by_key(|file| file.path().into_owned());
        let folder = root.join(self.shape.name);
        let (base, recent): (Vec<_>, Vec<_>) = files.iter().partition(|file| is_base_file(&file.path()));
        let path_of = |file: &LogicalFileView| folder.join(&*file.path());
        let mut runs: Vec<Run> = recent.into_iter().map(|file| Run::from([path_of(file)])).collect();
        runs.push(base.into_iter().map(path_of).collect());
        let first = files[0].path();
        Ok(Some(MergeJob {
            shape: self.shape,
            below: first
                .rsplit_once('/')
                .map(|(below, _)| format!("{below}/"))
                .unwrap_or_default(),
            partition_values: files[0].partition_values_map(),
            runs,
            removes: files.iter().map(|file| file.remove_action(false)).collect(),
            is_base,
            version: self.delta.version().unwrap_or_default(),
            stop: stop.clone(),
            folder: folder.clone(),
        }))
    }

    /// Commits merged files, with transactions of the writer's.
    pub(super) async fn apply(&mut self, merged: Merged, transactions: Vec<Transaction>) -> Result<(), CommitFailure> {
        metrics::counter!("shiyu_table_merged_files_total", "table" => self.shape.name)
            .increment(merged.removes.len() as u64);
        let removes = merged.removes.into_iter().map(Action::Remove);
        let actions = removes.chain(merged.adds.into_iter().map(Action::Add)).collect();
        let operation = DeltaOperation::Optimize {
            predicate: None,
            target_size: CLASSES_BYTES[CLASSES_BYTES.len() - 1] as i64,
        };
        self.commit_actions(actions, transactions, operation).await
    }

    /// Removes files on disk that no version of now has, once they have been known as such for `retention`.
    async fn remove_dead(&mut self, root: &Path, retention: Duration) -> Result<(), LogError> {
        let failed = |error| table_error("list files of", self.shape, error);
        let folder = root.join(self.shape.name);
        let state = self.delta.snapshot().map_err(failed)?;
        let alive: HashSet<PathBuf> = state.log_data().iter().map(|file| folder.join(&*file.path())).collect();
        let now = Instant::now();
        let mut known = std::mem::take(&mut self.care.dead);
        let (kept, gone) = tokio::task::spawn_blocking(move || {
            let mut kept = HashMap::new();
            let mut gone = 0_u64;
            for path in files_below(&folder)? {
                if alive.contains(&path) {
                    continue;
                }
                let since = known.remove(&path).unwrap_or(now);
                if now.duration_since(since) >= retention {
                    fs::remove_file(&path)?;
                    gone += 1;
                } else {
                    kept.insert(path, since);
                }
            }
            Ok::<_, io::Error>((kept, gone))
        })
        .await
        .map_err(|_ended| LogError::Closed)?
        .map_err(|error| table_error("remove files of", self.shape, error))?;
        metrics::counter!("shiyu_table_removed_files_total", "table" => self.shape.name).increment(gone);
        self.care.dead = kept;
        self.care.tidied_at = now;
        Ok(())
    }
}

/// Parquet files and what crashes left unfinished, but for the Delta log's own files.
fn files_below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_log = entry.file_name() == "_delta_log";
        if entry.file_type()?.is_dir() {
            let inner = fs::read_dir(entry.path())?;
            for file in inner {
                let path = file?.path();
                // A log's file that was never put into place has the mark of the store in its name.
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                if !is_log || name.contains('#') {
                    files.push(path.clone());
                }
            }
        } else {
            files.push(entry.path());
        }
    }
    Ok(files)
}

fn is_base_file(path: &str) -> bool {
    path.rsplit('/')
        .next()
        .is_some_and(|name| name.starts_with(BASE_PREFIX))
}

/// Files of one partition to merge now, and whether they become the base.
fn pick(
    shape: &TableShape,
    files: Vec<LogicalFileView>,
    options: &UpkeepOptions,
    base_at: Instant,
) -> Option<(Vec<LogicalFileView>, bool)> {
    let rows = |file: &LogicalFileView| file.num_records().unwrap_or_default();
    let (base, mut recent): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| is_base_file(&file.path()));
    let recent_rows: usize = recent.iter().map(rows).sum();
    let base_rows: usize = base.iter().map(rows).sum();
    let due = shape.merge != MergeRule::Keep && base_at.elapsed() >= options.base_interval;
    if due && recent.len() > 1 && recent_rows * 2 >= base_rows {
        recent.truncate(INPUTS_MAX);
        recent.extend(base);
        return Some((recent, true));
    }
    let class = |file: &LogicalFileView| {
        let size = file.size().unsigned_abs();
        CLASSES_BYTES.iter().position(|&limit| size < limit)
    };
    let fullest = (0..CLASSES_BYTES.len())
        .find(|&wanted| recent.iter().filter(|file| class(file) == Some(wanted)).count() >= options.merge_files)?;
    recent.retain(|file| class(file) == Some(fullest));
    recent.truncate(INPUTS_MAX);
    Some((recent, false))
}

/// Ends merges that run.
#[derive(Debug, Default, Clone)]
pub struct MergeStop(Arc<AtomicBool>);

impl MergeStop {
    /// A merge that runs ends soon, without effect.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[path = "upkeep_tests.rs"]
mod tests;
