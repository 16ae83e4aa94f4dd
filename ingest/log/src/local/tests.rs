#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::vfs::RealVfs;

fn open(folder: &Path) -> Result<LocalLog, LogError> {
    let options = LocalLogOptions {
        segment_bytes: 2_000,
        ..LocalLogOptions::default()
    };
    LocalLog::open(folder, Arc::new(RealVfs), options)
}

fn records(from: u32, count: u32) -> Records {
    let mut records = Records::new();
    for number in from..from + count {
        records.push(&number.to_be_bytes(), |buffer| {
            buffer.extend_from_slice(format!("value {number}").as_bytes());
        });
    }
    records
}

async fn read_all(log: &LocalLog) -> Vec<String> {
    let (mut offset, end) = log.range(Topic::Events, 0);
    let mut values = Vec::new();
    while offset < end {
        for batch in log.read(Topic::Events, 0, offset, 100).await.unwrap() {
            assert_eq!(batch.first_offset, offset);
            offset = batch.next_offset();
            values.extend(
                batch
                    .values
                    .iter()
                    .map(|value| String::from_utf8(value.to_vec()).unwrap()),
            );
        }
    }
    values
}

fn last_segment(folder: &Path) -> PathBuf {
    RealVfs.list(&folder.join("events.v1/0")).unwrap().pop().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_appended_is_read_in_order_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path()).unwrap();
    let incarnation = log.incarnation();
    for part in 0..40 {
        let appended = log.append(Topic::Events, 0, records(part * 25, 25)).await.unwrap();
        assert_eq!(appended.first_offset, u64::from(part) * 25);
    }
    log.close();
    assert!(matches!(
        log.append(Topic::Events, 0, records(0, 1)).await,
        Err(LogError::Closed)
    ));
    drop(log);
    let log = open(folder.path()).unwrap();
    assert_eq!(log.incarnation(), incarnation);
    let expected: Vec<String> = (0..1000).map(|number| format!("value {number}")).collect();
    assert_eq!(read_all(&log).await, expected);
    assert!(
        RealVfs.list(&folder.path().join("events.v1/0")).unwrap().len() > 1,
        "segments roll"
    );
    let middle = log.read(Topic::Events, 0, 13, 1).await.unwrap();
    assert_eq!(middle[0].first_offset, 13);
    assert_eq!(middle[0].values[0], "value 13");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_appends_at_once_stay_whole() {
    let folder = tempfile::tempdir().unwrap();
    let log = Arc::new(open(folder.path()).unwrap());
    let tasks: Vec<_> = (0..50)
        .map(|task| {
            let log = log.clone();
            tokio::spawn(async move { log.append(Topic::Events, 0, records(task * 100, 10)).await.unwrap() })
        })
        .collect();
    for task in tasks {
        let appended = task.await.unwrap();
        assert_eq!(appended.next_offset - appended.first_offset, 10);
    }
    let values = read_all(&log).await;
    assert_eq!(values.len(), 500);
    for frame in values.chunks(10) {
        let first: u32 = frame[0].trim_start_matches("value ").parse().unwrap();
        let expected: Vec<String> = (first..first + 10).map(|number| format!("value {number}")).collect();
        assert_eq!(frame, expected, "records of one append stay together");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_tail_is_cut_and_writing_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path()).unwrap();
    log.append(Topic::Events, 0, records(0, 5)).await.unwrap();
    log.append(Topic::Events, 0, records(5, 5)).await.unwrap();
    drop(log);
    let path = last_segment(folder.path());
    let bytes = std::fs::read(&path).unwrap();
    for cut in 1..40 {
        std::fs::write(&path, &bytes[..bytes.len() - cut]).unwrap();
        let log = open(folder.path()).unwrap();
        assert_eq!(read_all(&log).await.len(), 5);
        log.append(Topic::Events, 0, records(5, 1)).await.unwrap();
        assert_eq!(read_all(&log).await.len(), 6);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_before_whole_frames_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path()).unwrap();
    for part in 0..3 {
        log.append(Topic::Events, 0, records(part * 5, 5)).await.unwrap();
    }
    drop(log);
    let path = last_segment(folder.path());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[frame::HEADER_BYTES + 3] ^= 0x40;
    std::fs::write(&path, &bytes).unwrap();
    let error = open(folder.path()).unwrap_err();
    assert!(matches!(error, LogError::Corrupt { position: 0, .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_waits_for_what_is_not_there_yet() {
    let folder = tempfile::tempdir().unwrap();
    let log = Arc::new(open(folder.path()).unwrap());
    let waiting = tokio::spawn({
        let log = log.clone();
        async move { log.wait_for(Topic::Events, 0, 3).await }
    });
    log.append(Topic::Events, 0, records(0, 3)).await.unwrap();
    assert!(!waiting.is_finished());
    log.append(Topic::Events, 0, records(3, 1)).await.unwrap();
    waiting.await.unwrap().unwrap();
    let error = log.read(Topic::Events, 0, 99, 1).await.unwrap_err();
    assert!(matches!(error, LogError::OffsetOutOfRange { end: 4, .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_segments_are_trimmed_and_the_rest_stays() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path()).unwrap();
    for part in 0..40 {
        log.append(Topic::Events, 0, records(part * 25, 25)).await.unwrap();
    }
    let start = log.trim(Topic::Events, 0, 600).await.unwrap();
    assert!(start > 0 && start <= 600, "{start}");
    let error = log.read(Topic::Events, 0, start - 1, 1).await.unwrap_err();
    assert!(matches!(error, LogError::OffsetOutOfRange { .. }), "{error}");
    drop(log);
    let log = open(folder.path()).unwrap();
    assert_eq!(log.range(Topic::Events, 0), (start, 1000));
    assert_eq!(read_all(&log).await[0], format!("value {start}"));
    let everything = log.trim(Topic::Events, 0, 1000).await.unwrap();
    assert!(everything < 1000, "the last segment stays, and with it the next offset");
    drop(log);
    let first = RealVfs.list(&folder.path().join("events.v1/0")).unwrap().remove(0);
    std::fs::remove_file(first).unwrap();
    let error = open(folder.path()).unwrap_err();
    assert!(matches!(error, LogError::Corrupt { .. }), "{error}");
}
