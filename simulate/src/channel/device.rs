//! Events of devices as their broker carries them: JSON, a clock in UTC, the sensor's fixed place. Smoke detectors cry wolf.

use super::{Case, CaseText, Column, SEPARATOR, column, number, put, status_word};
use crate::calendar::{Calendar, DAY_S};
use crate::kind::KINDS;
use crate::life::Change;

/// Columns.
pub const COLUMNS: &[Column] = &[
    column("event_id", "event_id", "event_id"),
    column("topic", "topic", "topic"),
    column("sensor", "sensor", "sensor"),
    column("type", "type", "type"),
    column("raised_at", "raised_at", "raised_at"),
    column("sent_at", "sent_at", "sent_at"),
    column("cleared_at", "cleared_at", "cleared_at"),
    number("lng"),
    number("lat"),
    column("status", "status", "status"),
];

/// The type of sensor that sees a kind, and its topic.
fn sensor_type(kind: usize) -> &'static str {
    match KINDS[kind].code {
        "safety.fire" => "smoke",
        "road.manhole" => "manhole",
        "road.logging" => "water_level",
        _ => "exposed_rubbish",
    }
}

/// Writes what all rows of an event share.
pub fn describe(case: Case<'_>, text: &mut CaseText) {
    put::fixed(&mut text.x, case.address.place.lng as u64, 7);
    put::fixed(&mut text.y, case.address.place.lat as u64, 7);
}

/// Writes a row.
pub fn write_row(case: Case<'_>, text: &CaseText, change: &Change, out: &mut Vec<u8>) {
    let calendar = &case.world.calendar;
    let kind = sensor_type(case.report.kind);
    out.extend_from_slice(case.report.id.as_str().as_bytes());
    out.push(SEPARATOR);
    out.extend_from_slice(b"yunlan/");
    out.extend_from_slice(kind.as_bytes());
    out.push(b'/');
    put::padded(out, u64::from(case.report.address), 6);
    out.push(SEPARATOR);
    out.extend_from_slice(&kind.as_bytes()[..1]);
    put::padded(out, u64::from(case.report.address), 6);
    out.push(SEPARATOR);
    out.extend_from_slice(kind.as_bytes());
    out.push(SEPARATOR);
    utc(out, calendar, case.report.filed);
    out.push(SEPARATOR);
    utc(out, calendar, change.at);
    out.push(SEPARATOR);
    if change.ended > 0 {
        utc(out, calendar, change.ended);
    }
    out.push(SEPARATOR);
    for field in [&text.x, &text.y] {
        out.extend_from_slice(field);
        out.push(SEPARATOR);
    }
    out.extend_from_slice(status_word(case.report.feed, case.report.class, change.state).as_bytes());
}

/// `2025-01-05T05:07:09Z`; the city is eight hours ahead.
fn utc(out: &mut Vec<u8>, calendar: &Calendar, at: u32) {
    const AHEAD_S: u32 = 8 * 3_600;
    if at >= AHEAD_S {
        put::clock(out, calendar, at - AHEAD_S, b'T');
    } else {
        // The last hours of the year before the first day.
        let second = at + DAY_S - AHEAD_S;
        let start = out.len();
        put::clock(out, calendar, second, b'T');
        out[start..start + 10].copy_from_slice(b"2024-12-31");
    }
    out.push(b'Z');
}
