//! Tables that several processes write: each writes the rows of the partitions it owns.
//!
//! A commit carries `txn(appId = "<table>/owner/<partition>", version = generation)` beside the epochs. Whoever takes a partition over
//! commits its own, greater generation to every table first. Delta lets of two commits that carry the same `appId` only one through, so
//! an owner of before either was quicker, and the new owner sees how far it came, or it finds the new generation and leaves off.
//!
//! `COMMIT` is locked for a commit of all tables, so that `snapshot.json` names versions that belong together. The lock is for that
//! only: a process that was stopped while it holds it is waited for a while and then passed by, for Delta keeps the tables right.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use deltalake::DeltaTableError;
use deltalake::kernel::Transaction;
use deltalake::kernel::transaction::TransactionError;

use super::snapshot::Snapshot;
use super::store::SyncedFileSystem;
use super::writer::{EpochRows, Table, TableWriter, application, note_transactions, table_error};
use crate::LogError;

/// How often a commit is tried that others were quicker than.
const TRIES: u32 = 50;
/// How long a lock is waited for: looks at it, and time between.
const LOCK_LOOKS: u32 = 500;
const LOCK_WAIT: Duration = Duration::from_millis(20);

impl TableWriter {
    /// Makes `generation` the one that writes a partition's rows, in the tables it has rows for. Returns the epochs up to which tables have them, which differ where
    /// an epoch had no rows for a table.
    pub async fn take_over(
        &mut self,
        partition: &str,
        incarnation: u64,
        generation: u64,
        names: &[&str],
    ) -> Result<BTreeSet<u64>, LogError> {
        let _turn = turn(&self.root().to_owned()).await?;
        let mut applied = BTreeSet::new();
        let (tables, store) = self.tables_and_store();
        for table in tables.iter_mut().filter(|table| names.contains(&table.shape.name)) {
            let mark = BTreeMap::from([(partition.to_owned(), generation)]);
            table.commit_owned(&[], &mark, store).await?;
            applied.extend(table.applied.get(&application(partition, incarnation)));
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
        let _turn = turn(&self.root().to_owned()).await?;
        let mut lost = BTreeSet::new();
        let (tables, store) = self.tables_and_store();
        for table in tables {
            lost.extend(table.commit_owned(epochs, generations, store).await?);
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

    /// Publishes versions no older than those that others published.
    fn publish_merged(&mut self, newest: &BTreeMap<String, u64>) -> Result<(), LogError> {
        let mut snapshot = Snapshot::read(self.root())?.unwrap_or_default();
        for (partition, &epoch) in newest {
            let known = snapshot.epochs.entry(partition.clone()).or_default();
            *known = epoch.max(*known);
        }
        for table in self.tables_and_store().0 {
            let version = snapshot.tables.entry(table.shape.name.to_owned()).or_default();
            *version = table.delta.version().unwrap_or_default().max(*version);
        }
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
        store: &SyncedFileSystem,
    ) -> Result<BTreeSet<String>, LogError> {
        for _ in 0..TRIES {
            self.catch_up().await?;
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
                .map(|(partition, &generation)| {
                    Transaction::new(format!("{}/owner/{partition}", self.shape.name), generation as i64)
                })
                .collect();
            if batches.is_empty() && owners.is_empty() {
                return Ok(lost);
            }
            let adds = if batches.is_empty() {
                Vec::new()
            } else {
                self.write_files(batches, store).await?
            };
            let before = self.delta.version().unwrap_or_default();
            match self.try_commit(adds, newest, owners).await {
                Ok(()) => {
                    // Commits of others that ours was put behind: one of them may have taken a partition over.
                    let own = self.delta.version().unwrap_or_default();
                    self.note_commits(before + 1..own).await?;
                    for (partition, &generation) in generations {
                        if !lost.contains(partition) {
                            self.applied.insert(format!("owner/{partition}"), generation);
                        }
                    }
                    return Ok(lost);
                }
                Err(error) if was_beaten(&error) => {
                    tracing::debug!(%error, table = self.shape.name, "another process was quicker");
                }
                Err(error) => return Err(table_error("commit to", self.shape, error)),
            }
        }
        Err(table_error(
            "commit to",
            self.shape,
            std::io::Error::other("others were quicker every time"),
        ))
    }

    fn owner(&self, partition: &str) -> Option<u64> {
        self.applied.get(&format!("owner/{partition}")).copied()
    }

    /// Reads what others committed since.
    async fn catch_up(&mut self) -> Result<(), LogError> {
        let before = self.delta.version().unwrap_or_default();
        let failed = |error| table_error("read", self.shape, error);
        self.delta.update_state().await.map_err(failed)?;
        let newest = self.delta.version().unwrap_or_default();
        self.note_commits(before + 1..newest + 1).await
    }

    async fn note_commits(&mut self, versions: std::ops::Range<u64>) -> Result<(), LogError> {
        let failed = |error| table_error("read", self.shape, error);
        let store = self.delta.log_store();
        for version in versions {
            if let Some(bytes) = store.read_commit_entry(version).await.map_err(failed)? {
                note_transactions(self.shape, &bytes, &mut self.applied)?;
            }
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

    fn own(generation: u64) -> BTreeMap<String, u64> {
        BTreeMap::from([(PARTITION.to_owned(), generation)])
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_owner_of_before_writes_nothing_behind_the_takeover() {
        let folder = tempfile::tempdir().unwrap();
        let (mut one, mut two) = (open(folder.path()).await, open(folder.path()).await);
        assert!(
            one.take_over(PARTITION, 7, 1, &["rejections"])
                .await
                .unwrap()
                .is_empty()
        );
        assert!(
            one.commit_owned(&[epoch(1, "a"), epoch(2, "b")], &own(1))
                .await
                .unwrap()
                .is_empty()
        );
        assert_eq!(
            two.take_over(PARTITION, 7, 5, &["rejections"]).await.unwrap(),
            BTreeSet::from([2])
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
    async fn writers_of_different_partitions_get_along() {
        let folder = tempfile::tempdir().unwrap();
        let mut tasks = Vec::new();
        for number in 0..3_u64 {
            let mut writer = open(folder.path()).await;
            tasks.push(tokio::spawn(async move {
                let partition = format!("rejections-{number}");
                writer.take_over(&partition, 7, 1, &["rejections"]).await.unwrap();
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
