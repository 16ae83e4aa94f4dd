//! Signed changes of counts per cell, hour, category, channel, origin and precision of place.
//!
//! What crosses partitions is additive: whoever reads sums the changes, so their order does not matter.

use shiyu_schemas::v1;

/// Where a count stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellKey {
    /// H3 cell at resolution 9; 0 where there is no place.
    pub cell: i64,
    /// Start of the hour (of the local day where only the date is known), microseconds since 1970 UTC.
    pub hour_us: i64,
    /// Whether only the date is known.
    pub day_only: bool,
    /// Category code.
    pub category: String,
    /// Protobuf number of the channel.
    pub channel: i32,
    /// Protobuf number of the origin.
    pub origin: i32,
    /// Protobuf number of the precision of the place.
    pub place_precision: i32,
}

/// What to add there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellDelta {
    /// Where.
    pub key: CellKey,
    /// Cases.
    pub count: i64,
    /// Open cases.
    pub open: i64,
    /// Sum of severities.
    pub severity: i64,
}

/// Sums changes of one place into one, drops what cancels out, and gives the rest to `take`, sorted by place. What is left of the changes
/// has no categories.
pub fn sum(deltas: &mut [CellDelta], mut take: impl FnMut(&v1::CellChange)) {
    // Numbers are sorted, not the changes themselves, which are large.
    let mut order: Vec<(i64, i64, u32)> = (0..)
        .zip(&*deltas)
        .map(|(index, delta)| (delta.key.cell, delta.key.hour_us, index))
        .collect();
    order.sort_unstable_by(|left, right| {
        let key = |index: u32| &deltas[index as usize].key;
        (left.0, left.1)
            .cmp(&(right.0, right.1))
            .then_with(|| key(left.2).cmp(key(right.2)))
    });
    let mut rest = order.as_slice();
    while let Some((.., first)) = rest.first() {
        let key = &deltas[*first as usize].key;
        let same = rest
            .iter()
            .take_while(|(.., index)| deltas[*index as usize].key == *key)
            .count();
        let (same, others) = rest.split_at(same);
        rest = others;
        let total =
            |of: fn(&CellDelta) -> i64| same.iter().map(|(.., index)| of(&deltas[*index as usize])).sum::<i64>();
        let (count, open, severity) = (
            total(|delta| delta.count),
            total(|delta| delta.open),
            total(|delta| delta.severity),
        );
        if (count, open, severity) == (0, 0, 0) {
            continue;
        }
        let key = &mut deltas[*first as usize].key;
        take(&v1::CellChange {
            cell: key.cell,
            hour_us: key.hour_us,
            day_only: key.day_only,
            category: std::mem::take(&mut key.category),
            channel: key.channel,
            origin: key.origin,
            place_precision: key.place_precision,
            count,
            open,
            severity,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delta(cell: i64, count: i64) -> CellDelta {
        let key = CellKey {
            cell,
            hour_us: 0,
            day_only: false,
            category: "noise".to_owned(),
            channel: 1,
            origin: 1,
            place_precision: 1,
        };
        CellDelta {
            key,
            count,
            open: count,
            severity: 2 * count,
        }
    }

    #[test]
    fn what_cancels_out_leaves_no_row() {
        let mut changes = Vec::new();
        sum(&mut [delta(2, 1), delta(1, 1), delta(2, -1), delta(1, 1)], |change| {
            changes.push(change.clone());
        });
        assert_eq!(changes.len(), 1);
        assert_eq!(
            (changes[0].cell, changes[0].count, changes[0].open, changes[0].severity),
            (1, 2, 2, 4)
        );
    }
}
