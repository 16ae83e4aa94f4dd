//! Partitions that move between owners, over one log and one folder of tables; owners that were stopped and do not know it.
#![allow(clippy::unwrap_used, reason = "tests")]

use shiyu_log::Records;
use shiyu_log::local::{LocalLog, LocalLogOptions};
use shiyu_log::table::TableWriter;
use shiyu_log::vfs::RealVfs;
use shiyu_schemas::table::STORED;

use super::snapshots::{SNAPSHOTS_KEPT, snapshots_in};
use super::*;
use crate::fold::run_tests::{Tables, history, tables_of};
use crate::fold::snapshot::read_header;
use crate::fold::{Fold, FoldOptions};

/// What processes share.
struct City {
    folder: tempfile::TempDir,
    log: Arc<LocalLog>,
}

impl City {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = LocalLogOptions {
            events_partitions: 1,
            ..LocalLogOptions::default()
        };
        let log = Arc::new(LocalLog::open(&folder.path().join("log"), Arc::new(RealVfs), options).unwrap());
        Self { folder, log }
    }

    /// A process; epochs are of `epoch_records`, so that those of two owners never end at the same places by chance alone.
    async fn process(&self, name: &str, epoch_records: usize) -> Keeper {
        let options = FoldOptions {
            flush_interval: Duration::from_hours(1),
            epoch_interval: Duration::ZERO,
            epoch_records,
            ..FoldOptions::default()
        };
        let tables = TableWriter::open_shared(&self.folder.path().join("tables"), STORED)
            .await
            .unwrap();
        Keeper {
            log: self.log.clone(),
            fold: Arc::new(Fold::idle(self.log.clone(), tables, options)),
            state: StateStore::open(&self.folder.path().join(name)).unwrap(),
            snapshots: self.folder.path().join("snapshots"),
            shared: true,
            generations: Arc::default(),
            watched: Arc::new(watch::Sender::new(0)),
        }
    }

    /// A process that looks for takeovers by others.
    async fn watching_process(&self, name: &str, epoch_records: usize) -> Keeper {
        let process = self.process(name, epoch_records).await;
        tokio::spawn(process.clone().watch_takeovers());
        process
    }

    async fn append(&self, events: &[v1::Event]) {
        let mut records = Records::new();
        for event in events {
            records.push_message(event.record_id.as_bytes(), event);
        }
        self.log.append(Topic::Events, 0, records).await.unwrap();
    }

    async fn settle(&self, process: &Keeper) {
        let (_, end) = self.log.range(Topic::Events, 0);
        process.fold.settled(Topic::Events, 0, end).await.unwrap();
    }

    fn tables(&self) -> Tables {
        tables_of(&self.folder.path().join("tables"))
    }

    /// The sum of the changes of counts that count, by the rule of whoever reads `cells.v1`.
    async fn counted(&self) -> BTreeMap<(i64, i64, String), i64> {
        let (mut owner, mut newest) = (0, 0);
        let mut sums = BTreeMap::new();
        let (mut offset, end) = self.log.range(Topic::Cells, 0);
        while offset < end {
            for batch in self.log.read(Topic::Cells, 0, offset, 1 << 20).await.unwrap() {
                for (at, value) in (batch.first_offset..).zip(&batch.values) {
                    let changes = decoded(at, value).unwrap();
                    if !changes.takeover.is_empty() {
                        owner = at + 1;
                    } else if changes.generation >= owner && changes.epoch > newest {
                        newest = changes.epoch;
                        for change in changes.changes {
                            *sums.entry((change.cell, change.hour_us, change.category)).or_default() += change.count;
                        }
                    }
                }
                offset = batch.next_offset();
            }
        }
        sums.retain(|_, count| *count != 0);
        sums
    }
}

/// One owner, undisturbed.
async fn calm(events: &[v1::Event]) -> (Tables, BTreeMap<(i64, i64, String), i64>) {
    let city = City::new();
    let process = city.watching_process("a", 7).await;
    process.acquire(&[(Topic::Events, 0)]).await.unwrap();
    city.append(events).await;
    city.settle(&process).await;
    process.release(Topic::Events, 0).await.unwrap();
    (city.tables(), city.counted().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_moves_with_its_snapshot_and_back() {
    let events = history();
    let city = City::new();
    let (one, two) = (city.watching_process("a", 7).await, city.watching_process("b", 5).await);
    for (turn, part) in events.chunks(31).enumerate() {
        let owner = if turn % 2 == 0 { &one } else { &two };
        owner.acquire(&[(Topic::Events, 0)]).await.unwrap();
        city.append(part).await;
        city.settle(owner).await;
        owner.release(Topic::Events, 0).await.unwrap();
    }
    assert_eq!((city.tables(), city.counted().await), calm(&events).await);
    let snapshots = snapshots_in(&city.folder.path().join("snapshots/events-0"));
    assert_eq!(snapshots.len(), SNAPSHOTS_KEPT);
    assert_eq!(read_header(&snapshots[0]).unwrap().offset, events.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_does_not_know_it_was_replaced_changes_nothing() {
    let events = history();
    let city = City::new();
    let (one, two) = (city.process("a", 7).await, city.process("b", 5).await);
    one.acquire(&[(Topic::Events, 0)]).await.unwrap();
    city.append(&events[..40]).await;
    city.settle(&one).await;
    one.fold.flush().await.unwrap();
    city.append(&events[40..60]).await;
    // These are committed and counted, and not in the tables, when the other takes over.
    city.settle(&one).await;
    two.acquire(&[(Topic::Events, 0)]).await.unwrap();
    city.append(&events[60..]).await;
    city.settle(&one).await;
    one.fold.flush().await.unwrap();
    city.settle(&two).await;
    two.fold.flush().await.unwrap();
    one.fold.flush().await.unwrap();
    assert_eq!((city.tables(), city.counted().await), calm(&events).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_owner_takes_back_what_it_has_only_if_it_fits() {
    let events = history();
    let city = City::new();
    let (one, two) = (city.process("a", 7).await, city.process("b", 5).await);
    one.acquire(&[(Topic::Events, 0)]).await.unwrap();
    city.append(&events[..60]).await;
    city.settle(&one).await;
    two.acquire(&[(Topic::Events, 0)]).await.unwrap();
    city.settle(&two).await;
    two.fold.flush().await.unwrap();
    city.append(&events[60..]).await;
    city.settle(&one).await;
    // Its state is ahead, with epochs in its outbox that end where the other's do not.
    one.fold.stop_partition(Topic::Events, 0).await.unwrap();
    one.acquire(&[(Topic::Events, 0)]).await.unwrap();
    city.settle(&one).await;
    one.fold.flush().await.unwrap();
    assert_eq!((city.tables(), city.counted().await), calm(&events).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_by_others_is_noticed() {
    let city = City::new();
    let (one, two) = (city.process("a", 7).await, city.process("b", 5).await);
    one.acquire(&[(Topic::Events, 0)]).await.unwrap();
    let watching = tokio::spawn(one.clone().watch_takeovers());
    let waiting = tokio::spawn({
        let fold = one.fold.clone();
        async move { fold.settled(Topic::Events, 0, 99).await }
    });
    two.acquire(&[(Topic::Events, 0)]).await.unwrap();
    let error = waiting.await.unwrap().unwrap_err();
    assert!(
        matches!(error, FoldError::UnknownPartition { partition: 0, .. }),
        "{error}"
    );
    assert!(one.fold.partitions().is_empty());
    city.log.close();
    watching.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_is_passed_over() {
    let events = history();
    let city = City::new();
    let (one, two) = (city.watching_process("a", 7).await, city.watching_process("b", 5).await);
    one.acquire(&[(Topic::Events, 0)]).await.unwrap();
    city.append(&events).await;
    city.settle(&one).await;
    one.release(Topic::Events, 0).await.unwrap();
    let newest = snapshots_in(&city.folder.path().join("snapshots/events-0")).remove(0);
    let mut bytes = std::fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&newest, bytes).unwrap();
    two.acquire(&[(Topic::Events, 0)]).await.unwrap();
    city.settle(&two).await;
    two.fold.flush().await.unwrap();
    assert_eq!((city.tables(), city.counted().await), calm(&events).await);
}
