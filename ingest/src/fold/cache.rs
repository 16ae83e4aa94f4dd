//! The states an epoch touches: read from the store once, changed in memory, written sorted in the epoch's one commit.

use std::collections::HashMap;

use super::case::RecordState;
use super::error::FoldError;
use super::withdrawal::Group;

/// Where states come from.
pub trait StateView {
    /// The committed bytes of a key.
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, FoldError>;
}

/// A state held in the cache, until [`StateCache::take_changes`].
#[derive(Debug, Clone, Copy)]
pub struct RecordSlot(usize);

/// A group held in the cache, until [`StateCache::take_changes`].
#[derive(Debug, Clone, Copy)]
pub struct GroupSlot(usize);

/// Key and new bytes; none where the key goes.
pub type Change = (Box<[u8]>, Option<Vec<u8>>);

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
    pub fn take_changes(&mut self) -> Vec<Change> {
        let mut changes = Vec::with_capacity(self.records.entries.len() + self.groups.entries.len());
        self.records.drain(|_| false, &mut changes);
        self.groups.drain(Group::is_empty, &mut changes);
        changes.sort_unstable_by(|left, right| left.0.cmp(&right.0));
        changes
    }
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
}

#[derive(Debug)]
struct Held<T> {
    slots: HashMap<Box<[u8]>, usize, ahash::RandomState>,
    entries: Vec<Entry<T>>,
}

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self {
            slots: HashMap::default(),
            entries: Vec::new(),
        }
    }
}

impl<T: prost::Message + Default> Held<T> {
    fn find(&mut self, key: &[u8], view: &mut impl StateView, what: &'static str) -> Result<usize, FoldError> {
        if let Some(&slot) = self.slots.get(key) {
            return Ok(slot);
        }
        let value = match view.get(key)? {
            Some(bytes) => T::decode(bytes.as_slice()).map_err(|source| FoldError::State { what, source })?,
            None => T::default(),
        };
        let slot = self.entries.len();
        self.slots.insert(key.into(), slot);
        self.entries.push(Entry { value, changed: false });
        Ok(slot)
    }

    fn change(&mut self, slot: usize) -> &mut T {
        let entry = &mut self.entries[slot];
        entry.changed = true;
        &mut entry.value
    }

    fn drain(&mut self, is_gone: impl Fn(&T) -> bool, changes: &mut Vec<Change>) {
        for (key, slot) in self.slots.drain() {
            let entry = &self.entries[slot];
            if entry.changed {
                let bytes = (!is_gone(&entry.value)).then(|| entry.value.encode_to_vec());
                changes.push((key, bytes));
            }
        }
        self.entries.clear();
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
        pub(in crate::fold) fn apply(&mut self, changes: Vec<Change>) {
            for (key, value) in changes {
                match value {
                    Some(bytes) => self.bytes.insert(key.into_vec(), bytes),
                    None => self.bytes.remove(&*key),
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
        assert!(changes[0].1.is_none(), "the group is empty");
        cache.view_mut().apply(changes);
        let slot = cache.find_record("hotline", "2").expect("memory does not fail");
        assert_eq!(cache.record(slot).versions, 1);
    }
}
