//! The files of four departments, each with its own codes, clock, encoding and coordinates.
//!
//! | feed | file | text | place | who noticed |
//! |---|---|---|---|---|
//! | `hotline` | a CSV a month, a row per change of an order | GB18030 | GCJ-02, or none | citizens |
//! | `police` | a CSV a month | UTF-8 with BOM | CGCS2000 / 3-degree Gauss-Krüger 114E, metres, X = north | citizens |
//! | `grid` | NDJSON a day | UTF-8 | WGS84 | inspectors on patrol |
//! | `petition` | a CSV a month, dates only | UTF-8 | none | citizens |

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use shiyu_schemas::place::datum::{Datum, wgs84_to_gcj02};

use crate::place::{Address, Land};
use crate::rhythm::{Incident, KINDS};
use crate::{SimulateError, Summary, text};

const MINUTES_PER_DAY: u64 = 1_440;
/// Parts per thousand of orders that are reported again (same address, same matter): about 19 %.
const AGAIN: u32 = 190;

/// Header lines of the CSV feeds.
const HEADERS: [(&str, &str); 3] = [
    (
        "hotline",
        "工单编号,更新时间,受理时间,来源渠道,诉求分类,内容,事发地址,经度,纬度,办理状态,承办单位,办结时间",
    ),
    (
        "police",
        "警情编号,报警时间,警情类别,简要警情,地址,X坐标,Y坐标,处置状态",
    ),
    ("petition", "信访编号,登记日期,事项类别,县区,办理状态"),
];

/// One line of a feed, and when the department writes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// `hotline`, `police`, `grid`, `petition`.
    pub feed: &'static str,
    /// What names the record.
    pub id: String,
    /// Minutes since the first day's midnight.
    pub minute: u64,
    /// The line, without its end.
    pub line: String,
}

/// The records that an incident leads to, in no order.
pub fn records_of(rng: &mut ChaCha8Rng, land: &Land, incident: &Incident, day: u32) -> Vec<Record> {
    let kind = &KINDS[incident.kind];
    let address = &land.addresses()[incident.address];
    let at = u64::from(day) * MINUTES_PER_DAY + u64::from(incident.minute);
    let mut records = Vec::new();
    if chance(rng, kind.hotline * address.reporting / 100) {
        let mut reported = at + rng.random_range(2..90);
        let mut again = false;
        loop {
            records.extend(order(rng, incident, address, reported, again));
            if !chance(rng, AGAIN) {
                break;
            }
            again = true;
            reported += rng.random_range(60..4 * MINUTES_PER_DAY);
        }
    }
    if chance(rng, kind.police) {
        let called = at + rng.random_range(0..15);
        records.push(call(rng, incident, address, called));
    }
    if chance(rng, kind.grid) {
        records.extend(patrol(rng, incident, address, at));
    }
    if (kind.code.starts_with("dispute") || kind.code.starts_with("housing")) && chance(rng, 40) {
        let filed = at + rng.random_range(1..20) * MINUTES_PER_DAY;
        records.push(petition(rng, incident, address, filed));
    }
    records
}

fn chance(rng: &mut ChaCha8Rng, per_thousand: u32) -> bool {
    rng.random_range(0..1_000) < per_thousand
}

/// An order of the 12345 hotline: a row when it is filed, one when it is dispatched, one when it is closed.
fn order(rng: &mut ChaCha8Rng, incident: &Incident, address: &Address, at: u64, again: bool) -> Vec<Record> {
    let kind = &KINDS[incident.kind];
    let id = format!("DH{}{:07}", stamp(at, "%Y%m%d"), rng.random_range(0..10_000_000));
    let content = text::order_text(rng, kind, &address.text, again);
    let source = ["电话", "微信小程序", "网站", "APP"][rng.random_range(0..4)];
    let place = if chance(rng, 850) {
        let (lat, lng) = wgs84_to_gcj02(address.lat, address.lng);
        format!("{lng:.6},{lat:.6}")
    } else {
        ",".to_owned()
    };
    let unit = text::unit(incident.kind);
    let dispatched = at + rng.random_range(10..240);
    let closed = dispatched + rng.random_range(120..5 * MINUTES_PER_DAY);
    [("受理", at, ""), ("派单", dispatched, unit), ("办结", closed, unit)]
        .into_iter()
        .map(|(state, minute, holder)| {
            let ended = if state == "办结" {
                clock(closed)
            } else {
                String::new()
            };
            let line = format!(
                "{id},{},{},{source},{},{content},{},{place},{state},{holder},{ended}",
                clock(minute),
                clock(at),
                kind.name,
                address.text
            );
            Record {
                feed: "hotline",
                id: id.clone(),
                minute,
                line,
            }
        })
        .collect()
}

fn call(rng: &mut ChaCha8Rng, incident: &Incident, address: &Address, at: u64) -> Record {
    let id = format!("J{}{:06}", stamp(at, "%Y%m%d"), rng.random_range(0..1_000_000));
    let code = format!("{:02}{:02}", 10 + incident.kind, rng.random_range(1..4));
    let (north, east) = plane(address.lat, address.lng);
    let state = ["已处置", "已处置", "处置中"][rng.random_range(0..3)];
    let line = format!(
        "{id},{},{code},报警称{}附近{},{},{north:.2},{east:.2},{state}",
        stamp(at, "%Y/%-m/%-d %H:%M"),
        address.text,
        KINDS[incident.kind].name,
        address.text
    );
    Record {
        feed: "police",
        id,
        minute: at,
        line,
    }
}

/// What an inspector finds on the next round, 8 to 18 o'clock; often it is found closed already.
fn patrol(rng: &mut ChaCha8Rng, incident: &Incident, address: &Address, at: u64) -> Option<Record> {
    let found = (at / MINUTES_PER_DAY + 1) * MINUTES_PER_DAY + rng.random_range(8 * 60..18 * 60);
    let id = format!("WG{:010}", rng.random_range(0..10_000_000_000_u64));
    let state = ["核实立案", "任务派遣", "核查结案"][rng.random_range(0..3)];
    let line = format!(
        r#"{{"id":"{id}","found_at":"{}+08:00","kind":"{}","lng":{:.6},"lat":{:.6},"community":"{}","state":"{state}"}}"#,
        stamp(found, "%Y-%m-%dT%H:%M:%S"),
        KINDS[incident.kind].name,
        address.lng,
        address.lat,
        address.community
    );
    chance(rng, 800).then_some(Record {
        feed: "grid",
        id,
        minute: found,
        line,
    })
}

fn petition(rng: &mut ChaCha8Rng, incident: &Incident, address: &Address, at: u64) -> Record {
    let id = format!("XF{}{:05}", stamp(at, "%Y%m"), rng.random_range(0..100_000));
    let state = ["受理", "转办", "办结"][rng.random_range(0..3)];
    let district: String = address.text.chars().skip(3).take(3).collect();
    let line = format!(
        "{id},{},{},{district},{state}",
        stamp(at, "%Y-%m-%d"),
        KINDS[incident.kind].name
    );
    Record {
        feed: "petition",
        id,
        minute: at,
        line,
    }
}

fn clock(minute: u64) -> String {
    stamp(minute, "%Y-%m-%d %H:%M:%S")
}

fn stamp(minute: u64, format: &str) -> String {
    let at = date_of(crate::FIRST_DAY, (minute / MINUTES_PER_DAY) as u32).at(
        (minute / 60 % 24) as i8,
        (minute % 60) as i8,
        0,
        0,
    );
    at.strftime(format).to_string()
}

fn date_of(first: Date, day: u32) -> Date {
    first.saturating_add(jiff::Span::new().days(i64::from(day)))
}

/// Northing and easting in CGCS2000 / 3-degree Gauss-Krüger, central meridian 114E, by inverting the datum step by step.
fn plane(lat: f64, lng: f64) -> (f64, f64) {
    let datum: Datum = "EPSG:4547".parse().expect("the code is in the table");
    let metres_per_degree = 111_300.0;
    let shrink = lat.to_radians().cos();
    let (mut east, mut north) = (500_000.0 + (lng - 114.0) * metres_per_degree * shrink, lat * 110_900.0);
    for _ in 0..30 {
        let Ok(back) = datum.to_wgs84(east, north) else { break };
        let (off_lat, off_lng) = (lat - back.lat(), lng - back.lng());
        north += off_lat * metres_per_degree;
        east += off_lng * metres_per_degree * shrink;
        if off_lat.abs() + off_lng.abs() < 1e-10 {
            break;
        }
    }
    (north, east)
}

/// Writes records in the order of their time, a file a month (grid: a day); holds only what is still to come.
#[derive(Debug)]
pub struct FeedWriter {
    out: PathBuf,
    waiting: BTreeMap<(u64, u64), Record>,
    taken: u64,
    started: std::collections::BTreeSet<PathBuf>,
    summary: Summary,
}

impl FeedWriter {
    /// Writes below `out`.
    pub fn new(out: &Path) -> Self {
        Self {
            out: out.to_owned(),
            waiting: BTreeMap::new(),
            taken: 0,
            started: std::collections::BTreeSet::new(),
            summary: Summary::new(),
        }
    }

    /// Takes records to be written when their time comes.
    pub fn take(&mut self, records: Vec<Record>) {
        for record in records {
            self.taken += 1;
            self.waiting.insert((record.minute, self.taken), record);
        }
    }

    /// Writes everything up to the end of `day`.
    pub fn write_until(&mut self, first: Date, day: u32) -> Result<(), SimulateError> {
        let later = self.waiting.split_off(&((u64::from(day) + 1) * MINUTES_PER_DAY, 0));
        let due = std::mem::replace(&mut self.waiting, later);
        let mut files: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
        for ((minute, _), record) in due {
            let date = date_of(first, (minute / MINUTES_PER_DAY) as u32);
            let path = self.out.join(path_of(record.feed, date));
            if self.started.insert(path.clone()) {
                if let Err(source) = fs::remove_file(&path)
                    && source.kind() != std::io::ErrorKind::NotFound
                {
                    return Err(SimulateError::Io { path, source });
                }
                files.insert(path.clone(), header_of(record.feed));
            }
            *self.summary.entry(record.feed).or_default() += 1;
            let bytes = files.entry(path).or_default();
            bytes.extend_from_slice(&encoded(record.feed, &record.line));
            bytes.push(b'\n');
        }
        files.into_iter().try_for_each(|(path, bytes)| append(&path, &bytes))
    }

    /// What was to come after the last day never comes.
    pub fn finish(&mut self, first: Date, days: u32) -> Result<(), SimulateError> {
        self.write_until(first, days - 1)?;
        self.waiting.clear();
        Ok(())
    }

    /// Lines written, by feed.
    pub fn into_summary(self) -> Summary {
        self.summary
    }
}

fn path_of(feed: &str, date: Date) -> PathBuf {
    let name = match feed {
        "hotline" => format!("hotline/orders_{}.csv", date.strftime("%Y-%m")),
        "police" => format!("police/calls_{}.csv", date.strftime("%Y-%m")),
        "petition" => format!("petition/petitions_{}.csv", date.strftime("%Y-%m")),
        _ => format!("grid/reports_{}.ndjson", date.strftime("%Y-%m-%d")),
    };
    PathBuf::from(name)
}

fn header_of(feed: &str) -> Vec<u8> {
    let Some((_, header)) = HEADERS.iter().find(|(name, _)| *name == feed) else {
        return Vec::new();
    };
    let mut bytes = if feed == "police" {
        "\u{feff}".as_bytes().to_vec()
    } else {
        Vec::new()
    };
    bytes.extend_from_slice(&encoded(feed, header));
    bytes.push(b'\n');
    bytes
}

fn encoded<'a>(feed: &str, line: &'a str) -> std::borrow::Cow<'a, [u8]> {
    if feed == "hotline" {
        encoding_rs::GB18030.encode(line).0
    } else {
        line.as_bytes().into()
    }
}

fn append(path: &Path, bytes: &[u8]) -> Result<(), SimulateError> {
    let failed = |source| SimulateError::Io {
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(failed)?;
    file.write_all(bytes).map_err(failed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn plane_metres_lead_back_to_the_place() {
        let datum: Datum = "EPSG:4547".parse().unwrap();
        let (north, east) = plane(32.6, 114.9);
        let back = datum.to_wgs84(east, north).unwrap();
        assert!((back.lat() - 32.6).abs() < 1e-9 && (back.lng() - 114.9).abs() < 1e-9);
        assert!(north > 3_000_000.0 && (500_000.0..700_000.0).contains(&east));
    }

    #[test]
    fn lines_are_written_in_the_order_of_their_time() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = FeedWriter::new(folder.path());
        let record = |minute, line: &str| Record {
            feed: "petition",
            id: line.to_owned(),
            minute,
            line: line.to_owned(),
        };
        writer.take(vec![record(5_000, "late"), record(10, "b"), record(5, "a")]);
        writer.write_until(crate::FIRST_DAY, 0).unwrap();
        writer.finish(crate::FIRST_DAY, 2).unwrap();
        let text = fs::read_to_string(folder.path().join("petition/petitions_2025-01.csv")).unwrap();
        assert_eq!(text.lines().skip(1).collect::<Vec<_>>(), ["a", "b"]);
    }
}
