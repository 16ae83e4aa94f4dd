//! `feeds`: what the city's departments send.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use datafusion::catalog::TableProvider;
use datafusion::common::Result;
use datafusion::datasource::MemTable;
use shiyu_schemas::city::Feed;
use shiyu_schemas::table::{Column, ColumnType, MergeRule, TableShape};

use super::Sources;

const fn text(name: &'static str, comment: &'static str) -> Column {
    Column {
        name,
        kind: ColumnType::Text,
        nullable: false,
        comment,
    }
}

/// Columns of the table.
pub(crate) const SHAPE: &TableShape = &TableShape {
    name: "feeds",
    comment: "what the city's departments send",
    partition_by: None,
    sort_by: &[],
    merge: MergeRule::Keep,
    columns: &[
        text("feed", "the department's stream"),
        text("title", "what people call it"),
        text("department", "who sends it"),
        text("channel", "hotline, police, petition, grid, device, other"),
        text("origin", "who noticed: citizen, patrol, device, department"),
        text("connector", "how it is read"),
        Column {
            name: "withdraws",
            kind: ColumnType::Boolean,
            nullable: false,
            comment: "whether the feed has rows that cancel others",
        },
    ],
};

/// Makes the table.
pub(crate) fn make(sources: &Sources<'_>) -> Result<Arc<dyn TableProvider>> {
    let feeds: &[Feed] = sources.city.map_or(&[], |city| &city.feeds);
    let column = |value: fn(&Feed) -> &str| -> ArrayRef {
        Arc::new(feeds.iter().map(|feed| Some(value(feed))).collect::<StringArray>())
    };
    let columns: Vec<ArrayRef> = vec![
        column(|feed| &feed.manifest.feed),
        column(|feed| &feed.manifest.title),
        column(|feed| &feed.manifest.department),
        column(|feed| &feed.manifest.channel),
        column(|feed| &feed.manifest.origin),
        column(|feed| &feed.manifest.connector.kind),
        Arc::new(
            feeds
                .iter()
                .map(|feed| Some(feed.manifest.withdrawal.is_some()))
                .collect::<BooleanArray>(),
        ),
    ];
    let schema = SHAPE.schema();
    let rows = RecordBatch::try_new(schema.clone(), columns)?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![rows]])?))
}
