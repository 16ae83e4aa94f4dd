//! Records pushed as JSON become a delivery like any other.

use std::collections::BTreeSet;

use shiyu_connectors::json::json_row;
use shiyu_connectors::{Columns, Delivery};
use shiyu_schemas::city::manifest::RecordSection;

/// Records of one push, as JSON objects. A text that is no JSON object is malformed; keys are columns (`name` or `also`).
///
/// `source` names the delivery: the same source and row again is the same delivery.
pub fn delivery_of(record: &RecordSection, source: &str, records: &[String]) -> Delivery {
    let mut columns = Columns::new(record);
    let mut malformed = Vec::new();
    let mut unknown = BTreeSet::new();
    for (row, text) in (1..).zip(records) {
        json_row(record, text, row, &mut columns, &mut malformed, |key| {
            if !unknown.contains(key) {
                unknown.insert(key.to_owned());
            }
        });
    }
    Delivery {
        source: source.to_owned(),
        batch: columns.take(source),
        malformed,
        position: String::new(),
        replaced_characters: 0,
        unknown_columns: unknown.into_iter().collect(),
        bytes_done: 0,
        bytes_total: 0,
        end_of_source: true,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use arrow::array::{Array as _, Int64Array, StringArray};

    use super::*;

    fn record() -> RecordSection {
        let columns = serde_json::json!([{ "name": "id" }, { "name": "x", "also": ["lng"] }]);
        serde_json::from_value(serde_json::json!({ "columns": columns, "nulls": ["NA"] })).unwrap()
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
