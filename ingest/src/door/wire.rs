//! An event as protobuf, byte for byte as the generated code writes it, but in one pass: that code counts every length first.

use shiyu_schemas::v1;

/// Appends an event.
pub fn write_event(event: &v1::Event, out: &mut Vec<u8>) {
    let mut wire = Wire { out };
    wire.text(1, &event.feed);
    wire.text(2, &event.record_id);
    wire.number(3, event.kind as u64);
    wire.signed(4, event.source_version);
    wire.signed(5, event.updated_at_us);
    wire.fixed(6, event.content_hash_high);
    wire.fixed(7, event.content_hash_low);
    wire.fixed(8, event.delivery_hash);
    wire.number(10, event.channel as u64);
    wire.number(11, event.origin as u64);
    wire.text(12, &event.category);
    wire.text(13, &event.source_category);
    wire.number(14, event.state as u64);
    wire.text(15, &event.source_status);
    wire.number(16, u64::from(event.severity));
    wire.text(17, &event.holder);
    wire.text(18, &event.match_key);
    wire.signed(20, event.occurred_at_us);
    wire.number(21, event.time_precision as u64);
    wire.signed_option(22, event.reported_at_us);
    wire.signed_option(23, event.closed_at_us);
    wire.signed_option(24, event.due_at_us);
    wire.signed(25, event.received_at_us);
    wire.signed(26, i64::from(event.local_date));
    wire.signed(27, i64::from(event.local_hour));
    wire.signed(28, i64::from(event.local_month));
    wire.text(29, &event.source_occurred_at);
    wire.double_option(40, event.lat);
    wire.double_option(41, event.lng);
    wire.fixed(42, event.cell as u64);
    wire.number(43, event.place_precision as u64);
    wire.text(44, &event.source_x);
    wire.text(45, &event.source_y);
    wire.text(46, &event.source_datum);
    wire.text(47, &event.address);
    for area in &event.areas {
        wire.pair(48, &area.level, &area.code);
    }
    wire.text(60, &event.text);
    for attribute in &event.attributes {
        wire.pair(61, &attribute.name, &attribute.value);
    }
    for flag in &event.flags {
        wire.bytes(62, flag.as_bytes());
    }
    wire.text(70, &event.source);
    wire.number(71, event.source_row);
    wire.fixed(72, event.revision);
    wire.number(73, u64::from(event.lateness_hours));
    wire.number(74, u64::from(event.dedupe_days));
}

const VARINT: u64 = 0;
const FIXED: u64 = 1;
const BYTES: u64 = 2;

/// Writes fields; what has its default value is left out, but where it is optional or repeated.
struct Wire<'a> {
    out: &'a mut Vec<u8>,
}

impl Wire<'_> {
    #[inline]
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.out.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.out.push(number as u8);
    }

    #[inline]
    fn number(&mut self, field: u64, number: u64) {
        if number != 0 {
            self.varint(field << 3 | VARINT);
            self.varint(number);
        }
    }

    #[inline]
    fn signed(&mut self, field: u64, number: i64) {
        if number != 0 {
            self.signed_option(field, Some(number));
        }
    }

    #[inline]
    fn signed_option(&mut self, field: u64, number: Option<i64>) {
        if let Some(number) = number {
            self.varint(field << 3 | VARINT);
            self.varint((number << 1 ^ number >> 63) as u64);
        }
    }

    #[inline]
    fn fixed(&mut self, field: u64, bits: u64) {
        if bits != 0 {
            self.varint(field << 3 | FIXED);
            self.out.extend_from_slice(&bits.to_le_bytes());
        }
    }

    #[inline]
    fn double_option(&mut self, field: u64, number: Option<f64>) {
        if let Some(number) = number {
            self.varint(field << 3 | FIXED);
            self.out.extend_from_slice(&number.to_le_bytes());
        }
    }

    #[inline]
    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | BYTES);
        self.varint(bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }

    #[inline]
    fn text(&mut self, field: u64, text: &str) {
        if !text.is_empty() {
            self.bytes(field, text.as_bytes());
        }
    }

    /// A message of two texts, fields 1 and 2.
    fn pair(&mut self, field: u64, first: &str, second: &str) {
        let length = text_length(first) + text_length(second);
        self.varint(field << 3 | BYTES);
        self.varint(length as u64);
        self.text(1, first);
        self.text(2, second);
    }
}

/// Bytes of a text with its tag (of one byte) and length; none where it is empty.
fn text_length(text: &str) -> usize {
    if text.is_empty() {
        return 0;
    }
    let varint = (text.len().ilog2() / 7 + 1) as usize;
    1 + varint + text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;

    proptest! {
        #[test]
        fn the_bytes_are_those_of_the_generated_code(
            texts in prop::collection::vec("\\PC{0,80}", 8),
            numbers in prop::collection::vec(prop_oneof![Just(0_i64), any::<i64>(), -300..300_i64], 8),
            share in any::<f64>(),
            some in any::<bool>(),
        ) {
            let text = |index: usize| texts[index % 8].clone();
            let number = |index: usize| numbers[index % 8];
            let event = v1::Event {
                feed: text(0),
                record_id: text(1),
                kind: number(0) as i32,
                source_version: number(1),
                updated_at_us: number(2),
                content_hash_high: number(3) as u64,
                content_hash_low: number(4) as u64,
                delivery_hash: number(5) as u64,
                channel: number(6) as i32,
                origin: number(7) as i32,
                category: text(2),
                source_category: text(3),
                state: number(1) as i32,
                source_status: text(4),
                severity: number(2) as u32,
                holder: text(5),
                match_key: text(6),
                occurred_at_us: number(3),
                time_precision: number(4) as i32,
                reported_at_us: some.then(|| number(5)),
                closed_at_us: Some(number(6)),
                due_at_us: some.then(|| number(7)),
                received_at_us: number(0),
                local_date: number(1) as i32,
                local_hour: number(2) as i32,
                local_month: number(3) as i32,
                source_occurred_at: text(7),
                lat: some.then_some(share),
                lng: Some(0.0),
                cell: number(4),
                place_precision: number(5) as i32,
                source_x: text(0),
                source_y: text(1),
                source_datum: text(2),
                address: text(3).repeat(3),
                areas: vec![v1::AreaRef { level: text(4), code: text(5) }; usize::from(some) * 2],
                text: text(6).repeat(100),
                attributes: vec![v1::Attribute { name: text(7), value: text(0).repeat(5) }; 2],
                flags: vec![text(1), text(2)],
                source: text(3),
                source_row: number(6) as u64,
                revision: number(7) as u64,
                lateness_hours: number(0) as u32,
                dedupe_days: number(1) as u32,
            };
            let mut bytes = vec![7];
            write_event(&event, &mut bytes);
            prop_assert_eq!(&bytes[1..], event.encode_to_vec());
        }
    }
}
