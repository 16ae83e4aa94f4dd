//! Against librdkafka's own mock brokers: in this process, over TCP. What only a real broker does is in `tests/checks/kafka.sh`.
#![allow(clippy::unwrap_used, reason = "tests")]

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use super::*;
use crate::contract_tests::{keeps_the_contract, read_from, records, values};

const EVENTS: &str = "shiyu.test.events.v1";

struct Cluster {
    mock: MockCluster<'static, DefaultProducerContext>,
}

impl Cluster {
    /// Three brokers; the mock knows no admin requests, so its topics are made from outside.
    fn new() -> Self {
        let mock = MockCluster::new(3).unwrap();
        for topic in Topic::ALL {
            let partitions = if topic == Topic::Events { 4 } else { 1 };
            mock.create_topic(&format!("shiyu.test.{}", topic.name()), partitions, 3)
                .unwrap();
        }
        Self { mock }
    }

    fn url(&self, options: &str) -> String {
        format!(
            "kafka://{}/shiyu?topics=existing{options}",
            self.mock.bootstrap_servers()
        )
    }

    async fn open(&self) -> Arc<dyn EventLog> {
        self.open_with("").await
    }

    async fn open_with(&self, options: &str) -> Arc<dyn EventLog> {
        let settings = KafkaSettings::parse(&self.url(options)).unwrap();
        Arc::new(KafkaLog::open(settings, "test").await.unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_keeps_the_contract() {
    keeps_the_contract(&Cluster::new().open().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_opened_again_is_the_same_log() {
    let cluster = Cluster::new();
    let log = cluster.open().await;
    log.append(Topic::Events, 0, records(0, 7)).await.unwrap();
    let again = cluster.open().await;
    assert_eq!(again.incarnation(), log.incarnation());
    assert_eq!(again.partitions(Topic::Events), 4);
    assert_eq!(again.range(Topic::Events, 0), (0, 7));
    assert_ne!(Cluster::new().open().await.incarnation(), log.incarnation());
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_two_processes_are_told_apart() {
    let cluster = Cluster::new();
    let (one, two) = (cluster.open().await, cluster.open().await);
    let waiting = tokio::spawn({
        let two = two.clone();
        async move { two.wait_for(Topic::Events, 0, 59).await }
    });
    let append = |log: Arc<dyn EventLog>, start: u32| async move {
        let mut appends = Vec::new();
        for part in 0..3 {
            appends.push(
                log.append(Topic::Events, 0, records(start + part * 10, 10))
                    .await
                    .unwrap(),
            );
        }
        appends
    };
    let (ones, twos) = tokio::join!(append(one.clone(), 0), append(two.clone(), 100));
    waiting.await.unwrap().unwrap();
    let found = read_from(two.as_ref(), Topic::Events, 0, 0).await;
    assert_eq!(found.len(), 60);
    for (appends, start) in [(ones, 0), (twos, 100)] {
        let own: Vec<String> = appends
            .iter()
            .flat_map(|appended| appended.extents().collect::<Vec<_>>())
            .flat_map(|(first, next)| found[first as usize..next as usize].to_vec())
            .collect();
        assert_eq!(own, values(start, 30));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_and_reads_go_on_behind_a_new_leader() {
    let cluster = Cluster::new();
    let log = cluster.open().await;
    cluster.mock.partition_leader(EVENTS, 0, Some(1)).unwrap();
    for leader in [2, 3, 1, 2] {
        let (_, end) = log.range(Topic::Events, 0);
        let waiting = tokio::spawn({
            let log = log.clone();
            async move { log.wait_for(Topic::Events, 0, end + 9).await }
        });
        cluster.mock.partition_leader(EVENTS, 0, Some(leader)).unwrap();
        log.append(Topic::Events, 0, records(end as u32, 10)).await.unwrap();
        waiting.await.unwrap().unwrap();
    }
    assert_eq!(read_from(log.as_ref(), Topic::Events, 0, 0).await, values(0, 40));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_waits_for_brokers_that_are_down_and_is_stored_once() {
    let cluster = Cluster::new();
    let log = cluster.open().await;
    log.append(Topic::Events, 0, records(0, 5)).await.unwrap();
    cluster.mock.broker_down(-1).unwrap();
    let appending = tokio::spawn({
        let log = log.clone();
        async move { log.append(Topic::Events, 0, records(5, 5)).await }
    });
    let reading = tokio::spawn({
        let log = log.clone();
        async move { log.wait_for(Topic::Events, 0, 9).await }
    });
    tokio::task::yield_now().await;
    assert!(!appending.is_finished());
    cluster.mock.broker_up(-1).unwrap();
    assert_eq!(appending.await.unwrap().unwrap(), Appended::contiguous(5, 10));
    reading.await.unwrap().unwrap();
    assert_eq!(read_from(log.as_ref(), Topic::Events, 0, 0).await, values(0, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_nobody_answers_is_told_as_unsure() {
    let cluster = Cluster::new();
    let log = cluster.open_with("&delivery_timeout_s=1").await;
    cluster.mock.broker_down(-1).unwrap();
    let error = log.append(Topic::Events, 0, records(0, 3)).await.unwrap_err();
    assert!(
        matches!(
            error,
            LogError::Unsure {
                topic: "events.v1",
                partition: 0,
                ..
            }
        ),
        "{error}"
    );
    cluster.mock.broker_up(-1).unwrap();
    log.append(Topic::Events, 0, records(0, 3)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_lost_records_is_an_alarm() {
    let cluster = Cluster::new();
    let log = cluster.open_with("&delivery_timeout_s=1").await;
    log.append(Topic::Events, 0, records(0, 20)).await.unwrap();
    // The mock's way to a shorter partition: another cluster at the same place is not to be had, so the log is told of more than there is.
    let url = cluster.url("&delivery_timeout_s=1");
    let kafka = KafkaLog::open(KafkaSettings::parse(&url).unwrap(), "test")
        .await
        .unwrap();
    kafka.inner.lanes[&(Topic::Events, 0)].note_end(30);
    let error = kafka.ask_range(Topic::Events, 0).await.unwrap_err();
    assert!(
        matches!(
            error,
            LogError::Truncated {
                offset: 30,
                end: 20,
                ..
            }
        ),
        "{error}"
    );
    let error = kafka.read(Topic::Events, 0, 25, 10).await.unwrap_err();
    assert!(
        matches!(
            error,
            LogError::Truncated {
                offset: 30,
                end: 20,
                ..
            }
        ),
        "{error}"
    );
    let error = kafka.append(Topic::Events, 0, records(20, 1)).await.unwrap_err();
    assert!(matches!(error, LogError::Truncated { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_whose_place_was_not_told_are_found() {
    let cluster = Cluster::new();
    let log = cluster.open().await;
    log.append(Topic::Events, 0, records(0, 20)).await.unwrap();
    log.append(Topic::Events, 0, records(100, 3)).await.unwrap();
    let kafka = KafkaLog::open(KafkaSettings::parse(&cluster.url("")).unwrap(), "test")
        .await
        .unwrap();
    let lane = &kafka.inner.lanes[&(Topic::Events, 0)];
    let found = kafka.inner.locate(lane, 2, &records(4, 3)).await.unwrap();
    assert_eq!(found, Appended::contiguous(4, 7));
    let mut apart = records(7, 2);
    records(101, 2).iter().for_each(|(key, value)| {
        apart.push(key, |buffer| buffer.extend_from_slice(value));
    });
    let found = kafka.inner.locate(lane, 2, &apart).await.unwrap();
    assert_eq!(found.extents().collect::<Vec<_>>(), [(7, 9), (21, 23)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_is_not_made_by_accident() {
    let mock = MockCluster::new(1).unwrap();
    let url = format!("kafka://{}/other?topics=existing", mock.bootstrap_servers());
    let error = KafkaLog::open(KafkaSettings::parse(&url).unwrap(), "test")
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("\"other.test.events.v1\": it does not exist"),
        "{error}"
    );
}
