//! Where the time of the whole way goes: its stages one after the other, each over all orders, in CPU time of the process.
//!
//! The stages are the functions the hub calls; what it does at once stands here in a row, so that each can be told from the others.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{AsArray as _, StringArray};
use shiyu_connectors::Delivery;
use shiyu_ingest::city_folder::OnDisk;
use shiyu_ingest::door::wire::write_event;
use shiyu_ingest::door::{AesSealer, Door, DoorOutput, scrub};
use shiyu_ingest::fold::cache::StateView;
use shiyu_ingest::fold::count::FeedCounts;
use shiyu_ingest::fold::event::with_event;
use shiyu_ingest::fold::events::EventFold;
use shiyu_ingest::fold::{FoldError, FoldOptions};
use shiyu_log::local::frame::{Frame, HEADER_BYTES, Header};
use shiyu_log::state::{Space, StateBatch, StateStore};
use shiyu_log::table::file;
use shiyu_log::{ReadBatch, Records};
use shiyu_schemas::city::City;
use shiyu_schemas::place::{Cell, LatLng};
use shiyu_schemas::table::STORED;

use crate::support::{cpu_of, read_orders};

/// Stages and their times.
#[derive(Default)]
struct Stages {
    done: Vec<(&'static str, Duration, Duration)>,
}

impl Stages {
    fn run<T>(&mut self, name: &'static str, work: impl FnOnce() -> T) -> T {
        let (cpu, wall) = (cpu_of("self"), Instant::now());
        let done = work();
        self.done
            .push((name, cpu_of("self").saturating_sub(cpu), wall.elapsed()));
        done
    }

    fn cpu_s(&self, name: &str) -> f64 {
        let found = self.done.iter().find(|(stage, ..)| *stage == name);
        found.map_or(0.0, |(_, cpu, _)| cpu.as_secs_f64())
    }

    /// `parts` are within other stages: their time is not added again.
    fn print(&self, orders: u64, parts: &[&str]) {
        let per_million = 1e6 / orders as f64;
        let whole = self.done.iter().filter(|(name, ..)| !parts.contains(name));
        let sum: f64 = whole.map(|(_, cpu, _)| cpu.as_secs_f64()).sum();
        println!("| stage | CPU s per million | share | wall s per million |");
        println!("|---|---|---|---|");
        for (name, cpu, wall) in &self.done {
            let indent = if parts.contains(name) { "– of it " } else { "" };
            let (cpu, wall) = (cpu.as_secs_f64(), wall.as_secs_f64() * per_million);
            println!(
                "| {indent}{name} | {:.2} | {:.0} % | {wall:.2} |",
                cpu * per_million,
                cpu / sum * 100.0
            );
        }
        println!("| all | {:.2} | 100 % | |", sum * per_million);
    }
}

/// A state that holds nothing: a back-fill's records are new.
struct Nothing;

impl StateView for Nothing {
    fn get(&mut self, _key: &[u8]) -> Result<Option<Vec<u8>>, FoldError> {
        Ok(None)
    }
}

/// Runs the stages and prints the table.
pub(crate) fn print_stages(folder: &Path, input: &Path, orders: u64) {
    let variables = BTreeMap::from([("CITY_DATA".to_owned(), folder.display().to_string())]);
    let city_folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/city");
    let city = City::load(&OnDisk(city_folder), &variables).unwrap();
    let door = Door::compile(&city.feeds[0], &city, Arc::new(AesSealer::new(&[7; 32]))).unwrap();
    let mut stages = Stages::default();

    let deliveries = stages.run("text: CSV to columns", || read(folder, input, &city));
    stages.run("door", || {
        for delivery in &deliveries {
            door.process_each(delivery, i64::MAX, |event| assert!(event.cell != 0));
        }
    });
    stages.run("scrub", || deliveries.iter().for_each(scrub_all));
    let places = stages.run("datum, H3", || locate(&deliveries));
    stages.run("polygons", || find_areas(&city, &places));
    let outputs: Vec<DoorOutput> = deliveries
        .iter()
        .map(|delivery| door.process(delivery, i64::MAX))
        .collect();
    drop((deliveries, places));

    let records = stages.run("events to protobuf", || outputs.iter().map(encode).collect::<Vec<_>>());
    drop(outputs);
    let frames = stages.run("log: zstd, CRC", || records.iter().map(frame_of).collect::<Vec<_>>());
    drop(records);
    stages.run("log: write, fsync", || write(&folder.join("stages.seg"), &frames));
    let batches = stages.run("log: read, unpack", || {
        frames.iter().map(|bytes| unpack(bytes)).collect::<Vec<_>>()
    });

    let mut fold = EventFold::new(0, Nothing, i64::MIN);
    let mut counts = FeedCounts::default();
    let (mut rows, mut epochs) = (Vec::new(), Vec::new());
    stages.run("fold, rows", || {
        for (number, batch) in (1..).zip(&batches) {
            fold.begin(0, 0);
            for value in &batch.values {
                fold.apply(value, &mut counts).unwrap();
            }
            let (changes, record) = fold.end(1, number);
            epochs.push((changes, record.to_blob().unwrap()));
            rows.push(fold.rows_mut().finish());
        }
    });
    stages.run("events from protobuf", || {
        for value in batches.iter().flat_map(|batch| &batch.values) {
            with_event(value, |event| assert!(event.cell != 0)).unwrap();
        }
    });
    drop(batches);
    let data = folder.join("stages.state");
    drop(std::fs::remove_dir_all(&data));
    stages.run("state: fjall, fsync", || {
        let state = StateStore::open(&data).unwrap().partition("events-0").unwrap();
        for (number, (changes, blob)) in (1_u64..).zip(epochs) {
            let mut batch = StateBatch::new();
            for change in changes.iter() {
                batch.put(Space::Records, change.key, change.value.unwrap());
            }
            batch.put(Space::Outbox, number.to_be_bytes(), blob);
            state.commit(batch).unwrap();
        }
    });
    let files = stages.run("tables: sort, Parquet", || {
        let per_flush = (rows.len() / (orders as usize * 1_100 / FoldOptions::default().flush_bytes).max(1)).max(1);
        let mut files = Vec::new();
        for flush in rows.chunks(per_flush) {
            for shape in STORED {
                let own = flush.iter().flatten().filter(|(table, _)| *table == shape.name);
                let own: Vec<_> = own.map(|(_, batch)| batch.clone()).collect();
                files.extend(file::encode(shape, &own).unwrap().into_iter().map(|file| file.bytes));
            }
        }
        files
    });
    stages.run("tables: write, fsync", || write(&folder.join("stages.parquet"), &files));
    let bytes = |files: &[Vec<u8>]| files.iter().map(Vec::len).sum::<usize>() as u64 / orders;
    println!("log {} bytes an order, tables {}", bytes(&frames), bytes(&files));
    stages.print(orders, &["scrub", "datum, H3", "polygons", "events from protobuf"]);
    assert!(stages.cpu_s("door") > 0.0, "too few orders to tell");
}

fn read(folder: &Path, input: &Path, city: &City) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    read_orders(&city.feeds[0].manifest, folder, input, |delivery| {
        deliveries.push(delivery);
    });
    deliveries
}

fn column<'a>(delivery: &'a Delivery, name: &str) -> &'a StringArray {
    delivery.batch.column_by_name(name).unwrap().as_string::<i32>()
}

fn scrub_all(delivery: &Delivery) {
    for text in column(delivery, "content").iter().flatten() {
        std::hint::black_box(scrub::scrub_text(text));
    }
    for text in column(delivery, "address").iter().flatten() {
        std::hint::black_box(scrub::address::scrub_address(text));
    }
    for name in ["source", "title"] {
        for text in column(delivery, name).iter().flatten() {
            std::hint::black_box(scrub::scrub(text));
        }
    }
}

fn locate(deliveries: &[Delivery]) -> Vec<(LatLng, Cell)> {
    let datum: shiyu_schemas::place::datum::Datum = "gcj02".parse().unwrap();
    let mut places = Vec::new();
    for delivery in deliveries {
        let pairs = column(delivery, "lng")
            .iter()
            .zip(column(delivery, "lat"))
            .filter_map(|(lng, lat)| lng.zip(lat));
        places.extend(pairs.map(|(lng, lat)| {
            let point = datum.to_wgs84(lng.parse().unwrap(), lat.parse().unwrap()).unwrap();
            (point, point.to_cell(11).unwrap())
        }));
    }
    places
}

fn find_areas(city: &City, places: &[(LatLng, Cell)]) {
    for layer in &city.layers {
        for (point, cell) in places {
            std::hint::black_box(layer.index.locate_cell(*point, *cell, 20_000));
        }
    }
}

fn encode(output: &DoorOutput) -> Records {
    let mut records = Records::new();
    for event in &output.events {
        records.push(event.record_id.as_bytes(), |bytes| write_event(event, bytes));
    }
    records
}

fn frame_of(records: &Records) -> Vec<u8> {
    let mut bytes = Vec::new();
    Frame::encode(records).unwrap().write(0, 0, &mut bytes);
    bytes
}

fn unpack(frame: &[u8]) -> ReadBatch {
    let (head, payload) = frame.split_first_chunk::<HEADER_BYTES>().unwrap();
    let header = Header::parse(head).unwrap();
    assert!(header.matches(payload));
    header.decode(payload).unwrap()
}

fn write(path: &Path, parts: &[Vec<u8>]) {
    let mut file = File::create(path).unwrap();
    for part in parts {
        file.write_all(part).unwrap();
        file.sync_data().unwrap();
    }
}
