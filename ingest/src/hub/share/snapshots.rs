//! Snapshots of partitions, in the folder all processes read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use shiyu_log::state::PartitionState;
use shiyu_log::{LogError, Topic};

use super::Keeper;
use crate::fold::FoldError;
use crate::fold::partition::state_name;
use crate::fold::snapshot::write_snapshot;

/// Records folded since the last snapshot that make a new one worth its while.
const SNAPSHOT_RECORDS: u64 = 100_000;
/// How long this process may take to see its own last record in `cells.v1`.
const WATCH_WAIT: Duration = Duration::from_secs(30);
/// Snapshots kept of a partition.
pub(super) const SNAPSHOTS_KEPT: usize = 2;

impl Keeper {
    /// Writes a snapshot and removes old ones. Others trust it, so it is there only if this process was the owner all the while.
    pub(super) async fn snapshot(&self, name: &str, state: PartitionState) -> Result<(), FoldError> {
        let (folder, partition) = (self.snapshots.join(name), name.to_owned());
        // Another process may write one of the same partition: names must not meet before they are whole.
        let path = folder.join(format!("{}.part", std::process::id()));
        let (written, at) = (path.clone(), folder.clone());
        let header = tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(&at).map_err(failed("make", &at))?;
            write_snapshot(&state, &partition, &written)
        })
        .await??;
        let Some(header) = header else { return Ok(()) };
        let mut watched = self.watched.subscribe();
        let passing = watched.wait_for(|offset| *offset >= header.cells_offset);
        let passed = matches!(tokio::time::timeout(WATCH_WAIT, passing).await, Ok(Ok(_)));
        let owned = self.generations().get(name) == Some(&header.generation);
        if !passed || !owned {
            tracing::warn!(
                partition = name,
                "no snapshot: whether this process is still the owner is not sure"
            );
            return Ok(());
        }
        let place = folder.join(format!("{:020}-{:020}.state", header.offset, header.generation));
        tokio::task::spawn_blocking(move || {
            std::fs::rename(&path, &place).map_err(failed("rename", &place))?;
            std::fs::File::open(&folder)
                .and_then(|folder| folder.sync_all())
                .map_err(failed("sync", &folder))?;
            for old in snapshots_in(&folder).into_iter().skip(SNAPSHOTS_KEPT) {
                match std::fs::remove_file(&old) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(failed("remove", &old)(error));
                    }
                    _ => {}
                }
            }
            Ok::<_, FoldError>(())
        })
        .await??;
        metrics::counter!("shiyu_fold_snapshots_total").increment(1);
        tracing::info!(partition = name, offset = header.offset, "wrote a snapshot");
        Ok(())
    }

    /// Writes snapshots of running partitions that have folded much since their last one.
    pub(super) async fn write_due(&self, snapshot_at: &mut BTreeMap<(Topic, u32), u64>) -> Result<(), FoldError> {
        for (topic, number, state, offset) in self.fold.partitions() {
            let last = *snapshot_at.entry((topic, number)).or_insert(offset);
            if offset >= last + SNAPSHOT_RECORDS {
                self.snapshot(&state_name(topic, number), state).await?;
                snapshot_at.insert((topic, number), offset);
            }
        }
        Ok(())
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> FoldError + use<> {
    let path = path.to_owned();
    move |source| FoldError::from(LogError::Io { action, path, source })
}

/// Snapshots in a folder, the newest first.
pub(super) fn snapshots_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut found: BTreeSet<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "state"))
        .collect();
    let mut newest_first = Vec::with_capacity(found.len());
    while let Some(path) = found.pop_last() {
        newest_first.push(path);
    }
    newest_first
}
