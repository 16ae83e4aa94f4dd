//! The tables: Delta, append-only, one writer.
//!
//! - [`store`]: an object store on local disk that syncs files and folders, for Delta does not
//! - [`file`]: rows as Parquet files, sorted, split by partition
//! - [`writer`]: commits of many epochs; an epoch a table has is skipped
//! - `owned`: several processes write, each the partitions it owns
//! - [`snapshot`]: the versions of all tables that belong together
//!
//! A commit carries, per partition of the fold, `txn(appId = "<table>/<partition>/<incarnation>", version = epoch)`. Delta only records
//! it; this writer reads it back and leaves out what a table already has.

pub mod file;
mod owned;
pub mod snapshot;
pub mod store;
pub mod writer;

pub use snapshot::Snapshot;
pub use writer::{EpochMark, EpochRows, TableWriter};
