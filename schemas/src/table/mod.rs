//! Arrow schemas of every table, with the comment of every column. What is stored and what analysts see both come from here.
//!
//! Stored (Delta, append-only): [`EVENTS`], [`CASE_CHANGES`], [`CELL_CHANGES`], [`REJECTIONS`], [`SCORES`].
//! Seen: `events`, `rejections`, `scores` as stored; `cases` and `withdrawals` are views over `case_changes` and the events that open a
//! case, `cells` over `cell_changes`; `areas` comes from the city folder; `epochs` says up to where all of them show everything.
//!
//! Cells are BIGINT (bit 63 is 0), times are TIMESTAMP(µs, UTC), dates DATE.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// Type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// Utf8
    Text,
    /// Int64
    BigInt,
    /// Int32
    Int,
    /// Float64
    Double,
    /// Boolean
    Boolean,
    /// Date32
    Date,
    /// Timestamp(µs, "UTC")
    Timestamp,
    /// Binary
    Binary,
}

impl ColumnType {
    /// The Arrow type.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::BigInt => DataType::Int64,
            Self::Int => DataType::Int32,
            Self::Double => DataType::Float64,
            Self::Boolean => DataType::Boolean,
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC"))),
            Self::Binary => DataType::Binary,
        }
    }
}

/// One column of a table.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Name.
    pub name: &'static str,
    /// Type.
    pub kind: ColumnType,
    /// Whether NULL may stand in it.
    pub nullable: bool,
    /// What it holds.
    pub comment: &'static str,
}

/// One stored table.
#[derive(Debug, Clone, Copy)]
pub struct TableShape {
    /// Name.
    pub name: &'static str,
    /// What it holds.
    pub comment: &'static str,
    /// Columns in order.
    pub columns: &'static [Column],
    /// Name of the column the table is partitioned by, if any. It is a DATE: the first day of a local month.
    pub partition_by: Option<&'static str>,
    /// Columns files are sorted by; none: rows stand as they came.
    pub sort_by: &'static [&'static str],
    /// What may become one row when files are merged.
    pub merge: MergeRule,
}

/// Which rows of the same `sort_by` columns become one when files of a table are merged. Whoever reads must not be able to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeRule {
    /// Every row stays.
    Keep,
    /// The greatest by these columns stays.
    Newest(&'static [&'static str]),
    /// These BIGINT columns are summed; a row that sums to zeros goes.
    Sum(&'static [&'static str]),
}

impl TableShape {
    /// The Arrow schema; each field carries its comment as metadata `comment`.
    pub fn schema(&self) -> SchemaRef {
        self.schema_with(ColumnType::data_type)
    }

    /// The same for rows on their way to a file: texts are views, which cost little to put in order.
    pub fn row_schema(&self) -> SchemaRef {
        self.schema_with(|kind| match kind {
            ColumnType::Text => DataType::Utf8View,
            other => other.data_type(),
        })
    }

    fn schema_with(&self, data_type: fn(ColumnType) -> DataType) -> SchemaRef {
        let fields = self.columns.iter().map(|column| {
            Field::new(column.name, data_type(column.kind), column.nullable)
                .with_metadata([("comment".to_owned(), column.comment.to_owned())].into())
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// Position of a column. Panics where the table has no such column: names are ours.
    pub fn index(&self, name: &str) -> usize {
        self.columns
            .iter()
            .position(|column| column.name == name)
            .expect("the column is one of the table's own")
    }
}

const fn column(name: &'static str, kind: ColumnType, nullable: bool, comment: &'static str) -> Column {
    Column {
        name,
        kind,
        nullable,
        comment,
    }
}

use ColumnType::{BigInt, Boolean, Date, Double, Int, Text, Timestamp};

/// Every checked version of every record.
pub const EVENTS: TableShape = TableShape {
    name: "events",
    comment: "every checked version of every record, immutable",
    partition_by: Some("local_month"),
    sort_by: &["cell"],
    merge: MergeRule::Keep,
    columns: &[
        column("feed", Text, false, "the department's stream"),
        column("record_id", Text, false, "what names the record within the feed"),
        column("kind", Text, false, "upsert, withdraw, cancel"),
        column("outcome", Text, false, "accepted or stale"),
        column(
            "source_version",
            BigInt,
            false,
            "the source's version; 0 where it has none",
        ),
        column("updated_at", Timestamp, true, "when the source changed the record"),
        column(
            "content_hash",
            Text,
            false,
            "xxh3-128 of the mapped values, hexadecimal",
        ),
        column("channel", Text, false, "hotline, police, petition, grid, device, other"),
        column(
            "origin",
            Text,
            false,
            "who noticed: citizen, patrol, device, department",
        ),
        column(
            "category",
            Text,
            false,
            "category code of the city's tree; empty where the crosswalk has none",
        ),
        column("source_category", Text, false, "the department's own category"),
        column("state", Text, false, "state of the case"),
        column("source_status", Text, false, "the department's own status"),
        column("severity", Int, false, "0 unknown, 1 lowest to 5 highest"),
        column("holder", Text, true, "the unit that holds the case"),
        column("occurred_at", Timestamp, false, "when it happened"),
        column("time_precision", Text, false, "second, minute, hour, day, month"),
        column("local_date", Date, false, "local calendar date of occurred_at"),
        column(
            "local_hour",
            Int,
            true,
            "local hour 0 to 23; NULL where only the date is known",
        ),
        column(
            "local_month",
            Date,
            false,
            "first day of the local month of reported_at, else of occurred_at",
        ),
        column("reported_at", Timestamp, true, "when it was reported"),
        column("closed_at", Timestamp, true, "when the case ended"),
        column("due_at", Timestamp, true, "when the case is due"),
        column("received_at", Timestamp, false, "when it entered the log"),
        column(
            "source_occurred_at",
            Text,
            false,
            "the clock text as the department gave it",
        ),
        column("lat", Double, true, "WGS84 latitude, degrees"),
        column("lng", Double, true, "WGS84 longitude, degrees"),
        column("cell", BigInt, true, "H3 cell, resolution 11"),
        column("place_precision", Text, false, "exact, block, area_centre, none"),
        column("source_x", Text, true, "longitude or easting as the department gave it"),
        column("source_y", Text, true, "latitude or northing as the department gave it"),
        column("source_datum", Text, true, "datum the manifest declares"),
        column("address", Text, true, "address, scrubbed"),
        column("areas", Text, true, "areas the place lies in, JSON: level to code"),
        column(
            "attributes",
            Text,
            true,
            "further values the feed keeps, scrubbed, JSON: name to text",
        ),
        column("flags", Text, true, "what the door noticed, comma-separated"),
        column("source", Text, false, "file, table or endpoint it was read from"),
        column("source_row", BigInt, false, "row in the source, from 1"),
        column(
            "revision",
            Text,
            false,
            "hash of the city folder's revision that mapped it",
        ),
        column("partition", Int, false, "partition of the log"),
        column(
            "sequence",
            BigInt,
            true,
            "order of its change of the case within the partition; NULL where it changed none",
        ),
        column(
            "opens_case",
            Boolean,
            false,
            "whether it opened its case; such a change has no row in case_changes",
        ),
    ],
};

/// What the fold did to cases beyond what an event says that opens one; `cases` is the newest of both per record.
pub const CASE_CHANGES: TableShape = TableShape {
    name: "case_changes",
    comment: "what the fold did to cases beyond what the event says that opens one; the view cases shows the newest of each",
    partition_by: None,
    sort_by: &["feed", "record_id"],
    merge: MergeRule::Newest(&["partition", "sequence"]),
    columns: &[
        column("feed", Text, false, "the department's stream"),
        column("record_id", Text, false, "what names the record within the feed"),
        column("partition", Int, false, "partition of the log"),
        column("sequence", BigInt, false, "order of changes within the partition"),
        column(
            "kind",
            Text,
            false,
            "case, or withdrawal: a correction row that cancels another record",
        ),
        column(
            "state",
            Text,
            false,
            "state of the case; of a withdrawal: matched or waiting",
        ),
        column("open", Boolean, false, "whether it still asks for work"),
        column("counted", Boolean, false, "whether it stands in the counts"),
        column("channel", Text, false, "hotline, police, petition, grid, device, other"),
        column(
            "origin",
            Text,
            false,
            "who noticed: citizen, patrol, device, department",
        ),
        column(
            "category",
            Text,
            false,
            "category code of the city's tree; empty where the crosswalk has none",
        ),
        column("severity", Int, false, "0 unknown, 1 lowest to 5 highest"),
        column("holder", Text, true, "the unit that holds the case"),
        column("occurred_at", Timestamp, false, "when it happened"),
        column("time_precision", Text, false, "second, minute, hour, day, month"),
        column("local_date", Date, false, "local calendar date of occurred_at"),
        column(
            "local_hour",
            Int,
            true,
            "local hour 0 to 23; NULL where only the date is known",
        ),
        column("reported_at", Timestamp, true, "when it was reported"),
        column("closed_at", Timestamp, true, "when the case ended"),
        column("due_at", Timestamp, true, "when the case is due"),
        column("lat", Double, true, "WGS84 latitude, degrees"),
        column("lng", Double, true, "WGS84 longitude, degrees"),
        column("cell", BigInt, true, "H3 cell, resolution 11"),
        column("place_precision", Text, false, "exact, block, area_centre, none"),
        column("areas", Text, true, "areas the place lies in, JSON: level to code"),
        column("versions", Int, false, "versions accepted so far"),
        column("match_key", Text, true, "key a withdrawal and its record share"),
    ],
};

/// Signed changes of counts; `cells` is their sum.
pub const CELL_CHANGES: TableShape = TableShape {
    name: "cell_changes",
    comment: "signed changes of counts; the view cells shows their sum",
    partition_by: None,
    sort_by: &[
        "cell",
        "hour",
        "day_only",
        "category",
        "channel",
        "origin",
        "place_precision",
    ],
    merge: MergeRule::Sum(&["count", "open", "severity"]),
    columns: &[
        column(
            "cell",
            BigInt,
            true,
            "H3 cell, resolution 9; NULL where the events have no place",
        ),
        column(
            "hour",
            Timestamp,
            false,
            "start of the hour; of the local day where only the date is known",
        ),
        column("day_only", Boolean, false, "whether only the date is known"),
        column(
            "category",
            Text,
            false,
            "category code of the city's tree; empty where the crosswalk has none",
        ),
        column("channel", Text, false, "hotline, police, petition, grid, device, other"),
        column(
            "origin",
            Text,
            false,
            "who noticed: citizen, patrol, device, department",
        ),
        column("place_precision", Text, false, "exact, block, area_centre, none"),
        column("count", BigInt, false, "cases"),
        column("open", BigInt, false, "open cases"),
        column("severity", BigInt, false, "sum of the cases' severities"),
    ],
};

/// Records that could not become events.
pub const REJECTIONS: TableShape = TableShape {
    name: "rejections",
    comment: "records that could not become events; the originals stay sealed in the log",
    partition_by: None,
    sort_by: &[],
    merge: MergeRule::Keep,
    columns: &[
        column("feed", Text, false, "the department's stream"),
        column("source", Text, false, "file, table or endpoint it was read from"),
        column("source_row", BigInt, false, "row in the source, from 1"),
        column("code", Text, false, "why, a closed set"),
        column("column", Text, false, "column or field at fault"),
        column("message", Text, false, "what is wrong and what to do"),
        column("received_at", Timestamp, false, "when it entered the log"),
        column(
            "revision",
            Text,
            false,
            "hash of the city folder's revision that read it",
        ),
    ],
};

/// Risk scores; one row per cell, model and rescoring.
pub const SCORES: TableShape = TableShape {
    name: "scores",
    comment: "risk scores of cells with the points of every factor",
    partition_by: None,
    sort_by: &["cell"],
    merge: MergeRule::Keep,
    columns: &[
        column("model", Text, false, "risk model"),
        column("definition", Text, false, "hash of the model's definition, hexadecimal"),
        column("cell", BigInt, false, "H3 cell at the model's resolution"),
        column("window_start", Timestamp, false, "start of the window"),
        column("window_end", Timestamp, false, "end of the window, exclusive"),
        column("score", Double, false, "0 to 100"),
        column("level", Text, false, "green, blue, yellow, orange, red"),
        column(
            "contributions",
            Text,
            false,
            "JSON: factor to its value and points; points sum to the score",
        ),
        column(
            "input_offset",
            BigInt,
            false,
            "offset of cells.v1 up to which counts are in",
        ),
        column("scored_at", Timestamp, false, "when it was computed"),
    ],
};

/// Boundaries of the city folder, as analysts see them.
pub const AREAS: TableShape = TableShape {
    name: "areas",
    comment: "boundaries of the city folder",
    partition_by: None,
    sort_by: &[],
    merge: MergeRule::Keep,
    columns: &[
        column("level", Text, false, "level, e.g. district"),
        column("code", Text, false, "code of the area"),
        column("name", Text, false, "name of the area"),
        column("parent_level", Text, true, "level of the parent"),
        column("parent", Text, true, "code of the parent"),
        column("valid_from", Date, true, "first day the boundary holds"),
        column("valid_to", Date, true, "first day it no longer holds"),
        column("population", BigInt, true, "people who live there"),
        column("area_km2", Double, false, "size, square kilometres"),
        column("geometry", Text, false, "boundary, WKT, WGS84 (lng lat)"),
    ],
};

/// All stored tables.
pub const STORED: &[&TableShape] = &[&EVENTS, &CASE_CHANGES, &CELL_CHANGES, &REJECTIONS, &SCORES];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_has_a_comment_and_its_own_name() {
        for table in STORED.iter().chain([&&AREAS]) {
            for (index, column) in table.columns.iter().enumerate() {
                assert!(!column.comment.is_empty());
                assert!(table.columns[index + 1..].iter().all(|other| other.name != column.name));
            }
        }
    }

    #[test]
    fn no_table_has_a_column_about_people() {
        for table in STORED.iter().chain([&&AREAS]) {
            for column in table.columns {
                assert_eq!(crate::privacy::forbidden_kind(column.name), None, "{}", column.name);
            }
        }
    }
}
