//! Which log a hub stands on, and that a data folder never changes it unnoticed.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use shiyu_log::kafka::{KafkaLog, KafkaSettings, SettingsError};
use shiyu_log::local::{LocalLog, LocalLogOptions};
use shiyu_log::lock::{DataFolder, LogIdentity};
use shiyu_log::{EventLog, LogError};

/// Where the log is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum LogChoice {
    /// Segment files in the data folder.
    #[default]
    Local,
    /// Topics of a Kafka cluster.
    Kafka(Box<KafkaSettings>),
}

impl FromStr for LogChoice {
    type Err = SettingsError;

    /// `local`, or a `kafka://` URL.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "local" => Ok(Self::Local),
            url => Ok(Self::Kafka(Box::new(KafkaSettings::parse(url)?))),
        }
    }
}

/// An open log.
#[derive(Debug)]
pub(super) enum Ground {
    /// Segment files: this process is the only one.
    Local(Arc<LocalLog>),
    /// Topics that other processes may read and write.
    Kafka(Arc<KafkaLog>),
}

impl Ground {
    /// The embedded log, if it is that.
    pub(super) fn embedded(&self) -> Option<Arc<LocalLog>> {
        match self {
            Self::Local(log) => Some(log.clone()),
            Self::Kafka(_) => None,
        }
    }

    /// What all logs have in common.
    pub(super) fn log(&self) -> Arc<dyn EventLog> {
        match self {
            Self::Local(log) => log.clone(),
            Self::Kafka(log) => log.clone(),
        }
    }
}

/// Makes the data folder's tables those of the folder that processes share.
pub(super) fn share_tables(data_dir: &Path, shared: &Path) -> Result<(), LogError> {
    let (own, common) = (data_dir.join("tables"), shared.join("tables"));
    let failed = |action: &'static str, path: &Path| {
        let path = path.to_owned();
        move |source| LogError::Io { action, path, source }
    };
    std::fs::create_dir_all(&common).map_err(failed("make", &common))?;
    let common = common.canonicalize().map_err(failed("open", &common))?;
    match std::fs::symlink_metadata(&own) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            std::os::unix::fs::symlink(&common, &own).map_err(failed("link", &own))
        }
        Err(error) => Err(failed("open", &own)(error)),
        Ok(_) if own.canonicalize().is_ok_and(|place| place == common) => Ok(()),
        Ok(_) => Err(LogError::Incompatible {
            path: own,
            problem: format!(
                "its tables are not those of \"{}\"; give another --data-dir",
                shared.display()
            ),
        }),
    }
}

impl LogChoice {
    /// Opens the log; the data folder remembers which one it is, and another one is refused.
    pub(super) async fn open(&self, data_dir: &Path, city: &str, folder: &mut DataFolder) -> Result<Ground, LogError> {
        match self {
            Self::Local => {
                folder.belong_to(None)?;
                let options = LocalLogOptions {
                    events_partitions: folder.partitions(),
                    ..LocalLogOptions::default()
                };
                let log = LocalLog::open(&data_dir.join("log"), Arc::new(shiyu_log::vfs::RealVfs), options)?;
                Ok(Ground::Local(Arc::new(log)))
            }
            Self::Kafka(settings) => {
                let log = KafkaLog::open(settings.as_ref().clone(), city).await?;
                folder.belong_to(Some(LogIdentity {
                    topics: format!("{}.{city}", settings.prefix),
                    incarnation: format!("{:016x}", log.incarnation()),
                }))?;
                Ok(Ground::Kafka(Arc::new(log)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_log_is_local_or_a_kafka_url() {
        assert_eq!("local".parse::<LogChoice>().unwrap(), LogChoice::Local);
        assert!(matches!("kafka://k:9092".parse().unwrap(), LogChoice::Kafka(_)));
        assert!("nats://k:1".parse::<LogChoice>().is_err());
    }
}
