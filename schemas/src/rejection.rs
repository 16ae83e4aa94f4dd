//! Why a record was refused: a closed set of codes. A rejection is a value, not an error.

/// Code of a rejection. The message beside it says what to do and never quotes the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RejectionCode {
    /// The mapping found nothing that names the record.
    MissingId,
    /// A time the feed needs is not there.
    MissingTime,
    /// A time is in none of the manifest's formats.
    BadTime,
    /// The date is one the manifest declares as junk (such as 01/01/1900).
    JunkDate,
    /// The local time never was (clock set forward) and the manifest rejects such times.
    TimeInGap,
    /// A time is later than the hub's clock allows.
    FutureTime,
    /// A coordinate is no number.
    BadCoordinate,
    /// The place is outside the city's bounds.
    OutsideCity,
    /// The value is not of the type the mapping needs.
    BadValue,
    /// A field that is never admitted is filled (see [`crate::privacy`]).
    ForbiddenField,
    /// The row has too many or too few fields, or a quote is not closed.
    MalformedRow,
    /// The row is larger than 1 MiB.
    TooLarge,
    /// The record killed the process, three times.
    PoisonCrash,
}

impl RejectionCode {
    /// All codes with their words.
    pub const ALL: &'static [(Self, &'static str)] = &[
        (Self::MissingId, "missing_id"),
        (Self::MissingTime, "missing_time"),
        (Self::BadTime, "bad_time"),
        (Self::JunkDate, "junk_date"),
        (Self::TimeInGap, "time_in_gap"),
        (Self::FutureTime, "future_time"),
        (Self::BadCoordinate, "bad_coordinate"),
        (Self::OutsideCity, "outside_city"),
        (Self::BadValue, "bad_value"),
        (Self::ForbiddenField, "forbidden_field"),
        (Self::MalformedRow, "malformed_row"),
        (Self::TooLarge, "too_large"),
        (Self::PoisonCrash, "poison_crash"),
    ];

    /// The word tables and receipts show.
    pub fn word(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(code, _)| *code == self)
            .map_or("", |(_, word)| word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_own_word() {
        for (index, (code, word)) in RejectionCode::ALL.iter().enumerate() {
            assert_eq!(code.word(), *word);
            assert!(RejectionCode::ALL[index + 1..].iter().all(|(_, other)| other != word));
        }
    }
}
