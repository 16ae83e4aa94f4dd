//! Many subscribers of one hub, some far too slow, some stopped: what they cost the hub, the others and themselves.
//!
//! `lab-subscribers --address 127.0.0.1:7001 --pid PID [--subscribers 100] [--slow 10] [--stopped 5] [--rounds 2] [--seconds 15] [--seed 1]`
//!
//! Orders are pushed at random places all the time. Phases follow one another: all subscribers read as fast as they can; then the slow
//! ones wait after each message a hundred times as long as one takes to come, and the stopped ones read nothing; and so on, ending with
//! all fast. Who was slow or stopped comes back with its token. Measured of those that stay fast: the time from a score's computation to
//! its arrival. At the end every subscriber's messages must add up to what `GetRisk` says. Prints one JSON line; fails where anything is
//! missing or repeated, or where the hub's memory grew by more than 64 MiB.
#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a program of the tests"
)]

mod mix;

use std::collections::{BTreeMap, HashSet};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use shiyu_schemas::v1;
use shiyu_schemas::v1::intake_service_client::IntakeServiceClient;
use shiyu_schemas::v1::risk_service_client::RiskServiceClient;
use shiyu_schemas::v1::subscribe_risk_response::Step;
use tokio::sync::{Mutex, watch};
use tonic::transport::{Channel, Endpoint};

use mix::mix;

/// How many times slower than the messages come a slow subscriber is.
const TOO_SLOW: u32 = 100;
/// What the hub may need more for subscribers that do not read, MiB.
const GROWTH_MAX_MIB: f64 = 64.0;
/// For everyone to have everything, once nothing is pushed any more.
const SETTLE: Duration = Duration::from_mins(2);

/// How a subscriber reads.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Pace {
    Fast,
    Slow(Duration),
    Stopped,
}

/// What a subscriber has.
#[derive(Debug, Default)]
struct Seen {
    token: String,
    offset: u64,
    cells: BTreeMap<i64, v1::Score>,
    computed: HashSet<(i64, i64, u64, u64)>,
    messages: u64,
    repeated: u64,
    back: u64,
    snapshots: u64,
    resumed: u64,
    ended: u64,
}

/// Microseconds from a score's computation to its arrival, of one phase.
type Delays = Arc<Mutex<Vec<u64>>>;

#[derive(Clone)]
struct Phase {
    number: usize,
    slow: Duration,
    disturbed: bool,
}

fn main() -> ExitCode {
    let word = |name: &str| std::env::args().skip_while(|word| word != name).nth(1);
    let number = |name: &str, default: u64| word(name).map_or(default, |word| word.parse().unwrap());
    let lab = Lab {
        address: word("--address").unwrap(),
        process: word("--pid").unwrap(),
        subscribers: number("--subscribers", 100) as usize,
        slow: number("--slow", 10) as usize,
        stopped: number("--stopped", 5) as usize,
        rounds: number("--rounds", 2) as usize,
        phase: Duration::from_secs(number("--seconds", 15)),
        seed: number("--seed", 1),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(lab.run())
}

struct Lab {
    address: String,
    process: String,
    subscribers: usize,
    slow: usize,
    stopped: usize,
    rounds: usize,
    phase: Duration,
    seed: u64,
}

impl Lab {
    async fn run(&self) -> ExitCode {
        let (phase, _) = watch::channel(Phase {
            number: 0,
            slow: Duration::ZERO,
            disturbed: false,
        });
        let delays: Vec<Delays> = (0..=2 * self.rounds).map(|_| Delays::default()).collect();
        let seen: Vec<Arc<Mutex<Seen>>> = (0..self.subscribers).map(|_| Arc::default()).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let pushed = Arc::new(AtomicU64::new(0));
        let pushing = tokio::spawn(push(self.channel(), self.seed, stop.clone(), pushed.clone()));
        for (index, seen) in seen.iter().enumerate() {
            let fast = index >= self.slow + self.stopped;
            let subscriber = Subscriber {
                channel: self.channel(),
                stops: index < self.stopped,
                fast,
                delays: delays.clone(),
                seen: seen.clone(),
            };
            tokio::spawn(subscriber.run(phase.subscribe()));
        }
        // The first snapshots, and the first rescoring, belong to no phase.
        tokio::time::sleep(self.phase / 2).await;
        delays[0].lock().await.clear();
        let mut memory = Vec::new();
        for number in 0..delays.len() {
            let disturbed = number % 2 == 1;
            let interval = self.interval(&seen).await;
            phase.send_replace(Phase {
                number,
                slow: interval * TOO_SLOW,
                disturbed,
            });
            memory.push(self.memory_of_phase().await);
        }
        stop.store(true, Ordering::Relaxed);
        pushing.await.unwrap();
        let missing = self.missing(&seen).await;
        self.report(&seen, &delays, &memory, missing, pushed.load(Ordering::Relaxed))
            .await
    }

    fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address))
            .unwrap()
            .connect_lazy()
    }

    /// Time between two messages of a fast subscriber, about.
    async fn interval(&self, seen: &[Arc<Mutex<Seen>>]) -> Duration {
        let last = seen.last().unwrap();
        let before = last.lock().await.messages;
        let span = Duration::from_secs(1);
        tokio::time::sleep(span).await;
        let messages = last.lock().await.messages - before;
        span / u32::try_from(messages.max(1)).unwrap()
    }

    /// The hub's greatest resident memory in the phase, MiB.
    async fn memory_of_phase(&self) -> f64 {
        let (begun, mut most) = (Instant::now(), 0.0_f64);
        while begun.elapsed() < self.phase {
            most = most.max(resident_mib(&self.process));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        most
    }

    /// Waits until every subscriber has what the hub has; cells that some subscriber has otherwise, then.
    async fn missing(&self, seen: &[Arc<Mutex<Seen>>]) -> u64 {
        let mut client = RiskServiceClient::new(self.channel()).max_decoding_message_size(64 << 20);
        let begun = Instant::now();
        loop {
            let before = client
                .get_risk(v1::GetRiskRequest::default())
                .await
                .unwrap()
                .into_inner();
            tokio::time::sleep(Duration::from_millis(500)).await;
            let truth = client
                .get_risk(v1::GetRiskRequest::default())
                .await
                .unwrap()
                .into_inner();
            let mut behind = truth.resume_token != before.resume_token;
            for seen in seen {
                behind |= seen.lock().await.offset < offset_of(&truth.resume_token);
            }
            if behind && begun.elapsed() < SETTLE {
                continue;
            }
            let truth: BTreeMap<i64, v1::Score> = truth.scores.into_iter().map(|score| (score.cell, score)).collect();
            let mut missing = 0;
            for seen in seen {
                let cells = &seen.lock().await.cells;
                missing += truth
                    .iter()
                    .filter(|(cell, score)| cells.get(cell) != Some(score))
                    .count();
                missing += cells.keys().filter(|cell| !truth.contains_key(cell)).count();
            }
            return missing as u64;
        }
    }

    async fn report(
        &self,
        seen: &[Arc<Mutex<Seen>>],
        delays: &[Delays],
        memory: &[f64],
        missing: u64,
        pushed: u64,
    ) -> ExitCode {
        let mut sums = Seen::default();
        for seen in seen {
            let seen = seen.lock().await;
            sums.messages += seen.messages;
            sums.repeated += seen.repeated;
            sums.back += seen.back;
            sums.snapshots += seen.snapshots;
            sums.resumed += seen.resumed;
            sums.ended += seen.ended;
        }
        let (mut alone, mut beside) = (Vec::new(), Vec::new());
        for (number, delays) in delays.iter().enumerate() {
            let into = if number % 2 == 0 { &mut alone } else { &mut beside };
            into.append(&mut *delays.lock().await);
        }
        let most = |odd: usize| {
            let phases = memory.iter().skip(odd).step_by(2);
            phases.copied().fold(0.0, f64::max)
        };
        let growth = most(1) - most(0);
        let (p99_alone, p99_beside) = (p99_ms(&mut alone), p99_ms(&mut beside));
        let violations = missing + sums.repeated + sums.back + u64::from(growth > GROWTH_MAX_MIB);
        println!(
            "{{\"check\":\"subscribers\",\"seed\":{},\"subscribers\":{},\"slow\":{},\"stopped\":{},\"phases\":{},\"phase_seconds\":{},\"pushed\":{pushed},\"messages\":{},\"scores_alone\":{},\"scores_beside\":{},\"p99_ms_alone\":{p99_alone:.1},\"p99_ms_beside\":{p99_beside:.1},\"p99_ratio\":{:.3},\"memory_mib_alone\":{:.1},\"memory_mib_beside\":{:.1},\"memory_mib_growth\":{growth:.1},\"resumed\":{},\"ended_too_slow\":{},\"snapshots\":{},\"missing\":{missing},\"repeated\":{},\"tokens_back\":{},\"violations\":{violations}}}",
            self.seed,
            self.subscribers,
            self.slow,
            self.stopped,
            delays.len(),
            self.phase.as_secs(),
            sums.messages,
            alone.len(),
            beside.len(),
            p99_beside / p99_alone,
            most(0),
            most(1),
            sums.resumed,
            sums.ended,
            sums.snapshots,
            sums.repeated,
            sums.back,
        );
        ExitCode::from(u8::from(violations > 0))
    }
}

fn resident_mib(process: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

fn p99_ms(delays: &mut [u64]) -> f64 {
    delays.sort_unstable();
    delays[(delays.len() - 1) * 99 / 100] as f64 / 1e3
}

fn now_us() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_micros()).unwrap()
}

fn offset_of(token: &str) -> u64 {
    u64::from_str_radix(token.split('-').nth(1).unwrap(), 16).unwrap()
}

struct Subscriber {
    channel: Channel,
    /// Whether it stops in disturbed phases; otherwise it is slow there, unless it is one of the fast.
    stops: bool,
    fast: bool,
    delays: Vec<Delays>,
    seen: Arc<Mutex<Seen>>,
}

impl Subscriber {
    fn pace(&self, phase: &Phase) -> Pace {
        match (self.fast || !phase.disturbed, self.stops) {
            (true, _) => Pace::Fast,
            (false, true) => Pace::Stopped,
            (false, false) => Pace::Slow(phase.slow),
        }
    }

    async fn run(self, mut phases: watch::Receiver<Phase>) {
        loop {
            let token = self.seen.lock().await.token.clone();
            self.seen.lock().await.resumed += u64::from(!token.is_empty());
            let request = v1::SubscribeRiskRequest {
                resume_token: token,
                ..v1::SubscribeRiskRequest::default()
            };
            let mut client = RiskServiceClient::new(self.channel.clone()).max_decoding_message_size(8 << 20);
            let mut stream = match client.subscribe_risk(request).await {
                Ok(stream) => stream.into_inner(),
                Err(status) => panic!("a subscription was refused: {status}"),
            };
            let mut fell_behind = false;
            loop {
                let phase = phases.borrow_and_update().clone();
                let pace = self.pace(&phase);
                // Who did not keep up comes back with its token, as a reader that was restarted does.
                if fell_behind && pace == Pace::Fast {
                    break;
                }
                fell_behind |= pace != Pace::Fast;
                let message = tokio::select! {
                    // The end of the lab comes before what it does to connections.
                    biased;
                    changed = phases.changed() => match changed {
                        Ok(()) => continue,
                        Err(_lab_ended) => return,
                    },
                    message = stream.message(), if pace != Pace::Stopped => message,
                };
                match message {
                    Ok(Some(message)) => self.take(&phase, message).await,
                    Ok(None) => panic!("a subscription ended without a reason"),
                    Err(status) => {
                        self.end(&status).await;
                        break;
                    }
                }
                if let Pace::Slow(wait) = pace {
                    let _changed = tokio::time::timeout(wait, phases.clone().changed()).await;
                }
            }
        }
    }

    /// The hub ended the stream: it says behind what to go on.
    async fn end(&self, status: &tonic::Status) {
        assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status}");
        let mut seen = self.seen.lock().await;
        seen.ended += 1;
        let token = status.metadata().get("resume-token").unwrap();
        token.to_str().unwrap().clone_into(&mut seen.token);
    }

    async fn take(&self, phase: &Phase, message: v1::SubscribeRiskResponse) {
        let (now, mut delays) = (now_us(), Vec::new());
        let mut seen = self.seen.lock().await;
        seen.messages += 1;
        seen.token.clone_from(&message.resume_token);
        let mut offset = offset_of(&message.resume_token);
        match message.step.unwrap() {
            Step::Snapshot(snapshot) => {
                if snapshot.first {
                    seen.snapshots += 1;
                    seen.cells.clear();
                }
                if !snapshot.last {
                    offset = seen.offset;
                }
                seen.cells
                    .extend(snapshot.scores.into_iter().map(|score| (score.cell, score)));
            }
            Step::Delta(delta) => {
                for score in delta.changed {
                    delays.push((now - score.scored_at_us).unsigned_abs());
                    let name = (
                        score.cell,
                        score.scored_at_us,
                        score.input_offset,
                        score.score.to_bits(),
                    );
                    seen.repeated += u64::from(!seen.computed.insert(name));
                    seen.cells.insert(score.cell, score);
                }
                for cell in delta.removed {
                    seen.cells.remove(&cell);
                }
            }
            Step::Heartbeat(_) => {}
        }
        seen.back += u64::from(offset < seen.offset);
        seen.offset = offset;
        drop(seen);
        if self.fast {
            self.delays[phase.number].lock().await.append(&mut delays);
        }
    }
}

/// Pushes small batches of orders until it is told to stop.
async fn push(channel: Channel, seed: u64, stop: Arc<AtomicBool>, pushed: Arc<AtomicU64>) {
    let mut client = IntakeServiceClient::new(channel);
    while !stop.load(Ordering::Relaxed) {
        let first = pushed.load(Ordering::Relaxed);
        let records: Vec<String> = (first..first + 40)
            .map(|number| {
                let chance = mix(number ^ (seed << 40));
                let (lng, lat) = (120.1 + part(chance) / 5.0, 30.1 + part(chance >> 32) / 5.0);
                let at = format!("2026-03-09 {:02}:{:02}:00", number / 60 % 24, number % 60);
                format!(
                    r#"{{"id":"F{number:08}","at":"{at}","updated":"2026-03-10 00:00:00","kind":"噪声","lng":"{lng:.6}","lat":"{lat:.6}","status":"派单"}}"#
                )
            })
            .collect();
        pushed.fetch_add(records.len() as u64, Ordering::Relaxed);
        let request = v1::PushRequest {
            feed: "orders".to_owned(),
            records,
            idempotency_key: format!("subscribers-{seed}-{first}"),
            wait: v1::Wait::Settled.into(),
        };
        let answer = client.push(request).await.unwrap().into_inner();
        let refused = answer
            .receipts
            .iter()
            .find(|receipt| receipt.outcome() != v1::Outcome::Accepted);
        assert!(refused.is_none(), "was not accepted: {refused:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The low 32 bits as a part of one.
fn part(bits: u64) -> f64 {
    f64::from(bits as u32) / f64::from(u32::MAX)
}
