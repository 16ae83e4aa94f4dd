//! An engine that begins at its checkpoint is the engine that read everything.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::sync::Arc;

use jiff::tz::TimeZone;
use shiyu_log::local::{LocalLog, LocalLogOptions};
use shiyu_log::vfs::RealVfs;
use shiyu_log::{EventLog as _, Records, Topic};
use shiyu_schemas::v1;

use super::board::Changes;
use super::engine::{EngineOptions, RiskEngine};
use super::live::tests::{CELL, change, epoch};
use super::model::CompiledModel;
use super::model::tests::model;

async fn append(log: &LocalLog, changes: &v1::CellChanges) {
    let mut records = Records::new();
    records.push_message(b"0", changes);
    log.append(Topic::Cells, 0, records).await.unwrap();
}

async fn open(log: &Arc<LocalLog>, checkpoint: Option<&Path>) -> RiskEngine {
    let options = EngineOptions {
        zone: TimeZone::UTC,
        models: vec![CompiledModel::compile(&model()).unwrap()],
        now_us: Box::new(|| 0),
        checkpoint: checkpoint.map(Path::to_owned),
    };
    RiskEngine::open(log.clone(), options).await.unwrap()
}

fn says(engine: &RiskEngine) -> (Vec<Arc<v1::Score>>, u64, i64) {
    let board = engine.board();
    let (scores, next) = board.snapshot("test");
    (scores, next, board.watermark_us())
}

#[tokio::test]
async fn a_start_from_a_checkpoint_says_what_a_start_from_the_log_says() {
    let folder = tempfile::tempdir().unwrap();
    let log = LocalLog::open(
        &folder.path().join("log"),
        Arc::new(RealVfs),
        LocalLogOptions::default(),
    );
    let (log, checkpoint) = (Arc::new(log.unwrap()), folder.path().join("engine/checkpoint"));
    append(
        &log,
        &epoch(1, vec![change(CELL, 100, 5), change(CELL + 0x4_0000, 99, 3)]),
    )
    .await;
    let mut engine = open(&log, Some(&checkpoint)).await;
    assert!(!checkpoint.exists(), "a few changes are read again in no time");
    engine.save(1).await;
    let told = says(&engine);
    assert!(told.1 > 0);
    drop(engine);

    // Counts that were taken in may go from the log: they are not read again.
    let again = open(&log, Some(&checkpoint)).await;
    assert_eq!(again.changes_since_checkpoint(), 0);
    assert_eq!(says(&again), told);
    assert!(matches!(again.board().changes(0, 10, usize::MAX), Changes::Found(..)));
    drop(again);

    append(&log, &epoch(2, vec![change(CELL, 101, 4)])).await;
    append(&log, &epoch(1, vec![change(CELL, 101, 9)])).await;
    let from_checkpoint = open(&log, Some(&checkpoint)).await;
    assert_eq!(
        from_checkpoint.changes_since_checkpoint(),
        2,
        "those of the repeated epoch are read, not counted"
    );
    let told = says(&from_checkpoint);
    drop(from_checkpoint);
    let from_log = open(&log, None).await;
    assert_eq!(says(&from_log), told);
}

#[tokio::test]
async fn a_checkpoint_of_another_log_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path().join("checkpoint");
    for (name, hours) in [("a", 1), ("b", 2)] {
        let log = LocalLog::open(&folder.path().join(name), Arc::new(RealVfs), LocalLogOptions::default());
        let log = Arc::new(log.unwrap());
        append(&log, &epoch(1, vec![change(CELL, hours, 5)])).await;
        let mut engine = open(&log, Some(&checkpoint)).await;
        assert_eq!(engine.changes_since_checkpoint(), 1);
        engine.save(1).await;
    }
}
