//! Closed vocabularies and their words. The words are what manifests, tables and SQL use; the numbers are protobuf's.

use crate::v1;

/// A closed vocabulary: every value has one lower-case word.
pub trait Code: Copy + Eq + Sized + 'static {
    /// All values in protobuf order, without `UNSPECIFIED`.
    const ALL: &'static [(Self, &'static str)];

    /// The word of this value; `"unspecified"` for protobuf's zero.
    fn word(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(value, _)| *value == self)
            .map_or("unspecified", |(_, word)| word)
    }

    /// The value of a word.
    fn from_word(word: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, known)| *known == word)
            .map(|(value, _)| *value)
    }
}

macro_rules! codes {
    ($($type:ty { $($variant:ident => $word:literal),+ $(,)? })+) => {$(
        impl Code for $type {
            const ALL: &'static [(Self, &'static str)] = &[$((<$type>::$variant, $word)),+];
        }
    )+};
}

codes! {
    v1::Channel {
        Hotline => "hotline", Police => "police", Petition => "petition",
        Grid => "grid", Device => "device", Other => "other",
    }
    v1::Origin {
        Citizen => "citizen", Patrol => "patrol", Device => "device", Department => "department",
    }
    v1::EventKind { Upsert => "upsert", Withdraw => "withdraw", Cancel => "cancel" }
    v1::PlacePrecision {
        Exact => "exact", Block => "block", AreaCentre => "area_centre", None => "none",
    }
    v1::TimePrecision {
        Second => "second", Minute => "minute", Hour => "hour", Day => "day", Month => "month",
    }
    v1::CaseState {
        Filed => "filed", Verified => "verified", Dispatched => "dispatched", InProgress => "in_progress",
        Returned => "returned", Transferred => "transferred", Extended => "extended",
        Suspended => "suspended", Resolved => "resolved", Closed => "closed",
        Evaluated => "evaluated", Reopened => "reopened", Duplicate => "duplicate",
        Withdrawn => "withdrawn",
    }
    v1::Outcome {
        Accepted => "accepted", Unchanged => "unchanged", Duplicate => "duplicate",
        Stale => "stale", Excluded => "excluded", Rejected => "rejected", Logged => "logged",
    }
    v1::Level {
        Green => "green", Blue => "blue", Yellow => "yellow", Orange => "orange", Red => "red",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_leads_back_to_its_value() {
        for (value, word) in v1::CaseState::ALL {
            assert_eq!(v1::CaseState::from_word(word), Some(*value));
            assert_eq!(value.word(), *word);
        }
        assert_eq!(v1::Level::Unspecified.word(), "unspecified");
        assert_eq!(v1::Channel::from_word("social_media"), None);
    }
}
