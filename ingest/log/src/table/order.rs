//! The order of a table's rows: in a file when it is written, and across files when they are merged.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::SortOptions;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};

/// How every column of `sort_by` is sorted.
const SORT: SortOptions = SortOptions {
    descending: false,
    nulls_first: true,
};

/// Columns of a table as rows that compare as bytes; none where there are no columns.
pub(super) struct Converter(Option<(RowConverter, Vec<&'static str>)>);

impl Converter {
    pub(super) fn new(schema: &Schema, columns: &[&'static str]) -> Result<Self, ArrowError> {
        if columns.is_empty() {
            return Ok(Self(None));
        }
        let fields = columns
            .iter()
            .map(|column| {
                let field = schema.field_with_name(column)?;
                Ok(SortField::new_with_options(field.data_type().clone(), SORT))
            })
            .collect::<Result<_, ArrowError>>()?;
        Ok(Self(Some((RowConverter::new(fields)?, columns.to_vec()))))
    }

    pub(super) fn rows(&self, batch: &RecordBatch) -> Result<Option<Rows>, ArrowError> {
        let Some((converter, columns)) = &self.0 else {
            return Ok(None);
        };
        let columns = columns
            .iter()
            .map(|column| {
                batch
                    .column_by_name(column)
                    .cloned()
                    .ok_or_else(|| ArrowError::SchemaError(format!("the file lacks column \"{column}\"")))
            })
            .collect::<Result<Vec<ArrayRef>, _>>()?;
        converter.convert_columns(&columns).map(Some)
    }
}
