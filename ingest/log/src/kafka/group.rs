//! Which partitions are this process's, by Kafka's consumer group (cooperative-sticky).
//!
//! The group is used for that only: its consumer reads nothing and commits nothing. What it tells is a wish, not a right: a member that
//! was stopped may believe in an assignment that others have by now. The right is the generation in the log and in the tables.

use std::collections::BTreeMap;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::mpsc;

use super::client::{self, Context};
use super::{KafkaLog, kafka_error};
use crate::LogError;
use crate::event_log::Topic;

/// How long the group waits for a process to let go of its partitions before it is taken for dead.
const LET_GO_MAX: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(100);
/// Changes that may wait; one at a time is under way.
const QUEUE: usize = 4;

/// What the group says.
#[derive(Debug)]
pub enum GroupChange {
    /// These partitions are this process's now.
    Assigned(Vec<(Topic, u32)>),
    /// These partitions are to be let go of; the group waits for the answer.
    Revoked(Vec<(Topic, u32)>, LetGo),
    /// Others have these partitions already.
    Lost(Vec<(Topic, u32)>),
}

/// Told to the group when partitions are let go of; dropping it tells the same.
#[derive(Debug)]
pub struct LetGo {
    /// Closed by being dropped.
    _done: SyncSender<()>,
}

/// This process's place in the group. Dropping it leaves the group without letting go of anything.
#[derive(Debug)]
pub struct GroupMember {
    changes: mpsc::Receiver<GroupChange>,
    leave: Arc<Mutex<bool>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl GroupMember {
    /// Joins the group `<topics>.ingest` for the given topics of a log.
    pub fn join(log: &KafkaLog, topics: &[Topic]) -> Result<Self, LogError> {
        let inner = &log.inner;
        let mut names = BTreeMap::new();
        for lane in inner.lanes.values().filter(|lane| topics.contains(&lane.topic)) {
            names.insert(lane.name.clone(), lane.topic);
        }
        let group = log.group();
        let (sender, changes) = mpsc::channel(QUEUE);
        let mut config = client::reader(&inner.settings)?;
        config
            .set("group.id", &group)
            .set("partition.assignment.strategy", "cooperative-sticky")
            // Kafka's default, longer than a broker takes to come back: else all partitions would change their owners because of it.
            .set("session.timeout.ms", "45000")
            .set("heartbeat.interval.ms", "1000")
            .set("max.poll.interval.ms", "300000")
            .set("enable.partition.eof", "false");
        let context = GroupContext {
            base: Context::new(&inner.settings),
            topics: names.clone(),
            changes: sender,
        };
        let consumer: BaseConsumer<GroupContext> = config
            .create_with_context(context)
            .map_err(kafka_error("join group", &group))?;
        let subscribed: Vec<&str> = names.keys().map(String::as_str).collect();
        consumer
            .subscribe(&subscribed)
            .map_err(kafka_error("join group", &group))?;
        let leave = Arc::new(Mutex::new(false));
        let leaving = leave.clone();
        let thread = thread::Builder::new()
            .name("kafka-group".to_owned())
            .spawn(move || poll(&consumer, &leaving))
            .map_err(|source| LogError::Io {
                action: "start the thread of group",
                path: group.into(),
                source,
            })?;
        Ok(Self {
            changes,
            leave,
            thread: Some(thread),
        })
    }

    /// The next change; none once the group is left.
    pub async fn next(&mut self) -> Option<GroupChange> {
        self.changes.recv().await
    }

    /// Begins to leave: all partitions are revoked, then [`Self::next`] ends.
    pub fn leave(&self) {
        *self.leave.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }
}

impl Drop for GroupMember {
    fn drop(&mut self) {
        self.leave();
        self.changes.close();
        // What nobody takes any more must not keep the thread waiting for an answer.
        while self.changes.try_recv().is_ok() {}
        if let Some(thread) = self.thread.take() {
            // A thread that panicked holds nothing.
            let _ended = thread.join();
        }
    }
}

fn poll(consumer: &BaseConsumer<GroupContext>, leave: &Mutex<bool>) {
    while !*leave.lock().unwrap_or_else(PoisonError::into_inner) {
        match consumer.poll(POLL) {
            None => {}
            Some(Ok(_message)) => tracing::debug!("a record came before its partition was paused"),
            Some(Err(error)) => tracing::debug!(%error, "the group goes on"),
        }
    }
    // Closing the consumer, by dropping it, revokes what is left.
    consumer.unsubscribe();
    let mut quiet = 0;
    while quiet < 10 && consumer.assignment().is_ok_and(|assigned| assigned.count() > 0) {
        if consumer.poll(POLL).is_none() {
            quiet += 1;
        }
    }
}

struct GroupContext {
    base: Context,
    topics: BTreeMap<String, Topic>,
    changes: mpsc::Sender<GroupChange>,
}

impl GroupContext {
    fn named(&self, list: &TopicPartitionList) -> Vec<(Topic, u32)> {
        list.elements()
            .iter()
            .filter_map(|element| Some((*self.topics.get(element.topic())?, element.partition() as u32)))
            .collect()
    }

    fn assign(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) -> Result<(), KafkaError> {
        let mut at_end = TopicPartitionList::new();
        for element in list.elements() {
            at_end.add_partition_offset(element.topic(), element.partition(), Offset::End)?;
        }
        consumer.incremental_assign(&at_end)?;
        consumer.pause(&at_end)?;
        let assigned = self.named(list);
        if !assigned.is_empty() && self.changes.blocking_send(GroupChange::Assigned(assigned)).is_err() {
            tracing::debug!("nobody takes partitions any more");
        }
        Ok(())
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) -> Result<(), KafkaError> {
        let revoked = self.named(list);
        if revoked.is_empty() {
            return consumer.incremental_unassign(list);
        }
        if consumer.assignment_lost() {
            if self.changes.blocking_send(GroupChange::Lost(revoked)).is_err() {
                tracing::debug!("nobody holds partitions any more");
            }
            return consumer.incremental_unassign(list);
        }
        let (done, wait) = sync_channel(1);
        let change = GroupChange::Revoked(revoked, LetGo { _done: done });
        if self.changes.blocking_send(change).is_ok() {
            // The sender is dropped when all is let go of.
            if let Err(RecvTimeoutError::Timeout) = wait.recv_timeout(LET_GO_MAX) {
                tracing::error!("letting go of partitions takes too long; the group goes on without");
            }
        }
        consumer.incremental_unassign(list)
    }
}

impl ClientContext for GroupContext {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.base.log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.base.error(error, reason);
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.base.generate_oauth_token(config)
    }
}

impl ConsumerContext for GroupContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let done = match error {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assign(consumer, list),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => self.revoke(consumer, list),
            other => Err(KafkaError::Rebalance(other.into())),
        };
        if let Err(error) = done {
            tracing::warn!(%error, "failed to follow the group");
        }
    }
}
