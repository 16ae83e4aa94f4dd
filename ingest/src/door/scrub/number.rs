//! Phones, identity numbers and bank cards: runs of digits, read through width, Chinese digits and separators.
//!
//! A run is a sequence of groups of digits. Groups are joined by up to three separators, or by nothing where the kind of digit changes
//! (`138零零`). Every window of groups is compared with closed lists of shapes, the longest first.

use smallvec::SmallVec;

use super::{Span, is_han, narrow};

/// Fewest digits of anything we take out.
pub(super) const LEAST_DIGITS: usize = 7;
/// A window has at most this many digits (0086 and an identity number is not a thing).
const MOST_DIGITS: usize = 20;

#[derive(Debug, Clone, Copy)]
struct Group {
    /// Bytes of the text.
    start: usize,
    end: usize,
    /// Digits in the run's buffer.
    first: usize,
    length: usize,
    chinese: bool,
    /// What stands before it: `n` nothing, ` `, `-`, `.`, `)`, `~` a mixture.
    separator: u8,
    /// Part of a decimal number.
    decimal: bool,
    /// Followed by X, and where that ends.
    letter_x: Option<usize>,
}

struct Run<'a> {
    text: &'a str,
    digits: SmallVec<[u8; 32]>,
    groups: SmallVec<[Group; 4]>,
}

/// Finds what is made of digits. A text with fewer than [`LEAST_DIGITS`] of them, together or not, holds nothing.
pub(super) fn find(text: &str, spans: &mut Vec<Span>) {
    let mut run = Run {
        text,
        digits: SmallVec::new(),
        groups: SmallVec::new(),
    };
    // Separators since the last digit: how many, and which.
    let mut separators = 0_u32;
    let mut separator = b'n';
    for (at, character) in text.char_indices() {
        if let Some((digit, chinese)) = digit_of(character) {
            run.push(
                at,
                at + character.len_utf8(),
                digit,
                chinese,
                separator,
                separators == 0,
            );
            (separators, separator) = (0, b'n');
            continue;
        }
        if run.groups.is_empty() {
            continue;
        }
        if separators == 0
            && matches!(narrow(character), 'X' | 'x')
            && let Some(group) = run.groups.last_mut()
        {
            group.letter_x = Some(at + character.len_utf8());
        }
        match separator_of(character) {
            Some(kind) if separators < 3 => {
                separator = if separators == 0 || separator == kind {
                    kind
                } else if separator == b')' || kind == b'(' {
                    b')'
                } else {
                    b'~'
                };
                separators += 1;
            }
            _ => {
                run.settle(spans);
                (separators, separator) = (0, b'n');
            }
        }
    }
    run.settle(spans);
}

/// Whether it is a digit of any width or script.
pub(super) fn is_digit(character: char) -> bool {
    digit_of(character).is_some()
}

fn digit_of(character: char) -> Option<(u8, bool)> {
    match character {
        '0'..='9' => Some((character as u8, false)),
        '０'..='９' => Some((b'0' + (character as u32 - '０' as u32) as u8, false)),
        '〇' | '零' | '洞' => Some((b'0', true)),
        '一' | '幺' => Some((b'1', true)),
        '二' => Some((b'2', true)),
        '三' => Some((b'3', true)),
        '四' => Some((b'4', true)),
        '五' => Some((b'5', true)),
        '六' => Some((b'6', true)),
        '七' => Some((b'7', true)),
        '八' => Some((b'8', true)),
        '九' => Some((b'9', true)),
        _ => None,
    }
}

fn separator_of(character: char) -> Option<u8> {
    match character {
        ' ' | '\u{3000}' | '\u{a0}' => Some(b' '),
        '-' | '－' | '—' | '–' | '‐' | '_' => Some(b'-'),
        '.' | '．' | '·' | '•' => Some(b'.'),
        ')' | '）' => Some(b')'),
        '(' | '（' => Some(b'('),
        _ => None,
    }
}

impl Run<'_> {
    fn push(&mut self, start: usize, end: usize, digit: u8, chinese: bool, separator: u8, touching: bool) {
        self.digits.push(digit);
        if touching
            && let Some(group) = self.groups.last_mut()
            && group.chinese == chinese
        {
            group.end = end;
            group.length += 1;
            return;
        }
        let first = self.digits.len() - 1;
        self.groups.push(Group {
            start,
            end,
            first,
            length: 1,
            chinese,
            separator,
            decimal: false,
            letter_x: None,
        });
    }

    /// The run has ended: finds the windows that point at a person, and empties it.
    fn settle(&mut self, spans: &mut Vec<Span>) {
        if self.digits.len() >= LEAST_DIGITS {
            self.mark_decimals();
            let mut first = 0;
            while first < self.groups.len() {
                first = match self.longest_from(first) {
                    Some((last, span)) => {
                        spans.push(span);
                        last + 1
                    }
                    None => first + 1,
                };
            }
        }
        self.digits.clear();
        self.groups.clear();
    }

    /// Exactly two groups around one dot are a decimal number (a coordinate, an amount), not a phone.
    fn mark_decimals(&mut self) {
        for index in 1..self.groups.len() {
            let dot = |group: &Group| group.separator == b'.';
            let alone = dot(&self.groups[index])
                && self.groups[index].start - self.groups[index - 1].end == 1
                && (index < 2 || !dot(&self.groups[index - 1]))
                && !self.groups.get(index + 1).is_some_and(dot);
            if alone && !self.says_phone(self.groups[index - 1].start) {
                self.groups[index - 1].decimal = true;
                self.groups[index].decimal = true;
            }
        }
    }

    fn longest_from(&self, first: usize) -> Option<(usize, Span)> {
        let mut last = first;
        let mut length = 0;
        // How far a window may reach.
        while last < self.groups.len() && length + self.groups[last].length <= MOST_DIGITS {
            length += self.groups[last].length;
            last += 1;
        }
        (first..last).rev().find_map(|last| {
            let window = &self.groups[first..=last];
            let length: usize = window.iter().map(|group| group.length).sum();
            if length < LEAST_DIGITS || window.iter().any(|group| group.decimal) {
                return None;
            }
            let shape = Shape {
                window,
                digits: &self.digits[window[0].first..window[0].first + length],
            };
            let (token, end) = self.token(&shape)?;
            Some((
                last,
                Span {
                    start: self.start_of(&shape, token),
                    end,
                    token,
                },
            ))
        })
    }

    /// Takes the `+` or `(` of a phone with it.
    fn start_of(&self, shape: &Shape<'_>, token: &str) -> usize {
        let start = shape.window[0].start;
        let bracketed = shape.window.get(1).is_some_and(|group| group.separator == b')');
        match self.text[..start].chars().next_back() {
            Some(character @ ('+' | '＋')) if token == "[phone]" => start - character.len_utf8(),
            Some(character @ ('(' | '（')) if token == "[phone]" && bracketed => start - character.len_utf8(),
            _ => start,
        }
    }

    fn token(&self, shape: &Shape<'_>) -> Option<(&'static str, usize)> {
        let start = shape.window[0].start;
        let last = shape.window[shape.window.len() - 1];
        let before = self.text[..start].chars().next_back().map(narrow);
        let glued = before.is_some_and(|character| character.is_ascii_alphabetic());
        if shape.digits.len() == 17
            && shape.is_plain()
            && let Some(end) = last.letter_x
        {
            return Some(("[id]", end));
        }
        let token = if shape.is_identity_number() {
            "[id]"
        } else if glued && !self.says_phone(start) {
            return None;
        } else if shape.is_mobile()
            || shape.is_landline()
            || shape.is_north_american()
            || (before == Some('+') && shape.is_plain() && (10..=15).contains(&shape.digits.len()))
            || (shape.may_be_local_phone() && self.says_phone(start))
        {
            "[phone]"
        } else if shape.is_social_security_number() && !before.is_some_and(is_han) {
            "[id]"
        } else if self.is_card(shape) {
            "[card]"
        } else {
            return None;
        };
        Some((token, last.end))
    }

    fn is_card(&self, shape: &Shape<'_>) -> bool {
        if !(16..=19).contains(&shape.digits.len()) {
            return false;
        }
        let start = shape.window[0].start;
        if shape.is_plain() {
            let serial = begins_with_date(shape.digits) || self.says(start, SERIAL_WORDS);
            return !serial || (passes_luhn(shape.digits) && !begins_with_date(shape.digits));
        }
        let Some((last, fours)) = shape.window.split_last() else {
            return false;
        };
        let grouped = fours.iter().all(|group| group.length == 4) && last.length <= 4;
        grouped && matches!(shape.digits[0], b'3'..=b'6') && (passes_luhn(shape.digits) || self.says(start, CARD_WORDS))
    }

    fn says_phone(&self, start: usize) -> bool {
        self.says(start, PHONE_WORDS)
    }

    /// Whether one of the words stands in the few characters before.
    fn says(&self, start: usize, words: &[&str]) -> bool {
        let mut from = start.saturating_sub(24);
        while !self.text.is_char_boundary(from) {
            from += 1;
        }
        let before = self.text[from..start].to_ascii_lowercase();
        words.iter().any(|word| before.contains(word))
    }
}

const PHONE_WORDS: &[&str] = &[
    "电话", "手机", "座机", "致电", "来电", "联系", "号码", "tel", "phone", "call", "cell", "mobile", "fax",
];
const SERIAL_WORDS: &[&str] = &[
    "工单",
    "单号",
    "编号",
    "案件",
    "受理号",
    "流水",
    "订单",
    "xy",
    "case",
    "order",
    "request",
    "ticket",
];
const CARD_WORDS: &[&str] = &["卡", "账号", "帐号", "账户", "card", "account"];

/// A window of groups and its digits, without separators.
struct Shape<'a> {
    window: &'a [Group],
    digits: &'a [u8],
}

impl Shape<'_> {
    /// One group, or groups with nothing between them.
    fn is_plain(&self) -> bool {
        self.window[1..].iter().all(|group| group.separator == b'n')
    }

    fn lengths_are(&self, shapes: &[&[usize]]) -> bool {
        shapes.iter().any(|shape| {
            shape.len() == self.window.len()
                && self
                    .window
                    .iter()
                    .zip(*shape)
                    .all(|(group, length)| group.length == *length)
        })
    }

    fn is_spelled_out(&self) -> bool {
        self.window.len() > 1 && self.window.iter().all(|group| group.length == 1)
    }

    /// Separators between groups, from the second group on.
    fn separators_are(&self, allowed: &[u8]) -> bool {
        self.window[1..].iter().all(|group| allowed.contains(&group.separator))
    }

    fn without_first(&self) -> Shape<'_> {
        Shape {
            window: &self.window[1..],
            digits: &self.digits[self.window[0].length..],
        }
    }

    fn is_mobile(&self) -> bool {
        const SHAPES: &[&[usize]] = &[
            &[3, 4, 4],
            &[3, 8],
            &[7, 4],
            &[4, 7],
            &[3, 3, 5],
            &[4, 4, 3],
            &[4, 3, 4],
            &[5, 6],
            &[6, 5],
            &[3, 4, 2, 2],
            &[3, 2, 2, 2, 2],
        ];
        let first = &self.digits[..self.window[0].length];
        if self.window.len() > 1 && matches!(first, b"86" | b"0086" | b"086") {
            return self.without_first().is_mobile();
        }
        if self.is_plain() {
            return [&b""[..], b"86", b"0086", b"086", b"0"]
                .iter()
                .any(|prefix| self.digits.strip_prefix(*prefix).is_some_and(is_mobile_number));
        }
        if is_mobile_number(self.digits) {
            return self.lengths_are(SHAPES) || self.is_spelled_out();
        }
        self.lengths_are(&[&[5, 4, 4]]) && self.digits.strip_prefix(b"86").is_some_and(is_mobile_number)
    }

    /// Chinese landline with its area code.
    fn is_landline(&self) -> bool {
        let area = match self.digits {
            [b'0', b'1', b'0', ..] | [b'0', b'2', ..] => 3,
            [b'0', b'3'..=b'9', b'1'..=b'9', ..] => 4,
            _ => return false,
        };
        let number = &self.digits[area.min(self.digits.len())..];
        let long_enough = if area == 3 {
            number.len() == 8
        } else {
            matches!(number.len(), 7 | 8)
        };
        long_enough
            && matches!(number[0], b'2'..=b'8')
            && (self.is_plain()
                || self.lengths_are(&[&[area, 7], &[area, 8], &[area, 4, 4], &[area, 3, 4], &[area, 4, 3]]))
    }

    fn is_north_american(&self) -> bool {
        if self.window.len() == 4 && self.window[0].length == 1 && self.digits[0] == b'1' {
            return self.without_first().is_north_american();
        }
        self.lengths_are(&[&[3, 3, 4]])
            && self.separators_are(b"-. )")
            && matches!(self.digits[0], b'2'..=b'9')
            && matches!(self.digits[3], b'2'..=b'9')
    }

    fn may_be_local_phone(&self) -> bool {
        let first = matches!(self.digits[0], b'2'..=b'9');
        match self.digits.len() {
            7 => first && (self.is_plain() || self.lengths_are(&[&[3, 4]])),
            8 => first && !begins_with_date(self.digits) && (self.is_plain() || self.lengths_are(&[&[4, 4]])),
            10 => first && self.is_plain(),
            11 => self.is_plain() && self.digits[0] == b'1',
            _ => false,
        }
    }

    fn is_social_security_number(&self) -> bool {
        self.lengths_are(&[&[3, 2, 4]])
            && self.separators_are(b"-")
            && self.digits[0] != b'9'
            && !matches!(&self.digits[..3], b"000" | b"666")
    }

    /// 18 or 15 digits with a province and a date of birth; the check digit is not asked.
    fn is_identity_number(&self) -> bool {
        const LONG: &[&[usize]] = &[
            &[6, 8, 4],
            &[6, 4, 4, 4],
            &[14, 4],
            &[6, 12],
            &[10, 8],
            &[3, 3, 8, 4],
            &[3, 3, 4, 4, 4],
            &[4, 4, 4, 4, 2],
        ];
        let (shaped, date) = match self.digits.len() {
            18 => (
                self.is_plain() || self.lengths_are(LONG) || self.is_spelled_out(),
                &self.digits[6..14],
            ),
            15 => (self.is_plain() || self.lengths_are(&[&[6, 6, 3]]), &self.digits[6..12]),
            _ => return false,
        };
        let dated = if date.len() == 8 {
            begins_with_date(date) || date.starts_with(b"18")
        } else {
            is_month_day(&date[2..])
        };
        shaped && dated && is_province(self.digits)
    }
}

fn is_mobile_number(digits: &[u8]) -> bool {
    digits.len() == 11 && digits[0] == b'1' && matches!(digits[1], b'3'..=b'9')
}

fn is_province(digits: &[u8]) -> bool {
    let region = (digits[0] - b'0') * 10 + digits[1] - b'0';
    matches!(region, 11..=15 | 21..=23 | 31..=37 | 41..=46 | 50..=54 | 61..=65 | 71 | 81..=83)
}

/// YYYYMMDD of the 20th or 21st century.
fn begins_with_date(digits: &[u8]) -> bool {
    digits.len() >= 8 && matches!(&digits[..2], b"19" | b"20") && is_month_day(&digits[4..8])
}

fn is_month_day(digits: &[u8]) -> bool {
    let two = |high: u8, low: u8| (high - b'0') * 10 + (low - b'0');
    (1..=12).contains(&two(digits[0], digits[1])) && (1..=31).contains(&two(digits[2], digits[3]))
}

fn passes_luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(index, digit)| {
            let value = u32::from(digit - b'0') << (index % 2);
            if value > 9 { value - 9 } else { value }
        })
        .sum();
    sum.is_multiple_of(10)
}
