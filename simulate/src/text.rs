//! What people say and operators write. Names and numbers in it are invented; they look valid, so that the door has something to take off.

use crate::channel::{Case, CaseText, flag, put};
use crate::kind::KINDS;
use crate::random::Random;
use crate::report::Feed;

const SURNAMES: [&str; 20] = [
    "王", "李", "张", "刘", "陈", "杨", "赵", "黄", "周", "吴", "徐", "孙", "胡", "朱", "高", "林", "何", "郭", "马",
    "罗",
];
const GIVEN: [&str; 16] = [
    "伟", "芳", "娜", "敏", "静", "丽", "强", "磊", "军", "洋", "勇", "艳", "杰", "娟", "涛", "明",
];
const COMPLAINTS: [&str; 8] = [
    "希望有关部门尽快处理",
    "多次反映一直没有解决",
    "影响周边居民正常生活",
    "请派人到现场核实",
    "望尽快回复处理结果",
    "存在安全隐患请重视",
    "已持续一周以上",
    "夜间尤其严重",
];
/// Questions to the hotline.
pub const QUESTIONS: [&str; 5] = [
    "咨询居住证办理流程",
    "咨询医保异地就医备案",
    "咨询公积金提取条件",
    "咨询不动产登记所需材料",
    "咨询公交卡年审地点",
];
/// Calls to the police that are none.
pub const INVALID_CALLS: [&str; 4] = ["无声电话", "误拨后挂断", "骚扰电话", "儿童玩弄电话"];

/// The address as the operator heard it: mostly standard, at times short, an alias, with pinyin in brackets, mistyped, with a room.
pub fn put_spoken_address(case: Case<'_>, text: &mut CaseText, random: &mut Random) {
    let standard = case.address.text.as_str();
    let out = &mut text.address;
    match random.below(100) {
        // "云澜市" has nine bytes.
        0..12 => out.extend_from_slice(&standard.as_bytes()[9..]),
        12..30 => {
            if let Some(poi) = case.address.poi {
                let poi = &case.world.book.pois[usize::from(poi)];
                let town = &case.world.land.towns[usize::from(case.address.town)];
                out.extend_from_slice(case.world.land.districts[town.district].name.as_bytes());
                let is_alias = random.chance(400);
                out.extend_from_slice(if is_alias {
                    poi.alias.as_bytes()
                } else {
                    poi.name.as_bytes()
                });
                text.flags |= if is_alias { flag::ALIAS } else { 0 };
            } else {
                out.extend_from_slice(standard.as_bytes());
            }
        }
        30..37 => {
            out.extend_from_slice(standard.as_bytes());
            out.push(b'(');
            out.extend_from_slice(case.world.book.road_sound(case.address).as_bytes());
            out.push(b')');
            text.flags |= flag::PINYIN;
        }
        37..43 => {
            put_mistyped(out, standard);
            text.flags |= flag::TYPO;
        }
        43..53 => {
            out.extend_from_slice(standard.as_bytes());
            put::number(out, u64::from(random.between(1, 12)));
            out.extend_from_slice("栋".as_bytes());
            put::number(out, u64::from(random.between(1, 5)));
            out.extend_from_slice("单元".as_bytes());
            put::number(out, u64::from(random.between(101, 1_900)));
            out.extend_from_slice("室".as_bytes());
            text.flags |= flag::PERSONAL;
        }
        _ => out.extend_from_slice(standard.as_bytes()),
    }
}

/// One character is written as another that sounds alike.
fn put_mistyped(out: &mut Vec<u8>, standard: &str) {
    const ALIKE: [(char, char); 5] = [('路', '陆'), ('街', '阶'), ('巷', '向'), ('道', '到'), ('号', '好')];
    let mut is_done = false;
    let mut bytes = [0; 4];
    for character in standard.chars() {
        let other = ALIKE
            .iter()
            .find(|(right, _)| *right == character)
            .filter(|_| !is_done && !standard.ends_with("街道"))
            .map(|(_, wrong)| *wrong);
        is_done |= other.is_some();
        out.extend_from_slice(other.unwrap_or(character).encode_utf8(&mut bytes).as_bytes());
    }
}

/// The text of an order.
pub fn put_complaint(case: Case<'_>, text: &mut CaseText, random: &mut Random) {
    let kind = &KINDS[case.report.kind];
    let out = &mut text.content;
    let surname = random.pick(&SURNAMES);
    match random.below(8) {
        0 => {
            out.extend_from_slice("我叫".as_bytes());
            out.extend_from_slice(surname.as_bytes());
            out.extend_from_slice(random.pick(&GIVEN).as_bytes());
            out.extend_from_slice("，电话".as_bytes());
            put_mobile(out, random);
            out.extend_from_slice("，".as_bytes());
        }
        1 => {
            out.extend_from_slice(surname.as_bytes());
            out.extend_from_slice("先生（".as_bytes());
            put_mobile(out, random);
            out.extend_from_slice("）".as_bytes());
        }
        2 => {
            out.extend_from_slice("联系人".as_bytes());
            out.extend_from_slice(surname.as_bytes());
            out.extend_from_slice("女士，".as_bytes());
        }
        3 => {
            out.extend_from_slice("市民身份证号".as_bytes());
            put_identity_number(out, random);
            out.extend_from_slice("，".as_bytes());
        }
        _ => {}
    }
    if !out.is_empty() {
        text.flags |= flag::PERSONAL;
    }
    out.extend_from_slice(
        if case.report.is_repeat() {
            "再次来电反映"
        } else {
            "来电反映"
        }
        .as_bytes(),
    );
    // Some operators quote, with the quotes and commas that CSV must escape.
    let is_quoted = random.chance(20);
    if is_quoted {
        out.extend_from_slice(b"\"");
    }
    out.extend_from_slice(&text.address);
    if is_quoted {
        out.extend_from_slice(b"\",");
    }
    out.extend_from_slice("附近".as_bytes());
    out.extend_from_slice(kind.name.as_bytes());
    if kind.code == "traffic.parking" {
        out.extend_from_slice("，车牌".as_bytes());
        put_plate(out, random);
        text.flags |= flag::PERSONAL;
    }
    out.extend_from_slice("，".as_bytes());
    out.extend_from_slice(random.pick(&COMPLAINTS).as_bytes());
    out.extend_from_slice("。".as_bytes());
}

/// The brief of a call or petition.
pub fn put_brief(case: Case<'_>, text: &mut CaseText, random: &mut Random) {
    let out = &mut text.content;
    let surname = random.pick(&SURNAMES);
    if random.chance(300) {
        let is_petition = case.report.feed == Feed::Petition;
        out.extend_from_slice(if is_petition { "信访人" } else { "报警人" }.as_bytes());
        out.extend_from_slice(surname.as_bytes());
        out.extend_from_slice(random.pick(&GIVEN).as_bytes());
        put_mobile(out, random);
        out.extend_from_slice("称".as_bytes());
        text.flags |= flag::PERSONAL;
    } else {
        out.extend_from_slice("反映".as_bytes());
    }
    out.extend_from_slice(case.address.text.as_bytes());
    out.extend_from_slice(KINDS[case.report.kind].name.as_bytes());
}

/// An invented mobile number.
fn put_mobile(out: &mut Vec<u8>, random: &mut Random) {
    out.push(b'1');
    out.push(*random.pick(b"3578"));
    put::padded(out, u64::from(random.below(1_000_000_000)), 9);
}

/// An invented 18-digit number with a right check digit, of a region that does not exist.
fn put_identity_number(out: &mut Vec<u8>, random: &mut Random) {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let start = out.len();
    out.extend_from_slice(b"990101");
    put::number(out, u64::from(random.between(1_950, 2_005)));
    put::padded(out, u64::from(random.between(1, 13)), 2);
    put::padded(out, u64::from(random.between(1, 29)), 2);
    put::padded(out, u64::from(random.below(1_000)), 3);
    let sum: u32 = out[start..]
        .iter()
        .zip(WEIGHTS)
        .map(|(digit, weight)| u32::from(digit - b'0') * weight)
        .sum();
    out.push(b"10X98765432"[(sum % 11) as usize]);
}

fn put_plate(out: &mut Vec<u8>, random: &mut Random) {
    out.extend_from_slice("豫".as_bytes());
    out.push(b'A' + random.below(8) as u8);
    put::padded(out, u64::from(random.below(100_000)), 5);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;

    #[test]
    fn invented_identity_numbers_have_18_characters_and_a_right_check_digit() {
        const WEIGHTS: [u32; 18] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2, 1];
        let mut random = Random::new(3, 0, Purpose::Report);
        for _ in 0..100 {
            let mut number = Vec::new();
            put_identity_number(&mut number, &mut random);
            assert_eq!(number.len(), 18);
            let sum: u32 = number
                .iter()
                .zip(WEIGHTS)
                .map(|(&digit, weight)| if digit == b'X' { 10 } else { u32::from(digit - b'0') } * weight)
                .sum();
            assert_eq!(sum % 11, 1);
        }
    }

    #[test]
    fn a_mistyped_address_differs_in_one_character() {
        let mut out = Vec::new();
        put_mistyped(&mut out, "云澜市澜东区青安街道柳兴路128号");
        assert_eq!(String::from_utf8_lossy(&out), "云澜市澜东区青安阶道柳兴路128号");
    }
}
