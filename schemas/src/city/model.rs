//! `models/<name>.yaml`: a risk model, weighted factors over `cells`.

use serde::{Deserialize, Serialize};

/// One risk model. Score = Σ points of its factors, 0..100.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RiskModel {
    /// Name: lower-case letters, digits, `_`; equal to the file's name.
    pub model: String,
    /// What people call it.
    pub title: String,
    /// Version; a changed definition gets a greater one.
    #[serde(default = "one")]
    pub version: u32,
    /// H3 resolution of the scored cells, 7..9.
    #[serde(default = "nine")]
    pub resolution: u8,
    /// Least number of cases in a cell's window for a score above green: small counts say nothing.
    #[serde(default)]
    pub min_count: u32,
    /// Rows of `cells` the model looks at at all (SQL condition). Default: what citizens and devices report, with a place
    /// better than an area's centre (such places pile up on one point and would fake a hot spot).
    #[serde(default = "reported")]
    pub rows: String,
    /// The factors; points are weight / Σ weights × 100 × the factor's transformed value in 0..1.
    pub factors: Vec<Factor>,
    /// Least score of blue, yellow, orange, red.
    #[serde(default = "levels")]
    pub levels: [f64; 4],
}

/// One factor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Factor {
    /// Name: lower-case letters, digits, `_`.
    pub factor: String,
    /// What people call it.
    pub title: String,
    /// Weight, > 0.
    pub weight: f64,
    /// SQL aggregate over the rows of `cells` of one cell within the factor's window, e.g. `sum(count)`, `sum(open)`.
    pub value: String,
    /// Rows of `cells` it counts (SQL condition).
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Length of its window in days, back from the window's end.
    pub window_days: u32,
    /// How the value becomes 0..1.
    pub transform: Transform,
}

/// How a factor's value becomes 0..1. `full` is the value that gives 1 (or the percentile of the city's cells that does).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Transform {
    /// Cases per exposure, shrunk towards the city's rate (Poisson-Gamma empirical Bayes); 1 at the given percentile of cells.
    Rate {
        /// What the count is divided by: `area_km2` (the cell's), or `cell` (1).
        exposure: String,
        /// Percentile of the city's active cells that gives 1, e.g. 99.
        full_percentile: f64,
    },
    /// Value of this window over the mean of `baseline_windows` windows before it, shrunk by `prior_count`; 1 at `full`.
    Trend {
        /// Number of windows before this one.
        baseline_windows: u32,
        /// Cases added to both sides, so that small counts make no trend.
        prior_count: f64,
        /// Ratio that gives 1; a ratio of 1 or less gives 0.
        full: f64,
    },
    /// Value over another aggregate, with prior; 1 at `full`.
    Share {
        /// SQL aggregate of the denominator.
        of: String,
        /// Prior count added to the denominator.
        prior_count: f64,
        /// Share that gives 1.
        full: f64,
    },
    /// Linear: 0 at 0, 1 at `full`.
    Linear {
        /// Value that gives 1.
        full: f64,
    },
}

fn one() -> u32 {
    1
}

fn nine() -> u8 {
    9
}

fn reported() -> String {
    "origin in ('citizen', 'device') and place_precision in ('exact', 'block')".to_owned()
}

fn levels() -> [f64; 4] {
    [20.0, 40.0, 60.0, 80.0]
}
