//! The tables through the service, as analysts meet them.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::util::pretty::pretty_format_batches;
use async_trait::async_trait;
use datafusion::common::ScalarValue;
use shiyu_log::table::newest::{Answer, ToldEpoch};
use shiyu_log::table::{EpochMark, EpochRows, NewestRows};
use shiyu_schemas::table::{CASE_CHANGES, CELL_CHANGES, EVENTS, TableShape};

use super::fixture::{Row, add, batch, row};
use super::{Catalog, NewestSource, TABLES};
use crate::error::QueryError;
use crate::serve::{Access, SqlService};

async fn service(folder: &Path) -> SqlService {
    let catalog = Catalog::open(folder, None).await.unwrap();
    SqlService::new(Arc::new(catalog), Access::Loopback, 64 << 20).unwrap()
}

async fn answer(service: &SqlService, sql: &str) -> String {
    let rows = service.query(sql, None).await.unwrap().collect().await.unwrap();
    let text = pretty_format_batches(&rows).unwrap().to_string();
    let cells = text.lines().filter(|line| line.starts_with('|')).skip(1);
    let rows: Vec<String> = cells
        .map(|line| {
            line.split_whitespace()
                .filter(|word| *word != "|")
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    rows.join(", ")
}

async fn refusal(service: &SqlService, sql: &str) -> QueryError {
    match service.query(sql, None).await {
        Err(error) => error,
        Ok(rows) => rows.collect().await.unwrap_err(),
    }
}

async fn fill(folder: &Path) {
    let events = [
        "r1 local_month=2024-04-01 cell=622236750694711295",
        "r2 local_month=2024-05-01",
        "r3 local_month=2024-05-01",
        "r4 local_month=2024-05-01 sequence=4 state=filed",
        "r5 local_month=2024-05-01 sequence=5 state=filed",
        "r6 local_month=2024-05-01 sequence=6 state=closed",
        "r7 local_month=2024-05-01 sequence=7 state=duplicate",
        "r8 local_month=2024-05-01 sequence=8 state=filed opens_case=false",
    ];
    let events = events.map(|words| {
        let (id, rest) = words.split_once(' ').unwrap();
        let mut event = row(rest);
        event.push(("record_id", id.to_owned()));
        event
    });
    let cases = vec![
        row("record_id=r1 sequence=1 kind=case state=received"),
        row("record_id=r1 sequence=2 kind=case state=closed open=false"),
        row("record_id=r2 sequence=9 kind=case state=received"),
        row("record_id=r2 partition=1 sequence=1 kind=case state=working"),
        row("record_id=r3 sequence=3 kind=withdrawal state=waiting match_key=k"),
        row("record_id=r5 sequence=10 kind=case state=closed open=false versions=2"),
    ];
    let cells = vec![
        row("cell=617733122422996991 count=1 open=1 severity=3"),
        row("cell=617733122422996991 count=1 open=0 severity=1"),
        row("cell=617733122423259135 count=1 open=1 severity=1"),
        row("cell=617733122423259135 count=-1 open=-1 severity=-1"),
    ];
    add(
        folder,
        1,
        vec![
            (&EVENTS, events.to_vec()),
            (&CASE_CHANGES, cases),
            (&CELL_CHANGES, cells),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_folder_without_tables_answers_with_no_rows() {
    let folder = tempfile::tempdir().unwrap();
    let service = service(folder.path()).await;
    for seen in TABLES {
        assert_eq!(
            answer(&service, &format!("select count(*) from {}", seen.name)).await,
            "0",
            "{}",
            seen.name
        );
        let rows = service
            .query(&format!("select * from {}", seen.name), None)
            .await
            .unwrap();
        assert!(rows.collect().await.unwrap().iter().all(|batch| batch.num_rows() == 0));
    }
}

#[tokio::test]
async fn cases_are_the_newest_change_and_cells_the_sum() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path()).await;
    let service = service(folder.path()).await;
    assert_eq!(
        answer(&service, "select record_id, state from cases order by 1").await,
        "r1 closed, r2 working, r4 filed, r5 closed, r6 closed, r7 duplicate"
    );
    let opened = "select record_id, open, counted, versions from cases where record_id > 'r3' order by 1";
    assert_eq!(
        answer(&service, opened).await,
        "r4 true true 1, r5 false true 2, r6 false true 1, r7 false false 1",
        "what opened a case stands in events only"
    );
    assert_eq!(
        answer(&service, "select record_id, state, match_key from withdrawals").await,
        "r3 waiting k"
    );
    assert_eq!(
        answer(&service, "select cell, count, open, severity from cells").await,
        "617733122422996991 2 1 4"
    );
    let by_month = "select local_month, count(*), count(cell) from events group by 1 order by 1";
    assert_eq!(answer(&service, by_month).await, "2024-04-01 1 1, 2024-05-01 7 0");
    assert_eq!(
        answer(
            &service,
            "select record_id from events where local_month < date '2024-05-01'"
        )
        .await,
        "r1"
    );
    let joined = "select count(*) from cases c join events e using (feed, record_id) where c.open";
    assert_eq!(answer(&service, joined).await, "2");
    for table in ["cases", "withdrawals"] {
        let schema = service
            .query(&format!("select * from {table}"), None)
            .await
            .unwrap()
            .schema;
        let shown = schema.fields().iter();
        for field in shown {
            let stored = CASE_CHANGES.schema();
            let stored = stored.field_with_name(field.name()).unwrap();
            assert_eq!(&**field, stored, "{table}");
        }
    }
}

#[tokio::test]
async fn types_are_exactly_those_of_the_shapes_and_new_rows_are_seen() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path()).await;
    let service = service(folder.path()).await;
    let rows = service.query("select * from events", None).await.unwrap();
    assert_eq!(rows.schema, EVENTS.schema(), "with comments, without views");
    let batches = rows.collect().await.unwrap();
    assert!(batches.iter().all(|batch| batch.schema() == EVENTS.schema()));
    let cells = service.prepare("select * from cells").await.unwrap().schema;
    assert_eq!(cells, CELL_CHANGES.schema());
    let before = answer(&service, "select count(*) from events").await;
    add(folder.path(), 2, vec![(&EVENTS, vec![row("record_id=r9")])]).await;
    assert_eq!(
        (
            before.as_str(),
            answer(&service, "select count(*) from events").await.as_str()
        ),
        ("8", "9")
    );
}

/// A hub whose rows wait, in this process.
#[derive(Debug, Default)]
struct Waiting {
    rows: NewestRows,
    asked: AtomicUsize,
}

#[async_trait]
impl NewestSource for Waiting {
    async fn since(&self, known: BTreeMap<String, u64>) -> Result<Vec<ToldEpoch>, QueryError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let (epochs, is_all) = self.rows.since(&known, usize::MAX);
        let answer = Answer::new(1, &epochs, !is_all).unwrap();
        Ok(answer.epochs().unwrap())
    }
}

impl Waiting {
    fn add(&self, epoch: u64, rows: &[(&'static TableShape, Row)]) {
        let mark = EpochMark {
            partition: "events-0".to_owned(),
            incarnation: 1,
            epoch,
        };
        let rows = rows
            .iter()
            .map(|(shape, row)| (shape.name, batch(shape, std::slice::from_ref(row))));
        self.rows.add(EpochRows {
            mark,
            after: epoch - 1,
            rows: rows.collect(),
        });
    }
}

#[tokio::test]
async fn rows_that_wait_are_seen_at_once_and_never_twice() {
    let folder = tempfile::tempdir().unwrap();
    let waiting = Arc::new(Waiting::default());
    let catalog = Catalog::open_with(folder.path(), None, Some(waiting.clone()))
        .await
        .unwrap();
    let catalog = Arc::new(catalog);
    let service = SqlService::new(catalog.clone(), Access::Loopback, 64 << 20).unwrap();
    let seen = async || {
        let all = "select (select count(*) from events), (select string_agg(state, '/' order by record_id) from cases),
                   (select sum(count) from cells)";
        answer(&service, all).await
    };
    // No table yet, so nowhere to show rows of one: they wait for it.
    let cell = |count| row(count);
    let opened = |words| (&EVENTS, row(words));
    let first = [
        opened("record_id=r1 sequence=1 state=filed"),
        (&CELL_CHANGES, cell("count=1 open=1")),
    ];
    waiting.add(1, &first);
    add(folder.path(), 0, Vec::new()).await;
    assert_eq!(seen().await, "1 filed 1");
    let closed = "record_id=r1 sequence=2 kind=case state=closed open=false versions=2";
    waiting.add(
        2,
        &[
            (&EVENTS, row("record_id=r1 opens_case=false")),
            (&CASE_CHANGES, row(closed)),
        ],
    );
    waiting.add(
        3,
        &[
            opened("record_id=r2 sequence=3 state=filed"),
            (&CELL_CHANGES, cell("count=1 open=1")),
        ],
    );
    assert_eq!(seen().await, "3 closed/filed 2");
    let epochs = "select partition, epoch, stored_epoch from epochs";
    assert_eq!(answer(&service, epochs).await, "events-0 3 0");

    // The tables get what waits, and the hub lets go of it, one after the other.
    let stored = [
        (
            &EVENTS,
            vec![
                row("record_id=r1 sequence=1 state=filed"),
                row("record_id=r1 opens_case=false"),
            ],
        ),
        (&CASE_CHANGES, vec![row(closed)]),
        (&CELL_CHANGES, vec![cell("count=1 open=1")]),
    ];
    add(folder.path(), 2, stored.to_vec()).await;
    assert_eq!(seen().await, "3 closed/filed 2");
    assert_eq!(answer(&service, epochs).await, "events-0 3 2");
    let (gone, _) = waiting.rows.since(&BTreeMap::new(), usize::MAX);
    waiting.rows.remove(&gone[..2]);
    assert_eq!(seen().await, "3 closed/filed 2");
    let before = (catalog.tables().await.unwrap(), waiting.asked.load(Ordering::Relaxed));
    assert!(
        Arc::ptr_eq(&before.0, &catalog.tables().await.unwrap()),
        "nothing changed"
    );
    assert_eq!(waiting.asked.load(Ordering::Relaxed), before.1 + 1);
    let limited = answer(&service, "select count(*) from (select * from events limit 2)").await;
    assert_eq!(limited, "2");
}

#[tokio::test]
async fn parameters_are_bound_in_their_order_even_where_only_a_cast_gives_their_type() {
    let folder = tempfile::tempdir().unwrap();
    let service = service(folder.path()).await;
    let numbers: Vec<String> = (1..=11).map(|number| format!("cast(${number} as bigint)")).collect();
    let sql = format!("select {}", numbers.join(", "));
    let values = (1..=11).map(|number| ScalarValue::Int32(Some(number))).collect();
    let rows = service
        .query(&sql, Some(values))
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    let column = |index: usize| rows[0].column(index).clone();
    assert_eq!(
        ScalarValue::try_from_array(&column(1), 0).unwrap(),
        ScalarValue::Int64(Some(2))
    );
    assert_eq!(
        ScalarValue::try_from_array(&column(9), 0).unwrap(),
        ScalarValue::Int64(Some(10))
    );
    let few = service.query("select ?", Some(Vec::new())).await;
    assert!(matches!(few, Err(QueryError::Parameters { .. })));
}

#[tokio::test]
async fn only_reading_our_tables_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path()).await;
    let service = service(folder.path()).await;
    for sql in [
        "create table t as select 1",
        "create view v as select 1",
        "copy (select 1) to '/tmp/x.csv'",
        "create external table x stored as csv location '/etc/passwd'",
        "insert into events select * from events",
        "set datafusion.execution.batch_size = 1",
        "select * from '/etc/passwd'",
        "select * from case_changes",
        "select repeat('x', 2000000000)",
        "select lpad('x', length(feed) * 100000000) from events",
        "select array_repeat(array_repeat(1, 5000), 5000)",
        "select range(1, 1000000000)",
        "with recursive r as (select 1 as v union all select v + 1 from r) select * from r",
        "explain analyze insert into events select * from events",
        "select 1; select 2",
        "",
    ] {
        let error = refusal(&service, sql).await;
        assert!(
            !matches!(error, QueryError::Internal(_) | QueryError::Timeout { .. }),
            "{sql}: {error:?}"
        );
    }
    assert_eq!(
        answer(&service, "select repeat('x', 3), range(1, 3)").await,
        "xxx [1, 2]"
    );
}

#[tokio::test]
async fn what_is_just_within_the_limits_is_planned() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path()).await;
    let service = service(folder.path()).await;
    let wide = format!(
        "select count(*) from events where {}",
        vec!["severity = 0"; 249].join(" or ")
    );
    assert_eq!(answer(&service, &wide).await, "8");
    let deep = format!("select {}1{}", "(".repeat(40), ")".repeat(40));
    assert_eq!(answer(&service, &deep).await, "1");
}

#[tokio::test]
async fn an_error_never_quotes_a_row() {
    let folder = tempfile::tempdir().unwrap();
    add(
        folder.path(),
        1,
        vec![(&EVENTS, vec![row("record_id=secret13800138000")])],
    )
    .await;
    let service = service(folder.path()).await;
    let error = refusal(&service, "select cast(record_id as bigint) from events").await;
    assert!(matches!(error, QueryError::Value(_)), "{error:?}");
    let status = tonic::Status::from(error);
    assert!(!status.message().contains("13800138000"), "{status:?}");
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
}

#[tokio::test]
async fn the_schema_lists_our_tables_and_no_stored_ones() {
    let folder = tempfile::tempdir().unwrap();
    let service = service(folder.path()).await;
    let sql = "select table_name from information_schema.tables where table_schema = 'core' order by 1";
    let mut names: Vec<&str> = TABLES.iter().map(|seen| seen.name).collect();
    names.sort_unstable();
    assert_eq!(answer(&service, sql).await, names.join(", "));
}
