//! Durable totals per feed: what the log holds of it, from its first record.

use std::collections::BTreeMap;

use shiyu_schemas::v1;

const HOUR_US: i64 = 3_600_000_000;
/// Microseconds of a day.
pub(super) const DAY_US: i64 = 24 * HOUR_US;

/// Totals of one feed. They are part of the epoch's commit, so they neither lose nor repeat.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Counts {
    /// New versions.
    #[prost(uint64, tag = "1")]
    pub accepted: u64,
    /// Current versions again.
    #[prost(uint64, tag = "2")]
    pub unchanged: u64,
    /// Deliveries again.
    #[prost(uint64, tag = "3")]
    pub duplicate: u64,
    /// Older than the current version.
    #[prost(uint64, tag = "4")]
    pub stale: u64,
    /// Records that could not become events, each once.
    #[prost(uint64, tag = "5")]
    pub rejected: u64,
    /// Rejections delivered again.
    #[prost(uint64, tag = "6")]
    pub rejected_again: u64,
    /// Correction rows that have found their record, now.
    #[prost(uint64, tag = "7")]
    pub withdrawn: u64,
    /// Correction rows that wait for their record, now.
    #[prost(uint64, tag = "8")]
    pub waiting: u64,
    /// What the door noticed about accepted records: flag to records.
    #[prost(btree_map = "string, uint64", tag = "9")]
    pub flags: BTreeMap<String, u64>,
    /// Why records were rejected: `code column` to records.
    #[prost(btree_map = "string, uint64", tag = "10")]
    pub reasons: BTreeMap<String, u64>,
    /// Greatest time of an event seen, clamped to five minutes ahead of its arrival; microseconds since 1970 UTC.
    #[prost(sint64, optional, tag = "11")]
    pub watermark_us: Option<i64>,
    /// What ended before it is forgotten: see [`super::horizon`]; microseconds since 1970 UTC, a whole day.
    #[prost(sint64, optional, tag = "12")]
    pub forgotten_before_us: Option<i64>,
}

/// Totals of every feed of one partition.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct FeedCounts {
    /// By feed.
    #[prost(btree_map = "string, message", tag = "1")]
    pub feeds: BTreeMap<String, Counts>,
}

impl FeedCounts {
    /// The totals of a feed.
    pub fn of(&mut self, feed: &str) -> &mut Counts {
        if !self.feeds.contains_key(feed) {
            self.feeds.insert(feed.to_owned(), Counts::default());
        }
        self.feeds.get_mut(feed).expect("it was put in if it was missing")
    }

    /// Adds another partition's totals.
    pub fn add(&mut self, other: &Self) {
        for (feed, counts) in &other.feeds {
            self.of(feed).add(counts);
        }
    }
}

impl Counts {
    /// Counts one event's outcome.
    pub fn count(&mut self, outcome: v1::Outcome) {
        match outcome {
            v1::Outcome::Accepted => self.accepted += 1,
            v1::Outcome::Unchanged => self.unchanged += 1,
            v1::Outcome::Duplicate => self.duplicate += 1,
            v1::Outcome::Stale => self.stale += 1,
            v1::Outcome::Unspecified | v1::Outcome::Excluded | v1::Outcome::Rejected | v1::Outcome::Logged => {}
        }
    }

    /// Counts one more record under a flag or reason.
    pub fn note(map: &mut BTreeMap<String, u64>, name: &str) {
        match map.get_mut(name) {
            Some(count) => *count += 1,
            None => {
                map.insert(name.to_owned(), 1);
            }
        }
    }

    /// Moves the watermark on.
    pub fn advance(&mut self, time_us: i64) {
        self.watermark_us = self.watermark_us.max(Some(time_us));
    }

    /// What ended before it is forgotten, microseconds since 1970 UTC; the least number where nothing is.
    pub fn limit_us(&self) -> i64 {
        self.forgotten_before_us.unwrap_or(i64::MIN)
    }

    /// Moves the limit of what is forgotten to so many days behind the watermark, in whole days and never back; 0 leaves it.
    pub fn forget_behind(&mut self, dedupe_days: u32) {
        if let Some(watermark_us) = self.watermark_us.filter(|_| dedupe_days > 0) {
            let behind_us = watermark_us.saturating_sub(i64::from(dedupe_days) * DAY_US);
            if behind_us.saturating_sub(DAY_US) >= self.limit_us() {
                self.forgotten_before_us = Some(behind_us.div_euclid(DAY_US) * DAY_US);
            }
        }
    }

    /// Whether a time lies so many hours and more behind the watermark.
    pub fn is_late(&self, time_us: i64, lateness_hours: u32) -> bool {
        let lateness_us = i64::from(lateness_hours) * HOUR_US;
        self.watermark_us
            .is_some_and(|watermark_us| time_us < watermark_us.saturating_sub(lateness_us))
    }

    fn add(&mut self, other: &Self) {
        // Of several partitions the slowest says how far the feed is.
        self.watermark_us = match (self.watermark_us, other.watermark_us) {
            (Some(own), Some(others)) => Some(own.min(others)),
            (own, others) => own.or(others),
        };
        // Where any partition has forgotten something, the feed has.
        self.forgotten_before_us = self.forgotten_before_us.max(other.forgotten_before_us);
        self.accepted += other.accepted;
        self.unchanged += other.unchanged;
        self.duplicate += other.duplicate;
        self.stale += other.stale;
        self.rejected += other.rejected;
        self.rejected_again += other.rejected_again;
        self.withdrawn += other.withdrawn;
        self.waiting += other.waiting;
        for (name, count) in &other.flags {
            *self.flags.entry(name.clone()).or_default() += count;
        }
        for (name, count) in &other.reasons {
            *self.reasons.entry(name.clone()).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forgotten_follows_the_watermark_by_whole_days_and_never_comes_back() {
        let mut counts = Counts::default();
        counts.forget_behind(10);
        assert_eq!(counts.limit_us(), i64::MIN, "nothing was seen");
        counts.advance(100 * DAY_US + HOUR_US);
        counts.forget_behind(0);
        assert_eq!(counts.limit_us(), i64::MIN, "the feed has no horizon");
        counts.forget_behind(10);
        assert_eq!(counts.limit_us(), 90 * DAY_US);
        counts.advance(101 * DAY_US - 1);
        counts.forget_behind(10);
        assert_eq!(counts.limit_us(), 90 * DAY_US);
        counts.advance(101 * DAY_US);
        counts.forget_behind(10);
        assert_eq!(counts.limit_us(), 91 * DAY_US);
        counts.forget_behind(50);
        assert_eq!(counts.limit_us(), 91 * DAY_US, "what is gone is gone");
    }

    #[test]
    fn totals_of_partitions_add_up() {
        let mut left = FeedCounts::default();
        left.of("hotline").count(v1::Outcome::Accepted);
        Counts::note(&mut left.of("hotline").flags, "scrubbed");
        let mut right = left.clone();
        right.of("police").waiting = 2;
        left.add(&right);
        assert_eq!(left.feeds["hotline"].accepted, 2);
        assert_eq!(left.feeds["hotline"].flags["scrubbed"], 2);
        assert_eq!(left.feeds["police"].waiting, 2);
    }
}
