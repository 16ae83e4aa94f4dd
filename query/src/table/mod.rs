//! The tables as analysts see them, at one common snapshot.
//!
//! In reading order:
//! - [`catalog`]: opens the stored tables at the versions of `snapshot.json`, and gives every query one set of them
//! - [`scan`]: the files of a stored table at one version, as a plain Parquet scan
//! - `cases`, `cells`: views over what the fold stored
//! - `areas`, `feeds`, `categories`: the city folder
//!
//! A table is one entry of [`TABLES`]. What is stored but not meant for analysts (`case_changes`, `cell_changes`) is not there.

mod areas;
mod cases;
pub mod catalog;
mod categories;
mod cells;
mod feeds;
#[cfg(test)]
pub(crate) mod fixture;
pub mod scan;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::Result;
use shiyu_schemas::city::City;
use shiyu_schemas::table::{EVENTS, REJECTIONS, SCORES, TableShape};

pub use catalog::{CATALOG_NAME, Catalog, CoreSchema, SCHEMA_NAME, Tables};
pub use scan::SnapshotTable;

/// What a table can be made of.
pub(crate) struct Sources<'a> {
    /// Stored tables by name.
    pub(crate) stored: &'a BTreeMap<&'static str, Arc<SnapshotTable>>,
    /// The city, where the caller has one.
    pub(crate) city: Option<&'a City>,
}

impl Sources<'_> {
    /// A stored table, as a provider.
    pub(crate) fn stored(&self, shape: &TableShape) -> Arc<dyn TableProvider> {
        match self.stored.get(shape.name) {
            Some(table) => table.clone(),
            None => Arc::new(SnapshotTable::empty(shape)),
        }
    }
}

/// One table as analysts see it.
pub(crate) struct SeenTable {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it holds.
    pub(crate) comment: &'static str,
    /// Makes it. Tables of the city folder are made again with each snapshot; they are small.
    pub(crate) make: fn(&Sources<'_>) -> Result<Arc<dyn TableProvider>>,
}

/// All tables, in the order people read about them.
pub(crate) static TABLES: &[SeenTable] = &[
    SeenTable {
        name: "events",
        comment: EVENTS.comment,
        make: |sources| Ok(sources.stored(&EVENTS)),
    },
    SeenTable {
        name: "cases",
        comment: cases::CASES_COMMENT,
        make: cases::make_cases,
    },
    SeenTable {
        name: "withdrawals",
        comment: cases::WITHDRAWALS_COMMENT,
        make: cases::make_withdrawals,
    },
    SeenTable {
        name: "cells",
        comment: cells::COMMENT,
        make: cells::make,
    },
    SeenTable {
        name: "scores",
        comment: SCORES.comment,
        make: |sources| Ok(sources.stored(&SCORES)),
    },
    SeenTable {
        name: "rejections",
        comment: REJECTIONS.comment,
        make: |sources| Ok(sources.stored(&REJECTIONS)),
    },
    SeenTable {
        name: "areas",
        comment: areas::SHAPE.comment,
        make: areas::make,
    },
    SeenTable {
        name: "feeds",
        comment: feeds::SHAPE.comment,
        make: feeds::make,
    },
    SeenTable {
        name: "categories",
        comment: categories::SHAPE.comment,
        make: categories::make,
    },
];

/// What a table holds, by its name.
pub fn comment_of(table: &str) -> Option<&'static str> {
    TABLES.iter().find(|seen| seen.name == table).map(|seen| seen.comment)
}
