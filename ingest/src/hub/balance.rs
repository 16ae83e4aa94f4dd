//! The balance of a feed: every record read has one outcome.

use std::collections::{BTreeMap, BTreeSet};

use shiyu_schemas::v1;

/// Sums of one feed in one pass. `read = accepted + unchanged + duplicate + stale + excluded + rejected`, and `logged` where another process folds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeedBalance {
    /// Sources that were there, those read before among them.
    pub sources: usize,
    /// Records read.
    pub read: u64,
    /// New versions.
    pub accepted: u64,
    /// Current versions again.
    pub unchanged: u64,
    /// Deliveries again.
    pub duplicate: u64,
    /// Older than the current version.
    pub stale: u64,
    /// Left out by the feed's filter.
    pub excluded: u64,
    /// Could not become events.
    pub rejected: u64,
    /// In the log; another process decides their outcomes.
    pub logged: u64,
    /// Why: `code column` → count.
    pub reasons: BTreeMap<String, u64>,
    /// What the door noticed about records it let pass.
    pub flags: BTreeMap<String, u64>,
    /// Replacement characters the decoding put in.
    pub replaced_characters: u64,
    /// Header columns the manifest does not name.
    pub unknown_columns: BTreeSet<String>,
    /// Sources that could not be read, with the reason.
    pub failed_sources: Vec<String>,
}

impl FeedBalance {
    /// Counts one settled outcome.
    pub fn count(&mut self, outcome: v1::Outcome) {
        match outcome {
            v1::Outcome::Accepted => self.accepted += 1,
            v1::Outcome::Unchanged => self.unchanged += 1,
            v1::Outcome::Duplicate => self.duplicate += 1,
            v1::Outcome::Stale => self.stale += 1,
            v1::Outcome::Excluded => self.excluded += 1,
            v1::Outcome::Rejected => self.rejected += 1,
            v1::Outcome::Logged => self.logged += 1,
            v1::Outcome::Unspecified => {}
        }
    }

    /// Whether every record read has its outcome.
    pub fn closes(&self) -> bool {
        self.read
            == self.accepted
                + self.unchanged
                + self.duplicate
                + self.stale
                + self.excluded
                + self.rejected
                + self.logged
    }

    /// As the receipt of a load.
    pub fn to_message(&self, feed: &str, withdrawn: u64, waiting: u64) -> v1::Balance {
        let counts = |map: &BTreeMap<String, u64>| {
            map.iter()
                .map(|(reason, count)| v1::ReasonCount {
                    reason: reason.clone(),
                    count: *count,
                })
                .collect()
        };
        v1::Balance {
            feed: feed.to_owned(),
            read: self.read,
            accepted: self.accepted,
            unchanged: self.unchanged,
            duplicate: self.duplicate,
            stale: self.stale,
            excluded: self.excluded,
            rejected: self.rejected,
            reasons: counts(&self.reasons),
            flags: counts(&self.flags),
            withdrawn,
            waiting,
            replaced_characters: self.replaced_characters,
            unknown_columns: self.unknown_columns.iter().cloned().collect(),
            failed_sources: self.failed_sources.clone(),
            logged: self.logged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_balance_closes_only_when_every_record_has_its_outcome() {
        let mut balance = FeedBalance {
            read: 2,
            ..FeedBalance::default()
        };
        balance.count(v1::Outcome::Accepted);
        assert!(!balance.closes());
        balance.count(v1::Outcome::Stale);
        assert!(balance.closes());
    }
}
