//! Taking a partition over: from which state its new owner goes on.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, RandomState};
use std::path::PathBuf;

use futures::future::try_join_all;
use shiyu_log::state::{PartitionState, StateStore};
use shiyu_log::table::TakeOver;
use shiyu_log::{Records, Topic};
use shiyu_schemas::v1;

use super::snapshots::snapshots_in;
use super::{Keeper, READ_BYTES, decoded};
use crate::fold::FoldError;
use crate::fold::flusher::tables_of;
use crate::fold::head::offset_of;
use crate::fold::partition::{Ownership, Partition, hash_of, state_name};
use crate::fold::snapshot::{read_header, read_snapshot};

impl Keeper {
    /// Becomes the owner of partitions and folds them.
    pub(super) async fn acquire(&self, partitions: &[(Topic, u32)]) -> Result<(), FoldError> {
        let claims = partitions.iter().map(|&(topic, number)| self.claim(topic, number));
        let takeovers = try_join_all(claims).await?;
        // One commit of each table for all of them.
        let cuts = self.fold.take_over(takeovers.clone()).await?;
        let going_on = partitions
            .iter()
            .zip(takeovers.iter().zip(cuts))
            .map(|(&(topic, number), (takeover, cuts))| self.go_on(topic, number, takeover, cuts));
        try_join_all(going_on).await?;
        Ok(())
    }

    /// Appends the takeover; from then on changes of counts by earlier owners do not count.
    async fn claim(&self, topic: Topic, number: u32) -> Result<TakeOver, FoldError> {
        let partition = state_name(topic, number);
        let incarnation = incarnation_of(self.log.incarnation(), &partition);
        let generation = self.append_takeover(topic, number, &partition, incarnation).await?;
        Ok(TakeOver {
            partition,
            incarnation,
            generation,
            tables: tables_of(topic),
        })
    }

    /// Folds a partition from where its effects are.
    async fn go_on(
        &self,
        topic: Topic,
        number: u32,
        takeover: &TakeOver,
        mut cuts: BTreeSet<u64>,
    ) -> Result<(), FoldError> {
        let (name, incarnation, generation) = (&takeover.partition, takeover.incarnation, takeover.generation);
        self.log.ask_range(topic, number).await?;
        let Candidates { sources, base } = self.candidates(name, incarnation).await?;
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
        metrics::gauge!("shiyu_fold_generation", "partition" => name.clone()).set(generation as f64);
        self.generations().insert(name.clone(), generation);
        self.fold.start_partition(partition)
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

    /// Appends the takeover; its place, plus one, is the generation.
    async fn append_takeover(&self, topic: Topic, number: u32, name: &str, incarnation: u64) -> Result<u64, FoldError> {
        let takeover = v1::CellChanges {
            partition: if topic == Topic::Events { number } else { u32::MAX },
            incarnation,
            // No two takeovers are equal, else one could be taken for another. The keys of RandomState come from the system's random source.
            epoch: RandomState::new().hash_one(name),
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
