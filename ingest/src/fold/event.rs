//! An event as the fold reads it: borrowed from the bytes of the log, so that reading one costs hardly any memory.
//!
//! Only what the fold uses; the free text stays in the log. What this reader does not understand the generated one reads, so an event is
//! whatever that says it is.

use prost::Message as _;
use shiyu_schemas::v1::{self, CaseState, EventKind, TimePrecision};

/// Name and value.
pub type Pair<'a> = (&'a str, &'a str);
/// A few of something, without memory of their own.
pub type Few<T> = smallvec::SmallVec<[T; 4]>;

/// The fields of [`v1::Event`] the fold uses; see there.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(missing_docs, reason = "the fields of v1::Event")]
pub struct Event<'a> {
    pub feed: &'a str,
    pub record_id: &'a str,
    pub kind: i32,
    pub source_version: i64,
    pub updated_at_us: i64,
    pub content_hash_high: u64,
    pub content_hash_low: u64,
    pub delivery_hash: u64,
    pub channel: i32,
    pub origin: i32,
    pub category: &'a str,
    pub source_category: &'a str,
    pub state: i32,
    pub source_status: &'a str,
    pub severity: u32,
    pub holder: &'a str,
    pub match_key: &'a str,
    pub occurred_at_us: i64,
    pub time_precision: i32,
    pub reported_at_us: Option<i64>,
    pub closed_at_us: Option<i64>,
    pub due_at_us: Option<i64>,
    pub received_at_us: i64,
    pub local_date: i32,
    pub local_hour: i32,
    pub local_month: i32,
    pub source_occurred_at: &'a str,
    pub lat: Option<f64>,
    pub lng: Option<f64>,
    pub cell: i64,
    pub place_precision: i32,
    pub source_x: &'a str,
    pub source_y: &'a str,
    pub source_datum: &'a str,
    pub address: &'a str,
    /// Level and code.
    pub areas: Few<Pair<'a>>,
    pub attributes: Few<Pair<'a>>,
    pub flags: Few<&'a str>,
    pub source: &'a str,
    pub source_row: u64,
    pub revision: u64,
    pub lateness_hours: u32,
    pub dedupe_days: u32,
}

/// Calls `then` with the event in `bytes`.
pub fn with_event<T>(bytes: &[u8], then: impl FnOnce(Event<'_>) -> T) -> Result<T, prost::DecodeError> {
    match Event::read(bytes) {
        Some(event) => Ok(then(event)),
        None => Ok(then(Event::of(&v1::Event::decode(bytes)?))),
    }
}

impl<'a> Event<'a> {
    /// Of a decoded event.
    pub fn of(event: &'a v1::Event) -> Self {
        Self {
            feed: &event.feed,
            record_id: &event.record_id,
            kind: event.kind,
            source_version: event.source_version,
            updated_at_us: event.updated_at_us,
            content_hash_high: event.content_hash_high,
            content_hash_low: event.content_hash_low,
            delivery_hash: event.delivery_hash,
            channel: event.channel,
            origin: event.origin,
            category: &event.category,
            source_category: &event.source_category,
            state: event.state,
            source_status: &event.source_status,
            severity: event.severity,
            holder: &event.holder,
            match_key: &event.match_key,
            occurred_at_us: event.occurred_at_us,
            time_precision: event.time_precision,
            reported_at_us: event.reported_at_us,
            closed_at_us: event.closed_at_us,
            due_at_us: event.due_at_us,
            received_at_us: event.received_at_us,
            local_date: event.local_date,
            local_hour: event.local_hour,
            local_month: event.local_month,
            source_occurred_at: &event.source_occurred_at,
            lat: event.lat,
            lng: event.lng,
            cell: event.cell,
            place_precision: event.place_precision,
            source_x: &event.source_x,
            source_y: &event.source_y,
            source_datum: &event.source_datum,
            address: &event.address,
            areas: event.areas.iter().map(|area| (&*area.level, &*area.code)).collect(),
            attributes: event
                .attributes
                .iter()
                .map(|attribute| (&*attribute.name, &*attribute.value))
                .collect(),
            flags: event.flags.iter().map(String::as_str).collect(),
            source: &event.source,
            source_row: event.source_row,
            revision: event.revision,
            lateness_hours: event.lateness_hours,
            dedupe_days: event.dedupe_days,
        }
    }

    /// Reads protobuf; `None` for what this reader does not understand.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut wire = Wire { rest: bytes };
        let mut event = Self::default();
        while !wire.rest.is_empty() {
            let tag = wire.varint()?;
            let known = match tag & 7 {
                0 => event.set_number(tag >> 3, wire.varint()?),
                1 => event.set_fixed(tag >> 3, wire.fixed()?),
                2 => event.set_bytes(tag >> 3, wire.bytes()?)?,
                _ => false,
            };
            if !known {
                return None;
            }
        }
        Some(event)
    }

    fn set_number(&mut self, field: u64, number: u64) -> bool {
        match field {
            3 => self.kind = number as i32,
            4 => self.source_version = signed(number),
            5 => self.updated_at_us = signed(number),
            10 => self.channel = number as i32,
            11 => self.origin = number as i32,
            14 => self.state = number as i32,
            16 => self.severity = number as u32,
            20 => self.occurred_at_us = signed(number),
            21 => self.time_precision = number as i32,
            22 => self.reported_at_us = Some(signed(number)),
            23 => self.closed_at_us = Some(signed(number)),
            24 => self.due_at_us = Some(signed(number)),
            25 => self.received_at_us = signed(number),
            26 => self.local_date = signed_32(number),
            27 => self.local_hour = signed_32(number),
            28 => self.local_month = signed_32(number),
            43 => self.place_precision = number as i32,
            71 => self.source_row = number,
            73 => self.lateness_hours = number as u32,
            74 => self.dedupe_days = number as u32,
            _ => return false,
        }
        true
    }

    fn set_fixed(&mut self, field: u64, bits: u64) -> bool {
        match field {
            6 => self.content_hash_high = bits,
            7 => self.content_hash_low = bits,
            8 => self.delivery_hash = bits,
            40 => self.lat = Some(f64::from_bits(bits)),
            41 => self.lng = Some(f64::from_bits(bits)),
            42 => self.cell = bits as i64,
            72 => self.revision = bits,
            _ => return false,
        }
        true
    }

    fn set_bytes(&mut self, field: u64, bytes: &'a [u8]) -> Option<bool> {
        match field {
            48 => self.areas.push(pair(bytes)?),
            // The free text.
            60 => {}
            61 => self.attributes.push(pair(bytes)?),
            _ => {
                let text = std::str::from_utf8(bytes).ok()?;
                return Some(self.set_text(field, text));
            }
        }
        Some(true)
    }

    fn set_text(&mut self, field: u64, text: &'a str) -> bool {
        match field {
            1 => self.feed = text,
            2 => self.record_id = text,
            12 => self.category = text,
            13 => self.source_category = text,
            15 => self.source_status = text,
            17 => self.holder = text,
            18 => self.match_key = text,
            29 => self.source_occurred_at = text,
            44 => self.source_x = text,
            45 => self.source_y = text,
            46 => self.source_datum = text,
            47 => self.address = text,
            62 => self.flags.push(text),
            70 => self.source = text,
            _ => return false,
        }
        true
    }

    /// When the record came into being at its department: reported, else happened. Microseconds since 1970 UTC.
    pub fn created_at_us(&self) -> i64 {
        self.reported_at_us.unwrap_or(self.occurred_at_us)
    }

    /// See [`v1::Event`].
    pub fn kind(&self) -> EventKind {
        EventKind::try_from(self.kind).unwrap_or_default()
    }

    /// See [`v1::Event`].
    pub fn channel(&self) -> v1::Channel {
        v1::Channel::try_from(self.channel).unwrap_or_default()
    }

    /// See [`v1::Event`].
    pub fn origin(&self) -> v1::Origin {
        v1::Origin::try_from(self.origin).unwrap_or_default()
    }

    /// See [`v1::Event`].
    pub fn state(&self) -> CaseState {
        CaseState::try_from(self.state).unwrap_or_default()
    }

    /// See [`v1::Event`].
    pub fn time_precision(&self) -> TimePrecision {
        TimePrecision::try_from(self.time_precision).unwrap_or_default()
    }

    /// See [`v1::Event`].
    pub fn place_precision(&self) -> v1::PlacePrecision {
        v1::PlacePrecision::try_from(self.place_precision).unwrap_or_default()
    }
}

/// A message of two texts, fields 1 and 2.
fn pair(bytes: &[u8]) -> Option<Pair<'_>> {
    let mut wire = Wire { rest: bytes };
    let mut pair = ("", "");
    while !wire.rest.is_empty() {
        let tag = wire.varint()?;
        let place = match tag {
            0x0a => &mut pair.0,
            0x12 => &mut pair.1,
            _ => return None,
        };
        *place = std::str::from_utf8(wire.bytes()?).ok()?;
    }
    Some(pair)
}

fn signed(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

fn signed_32(number: u64) -> i32 {
    let number = number as u32;
    (number >> 1) as i32 ^ -((number & 1) as i32)
}

/// Protobuf not yet read.
struct Wire<'a> {
    rest: &'a [u8],
}

impl<'a> Wire<'a> {
    #[inline]
    fn varint(&mut self) -> Option<u64> {
        match *self.rest {
            // Tags, words and most lengths.
            [byte, ref rest @ ..] if byte < 0x80 => {
                self.rest = rest;
                Some(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for (index, byte) in self.rest.iter().take(10).enumerate() {
            // The tenth byte has room for one bit.
            if index == 9 && *byte > 1 {
                return None;
            }
            number |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[index + 1..];
                return Some(number);
            }
        }
        None
    }

    #[inline]
    fn fixed(&mut self) -> Option<u64> {
        let (bytes, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(u64::from_le_bytes(*bytes))
    }

    #[inline]
    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    fn full(text: String, number: i64, share: f64, some: bool) -> v1::Event {
        let optional = some.then_some(number);
        v1::Event {
            feed: text.clone(),
            record_id: format!("{text}1"),
            kind: number as i32 % 4,
            source_version: number,
            updated_at_us: -number,
            content_hash_high: number as u64,
            content_hash_low: share.to_bits(),
            delivery_hash: !(number as u64),
            channel: number as i32,
            origin: 2,
            category: format!("{text}2"),
            source_category: format!("{text}3"),
            state: 200,
            source_status: format!("{text}4"),
            severity: number as u32,
            holder: format!("{text}5"),
            match_key: format!("{text}6"),
            occurred_at_us: number / 2,
            time_precision: 3,
            reported_at_us: optional,
            closed_at_us: Some(number / 3),
            due_at_us: optional,
            received_at_us: number / 5,
            local_date: number as i32,
            local_hour: -1,
            local_month: (number >> 32) as i32,
            source_occurred_at: format!("{text}7"),
            lat: some.then_some(share),
            lng: Some(-share),
            cell: number,
            place_precision: 1,
            source_x: format!("{text}8"),
            source_y: format!("{text}9"),
            source_datum: format!("{text}10"),
            address: format!("{text}11"),
            areas: vec![
                v1::AreaRef {
                    level: text.clone(),
                    code: String::new(),
                };
                usize::from(some) * 2
            ],
            text: format!("{text}12"),
            attributes: vec![v1::Attribute {
                name: "n".to_owned(),
                value: text.clone(),
            }],
            flags: vec![text.clone(), "scrubbed".to_owned()],
            source: format!("{text}13"),
            source_row: number as u64,
            revision: number as u64,
            lateness_hours: 72,
            dedupe_days: number as u32,
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_the_generated_reader_reads(
            text in "\\PC{0,6}",
            number in any::<i64>(),
            share in any::<f64>().prop_filter("NaN is equal to nothing", |share| !share.is_nan()),
            some in any::<bool>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let event = full(text, number, share, some);
            let bytes = event.encode_to_vec();
            prop_assert_eq!(Event::read(&bytes), Some(Event::of(&event)));
            // Where both read a part, they read the same.
            let part = &bytes[..cut.index(bytes.len() + 1)];
            let decoded = v1::Event::decode(part);
            if let Some(read) = Event::read(part) {
                prop_assert_eq!(read, Event::of(decoded.as_ref().unwrap()));
            }
        }
    }

    #[test]
    fn a_field_of_a_newer_version_is_left_to_the_generated_reader() {
        let mut bytes = v1::Event {
            feed: "hotline".to_owned(),
            ..v1::Event::default()
        }
        .encode_to_vec();
        // Field 100, a number.
        bytes.extend_from_slice(&[0xa0, 0x06, 7]);
        assert_eq!(Event::read(&bytes), None);
        assert_eq!(with_event(&bytes, |event| event.feed.to_owned()).unwrap(), "hotline");
        assert!(with_event(&bytes[..bytes.len() - 1], |_| ()).is_err());
    }
}
