#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::sync::Arc;

use shiyu_log::local::LocalLog;
use shiyu_log::vfs::RealVfs;
use shiyu_schemas::city::City;

use super::*;
use crate::city_folder::OnDisk;
use crate::hub::{Roles, SystemClock, backup};

const FEED: &str = "feed: calls
title: Calls
department: Police
channel: police
origin: citizen
connector: { kind: file }
record:
  columns: [{ name: id }, { name: at }, { name: kind }]
map:
  id: id
  occurred_at: { sql: at, formats: ['%Y-%m-%d'] }
  category: kind
";

/// A square with a code; large, where it has many points.
fn square(points: usize) -> String {
    let side: Vec<String> = (0..points)
        .map(|point| format!("[{},30.0]", 110.0 + point as f64 / points as f64))
        .collect();
    format!(
        r#"{{"type":"FeatureCollection","features":[{{"type":"Feature","properties":{{"code":"1","name":"One"}},
        "geometry":{{"type":"Polygon","coordinates":[[{},[111.0,30.0],[111.0,31.0],[110.0,31.0],[110.0,30.0]]]}}}}]}}"#,
        side.join(",")
    )
}

/// A city's folder, boundaries outside of it, a data folder.
struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let city = "city: test\ntitle: Test\nzone: Asia/Shanghai\nbounds: [30, 110, 31, 111]\ncategories: city\nareas:\n  - { level: ward, file: \"${GEO}/wards.geojson\", code: code, name: name }\n";
        for (path, text) in [
            ("city/city.yaml", city),
            ("city/feeds/calls.yaml", FEED),
            (
                "city/categories/city.csv",
                "code,parent,name,name_zh,severity\nnoise,,Noise,噪声,2\n",
            ),
            ("city/categories/city.calls.csv", "source,code\nN,noise\n"),
            ("geo/wards.geojson", &square(1)),
        ] {
            world.write(path, text);
        }
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn city(&self, folder: &str, geo: &str) -> City {
        let geo = self.path(geo).to_string_lossy().into_owned();
        let variables = BTreeMap::from([("GEO".to_owned(), geo)]);
        let city = City::load(&OnDisk(self.path(folder)), &variables).unwrap();
        assert!(city.warnings.is_empty(), "{:?}", city.warnings);
        city
    }

    fn options(&self) -> HubOptions {
        HubOptions {
            data_dir: self.path("data"),
            city: Arc::new(self.city("city", "geo")),
            city_folder: self.path("city"),
            variables: BTreeMap::new(),
            log: LogChoice::Local,
            roles: Roles::ALL,
            shared: None,
            partitions: 1,
            flush_interval: std::time::Duration::from_hours(1),
            clock: Arc::new(SystemClock),
        }
    }

    async fn hub(&self) -> Hub {
        Hub::open(self.options()).await.unwrap()
    }

    /// Pushes one record through a hub of the city as it is now, and returns the city's revision.
    async fn push(&self) -> u64 {
        let hub = self.hub().await;
        let request = v1::PushRequest {
            feed: "calls".to_owned(),
            records: vec![r#"{"id":"1","at":"2026-01-01","kind":"N"}"#.to_owned()],
            ..v1::PushRequest::default()
        };
        let receipts = hub.push(&request).await.unwrap();
        assert_eq!(receipts.len(), 1);
        let revision = hub.city().revision;
        hub.close().await.unwrap();
        revision
    }

    async fn read(&self, wanted: Option<u64>) -> Revisions {
        Revisions::read_folder(&self.path("data"), "test", &LogChoice::Local, wanted)
            .await
            .unwrap()
    }

    async fn hashes(&self) -> Vec<u64> {
        self.read(None)
            .await
            .listed
            .iter()
            .map(|revision| revision.hash)
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_stands_in_the_log_once_before_its_records_and_gives_its_folder_back() {
    let world = World::new();
    let asks = HubOptions {
        roles: Roles {
            connect: false,
            ..Roles::ALL
        },
        ..world.options()
    };
    let hub = Hub::open(asks).await.unwrap();
    assert_eq!(hub.log().range(Topic::Revisions, 0), (0, 0), "it maps nothing");
    hub.close().await.unwrap();
    let first = world.push().await;
    assert_eq!(world.push().await, first);
    assert_eq!(world.hashes().await, [first]);

    // A boundary from outside makes a revision, too.
    world.write("geo/wards.geojson", &square(2));
    let second = world.push().await;
    assert_ne!(first, second);
    world.write("geo/wards.geojson", &square(1));
    assert_eq!(world.push().await, first);
    assert_eq!(world.hashes().await, [first, second, first]);

    for revision in [first, second] {
        let files = world.read(Some(revision)).await.into_files().unwrap();
        let name = hash_text(revision);
        write_files(&files, &world.path(&name)).unwrap();
        let again = world.city(&name, &format!("{name}/variables/GEO"));
        assert_eq!(again.revision, revision);
        assert_eq!(again.layers.len(), 1);
        let error = write_files(&files, &world.path(&name)).unwrap_err().to_string();
        assert!(error.contains("it is not empty"), "{error}");
    }
    let listed = world.read(None).await.listed;
    assert_eq!((listed[0].files, listed[2].files), (5, 5));
    assert_eq!(listed[0].bytes, listed[2].bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_is_meant_by_its_beginning_and_an_unknown_one_is_told_with_those_there_are() {
    let world = World::new();
    let empty = Revisions::default().find("12").unwrap_err().to_string();
    assert!(empty.contains("there is none yet"), "{empty}");
    let hash = world.push().await;
    let name = hash_text(hash);
    let revisions = world.read(None).await;
    assert_eq!(revisions.find(&name).unwrap(), hash);
    assert_eq!(revisions.find(&name.to_uppercase()[..6]).unwrap(), hash);
    let mut wrong = name.clone();
    wrong.replace_range(15..16, if name.ends_with('0') { "1" } else { "0" });
    for text in [wrong.as_str(), "", "zz"] {
        let error = revisions.find(text).unwrap_err().to_string();
        assert!(error.contains(&format!("there are, newest first: {name}")), "{error}");
    }
    let error = revisions.find(&wrong).unwrap_err().to_string();
    assert!(error.contains(&format!("did you mean \"{name}\"?")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_revision_is_kept_in_parts_and_one_whose_writer_died_does_not_count() {
    let world = World::new();
    // More than a part, packed: digits that say nothing twice.
    let mut digits = String::new();
    let mut state = 1_u64;
    while digits.len() < 4 << 20 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        digits.push_str(&format!("# {:016x}\n", state ^ (state >> 29)));
    }
    let calls = format!("{FEED}{digits}");
    world.write("city/feeds/calls.yaml", &calls);
    let hash = world.push().await;
    let log = LocalLog::open(
        &world.path("data/log"),
        Arc::new(RealVfs),
        shiyu_log::local::LocalLogOptions {
            events_partitions: 1,
            ..Default::default()
        },
    )
    .unwrap();
    let (records, _) = records_from(&log, 0).await.unwrap();
    assert!(records.len() > 1);
    // Another writer died before its last part, and one was told twice.
    let half = records[..records.len() - 1].iter().map(|record| v1::Revision {
        hash: 7,
        recorded_at_us: 1,
        ..record.clone()
    });
    let mut revisions = Revisions::wanting(Some(hash));
    for record in half.chain(records.iter().flat_map(|record| [record.clone(), record.clone()])) {
        revisions.take(record);
    }
    assert_eq!(revisions.newest(), Some(hash));
    assert_eq!(revisions.listed.len(), 1);
    let files = revisions.into_files().unwrap();
    let feed = files.iter().find(|file| file.name == "feeds/calls.yaml").unwrap();
    assert_eq!(feed.content, calls.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_changes_while_it_is_opened_is_refused() {
    let world = World::new();
    let options = world.options();
    world.write("city/categories/city.calls.csv", "source,code\nX,noise\n");
    let error = Hub::open(options).await.unwrap_err().to_string();
    assert!(error.contains("a file changed since it was read"), "{error}");
    assert!(world.hashes().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_has_the_revisions_and_trimming_leaves_them() {
    let world = World::new();
    let hash = world.push().await;
    let hub = world.hub().await;
    hub.backup(&world.path("backup")).await.unwrap();
    hub.trim(0).await.unwrap();
    hub.close().await.unwrap();
    assert_eq!(world.hashes().await, [hash]);
    backup::restore(&world.path("backup"), &world.path("restored")).unwrap();
    let restored = Revisions::read_folder(&world.path("restored"), "test", &LogChoice::Local, Some(hash))
        .await
        .unwrap();
    assert_eq!(restored.newest(), Some(hash));
    assert_eq!(restored.into_files().unwrap().len(), 5);
}

#[test]
fn files_that_are_not_those_of_the_hash_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("city.yaml"), "city: x\n").unwrap();
    let file = |name: &str| ReadFile {
        path: "city.yaml".to_owned(),
        name: name.to_owned(),
    };
    let hash = hash_of([b"city: x\n".as_slice()]);
    let error = pack(folder.path(), &[file("city.yaml")], hash + 1)
        .unwrap_err()
        .to_string();
    assert!(error.contains("changed since it was read"), "{error}");
    let files_of = |name: &str, told_as: u64| {
        let (parts, told) = pack(folder.path(), &[file(name)], hash).unwrap();
        let told = v1::Revision {
            hash: told_as,
            parts: 1,
            ..told
        };
        let mut revisions = Revisions::wanting(Some(told_as));
        for record in records_of(&told, parts) {
            revisions.take(record);
        }
        revisions.into_files()
    };
    assert_eq!(files_of("city.yaml", hash).unwrap().len(), 1);
    let error = files_of("city.yaml", hash + 1).unwrap_err().to_string();
    assert!(error.contains("another hash"), "{error}");
    let error = files_of("../city.yaml", hash).unwrap_err().to_string();
    assert!(error.contains("leads out of its folder"), "{error}");
}
