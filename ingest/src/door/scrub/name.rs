//! Names of people: behind a context word, before a title, before a number.

use std::sync::LazyLock;

use ahash::AHashSet;

use super::word::ends_in_title;
use super::{Span, is_han, narrow};

/// Common surnames, without those that mostly stand for something else before a title or after a context word (安, 车, 文, 和, 向 …).
const SURNAMES: &str = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈姚卢姜崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔汤尚温牛樊葛邢齐易乔伍庞颜倪庄聂章鲁岳翟殷詹申耿关焦左柳甘祝鲍涂祁纪欧甄裴柯阮桑尤骆麦卓谷宫蓝冉娄隋盛凌霍瞿翁阎傅滕";
const COMPOUND_SURNAMES: &[&str] = &[
    "欧阳", "司马", "上官", "诸葛", "东方", "皇甫", "尉迟", "公孙", "令狐", "慕容", "司徒", "夏侯", "端木", "南宫",
    "长孙", "宇文",
];
/// Characters that go on after a name and hardly ever stand in one.
const AFTER_NAME: &str = "称说报来投在电于的诉求反是与及向到对因住手联先女已再希认觉提咨询今昨前当，";
/// Characters that may stand right before a full name.
const BEFORE_NAME: &str = "民的叫主户居系由找与被位名给请让及对跟问人";

/// What may stand between a name and its number.
const NUMBER_LABELS: &[&str] = &[
    "联系电话",
    "联系方式",
    "电话号码",
    "手机号码",
    "手机号",
    "身份证号",
    "身份证",
    "电话",
    "手机",
    "号码",
];
/// Characters that end a verb, a number's label or a place, and hardly ever a name.
const NO_NAME_END: &str = "打拨话电系呼叫加是为号码机线问到给并或和及与至在等式的请区县市镇乡村路街道巷里园苑楼室店院校站局所队门桥湾处部科组会社场厂证房期费款单";
/// Words that begin like a name.
const NO_NAMES: &[&str] = &[
    "严重", "严格", "周围", "周边", "周一", "周二", "周三", "周四", "周五", "周六", "周日", "周末", "马上", "方便",
    "方面", "方向", "高度", "高空", "高压", "高温", "任何", "任务", "万元", "程度", "程序", "金额", "钱款", "于是",
    "白天", "白色", "黄色", "温度", "龙头", "孔洞", "左右", "左边", "关于", "关闭", "申诉", "凌晨", "石头", "江边",
    "段时",
];

static SURNAME_SET: LazyLock<AHashSet<char>> = LazyLock::new(|| SURNAMES.chars().collect());

fn is_surname(character: char) -> bool {
    SURNAME_SET.contains(&character)
}

pub(super) fn name_after(text: &str, mut at: usize, certain: bool) -> Option<Span> {
    let mut told = false;
    for character in text[at..].chars().take(3) {
        match character {
            '：' | ':' | '是' | '为' | '叫' | '系' => told = true,
            ' ' | '　' | '，' | '(' | '（' => {}
            _ => break,
        }
        at += character.len_utf8();
    }
    let mut han = ['\0'; 5];
    let mut length = 0;
    for character in text[at..].chars().take(5) {
        if !is_han(character) {
            break;
        }
        han[length] = character;
        length += 1;
    }
    let taken = name_length(&han[..length], certain, told)?;
    let end = at + han[..taken].iter().map(|character| character.len_utf8()).sum::<usize>();
    Some(Span {
        start: at,
        end,
        token: "[name]",
    })
}

/// How many of the Han characters are a name.
fn name_length(han: &[char], certain: bool, told: bool) -> Option<usize> {
    if han.len() < 2 || han[1] == '某' {
        return None;
    }
    let surname = if is_compound(han[0], han[1]) {
        2
    } else if is_surname(han[0]) {
        1
    } else {
        return (certain && told && han.len() <= 4 && !han.contains(&'不') && !han.contains(&'无'))
            .then_some(han.len());
    };
    let ends = |at: usize| han.get(at).is_none_or(|next| AFTER_NAME.contains(*next));
    // A name has one or two characters behind the surname; where both could be, a known way to go on decides.
    if han.len() <= surname || AFTER_NAME.contains(han[surname]) {
        None
    } else if ends(surname + 1) {
        Some(surname + 1)
    } else {
        (certain || told || ends(surname + 2)).then_some(surname + 2)
    }
}

fn is_compound(first: char, second: char) -> bool {
    COMPOUND_SURNAMES.iter().any(|surname| {
        let mut characters = surname.chars();
        characters.next() == Some(first) && characters.next() == Some(second)
    })
}

pub(super) fn name_before(text: &str, start: usize, full: bool) -> Option<Span> {
    // Nearest first.
    let mut before = ['\0'; 4];
    for (slot, character) in before.iter_mut().zip(text[..start].chars().rev()) {
        *slot = character;
    }
    let named = |count: usize| is_surname(before[count - 1]);
    let begins = |count: usize| !is_han(before[count]) || BEFORE_NAME.contains(before[count]);
    let all_han = |count: usize| before[..count].iter().all(|character| is_han(*character));
    if before[0] == '某' || (before[0] == '任' && matches!(before[1], '主' | '责' | '担')) {
        return None;
    }
    let count = if full && all_han(3) && named(3) && begins(3) {
        3
    } else if all_han(2) && (is_compound(before[1], before[0]) || (full && named(2) && begins(2))) {
        2
    } else if named(1) {
        1
    } else if full && all_han(2) && named(2) {
        2
    } else {
        return None;
    };
    let length: usize = before[..count].iter().map(|character| character.len_utf8()).sum();
    Some(Span {
        start: start - length,
        end: start,
        token: "[name]",
    })
}

/// A full name that stands right before a phone or an identity number, or before the word for it.
pub(super) fn name_before_number(text: &str, start: usize) -> Option<Span> {
    let mut head = &text[..start];
    loop {
        let bare = head.trim_end_matches(|character| matches!(narrow(character), ' ' | ':' | '(' | '-' | '/' | '、'));
        let shorter = NUMBER_LABELS.iter().find_map(|label| bare.strip_suffix(label));
        let shorter = shorter.unwrap_or(bare);
        if shorter.len() == head.len() {
            break;
        }
        head = shorter;
    }
    // In reading order.
    let mut han = ['\0'; 4];
    for (slot, character) in han.iter_mut().rev().zip(head.chars().rev()) {
        if !is_han(character) {
            break;
        }
        *slot = character;
    }
    let given = |count: usize| {
        han[4 - count..]
            .iter()
            .all(|&character| character != '\0' && character != '某')
    };
    let length = [4, 3, 2].into_iter().find(|&length| {
        let name = &han[4 - length..];
        let surname = if length > 2 && is_compound(name[0], name[1]) {
            2
        } else {
            1
        };
        (surname == 2 || (length < 4 && is_surname(name[0]))) && given(length)
    })?;
    let name: String = han[4 - length..].iter().collect();
    // A surname with a title is not a full name, and is found by its title.
    let is_word =
        ends_in_title(&name) || NO_NAME_END.contains(han[3]) || NO_NAMES.iter().any(|word| name.starts_with(word));
    (!is_word).then_some(Span {
        start: head.len() - name.len(),
        end: head.len(),
        token: "[name]",
    })
}

pub(super) fn english_name(text: &str, start: usize, end: usize) -> Option<Span> {
    let head = text[start..].chars().next()?;
    let glued = text[..start].chars().next_back().is_some_and(char::is_alphanumeric);
    // "MR " in capitals is more often a code.
    if glued || (head == 'M' && text[start + 1..].starts_with('R')) {
        return None;
    }
    let mut name_end = end;
    for (index, word) in text[end..].split_inclusive(' ').take(3).enumerate() {
        let bare = word.trim_end_matches(|character: char| !character.is_alphabetic());
        let mut letters = bare.chars();
        let capitalised =
            letters.next().is_some_and(char::is_uppercase) && letters.next().is_none_or(char::is_lowercase);
        if !capitalised || index == 2 {
            break;
        }
        name_end = end + text[end..name_end].len() + bare.len();
        if bare.len() + 1 != word.len() || !word.ends_with(' ') {
            break;
        }
        name_end += 1;
    }
    let name_end = end + text[end..name_end].trim_end().len();
    (name_end > end).then_some(Span {
        start: end,
        end: name_end,
        token: "[name]",
    })
}
