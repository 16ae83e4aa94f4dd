//! `cases` and `withdrawals`: the newest row of each record in `case_changes`.
//!
//! Changes of a record are ordered by (partition, sequence), packed into one number: rows are then grouped and matched by one Int64.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::catalog::TableProvider;
use datafusion::common::Result;
use datafusion::datasource::provider_as_source;
use datafusion::datasource::view::ViewTable;
use datafusion::functions_aggregate::expr_fn::max;
use datafusion::logical_expr::{LogicalPlanBuilder, in_subquery};
use datafusion::prelude::{Expr, cast, col, lit};
use shiyu_schemas::table::CASE_CHANGES;

use super::Sources;

/// What `cases` holds.
pub(crate) const CASES_COMMENT: &str = "every case as it stands now";
/// What `withdrawals` holds.
pub(crate) const WITHDRAWALS_COMMENT: &str = "correction rows that cancel another record, matched or waiting";

/// A partition of the log makes fewer changes than this.
const CHANGES_MAX: i64 = 1 << 48;

/// Makes `cases`.
pub(crate) fn make_cases(sources: &Sources<'_>) -> Result<Arc<dyn TableProvider>> {
    newest(sources, "case", &["partition", "sequence", "kind", "match_key"])
}

/// Makes `withdrawals`.
pub(crate) fn make_withdrawals(sources: &Sources<'_>) -> Result<Arc<dyn TableProvider>> {
    newest(
        sources,
        "withdrawal",
        &["partition", "sequence", "kind", "open", "counted", "versions"],
    )
}

fn newest(sources: &Sources<'_>, kind: &str, hidden: &[&str]) -> Result<Arc<dyn TableProvider>> {
    let stored = sources.stored(&CASE_CHANGES);
    let newest = LogicalPlanBuilder::scan("newest", provider_as_source(stored.clone()), None)?
        .aggregate([col("feed"), col("record_id")], [max(order()).alias("change")])?
        .project([col("change")])?
        .build()?;
    let shown = CASE_CHANGES
        .columns
        .iter()
        .filter(|column| !hidden.contains(&column.name));
    let plan = LogicalPlanBuilder::scan(CASE_CHANGES.name, provider_as_source(stored), None)?
        .filter(in_subquery(order(), Arc::new(newest)))?
        .filter(col("kind").eq(lit(kind)))?
        .project(shown.map(|column| col(column.name)))?
        .build()?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}

fn order() -> Expr {
    cast(col("partition"), DataType::Int64) * lit(CHANGES_MAX) + col("sequence")
}
