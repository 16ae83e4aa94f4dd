//! Duplicates and links: pairs of records about the same incident, within a channel and across channels.

use std::collections::{BTreeMap, HashMap};

use arrow::array::RecordBatch;

use super::read::{Reader, text_at};
use super::records::{Joined, key};
use super::{Report, ScoreError};

/// Pairs among `count` things.
fn pairs(count: u64) -> u64 {
    count * count.saturating_sub(1) / 2
}

/// Precision, recall and F1 as text; `none` where nothing was asked.
fn measures(both: u64, said: u64, truth: u64) -> [String; 3] {
    let share = |part: u64, whole: u64| {
        if whole == 0 {
            "none".to_owned()
        } else {
            format!("{:.4}", part as f64 / whole as f64)
        }
    };
    let f1 = if said + truth == 0 {
        "none".to_owned()
    } else {
        format!("{:.4}", 2.0 * both as f64 / (said + truth) as f64)
    };
    [share(both, said), share(both, truth), f1]
}

pub(super) fn report(joined: &Joined, links: Option<&[RecordBatch]>, report: &mut Report) -> Result<(), ScoreError> {
    let mut linked: HashMap<String, String> = HashMap::new();
    for batch in links.unwrap_or_default() {
        let reader = Reader { table: "links", batch };
        let (feeds, ids, incidents) = (
            reader.texts("feed")?,
            reader.texts("record_id")?,
            reader.texts("incident")?,
        );
        for row in 0..batch.num_rows() {
            if let Some(incident) = text_at(&incidents, row) {
                linked.insert(key(feeds.value(row), ids.value(row)), incident.to_owned());
            }
        }
    }
    // Per channel or over all: group sizes by truth, by the hub, by both.
    let feeds = joined.feeds();
    for about in feeds.iter().copied().chain(["all"]) {
        let mut by_truth: HashMap<i64, u64> = HashMap::new();
        let mut by_hub: HashMap<&str, u64> = HashMap::new();
        let mut by_both: HashMap<(i64, &str), u64> = HashMap::new();
        for (record, _) in joined
            .pairs()
            .filter(|(record, _)| about == "all" || record.feed == about)
        {
            let said = linked.get(&record.key()).map(String::as_str);
            if let Some(incident) = record.incident {
                *by_truth.entry(incident).or_default() += 1;
                if let Some(said) = said {
                    *by_both.entry((incident, said)).or_default() += 1;
                }
            }
            if let Some(said) = said {
                *by_hub.entry(said).or_default() += 1;
            }
        }
        let truth: u64 = by_truth.values().map(|&count| pairs(count)).sum();
        let said: u64 = by_hub.values().map(|&count| pairs(count)).sum();
        let both: u64 = by_both.values().map(|&count| pairs(count)).sum();
        let note = if links.is_none() {
            "the hub has no table \"links\" yet"
        } else {
            "pairs of records of one incident"
        };
        for (name, value) in ["precision", "recall", "F1"].iter().zip(measures(both, said, truth)) {
            report.line("links", name, about, value, truth, note);
        }
    }
    marked_by_the_department(joined, report);
    Ok(())
}

/// Departments mark some repeats themselves; the hub takes their word.
fn marked_by_the_department(joined: &Joined, report: &mut Report) {
    let mut groups: BTreeMap<(&str, i64), u64> = BTreeMap::new();
    for (record, _) in joined.pairs() {
        if let Some(incident) = record.incident {
            *groups.entry((record.feed.as_str(), incident)).or_default() += 1;
        }
    }
    for feed in joined.feeds() {
        let repeats: u64 = groups
            .iter()
            .filter(|((of, _), _)| *of == feed)
            .map(|(_, count)| count - 1)
            .sum();
        let marked = joined
            .pairs()
            .filter(|(record, case)| record.feed == feed && case.state == "duplicate")
            .count() as u64;
        if repeats > 0 {
            let note = "repeats within the channel; only those that the department marked itself";
            report.line(
                "links",
                "repeats in state duplicate",
                feed,
                format!("{marked} of {repeats}"),
                repeats,
                note,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precision_and_recall_are_of_pairs() {
        assert_eq!(pairs(3), 3);
        assert_eq!(measures(2, 4, 8), ["0.5000", "0.2500", "0.3333"].map(str::to_owned));
        assert_eq!(measures(0, 0, 5)[0], "none");
        assert_eq!(measures(0, 0, 5)[2], "0.0000");
    }
}
