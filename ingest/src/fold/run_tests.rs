//! The running fold on a real log, state store and tables in a temporary folder; crashes between any two effects.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use prost::Message;
use shiyu_log::event_log::partition_of;
use shiyu_log::local::{LocalLog, LocalLogOptions};
use shiyu_log::state::{Space, StateBatch, StateStore};
use shiyu_log::table::{NewestRows, Snapshot, TableWriter};
use shiyu_log::vfs::RealVfs;
use shiyu_log::{EventLog, Records, Topic};
use shiyu_schemas::table::STORED;
use shiyu_schemas::v1::{self, EventKind, Outcome};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::attempt::{Attempts, PoisonOptions};
use super::flusher::budget_total;
use super::handle::{Fold, FoldHandle, FoldOptions};
use super::law_tests::event;
use super::partition::{Partition, state_name};
use super::progress::Progress;
use super::worker::Worker;
use crate::door::{AesSealer, Sealer as _};

const PARTITIONS: u32 = 2;

/// A data folder and its log.
struct Hub {
    folder: tempfile::TempDir,
    log: Arc<LocalLog>,
}

impl Hub {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = LocalLogOptions {
            events_partitions: PARTITIONS,
            ..LocalLogOptions::default()
        };
        let log = Arc::new(LocalLog::open(&folder.path().join("log"), Arc::new(RealVfs), options).unwrap());
        Self { folder, log }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn state(&self) -> StateStore {
        StateStore::open(&self.path("state")).unwrap()
    }

    fn options() -> FoldOptions {
        // Nothing is flushed but on demand; epochs are small, so that there are many.
        FoldOptions {
            flush_interval: Duration::from_hours(1),
            epoch_interval: Duration::ZERO,
            epoch_records: 7,
            ..FoldOptions::default()
        }
    }

    async fn start(&self) -> FoldHandle {
        let tables = TableWriter::open(&self.path("tables"), STORED).await.unwrap();
        Fold::start(self.log.clone(), self.state(), tables, Self::options())
            .await
            .unwrap()
    }

    async fn append(&self, events: &[v1::Event]) {
        let mut parts: BTreeMap<u32, Records> = BTreeMap::new();
        for event in events {
            let name = if event.match_key.is_empty() {
                &event.record_id
            } else {
                &event.match_key
            };
            let partition = partition_of(name.as_bytes(), PARTITIONS);
            parts.entry(partition).or_default().push_message(name.as_bytes(), event);
        }
        for (partition, records) in parts {
            self.log.append(Topic::Events, partition, records).await.unwrap();
        }
    }

    async fn settle(&self, fold: &FoldHandle) {
        for topic in [Topic::Events, Topic::Rejections, Topic::Scores] {
            for partition in 0..self.log.partitions(topic) {
                fold.settled(topic, partition, self.log.range(topic, partition).1)
                    .await
                    .unwrap();
            }
        }
    }

    /// Folds everything, commits the tables, stops.
    async fn finish(&self) {
        let fold = self.start().await;
        self.settle(&fold).await;
        fold.flush().await.unwrap();
        fold.shutdown().await.unwrap();
    }

    fn rows(&self, table: &str) -> Vec<String> {
        table_rows(&self.path("tables"), table)
    }

    fn cells(&self) -> BTreeMap<String, [i64; 3]> {
        summed_cells(&self.path("tables"))
    }

    fn tables(&self) -> Tables {
        tables_of(&self.path("tables"))
    }

    /// `cells.v1`: epochs of each partition, each once, whatever was appended again.
    async fn appended_cells(&self) -> BTreeMap<(u32, u64, u64), v1::CellChanges> {
        let mut epochs = BTreeMap::new();
        let (mut offset, end) = self.log.range(Topic::Cells, 0);
        while offset < end {
            for batch in self.log.read(Topic::Cells, 0, offset, 1 << 20).await.unwrap() {
                offset = batch.next_offset();
                for value in batch.values {
                    let changes = v1::CellChanges::decode(value).unwrap();
                    let key = (changes.partition, changes.incarnation, changes.epoch);
                    if let Some(known) = epochs.insert(key, changes.clone()) {
                        assert_eq!(known, changes, "an epoch that comes again says the same");
                    }
                }
            }
        }
        epochs
    }
}

/// Events, case changes, counts per place.
pub(crate) type Tables = (Vec<String>, Vec<String>, BTreeMap<String, [i64; 3]>);

/// What all tables say, but for where epochs ended.
pub(crate) fn tables_of(root: &Path) -> Tables {
    (
        table_rows(root, "events"),
        table_rows(root, "case_changes"),
        summed_cells(root),
    )
}

/// Rows of a table as its Delta log names them, as text, sorted.
fn table_rows(root: &Path, table: &str) -> Vec<String> {
    let folder = root.join(table);
    let mut rows = Vec::new();
    for entry in std::fs::read_dir(folder.join("_delta_log")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let action: serde_json::Value = serde_json::from_str(line).unwrap();
            if let Some(name) = action["add"]["path"].as_str() {
                rows.extend(file_rows(&folder.join(name)));
            }
        }
    }
    rows.sort();
    rows
}

/// The sum of all changes of counts in the table: place to cases, open cases, severities.
fn summed_cells(root: &Path) -> BTreeMap<String, [i64; 3]> {
    let mut cells: BTreeMap<String, [i64; 3]> = BTreeMap::new();
    for row in table_rows(root, "cell_changes") {
        let fields: Vec<&str> = row.split('|').collect();
        let (place, numbers) = fields.split_at(7);
        let sum = cells.entry(place.join("|")).or_default();
        for (sum, number) in sum.iter_mut().zip(numbers) {
            *sum += number.parse::<i64>().unwrap();
        }
    }
    cells.retain(|_, sum| *sum != [0; 3]);
    cells
}

fn file_rows(path: &Path) -> Vec<String> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap())
        .unwrap()
        .build()
        .unwrap();
    reader.flat_map(|batch| batch_rows(&batch.unwrap())).collect()
}

fn batch_rows(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::new().with_null("NULL");
    let columns: Vec<_> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options).unwrap())
        .collect();
    (0..batch.num_rows())
        .map(|row| {
            columns
                .iter()
                .map(|column| column.value(row).to_string())
                .collect::<Vec<_>>()
                .join("|")
        })
        .collect()
}

/// Versions, withdrawals, corrections and repeats, mixed.
pub(crate) fn history() -> Vec<v1::Event> {
    let kinds = [
        EventKind::Upsert,
        EventKind::Upsert,
        EventKind::Cancel,
        EventKind::Upsert,
        EventKind::Withdraw,
    ];
    (0..120_u32)
        .map(|number| {
            let mixed = number.wrapping_mul(2_654_435_761) >> 7;
            event(
                (mixed % 23) as u8,
                i64::from(mixed / 23 % 5),
                (mixed / 115 % 6) as u8,
                kinds[mixed as usize % 5],
            )
        })
        .collect()
}

async fn undisturbed(events: &[v1::Event]) -> Hub {
    let hub = Hub::new();
    hub.append(events).await;
    hub.finish().await;
    hub
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_appended_is_settled_counted_and_in_the_tables() {
    let hub = Hub::new();
    let fold = hub.start().await;
    let first = event(1, 1, 3, EventKind::Upsert);
    let records = |event: &v1::Event| {
        let mut records = Records::new();
        records.push_message(b"k", event);
        records.push_message(b"k", event);
        records
    };
    let appended = hub.log.append(Topic::Events, 1, records(&first)).await.unwrap();
    let outcomes = fold
        .outcomes(1, appended.first_offset, appended.next_offset)
        .await
        .unwrap();
    assert_eq!(outcomes, [Outcome::Accepted, Outcome::Duplicate]);

    let rejection = v1::Rejection {
        feed: "police".to_owned(),
        code: "bad_time".to_owned(),
        ..v1::Rejection::default()
    };
    let mut refused = Records::new();
    refused.push_message(b"", &rejection);
    hub.log.append(Topic::Rejections, 0, refused).await.unwrap();
    let mut scores = Records::new();
    scores.push_message(b"", &v1::Score::default());
    hub.log.append(Topic::Scores, 0, scores).await.unwrap();
    hub.settle(&fold).await;

    let snapshot = fold.flush().await.unwrap();
    assert_eq!(
        snapshot.epochs["events-1"], 2,
        "an epoch is named by the offset behind it"
    );
    assert_eq!(hub.rows("events").len(), 1);
    assert_eq!(hub.rows("case_changes").len(), 0, "the event says all of its case");
    assert_eq!(hub.rows("rejections").len(), 1);
    assert_eq!(hub.rows("scores").len(), 1);
    let counts = &fold.counters()["police"];
    assert_eq!((counts.accepted, counts.duplicate, counts.rejected), (1, 1, 1));
    assert_eq!(
        fold.watermark_us(),
        Some(300_000_000),
        "an event far ahead of its arrival is clamped"
    );
    fold.shutdown().await.unwrap();
    assert!(
        hub.state()
            .partition("events-1")
            .unwrap()
            .prefix(Space::Outbox, b"")
            .unwrap()
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fold_that_starts_again_goes_on_where_it_was() {
    let events = history();
    let (early, late) = events.split_at(50);
    let hub = Hub::new();
    hub.append(early).await;
    hub.finish().await;
    hub.append(late).await;
    hub.append(early).await;
    hub.finish().await;
    let expected = {
        let hub = undisturbed(&events).await;
        hub.cells()
    };
    assert_eq!(hub.cells(), expected, "repeats change no count");
    let fold = hub.start().await;
    let counts = fold.counters()["police"].clone();
    let outcomes = counts.accepted + counts.unchanged + counts.duplicate + counts.stale;
    assert_eq!(outcomes, (events.len() + early.len()) as u64);
    fold.shutdown().await.unwrap();
}

/// Folds everything into the state and crashes before any effect.
fn commit_only(hub: &Hub, records_max: usize) {
    let state = hub.state();
    for number in 0..PARTITIONS {
        let state = state.partition(&state_name(Topic::Events, number)).unwrap();
        let mut partition = Partition::open(hub.log.as_ref(), state, Topic::Events, number).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let offset = partition.offset();
        let batches = runtime
            .block_on(hub.log.read(Topic::Events, number, offset, 1 << 20))
            .unwrap();
        let values: Vec<_> = batches
            .into_iter()
            .flat_map(|batch| batch.values)
            .take(records_max)
            .collect();
        for epoch in values.chunks(5) {
            partition.fold(epoch).unwrap();
        }
    }
}

/// Where epochs of at most 5 records ended, as [`commit_only`] cut them, then of at most 7.
fn ends_of_epochs(end: u64) -> BTreeSet<u64> {
    let mut ends = BTreeSet::new();
    let mut offset = 0;
    for records_max in [11, 0, 24] {
        let until = end.min(offset + records_max);
        while offset < until {
            offset = until.min(offset + 5);
            ends.insert(offset);
        }
    }
    while offset < end {
        offset = end.min(offset + 7);
        ends.insert(offset);
    }
    ends
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_the_commit_and_its_effects_changes_nothing() {
    let events = history();
    let calm = undisturbed(&events).await;
    let hub = Arc::new(Hub::new());
    hub.append(&events).await;
    for records_max in [11, 0, 24] {
        let crashing = hub.clone();
        std::thread::spawn(move || commit_only(&crashing, records_max))
            .join()
            .unwrap();
    }
    hub.finish().await;
    assert_eq!(hub.tables(), calm.tables());
    let changes = |epochs: BTreeMap<_, v1::CellChanges>| {
        let mut sums: BTreeMap<_, i64> = BTreeMap::new();
        for change in epochs.into_values().flat_map(|epoch| epoch.changes) {
            *sums.entry((change.cell, change.hour_us, change.category)).or_default() += change.count;
        }
        sums.retain(|_, count| *count != 0);
        sums
    };
    let epochs = hub.appended_cells().await;
    for partition in 0..PARTITIONS {
        let numbers: BTreeSet<u64> = epochs
            .keys()
            .filter(|key| key.0 == partition)
            .map(|key| key.2)
            .collect();
        let end = hub.log.range(Topic::Events, partition).1;
        assert_eq!(numbers, ends_of_epochs(end), "no epoch is missing");
    }
    assert_eq!(changes(epochs), changes(calm.appended_cells().await));
}

/// Cases that end and come again long after, on a feed that forgets after a day.
fn forgetful_history() -> Vec<v1::Event> {
    let day_us = 86_400_000_000_i64;
    (0..90_u32)
        .map(|number| {
            let mixed = number.wrapping_mul(2_654_435_761) >> 7;
            let fresh = event((number % 30) as u8, i64::from(number / 30), 0, EventKind::Upsert);
            let old = event((mixed % 30) as u8, i64::from(mixed / 30 % 2), 0, EventKind::Upsert);
            let (event, day) = if number % 3 == 0 {
                (old, number / 2)
            } else {
                (fresh, number)
            };
            v1::Event {
                occurred_at_us: i64::from(day) * day_us,
                received_at_us: 100 * day_us,
                content_hash_low: u64::from(number % 4),
                dedupe_days: 1,
                ..event
            }
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_while_keys_are_forgotten_changes_nothing() {
    let events = forgetful_history();
    let calm = undisturbed(&events).await;
    let hub = Arc::new(Hub::new());
    hub.append(&events).await;
    for records_max in [11, 0, 24] {
        let crashing = hub.clone();
        std::thread::spawn(move || commit_only(&crashing, records_max))
            .join()
            .unwrap();
    }
    hub.finish().await;
    assert_eq!(hub.tables(), calm.tables());
    let fold = hub.start().await;
    let counts = fold.counters()["police"].clone();
    assert!(counts.stale > 5 && counts.accepted > 30, "{counts:?}");
    fold.shutdown().await.unwrap();
    // Days later nothing is left of them.
    let new: Vec<v1::Event> = (40..48)
        .map(|record| v1::Event {
            occurred_at_us: 99 * 86_400_000_000,
            received_at_us: 100 * 86_400_000_000,
            dedupe_days: 1,
            ..event(record, 0, 0, EventKind::Upsert)
        })
        .collect();
    hub.append(&new).await;
    hub.finish().await;
    let mut keys = 0;
    for number in 0..PARTITIONS {
        let state = hub.state().partition(&state_name(Topic::Events, number)).unwrap();
        state.for_each_key(Space::Records, |_| keys += 1).unwrap();
    }
    assert_eq!(keys, new.len());
}

/// Runs a worker whose rows never reach the tables.
async fn lose_rows(hub: &Hub) {
    let state = hub.state();
    for number in 0..PARTITIONS {
        let state = state.partition(&state_name(Topic::Events, number)).unwrap();
        let partition = Partition::open(hub.log.as_ref(), state, Topic::Events, number).unwrap();
        let progress = Arc::new(Progress::new(&partition, 10).unwrap());
        let (flusher, mut lost) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let options = Hub::options();
        let worker = Worker {
            log: hub.log.clone(),
            flusher,
            budget: Arc::new(Semaphore::new(budget_total(options.unflushed_bytes_max))),
            progress: progress.clone(),
            newest: NewestRows::default(),
            options,
            stop: stop.clone(),
        };
        let running = tokio::spawn(worker.run(partition));
        let losing = tokio::spawn(async move { while lost.recv().await.is_some() {} });
        progress.reached(hub.log.range(Topic::Events, number).1).await.unwrap();
        stop.cancel();
        running.await.unwrap().unwrap();
        losing.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_before_the_tables_have_the_rows_changes_nothing() {
    let events = history();
    let calm = undisturbed(&events).await;
    let hub = Hub::new();
    hub.append(&events[..70]).await;
    lose_rows(&hub).await;
    hub.append(&events[70..]).await;
    hub.finish().await;
    assert_eq!(hub.cells(), calm.cells());
    let log_order = |hub: &Hub| hub.rows("events").len() + hub.rows("case_changes").len();
    assert_eq!(log_order(&hub), log_order(&calm));
    assert_eq!(hub.rows("case_changes"), calm.rows("case_changes"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_in_the_outbox_is_settled_only_when_the_tables_get_it() {
    let events = history();
    let calm = undisturbed(&events).await;
    let hub = Hub::new();
    hub.append(&events).await;
    lose_rows(&hub).await;
    let fold = hub.start().await;
    hub.settle(&fold).await;
    fold.flush().await.unwrap();
    assert_eq!(hub.rows("case_changes"), calm.rows("case_changes"));
    fold.shutdown().await.unwrap();
}

/// Leaves a hub whose tables have everything, and whose outbox still holds all of it.
async fn finish_without_a_trim(hub: &Hub) {
    lose_rows(hub).await;
    let outbox: Vec<_> = (0..PARTITIONS)
        .map(|number| {
            let state = hub.state().partition(&state_name(Topic::Events, number)).unwrap();
            state.prefix(Space::Outbox, b"").unwrap()
        })
        .collect();
    assert!(outbox.iter().all(|epochs| !epochs.is_empty()));
    hub.finish().await;
    let store = hub.state();
    for (number, epochs) in (0..PARTITIONS).zip(outbox) {
        let mut batch = StateBatch::new();
        for (key, blob) in epochs {
            batch.put(Space::Outbox, key, blob);
        }
        store
            .partition(&state_name(Topic::Events, number))
            .unwrap()
            .commit(batch)
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_the_tables_and_the_trim_of_the_outbox_changes_nothing() {
    let hub = Hub::new();
    hub.append(&history()).await;
    finish_without_a_trim(&hub).await;
    let tables = hub.tables();
    hub.finish().await;
    assert_eq!(hub.tables(), tables);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_tables_had_before_a_crash_is_not_told_beside_them() {
    let hub = Hub::new();
    let events = history();
    hub.append(&events[..70]).await;
    finish_without_a_trim(&hub).await;
    let root = hub.path("tables");
    let stored = Snapshot::read(&root).unwrap().unwrap();
    // As if the crash had come before the commit's snapshot.
    let before = Snapshot {
        format: stored.format,
        tables: stored.tables.keys().map(|table| (table.clone(), 0)).collect(),
        ..Snapshot::default()
    };
    before.write(&root).unwrap();
    let fold = hub.start().await;
    hub.append(&events[70..]).await;
    hub.settle(&fold).await;
    let (told, _) = fold.newest().since(&BTreeMap::new(), usize::MAX);
    assert!(!told.is_empty(), "what came since waits");
    for rows in &told {
        let stored = stored.epochs[&rows.mark.partition];
        assert!(rows.after >= stored, "{:?} is in the tables", rows.mark);
    }
    fold.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_no_event_ends_the_fold_with_its_place() {
    let hub = Hub::new();
    let fold = hub.start().await;
    let mut records = Records::new();
    records.push(b"", |value| value.extend_from_slice(&[0xff; 9]));
    hub.log.append(Topic::Events, 0, records).await.unwrap();
    let error = fold.settled(Topic::Events, 0, 1).await.unwrap_err();
    assert!(error.to_string().contains("events.v1 partition 0 offset 0"), "{error}");
    assert!(fold.flush().await.is_err());
    assert!(fold.shutdown().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_of_another_log_is_refused() {
    let hub = Hub::new();
    hub.append(&history()).await;
    hub.finish().await;
    let other = Hub::new();
    let state = hub.state().partition("events-0").unwrap();
    let error = Partition::open(other.log.as_ref(), state, Topic::Events, 0).unwrap_err();
    assert!(error.to_string().contains("another log"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_three_processes_died_of_is_rejected_and_the_others_flow() {
    let hub = Hub::new();
    let events = [
        event(1, 1, 2, EventKind::Upsert),
        event(2, 1, 2, EventKind::Upsert),
        event(3, 1, 2, EventKind::Upsert),
    ];
    let mut records = Records::new();
    for event in &events {
        records.push_message(b"k", event);
    }
    hub.log.append(Topic::Events, 0, records).await.unwrap();
    // What processes leave that died at the second record.
    let folder = hub.path("attempts");
    for _ in 0..3 {
        let mut attempts = Attempts::open(&folder, "events-0").unwrap();
        if attempts.begin(0, 3).unwrap() {
            attempts.note(0).unwrap();
            attempts.note(1).unwrap();
        }
    }
    let sealer = Arc::new(AesSealer::new(&[7; 32]));
    let options = FoldOptions {
        poison: Some(PoisonOptions {
            folder,
            sealer: sealer.clone(),
        }),
        ..Hub::options()
    };
    let tables = TableWriter::open(&hub.path("tables"), STORED).await.unwrap();
    let fold = Fold::start(hub.log.clone(), hub.state(), tables, options)
        .await
        .unwrap();
    let outcomes = fold.outcomes(0, 0, 3).await.unwrap();
    assert_eq!(outcomes, [Outcome::Accepted, Outcome::Rejected, Outcome::Accepted]);
    fold.settled(Topic::Rejections, 0, 1).await.unwrap();
    fold.flush().await.unwrap();
    fold.shutdown().await.unwrap();
    assert_eq!(hub.rows("events").len(), 2);
    let rejection = hub.log.read(Topic::Rejections, 0, 0, 1).await.unwrap()[0].values[0].clone();
    let rejection = v1::Rejection::decode(rejection).unwrap();
    assert_eq!(
        (rejection.code.as_str(), rejection.feed.as_str()),
        ("poison_crash", "police")
    );
    let original = sealer.open(&rejection.sealed).unwrap();
    assert_eq!(v1::Event::decode(original.as_slice()).unwrap(), events[1]);
}
