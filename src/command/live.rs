//! The invented city lives on: its records are pushed into a hub as their time comes.

use std::str::FromStr as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use shiyu_schemas::v1;
use shiyu_schemas::v1::intake_service_client::IntakeServiceClient;
use shiyu_simulate::calendar::DAY_S;
use shiyu_simulate::channel::columns;
use shiyu_simulate::report::FEEDS;
use shiyu_simulate::write::json;
use shiyu_simulate::{Simulation, SimulationOptions};
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};

/// How often records whose time has come are pushed.
const TICK: Duration = Duration::from_millis(250);
/// Records of one push at most.
const PUSH_MAX: usize = 2_000;
/// What a hub that is away for a moment is given.
const RETRY: Duration = Duration::from_secs(1);
const TRIES: u32 = 30;

/// Where the city goes on to.
#[derive(Debug, Clone)]
pub(crate) struct LiveTarget {
    /// The hub's gRPC address.
    pub(crate) address: String,
    /// Access token.
    pub(crate) token: Option<String>,
    /// Simulated seconds of a second.
    pub(crate) speed: f64,
    /// Simulated days to end after; `None`: until stopped.
    pub(crate) days: Option<u32>,
}

/// One record whose time comes.
#[derive(Debug)]
struct Coming {
    /// Second of its day.
    second: u32,
    /// Index in [`FEEDS`].
    feed: usize,
    /// The record as JSON.
    record: String,
}

/// Lives on behind the days of `options` until `stop`; the number of records pushed.
pub(crate) async fn run(
    options: SimulationOptions,
    target: LiveTarget,
    stop: CancellationToken,
) -> anyhow::Result<u64> {
    if !(target.speed > 0.0 && target.speed <= 1_000_000.0) {
        return Err(anyhow!(
            "cannot live {} times as fast as the clock; give 0.1 to 1000000",
            target.speed
        ));
    }
    let channel = Endpoint::from_shared(target.address.clone())
        .context("--address is no URL")?
        .connect()
        .await
        .with_context(|| format!("cannot reach a hub at {}", target.address))?;
    let mut pusher = Pusher {
        client: IntakeServiceClient::new(channel),
        seed: options.seed,
        token: target.token.clone(),
        pushed: 0,
    };
    let mut city = tokio::task::spawn_blocking(move || Simulation::live_on(&options)).await??;
    let first_day = city.day();
    let started = Instant::now();
    loop {
        let day = city.day();
        if target.days.is_some_and(|days| day - first_day >= days) {
            return Ok(pusher.pushed);
        }
        let (back, coming) = tokio::task::spawn_blocking(move || {
            let coming = day_of(&mut city);
            (city, coming)
        })
        .await?;
        city = back;
        let mut coming = coming?.into_iter().peekable();
        let day_starts = f64::from(day - first_day) * f64::from(DAY_S);
        while coming.peek().is_some() {
            let second = started.elapsed().as_secs_f64() * target.speed - day_starts;
            let mut due: [Vec<String>; 5] = std::array::from_fn(|_| Vec::new());
            while let Some(next) = coming.next_if(|next| f64::from(next.second) <= second) {
                due[next.feed].push(next.record);
            }
            for (feed, records) in due.into_iter().enumerate() {
                for records in records.chunks(PUSH_MAX) {
                    tokio::select! {
                        () = stop.cancelled() => return Ok(pusher.pushed),
                        pushed = pusher.push(feed, records) => pushed?,
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(pusher.pushed),
                () = tokio::time::sleep(TICK) => {}
            }
        }
        let left = f64::from(day + 1 - first_day) * f64::from(DAY_S) / target.speed - started.elapsed().as_secs_f64();
        tokio::select! {
            () = stop.cancelled() => return Ok(pusher.pushed),
            () = tokio::time::sleep(Duration::from_secs_f64(left.max(0.0))) => {}
        }
    }
}

/// The next day's records of all feeds in order of time.
fn day_of(city: &mut Simulation) -> anyhow::Result<Vec<Coming>> {
    let rows = city.next_day()?;
    let mut coming = Vec::new();
    for (index, feed) in FEEDS.into_iter().enumerate() {
        for (at, row) in rows[index].iter() {
            let mut object = Vec::with_capacity(512);
            json::put_object(&mut object, columns(feed), row);
            coming.push(Coming {
                second: at % DAY_S,
                feed: index,
                record: String::from_utf8(object).context("a simulated row is not UTF-8")?,
            });
        }
    }
    coming.sort_by_key(|coming| coming.second);
    Ok(coming)
}

struct Pusher {
    client: IntakeServiceClient<Channel>,
    seed: u64,
    token: Option<String>,
    pushed: u64,
}

impl Pusher {
    async fn push(&mut self, feed: usize, records: &[String]) -> anyhow::Result<()> {
        let feed = FEEDS[feed].word();
        let message = v1::PushRequest {
            feed: feed.to_owned(),
            records: records.to_vec(),
            // The same key for the same records: a push that is tried again is the same delivery.
            idempotency_key: format!("yunlan-{}-{feed}-{}", self.seed, self.pushed),
            wait: v1::Wait::Logged.into(),
        };
        for attempt in 1.. {
            let mut request = tonic::Request::new(message.clone());
            if let Some(token) = &self.token {
                let value =
                    MetadataValue::from_str(&format!("Bearer {token}")).context("the token has odd characters")?;
                request.metadata_mut().insert("authorization", value);
            }
            match self.client.push(request).await {
                Ok(_receipts) => break,
                Err(status) if status.code() == tonic::Code::Unavailable && attempt < TRIES => {
                    tracing::warn!(feed, error = %status.message(), "failed to push; trying again");
                    tokio::time::sleep(RETRY).await;
                }
                Err(status) => {
                    return Err(anyhow!("cannot push records of \"{feed}\": {}", status.message()));
                }
            }
        }
        self.pushed += records.len() as u64;
        Ok(())
    }
}
