//! Reports of grid inspectors: JSON with WGS84 from the telephone, a row per step of the closed loop. From [`WRONG_DATUM_DAY`] on one county's
//! new telephones send GCJ-02 and still call it WGS84.

use super::{Case, CaseText, Column, SEPARATOR, column, flag, number, put, put_unit, status_word};
use crate::calendar::DAY_S;
use crate::kind::KINDS;
use crate::life::Change;
use crate::random::Random;
use crate::report::Class;

/// The day from which coordinates of [`WRONG_DATUM_DISTRICT`] have the wrong datum: 2025-01-11.
pub const WRONG_DATUM_DAY: u32 = 10;
/// Index of the county: 岚口县.
pub const WRONG_DATUM_DISTRICT: usize = 4;

/// Columns.
pub const COLUMNS: &[Column] = &[
    column("id", "id", "id"),
    column("found_at", "found_at", "found_at"),
    column("updated_at", "updated_at", "updated_at"),
    column("kind", "kind", "kind"),
    column("note", "note", "note"),
    number("lng"),
    number("lat"),
    column("grid", "grid", "grid"),
    column("step", "step", "step"),
    column("unit", "unit", "unit"),
    column("due_at", "due_at", "due_at"),
    column("closed_at", "closed_at", "closed_at"),
];

/// Writes what all rows of a report share.
pub fn describe(case: Case<'_>, text: &mut CaseText, random: &mut Random) {
    let (note, spread) = if case.report.class == Class::SelfMade {
        ("日常巡查已处置", 4_000)
    } else {
        (
            *random.pick(&["巡查发现", "巡查发现，需处置", "居民现场反映", "重点巡查"]),
            600,
        )
    };
    text.content.extend_from_slice(note.as_bytes());
    let district = case.world.land.towns[usize::from(case.address.town)].district;
    let is_wrong = district == WRONG_DATUM_DISTRICT && case.report.filed / DAY_S >= WRONG_DATUM_DAY;
    let place = if is_wrong {
        text.flags |= flag::WRONG_DATUM;
        text.datum = "gcj02";
        case.address.gcj
    } else {
        case.address.place
    };
    let point = place.moved_cm(random.around(spread), random.around(spread));
    put::fixed(&mut text.x, point.lng as u64, 7);
    put::fixed(&mut text.y, point.lat as u64, 7);
}

/// Writes a row.
pub fn write_row(case: Case<'_>, text: &CaseText, change: &Change, out: &mut Vec<u8>) {
    let calendar = &case.world.calendar;
    let zoned = |out: &mut Vec<u8>, at: u32| {
        put::clock(out, calendar, at, b'T');
        out.extend_from_slice(b"+08:00");
    };
    out.extend_from_slice(case.report.id.as_str().as_bytes());
    out.push(SEPARATOR);
    zoned(out, case.report.filed);
    out.push(SEPARATOR);
    zoned(out, change.at);
    out.push(SEPARATOR);
    out.extend_from_slice(KINDS[usize::from(change.said)].grid_code.as_bytes());
    out.push(SEPARATOR);
    for field in [&text.content, &text.x, &text.y] {
        out.extend_from_slice(field);
        out.push(SEPARATOR);
    }
    let (grid, _) = case.world.land.home(case.address.quad, case.report.filed / DAY_S);
    out.extend_from_slice(case.world.land.grids[usize::from(grid)].code.as_bytes());
    out.push(SEPARATOR);
    out.extend_from_slice(status_word(case.report.feed, case.report.class, change.state).as_bytes());
    out.push(SEPARATOR);
    put_unit(case, change.holder, out);
    out.push(SEPARATOR);
    if change.due > 0 {
        zoned(out, change.due);
    }
    out.push(SEPARATOR);
    if change.ended > 0 {
        zoned(out, change.ended);
    }
}
