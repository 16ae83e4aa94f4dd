//! The load of the fault lab: pushes orders at a rate, from several streams, and writes down what was acknowledged.
//!
//! `lab-generator --address 127.0.0.1:7001 --ledger FILE --seed 1 --rate 20000 --batch 200 --streams 8 --seconds 60 --start 0`
//!
//! Order `i` is a pure function of its number, so that `audit.py` can compute it too: blocks of 4,000 hold 1,000 records in four versions
//! each, a record's versions 1,000 orders apart and in an order of its own; every 500th order has no readable time. A batch is pushed
//! again, with the same key, until it is answered. The ledger is synced before a batch counts as acknowledged; its lines are `first
//! count`, and those of `FILE.sent` the same for everything that was ever sent. It ends after `--seconds`, or when standard input
//! closes, each stream behind its batch; what then gets no answer within `--patience` seconds stays unacknowledged. A last batch waits until
//! the fold has settled it. Prints one JSON line.
#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a program of the tests"
)]

mod mix;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use shiyu_schemas::v1;
use shiyu_schemas::v1::intake_service_client::IntakeServiceClient;
use tokio::sync::{mpsc, oneshot};
use tonic::transport::{Channel, Endpoint};

use mix::mix;

const REPEAT_EVERY: u64 = 10;
const RETRY: Duration = Duration::from_millis(20);
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

#[derive(Debug)]
struct Settings {
    seed: u64,
    rate: f64,
    batch: u64,
    start: u64,
    /// Orders in all; 0: no bound.
    orders: u64,
    patience: Duration,
}

#[derive(Debug, Default)]
struct Sums {
    next_batch: AtomicU64,
    sent: AtomicU64,
    acknowledged: AtomicU64,
    retries: AtomicU64,
    rejected: AtomicU64,
    stop: AtomicBool,
    /// Whether the last batch was settled.
    settled: AtomicBool,
    errors: Mutex<BTreeMap<String, u64>>,
}

fn main() {
    let word = |name: &str| std::env::args().skip_while(|word| word != name).nth(1);
    let number = |name: &str, default: u64| word(name).map_or(default, |word| word.parse().unwrap());
    let settings = Arc::new(Settings {
        seed: number("--seed", 1),
        rate: number("--rate", 2_000) as f64,
        batch: number("--batch", 200),
        start: number("--start", 0),
        orders: number("--orders", 0),
        patience: Duration::from_secs(number("--patience", 300)),
    });
    let (streams, seconds) = (number("--streams", 8), number("--seconds", 0));
    let address = word("--address").unwrap();
    let ledger = PathBuf::from(word("--ledger").unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let sums = Arc::new(Sums::default());
    let begun = Instant::now();
    runtime.block_on(run(&settings, &sums, &address, &ledger, streams, seconds));
    let errors: Vec<String> = sums
        .errors
        .lock()
        .unwrap()
        .iter()
        .map(|(code, count)| format!("\"{code}\":{count}"))
        .collect();
    let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
    println!(
        "{{\"generator\":true,\"seed\":{},\"offered_per_second\":{},\"seconds\":{:.1},\"sent\":{},\"acknowledged\":{},\"rejected\":{},\"retries\":{},\"settled\":{},\"errors\":{{{}}}}}",
        settings.seed,
        settings.rate,
        begun.elapsed().as_secs_f64(),
        load(&sums.sent),
        load(&sums.acknowledged),
        load(&sums.rejected),
        load(&sums.retries),
        sums.settled.load(Ordering::Relaxed),
        errors.join(",")
    );
    // Reading standard input blocks for ever where nobody closes it.
    runtime.shutdown_background();
}

async fn run(settings: &Arc<Settings>, sums: &Arc<Sums>, address: &str, ledger: &Path, streams: u64, seconds: u64) {
    let (acknowledged, written) = mpsc::channel(1024);
    let ledger_file = open(ledger);
    let writing = tokio::task::spawn_blocking(move || write_ledger(ledger_file, written));
    let sent_file = Arc::new(Mutex::new(open(&ledger.with_extension("sent"))));
    let ending = sums.clone();
    tokio::task::spawn_blocking(move || {
        let mut rest = Vec::new();
        let _read = std::io::stdin().read_to_end(&mut rest);
        ending.stop.store(true, Ordering::Relaxed);
    });
    if seconds > 0 {
        let ending = sums.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            ending.stop.store(true, Ordering::Relaxed);
        });
    }
    let tasks: Vec<_> = (0..streams)
        .map(|_| tokio::spawn(stream_of(settings, sums, address, &acknowledged, &sent_file).run(streams)))
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    // One more batch, answered when the fold has come to it: then everything before it is settled too.
    sums.stop.store(true, Ordering::Relaxed);
    let mut last = stream_of(settings, sums, address, &acknowledged, &sent_file);
    let batch = sums.next_batch.fetch_add(1, Ordering::Relaxed);
    let settled = last.push_next(batch, v1::Wait::Settled).await;
    sums.settled.store(settled, Ordering::Relaxed);
    drop(last);
    drop(acknowledged);
    writing.await.unwrap();
}

fn stream_of(
    settings: &Arc<Settings>,
    sums: &Arc<Sums>,
    address: &str,
    ledger: &mpsc::Sender<Acknowledged>,
    sent: &Arc<Mutex<File>>,
) -> Stream {
    let channel = Endpoint::from_shared(format!("http://{address}"))
        .unwrap()
        .connect_timeout(Duration::from_millis(500))
        .timeout(ANSWER_WITHIN)
        .connect_lazy();
    Stream {
        client: IntakeServiceClient::new(channel),
        settings: settings.clone(),
        sums: sums.clone(),
        ledger: ledger.clone(),
        sent: sent.clone(),
    }
}

fn open(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).unwrap()
}

/// Writes what was acknowledged, syncs, and only then lets it count.
fn write_ledger(mut file: File, mut acknowledged: mpsc::Receiver<Acknowledged>) {
    let (mut batches, mut lines) = (Vec::new(), Vec::new());
    while acknowledged.blocking_recv_many(&mut batches, 1024) > 0 {
        for (first, count, _) in &batches {
            writeln!(lines, "{first} {count}").unwrap();
        }
        file.write_all(&lines).unwrap();
        lines.clear();
        file.sync_data().unwrap();
        for (_, _, counted) in batches.drain(..) {
            let _gone = counted.send(());
        }
    }
}

/// First order, number of orders, whom to tell that it is on disk.
type Acknowledged = (u64, u64, oneshot::Sender<()>);

struct Stream {
    client: IntakeServiceClient<Channel>,
    settings: Arc<Settings>,
    sums: Arc<Sums>,
    ledger: mpsc::Sender<Acknowledged>,
    sent: Arc<Mutex<File>>,
}

impl Stream {
    async fn run(mut self, streams: u64) {
        let period = self.settings.batch as f64 * streams as f64 / self.settings.rate;
        let mut every = tokio::time::interval(Duration::from_secs_f64(period));
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        while !self.sums.stop.load(Ordering::Relaxed) {
            every.tick().await;
            let batch = self.sums.next_batch.fetch_add(1, Ordering::Relaxed);
            let offset = batch * self.settings.batch;
            if self.settings.orders > 0 && offset >= self.settings.orders {
                return;
            }
            if !self.push_next(batch, v1::Wait::Logged).await {
                return;
            }
            let first = self.settings.start + offset;
            if batch.is_multiple_of(REPEAT_EVERY) && !self.push(first, v1::Wait::Logged).await {
                return;
            }
        }
    }

    /// Pushes a batch that was never sent.
    async fn push_next(&mut self, batch: u64, wait: v1::Wait) -> bool {
        let first = self.settings.start + batch * self.settings.batch;
        writeln!(self.sent.lock().unwrap(), "{first} {}", self.settings.batch).unwrap();
        self.sums.sent.fetch_add(self.settings.batch, Ordering::Relaxed);
        self.push(first, wait).await
    }

    /// Pushes a batch until it is answered; false where patience ends.
    async fn push(&mut self, first: u64, wait: v1::Wait) -> bool {
        let count = self.settings.batch;
        let request = v1::PushRequest {
            feed: "orders".to_owned(),
            records: (first..first + count)
                .map(|number| order(number, self.settings.seed))
                .collect(),
            idempotency_key: format!("{}-{first}", self.settings.seed),
            wait: wait.into(),
        };
        let mut stopped_at: Option<Instant> = None;
        loop {
            match self.client.push(request.clone()).await {
                Ok(response) => {
                    let receipts = response.into_inner().receipts;
                    assert_eq!(receipts.len() as u64, count, "one receipt per record");
                    let rejected = receipts
                        .iter()
                        .filter(|receipt| receipt.outcome() == v1::Outcome::Rejected);
                    self.sums.rejected.fetch_add(rejected.count() as u64, Ordering::Relaxed);
                    break;
                }
                Err(status) => {
                    self.sums.retries.fetch_add(1, Ordering::Relaxed);
                    let code = format!("{:?}", status.code());
                    *self.sums.errors.lock().unwrap().entry(code).or_default() += 1;
                }
            }
            if self.sums.stop.load(Ordering::Relaxed) {
                let since = *stopped_at.get_or_insert_with(Instant::now);
                if since.elapsed() > self.settings.patience {
                    return false;
                }
            }
            tokio::time::sleep(RETRY).await;
        }
        let (counted, told) = oneshot::channel();
        self.ledger.send((first, count, counted)).await.unwrap();
        told.await.unwrap();
        self.sums.acknowledged.fetch_add(count, Ordering::Relaxed);
        true
    }
}

/// Order `number` as a JSON object.
fn order(number: u64, seed: u64) -> String {
    let (block, within) = (number / 4_000, number % 4_000);
    let record = block * 1_000 + within % 1_000;
    let chance = mix(record ^ (seed << 40));
    let (step, shift) = (1 + 2 * (chance & 1), (chance >> 1) & 3);
    let version = (within / 1_000 * step + shift) % 4 + 1;
    let status = match version {
        1 => "filed",
        2 => "dispatched",
        3 => "closed",
        _ if (chance >> 8).is_multiple_of(10) => "withdrawn",
        _ => "evaluated",
    };
    let category = ["rubbish", "noise", "heat"][((record + version) % 3) as usize];
    let minute = record % 20_000;
    let at = if number % 500 == 499 {
        "never".to_owned()
    } else {
        format!(
            "2025-03-{:02} {:02}:{:02}:00",
            1 + minute / 1_440,
            minute / 60 % 24,
            minute % 60
        )
    };
    let lng = 112.1 + ((chance >> 16) % 40) as f64 / 50.0 + version as f64 / 100.0;
    let lat = 37.6 + ((chance >> 32) % 30) as f64 / 40.0;
    format!(
        r#"{{"id":"R{record}","version":{version},"at":"{at}","category":"{category}","status":"{status}","lng":{lng:.4},"lat":{lat:.4},"title":"order {record} version {version}"}}"#
    )
}
