//! Formats of a source's clock, strftime style.
//!
//! `%Y %y %m %B %b %d %H %I %M %S %f %p %z %a %A %F %T %R %D %%`; everything else is literal text, blanks match any number of blanks.
//! Digits may lack zero padding. `%.f` is an optional fraction with its dot. A trailing `Z` means UTC.

use super::calendar::days_in_month;
use crate::v1::TimePrecision;

/// One compiled format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    items: Vec<Item>,
    precision: TimePrecision,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Year,
    ShortYear,
    Month,
    MonthName,
    Day,
    Hour,
    HalfHour,
    Meridiem,
    Minute,
    Second,
    Fraction,
    DotFraction,
    Weekday,
    Offset,
    Utc,
    Blank,
    Literal(String),
}

/// What a text says, checked against the calendar; fields the format lacks have their first value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields {
    /// 1..=9999.
    pub year: i32,
    /// 1..=12.
    pub month: u32,
    /// 1..=31.
    pub day: u32,
    /// 0..=23.
    pub hour: u32,
    /// 0..=59.
    pub minute: u32,
    /// 0..=59 (a leap second reads as 59).
    pub second: u32,
    /// 0..=999,999.
    pub micros: u32,
    /// Offset from UTC in seconds, where the text carries one.
    pub offset_s: Option<i32>,
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const WEEKDAYS: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];

impl Format {
    /// Compiles a format; the error says what is wrong with it.
    pub fn compile(format: &str) -> Result<Self, String> {
        let mut items = Vec::new();
        let mut characters = format.trim().chars();
        while let Some(character) = characters.next() {
            match character {
                '%' => push_directive(&mut items, &mut characters, format)?,
                blank if blank.is_whitespace() => {
                    if items.last() != Some(&Item::Blank) {
                        items.push(Item::Blank);
                    }
                }
                literal => push_literal(&mut items, literal),
            }
        }
        if let Some(Item::Literal(text)) = items.last_mut()
            && text.ends_with('Z')
        {
            text.pop();
            if text.is_empty() {
                items.pop();
            }
            items.push(Item::Utc);
        }
        let precision = precision_of(&items, format)?;
        Ok(Self { items, precision })
    }

    /// The finest field the format has.
    pub fn precision(&self) -> TimePrecision {
        self.precision
    }

    /// Reads a text; `None` where it is not wholly of this format or names no date of the calendar.
    pub fn parse(&self, text: &str) -> Option<Fields> {
        let mut input = text.trim().as_bytes();
        let mut fields = Fields {
            year: 1,
            month: 1,
            day: 1,
            hour: 0,
            minute: 0,
            second: 0,
            micros: 0,
            offset_s: None,
        };
        let mut afternoon = None;
        for item in &self.items {
            match item {
                Item::Year => fields.year = digits(&mut input, 4, 4)? as i32,
                Item::ShortYear => {
                    let short = digits(&mut input, 2, 2)? as i32;
                    fields.year = if short < 69 { 2000 + short } else { 1900 + short };
                }
                Item::Month => fields.month = digits(&mut input, 1, 2)?,
                Item::MonthName => fields.month = 1 + name(&mut input, &MONTHS)? as u32,
                Item::Day => fields.day = digits(&mut input, 1, 2)?,
                Item::Hour | Item::HalfHour => {
                    fields.hour = digits(&mut input, 1, 2)?;
                    if *item == Item::HalfHour && !(1..=12).contains(&fields.hour) {
                        return None;
                    }
                }
                Item::Meridiem => afternoon = Some(meridiem(&mut input)?),
                Item::Minute => fields.minute = digits(&mut input, 1, 2)?,
                Item::Second => fields.second = digits(&mut input, 1, 2)?,
                Item::Fraction => fields.micros = fraction(&mut input)?,
                Item::DotFraction => {
                    if let Some(rest) = input.strip_prefix(b".") {
                        input = rest;
                        fields.micros = fraction(&mut input)?;
                    }
                }
                Item::Weekday => {
                    name(&mut input, &WEEKDAYS)?;
                }
                Item::Offset => fields.offset_s = Some(offset(&mut input)?),
                Item::Utc => {
                    input = input.strip_prefix(b"Z").or_else(|| input.strip_prefix(b"z"))?;
                    fields.offset_s = Some(0);
                }
                Item::Blank => input = input.trim_ascii_start(),
                Item::Literal(literal) => input = input.strip_prefix(literal.as_bytes())?,
            }
        }
        if let Some(afternoon) = afternoon {
            fields.hour = fields.hour % 12 + if afternoon { 12 } else { 0 };
        }
        if fields.second == 60 {
            fields.second = 59;
        }
        let valid = input.is_empty()
            && fields.year >= 1
            && (1..=days_in_month(fields.year, fields.month)).contains(&fields.day)
            && fields.hour < 24
            && fields.minute < 60
            && fields.second < 60;
        valid.then_some(fields)
    }
}

fn push_directive(items: &mut Vec<Item>, characters: &mut std::str::Chars<'_>, format: &str) -> Result<(), String> {
    let directive = characters
        .next()
        .ok_or_else(|| format!("format \"{format}\" ends in a lone %"))?;
    match directive {
        'Y' => items.push(Item::Year),
        'y' => items.push(Item::ShortYear),
        'm' => items.push(Item::Month),
        'B' | 'b' | 'h' => items.push(Item::MonthName),
        'd' | 'e' => items.push(Item::Day),
        'H' | 'k' => items.push(Item::Hour),
        'I' | 'l' => items.push(Item::HalfHour),
        'p' | 'P' => items.push(Item::Meridiem),
        'M' => items.push(Item::Minute),
        'S' => items.push(Item::Second),
        'f' => items.push(Item::Fraction),
        'z' => items.push(Item::Offset),
        'a' | 'A' => items.push(Item::Weekday),
        '%' => push_literal(items, '%'),
        '.' if characters.next() == Some('f') => items.push(Item::DotFraction),
        'F' => expand(items, "%Y-%m-%d")?,
        'T' => expand(items, "%H:%M:%S")?,
        'R' => expand(items, "%H:%M")?,
        'D' => expand(items, "%m/%d/%y")?,
        unknown => return Err(format!("format \"{format}\" has an unknown directive %{unknown}")),
    }
    Ok(())
}

fn expand(items: &mut Vec<Item>, format: &str) -> Result<(), String> {
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character == '%' {
            push_directive(items, &mut characters, format)?;
        } else {
            push_literal(items, character);
        }
    }
    Ok(())
}

fn push_literal(items: &mut Vec<Item>, character: char) {
    if let Some(Item::Literal(text)) = items.last_mut() {
        text.push(character);
    } else {
        items.push(Item::Literal(character.to_string()));
    }
}

fn precision_of(items: &[Item], format: &str) -> Result<TimePrecision, String> {
    let has = |item: &Item| items.contains(item);
    let steps = [
        (
            has(&Item::Year) || has(&Item::ShortYear),
            "a year (%Y)",
            TimePrecision::Month,
        ),
        (
            has(&Item::Month) || has(&Item::MonthName),
            "a month (%m)",
            TimePrecision::Month,
        ),
        (has(&Item::Day), "a day (%d)", TimePrecision::Day),
        (
            has(&Item::Hour) || has(&Item::HalfHour),
            "an hour (%H)",
            TimePrecision::Hour,
        ),
        (has(&Item::Minute), "a minute (%M)", TimePrecision::Minute),
        (has(&Item::Second), "a second (%S)", TimePrecision::Second),
    ];
    let present = steps.iter().filter(|(present, ..)| *present).count();
    if let Some((_, missing, _)) = steps.iter().take(present.max(2)).find(|(present, ..)| !present) {
        return Err(format!("format \"{format}\" needs {missing}"));
    }
    if has(&Item::HalfHour) != has(&Item::Meridiem) {
        return Err(format!("format \"{format}\" needs both %I and %p, or neither"));
    }
    Ok(steps[present - 1].2)
}

fn digits(input: &mut &[u8], least: usize, most: usize) -> Option<u32> {
    let mut value = 0;
    let mut length = 0;
    while length < most
        && let Some(byte) = input.get(length)
        && byte.is_ascii_digit()
    {
        value = value * 10 + u32::from(byte - b'0');
        length += 1;
    }
    if length < least {
        return None;
    }
    *input = &input[length..];
    Some(value)
}

fn fraction(input: &mut &[u8]) -> Option<u32> {
    let length = input.iter().take(9).take_while(|byte| byte.is_ascii_digit()).count();
    let mut nanos = digits(input, 1, 9)?;
    for _ in length..9 {
        nanos *= 10;
    }
    Some(nanos / 1_000)
}

/// Index of the name the input begins with: whole, or its first three letters.
fn name(input: &mut &[u8], names: &[&str]) -> Option<usize> {
    let length = input.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let word = &input[..length];
    let index = names.iter().position(|name| {
        word.eq_ignore_ascii_case(name.as_bytes()) || (length == 3 && word.eq_ignore_ascii_case(&name.as_bytes()[..3]))
    })?;
    *input = &input[length..];
    if length == 3
        && let Some(rest) = input.strip_prefix(b".")
    {
        *input = rest;
    }
    Some(index)
}

fn meridiem(input: &mut &[u8]) -> Option<bool> {
    for (word, afternoon) in [("AM", false), ("PM", true), ("A.M.", false), ("P.M.", true)] {
        if let Some((head, rest)) = input.split_at_checked(word.len())
            && head.eq_ignore_ascii_case(word.as_bytes())
        {
            *input = rest;
            return Some(afternoon);
        }
    }
    for (word, afternoon) in [("上午", false), ("下午", true)] {
        if let Some(rest) = input.strip_prefix(word.as_bytes()) {
            *input = rest;
            return Some(afternoon);
        }
    }
    None
}

fn offset(input: &mut &[u8]) -> Option<i32> {
    if let Some(rest) = input.strip_prefix(b"Z").or_else(|| input.strip_prefix(b"z")) {
        *input = rest;
        return Some(0);
    }
    let sign = match input.first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    *input = &input[1..];
    let hours = digits(input, 2, 2)? as i32;
    if let Some(rest) = input.strip_prefix(b":") {
        *input = rest;
    }
    let minutes = if input.first().is_some_and(u8::is_ascii_digit) {
        digits(input, 2, 2)? as i32
    } else {
        0
    };
    (hours <= 18 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;

    fn read(format: &str, text: &str) -> Option<(i32, u32, u32, u32, u32, u32)> {
        let fields = Format::compile(format).unwrap().parse(text)?;
        Some((
            fields.year,
            fields.month,
            fields.day,
            fields.hour,
            fields.minute,
            fields.second,
        ))
    }

    #[test]
    fn noon_and_midnight_of_a_twelve_hour_clock_are_twelve() {
        let format = "%m/%d/%Y %I:%M:%S %p";
        assert_eq!(read(format, "01/14/2015 12:04:41 AM"), Some((2015, 1, 14, 0, 4, 41)));
        assert_eq!(read(format, "01/14/2015 12:04:41 pm"), Some((2015, 1, 14, 12, 4, 41)));
        assert_eq!(read(format, "01/14/2015 03:04:41 PM"), Some((2015, 1, 14, 15, 4, 41)));
        assert_eq!(read(format, "01/14/2015 13:04:41 PM"), None);
    }

    #[test]
    fn digits_may_lack_padding() {
        assert_eq!(read("%m/%d/%Y %H:%M", " 1/5/2014 3:07 "), Some((2014, 1, 5, 3, 7, 0)));
        assert_eq!(read("%Y%m%d%H%M%S", "20240305070809"), Some((2024, 3, 5, 7, 8, 9)));
        assert_eq!(
            read("%Y年%m月%d日 %H时%M分", "2024年3月5日 7时8分"),
            Some((2024, 3, 5, 7, 8, 0))
        );
    }

    #[test]
    fn the_whole_text_must_match() {
        assert_eq!(read("%Y-%m-%d", "2013-01-31T00:00"), None);
        assert_eq!(read("%m/%d/%Y", "1/5/14"), None);
        assert_eq!(read("%Y-%m-%d", "2013-02-29"), None);
        assert_eq!(read("%H:%M %d/%m/%y", "24:00 01/01/99"), None);
        assert_eq!(read("%D", "12/31/99"), Some((1999, 12, 31, 0, 0, 0)));
    }

    #[test]
    fn names_of_months_and_offsets_are_read() {
        assert_eq!(read("%B-%Y", "September-2009"), Some((2009, 9, 1, 0, 0, 0)));
        assert_eq!(read("%d %b %Y", "3 SEP 2009"), Some((2009, 9, 3, 0, 0, 0)));
        let format = Format::compile("%FT%T%.f%z").unwrap();
        let fields = format.parse("2024-03-05T07:08:09.25+08:00").unwrap();
        assert_eq!((fields.micros, fields.offset_s), (250_000, Some(28_800)));
        assert_eq!(
            format.parse("2024-03-05T07:08:09-0530").unwrap().offset_s,
            Some(-19_800)
        );
        assert_eq!(
            Format::compile("%FT%TZ")
                .unwrap()
                .parse("2024-03-05T07:08:09Z")
                .unwrap()
                .offset_s,
            Some(0)
        );
    }

    #[test]
    fn the_finest_field_is_the_precision() {
        for (format, precision) in [
            ("%B-%Y", TimePrecision::Month),
            ("%Y-%m-%d", TimePrecision::Day),
            ("%Y-%m-%d %H", TimePrecision::Hour),
            ("%m/%d/%Y %H:%M", TimePrecision::Minute),
            ("%m/%d/%Y %I:%M:%S %p", TimePrecision::Second),
        ] {
            assert_eq!(Format::compile(format).unwrap().precision(), precision);
        }
    }

    #[test]
    fn formats_that_cannot_name_a_time_are_refused() {
        for format in [
            "%Y",
            "%d/%m",
            "%Y-%m-%d %I:%M",
            "%Y-%m-%d %M",
            "%Y-%q-%d",
            "%H:%M",
            "%Y-%m-%d %",
        ] {
            assert!(Format::compile(format).is_err(), "{format}");
        }
    }
}
