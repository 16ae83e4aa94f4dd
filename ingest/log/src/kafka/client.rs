//! Configuration of librdkafka's clients, and what they call back.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, NoCustomPartitioner, ProducerContext};

use super::append::Pending;
use super::settings::{KafkaSettings, Sasl};
use super::token::{self, TokenError};
use crate::LogError;

/// Records wait for the brokers in at most that much memory.
const PRODUCER_QUEUE_KIB: u32 = 64 << 10;
/// Records read ahead, per reader. More than 16 MiB times many partitions is memory nobody planned for.
const READ_AHEAD_KIB: u32 = 8 << 10;
/// Largest record, and largest batch on the wire.
pub(super) const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// How long a first token is waited for; the command that makes one may take that long.
const TOKEN_WITHIN: Duration = Duration::from_secs(10);
const TOKEN_LOOK: Duration = Duration::from_millis(50);
/// Events served at a time.
const EVENTS_MAX: usize = 64;
/// Time before a process tells again that it reaches no broker.
const TELL_AGAIN: Duration = Duration::from_secs(10);

/// What our clients call back. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Context {
    sasl: Option<Arc<Sasl>>,
    /// Whether a token was asked for.
    asked: Arc<AtomicBool>,
}

/// When unreachable brokers were told of last: every client of a process sees every outage, again and again.
static TOLD: Mutex<Option<Instant>> = Mutex::new(None);

/// Whether it is time to tell again.
fn is_due() -> bool {
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    let due = told.is_none_or(|told| told.elapsed() >= TELL_AGAIN);
    if due {
        *told = Some(Instant::now());
    }
    due
}

impl Context {
    pub(super) fn new(settings: &KafkaSettings) -> Self {
        Self {
            sasl: settings.sasl.clone().map(Arc::new),
            asked: Arc::default(),
        }
    }

    fn awaits_token(&self) -> bool {
        let by_token = matches!(self.sasl.as_deref(), Some(Sasl::TokenFile(_) | Sasl::TokenCommand(_)));
        by_token && !self.asked.load(Ordering::Relaxed)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "whether a token still holds; no record is stamped with it"
    )]
    fn token(&self) -> Result<OAuthToken, TokenError> {
        let text = match self.sasl.as_deref() {
            Some(Sasl::TokenFile(file)) => token::from_file(file)?,
            Some(Sasl::TokenCommand(command)) => token::from_command(command)?,
            Some(Sasl::Password { .. }) | None => String::new(),
        };
        token::parse(&text, SystemTime::now())
    }
}

/// Serves what librdkafka wants to tell, and its wish for a token, without which it reaches no broker. Blocks.
pub(super) fn serve(consumer: &BaseConsumer<Context>) {
    let until = Instant::now() + TOKEN_WITHIN;
    while consumer.context().awaits_token() && Instant::now() < until {
        let _nothing = consumer.poll(TOKEN_LOOK);
    }
    // Each poll serves one; why a broker refuses us is among them.
    let _served = (0..EVENTS_MAX)
        .take_while(|_| consumer.poll(Duration::ZERO).is_some())
        .count();
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::warn!(facility, text, "kafka");
            }
            RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice => tracing::info!(facility, text, "kafka"),
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => tracing::debug!(facility, text, "kafka"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        // What cannot be mended is told by the call that fails; the rest mends itself.
        let outage = matches!(
            error.rdkafka_error_code(),
            Some(
                RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::Resolve
            )
        );
        if !outage || is_due() {
            tracing::warn!(%error, reason, "kafka");
        }
        metrics::counter!("shiyu_kafka_errors_total").increment(1);
    }

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.asked.store(true, Ordering::Relaxed);
        let token = self.token();
        if let Err(error) = &token {
            // librdkafka asks again by itself, and tells nobody why.
            tracing::warn!(%error, "there is no token for Kafka");
        }
        Ok(token?)
    }
}

impl ConsumerContext for Context {}

impl ProducerContext<NoCustomPartitioner> for Context {
    type DeliveryOpaque = Arc<Pending>;

    fn delivery(&self, result: &DeliveryResult<'_>, pending: Self::DeliveryOpaque) {
        pending.delivered(result);
    }
}

/// What every client has in common.
pub(super) fn common(settings: &KafkaSettings) -> Result<ClientConfig, LogError> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.servers)
        .set("client.id", "shiyu")
        .set("allow.auto.create.topics", "false")
        .set("socket.keepalive.enable", "true")
        .set("socket.nagle.disable", "true")
        .set("socket.timeout.ms", "10000")
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "1000");
    let protocol = match (&settings.tls, &settings.sasl) {
        (None, _) => "PLAINTEXT",
        (Some(_), None) => "SSL",
        (Some(_), Some(_)) => "SASL_SSL",
    };
    config.set("security.protocol", protocol);
    if let Some(tls) = &settings.tls {
        if let Some(file) = &tls.ca_file {
            config.set("ssl.ca.location", readable(file)?);
        }
        if let Some((cert, key)) = &tls.identity {
            config.set("ssl.certificate.location", readable(cert)?);
            config.set("ssl.key.location", readable(key)?);
        }
        if let Some(file) = &tls.key_password_file {
            config.set("ssl.key.password", secret(file)?);
        }
    }
    match &settings.sasl {
        None => {}
        Some(Sasl::Password {
            mechanism,
            user,
            password_file,
        }) => {
            config.set("sasl.mechanism", *mechanism);
            config.set("sasl.username", user);
            config.set("sasl.password", secret(password_file)?);
        }
        Some(Sasl::TokenFile(_) | Sasl::TokenCommand(_)) => {
            config.set("sasl.mechanism", "OAUTHBEARER");
        }
    }
    Ok(config)
}

/// A producer whose answer means: on every replica that must have it, once, in order.
pub(super) fn producer(settings: &KafkaSettings) -> Result<ClientConfig, LogError> {
    let mut config = common(settings)?;
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("compression.codec", "lz4")
        .set("linger.ms", "2")
        .set("batch.size", (2 << 20).to_string())
        .set("batch.num.messages", "65536")
        .set("message.max.bytes", MESSAGE_BYTES_MAX.to_string())
        .set("queue.buffering.max.kbytes", PRODUCER_QUEUE_KIB.to_string())
        .set("queue.buffering.max.messages", "500000")
        .set("request.timeout.ms", "10000")
        .set("retry.backoff.ms", "50")
        .set("message.timeout.ms", settings.delivery_timeout.as_millis().to_string());
    Ok(config)
}

/// A consumer that reads from the offsets we tell it and keeps none of its own.
pub(super) fn reader(settings: &KafkaSettings) -> Result<ClientConfig, LogError> {
    let mut config = common(settings)?;
    config
        // librdkafka wants a name; nothing is ever committed under it.
        .set("group.id", "shiyu-reader-without-group")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", "true")
        .set("check.crcs", "true")
        .set("queued.max.messages.kbytes", READ_AHEAD_KIB.to_string())
        .set("queued.min.messages", "200000")
        .set("fetch.message.max.bytes", (4 << 20).to_string())
        .set("receive.message.max.bytes", (100_u32 << 20).to_string())
        .set("fetch.wait.max.ms", "500")
        .set("fetch.error.backoff.ms", "50")
        .set("fetch.queue.backoff.ms", "5");
    Ok(config)
}

/// How long a question to the brokers may take before it is asked again.
pub(super) const ASK_TIMEOUT: Duration = Duration::from_secs(5);

fn readable(file: &Path) -> Result<String, LogError> {
    std::fs::File::open(file).map_err(|source| LogError::Io {
        action: "open",
        path: file.to_owned(),
        source,
    })?;
    Ok(file.to_string_lossy().into_owned())
}

/// The contents of a file that holds a secret, without the newline at its end.
fn secret(file: &Path) -> Result<String, LogError> {
    let text = std::fs::read_to_string(file).map_err(|source| LogError::Io {
        action: "read",
        path: file.to_owned(),
        source,
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
