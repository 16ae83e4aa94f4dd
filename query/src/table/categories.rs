//! `categories`: the city's tree.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use datafusion::catalog::TableProvider;
use datafusion::common::Result;
use datafusion::datasource::MemTable;
use shiyu_schemas::city::Category;
use shiyu_schemas::table::{Column, ColumnType, MergeRule, TableShape};

use super::Sources;

const fn column(name: &'static str, kind: ColumnType, nullable: bool, comment: &'static str) -> Column {
    Column {
        name,
        kind,
        nullable,
        comment,
    }
}

/// Columns of the table.
pub(crate) const SHAPE: &TableShape = &TableShape {
    name: "categories",
    comment: "the city's tree of categories",
    partition_by: None,
    sort_by: &[],
    merge: MergeRule::Keep,
    columns: &[
        column("code", ColumnType::Text, false, "code, as in events and cases"),
        column("parent", ColumnType::Text, true, "code of the parent"),
        column("name", ColumnType::Text, false, "name"),
        column("name_zh", ColumnType::Text, false, "name in Chinese"),
        column("severity", ColumnType::Int, false, "0 unknown, 1 lowest to 5 highest"),
    ],
};

/// Makes the table.
pub(crate) fn make(sources: &Sources<'_>) -> Result<Arc<dyn TableProvider>> {
    let categories: Vec<&Category> = sources
        .city
        .map(|city| city.categories.iter().collect())
        .unwrap_or_default();
    let text = |value: fn(&Category) -> Option<&str>| -> ArrayRef {
        Arc::new(
            categories
                .iter()
                .map(|category| value(category))
                .collect::<StringArray>(),
        )
    };
    let columns: Vec<ArrayRef> = vec![
        text(|category| Some(&category.code)),
        text(|category| category.parent.as_deref()),
        text(|category| Some(&category.name)),
        text(|category| Some(&category.name_zh)),
        Arc::new(
            categories
                .iter()
                .map(|category| Some(i32::from(category.severity)))
                .collect::<Int32Array>(),
        ),
    ];
    let schema = SHAPE.schema();
    let rows = RecordBatch::try_new(schema.clone(), columns)?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![rows]])?))
}
