#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use arrow::array::{Array as _, AsArray as _};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::Delivery;

fn manifest(with: &str) -> FeedManifest {
    let text = format!(
        "{{\"feed\":\"f\",\"title\":\"F\",\"department\":\"D\",\"channel\":\"other\",\"origin\":\"citizen\",
        \"connector\":{{\"kind\":\"file\",\"with\":{with}}},
        \"record\":{{\"columns\":[{{\"name\":\"id\"}},{{\"name\":\"x\",\"also\":[\"X-Coord\"],\"optional\":true}}],\"nulls\":[\"NA\"]}},
        \"map\":{{\"id\":\"id\",\"category\":\"x\",\"occurred_at\":{{\"sql\":\"x\",\"formats\":[\"%Y\"]}}}}}}"
    );
    serde_json::from_str(&text).unwrap()
}

fn context(folder: &Path, batch_rows: usize) -> OpenContext {
    OpenContext {
        variables: BTreeMap::new(),
        inputs: vec![folder.to_owned()],
        city_folder: PathBuf::new(),
        positions: BTreeMap::new(),
        watch: false,
        batch_rows,
        stop: CancellationToken::new(),
    }
}

async fn read_all(with: &str, context: OpenContext) -> Vec<Result<Delivery, ConnectorError>> {
    let mut reader = FileConnector.open(&manifest(with), context).unwrap();
    let mut deliveries = Vec::new();
    loop {
        match reader.next().await {
            Ok(Some(delivery)) => deliveries.push(Ok(delivery)),
            Ok(None) => return deliveries,
            Err(error) => deliveries.push(Err(error)),
        }
    }
}

/// `file row id x`, a line per row.
fn lines(deliveries: &[Result<Delivery, ConnectorError>]) -> Vec<String> {
    let mut lines = Vec::new();
    for delivery in deliveries.iter().flatten() {
        let text = |column: usize, row: usize| {
            let values = delivery.batch.column(column).as_string::<i32>();
            if values.is_null(row) {
                "NULL".to_owned()
            } else {
                values.value(row).to_owned()
            }
        };
        let rows = delivery.batch.column(3).as_primitive::<arrow::datatypes::Int64Type>();
        for row in 0..delivery.batch.num_rows() {
            lines.push(format!(
                "{} {} {} {}",
                delivery.source,
                rows.value(row),
                text(0, row),
                text(1, row)
            ));
        }
    }
    lines
}

const CSV: &str = r#"{"paths":["${D}/*.csv"]}"#;

#[tokio::test]
async fn header_shapes_quotes_and_nulls_become_one_record() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.csv"), "id,x\n1,\"a, \"\"b\"\"\nc\"\n\n2, NA \r\n").unwrap();
    std::fs::write(folder.path().join("b.csv"), "\u{feff}X-Coord,other,id\n7,8,9\n").unwrap();
    std::fs::write(folder.path().join("c.csv"), "id\n5").unwrap();
    let deliveries = read_all(CSV, context(folder.path(), 100)).await;
    assert_eq!(
        lines(&deliveries),
        [
            "a.csv 1 1 a, \"b\"\nc",
            "a.csv 2 2 NULL",
            "b.csv 1 9 7",
            "c.csv 1 5 NULL"
        ]
    );
    assert_eq!(deliveries[1].as_ref().unwrap().unknown_columns, ["other"]);
}

#[tokio::test]
async fn a_bad_row_or_file_does_not_stop_the_others() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.csv"), "id,x\n1,2\n3,4,5\n6\n7,8\n").unwrap();
    std::fs::write(folder.path().join("b.csv"), "x\n1\n").unwrap();
    std::fs::write(folder.path().join("c.csv"), "id,x\n1,\"open\n2,3\n").unwrap();
    std::fs::write(folder.path().join("d.csv"), b"PK\x03\x04\x14\0").unwrap();
    let deliveries = read_all(
        r#"{"paths":["${D}/*.csv"],"max_row_bytes":4}"#,
        context(folder.path(), 100),
    )
    .await;
    assert_eq!(lines(&deliveries[..1]), ["a.csv 1 1 2", "a.csv 4 7 8"]);
    let malformed = &deliveries[0].as_ref().unwrap().malformed;
    assert_eq!(malformed.iter().map(|row| row.row).collect::<Vec<_>>(), [2, 3]);
    let error = deliveries[1].as_ref().unwrap_err().to_string();
    assert!(error.contains("b.csv") && error.contains("no column id"), "{error}");
    let last = deliveries[2].as_ref().unwrap();
    assert_eq!(last.malformed[0].row, 1);
    assert!(last.malformed[0].problem.contains("quote"));
    assert_eq!(lines(&deliveries[2..3]), ["c.csv 2 2 3"]);
    let error = deliveries[3].as_ref().unwrap_err().to_string();
    assert!(
        error.contains("d.csv") && error.contains("save the sheet as CSV"),
        "{error}"
    );
}

#[tokio::test]
async fn encodings_are_guessed_over_the_whole_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut western = "\u{feff}id,x\n".as_bytes().to_vec();
    for row in 0..5_000 {
        western.extend_from_slice(format!("{row},plain\n").as_bytes());
    }
    western.extend_from_slice(b"5000,it\x92s\n");
    std::fs::write(folder.path().join("a.csv"), western).unwrap();
    let chinese = encoding_rs::GB18030
        .encode("id,x\n1,垃圾堆积影响居民生活\n2,道路破损请尽快修复\n")
        .0
        .into_owned();
    std::fs::write(folder.path().join("b.csv"), &chinese).unwrap();
    let found = lines(&read_all(CSV, context(folder.path(), 10_000)).await);
    assert!(found[5_000].ends_with("5000 it\u{2019}s"), "{}", found[5_000]);
    assert_eq!(found[5_001], "b.csv 1 1 垃圾堆积影响居民生活");
    std::fs::write(folder.path().join("b.csv"), b"id,x\n1,\xff\xff\n").unwrap();
    let deliveries = read_all(
        r#"{"paths":["${D}/b.csv"],"encoding":"utf-8"}"#,
        context(folder.path(), 10),
    )
    .await;
    assert_eq!(deliveries[0].as_ref().unwrap().replaced_characters, 2);
}

#[tokio::test]
async fn what_a_spreadsheet_saves_as_unicode_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let text: Vec<u16> = "\u{feff}\"id\"\tx\r\n1\t路灯不亮\r\n2\t😀\r\n".encode_utf16().collect();
    let bytes = |order: fn(u16) -> [u8; 2]| text.iter().flat_map(|unit| order(*unit)).collect::<Vec<u8>>();
    std::fs::write(folder.path().join("a.csv"), bytes(u16::to_le_bytes)).unwrap();
    std::fs::write(folder.path().join("b.csv"), bytes(u16::to_be_bytes)).unwrap();
    let deliveries = read_all(
        r#"{"paths":["${D}/*.csv"],"delimiter":"\t"}"#,
        context(folder.path(), 10),
    )
    .await;
    let expected = [
        "a.csv 1 1 路灯不亮",
        "a.csv 2 2 😀",
        "b.csv 1 1 路灯不亮",
        "b.csv 2 2 😀",
    ];
    assert_eq!(lines(&deliveries), expected);
}

#[tokio::test]
async fn compressed_files_and_json_are_read_alike() {
    let folder = tempfile::tempdir().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"id,x\n1,2\n").unwrap();
    std::fs::write(folder.path().join("a.csv.gz"), gzip.finish().unwrap()).unwrap();
    std::fs::write(
        folder.path().join("b.csv.zst"),
        zstd::encode_all(b"id,x\n3,4\n".as_slice(), 1).unwrap(),
    )
    .unwrap();
    std::fs::write(
        folder.path().join("c.ndjson"),
        "{\"id\":\"5\",\"X-Coord\":6.5}\nno json\n\n[1]\n{\"id\":7}\n",
    )
    .unwrap();
    std::fs::write(folder.path().join("d.json"), "{\"r\":{\"all\":[{\"id\":8}]}}").unwrap();
    let deliveries = read_all(
        r#"{"paths":["${D}/*"],"records_path":"r.all"}"#,
        context(folder.path(), 100),
    )
    .await;
    assert_eq!(
        lines(&deliveries),
        [
            "a.csv.gz 1 1 2",
            "b.csv.zst 1 3 4",
            "c.ndjson 1 5 6.5",
            "c.ndjson 4 7 NULL",
            "d.json 1 8 NULL"
        ]
    );
    assert_eq!(deliveries[2].as_ref().unwrap().malformed.len(), 2);
}

#[tokio::test]
async fn reading_goes_on_exactly_behind_any_position() {
    let folder = tempfile::tempdir().unwrap();
    let text = (0..50)
        .map(|row| format!("{row},v{row}\n"))
        .collect::<Vec<_>>()
        .concat();
    std::fs::write(folder.path().join("a.csv"), format!("id,x\n{text}")).unwrap();
    let coded = encoding_rs::GB18030
        .encode(&format!("id,x\n1,居民\n{text}"))
        .0
        .into_owned();
    std::fs::write(folder.path().join("b.csv"), coded).unwrap();
    let whole = lines(&read_all(CSV, context(folder.path(), 1_000)).await);
    let parts = read_all(CSV, context(folder.path(), 7)).await;
    assert_eq!(lines(&parts), whole);
    for stop_after in 0..parts.len() {
        let mut resumed = context(folder.path(), 7);
        for delivery in parts[..stop_after].iter().flatten() {
            resumed
                .positions
                .insert(delivery.source.clone(), delivery.position.clone());
        }
        let mut all = lines(&parts[..stop_after]);
        all.extend(lines(&read_all(CSV, resumed).await));
        assert_eq!(all, whole, "stopped after {stop_after}");
    }
}

#[tokio::test]
async fn bytes_that_are_no_utf8_far_into_a_file_are_replaced_and_reading_goes_on_behind_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = b"id,x\n".to_vec();
    // Characters of three bytes, so that blocks end within one.
    for row in 0..40_000 {
        bytes.extend_from_slice(format!("{row},垃圾堆积\n").as_bytes());
    }
    bytes.extend_from_slice(b"40000,a\xffb\xe5\x9e\n40001,\xe5\x9e\x83\n40002,\xe5");
    std::fs::write(folder.path().join("a.csv"), bytes).unwrap();
    let with = r#"{"paths":["${D}/a.csv"],"encoding":"utf-8"}"#;
    let parts = read_all(with, context(folder.path(), 9_000)).await;
    let whole = lines(&parts);
    assert_eq!(whole.len(), 40_003);
    assert!(whole[..40_000].iter().all(|line| line.ends_with(" 垃圾堆积")));
    assert!(whole[40_000].ends_with(" a\u{fffd}b\u{fffd}") && whole[40_001].ends_with(" 垃"));
    let replaced = parts.iter().flatten().map(|part| part.replaced_characters);
    assert_eq!(replaced.sum::<u64>(), 3);
    for stop_after in 0..parts.len() {
        let mut resumed = context(folder.path(), 1);
        resumed.batch_rows = 50_000;
        if let Some(last) = parts[..stop_after].iter().flatten().last() {
            resumed.positions.insert(last.source.clone(), last.position.clone());
        }
        let mut all = lines(&parts[..stop_after]);
        all.extend(lines(&read_all(with, resumed).await));
        assert_eq!(all, whole, "stopped after {stop_after}");
    }
}

#[tokio::test]
async fn a_grown_file_is_read_on_and_a_replaced_one_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    std::fs::write(&path, "id,x\n1,2\n").unwrap();
    let first = read_all(CSV, context(folder.path(), 10)).await;
    let mut again = context(folder.path(), 10);
    again
        .positions
        .insert("a.csv".to_owned(), first[0].as_ref().unwrap().position.clone());
    assert!(read_all(CSV, again.clone()).await.is_empty(), "nothing new");
    std::fs::write(&path, "id,x\n1,2\n3,4\n").unwrap();
    assert_eq!(lines(&read_all(CSV, again.clone()).await), ["a.csv 2 3 4"]);
    std::fs::write(&path, "id,x\n9,9\n3,4\n5,6\n").unwrap();
    assert_eq!(lines(&read_all(CSV, again).await).len(), 3);
}

#[tokio::test]
async fn a_watching_reader_waits_for_whole_lines_and_ends_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    std::fs::write(&path, "id,x\n1,2\n3,").unwrap();
    let mut watching = context(folder.path(), 10);
    watching.watch = true;
    let stop = watching.stop.clone();
    let mut reader = FileConnector
        .open(&manifest(r#"{"paths":["${D}/*.csv"],"watch":true}"#), watching)
        .unwrap();
    let first = vec![Ok(reader.next().await.unwrap().unwrap())];
    assert_eq!(lines(&first), ["a.csv 1 1 2"]);
    std::fs::write(&path, "id,x\n1,2\n3,4\n").unwrap();
    let second = vec![Ok(reader.next().await.unwrap().unwrap())];
    assert_eq!(lines(&second), ["a.csv 2 3 4"]);
    stop.cancel();
    assert!(reader.next().await.unwrap().is_none());
}

#[tokio::test]
async fn all_of_st_louis_is_read() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/stl/police");
    if !data.is_dir() {
        eprintln!("skipped: no ../shared/data");
        return;
    }
    let with = r#"{"paths":["${D}/**/20??-??.csv"]}"#;
    let mut manifest = manifest(with);
    manifest.record.columns[0].name = "Crime".to_owned();
    manifest.record.columns[1].also = vec!["X-Coord".to_owned(), "XCoord".to_owned()];
    let mut reader = FileConnector.open(&manifest, context(&data, 50_000)).unwrap();
    let (mut rows, mut files) = (0, std::collections::BTreeSet::new());
    while let Some(delivery) = reader.next().await.unwrap() {
        assert_eq!(delivery.malformed.len(), 0);
        assert_eq!(delivery.replaced_characters, 0);
        rows += delivery.batch.num_rows();
        files.insert(delivery.source);
    }
    assert_eq!((files.len(), rows), (120, 548_413));
}
