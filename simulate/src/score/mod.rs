//! The scorer: the hub's tables beside the truth. It shares no code with what it judges: it reads the truth's Parquet and the answers to
//! [`CASES`], [`EVENTS`], [`SCORES`], [`LINKS`], [`WARNINGS`], and joins them by itself. A number that looks bad is printed like any other; what the hub does not do yet is said.
//!
//! - [`read`]: columns of batches
//! - [`records`]: which records became cases
//! - [`location`]: how far off places are, and whether a wrong datum was found
//! - [`category`]: how often the category is right
//! - [`links`]: duplicates and links: precision, recall, F1
//! - [`lifecycle`]: states, closing times, changes, holders
//! - [`warnings`]: what was warned of among what was planted
//! - [`intensity`]: scores beside true intensity

mod category;
mod intensity;
mod lifecycle;
mod links;
mod location;
mod read;
mod records;
mod warnings;

use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use thiserror::Error;

/// What the scorer asks the hub.
#[derive(Debug, Clone, Copy)]
pub struct HubQuery {
    /// The table.
    pub table: &'static str,
    /// The question, without a `WHERE`.
    pub sql: &'static str,
}

/// The hub's cases.
pub const CASES: HubQuery = HubQuery {
    table: "cases",
    sql: "SELECT feed, record_id, category, state, lat, lng, closed_at, holder FROM cases",
};
/// Every version of every record.
pub const EVENTS: HubQuery = HubQuery {
    table: "events",
    sql: "SELECT feed, record_id, updated_at, state, flags FROM events",
};
/// The newest score of each cell.
pub const SCORES: HubQuery = HubQuery {
    table: "scores",
    sql: "SELECT s.model, s.cell, s.window_end, s.score FROM scores s JOIN (SELECT model, cell, max(scored_at) AS newest FROM scores GROUP BY model, cell) n ON s.model = n.model AND s.cell = n.cell AND s.scored_at = n.newest",
};
/// Which cases report the same incident, once the hub says so.
pub const LINKS: HubQuery = HubQuery {
    table: "links",
    sql: "SELECT feed, record_id, incident FROM links",
};
/// Warnings, once the hub makes them.
pub const WARNINGS: HubQuery = HubQuery {
    table: "warnings",
    sql: "SELECT category, lat, lng, raised_at FROM warnings",
};

/// The hub's answers. `None`: it has no such table.
#[derive(Debug, Default)]
pub struct HubTables {
    /// Its cases.
    pub cases: Vec<RecordBatch>,
    /// Every version of every record.
    pub events: Vec<RecordBatch>,
    /// The newest score of each cell.
    pub scores: Option<Vec<RecordBatch>>,
    /// Which cases report the same incident.
    pub links: Option<Vec<RecordBatch>>,
    /// Warnings.
    pub warnings: Option<Vec<RecordBatch>>,
}

/// What can go wrong.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ScoreError {
    /// A truth table cannot be opened.
    #[error("failed to open \"{path}\"; --truth names the folder `truth` of a simulation")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A truth table cannot be read.
    #[error("cannot read \"{path}\"")]
    Parquet {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: parquet::errors::ParquetError,
    },
    /// A table lacks a column, or it has another type.
    #[error("the table \"{table}\" has no column \"{column}\" of the type wanted")]
    Column {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScoreLine {
    /// What is judged.
    pub part: &'static str,
    /// What is measured.
    pub measure: String,
    /// Feed or model; `all` over all of them.
    pub about: String,
    /// The figure.
    pub value: String,
    /// How many it is about.
    pub count: u64,
    /// What must be known to read it.
    pub note: String,
}

/// Lines in the making.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<ScoreLine>);

impl Report {
    fn line(&mut self, part: &'static str, measure: &str, about: &str, value: String, count: u64, note: &str) {
        self.0.push(ScoreLine {
            part,
            measure: measure.to_owned(),
            about: about.to_owned(),
            value,
            count,
            note: note.to_owned(),
        });
    }
}

/// Judges the hub's tables by the truth in a folder.
pub fn score(truth: &Path, tables: &HubTables) -> Result<Vec<ScoreLine>, ScoreError> {
    let mut report = Report::default();
    let joined = records::join(truth, &tables.cases)?;
    records::report(&joined, &mut report);
    location::report(&joined, &tables.events, &mut report)?;
    category::report(&joined, &mut report);
    links::report(&joined, tables.links.as_deref(), &mut report)?;
    lifecycle::report(truth, &joined, &tables.events, &mut report)?;
    warnings::report(truth, tables.warnings.as_deref(), &mut report)?;
    intensity::report(truth, tables.scores.as_deref(), &mut report)?;
    Ok(report.0)
}

/// `part` of `whole` in percent; `none` of nothing.
fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "none".to_owned();
    }
    format!("{:.2} %", part as f64 * 100.0 / whole as f64)
}

/// The value at a share of sorted values; `none` of nothing.
fn quantile(sorted: &[f64], share: f64) -> String {
    if sorted.is_empty() {
        return "none".to_owned();
    }
    let index = ((sorted.len() - 1) as f64 * share).round() as usize;
    format!("{:.1}", sorted[index])
}

#[cfg(test)]
mod tests;
