//! `/readyz`: whether every stage moves. What is seen is gathered here; what it means is decided by [`reasons`], which is pure.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use shiyu_ingest::hub::Hub;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::reserve::{RESERVE_BYTES, free_bytes};

/// A partition with records to fold may stand still this long.
const STANDING_MAX: Duration = Duration::from_secs(30);
/// Rows may wait this long for the tables.
const ROWS_WAIT_MAX: Duration = Duration::from_mins(1);
/// The SQL worker must answer within this.
const WORKER_WITHIN: Duration = Duration::from_secs(2);

/// One partition of the fold.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PartitionSeen {
    name: String,
    /// Records of the log it has not folded yet.
    behind: u64,
    /// How long it has folded nothing.
    standing: Duration,
}

/// What was seen of the stages.
#[derive(Debug, Clone)]
struct Observed {
    log_writable: bool,
    fold_ended: Option<String>,
    partitions: Vec<PartitionSeen>,
    rows_wait: Duration,
    sql_worker_answers: bool,
    /// Free bytes of the data folder's disk, where they can be told.
    disk_free_bytes: Option<u64>,
}

/// Why the hub is not ready; empty when it is.
fn reasons(observed: &Observed) -> Vec<String> {
    let mut reasons = Vec::new();
    if !observed.log_writable {
        reasons.push("the log takes no more records".to_owned());
    }
    if let Some(failure) = &observed.fold_ended {
        reasons.push(format!("the fold ended: {failure}"));
    }
    for PartitionSeen { name, behind, standing } in &observed.partitions {
        if *behind > 0 && *standing >= STANDING_MAX {
            reasons.push(format!(
                "the fold of {name} is {behind} records behind and stands still for {} s",
                standing.as_secs()
            ));
        }
    }
    if observed.rows_wait >= ROWS_WAIT_MAX {
        reasons.push(format!(
            "rows wait for the tables for {} s",
            observed.rows_wait.as_secs()
        ));
    }
    if !observed.sql_worker_answers {
        reasons.push("the SQL worker does not answer".to_owned());
    }
    if let Some(free) = observed.disk_free_bytes
        && free < RESERVE_BYTES
    {
        reasons.push(format!(
            "the disk has {} MiB left, {} must be free",
            free >> 20,
            RESERVE_BYTES >> 20
        ));
    }
    reasons
}

/// Since when each partition has been where it is.
#[derive(Debug, Default)]
struct Standing(BTreeMap<String, (u64, Instant)>);

impl Standing {
    /// Notes where a partition is; tells how long it has been there. What has nothing to fold does not stand still.
    fn note(&mut self, name: &str, applied: u64, behind: u64, now: Instant) -> Duration {
        let noted = self.0.entry(name.to_owned()).or_insert((applied, now));
        if noted.0 != applied || behind == 0 {
            *noted = (applied, now);
        }
        now.duration_since(noted.1)
    }
}

/// Looks at the stages of a hub that serves.
#[derive(Debug)]
pub(crate) struct Readiness {
    /// Weak: asking must not keep a hub open that is being closed.
    hub: Weak<Hub>,
    /// None where no SQL is answered here.
    sql_worker: Option<SocketAddr>,
    standing: Mutex<Standing>,
}

impl Readiness {
    /// Of a hub whose SQL worker, if it has one, serves PostgreSQL's protocol at `sql_worker`.
    pub(crate) fn new(hub: &Arc<Hub>, sql_worker: Option<SocketAddr>) -> Self {
        Self {
            hub: Arc::downgrade(hub),
            sql_worker,
            standing: Mutex::default(),
        }
    }

    /// Why the hub is not ready; empty when it is.
    pub(crate) async fn reasons(&self) -> Vec<String> {
        let sql_worker_answers = match self.sql_worker {
            Some(address) => answers(address).await,
            None => true,
        };
        match self.hub.upgrade() {
            Some(hub) => reasons(&self.observe(&hub, sql_worker_answers)),
            None => vec!["the hub is closing".to_owned()],
        }
    }

    fn observe(&self, hub: &Hub, sql_worker_answers: bool) -> Observed {
        let now = Instant::now();
        let log = hub.log();
        let fold = hub.fold().look();
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        let partitions = fold.applied.iter().map(|&(topic, number, applied)| {
            let name = format!("{} partition {number}", topic.name());
            let behind = log.range(topic, number).1.saturating_sub(applied);
            let standing = standing.note(&name, applied, behind, now);
            PartitionSeen { name, behind, standing }
        });
        Observed {
            log_writable: log.is_writable(),
            partitions: partitions.collect(),
            fold_ended: fold.ended.map(|failure| failure.to_string()),
            rows_wait: fold.rows_wait,
            sql_worker_answers,
            disk_free_bytes: free_bytes(hub.data_dir()),
        }
    }
}

/// Whether a PostgreSQL door answers: it is asked for TLS, and says yes or no before anybody must show a token.
async fn answers(address: SocketAddr) -> bool {
    const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
    let asked = async {
        let mut door = TcpStream::connect(address).await?;
        door.write_all(&SSL_REQUEST).await?;
        door.read_u8().await
    };
    matches!(tokio::time::timeout(WORKER_WITHIN, asked).await, Ok(Ok(b'S' | b'N')))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn well() -> Observed {
        Observed {
            log_writable: true,
            fold_ended: None,
            partitions: vec![PartitionSeen {
                name: "events.v1 partition 0".to_owned(),
                behind: 9,
                standing: Duration::from_secs(29),
            }],
            rows_wait: Duration::from_secs(5),
            sql_worker_answers: true,
            disk_free_bytes: Some(RESERVE_BYTES),
        }
    }

    fn reason(change: impl FnOnce(&mut Observed)) -> String {
        let mut observed = well();
        change(&mut observed);
        reasons(&observed).join("; ")
    }

    #[test]
    fn a_hub_whose_stages_move_is_ready() {
        assert!(reasons(&well()).is_empty());
        assert_eq!(reason(|observed| observed.disk_free_bytes = None), "");
    }

    #[test]
    fn every_stage_that_stalls_is_named() {
        assert!(reason(|observed| observed.log_writable = false).contains("log takes no more"));
        assert!(reason(|observed| observed.fold_ended = Some("damaged".to_owned())).contains("ended: damaged"));
        let stalled = reason(|observed| observed.partitions[0].standing = STANDING_MAX);
        assert!(
            stalled.contains("events.v1 partition 0 is 9 records behind"),
            "{stalled}"
        );
        assert!(reason(|observed| observed.rows_wait = ROWS_WAIT_MAX).contains("rows wait"));
        assert!(reason(|observed| observed.sql_worker_answers = false).contains("SQL worker"));
        assert!(reason(|observed| observed.disk_free_bytes = Some(1 << 20)).contains("disk has 1 MiB"));
    }

    #[test]
    fn a_partition_with_nothing_to_fold_does_not_stand_still() {
        let mut standing = Standing::default();
        let begin = Instant::now();
        let later = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(standing.note("p", 5, 0, begin), Duration::ZERO);
        assert_eq!(standing.note("p", 5, 0, later(100)), Duration::ZERO);
        assert_eq!(standing.note("p", 5, 3, later(110)), Duration::from_secs(10));
        assert_eq!(standing.note("p", 6, 2, later(120)), Duration::ZERO);
        assert_eq!(standing.note("p", 6, 2, later(155)), Duration::from_secs(35));
    }

    #[tokio::test]
    async fn a_door_that_accepts_but_never_speaks_does_not_answer() {
        let door = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = door.local_addr().unwrap();
        assert!(!answers(address).await);
        drop(door);
        assert!(!answers(address).await);
    }
}
