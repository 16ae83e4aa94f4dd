//! `snapshot.json`: the versions of all tables that were committed together. Readers open exactly these.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{LogError, durable};

/// Name of the file in the tables' folder.
pub const FILE_NAME: &str = "snapshot.json";

/// Versions that belong together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Version of this format.
    pub format: u32,
    /// Delta version by table.
    pub tables: BTreeMap<String, u64>,
    /// Epoch by partition of the fold: everything up to it is in the tables.
    pub epochs: BTreeMap<String, u64>,
    /// Where several processes write the tables, and one of them is not done with a commit while another publishes: epochs by partition, beyond
    /// those above, whose rows some of the tables may have already.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ahead: BTreeMap<String, u64>,
}

impl Snapshot {
    /// Reads the newest one of a tables' folder; `None` if there is none yet.
    pub fn read(root: &Path) -> Result<Option<Self>, LogError> {
        let path = root.join(FILE_NAME);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| LogError::Incompatible {
                    path,
                    problem: error.to_string(),
                }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(LogError::Io {
                action: "read",
                path,
                source,
            }),
        }
    }

    /// Publishes it, durably.
    pub fn write(&self, root: &Path) -> Result<(), LogError> {
        let bytes = serde_json::to_vec_pretty(self).expect("the struct has only plain fields");
        durable::replace(&root.join(FILE_NAME), &bytes)
    }
}
