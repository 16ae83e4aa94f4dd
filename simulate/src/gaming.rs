//! How departments play with their figures, with truth: closing bursts at the end of a month, stopped clocks, closing times written back,
//! reports made to fill a quota.

use crate::calendar::{Calendar, DAY_S};
use crate::life::{Life, State};
use crate::random::Random;

/// How a case was played with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gamed {
    /// Not at all.
    No,
    /// Called done on the month's last working day, before it was.
    MonthEndClose,
    /// The time it was done is written before the limit, though it was behind.
    Backdated,
    /// Set aside just before the limit, so that the clock stands.
    ClockStopped,
    /// Nothing happened: a patrol made the report to fill its quota.
    SelfMade,
}

impl Gamed {
    /// The word in the truth tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::MonthEndClose => "month_end_close",
            Self::Backdated => "backdated",
            Self::ClockStopped => "clock_stopped",
            Self::SelfMade => "self_made",
        }
    }
}

/// The unit says it is done; `done` is when it truly is.
pub fn resolve(life: &mut Life, calendar: &Calendar, done: u32, random: &mut Random) {
    let last = life.last();
    let month_end = calendar.last_working_day_of_month(last.at / DAY_S);
    life.overdue = last.due > 0 && done > last.due;
    let closes_early =
        last.at < month_end * DAY_S + 50_000 && done / DAY_S > month_end && done / DAY_S <= month_end + 10;
    if closes_early && random.chance(350) {
        life.gamed = Gamed::MonthEndClose;
        let change = life.add(
            month_end * DAY_S + random.between(50_400, 64_200),
            State::Resolved,
            last.holder,
        );
        change.ended = change.at;
        return;
    }
    if life.overdue && last.due > last.at + 7_200 && random.chance(150) {
        life.gamed = Gamed::ClockStopped;
        life.add(last.due - random.between(600, 7_200), State::Suspended, last.holder);
        life.add(
            done.saturating_sub(random.between(600, 3_600)),
            State::InProgress,
            last.holder,
        );
    }
    let writes_back = life.gamed == Gamed::No && life.overdue && last.due > last.at + 20_000 && random.chance(130);
    let change = life.add(done, State::Resolved, last.holder);
    change.ended = change.at;
    if writes_back {
        change.ended = change.due - random.between(600, 14_400);
        life.gamed = Gamed::Backdated;
    }
}

/// A report made up at the desk is closed within minutes.
pub fn self_made(life: &mut Life, random: &mut Random) {
    life.gamed = Gamed::SelfMade;
    let last = life.last();
    let change = life.add(last.at + random.between(20, 240), State::Closed, last.holder);
    change.ended = change.at;
}

/// Reports a full city's patrols make up on a day: some always, many on the month's last three working days.
pub fn self_made_reports(calendar: &Calendar, day: u32) -> f64 {
    if !calendar.day(day).kind.is_worked() {
        return 4.0;
    }
    let left = (day..=calendar.last_working_day_of_month(day))
        .filter(|&day| calendar.day(day).kind.is_worked())
        .count();
    if left > 0 && left <= 3 { 150.0 } else { 18.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_filled_on_the_last_three_working_days_of_a_month() {
        let calendar = Calendar::new();
        // January 2025 ends, for offices, on Monday the 27th; Sunday the 26th is worked.
        let busy: Vec<u32> = (0..31)
            .filter(|&day| self_made_reports(&calendar, day) > 100.0)
            .map(|day| day + 1)
            .collect();
        assert_eq!(busy, [24, 26, 27]);
    }
}
