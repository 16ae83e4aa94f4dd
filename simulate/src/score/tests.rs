//! A hub that has everything right scores full marks; one that is wrong does not.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};

use super::read::{Reader, truth_table};
use super::*;
use crate::{SimulationOptions, simulate};

fn simulated() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let options = SimulationOptions {
        days: 16,
        scale: 0.05,
        threads: 1,
        ..SimulationOptions::default()
    };
    simulate(&options, folder.path()).unwrap();
    folder
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

fn times(values: &Int64Array) -> ArrayRef {
    Arc::new(
        values
            .iter()
            .collect::<TimestampMicrosecondArray>()
            .with_timezone("UTC"),
    )
}

/// What a hub would say that got everything right; `shift` moves every place to the north, degrees.
fn perfect(truth: &Path, shift: f64) -> HubTables {
    let mut tables = HubTables::default();
    let columns = [
        "feed",
        "record_id",
        "class",
        "incident",
        "category",
        "said_category",
        "lat",
        "lng",
        "located",
        "state",
        "closed_at",
        "holders",
    ];
    let mut links = Vec::new();
    for part in truth_table(truth, "records", &columns).unwrap() {
        let reader = Reader {
            table: "records",
            batch: &part,
        };
        let wanted: BooleanArray = reader
            .texts("class")
            .unwrap()
            .iter()
            .map(|class| Some(!matches!(class, Some("test" | "invalid"))))
            .collect();
        let located = reader.truths("located").unwrap();
        let place = |name, shift: f64| -> ArrayRef {
            let values = reader.reals(name).unwrap();
            Arc::new(
                (0..part.num_rows())
                    .map(|row| located.value(row).then(|| values.value(row) + shift))
                    .collect::<Float64Array>(),
            )
        };
        let holders: StringArray = reader
            .texts("holders")
            .unwrap()
            .iter()
            .map(|text| text.and_then(|text| text.rsplit('>').next()))
            .collect();
        let categories: StringArray = reader
            .texts("category")
            .unwrap()
            .iter()
            .zip(reader.texts("said_category").unwrap().iter())
            .map(|(truth, said)| truth.or(said))
            .collect();
        let cases = batch(vec![
            ("feed", Arc::new(reader.texts("feed").unwrap())),
            ("record_id", Arc::new(reader.texts("record_id").unwrap())),
            ("category", Arc::new(categories)),
            ("state", Arc::new(reader.texts("state").unwrap())),
            ("lat", place("lat", shift)),
            ("lng", place("lng", 0.0)),
            ("closed_at", times(&reader.times("closed_at").unwrap())),
            ("holder", Arc::new(holders)),
        ]);
        tables
            .cases
            .push(arrow::compute::filter_record_batch(&cases, &wanted).unwrap());
        let incidents: StringArray = reader
            .wholes("incident")
            .unwrap()
            .iter()
            .map(|incident| incident.map(|number| number.to_string()))
            .collect();
        links.push(batch(vec![
            ("feed", Arc::new(reader.texts("feed").unwrap())),
            ("record_id", Arc::new(reader.texts("record_id").unwrap())),
            ("incident", Arc::new(incidents)),
        ]));
    }
    tables.links = Some(links);
    for part in truth_table(truth, "changes", &["feed", "record_id", "changed_at", "state"]).unwrap() {
        let reader = Reader {
            table: "changes",
            batch: &part,
        };
        let flags: StringArray = (0..part.num_rows()).map(|_| None::<&str>).collect();
        tables.events.push(batch(vec![
            ("feed", Arc::new(reader.texts("feed").unwrap())),
            ("record_id", Arc::new(reader.texts("record_id").unwrap())),
            ("updated_at", times(&reader.times("changed_at").unwrap())),
            ("state", Arc::new(reader.texts("state").unwrap())),
            ("flags", Arc::new(flags)),
        ]));
    }
    tables
}

fn value<'a>(lines: &'a [ScoreLine], measure: &str, about: &str) -> &'a str {
    &lines
        .iter()
        .find(|line| line.measure == measure && line.about == about)
        .unwrap()
        .value
}

#[test]
fn a_hub_that_is_right_has_full_marks() {
    let folder = simulated();
    let truth = folder.path().join("truth");
    let lines = score(&truth, &perfect(&truth, 0.0)).unwrap();
    for feed in ["hotline", "police", "grid", "device"] {
        assert_eq!(value(&lines, "records that are cases", feed), "100.00 %");
        assert_eq!(value(&lines, "state is the true one", feed), "100.00 %");
        assert_eq!(value(&lines, "true changes found (recall)", feed), "100.00 %");
        assert_eq!(value(&lines, "lives rebuilt change by change", feed), "100.00 %");
        assert_eq!(value(&lines, "right to the last level", feed), "100.00 %");
        assert_eq!(value(&lines, "error in metres, max", feed), "0.0");
    }
    assert_eq!(value(&lines, "F1", "all"), "1.0000");
    assert_eq!(value(&lines, "cases without a true record", "all"), "0");
    assert_eq!(
        value(&lines, "wrong datum found (recall)", "all"),
        "0.00 %",
        "nobody flagged it"
    );
    assert_eq!(value(&lines, "probability of detection", "cluster"), "0.00 %");
    assert_eq!(value(&lines, "rank correlation with true intensity", "all"), "none");
}

#[test]
fn a_hub_that_is_off_or_empty_is_told_so() {
    let folder = simulated();
    let truth = folder.path().join("truth");
    let lines = score(&truth, &perfect(&truth, 0.001)).unwrap();
    assert_eq!(value(&lines, "error in metres, p50", "police"), "111.2");
    let lines = score(&truth, &HubTables::default()).unwrap();
    assert_eq!(value(&lines, "records that are cases", "hotline"), "0.00 %");
    assert_eq!(
        value(&lines, "recall", "all"),
        "none",
        "no pair is among the hub's cases"
    );
    assert!(
        score(folder.path(), &HubTables::default()).is_err(),
        "no truth lies there"
    );
}
