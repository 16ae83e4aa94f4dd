//! The door as a whole: manifests like the shipped ones, records like the cities'.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use shiyu_connectors::Delivery;
use shiyu_connectors::contract::MalformedRow;
use shiyu_schemas::city::manifest::FeedManifest;
use shiyu_schemas::city::{City, FolderFiles};
use shiyu_schemas::place::datum::wgs84_to_gcj02;
use shiyu_schemas::place::{Cell, LatLng};
use shiyu_schemas::v1;

use super::seal::AesSealer;
use super::sql::record_schema;
use super::{AreaLookup, Door, DoorInputs, DoorOutput, Problem, Sealer};

const HOTLINE: &str = r#"
feed: hotline
title: 热线
department: 中心
channel: hotline
origin: citizen
connector: { kind: file }
record:
  columns:
    - { name: id }
    - { name: at }
    - { name: closed }
    - { name: lng }
    - { name: lat }
    - { name: status }
    - { name: kind }
    - { name: address }
    - { name: content }
    - { name: version }
map:
  id: id
  version: version
  where: "kind is null or kind <> 'test'"
  occurred_at: { sql: at, formats: ["%Y-%m-%d %H:%M:%S", "%Y-%m-%d"], junk: ["1900-01-01"] }
  closed_at: { sql: closed, formats: ["%Y-%m-%d %H:%M:%S"], junk: ["1900-01-01"] }
  category: kind
  status: { sql: status, words: { 处理中: in_progress } }
  place: { x: lng, y: lat, datum: gcj02, default_points: [[114.9, 32.6]] }
  address: address
  text: content
  attributes:
    short: "substr(content, 1, 4)"
"#;

struct NorthAndSouth;

impl AreaLookup for NorthAndSouth {
    fn level(&self) -> &'static str {
        "half"
    }

    fn code_at(&self, point: LatLng, _cell: Cell, _local_date: i32) -> Option<&str> {
        Some(if point.lat() > 32.6 { "north" } else { "south" })
    }
}

fn manifest(yaml: &str) -> FeedManifest {
    serde_saphyr::from_str(yaml).unwrap()
}

fn door_of(manifest: &FeedManifest) -> Result<Door, Vec<Problem>> {
    let inputs = DoorInputs {
        manifest,
        zone: "Asia/Shanghai",
        bounds: [32.3, 114.5, 32.9, 115.4],
        categories: Box::new(|text| (text == "噪音").then(|| ("noise".to_owned(), 2))),
        layers: vec![Arc::new(NorthAndSouth)],
        revision: 7,
    };
    Door::from_inputs(inputs, Arc::new(AesSealer::new(&[1; 32])))
}

fn hotline() -> Door {
    door_of(&manifest(HOTLINE)).unwrap()
}

fn delivery(manifest: &FeedManifest, rows: &[&[Option<&str>]], first_row: usize) -> Delivery {
    let schema = record_schema(&manifest.record);
    let columns = manifest.record.columns.len();
    let mut arrays: Vec<arrow::array::ArrayRef> = Vec::new();
    for column in 0..columns {
        arrays.push(Arc::new(rows.iter().map(|row| row[column]).collect::<StringArray>()));
    }
    arrays.push(Arc::new(StringArray::from(vec!["orders.csv"; rows.len()])));
    arrays.push(Arc::new(
        (0..rows.len())
            .map(|row| (first_row + row + 1) as i64)
            .collect::<Int64Array>(),
    ));
    Delivery {
        source: "hotline/orders.csv".to_owned(),
        batch: RecordBatch::try_new(schema, arrays).unwrap(),
        malformed: Vec::new(),
        position: String::new(),
        replaced_characters: 0,
        unknown_columns: Vec::new(),
        bytes_done: 0,
        bytes_total: 0,
        end_of_source: true,
    }
}

/// id, at, closed, lng, lat, status, kind, address, content, version
fn row<'a>(change: &[(usize, Option<&'a str>)]) -> Vec<Option<&'a str>> {
    let mut row = vec![
        Some("1"),
        Some("2024-03-05 08:00:00"),
        None,
        Some("114.95"),
        Some("32.65"),
        Some("处理中"),
        Some("噪音"),
        Some("人民路5号"),
        Some("夜间噪音扰民"),
        Some("3"),
    ];
    for (column, value) in change {
        row[*column] = *value;
    }
    row
}

/// Later than every time of these tests.
const ANY_TIME: i64 = i64::MAX;

fn process(door: &Door, rows: &[Vec<Option<&str>>]) -> DoorOutput {
    let rows: Vec<&[Option<&str>]> = rows.iter().map(Vec::as_slice).collect();
    door.process(&delivery(&manifest(HOTLINE), &rows, 0), ANY_TIME)
}

fn only(output: &DoorOutput) -> &v1::Event {
    assert_eq!(
        (output.events.len(), output.rejections.len()),
        (1, 0),
        "{:?}",
        output.rejections
    );
    &output.events[0]
}

#[test]
fn a_record_becomes_an_event_with_what_was_given_beside_what_was_made() {
    let output = process(&hotline(), &[row(&[])]);
    let event = only(&output);
    assert_eq!(
        (event.feed.as_str(), event.record_id.as_str(), event.source_version),
        ("hotline", "1", 3)
    );
    assert_eq!(event.occurred_at_us, 1_709_596_800_000_000);
    assert_eq!(
        (event.local_hour, event.time_precision()),
        (8, v1::TimePrecision::Second)
    );
    assert_eq!(
        (event.category.as_str(), event.source_category.as_str(), event.severity),
        ("noise", "噪音", 2)
    );
    assert_eq!(
        (event.state(), event.source_status.as_str()),
        (v1::CaseState::InProgress, "处理中")
    );
    assert_eq!(
        (
            event.address.as_str(),
            event.source_x.as_str(),
            event.source_datum.as_str()
        ),
        ("人民路", "114.95", "gcj02")
    );
    assert_eq!(
        (event.source.as_str(), event.source_row, event.revision),
        ("orders.csv", 1, 7)
    );
    assert_eq!(
        event.attributes,
        [v1::Attribute {
            name: "short".to_owned(),
            value: "夜间噪音".to_owned()
        }]
    );
    assert_eq!(
        event.areas,
        [v1::AreaRef {
            level: "half".to_owned(),
            code: "north".to_owned()
        }]
    );
    assert!(event.flags.is_empty());
}

#[test]
fn gcj02_coordinates_land_on_wgs84() {
    let output = process(&hotline(), &[row(&[])]);
    let event = only(&output);
    let (lat, lng) = wgs84_to_gcj02(event.lat.unwrap(), event.lng.unwrap());
    assert!((lat - 32.65).abs() < 1e-9 && (lng - 114.95).abs() < 1e-9);
    assert!((event.lng.unwrap() - 114.95).abs() > 1e-3);
    let cell = LatLng::new(event.lat.unwrap(), event.lng.unwrap())
        .unwrap()
        .to_cell(11)
        .unwrap();
    assert_eq!(event.cell, cell.to_i64());
    assert_eq!(event.place_precision(), v1::PlacePrecision::Exact);
}

#[test]
fn a_record_without_a_place_is_accepted_and_flagged() {
    for (lng, lat, why) in [
        (None, None, "no_coordinates"),
        (Some("114.9"), None, "no_coordinates"),
        (Some("0"), Some("0.0"), "default_point"),
        (Some("114.9"), Some("32.6"), "default_point"),
        (Some("116.4"), Some("39.9"), "outside_city"),
    ] {
        let output = process(&hotline(), &[row(&[(3, lng), (4, lat)])]);
        let event = only(&output);
        assert_eq!(
            (event.place_precision(), event.cell, event.lat),
            (v1::PlacePrecision::None, 0, None)
        );
        assert_eq!(event.flags, [why]);
        assert_eq!(output.flags.get(why), Some(&1));
    }
}

#[test]
fn a_bad_row_becomes_a_rejection_and_the_rest_goes_on() {
    let rows = [
        row(&[(0, Some("1"))]),
        row(&[(0, None)]),
        row(&[(0, Some("3")), (1, Some("yesterday"))]),
        row(&[(0, Some("4")), (1, Some("1900-01-01"))]),
        row(&[(0, Some("5")), (3, Some("east"))]),
        row(&[(0, Some("6")), (9, Some("latest"))]),
        row(&[(0, Some("7")), (6, Some("test"))]),
        row(&[(0, Some("8")), (1, None)]),
        row(&[(0, Some("9")), (1, Some("1901-01-01"))]),
    ];
    let output = process(&hotline(), &rows);
    let accepted: Vec<&str> = output.events.iter().map(|event| event.record_id.as_str()).collect();
    assert_eq!(accepted, ["1", "9"]);
    let reasons: Vec<(u64, &str, &str)> = output
        .rejections
        .iter()
        .map(|rejection| (rejection.source_row, rejection.code.as_str(), rejection.column.as_str()))
        .collect();
    assert_eq!(
        reasons,
        [
            (2, "missing_id", "id"),
            (3, "bad_time", "occurred_at"),
            (4, "junk_date", "occurred_at"),
            (5, "bad_coordinate", "place"),
            (6, "bad_value", "version"),
            (8, "missing_time", "occurred_at"),
        ]
    );
    assert_eq!((output.read, output.excluded), (9, 1));
    assert!(
        output
            .rejections
            .iter()
            .all(|rejection| !rejection.message.contains("yesterday"))
    );
}

#[test]
fn the_original_of_a_rejection_is_sealed_and_can_be_opened_with_the_key() {
    let output = process(&hotline(), &[row(&[(1, Some("soon")), (8, Some("电话13800138000"))])]);
    let sealed = &output.rejections[0].sealed;
    let original = AesSealer::new(&[1; 32]).open(sealed).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&original).unwrap();
    assert_eq!(
        (record["at"].as_str(), record["content"].as_str()),
        (Some("soon"), Some("电话13800138000"))
    );
    assert!(record.get("_file").is_none());
    assert!(!sealed.windows(11).any(|window| window == b"13800138000"));
}

#[test]
fn a_time_behind_the_latest_is_refused_at_the_clock_that_has_it() {
    let manifest = manifest(HOTLINE);
    let door = hotline();
    let at = |change: &[(usize, Option<&'static str>)], latest_us: i64| {
        let rows = row(change);
        let received_at_us = latest_us - 48 * 3_600_000_000;
        let output = door.process(&delivery(&manifest, &[&rows], 0), received_at_us);
        let refused = output.rejections.first();
        refused.map(|rejection| (rejection.code.clone(), rejection.column.clone()))
    };
    let occurred_us = only(&process(&door, &[row(&[])])).occurred_at_us;
    assert_eq!(at(&[], occurred_us), None);
    let refused = |column: &str| Some(("future_time".to_owned(), column.to_owned()));
    assert_eq!(at(&[], occurred_us - 1), refused("occurred_at"));
    assert_eq!(
        at(&[(1, Some("2099-01-01 00:00:00"))], occurred_us),
        refused("occurred_at")
    );
    assert_eq!(
        at(&[(2, Some("2099-01-01 00:00:00"))], occurred_us),
        refused("closed_at")
    );
}

#[test]
fn a_row_larger_than_a_record_can_be_is_refused() {
    let text = "噪".repeat(400_000);
    let output = process(&hotline(), &[row(&[(8, Some(&text))]), row(&[(0, Some("2"))])]);
    assert_eq!((output.events.len(), output.rejections.len()), (1, 1));
    assert_eq!(output.rejections[0].code, "too_large");
}

#[test]
fn a_malformed_row_is_rejected_with_its_bytes_sealed() {
    let manifest = manifest(HOTLINE);
    let mut delivery = delivery(&manifest, &[], 0);
    delivery.malformed.push(MalformedRow {
        row: 4,
        problem: "has 3 fields, not 10".to_owned(),
        raw: b"a,b,c".to_vec(),
    });
    let output = hotline().process(&delivery, ANY_TIME);
    let rejection = &output.rejections[0];
    assert_eq!(
        (rejection.code.as_str(), rejection.source_row, output.read),
        ("malformed_row", 4, 1)
    );
    assert_eq!(
        AesSealer::new(&[1; 32]).open(&rejection.sealed).as_deref(),
        Some(&b"a,b,c"[..])
    );
}

#[test]
fn personal_data_leaves_text_and_address_and_is_flagged() {
    let output = process(
        &hotline(),
        &[row(&[
            (7, Some("阳光小区3号楼2单元501室")),
            (8, Some("联系人张伟，电话１３８００１３８０００")),
            (5, Some("处理中")),
        ])],
    );
    let event = only(&output);
    assert_eq!(event.address, "阳光小区");
    assert_eq!(event.text, "联系人[name]，电话[phone]");
    assert_eq!(event.flags, ["scrubbed"]);
    assert_eq!(output.flags.get("scrubbed"), Some(&1));
}

#[test]
fn a_case_that_ended_before_it_began_loses_its_end() {
    let output = process(&hotline(), &[row(&[(2, Some("2024-03-04 08:00:00"))])]);
    let event = only(&output);
    assert_eq!(
        (event.closed_at_us, event.flags.as_slice()),
        (None, &["closed_before_opened".to_owned()][..])
    );
    let output = process(
        &hotline(),
        &[row(&[
            (1, Some("2024-03-05")),
            (2, Some("2024-03-05 00:00:00")),
            (5, None),
        ])],
    );
    let event = only(&output);
    assert!(event.closed_at_us.is_some() && event.flags.is_empty());
    assert_eq!(event.state(), v1::CaseState::Closed);
}

#[test]
fn junk_in_an_optional_clock_is_no_time() {
    let output = process(&hotline(), &[row(&[(2, Some("1900-01-01 00:00:00"))])]);
    assert_eq!(
        (only(&output).closed_at_us, only(&output).flags.as_slice()),
        (None, &["junk_time".to_owned()][..])
    );
}

#[test]
fn words_nobody_knows_are_flagged() {
    let output = process(&hotline(), &[row(&[(5, Some("悬而未决")), (6, Some("外星人"))])]);
    let event = only(&output);
    assert_eq!((event.state(), event.category.as_str()), (v1::CaseState::Filed, ""));
    assert_eq!(event.flags, ["unknown_category", "unknown_status"]);
    let output = process(&hotline(), &[row(&[(5, Some("结案"))])]);
    assert_eq!(only(&output).state(), v1::CaseState::Closed);
}

const POLICE: &str = r#"
feed: police
title: Police
department: Police
channel: police
origin: citizen
connector: { kind: file }
record:
  columns:
    - { name: Complaint }
    - { name: Crime }
    - { name: Count }
    - { name: DateOccur }
map:
  id: "coalesce(\"Complaint\", '') || '#' || _file || '#' || cast(_row as text)"
  kind: "case when \"Count\" = '-1' then 'cancel' else 'upsert' end"
  occurred_at: { sql: "\"DateOccur\"", formats: ["%m/%d/%Y %H:%M"], zone: America/Chicago }
  category: "\"Crime\""
withdrawal:
  match_key: "\"Complaint\" || '/' || \"Crime\""
"#;

#[test]
fn a_correction_row_is_a_cancel_with_the_key_of_its_record() {
    let manifest = manifest(POLICE);
    let door = door_of(&manifest).unwrap();
    let rows: [&[Option<&str>]; 3] = [
        &[Some("12-1"), Some("31111"), Some("1"), Some("7/4/2012 5:06")],
        &[Some("12-1"), Some("31111"), Some("-1"), Some("7/4/2012 5:06")],
        &[None, Some("31111"), Some("1"), Some("3/11/2012 2:30")],
    ];
    let output = door.process(&delivery(&manifest, &rows, 0), ANY_TIME);
    let kinds: Vec<(v1::EventKind, &str)> = output
        .events
        .iter()
        .map(|event| (event.kind(), event.match_key.as_str()))
        .collect();
    assert_eq!(
        kinds,
        [
            (v1::EventKind::Upsert, "12-1/31111"),
            (v1::EventKind::Cancel, "12-1/31111"),
            (v1::EventKind::Upsert, "")
        ]
    );
    assert_eq!(output.events[0].record_id, "12-1#orders.csv#1");
    assert_eq!(output.events[2].flags, ["shifted_time", "unknown_category"]);
    assert_eq!(output.events[0].place_precision(), v1::PlacePrecision::None);
}

#[test]
fn a_feed_can_tell_per_record_who_noticed() {
    let mixed = manifest(&HOTLINE.replace(
        "  id: id\n",
        "  id: id\n  origin: \"case when content = '巡查' then 'patrol' else content end\"\n",
    ));
    let door = door_of(&mixed).unwrap();
    let of = |content| {
        let rows = [row(&[(8, content)])];
        let output = process(&door, &rows);
        (
            output.events.first().map(v1::Event::origin),
            output.rejections.first().map(|rejection| rejection.column.clone()),
        )
    };
    assert_eq!(of(Some("巡查")), (Some(v1::Origin::Patrol), None));
    assert_eq!(of(None), (Some(v1::Origin::Citizen), None));
    assert_eq!(of(Some("外星人")), (None, Some("origin".to_owned())));
}

#[test]
fn an_id_that_points_at_a_person_becomes_a_pseudonym() {
    let output = process(&hotline(), &[row(&[(0, Some("来电13800138000"))])]);
    let event = only(&output);
    assert!(event.record_id.starts_with("p-"), "{}", event.record_id);
    assert!(!event.record_id.contains("138"), "{}", event.record_id);
    assert!(event.flags.contains(&"pseudonym".to_owned()), "{:?}", event.flags);
    let again = process(&hotline(), &[row(&[(0, Some("来电13800138000"))])]);
    assert_eq!(only(&again).record_id, event.record_id);
}

fn problems_of(from: &str, to: &str) -> Vec<Problem> {
    assert!(HOTLINE.contains(from), "{from}");
    door_of(&manifest(&HOTLINE.replace(from, to))).err().unwrap_or_default()
}

#[test]
fn what_is_never_admitted_does_not_load() {
    for (from, to, key) in [
        ("short:", "caller_phone:", "map.attributes.caller_phone"),
        ("short:", "车牌:", "map.attributes.车牌"),
        (
            "{ name: version }",
            "{ name: imei }\n    - { name: version }",
            "record.columns",
        ),
    ] {
        let problems = problems_of(from, to);
        assert!(
            problems
                .iter()
                .any(|problem| problem.key == key && problem.message.contains("never admitted")),
            "{problems:?}"
        );
    }
}

#[test]
fn a_mapping_sees_one_record_and_no_clock() {
    for (sql, told) in [
        ("max(id)", "aggregates"),
        ("row_number() over ()", "aggregates"),
        ("(select 1)", "sub-queries"),
        ("cast(now() as text)", "depends on when it runs"),
        ("cast(random() as text)", "depends on when it runs"),
        ("no_such_column", "no_such_column"),
        ("id ||", "found: EOF"),
        ("no_such_function(id)", "no_such_function"),
    ] {
        let problems = problems_of("  id: id\n", &format!("  id: {sql}\n"));
        assert_eq!(problems.len(), 1, "{sql}: {problems:?}");
        assert_eq!(problems[0].key, "map.id");
        assert!(problems[0].message.contains(told), "{sql}: {}", problems[0].message);
    }
    let problems = problems_of("where: \"kind is null or kind <> 'test'\"", "where: kind");
    assert!(problems[0].message.contains("condition"), "{problems:?}");
}

#[test]
fn all_problems_of_a_manifest_are_told_at_once() {
    let broken = HOTLINE
        .replace("  id: id\n", "  id: nothing\n")
        .replace("datum: gcj02", "datum: mars")
        .replace("in_progress", "sleeping")
        .replace("origin: citizen", "origin: neighbour")
        .replace("\"%Y-%m-%d %H:%M:%S\", ", "\"%Q\", ");
    let keys: Vec<String> = door_of(&manifest(&broken))
        .err()
        .unwrap()
        .into_iter()
        .map(|problem| problem.key)
        .collect();
    assert_eq!(
        keys,
        [
            "origin",
            "map.id",
            "map.occurred_at",
            "map.status.words",
            "map.place.datum"
        ]
    );
}

#[test]
fn where_a_delivery_is_cut_does_not_change_what_its_rows_become() {
    let manifest = manifest(HOTLINE);
    let door = hotline();
    let bad = ["x", "1", "2", "y", "3", "4", "5", "z"];
    let rows: Vec<Vec<Option<&str>>> = (0..40)
        .map(|index| {
            row(&[
                (0, (index % 11 != 3).then_some("id")),
                (9, Some(bad[index % bad.len()])),
                (6, Some(if index % 7 == 0 { "test" } else { "噪音" })),
                (3, Some(if index % 5 == 0 { "0" } else { "114.95" })),
                (8, Some(if index % 3 == 0 { "电话13800138000" } else { "路灯" })),
            ])
        })
        .collect();
    let rows: Vec<&[Option<&str>]> = rows.iter().map(Vec::as_slice).collect();
    let whole = door.process(&delivery(&manifest, &rows, 0), ANY_TIME);
    for cut in 0..=rows.len() {
        let mut parts = door.process(&delivery(&manifest, &rows[..cut], 0), ANY_TIME);
        let rest = door.process(&delivery(&manifest, &rows[cut..], cut), ANY_TIME);
        parts.events.extend(rest.events);
        parts.rejections.extend(rest.rejections);
        assert_eq!(parts.events, whole.events, "cut at {cut}");
        let said = |output: &DoorOutput| -> Vec<(u64, String, String)> {
            output
                .rejections
                .iter()
                .map(|one| (one.source_row, one.code.clone(), one.column.clone()))
                .collect()
        };
        assert_eq!(said(&parts), said(&whole), "cut at {cut}");
        assert_eq!(parts.excluded + rest.excluded, whole.excluded);
        assert_eq!(parts.read + rest.read, whole.read);
    }
}

#[test]
fn the_same_record_from_elsewhere_is_the_same_version() {
    let manifest = manifest(HOTLINE);
    let door = hotline();
    let same = row(&[]);
    let first = door.process(&delivery(&manifest, &[&same], 0), ANY_TIME);
    let again = door.process(&delivery(&manifest, &[&same], 5), ANY_TIME);
    let hash = |output: &DoorOutput| (output.events[0].content_hash_high, output.events[0].content_hash_low);
    assert_eq!(hash(&first), hash(&again));
    assert_ne!(first.events[0].delivery_hash, again.events[0].delivery_hash);
    let other = row(&[(8, Some("白天噪音扰民"))]);
    assert_ne!(
        hash(&first),
        hash(&door.process(&delivery(&manifest, &[&other], 0), ANY_TIME))
    );
}

#[test]
fn a_batch_with_other_columns_is_read_by_name() {
    let manifest = manifest(HOTLINE);
    let full = delivery(&manifest, &[&row(&[])], 0);
    let keep: Vec<usize> = (0..full.batch.num_columns())
        .rev()
        .filter(|index| *index != 8)
        .collect();
    let fewer = Delivery {
        batch: full.batch.project(&keep).unwrap(),
        ..full
    };
    let output = hotline().process(&fewer, ANY_TIME);
    assert_eq!(
        (only(&output).text.as_str(), only(&output).record_id.as_str()),
        ("", "1")
    );
}

/// A city folder in memory.
struct Folder(Vec<(&'static str, String)>);

impl FolderFiles for Folder {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let file = self.0.iter().find(|(name, _)| *name == path);
        file.map(|(_, text)| text.clone().into_bytes())
            .ok_or_else(|| "no such file".to_owned())
    }

    fn list(&self, folder: &str) -> Vec<String> {
        self.0
            .iter()
            .filter_map(|(name, _)| name.strip_prefix(folder)?.strip_prefix('/'))
            .map(str::to_owned)
            .collect()
    }
}

fn city(hotline: &str) -> City {
    let folder = Folder(vec![
        (
            "city.yaml",
            "city: test\ntitle: Test\nzone: Asia/Shanghai\nbounds: [32.3, 114.5, 32.9, 115.4]\ncategories: city\n"
                .to_owned(),
        ),
        ("feeds/hotline.yaml", hotline.trim_start().to_owned()),
        (
            "categories/city.csv",
            "code,parent,name,name_zh,severity\nnoise,,Noise,噪音,2\nnoise.night,noise,At night,夜间,\n".to_owned(),
        ),
        (
            "categories/city.hotline.csv",
            "source,code\n夜间*,noise.night\n噪音,noise\n".to_owned(),
        ),
    ]);
    City::load(&folder, &BTreeMap::new()).unwrap()
}

#[test]
fn a_citys_crosswalk_gives_the_category_and_its_inherited_severity() {
    let city = city(HOTLINE);
    let door = Door::compile(&city.feeds[0], &city, Arc::new(AesSealer::new(&[1; 32]))).unwrap();
    let output = process(&door, &[row(&[(6, Some("夜间施工"))])]);
    let event = only(&output);
    assert_eq!(
        (event.category.as_str(), event.severity, event.revision),
        ("noise.night", 2, city.revision)
    );
}

#[test]
fn a_planning_error_names_file_line_and_column() {
    let broken = HOTLINE.replace("  address: address", "  address: adress");
    let line = broken
        .trim_start()
        .lines()
        .position(|line| line.contains("adress"))
        .unwrap()
        + 1;
    let city = city(&broken);
    let errors = Door::compile(&city.feeds[0], &city, Arc::new(AesSealer::new(&[1; 32])))
        .err()
        .unwrap();
    let told = errors.to_string();
    assert!(told.starts_with(&format!("feeds/hotline.yaml:{line}:3: ")), "{told}");
    assert!(told.contains("adress"), "{told}");
}

#[test]
fn sealers_can_be_shared() {
    fn shared<T: Send + Sync + ?Sized>() {}
    shared::<dyn Sealer>();
    shared::<Door>();
}

#[test]
fn what_is_called_trimmed_has_no_blanks_at_its_ends() {
    let blanks = ('\0'..='\u{ffff}').filter(|character| character.is_whitespace());
    for blank in blanks.chain(['\u{7f}', 'é', '\u{feff}']) {
        for text in [
            format!("{blank}"),
            format!("{blank}a"),
            format!("a{blank}"),
            format!("市{blank}"),
            format!("{blank}市"),
        ] {
            assert!(!super::is_trimmed(&text) || text.trim() == text, "{text:?}");
        }
    }
    for text in ["a", "ab", "市", "a市", "市a", "市民"] {
        assert!(super::is_trimmed(text), "{text}");
    }
    assert!(!super::is_trimmed(""));
}
