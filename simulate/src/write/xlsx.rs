//! The least a workbook needs: one sheet of inline strings in a stored zip. The same rows give the same bytes.

use super::csv::fields;
use crate::channel::Column;

const CONTENT_TYPES: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n<Types xmlns=\"http://schemas.openxmlformats.org/package/2006/content-types\"><Default Extension=\"rels\" ContentType=\"application/vnd.openxmlformats-package.relationships+xml\"/><Default Extension=\"xml\" ContentType=\"application/xml\"/><Override PartName=\"/xl/workbook.xml\" ContentType=\"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml\"/><Override PartName=\"/xl/worksheets/sheet1.xml\" ContentType=\"application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml\"/></Types>";
const ROOT_RELATIONS: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n<Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\"><Relationship Id=\"rId1\" Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument\" Target=\"xl/workbook.xml\"/></Relationships>";
const WORKBOOK: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n<workbook xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\" xmlns:r=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships\"><sheets><sheet name=\"信访登记(模拟数据)\" sheetId=\"1\" r:id=\"rId1\"/></sheets></workbook>";
const WORKBOOK_RELATIONS: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n<Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\"><Relationship Id=\"rId1\" Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet\" Target=\"worksheets/sheet1.xml\"/></Relationships>";

/// The bytes of a workbook with a header and these rows.
pub fn workbook(columns: &[Column], rows: &[u8]) -> Vec<u8> {
    let mut sheet = b"<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n<worksheet xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\"><sheetData><row>".to_vec();
    for column in columns {
        put_cell(&mut sheet, column.header.as_bytes());
    }
    sheet.extend_from_slice(b"</row>");
    for row in rows.split(|byte| *byte == b'\n').filter(|row| !row.is_empty()) {
        sheet.extend_from_slice(b"<row>");
        fields(row).for_each(|field| put_cell(&mut sheet, field));
        sheet.extend_from_slice(b"</row>");
    }
    sheet.extend_from_slice(b"</sheetData></worksheet>");
    stored_zip(&[
        ("[Content_Types].xml", CONTENT_TYPES.as_bytes()),
        ("_rels/.rels", ROOT_RELATIONS.as_bytes()),
        ("xl/workbook.xml", WORKBOOK.as_bytes()),
        ("xl/_rels/workbook.xml.rels", WORKBOOK_RELATIONS.as_bytes()),
        ("xl/worksheets/sheet1.xml", &sheet),
    ])
}

fn put_cell(sheet: &mut Vec<u8>, field: &[u8]) {
    sheet.extend_from_slice(b"<c t=\"inlineStr\"><is><t>");
    for &byte in field {
        match byte {
            b'&' => sheet.extend_from_slice(b"&amp;"),
            b'<' => sheet.extend_from_slice(b"&lt;"),
            b'>' => sheet.extend_from_slice(b"&gt;"),
            other => sheet.push(other),
        }
    }
    sheet.extend_from_slice(b"</t></is></c>");
}

/// A zip whose files are not packed, all dated 2025-01-01.
fn stored_zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    const DATE: u16 = ((2025 - 1980) << 9) | (1 << 5) | 1;
    const UTF8_NAMES: u16 = 1 << 11;
    let (mut zip, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in files {
        let offset = zip.len() as u32;
        let mut shared = Vec::new();
        for value in [20, UTF8_NAMES, 0, 0, DATE] {
            shared.extend_from_slice(&value.to_le_bytes());
        }
        for value in [crc32fast::hash(bytes), bytes.len() as u32, bytes.len() as u32] {
            shared.extend_from_slice(&value.to_le_bytes());
        }
        shared.extend_from_slice(&(name.len() as u16).to_le_bytes());
        shared.extend_from_slice(&0_u16.to_le_bytes());
        zip.extend_from_slice(b"PK\x03\x04");
        zip.extend_from_slice(&shared);
        zip.extend_from_slice(name.as_bytes());
        zip.extend_from_slice(bytes);
        directory.extend_from_slice(b"PK\x01\x02\x14\x00");
        directory.extend_from_slice(&shared);
        directory.extend_from_slice(&[0; 10]);
        directory.extend_from_slice(&offset.to_le_bytes());
        directory.extend_from_slice(name.as_bytes());
    }
    let (start, count) = (zip.len() as u32, files.len() as u16);
    zip.extend_from_slice(&directory);
    zip.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    zip.extend_from_slice(&count.to_le_bytes());
    zip.extend_from_slice(&count.to_le_bytes());
    zip.extend_from_slice(&(directory.len() as u32).to_le_bytes());
    zip.extend_from_slice(&start.to_le_bytes());
    zip.extend_from_slice(&0_u16.to_le_bytes());
    zip
}
