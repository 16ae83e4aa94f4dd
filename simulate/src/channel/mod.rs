//! Records as departments have them: each with its own columns, codes, clock, coordinates, words and mistakes.
//!
//! A row is kept as its fields, UTF-8, with [`SEPARATOR`] between them; [`crate::write`] turns it into CSV, NDJSON, SQL, xlsx.
//!
//! - [`put`]: numbers, clocks and coordinates as bytes
//! - [`words`]: status words
//! - [`hotline`], [`police`], [`grid`], [`petition`], [`device`]: one department each

pub mod device;
pub mod grid;
pub mod hotline;
pub mod petition;
pub mod police;
pub mod put;
mod words;

use crate::life::{Change, UNITS};
use crate::place::Address;
use crate::random::Random;
use crate::report::{Feed, Report};
use crate::world::World;

pub use words::status_word;

/// Between the fields of a row; no text holds it.
pub const SEPARATOR: u8 = 0x1f;

/// A column of a feed.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Name in JSON and in the database.
    pub name: &'static str,
    /// Header in CSV.
    pub header: &'static str,
    /// Header in CSV from [`HEADER_CHANGE_DAY`] on.
    pub later: &'static str,
    /// Whether JSON has it as a number.
    pub is_number: bool,
}

/// The day from which the hotline's files have another header, in another order: 2025-01-16.
pub const HEADER_CHANGE_DAY: u32 = 15;

const fn column(name: &'static str, header: &'static str, later: &'static str) -> Column {
    Column {
        name,
        header,
        later,
        is_number: false,
    }
}

const fn number(name: &'static str) -> Column {
    Column {
        name,
        header: name,
        later: name,
        is_number: true,
    }
}

/// Columns of a feed, in the order in which rows keep them.
pub fn columns(feed: Feed) -> &'static [Column] {
    match feed {
        Feed::Hotline => hotline::COLUMNS,
        Feed::Police => police::COLUMNS,
        Feed::Grid => grid::COLUMNS,
        Feed::Petition => petition::COLUMNS,
        Feed::Device => device::COLUMNS,
    }
}

/// What was done to a record, as bits.
pub mod flag {
    /// A character of the address is wrong.
    pub const TYPO: u16 = 1;
    /// The address has pinyin in brackets.
    pub const PINYIN: u16 = 2;
    /// No coordinates were given.
    pub const NO_PLACE: u16 = 4;
    /// Coordinates of the city hall were given.
    pub const DEFAULT_POINT: u16 = 8;
    /// Coordinates are not in the datum that is declared.
    pub const WRONG_DATUM: u16 = 16;
    /// The category was put right later.
    pub const CORRECTED: u16 = 32;
    /// A row of it came late.
    pub const LATE: u16 = 64;
    /// The place is called by an alias.
    pub const ALIAS: u16 = 128;
    /// Personal data, invented, stands in the text.
    pub const PERSONAL: u16 = 256;

    /// Words in the order of the bits.
    pub const WORDS: [&str; 9] = [
        "typo",
        "pinyin",
        "no_place",
        "default_point",
        "wrong_datum",
        "corrected",
        "late",
        "alias",
        "personal",
    ];
}

/// What all rows of a case share. Reused from case to case.
#[derive(Debug, Default)]
pub struct CaseText {
    /// Text of the matter.
    pub content: Vec<u8>,
    /// Address as written.
    pub address: Vec<u8>,
    /// Longitude or easting as written.
    pub x: Vec<u8>,
    /// Latitude or northing as written.
    pub y: Vec<u8>,
    /// Further words: source of the report, reporter's township.
    pub source: &'static str,
    /// What was done to it, bits of [`flag`].
    pub flags: u16,
    /// Datum the coordinates truly have.
    pub datum: &'static str,
}

/// A case about to be written.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// The city.
    pub world: &'a World,
    /// The report.
    pub report: &'a Report,
    /// Its address.
    pub address: &'a Address,
}

/// Writes what all rows of a case share.
pub fn describe(case: Case<'_>, text: &mut CaseText, random: &mut Random) {
    text.content.clear();
    text.address.clear();
    text.x.clear();
    text.y.clear();
    text.source = "";
    text.flags = 0;
    text.datum = declared_datum(case.report.feed);
    match case.report.feed {
        Feed::Hotline => hotline::describe(case, text, random),
        Feed::Police => police::describe(case, text, random),
        Feed::Grid => grid::describe(case, text, random),
        Feed::Petition => petition::describe(case, text, random),
        Feed::Device => device::describe(case, text),
    }
}

/// Writes the row of a change.
pub fn write_row(case: Case<'_>, text: &CaseText, change: &Change, out: &mut Vec<u8>) {
    match case.report.feed {
        Feed::Hotline => hotline::write_row(case, text, change, out),
        Feed::Police => police::write_row(case, text, change, out),
        Feed::Grid => grid::write_row(case, text, change, out),
        Feed::Petition => petition::write_row(case, text, change, out),
        Feed::Device => device::write_row(case, text, change, out),
    }
}

/// The datum a feed says it has.
pub fn declared_datum(feed: Feed) -> &'static str {
    match feed {
        Feed::Hotline => "gcj02",
        Feed::Police => "EPSG:4547",
        Feed::Grid | Feed::Device => "wgs84",
        Feed::Petition => "none",
    }
}

/// The name of a unit; the town's own where it is the town.
fn put_unit(case: Case<'_>, holder: u8, out: &mut Vec<u8>) {
    if usize::from(holder) == UNITS.len() - 1 {
        out.extend_from_slice(case.world.land.towns[usize::from(case.address.town)].name.as_bytes());
        out.extend_from_slice("办事处".as_bytes());
    } else {
        out.extend_from_slice(UNITS[usize::from(holder)].as_bytes());
    }
}
