//! A manifest's SQL: planned once against the batch `record`, evaluated per batch.
//!
//! Projection and filter only. Nothing whose result depends on where a batch ends or on when it runs: no aggregate, window, sub-query,
//! and only immutable functions. An expression that fails on a batch is evaluated again on its halves, down to the rows at fault; what a
//! row yields is therefore what it yields alone.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, BooleanArray, Int64Array, RecordBatch, StringArray, new_null_array};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::execution::SessionState;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, ExprSchemable as _, Volatility, cast};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::prelude::{SessionConfig, SessionContext};
use shiyu_schemas::city::manifest::RecordSection;
use shiyu_schemas::privacy::forbidden_kind;

use super::Problem;

/// Column with the source's name.
pub(super) const FILE_COLUMN: &str = "_file";
/// Column with the row in the source, from 1.
pub(super) const ROW_COLUMN: &str = "_row";

/// Plans the expressions of one manifest.
pub(super) struct Planner {
    state: SessionState,
    named: DFSchema,
    schema: SchemaRef,
}

/// A planned expression and the key of the manifest it stands at.
#[derive(Debug)]
pub(super) struct Expression {
    /// Field of the mapping, as rejections name it, e.g. `id`, `attributes.ward`.
    pub(super) field: String,
    physical: Arc<dyn PhysicalExpr>,
    target: DataType,
}

/// A column of values and the rows where the expression fails (their value is NULL).
#[derive(Debug)]
pub(super) struct Evaluated<A> {
    pub(super) values: A,
    pub(super) failed: Vec<usize>,
}

/// The functions analysts have too.
fn functions() -> Vec<Arc<datafusion::logical_expr::ScalarUDF>> {
    shiyu_function::all()
}

/// The Arrow schema of `record`.
pub(super) fn record_schema(record: &RecordSection) -> SchemaRef {
    let mut fields: Vec<Field> = record
        .columns
        .iter()
        .map(|column| Field::new(&column.name, DataType::Utf8, true))
        .collect();
    fields.push(Field::new(FILE_COLUMN, DataType::Utf8, true));
    fields.push(Field::new(ROW_COLUMN, DataType::Int64, true));
    Arc::new(Schema::new(fields))
}

impl Planner {
    pub(super) fn new(schema: SchemaRef) -> Result<Self, Problem> {
        let config = SessionConfig::new().set_bool("datafusion.sql_parser.map_string_types_to_utf8view", false);
        let context = SessionContext::new_with_config(config);
        for function in functions() {
            context.register_udf(function.as_ref().clone());
        }
        let named = DFSchema::try_from_qualified_schema("record", &schema)
            .map_err(|error| Problem::new("record.columns", error.strip_backtrace()))?;
        Ok(Self {
            state: context.state(),
            named,
            schema,
        })
    }

    /// Plans the SQL at `key` (e.g. `map.id`), cast to `target`.
    pub(super) fn plan(&self, key: &str, sql: &str, target: DataType) -> Result<Expression, Problem> {
        let problem = |error: DataFusionError| Problem::new(key, first_line(&error));
        let logical = self.state.create_logical_expr(sql, &self.named).map_err(problem)?;
        check_pure(&logical).map_err(|message| Problem::new(key, message))?;
        for column in logical.column_refs() {
            if let Some(kind) = forbidden_kind(&column.name) {
                let name = &column.name;
                return Err(Problem::new(
                    key,
                    format!("maps column \"{name}\": {kind} is never admitted"),
                ));
            }
        }
        if target == DataType::Boolean {
            let given = logical.get_type(&self.named).map_err(problem)?;
            if !matches!(given, DataType::Boolean | DataType::Null) {
                return Err(Problem::new(
                    key,
                    format!("must be a condition, not a value of type {given}"),
                ));
            }
        }
        let simplified = self.simplify(cast(logical, target.clone())).map_err(problem)?;
        let physical = self
            .state
            .create_physical_expr(simplified, &self.named)
            .map_err(problem)?;
        let given = physical.data_type(&self.schema).map_err(problem)?;
        debug_assert_eq!(given, target);
        let field = key.strip_prefix("map.").unwrap_or(key);
        let field = field.strip_suffix(".sql").unwrap_or(field).to_owned();
        Ok(Expression {
            field,
            physical,
            target,
        })
    }
}

impl Planner {
    /// Folds constants, and rewrites functions that exist only as a rewrite (`coalesce`).
    fn simplify(&self, expression: Expr) -> Result<Expr, DataFusionError> {
        let context = SimplifyContext::builder()
            .with_schema(Arc::new(self.named.clone()))
            .with_config_options(Arc::clone(self.state.config_options()))
            .build();
        let simplifier = ExprSimplifier::new(context);
        let coerced = simplifier.coerce(expression, &self.named)?;
        simplifier.simplify(coerced)
    }
}

/// DataFusion's message without its later lines (candidates, backtraces).
fn first_line(error: &DataFusionError) -> String {
    let text = error.strip_backtrace();
    text.lines().next().unwrap_or_default().to_owned()
}

/// Refuses whatever is not a pure function of one row.
fn check_pure(expression: &Expr) -> Result<(), String> {
    let mut refused = None;
    let walked = expression.apply(|part| {
        refused = match part {
            Expr::Alias(_)
            | Expr::Column(_)
            | Expr::Literal(..)
            | Expr::BinaryExpr(_)
            | Expr::Like(_)
            | Expr::SimilarTo(_)
            | Expr::Not(_)
            | Expr::IsNotNull(_)
            | Expr::IsNull(_)
            | Expr::IsTrue(_)
            | Expr::IsFalse(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotTrue(_)
            | Expr::IsNotFalse(_)
            | Expr::IsNotUnknown(_)
            | Expr::Negative(_)
            | Expr::Between(_)
            | Expr::Case(_)
            | Expr::Cast(_)
            | Expr::TryCast(_)
            | Expr::InList(_) => None,
            Expr::ScalarFunction(call) if call.func.signature().volatility == Volatility::Immutable => None,
            Expr::ScalarFunction(call) => Some(format!(
                "\"{}\" depends on when it runs; a mapping depends on the record only",
                call.func.name()
            )),
            Expr::AggregateFunction(_) | Expr::WindowFunction(_) => {
                Some("aggregates and windows see other records; a mapping sees one record at a time".to_owned())
            }
            Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_) => {
                Some("a mapping has no sub-queries; it sees one record at a time".to_owned())
            }
            other => Some(format!("\"{}\" cannot stand in a mapping", other.variant_name())),
        };
        Ok(if refused.is_some() {
            TreeNodeRecursion::Stop
        } else {
            TreeNodeRecursion::Continue
        })
    });
    match (refused, walked) {
        (Some(message), _) => Err(message),
        (None, Err(error)) => Err(first_line(&error)),
        (None, Ok(_)) => Ok(()),
    }
}

impl Expression {
    /// Values as text.
    pub(super) fn texts(&self, batch: &RecordBatch) -> Evaluated<StringArray> {
        let Evaluated { values, failed } = self.evaluate(batch);
        Evaluated {
            values: values.as_string::<i32>().clone(),
            failed,
        }
    }

    /// Values as bigint.
    pub(super) fn integers(&self, batch: &RecordBatch) -> Evaluated<Int64Array> {
        let Evaluated { values, failed } = self.evaluate(batch);
        Evaluated {
            values: values.as_primitive::<Int64Type>().clone(),
            failed,
        }
    }

    /// Values as truth.
    pub(super) fn conditions(&self, batch: &RecordBatch) -> Evaluated<BooleanArray> {
        let Evaluated { values, failed } = self.evaluate(batch);
        Evaluated {
            values: values.as_boolean().clone(),
            failed,
        }
    }

    fn evaluate(&self, batch: &RecordBatch) -> Evaluated<ArrayRef> {
        if let Some(values) = self.try_evaluate(batch) {
            return Evaluated {
                values,
                failed: Vec::new(),
            };
        }
        let (mut parts, mut failed) = (Vec::new(), Vec::new());
        self.halve(batch, 0, &mut parts, &mut failed);
        let parts: Vec<&dyn arrow::array::Array> = parts.iter().map(AsRef::as_ref).collect();
        let values = concat(&parts).unwrap_or_else(|_types| new_null_array(&self.target, batch.num_rows()));
        Evaluated { values, failed }
    }

    /// Evaluates the halves of a batch that failed as a whole.
    fn halve(&self, batch: &RecordBatch, first_row: usize, parts: &mut Vec<ArrayRef>, failed: &mut Vec<usize>) {
        if batch.num_rows() <= 1 {
            failed.push(first_row);
            parts.push(new_null_array(&self.target, batch.num_rows()));
            return;
        }
        let middle = batch.num_rows() / 2;
        for (offset, length) in [(0, middle), (middle, batch.num_rows() - middle)] {
            let half = batch.slice(offset, length);
            match self.try_evaluate(&half) {
                Some(values) => parts.push(values),
                None => self.halve(&half, first_row + offset, parts, failed),
            }
        }
    }

    /// `None` where it fails; why is never told, because the engine's message quotes the value.
    fn try_evaluate(&self, batch: &RecordBatch) -> Option<ArrayRef> {
        let values = self.physical.evaluate(batch).ok()?.into_array(batch.num_rows()).ok()?;
        (*values.data_type() == self.target).then_some(values)
    }
}
