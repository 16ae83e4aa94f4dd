//! A manifest's clock section, compiled: from text to [`Reading`].

use super::calendar::{DAY_S, days_from_civil, month_start};
use super::format::{Fields, Format};
use super::zone::{Span, Zone};
use crate::city::manifest::{ClockSection, DoubleRule, GapRule};
use crate::rejection::RejectionCode;
use crate::v1::TimePrecision;

/// What a clock's text means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The instant, microseconds since 1970 UTC; of a date the local start of its day, of a month that of its first day.
    pub at_us: i64,
    /// The finest field the text has.
    pub precision: TimePrecision,
    /// Local calendar date in the city's zone, days since 1970-01-01.
    pub local_date: i32,
    /// Local hour 0..23 in the city's zone; -1 where only the date or the month is known.
    pub local_hour: i32,
    /// First day of the local month, days since 1970-01-01.
    pub local_month: i32,
    /// The local time never was and was shifted forward.
    pub shifted: bool,
    /// The local time was twice.
    pub ambiguous: bool,
}

/// A compiled clock. Reads without allocation and without state.
#[derive(Debug, Clone)]
pub struct Clock {
    formats: Vec<Format>,
    zone: Zone,
    /// The city's zone, where the clock's own differs.
    city_zone: Option<Zone>,
    /// Day numbers that mean nothing.
    junk: Vec<i32>,
    gap: GapRule,
    double: DoubleRule,
}

impl Clock {
    /// Compiles a clock; `default_zone` is the city's IANA zone. The error says what is wrong with the section.
    pub fn compile(section: &ClockSection, default_zone: &str) -> Result<Self, String> {
        if section.formats.is_empty() {
            return Err("a clock needs at least one format".to_owned());
        }
        let formats = section
            .formats
            .iter()
            .map(|format| Format::compile(format))
            .collect::<Result<_, _>>()?;
        let own = section.zone.as_deref().unwrap_or(default_zone);
        let date = Format::compile("%Y-%m-%d")?;
        let junk = section
            .junk
            .iter()
            .map(|text| {
                let fields = date
                    .parse(text)
                    .ok_or_else(|| format!("junk date \"{text}\" is not YYYY-MM-DD"))?;
                Ok(days_from_civil(fields.year, fields.month, fields.day))
            })
            .collect::<Result<_, String>>()?;
        Ok(Self {
            formats,
            zone: Zone::compile(own)?,
            city_zone: if own == default_zone {
                None
            } else {
                Some(Zone::compile(default_zone)?)
            },
            junk,
            gap: section.gap,
            double: section.double,
        })
    }

    /// Reads a text: [`RejectionCode::MissingTime`], `BadTime`, `JunkDate` or `TimeInGap` where it means no time.
    pub fn read(&self, text: &str) -> Result<Reading, RejectionCode> {
        let Some((fields, precision)) = self
            .formats
            .iter()
            .find_map(|format| Some((format.parse(text)?, format.precision())))
        else {
            let blank = text.trim().is_empty();
            return Err(if blank {
                RejectionCode::MissingTime
            } else {
                RejectionCode::BadTime
            });
        };
        let date = days_from_civil(fields.year, fields.month, fields.day);
        if self.junk.contains(&date) {
            return Err(RejectionCode::JunkDate);
        }
        self.resolve(&fields, date, precision)
    }

    fn resolve(&self, fields: &Fields, date: i32, precision: TimePrecision) -> Result<Reading, RejectionCode> {
        let date_only = matches!(precision, TimePrecision::Day | TimePrecision::Month);
        let seconds = i64::from(fields.hour * 3_600 + fields.minute * 60 + fields.second);
        let written_s = i64::from(date) * DAY_S + seconds;
        let (mut shifted, mut ambiguous) = (false, false);
        let (utc_s, own_offset_s) = if let Some(offset_s) = fields.offset_s {
            let utc_s = written_s - i64::from(offset_s);
            (utc_s, self.zone.offset_at(utc_s))
        } else {
            match self.zone.span_at_local(written_s) {
                Span::Once(offset_s) => (written_s - i64::from(offset_s), offset_s),
                // The first instant of a day whose midnight never was is the same shift, and no guess.
                Span::Never { before, after } => {
                    if self.gap == GapRule::Reject && !date_only {
                        return Err(RejectionCode::TimeInGap);
                    }
                    shifted = !date_only;
                    (written_s - i64::from(before), after)
                }
                Span::Twice { earlier, later } => {
                    ambiguous = !date_only;
                    let offset_s = if self.double == DoubleRule::Later && !date_only {
                        later
                    } else {
                        earlier
                    };
                    (written_s - i64::from(offset_s), offset_s)
                }
            }
        };
        let (local_date, local_hour) = if date_only {
            (date, -1)
        } else {
            let offset_s = self
                .city_zone
                .as_ref()
                .map_or(own_offset_s, |zone| zone.offset_at(utc_s));
            let local_s = utc_s + i64::from(offset_s);
            (
                local_s.div_euclid(DAY_S) as i32,
                (local_s.rem_euclid(DAY_S) / 3_600) as i32,
            )
        };
        Ok(Reading {
            at_us: utc_s * 1_000_000 + i64::from(fields.micros),
            precision,
            local_date,
            local_hour,
            local_month: month_start(local_date),
            shifted,
            ambiguous,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;

    fn section(formats: &[&str]) -> ClockSection {
        ClockSection {
            sql: "at".to_owned(),
            formats: formats.iter().map(|format| (*format).to_owned()).collect(),
            zone: None,
            junk: Vec::new(),
            gap: GapRule::Shift,
            double: DoubleRule::Earlier,
        }
    }

    fn st_louis() -> Clock {
        let mut section = section(&["%m/%d/%Y %H:%M", "%m/%d/%Y"]);
        section.junk = vec!["1900-01-01".to_owned()];
        Clock::compile(&section, "America/Chicago").unwrap()
    }

    fn utc_us(text: &str) -> i64 {
        text.parse::<jiff::Timestamp>().unwrap().as_microsecond()
    }

    #[test]
    fn an_unpadded_local_time_is_an_instant() {
        let reading = st_louis().read("7/4/2012 5:06").unwrap();
        assert_eq!(reading.at_us, utc_us("2012-07-04T10:06:00Z"));
        assert_eq!(reading.precision, TimePrecision::Minute);
        assert_eq!(reading.local_date, days_from_civil(2012, 7, 4));
        assert_eq!(reading.local_hour, 5);
        assert_eq!(reading.local_month, days_from_civil(2012, 7, 1));
    }

    #[test]
    fn a_date_alone_keeps_its_precision() {
        let reading = st_louis().read("12/31/2012").unwrap();
        assert_eq!(reading.at_us, utc_us("2012-12-31T06:00:00Z"));
        assert_eq!((reading.precision, reading.local_hour), (TimePrecision::Day, -1));
        let month = Clock::compile(&section(&["%B-%Y"]), "Asia/Shanghai")
            .unwrap()
            .read("March-2009")
            .unwrap();
        assert_eq!(month.local_date, days_from_civil(2009, 3, 1));
        assert_eq!((month.precision, month.local_hour), (TimePrecision::Month, -1));
    }

    #[test]
    fn a_local_time_that_never_was_is_shifted_or_refused() {
        let reading = st_louis().read("3/11/2012 2:30").unwrap();
        assert_eq!(reading.at_us, utc_us("2012-03-11T08:30:00Z"));
        assert_eq!((reading.shifted, reading.local_hour), (true, 3));
        let mut strict = section(&["%m/%d/%Y %H:%M"]);
        strict.gap = GapRule::Reject;
        let strict = Clock::compile(&strict, "America/Chicago").unwrap();
        assert_eq!(strict.read("3/11/2012 2:30"), Err(RejectionCode::TimeInGap));
        assert!(strict.read("3/11/2012 3:00").is_ok());
    }

    #[test]
    fn a_local_time_that_was_twice_is_the_earlier_unless_told() {
        let reading = st_louis().read("11/4/2012 1:30").unwrap();
        assert_eq!(
            (reading.at_us, reading.ambiguous),
            (utc_us("2012-11-04T06:30:00Z"), true)
        );
        let mut late = section(&["%m/%d/%Y %H:%M"]);
        late.double = DoubleRule::Later;
        let reading = Clock::compile(&late, "America/Chicago")
            .unwrap()
            .read("11/4/2012 1:30")
            .unwrap();
        assert_eq!((reading.at_us, reading.local_hour), (utc_us("2012-11-04T07:30:00Z"), 1));
    }

    #[test]
    fn junk_dates_are_refused_and_old_dates_stay() {
        let clock = st_louis();
        assert_eq!(clock.read("01/01/1900 0:00"), Err(RejectionCode::JunkDate));
        assert_eq!(
            clock.read("01/02/1900 0:00").map(|reading| reading.local_date),
            Ok(days_from_civil(1900, 1, 2))
        );
        assert_eq!(clock.read("6/1/1957 12:00").map(|reading| reading.local_hour), Ok(12));
        assert_eq!(clock.read("soon"), Err(RejectionCode::BadTime));
        assert_eq!(clock.read("  "), Err(RejectionCode::MissingTime));
    }

    #[test]
    fn a_clock_in_another_zone_has_the_citys_date() {
        let mut utc = section(&["%FT%TZ", "%F %T"]);
        utc.zone = Some("UTC".to_owned());
        let clock = Clock::compile(&utc, "Asia/Shanghai").unwrap();
        for text in ["2024-03-05T20:00:00Z", "2024-03-05 20:00:00"] {
            let reading = clock.read(text).unwrap();
            assert_eq!(
                (reading.local_date, reading.local_hour),
                (days_from_civil(2024, 3, 6), 4)
            );
        }
    }

    #[test]
    fn bostons_twelve_hour_clock_is_read() {
        let clock = Clock::compile(&section(&["%m/%d/%Y %I:%M:%S %p"]), "America/New_York").unwrap();
        let reading = clock.read("01/14/2015 03:04:41 PM").unwrap();
        assert_eq!(
            (reading.at_us, reading.precision),
            (utc_us("2015-01-14T20:04:41Z"), TimePrecision::Second)
        );
    }

    #[test]
    fn a_section_that_cannot_work_is_refused() {
        assert!(Clock::compile(&section(&[]), "UTC").is_err());
        assert!(Clock::compile(&section(&["%Y-%m-%d"]), "Mars/Olympus").is_err());
        let mut junk = section(&["%Y-%m-%d"]);
        junk.junk = vec!["01/01/1900".to_owned()];
        assert!(Clock::compile(&junk, "UTC").unwrap_err().contains("01/01/1900"));
    }
}
