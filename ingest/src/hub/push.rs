//! Records pushed as JSON become a delivery like any other.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema};
use serde_json::Value;
use shiyu_connectors::Delivery;
use shiyu_connectors::contract::MalformedRow;
use shiyu_schemas::city::manifest::RecordSection;

/// Records of one push, as JSON objects. A text that is no JSON object is malformed; keys are columns (`name` or `also`).
///
/// `source` names the delivery: the same source and row again is the same delivery.
pub fn delivery_of(record: &RecordSection, source: &str, records: &[String]) -> Delivery {
    let mut builders: Vec<StringBuilder> = record.columns.iter().map(|_| StringBuilder::new()).collect();
    let mut rows = Vec::with_capacity(records.len());
    let mut malformed = Vec::new();
    let mut unknown = std::collections::BTreeSet::new();
    for (index, text) in records.iter().enumerate() {
        let row = index as u64 + 1;
        match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(object)) => {
                rows.push(row as i64);
                for (column, builder) in record.columns.iter().zip(&mut builders) {
                    let value = object
                        .get(&column.name)
                        .or_else(|| column.also.iter().find_map(|name| object.get(name)));
                    builder.append_option(value.and_then(|value| text_of(value, &record.nulls)));
                }
                unknown.extend(object.keys().filter(|key| !is_known(record, key)).cloned());
            }
            _ => malformed.push(MalformedRow {
                row,
                problem: "the record is not a JSON object".to_owned(),
                raw: text.clone().into_bytes(),
            }),
        }
    }
    let mut fields: Vec<Field> = record
        .columns
        .iter()
        .map(|column| Field::new(&column.name, DataType::Utf8, true))
        .collect();
    fields.push(Field::new("_file", DataType::Utf8, true));
    fields.push(Field::new("_row", DataType::Int64, true));
    let mut arrays: Vec<ArrayRef> = builders
        .into_iter()
        .map(|mut builder| Arc::new(builder.finish()) as ArrayRef)
        .collect();
    arrays.push(Arc::new(StringArray::from_iter_values(rows.iter().map(|_| source))));
    arrays.push(Arc::new(Int64Array::from(rows)));
    Delivery {
        source: source.to_owned(),
        batch: RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
            .expect("every column has one value per record"),
        malformed,
        position: String::new(),
        replaced_characters: 0,
        unknown_columns: unknown.into_iter().collect(),
        bytes_done: 0,
        bytes_total: 0,
        end_of_source: true,
    }
}

fn is_known(record: &RecordSection, key: &str) -> bool {
    record
        .columns
        .iter()
        .any(|column| column.name == key || column.also.iter().any(|name| name == key))
}

fn text_of(value: &Value, nulls: &[String]) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let trimmed = text.trim();
    (!trimmed.is_empty() && !nulls.iter().any(|null| null == trimmed)).then_some(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use shiyu_schemas::city::manifest::ColumnSection;

    use super::*;

    fn record() -> RecordSection {
        let column = |name: &str, also: &[&str]| ColumnSection {
            name: name.to_owned(),
            also: also.iter().map(|name| (*name).to_owned()).collect(),
            optional: true,
        };
        RecordSection {
            columns: vec![column("id", &[]), column("x", &["lng"])],
            nulls: vec!["NA".to_owned()],
        }
    }

    #[test]
    fn pushed_objects_become_rows_and_other_texts_are_malformed() {
        let records = [r#"{"id":"a","lng":112.5}"#, "[1]", r#"{"id":"NA","phone":"1"}"#].map(str::to_owned);
        let delivery = delivery_of(&record(), "push:k", &records);
        assert_eq!(delivery.batch.num_rows(), 2);
        assert_eq!(delivery.malformed.len(), 1);
        assert_eq!(delivery.malformed[0].row, 2);
        assert_eq!(delivery.unknown_columns, ["phone"]);
        let x = delivery.batch.column(1).as_any().downcast_ref::<StringArray>().unwrap();
        assert_eq!(x.value(0), "112.5");
        assert!(delivery.batch.column(0).is_null(1), "NA is declared as no value");
        let row = delivery.batch.column(3).as_any().downcast_ref::<Int64Array>().unwrap();
        assert_eq!(row.values().as_ref(), [1, 3]);
    }
}
