//! Petitions: a sheet a month, dates only, no coordinates, words of their own; a row when something changed.

use super::{Case, CaseText, Column, SEPARATOR, column, flag, put, put_unit, status_word};
use crate::kind::KINDS;
use crate::life::Change;
use crate::random::Random;
use crate::text;

/// Columns.
pub const COLUMNS: &[Column] = &[
    column("petition_id", "信访编号", "信访编号"),
    column("filed_on", "登记日期", "登记日期"),
    column("changed_on", "更新日期", "更新日期"),
    column("kind", "事项类别", "事项类别"),
    column("county", "县区", "县区"),
    column("town", "乡镇街道", "乡镇街道"),
    column("matter", "信访事由", "信访事由"),
    column("status", "办理状态", "办理状态"),
    column("unit", "办理单位", "办理单位"),
    column("due_on", "办理期限", "办理期限"),
    column("ended_on", "办结日期", "办结日期"),
];

/// Writes what all rows of a petition share.
pub fn describe(case: Case<'_>, text: &mut CaseText, random: &mut Random) {
    text.flags |= flag::NO_PLACE;
    text.address.extend_from_slice(case.address.text.as_bytes());
    text::put_brief(case, text, random);
}

/// Writes a row.
pub fn write_row(case: Case<'_>, text: &CaseText, change: &Change, out: &mut Vec<u8>) {
    let calendar = &case.world.calendar;
    let town = &case.world.land.towns[usize::from(case.address.town)];
    out.extend_from_slice(case.report.id.as_str().as_bytes());
    out.push(SEPARATOR);
    put::date(out, calendar, case.report.filed);
    out.push(SEPARATOR);
    put::date(out, calendar, change.at);
    out.push(SEPARATOR);
    out.extend_from_slice(KINDS[usize::from(change.said)].petition_word.as_bytes());
    out.push(SEPARATOR);
    out.extend_from_slice(case.world.land.districts[town.district].name.as_bytes());
    out.push(SEPARATOR);
    out.extend_from_slice(town.name.as_bytes());
    out.push(SEPARATOR);
    out.extend_from_slice(&text.content);
    out.push(SEPARATOR);
    out.extend_from_slice(status_word(case.report.feed, case.report.class, change.state).as_bytes());
    out.push(SEPARATOR);
    put_unit(case, change.holder, out);
    out.push(SEPARATOR);
    if change.due > 0 {
        put::date(out, calendar, change.due);
    }
    out.push(SEPARATOR);
    if change.ended > 0 {
        put::date(out, calendar, change.ended);
    }
}
