//! Partitions of the fold over a log that other processes read too: taken over, folded, let go of.
//!
//! Taking over, in this order, so that whatever the owner before still does, counts or does not count, but never by half:
//! 1. A takeover record in `cells.v1`. Its place is the generation; changes of counts by earlier owners behind it do not count, those
//!    before it do: up to where, is read.
//! 2. The generation in every table. From then on an earlier owner commits nothing; how far each table is, is read.
//! 3. The state: of this process's own one and the snapshots, the furthest that fits, else none: then all is folded from the log.
//! 4. The fold goes on from the state's offset. Where an effect reaches further than the state, epochs end exactly there, and what is
//!    there already is not done again: the step is pure, so it would be the same.

mod acquire;
mod snapshots;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use shiyu_log::kafka::{GroupChange, GroupMember, KafkaLog};
use shiyu_log::state::StateStore;
use shiyu_log::{EventLog, LogError, Topic};
use shiyu_schemas::v1;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::HubError;
use crate::fold::partition::state_name;
use crate::fold::{FOLDED, FoldError, FoldHandle};

const READ_BYTES: usize = 8 << 20;
/// How often running partitions are looked at for a snapshot.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(30);
/// How long the first partitions are waited for: there may be none left.
const ASSIGNMENT_WAIT: Duration = Duration::from_secs(20);

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
            let all = FOLDED
                .into_iter()
                .flat_map(|topic| (0..self.log.partitions(topic)).map(move |number| (topic, number)));
            self.acquire(&all.collect::<Vec<_>>()).await?;
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

    /// Lets go of a partition: what was folded is in the tables and in a snapshot.
    pub(super) async fn release(&self, topic: Topic, number: u32) -> Result<(), FoldError> {
        let name = state_name(topic, number);
        if let Some(state) = self.fold.stop_partition(topic, number).await? {
            self.snapshot(&name, state).await?;
        }
        self.generations().remove(&name);
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
                self.acquire(&partitions).await?;
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
}

fn decoded(offset: u64, value: &Bytes) -> Result<v1::CellChanges, FoldError> {
    v1::CellChanges::decode(value.as_ref()).map_err(|source| FoldError::Record {
        topic: Topic::Cells.name(),
        partition: 0,
        offset,
        source,
    })
}

#[cfg(test)]
mod tests;
