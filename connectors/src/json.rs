//! Rows of JSON objects: lines, elements of an array, pushed records.
//!
//! Numbers stay as they are written: an order's number of twenty digits is in no number type, and rounded two orders would be one.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use shiyu_schemas::city::manifest::RecordSection;

use crate::columns::Columns;
use crate::contract::MalformedRow;

/// Adds the object in `text` to the columns, or to what is malformed; `unknown` is told each key the manifest does not name.
pub fn json_row(
    record: &RecordSection,
    text: &str,
    row: u64,
    columns: &mut Columns,
    malformed: &mut Vec<MalformedRow>,
    mut unknown: impl FnMut(&str),
) {
    match texts_of(record, text, &mut unknown) {
        Ok(texts) => {
            for (index, text) in texts.into_iter().enumerate() {
                if let Some(text) = text {
                    columns.set(index, &text);
                }
            }
            columns.end_row(row);
        }
        Err(problem) => malformed.push(MalformedRow {
            row,
            problem,
            raw: text.as_bytes().to_vec(),
        }),
    }
}

/// A text per column of the record, or what is wrong.
fn texts_of<'a>(
    record: &RecordSection,
    text: &'a str,
    unknown: &mut impl FnMut(&str),
) -> Result<Vec<Option<Cow<'a, str>>>, String> {
    let members: Members<'a> = serde_json::from_str(text).map_err(|error| {
        if error.is_data() {
            "the record is no JSON object".to_owned()
        } else {
            format!("the record is no JSON (column {})", error.column())
        }
    })?;
    for (key, _) in &members.0 {
        if !record.columns.iter().any(|column| column.is_named(key)) {
            unknown(key);
        }
    }
    let columns = record.columns.iter().map(|column| {
        let mut names = std::iter::once(&column.name).chain(&column.also);
        match names.find_map(|name| members.get(name)) {
            Some(value) => scalar(value).map_err(|error| format!("\"{}\" is no JSON: {error}", column.name)),
            None => Ok(None),
        }
    });
    columns.collect()
}

/// A value as text; none for null.
fn scalar(value: &RawValue) -> serde_json::Result<Option<Cow<'_, str>>> {
    let written = value.get();
    Ok(match written.as_bytes().first() {
        Some(b'n') => None,
        Some(b'"') => Some(serde_json::from_str::<Text<'_>>(written)?.0),
        Some(b'{' | b'[') => Some(compact(written).into()),
        _ => Some(written.into()),
    })
}

/// JSON without the space between its parts.
fn compact(json: &str) -> String {
    let (mut in_text, mut escaped) = (false, false);
    let mut compact = json.to_owned();
    compact.retain(|character| {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = in_text,
            '"' => in_text = !in_text,
            _ => return in_text || !character.is_ascii_whitespace(),
        }
        true
    });
    compact
}

/// The records of a whole file, which stand at `path`, dotted; each as it is written.
pub(crate) fn json_records(text: &str, path: Option<&str>) -> Result<Vec<Box<RawValue>>, String> {
    let unreadable = |error: serde_json::Error| format!("cannot read it as JSON: {error}");
    let mut at: &RawValue = serde_json::from_str(text).map_err(unreadable)?;
    for part in path.into_iter().flat_map(|path| path.split('.')) {
        let members: Result<Members<'_>, _> = serde_json::from_str(at.get());
        let member = members.ok().and_then(|members| members.get(part));
        at = member.ok_or_else(|| format!("it has no \"{part}\" (records_path)"))?;
    }
    serde_json::from_str(at.get()).map_err(|error| {
        if error.is_data() {
            "its records are no array; give records_path".to_owned()
        } else {
            unreadable(error)
        }
    })
}

/// A string, without a copy where it has no escapes.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The members of an object in their order, values as they are written.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Where a key stands twice the last one counts.
    fn get(&self, key: &str) -> Option<&'a RawValue> {
        self.0
            .iter()
            .rev()
            .find(|(known, _)| known == key)
            .map(|(_, value)| *value)
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Text(key), value)) = map.next_entry()? {
                    members.push((key, value));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use arrow::array::{Array as _, AsArray as _};
    use shiyu_schemas::city::manifest::ColumnSection;

    use super::*;

    fn record() -> RecordSection {
        let column = |name: &str, also: &[&str]| ColumnSection {
            name: name.to_owned(),
            also: also.iter().map(|name| (*name).to_owned()).collect(),
            optional: true,
        };
        RecordSection {
            columns: vec![column("id", &["编号"]), column("x", &[])],
            nulls: vec!["NA".to_owned()],
        }
    }

    /// What a record gives: `id` and `x`, or what is wrong with it.
    fn read(text: &str) -> Result<[Option<String>; 2], String> {
        let record = record();
        let (mut columns, mut malformed) = (Columns::new(&record), Vec::new());
        json_row(&record, text, 7, &mut columns, &mut malformed, |_key| {});
        let batch = columns.take("source");
        if let Some(row) = malformed.pop() {
            assert_eq!((row.row, row.raw.as_slice()), (7, text.as_bytes()));
            assert_eq!(batch.num_rows(), 0, "nothing half done");
            return Err(row.problem);
        }
        let value = |column: usize| {
            let values = batch.column(column).as_string::<i32>();
            values.is_valid(0).then(|| values.value(0).to_owned())
        };
        Ok([value(0), value(1)])
    }

    #[test]
    fn values_are_as_they_are_written() {
        for (text, id, x) in [
            (r#"{"id":"a","x":1}"#, Some("a"), Some("1")),
            (
                r#"{"id":20260304000000000012345,"x":1.50}"#,
                Some("20260304000000000012345"),
                Some("1.50"),
            ),
            (
                r#"{"编号":"甲\n\"乙\"\u4e19","x":-1e2}"#,
                Some("甲\n\"乙\"丙"),
                Some("-1e2"),
            ),
            (r#"{"id":null,"x":true}"#, None, Some("true")),
            (r#"{"id":"NA","x":" "}"#, None, None),
            (r#"{"id":1,"id":2,"y":[{"z":[]}]}"#, Some("2"), None),
            (
                r#"{ "id" : { "b" : [1.50, 2], "a" : "c \\\" d" } }"#,
                Some(r#"{"b":[1.50,2],"a":"c \\\" d"}"#),
                None,
            ),
        ] {
            let expected = [id, x].map(|value| value.map(str::to_owned));
            assert_eq!(read(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_object_is_malformed_with_its_place() {
        for text in ["[1]", "1", "null", "\"text\""] {
            assert_eq!(read(text), Err("the record is no JSON object".to_owned()), "{text}");
        }
        assert_eq!(read(r#"{"id":1,}"#).unwrap_err(), "the record is no JSON (column 9)");
        assert!(read(r#"{"id":1}{"id":2}"#).unwrap_err().contains("(column 9)"));
        assert!(read("").is_err());
        assert!(read(r#"{"id":"\ud800"}"#).unwrap_err().contains("\"id\" is no JSON"));
        let deep = format!(r#"{{"id":{}{}}}"#, "[".repeat(500), "]".repeat(500));
        assert!(read(&deep).is_ok(), "its value is a text like any other");
    }

    #[test]
    fn keys_the_manifest_does_not_name_are_told() {
        let record = record();
        let mut unknown = Vec::new();
        let (mut columns, mut malformed) = (Columns::new(&record), Vec::new());
        let text = r#"{"id":1,"phone":"2","编号":3,"x":null,"note":{}}"#;
        json_row(&record, text, 1, &mut columns, &mut malformed, |key| {
            unknown.push(key.to_owned());
        });
        assert_eq!(unknown, ["phone", "note"]);
    }

    #[test]
    fn records_of_a_file_stand_at_a_path() {
        let records = |text, path| {
            let records = json_records(text, path)?;
            Ok::<_, String>(records.iter().map(|record| record.get().to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(records(r#" [ {"a": 1} , 2 ] "#, None).unwrap(), [r#"{"a": 1}"#, "2"]);
        assert_eq!(records(r#"{"r":{"all":[3]}}"#, Some("r.all")).unwrap(), ["3"]);
        assert!(records(r#"{"r":1}"#, Some("r.all")).unwrap_err().contains("no \"all\""));
        assert!(records(r#"{"r":1}"#, None).unwrap_err().contains("no array"));
        assert!(records("[1,", None).unwrap_err().contains("line 1 column 3"));
    }
}
