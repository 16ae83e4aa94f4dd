//! Rows of NDJSON and JSON.

use serde_json::Value;
use shiyu_schemas::city::manifest::RecordSection;

use super::columns::Columns;
use crate::contract::MalformedRow;

/// Adds a line to the columns, or to what is malformed.
pub(super) fn json_line(
    record: &RecordSection,
    line: &str,
    row: u64,
    columns: &mut Columns,
    malformed: &mut Vec<MalformedRow>,
) {
    match serde_json::from_str::<Value>(line) {
        Ok(value) => json_row(record, &value, row, columns, malformed),
        Err(error) => {
            let problem = format!("the line is no JSON (column {})", error.column());
            malformed.push(MalformedRow {
                row,
                problem,
                raw: line.as_bytes().to_vec(),
            });
        }
    }
}

/// Adds an object to the columns, or to what is malformed.
pub(super) fn json_row(
    record: &RecordSection,
    value: &Value,
    row: u64,
    columns: &mut Columns,
    malformed: &mut Vec<MalformedRow>,
) {
    let Value::Object(object) = value else {
        let raw = value.to_string().into_bytes();
        malformed.push(MalformedRow {
            row,
            problem: "the record is no JSON object".to_owned(),
            raw,
        });
        return;
    };
    for (index, column) in record.columns.iter().enumerate() {
        let found = std::iter::once(&column.name)
            .chain(&column.also)
            .find_map(|name| object.get(name));
        match found {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => columns.set(index, text),
            Some(other) => columns.set(index, &other.to_string()),
        }
    }
    columns.end_row(row);
}

/// The records of a whole file, which stand at `path`, dotted.
pub(super) fn json_records(text: &str, path: Option<&str>) -> Result<Vec<Value>, String> {
    let mut at: Value = serde_json::from_str(text).map_err(|error| format!("cannot read it as JSON: {error}"))?;
    for part in path.into_iter().flat_map(|path| path.split('.')) {
        at = at
            .get_mut(part)
            .map(Value::take)
            .ok_or_else(|| format!("it has no \"{part}\" (records_path)"))?;
    }
    match at {
        Value::Array(records) => Ok(records),
        _ => Err("its records are no array; give records_path".to_owned()),
    }
}
