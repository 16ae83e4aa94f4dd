//! What the hub warned of among what is planted: probability of detection, false alarms, delay.
//!
//! A warning hits a plan where it is of the plan's category (or of none), raised between its start and a week after its end, within its
//! radius and half a kilometre.

use std::path::Path;

use arrow::array::{Array as _, RecordBatch};

use super::read::{Reader, text_at, truth_table};
use super::{Report, ScoreError, percent, quantile};

const DAY_US: i64 = 86_400_000_000;
const SLACK_M: f64 = 500.0;
const METRES_PER_DEGREE: f64 = 111_195.0;

#[derive(Debug, Clone)]
struct Plan {
    what: String,
    category: String,
    start_us: i64,
    end_us: i64,
    place: (f64, f64),
    radius_m: f64,
}

#[derive(Debug, Clone)]
struct Warning {
    category: Option<String>,
    place: (f64, f64),
    raised_us: i64,
}

impl Plan {
    fn is_hit_by(&self, warning: &Warning) -> bool {
        let is_of_kind = warning
            .category
            .as_ref()
            .is_none_or(|category| *category == self.category);
        let is_in_time = (self.start_us..self.end_us + 7 * DAY_US).contains(&warning.raised_us);
        let north = (warning.place.0 - self.place.0) * METRES_PER_DEGREE;
        let east = (warning.place.1 - self.place.1) * METRES_PER_DEGREE * self.place.0.to_radians().cos();
        is_of_kind && is_in_time && north.hypot(east) <= self.radius_m + SLACK_M
    }
}

pub(super) fn report(truth: &Path, warnings: Option<&[RecordBatch]>, report: &mut Report) -> Result<(), ScoreError> {
    let plans = plans(truth)?;
    let raised = read(warnings.unwrap_or_default())?;
    let days = days(truth)?;
    let note = if warnings.is_none() {
        "the hub has no table \"warnings\" yet"
    } else {
        ""
    };
    let hits = |plan: &Plan| {
        raised
            .iter()
            .filter(|warning| plan.is_hit_by(warning))
            .map(|warning| warning.raised_us)
            .min()
    };
    for what in ["cluster", "building_site", "pipe_break"] {
        let planted: Vec<&Plan> = plans.iter().filter(|plan| plan.what == what).collect();
        let mut delays: Vec<f64> = planted
            .iter()
            .filter_map(|plan| Some((hits(plan)? - plan.start_us) as f64 / DAY_US as f64))
            .collect();
        delays.sort_by(f64::total_cmp);
        let (found, count) = (delays.len() as u64, planted.len() as u64);
        report.line(
            "warnings",
            "probability of detection",
            what,
            percent(found, count),
            count,
            note,
        );
        report.line(
            "warnings",
            "delay in days, p50",
            what,
            quantile(&delays, 0.5),
            found,
            note,
        );
    }
    let false_alarms = raised
        .iter()
        .filter(|warning| !plans.iter().any(|plan| plan.is_hit_by(warning)))
        .count() as u64;
    let per_hundred = if warnings.is_none() || days == 0 {
        "none".to_owned()
    } else {
        format!("{:.1}", false_alarms as f64 * 100.0 / days as f64)
    };
    report.line(
        "warnings",
        "false alarms per 100 days",
        "all",
        per_hundred,
        raised.len() as u64,
        note,
    );
    Ok(())
}

fn plans(truth: &Path) -> Result<Vec<Plan>, ScoreError> {
    let mut plans = Vec::new();
    let columns = ["what", "category", "start_at", "end_at", "lat", "lng", "radius_m"];
    for batch in truth_table(truth, "plans", &columns)? {
        let reader = Reader {
            table: "plans",
            batch: &batch,
        };
        let (what, categories) = (reader.texts("what")?, reader.texts("category")?);
        let (starts, ends) = (reader.times("start_at")?, reader.times("end_at")?);
        let (lats, lngs, radii) = (reader.reals("lat")?, reader.reals("lng")?, reader.reals("radius_m")?);
        plans.extend((0..batch.num_rows()).map(|row| Plan {
            what: what.value(row).to_owned(),
            category: categories.value(row).to_owned(),
            start_us: starts.value(row),
            end_us: ends.value(row),
            place: (lats.value(row), lngs.value(row)),
            radius_m: radii.value(row),
        }));
    }
    Ok(plans)
}

fn read(batches: &[RecordBatch]) -> Result<Vec<Warning>, ScoreError> {
    let mut warnings = Vec::new();
    for batch in batches {
        let reader = Reader {
            table: "warnings",
            batch,
        };
        let (categories, raised) = (reader.texts("category")?, reader.times("raised_at")?);
        let (lats, lngs) = (reader.reals("lat")?, reader.reals("lng")?);
        for row in (0..batch.num_rows()).filter(|&row| lats.is_valid(row) && raised.is_valid(row)) {
            warnings.push(Warning {
                category: text_at(&categories, row).map(str::to_owned),
                place: (lats.value(row), lngs.value(row)),
                raised_us: raised.value(row),
            });
        }
    }
    Ok(warnings)
}

/// Days the run covers, from its incidents.
fn days(truth: &Path) -> Result<u64, ScoreError> {
    let mut span: Option<(i64, i64)> = None;
    for batch in truth_table(truth, "incidents", &["occurred_at"])? {
        let reader = Reader {
            table: "incidents",
            batch: &batch,
        };
        for time in reader.times("occurred_at")?.values() {
            let (low, high) = span.unwrap_or((*time, *time));
            span = Some((low.min(*time), high.max(*time)));
        }
    }
    Ok(span.map_or(0, |(low, high)| ((high - low) / DAY_US + 1) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_hits_what_is_near_in_kind_time_and_place() {
        let plan = Plan {
            what: "cluster".to_owned(),
            category: "noise.construction".to_owned(),
            start_us: 10 * DAY_US,
            end_us: 20 * DAY_US,
            place: (32.6, 114.9),
            radius_m: 300.0,
        };
        let warning = |category: Option<&str>, lat: f64, day: i64| Warning {
            category: category.map(str::to_owned),
            place: (lat, 114.9),
            raised_us: day * DAY_US,
        };
        assert!(plan.is_hit_by(&warning(Some("noise.construction"), 32.605, 12)));
        assert!(plan.is_hit_by(&warning(None, 32.6, 26)));
        assert!(!plan.is_hit_by(&warning(Some("noise.living"), 32.6, 12)));
        assert!(!plan.is_hit_by(&warning(None, 32.61, 12)));
        assert!(!plan.is_hit_by(&warning(None, 32.6, 9)));
    }
}
