//! House, unit and room numbers: an address keeps its road and its place, not its door.
//!
//! Chinese addresses lose `123号`, `3号楼`, `2单元`, `501室` and a trailing `3-2-501`; western ones lose the apartment (`APT 3B`, `#12`) and
//! keep the house number, as published address points and blocks do.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

use super::glance::number_starts;
use super::{Span, is_han, narrow, replace};

/// Longest first.
const SUFFIXES: &[&str] = &[
    "号楼", "号院", "号室", "号门", "单元", "房间", "号", "栋", "幢", "座", "层", "楼", "室", "户", "房", "门", "#",
];
/// What makes `2号` a name (a line, a bridge, a state road), not a house.
const AFTER_HAO: &str = "线街路桥井口坑塔站泵公国高省县乡大信码";

static APARTMENT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)(?:,\s*|\s+)(?:apt|apartment|unit|suite|ste|rm|room)\b\.?\s*#?\s*(?:[a-z]?-?\d+[a-z]?|[a-z])\b|,?\s*#\s*[a-z]?-?\d+[a-z]?\b")
        .expect("a constant")
});

#[derive(Debug, Clone, Copy)]
struct Item {
    start: usize,
    end: usize,
    suffix: &'static str,
}

/// Scrubs an address of people and cuts its house, unit and room numbers.
///
/// The second value says whether something other than house numbers was taken out.
pub fn scrub_address(address: &str) -> (Cow<'_, str>, bool) {
    let mut spans = Vec::new();
    let glance = super::find(address, &mut spans);
    let scrubbed = replace(address, spans);
    let personal = matches!(scrubbed, Cow::Owned(_));
    let cut = if !glance.has_numbers {
        None
    } else if scrubbed.is_ascii() {
        cut_apartment(&scrubbed)
    } else {
        cut_house(&scrubbed)
    };
    match cut {
        Some(cut) => (Cow::Owned(cut), personal),
        None => (scrubbed, personal),
    }
}

fn cut_apartment(address: &str) -> Option<String> {
    if !address.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match APARTMENT.replace_all(address, "") {
        Cow::Owned(cut) => Some(cut),
        Cow::Borrowed(_) => None,
    }
}

fn cut_house(address: &str) -> Option<String> {
    let items = items(address, true);
    if items.is_empty() {
        return None;
    }
    let mut cut = String::with_capacity(address.len());
    let mut done = 0;
    for item in items {
        cut.push_str(&address[done..item.start]);
        done = item.end;
    }
    cut.push_str(&address[done..]);
    let kept = cut
        .trim_end_matches([' ', ',', '，', '、', '-', '－', '附', '之'])
        .len();
    cut.truncate(kept);
    Some(cut)
}

/// Finds rooms in free text: house numbers in a row, one of them a unit or a room.
pub(super) fn find_rooms(text: &str, spans: &mut Vec<Span>) {
    if !text.contains("单元") && !text.contains('室') {
        return;
    }
    let mut row: Option<(Span, bool)> = None;
    for item in items(text, false) {
        let home = matches!(item.suffix, "单元" | "室" | "号室");
        row = match row {
            Some((span, had)) if item.start == span.end => Some((Span { end: item.end, ..span }, had || home)),
            other => {
                spans.extend(other.filter(|(_, home)| *home).map(|(span, _)| span));
                Some((
                    Span {
                        start: item.start,
                        end: item.end,
                        token: "[room]",
                    },
                    home,
                ))
            }
        };
    }
    spans.extend(row.filter(|(_, home)| *home).map(|(span, _)| span));
}

/// All numbers with a suffix; with `tail` also a bare number at the end.
fn items(text: &str, tail: bool) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    let mut done = 0;
    for (at, _) in number_starts(text) {
        if at < done {
            continue;
        }
        let previous = text[..at].chars().next_back().unwrap_or('\0');
        let number = number_length(&text[at..], previous);
        if number == 0 {
            continue;
        }
        let rest = &text[at + number..];
        let end = at + number;
        done = end;
        if let Some(suffix) = SUFFIXES.iter().find(|suffix| rest.starts_with(**suffix))
            && !is_name(suffix, &rest[suffix.len()..])
        {
            done = end + suffix.len();
            items.push(Item {
                start: at,
                end: done,
                suffix,
            });
            continue;
        }
        let bare = text[at..end]
            .chars()
            .all(|digit| narrow(digit).is_ascii_digit() || matches!(narrow(digit), '-'));
        let follows = is_han(previous) || items.last().is_some_and(|item| item.end == at);
        if tail && bare && follows && rest.trim().is_empty() {
            items.push(Item {
                start: at,
                end,
                suffix: "",
            });
        }
    }
    items
}

/// Whether the suffix goes on into something that is no house.
fn is_name(suffix: &str, after: &str) -> bool {
    let next = after.chars().next();
    match suffix {
        "号" => next.is_some_and(|next| AFTER_HAO.contains(next)),
        // 三室一厅
        "室" => after.chars().nth(1) == Some('厅'),
        "门" | "房" => next.is_some_and(|next| matches!(next, '峡' | '山' | '镇' | '村')),
        _ => false,
    }
}

/// What [`number_length`] can begin with.
pub(super) fn is_number_start(character: char) -> bool {
    narrow(character).is_ascii_alphanumeric() || NUMERALS.contains(character) || LETTERS.contains(character)
}

const NUMERALS: &str = "零〇一二三四五六七八九十百";
const LETTERS: &str = "甲乙丙丁东西南北中";

/// Bytes of a house-like number at the start: digits with letters and hyphens, a letter, Chinese numerals, 甲乙丙丁 or a direction.
fn number_length(text: &str, previous: char) -> usize {
    let first = text.chars().next().map_or('\0', narrow);
    if first.is_ascii_digit() {
        return text
            .chars()
            .take_while(|character| {
                let plain = narrow(*character);
                plain.is_ascii_alphanumeric() || plain == '-' || *character == '—'
            })
            .map(char::len_utf8)
            .sum();
    }
    if first.is_ascii_alphabetic() {
        let length: usize = text
            .chars()
            .take_while(|character| narrow(*character).is_ascii_alphanumeric() || narrow(*character) == '-')
            .map(char::len_utf8)
            .sum();
        return if previous.is_ascii_alphanumeric() || length > 12 {
            0
        } else {
            length
        };
    }
    let numerals: usize = text
        .chars()
        .take(5)
        .take_while(|character| NUMERALS.contains(*character))
        .map(char::len_utf8)
        .sum();
    if numerals > 0 {
        return numerals;
    }
    let mut characters = text.chars();
    match (characters.next(), characters.as_str()) {
        (Some(letter), rest)
            if LETTERS.contains(letter)
                && (rest.starts_with("单元") || rest.starts_with('户') || rest.starts_with('室')) =>
        {
            letter.len_utf8()
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chinese_address_keeps_its_road_and_loses_its_door() {
        for (address, kept) in [
            (
                "云澜市东湖区人民路123号阳光小区3号楼2单元501室",
                "云澜市东湖区人民路阳光小区",
            ),
            ("人民路１２３号", "人民路"),
            ("阳光小区三号楼二单元", "阳光小区"),
            ("阳光小区3-2-501", "阳光小区"),
            ("阳光小区A座1203", "阳光小区"),
            ("阳光小区3#2单元东户", "阳光小区"),
            ("地铁2号线人民广场站", "地铁2号线人民广场站"),
            ("110国道与五一路路口", "110国道与五一路路口"),
            ("人民公园东门", "人民公园东门"),
        ] {
            assert_eq!(scrub_address(address).0, kept, "{address}");
        }
    }

    #[test]
    fn a_western_address_keeps_its_house_and_loses_its_apartment() {
        for (address, kept) in [
            ("4853 S WOOD", "4853 S WOOD"),
            (
                "100-102 Brooks St  Brighton  MA  02135",
                "100-102 Brooks St  Brighton  MA  02135",
            ),
            ("12 Main St Apt 3B, Boston", "12 Main St, Boston"),
            ("12 MAIN ST #4", "12 MAIN ST"),
            ("3352 N BROADWAY ", "3352 N BROADWAY "),
            ("1200 UNITED AVE", "1200 UNITED AVE"),
        ] {
            assert_eq!(scrub_address(address).0, kept, "{address}");
        }
    }

    #[test]
    fn a_phone_in_an_address_is_told_as_personal() {
        assert_eq!(
            scrub_address("人民路13800138000"),
            (Cow::Borrowed("人民路[phone]"), true)
        );
        assert!(!scrub_address("人民路5号").1);
    }
}
