//! Numbers, clocks and coordinates as bytes, without a `String` between.

use crate::calendar::{Calendar, DAY_S};

/// A whole number.
pub fn number(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    let mut left = value;
    loop {
        start -= 1;
        digits[start] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// A whole number with zeros in front, `width` digits.
pub fn padded(out: &mut Vec<u8>, value: u64, width: usize) {
    let start = out.len();
    out.resize(start + width, b'0');
    let mut left = value;
    for digit in out[start..].iter_mut().rev() {
        *digit = b'0' + (left % 10) as u8;
        left /= 10;
    }
}

/// A positive number with a fixed count of decimals: `value` = number × 10^decimals.
pub fn fixed(out: &mut Vec<u8>, value: u64, decimals: usize) {
    let unit = 10_u64.pow(decimals as u32);
    number(out, value / unit);
    out.push(b'.');
    padded(out, value % unit, decimals);
}

/// `2025-01-05`.
pub fn date(out: &mut Vec<u8>, calendar: &Calendar, at: u32) {
    out.extend_from_slice(&calendar.day(at / DAY_S).text);
}

/// `13:07:09` with this byte between date and time: `2025-01-05 13:07:09`.
pub fn clock(out: &mut Vec<u8>, calendar: &Calendar, at: u32, between: u8) {
    date(out, calendar, at);
    out.push(between);
    let second = u64::from(at % DAY_S);
    padded(out, second / 3_600, 2);
    out.push(b':');
    padded(out, second / 60 % 60, 2);
    out.push(b':');
    padded(out, second % 60, 2);
}

/// `2025/1/5 13:07`.
pub fn short_clock(out: &mut Vec<u8>, calendar: &Calendar, at: u32) {
    let day = calendar.day(at / DAY_S);
    number(out, day.year as u64);
    out.push(b'/');
    number(out, u64::from(day.month));
    out.push(b'/');
    number(out, u64::from(day.day));
    out.push(b' ');
    number(out, u64::from(at % DAY_S / 3_600));
    out.push(b':');
    padded(out, u64::from(at / 60 % 60), 2);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(put: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        put(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn bytes_are_as_departments_write_them() {
        let calendar = Calendar::new();
        let at = 4 * DAY_S + 13 * 3_600 + 7 * 60 + 9;
        assert_eq!(text(|out| clock(out, &calendar, at, b' ')), "2025-01-05 13:07:09");
        assert_eq!(text(|out| short_clock(out, &calendar, at)), "2025/1/5 13:07");
        assert_eq!(text(|out| fixed(out, 1_149_200_001, 7)), "114.9200001");
        assert_eq!(text(|out| fixed(out, 361_000_205, 2)), "3610002.05");
        assert_eq!(text(|out| number(out, 0)), "0");
    }
}
