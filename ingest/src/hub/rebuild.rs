//! Throws state and tables away and folds them again from the log, which is the truth.
//!
//! A marker in the data folder says that a rebuild has begun. Whoever opens the folder next throws away what the marker names, removes the
//! marker, and folds: so a crash at any point costs nothing but the work. Changes of counts (`cells.v1`) are made anew by the new fold and
//! go too; scores are not, for they were told to people.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use shiyu_log::vfs::{RealVfs, Vfs as _};
use shiyu_log::{EventLog, LogError, Topic, durable};

use super::{Hub, HubError, HubOptions, LogChoice, Roles};
use crate::fold::FOLDED;

const MARKER: &str = "REBUILD";

/// What a rebuild folded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// Records of events, rejections and scores.
    pub records: u64,
}

/// Rebuilds a data folder nobody else owns.
pub async fn rebuild(options: HubOptions) -> Result<Rebuilt, HubError> {
    let marker = options.data_dir.join(MARKER);
    if options.log != LogChoice::Local {
        return Err(HubError::EmbeddedOnly { what: "rebuild" });
    }
    // Opened once without what is made anew: so an unusable folder, another city or a trimmed log is told before anything goes, and tables
    // or states that cannot be opened do not stand in the way.
    let roles = Roles {
        ingest: false,
        query: false,
        ..options.roles
    };
    let log_only = HubOptions {
        roles,
        ..options.clone()
    };
    let hub = Hub::open_unless_marked(&log_only).await?;
    if let Some(hub) = hub {
        check_log(hub.log.as_ref())?;
        hub.close().await?;
        durable::replace(
            &marker,
            b"state, tables and cells.v1 are being folded again from the log\n",
        )?;
    }
    let hub = Hub::open(options).await?;
    let mut records = 0;
    for topic in FOLDED {
        for partition in 0..hub.log.partitions(topic) {
            let (start, end) = hub.log.range(topic, partition);
            hub.fold.settled(topic, partition, end).await?;
            records += end - start;
        }
    }
    hub.close().await?;
    Ok(Rebuilt { records })
}

fn check_log(log: &dyn EventLog) -> Result<(), HubError> {
    for topic in FOLDED {
        for partition in 0..log.partitions(topic) {
            let (start, _) = log.range(topic, partition);
            if start > 0 {
                return Err(HubError::Trimmed {
                    topic: topic.name(),
                    partition,
                    start,
                });
            }
        }
    }
    Ok(())
}

/// Whether a rebuild has begun.
pub(super) fn is_marked(data_dir: &Path) -> bool {
    data_dir.join(MARKER).is_file()
}

/// Throws away what a rebuild makes anew, if one has begun. Blocks; the folder's lock is held.
pub(super) fn clear(data_dir: &Path) -> Result<(), LogError> {
    if !is_marked(data_dir) {
        return Ok(());
    }
    tracing::warn!("throwing state and tables away, to fold them again from the log");
    let cells = data_dir.join("log").join(Topic::Cells.name());
    // The engine's checkpoint stands on changes of counts that go.
    let made_from_it = ["engine", "state", "tables"].map(|name| data_dir.join(name));
    for folder in std::iter::once(cells).chain(made_from_it) {
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            other => other.map_err(failed("remove", &folder))?,
        }
        let above = folder.parent().unwrap_or(data_dir);
        RealVfs.sync_folder(above).map_err(failed("sync", above))?;
    }
    let marker = data_dir.join(MARKER);
    fs::remove_file(&marker).map_err(failed("remove", &marker))?;
    RealVfs.sync_folder(data_dir).map_err(failed("sync", data_dir))
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> LogError {
    let path = path.to_owned();
    move |source| LogError::Io { action, path, source }
}
