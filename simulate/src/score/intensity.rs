//! Scores beside the true intensity of places: Spearman's rank correlation over cells.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use arrow::array::RecordBatch;

use super::read::{Reader, truth_table};
use super::{Report, ScoreError};

const WEEKS: i64 = 4;
const WEEK_US: i64 = 7 * 86_400_000_000;

pub(super) fn report(truth: &Path, scores: Option<&[RecordBatch]>, report: &mut Report) -> Result<(), ScoreError> {
    let mut models: BTreeMap<String, Vec<(i64, i64, f64)>> = BTreeMap::new();
    for batch in scores.unwrap_or_default() {
        let reader = Reader { table: "scores", batch };
        let (names, cells) = (reader.texts("model")?, reader.wholes("cell")?);
        let (ends, values) = (reader.times("window_end")?, reader.reals("score")?);
        for row in 0..batch.num_rows() {
            let score = (cells.value(row), ends.value(row), values.value(row));
            models.entry(names.value(row).to_owned()).or_default().push(score);
        }
    }
    if models.is_empty() {
        let note = if scores.is_none() {
            "the hub has no table \"scores\" yet"
        } else {
            "the hub has made no scores; `shiyu serve` makes them"
        };
        report.line(
            "score",
            "rank correlation with true intensity",
            "all",
            "none".to_owned(),
            0,
            note,
        );
        return Ok(());
    }
    let weeks = weeks(truth)?;
    for (model, scores) in models {
        let end = scores.iter().map(|(_, end, _)| *end).max().unwrap_or(0);
        let mut expected: HashMap<i64, f64> = HashMap::new();
        for (cell, start, value) in &weeks {
            if (end - WEEKS * WEEK_US..end).contains(start) {
                *expected.entry(*cell).or_default() += value;
            }
        }
        let pairs: Vec<(f64, f64)> = scores
            .iter()
            .filter_map(|(cell, _, score)| Some((*score, *expected.get(cell)?)))
            .collect();
        let note = "expected incidents of the four weeks before; cells with a score and an address";
        report.line(
            "score",
            "rank correlation with true intensity",
            &model,
            correlation(&pairs),
            pairs.len() as u64,
            note,
        );
        report.line(
            "score",
            "cells with incidents to expect but no score",
            &model,
            (expected.len() - pairs.len().min(expected.len())).to_string(),
            expected.len() as u64,
            "cells of small counts are not scored",
        );
    }
    Ok(())
}

fn weeks(truth: &Path) -> Result<Vec<(i64, i64, f64)>, ScoreError> {
    let mut weeks = Vec::new();
    for batch in truth_table(truth, "intensity", &["cell", "week_start_at", "expected"])? {
        let reader = Reader {
            table: "intensity",
            batch: &batch,
        };
        let (cells, starts, values) = (
            reader.wholes("cell")?,
            reader.times("week_start_at")?,
            reader.reals("expected")?,
        );
        weeks.extend((0..batch.num_rows()).map(|row| (cells.value(row), starts.value(row), values.value(row))));
    }
    Ok(weeks)
}

/// Spearman's rank correlation; ties share their mean rank.
fn correlation(pairs: &[(f64, f64)]) -> String {
    if pairs.len() < 3 {
        return "none".to_owned();
    }
    let left = ranks(&pairs.iter().map(|pair| pair.0).collect::<Vec<_>>());
    let right = ranks(&pairs.iter().map(|pair| pair.1).collect::<Vec<_>>());
    let mean = (pairs.len() - 1) as f64 / 2.0;
    let sum = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>();
    let spread = (sum(&left, &left) * sum(&right, &right)).sqrt();
    if spread == 0.0 {
        return "none".to_owned();
    }
    format!("{:.3}", sum(&left, &right) / spread)
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let mut end = start + 1;
        while end < order.len() && values[order[end]] == values[order[start]] {
            end += 1;
        }
        let mean = (start + end - 1) as f64 / 2.0;
        order[start..end].iter().for_each(|&index| ranks[index] = mean);
        start = end;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rank_correlation_is_of_ranks_with_ties() {
        assert_eq!(correlation(&[(1.0, 10.0), (2.0, 100.0), (3.0, 1_000.0)]), "1.000");
        assert_eq!(correlation(&[(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)]), "-1.000");
        // Worked by hand: ranks 0, 1.5, 1.5, 3 against 0, 1, 2, 3.
        assert_eq!(correlation(&[(1.0, 1.0), (2.0, 2.0), (2.0, 3.0), (4.0, 4.0)]), "0.949");
    }
}
