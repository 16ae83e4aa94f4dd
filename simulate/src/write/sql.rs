//! A dump as `mysqldump` writes it, UTF-8 (`utf8mb4`: MariaDB has no GB18030), loadable by MySQL and MariaDB.

use super::csv::fields;
use crate::channel::Column;

/// Rows of one `INSERT`.
pub const ROWS_PER_INSERT: usize = 500;

/// Appends what stands before the rows.
pub fn put_head(out: &mut Vec<u8>, table: &str, columns: &[Column]) {
    let mut text = format!(
        "-- SIMULATED DATA (模拟数据): the invented city 云澜\n/*!40101 SET NAMES utf8mb4 */;\nCREATE TABLE IF NOT EXISTS `{table}` (\n  `change_id` bigint NOT NULL AUTO_INCREMENT,\n"
    );
    for column in columns {
        let kind = match column.name {
            "content" => "text",
            "address" => "varchar(255)",
            "lng" | "lat" => "decimal(10,6)",
            name if name.ends_with("_at") => "datetime",
            _ => "varchar(64)",
        };
        text.push_str(&format!(
            "  `{}` {kind} DEFAULT NULL COMMENT '{}',\n",
            column.name, column.header
        ));
    }
    text.push_str(
        "  PRIMARY KEY (`change_id`),\n  KEY `changed_at` (`changed_at`)\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;\n",
    );
    out.extend_from_slice(text.as_bytes());
}

/// Appends a row; `number` counts the rows of the file.
pub fn put_row(out: &mut Vec<u8>, table: &str, columns: &[Column], row: &[u8], number: usize) {
    if number.is_multiple_of(ROWS_PER_INSERT) {
        if number > 0 {
            out.extend_from_slice(b";\n");
        }
        out.extend_from_slice(b"INSERT INTO `");
        out.extend_from_slice(table.as_bytes());
        out.extend_from_slice(b"` (");
        for (index, column) in columns.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b"`".as_slice() } else { b",`" });
            out.extend_from_slice(column.name.as_bytes());
            out.push(b'`');
        }
        out.extend_from_slice(b") VALUES\n");
    } else {
        out.extend_from_slice(b",\n");
    }
    for (index, field) in fields(row).enumerate() {
        out.push(if index == 0 { b'(' } else { b',' });
        if field.is_empty() {
            out.extend_from_slice(b"NULL");
            continue;
        }
        out.push(b'\'');
        for &byte in field {
            if matches!(byte, b'\'' | b'\\') {
                out.push(b'\\');
            }
            out.push(byte);
        }
        out.push(b'\'');
    }
    out.push(b')');
}
