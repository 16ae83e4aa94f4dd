//! Which file a row goes to: hotline, police, grid and device a file a day, petitions a file a month. Some files are sent a second time.

use std::fs;
use std::path::{Path, PathBuf};

use super::{csv, gb18030::Gb18030, json, sql, xlsx};
use crate::SimulateError;
use crate::calendar::Day;
use crate::channel::{HEADER_CHANGE_DAY, columns, hotline};
use crate::day::{DayRows, is_sent_again};
use crate::report::{FEEDS, Feed};
use crate::statistics::Statistics;
use crate::world::World;

const DUMP_TABLE: &str = "work_order_change";

/// Writes the feeds' files below a folder.
#[derive(Debug)]
pub struct FileWriter {
    out: PathBuf,
    encoder: Gb18030,
    /// The day's file, as UTF-8 and as written.
    plain: Vec<u8>,
    encoded: Vec<u8>,
    dump: Vec<u8>,
    /// Rows of the month's dump so far.
    dumped: usize,
    /// The month's petitions, rows as they are kept, a line each.
    petitions: Vec<u8>,
}

impl FileWriter {
    /// Writes below `out`; folders of an earlier run are emptied first.
    pub fn create(out: &Path) -> Result<Self, SimulateError> {
        for folder in FEEDS
            .map(Feed::word)
            .into_iter()
            .chain(["hotline_dump", "petition_xlsx"])
        {
            let path = out.join(folder);
            let failed = |source| SimulateError::Io {
                path: path.clone(),
                source,
            };
            if path.exists() {
                fs::remove_dir_all(&path).map_err(failed)?;
            }
            fs::create_dir_all(&path).map_err(failed)?;
        }
        Ok(Self {
            out: out.to_owned(),
            encoder: Gb18030::new(),
            plain: Vec::new(),
            encoded: Vec::new(),
            dump: Vec::new(),
            dumped: 0,
            petitions: Vec::new(),
        })
    }

    /// Writes a day's rows; `is_last`: no day comes after it.
    pub fn write_day(
        &mut self,
        world: &World,
        day: u32,
        rows: &[DayRows; 5],
        is_last: bool,
        statistics: &mut Statistics,
    ) -> Result<(), SimulateError> {
        let date = *world.calendar.day(day);
        let ends_month = is_last || world.calendar.day(day + 1).month != date.month;
        for feed in FEEDS {
            let rows = &rows[feed as usize];
            statistics.rows[feed as usize] += rows.len() as u64;
            if feed == Feed::Petition {
                for (_, row) in rows.iter() {
                    self.petitions.extend_from_slice(row);
                    self.petitions.push(b'\n');
                }
                continue;
            }
            if feed == Feed::Hotline {
                self.dump_orders(&date, rows, ends_month)?;
            }
            if rows.is_empty() {
                continue;
            }
            self.render(feed, day, rows);
            let bytes = if feed == Feed::Hotline {
                &self.encoded
            } else {
                &self.plain
            };
            write_file(&self.out.join(file_name(feed, &date, "")), bytes)?;
            if is_sent_again(world.options.seed, feed, day) {
                write_file(&self.out.join(file_name(feed, &date, "_resend")), bytes)?;
                statistics.sent_again += rows.len() as u64;
            }
        }
        if ends_month {
            self.write_petitions(&date)?;
        }
        Ok(())
    }

    fn render(&mut self, feed: Feed, day: u32, rows: &DayRows) {
        let columns = columns(feed);
        self.plain.clear();
        match feed {
            Feed::Grid | Feed::Device => {
                for (_, row) in rows.iter() {
                    json::put_object(&mut self.plain, columns, row);
                    self.plain.push(b'\n');
                }
            }
            _ => {
                let later = feed == Feed::Hotline && day >= HEADER_CHANGE_DAY;
                let order: &[usize] = if later { &hotline::LATER_ORDER } else { &[] };
                if feed == Feed::Police {
                    self.plain.extend_from_slice("\u{feff}".as_bytes());
                }
                csv::put_header(&mut self.plain, columns, later, order);
                for (_, row) in rows.iter() {
                    csv::put_row(&mut self.plain, row, order);
                }
            }
        }
        if feed == Feed::Hotline {
            self.encoded.clear();
            let text = std::str::from_utf8(&self.plain).expect("fields are written as UTF-8");
            self.encoder.encode(text, &mut self.encoded);
        }
    }

    /// The dump of a month is written day by day.
    fn dump_orders(&mut self, date: &Day, rows: &DayRows, ends_month: bool) -> Result<(), SimulateError> {
        self.dump.clear();
        if self.dumped == 0 && !rows.is_empty() {
            sql::put_head(&mut self.dump, DUMP_TABLE, hotline::COLUMNS);
        }
        for (_, row) in rows.iter() {
            sql::put_row(&mut self.dump, DUMP_TABLE, hotline::COLUMNS, row, self.dumped);
            self.dumped += 1;
        }
        if ends_month && self.dumped > 0 {
            self.dump.extend_from_slice(b";\n-- Dump completed\n");
            self.dumped = 0;
        }
        let path = self
            .out
            .join(format!("hotline_dump/work_orders_{}.sql", month_text(date)));
        append(&path, &self.dump)
    }

    fn write_petitions(&mut self, date: &Day) -> Result<(), SimulateError> {
        if self.petitions.is_empty() {
            return Ok(());
        }
        let columns = columns(Feed::Petition);
        let month = month_text(date);
        self.plain.clear();
        csv::put_header(&mut self.plain, columns, false, &[]);
        for row in self
            .petitions
            .split(|byte| *byte == b'\n')
            .filter(|row| !row.is_empty())
        {
            csv::put_row(&mut self.plain, row, &[]);
        }
        write_file(&self.out.join(format!("petition/petitions_{month}.csv")), &self.plain)?;
        let workbook = xlsx::workbook(columns, &self.petitions);
        write_file(
            &self.out.join(format!("petition_xlsx/petitions_{month}.xlsx")),
            &workbook,
        )?;
        self.petitions.clear();
        Ok(())
    }
}

fn month_text(date: &Day) -> &str {
    std::str::from_utf8(&date.text[..7]).expect("a date is ASCII")
}

fn file_name(feed: Feed, date: &Day, tail: &str) -> String {
    let (name, extension) = match feed {
        Feed::Hotline => ("orders", "csv"),
        Feed::Police => ("calls", "csv"),
        Feed::Grid => ("reports", "ndjson"),
        Feed::Petition => ("petitions", "csv"),
        Feed::Device => ("events", "ndjson"),
    };
    let date = std::str::from_utf8(&date.text).expect("a date is ASCII");
    format!("{}/{name}_{date}{tail}.{extension}", feed.word())
}

/// Writes a file, and its folder where there is none.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), SimulateError> {
    let failed = |source| SimulateError::Io {
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    fs::write(path, bytes).map_err(failed)
}

fn append(path: &Path, bytes: &[u8]) -> Result<(), SimulateError> {
    use std::io::Write as _;
    if bytes.is_empty() {
        return Ok(());
    }
    fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(|source| SimulateError::Io {
            path: path.to_owned(),
            source,
        })
}
