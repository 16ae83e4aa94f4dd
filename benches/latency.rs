//! One record in (a `Push` of its own, answered after it is on disk) → the change at a gRPC subscriber, while others flow.
//!
//! `cargo bench --bench latency [-- --probes N --rate N]`: starts `shiyu serve` on a fresh data folder, pushes orders at that rate, and
//! beside them probes, each in a cell that nothing else touches. Prints p50 and p99 of the answer and of the change.
#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a program that measures"
)]

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use shiyu_schemas::place::LatLng;
use shiyu_schemas::place::datum::gcj02_to_wgs84;
use shiyu_schemas::v1;
use shiyu_schemas::v1::intake_service_client::IntakeServiceClient;
use shiyu_schemas::v1::risk_service_client::RiskServiceClient;
use tokio::sync::mpsc;
use tonic::transport::Channel;

mod support;

/// Orders of one push of the flow.
const FLOW_BATCH: u64 = 100;
/// Time between two probes.
const PROBE_EVERY: Duration = Duration::from_millis(50);
/// A probe that shows no change by then, from the last one on, has failed.
const PROBE_DEADLINE: Duration = Duration::from_mins(1);

struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn main() {
    let number = |name: &str, default: u64| {
        let mut words = std::env::args().skip_while(|word| word != name);
        words.nth(1).map_or(default, |word| word.parse().unwrap())
    };
    let (probes, rate) = (number("--probes", 500), number("--rate", 2_000));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(measure(probes, rate));
}

async fn measure(probes: u64, rate: u64) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("latency");
    let data_dir = folder.join("data");
    drop(std::fs::remove_dir_all(&data_dir));
    support::write_city(&folder, 1).unwrap();
    let served = serve(&folder, &data_dir);
    let channel = connect(&data_dir).await;

    let stop = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(AtomicU64::new(0));
    let flow = tokio::spawn(flow(channel.clone(), rate, stop.clone(), sent.clone()));
    let mut changes = subscribe(channel.clone()).await;
    // The flow is scored: what starts up is not measured.
    let first = tokio::time::timeout(PROBE_DEADLINE, changes.recv()).await;
    first.expect("no order was scored within a minute").unwrap();
    let begun = (Instant::now(), sent.load(Ordering::Relaxed));
    let (mut answers, mut delays) = probe(channel, probes, changes).await;
    let flowed = (sent.load(Ordering::Relaxed) - begun.1) as f64 / begun.0.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    flow.await.unwrap();

    answers.sort();
    delays.sort();
    let at = |sorted: &[Duration], share: f64| sorted[((sorted.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "{probes} probes beside {flowed:.0} records/s, fsync on, peak memory {} MiB",
        support::peak_of(served.0.id()) >> 20
    );
    println!("| | p50, ms | p99, ms | most, ms |");
    println!("|---|---|---|---|");
    for (name, sorted) in [("push answered", &answers), ("change at the subscriber", &delays)] {
        println!(
            "| {name} | {:.0} | {:.0} | {:.0} |",
            at(sorted, 0.5),
            at(sorted, 0.99),
            at(sorted, 1.0)
        );
    }
}

fn serve(folder: &Path, data_dir: &Path) -> Served {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shiyu"));
    command
        .env("CITY_DATA", folder)
        .arg("--data-dir")
        .arg(data_dir)
        .args(["serve", "--city"]);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/city"));
    for door in ["--grpc", "--flight", "--postgres", "--http"] {
        command.args([door, "127.0.0.1:0"]);
    }
    Served(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

/// Waits for the hub's addresses and connects.
async fn connect(data_dir: &Path) -> Channel {
    for _ in 0..600 {
        if let Ok(bytes) = std::fs::read(data_dir.join("run/serve.json"))
            && let Ok(addresses) = serde_json::from_slice::<serde_json::Value>(&bytes)
            && let Ok(channel) = Channel::from_shared(format!("http://{}", addresses["grpc"].as_str().unwrap()))
                .unwrap()
                .connect()
                .await
        {
            return channel;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the hub did not start within a minute");
}

/// An order of one and the same day, so that none is behind the window that is scored, as a pushed JSON object.
fn json(mut fields: [String; 12]) -> String {
    for field in &mut fields[1..3] {
        "2025-06-15 08:00:00".clone_into(field);
    }
    let names = support::HEADER.split(',').map(str::to_owned);
    let values = fields.iter().map(|text| serde_json::Value::from(text.clone()));
    serde_json::Value::Object(names.zip(values).collect()).to_string()
}

async fn push(client: &mut IntakeServiceClient<Channel>, key: String, records: Vec<String>) {
    let request = v1::PushRequest {
        feed: "orders".to_owned(),
        records,
        idempotency_key: key,
        wait: v1::Wait::Logged.into(),
    };
    let response = client.push(request).await.unwrap().into_inner();
    assert!(
        response
            .receipts
            .iter()
            .all(|receipt| receipt.outcome() == v1::Outcome::Logged)
    );
}

async fn flow(channel: Channel, rate: u64, stop: Arc<AtomicBool>, sent: Arc<AtomicU64>) {
    let mut client = IntakeServiceClient::new(channel);
    let mut numbers = support::Numbers(11);
    let mut every = tokio::time::interval(Duration::from_secs_f64(FLOW_BATCH as f64 / rate as f64));
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        every.tick().await;
        let records = (number..number + FLOW_BATCH).map(|number| json(support::order(number, &mut numbers)));
        push(&mut client, format!("flow-{number}"), records.collect()).await;
        number += FLOW_BATCH;
        sent.store(number, Ordering::Relaxed);
    }
}

/// Cells whose score changed, with the time it was seen.
async fn subscribe(channel: Channel) -> mpsc::Receiver<(i64, Instant)> {
    let mut client = RiskServiceClient::new(channel);
    let mut stream = client
        .subscribe_risk(v1::SubscribeRiskRequest::default())
        .await
        .unwrap()
        .into_inner();
    let (sender, receiver) = mpsc::channel(1 << 20);
    tokio::spawn(async move {
        let mut seen = HashSet::new();
        while let Ok(Some(message)) = stream.message().await {
            let now = Instant::now();
            let scores = match message.step {
                Some(v1::subscribe_risk_response::Step::Snapshot(snapshot)) => snapshot.scores,
                Some(v1::subscribe_risk_response::Step::Delta(delta)) => delta.changed,
                _ => continue,
            };
            for score in scores {
                if seen.insert(score.cell) && sender.send((score.cell, now)).await.is_err() {
                    return;
                }
            }
        }
    });
    receiver
}

/// Probes along the city's northern edge, where the flow never is, each in a cell of its own.
async fn probe(
    channel: Channel,
    probes: u64,
    mut changes: mpsc::Receiver<(i64, Instant)>,
) -> (Vec<Duration>, Vec<Duration>) {
    let mut client = IntakeServiceClient::new(channel);
    let mut numbers = support::Numbers(13);
    let mut pushed: HashMap<i64, Instant> = HashMap::new();
    let mut answers = Vec::new();
    let mut delays = Vec::new();
    let mut every = tokio::time::interval(PROBE_EVERY);
    while (answers.len() as u64) < probes {
        tokio::select! {
            _ = every.tick() => {
                let (lat, lng) = (38.15 + 0.12 * numbers.unit(), 112.1 + numbers.unit());
                let (north, east) = gcj02_to_wgs84(lat, lng);
                // The hub keeps resolution 11 and counts in its parent, which need not be the cell of resolution 9 that holds the point.
                let cell = LatLng::new(north, east).unwrap().to_cell(11).unwrap().parent(9).unwrap().to_i64();
                if pushed.contains_key(&cell) {
                    continue;
                }
                let mut fields = support::order(answers.len() as u64, &mut numbers);
                fields[0] = format!("probe{}", answers.len());
                (fields[8], fields[9]) = (lng.to_string(), lat.to_string());
                let now = Instant::now();
                pushed.insert(cell, now);
                push(&mut client, format!("probe-{}", answers.len()), vec![json(fields)]).await;
                answers.push(now.elapsed());
            }
            Some((cell, at)) = changes.recv() => {
                if let Some(begun) = pushed.get(&cell) {
                    delays.push(at - *begun);
                }
            }
        }
    }
    // The flow's changes go on, so the deadline is one for all.
    let deadline = tokio::time::Instant::now() + PROBE_DEADLINE;
    while (delays.len() as u64) < probes {
        let Ok(change) = tokio::time::timeout_at(deadline, changes.recv()).await else {
            panic!(
                "{} of {probes} probes were not seen within a minute",
                probes - delays.len() as u64
            );
        };
        let (cell, at) = change.unwrap();
        if let Some(begun) = pushed.get(&cell) {
            delays.push(at - *begun);
        }
    }
    (answers, delays)
}
