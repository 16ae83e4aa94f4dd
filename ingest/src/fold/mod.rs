//! What the log folds into: cases, withdrawals, counts per cell. One commit point per partition.
//!
//! In reading order:
//! - [`event`]: an event as the fold reads it, borrowed from the log's bytes
//! - [`case`]: the state of one record, and when it stands in the counts
//! - [`withdrawal`]: which correction row cancels which record, whatever came first
//! - [`cell`]: signed changes of counts
//! - [`cache`]: the states an epoch touches, between the step and the store
//! - [`step`]: the pure step, one event at a time
//! - [`count`]: durable totals per feed
//! - [`horizon`]: what a feed forgets, and when
//! - `texts`, `columns`: a column of texts, and rows of one table, in the making
//! - `own_cases`: changes of the events' own cases, which share columns with the events
//! - [`rows`]: what the step did, as Arrow rows of the stored tables
//! - [`epoch`]: what one epoch did, small enough to lie in the outbox until the tables have it
//! - [`attempt`]: a record that kills the process is left out after three tries
//! - [`head`]: where a partition stands, part of every commit
//! - `view`: the committed states, with a filter of what is surely new
//! - `outbox`: takes out of it what the tables have
//! - [`partition`]: an open partition: its state, its place in the log, its one commit
//! - [`events`], [`rejections`], [`scores`]: the kinds of partition
//! - [`worker`]: drives one partition: read, apply, commit, then the repeatable effects
//! - [`snapshot`]: a partition's state as a file, for another process or a backup
//! - [`flusher`]: commits rows of many epochs to the tables, then trims the outbox
//! - [`progress`]: how far a partition is, recent outcomes, totals
//! - [`handle`]: starts all this, and what the rest of the hub sees of it
//! - [`error`]: what can go wrong
//!
//! The step is pure: no clock, no randomness, no IO. What it deliberately does not know: where rows go, when epochs end.

pub mod attempt;
pub mod cache;
pub mod case;
pub mod cell;
mod columns;
pub mod count;
pub mod epoch;
pub mod error;
pub mod event;
pub mod events;
pub mod flusher;
pub mod handle;
pub mod head;
pub mod horizon;
mod outbox;
mod own_cases;
pub mod partition;
pub mod progress;
pub mod rejections;
pub mod rows;
pub mod scores;
pub mod snapshot;
pub mod step;
mod texts;
mod view;
pub mod withdrawal;
pub mod worker;

pub use count::Counts;
pub use error::FoldError;
pub use handle::{FOLDED, Fold, FoldHandle, FoldOptions, FoldSeen};

#[cfg(test)]
mod law_tests;
#[cfg(test)]
pub(crate) mod run_tests;
