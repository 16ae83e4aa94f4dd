//! An open partition: its committed state, its place in the log, and the one commit per epoch.
//!
//! Keys in the state store: `records`: `r` feed 0 id, `g` feed 0 match key, `x` rejection; `meta`: `head`, `counts`, `sweep`; `outbox`: the epoch,
//! big-endian.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};

use arrow::array::RecordBatch;
use bytes::Bytes;
use prost::Message;
use shiyu_log::state::{PartitionState, Space, StateBatch};
use shiyu_log::{EventLog, LogError, Topic, fault};
use shiyu_schemas::v1;

use super::attempt::{self, Attempts, PoisonOptions};
use super::cache::{Change, Changes};
use super::count::FeedCounts;
use super::epoch::{EpochRecord, replay_scores};
use super::error::FoldError;
use super::events::EventFold;
use super::head::{HEAD, Head, decode, head_of};
use super::horizon::Sweep;
use super::outbox::OutboxTrimmer;
use super::rejections::RejectionFold;
use super::scores::ScoreFold;
use super::view::FilteredView;

const COUNTS: &[u8] = b"counts";
const SWEEP: &[u8] = b"sweep";

/// What the owner of a partition found when it took it over from another process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ownership {
    /// Its generation.
    pub generation: u64,
    /// The last epoch whose changes of counts are in `cells.v1`.
    pub cells_epoch: u64,
    /// Offsets at which an epoch must end: some effect of the owner before reached exactly that far.
    pub cuts: BTreeSet<u64>,
}

/// A committed epoch and what is to be made of it.
#[derive(Debug)]
pub struct Epoch {
    /// Its number: the offset behind its last record.
    pub number: u64,
    /// What it did.
    pub record: EpochRecord,
    /// Rows by table.
    pub tables: Vec<(&'static str, RecordBatch)>,
    /// Whether its changes of counts are known to be in the log.
    pub cells_appended: bool,
    /// Totals behind it.
    pub counts: FeedCounts,
    /// Microseconds since 1970 UTC.
    pub watermark_us: i64,
}

/// An open partition.
#[derive(Debug)]
pub struct Partition {
    topic: Topic,
    number: u32,
    state: PartitionState,
    head: Head,
    counts: FeedCounts,
    sweep: Sweep,
    folding: Folding,
    cuts: BTreeSet<u64>,
    attempts: Option<Attempts>,
    /// A planted bug: the next epoch gets the number of the last one.
    reuses_epoch: bool,
}

/// The kinds of fold.
#[derive(Debug)]
enum Folding {
    Events(Box<EventFold<FilteredView>>),
    Rejections(Box<RejectionFold<FilteredView>>),
    Scores(ScoreFold),
}

/// Name of a partition's state, also in the tables' commits.
pub fn state_name(topic: Topic, number: u32) -> String {
    match topic {
        Topic::Rejections => format!("rejections-{number}"),
        Topic::Scores => format!("scores-{number}"),
        _ => format!("events-{number}"),
    }
}

impl Partition {
    /// Opens the state of a partition, or begins a new one. Blocks.
    pub fn open(log: &dyn EventLog, state: PartitionState, topic: Topic, number: u32) -> Result<Self, FoldError> {
        // The keys of RandomState come from the system's random source.
        let incarnation = RandomState::new().hash_one((topic, number));
        Self::open_as(log, state, topic, number, incarnation)
    }

    /// The same; a new one is the life `incarnation` of the fold. Blocks.
    pub fn open_as(
        log: &dyn EventLog,
        state: PartitionState,
        topic: Topic,
        number: u32,
        incarnation: u64,
    ) -> Result<Self, FoldError> {
        let mut reuses_epoch = false;
        let head = match head_of(state.get(Space::Meta, HEAD)?)? {
            Some(head) => {
                reuses_epoch = fault::bug("epoch-reused");
                head
            }
            None => Head {
                log: log.incarnation(),
                incarnation,
                watermark_us: i64::MIN,
                ..Head::default()
            },
        };
        let counts = match state.get(Space::Meta, COUNTS)? {
            Some(bytes) => decode(&bytes, "the totals of a partition")?,
            None => FeedCounts::default(),
        };
        let sweep = match state.get(Space::Meta, SWEEP)? {
            Some(bytes) => decode(&bytes, "the sweep of a partition")?,
            None => Sweep::default(),
        };
        let view = || FilteredView::open(state.clone());
        let folding = match topic {
            Topic::Scores => Folding::Scores(ScoreFold::default()),
            Topic::Rejections => Folding::Rejections(Box::new(RejectionFold::new(number, view()?))),
            _ => Folding::Events(Box::new(EventFold::new(number, view()?, head.watermark_us))),
        };
        let partition = Self {
            topic,
            number,
            state,
            head,
            counts,
            sweep,
            folding,
            cuts: BTreeSet::new(),
            attempts: None,
            reuses_epoch,
        };
        let (start, end) = log.range(topic, number);
        if partition.head.log != log.incarnation() {
            return Err(partition.foreign("its state was folded from another log".to_owned()));
        }
        if partition.head.offset < start || partition.head.offset > end {
            let offset = partition.head.offset;
            return Err(partition.foreign(format!(
                "its state is at offset {offset}, the log holds [{start}, {end})"
            )));
        }
        Ok(partition)
    }

    /// The topic.
    pub fn topic(&self) -> Topic {
        self.topic
    }

    /// Number of the partition.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// This life of the fold.
    pub fn incarnation(&self) -> u64 {
        self.head.incarnation
    }

    /// Offset of the next record.
    pub fn offset(&self) -> u64 {
        self.head.offset
    }

    /// Totals so far.
    pub fn counts(&self) -> &FeedCounts {
        &self.counts
    }

    /// Microseconds since 1970 UTC.
    pub fn watermark_us(&self) -> i64 {
        self.head.watermark_us
    }

    /// Generation of its owner; 0 where partitions have no owners.
    pub fn generation(&self) -> u64 {
        self.head.generation
    }

    /// Hash of the last record folded; 0 before the first.
    pub fn last_record(&self) -> u64 {
        self.head.last_record
    }

    /// Becomes the one owner. Refused where this state cannot do again what is missing of its effects; then the state must come from
    /// elsewhere. Blocks.
    pub fn own(&mut self, ownership: Ownership) -> Result<(), FoldError> {
        let outbox = self.outbox()?;
        for (number, record) in &outbox {
            if let Some(cut) = ownership.cuts.range(record.first_offset + 1..*number).next() {
                return Err(self.foreign(format!(
                    "epoch [{}, {number}) waits in its outbox, and another owner ended one at {cut}",
                    record.first_offset
                )));
            }
        }
        let first = outbox
            .first()
            .map_or(self.head.offset, |(_, record)| record.first_offset);
        if self.topic == Topic::Events && first > ownership.cells_epoch {
            return Err(self.foreign(format!(
                "changes of counts from offset {} on count only if they are appended again, and its outbox begins at {first}",
                ownership.cells_epoch
            )));
        }
        self.head.generation = ownership.generation;
        self.head.cells_epoch = ownership.cells_epoch;
        self.head.cells_offset = ownership.generation;
        self.cuts = ownership.cuts;
        Ok(())
    }

    /// How many records the next epoch may take.
    pub fn records_max(&self, wanted: usize) -> usize {
        match self.cuts.range(self.head.offset + 1..).next() {
            Some(cut) => wanted.min((cut - self.head.offset) as usize),
            None => wanted,
        }
    }

    /// Whether the tables, or one of them, may have an epoch from an owner before.
    pub fn may_be_stored(&self, epoch: u64) -> bool {
        self.cuts.last().is_some_and(|cut| epoch <= *cut)
    }

    /// The state, e.g. for a snapshot.
    pub fn state(&self) -> PartitionState {
        self.state.clone()
    }

    /// An error about this partition.
    pub fn foreign(&self, problem: String) -> FoldError {
        FoldError::Foreign {
            topic: self.topic.name(),
            partition: self.number,
            problem,
        }
    }

    /// From now on a record that kills the process is passed by, in the end. Only events are: nothing else is more than stored.
    pub fn isolate_poison(&mut self, options: &PoisonOptions) -> Result<(), FoldError> {
        if self.topic == Topic::Events {
            let name = state_name(self.topic, self.number);
            let attempts = Attempts::open(&options.folder, &name).map_err(|source| LogError::Io {
                action: "open",
                path: options.folder.join(name),
                source,
            })?;
            self.attempts = Some(attempts);
        }
        Ok(())
    }

    /// The rejection to append before `values` are folded, if one of them is poison.
    pub fn poison(&self, values: &[Bytes], options: &PoisonOptions) -> Option<v1::Rejection> {
        let offset = self.attempts.as_ref()?.poison()?;
        let value = values.get(offset.checked_sub(self.head.offset)? as usize)?;
        let sealer = options.sealer.as_ref();
        Some(attempt::rejection(
            sealer,
            value,
            self.topic.name(),
            self.number,
            offset,
        ))
    }

    /// Folds the next records of the log as one epoch: one synced commit. Blocks.
    pub fn fold(&mut self, values: &[Bytes]) -> Result<Epoch, FoldError> {
        let first = self.head.offset;
        let careful = match &mut self.attempts {
            Some(attempts) => attempts.begin(first, first + values.len() as u64),
            None => Ok(false),
        };
        let folded = careful
            .map_err(noted)
            .and_then(|careful| self.fold_noted(values, careful));
        match (&mut self.attempts, &folded) {
            (Some(attempts), Ok(_)) => attempts.done(self.head.offset),
            (Some(attempts), Err(_)) => attempts.take_back().map_err(noted)?,
            (None, _) => {}
        }
        folded
    }

    fn fold_noted(&mut self, values: &[Bytes], careful: bool) -> Result<Epoch, FoldError> {
        let next_offset = self.head.offset + values.len() as u64;
        let number = if std::mem::take(&mut self.reuses_epoch) {
            self.head.epoch
        } else {
            next_offset
        };
        let (changes, record) = self.apply(values, number, careful)?;
        self.head.offset = next_offset;
        self.head.epoch = number;
        if let Some(last) = values.last() {
            self.head.last_record = hash_of(last);
        }
        self.head.sequence += record.case_changes();

        let mut states = StateBatch::with_capacity(changes.len(), changes.size_bytes());
        for Change { key, value, .. } in changes.iter() {
            match value {
                Some(value) => states.put(Space::Records, key, value),
                None => states.delete(Space::Records, key),
            }
        }
        let mut place = StateBatch::new();
        place.put(Space::Meta, HEAD, self.head.encode_to_vec());
        place.put(Space::Meta, COUNTS, self.counts.encode_to_vec());
        let mut outbox = StateBatch::new();
        outbox.put(Space::Outbox, number.to_be_bytes(), record.to_blob()?);
        let forgotten = self.sweep.next(&self.state, &self.counts, &changes, values.len())?;
        if let Some(forgotten) = &forgotten {
            forgotten.keys.iter().for_each(|key| states.delete(Space::Records, key));
            place.put(Space::Meta, SWEEP, self.sweep.encode_to_vec());
        }
        self.commit(states, place, outbox)?;
        if let Some(forgotten) = forgotten {
            forgotten.report(self.number);
        }
        if let Some(view) = self.view_mut() {
            view.learn(&changes)?;
        }

        let cells_appended = number <= self.head.cells_epoch;
        Ok(self.epoch(number, record, cells_appended))
    }

    /// The one commit point: states with their dedupe keys, the place in the log, the outbox, all or nothing.
    fn commit(&self, mut states: StateBatch, mut place: StateBatch, outbox: StateBatch) -> Result<(), LogError> {
        if fault::bug("offset-before-state") {
            self.state.commit(std::mem::take(&mut place))?;
            fault::pass("fold.between")?;
        }
        if fault::bug("dedupe-key-apart") {
            self.state.commit(std::mem::take(&mut states))?;
            fault::pass("fold.between")?;
        }
        states.append(place);
        states.append(outbox);
        fault::pass("fold.commit")?;
        self.state.commit(states)?;
        fault::pass("fold.committed")
    }

    fn apply(&mut self, values: &[Bytes], epoch: u64, careful: bool) -> Result<(Changes, EpochRecord), FoldError> {
        match &mut self.folding {
            Folding::Events(fold) => {
                fold.begin(self.head.offset, self.head.sequence);
                let poison = self.attempts.as_ref().and_then(Attempts::poison);
                for (offset, value) in (self.head.offset..).zip(values) {
                    if poison == Some(offset) {
                        fold.pass_by();
                        continue;
                    }
                    if let Some(attempts) = self.attempts.as_mut().filter(|_| careful) {
                        attempts.note(offset).map_err(noted)?;
                    }
                    fold.apply(value, &mut self.counts)?;
                }
                self.head.watermark_us = fold.watermark_us();
                Ok(fold.end(self.head.incarnation, epoch))
            }
            Folding::Rejections(fold) => {
                fold.begin(self.head.offset);
                for value in values {
                    fold.apply(value, &mut self.counts)?;
                }
                Ok(fold.end())
            }
            Folding::Scores(fold) => {
                let record = fold
                    .apply(self.head.offset, values)
                    .map_err(|(offset, source)| FoldError::Record {
                        topic: self.topic.name(),
                        partition: self.number,
                        offset,
                        source,
                    })?;
                Ok((Changes::default(), record))
            }
        }
    }

    fn epoch(&mut self, number: u64, record: EpochRecord, cells_appended: bool) -> Epoch {
        let tables = match &mut self.folding {
            Folding::Events(fold) => fold.rows_mut().finish(),
            Folding::Rejections(fold) => fold.rows_mut().finish(),
            Folding::Scores(fold) => fold.rows_mut().finish(),
        };
        let counts = self.counts.clone();
        Epoch {
            number,
            record,
            tables,
            cells_appended,
            counts,
            watermark_us: self.head.watermark_us,
        }
    }

    /// Committed epochs whose rows the tables may not have, in order. Blocks.
    pub fn outbox(&self) -> Result<Vec<(u64, EpochRecord)>, FoldError> {
        let entries = self.state.prefix(Space::Outbox, b"")?;
        entries
            .into_iter()
            .map(|(key, blob)| {
                let number = key
                    .as_slice()
                    .try_into()
                    .map(u64::from_be_bytes)
                    .map_err(|_no_number| FoldError::Outbox {
                        epoch: 0,
                        problem: format!("its key has {} bytes", key.len()),
                    })?;
                Ok((number, EpochRecord::from_blob(number, &blob)?))
            })
            .collect()
    }

    /// Makes a committed epoch's rows again from its records of the log. Blocks.
    pub fn replay(&mut self, number: u64, record: EpochRecord, values: &[Bytes]) -> Result<Epoch, FoldError> {
        let made = match &mut self.folding {
            Folding::Events(fold) => record.replay_events(values, fold.rows_mut()),
            Folding::Rejections(fold) => record.replay_rejections(values, fold.rows_mut()),
            Folding::Scores(fold) => replay_scores(values, fold.rows_mut()),
        };
        made.map_err(|source| FoldError::Record {
            topic: self.topic.name(),
            partition: self.number,
            offset: record.first_offset,
            source,
        })?;
        Ok(self.epoch(number, record, number <= self.head.cells_epoch))
    }

    /// Changes of counts up to this epoch are in `cells.v1` before `offset`; the next commit says so.
    pub fn note_cells_appended(&mut self, epoch: u64, offset: u64) {
        if epoch > self.head.cells_epoch {
            self.head.cells_epoch = epoch;
            self.head.cells_offset = offset;
        }
    }

    /// What takes epochs out of the outbox once the tables have them.
    pub fn trimmer(&self) -> OutboxTrimmer {
        OutboxTrimmer::new(self.topic, self.number, self.state.clone())
    }

    fn view_mut(&mut self) -> Option<&mut FilteredView> {
        match &mut self.folding {
            Folding::Events(fold) => Some(fold.view_mut()),
            Folding::Rejections(fold) => Some(fold.view_mut()),
            Folding::Scores(_) => None,
        }
    }
}

fn noted(source: std::io::Error) -> FoldError {
    FoldError::from(LogError::Io {
        action: "note an attempt in",
        path: "run/attempts".into(),
        source,
    })
}

/// What a record is known by; never 0.
pub fn hash_of(value: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(value).max(1)
}
