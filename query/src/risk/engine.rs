//! The fold over `cells.v1`: keeps the live cells, rescores what changed, appends scores to `scores.v1`, tells the board.
//!
//! The window ends at the local midnight behind the watermark. Within a window only changed cells are rescored, with what the window
//! froze; a new window, or counts that moved by more than a tenth since (back-fill), freeze anew and rescore every cell.
//! At start the board is read back from `scores.v1` and the cells from `cells.v1`, from the newest checkpoint on; then only what differs
//! is published.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use shiyu_log::{EventLog, LogError, Records, Topic};
use shiyu_schemas::v1;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::board::ScoreBoard;
use super::checkpoint::Checkpoint;
use super::live::LiveCells;
use super::model::{CompiledModel, Frozen};

/// Bytes read from the log at a time.
const READ_BYTES: usize = 8 << 20;
/// Changes are gathered this long before cells are rescored, so that a burst is scored once.
const GATHER: Duration = Duration::from_millis(50);
/// Scores of one append.
const APPEND_MAX: usize = 20_000;
/// A checkpoint is written after this many changes of counts, and after a quarter as many as it then holds: so writing them stays a
/// part of the work, however many cells there are.
const CHECKPOINT_CHANGES: usize = 200_000;
/// At the end one is written after this many.
const LAST_CHECKPOINT_CHANGES: usize = 10_000;

/// What ends the engine.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The log failed.
    #[error("failed to use the log")]
    Log(#[from] LogError),
    /// Somebody else appends scores: two engines would publish every change twice.
    #[error("cannot score: another process scores this city too; run one with the role query")]
    NotAlone,
    /// A record in the log is not what its topic holds.
    #[error("cannot decode {topic} at offset {offset}")]
    Decode {
        /// Topic's name.
        topic: &'static str,
        /// Offset of the record.
        offset: u64,
        /// Why.
        #[source]
        source: prost::DecodeError,
    },
    /// A model cannot be evaluated.
    #[error("cannot score with model \"{model}\"")]
    Model {
        /// The model.
        model: String,
        /// Why.
        #[source]
        source: datafusion::common::DataFusionError,
    },
}

/// Time between two tries where the disk is full.
const FULL_RETRY: std::time::Duration = std::time::Duration::from_millis(500);

/// Settings of the engine.
pub struct EngineOptions {
    /// Zone in which days end.
    pub zone: TimeZone,
    /// The models, in the city folder's order.
    pub models: Vec<Arc<CompiledModel>>,
    /// Microseconds since 1970 UTC; stamps `scored_at`.
    pub now_us: Box<dyn Fn() -> i64 + Send + Sync>,
    /// File of the checkpoint; without one every start reads the log from its start.
    pub checkpoint: Option<PathBuf>,
}

impl std::fmt::Debug for EngineOptions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("EngineOptions")
            .field("models", &self.models.len())
            .field("checkpoint", &self.checkpoint)
            .finish_non_exhaustive()
    }
}

/// Keeps scores up to date; see the module.
#[derive(Debug)]
pub struct RiskEngine {
    log: Arc<dyn EventLog>,
    options: EngineOptions,
    board: Arc<ScoreBoard>,
    live: LiveCells,
    frozen: BTreeMap<String, Frozen>,
    /// Next offset of `cells.v1`.
    input_offset: u64,
    /// Next offset of `scores.v1`.
    output_offset: u64,
    /// Changes of counts since the last checkpoint, and rows it held.
    unsaved_changes: usize,
    saved_rows: usize,
}

impl RiskEngine {
    /// Reads back what was published and what the cells hold.
    pub async fn open(log: Arc<dyn EventLog>, options: EngineOptions) -> Result<Self, EngineError> {
        let board = ScoreBoard::new(log.incarnation());
        let mut engine = Self {
            log,
            options,
            board,
            live: LiveCells::default(),
            frozen: BTreeMap::new(),
            input_offset: 0,
            output_offset: 0,
            unsaved_changes: 0,
            saved_rows: 0,
        };
        engine.restore().await?;
        engine.read_scores().await?;
        let changed = engine.read_cells().await?;
        engine.rescore(changed).await?;
        engine.save(CHECKPOINT_CHANGES.max(engine.saved_rows / 4)).await;
        Ok(engine)
    }

    #[cfg(test)]
    pub(super) fn changes_since_checkpoint(&self) -> usize {
        self.unsaved_changes
    }

    /// Begins where the checkpoint ends, if there is one of this log.
    async fn restore(&mut self) -> Result<(), EngineError> {
        let Some(path) = self.options.checkpoint.clone() else {
            return Ok(());
        };
        let log = self.log.incarnation();
        let read = tokio::task::spawn_blocking(move || {
            let mut checkpoint = Checkpoint::read(&path, log)?;
            let live = LiveCells::from_state(std::mem::take(&mut checkpoint.live))?;
            Some((checkpoint, live))
        });
        let Ok(Some((checkpoint, live))) = read.await else {
            return Ok(());
        };
        let (_, input_end) = self.log.ask_range(Topic::Cells, 0).await?;
        let (start, end) = self.log.ask_range(Topic::Scores, 0).await?;
        if checkpoint.input_offset > input_end || !(start..=end).contains(&checkpoint.scores_offset) {
            tracing::warn!("the checkpoint does not fit the log; reading that from its start");
            return Ok(());
        }
        self.saved_rows = live.row_count();
        self.live = live;
        self.input_offset = checkpoint.input_offset;
        self.output_offset = checkpoint.scores_offset;
        self.board.restore(checkpoint.scores, checkpoint.scores_offset);
        for model in &self.options.models {
            let frozen = checkpoint
                .frozen
                .iter()
                .find(|frozen| frozen.model == model.name() && frozen.definition == model.definition());
            if let Some(frozen) = frozen {
                self.frozen.insert(model.name().to_owned(), Frozen::from_state(frozen));
            }
        }
        Ok(())
    }

    /// Writes a checkpoint if that many changes came since the last one. A failure costs a later start time, no more, and is told.
    pub(super) async fn save(&mut self, changes_min: usize) {
        let Some(path) = self
            .options
            .checkpoint
            .clone()
            .filter(|_| self.unsaved_changes >= changes_min)
        else {
            return;
        };
        let (scores, scores_offset) = self.board.base();
        let models = self.options.models.iter();
        let checkpoint = Checkpoint {
            log: self.log.incarnation(),
            input_offset: self.input_offset,
            live: self.live.to_state(),
            frozen: models
                .filter_map(|model| Some(self.frozen.get(model.name())?.to_state(model)))
                .collect(),
            scores_offset,
            scores,
        };
        self.unsaved_changes = 0;
        self.saved_rows = self.live.row_count();
        match tokio::task::spawn_blocking(move || checkpoint.write(&path)).await {
            Ok(Ok(())) => metrics::counter!("shiyu_engine_checkpoints_total").increment(1),
            Ok(Err(error)) => tracing::warn!(%error, "cannot write a checkpoint; the next start takes longer"),
            Err(error) => tracing::warn!(%error, "cannot write a checkpoint; the next start takes longer"),
        }
    }

    /// The board the doors read.
    pub fn board(&self) -> Arc<ScoreBoard> {
        self.board.clone()
    }

    /// Follows `cells.v1` until `stop`.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), EngineError> {
        loop {
            let wait = self.log.wait_for(Topic::Cells, 0, self.input_offset);
            tokio::select! {
                () = stop.cancelled() => break,
                result = wait => match result {
                    Err(LogError::Closed) => break,
                    other => other?,
                },
            }
            tokio::time::sleep(GATHER).await;
            let changed = self.read_cells().await?;
            tokio::select! {
                // What was not scored yet is in no checkpoint.
                () = stop.cancelled() => return Ok(()),
                result = self.rescore(changed) => result?,
            }
            self.save(CHECKPOINT_CHANGES.max(self.saved_rows / 4)).await;
        }
        self.save(LAST_CHECKPOINT_CHANGES).await;
        Ok(())
    }

    async fn read_scores(&mut self) -> Result<(), EngineError> {
        let (start, end) = self.log.ask_range(Topic::Scores, 0).await?;
        let mut offset = self.output_offset.max(start);
        while offset < end {
            for batch in self.log.read(Topic::Scores, 0, offset, READ_BYTES).await? {
                let scores = decode_all::<v1::Score>(Topic::Scores, batch.first_offset, &batch.values)?;
                self.board.publish(batch.first_offset, scores);
                offset = batch.next_offset();
            }
        }
        self.output_offset = offset;
        Ok(())
    }

    async fn read_cells(&mut self) -> Result<BTreeSet<i64>, EngineError> {
        let (start, end) = self.log.ask_range(Topic::Cells, 0).await?;
        self.input_offset = self.input_offset.max(start);
        let mut changed = BTreeSet::new();
        while self.input_offset < end {
            for batch in self.log.read(Topic::Cells, 0, self.input_offset, READ_BYTES).await? {
                let all = decode_all::<v1::CellChanges>(Topic::Cells, batch.first_offset, &batch.values)?;
                for (offset, changes) in (batch.first_offset..).zip(all) {
                    if changes.takeover.is_empty() {
                        changed.extend(self.live.apply(&changes));
                        self.unsaved_changes += changes.changes.len();
                    } else if changes.takeover.starts_with("events-") {
                        self.live.take_over(changes.partition, offset + 1);
                    }
                }
                self.input_offset = batch.next_offset();
            }
        }
        if let Some(watermark_us) = self.live.watermark_us() {
            self.board.set_watermark_us(watermark_us);
        }
        Ok(changed)
    }

    async fn rescore(&mut self, changed: BTreeSet<i64>) -> Result<(), EngineError> {
        let Some(watermark_us) = self.live.watermark_us() else {
            return Ok(());
        };
        let window_end_us = next_midnight_us(&self.options.zone, watermark_us);
        for model in self.options.models.clone() {
            let failed = |source| EngineError::Model {
                model: model.name().to_owned(),
                source,
            };
            let stale = self
                .frozen
                .get(model.name())
                .is_none_or(|frozen| frozen.window_end_us != window_end_us || moved(frozen.total, self.live.total()));
            let mut cells = changed.clone();
            if stale {
                let frozen = model.freeze(&self.live, window_end_us).map_err(failed)?;
                self.frozen.insert(model.name().to_owned(), frozen);
                cells.extend(self.live.cells());
            }
            let Some(frozen) = self.frozen.get(model.name()) else {
                continue;
            };
            let scores = model.score(&self.live, &cells, frozen).map_err(failed)?;
            let fresh = scores.into_iter().filter(|score| self.differs(score)).collect();
            self.publish(fresh).await?;
        }
        Ok(())
    }

    /// Whether a score says something the newest one of its cell does not. Windows alone are no news where both are 0.
    fn differs(&self, score: &v1::Score) -> bool {
        match self.board.newest(&score.model, score.cell) {
            None => score.score > 0.0,
            Some(newest) => {
                newest.score.to_bits() != score.score.to_bits()
                    || newest.level != score.level
                    || newest.definition != score.definition
                    || newest.contributions != score.contributions
                    || (score.score > 0.0 && newest.window_end_us != score.window_end_us)
            }
        }
    }

    async fn publish(&mut self, mut scores: Vec<v1::Score>) -> Result<(), EngineError> {
        let scored_at_us = (self.options.now_us)();
        for score in &mut scores {
            score.input_offset = self.input_offset;
            score.scored_at_us = scored_at_us;
        }
        while !scores.is_empty() {
            let rest = scores.split_off(scores.len().min(APPEND_MAX));
            let mut records = Records::new();
            for score in &scores {
                records.push_message(&score.cell.to_be_bytes(), score);
            }
            let appended = match self.log.append(Topic::Scores, 0, records).await {
                Err(error) if error.is_full() => {
                    tokio::time::sleep(FULL_RETRY).await;
                    scores.extend(rest);
                    continue;
                }
                other => other?,
            };
            if appended.first_offset != self.output_offset || appended.extents().count() > 1 {
                return Err(EngineError::NotAlone);
            }
            self.output_offset = appended.next_offset;
            metrics::counter!("shiyu_engine_scores_total").increment(scores.len() as u64);
            self.board.publish(appended.first_offset, scores);
            scores = rest;
        }
        Ok(())
    }
}

fn moved(before: i64, now: i64) -> bool {
    (now - before).abs() * 10 > before.abs()
}

fn decode_all<M: prost::Message + Default>(
    topic: Topic,
    first_offset: u64,
    values: &[bytes::Bytes],
) -> Result<Vec<M>, EngineError> {
    values
        .iter()
        .enumerate()
        .map(|(index, value)| {
            M::decode(value.as_ref()).map_err(|source| EngineError::Decode {
                topic: topic.name(),
                offset: first_offset + index as u64,
                source,
            })
        })
        .collect()
}

/// The first local midnight after an instant.
fn next_midnight_us(zone: &TimeZone, at_us: i64) -> i64 {
    let midnight = jiff::Timestamp::from_microsecond(at_us)
        .ok()
        .and_then(|at| at.to_zoned(zone.clone()).tomorrow().ok())
        .and_then(|tomorrow| tomorrow.start_of_day().ok());
    midnight.map_or(at_us, |midnight| midnight.timestamp().as_microsecond())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_window_ends_at_the_next_local_midnight() {
        let zone = TimeZone::get("Asia/Shanghai").unwrap();
        let at: jiff::Timestamp = "2025-03-01T15:59:59Z".parse().unwrap();
        let end: jiff::Timestamp = "2025-03-01T16:00:00Z".parse().unwrap();
        assert_eq!(next_midnight_us(&zone, at.as_microsecond()), end.as_microsecond());
        let next: jiff::Timestamp = "2025-03-02T16:00:00Z".parse().unwrap();
        assert_eq!(next_midnight_us(&zone, end.as_microsecond()), next.as_microsecond());
    }

    #[test]
    fn a_tenth_more_counts_freeze_anew() {
        assert!(moved(0, 1));
        assert!(!moved(100, 105));
        assert!(moved(100, 120));
    }
}
