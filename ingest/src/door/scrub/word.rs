//! Triggers, and what is read in their neighbourhood: names, plates, e-mail, accounts, numbers of documents.

use std::sync::LazyLock;

use ahash::AHashMap;

use super::glance::{Glance, look};
use super::name::{english_name, name_after, name_before};
use super::{Span, narrow};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trigger {
    /// A name follows.
    Name,
    /// A name may follow; only taken out where the sentence goes on in a known way.
    NameMaybe,
    /// A name stands before, full or surname only.
    Title,
    /// A surname stands before.
    Office,
    /// English title or phrase, a capitalised name follows.
    EnglishName,
    /// A number of a messenger follows.
    Account,
    /// The number of a document follows.
    Document,
    /// The first character of a plate.
    Province,
    /// A plate follows.
    Plate,
    /// The middle of an e-mail address.
    At,
}

const TRIGGERS: &[(Trigger, &[&str])] = &[
    (
        Trigger::Name,
        &["我叫", "名叫", "本人叫", "姓名", "名字叫", "名字是", "联系人"],
    ),
    (
        Trigger::NameMaybe,
        &[
            "诉求人",
            "报警人",
            "投诉人",
            "来电人",
            "举报人",
            "反映人",
            "当事人",
            "申请人",
            "信访人",
            "来访人",
            "户主",
            "业主",
            "车主",
            "房东",
        ],
    ),
    (
        Trigger::Title,
        &["先生", "女士", "小姐", "师傅", "大爷", "大妈", "阿姨", "大姐", "大哥"],
    ),
    (
        Trigger::Office,
        &["同志", "老师", "医生", "书记", "主任", "队长", "经理"],
    ),
    (
        Trigger::EnglishName,
        &["mr. ", "mrs. ", "ms. ", "mr ", "mrs ", "my name is ", "caller is "],
    ),
    (
        Trigger::Account,
        &["qq", "扣扣", "微信", "weixin", "wechat", "wx", "vx", "v信"],
    ),
    (
        Trigger::Document,
        &["护照", "通行证", "军官证", "士兵证", "回乡证", "passport"],
    ),
    (
        Trigger::Province,
        &[
            "京", "津", "沪", "渝", "冀", "豫", "云", "辽", "黑", "湘", "皖", "鲁", "新", "苏", "浙", "赣", "鄂", "桂",
            "甘", "晋", "蒙", "陕", "吉", "闽", "贵", "粤", "青", "藏", "川", "宁", "琼",
        ],
    ),
    (Trigger::Plate, &["plate", "plates"]),
    (Trigger::At, &["@", "＠"]),
];

/// A trigger and how it is written; ASCII letters in either case.
pub(super) struct TriggerWord {
    pub(super) text: &'static str,
    trigger: Trigger,
}

impl TriggerWord {
    /// Whether it is the first character of a plate.
    pub(super) fn is_plate(&self) -> bool {
        self.trigger == Trigger::Province
    }

    fn stands_at(&self, bytes: &[u8]) -> bool {
        bytes
            .get(..self.text.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(self.text.as_bytes()))
    }
}

/// All of them, longest first.
pub(super) static TRIGGER_WORDS: LazyLock<Vec<TriggerWord>> = LazyLock::new(|| {
    let word = |trigger: &Trigger, text: &&'static str| TriggerWord {
        text,
        trigger: *trigger,
    };
    let words = TRIGGERS
        .iter()
        .flat_map(|(trigger, words)| words.iter().map(move |text| word(trigger, text)));
    let mut words: Vec<TriggerWord> = words.collect();
    words.sort_by_key(|word| usize::MAX - word.text.len());
    words
});

/// Of each first character its words, longest first.
static WORDS_OF_FIRST: LazyLock<AHashMap<char, Vec<&'static TriggerWord>>> = LazyLock::new(|| {
    let mut words: AHashMap<char, Vec<&TriggerWord>> = AHashMap::new();
    for word in TRIGGER_WORDS.iter() {
        words
            .entry(word.text.chars().next().unwrap_or_default())
            .or_default()
            .push(word);
    }
    words
});

/// Finds what stands around the triggers, and tells what else the text may hold.
pub(super) fn find(text: &str, spans: &mut Vec<Span>) -> Glance {
    look(text, |start| {
        let word = trigger_at(text, start)?;
        let end = start + word.text.len();
        let found = match word.trigger {
            Trigger::Name => name_after(text, end, true),
            Trigger::NameMaybe => name_after(text, end, false),
            Trigger::Title => name_before(text, start, true),
            Trigger::Office => name_before(text, start, false),
            Trigger::EnglishName => english_name(text, start, end),
            Trigger::Account => account(text, start, end),
            Trigger::Document => document(text, end),
            Trigger::Province => chinese_plate(text, start, end),
            Trigger::Plate => plate_after(text, end),
            Trigger::At => email(text, start, end),
        };
        spans.extend(found);
        Some(end)
    })
}

/// Whether the last characters are a title.
pub(super) fn ends_in_title(text: &str) -> bool {
    TRIGGERS
        .iter()
        .filter(|(trigger, _)| matches!(trigger, Trigger::Title | Trigger::Office))
        .any(|(_, titles)| titles.iter().any(|title| text.ends_with(title)))
}

/// The longest trigger that begins at a place.
fn trigger_at(text: &str, start: usize) -> Option<&'static TriggerWord> {
    let rest = &text[start..];
    let words = WORDS_OF_FIRST.get(&rest.chars().next()?.to_ascii_lowercase())?;
    words.iter().copied().find(|word| word.stands_at(rest.as_bytes()))
}

fn account(text: &str, start: usize, end: usize) -> Option<Span> {
    let ascii_word = text[start..end].is_ascii();
    if ascii_word
        && text[..start]
            .chars()
            .next_back()
            .is_some_and(|character| character.is_ascii_alphanumeric())
    {
        return None;
    }
    let (at, told) = skip_filler(text, end);
    let length = token_length(&text[at..]);
    let token = &text[at..at + length];
    let digits = token.bytes().filter(u8::is_ascii_digit).count();
    let likely = (5..=20).contains(&length) && (digits > 0 || (told && !ascii_word));
    (likely && (told || digits >= 5 || !ascii_word)).then_some(Span {
        start: at,
        end: at + length,
        token: "[account]",
    })
}

fn document(text: &str, end: usize) -> Option<Span> {
    let (at, _) = skip_filler(text, end);
    let length = token_length(&text[at..]);
    let digits = text[at..at + length].bytes().filter(u8::is_ascii_digit).count();
    ((6..=20).contains(&length) && digits >= 5).then_some(Span {
        start: at,
        end: at + length,
        token: "[id]",
    })
}

/// Skips what may stand between a context word and its value; says whether a word or colon announced it.
fn skip_filler(text: &str, mut at: usize) -> (usize, bool) {
    let mut told = false;
    for filler in ["number", "no.", "no", "id", "#"] {
        let rest = text[at..].trim_start();
        if rest
            .get(..filler.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(filler))
            && !rest[filler.len()..].starts_with(|next: char| next.is_ascii_alphanumeric())
        {
            at = text.len() - rest.len() + filler.len();
            told = true;
        }
    }
    for character in text[at..].chars().take(6) {
        match character {
            '号' | '码' | '是' | '为' | '：' | ':' | '账' | '帐' | '字' | '第' | '=' => told = true,
            ' ' | '　' | '(' | '（' | '加' => {}
            _ => break,
        }
        at += character.len_utf8();
    }
    (at, told)
}

fn token_length(text: &str) -> usize {
    text.bytes()
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        .count()
}

/// Province, letter, then five or six letters and digits, or four and 警, 学, 挂, 港, 澳.
fn chinese_plate(text: &str, start: usize, end: usize) -> Option<Span> {
    let mut characters = text[end..]
        .char_indices()
        .map(|(at, character)| (end + at, character))
        .peekable();
    let separator = |character: char| matches!(narrow(character), ' ' | '-' | '.') || matches!(character, '·' | '•');
    while characters.next_if(|(_, character)| separator(*character)).is_some() {}
    characters.next_if(|(_, character)| narrow(*character).is_ascii_alphabetic())?;
    let (mut length, mut digits, mut last, mut separators) = (0, 0, end, 0);
    while let Some((at, character)) = characters.peek().copied() {
        let plain = narrow(character);
        if plain.is_ascii_alphanumeric() {
            length += 1;
            digits += usize::from(plain.is_ascii_digit());
            last = at + character.len_utf8();
        } else if length == 4 && matches!(character, '警' | '学' | '挂' | '港' | '澳') {
            length += 1;
            last = at + character.len_utf8();
            characters.next();
            break;
        } else if separators < 2 && length < 5 && separator(character) {
            separators += 1;
        } else {
            break;
        }
        characters.next();
    }
    (matches!(length, 5 | 6) && digits >= 1).then_some(Span {
        start,
        end: last,
        token: "[plate]",
    })
}

/// "plate 7ABC123", "plate number: ABC 123" in English text.
fn plate_after(text: &str, end: usize) -> Option<Span> {
    let (at, _) = skip_filler(text, end);
    if at == end {
        return None;
    }
    let mut length = token_length(&text[at..]);
    let rest = &text[at + length..];
    // A plate in two groups: "ABC 123".
    if length <= 4
        && let Some(second) = rest.strip_prefix(' ')
    {
        let more = token_length(second);
        if (2..=4).contains(&more) && second.bytes().take(more).any(|byte| byte.is_ascii_digit()) {
            length += 1 + more;
        }
    }
    let token = &text[at..at + length];
    let digits = token.bytes().filter(u8::is_ascii_digit).count();
    ((4..=9).contains(&length) && digits >= 1 && !token.bytes().any(|byte| byte.is_ascii_lowercase())).then_some(Span {
        start: at,
        end: at + length,
        token: "[plate]",
    })
}

fn email(text: &str, start: usize, end: usize) -> Option<Span> {
    let local = |character: char| {
        let plain = narrow(character);
        plain.is_ascii_alphanumeric() || matches!(plain, '.' | '_' | '%' | '+' | '-')
    };
    let head: usize = text[..start]
        .chars()
        .rev()
        .take_while(|character| local(*character))
        .map(char::len_utf8)
        .sum();
    // The domain ends behind its last label of two letters or more; "GRAND@DR. KING" has none.
    let (mut tail, mut domain, mut letters, mut dotted) = (0, 0, 0, false);
    for character in text[end..].chars() {
        let plain = narrow(character);
        tail += character.len_utf8();
        if plain.is_ascii_alphanumeric() || plain == '-' {
            letters += 1;
            if dotted && letters >= 2 {
                domain = tail;
            }
        } else if plain == '.' && letters > 0 {
            (dotted, letters) = (true, 0);
        } else {
            break;
        }
    }
    (head > 0 && domain > 0).then_some(Span {
        start: start - head,
        end: end + domain,
        token: "[email]",
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Where triggers stand, by asking every place for every one of them.
    fn slowly(text: &str) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        let mut done = 0;
        for (at, _) in text.char_indices() {
            let word = TRIGGER_WORDS.iter().find(|word| word.stands_at(&text.as_bytes()[at..]));
            if let Some(word) = word.filter(|_| at >= done) {
                done = at + word.text.len();
                found.push((at, done));
            }
        }
        found
    }

    proptest! {
        #[test]
        fn no_trigger_is_overlooked(text in "(我叫|名叫|本人|联系|先生|大姐|[Mm][Rr]s?\\.? |qq|QQ|微信|passport|plates?|[@＠]|京|京A|晋·A|[大名叫a1 我]){0,12}") {
            let mut found = Vec::new();
            look(&text, |start| {
                let end = start + trigger_at(&text, start)?.text.len();
                found.push((start, end));
                Some(end)
            });
            // A province without a plate behind it is no trigger's work.
            let mut expected = slowly(&text);
            let is_plate = |(start, end): &(usize, usize)| WORDS_OF_FIRST
                .get(&text[*start..*end].chars().next().unwrap_or_default())
                .is_some_and(|words| words[0].is_plate());
            expected.retain(|hit| !is_plate(hit) || found.contains(hit));
            prop_assert_eq!(found, expected);
        }
    }
}
