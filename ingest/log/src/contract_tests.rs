//! The contract of [`EventLog`], the same tests over every log there is.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use crate::event_log::{EventLog, Records, Topic};
use crate::local::{LocalLog, LocalLogOptions};
use crate::vfs::RealVfs;
use crate::{Appended, LogError};

/// Numbered records.
pub(crate) fn records(from: u32, count: u32) -> Records {
    let mut records = Records::new();
    for number in from..from + count {
        records.push(&number.to_be_bytes(), |buffer| {
            buffer.extend_from_slice(format!("value {number}").as_bytes());
        });
    }
    records
}

pub(crate) fn values(from: u32, count: u32) -> Vec<String> {
    (from..from + count).map(|number| format!("value {number}")).collect()
}

/// Everything from `offset` on, read in small steps.
pub(crate) async fn read_from(log: &dyn EventLog, topic: Topic, partition: u32, mut offset: u64) -> Vec<String> {
    let (_, end) = log.ask_range(topic, partition).await.unwrap();
    let mut found = Vec::new();
    while offset < end {
        for batch in log.read(topic, partition, offset, 300).await.unwrap() {
            assert_eq!(batch.first_offset, offset, "nothing is left out");
            assert!(!batch.values.is_empty());
            offset = batch.next_offset();
            found.extend(
                batch
                    .values
                    .iter()
                    .map(|value| String::from_utf8(value.to_vec()).unwrap()),
            );
        }
    }
    found
}

/// All of the contract, on a log whose partitions of events 0 to 3 are empty.
pub(crate) async fn keeps_the_contract(log: &Arc<dyn EventLog>) {
    appended_records_are_read_in_order(log).await;
    appends_at_once_each_keep_their_order(log).await;
    a_reader_waits_for_what_is_not_there_yet(log).await;
    what_is_not_there_is_refused(log).await;
    a_closed_log_refuses_appends_and_ends_waits(log).await;
}

async fn appended_records_are_read_in_order(log: &Arc<dyn EventLog>) {
    let nothing = log.append(Topic::Events, 0, Records::new()).await.unwrap();
    assert_eq!(nothing, Appended::contiguous(0, 0));
    for part in 0..20_u32 {
        let appended = log.append(Topic::Events, 0, records(part * 25, 25)).await.unwrap();
        assert_eq!(
            appended,
            Appended::contiguous(u64::from(part) * 25, u64::from(part) * 25 + 25)
        );
    }
    assert_eq!(log.range(Topic::Events, 0), (0, 500));
    assert_eq!(read_from(log.as_ref(), Topic::Events, 0, 0).await, values(0, 500));
    assert_eq!(read_from(log.as_ref(), Topic::Events, 0, 487).await, values(487, 13));
    assert_eq!(
        read_from(log.as_ref(), Topic::Events, 0, 3).await.len(),
        497,
        "back again"
    );
    assert!(log.read(Topic::Events, 0, 500, 100).await.unwrap().is_empty());
    assert!(
        log.read(Topic::Events, 1, 0, 100).await.unwrap().is_empty(),
        "partitions are apart"
    );
}

async fn appends_at_once_each_keep_their_order(log: &Arc<dyn EventLog>) {
    let tasks: Vec<_> = (0..30)
        .map(|task| {
            let log = log.clone();
            tokio::spawn(async move {
                (
                    task,
                    log.append(Topic::Events, 1, records(task * 100, 10)).await.unwrap(),
                )
            })
        })
        .collect();
    let mut appends = Vec::new();
    for task in tasks {
        appends.push(task.await.unwrap());
    }
    let found = read_from(log.as_ref(), Topic::Events, 1, 0).await;
    assert_eq!(found.len(), 300);
    for (task, appended) in appends {
        let own: Vec<&String> = appended
            .extents()
            .flat_map(|(first, next)| &found[first as usize..next as usize])
            .collect();
        let wanted = values(task * 100, 10);
        assert_eq!(
            own,
            wanted.iter().collect::<Vec<_>>(),
            "what was answered is where it was said to be"
        );
    }
}

async fn a_reader_waits_for_what_is_not_there_yet(log: &Arc<dyn EventLog>) {
    let waiting = tokio::spawn({
        let log = log.clone();
        async move { log.wait_for(Topic::Events, 2, 3).await }
    });
    log.append(Topic::Events, 2, records(0, 3)).await.unwrap();
    assert!(!waiting.is_finished());
    log.append(Topic::Events, 2, records(3, 1)).await.unwrap();
    waiting.await.unwrap().unwrap();
    log.wait_for(Topic::Events, 2, 0).await.unwrap();
    assert_eq!(read_from(log.as_ref(), Topic::Events, 2, 3).await, values(3, 1));
}

async fn what_is_not_there_is_refused(log: &Arc<dyn EventLog>) {
    let error = log.read(Topic::Events, 2, 99, 1).await.unwrap_err();
    assert!(matches!(error, LogError::OffsetOutOfRange { end: 4, .. }), "{error}");
    assert!(
        log.append(Topic::Events, 99, records(0, 1)).await.is_err(),
        "no such partition"
    );
    let mut large = Records::new();
    for _ in 0..10 {
        large.push(b"", |value| value.resize(value.len() + (8 << 20), 7));
    }
    let error = log.append(Topic::Events, 2, large).await.unwrap_err();
    assert!(matches!(error, LogError::TooLarge { .. }), "{error}");
    assert_eq!(log.ask_range(Topic::Events, 2).await.unwrap(), (0, 4));
}

async fn a_closed_log_refuses_appends_and_ends_waits(log: &Arc<dyn EventLog>) {
    let waiting = tokio::spawn({
        let log = log.clone();
        async move { log.wait_for(Topic::Events, 3, 0).await }
    });
    log.close();
    assert!(matches!(waiting.await.unwrap(), Err(LogError::Closed)));
    let refused = log.append(Topic::Events, 3, records(0, 1)).await;
    assert!(matches!(refused, Err(LogError::Closed)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_log_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let options = LocalLogOptions {
        events_partitions: 4,
        segment_bytes: 2_000,
        ..LocalLogOptions::default()
    };
    let log: Arc<dyn EventLog> = Arc::new(LocalLog::open(folder.path(), Arc::new(RealVfs), options).unwrap());
    keeps_the_contract(&log).await;
}
