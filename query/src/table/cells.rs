//! `cells`: the sum of `cell_changes`, without what sums to nothing.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::Result;
use datafusion::common::metadata::FieldMetadata;
use datafusion::datasource::provider_as_source;
use datafusion::datasource::view::ViewTable;
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::prelude::{Expr, coalesce, col, lit};
use shiyu_schemas::table::CELL_CHANGES;

use super::Sources;

/// What the table holds.
pub(crate) const COMMENT: &str = "cases by cell, hour, category, channel, origin and precision of the place";

const SUMS: [&str; 3] = ["count", "open", "severity"];

/// Makes the view.
pub(crate) fn make(sources: &Sources<'_>) -> Result<Arc<dyn TableProvider>> {
    let schema = CELL_CHANGES.schema();
    let is_sum = |name: &str| SUMS.contains(&name);
    let keys: Vec<Expr> = CELL_CHANGES
        .columns
        .iter()
        .filter(|column| !is_sum(column.name))
        .map(|column| col(column.name))
        .collect();
    let sums = SUMS.map(|name| sum(col(name)).alias(format!("{name}_sum")));
    let nonzero = SUMS.map(|name| col(format!("{name}_sum")).not_eq(lit(0_i64)));
    let [count, open, severity] = nonzero;
    let shown = schema.fields().iter().map(|field| {
        if is_sum(field.name()) {
            // A sum of nothing is NULL for the planner, though no group is empty.
            let metadata = FieldMetadata::from(field.metadata().clone());
            coalesce(vec![col(format!("{}_sum", field.name())), lit(0_i64)])
                .alias_with_metadata(field.name(), Some(metadata))
        } else {
            col(field.name())
        }
    });
    let plan = LogicalPlanBuilder::scan(
        CELL_CHANGES.name,
        provider_as_source(sources.stored(&CELL_CHANGES)),
        None,
    )?
    .aggregate(keys, sums)?
    .filter(count.or(open).or(severity))?
    .project(shown)?
    .build()?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}
