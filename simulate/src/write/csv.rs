//! CSV after RFC 4180.

use crate::channel::{Column, SEPARATOR};

/// The fields of a row.
pub fn fields(row: &[u8]) -> impl Iterator<Item = &[u8]> {
    row.split(|byte| *byte == SEPARATOR)
}

/// Appends a header; `order` gives the columns' order, empty = as they are.
pub fn put_header(out: &mut Vec<u8>, columns: &[Column], later: bool, order: &[usize]) {
    for position in 0..columns.len() {
        let column = columns[order.get(position).copied().unwrap_or(position)];
        if position > 0 {
            out.push(b',');
        }
        out.extend_from_slice(if later { column.later } else { column.header }.as_bytes());
    }
    out.push(b'\n');
}

/// Appends a row.
pub fn put_row(out: &mut Vec<u8>, row: &[u8], order: &[usize]) {
    if order.is_empty() {
        for (position, field) in fields(row).enumerate() {
            if position > 0 {
                out.push(b',');
            }
            put_field(out, field);
        }
    } else {
        let mut starts = [(0, 0); 32];
        let mut start = 0;
        for (slot, field) in starts.iter_mut().zip(fields(row)) {
            *slot = (start, start + field.len());
            start += field.len() + 1;
        }
        for (position, &index) in order.iter().enumerate() {
            if position > 0 {
                out.push(b',');
            }
            let (start, end) = starts[index];
            put_field(out, &row[start..end]);
        }
    }
    out.push(b'\n');
}

fn put_field(out: &mut Vec<u8>, field: &[u8]) {
    if !field.iter().any(|byte| matches!(byte, b',' | b'"' | b'\n')) {
        out.extend_from_slice(field);
        return;
    }
    out.push(b'"');
    for &byte in field {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled_and_columns_take_their_new_order() {
        let row = b"a\x1fsays \"b\", twice\x1fc";
        let mut out = Vec::new();
        put_row(&mut out, row, &[]);
        put_row(&mut out, row, &[2, 0, 1]);
        assert_eq!(
            String::from_utf8_lossy(&out),
            "a,\"says \"\"b\"\", twice\",c\nc,a,\"says \"\"b\"\", twice\"\n"
        );
    }
}
