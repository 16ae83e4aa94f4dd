//! The tables: Delta, rows only added, one writer.
//!
//! - [`store`]: an object store on local disk that syncs files and folders, for Delta does not
//! - [`file`]: rows as Parquet files, sorted, split by partition
//! - `delta`: one Delta table: its files, its commits, the epochs it has
//! - [`writer`]: commits of many epochs; an epoch a table has is skipped
//! - `checkpoint`: which epochs the newest checkpoint of a Delta log knows
//! - `merge`: many sorted files become fewer, by the table's rule
//! - [`upkeep`]: what is merged, when; clean-up of the Delta log and of files nobody reads any more
//! - `owned`: several processes write, each the partitions it owns
//! - [`snapshot`]: the versions of all tables that belong together
//! - [`newest`]: rows that are folded and not in the tables yet
//!
//! A commit carries, per partition of the fold, `txn(appId = "<table>/<partition>/<incarnation>", version = epoch)`. Delta only records
//! it; this writer reads it back and leaves out what a table already has.

mod checkpoint;
mod delta;
pub mod file;
mod merge;
pub mod newest;
mod order;
mod owned;
pub mod snapshot;
pub mod store;
pub mod upkeep;
pub mod writer;

pub use delta::check_columns;
pub use newest::NewestRows;
pub use owned::TakeOver;
pub use snapshot::Snapshot;
pub use upkeep::{MergeJob, MergeStop, Merged, UpkeepOptions};
pub use writer::{EpochMark, EpochRows, FrozenTables, TableWriter};
