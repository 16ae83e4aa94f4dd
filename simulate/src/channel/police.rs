//! Calls to 110: the police's own codes, plane metres of CGCS2000 with northing as X, a clock without seconds.

use super::{Case, CaseText, Column, SEPARATOR, column, flag, put, status_word};
use crate::kind::KINDS;
use crate::life::Change;
use crate::random::Random;
use crate::report::Class;
use crate::text;

/// Columns.
pub const COLUMNS: &[Column] = &[
    column("call_id", "警情编号", "警情编号"),
    column("called_at", "报警时间", "报警时间"),
    column("changed_at", "更新时间", "更新时间"),
    column("code", "警情类别", "警情类别"),
    column("brief", "简要警情", "简要警情"),
    column("address", "地址", "地址"),
    column("northing", "X坐标", "X坐标"),
    column("easting", "Y坐标", "Y坐标"),
    column("status", "处置状态", "处置状态"),
];

/// Writes what all rows of a call share.
pub fn describe(case: Case<'_>, text: &mut CaseText, random: &mut Random) {
    if case.report.class == Class::Invalid {
        text.content
            .extend_from_slice(random.pick(&text::INVALID_CALLS).as_bytes());
        text.flags |= flag::NO_PLACE;
        return;
    }
    text.address.extend_from_slice(case.address.text.as_bytes());
    text::put_brief(case, text, random);
    if random.chance(50) {
        text.flags |= flag::NO_PLACE;
        return;
    }
    let (north, east) = case.address.plane_cm;
    put::fixed(&mut text.y, (north + i64::from(random.around(2_500))) as u64, 2);
    put::fixed(&mut text.x, (east + i64::from(random.around(2_500))) as u64, 2);
}

/// Writes a row.
pub fn write_row(case: Case<'_>, text: &CaseText, change: &Change, out: &mut Vec<u8>) {
    let calendar = &case.world.calendar;
    out.extend_from_slice(case.report.id.as_str().as_bytes());
    out.push(SEPARATOR);
    put::short_clock(out, calendar, case.report.filed);
    out.push(SEPARATOR);
    put::short_clock(out, calendar, change.at);
    out.push(SEPARATOR);
    let code = match (case.report.class, case.report.incident) {
        (Class::Invalid, _) => "000001",
        (Class::Help, _) => "400101",
        (Class::NotPolice, None) => "900999",
        _ => KINDS[usize::from(change.said)].police_code,
    };
    out.extend_from_slice(code.as_bytes());
    out.push(SEPARATOR);
    for field in [&text.content, &text.address, &text.y, &text.x] {
        out.extend_from_slice(field);
        out.push(SEPARATOR);
    }
    out.extend_from_slice(status_word(case.report.feed, case.report.class, change.state).as_bytes());
}
