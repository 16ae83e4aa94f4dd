//! The fold's state: a key-value store, one commit point per partition.
//!
//! Each partition has three spaces; a commit over them is atomic and synced. What a damaged journal may lose is folded again from the
//! log, which is the truth.

use std::ops::Range;
use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable as _, Snapshot};

use crate::LogError;
pub use crate::filter::Filter;

/// Memory for blocks read from disk.
const CACHE_BYTES: u64 = 64 << 20;
/// Memory for what is not yet in tables, per keyspace.
const MEMTABLE_BYTES: u64 = 16 << 20;
/// Journal kept on disk at most.
const JOURNAL_BYTES: u64 = 512 << 20;

/// What a key belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Space {
    /// States of records and groups; keys are sorted by feed and record id.
    Records,
    /// Offset, epoch, counters.
    Meta,
    /// Rows committed but not yet in the tables.
    Outbox,
}

impl Space {
    /// All spaces.
    pub const ALL: [Self; 3] = [Self::Records, Self::Meta, Self::Outbox];
}

/// The store of one process.
#[derive(Clone)]
pub struct StateStore {
    database: Database,
}

impl std::fmt::Debug for StateStore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("StateStore").finish_non_exhaustive()
    }
}

impl StateStore {
    /// Opens or makes the store in `folder`.
    pub fn open(folder: &Path) -> Result<Self, LogError> {
        let database = Database::builder(folder)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES)
            .worker_threads(1)
            .open()
            .map_err(failed("open"))?;
        // A process that was killed may have left a commit that only the page cache holds; effects must not overtake it.
        database.persist(PersistMode::SyncAll).map_err(failed("sync"))?;
        Ok(Self { database })
    }

    /// The state of all partitions at this instant; what is committed later is not in it.
    pub fn snapshot(&self) -> StateSnapshot {
        StateSnapshot {
            snapshot: self.database.snapshot(),
            store: self.clone(),
        }
    }

    /// The state of one partition.
    pub fn partition(&self, name: &str) -> Result<PartitionState, LogError> {
        let keyspace = |space: &str| {
            self.database
                .keyspace(&format!("{name}.{space}"), || {
                    KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES)
                })
                .map_err(failed("open a keyspace of"))
        };
        Ok(PartitionState {
            records: keyspace("records")?,
            meta: keyspace("meta")?,
            outbox: keyspace("outbox")?,
            database: self.database.clone(),
        })
    }
}

impl StateStore {
    /// Removes all of a partition's state; nobody may hold it open.
    pub fn discard(&self, name: &str) -> Result<(), LogError> {
        let state = self.partition(name)?;
        for keyspace in [state.records, state.meta, state.outbox] {
            self.database
                .delete_keyspace(keyspace)
                .map_err(failed("delete a keyspace of"))?;
        }
        Ok(())
    }
}

/// The state of one partition; cheap to clone.
#[derive(Clone)]
pub struct PartitionState {
    database: Database,
    records: Keyspace,
    meta: Keyspace,
    outbox: Keyspace,
}

impl std::fmt::Debug for PartitionState {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PartitionState").finish_non_exhaustive()
    }
}

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

impl PartitionState {
    fn keyspace(&self, space: Space) -> &Keyspace {
        match space {
            Space::Records => &self.records,
            Space::Meta => &self.meta,
            Space::Outbox => &self.outbox,
        }
    }

    /// The value of a key.
    pub fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, LogError> {
        let value = self.keyspace(space).get(key).map_err(failed("read"))?;
        Ok(value.map(|value| value.to_vec()))
    }

    /// All entries whose key starts with `prefix`, in order of key.
    pub fn prefix(&self, space: Space, prefix: &[u8]) -> Result<Vec<Entry>, LogError> {
        self.keyspace(space)
            .prefix(prefix)
            .map(|guard| {
                let (key, value) = guard.into_inner().map_err(failed("read"))?;
                Ok((key.to_vec(), value.to_vec()))
            })
            .collect()
    }

    /// Calls `see` with every key of a space, in order.
    pub fn for_each_key(&self, space: Space, mut see: impl FnMut(&[u8])) -> Result<(), LogError> {
        for guard in self.keyspace(space).iter() {
            see(&guard.key().map_err(failed("read"))?);
        }
        Ok(())
    }

    /// Calls `see` with every entry from `start` on, in order of key, until it returns false.
    pub fn for_each_from(
        &self,
        space: Space,
        start: &[u8],
        mut see: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), LogError> {
        for guard in self.keyspace(space).range(start..) {
            let (key, value) = guard.into_inner().map_err(failed("read"))?;
            if !see(&key, &value) {
                break;
            }
        }
        Ok(())
    }

    /// What is committed now, unchanged by later commits.
    pub fn freeze(&self) -> FrozenState {
        FrozenState {
            snapshot: self.database.snapshot(),
            state: self.clone(),
        }
    }

    /// Writes all of a batch or nothing; durable when it returns.
    pub fn commit(&self, batch: StateBatch) -> Result<(), LogError> {
        let mut writes = self.database.batch().durability(Some(PersistMode::SyncData));
        for Write { space, key, value } in batch.writes {
            let key = &batch.bytes[key];
            match value {
                Some(value) => writes.insert(self.keyspace(space), key, &batch.bytes[value]),
                None => writes.remove(self.keyspace(space), key),
            }
        }
        writes.commit().map_err(failed("commit to"))
    }
}

/// The state of all partitions at one instant.
pub struct StateSnapshot {
    snapshot: Snapshot,
    store: StateStore,
}

impl std::fmt::Debug for StateSnapshot {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("StateSnapshot").finish_non_exhaustive()
    }
}

impl StateSnapshot {
    /// Calls `see` with every entry of a partition, by space, then by key.
    pub fn for_each<E: From<LogError>>(
        &self,
        partition: &str,
        mut see: impl FnMut(Space, &[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let state = self.store.partition(partition)?;
        for space in Space::ALL {
            for guard in self.snapshot.iter(state.keyspace(space)) {
                let (key, value) = guard.into_inner().map_err(failed("read"))?;
                see(space, &key, &value)?;
            }
        }
        Ok(())
    }
}

/// A partition's state at one commit.
pub struct FrozenState {
    snapshot: Snapshot,
    state: PartitionState,
}

impl std::fmt::Debug for FrozenState {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("FrozenState").finish_non_exhaustive()
    }
}

impl FrozenState {
    /// The value of a key.
    pub fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, LogError> {
        let value = self
            .snapshot
            .get(self.state.keyspace(space), key)
            .map_err(failed("read"))?;
        Ok(value.map(|value| value.to_vec()))
    }

    /// Calls `see` with every key of a space and its value, in order of key.
    pub fn for_each(&self, space: Space, mut see: impl FnMut(&[u8], &[u8])) -> Result<(), LogError> {
        for guard in self.snapshot.iter(self.state.keyspace(space)) {
            let (key, value) = guard.into_inner().map_err(failed("read"))?;
            see(&key, &value);
        }
        Ok(())
    }
}

/// Writes of one commit; keys and values stand in one buffer.
#[derive(Debug, Default)]
pub struct StateBatch {
    bytes: Vec<u8>,
    writes: Vec<Write>,
}

#[derive(Debug)]
struct Write {
    space: Space,
    key: Range<usize>,
    /// None: the key goes.
    value: Option<Range<usize>>,
}

impl StateBatch {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing yet, and room for that many writes with that many bytes together.
    pub fn with_capacity(writes: usize, bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            writes: Vec::with_capacity(writes),
        }
    }

    /// Sets a key.
    pub fn put(&mut self, space: Space, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let key = self.add(key.as_ref());
        let value = Some(self.add(value.as_ref()));
        self.writes.push(Write { space, key, value });
    }

    /// Removes a key.
    pub fn delete(&mut self, space: Space, key: impl AsRef<[u8]>) {
        let key = self.add(key.as_ref());
        self.writes.push(Write {
            space,
            key,
            value: None,
        });
    }

    /// Adds what another one holds.
    pub fn append(&mut self, other: Self) {
        let by = self.bytes.len();
        let moved = |range: Range<usize>| range.start + by..range.end + by;
        self.bytes.extend_from_slice(&other.bytes);
        self.writes.extend(other.writes.into_iter().map(|write| Write {
            key: moved(write.key),
            value: write.value.map(moved),
            ..write
        }));
    }

    fn add(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }
}

fn failed<E: std::error::Error + Send + Sync + 'static>(action: &'static str) -> impl FnOnce(E) -> LogError {
    move |error| LogError::State {
        action,
        source: Box::new(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_commit_is_there_after_reopening_and_partitions_are_apart() {
        let folder = tempfile::tempdir().unwrap();
        {
            let store = StateStore::open(folder.path()).unwrap();
            let mut batch = StateBatch::new();
            batch.put(Space::Records, b"a1".as_slice(), b"x".as_slice());
            batch.put(Space::Records, b"a2".as_slice(), b"y".as_slice());
            batch.put(Space::Records, b"b".as_slice(), b"z".as_slice());
            batch.put(Space::Meta, b"offset".as_slice(), b"3".as_slice());
            store.partition("events-0").unwrap().commit(batch).unwrap();
        }
        let store = StateStore::open(folder.path()).unwrap();
        let state = store.partition("events-0").unwrap();
        assert_eq!(state.prefix(Space::Records, b"a").unwrap().len(), 2);
        assert_eq!(state.get(Space::Meta, b"offset").unwrap(), Some(b"3".to_vec()));
        let mut batch = StateBatch::new();
        batch.delete(Space::Records, b"a1".as_slice());
        state.commit(batch).unwrap();
        let mut keys = Vec::new();
        state
            .for_each_key(Space::Records, |key| keys.push(key.to_vec()))
            .unwrap();
        assert_eq!(keys, [b"a2".to_vec(), b"b".to_vec()]);
        let at = store.snapshot();
        let mut batch = StateBatch::new();
        batch.put(Space::Records, b"later".as_slice(), b"".as_slice());
        state.commit(batch).unwrap();
        let mut seen = Vec::new();
        at.for_each("events-0", |space, key, _| {
            seen.push((space, key.to_vec()));
            Ok::<_, LogError>(())
        })
        .unwrap();
        assert_eq!(
            seen,
            [
                (Space::Records, b"a2".to_vec()),
                (Space::Records, b"b".to_vec()),
                (Space::Meta, b"offset".to_vec())
            ]
        );
        assert_eq!(
            store.partition("events-1").unwrap().get(Space::Records, b"b").unwrap(),
            None
        );
    }
}
