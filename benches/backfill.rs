//! Back-fill of 12345 orders as CSV: our bare way (CSV → H3 → Parquet) and our whole way (`shiyu load`: door, log, state, tables), beside
//! Polars with `polars_h3` and DuckDB doing the bare work, in one run.
//!
//! `cargo bench --bench backfill [-- --orders N --rounds N]`; with `--stages` where the time of the whole way goes instead. On a machine that
//! does other work too the CPU seconds tell more than the rates. Peers run where `benches/peers.py` finds its packages; others are left out.
//! With `--write-versions FOLDER [--versions N]` it only writes orders of several versions, which `benches/flink` loads.
#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a program that measures"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Array as _, ArrayRef, AsArray as _, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Float64Type, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use shiyu_schemas::place::LatLng;

#[path = "support/stages.rs"]
mod stages;
mod support;

fn main() {
    let number = |name: &str, default: u64| {
        let mut words = std::env::args().skip_while(|word| word != name);
        words.nth(1).map_or(default, |word| word.parse().unwrap())
    };
    let (orders, rounds) = (number("--orders", 1_000_000), number("--rounds", 3));
    let mut words = std::env::args().skip_while(|word| word != "--write-versions");
    if let Some(target) = words.nth(1) {
        support::write_versions(Path::new(&target), orders, number("--versions", 4), 2).unwrap();
        return;
    }
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("backfill");
    let input = support::write_city(&folder, orders).unwrap();
    let bytes = std::fs::metadata(&input).unwrap().len();
    println!("{orders} orders, {} bytes a row; {}", bytes / orders, machine());

    if std::env::args().any(|word| word == "--bare-only") {
        bare(&folder, &input);
        return;
    }
    if std::env::args().any(|word| word == "--stages") {
        stages::print_stages(&folder, &input, orders);
        return;
    }
    let mut figures: BTreeMap<&str, Vec<Figure>> = BTreeMap::new();
    for _ in 0..rounds {
        for name in ["shiyu, bare", "shiyu, whole", "polars, h3", "duckdb, no h3"] {
            let data_dir = folder.join("data");
            drop(std::fs::remove_dir_all(&data_dir));
            let mut command = match name {
                "shiyu, bare" => {
                    let mut command = Command::new(std::env::current_exe().unwrap());
                    command.args(["--bare-only", "--orders", &orders.to_string()]);
                    command
                }
                "shiyu, whole" => load(&folder, &data_dir, &input),
                peer => {
                    let mut command = Command::new(std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into()));
                    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers.py");
                    command
                        .arg(script)
                        .arg(peer.split(',').next().unwrap())
                        .arg(&input)
                        .arg(folder.join("peer.parquet"));
                    command
                }
            };
            match support::run(&mut command) {
                Ok(ran) if ran.output.starts_with("skipped") => println!("{name}: {}", ran.output.trim()),
                Ok(ran) => {
                    if name == "shiyu, whole" {
                        assert!(
                            ran.output.contains(&orders.to_string()),
                            "not all were accepted: {}",
                            ran.output
                        );
                    }
                    let figure = Figure {
                        rate: orders as f64 / ran.time.as_secs_f64(),
                        cpu_s: ran.cpu.as_secs_f64() * 1e6 / orders as f64,
                        peak_bytes: ran.peak_bytes,
                    };
                    figures.entry(name).or_default().push(figure);
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    report(&figures);
}

/// One run of one way.
struct Figure {
    /// Rows per second.
    rate: f64,
    /// CPU seconds per million rows.
    cpu_s: f64,
    peak_bytes: u64,
}

fn report(figures: &BTreeMap<&str, Vec<Figure>>) {
    let sorted = |name: &str, of: fn(&Figure) -> f64| {
        let mut numbers: Vec<f64> = figures.get(name)?.iter().map(of).collect();
        numbers.sort_by(f64::total_cmp);
        Some(numbers)
    };
    let median = |numbers: &Vec<f64>| numbers[numbers.len() / 2];
    let peer = |of| sorted("polars, h3", of).as_ref().map(median);
    let (peer_rate, peer_cpu_s) = (peer(|run| run.rate), peer(|run| run.cpu_s));
    println!(
        "| way | M rows/s (min, median, max) | to polars with h3 | CPU s per million (median) | to polars with h3 | peak memory, MiB |"
    );
    println!("|---|---|---|---|---|---|");
    for (name, runs) in figures {
        let (Some(rates), Some(cpus)) = (sorted(name, |run| run.rate), sorted(name, |run| run.cpu_s)) else {
            continue;
        };
        let (rate, cpu_s) = (median(&rates), median(&cpus));
        let peak = runs.iter().map(|run| run.peak_bytes >> 20).max().unwrap();
        let ratio =
            |ours: f64, peer: Option<f64>| peer.map_or_else(|| "-".to_owned(), |peer| format!("{:.2}×", ours / peer));
        println!(
            "| {name} | {:.3}, {:.3}, {:.3} | {} | {cpu_s:.2} | {} | {peak} |",
            rates[0] / 1e6,
            rate / 1e6,
            rates[rates.len() - 1] / 1e6,
            ratio(rate, peer_rate),
            ratio(cpu_s, peer_cpu_s),
        );
    }
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("?", |text| text.trim_start_matches([' ', '\t', ':']));
    format!("{cores} cores, {model}, {}", jiff::Zoned::now().strftime("%Y-%m-%d"))
}

/// The whole way, by the built program.
fn load(folder: &Path, data_dir: &Path, input: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shiyu"));
    command
        .env("CITY_DATA", folder)
        .arg("--data-dir")
        .arg(data_dir)
        .args(["--output", "json", "load", "--city"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/city"))
        .arg("--input")
        .arg(input)
        .stderr(std::process::Stdio::null());
    command
}

/// The bare way: our connector's batches, coordinates as numbers, a cell of resolution 11, Parquet. A thread each.
fn bare(folder: &Path, input: &Path) {
    let begun = Instant::now();
    let manifest =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/city/feeds/orders.yaml")).unwrap();
    let manifest = serde_saphyr::from_str(&manifest).unwrap();
    let (sender, read) = std::sync::mpsc::sync_channel::<RecordBatch>(4);
    let (located, receiver) = std::sync::mpsc::sync_channel::<RecordBatch>(4);
    let locating = std::thread::spawn(move || {
        for batch in read {
            located.send(with_cells(&batch)).unwrap();
        }
    });
    let output = folder.join("bare.parquet");
    let writing = std::thread::spawn(move || {
        let mut writer: Option<ArrowWriter<std::fs::File>> = None;
        let mut rows = 0;
        for batch in receiver {
            rows += batch.num_rows();
            writer
                .get_or_insert_with(|| {
                    let level = ZstdLevel::try_new(1).unwrap();
                    let properties = WriterProperties::builder()
                        .set_compression(Compression::ZSTD(level))
                        .build();
                    ArrowWriter::try_new(
                        std::fs::File::create(&output).unwrap(),
                        batch.schema(),
                        Some(properties),
                    )
                    .unwrap()
                })
                .write(&batch)
                .unwrap();
        }
        writer.unwrap().close().unwrap();
        rows
    });
    support::read_orders(&manifest, folder, input, |delivery| {
        sender.send(delivery.batch).unwrap();
    });
    drop(sender);
    locating.join().unwrap();
    println!("{} rows in {:?}", writing.join().unwrap(), begun.elapsed());
}

fn with_cells(batch: &RecordBatch) -> RecordBatch {
    let numbers = |name: &str| arrow::compute::cast(batch.column_by_name(name).unwrap(), &DataType::Float64).unwrap();
    let (lats, lngs) = (numbers("lat"), numbers("lng"));
    let (lat, lng) = (lats.as_primitive::<Float64Type>(), lngs.as_primitive::<Float64Type>());
    let cells: Int64Array = (0..batch.num_rows())
        .map(|row| {
            let place = LatLng::new(lat.value(row), lng.value(row))
                .ok()
                .filter(|_| lat.is_valid(row))?;
            place.to_cell(11).map(shiyu_schemas::place::Cell::to_i64)
        })
        .collect();
    let mut columns: Vec<(Field, ArrayRef)> = Vec::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        match field.name().as_str() {
            "lat" => columns.push((Field::new("lat", DataType::Float64, true), lats.clone())),
            "lng" => columns.push((Field::new("lng", DataType::Float64, true), lngs.clone())),
            "_file" | "_row" => {}
            _ => columns.push((field.as_ref().clone(), column.clone())),
        }
    }
    columns.push((Field::new("cell", DataType::Int64, true), Arc::new(cells)));
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}
