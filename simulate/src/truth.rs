//! What really happened: one Parquet table, a row per incident and record it led to. The hub never reads it; scorers do.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;

use crate::SimulateError;
use crate::place::Land;
use crate::record::Record;
use crate::rhythm::{Incident, KINDS};

const ROWS_PER_BATCH: usize = 20_000;

#[derive(Debug)]
struct Row {
    incident: i64,
    category: &'static str,
    minute: i64,
    lat: f64,
    lng: f64,
    community: String,
    planted: bool,
    feed: Option<&'static str>,
    record_id: Option<String>,
}

/// Writes `incidents.parquet`.
pub struct TruthWriter {
    writer: ArrowWriter<File>,
    schema: SchemaRef,
    rows: Vec<Row>,
    incidents: i64,
}

impl TruthWriter {
    /// Creates the table in `folder`.
    pub fn create(folder: &Path) -> Result<Self, SimulateError> {
        let path = folder.join("incidents.parquet");
        let failed = |source| SimulateError::Io {
            path: path.clone(),
            source,
        };
        fs::create_dir_all(folder).map_err(failed)?;
        let file = File::create(&path).map_err(failed)?;
        let field = |name: &str, kind: DataType, nullable| Field::new(name, kind, nullable);
        let schema = Arc::new(Schema::new(vec![
            field("incident", DataType::Int64, false),
            field("category", DataType::Utf8, false),
            field("minute", DataType::Int64, false),
            field("lat", DataType::Float64, false),
            field("lng", DataType::Float64, false),
            field("community", DataType::Utf8, false),
            field("planted", DataType::Boolean, false),
            field("feed", DataType::Utf8, true),
            field("record_id", DataType::Utf8, true),
        ]));
        let writer = ArrowWriter::try_new(file, schema.clone(), None)?;
        Ok(Self {
            writer,
            schema,
            rows: Vec::new(),
            incidents: 0,
        })
    }

    /// Adds an incident and the records it led to; one that nobody reported has a row without a record.
    pub fn add(&mut self, land: &Land, incident: &Incident, day: u32, records: &[Record]) {
        let address = &land.addresses()[incident.address];
        let row = |record: Option<&Record>| Row {
            incident: self.incidents,
            category: KINDS[incident.kind].code,
            minute: i64::from(day) * 1_440 + i64::from(incident.minute),
            lat: address.lat,
            lng: address.lng,
            community: address.community.clone(),
            planted: incident.planted,
            feed: record.map(|record| record.feed),
            record_id: record.map(|record| record.id.clone()),
        };
        let mut named: Vec<&Record> = records.iter().collect();
        named.dedup_by(|a, b| a.id == b.id);
        let rows: Vec<Row> = if named.is_empty() {
            vec![row(None)]
        } else {
            named.into_iter().map(|record| row(Some(record))).collect()
        };
        self.rows.extend(rows);
        self.incidents += 1;
    }

    /// Writes what has gathered, so that memory stays flat with days.
    pub fn flush_if_full(&mut self) -> Result<(), SimulateError> {
        if self.rows.len() >= ROWS_PER_BATCH {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Writes the rest.
    pub fn finish(mut self) -> Result<(), SimulateError> {
        self.flush()?;
        self.writer.close()?;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SimulateError> {
        for rows in self.rows.chunks(ROWS_PER_BATCH) {
            let columns: Vec<ArrayRef> = vec![
                Arc::new(rows.iter().map(|row| Some(row.incident)).collect::<Int64Array>()),
                Arc::new(rows.iter().map(|row| Some(row.category)).collect::<StringArray>()),
                Arc::new(rows.iter().map(|row| Some(row.minute)).collect::<Int64Array>()),
                Arc::new(rows.iter().map(|row| Some(row.lat)).collect::<Float64Array>()),
                Arc::new(rows.iter().map(|row| Some(row.lng)).collect::<Float64Array>()),
                Arc::new(
                    rows.iter()
                        .map(|row| Some(row.community.as_str()))
                        .collect::<StringArray>(),
                ),
                Arc::new(rows.iter().map(|row| Some(row.planted)).collect::<BooleanArray>()),
                Arc::new(rows.iter().map(|row| row.feed).collect::<StringArray>()),
                Arc::new(rows.iter().map(|row| row.record_id.as_deref()).collect::<StringArray>()),
            ];
            let batch =
                RecordBatch::try_new(self.schema.clone(), columns).map_err(parquet::errors::ParquetError::from)?;
            self.writer.write(&batch)?;
        }
        self.rows.clear();
        Ok(())
    }
}
