//! Prints results as a table, JSON lines or CSV.

use std::io::Write;

use anyhow::Context as _;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::cli::OutputFormat;

/// Prints batches of one schema to standard output.
pub(crate) fn print_batches(format: OutputFormat, schema: &SchemaRef, batches: &[RecordBatch]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match format {
        OutputFormat::Table => {
            let text = if batches.iter().all(|batch| batch.num_rows() == 0) {
                arrow::util::pretty::pretty_format_batches(&[RecordBatch::new_empty(schema.clone())])
            } else {
                arrow::util::pretty::pretty_format_batches(batches)
            };
            writeln!(out, "{}", text.context("cannot format the result")?)?;
        }
        OutputFormat::Json => {
            let mut writer = arrow::json::LineDelimitedWriter::new(&mut out);
            writer.write_batches(&batches.iter().collect::<Vec<_>>())?;
            writer.finish()?;
        }
        OutputFormat::Csv => {
            let mut writer = arrow::csv::WriterBuilder::new().with_header(true).build(&mut out);
            if batches.is_empty() {
                writer.write(&RecordBatch::new_empty(schema.clone()))?;
            }
            for batch in batches {
                writer.write(batch)?;
            }
        }
    }
    Ok(out.flush()?)
}

/// A table of text, for lists that are no query results.
pub(crate) fn print_rows(format: OutputFormat, columns: &[&str], rows: &[Vec<String>]) -> anyhow::Result<()> {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};

    let schema = Arc::new(Schema::new(
        columns
            .iter()
            .map(|name| Field::new(*name, DataType::Utf8, false))
            .collect::<Vec<_>>(),
    ));
    let arrays = (0..columns.len())
        .map(|column| {
            Arc::new(StringArray::from_iter_values(
                rows.iter().map(|row| row[column].as_str()),
            )) as ArrayRef
        })
        .collect();
    let batch = RecordBatch::try_new(schema.clone(), arrays).context("cannot build the list")?;
    print_batches(format, &schema, &[batch])
}
