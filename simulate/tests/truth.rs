//! The truth contradicts neither itself nor the records: checked over every row by code of its own, which reads files only.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use shiyu_simulate::{SimulationOptions, simulate};

fn table(out: &Path, name: &str) -> Vec<RecordBatch> {
    let file = File::open(out.join(format!("truth/{name}.parquet"))).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    reader.map(Result::unwrap).collect()
}

fn texts(batch: &RecordBatch, name: &str) -> Vec<Option<String>> {
    let column = batch.column_by_name(name).unwrap().as_string::<i32>();
    column.iter().map(|text| text.map(str::to_owned)).collect()
}

fn text(batch: &RecordBatch, name: &str, row: usize) -> String {
    batch
        .column_by_name(name)
        .unwrap()
        .as_string::<i32>()
        .value(row)
        .to_owned()
}

fn time(batch: &RecordBatch, name: &str, row: usize) -> i64 {
    batch
        .column_by_name(name)
        .unwrap()
        .as_primitive::<TimestampMicrosecondType>()
        .value(row)
}

fn real(batch: &RecordBatch, name: &str, row: usize) -> f64 {
    batch
        .column_by_name(name)
        .unwrap()
        .as_primitive::<Float64Type>()
        .value(row)
}

/// Rows of every record id in a feed's files, without those sent again.
fn rows_of_files(out: &Path, feed: &str) -> BTreeMap<String, u32> {
    let mut rows = BTreeMap::new();
    for entry in fs::read_dir(out.join(feed)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.contains("_resend") {
            let original = path.with_file_name(name.replace("_resend", ""));
            assert!(
                fs::read(&path).unwrap() == fs::read(original).unwrap(),
                "{name} was sent again, but is another"
            );
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let is_csv = name.ends_with(".csv");
        // All ids are ASCII and stand first, in every encoding and header.
        for line in bytes
            .split(|byte| *byte == b'\n')
            .skip(usize::from(is_csv))
            .filter(|line| !line.is_empty())
        {
            let start = if is_csv {
                0
            } else {
                line.iter().position(|byte| *byte == b':').unwrap() + 2
            };
            let id: String = line[start..]
                .iter()
                .take_while(|byte| byte.is_ascii_alphanumeric())
                .map(|&byte| char::from(byte))
                .collect();
            *rows.entry(id).or_default() += 1;
        }
    }
    rows
}

/// Whether a point lies in a GeoJSON polygon, by crossings.
fn holds(rings: &[Vec<(f64, f64)>], (x, y): (f64, f64)) -> bool {
    let mut inside = false;
    for ring in rings {
        for pair in ring.windows(2) {
            let ((ax, ay), (bx, by)) = (pair[0], pair[1]);
            if (ay > y) != (by > y) && x < (bx - ax) * (y - ay) / (by - ay) + ax {
                inside = !inside;
            }
        }
    }
    inside
}

type Polygons = HashMap<String, Vec<Vec<Vec<(f64, f64)>>>>;

fn polygons(out: &Path, level: &str) -> Polygons {
    let text = fs::read_to_string(out.join(format!("areas/{level}.geojson"))).unwrap();
    let mut polygons = Polygons::new();
    for line in text.lines().filter(|line| line.starts_with("{\"type\":\"Feature\"")) {
        let code = line
            .split("\"code\":\"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap()
            .to_owned();
        let coordinates = line.split("\"coordinates\":[").nth(1).unwrap();
        let rings = coordinates
            .split("]]")
            .filter(|ring| ring.contains('.'))
            .map(|ring| {
                let numbers: Vec<f64> = ring
                    .split(|character: char| !(character.is_ascii_digit() || character == '.' || character == '-'))
                    .filter_map(|number| number.parse().ok())
                    .collect();
                numbers.chunks(2).map(|pair| (pair[0], pair[1])).collect()
            })
            .collect();
        polygons.entry(code).or_default().push(rings);
    }
    polygons
}

struct Incident {
    at: i64,
    place: (f64, f64),
    category: String,
    plan: Option<i32>,
}

fn incidents(out: &Path) -> HashMap<i64, Incident> {
    let (grids, communities) = (polygons(out, "grid"), polygons(out, "community"));
    let mut incidents = HashMap::new();
    for batch in table(out, "incidents") {
        let ids = batch
            .column_by_name("incident")
            .unwrap()
            .as_primitive::<Int64Type>()
            .clone();
        let plans = batch
            .column_by_name("plan")
            .unwrap()
            .as_primitive::<Int32Type>()
            .clone();
        for row in 0..batch.num_rows() {
            let place = (real(&batch, "lng", row), real(&batch, "lat", row));
            for (areas, column) in [(&grids, "grid"), (&communities, "community")] {
                let code = text(&batch, column, row);
                let lies_in = areas[&code].iter().any(|rings| holds(rings, place));
                assert!(lies_in, "{place:?} is not in the {column} {code}");
            }
            assert!(text(&batch, "grid", row).starts_with(&text(&batch, "community", row)));
            assert!(text(&batch, "community", row).starts_with(&text(&batch, "town", row)));
            let incident = Incident {
                at: time(&batch, "occurred_at", row),
                place,
                category: text(&batch, "category", row),
                plan: plans.is_valid(row).then(|| plans.value(row)),
            };
            assert!(
                incidents.insert(ids.value(row), incident).is_none(),
                "an incident stands twice"
            );
        }
    }
    incidents
}

#[test]
fn truth_and_records_do_not_contradict_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path();
    let options = SimulationOptions {
        days: 70,
        scale: 0.05,
        threads: 2,
        ..SimulationOptions::default()
    };
    simulate(&options, out).unwrap();
    let incidents = incidents(out);
    let mut files: HashMap<&str, BTreeMap<String, u32>> = ["hotline", "police", "grid", "petition", "device"]
        .map(|feed| (feed, rows_of_files(out, feed)))
        .into();
    let (mut firsts, mut filed, mut later) = (HashMap::new(), HashMap::new(), Vec::new());
    let mut expected_changes = HashMap::new();
    for batch in table(out, "records") {
        let ids = batch
            .column_by_name("incident")
            .unwrap()
            .as_primitive::<Int64Type>()
            .clone();
        let plans = batch
            .column_by_name("plan")
            .unwrap()
            .as_primitive::<Int32Type>()
            .clone();
        let changes = batch
            .column_by_name("changes")
            .unwrap()
            .as_primitive::<Int32Type>()
            .clone();
        let duplicates = texts(&batch, "duplicate_of");
        for row in 0..batch.num_rows() {
            let (feed, id) = (text(&batch, "feed", row), text(&batch, "record_id", row));
            let name = format!("{feed}:{id}");
            let rows = files.get_mut(feed.as_str()).unwrap().remove(&id);
            assert_eq!(rows, Some(changes.value(row) as u32), "rows of {name}");
            assert!(
                filed.insert(name.clone(), time(&batch, "filed_at", row)).is_none(),
                "{name} stands twice"
            );
            expected_changes.insert(name.clone(), (changes.value(row), text(&batch, "state", row)));
            let class = text(&batch, "class", row);
            let gamed = text(&batch, "gamed", row);
            assert_eq!(class == "self_made", gamed == "self_made");
            if ids.is_null(row) {
                assert!(
                    !["real"].contains(&class.as_str()),
                    "{name} is real without an incident"
                );
                assert!(duplicates[row].is_none() && plans.is_null(row));
                continue;
            }
            let incident = &incidents[&ids.value(row)];
            assert_eq!(text(&batch, "category", row), incident.category);
            assert_eq!((real(&batch, "lng", row), real(&batch, "lat", row)), incident.place);
            assert_eq!(plans.is_valid(row).then(|| plans.value(row)), incident.plan);
            let day_us = 86_400_000_000;
            assert!(
                time(&batch, "filed_at", row) >= incident.at - if feed == "petition" { day_us } else { 60_000_000 },
                "{name} was filed before it happened"
            );
            match &duplicates[row] {
                None => assert!(
                    firsts.insert(ids.value(row), name).is_none(),
                    "an incident has two first reports"
                ),
                Some(first) => later.push((ids.value(row), first.clone(), name)),
            }
        }
    }
    for (feed, rows) in &files {
        assert!(
            rows.is_empty(),
            "{feed} has records that the truth does not know: {rows:?}"
        );
    }
    for (incident, first, name) in &later {
        // The first report may come later than the run's end only where the later one does, too.
        if let Some(known) = firsts.get(incident) {
            assert_eq!(first, known, "{name}");
        }
        assert!(first != name);
    }
    check_changes(out, &expected_changes);
    check_plans(out, &incidents);
}

fn check_changes(out: &Path, expected: &HashMap<String, (i32, String)>) {
    let mut seen: HashMap<String, (i32, i64, String)> = HashMap::new();
    let mut ended = HashSet::new();
    for batch in table(out, "changes") {
        let sequences = batch
            .column_by_name("sequence")
            .unwrap()
            .as_primitive::<Int32Type>()
            .clone();
        for row in 0..batch.num_rows() {
            let name = format!("{}:{}", text(&batch, "feed", row), text(&batch, "record_id", row));
            let (at, delivered) = (time(&batch, "changed_at", row), time(&batch, "delivered_at", row));
            assert!(delivered >= at);
            let state = text(&batch, "state", row);
            if let Some((sequence, before, _)) = seen.get(&name) {
                assert_eq!(sequences.value(row), sequence + 1, "{name}");
                assert!(at > *before, "{name} changes twice at once");
                assert!(!ended.contains(&name), "{name} goes on after it was taken back");
            } else {
                assert_eq!(sequences.value(row), 0, "{name}");
            }
            if ["withdrawn", "duplicate"].contains(&state.as_str()) {
                ended.insert(name.clone());
            }
            seen.insert(name, (sequences.value(row), at, state));
        }
    }
    assert_eq!(seen.len(), expected.len());
    for (name, (count, state)) in expected {
        let (last, _, last_state) = &seen[name];
        assert_eq!((last + 1, last_state), (*count, state), "{name}");
    }
}

fn check_plans(out: &Path, incidents: &HashMap<i64, Incident>) {
    let mut plans = BTreeSet::new();
    for batch in table(out, "plans") {
        let ids = batch
            .column_by_name("plan")
            .unwrap()
            .as_primitive::<Int32Type>()
            .clone();
        for row in 0..batch.num_rows() {
            let id = ids.value(row);
            assert!(plans.insert(id));
            let category = text(&batch, "category", row);
            let (start, end) = (time(&batch, "start_at", row), time(&batch, "end_at", row));
            assert!(start < end && real(&batch, "relative_risk", row) > 1.0);
            for incident in incidents.values().filter(|incident| incident.plan == Some(id)) {
                assert_eq!(incident.category, category);
                assert!(
                    (start..end).contains(&incident.at),
                    "plan {id} makes an incident outside its days"
                );
            }
        }
    }
    assert!(
        incidents
            .values()
            .filter_map(|incident| incident.plan)
            .all(|plan| plans.contains(&plan))
    );
}
