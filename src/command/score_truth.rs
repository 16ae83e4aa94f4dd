//! `shiyu score-truth`: what the hub made of a simulated city, beside what truly happened.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use arrow::array::{AsArray as _, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use shiyu_query::QueryError;
use shiyu_simulate::score::{self, CASES, EVENTS, HubQuery, HubTables, LINKS, SCORES, WARNINGS};

use crate::cli::{OutputFormat, ScoreTruthArgs};
use crate::exit::{Exit, Failure, OrExit as _};
use crate::folder::data_dir;
use crate::output;

/// Rows of one answer at most; the doors' own limit is a million.
const SLICE_ROWS: i64 = 400_000;
/// SQLSTATE of a table that is not there.
const UNDEFINED_TABLE: &str = "42P01";

/// Asks the hub's tables, reads the truth, prints the report.
pub(crate) async fn run(given: Option<&Path>, format: OutputFormat, args: &ScoreTruthArgs) -> Result<(), Failure> {
    let data_dir = data_dir(given, "yunlan")?;
    if !args.truth.join("records.parquet").is_file() {
        return Err(Failure::new(
            Exit::NoInput,
            anyhow!(
                "\"{}\" holds no records.parquet; --truth names the folder `truth` of a simulation",
                args.truth.display()
            ),
        ));
    }
    let tables = HubTables {
        cases: whole(&data_dir, &CASES).await?,
        events: whole(&data_dir, &EVENTS).await?,
        scores: optional(&data_dir, &SCORES).await?,
        links: optional(&data_dir, &LINKS).await?,
        warnings: optional(&data_dir, &WARNINGS).await?,
    };
    let lines = score::score(&args.truth, &tables)
        .context("cannot score the hub by this truth")
        .or_exit(Exit::Data)?;
    let rows: Vec<Vec<String>> = lines
        .into_iter()
        .map(|line| {
            vec![
                line.part.to_owned(),
                line.about,
                line.measure,
                line.value,
                line.count.to_string(),
                line.note,
            ]
        })
        .collect();
    let columns = ["part (simulated)", "about", "measure", "value", "of", "note"];
    output::print_rows(format, &columns, &rows).or_exit(Exit::Io)
}

/// A table the hub must have, in slices: one answer may have so many rows only.
async fn whole(data_dir: &Path, query: &HubQuery) -> Result<Vec<RecordBatch>, Failure> {
    let count = format!(
        "SELECT feed, count(*) AS rows FROM {} GROUP BY feed ORDER BY feed",
        query.table
    );
    let mut batches = Vec::new();
    for (feed, rows) in feeds_of(&ask(data_dir, &count).await.map_err(|error| told(query, error))?) {
        let slices = rows / SLICE_ROWS + 1;
        for slice in 0..slices {
            let sql = format!("{} WHERE feed = '{feed}' AND {}", query.sql, part_of(slice, slices));
            batches.extend(ask(data_dir, &sql).await.map_err(|error| told(query, error))?);
        }
    }
    Ok(batches)
}

/// Rows whose id's last three digits fall to this slice of so many.
fn part_of(slice: i64, slices: i64) -> String {
    if slices == 1 {
        return "true".to_owned();
    }
    let (low, high) = (slice * 1_000 / slices, (slice + 1) * 1_000 / slices);
    // Ids end in digits, which all stand before a letter: the last slice has no other bound.
    let bound = if high == 1_000 {
        "x".to_owned()
    } else {
        format!("{high:03}")
    };
    format!("right(record_id, 3) >= '{low:03}' AND right(record_id, 3) < '{bound}'")
}

/// A table the hub may not make yet; the report says so.
async fn optional(data_dir: &Path, query: &HubQuery) -> Result<Option<Vec<RecordBatch>>, Failure> {
    match ask(data_dir, query.sql).await {
        Ok(batches) => Ok(Some(batches)),
        Err(error) if error.sqlstate() == UNDEFINED_TABLE => Ok(None),
        Err(error) => Err(told(query, error)),
    }
}

async fn ask(data_dir: &Path, sql: &str) -> Result<Vec<RecordBatch>, QueryError> {
    shiyu_query::run_query(data_dir, None, sql)
        .await
        .map(|(_, batches)| batches)
}

fn told(query: &HubQuery, error: QueryError) -> Failure {
    Failure::new(
        Exit::Data,
        anyhow::Error::new(error).context(format!("cannot read the hub's table \"{}\"", query.table)),
    )
}

fn feeds_of(batches: &[RecordBatch]) -> Vec<(String, i64)> {
    let mut feeds = Vec::new();
    for batch in batches {
        let names = cast(batch.column(0), &DataType::Utf8).ok();
        let counts = cast(batch.column(1), &DataType::Int64).ok();
        if let (Some(names), Some(counts)) = (names, counts) {
            let (names, counts) = (names.as_string::<i32>(), counts.as_primitive::<Int64Type>());
            feeds.extend((0..batch.num_rows()).map(|row| (names.value(row).to_owned(), counts.value(row))));
        }
    }
    feeds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_cover_every_ending_once() {
        assert_eq!(part_of(0, 1), "true");
        assert_eq!(
            part_of(0, 2),
            "right(record_id, 3) >= '000' AND right(record_id, 3) < '500'"
        );
        assert_eq!(
            part_of(1, 2),
            "right(record_id, 3) >= '500' AND right(record_id, 3) < 'x'"
        );
        assert_eq!(
            part_of(1, 3),
            "right(record_id, 3) >= '333' AND right(record_id, 3) < '666'"
        );
    }
}
