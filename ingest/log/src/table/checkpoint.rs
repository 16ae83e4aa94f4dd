//! Which epochs the newest checkpoint of a Delta log knows.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow::array::{Array as _, AsArray as _};
use arrow::datatypes::Int64Type;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

/// The first version that is not in the newest checkpoint at or before `version`, and the checkpoint's newest epoch per application. Blocks.
pub(super) fn transactions(folder: &Path, version: u64) -> Result<(u64, BTreeMap<String, u64>), ParquetError> {
    let mut applied = BTreeMap::new();
    let Some((checkpoint, path)) = newest(folder, version)? else {
        return Ok((0, applied));
    };
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
    let mask = ProjectionMask::columns(reader.parquet_schema(), ["txn.appId", "txn.version"]);
    for batch in reader.with_projection(mask).build()? {
        let batch = batch?;
        let Some(transactions) = batch.column_by_name("txn").and_then(|column| column.as_struct_opt()) else {
            continue;
        };
        let ids = transactions
            .column_by_name("appId")
            .and_then(|column| column.as_string_opt::<i32>());
        let epochs = transactions
            .column_by_name("version")
            .and_then(|column| column.as_primitive_opt::<Int64Type>());
        let (Some(ids), Some(epochs)) = (ids, epochs) else {
            let problem = "the checkpoint's transactions have another shape";
            return Err(ParquetError::General(problem.to_owned()));
        };
        for row in (0..batch.num_rows()).filter(|&row| transactions.is_valid(row) && ids.is_valid(row)) {
            note(&mut applied, ids.value(row), epochs.value(row) as u64);
        }
    }
    Ok((checkpoint + 1, applied))
}

/// Notes that a table has an epoch; `id` is `<table>/<application>`.
pub(super) fn note(applied: &mut BTreeMap<String, u64>, id: &str, epoch: u64) {
    if let Some((_, application)) = id.split_once('/') {
        let newest = applied.entry(application.to_owned()).or_insert(0);
        *newest = epoch.max(*newest);
    }
}

fn newest(folder: &Path, version: u64) -> Result<Option<(u64, PathBuf)>, ParquetError> {
    let mut newest = None;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let checkpoint = name
            .strip_suffix(".checkpoint.parquet")
            .and_then(|number| number.parse::<u64>().ok());
        if let Some(checkpoint) = checkpoint.filter(|&checkpoint| checkpoint <= version) {
            newest = newest.max(Some((checkpoint, path)));
        }
    }
    Ok(newest)
}
