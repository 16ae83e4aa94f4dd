//! The newest score of every cell and the recent changes, for those who ask and those who subscribe.
//!
//! Changes are counted by their offset in `scores.v1`; a subscriber that knows its offset misses nothing and sees nothing twice.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, RwLock};

use prost::Message as _;
use shiyu_schemas::v1;
use tokio::sync::watch;

/// Changes kept for subscribers that are behind; about 300 bytes each.
const RECENT_MAX: usize = 200_000;

/// One change of one cell's score.
#[derive(Debug, Clone)]
pub struct ScoreChange {
    /// Offset in `scores.v1`.
    pub offset: u64,
    /// The new score.
    pub score: Arc<v1::Score>,
    /// The score before, if there was one.
    pub before: Option<Arc<v1::Score>>,
}

#[derive(Debug, Default)]
struct Board {
    newest: BTreeMap<(String, i64), Arc<v1::Score>>,
    recent: VecDeque<ScoreChange>,
    next_offset: u64,
    watermark_us: i64,
}

/// What scores there are, shared between the engine and the doors.
#[derive(Debug)]
pub struct ScoreBoard {
    board: RwLock<Board>,
    next_offset: watch::Sender<u64>,
    incarnation: u64,
    recent_max: usize,
}

/// Changes in a range of offsets, or why there are none.
#[derive(Debug)]
pub enum Changes {
    /// The changes, and the offset behind them.
    Found(Vec<ScoreChange>, u64),
    /// The offset is older than what is kept.
    TooOld,
}

impl ScoreBoard {
    /// An empty board of a log's incarnation.
    pub fn new(incarnation: u64) -> Arc<Self> {
        Self::with_room(incarnation, RECENT_MAX)
    }

    /// The same that keeps `recent_max` changes for subscribers that are behind.
    pub fn with_room(incarnation: u64, recent_max: usize) -> Arc<Self> {
        Arc::new(Self {
            board: RwLock::default(),
            next_offset: watch::Sender::new(0),
            incarnation,
            recent_max,
        })
    }

    /// Identity of the log whose offsets these are.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Takes over scores that are in `scores.v1` from `first_offset` on.
    pub fn publish(&self, first_offset: u64, scores: Vec<v1::Score>) {
        let mut next = first_offset;
        {
            let mut board = self.board.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            for score in scores {
                let score = Arc::new(score);
                let before = board.newest.insert((score.model.clone(), score.cell), score.clone());
                board.recent.push_back(ScoreChange {
                    offset: next,
                    score,
                    before,
                });
                next += 1;
                if board.recent.len() > self.recent_max {
                    board.recent.pop_front();
                }
            }
            board.next_offset = next;
        }
        self.next_offset.send_replace(next);
    }

    /// What was the newest before the recent changes, and their first offset: from both the board can be made again.
    pub(super) fn base(&self) -> (Vec<v1::Score>, u64) {
        let board = self.board.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut before: ahash::AHashMap<(&str, i64), Option<&Arc<v1::Score>>> = ahash::AHashMap::new();
        for change in &board.recent {
            let key = (change.score.model.as_str(), change.score.cell);
            before.entry(key).or_insert(change.before.as_ref());
        }
        let scores = board.newest.iter().filter_map(|((model, cell), newest)| {
            let base = before.get(&(model.as_str(), *cell)).copied().unwrap_or(Some(newest));
            base.map(|score| score.as_ref().clone())
        });
        let first = board.recent.front().map_or(board.next_offset, |change| change.offset);
        (scores.collect(), first)
    }

    /// Takes over scores that were the newest of their cells at `next_offset`; the changes from there on follow.
    pub(super) fn restore(&self, scores: Vec<v1::Score>, next_offset: u64) {
        {
            let mut board = self.board.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            board.recent.clear();
            board.newest = scores
                .into_iter()
                .map(|score| ((score.model.clone(), score.cell), Arc::new(score)))
                .collect();
            board.next_offset = next_offset;
        }
        self.next_offset.send_replace(next_offset);
    }

    /// Notes how far time has come in the data.
    pub fn set_watermark_us(&self, watermark_us: i64) {
        self.board
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .watermark_us = watermark_us;
    }

    /// How far time has come in the data, microseconds since 1970 UTC.
    pub fn watermark_us(&self) -> i64 {
        self.board
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .watermark_us
    }

    /// Told of every new offset.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.next_offset.subscribe()
    }

    /// The newest scores of a model, in order of cell, and the offset behind them.
    pub fn snapshot(&self, model: &str) -> (Vec<Arc<v1::Score>>, u64) {
        let board = self.board.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let start = (model.to_owned(), i64::MIN);
        let scores = board
            .newest
            .range(start..)
            .take_while(|((name, _), _)| name == model)
            .map(|(_, score)| score.clone())
            .collect();
        (scores, board.next_offset)
    }

    /// The newest score of one cell.
    pub fn newest(&self, model: &str, cell: i64) -> Option<Arc<v1::Score>> {
        let board = self.board.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        board.newest.get(&(model.to_owned(), cell)).cloned()
    }

    /// Changes from `offset` on until they concern `cells_max` different cells, or their scores take about `bytes_max` bytes; at least one
    /// if there is any.
    pub fn changes(&self, offset: u64, cells_max: usize, bytes_max: usize) -> Changes {
        let board = self.board.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let first = board.recent.front().map_or(board.next_offset, |change| change.offset);
        if offset < first || offset > board.next_offset {
            return Changes::TooOld;
        }
        let mut sizes = ahash::AHashMap::new();
        let mut bytes = 0;
        let mut found = Vec::new();
        let mut next = offset;
        for change in board.recent.iter().skip((offset - first) as usize) {
            let key = (&change.score.model, change.score.cell);
            let size = change.score.encoded_len();
            // Only the newest score of a cell is sent.
            let grown = bytes - sizes.get(&key).copied().unwrap_or(0) + size;
            let more_cells = !sizes.contains_key(&key);
            if !found.is_empty() && (grown > bytes_max || (more_cells && sizes.len() == cells_max)) {
                break;
            }
            sizes.insert(key, size);
            bytes = grown;
            found.push(change.clone());
            next = change.offset + 1;
        }
        Changes::Found(found, next)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "tests")]
    use super::*;

    fn score(cell: i64, value: f64) -> v1::Score {
        v1::Score {
            model: "m".to_owned(),
            cell,
            score: value,
            ..v1::Score::default()
        }
    }

    #[test]
    fn changes_go_on_exactly_behind_an_offset() {
        let board = ScoreBoard::new(1);
        board.publish(0, vec![score(1, 1.0), score(2, 2.0)]);
        board.publish(2, vec![score(1, 3.0)]);
        let Changes::Found(changes, next) = board.changes(1, 10, usize::MAX) else {
            panic!("too old")
        };
        assert_eq!(changes.iter().map(|change| change.offset).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(next, 3);
        assert!(
            changes[1]
                .before
                .as_ref()
                .is_some_and(|before| before.score.to_bits() == 1.0_f64.to_bits())
        );
        let Changes::Found(none, next) = board.changes(3, 10, usize::MAX) else {
            panic!("too old")
        };
        assert!(none.is_empty());
        assert_eq!(next, 3);
    }

    #[test]
    fn a_board_made_again_from_its_base_and_the_changes_since_says_the_same() {
        let board = ScoreBoard::with_room(1, 2);
        let scores = [score(1, 1.0), score(2, 2.0), score(1, 3.0), score(3, 4.0)];
        board.publish(0, scores.to_vec());
        let (base, first) = board.base();
        assert_eq!(first, 2);
        assert_eq!(base, scores[..2]);
        let again = ScoreBoard::with_room(1, 2);
        again.restore(base, first);
        again.publish(first, scores[2..].to_vec());
        assert_eq!(again.snapshot("m"), board.snapshot("m"));
        let Changes::Found(changes, next) = again.changes(2, 10, usize::MAX) else {
            panic!("too old")
        };
        assert_eq!((changes.len(), next), (2, 4));
        assert_eq!(changes[0].before.as_deref(), Some(&scores[0]));
        assert!(changes[1].before.is_none(), "the cell was new then");
        assert!(matches!(again.changes(1, 10, usize::MAX), Changes::TooOld));
    }

    #[test]
    fn a_limit_counts_cells_not_changes() {
        let board = ScoreBoard::new(1);
        board.publish(0, vec![score(1, 1.0), score(1, 2.0), score(2, 1.0), score(3, 1.0)]);
        let Changes::Found(changes, next) = board.changes(0, 2, usize::MAX) else {
            panic!("too old")
        };
        assert_eq!(changes.len(), 3);
        assert_eq!(next, 3);
    }

    #[test]
    fn an_offset_of_another_log_is_too_old() {
        let board = ScoreBoard::new(1);
        board.publish(10, vec![score(1, 1.0)]);
        assert!(matches!(board.changes(3, 10, usize::MAX), Changes::TooOld));
        assert!(matches!(board.changes(99, 10, usize::MAX), Changes::TooOld));
    }
}
