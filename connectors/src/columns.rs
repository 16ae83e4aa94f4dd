//! From named texts to the batch `record`: the manifest's columns in its order, then `_file` and `_row`.

use std::sync::Arc;

use arrow::array::{ArrayBuilder as _, ArrayRef, Int64Array, RecordBatch, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use shiyu_schemas::city::manifest::RecordSection;

/// How the columns of one source become the manifest's.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// Per column of the source, the manifest's column it fills.
    pub(crate) targets: Vec<Option<usize>>,
    /// Columns of the source the manifest does not name.
    pub(crate) unknown: Vec<String>,
}

impl Shape {
    /// Compares a header with the manifest. A missing column that is not optional is an error.
    pub(crate) fn of(record: &RecordSection, header: &[&str]) -> Result<Self, String> {
        let mut targets = vec![None; header.len()];
        let mut filled = vec![false; record.columns.len()];
        let mut unknown = Vec::new();
        for (target, name) in targets.iter_mut().zip(header) {
            let name = name.trim_start_matches('\u{feff}').trim();
            let column = record.columns.iter().position(|column| column.is_named(name));
            match column {
                Some(column) if !filled[column] => {
                    filled[column] = true;
                    *target = Some(column);
                }
                Some(_) => return Err(format!("two columns are named \"{name}\"")),
                None => unknown.push(name.to_owned()),
            }
        }
        let missing: Vec<&str> = record
            .columns
            .iter()
            .zip(&filled)
            .filter(|(column, filled)| !column.optional && !**filled)
            .map(|(column, _)| column.name.as_str())
            .collect();
        if missing.is_empty() {
            return Ok(Self { targets, unknown });
        }
        Err(format!(
            "it has no column {}; name the header's own word under `also`, or say `optional: true` (header: {})",
            missing.join(", "),
            header.join(", ")
        ))
    }
}

/// Gathers rows.
#[derive(Debug)]
pub struct Columns {
    schema: SchemaRef,
    builders: Vec<StringBuilder>,
    /// Whether the row being built has filled the column.
    filled: Vec<bool>,
    rows: Vec<i64>,
    nulls: Vec<String>,
}

impl Columns {
    /// No rows yet.
    pub fn new(record: &RecordSection) -> Self {
        let mut fields: Vec<Field> = record
            .columns
            .iter()
            .map(|column| Field::new(&column.name, DataType::Utf8, true))
            .collect();
        fields.push(Field::new("_file", DataType::Utf8, true));
        fields.push(Field::new("_row", DataType::Int64, true));
        Self {
            schema: Arc::new(Schema::new(fields)),
            builders: record.columns.iter().map(|_| StringBuilder::new()).collect(),
            filled: vec![false; record.columns.len()],
            rows: Vec::new(),
            nulls: record.nulls.clone(),
        }
    }

    /// Number of rows gathered.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Sets a column of the row being built. Blank texts and declared ones are no value.
    pub fn set(&mut self, column: usize, text: &str) {
        let trimmed = text.trim_ascii();
        let is_null = trimmed.chars().all(char::is_whitespace)
            || (!self.nulls.is_empty() && self.nulls.iter().any(|null| null == trimmed));
        if self.filled[column] {
            return;
        }
        self.filled[column] = true;
        if is_null {
            self.builders[column].append_null();
        } else {
            self.builders[column].append_value(text);
        }
    }

    /// Ends the row.
    pub fn end_row(&mut self, row: u64) {
        for (filled, builder) in self.filled.iter_mut().zip(&mut self.builders) {
            if !std::mem::take(filled) {
                builder.append_null();
            }
        }
        self.rows.push(row as i64);
    }

    /// The rows gathered so far.
    pub fn take(&mut self, source: &str) -> RecordBatch {
        let rows = std::mem::take(&mut self.rows);
        let mut arrays: Vec<ArrayRef> = self
            .builders
            .iter_mut()
            .map(|builder| {
                // The next batch will be about as large.
                let next = StringBuilder::with_capacity(builder.len(), builder.values_slice().len());
                Arc::new(std::mem::replace(builder, next).finish()) as ArrayRef
            })
            .collect();
        arrays.push(Arc::new(StringArray::from_iter_values(rows.iter().map(|_| source))));
        arrays.push(Arc::new(Int64Array::from(rows)));
        RecordBatch::try_new(self.schema.clone(), arrays).expect("every column has one value per row")
    }
}
