//! The counts of every cell, in memory: the sum of all signed changes so far.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ahash::AHashMap;
use arrow::array::{ArrayRef, BooleanBuilder, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder};
use shiyu_schemas::code::Code as _;
use shiyu_schemas::place::cell::Cell;
use shiyu_schemas::table::CELL_CHANGES;
use shiyu_schemas::v1;

use super::checkpoint::{CellRows, LiveState, Owner, SeenEpoch};

/// Counts of one cell, hour, category, channel, origin and precision of place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    hour_us: i64,
    category: u32,
    day_only: bool,
    channel: v1::Channel,
    origin: v1::Origin,
    precision: v1::PlacePrecision,
    count: i64,
    open: i64,
    severity: i64,
}

impl Row {
    /// Where the row stands among those of its cell.
    fn key(&self) -> (i64, u64) {
        (self.hour_us, self.kind())
    }

    /// Category, whether only the day is known, channel, origin, precision: 32, 8, 8, 8, 8 bits.
    fn kind(&self) -> u64 {
        let byte = |number: i32| u64::from(number as u8);
        u64::from(self.category) << 32
            | u64::from(self.day_only) << 24
            | byte(self.channel.into()) << 16
            | byte(self.origin.into()) << 8
            | byte(self.precision.into())
    }
}

/// All cells. Events without a place are not here: they have no cell to score.
#[derive(Debug, Default)]
pub struct LiveCells {
    /// Rows of a cell in the order of their keys.
    cells: AHashMap<i64, Vec<Row>>,
    categories: Vec<String>,
    category_ids: AHashMap<String, u32>,
    /// Last epoch seen per partition of the fold and incarnation.
    epochs: BTreeMap<(u32, u64), u64>,
    /// Generation of the owner of each partition of the fold, where partitions change owners.
    owners: BTreeMap<u32, u64>,
    watermark_us: Option<i64>,
    total: i64,
}

impl LiveCells {
    /// A partition of the fold has a new owner: what owners of before append from now on does not count.
    pub fn take_over(&mut self, partition: u32, generation: u64) {
        let owner = self.owners.entry(partition).or_default();
        *owner = generation.max(*owner);
    }

    /// Adds the changes of one epoch, unless it was seen before. Returns the cells (resolution 9) that changed.
    pub fn apply(&mut self, changes: &v1::CellChanges) -> BTreeSet<i64> {
        let owner = self.owners.get(&changes.partition).copied().unwrap_or_default();
        if changes.generation < owner {
            return BTreeSet::new();
        }
        let key = (changes.partition, changes.incarnation);
        if self.epochs.get(&key).is_some_and(|&seen| changes.epoch <= seen) {
            return BTreeSet::new();
        }
        self.epochs.insert(key, changes.epoch);
        if changes.watermark_us != 0 {
            self.watermark_us = Some(self.watermark_us.unwrap_or(i64::MIN).max(changes.watermark_us));
        }
        let mut changed = BTreeSet::new();
        for change in changes.changes.iter().filter(|change| change.cell != 0) {
            self.add(change);
            changed.insert(change.cell);
        }
        changed
    }

    fn add(&mut self, change: &v1::CellChange) {
        let row = Row {
            hour_us: change.hour_us,
            category: self.category_id(&change.category),
            day_only: change.day_only,
            channel: change.channel(),
            origin: change.origin(),
            precision: change.place_precision(),
            count: change.count,
            open: change.open,
            severity: change.severity,
        };
        self.total += row.count;
        let rows = self.cells.entry(change.cell).or_default();
        match rows.binary_search_by_key(&row.key(), Row::key) {
            Ok(index) => {
                let known = &mut rows[index];
                known.count += row.count;
                known.open += row.open;
                known.severity += row.severity;
                if known.count == 0 && known.open == 0 && known.severity == 0 {
                    rows.remove(index);
                }
            }
            Err(index) => rows.insert(index, row),
        }
        if rows.is_empty() {
            self.cells.remove(&change.cell);
        }
    }

    fn category_id(&mut self, category: &str) -> u32 {
        if let Some(&id) = self.category_ids.get(category) {
            return id;
        }
        let id = self.categories.len() as u32;
        self.categories.push(category.to_owned());
        self.category_ids.insert(category.to_owned(), id);
        id
    }

    /// As a part of a checkpoint.
    pub(super) fn to_state(&self) -> LiveState {
        LiveState {
            categories: self.categories.clone(),
            cells: self
                .cells
                .iter()
                .map(|(&cell, rows)| rows_to_state(cell, rows))
                .collect(),
            epochs: self
                .epochs
                .iter()
                .map(|(&(partition, incarnation), &epoch)| SeenEpoch {
                    partition,
                    incarnation,
                    epoch,
                })
                .collect(),
            owners: self
                .owners
                .iter()
                .map(|(&partition, &generation)| Owner { partition, generation })
                .collect(),
            watermark_us: self.watermark_us,
        }
    }

    /// From a part of a checkpoint; none where it holds what this program does not know.
    pub(super) fn from_state(state: LiveState) -> Option<Self> {
        let mut live = Self {
            epochs: state
                .epochs
                .iter()
                .map(|seen| ((seen.partition, seen.incarnation), seen.epoch))
                .collect(),
            owners: state
                .owners
                .iter()
                .map(|owner| (owner.partition, owner.generation))
                .collect(),
            watermark_us: state.watermark_us,
            ..Self::default()
        };
        for category in &state.categories {
            live.category_id(category);
        }
        live.cells.reserve(state.cells.len());
        for cell in state.cells {
            let rows = rows_from_state(&cell, live.categories.len())?;
            live.total += rows.iter().map(|row| row.count).sum::<i64>();
            live.cells.insert(cell.cell, rows);
        }
        Some(live)
    }

    /// Greatest watermark of any partition, microseconds since 1970 UTC.
    pub fn watermark_us(&self) -> Option<i64> {
        self.watermark_us
    }

    /// How many counts there are.
    pub(super) fn row_count(&self) -> usize {
        self.cells.values().map(Vec::len).sum()
    }

    /// Cases in all cells.
    pub fn total(&self) -> i64 {
        self.total
    }

    /// All cells (resolution 9) that hold counts.
    pub fn cells(&self) -> impl Iterator<Item = i64> + '_ {
        self.cells.keys().copied()
    }

    /// Rows within `[start_us, end_us)` of the given cells (resolution 9), as a batch of [`CELL_CHANGES`]; `cell` is the parent at
    /// `resolution`. Sorted by cell and key, so that sums of floats do not depend on arrival.
    pub fn batch(&self, cells: impl Iterator<Item = i64>, resolution: u8, start_us: i64, end_us: i64) -> RecordBatch {
        let mut rows: Vec<(i64, &Row)> = cells
            .filter_map(|cell| self.cells.get(&cell).map(|rows| (parent_of(cell, resolution), rows)))
            .flat_map(|(parent, rows)| rows.iter().map(move |row| (parent, row)))
            .filter(|(_, row)| row.hour_us >= start_us && row.hour_us < end_us)
            .collect();
        rows.sort_by_key(|(cell, row)| {
            (
                *cell,
                row.hour_us,
                self.category(row),
                row.day_only,
                row.channel,
                row.origin,
                row.precision,
            )
        });
        self.to_batch(&rows)
    }

    fn category(&self, row: &Row) -> &str {
        &self.categories[row.category as usize]
    }

    fn to_batch(&self, rows: &[(i64, &Row)]) -> RecordBatch {
        let mut cell = Int64Builder::with_capacity(rows.len());
        let mut hour = TimestampMicrosecondBuilder::with_capacity(rows.len()).with_timezone("UTC");
        let mut day_only = BooleanBuilder::with_capacity(rows.len());
        let mut texts: [StringBuilder; 4] = std::array::from_fn(|_| StringBuilder::new());
        let mut numbers: [Int64Builder; 3] = std::array::from_fn(|_| Int64Builder::with_capacity(rows.len()));
        for (parent, row) in rows {
            cell.append_value(*parent);
            hour.append_value(row.hour_us);
            day_only.append_value(row.day_only);
            texts[0].append_value(self.category(row));
            texts[1].append_value(row.channel.word());
            texts[2].append_value(row.origin.word());
            texts[3].append_value(row.precision.word());
            for (builder, value) in numbers.iter_mut().zip([row.count, row.open, row.severity]) {
                builder.append_value(value);
            }
        }
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(cell.finish()),
            Arc::new(hour.finish()),
            Arc::new(day_only.finish()),
        ];
        columns.extend(texts.iter_mut().map(|builder| Arc::new(builder.finish()) as ArrayRef));
        columns.extend(numbers.iter_mut().map(|builder| Arc::new(builder.finish()) as ArrayRef));
        RecordBatch::try_new(CELL_CHANGES.schema(), columns).expect("the columns are those of the shape")
    }
}

fn rows_to_state(cell: i64, rows: &[Row]) -> CellRows {
    let mut before = 0;
    CellRows {
        cell,
        hours: rows
            .iter()
            .map(|row| row.hour_us.wrapping_sub(std::mem::replace(&mut before, row.hour_us)))
            .collect(),
        kinds: rows.iter().map(Row::kind).collect(),
        counts: rows.iter().map(|row| row.count).collect(),
        open: rows.iter().map(|row| row.open).collect(),
        severities: rows.iter().map(|row| row.severity).collect(),
    }
}

fn rows_from_state(state: &CellRows, categories: usize) -> Option<Vec<Row>> {
    let length = state.hours.len();
    if [&state.counts, &state.open, &state.severities]
        .iter()
        .any(|column| column.len() != length)
        || state.kinds.len() != length
    {
        return None;
    }
    let mut hour_us = 0_i64;
    (0..length)
        .map(|index| {
            let kind = state.kinds[index];
            let byte = |shift: u32| i32::from((kind >> shift) as u8);
            hour_us = hour_us.wrapping_add(state.hours[index]);
            let category = (kind >> 32) as u32;
            ((category as usize) < categories).then_some(())?;
            Some(Row {
                hour_us,
                category,
                day_only: byte(24) != 0,
                channel: v1::Channel::try_from(byte(16)).ok()?,
                origin: v1::Origin::try_from(byte(8)).ok()?,
                precision: v1::PlacePrecision::try_from(byte(0)).ok()?,
                count: state.counts[index],
                open: state.open[index],
                severity: state.severities[index],
            })
        })
        .collect()
}

/// Parent at `resolution` of a cell; the cell itself if it is no finer.
pub fn parent_of(cell: i64, resolution: u8) -> i64 {
    Cell::from_i64(cell)
        .ok()
        .and_then(|cell| cell.parent(resolution))
        .map_or(cell, Cell::to_i64)
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    pub(crate) const CELL: i64 = 0x0893_1aac_0003_ffff;

    pub(crate) fn change(cell: i64, hour: i64, count: i64) -> v1::CellChange {
        v1::CellChange {
            cell,
            hour_us: hour * 3_600_000_000,
            category: "noise".to_owned(),
            channel: v1::Channel::Hotline.into(),
            origin: v1::Origin::Citizen.into(),
            place_precision: v1::PlacePrecision::Exact.into(),
            count,
            open: count,
            severity: 2 * count,
            ..v1::CellChange::default()
        }
    }

    pub(crate) fn epoch(epoch: u64, changes: Vec<v1::CellChange>) -> v1::CellChanges {
        let watermark_us = changes.iter().map(|change| change.hour_us).max().unwrap_or_default();
        v1::CellChanges {
            partition: 0,
            incarnation: 1,
            epoch,
            changes,
            watermark_us,
            ..v1::CellChanges::default()
        }
    }

    #[test]
    fn changes_of_an_owner_of_before_do_not_count() {
        let mut live = LiveCells::default();
        let by = |generation, number| v1::CellChanges {
            generation,
            ..epoch(number, vec![change(CELL, 10, 1)])
        };
        live.take_over(0, 3);
        live.apply(&by(3, 10));
        live.take_over(0, 8);
        assert!(live.apply(&by(3, 20)).is_empty(), "it was stopped and did not know");
        live.apply(&by(8, 10));
        live.apply(&by(8, 15));
        assert_eq!(live.total(), 2);
    }

    #[test]
    fn a_repeated_epoch_changes_nothing() {
        let mut live = LiveCells::default();
        let first = epoch(1, vec![change(CELL, 10, 2)]);
        assert_eq!(live.apply(&first).len(), 1);
        assert!(live.apply(&first).is_empty());
        assert_eq!(live.total(), 2);
    }

    #[test]
    fn a_withdrawn_case_leaves_nothing_behind() {
        let mut live = LiveCells::default();
        live.apply(&epoch(1, vec![change(CELL, 10, 1)]));
        live.apply(&epoch(2, vec![change(CELL, 10, -1)]));
        assert_eq!(live.cells().count(), 0);
        assert_eq!(live.batch([CELL].into_iter(), 9, 0, i64::MAX).num_rows(), 0);
    }

    #[test]
    fn a_checkpoint_gives_back_the_same_cells_which_go_on_alike() {
        let mut live = LiveCells::default();
        live.take_over(0, 3);
        let by = |number, changes| v1::CellChanges {
            generation: 3,
            ..epoch(number, changes)
        };
        let other = v1::CellChange {
            category: "water".to_owned(),
            day_only: true,
            ..change(CELL, 9, 2)
        };
        live.apply(&by(10, vec![change(CELL, 12, 1), other, change(CELL + 1, 10, -1)]));
        live.apply(&by(20, vec![change(CELL, 10, 1)]));
        let mut back = LiveCells::from_state(live.to_state()).unwrap();
        let all = |live: &LiveCells| live.batch([CELL, CELL + 1].into_iter(), 9, 0, i64::MAX);
        assert_eq!(all(&back), all(&live));
        assert_eq!((back.total(), back.watermark_us()), (live.total(), live.watermark_us()));
        assert!(
            back.apply(&by(20, vec![change(CELL, 10, 1)])).is_empty(),
            "the epoch was seen"
        );
        let by_an_old_owner = v1::CellChanges {
            generation: 2,
            ..epoch(30, vec![change(CELL, 10, 1)])
        };
        assert!(back.apply(&by_an_old_owner).is_empty());
        back.apply(&by(30, vec![change(CELL, 10, 1)]));
        assert_eq!(back.total(), live.total() + 1);
    }

    #[test]
    fn a_checkpoint_that_does_not_fit_is_refused() {
        let mut live = LiveCells::default();
        live.apply(&epoch(1, vec![change(CELL, 10, 1)]));
        let mut state = live.to_state();
        state.categories.clear();
        assert!(LiveCells::from_state(state).is_none());
        let mut state = live.to_state();
        state.cells[0].counts.clear();
        assert!(LiveCells::from_state(state).is_none());
    }

    #[test]
    fn the_window_is_half_open() {
        let mut live = LiveCells::default();
        live.apply(&epoch(1, vec![change(CELL, 10, 1), change(CELL, 11, 1)]));
        let hour = 3_600_000_000;
        assert_eq!(live.batch([CELL].into_iter(), 9, 10 * hour, 11 * hour).num_rows(), 1);
    }
}
