//! What a function is, and how DataFusion calls it.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result, ScalarValue, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use crate::value::{self, Kind, Problem, Value};

/// A call that cannot be answered. Never quotes a value, so that it may be told to whoever asked.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("{function}: {problem}")]
pub struct CallError {
    /// Name of the function.
    pub function: &'static str,
    /// What is wrong with its arguments.
    pub problem: Problem,
}

/// One SQL function.
#[derive(Debug)]
pub struct Function {
    /// Name.
    pub name: &'static str,
    /// Names other systems have for it, lower case.
    pub aliases: &'static [&'static str],
    /// Names and kinds of its arguments.
    pub arguments: &'static [(&'static str, Kind)],
    /// How many of them must be given.
    pub required: usize,
    /// Kind of its result.
    pub result: Kind,
    /// What it does.
    pub description: &'static str,
    /// A call that works.
    pub example: &'static str,
    /// Gives NULL instead of an error.
    pub lenient: bool,
    /// One row; no argument is NULL.
    pub call: fn(&[Value]) -> Result<Value, Problem>,
}

impl Function {
    /// A function all of whose arguments must be given, and which fails where it has no answer.
    pub(crate) const fn new(
        name: &'static str,
        aliases: &'static [&'static str],
        arguments: &'static [(&'static str, Kind)],
        result: Kind,
        description: &'static str,
        example: &'static str,
        call: fn(&[Value]) -> Result<Value, Problem>,
    ) -> Self {
        Self {
            name,
            aliases,
            arguments,
            required: arguments.len(),
            result,
            description,
            example,
            lenient: false,
            call,
        }
    }

    /// The last argument may be left out.
    pub(crate) const fn last_optional(self) -> Self {
        Self {
            required: self.arguments.len() - 1,
            ..self
        }
    }

    /// Gives NULL instead of an error.
    pub(crate) const fn lenient(self) -> Self {
        Self { lenient: true, ..self }
    }

    /// As it is called, e.g. `h3_cell_to_parent(cell BIGINT [, resolution BIGINT]) → BIGINT`.
    pub fn signature(&self) -> String {
        let mut text = format!("{}(", self.name);
        for (index, (name, kind)) in self.arguments.iter().enumerate() {
            let optional = index >= self.required;
            text.push_str(match (index, optional) {
                (0, false) => "",
                (0, true) => "[",
                (_, false) => ", ",
                (_, true) => " [, ",
            });
            text.push_str(&format!("{name} {}", kind.sql()));
            text.push_str(if optional { "]" } else { "" });
        }
        format!("{text}) → {}", self.result.sql())
    }

    pub(crate) fn to_udf(&'static self) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::from(Udf {
            function: self,
            aliases: self.aliases.iter().map(|&alias| alias.to_owned()).collect(),
            signature: Signature::user_defined(Volatility::Immutable),
        }))
    }
}

#[derive(Debug)]
struct Udf {
    function: &'static Function,
    aliases: Vec<String>,
    signature: Signature,
}

impl PartialEq for Udf {
    fn eq(&self, other: &Self) -> bool {
        self.function.name == other.function.name
    }
}

impl Eq for Udf {}

impl Hash for Udf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.name.hash(state);
    }
}

impl ScalarUDFImpl for Udf {
    fn name(&self) -> &str {
        self.function.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(self.function.result.data_type())
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let function = self.function;
        if given.len() < function.required || given.len() > function.arguments.len() {
            return plan_err!("{} takes other arguments: {}", function.name, function.signature());
        }
        given
            .iter()
            .zip(function.arguments)
            .map(|(given, (name, kind))| coerced(function, given, name, *kind))
            .collect()
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let function = self.function;
        let all_scalar = arguments
            .args
            .iter()
            .all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let rows = if all_scalar { 1 } else { arguments.number_rows };
        // An argument that is one value for all rows is read once.
        let columns = arguments
            .args
            .iter()
            .map(|argument| match argument {
                ColumnarValue::Array(array) => Ok(Err(array.clone())),
                ColumnarValue::Scalar(scalar) => Ok(Ok(value::read(&scalar.to_array()?, 0))),
            })
            .collect::<Result<Vec<_>>>()?;
        let mut results = Vec::with_capacity(rows);
        let mut values = vec![Value::Null; columns.len()];
        for row in 0..rows {
            for (value, column) in values.iter_mut().zip(&columns) {
                *value = match column {
                    Ok(scalar) => scalar.clone(),
                    Err(array) => value::read(array, row),
                };
            }
            results.push(one(function, &values)?);
        }
        let array = value::write(function.result, results);
        if all_scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?));
        }
        Ok(ColumnarValue::Array(array))
    }
}

fn one(function: &Function, values: &[Value]) -> Result<Value> {
    if values.contains(&Value::Null) {
        return Ok(Value::Null);
    }
    match (function.call)(values) {
        Ok(value) => Ok(value),
        Err(_) if function.lenient => Ok(Value::Null),
        Err(problem) => Err(DataFusionError::External(Box::new(CallError {
            function: function.name,
            problem,
        }))),
    }
}

fn coerced(function: &Function, given: &DataType, name: &str, kind: Kind) -> Result<DataType> {
    let is_text = matches!(given, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let fits = match kind {
        Kind::Cell if is_text => return Ok(DataType::Utf8),
        Kind::Cell | Kind::Int => given.is_integer(),
        Kind::Double => given.is_numeric(),
        Kind::Text => is_text,
        Kind::Bool => *given == DataType::Boolean,
        Kind::Bytes => matches!(
            given,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_)
        ),
        // Results only.
        Kind::Rings | Kind::Place | Kind::Places => false,
        Kind::Cells => matches!(
            given,
            DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..)
        ),
    };
    if fits || given.is_null() {
        return Ok(kind.data_type());
    }
    Err(DataFusionError::Plan(format!(
        "{}: {name} must be {}, not {given}",
        function.name,
        kind.sql()
    )))
}
