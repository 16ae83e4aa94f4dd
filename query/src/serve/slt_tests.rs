//! `tests/sql/functions.slt` in process. The same file runs through both doors in `tests/checks/clients.sh`; the format is sqllogictest's.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use regex::Regex;

use super::{Access, SqlService};
use crate::error::QueryError;
use crate::table::Catalog;

/// One record: where it stands, its first line, its SQL, what is expected.
struct Record<'a> {
    line: usize,
    directive: &'a str,
    sql: String,
    expected: Vec<&'a str>,
}

fn records(text: &str) -> Vec<Record<'_>> {
    let mut records = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, directive)) = lines.next() {
        if directive.trim().is_empty() || directive.starts_with('#') {
            continue;
        }
        let block: Vec<&str> = lines
            .by_ref()
            .map(|(_, line)| line)
            .take_while(|line| !line.trim().is_empty())
            .collect();
        let middle = block.iter().position(|line| *line == "----").unwrap_or(block.len());
        records.push(Record {
            line: index + 1,
            directive,
            sql: block[..middle].join("\n"),
            expected: block.get(middle + 1..).unwrap_or_default().to_vec(),
        });
    }
    records
}

async fn rows(service: &SqlService, sql: &str) -> Result<Vec<String>, QueryError> {
    let batches = service.query(sql, None).await?.collect().await?;
    Ok(batches.iter().flat_map(texts).collect())
}

fn texts(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let columns: Vec<_> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options).unwrap())
        .collect();
    let text = |row: usize| {
        let values = columns.iter().map(|column| column.value(row).to_string());
        values.collect::<Vec<_>>().join(" ")
    };
    (0..batch.num_rows()).map(text).collect()
}

/// The error of a running query keeps its words from clients; here they are wanted.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

#[tokio::test]
async fn the_functions_of_the_logic_tests_answer_as_written() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(folder.path(), None).await.unwrap();
    let service = SqlService::new(Arc::new(catalog), Access::Loopback, 64 << 20).unwrap();
    let records = records(include_str!("../../../tests/sql/functions.slt"));
    assert!(records.len() > 10);
    for Record {
        line,
        directive,
        sql,
        expected,
    } in records
    {
        let answer = rows(&service, &sql).await;
        if let Some(pattern) = directive.strip_prefix("statement error ") {
            let told = answer.map_err(|error| chain(&error)).unwrap_err();
            assert!(Regex::new(pattern).unwrap().is_match(&told), "line {line}: {told}");
            continue;
        }
        let mut found = answer.map_err(|error| chain(&error)).unwrap();
        if directive.ends_with(" rowsort") {
            found.sort_unstable();
        }
        assert_eq!(found, expected, "line {line}: {sql}");
    }
}
