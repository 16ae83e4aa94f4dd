//! How far off the hub's places are, and whether it found that a datum is not the declared one.

use std::collections::HashSet;

use arrow::array::RecordBatch;

use super::read::{Reader, text_at};
use super::records::{HubCase, Joined, TrueRecord, key};
use super::{Report, ScoreError, percent, quantile};

const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// Metres between two places, degrees, on the sphere.
fn metres((lat, lng): (f64, f64), (other_lat, other_lng): (f64, f64)) -> f64 {
    let half = |degrees: f64| (degrees / 2.0).to_radians().sin();
    let square = half(other_lat - lat) * half(other_lat - lat)
        + lat.to_radians().cos() * other_lat.to_radians().cos() * half(other_lng - lng) * half(other_lng - lng);
    2.0 * EARTH_RADIUS_M * square.sqrt().asin()
}

fn distance(record: &TrueRecord, case: &HubCase) -> Option<f64> {
    case.place.map(|place| metres(record.place, place))
}

pub(super) fn report(joined: &Joined, events: &[RecordBatch], report: &mut Report) -> Result<(), ScoreError> {
    for feed in joined.feeds() {
        let of_feed = || joined.pairs().filter(|(record, _)| record.feed == feed);
        let located: Vec<_> = of_feed().filter(|(record, _)| record.is_located).collect();
        let placed = located.iter().filter(|(_, case)| case.place.is_some()).count() as u64;
        if located.is_empty() {
            report.line(
                "location",
                "records with a place",
                feed,
                "none".to_owned(),
                0,
                "the feed gives no coordinates",
            );
            continue;
        }
        let note = "of those whose coordinates were given";
        report.line(
            "location",
            "records with a place",
            feed,
            percent(placed, located.len() as u64),
            located.len() as u64,
            note,
        );
        for (is_wrong, words) in [(false, ""), (true, ", wrong datum")] {
            let mut errors: Vec<f64> = located
                .iter()
                .filter(|(record, _)| record.has_wrong_datum == is_wrong)
                .filter_map(|(record, case)| distance(record, case))
                .collect();
            if is_wrong && errors.is_empty() {
                continue;
            }
            errors.sort_by(f64::total_cmp);
            for (name, share) in [("p50", 0.5), ("p95", 0.95), ("max", 1.0)] {
                let measure = format!("error in metres, {name}{words}");
                let note = "with what the department's own device is off";
                report.line(
                    "location",
                    &measure,
                    feed,
                    quantile(&errors, share),
                    errors.len() as u64,
                    note,
                );
            }
        }
        let blind: Vec<_> = of_feed().filter(|(record, _)| !record.is_located).collect();
        let invented = blind.iter().filter(|(_, case)| case.place.is_some()).count() as u64;
        let note = "no coordinates or the city hall's: they must have no exact place";
        report.line(
            "location",
            "records placed without a place",
            feed,
            invented.to_string(),
            blind.len() as u64,
            note,
        );
    }
    datum(joined, events, report)
}

fn datum(joined: &Joined, events: &[RecordBatch], report: &mut Report) -> Result<(), ScoreError> {
    let mut flagged = HashSet::new();
    for batch in events {
        let reader = Reader { table: "events", batch };
        let (feeds, ids, flags) = (
            reader.texts("feed")?,
            reader.texts("record_id")?,
            reader.texts("flags")?,
        );
        for row in 0..batch.num_rows() {
            if text_at(&flags, row).is_some_and(|flags| flags.contains("datum")) {
                flagged.insert(key(feeds.value(row), ids.value(row)));
            }
        }
    }
    let wrong: Vec<&TrueRecord> = joined
        .pairs()
        .map(|(record, _)| record)
        .filter(|record| record.has_wrong_datum)
        .collect();
    let found = wrong.iter().filter(|record| flagged.contains(&record.key())).count() as u64;
    let note = if flagged.is_empty() {
        "the hub flags no datum yet"
    } else {
        "records whose flags name the datum"
    };
    report.line(
        "datum",
        "wrong datum found (recall)",
        "all",
        percent(found, wrong.len() as u64),
        wrong.len() as u64,
        note,
    );
    report.line(
        "datum",
        "flagged rightly (precision)",
        "all",
        percent(found, flagged.len() as u64),
        flagged.len() as u64,
        note,
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_degree_of_a_meridian_has_111_kilometres() {
        assert!((metres((32.0, 114.0), (33.0, 114.0)) - 111_195.0).abs() < 1.0);
        assert!((metres((0.0, 114.0), (0.0, 114.001)) - 111.195).abs() < 0.01);
    }
}
