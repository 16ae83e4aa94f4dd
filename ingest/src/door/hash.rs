//! What makes two versions of a record the same version, and two deliveries the same delivery.

use shiyu_schemas::v1;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// xxh3-128 over what was mapped.
///
/// Not in it: the version and the time of change (they are order, not content), when and where the record was read (`received_at`, source, row, delivery), the city folder's revision, the areas and flags
/// (they follow from the rest), so the same record read again, from elsewhere or under other boundaries, is the same version.
pub(super) fn content_hash(event: &v1::Event, buffer: &mut Vec<u8>) -> u128 {
    buffer.clear();
    for number in [
        i64::from(event.kind),
        i64::from(event.channel),
        i64::from(event.origin),
        i64::from(event.state),
        i64::from(event.severity),
        event.occurred_at_us,
        i64::from(event.time_precision),
        event.reported_at_us.unwrap_or(i64::MIN),
        event.closed_at_us.unwrap_or(i64::MIN),
        event.due_at_us.unwrap_or(i64::MIN),
        event.lat.map_or(i64::MIN, |lat| lat.to_bits() as i64),
        event.lng.map_or(i64::MIN, |lng| lng.to_bits() as i64),
        i64::from(event.place_precision),
    ] {
        buffer.extend_from_slice(&number.to_le_bytes());
    }
    for text in [
        &event.feed,
        &event.record_id,
        &event.category,
        &event.source_category,
        &event.source_status,
        &event.holder,
        &event.match_key,
        &event.source_occurred_at,
        &event.source_x,
        &event.source_y,
        &event.source_datum,
        &event.address,
        &event.text,
    ] {
        push_text(buffer, text);
    }
    for attribute in &event.attributes {
        push_text(buffer, &attribute.name);
        push_text(buffer, &attribute.value);
    }
    xxh3_128(buffer)
}

/// xxh3-64 of feed, source and row.
pub(super) fn delivery_hash(feed: &str, source: &str, row: u64, buffer: &mut Vec<u8>) -> u64 {
    buffer.clear();
    push_text(buffer, feed);
    push_text(buffer, source);
    buffer.extend_from_slice(&row.to_le_bytes());
    xxh3_64(buffer)
}

fn push_text(buffer: &mut Vec<u8>, text: &str) {
    buffer.extend_from_slice(&(text.len() as u32).to_le_bytes());
    buffer.extend_from_slice(text.as_bytes());
}
