//! Partitions of the fold over a log that other processes read too: taken over, folded, let go of.
//!
//! Taking over, in this order, so that whatever the owner before still does, counts or does not count, but never by half:
//! 1. A takeover record in `cells.v1`. Its place is the generation; changes of counts by earlier owners behind it do not count, those
//!    before it do: up to where, is read.
//! 2. The generation in every table. From then on an earlier owner commits nothing; how far each table is, is read.
//! 3. The state: of this process's own one and the snapshots, the furthest that fits, else none: then all is folded from the log.
//! 4. The fold goes on from the state's offset. Where an effect reaches further than the state, epochs end exactly there, and what is
//!    there already is not done again: the step is pure, so it would be the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use shiyu_log::kafka::{GroupChange, GroupMember, KafkaLog};
use shiyu_log::state::{PartitionState, StateStore};
use shiyu_log::{EventLog, LogError, Records, Topic};
use shiyu_schemas::v1;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::HubError;
use crate::fold::flusher::{TakeOver, tables_of};
use crate::fold::partition::{Ownership, Partition, hash_of, offset_of, state_name};
use crate::fold::snapshot::{read_header, read_snapshot, write_snapshot};
use crate::fold::{FOLDED, FoldError, FoldHandle};

const READ_BYTES: usize = 8 << 20;
/// How often running partitions are looked at for a snapshot.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(30);
/// Records folded since the last snapshot that make a new one worth its while.
const SNAPSHOT_RECORDS: u64 = 100_000;
/// How long the first partitions are waited for: there may be none left.
const ASSIGNMENT_WAIT: Duration = Duration::from_secs(20);
/// How long this process may take to see its own last record in `cells.v1`.
const WATCH_WAIT: Duration = Duration::from_secs(30);
/// Snapshots kept of a partition.
const SNAPSHOTS_KEPT: usize = 2;

/// Takes partitions over and lets go of them.
#[derive(Debug, Clone)]
pub(super) struct Keeper {
    pub(super) log: Arc<dyn EventLog>,
    pub(super) fold: Arc<FoldHandle>,
    pub(super) state: StateStore,
    /// Where snapshots are.
    pub(super) snapshots: PathBuf,
    /// Whether other processes take partitions over.
    pub(super) shared: bool,
    /// Generation by partition of the fold, of those this process owns.
    pub(super) generations: Arc<Mutex<BTreeMap<String, u64>>>,
    /// Up to where in `cells.v1` this process knows who took over.
    pub(super) watched: Arc<watch::Sender<u64>>,
}

/// The tasks that keep partitions, until they are ended.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    stop: CancellationToken,
    following: tokio::sync::Mutex<Option<JoinHandle<()>>>,
    watching: Option<AbortOnDrop>,
}

#[derive(Debug)]
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Keeping {
    /// Lets go of all partitions.
    pub(super) async fn end(&self) {
        self.stop.cancel();
        if let Some(following) = self.following.lock().await.take()
            && let Err(error) = following.await
        {
            tracing::error!(%error, "failed to let go of partitions");
        }
        if let Some(watching) = &self.watching {
            watching.0.abort();
        }
    }
}

impl Keeper {
    /// Takes all partitions over, or, where they are shared, those the group gives to this process; returns when the first are folded.
    pub(super) async fn start(self, kafka: &KafkaLog) -> Result<Keeping, HubError> {
        let mut keeping = Keeping {
            watching: Some(AbortOnDrop(tokio::spawn(self.clone().watch_takeovers()))),
            ..Keeping::default()
        };
        if !self.shared {
            for topic in FOLDED {
                for number in 0..self.log.partitions(topic) {
                    self.acquire(topic, number).await?;
                }
            }
            return Ok(keeping);
        }
        let member = GroupMember::join(kafka, &FOLDED)?;
        let ready = CancellationToken::new();
        let fold = self.fold.clone();
        let following = tokio::spawn(self.follow(member, keeping.stop.clone(), ready.clone()));
        keeping.following = tokio::sync::Mutex::new(Some(following));
        tokio::select! {
            () = ready.cancelled() => {}
            failure = fold.ended() => return Err(failure.into()),
            () = tokio::time::sleep(ASSIGNMENT_WAIT) => {
                tracing::warn!("the group has given no partitions yet; going on without");
            }
        }
        Ok(keeping)
    }

    /// Becomes the owner of a partition and folds it.
    pub(super) async fn acquire(&self, topic: Topic, number: u32) -> Result<(), FoldError> {
        let name = state_name(topic, number);
        let incarnation = incarnation_of(self.log.incarnation(), &name);
        let generation = self.append_takeover(topic, number, &name, incarnation).await?;
        let takeover = TakeOver {
            partition: name.clone(),
            incarnation,
            generation,
            tables: tables_of(topic),
        };
        let mut cuts = self.fold.take_over(takeover).await?;
        self.log.ask_range(topic, number).await?;
        let Candidates { sources, base } = self.candidates(&name, incarnation).await?;
        let cells_epoch = if topic == Topic::Events {
            self.cells_epoch(number, incarnation, base, generation).await?
        } else {
            0
        };
        cuts.insert(cells_epoch);
        let ownership = Ownership {
            generation,
            cells_epoch,
            cuts,
        };
        let partition = self
            .first_that_fits(topic, number, incarnation, sources, &ownership)
            .await?;
        metrics::gauge!("shiyu_fold_generation", "partition" => name).set(generation as f64);
        self.generations().insert(state_name(topic, number), generation);
        self.fold.start_partition(partition)?;
        Ok(())
    }

    /// The partition on the first state that can go on behind what other owners did.
    async fn first_that_fits(
        &self,
        topic: Topic,
        number: u32,
        incarnation: u64,
        sources: Vec<Source>,
        ownership: &Ownership,
    ) -> Result<Partition, FoldError> {
        let (start, end) = self.log.range(topic, number);
        for source in sources {
            let from = source.name();
            let mut partition = match self.open(topic, number, incarnation, source).await {
                Err(error @ FoldError::Snapshot { .. }) => {
                    tracing::error!(%error, "a snapshot is damaged; another state is used");
                    continue;
                }
                other => other?,
            };
            self.check_last_record(&partition).await?;
            if let Some(cut) = ownership.cuts.range(end + 1..).next() {
                return Err(partition.foreign(format!(
                    "its effects reach to offset {cut}, the log holds [{start}, {end}): the topic was cut or made anew"
                )));
            }
            let owned = partition.own(ownership.clone());
            if let Err(error) = owned {
                tracing::warn!(%error, from, "this state does not fit what other owners did");
                continue;
            }
            let (generation, offset) = (ownership.generation, partition.offset());
            tracing::info!(
                topic = topic.name(),
                number,
                generation,
                offset,
                from,
                "took over a partition"
            );
            return Ok(partition);
        }
        Err(FoldError::Foreign {
            topic: topic.name(),
            partition: number,
            problem: "no state fits what other owners did; restore from a backup".to_owned(),
        })
    }

    fn generations(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, u64>> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for takeovers by others of what this process owns: it may have been stopped while the group gave its partitions away.
    pub(super) async fn watch_takeovers(self) {
        let mut offset = *self.watched.borrow();
        loop {
            match self.next_takeovers(&mut offset).await {
                Ok(()) => {}
                Err(FoldError::Log(error)) if matches!(*error, LogError::Closed) => return,
                Err(error) => return self.fold.fail(error),
            }
        }
    }

    async fn next_takeovers(&self, offset: &mut u64) -> Result<(), FoldError> {
        self.log.wait_for(Topic::Cells, 0, *offset).await?;
        for batch in self.log.read(Topic::Cells, 0, *offset, READ_BYTES).await? {
            for (at, value) in (batch.first_offset..).zip(&batch.values) {
                let changes = decoded(at, value)?;
                let known = self.generations().get(&changes.takeover).copied();
                if known.is_some_and(|known| known < at + 1) {
                    self.taken(&changes.takeover).await?;
                }
            }
            *offset = batch.next_offset();
            self.watched.send_replace(*offset);
        }
        Ok(())
    }

    /// Another process owns a partition this one folds.
    async fn taken(&self, name: &str) -> Result<(), FoldError> {
        let own = FOLDED.into_iter().find_map(|topic| {
            let number = (0..self.log.partitions(topic)).find(|&number| state_name(topic, number) == name)?;
            Some((topic, number))
        });
        let Some((topic, number)) = own else { return Ok(()) };
        if !self.shared {
            return Err(FoldError::Foreign {
                topic: topic.name(),
                partition: number,
                problem: "another process took it over; give --shared to both, or another prefix to one".to_owned(),
            });
        }
        tracing::warn!(partition = name, "another process took over a partition");
        self.generations().remove(name);
        self.fold.stop_partition(topic, number).await?;
        Ok(())
    }

    /// Appends the takeover; its place, plus one, is the generation.
    async fn append_takeover(&self, topic: Topic, number: u32, name: &str, incarnation: u64) -> Result<u64, FoldError> {
        let takeover = v1::CellChanges {
            partition: if topic == Topic::Events { number } else { u32::MAX },
            incarnation,
            takeover: name.to_owned(),
            ..v1::CellChanges::default()
        };
        let mut records = Records::new();
        records.push_message(name.as_bytes(), &takeover);
        Ok(self.log.append(Topic::Cells, 0, records).await?.next_offset)
    }

    /// The last epoch whose changes of counts were in `cells.v1` and counted when `generation` took over.
    async fn cells_epoch(&self, number: u32, incarnation: u64, base: Base, generation: u64) -> Result<u64, FoldError> {
        let (start, _) = self.log.range(Topic::Cells, 0);
        let (mut offset, mut owner, mut newest) = (base.cells_offset.max(start), base.generation, base.cells_epoch);
        while offset + 1 < generation {
            for batch in self.log.read(Topic::Cells, 0, offset, READ_BYTES).await? {
                for (at, value) in (batch.first_offset..).zip(&batch.values) {
                    let changes = decoded(at, value)?;
                    if at + 1 >= generation || changes.partition != number {
                        continue;
                    }
                    if !changes.takeover.is_empty() {
                        owner = at + 1;
                    } else if changes.incarnation == incarnation && changes.generation >= owner {
                        newest = newest.max(changes.epoch);
                    }
                }
                offset = batch.next_offset();
            }
        }
        Ok(newest)
    }

    /// Where the state may come from, the furthest first; the last resort is the log itself.
    async fn candidates(&self, name: &str, incarnation: u64) -> Result<Candidates, FoldError> {
        let (state, folder, name) = (self.state.clone(), self.snapshots.join(name), name.to_owned());
        tokio::task::spawn_blocking(move || {
            let mut found = Vec::new();
            let mut base = Base::default();
            for path in snapshots_in(&folder) {
                match read_header(&path) {
                    Ok(header) if header.incarnation == incarnation => {
                        base = base.max(Base {
                            cells_offset: header.cells_offset,
                            cells_epoch: header.cells_epoch,
                            generation: header.generation,
                        });
                        found.push((header.offset, Source::Snapshot(path)));
                    }
                    Ok(_other) => tracing::warn!(path = %path.display(), "a snapshot is of another log"),
                    Err(error) => tracing::error!(%error, "a snapshot is damaged; an older one is used"),
                }
            }
            if let Some(offset) = offset_of(&state.partition(&name)?)? {
                found.push((offset, Source::Own));
            }
            found.sort_by_key(|(offset, source)| std::cmp::Reverse((*offset, matches!(source, Source::Own))));
            let mut sources: Vec<Source> = found.into_iter().map(|(_, source)| source).collect();
            sources.push(Source::Log);
            Ok(Candidates { sources, base })
        })
        .await?
    }

    async fn open(&self, topic: Topic, number: u32, incarnation: u64, source: Source) -> Result<Partition, FoldError> {
        let (log, store, name) = (self.log.clone(), self.state.clone(), state_name(topic, number));
        tokio::task::spawn_blocking(move || {
            let state = match &source {
                Source::Own => store.partition(&name)?,
                Source::Snapshot(path) => refilled(&store, &name, Some(path))?,
                Source::Log => refilled(&store, &name, None)?,
            };
            Partition::open_as(log.as_ref(), state, topic, number, incarnation)
        })
        .await?
    }

    /// The last record folded must still stand where it stood, else the topic was made anew.
    async fn check_last_record(&self, partition: &Partition) -> Result<(), FoldError> {
        let (topic, number, offset) = (partition.topic(), partition.number(), partition.offset());
        let (start, _) = self.log.range(topic, number);
        if partition.last_record() == 0 || offset <= start {
            return Ok(());
        }
        let batches = self.log.read(topic, number, offset - 1, 1).await?;
        let value = batches.first().and_then(|batch| batch.values.first());
        if value.is_some_and(|value| hash_of(value) == partition.last_record()) {
            return Ok(());
        }
        Err(partition.foreign(format!(
            "the record at offset {} is another than the one that was folded: the topic was made anew",
            offset - 1
        )))
    }

    /// Lets go of a partition: what was folded is in the tables and in a snapshot.
    pub(super) async fn release(&self, topic: Topic, number: u32) -> Result<(), FoldError> {
        let name = state_name(topic, number);
        if let Some(state) = self.fold.stop_partition(topic, number).await? {
            self.snapshot(&name, state).await?;
        }
        self.generations().remove(&name);
        Ok(())
    }

    /// Writes a snapshot and removes old ones. Others trust it, so it is there only if this process was the owner all the while.
    async fn snapshot(&self, name: &str, state: PartitionState) -> Result<(), FoldError> {
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

    /// Follows the group until `stop`, then lets go of everything. `ready` is told when the first partitions are assigned.
    pub(super) async fn follow(self, mut member: GroupMember, stop: CancellationToken, ready: CancellationToken) {
        let mut due = tokio::time::interval(SNAPSHOT_INTERVAL);
        let mut snapshot_at = BTreeMap::new();
        let mut leaving = false;
        loop {
            let done = tokio::select! {
                () = stop.cancelled(), if !leaving => {
                    leaving = true;
                    member.leave();
                    Ok(())
                }
                _ = due.tick() => self.write_due(&mut snapshot_at).await,
                change = member.next() => match change {
                    Some(change) => {
                        let done = self.apply(change, &mut snapshot_at).await;
                        ready.cancel();
                        done
                    }
                    None => return,
                },
            };
            if let Err(error) = done {
                self.fold.fail(error);
                return;
            }
        }
    }

    async fn apply(&self, change: GroupChange, snapshot_at: &mut BTreeMap<(Topic, u32), u64>) -> Result<(), FoldError> {
        match change {
            GroupChange::Assigned(partitions) => {
                for (topic, number) in partitions {
                    self.acquire(topic, number).await?;
                }
            }
            GroupChange::Revoked(partitions, let_go) => {
                for (topic, number) in partitions {
                    self.release(topic, number).await?;
                    snapshot_at.remove(&(topic, number));
                }
                drop(let_go);
            }
            GroupChange::Lost(partitions) => {
                for (topic, number) in partitions {
                    tracing::warn!(topic = topic.name(), number, "others have a partition already");
                    self.generations().remove(&state_name(topic, number));
                    self.fold.stop_partition(topic, number).await?;
                    snapshot_at.remove(&(topic, number));
                }
            }
        }
        Ok(())
    }

    async fn write_due(&self, snapshot_at: &mut BTreeMap<(Topic, u32), u64>) -> Result<(), FoldError> {
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

/// States a partition may go on from.
#[derive(Debug)]
struct Candidates {
    sources: Vec<Source>,
    base: Base,
}

/// What is known of a partition's changes of counts in `cells.v1`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Base {
    /// No change of a later epoch stands before this offset.
    cells_offset: u64,
    /// Changes up to this epoch are there and count.
    cells_epoch: u64,
    /// Who the owner was.
    generation: u64,
}

/// Where a partition's state comes from.
#[derive(Debug)]
enum Source {
    /// This process's own folder.
    Own,
    /// A snapshot.
    Snapshot(PathBuf),
    /// Nothing: all is folded from the log.
    Log,
}

impl Source {
    fn name(&self) -> &'static str {
        match self {
            Self::Own => "its own state",
            Self::Snapshot(_) => "a snapshot",
            Self::Log => "the log",
        }
    }
}

fn decoded(offset: u64, value: &Bytes) -> Result<v1::CellChanges, FoldError> {
    v1::CellChanges::decode(value.as_ref()).map_err(|source| FoldError::Record {
        topic: Topic::Cells.name(),
        partition: 0,
        offset,
        source,
    })
}

/// The life of the fold over a log is the same for every owner.
fn incarnation_of(log: u64, name: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(name.as_bytes(), log)
}

/// An emptied state, filled from a snapshot.
fn refilled(store: &StateStore, name: &str, snapshot: Option<&PathBuf>) -> Result<PartitionState, FoldError> {
    store.discard(name)?;
    let state = store.partition(name)?;
    if let Some(path) = snapshot {
        read_snapshot(path, &state)?;
    }
    Ok(state)
}

/// Snapshots in a folder, the newest first.
fn snapshots_in(folder: &Path) -> Vec<PathBuf> {
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

#[cfg(test)]
#[path = "share_tests.rs"]
mod tests;
