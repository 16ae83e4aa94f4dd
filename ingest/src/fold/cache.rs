//! The states an epoch touches: read from the store once, changed in memory, written sorted in the epoch's one commit.

use std::collections::HashMap;
use std::ops::Range;

use prost::Message;

use super::case::RecordState;
use super::error::FoldError;
use super::withdrawal::Group;

/// Where states come from.
pub trait StateView {
    /// The committed bytes of a key.
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, FoldError>;

    /// The same for a key whose [`key_hash`] is known.
    fn get_hashed(&mut self, key: &[u8], _hash: u64) -> Result<Option<Vec<u8>>, FoldError> {
        self.get(key)
    }
}

/// The hash that filters and caches of keys use.
pub fn key_hash(key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key)
}

/// A state held in the cache, until [`StateCache::take_changes`].
#[derive(Debug, Clone, Copy)]
pub struct RecordSlot(usize);

/// A group held in the cache, until [`StateCache::take_changes`].
#[derive(Debug, Clone, Copy)]
pub struct GroupSlot(usize);

/// What an epoch changes in the store; keys and new bytes stand in one buffer.
#[derive(Debug, Default)]
pub struct Changes {
    bytes: Vec<u8>,
    changes: Vec<ChangeAt>,
}

#[derive(Debug)]
struct ChangeAt {
    key: Range<usize>,
    value: Option<Range<usize>>,
    hash: u64,
}

/// A key with new bytes, or none where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<'a> {
    /// The key.
    pub key: &'a [u8],
    /// Its new bytes.
    pub value: Option<&'a [u8]>,
    /// The key's [`key_hash`].
    pub hash: u64,
}

impl Changes {
    /// Adds a change; `write` appends the new bytes, if there are any.
    pub fn push(&mut self, key: &[u8], hash: u64, write: Option<impl FnOnce(&mut Vec<u8>)>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        let key = start..self.bytes.len();
        let value = write.map(|write| {
            write(&mut self.bytes);
            key.end..self.bytes.len()
        });
        self.changes.push(ChangeAt { key, value, hash });
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Bytes of keys and values.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Whether a key changes.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.changes
            .binary_search_by(|change| self.bytes[change.key.clone()].cmp(key))
            .is_ok()
    }

    /// Puts them in the order of their keys.
    fn sort(&mut self) {
        let bytes = &self.bytes;
        self.changes
            .sort_by(|left, right| bytes[left.key.clone()].cmp(&bytes[right.key.clone()]));
    }

    /// All of them, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = Change<'_>> {
        self.changes.iter().map(|change| Change {
            key: &self.bytes[change.key.clone()],
            value: change.value.clone().map(|value| &self.bytes[value]),
            hash: change.hash,
        })
    }
}

/// States of records and groups over a [`StateView`].
#[derive(Debug)]
pub struct StateCache<V> {
    view: V,
    records: Held<RecordState>,
    groups: Held<Group>,
    key: Vec<u8>,
}

impl<V: StateView> StateCache<V> {
    /// Nothing held yet.
    pub fn new(view: V) -> Self {
        Self {
            view,
            records: Held::default(),
            groups: Held::default(),
            key: Vec::new(),
        }
    }

    /// Where the states come from.
    pub fn view_mut(&mut self) -> &mut V {
        &mut self.view
    }

    /// The state of a record; a record never seen has no versions.
    pub fn find_record(&mut self, feed: &str, record_id: &str) -> Result<RecordSlot, FoldError> {
        write_key(&mut self.key, b'r', feed, record_id);
        self.records.find(&self.key, &mut self.view, "a record").map(RecordSlot)
    }

    /// Reads it.
    pub fn record(&self, slot: RecordSlot) -> &RecordState {
        &self.records.entries[slot.0].value
    }

    /// Changes it.
    pub fn record_mut(&mut self, slot: RecordSlot) -> &mut RecordState {
        self.records.change(slot.0)
    }

    /// The group of a match key; one never seen is empty.
    pub fn find_group(&mut self, feed: &str, match_key: &str) -> Result<GroupSlot, FoldError> {
        write_key(&mut self.key, b'g', feed, match_key);
        self.groups
            .find(&self.key, &mut self.view, "a match key")
            .map(GroupSlot)
    }

    /// Changes it.
    pub fn group_mut(&mut self, slot: GroupSlot) -> &mut Group {
        self.groups.change(slot.0)
    }

    /// What changed, sorted by key; the cache is empty afterwards.
    pub fn take_changes(&mut self) -> Changes {
        let mut changes = Changes::default();
        self.records.drain(|_| false, &mut changes);
        self.groups.drain(Group::is_empty, &mut changes);
        changes.sort();
        changes
    }
}

/// What the keys of a feed's records begin with.
pub(super) fn records_prefix(feed: &str) -> Vec<u8> {
    let mut key = Vec::new();
    write_key(&mut key, b'r', feed, "");
    key
}

fn write_key(key: &mut Vec<u8>, kind: u8, feed: &str, name: &str) {
    key.clear();
    key.push(kind);
    key.extend_from_slice(feed.as_bytes());
    key.push(0);
    key.extend_from_slice(name.as_bytes());
}

#[derive(Debug)]
struct Entry<T> {
    value: T,
    changed: bool,
    key: Range<usize>,
    hash: u64,
    /// The entry before it whose key has the same hash.
    same_hash: Option<usize>,
}

#[derive(Debug)]
struct Held<T> {
    /// The newest entry of a hash.
    slots: HashMap<u64, usize, ahash::RandomState>,
    entries: Vec<Entry<T>>,
    keys: Vec<u8>,
}

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self {
            slots: HashMap::default(),
            entries: Vec::new(),
            keys: Vec::new(),
        }
    }
}

impl<T: Message + Default> Held<T> {
    fn find(&mut self, key: &[u8], view: &mut impl StateView, what: &'static str) -> Result<usize, FoldError> {
        let hash = key_hash(key);
        let newest = self.slots.get(&hash).copied();
        let mut seen = newest;
        while let Some(slot) = seen {
            let entry = &self.entries[slot];
            if &self.keys[entry.key.clone()] == key {
                return Ok(slot);
            }
            seen = entry.same_hash;
        }
        let value = match view.get_hashed(key, hash)? {
            Some(bytes) => T::decode(bytes.as_slice()).map_err(|source| FoldError::State { what, source })?,
            None => T::default(),
        };
        let slot = self.entries.len();
        self.slots.insert(hash, slot);
        let start = self.keys.len();
        self.keys.extend_from_slice(key);
        self.entries.push(Entry {
            value,
            changed: false,
            key: start..self.keys.len(),
            hash,
            same_hash: newest,
        });
        Ok(slot)
    }

    fn change(&mut self, slot: usize) -> &mut T {
        let entry = &mut self.entries[slot];
        entry.changed = true;
        &mut entry.value
    }

    fn drain(&mut self, is_gone: impl Fn(&T) -> bool, changes: &mut Changes) {
        for entry in self.entries.drain(..).filter(|entry| entry.changed) {
            let write = (!is_gone(&entry.value)).then_some(|bytes: &mut Vec<u8>| {
                entry.value.encode(bytes).expect("a Vec grows as needed");
            });
            changes.push(&self.keys[entry.key], entry.hash, write);
        }
        self.slots.clear();
        self.keys.clear();
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A store in memory.
    #[derive(Debug, Default, Clone, PartialEq)]
    pub(in crate::fold) struct MemoryView {
        pub(in crate::fold) bytes: BTreeMap<Vec<u8>, Vec<u8>>,
    }

    impl StateView for MemoryView {
        fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, FoldError> {
            Ok(self.bytes.get(key).cloned())
        }
    }

    impl MemoryView {
        pub(in crate::fold) fn apply(&mut self, changes: &Changes) {
            for Change { key, value, .. } in changes.iter() {
                match value {
                    Some(bytes) => self.bytes.insert(key.to_vec(), bytes.to_vec()),
                    None => self.bytes.remove(key),
                };
            }
        }
    }

    #[test]
    fn only_what_changed_is_written_and_empty_groups_go() {
        let mut cache = StateCache::new(MemoryView::default());
        let seen = cache.find_record("hotline", "1").expect("memory does not fail");
        assert_eq!(cache.record(seen).versions, 0);
        let slot = cache.find_record("hotline", "2").expect("memory does not fail");
        cache.record_mut(slot).versions = 1;
        let group = cache.find_group("hotline", "k").expect("memory does not fail");
        cache.group_mut(group);
        let changes = cache.take_changes();
        assert_eq!(changes.len(), 2);
        let first = changes.iter().next().expect("there are two");
        assert!(first.value.is_none(), "the group is empty");
        cache.view_mut().apply(&changes);
        let slot = cache.find_record("hotline", "2").expect("memory does not fail");
        assert_eq!(cache.record(slot).versions, 1);
    }

    #[test]
    fn keys_of_one_hash_have_states_of_their_own() {
        let mut held = Held::<RecordState>::default();
        let mut view = MemoryView::default();
        let first = held.find(b"a", &mut view, "a record").expect("memory does not fail");
        held.change(first).versions = 1;
        // As if "b" had the hash of "a".
        held.entries[first].hash = key_hash(b"b");
        let entry = held.slots.remove(&key_hash(b"a")).expect("it was put there");
        held.slots.insert(key_hash(b"b"), entry);
        let second = held.find(b"b", &mut view, "a record").expect("memory does not fail");
        assert_ne!(first, second);
        assert_eq!(held.entries[second].same_hash, Some(first));
        let again = held.find(b"b", &mut view, "a record").expect("memory does not fail");
        assert_eq!(second, again);
    }
}
