//! An IANA zone as a sorted table of its offset changes, so that a local time costs one binary search.
//!
//! The zones come from the database compiled into the program where it is there, so that the same text gives the same instant on every
//! machine, else from the machine's.

use std::cmp::Ordering;

use jiff::civil::DateTime;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan};

/// First and last year of the table; times outside are asked of `jiff` one by one.
const YEARS: std::ops::Range<i16> = 1800..2200;

/// A compiled zone.
#[derive(Debug, Clone)]
pub struct Zone {
    /// Start of each span in local seconds since 1970-01-01, ascending, and what holds in it.
    local: Vec<(i64, Span)>,
    /// Start of each offset in UTC seconds, ascending, and the offset in seconds.
    utc: Vec<(i64, i32)>,
    iana: TimeZone,
}

/// What a local time means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// Was once; offset in seconds.
    Once(i32),
    /// Never was: the clock was set forward from one offset to another.
    Never {
        /// Offset before the change, seconds.
        before: i32,
        /// Offset after it, seconds.
        after: i32,
    },
    /// Was twice: the clock was set back.
    Twice {
        /// Offset of the earlier instant, seconds.
        earlier: i32,
        /// Offset of the later instant, seconds.
        later: i32,
    },
}

impl Zone {
    /// Compiles a zone by its IANA name; the error names it.
    pub fn compile(name: &str) -> Result<Self, String> {
        let zone = TimeZoneDatabase::bundled()
            .get(name)
            .or_else(|_| TimeZone::get(name))
            .map_err(|error| format!("unknown time zone \"{name}\": {error}"))?;
        let first = start_of_year(YEARS.start)?;
        let last = start_of_year(YEARS.end)?;
        let mut offset = zone.to_offset(first).seconds();
        let mut local = vec![(i64::MIN, Span::Once(offset))];
        let mut utc = vec![(i64::MIN, offset)];
        for change in zone.following(first).take_while(|change| change.timestamp() < last) {
            let next = change.offset().seconds();
            let at = change.timestamp().as_second();
            let (before, after) = (at + i64::from(offset), at + i64::from(next));
            match next.cmp(&offset) {
                Ordering::Greater => {
                    local.push((
                        before,
                        Span::Never {
                            before: offset,
                            after: next,
                        },
                    ));
                    local.push((after, Span::Once(next)));
                }
                Ordering::Less => {
                    local.push((
                        after,
                        Span::Twice {
                            earlier: offset,
                            later: next,
                        },
                    ));
                    local.push((before, Span::Once(next)));
                }
                Ordering::Equal => continue,
            }
            utc.push((at, next));
            offset = next;
        }
        Ok(Self { local, utc, iana: zone })
    }

    /// What a local time (seconds since 1970-01-01 00:00 local) means.
    pub fn span_at_local(&self, local_s: i64) -> Span {
        if !in_table(local_s) {
            return self.slow_span(local_s);
        }
        let newest = self.local[self.local.len() - 1];
        if newest.0 <= local_s {
            return newest.1;
        }
        let index = self.local.partition_point(|(start, _)| *start <= local_s);
        self.local[index - 1].1
    }

    /// Offset in seconds at an instant (seconds since 1970 UTC).
    pub fn offset_at(&self, utc_s: i64) -> i32 {
        if !in_table(utc_s) {
            return Timestamp::from_second(utc_s).map_or(0, |instant| self.iana.to_offset(instant).seconds());
        }
        let index = self.utc.partition_point(|(start, _)| *start <= utc_s);
        self.utc[index - 1].1
    }

    fn slow_span(&self, local_s: i64) -> Span {
        use jiff::tz::AmbiguousOffset;
        let Ok(civil) = DateTime::constant(1970, 1, 1, 0, 0, 0, 0).checked_add(local_s.seconds()) else {
            return self.local[0].1;
        };
        match self.iana.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => Span::Once(offset.seconds()),
            AmbiguousOffset::Gap { before, after } => Span::Never {
                before: before.seconds(),
                after: after.seconds(),
            },
            AmbiguousOffset::Fold { before, after } => Span::Twice {
                earlier: before.seconds(),
                later: after.seconds(),
            },
        }
    }
}

/// A day short of the table's ends, so that no offset leads out of it.
fn in_table(seconds: i64) -> bool {
    const FIRST_S: i64 = -5_364_662_400 + 86_400;
    const LAST_S: i64 = 7_258_118_400 - 86_400;
    (FIRST_S..LAST_S).contains(&seconds)
}

fn start_of_year(year: i16) -> Result<Timestamp, String> {
    TimeZone::UTC
        .to_timestamp(DateTime::constant(year, 1, 1, 0, 0, 0, 0))
        .map_err(|error| format!("year {year}: {error}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;

    #[test]
    fn the_table_agrees_with_jiff_around_every_change() {
        assert!(in_table(-5_364_662_400 + 86_400) && !in_table(7_258_118_400));
        for name in [
            "Asia/Shanghai",
            "America/Chicago",
            "America/New_York",
            "Europe/London",
            "Australia/Lord_Howe",
            "Asia/Kathmandu",
        ] {
            let zone = Zone::compile(name).unwrap();
            let changes: Vec<i64> = zone.local.iter().skip(1).map(|(start, _)| *start).collect();
            for start in changes {
                for local_s in [start - 1, start, start + 1, start + 1_799, start + 40_000] {
                    assert_eq!(zone.span_at_local(local_s), zone.slow_span(local_s), "{name} {local_s}");
                }
                let instant = Timestamp::from_second(start).unwrap();
                assert_eq!(
                    zone.offset_at(start),
                    zone.iana.to_offset(instant).seconds(),
                    "{name} {start}"
                );
            }
        }
    }

    #[test]
    fn an_unknown_zone_is_named() {
        assert!(Zone::compile("Asia/Yunlan").unwrap_err().contains("Asia/Yunlan"));
    }
}
