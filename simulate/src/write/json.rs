//! A JSON object a line.

use super::csv::fields;
use crate::channel::Column;

/// Appends a row as an object; empty fields are left out.
pub fn put_object(out: &mut Vec<u8>, columns: &[Column], row: &[u8]) {
    out.push(b'{');
    let mut is_first = true;
    for (column, field) in columns.iter().zip(fields(row)).filter(|(_, field)| !field.is_empty()) {
        if !std::mem::take(&mut is_first) {
            out.push(b',');
        }
        out.push(b'"');
        out.extend_from_slice(column.name.as_bytes());
        out.extend_from_slice(b"\":");
        if column.is_number {
            out.extend_from_slice(field);
            continue;
        }
        out.push(b'"');
        for &byte in field {
            if matches!(byte, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(byte);
        }
        out.push(b'"');
    }
    out.push(b'}');
}
