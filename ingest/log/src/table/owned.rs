//! Tables that several processes write: each writes the rows of the partitions it owns.
//!
//! A commit carries `txn(appId = "<table>/owner/<partition>", version = generation)` beside the epochs. Whoever takes a partition over
//! commits its own, greater generation to every table first. Delta lets of two commits that carry the same `appId` only one through, so
//! an owner of before either was quicker, and the new owner sees how far it came, or it finds the new generation and leaves off.
//!
//! `COMMIT` is locked for a commit of all tables, so that `snapshot.json` names versions that belong together. The lock is for that
//! only: a process that was stopped while it holds it is waited for a while and then passed by, for Delta keeps the tables right.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use deltalake::DeltaTableError;
use deltalake::kernel::Transaction;
use deltalake::kernel::transaction::TransactionError;

use super::delta::{CommitFailure, Table, application, applied_epochs, note_transactions, table_error};
use super::snapshot::Snapshot;
use super::store::SyncedFileSystem;
use super::upkeep::Merged;
use super::writer::{EpochRows, TableWriter};
use crate::LogError;

/// How often a commit is tried that others were quicker than.
const TRIES: u32 = 50;
/// How long a lock is waited for: looks at it, and time between.
const LOCK_LOOKS: u32 = 500;
const LOCK_WAIT: Duration = Duration::from_millis(20);

/// A partition that changes its owner.
#[derive(Debug, Clone)]
pub struct TakeOver {
    /// Name of the partition's state, e.g. `events-0`.
    pub partition: String,
    /// Life of the fold.
    pub incarnation: u64,
    /// Generation of the new owner.
    pub generation: u64,
    /// Tables its fold writes.
    pub tables: &'static [&'static str],
}

impl TableWriter {
    /// Makes each generation the one that writes its partition's rows, in the tables it has rows for. Returns for each the epochs up to
    /// which tables have them, which differ where an epoch had no rows for a table.
    pub async fn take_over(&mut self, takeovers: &[TakeOver]) -> Result<Vec<BTreeSet<u64>>, LogError> {
        let root = self.root().to_owned();
        let _turn = turn(&root).await?;
        let mut applied = vec![BTreeSet::new(); takeovers.len()];
        let (tables, store, upkeep) = self.parts();
        for table in tables {
            let own = |takeover: &TakeOver| takeover.tables.contains(&table.shape.name);
            let marks: BTreeMap<String, u64> = takeovers
                .iter()
                .filter(|takeover| own(takeover))
                .map(|takeover| (takeover.partition.clone(), takeover.generation))
                .collect();
            if marks.is_empty() {
                continue;
            }
            table.commit_owned(&[], &marks, (&root, store)).await?;
            table.look_after_log(upkeep).await?;
            for (takeover, applied) in takeovers.iter().zip(&mut applied) {
                if takeover.tables.contains(&table.shape.name) {
                    let application = application(&takeover.partition, takeover.incarnation);
                    applied.extend(table.applied.get(&application));
                }
            }
        }
        self.publish_merged(&BTreeMap::new())?;
        Ok(applied)
    }

    /// Adds the rows of many epochs of partitions this process owns, by generation. Returns the partitions that others own by now: none
    /// of their rows were written by this call, or none after the others took over.
    pub async fn commit_owned(
        &mut self,
        epochs: &[EpochRows],
        generations: &BTreeMap<String, u64>,
    ) -> Result<BTreeSet<String>, LogError> {
        let root = self.root().to_owned();
        let _turn = turn(&root).await?;
        let mut lost = BTreeSet::new();
        let (tables, store, upkeep) = self.parts();
        for table in tables {
            let before = table.version();
            lost.extend(table.commit_owned(epochs, generations, (&root, store)).await?);
            if table.version() > before {
                table.look_after_log(upkeep).await?;
            }
        }
        let mut newest: BTreeMap<String, u64> = BTreeMap::new();
        for EpochRows { mark, .. } in epochs {
            if !lost.contains(&mark.partition) {
                let epoch = newest.entry(mark.partition.clone()).or_default();
                *epoch = mark.epoch.max(*epoch);
            }
        }
        self.publish_merged(&newest)?;
        Ok(lost)
    }

    /// Commits merged files in the name of a partition's owner, and publishes the snapshot that has them. Returns whether it came about:
    /// where another process was quicker, or owns the partition by now, the files stay as they were.
    pub async fn apply_owned(&mut self, merged: Merged, partition: &str, generation: u64) -> Result<bool, LogError> {
        self.look_for_merges_again();
        let root = self.root().to_owned();
        let _turn = turn(&root).await?;
        let (tables, _, upkeep) = self.parts();
        let Some(table) = tables.iter_mut().find(|table| table.shape.name == merged.table()) else {
            return Ok(false);
        };
        table.catch_up(&root).await?;
        let replaced = table.owner(partition).is_some_and(|owner| owner > generation);
        if replaced || !table.has_all(&merged.inputs())? {
            return Ok(false);
        }
        let before = table.version();
        let owner = table.owner_transaction(partition, generation);
        match table.apply(merged, vec![owner]).await {
            Ok(()) => {}
            Err(CommitFailure::Delta(error)) if was_beaten(&error) => {
                tracing::debug!(%error, "another process was quicker; files stay unmerged");
                return Ok(false);
            }
            Err(failure) => return Err(table.not_committed(failure)),
        }
        let own = table.version();
        table.note_commits(before + 1..own, &root).await?;
        table.applied.insert(format!("owner/{partition}"), generation);
        table.look_after_log(upkeep).await?;
        self.publish_merged(&BTreeMap::new())?;
        Ok(true)
    }

    /// Publishes versions no older than those that others published.
    fn publish_merged(&mut self, newest: &BTreeMap<String, u64>) -> Result<(), LogError> {
        let mut snapshot = Snapshot::read(self.root())?.unwrap_or_default();
        for (partition, &epoch) in newest {
            let known = snapshot.epochs.entry(partition.clone()).or_default();
            *known = epoch.max(*known);
        }
        for table in self.parts().0 {
            let version = snapshot.tables.entry(table.shape.name.to_owned()).or_default();
            *version = table.version().max(*version);
            for (application, &epoch) in &table.applied {
                if let Some((partition, _)) = application.split_once('/').filter(|(first, _)| *first != "owner") {
                    let ahead = snapshot.ahead.entry(partition.to_owned()).or_default();
                    *ahead = epoch.max(*ahead);
                }
            }
        }
        let Snapshot { epochs, ahead, .. } = &mut snapshot;
        ahead.retain(|partition, epoch| epochs.get(partition).is_none_or(|whole| *epoch > *whole));
        self.publish_as(snapshot)
    }
}

/// The lock on commits; `None` where its holder does not move.
pub(super) async fn turn(root: &Path) -> Result<Option<File>, LogError> {
    let path = root.join("COMMIT");
    let failed = |source| LogError::Io {
        action: "lock",
        path: path.clone(),
        source,
    };
    let file = File::create(&path).map_err(failed)?;
    for _ in 0..LOCK_LOOKS {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_WAIT).await,
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
    }
    tracing::warn!(path = %path.display(), "committing without the lock: its holder does not move");
    Ok(None)
}

impl Table {
    /// Commits rows of owned partitions, and with no rows at all the owners themselves. Returns the partitions others own.
    async fn commit_owned(
        &mut self,
        epochs: &[EpochRows],
        generations: &BTreeMap<String, u64>,
        (root, store): (&Path, &SyncedFileSystem),
    ) -> Result<BTreeSet<String>, LogError> {
        for _ in 0..TRIES {
            self.catch_up(root).await?;
            let lost: BTreeSet<String> = generations
                .iter()
                .filter(|(partition, generation)| self.owner(partition).is_some_and(|owner| owner > **generation))
                .map(|(partition, _)| partition.clone())
                .collect();
            let own = epochs.iter().filter(|rows| !lost.contains(&rows.mark.partition));
            let (batches, newest) = self.fresh_rows(own);
            let writes = |partition: &str| newest.keys().any(|key| key.split('/').next() == Some(partition));
            let owners: Vec<Transaction> = generations
                .iter()
                .filter(|(partition, _)| !lost.contains(*partition) && (epochs.is_empty() || writes(partition)))
                .map(|(partition, &generation)| self.owner_transaction(partition, generation))
                .collect();
            if batches.is_empty() && owners.is_empty() {
                return Ok(lost);
            }
            let adds = if batches.is_empty() {
                Vec::new()
            } else {
                self.write_files(batches, store).await?
            };
            let before = self.version();
            match self.commit_rows(adds, newest, owners).await {
                Ok(()) => {
                    // Commits of others that ours was put behind: one of them may have taken a partition over.
                    let own = self.version();
                    self.note_commits(before + 1..own, root).await?;
                    for (partition, &generation) in generations {
                        if !lost.contains(partition) {
                            self.applied.insert(format!("owner/{partition}"), generation);
                        }
                    }
                    return Ok(lost);
                }
                Err(CommitFailure::Delta(error)) if was_beaten(&error) => {
                    tracing::debug!(%error, table = self.shape.name, "another process was quicker");
                }
                Err(failure) => return Err(self.not_committed(failure)),
            }
        }
        Err(table_error(
            "commit to",
            self.shape,
            std::io::Error::other("others were quicker every time"),
        ))
    }

    fn version(&self) -> u64 {
        self.delta.version().unwrap_or_default()
    }

    fn owner(&self, partition: &str) -> Option<u64> {
        self.applied.get(&format!("owner/{partition}")).copied()
    }

    fn owner_transaction(&self, partition: &str, generation: u64) -> Transaction {
        Transaction::new(format!("{}/owner/{partition}", self.shape.name), generation as i64)
    }

    fn has_all(&self, paths: &[&str]) -> Result<bool, LogError> {
        let failed = |error| table_error("list files of", self.shape, error);
        let files = self.delta.snapshot().map_err(failed)?.log_data();
        let alive: HashSet<String> = files.iter().map(|file| file.path().into_owned()).collect();
        Ok(paths.iter().all(|path| alive.contains(*path)))
    }

    /// Reads what others committed since.
    async fn catch_up(&mut self, root: &Path) -> Result<(), LogError> {
        let before = self.version();
        let failed = |error| table_error("read", self.shape, error);
        self.delta.update_state().await.map_err(failed)?;
        self.note_commits(before + 1..self.version() + 1, root).await
    }

    /// Notes the epochs and owners of commits; where one of them is behind a checkpoint already, of all there are.
    async fn note_commits(&mut self, versions: std::ops::Range<u64>, root: &Path) -> Result<(), LogError> {
        let failed = |error| table_error("read", self.shape, error);
        let store = self.delta.log_store();
        for version in versions {
            let Some(bytes) = store.read_commit_entry(version).await.map_err(failed)? else {
                let all = applied_epochs(root, self.shape, &self.delta).await?;
                self.applied.extend(all);
                return Ok(());
            };
            note_transactions(self.shape, &bytes, &mut self.applied)?;
        }
        Ok(())
    }
}

/// Whether a commit failed only because others committed first.
fn was_beaten(error: &DeltaTableError) -> bool {
    match error {
        DeltaTableError::Transaction { source } => matches!(
            source,
            TransactionError::CommitConflict(_)
                | TransactionError::VersionAlreadyExists(_)
                | TransactionError::MaxCommitAttempts(_)
        ),
        DeltaTableError::VersionAlreadyExists(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::writer::tests::{epoch, sources};
    use shiyu_schemas::table::REJECTIONS;

    use super::*;

    const PARTITION: &str = "rejections-0";

    async fn open(root: &Path) -> TableWriter {
        TableWriter::open_shared(root, &[&REJECTIONS]).await.unwrap()
    }

    fn takeover(partition: &str, generation: u64) -> TakeOver {
        TakeOver {
            partition: partition.to_owned(),
            incarnation: 7,
            generation,
            tables: &["rejections"],
        }
    }

    fn own(generation: u64) -> BTreeMap<String, u64> {
        BTreeMap::from([(PARTITION.to_owned(), generation)])
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_owner_of_before_writes_nothing_behind_the_takeover() {
        let folder = tempfile::tempdir().unwrap();
        let (mut one, mut two) = (open(folder.path()).await, open(folder.path()).await);
        assert_eq!(
            one.take_over(&[takeover(PARTITION, 1)]).await.unwrap(),
            [BTreeSet::new()]
        );
        assert!(
            one.commit_owned(&[epoch(1, "a"), epoch(2, "b")], &own(1))
                .await
                .unwrap()
                .is_empty()
        );
        assert_eq!(
            two.take_over(&[takeover(PARTITION, 5)]).await.unwrap(),
            [BTreeSet::from([2])]
        );
        let lost = one.commit_owned(&[epoch(3, "late")], &own(1)).await.unwrap();
        assert_eq!(lost, BTreeSet::from([PARTITION.to_owned()]));
        two.commit_owned(&[epoch(2, "b"), epoch(3, "c")], &own(5))
            .await
            .unwrap();
        assert_eq!(sources(folder.path()).await, 3);
        let snapshot = Snapshot::read(folder.path()).unwrap().unwrap();
        assert_eq!(snapshot.epochs[PARTITION], 3);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_snapshot_says_what_a_commit_that_is_not_done_has_put_into_it() {
        let folder = tempfile::tempdir().unwrap();
        let (mut one, mut two) = (open(folder.path()).await, open(folder.path()).await);
        one.take_over(&[takeover(PARTITION, 1)]).await.unwrap();
        one.commit_owned(&[epoch(1, "a"), epoch(2, "b")], &own(1))
            .await
            .unwrap();
        // As where the disk was full at the next table, or the process died before it published.
        let root = one.root().to_owned();
        let (tables, store, _) = one.parts();
        tables[0]
            .commit_owned(&[epoch(3, "c")], &own(1), (&root, store))
            .await
            .unwrap();
        two.take_over(&[takeover("rejections-1", 5)]).await.unwrap();
        let snapshot = Snapshot::read(folder.path()).unwrap().unwrap();
        assert_eq!((snapshot.epochs[PARTITION], snapshot.ahead[PARTITION]), (2, 3));
        one.commit_owned(&[epoch(3, "c")], &own(1)).await.unwrap();
        let snapshot = Snapshot::read(folder.path()).unwrap().unwrap();
        assert_eq!((snapshot.epochs[PARTITION], snapshot.ahead.len()), (3, 0));
        assert_eq!(sources(folder.path()).await, 3);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn writers_of_different_partitions_get_along() {
        let folder = tempfile::tempdir().unwrap();
        let mut tasks = Vec::new();
        for number in 0..3_u64 {
            let mut writer = open(folder.path()).await;
            tasks.push(tokio::spawn(async move {
                let partition = format!("rejections-{number}");
                writer.take_over(&[takeover(&partition, 1)]).await.unwrap();
                for at in 1..=5 {
                    let mut rows = epoch(at, "x");
                    rows.mark.partition.clone_from(&partition);
                    let lost = writer
                        .commit_owned(&[rows], &BTreeMap::from([(partition.clone(), 1)]))
                        .await
                        .unwrap();
                    assert!(lost.is_empty());
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(sources(folder.path()).await, 15);
        let snapshot = Snapshot::read(folder.path()).unwrap().unwrap();
        assert_eq!(snapshot.epochs.values().copied().collect::<Vec<_>>(), [5, 5, 5]);
        assert!(
            TableWriter::open(folder.path(), &[&REJECTIONS]).await.is_ok(),
            "once all are gone"
        );
    }
}
