//! One look at every character of a text: where a trigger may stand, and whether there is enough of what else is looked for.
//!
//! Most texts hold nothing that points at a person; this look is all they cost.

use std::sync::LazyLock;

use super::address::is_number_start;
use super::narrow;
use super::number::is_digit;
use super::word::TRIGGER_WORDS;

/// A digit of any width or script.
const DIGIT: u8 = 1;
/// Stands in every word for a room.
const ROOM: u8 = 1 << 1;
/// First character of a trigger of two characters or more.
const FIRST: u8 = 1 << 2;
/// Second character of one; the bit above [`FIRST`].
const SECOND: u8 = FIRST << 1;
/// A trigger of one character that needs a letter or a separator behind it.
const PLATE: u8 = 1 << 4;
/// A letter or a separator; the bit above [`PLATE`].
const BEHIND_PLATE: u8 = PLATE << 1;
/// A trigger of one character.
const ALONE: u8 = 1 << 6;
/// What a house number can begin with.
const NUMBER_START: u8 = 1 << 7;

/// Codes of the basic plane.
const CODES: usize = 1 << 16;

/// What each character of the basic plane may be.
static KINDS: LazyLock<Box<[u8]>> = LazyLock::new(|| {
    let mut kinds: Box<[u8]> = ('\0'..='\u{ffff}')
        .fold(vec![0_u8; CODES], |mut kinds, character| {
            let plain = narrow(character);
            let behind_plate = plain.is_ascii_alphabetic() || matches!(plain, ' ' | '-' | '.' | '·' | '•');
            kinds[character as usize] = flag(is_digit(character), DIGIT)
                | flag(matches!(character, '室' | '单'), ROOM)
                | flag(behind_plate, BEHIND_PLATE)
                | flag(is_number_start(character), NUMBER_START);
            kinds
        })
        .into();
    for word in TRIGGER_WORDS.iter() {
        let mut characters = word.text.chars();
        match (characters.next(), characters.next()) {
            (Some(only), None) => mark(&mut kinds, only, if word.is_plate() { PLATE } else { ALONE }),
            (Some(first), Some(second)) => {
                mark(&mut kinds, first, FIRST);
                mark(&mut kinds, second, SECOND);
            }
            _ => {}
        }
    }
    kinds
});

fn flag(is: bool, kind: u8) -> u8 {
    if is { kind } else { 0 }
}

fn mark(kinds: &mut [u8], character: char, kind: u8) {
    for written in [character.to_ascii_lowercase(), character.to_ascii_uppercase()] {
        kinds[written as usize] |= kind;
    }
}

/// What a text may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Glance {
    /// Digits, together or not.
    pub(super) digits: usize,
    /// Whether a word for a room may be in it.
    pub(super) has_rooms: bool,
    /// Whether a house number may be in it.
    pub(super) has_numbers: bool,
}

/// Looks at a text. `trigger_at` is asked about every place where a trigger may begin, in order; it says where the trigger ends, if
/// there is one. Triggers do not overlap.
pub(super) fn look(text: &str, mut trigger_at: impl FnMut(usize) -> Option<usize>) -> Glance {
    let kinds = &**KINDS;
    let (mut digits, mut seen) = (0, 0);
    let (mut before, mut before_at, mut done) = (0, 0, 0);
    for (at, character) in text.char_indices() {
        let kind = kinds.get(character as usize).copied().unwrap_or(0);
        digits += usize::from(kind & DIGIT);
        seen |= kind;
        if (before << 1) & kind & (SECOND | BEHIND_PLATE) != 0 && before_at >= done {
            done = trigger_at(before_at).unwrap_or(done);
        }
        if kind & ALONE != 0 && at >= done {
            done = trigger_at(at).unwrap_or(done);
        }
        (before, before_at) = (kind, at);
    }
    Glance {
        digits,
        has_rooms: seen & ROOM != 0,
        has_numbers: seen & NUMBER_START != 0,
    }
}

/// The places where a house number may begin.
pub(super) fn number_starts(text: &str) -> impl Iterator<Item = (usize, char)> {
    let kinds = &**KINDS;
    text.char_indices()
        .filter(|(_, character)| kinds.get(*character as usize).copied().unwrap_or(0) & NUMBER_START != 0)
}
