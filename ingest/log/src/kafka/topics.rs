//! The topics of a city: made with settings that are written out, and checked at every start.
//!
//! Nothing is left to the brokers' defaults: a default may trim what was acknowledged, or elect a leader that never had it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::{Metadata, MetadataTopic};

use super::client::{self, ASK_TIMEOUT, Context, MESSAGE_BYTES_MAX};
use super::kafka_error;
use super::settings::KafkaSettings;
use crate::LogError;
use crate::event_log::Topic;

/// Copies of a partition, where there are brokers enough.
const REPLICATION: u32 = 3;
/// How long new topics may take to be led.
const NEW_TOPIC_TRIES: u32 = 60;
const NEW_TOPIC_WAIT: Duration = Duration::from_millis(250);

/// Makes what is missing, checks what is there, and returns the partitions of each topic.
pub(super) async fn prepare(settings: &KafkaSettings, city: &str) -> Result<BTreeMap<Topic, u32>, LogError> {
    let started = |error| kafka_error("start a client for", &settings.to_string())(error);
    let asker: BaseConsumer<Context> = client::common(settings)?
        .create_with_context(Context::new(settings))
        .map_err(started)?;
    let asker = Arc::new(asker);
    let admin: AdminClient<Context> = client::common(settings)?
        .create_with_context(Context::new(settings))
        .map_err(started)?;
    let names: BTreeMap<Topic, String> = Topic::ALL
        .iter()
        .map(|&topic| (topic, settings.topic_name(city, topic)))
        .collect();
    let metadata = ask(&asker, settings).await?;
    let missing: Vec<Topic> = Topic::ALL
        .into_iter()
        .filter(|topic| usable(&metadata, &names[topic]).is_none())
        .collect();
    if !missing.is_empty() {
        let brokers = metadata.brokers().len() as u32;
        if !settings.create {
            let commands = missing
                .iter()
                .map(|&topic| by_hand(settings, topic, &names[&topic], brokers));
            return Err(LogError::Topic {
                topic: names[&missing[0]].clone(),
                problem: format!(
                    "it does not exist, and it is not to be created; make what is missing with Kafka's tools:{}",
                    commands.collect::<String>()
                ),
            });
        }
        create(&admin, settings, &names, &missing, brokers).await?;
    }
    let metadata = led(&asker, settings, &names).await?;
    if settings.create {
        check_settings(&admin, settings, &names).await?;
    }
    names
        .iter()
        .map(|(&topic, name)| {
            let found = usable(&metadata, name).expect("it was found before");
            Ok((topic, check_partitions(settings, topic, found)?))
        })
        .collect()
}

type Asker = Arc<BaseConsumer<Context>>;

/// All topics the cluster tells us of.
async fn ask(asker: &Asker, settings: &KafkaSettings) -> Result<Metadata, LogError> {
    let asking = asker.clone();
    let answer = tokio::task::spawn_blocking(move || {
        client::serve(&asking);
        let answer = asking.fetch_metadata(None, ASK_TIMEOUT * 2);
        if answer.is_err() {
            client::serve(&asking);
        }
        answer
    });
    answer
        .await
        .map_err(|_ended| LogError::Closed)?
        .map_err(kafka_error("reach", &settings.to_string()))
}

/// A topic that exists and whose partitions all have a leader.
fn usable<'a>(metadata: &'a Metadata, name: &str) -> Option<&'a MetadataTopic> {
    metadata
        .topics()
        .iter()
        .find(|topic| topic.name() == name && topic.error().is_none() && !topic.partitions().is_empty())
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(ASK_TIMEOUT * 6))
        .operation_timeout(Some(ASK_TIMEOUT * 6))
}

/// Copies of a new topic's partitions, and its settings; nothing is left to the brokers.
fn new_topic(settings: &KafkaSettings, topic: Topic, brokers: u32) -> (u32, Vec<(&'static str, String)>) {
    let replication = settings.replication.unwrap_or(REPLICATION.min(brokers.max(1)));
    let min_insync = settings
        .min_insync
        .unwrap_or(if replication >= REPLICATION { 2 } else { 1 });
    let written_out = vec![
        ("cleanup.policy", "delete".to_owned()),
        ("retention.ms", retention_ms(settings, topic)),
        ("retention.bytes", "-1".to_owned()),
        ("min.insync.replicas", min_insync.to_string()),
        ("unclean.leader.election.enable", "false".to_owned()),
        ("max.message.bytes", MESSAGE_BYTES_MAX.to_string()),
        ("message.timestamp.type", "CreateTime".to_owned()),
    ];
    (replication, written_out)
}

/// The command that makes a topic as we would, on a line of its own.
fn by_hand(settings: &KafkaSettings, topic: Topic, name: &str, brokers: u32) -> String {
    let (replication, written_out) = new_topic(settings, topic, brokers);
    let written_out: Vec<String> = written_out
        .iter()
        .map(|(key, value)| format!("--config {key}={value}"))
        .collect();
    let written_out = written_out.join(" ");
    let partitions = partitions_of_new(settings, topic);
    let servers = &settings.servers;
    format!(
        "\n  kafka-topics.sh --bootstrap-server {servers} --create --topic {name} --partitions {partitions} --replication-factor {replication} {written_out}"
    )
}

async fn create(
    admin: &AdminClient<Context>,
    settings: &KafkaSettings,
    names: &BTreeMap<Topic, String>,
    missing: &[Topic],
    brokers: u32,
) -> Result<(), LogError> {
    let wanted: Vec<_> = missing
        .iter()
        .map(|&topic| (topic, new_topic(settings, topic, brokers)))
        .collect();
    let topics: Vec<NewTopic<'_>> = wanted
        .iter()
        .map(|(topic, (replication, written_out))| {
            let partitions = partitions_of_new(settings, *topic) as i32;
            let new = NewTopic::new(&names[topic], partitions, TopicReplication::Fixed(*replication as i32));
            written_out.iter().fold(new, |new, (key, value)| new.set(key, value))
        })
        .collect();
    let results = admin
        .create_topics(&topics, &options())
        .await
        .map_err(kafka_error("create topics at", &settings.to_string()))?;
    for result in results {
        match result {
            Ok(topic) => tracing::info!(topic, "created a topic"),
            // Another process was quicker: what it made is checked like any other.
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => {
                return Err(LogError::Topic {
                    topic,
                    problem: format!("it cannot be created: {code}"),
                });
            }
        }
    }
    Ok(())
}

fn partitions_of_new(settings: &KafkaSettings, topic: Topic) -> u32 {
    if topic == Topic::Events { settings.partitions } else { 1 }
}

/// Only what the fold has taken over may ever go; positions, counts, scores and revisions are read from their beginning.
fn retention_ms(settings: &KafkaSettings, topic: Topic) -> String {
    match (topic, settings.retention) {
        (Topic::Events | Topic::Rejections, Some(retention)) => retention.as_millis().to_string(),
        _ => "-1".to_owned(),
    }
}

/// Waits until every topic has leaders.
async fn led(asker: &Asker, settings: &KafkaSettings, names: &BTreeMap<Topic, String>) -> Result<Metadata, LogError> {
    for _ in 0..NEW_TOPIC_TRIES {
        let metadata = ask(asker, settings).await?;
        let all = names.values().all(|name| {
            usable(&metadata, name).is_some_and(|topic| topic.partitions().iter().all(|part| part.leader() >= 0))
        });
        if all {
            return Ok(metadata);
        }
        tokio::time::sleep(NEW_TOPIC_WAIT).await;
    }
    Err(LogError::Topic {
        topic: settings.to_string(),
        problem: "some partitions have no leader: brokers are missing".to_owned(),
    })
}

fn check_partitions(settings: &KafkaSettings, topic: Topic, found: &MetadataTopic) -> Result<u32, LogError> {
    let partitions = found.partitions().len() as u32;
    let fail = |problem: String| LogError::Topic {
        topic: found.name().to_owned(),
        problem,
    };
    if topic != Topic::Events && partitions != 1 {
        return Err(fail(format!("it has {partitions} partitions, it must have one")));
    }
    if let Some(wanted) = settings.replication {
        let least = found.partitions().iter().map(|part| part.replicas().len()).min();
        if least.is_some_and(|least| least < wanted as usize) {
            return Err(fail(format!(
                "a partition of it has {} copies, replication={wanted} wants more: reassign its partitions",
                least.unwrap_or_default()
            )));
        }
    }
    Ok(partitions)
}

/// Settings under which an acknowledged record could vanish are refused.
async fn check_settings(
    admin: &AdminClient<Context>,
    settings: &KafkaSettings,
    names: &BTreeMap<Topic, String>,
) -> Result<(), LogError> {
    let specifiers: Vec<ResourceSpecifier<'_>> = names.values().map(|name| ResourceSpecifier::Topic(name)).collect();
    let results = admin
        .describe_configs(&specifiers, &options())
        .await
        .map_err(kafka_error("read the topics' settings at", &settings.to_string()))?;
    for ((&topic, name), result) in names.iter().zip(results) {
        let fail = |problem: String| LogError::Topic {
            topic: name.clone(),
            problem,
        };
        let resource = result.map_err(|code| {
            fail(format!(
                "its settings cannot be read: {code}; allow DescribeConfigs, or give topics=existing and check them yourself"
            ))
        })?;
        let value = |key: &str| {
            resource
                .get(key)
                .and_then(|entry| entry.value.clone())
                .unwrap_or_default()
        };
        let mut wanted = vec![
            ("cleanup.policy", "delete".to_owned()),
            ("unclean.leader.election.enable", "false".to_owned()),
            ("retention.ms", retention_ms(settings, topic)),
            ("retention.bytes", "-1".to_owned()),
        ];
        if let Some(min_insync) = settings.min_insync {
            wanted.push(("min.insync.replicas", min_insync.to_string()));
        }
        for (key, wanted) in wanted {
            if value(key) != wanted {
                return Err(fail(format!(
                    "its {key} is \"{}\", it must be \"{wanted}\": change it with kafka-configs.sh, or ask for what it is",
                    value(key)
                )));
            }
        }
    }
    Ok(())
}
