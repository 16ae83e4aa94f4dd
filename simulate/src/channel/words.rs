//! What each department calls the states of a case.

use crate::life::State;
use crate::report::{Class, Feed};

/// The department's word for a state.
pub fn status_word(feed: Feed, class: Class, state: State) -> &'static str {
    match feed {
        Feed::Hotline => match state {
            State::Filed => "受理",
            State::Verified | State::Dispatched => "派单",
            State::InProgress => "办理中",
            State::Returned => "退单",
            State::Transferred => "改派",
            State::Extended => "延期",
            State::Suspended => "挂账",
            State::Resolved => "办结",
            State::Closed => "办结归档",
            State::Evaluated => "回访",
            State::Reopened => "重办",
            State::Duplicate => "重复件",
            State::Withdrawn => "撤单",
        },
        Feed::Police => match state {
            State::Filed => "接警",
            State::Transferred => "转12345",
            State::Closed if class == Class::Invalid => "无效警情",
            State::Closed => "已处置",
            _ => "处置中",
        },
        Feed::Grid => match state {
            State::Filed => "采集上报",
            State::Verified => "核实立案",
            State::Dispatched | State::Transferred => "任务派遣",
            State::Returned => "退单",
            State::Suspended => "挂账",
            State::Resolved => "处理反馈",
            State::Closed => "核查结案",
            State::Evaluated => "综合评价",
            _ => "任务处置",
        },
        Feed::Petition => match state {
            State::Filed => "登记",
            State::Dispatched => "转送",
            State::Extended => "延长办理期限",
            State::Resolved => "办理完毕",
            _ => "办理中",
        },
        Feed::Device => match state {
            State::Filed => "alarm",
            _ => "cleared",
        },
    }
}
