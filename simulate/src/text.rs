//! What people write. Names and numbers in it are invented; they look valid, so that the door has something to take off.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use crate::rhythm::Kind;

const SURNAMES: [&str; 20] = [
    "王", "李", "张", "刘", "陈", "杨", "赵", "黄", "周", "吴", "徐", "孙", "胡", "朱", "高", "林", "何", "郭", "马",
    "罗",
];
const GIVEN: [&str; 16] = [
    "伟", "芳", "娜", "敏", "静", "丽", "强", "磊", "军", "洋", "勇", "艳", "杰", "娟", "涛", "明",
];
const COMPLAINTS: [&str; 6] = [
    "希望有关部门尽快处理",
    "多次反映一直没有解决",
    "影响周边居民正常生活",
    "请派人到现场核实",
    "望尽快回复处理结果",
    "存在安全隐患请重视",
];
const UNITS: [&str; 6] = [
    "城市管理局",
    "住房和城乡建设局",
    "公安局",
    "生态环境局",
    "水务集团",
    "人力资源和社会保障局",
];

/// The text of an order.
pub fn order_text(rng: &mut ChaCha8Rng, kind: &Kind, address: &str, again: bool) -> String {
    let complaint = COMPLAINTS[rng.random_range(0..COMPLAINTS.len())];
    let opening = if again { "再次来电反映" } else { "来电反映" };
    let surname = SURNAMES[rng.random_range(0..SURNAMES.len())];
    let person = match rng.random_range(0..5) {
        0 => format!(
            "我叫{surname}{}，电话{}，",
            GIVEN[rng.random_range(0..GIVEN.len())],
            mobile(rng)
        ),
        1 => format!("{surname}先生（{}）", mobile(rng)),
        2 => format!("联系人{surname}女士，"),
        3 => format!("市民身份证号{}，", identity_number(rng)),
        _ => String::new(),
    };
    let plate = if kind.code == "traffic.parking" {
        format!("，车牌{}", plate(rng))
    } else {
        String::new()
    };
    format!("{person}{opening}{address}附近{}{plate}，{complaint}。", kind.name)
}

/// An invented mobile number.
fn mobile(rng: &mut ChaCha8Rng) -> String {
    format!(
        "1{}{:09}",
        [3, 5, 7, 8][rng.random_range(0..4)],
        rng.random_range(0..1_000_000_000_u32)
    )
}

/// An invented 18-digit number with a right check digit, of a region that does not exist.
fn identity_number(rng: &mut ChaCha8Rng) -> String {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let body = format!(
        "990101{:04}{:02}{:02}{:03}",
        rng.random_range(1950..2005),
        rng.random_range(1..13),
        rng.random_range(1..29),
        rng.random_range(0..1000)
    );
    let sum: u32 = body
        .bytes()
        .zip(WEIGHTS)
        .map(|(digit, weight)| u32::from(digit - b'0') * weight)
        .sum();
    format!(
        "{body}{}",
        ["1", "0", "X", "9", "8", "7", "6", "5", "4", "3", "2"][(sum % 11) as usize]
    )
}

fn plate(rng: &mut ChaCha8Rng) -> String {
    let letter = char::from(b'A' + rng.random_range(0..8));
    format!("豫{letter}{:05}", rng.random_range(0..100_000))
}

/// The unit that handles a kind.
pub fn unit(kind: usize) -> &'static str {
    UNITS[kind % UNITS.len()]
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn invented_identity_numbers_have_18_characters_and_a_right_check_digit() {
        const WEIGHTS: [u32; 18] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2, 1];
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for _ in 0..100 {
            let number = identity_number(&mut rng);
            assert_eq!(number.len(), 18);
            let sum: u32 = number
                .bytes()
                .zip(WEIGHTS)
                .map(|(digit, weight)| if digit == b'X' { 10 } else { u32::from(digit - b'0') } * weight)
                .sum();
            assert_eq!(sum % 11, 1);
        }
    }
}
