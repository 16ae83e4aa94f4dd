//! Commits rows of many epochs to the tables, and publishes the snapshot.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::future::join_all;
use shiyu_schemas::table::TableShape;

use super::delta::{Table, application, applied_epochs, sync_commits, table_error};
use super::owned::turn;
use super::snapshot::Snapshot;
use super::store::SyncedFileSystem;
use super::upkeep::{LOOK_COMMITS, UpkeepOptions};
use crate::vfs::{RealVfs, Vfs as _};
use crate::{LogError, durable, fault};

const SNAPSHOT_FORMAT: u32 = 1;

/// One epoch of one partition of the fold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EpochMark {
    /// Partition, e.g. `events-0`.
    pub partition: String,
    /// Identity of this life of the fold.
    pub incarnation: u64,
    /// Number of the epoch, from 1.
    pub epoch: u64,
}

/// What one epoch adds to the tables.
#[derive(Debug, Clone)]
pub struct EpochRows {
    /// Whose rows these are.
    pub mark: EpochMark,
    /// Number of the epoch before it, 0 before the first.
    pub after: u64,
    /// Rows by table.
    pub rows: Vec<(&'static str, RecordBatch)>,
}

/// The tables at one snapshot.
#[derive(Debug)]
pub struct FrozenTables {
    /// The tables' folder.
    pub root: PathBuf,
    /// The versions.
    pub snapshot: Snapshot,
    /// Files with rows, below the folder.
    pub files: Vec<PathBuf>,
}

/// The writer of all tables: the only one, or one of several that own different partitions (`owned`).
#[derive(Debug)]
pub struct TableWriter {
    pub(super) root: PathBuf,
    store: Arc<SyncedFileSystem>,
    pub(super) tables: Vec<Table>,
    snapshot: Snapshot,
    pub(super) upkeep: UpkeepOptions,
    pub(super) commits_since_look: u32,
    is_shared: bool,
    /// Holds the lock.
    _lock: File,
}

impl TableWriter {
    /// Opens the tables below `root`, makes those that are missing, takes the writer's lock.
    pub async fn open(root: &Path, shapes: &[&'static TableShape]) -> Result<Self, LogError> {
        Self::open_as(root, shapes, false).await
    }

    /// The same, beside other processes that open the tables so; each writes the partitions it has taken over.
    pub async fn open_shared(root: &Path, shapes: &[&'static TableShape]) -> Result<Self, LogError> {
        Self::open_as(root, shapes, true).await
    }

    async fn open_as(root: &Path, shapes: &[&'static TableShape], shared: bool) -> Result<Self, LogError> {
        let io = |action: &'static str| {
            move |source| LogError::Io {
                action,
                path: root.to_owned(),
                source,
            }
        };
        RealVfs.create_folder(root).map_err(io("make"))?;
        let root = root.canonicalize().map_err(io("open"))?;
        let lock = File::create(root.join("WRITER")).map_err(io("lock"))?;
        let locked = if shared {
            lock.try_lock_shared()
        } else {
            lock.try_lock()
        };
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LogError::Locked {
                    path: root,
                    owner: "(another table writer)".to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(io("lock")(source)),
        }
        let _turn = if shared { turn(&root).await? } else { None };
        let store = Arc::new(SyncedFileSystem::default());
        let mut tables = Vec::with_capacity(shapes.len());
        for shape in shapes {
            tables.push(Table::open(&root, shape, &store).await?);
        }
        let snapshot = Snapshot::read(&root)?.unwrap_or_default();
        let mut writer = Self {
            root,
            store,
            tables,
            snapshot,
            upkeep: UpkeepOptions::default(),
            commits_since_look: LOOK_COMMITS,
            is_shared: shared,
            _lock: lock,
        };
        if writer.snapshot.tables.len() != writer.tables.len() {
            writer.publish(BTreeMap::new())?;
        }
        Ok(writer)
    }

    /// The newest epoch of a partition that a table has.
    pub fn applied(&self, table: &str, partition: &str, incarnation: u64) -> Option<u64> {
        let table = self.tables.iter().find(|known| known.shape.name == table)?;
        table.applied.get(&application(partition, incarnation)).copied()
    }

    /// Whether other processes write the tables too.
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// The newest published snapshot.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The version each table is at.
    pub fn versions(&self) -> BTreeMap<String, u64> {
        self.tables
            .iter()
            .map(|table| (table.shape.name.to_owned(), table.delta.version().unwrap_or_default()))
            .collect()
    }

    /// Adds the rows of many epochs, one commit per table, and publishes the snapshot. Epochs a table has are left out of it.
    pub async fn commit(&mut self, epochs: &[EpochRows]) -> Result<Snapshot, LogError> {
        // A table waits for its disk while another is encoded. All come to their end before one failure is told.
        let (store, upkeep) = (self.store.as_ref(), &self.upkeep);
        let commits = self.tables.iter_mut().filter_map(|table| {
            let encoding = table.encode(epochs)?;
            Some(table.commit(encoding, store, upkeep))
        });
        join_all(commits).await.into_iter().collect::<Result<(), LogError>>()?;
        let mut newest: BTreeMap<String, u64> = BTreeMap::new();
        for EpochRows { mark, .. } in epochs {
            let epoch = newest.entry(mark.partition.clone()).or_default();
            *epoch = mark.epoch.max(*epoch);
        }
        self.publish(newest)?;
        Ok(self.snapshot.clone())
    }

    /// Copies what of the tables' folder changes in place (the Delta logs, the snapshot) to `to`, and names the files it speaks of, below
    /// the tables' folder. These stay for [`UpkeepOptions::retention`].
    pub fn freeze(&self, to: &Path) -> Result<FrozenTables, LogError> {
        let mut files = Vec::new();
        for table in &self.tables {
            let failed = |error| table_error("list files of", table.shape, error);
            let state = table.delta.snapshot().map_err(failed)?;
            let names = state.log_data();
            files.extend(names.iter().map(|file| Path::new(table.shape.name).join(&*file.path())));
            let log = Path::new(table.shape.name).join("_delta_log");
            durable::copy_folder(&self.root.join(&log), &to.join(&log))?;
        }
        self.snapshot.write(to)?;
        Ok(FrozenTables {
            root: self.root.clone(),
            snapshot: self.snapshot.clone(),
            files,
        })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn parts(&mut self) -> (&mut [Table], &SyncedFileSystem, &UpkeepOptions) {
        (&mut self.tables, &self.store, &self.upkeep)
    }

    pub(super) fn publish_as(&mut self, snapshot: Snapshot) -> Result<(), LogError> {
        self.snapshot = snapshot;
        self.snapshot.format = SNAPSHOT_FORMAT;
        self.snapshot.write(&self.root)
    }

    pub(super) fn publish(&mut self, newest: BTreeMap<String, u64>) -> Result<(), LogError> {
        self.snapshot.format = SNAPSHOT_FORMAT;
        for (partition, epoch) in newest {
            // An epoch that is given again may be one of many the tables have.
            let known = self.snapshot.epochs.entry(partition).or_default();
            *known = epoch.max(*known);
        }
        self.snapshot.tables = self.versions();
        fault::pass("snapshot.replace")?;
        self.snapshot.write(&self.root)?;
        fault::pass("snapshot.replaced")
    }

    /// Reads again what the tables have. After a commit that failed nobody knows otherwise whether it is there.
    pub async fn reopen(&mut self) -> Result<(), LogError> {
        for table in &mut self.tables {
            sync_commits(&self.root.join(table.shape.name))?;
            table
                .delta
                .load()
                .await
                .map_err(|error| table_error("open", table.shape, error))?;
            table.applied = applied_epochs(&self.root, table.shape, &table.delta).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
    use shiyu_schemas::table::REJECTIONS;

    use super::*;

    fn rows(source: &str) -> RecordBatch {
        let text = |value: &str| Arc::new(StringArray::from(vec![value.to_owned()])) as ArrayRef;
        let columns = vec![
            text("feed"),
            text(source),
            Arc::new(Int64Array::from(vec![1])),
            text("bad_time"),
            text("c"),
            text("m"),
            Arc::new(TimestampMicrosecondArray::from(vec![0]).with_timezone("UTC")),
            text("r"),
        ];
        RecordBatch::try_new(REJECTIONS.schema(), columns).unwrap()
    }

    pub(in crate::table) fn epoch(number: u64, source: &str) -> EpochRows {
        let mark = EpochMark {
            partition: "rejections-0".to_owned(),
            incarnation: 7,
            epoch: number,
        };
        EpochRows {
            mark,
            after: number - 1,
            rows: vec![("rejections", rows(source))],
        }
    }

    pub(in crate::table) async fn sources(root: &Path) -> usize {
        let url = deltalake::ensure_table_uri(root.join("rejections").to_string_lossy()).unwrap();
        let table = deltalake::open_table(url).await.unwrap();
        let files: Vec<_> = table.get_file_uris().unwrap().collect();
        files
            .iter()
            .map(|file| {
                let file = File::open(file.trim_start_matches("file://")).unwrap();
                let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
                reader
                    .build()
                    .unwrap()
                    .map(|batch| batch.unwrap().num_rows())
                    .sum::<usize>()
            })
            .sum()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_epoch_given_twice_is_in_the_table_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = TableWriter::open(folder.path(), &[&REJECTIONS]).await.unwrap();
        assert!(
            TableWriter::open(folder.path(), &[&REJECTIONS]).await.is_err(),
            "one writer"
        );
        writer.commit(&[epoch(1, "a"), epoch(2, "b")]).await.unwrap();
        let snapshot = writer.commit(&[epoch(2, "b")]).await.unwrap();
        assert_eq!(snapshot.tables["rejections"], 1);
        drop(writer);
        let mut writer = TableWriter::open(folder.path(), &[&REJECTIONS]).await.unwrap();
        assert_eq!(writer.applied("rejections", "rejections-0", 7), Some(2));
        assert_eq!(writer.applied("rejections", "rejections-0", 8), None);
        let snapshot = writer
            .commit(&[epoch(1, "a"), epoch(2, "b"), epoch(3, "c")])
            .await
            .unwrap();
        assert_eq!(Snapshot::read(folder.path()).unwrap(), Some(snapshot.clone()));
        assert_eq!(snapshot.epochs["rejections-0"], 3);
        assert_eq!(sources(folder.path()).await, 3);
        let snapshot = writer.commit(&[epoch(1, "a")]).await.unwrap();
        assert_eq!(snapshot.epochs["rejections-0"], 3, "what it has stays told");
    }
}
