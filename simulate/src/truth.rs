//! What truly happened, as Parquet, joinable to every record. The hub never reads it; scorers do.
//!
//! | table | a row is |
//! |---|---|
//! | `incidents` | something that happened, reported or not |
//! | `records` | a record of a feed, with what is behind it |
//! | `changes` | a row of a feed (without those sent again) |
//! | `plans` | something planted |
//! | `intensity` | the expected number of incidents of a cell in a week |

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Float64Builder, Int32Builder, Int64Builder, RecordBatch, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use crate::SimulateError;
use crate::calendar::DAY_S;
use crate::channel::{Case, CaseText, declared_datum, flag};
use crate::incident::{Incident, mean_of};
use crate::kind::KINDS;
use crate::life::{Life, State, UNITS};
use crate::place::address::SPREADS;
use crate::world::World;

/// 2025-01-01 00:00 in Asia/Shanghai, seconds since 1970.
const START_S: i64 = 1_735_660_800;
/// Rows of a Parquet row group, so that memory stays flat.
const GROUP_ROWS: usize = 200_000;
const DAYS_OF_WEEK: u32 = 7;

#[derive(Debug, Clone, Copy)]
enum Type {
    Text,
    Whole,
    Number,
    Real,
    Truth,
    Time,
}

type Columns = &'static [(&'static str, Type, bool)];

const INCIDENTS: Columns = &[
    ("incident", Type::Whole, false),
    ("category", Type::Text, false),
    ("occurred_at", Type::Time, false),
    ("lat", Type::Real, false),
    ("lng", Type::Real, false),
    ("address", Type::Number, false),
    ("cell", Type::Whole, false),
    ("grid", Type::Text, false),
    ("community", Type::Text, false),
    ("town", Type::Text, false),
    ("plan", Type::Number, true),
];
const RECORDS: Columns = &[
    ("feed", Type::Text, false),
    ("record_id", Type::Text, false),
    ("class", Type::Text, false),
    ("incident", Type::Whole, true),
    ("plan", Type::Number, true),
    ("category", Type::Text, true),
    ("said_category", Type::Text, false),
    ("relation", Type::Text, false),
    ("duplicate_of", Type::Text, true),
    ("lat", Type::Real, false),
    ("lng", Type::Real, false),
    ("datum_declared", Type::Text, false),
    ("datum_true", Type::Text, false),
    ("located", Type::Truth, false),
    ("filed_at", Type::Time, false),
    ("due_at", Type::Time, true),
    ("closed_at", Type::Time, true),
    ("state", Type::Text, false),
    ("changes", Type::Number, false),
    ("holders", Type::Text, false),
    ("returns", Type::Number, false),
    ("overdue", Type::Truth, false),
    ("gamed", Type::Text, false),
    ("flags", Type::Text, false),
];
const CHANGES: Columns = &[
    ("feed", Type::Text, false),
    ("record_id", Type::Text, false),
    ("sequence", Type::Number, false),
    ("changed_at", Type::Time, false),
    ("delivered_at", Type::Time, false),
    ("state", Type::Text, false),
    ("holder", Type::Text, false),
];
const PLANS: Columns = &[
    ("plan", Type::Number, false),
    ("what", Type::Text, false),
    ("category", Type::Text, false),
    ("start_at", Type::Time, false),
    ("end_at", Type::Time, false),
    ("lat", Type::Real, false),
    ("lng", Type::Real, false),
    ("radius_m", Type::Number, false),
    ("town", Type::Text, false),
    ("addresses", Type::Number, false),
    ("extra_per_day", Type::Real, false),
    ("relative_risk", Type::Real, false),
];
const INTENSITY: Columns = &[
    ("cell", Type::Whole, false),
    ("week_start_at", Type::Time, false),
    ("expected", Type::Real, false),
];

fn schema_of(columns: Columns) -> SchemaRef {
    let fields = columns.iter().map(|(name, kind, nullable)| {
        let kind = match kind {
            Type::Text => DataType::Utf8,
            Type::Whole => DataType::Int64,
            Type::Number => DataType::Int32,
            Type::Real => DataType::Float64,
            Type::Truth => DataType::Boolean,
            Type::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        };
        Field::new(*name, kind, *nullable)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn micros(at: u32) -> i64 {
    (START_S + i64::from(at)) * 1_000_000
}

#[derive(Debug)]
enum Builder {
    Text(StringBuilder),
    Whole(Int64Builder),
    Number(Int32Builder),
    Real(Float64Builder),
    Truth(BooleanBuilder),
    Time(TimestampMicrosecondBuilder),
}

/// Values of a row are put in the order of the columns.
#[derive(Debug)]
struct Table {
    schema: SchemaRef,
    builders: Vec<Builder>,
    next: usize,
}

impl Table {
    fn new(columns: Columns) -> Self {
        let builders = columns
            .iter()
            .map(|(_, kind, _)| match kind {
                Type::Text => Builder::Text(StringBuilder::new()),
                Type::Whole => Builder::Whole(Int64Builder::new()),
                Type::Number => Builder::Number(Int32Builder::new()),
                Type::Real => Builder::Real(Float64Builder::new()),
                Type::Truth => Builder::Truth(BooleanBuilder::new()),
                Type::Time => Builder::Time(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
            })
            .collect();
        Self {
            schema: schema_of(columns),
            builders,
            next: 0,
        }
    }

    fn builder(&mut self) -> &mut Builder {
        let index = self.next;
        self.next = (self.next + 1) % self.builders.len();
        &mut self.builders[index]
    }

    fn text(&mut self, value: Option<&str>) -> &mut Self {
        if let Builder::Text(builder) = self.builder() {
            builder.append_option(value);
        }
        self
    }

    fn whole(&mut self, value: Option<i64>) -> &mut Self {
        if let Builder::Whole(builder) = self.builder() {
            builder.append_option(value);
        }
        self
    }

    fn number(&mut self, value: Option<u32>) -> &mut Self {
        if let Builder::Number(builder) = self.builder() {
            builder.append_option(value.map(|value| value as i32));
        }
        self
    }

    fn real(&mut self, value: f64) -> &mut Self {
        if let Builder::Real(builder) = self.builder() {
            builder.append_value(value);
        }
        self
    }

    fn truth(&mut self, value: bool) -> &mut Self {
        if let Builder::Truth(builder) = self.builder() {
            builder.append_value(value);
        }
        self
    }

    fn time(&mut self, value: Option<u32>) -> &mut Self {
        if let Builder::Time(builder) = self.builder() {
            builder.append_option(value.map(micros));
        }
        self
    }

    fn finish(mut self) -> Result<RecordBatch, ArrowError> {
        let arrays = self
            .builders
            .iter_mut()
            .map(|builder| -> ArrayRef {
                match builder {
                    Builder::Text(builder) => Arc::new(builder.finish()),
                    Builder::Whole(builder) => Arc::new(builder.finish()),
                    Builder::Number(builder) => Arc::new(builder.finish()),
                    Builder::Real(builder) => Arc::new(builder.finish()),
                    Builder::Truth(builder) => Arc::new(builder.finish()),
                    Builder::Time(builder) => Arc::new(builder.finish()),
                }
            })
            .collect();
        // A value put into the wrong column is missing there: the lengths differ, and this fails.
        RecordBatch::try_new(self.schema, arrays)
    }
}

/// A day's truth.
#[derive(Debug)]
pub struct TruthBatch {
    incidents: RecordBatch,
    records: RecordBatch,
    changes: RecordBatch,
}

/// A day's truth in the making.
#[derive(Debug)]
pub struct TruthRows<'a> {
    world: &'a World,
    day: u32,
    end: u32,
    incidents: Table,
    records: Table,
    changes: Table,
    holders: String,
    flags: String,
    first: String,
}

impl<'a> TruthRows<'a> {
    /// Nothing yet.
    pub fn new(world: &'a World, day: u32, end: u32) -> Self {
        Self {
            world,
            day,
            end,
            incidents: Table::new(INCIDENTS),
            records: Table::new(RECORDS),
            changes: Table::new(CHANGES),
            holders: String::new(),
            flags: String::new(),
            first: String::new(),
        }
    }

    /// Adds an incident.
    pub fn add_incident(&mut self, incident: &Incident) {
        let land = &self.world.land;
        let address = &self.world.book.addresses[incident.address as usize];
        let (grid, community) = land.home(address.quad, self.day);
        self.incidents
            .whole(Some(incident.id))
            .text(Some(KINDS[incident.kind].code))
            .time(Some(self.day * DAY_S + incident.second))
            .real(address.place.lat_degrees())
            .real(address.place.lng_degrees())
            .number(Some(incident.address))
            .whole(Some(address.cell))
            .text(Some(&land.grids[usize::from(grid)].code))
            .text(Some(&land.communities[usize::from(community)].code))
            .text(Some(&land.towns[usize::from(address.town)].code))
            .number(incident.plan);
    }

    /// Adds a record and its changes, as far as they were delivered.
    pub fn add_record(&mut self, case: Case<'_>, life: &Life, text: &CaseText) {
        let report = case.report;
        let feed = report.feed.word();
        let mut visible = None;
        let (mut count, mut returns) = (0, 0);
        self.holders.clear();
        let mut holder_before = None;
        for change in &life.changes {
            let delivered = change.at + change.late_days * DAY_S;
            if delivered / DAY_S >= self.end {
                continue;
            }
            let town = &self.world.land.towns[usize::from(case.address.town)].name;
            let is_town = usize::from(change.holder) == UNITS.len() - 1;
            let holder = if is_town {
                town.as_str()
            } else {
                UNITS[usize::from(change.holder)]
            };
            if holder_before != Some(change.holder) {
                let arrow = if self.holders.is_empty() { "" } else { ">" };
                self.holders.push_str(arrow);
                self.holders.push_str(holder);
                self.holders.push_str(if is_town { "办事处" } else { "" });
                holder_before = Some(change.holder);
            }
            self.changes
                .text(Some(feed))
                .text(Some(report.id.as_str()))
                .number(Some(count))
                .time(Some(change.at))
                .time(Some(delivered))
                .text(Some(change.state.word()))
                .text(Some(if is_town { "属地镇街" } else { holder }));
            count += 1;
            returns += u32::from(change.state == State::Returned);
            visible = Some(*change);
        }
        let Some(newest) = visible else { return };
        self.flags.clear();
        let is_set = |bit: usize| text.flags & (1 << bit) != 0;
        for word in flag::WORDS
            .iter()
            .enumerate()
            .filter_map(|(bit, word)| is_set(bit).then_some(word))
        {
            self.flags.push_str(if self.flags.is_empty() { "" } else { "," });
            self.flags.push_str(word);
        }
        self.first.clear();
        if let Some((feed, id)) = &report.first {
            self.first.push_str(feed.word());
            self.first.push(':');
            self.first.push_str(id.as_str());
        }
        let code = KINDS[report.kind].code;
        self.records
            .text(Some(feed))
            .text(Some(report.id.as_str()))
            .text(Some(report.class.word()))
            .whole(report.incident)
            .number(report.plan)
            .text(report.incident.map(|_| code))
            .text(Some(KINDS[usize::from(newest.said)].code))
            .text(Some(report.relation.word()))
            .text(report.first.map(|_| self.first.as_str()))
            .real(case.address.place.lat_degrees())
            .real(case.address.place.lng_degrees())
            .text(Some(declared_datum(report.feed)))
            .text(Some(text.datum))
            .truth(text.flags & (flag::NO_PLACE | flag::DEFAULT_POINT) == 0)
            .time(Some(life.changes[0].at))
            .time((newest.due > 0).then_some(newest.due))
            .time((newest.ended > 0).then_some(newest.ended))
            .text(Some(newest.state.word()))
            .number(Some(count))
            .text(Some(&self.holders))
            .number(Some(returns))
            .truth(life.overdue)
            .text(Some(life.gamed.word()))
            .text(Some(&self.flags));
    }

    /// The day's batches.
    pub fn finish(self) -> Result<TruthBatch, ArrowError> {
        Ok(TruthBatch {
            incidents: self.incidents.finish()?,
            records: self.records.finish()?,
            changes: self.changes.finish()?,
        })
    }
}

/// Writes the truth tables of a run.
pub struct TruthWriter {
    folder: PathBuf,
    incidents: ArrowWriter<File>,
    records: ArrowWriter<File>,
    changes: ArrowWriter<File>,
}

impl TruthWriter {
    /// Creates the tables in `folder`.
    pub fn create(folder: &Path) -> Result<Self, SimulateError> {
        fs::create_dir_all(folder).map_err(|source| SimulateError::Io {
            path: folder.to_owned(),
            source,
        })?;
        Ok(Self {
            incidents: create(folder, "incidents", INCIDENTS)?,
            records: create(folder, "records", RECORDS)?,
            changes: create(folder, "changes", CHANGES)?,
            folder: folder.to_owned(),
        })
    }

    /// Adds a day.
    pub fn add(&mut self, batch: &TruthBatch) -> Result<(), SimulateError> {
        self.incidents.write(&batch.incidents)?;
        self.records.write(&batch.records)?;
        self.changes.write(&batch.changes)?;
        Ok(())
    }

    /// Writes what is planted and how much was to be expected, and ends the files.
    pub fn finish(self, world: &World, days: u32) -> Result<(), SimulateError> {
        let mut plans = create(&self.folder, "plans", PLANS)?;
        plans.write(&plan_rows(world).map_err(parquet::errors::ParquetError::from)?)?;
        plans.close()?;
        let mut intensity = create(&self.folder, "intensity", INTENSITY)?;
        let cells = CellShares::new(world);
        for week in 0..days.div_ceil(DAYS_OF_WEEK) {
            let last = ((week + 1) * DAYS_OF_WEEK).min(days);
            let batch = cells.expected(world, week * DAYS_OF_WEEK..last);
            intensity.write(&batch.map_err(parquet::errors::ParquetError::from)?)?;
        }
        intensity.close()?;
        self.incidents.close()?;
        self.records.close()?;
        self.changes.close()?;
        Ok(())
    }
}

fn create(folder: &Path, name: &str, columns: Columns) -> Result<ArrowWriter<File>, SimulateError> {
    let path = folder.join(format!("{name}.parquet"));
    let file = File::create(&path).map_err(|source| SimulateError::Io { path, source })?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_key_value_metadata(Some(vec![KeyValue::new("simulated".to_owned(), "true".to_owned())]))
        .build();
    Ok(ArrowWriter::try_new(file, schema_of(columns), Some(properties))?)
}

fn plan_rows(world: &World) -> Result<RecordBatch, ArrowError> {
    let mut table = Table::new(PLANS);
    for plan in &world.plans {
        let address = &world.book.addresses[plan.middle as usize];
        table
            .number(Some(plan.id))
            .text(Some(plan.what.word()))
            .text(Some(KINDS[plan.kind].code))
            .time(Some(plan.start * DAY_S))
            .time(Some(plan.end * DAY_S))
            .real(address.place.lat_degrees())
            .real(address.place.lng_degrees())
            .number(Some(plan.radius))
            .text(Some(&world.land.towns[usize::from(address.town)].code))
            .number(Some(plan.addresses.len() as u32))
            .real(plan.extra * world.options.scale)
            .real(plan.relative_risk);
    }
    table.finish()
}

/// The share of each spread's incidents that fall to a cell.
struct CellShares {
    cells: BTreeMap<i64, [f64; 4]>,
}

impl CellShares {
    fn new(world: &World) -> Self {
        let mut cells: BTreeMap<i64, [f64; 4]> = BTreeMap::new();
        for (index, address) in world.book.addresses.iter().enumerate() {
            let shares = cells.entry(address.cell).or_default();
            for (share, spread) in shares.iter_mut().zip(SPREADS) {
                *share += world.book.share(spread, index as u32);
            }
        }
        Self { cells }
    }

    fn expected(&self, world: &World, days: std::ops::Range<u32>) -> Result<RecordBatch, ArrowError> {
        let start = days.start;
        let mut by_spread = [0.0; 4];
        for day in days.clone() {
            for (index, kind) in KINDS.iter().enumerate() {
                by_spread[kind.spread as usize] += mean_of(world, index, day);
            }
        }
        let mut extra: BTreeMap<i64, f64> = BTreeMap::new();
        for plan in &world.plans {
            let sum: f64 = days.clone().map(|day| plan.extra_on(day)).sum();
            if sum > 0.0 {
                let each = sum / plan.addresses.len() as f64;
                for &address in &plan.addresses {
                    *extra.entry(world.book.addresses[address as usize].cell).or_default() += each;
                }
            }
        }
        let mut table = Table::new(INTENSITY);
        for (cell, shares) in &self.cells {
            let base: f64 = shares.iter().zip(by_spread).map(|(share, sum)| share * sum).sum();
            let expected = (base + extra.get(cell).copied().unwrap_or(0.0)) * world.options.scale;
            table.whole(Some(*cell)).time(Some(start * DAY_S)).real(expected);
        }
        table.finish()
    }
}
