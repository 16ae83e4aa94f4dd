//! The fields that are never admitted: Shiyu scores places, never people.
//!
//! A manifest that maps such a column, or an attribute with such a name, does not load. This is checked by name, in English,
//! in pinyin-free Chinese and in common abbreviations; text *inside* admitted columns is scrubbed by the door.

/// A kind of field that is refused, and the words by which it is known.
#[derive(Debug, Clone, Copy)]
pub struct ForbiddenKind {
    /// The kind, for messages.
    pub kind: &'static str,
    /// Words compared with the name's own words (split at `_`, `-`, space and capitals; lower case). Chinese words: substring.
    pub words: &'static [&'static str],
}

/// Everything that is refused.
pub const FORBIDDEN: &[ForbiddenKind] = &[
    ForbiddenKind {
        kind: "biometric data",
        words: &[
            "face",
            "fingerprint",
            "iris",
            "voiceprint",
            "biometric",
            "gait",
            "dna",
            "人脸",
            "指纹",
            "虹膜",
            "声纹",
            "步态",
            "生物特征",
        ],
    },
    ForbiddenKind {
        kind: "device identifier",
        words: &[
            "mac",
            "imei",
            "imsi",
            "meid",
            "iccid",
            "idfa",
            "oaid",
            "设备号",
            "串号",
            "mac地址",
        ],
    },
    ForbiddenKind {
        kind: "vehicle plate",
        words: &["plate", "license_plate", "vin", "车牌", "号牌", "车架号"],
    },
    ForbiddenKind {
        kind: "person's name",
        words: &[
            "caller_name",
            "person_name",
            "full_name",
            "first_name",
            "last_name",
            "surname",
            "reporter",
            "complainant",
            "姓名",
            "联系人",
            "诉求人",
            "报警人",
            "信访人",
            "当事人",
        ],
    },
    ForbiddenKind {
        kind: "person's number",
        words: &[
            "ssn",
            "id_card",
            "idcard",
            "passport",
            "phone",
            "telephone",
            "mobile",
            "email",
            "wechat",
            "qq",
            "身份证",
            "护照",
            "电话",
            "手机",
            "邮箱",
            "微信",
        ],
    },
    ForbiddenKind {
        kind: "score of a person or household",
        words: &[
            "person_score",
            "personal_score",
            "credit_score",
            "household_score",
            "citizen_score",
            "个人积分",
            "信用分",
            "家庭评分",
            "户评分",
            "重点人员",
        ],
    },
    ForbiddenKind {
        kind: "travel trace",
        words: &[
            "trace",
            "trajectory",
            "track",
            "whereabouts",
            "itinerary",
            "轨迹",
            "行程",
            "行踪",
        ],
    },
    ForbiddenKind {
        kind: "social-media text",
        words: &[
            "tweet",
            "weibo",
            "social_media",
            "post_text",
            "微博",
            "朋友圈",
            "网络言论",
        ],
    },
    ForbiddenKind {
        kind: "label of belief, religion or ethnicity",
        words: &[
            "religion",
            "ethnicity",
            "ethnic",
            "race",
            "political",
            "party_member",
            "belief",
            "宗教",
            "民族",
            "种族",
            "政治面貌",
            "信仰",
        ],
    },
    ForbiddenKind {
        kind: "person or household as a key",
        words: &[
            "person_id",
            "household_id",
            "citizen_id",
            "resident_id",
            "caller_id",
            "user_id",
            "人员编号",
            "户号",
            "户籍",
        ],
    },
];

/// The kind of forbidden field a name stands for, if any.
///
/// `"CallerName"`, `"caller_name"` and `"caller name"` are the same name.
pub fn forbidden_kind(name: &str) -> Option<&'static str> {
    let words = split_words(name);
    let joined = format!("_{}_", words.join("_"));
    FORBIDDEN
        .iter()
        .find(|forbidden| {
            forbidden.words.iter().any(|word| {
                if word.is_ascii() {
                    joined.contains(&format!("_{word}_"))
                } else {
                    name.contains(word)
                }
            })
        })
        .map(|forbidden| forbidden.kind)
}

fn split_words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut previous_lower = false;
    for character in name.chars() {
        let boundary = !character.is_alphanumeric();
        if boundary || (character.is_uppercase() && previous_lower) {
            words.push(String::new());
        }
        previous_lower = character.is_lowercase() || character.is_numeric();
        if !boundary && let Some(word) = words.last_mut() {
            word.extend(character.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_fields_are_known_in_every_spelling() {
        for name in [
            "IMEI",
            "device_imsi",
            "macAddress",
            "mac",
            "plate",
            "LicensePlate",
            "caller_name",
            "CallerName",
            "caller phone",
            "诉求人姓名",
            "来电手机号",
            "face_id",
            "household_score",
            "religion",
            "trajectory",
            "weibo_text",
        ] {
            assert!(forbidden_kind(name).is_some(), "{name} was admitted");
        }
    }

    #[test]
    fn fields_of_places_are_admitted() {
        for name in [
            "community_area",
            "police_district",
            "Machinery",
            "facility_type",
            "ward",
            "crime",
            "racetrack_name",
            "地址",
            "行政区划",
            "办结时间",
            "surface",
        ] {
            assert_eq!(forbidden_kind(name), None, "{name}");
        }
    }
}
