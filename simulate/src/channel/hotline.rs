//! Orders of the 12345 hotline: a row per change, GCJ-02 or no coordinates, address as it was heard, text with invented personal data.

use super::{Case, CaseText, Column, SEPARATOR, column, flag, put, put_unit, status_word};
use crate::kind::KINDS;
use crate::life::Change;
use crate::random::Random;
use crate::report::{Class, Relation};
use crate::text;

/// Columns.
pub const COLUMNS: &[Column] = &[
    column("order_id", "工单编号", "工单号"),
    column("changed_at", "更新时间", "变更时间"),
    column("filed_at", "受理时间", "受理时间"),
    column("source", "来源渠道", "受理渠道"),
    column("matter", "诉求类型", "诉求性质"),
    column("kind", "诉求分类", "诉求类别"),
    column("content", "内容", "诉求内容"),
    column("address", "事发地址", "事发地点"),
    column("lng", "经度", "经度"),
    column("lat", "纬度", "纬度"),
    column("status", "办理状态", "工单状态"),
    column("unit", "承办单位", "承办部门"),
    column("due_at", "办理时限", "办理时限"),
    column("ended_at", "办结时间", "办结时间"),
    column("satisfaction", "满意度", "满意度"),
];

/// The order of columns in files from the header's change on.
pub const LATER_ORDER: [usize; 15] = [0, 10, 1, 2, 12, 13, 3, 4, 5, 7, 8, 9, 11, 14, 6];

/// The city hall in GCJ-02, 10⁻⁷ degrees, longitude first: what operators enter when they do not know the place.
pub const CITY_HALL: (u64, u64) = (1_149_200_000, 326_000_000);

/// Writes what all rows of an order share.
pub fn describe(case: Case<'_>, text: &mut CaseText, random: &mut Random) {
    text.source = if case.report.relation == Relation::HandedOver {
        "110转办"
    } else {
        *random.pick(&["电话", "电话", "电话", "微信小程序", "网站", "APP"])
    };
    match case.report.class {
        Class::Consult => {
            text.content.extend_from_slice(random.pick(&text::QUESTIONS).as_bytes());
            text.flags |= flag::NO_PLACE;
            return;
        }
        Class::Test => {
            text.content.extend_from_slice("系统测试工单，请勿派单".as_bytes());
            text.address.extend_from_slice("测试地址".as_bytes());
            text.flags |= flag::NO_PLACE;
            return;
        }
        _ => {}
    }
    text::put_spoken_address(case, text, random);
    text::put_complaint(case, text, random);
    let ticket = random.below(1_000);
    if ticket < 30 {
        put::fixed(&mut text.x, CITY_HALL.0 / 10, 6);
        put::fixed(&mut text.y, CITY_HALL.1 / 10, 6);
        text.flags |= flag::DEFAULT_POINT;
    } else if ticket < 180 {
        text.flags |= flag::NO_PLACE;
    } else {
        let point = case.address.gcj.moved_cm(random.around(1_500), random.around(1_500));
        put::fixed(&mut text.x, point.lng as u64 / 10, 6);
        put::fixed(&mut text.y, point.lat as u64 / 10, 6);
    }
}

/// Writes a row.
pub fn write_row(case: Case<'_>, text: &CaseText, change: &Change, out: &mut Vec<u8>) {
    let calendar = &case.world.calendar;
    let next = |out: &mut Vec<u8>| out.push(SEPARATOR);
    out.extend_from_slice(case.report.id.as_str().as_bytes());
    next(out);
    put::clock(out, calendar, change.at, b' ');
    next(out);
    put::clock(out, calendar, case.report.filed, b' ');
    next(out);
    out.extend_from_slice(text.source.as_bytes());
    next(out);
    let (matter, path) = match case.report.class {
        Class::Consult => ("咨询", "政务咨询/政策咨询/其他咨询"),
        Class::Test => ("咨询", "政务咨询/系统测试/测试"),
        _ if case.report.is_repeat() => ("投诉", KINDS[usize::from(change.said)].hotline_path),
        _ => ("求助", KINDS[usize::from(change.said)].hotline_path),
    };
    out.extend_from_slice(matter.as_bytes());
    next(out);
    out.extend_from_slice(path.as_bytes());
    next(out);
    for field in [&text.content, &text.address, &text.x, &text.y] {
        out.extend_from_slice(field);
        next(out);
    }
    out.extend_from_slice(status_word(case.report.feed, case.report.class, change.state).as_bytes());
    next(out);
    put_unit(case, change.holder, out);
    next(out);
    for at in [change.due, change.ended] {
        if at > 0 {
            put::clock(out, calendar, at, b' ');
        }
        next(out);
    }
    out.extend_from_slice(["", "满意", "不满意"][usize::from(change.satisfaction)].as_bytes());
}
