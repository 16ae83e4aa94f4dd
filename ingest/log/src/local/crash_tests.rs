//! Every operation of a reference run as the point where the machine stops, three ways of losing what was not synced; every operation as
//! the one that fails; bits flipped in what was synced. Prints one JSON line:
//!
//! `SHIYU_CRASH_STEPS=700 cargo test -p shiyu-log --lib crash_points -- --nocapture` (more than 2,000 operations, some minutes; without
//! the variable a shorter run)
//!
//! What is checked at the next start: everything acknowledged is there, in order, at its offset; nothing is there that was not written;
//! trimmed is what was asked for and no more; the log's identity is the same; writing goes on and survives another start.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::frame::Frame;
use super::journal::Journal;
use super::*;
use crate::vfs::sim::{Failing, Loss, Random, SimVfs};

const PARTITIONS: usize = 3;
/// Steps of the reference run, where `SHIYU_CRASH_STEPS` does not say otherwise.
const STEPS: usize = 120;
/// Steps from which on the run has the operations the project promises.
const STEPS_PROMISED: usize = 700;
const SEGMENT_BYTES: u64 = 2_500;
const SEED: u64 = 20_261_128;
/// Bits flipped.
const DAMAGES: usize = 400;

/// One thing the reference run does.
enum Step {
    /// One write of several frames; the number of their records.
    Append(usize, Vec<Frame>, u64),
    Trim(usize, u64),
}

/// What was acknowledged, and what was under way.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    start: u64,
    end: u64,
    asked_start: u64,
    asked_end: u64,
}

#[derive(Debug, Clone, Default)]
struct Ledger {
    incarnation: Option<u64>,
    partitions: [Known; PARTITIONS],
    /// Appends that found no room and were taken at the second try.
    retried: u64,
}

fn value(partition: usize, offset: u64) -> Vec<u8> {
    let mut random = Random(offset * 7 + partition as u64);
    let length = 20 + random.below(120);
    let mut bytes = format!("{partition}/{offset} ").into_bytes();
    bytes.extend((0..length).map(|_| random.next() as u8));
    bytes
}

fn frame(partition: usize, offset: u64, count: u64) -> Frame {
    let mut records = Records::new();
    for offset in offset..offset + count {
        records.push(&offset.to_be_bytes(), |buffer| {
            buffer.extend_from_slice(&value(partition, offset));
        });
    }
    Frame::encode(&records).unwrap()
}

fn steps() -> usize {
    let given = std::env::var("SHIYU_CRASH_STEPS").ok();
    given.and_then(|steps| steps.parse().ok()).unwrap_or(STEPS)
}

fn schedule() -> Vec<Step> {
    let mut random = Random(SEED);
    let mut ends = [0; PARTITIONS];
    (0..steps())
        .map(|step| {
            let partition = random.below(PARTITIONS);
            if step % 25 == 24 {
                let back = random.below(120) as u64;
                return Step::Trim(partition, ends[partition] - back.min(ends[partition]));
            }
            let first = ends[partition];
            let frames = (0..=random.below(3))
                .map(|_| {
                    let count = 1 + random.below(4) as u64;
                    let frame = frame(partition, ends[partition], count);
                    ends[partition] += count;
                    frame
                })
                .collect();
            Step::Append(partition, frames, ends[partition] - first)
        })
        .collect()
}

fn root() -> PathBuf {
    PathBuf::from("/data/log")
}

fn folder_of(partition: usize) -> PathBuf {
    root().join(Topic::Events.name()).join(partition.to_string())
}

fn options() -> LocalLogOptions {
    LocalLogOptions {
        events_partitions: PARTITIONS as u32,
        segment_bytes: SEGMENT_BYTES,
        ..LocalLogOptions::default()
    }
}

/// Runs until the machine stops, or the log has failed for good, or all is done.
fn run(vfs: &SimVfs, schedule: &[Step]) -> Ledger {
    let mut ledger = Ledger::default();
    let shared: Arc<dyn Vfs> = Arc::new(vfs.clone());
    let Ok(log) = LocalLog::open(&root(), shared.clone(), options()) else {
        return ledger;
    };
    ledger.incarnation = Some(log.incarnation());
    log.close();
    let opened: Result<Vec<Journal>, LogError> = (0..PARTITIONS)
        .map(|number| Journal::open(&folder_of(number), shared.clone(), SEGMENT_BYTES))
        .collect();
    let Ok(mut journals) = opened else {
        return ledger;
    };
    for step in schedule {
        let mut tries = 0;
        loop {
            match perform(step, &mut journals, &mut ledger.partitions) {
                Ok(()) => break,
                Err(error) if error.is_full() && tries == 0 => {
                    ledger.retried += 1;
                    tries += 1;
                }
                Err(_ended) => return ledger,
            }
        }
    }
    ledger
}

fn perform(step: &Step, journals: &mut [Journal], known: &mut [Known; PARTITIONS]) -> Result<(), LogError> {
    match step {
        Step::Append(partition, frames, records) => {
            let known = &mut known[*partition];
            known.asked_end = known.end + records;
            let appended = journals[*partition].write(frames)?;
            assert_eq!(appended[0].first_offset, known.end, "offsets have no gaps");
            known.end = appended[appended.len() - 1].next_offset;
        }
        Step::Trim(partition, before) => {
            let known = &mut known[*partition];
            known.asked_start = known.asked_start.max(*before);
            known.start = journals[*partition].trim(*before)?;
        }
    }
    Ok(())
}

/// Starts on a disk and says what is wrong, if anything.
fn check(vfs: &SimVfs, ledger: &Ledger) -> Result<(), String> {
    let shared: Arc<dyn Vfs> = Arc::new(vfs.clone());
    shared.create_folder(&root()).map_err(|error| error.to_string())?;
    let incarnation = durable::read_or_make_number(vfs, &root().join("incarnation"))
        .map_err(|error| format!("the identity cannot be read: {error}"))?;
    if ledger.incarnation.is_some_and(|known| known != incarnation) {
        return Err("the log's identity is another".to_owned());
    }
    for (number, known) in ledger.partitions.iter().enumerate() {
        let mut journal = Journal::open(&folder_of(number), shared.clone(), SEGMENT_BYTES)
            .map_err(|error| format!("partition {number} cannot be opened: {error}"))?;
        let (start, end) = journal.range();
        if start > known.asked_start.max(known.start) || start < known.start {
            return Err(format!("partition {number} starts at {start}: {known:?}"));
        }
        if end < known.end || end > known.asked_end.max(known.end) {
            return Err(format!("partition {number} ends at {end}: {known:?}"));
        }
        read_back(&journal, number, end)?;
        journal
            .write(&[frame(number, end, 3)])
            .map_err(|error| format!("partition {number} cannot be written: {error}"))?;
        drop(journal);
        let journal = Journal::open(&folder_of(number), shared.clone(), SEGMENT_BYTES)
            .map_err(|error| format!("partition {number} cannot be opened again: {error}"))?;
        read_back(&journal, number, end + 3)?;
    }
    Ok(())
}

/// Every record from the start to `end`, compared with what was written.
fn read_back(journal: &Journal, partition: usize, end: u64) -> Result<(), String> {
    let (mut offset, found_end) = journal.range();
    if found_end != end {
        return Err(format!("partition {partition} ends at {found_end}, not {end}"));
    }
    while offset < end {
        let batches = journal
            .shared()
            .read(offset, 1 << 20)
            .map_err(|error| format!("partition {partition} cannot be read at {offset}: {error}"))?;
        for batch in batches {
            if batch.first_offset != offset {
                return Err(format!(
                    "partition {partition}: {} follows {offset}",
                    batch.first_offset
                ));
            }
            for found in batch.values {
                if found != value(partition, offset) {
                    return Err(format!("partition {partition} holds something else at {offset}"));
                }
                offset += 1;
            }
        }
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Sum {
    cases: u64,
    recovery_crashes: u64,
    retried: u64,
    violations: Vec<String>,
}

impl Sum {
    fn note(&mut self, place: &str, result: Result<(), String>) {
        self.cases += 1;
        self.violations
            .extend(result.err().map(|problem| format!("{place}: {problem}")));
    }

    fn add(&mut self, other: Self) {
        self.cases += other.cases;
        self.recovery_crashes += other.recovery_crashes;
        self.retried += other.retried;
        self.violations.extend(other.violations);
    }
}

fn crash(operation: u64, schedule: &[Step]) -> Sum {
    let mut sum = Sum::default();
    let vfs = SimVfs::default().crash_at(operation);
    let ledger = run(&vfs, schedule);
    assert!(vfs.has_crashed(), "operation {operation} belongs to the run");
    let cut = kill_then_cut(&vfs.after_kill(), &ledger);
    sum.note(&format!("kill at operation {operation}, then a power cut"), cut);
    for loss in Loss::ALL {
        let mut random = Random(SEED ^ (operation << 2) ^ loss as u64);
        let disk = vfs.after_crash(loss, &mut random);
        // The start after the crash crashes too, early in what it changes.
        let again = disk.after_crash(Loss::Torn, &mut random).crash_at(1 + operation % 3);
        let started = check(&again, &ledger);
        if again.has_crashed() {
            sum.recovery_crashes += 1;
            let disk = again.after_crash(loss, &mut random);
            let forgiving = forgive_the_check(&ledger);
            sum.note(
                &format!("second crash after {operation} {loss:?}"),
                check(&disk, &forgiving),
            );
        } else {
            sum.note(&format!("operation {operation} {loss:?}"), started);
        }
        sum.note(&format!("operation {operation} {loss:?}"), check(&disk, &ledger));
    }
    sum
}

/// The process is killed, a start takes what it finds for durable, and then the power fails.
fn kill_then_cut(killed: &SimVfs, ledger: &Ledger) -> Result<(), String> {
    let shared: Arc<dyn Vfs> = Arc::new(killed.clone());
    let mut ledger = ledger.clone();
    let log = LocalLog::open(&root(), shared, options()).map_err(|error| format!("cannot be opened: {error}"))?;
    ledger.incarnation = Some(log.incarnation());
    for (number, known) in ledger.partitions.iter_mut().enumerate() {
        (known.start, known.end) = log.range(Topic::Events, number as u32);
    }
    drop(log);
    check(&killed.after_crash(Loss::All, &mut Random(0)), &ledger)
}

/// The check itself appends three records to each partition; where it was cut short they may be there.
fn forgive_the_check(ledger: &Ledger) -> Ledger {
    let mut ledger = ledger.clone();
    for known in &mut ledger.partitions {
        known.asked_end = known.asked_end.max(known.end) + 3;
    }
    ledger
}

fn fail(operation: u64, kind: std::io::ErrorKind, schedule: &[Step]) -> Sum {
    let mut sum = Sum::default();
    let vfs = SimVfs::default().failing(Failing {
        at: operation,
        times: 1,
        kind,
    });
    let ledger = run(&vfs, schedule);
    sum.retried = ledger.retried;
    let disk = vfs.after_crash(Loss::All, &mut Random(operation));
    sum.note(&format!("{kind:?} at operation {operation}"), check(&disk, &ledger));
    sum
}

/// Flips bits of synced frames: either the log refuses, or what it gives is right.
fn damage(vfs: &SimVfs, number: usize) -> Result<bool, String> {
    let mut random = Random(SEED + number as u64);
    let disk = vfs.after_crash(Loss::All, &mut random);
    // Not the last segment: there a damaged last write cannot be told from a torn one.
    let whole: Vec<(usize, PathBuf)> = (0..PARTITIONS)
        .flat_map(|partition| {
            let mut segments: Vec<PathBuf> = disk.list(&folder_of(partition)).unwrap();
            segments.retain(|path| path.extension().unwrap() == "seg");
            segments.pop();
            segments.into_iter().map(move |path| (partition, path))
        })
        .collect();
    let (partition, path) = &whole[random.below(whole.len())];
    let partition = *partition;
    let length = disk.read(path).unwrap().len();
    disk.damage(path, random.below(length), random.below(8) as u8);
    let shared: Arc<dyn Vfs> = Arc::new(disk.clone());
    let journal = match Journal::open(&folder_of(partition), shared, SEGMENT_BYTES) {
        Ok(journal) => journal,
        Err(LogError::Corrupt { .. }) => return Ok(true),
        Err(other) => return Err(format!("damage is told as: {other}")),
    };
    let (_, end) = journal.range();
    match read_back(&journal, partition, end) {
        Err(problem) if problem.contains("the frame is damaged") => Ok(true),
        Err(problem) => Err(problem),
        Ok(()) => Ok(false),
    }
}

/// Shares numbers between threads.
fn over(numbers: std::ops::RangeInclusive<u64>, work: impl Fn(u64) -> Sum + Sync) -> Sum {
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let mut all = Sum::default();
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|part| {
                let (numbers, work) = (numbers.clone(), &work);
                scope.spawn(move || {
                    let mut sum = Sum::default();
                    for number in numbers.filter(|number| number % threads == part) {
                        sum.add(work(number));
                    }
                    sum
                })
            })
            .collect();
        for part in parts {
            all.add(part.join().unwrap());
        }
    });
    all
}

#[test]
fn crash_points_lose_nothing_that_was_acknowledged() {
    let begun = Instant::now();
    let schedule = schedule();
    let whole = SimVfs::default();
    let ledger = run(&whole, &schedule);
    let operations = whole.operations();
    check(&whole.after_crash(Loss::All, &mut Random(0)), &ledger).unwrap();

    let crashes = over(1..=operations, |operation| crash(operation, &schedule));
    let full = over(1..=operations / 2, |half| {
        let operation = half * 2 - (half + 1) % 2;
        fail(operation, std::io::ErrorKind::StorageFull, &schedule)
    });
    let failed = over(1..=operations / 2, |half| {
        let operation = half * 2 - half % 2;
        fail(operation, std::io::ErrorKind::Other, &schedule)
    });
    let damages: Vec<Result<bool, String>> = (0..DAMAGES).map(|number| damage(&whole, number)).collect();
    let refused = damages.iter().filter(|damage| matches!(damage, Ok(true))).count();

    let mut violations: Vec<String> = damages.into_iter().filter_map(Result::err).collect();
    violations.extend(
        [&crashes, &full, &failed]
            .into_iter()
            .flat_map(|sum| sum.violations.iter().cloned()),
    );
    println!(
        "{{\"check\":\"crash_points\",\"seed\":{SEED},\"operations\":{operations},\"losses\":3,\"crash_cases\":{},\"crashes_in_recovery\":{},\"full_disk_points\":{},\"full_disk_retried\":{},\"error_points\":{},\"bits_flipped\":{DAMAGES},\"damage_refused\":{refused},\"violations\":{},\"seconds\":{:.1}}}",
        crashes.cases,
        crashes.recovery_crashes,
        full.cases,
        full.retried,
        failed.cases,
        violations.len(),
        begun.elapsed().as_secs_f64(),
    );
    for violation in violations.iter().take(10) {
        println!("{violation}");
    }
    assert!(
        violations.is_empty(),
        "{} violations, the first: {}",
        violations.len(),
        violations[0]
    );
    assert!(
        operations >= 2_000 || steps() < STEPS_PROMISED,
        "the reference run has only {operations} operations"
    );
    assert!(full.retried > 0, "no append met a full disk");
    assert_eq!(refused, DAMAGES, "damage was overlooked");
}
