//! `cases` and `withdrawals`: the newest change of each record, be it a row of `case_changes` or the event that opened the case.
//!
//! Changes of a record are ordered by (partition, sequence), packed into one number: rows are then grouped and matched by one Int64.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::catalog::TableProvider;
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::{Result, ScalarValue};
use datafusion::datasource::provider_as_source;
use datafusion::datasource::view::ViewTable;
use datafusion::functions_aggregate::expr_fn::max;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, in_subquery};
use datafusion::prelude::{Expr, cast, col, lit};
use shiyu_schemas::code::Code as _;
use shiyu_schemas::lifecycle::{is_counted, is_open};
use shiyu_schemas::table::{CASE_CHANGES, EVENTS};
use shiyu_schemas::v1::CaseState;

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
    let all = changes(sources)?;
    let newest = LogicalPlanBuilder::from(all.clone())
        .aggregate([col("feed"), col("record_id")], [max(order()).alias("change")])?
        .project([col("change")])?
        .build()?;
    let shown = CASE_CHANGES
        .columns
        .iter()
        .filter(|column| !hidden.contains(&column.name));
    let plan = LogicalPlanBuilder::from(all)
        .filter(in_subquery(order(), Arc::new(newest)))?
        .filter(col("kind").eq(lit(kind)))?
        .project(shown.map(|column| col(column.name)))?
        .build()?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}

/// All changes of cases, in the columns of `case_changes`.
fn changes(sources: &Sources<'_>) -> Result<LogicalPlan> {
    let schema = CASE_CHANGES.schema();
    let opening = schema.fields().iter().map(|field| {
        let name = field.name().as_str();
        let value = match name {
            "kind" => lit("case"),
            "open" => is_none_of(|state| !is_open(state) || !is_counted(state)),
            "counted" => is_none_of(|state| !is_counted(state)),
            "versions" => lit(1),
            "match_key" => lit(ScalarValue::Utf8(None)),
            shared => col(shared),
        };
        // With the comment of `case_changes`: both sides of a union must have the same.
        value.alias_with_metadata(name, Some(FieldMetadata::from(field.metadata().clone())))
    });
    let opened = LogicalPlanBuilder::scan(EVENTS.name, provider_as_source(sources.stored(&EVENTS)), None)?
        .filter(col("opens_case"))?
        .project(opening)?
        .build()?;
    let stored = provider_as_source(sources.stored(&CASE_CHANGES));
    let columns = CASE_CHANGES.columns.iter().map(|column| col(column.name));
    LogicalPlanBuilder::scan(CASE_CHANGES.name, stored, None)?
        .project(columns)?
        .union(opened)?
        .build()
}

/// Whether an event's state is none of these.
fn is_none_of(these: impl Fn(CaseState) -> bool) -> Expr {
    let states = CaseState::ALL.iter().filter(|(state, _)| these(*state));
    col("state").in_list(states.map(|(_, word)| lit(*word)).collect(), true)
}

fn order() -> Expr {
    cast(col("partition"), DataType::Int64) * lit(CHANGES_MAX) + col("sequence")
}
