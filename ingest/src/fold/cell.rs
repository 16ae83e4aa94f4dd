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

/// Sums changes of one place into one, drops what cancels out; sorted by place.
pub fn sum(mut deltas: Vec<CellDelta>) -> Vec<v1::CellChange> {
    deltas.sort_unstable_by(|left, right| left.key.cmp(&right.key));
    deltas.dedup_by(|next, kept| {
        let same = next.key == kept.key;
        if same {
            kept.count += next.count;
            kept.open += next.open;
            kept.severity += next.severity;
        }
        same
    });
    deltas
        .into_iter()
        .filter(|delta| (delta.count, delta.open, delta.severity) != (0, 0, 0))
        .map(|delta| v1::CellChange {
            cell: delta.key.cell,
            hour_us: delta.key.hour_us,
            day_only: delta.key.day_only,
            category: delta.key.category,
            channel: delta.key.channel,
            origin: delta.key.origin,
            place_precision: delta.key.place_precision,
            count: delta.count,
            open: delta.open,
            severity: delta.severity,
        })
        .collect()
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
        let changes = sum(vec![delta(2, 1), delta(1, 1), delta(2, -1), delta(1, 1)]);
        assert_eq!(changes.len(), 1);
        assert_eq!(
            (changes[0].cell, changes[0].count, changes[0].open, changes[0].severity),
            (1, 2, 2, 4)
        );
    }
}
