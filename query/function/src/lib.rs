//! The SQL functions of Shiyu. Analysts, mappings, risk factors and rules all see the same ones.
//!
//! In reading order:
//! - [`function`]: what a function is, and how DataFusion calls it
//! - [`value`]: one argument or result of one row
//! - `cell`, `hierarchy`, `grid`, `edge`, `shape`: H3, by theme; names as in DuckDB's and PostgreSQL's H3, argument order (lat, lng, res)
//! - `datum`: GCJ-02, BD-09 and projections
//! - `json`: values of the column `attributes`
//!
//! Cells are BIGINT; where one is given, its hexadecimal text will do. NULL in, NULL out. Bad input is an error that never quotes the
//! value; `h3_try_*` give NULL instead.

mod cell;
mod datum;
mod edge;
pub mod function;
mod grid;
mod hierarchy;
mod json;
mod shape;
pub mod value;
mod wkb;

use std::sync::Arc;

use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::ScalarUDF;

pub use function::{CallError, Function};

/// Every theme's functions; a new function is an entry in its theme.
static THEMES: &[&[Function]] = &[
    cell::FUNCTIONS,
    hierarchy::FUNCTIONS,
    grid::FUNCTIONS,
    edge::FUNCTIONS,
    shape::FUNCTIONS,
    datum::FUNCTIONS,
    json::FUNCTIONS,
];

/// Every function, for lists and manuals.
pub fn manual() -> impl Iterator<Item = &'static Function> {
    THEMES.iter().flat_map(|theme| theme.iter())
}

/// Every function, for a planner.
pub fn all() -> Vec<Arc<ScalarUDF>> {
    manual().map(Function::to_udf).collect()
}

/// Makes every function known to a session.
pub fn register_all(context: &SessionContext) {
    for udf in all() {
        context.register_udf(udf.as_ref().clone());
    }
}

#[cfg(test)]
mod tests;
