//! The fold of `scores.v1`: every score that was published is one row of the table `scores`.

use bytes::Bytes;
use prost::Message;
use shiyu_schemas::v1::{self, Outcome};

use super::epoch::EpochRecord;
use super::rows::ScoreRows;

/// Folds scores; it remembers nothing, for the engine publishes what changed and only that.
#[derive(Debug, Default)]
pub struct ScoreFold {
    rows: ScoreRows,
}

impl ScoreFold {
    /// The rows of the epoch.
    pub fn rows_mut(&mut self) -> &mut ScoreRows {
        &mut self.rows
    }

    /// Folds the next records of the partition, the first of which stands at `first_offset`.
    pub fn apply(&mut self, first_offset: u64, values: &[Bytes]) -> Result<EpochRecord, (u64, prost::DecodeError)> {
        for (offset, value) in (first_offset..).zip(values) {
            let score = v1::Score::decode(value.clone()).map_err(|error| (offset, error))?;
            self.rows.push(&score);
        }
        Ok(EpochRecord {
            first_offset,
            outcomes: vec![Outcome::Accepted as u8; values.len()],
            ..EpochRecord::default()
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use arrow::array::AsArray as _;
    use shiyu_schemas::table::SCORES;

    use super::*;

    #[test]
    fn a_score_is_a_row_with_the_points_of_its_factors() {
        let score = v1::Score {
            model: "order".to_owned(),
            cell: 0x0891_f1d4_8937_ffff,
            score: 61.5,
            level: v1::Level::Yellow as i32,
            contributions: vec![v1::Contribution {
                factor: "rate".to_owned(),
                value: 2.0,
                points: 61.5,
            }],
            ..v1::Score::default()
        };
        let mut fold = ScoreFold::default();
        let record = fold.apply(5, &[score.encode_to_vec().into()]).unwrap();
        assert_eq!((record.first_offset, record.next_offset()), (5, 6));
        let tables = fold.rows_mut().finish();
        let text = |name| tables[0].1.column(SCORES.index(name)).as_string_view().value(0);
        assert_eq!(
            (tables[0].0, text("model"), text("level")),
            ("scores", "order", "yellow")
        );
        assert_eq!(text("contributions"), r#"{"rate":{"points":61.5,"value":2.0}}"#);
    }

    #[test]
    fn what_is_no_score_is_told_with_its_offset() {
        let (offset, _) = ScoreFold::default()
            .apply(7, &[Bytes::new(), Bytes::from_static(&[0xff])])
            .unwrap_err();
        assert_eq!(offset, 8);
    }
}
