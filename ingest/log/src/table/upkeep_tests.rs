#![allow(clippy::unwrap_used, reason = "tests")]

use arrow::array::{ArrayRef, AsArray as _, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Int32Type, Int64Type};
use deltalake::DeltaTable;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use shiyu_schemas::table::{CASE_CHANGES, CELL_CHANGES, ColumnType, EVENTS};

use super::super::{EpochMark, EpochRows, Snapshot};
use super::*;

const SHAPES: &[&TableShape] = &[&EVENTS, &CASE_CHANGES, &CELL_CHANGES];

/// One row: the columns given, the others plain.
fn row(shape: &TableShape, given: &[(&str, &str)]) -> RecordBatch {
    let columns = shape.columns.iter().map(|column| {
        let plain = match column.kind {
            ColumnType::Text => "x",
            ColumnType::Boolean => "true",
            ColumnType::Date => "2024-05-01",
            ColumnType::Timestamp => "2024-05-01T00:00:00Z",
            _ => "1",
        };
        let value = given
            .iter()
            .find(|(name, _)| *name == column.name)
            .map_or(plain, |(_, value)| *value);
        let text: ArrayRef = Arc::new(StringArray::from(vec![value]));
        arrow::compute::cast(&text, &column.kind.data_type()).unwrap()
    });
    RecordBatch::try_new(shape.schema(), columns.collect()).unwrap()
}

/// Epoch n: a version of one of seven records, in one of three months; its counts move from one cell to another.
fn epoch(number: u64) -> EpochRows {
    let sequence = number.to_string();
    let record = format!("record-{}", number % 7);
    let month = format!("2024-0{}-01", number % 3 + 1);
    let cell = (number % 5).to_string();
    let before = ((number + 4) % 5).to_string();
    let change = |cell: &str, count: &str| {
        (
            "cell_changes",
            row(
                &CELL_CHANGES,
                &[("cell", cell), ("count", count), ("open", count), ("severity", count)],
            ),
        )
    };
    let mut rows = vec![
        (
            "events",
            row(
                &EVENTS,
                &[
                    ("record_id", record.as_str()),
                    ("source_version", sequence.as_str()),
                    ("local_month", month.as_str()),
                    ("cell", cell.as_str()),
                ],
            ),
        ),
        (
            "case_changes",
            row(
                &CASE_CHANGES,
                &[
                    ("record_id", record.as_str()),
                    ("sequence", sequence.as_str()),
                    ("partition", "0"),
                ],
            ),
        ),
        change(&cell, "1"),
    ];
    if number > 1 {
        rows.push(change(&before, "-1"));
    }
    EpochRows {
        mark: EpochMark {
            partition: "events-0".to_owned(),
            incarnation: 7,
            epoch: number,
        },
        after: number - 1,
        rows,
    }
}

fn options() -> UpkeepOptions {
    UpkeepOptions {
        base_interval: Duration::from_hours(1),
        retention: Duration::ZERO,
        ..UpkeepOptions::default()
    }
}

async fn open(root: &Path, upkeep: UpkeepOptions) -> TableWriter {
    TableWriter::open(root, SHAPES).await.unwrap().with_upkeep(upkeep)
}

async fn table_at(root: &Path, name: &str, version: u64) -> DeltaTable {
    let url = deltalake::ensure_table_uri(root.join(name).to_string_lossy()).unwrap();
    deltalake::open_table_with_version(url, version).await.unwrap()
}

/// The rows of a table at the version of the published snapshot.
async fn read(root: &Path, name: &str) -> Vec<RecordBatch> {
    let version = Snapshot::read(root).unwrap().unwrap().tables[name];
    let table = table_at(root, name, version).await;
    let paths: Vec<PathBuf> = table
        .snapshot()
        .unwrap()
        .log_data()
        .iter()
        .map(|file| root.join(name).join(&*file.path()))
        .collect();
    paths
        .iter()
        .flat_map(|path| {
            let file = fs::File::open(path).unwrap();
            ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap()
        })
        .map(Result::unwrap)
        .collect()
}

fn rows(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

/// Record to the sequence of its newest change, as the view `cases` has it.
fn newest(batches: &[RecordBatch]) -> BTreeMap<String, i64> {
    let mut newest = BTreeMap::new();
    for batch in batches {
        let ids = batch.column_by_name("record_id").unwrap().as_string::<i32>();
        let sequences = batch.column_by_name("sequence").unwrap().as_primitive::<Int64Type>();
        for (id, sequence) in ids.iter().zip(sequences.values()) {
            let known = newest.entry(id.unwrap().to_owned()).or_insert(0);
            *known = (*sequence).max(*known);
        }
    }
    newest
}

/// Cell to the sum of its counts, as the view `cells` has it.
fn sums(batches: &[RecordBatch]) -> BTreeMap<i64, i64> {
    let mut sums = BTreeMap::new();
    for batch in batches {
        let cells = batch.column_by_name("cell").unwrap().as_primitive::<Int64Type>();
        let counts: &Int64Array = batch.column_by_name("count").unwrap().as_primitive();
        for (cell, count) in cells.values().iter().zip(counts.values()) {
            *sums.entry(*cell).or_default() += count;
        }
    }
    sums.retain(|_, count| *count != 0);
    sums
}

fn files_on_disk(folder: &Path) -> usize {
    files_below(folder).unwrap().len()
}

fn log_entries(folder: &Path) -> usize {
    fs::read_dir(folder.join("_delta_log")).unwrap().count()
}

async fn commit(writer: &mut TableWriter, epochs: std::ops::RangeInclusive<u64>) {
    for number in epochs {
        writer.commit(&[epoch(number)]).await.unwrap();
        let stop = MergeStop::default();
        while let Some(job) = writer.next_merge(&stop).unwrap() {
            let merged = job.run().unwrap().unwrap();
            writer.apply(merged).await.unwrap();
        }
    }
    writer.tidy().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_commits_leave_few_files_a_short_log_and_the_same_answers() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let mut writer = open(&root, options()).await;
    commit(&mut writer, 1..=230).await;
    for shape in SHAPES {
        let files = files_on_disk(&root.join(shape.name));
        assert!(files <= 3 * 22, "{} has {files} files", shape.name);
        let entries = log_entries(&root.join(shape.name));
        assert!(entries <= 130, "{} has {entries} entries in its log", shape.name);
    }
    assert_eq!(rows(&read(&root, "events").await), 230, "no version goes");
    let expected: BTreeMap<String, i64> = (224..=230)
        .map(|number| (format!("record-{}", number % 7), number))
        .collect();
    assert_eq!(newest(&read(&root, "case_changes").await), expected);
    assert_eq!(sums(&read(&root, "cell_changes").await), BTreeMap::from([(0, 1)]));
    drop(writer);

    let mut writer = open(&root, options()).await;
    assert_eq!(
        writer.applied("events", "events-0", 7),
        Some(230),
        "epochs are known though their commits are gone from the log"
    );
    writer.commit(&[epoch(230)]).await.unwrap();
    assert_eq!(rows(&read(&root, "events").await), 230);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_has_every_key_once_and_what_comes_later_goes_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let upkeep = UpkeepOptions {
        base_interval: Duration::ZERO,
        ..options()
    };
    let mut writer = open(&root, upkeep).await;
    for number in 1..=30 {
        writer.commit(&[epoch(number)]).await.unwrap();
    }
    writer.keep_up().await.unwrap();
    let cases = read(&root, "case_changes").await;
    assert_eq!(rows(&cases), 7);
    assert_eq!(
        newest(&cases),
        (24..=30)
            .map(|number| (format!("record-{}", number % 7), number))
            .collect()
    );
    let partitions = cases[0]
        .column_by_name("partition")
        .unwrap()
        .as_primitive::<Int32Type>();
    assert!(partitions.values().iter().all(|&partition| partition == 0));
    assert_eq!(
        rows(&read(&root, "cell_changes").await),
        1,
        "cells that sum to nothing have no row"
    );
    let base = fs::read_dir(root.join("case_changes"))
        .unwrap()
        .filter(|entry| is_base_file(&entry.as_ref().unwrap().path().to_string_lossy()));
    assert_eq!(base.count(), 1);
    assert_eq!(
        files_on_disk(&root.join("case_changes")),
        1,
        "what was merged away is gone"
    );

    writer.commit(&[epoch(31)]).await.unwrap();
    assert_eq!(rows(&read(&root, "case_changes").await), 8);
    for number in 32..=40 {
        writer.commit(&[epoch(number)]).await.unwrap();
    }
    writer.keep_up().await.unwrap();
    assert_eq!(rows(&read(&root, "case_changes").await), 7);
    assert_eq!(sums(&read(&root, "cell_changes").await), BTreeMap::from([(0, 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_an_older_snapshot_finds_its_files_until_the_retention_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let mut writer = open(
        &root,
        UpkeepOptions {
            retention: Duration::from_hours(1),
            ..options()
        },
    )
    .await;
    for number in 1..=20 {
        writer.commit(&[epoch(number)]).await.unwrap();
    }
    let older = table_at(&root, "case_changes", 20).await;
    writer.keep_up().await.unwrap();
    for table in &mut writer.tables {
        table.remove_dead(&root, Duration::from_hours(1)).await.unwrap();
    }
    let files: Vec<PathBuf> = older
        .snapshot()
        .unwrap()
        .log_data()
        .iter()
        .map(|file| root.join("case_changes").join(&*file.path()))
        .collect();
    assert_eq!(files.len(), 20);
    assert!(files.iter().all(|file| file.exists()));
    for table in &mut writer.tables {
        table.remove_dead(&root, Duration::ZERO).await.unwrap();
    }
    assert!(files.iter().filter(|file| file.exists()).count() < 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_beside_the_tables_goes() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let mut writer = open(&root, options()).await;
    writer.commit(&[epoch(1)]).await.unwrap();
    let left = [
        root.join("case_changes/part-00000009-00001-0.parquet"),
        root.join("case_changes/part-00000009-00002-0.merging"),
        root.join("events/local_month=2024-02-01/part-1.parquet#77-3"),
        root.join("events/_delta_log/00000000000000000009.json#77-4"),
    ];
    for path in &left {
        fs::write(path, b"half").unwrap();
    }
    writer.tidy().await.unwrap();
    assert!(left.iter().all(|path| !path.exists()));
    assert_eq!(rows(&read(&root, "events").await), 1);
}
