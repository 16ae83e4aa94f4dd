//! Days: weekdays, public holidays and the make-up working days of 2025. Later years have weekends only: their holidays are decided year by year.

use shiyu_schemas::time::calendar::{civil_from_days, days_from_civil};

/// Seconds of a day.
pub const DAY_S: u32 = 86_400;
/// Days that can be simulated, with what they lead to.
pub const DAYS_MAX: u32 = 4_200;

/// What kind of day it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DayKind {
    /// An ordinary working day.
    Workday,
    /// Saturday or Sunday.
    Weekend,
    /// A public holiday.
    Holiday,
    /// A weekend day worked to make up for a holiday.
    MakeUp,
}

impl DayKind {
    /// The word in `calendar.csv`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Workday => "workday",
            Self::Weekend => "weekend",
            Self::Holiday => "holiday",
            Self::MakeUp => "make_up",
        }
    }

    /// Whether offices work.
    pub fn is_worked(self) -> bool {
        matches!(self, Self::Workday | Self::MakeUp)
    }
}

/// The public holidays of 2025: first day, days, name.
const HOLIDAYS: [((u32, u32), u32, &str); 6] = [
    ((1, 1), 1, "元旦"),
    ((1, 28), 8, "春节"),
    ((4, 4), 3, "清明节"),
    ((5, 1), 5, "劳动节"),
    ((5, 31), 3, "端午节"),
    ((10, 1), 8, "国庆节、中秋节"),
];
/// The working weekend days of 2025.
const MAKE_UPS: [(u32, u32); 5] = [(1, 26), (2, 8), (4, 27), (9, 28), (10, 11)];

/// One day.
#[derive(Debug, Clone, Copy)]
pub struct Day {
    /// Year.
    pub year: i32,
    /// Month, 1 to 12.
    pub month: u32,
    /// Day of the month.
    pub day: u32,
    /// 0 = Monday.
    pub weekday: u32,
    /// Its kind.
    pub kind: DayKind,
    /// Name of the holiday, else empty.
    pub name: &'static str,
    /// `2025-01-05`.
    pub text: [u8; 10],
    /// Working days before it, from the first day.
    worked_before: u32,
    /// First day of the next month, as an index.
    pub next_month: u32,
}

/// All days from the first one on.
#[derive(Debug)]
pub struct Calendar {
    days: Vec<Day>,
    worked: Vec<u32>,
}

impl Calendar {
    /// The calendar; day 0 is 2025-01-01.
    pub fn new() -> Self {
        let first = days_from_civil(2025, 1, 1);
        let (mut days, mut worked) = (Vec::new(), Vec::new());
        for index in 0..DAYS_MAX {
            let number = first + index as i32;
            let (year, month, day) = civil_from_days(number);
            let weekday = (number + 3).rem_euclid(7) as u32;
            let holiday = HOLIDAYS.iter().find(|((holiday_month, holiday_day), count, _)| {
                let start = days_from_civil(2025, *holiday_month, *holiday_day);
                (start..start + *count as i32).contains(&number)
            });
            let kind = match holiday {
                Some(_) => DayKind::Holiday,
                None if year == 2025 && MAKE_UPS.contains(&(month, day)) => DayKind::MakeUp,
                None if weekday >= 5 => DayKind::Weekend,
                None => DayKind::Workday,
            };
            let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            let mut text = [0; 10];
            text.copy_from_slice(format!("{year:04}-{month:02}-{day:02}").as_bytes());
            days.push(Day {
                year,
                month,
                day,
                weekday,
                kind,
                name: holiday.map_or("", |(_, _, name)| *name),
                text,
                worked_before: worked.len() as u32,
                next_month: (days_from_civil(next_year, next_month, 1) - first) as u32,
            });
            if kind.is_worked() {
                worked.push(index);
            }
        }
        Self { days, worked }
    }

    /// A day; beyond the calendar its last one.
    pub fn day(&self, index: u32) -> &Day {
        &self.days[(index as usize).min(self.days.len() - 1)]
    }

    /// The working day that lies this many working days after a day.
    pub fn after_working_days(&self, day: u32, count: u32) -> u32 {
        let from = self.day(day);
        let index = (from.worked_before + u32::from(from.kind.is_worked())) as usize + count as usize - 1;
        self.worked[index.min(self.worked.len() - 1)]
    }

    /// The last working day of a day's month.
    pub fn last_working_day_of_month(&self, day: u32) -> u32 {
        let next = self.day(day).next_month;
        let index = self.day(next).worked_before as usize;
        self.worked[index.saturating_sub(1).min(self.worked.len() - 1)]
    }
}

impl Default for Calendar {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spring_festival_is_made_up_for_and_working_days_skip_it() {
        let calendar = Calendar::new();
        let text = |index| String::from_utf8_lossy(&calendar.day(index).text).into_owned();
        assert_eq!(text(0), "2025-01-01");
        assert_eq!(calendar.day(0).kind, DayKind::Holiday);
        assert_eq!(calendar.day(0).weekday, 2);
        assert_eq!(calendar.day(25).kind, DayKind::MakeUp, "Sunday 26 January is worked");
        assert_eq!(text(calendar.after_working_days(26, 1)), "2025-02-05");
        assert_eq!(text(calendar.after_working_days(26, 4)), "2025-02-08");
        assert_eq!(text(calendar.last_working_day_of_month(4)), "2025-01-27");
        let worked = (0..365).filter(|day| calendar.day(*day).kind.is_worked()).count();
        assert_eq!(worked, 248, "the year's working days");
    }
}
