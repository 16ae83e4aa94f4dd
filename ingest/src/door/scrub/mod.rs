//! Takes what points at a person out of text: phones, identity numbers, bank cards, plates, e-mail, accounts, names, rooms.
//!
//! Shapes decide, never check digits alone: one mistyped digit makes every identity number fail its check digit, so a checksum may only
//! raise confidence. What is taken out leaves a token (`[phone]`, `[id]`, `[card]`, `[plate]`, `[email]`, `[account]`, `[name]`, `[room]`).
//!
//! - [`number`]: everything made of digits, whatever their width and separators
//! - [`word`]: what stands behind a context word, a province's character or around an `@`
//! - [`name`]: names, behind a context word, before a title or a number
//! - [`address`]: house, unit and room numbers
//! - [`glance`]: the one look that most texts cost
//!
//! Not here: a model of language. Names stay that stand without a context word, a title or a number behind them.

pub mod address;
mod glance;
mod name;
mod number;
mod word;

use std::borrow::Cow;

use glance::Glance;

/// A stretch of text to replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    start: usize,
    end: usize,
    token: &'static str,
}

/// Scrubs free text. Borrowed where nothing was found.
pub fn scrub(text: &str) -> Cow<'_, str> {
    let mut spans = Vec::new();
    find(text, &mut spans);
    replace(text, spans)
}

/// Scrubs free text and takes the rooms out of it ("2单元501室").
pub fn scrub_text(text: &str) -> Cow<'_, str> {
    let mut spans = Vec::new();
    if find(text, &mut spans).has_rooms {
        address::find_rooms(text, &mut spans);
    }
    replace(text, spans)
}

/// Finds all but rooms, and tells what else the text may hold.
fn find(text: &str, spans: &mut Vec<Span>) -> Glance {
    let glance = word::find(text, spans);
    if glance.digits >= number::LEAST_DIGITS {
        let first = spans.len();
        number::find(text, spans);
        for index in first..spans.len() {
            let Span { start, token, .. } = spans[index];
            if matches!(token, "[phone]" | "[id]") {
                spans.extend(name::name_before_number(text, start));
            }
        }
    }
    glance
}

/// Replaces spans by their tokens; where spans overlap the first (at a tie the longer) gives the token.
fn replace(text: &str, mut spans: Vec<Span>) -> Cow<'_, str> {
    if spans.is_empty() {
        return Cow::Borrowed(text);
    }
    spans.sort_unstable_by_key(|span| (span.start, usize::MAX - span.end));
    let mut scrubbed = String::with_capacity(text.len());
    let mut done = 0;
    for span in spans {
        if span.start >= done {
            scrubbed.push_str(&text[done..span.start]);
            scrubbed.push_str(span.token);
        }
        done = done.max(span.end);
    }
    scrubbed.push_str(&text[done..]);
    Cow::Owned(scrubbed)
}

/// A Han character of the basic block.
fn is_han(character: char) -> bool {
    ('\u{4e00}'..='\u{9fff}').contains(&character)
}

/// A full-width ASCII character as its ordinary one.
fn narrow(character: char) -> char {
    match character {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(character as u32 - 0xfee0).unwrap_or(character),
        '\u{3000}' => ' ',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;

    #[test]
    fn phones_leave_the_text_in_every_disguise() {
        for text in [
            "联系电话13800138000。",
            "请打138-0013-8000谢谢",
            "手机：１３８００１３８０００",
            "138 0013 8000",
            "1 3 8 0 0 1 3 8 0 0 0",
            "一三八零零一三八零零零",
            "幺三八洞洞幺三八洞洞洞",
            "138零零1380零零",
            "+86 138 0013 8000",
            "+8613800138000",
            "008613800138000",
            "电话一13800138000",
            "座机0351-1234567".replace("1234567", "2234567").as_str(),
            "(0351)2234567",
            "010-8888 6666",
            "01088886666",
            "来电号码 88886666",
            "(617) 555-1234",
            "call 617-555-1234 now",
            "617.555.1234",
            "1-617-555-1234",
            "phone 6175551234",
        ] {
            let scrubbed = scrub(text);
            assert!(scrubbed.contains("[phone]"), "{text} → {scrubbed}");
            let digits = scrubbed.chars().filter(|character| character.is_numeric()).count();
            assert!(digits == 0 || scrubbed.contains('一'), "{text} → {scrubbed}");
        }
        assert_eq!(scrub("电话13800138000或13900139000"), "电话[phone]或[phone]");
        assert_eq!(scrub("13800138000 13900139000"), "[phone] [phone]");
    }

    #[test]
    fn identity_numbers_leave_even_with_a_wrong_check_digit() {
        for text in [
            "身份证110105198001011234",
            "11010519800101123X",
            "１１０１０５１９８００１０１１２３ｘ",
            "110105 19800101 1234",
            "130503670401001",
            "护照号E12345678",
            "passport no. G12345678",
            "SSN 123-45-6789",
        ] {
            let scrubbed = scrub(text);
            assert!(scrubbed.contains("[id]"), "{text} → {scrubbed}");
            assert!(
                !scrubbed.chars().any(|character| narrow(character).is_ascii_digit()),
                "{text} → {scrubbed}"
            );
        }
    }

    #[test]
    fn bank_cards_leave() {
        assert_eq!(scrub("卡号6222020200112345678"), "卡号[card]");
        assert_eq!(scrub("4111 1111 1111 1111"), "[card]");
        assert_eq!(scrub("银行卡 6222 0202 0011 2345 678"), "银行卡 [card]");
    }

    #[test]
    fn plates_mail_and_accounts_leave() {
        assert_eq!(scrub("晋A12345违停"), "[plate]违停");
        assert_eq!(scrub("粤B·D12345占道"), "[plate]占道");
        assert_eq!(scrub("京ａ１２３４５"), "[plate]");
        assert_eq!(scrub("晋A1234警"), "[plate]");
        assert_eq!(scrub("license plate 7ABC123 parked"), "license plate [plate] parked");
        assert_eq!(scrub("写信到zhang.san@example.com吧"), "写信到[email]吧");
        assert_eq!(scrub("QQ：123456789"), "QQ：[account]");
        assert_eq!(scrub("微信号abc_12345联系"), "微信号[account]联系");
    }

    #[test]
    fn names_leave_behind_context_words_and_before_titles() {
        assert_eq!(scrub("我叫王小明，家住"), "我叫[name]，家住");
        assert_eq!(scrub("联系人：欧阳修文 电话"), "联系人：[name] 电话");
        assert_eq!(scrub("诉求人张三反映路灯不亮"), "诉求人[name]反映路灯不亮");
        assert_eq!(scrub("报警人李四称被盗"), "报警人[name]称被盗");
        assert_eq!(scrub("市民张先生来电"), "市民[name]先生来电");
        assert_eq!(scrub("找陈师傅修"), "找[name]师傅修");
        assert_eq!(scrub("Mr. Smith called"), "Mr. [name] called");
    }

    #[test]
    fn names_leave_before_numbers() {
        assert_eq!(scrub("请联系张三13800138000处理"), "请联系[name][phone]处理");
        assert_eq!(scrub("请联系王先生13800138000"), "请联系[name]先生[phone]");
        assert_eq!(scrub("刘主任电话13800138000"), "[name]主任电话[phone]");
        assert_eq!(scrub("村民王小明 138-0013-8000"), "村民[name] [phone]");
        assert_eq!(scrub("李四（电话：13800138000）反映"), "[name]（电话：[phone]）反映");
        assert_eq!(scrub("欧阳修文手机号13800138000"), "[name]手机号[phone]");
        assert_eq!(scrub("赵六身份证110105198001011234"), "[name]身份证[id]");
        assert_eq!(
            scrub("张三13800138000、李四13900139000"),
            "[name][phone]、[name][phone]"
        );
        for text in [
            "请打13800138000马上处理",
            "高峰期13800138000",
            "许可证号码110105198001011234",
            "情况严重 13800138000",
            "江北区13800138000",
            "每周一至周五010-88886666",
            "水龙头(010-88886666)",
            "张某13800138000",
            "物业服务中心电话88886666",
            "。13800138000",
        ] {
            assert!(!scrub(text).contains("[name]"), "{text} → {}", scrub(text));
        }
    }

    #[test]
    fn ordinary_things_stay() {
        for text in [
            "4853 S WOOD",
            "100-102 Brooks St  Brighton  MA  02135",
            "101001247383",
            "00-00002158",
            "13-00123456",
            "(41.80576343586902, -87.66975672568209)",
            "1165166.51552093",
            "112.5491234567890, 37.8701234567890",
            "01/14/2015 03:04:41 PM",
            "2013-01-31 12:00:00",
            "2024年3月5日",
            "XXXX N BROADWAY",
            "4800 BLOCK OF MARTIN LUTHER KING DR",
            "031111",
            "LARCENY-MTR VEH PARTS UNDER $500",
            "2012 2013 2014 2015",
            "工单编号202403051234567890",
            "拨打12345热线和110",
            "第三季度川A级景区",
            "诉求人不愿透露姓名",
            "联系人不详",
            "诉求人高度怀疑",
            "保安师傅和班主任老师",
            "微信支付无法使用",
            "三室一厅",
            "统一社会信用代码91110000MA01ABCD2X",
            "PWDx_District 04: Allston/Brighton",
            "Ward 22 2207.0 R3",
            "邮编030001",
            "1ST FL XY(90185735100977380) EST",
            "LOCUST@N. 18TH ST.",
            "蓝桥名苑146-10-1172",
        ] {
            assert_eq!(scrub_text(text), text);
        }
    }

    #[test]
    fn rooms_leave_free_text() {
        assert_eq!(scrub_text("家住阳光小区3号楼2单元501室漏水"), "家住阳光小区[room]漏水");
    }

    #[test]
    fn scrubbed_text_is_not_scrubbed_again() {
        for text in [
            "联系电话13800138000",
            "晋A12345",
            "a@b.cn",
            "诉求人张三反映",
            "QQ：123456789",
            "阳光小区2单元501室",
        ] {
            let once = scrub_text(text).into_owned();
            assert_eq!(scrub_text(&once), once);
        }
    }
}
