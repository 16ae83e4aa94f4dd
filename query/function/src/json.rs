//! Values of JSON columns, such as `attributes` and `areas`.

use crate::function::Function;
use crate::value::{Kind, Problem, Value};

fn json_get_str(values: &[Value]) -> Result<Value, Problem> {
    let object: serde_json::Value = serde_json::from_str(values[0].text()?).map_err(|_error| "no JSON")?;
    Ok(match object.get(values[1].text()?) {
        Some(serde_json::Value::String(text)) => Value::Text(text.clone()),
        None | Some(serde_json::Value::Null) => Value::Null,
        Some(other) => Value::Text(other.to_string()),
    })
}

pub(crate) const FUNCTIONS: &[Function] = &[Function::new(
    "json_get_str",
    &["attribute"],
    &[("json", Kind::Text), ("key", Kind::Text)],
    Kind::Text,
    "Text of a key of a JSON object; NULL where it has none",
    "json_get_str('{\"ward\": \"20\"}', 'ward')",
    json_get_str,
)];
