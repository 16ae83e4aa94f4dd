//! Whether the hub rebuilt each case's life: its state, when it was closed, who holds it, every change on the way.

use std::collections::HashMap;
use std::path::Path;

use arrow::array::{Array as _, RecordBatch};

use super::read::{Reader, truth_table};
use super::records::{HubCase, Joined, TrueRecord, key};
use super::{Report, ScoreError, percent};

const MINUTE_US: i64 = 60_000_000;
const DAY_US: i64 = 86_400_000_000;

/// A change: when, and the state after it.
type Change = (i64, String);

pub(super) fn report(
    truth: &Path,
    joined: &Joined,
    events: &[RecordBatch],
    report: &mut Report,
) -> Result<(), ScoreError> {
    for feed in joined.feeds() {
        let pairs: Vec<(&TrueRecord, &HubCase)> = joined.pairs().filter(|(record, _)| record.feed == feed).collect();
        let whole = pairs.len() as u64;
        let count = |is_right: &dyn Fn(&TrueRecord, &HubCase) -> bool| {
            pairs.iter().filter(|(record, case)| is_right(record, case)).count() as u64
        };
        let state = count(&|record, case| record.state == case.state);
        report.line(
            "lifecycle",
            "state is the true one",
            feed,
            percent(state, whole),
            whole,
            "as far as rows were delivered",
        );
        // The police write no closing time.
        let writes = feed != "police";
        let closed: Vec<_> = pairs
            .iter()
            .filter(|(record, _)| writes && record.closed_us.is_some())
            .collect();
        let close = closed
            .iter()
            .filter(|(record, case)| is_near(record.closed_us, case.closed_us, feed))
            .count() as u64;
        let note = "to the minute; petitions to the day; the police write none";
        report.line(
            "lifecycle",
            "closing time is as written",
            feed,
            percent(close, closed.len() as u64),
            closed.len() as u64,
            note,
        );
        let held: Vec<_> = pairs.iter().filter(|(_, case)| case.holder.is_some()).collect();
        let right = held
            .iter()
            .filter(|(record, case)| record.holders.rsplit('>').next() == case.holder.as_deref())
            .count() as u64;
        report.line(
            "lifecycle",
            "holder is the true one",
            feed,
            percent(right, held.len() as u64),
            held.len() as u64,
            "of cases with a holder",
        );
    }
    changes(truth, joined, events, report)
}

fn is_near(truth: Option<i64>, hub: Option<i64>, feed: &str) -> bool {
    let slack = if feed == "petition" { DAY_US } else { MINUTE_US };
    matches!((truth, hub), (Some(truth), Some(hub)) if (truth - hub).abs() < slack)
}

fn changes(truth: &Path, joined: &Joined, events: &[RecordBatch], report: &mut Report) -> Result<(), ScoreError> {
    let wanted: HashMap<String, &str> = joined
        .pairs()
        .map(|(record, _)| (record.key(), record.feed.as_str()))
        .collect();
    let of_truth = gather(
        &truth_table(truth, "changes", &["feed", "record_id", "changed_at", "state"])?,
        "changed_at",
        &wanted,
    )?;
    let of_hub = gather(events, "updated_at", &wanted)?;
    for feed in joined.feeds() {
        let (mut total, mut found, mut whole, mut exact, mut extra) = (0, 0, 0, 0, 0);
        for (record, changes) in of_truth.iter().filter(|(record, _)| wanted.get(*record) == Some(&feed)) {
            let hub = of_hub.get(record).map_or(&[][..], Vec::as_slice);
            let both = changes.iter().filter(|change| hub.contains(change)).count();
            total += changes.len() as u64;
            found += both as u64;
            extra += (hub.len() - both.min(hub.len())) as u64;
            whole += 1;
            exact += u64::from(hub == changes.as_slice());
        }
        let note = "a change is a time and a state; those that come late count as well";
        report.line(
            "lifecycle",
            "true changes found (recall)",
            feed,
            percent(found, total),
            total,
            note,
        );
        report.line(
            "lifecycle",
            "changes that are true (precision)",
            feed,
            percent(found, found + extra),
            found + extra,
            note,
        );
        report.line(
            "lifecycle",
            "lives rebuilt change by change",
            feed,
            percent(exact, whole),
            whole,
            note,
        );
    }
    Ok(())
}

/// The changes of each wanted record, in order of time, each once.
fn gather(
    batches: &[RecordBatch],
    time: &str,
    wanted: &HashMap<String, &str>,
) -> Result<HashMap<String, Vec<Change>>, ScoreError> {
    let mut changes: HashMap<String, Vec<Change>> = HashMap::new();
    for batch in batches {
        let reader = Reader {
            table: "changes",
            batch,
        };
        let (feeds, ids, states) = (
            reader.texts("feed")?,
            reader.texts("record_id")?,
            reader.texts("state")?,
        );
        let times = reader.times(time)?;
        for row in 0..batch.num_rows() {
            let record = key(feeds.value(row), ids.value(row));
            if wanted.contains_key(&record) && times.is_valid(row) {
                changes
                    .entry(record)
                    .or_default()
                    .push((times.value(row), states.value(row).to_owned()));
            }
        }
    }
    for changes in changes.values_mut() {
        changes.sort();
        changes.dedup();
    }
    Ok(changes)
}
