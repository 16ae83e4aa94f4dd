//! The tables as analysts see them, at one common snapshot.
//!
//! In reading order:
//! - [`catalog`]: opens the stored tables at the versions of `snapshot.json`, and gives every query one set of them
//! - [`scan`]: the files of a stored table at one version, as a plain Parquet scan, and the rows that are not in files yet
//! - [`newest`]: where these come from
//! - `cases`, `cells`: views over what the fold stored
//! - `areas`, `feeds`, `categories`: the city folder
//! - `epochs`: up to where all of them show everything
//!
//! A table is one entry of [`TABLES`]. What is stored but not meant for analysts (`case_changes`, `cell_changes`) is not there.

mod areas;
mod cases;
pub mod catalog;
mod categories;
mod cells;
mod epochs;
mod feeds;
#[cfg(test)]
pub(crate) mod fixture;
pub mod newest;
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
pub use newest::NewestSource;
pub use scan::SnapshotTable;

/// What a table can be made of.
pub(crate) struct Sources<'a> {
    /// Stored tables by name.
    pub(crate) stored: &'a BTreeMap<&'static str, Arc<SnapshotTable>>,
    /// By partition of the fold: up to where the tables show everything.
    pub(crate) epochs: &'a BTreeMap<String, u64>,
    /// The same of what is in the stored tables' files.
    pub(crate) stored_epochs: &'a BTreeMap<String, u64>,
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
    /// Whether it changes with what is stored; else it is made once, of the city folder.
    pub(crate) is_stored: bool,
    /// Makes it.
    pub(crate) make: fn(&Sources<'_>) -> Result<Arc<dyn TableProvider>>,
}

/// All tables, in the order people read about them.
pub(crate) static TABLES: &[SeenTable] = &[
    SeenTable {
        name: "events",
        comment: EVENTS.comment,
        is_stored: true,
        make: |sources| Ok(sources.stored(&EVENTS)),
    },
    SeenTable {
        name: "cases",
        comment: cases::CASES_COMMENT,
        is_stored: true,
        make: cases::make_cases,
    },
    SeenTable {
        name: "withdrawals",
        comment: cases::WITHDRAWALS_COMMENT,
        is_stored: true,
        make: cases::make_withdrawals,
    },
    SeenTable {
        name: "cells",
        comment: cells::COMMENT,
        is_stored: true,
        make: cells::make,
    },
    SeenTable {
        name: "scores",
        comment: SCORES.comment,
        is_stored: true,
        make: |sources| Ok(sources.stored(&SCORES)),
    },
    SeenTable {
        name: "rejections",
        comment: REJECTIONS.comment,
        is_stored: true,
        make: |sources| Ok(sources.stored(&REJECTIONS)),
    },
    SeenTable {
        name: "areas",
        comment: areas::SHAPE.comment,
        is_stored: false,
        make: areas::make,
    },
    SeenTable {
        name: "feeds",
        comment: feeds::SHAPE.comment,
        is_stored: false,
        make: feeds::make,
    },
    SeenTable {
        name: "categories",
        comment: categories::SHAPE.comment,
        is_stored: false,
        make: categories::make,
    },
    SeenTable {
        name: "epochs",
        comment: epochs::SHAPE.comment,
        is_stored: true,
        make: epochs::make,
    },
];

/// What a table holds, by its name.
pub fn comment_of(table: &str) -> Option<&'static str> {
    TABLES.iter().find(|seen| seen.name == table).map(|seen| seen.comment)
}
