//! The data folder: one process owns it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::vfs::{RealVfs, Vfs as _};
use crate::{LogError, durable};

/// Version of the folder's layout.
const FORMAT: u32 = 1;

/// `hub.json`: what the folder is, written once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubIdentity {
    /// Version of the layout.
    pub format: u32,
    /// The city.
    pub city: String,
    /// Partitions of `events.v1`.
    pub partitions: u32,
    /// The log outside of this folder that it was folded from; none: the one inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogIdentity>,
}

/// A log outside of the data folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogIdentity {
    /// First parts of its topics' names, e.g. `shiyu.yunlan`.
    pub topics: String,
    /// Its identity, hexadecimal.
    pub incarnation: String,
}

impl std::fmt::Display for LogIdentity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "Kafka topics {}.* (identity {})",
            self.topics, self.incarnation
        )
    }
}

/// A data folder this process owns until the value is dropped.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    identity: HubIdentity,
    /// Holds the lock.
    _lock: File,
}

impl DataFolder {
    /// Opens the folder, or makes it for `city` with `partitions`; an old one keeps its own number.
    pub fn open(path: &Path, city: &str, partitions: u32) -> Result<Self, LogError> {
        let failed = |action: &'static str| {
            move |source| LogError::Io {
                action,
                path: path.to_owned(),
                source,
            }
        };
        RealVfs.create_folder(path).map_err(failed("make"))?;
        let lock = take_lock(path)?;
        let identity = if let Some(identity) = Self::identity_of(path)? {
            identity
        } else {
            let identity = HubIdentity {
                format: FORMAT,
                city: city.to_owned(),
                partitions: partitions.max(1),
                log: None,
            };
            let text = serde_json::to_vec_pretty(&identity).expect("the struct has only plain fields");
            durable::replace(&path.join("hub.json"), &text)?;
            identity
        };
        let incompatible = |problem: String| LogError::Incompatible {
            path: path.to_owned(),
            problem,
        };
        if identity.format > FORMAT {
            return Err(incompatible("a newer version of shiyu wrote it; use that".to_owned()));
        }
        if identity.city != city {
            return Err(incompatible(format!(
                "it holds the city \"{}\"; give another --data-dir",
                identity.city
            )));
        }
        Ok(Self {
            path: path.to_owned(),
            identity,
            _lock: lock,
        })
    }

    /// What a folder is, without owning it; `None` if it is none yet.
    pub fn identity_of(path: &Path) -> Result<Option<HubIdentity>, LogError> {
        let file = path.join("hub.json");
        match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| LogError::Incompatible {
                    path: file,
                    problem: error.to_string(),
                }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(LogError::Io {
                action: "read",
                path: file,
                source,
            }),
        }
    }

    /// Remembers which log the folder is folded from; `None`: the one inside. Refused where it was folded from another.
    pub fn belong_to(&mut self, log: Option<LogIdentity>) -> Result<(), LogError> {
        if self.identity.log == log {
            return Ok(());
        }
        let used = self.path.join("state").exists() || self.path.join("log").exists();
        if used || self.identity.log.is_some() {
            let name =
                |log: &Option<LogIdentity>| log.as_ref().map_or("the embedded log".to_owned(), ToString::to_string);
            return Err(LogError::Incompatible {
                path: self.path.clone(),
                problem: format!(
                    "it was folded from {}, not from {}; give another --log or another --data-dir",
                    name(&self.identity.log),
                    name(&log)
                ),
            });
        }
        self.identity.log = log;
        let text = serde_json::to_vec_pretty(&self.identity).expect("the struct has only plain fields");
        durable::replace(&self.path.join("hub.json"), &text)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Partitions of `events.v1`.
    pub fn partitions(&self) -> u32 {
        self.identity.partitions
    }
}

fn take_lock(path: &Path) -> Result<File, LogError> {
    let file = path.join("LOCK");
    let failed = |action: &'static str| {
        let path = file.clone();
        move |source| LogError::unwritten(action, &path, source)
    };
    let mut lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&file)
        .map_err(failed("open"))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            lock.read_to_string(&mut owner).map_err(failed("read"))?;
            return Err(LogError::Locked {
                path: path.to_owned(),
                owner: owner.trim().to_owned(),
            });
        }
        Err(TryLockError::Error(source)) => return Err(failed("lock")(source)),
    }
    lock.set_len(0).map_err(failed("write"))?;
    lock.write_all(format!("{}\n", std::process::id()).as_bytes())
        .map_err(failed("write"))?;
    Ok(lock)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_folder_has_one_owner() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataFolder::open(folder.path(), "yunlan", 2).unwrap();
        let second = DataFolder::open(folder.path(), "yunlan", 2).unwrap_err();
        assert!(second.to_string().contains(&std::process::id().to_string()), "{second}");
        drop(first);
        let again = DataFolder::open(folder.path(), "yunlan", 9).unwrap();
        assert_eq!(again.partitions(), 2);
    }

    #[test]
    fn a_folder_of_another_city_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        drop(DataFolder::open(folder.path(), "yunlan", 2).unwrap());
        let error = DataFolder::open(folder.path(), "boston", 2).unwrap_err();
        assert!(matches!(error, LogError::Incompatible { .. }), "{error}");
    }

    #[test]
    fn a_folder_stays_with_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = |incarnation: &str| {
            Some(LogIdentity {
                topics: "shiyu.yunlan".to_owned(),
                incarnation: incarnation.to_owned(),
            })
        };
        let mut opened = DataFolder::open(folder.path(), "yunlan", 2).unwrap();
        opened.belong_to(log("1")).unwrap();
        drop(opened);
        let mut opened = DataFolder::open(folder.path(), "yunlan", 2).unwrap();
        opened.belong_to(log("1")).unwrap();
        let error = opened.belong_to(log("2")).unwrap_err();
        assert!(error.to_string().contains("identity 1"), "{error}");
        let error = opened.belong_to(None).unwrap_err();
        assert!(error.to_string().contains("not from the embedded log"), "{error}");
    }

    #[test]
    fn a_folder_with_an_embedded_log_takes_no_other() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("log")).unwrap();
        let mut opened = DataFolder::open(folder.path(), "yunlan", 2).unwrap();
        opened.belong_to(None).unwrap();
        let other = LogIdentity {
            topics: "shiyu.yunlan".to_owned(),
            incarnation: "1".to_owned(),
        };
        assert!(opened.belong_to(Some(other)).is_err());
    }
}
