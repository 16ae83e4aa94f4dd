//! The committed states as the step reads them: most keys of a back-fill are new, and memory knows that they are.

use shiyu_log::state::{Filter, PartitionState, Space};

use super::cache::{Change, Changes, StateView, key_hash};
use super::error::FoldError;

/// Keys the first filter is made for, at least.
const FILTER_KEYS_MIN: usize = 1 << 18;
/// By so much each further filter is larger than the one before.
const GROWTH: usize = 4;
/// Beyond so many filters one is made anew of the keys there are: forgotten ones leave it then.
const FILTERS_MAX: usize = 4;

/// The committed states, with filters in memory that know most of the keys that are surely new.
#[derive(Debug)]
pub(super) struct FilteredView {
    state: PartitionState,
    /// Together they hold every committed key; the last one takes what comes. Never empty.
    filters: Vec<Filter>,
}

impl FilteredView {
    pub(super) fn open(state: PartitionState) -> Result<Self, FoldError> {
        let filters = vec![filter_of(&state)?];
        Ok(Self { state, filters })
    }

    /// Keys that were just committed.
    pub(super) fn learn(&mut self, changes: &Changes) -> Result<(), FoldError> {
        for Change { hash, .. } in changes.iter().filter(|change| change.value.is_some()) {
            if self.is_surely_new(hash)
                && let Some(newest) = self.filters.last_mut()
            {
                newest.insert(hash);
            }
        }
        match self.filters.last() {
            Some(newest) if newest.is_full() && self.filters.len() < FILTERS_MAX => {
                let next = Filter::with_capacity(newest.len() * GROWTH);
                self.filters.push(next);
            }
            Some(newest) if newest.is_full() => self.filters = vec![filter_of(&self.state)?],
            _ => {}
        }
        Ok(())
    }

    fn is_surely_new(&self, hash: u64) -> bool {
        !self.filters.iter().any(|filter| filter.maybe_contains(hash))
    }
}

impl StateView for FilteredView {
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, FoldError> {
        self.get_hashed(key, key_hash(key))
    }

    fn get_hashed(&mut self, key: &[u8], hash: u64) -> Result<Option<Vec<u8>>, FoldError> {
        if self.is_surely_new(hash) {
            return Ok(None);
        }
        Ok(self.state.get(Space::Records, key)?)
    }
}

/// A filter of all committed keys, with room for as many again and more.
fn filter_of(state: &PartitionState) -> Result<Filter, FoldError> {
    let mut hashes = Vec::new();
    state.for_each_key(Space::Records, |key| hashes.push(key_hash(key)))?;
    let mut filter = Filter::with_capacity((hashes.len() * GROWTH).max(FILTER_KEYS_MIN));
    for hash in hashes {
        filter.insert(hash);
    }
    Ok(filter)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use shiyu_log::state::{StateBatch, StateStore};

    use super::*;

    fn key(number: u32) -> [u8; 4] {
        number.to_be_bytes()
    }

    fn learn(view: &mut FilteredView, numbers: std::ops::Range<u32>) {
        let (mut changes, mut batch) = (Changes::default(), StateBatch::new());
        for number in numbers {
            let key = key(number);
            let write = |bytes: &mut Vec<u8>| bytes.extend_from_slice(b"state");
            changes.push(&key, key_hash(&key), Some(write));
            batch.put(Space::Records, key, b"state");
        }
        view.state.commit(batch).unwrap();
        view.learn(&changes).unwrap();
    }

    #[test]
    fn a_committed_key_is_never_surely_new_however_many_follow() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateStore::open(folder.path()).unwrap().partition("events-0").unwrap();
        let smallest = || Filter::with_capacity(0);
        let mut view = FilteredView {
            state,
            filters: vec![smallest()],
        };
        for epoch in 0..10 {
            learn(&mut view, epoch * 5_000..(epoch + 1) * 5_000);
        }
        assert_eq!(view.filters.len(), 3);
        assert!((0..50_000).all(|number| !view.is_surely_new(key_hash(&key(number)))));
        let taken = (50_000..60_000).filter(|&number| !view.is_surely_new(key_hash(&key(number))));
        assert!(taken.count() < 500);

        view.filters = (0..FILTERS_MAX).map(|_| smallest()).collect();
        learn(&mut view, 50_000..55_000);
        assert_eq!(view.filters.len(), 1, "made anew of the keys there are");
        assert!((0..55_000).all(|number| !view.is_surely_new(key_hash(&key(number)))));
    }
}
