//! One factor's SQL, compiled once: conditions and aggregates over the rows of one cell.
//!
//! A value is an expression over the aggregates `sum`, `count`, `min` and `max`, e.g. `sum(count)` or
//! `sum(severity) / nullif(sum(count), 0)`. Everything inside and outside the aggregates is DataFusion's own physical expression.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::common::{Column, DFSchema, DataFusionError, Result};
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{ColumnarValue, Expr};
use datafusion::physical_expr::PhysicalExpr;

/// What an aggregate does with the values of its argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fold {
    Sum,
    Count,
    Min,
    Max,
}

#[derive(Debug)]
struct Aggregate {
    fold: Fold,
    /// The argument; `None` for `count(*)`.
    argument: Option<Arc<dyn PhysicalExpr>>,
    filter: Option<Arc<dyn PhysicalExpr>>,
}

/// A compiled aggregate expression over `cells`.
#[derive(Debug)]
pub struct CellExpression {
    aggregates: Vec<Aggregate>,
    result: Arc<dyn PhysicalExpr>,
    result_schema: Arc<Schema>,
}

/// A compiled condition over `cells`.
#[derive(Debug)]
pub struct CellCondition(Arc<dyn PhysicalExpr>);

impl CellCondition {
    /// Compiles a SQL condition over the columns of `schema`.
    pub fn compile(sql: &str, context: &SessionContext, schema: &DFSchema) -> Result<Self> {
        let expression = context.parse_sql_expr(sql, schema)?;
        reject_aggregates(&expression)?;
        context.create_physical_expr(expression, schema).map(Self)
    }

    /// Whether it holds, per row of the batch; NULL does not hold.
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        evaluate_condition(&self.0, batch)
    }
}

fn reject_aggregates(expression: &Expr) -> Result<()> {
    expression
        .apply(|node| match node {
            Expr::AggregateFunction(_) | Expr::WindowFunction(_) => Err(DataFusionError::Plan(
                "a condition looks at one row of cells: it cannot hold an aggregate".to_owned(),
            )),
            _ => Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue),
        })
        .map(|_| ())
}

impl CellExpression {
    /// Compiles a SQL aggregate expression over the columns of `schema`.
    pub fn compile(sql: &str, context: &SessionContext, schema: &DFSchema) -> Result<Self> {
        let expression = context.parse_sql_expr(sql, schema)?;
        let mut aggregates = Vec::new();
        let rewritten = expression.transform(|node| match node {
            Expr::AggregateFunction(function) => {
                let name = format!("aggregate_{}", aggregates.len());
                aggregates.push(compile_aggregate(&function, context, schema)?);
                Ok(Transformed::yes(Expr::Column(Column::from_name(name))))
            }
            other => Ok(Transformed::no(other)),
        })?;
        if aggregates.is_empty() {
            return Err(DataFusionError::Plan(format!(
                "\"{sql}\" is no aggregate over the rows of a cell; write e.g. sum(count)"
            )));
        }
        let fields: Vec<Field> = (0..aggregates.len())
            .map(|index| Field::new(format!("aggregate_{index}"), DataType::Float64, true))
            .collect();
        let result_schema = Arc::new(Schema::new(fields));
        let df_schema = DFSchema::try_from(result_schema.as_ref().clone())?;
        let result = context.create_physical_expr(rewritten.data, &df_schema)?;
        Ok(Self {
            aggregates,
            result,
            result_schema,
        })
    }

    /// The value per cell, over the rows for which `keep` holds and whose hour is in `[start_us, end_us)`.
    pub fn evaluate(
        &self,
        batch: &RecordBatch,
        keep: &BooleanArray,
        start_us: i64,
        end_us: i64,
    ) -> Result<BTreeMap<i64, f64>> {
        let cells: &Int64Array = batch.column(0).as_primitive();
        let hours: &TimestampMicrosecondArray = batch.column(1).as_primitive();
        let mut groups: BTreeMap<i64, Vec<Option<f64>>> = BTreeMap::new();
        let columns = self
            .aggregates
            .iter()
            .map(|aggregate| aggregate.inputs(batch))
            .collect::<Result<Vec<_>>>()?;
        for row in 0..batch.num_rows() {
            let hour = hours.value(row);
            if !keep.value(row) || hour < start_us || hour >= end_us {
                continue;
            }
            let sums = groups
                .entry(cells.value(row))
                .or_insert_with(|| vec![None; self.aggregates.len()]);
            for ((sum, aggregate), (values, filter)) in sums.iter_mut().zip(&self.aggregates).zip(&columns) {
                if filter.as_ref().is_none_or(|filter| filter.value(row)) {
                    aggregate.fold.add(sum, values.as_ref().map(|values| (values, row)));
                }
            }
        }
        self.finish(&groups)
    }

    fn finish(&self, groups: &BTreeMap<i64, Vec<Option<f64>>>) -> Result<BTreeMap<i64, f64>> {
        if groups.is_empty() {
            return Ok(BTreeMap::new());
        }
        let columns = self
            .aggregates
            .iter()
            .enumerate()
            .map(|(index, aggregate)| {
                let empty = (aggregate.fold == Fold::Count).then_some(0.0);
                Arc::new(
                    groups
                        .values()
                        .map(|sums| sums[index].or(empty))
                        .collect::<Float64Array>(),
                ) as _
            })
            .collect();
        let sums = RecordBatch::try_new(self.result_schema.clone(), columns)?;
        let values = self.result.evaluate(&sums)?.into_array(sums.num_rows())?;
        let values = cast(&values, &DataType::Float64)?;
        let values = values.as_primitive::<Float64Type>();
        Ok(groups
            .keys()
            .enumerate()
            .filter(|(index, _)| !values.is_null(*index) && values.value(*index).is_finite())
            .map(|(index, &cell)| (cell, values.value(index)))
            .collect())
    }
}

type Inputs = (Option<Float64Array>, Option<BooleanArray>);

impl Aggregate {
    fn inputs(&self, batch: &RecordBatch) -> Result<Inputs> {
        let values = match &self.argument {
            Some(argument) => {
                let values = argument.evaluate(batch)?.into_array(batch.num_rows())?;
                let values = match (self.fold, values.data_type()) {
                    (Fold::Count, _) => values.is_null_values(),
                    _ => cast(&values, &DataType::Float64)?.as_primitive::<Float64Type>().clone(),
                };
                Some(values)
            }
            None => None,
        };
        let filter = self
            .filter
            .as_ref()
            .map(|filter| evaluate_condition(filter, batch))
            .transpose()?;
        Ok((values, filter))
    }
}

/// Turns any array into numbers that are NULL where it is, for `count(x)`.
trait NullValues {
    fn is_null_values(&self) -> Float64Array;
}

impl NullValues for arrow::array::ArrayRef {
    fn is_null_values(&self) -> Float64Array {
        (0..self.len()).map(|row| (!self.is_null(row)).then_some(1.0)).collect()
    }
}

impl Fold {
    fn add(self, sum: &mut Option<f64>, value: Option<(&Float64Array, usize)>) {
        let value = match value {
            Some((values, row)) if values.is_null(row) => return,
            Some((values, row)) => values.value(row),
            None => 1.0,
        };
        *sum = Some(match (self, *sum) {
            (Self::Count, sum) => sum.unwrap_or(0.0) + 1.0,
            (_, None) => value,
            (Self::Sum, Some(sum)) => sum + value,
            (Self::Min, Some(sum)) => sum.min(value),
            (Self::Max, Some(sum)) => sum.max(value),
        });
    }
}

fn compile_aggregate(
    function: &datafusion::logical_expr::expr::AggregateFunction,
    context: &SessionContext,
    schema: &DFSchema,
) -> Result<Aggregate> {
    let fold = match function.func.name() {
        "sum" => Fold::Sum,
        "count" => Fold::Count,
        "min" => Fold::Min,
        "max" => Fold::Max,
        other => {
            return Err(DataFusionError::Plan(format!(
                "a factor cannot use the aggregate {other}; there are sum, count, min, max"
            )));
        }
    };
    if function.params.distinct || !function.params.order_by.is_empty() {
        return Err(DataFusionError::Plan(
            "a factor's aggregate cannot be DISTINCT or ordered".to_owned(),
        ));
    }
    let compile = |expression: Expr| context.create_physical_expr(expression, schema);
    let argument = match function.params.args.as_slice() {
        #[expect(deprecated, reason = "count(*) is still parsed to this")]
        [] | [Expr::Wildcard { .. }] => None,
        [argument] => Some(compile(argument.clone())?),
        _ => {
            return Err(DataFusionError::Plan(
                "a factor's aggregate takes one argument".to_owned(),
            ));
        }
    };
    let filter = function
        .params
        .filter
        .as_ref()
        .map(|filter| compile((**filter).clone()))
        .transpose()?;
    Ok(Aggregate { fold, argument, filter })
}

fn evaluate_condition(condition: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<BooleanArray> {
    let values = match condition.evaluate(batch)? {
        ColumnarValue::Array(array) => array,
        scalar @ ColumnarValue::Scalar(_) => scalar.into_array(batch.num_rows())?,
    };
    let values = cast(&values, &DataType::Boolean)?;
    Ok(values
        .as_boolean()
        .iter()
        .map(|holds| Some(holds == Some(true)))
        .collect())
}
