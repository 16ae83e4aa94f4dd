//! What invented places are called: pairs of characters, each pair used once.

const HEADS: &str = "云澜青岚白石柳桥河堰塘松竹梅泉坪沙苇湾岭玉金银翠碧丹枫荷桂兰溪涧渡浦洲岗川谷原峰";
const TAILS: &str = "安平兴和丰顺庆宁新华康泰裕明昌德仁义信源胜利通达隆盛福禄寿喜春夏秋晖光辉阳旭永乐";

/// The name with this number, two characters; numbers below 1,600 have names of their own.
pub(super) fn pair(number: usize) -> String {
    let heads: Vec<char> = HEADS.chars().collect();
    let tails: Vec<char> = TAILS.chars().collect();
    // 677 shares no factor with 1,600, so every pair comes once.
    let mixed = number * 677 % (heads.len() * tails.len());
    [heads[mixed % heads.len()], tails[mixed / heads.len()]]
        .iter()
        .collect()
}

/// Pinyin of the characters in names, for brackets such as `云安路(yunan)`.
pub(super) fn pinyin(name: &str) -> String {
    const SOUNDS: [&str; 80] = [
        "yun", "lan", "qing", "lan", "bai", "shi", "liu", "qiao", "he", "yan", "tang", "song", "zhu", "mei", "quan",
        "ping", "sha", "wei", "wan", "ling", "yu", "jin", "yin", "cui", "bi", "dan", "feng", "he", "gui", "lan", "xi",
        "jian", "du", "pu", "zhou", "gang", "chuan", "gu", "yuan", "feng", "an", "ping", "xing", "he", "feng", "shun",
        "qing", "ning", "xin", "hua", "kang", "tai", "yu", "ming", "chang", "de", "ren", "yi", "xin", "yuan", "sheng",
        "li", "tong", "da", "long", "sheng", "fu", "lu", "shou", "xi", "chun", "xia", "qiu", "hui", "guang", "hui",
        "yang", "xu", "yong", "le",
    ];
    let known: Vec<char> = HEADS.chars().chain(TAILS.chars()).collect();
    name.chars()
        .filter_map(|character| known.iter().position(|other| *other == character))
        .map(|index| SOUNDS[index])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_hundred_names_differ_and_every_character_has_a_sound() {
        let names: std::collections::BTreeSet<String> = (0..1_600).map(pair).collect();
        assert_eq!(names.len(), 1_600);
        assert_eq!((HEADS.chars().count(), TAILS.chars().count()), (40, 40));
        assert_eq!(pinyin("云安"), "yunan");
        assert_eq!(pinyin("峰乐"), "fengle");
    }
}
