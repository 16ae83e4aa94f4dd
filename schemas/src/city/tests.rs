#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::Path;

use super::*;

struct InMemory(BTreeMap<String, String>);

impl FolderFiles for InMemory {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        self.0
            .get(path)
            .map(|text| text.clone().into_bytes())
            .ok_or_else(|| "there is no such file".to_owned())
    }

    fn list(&self, folder: &str) -> Vec<String> {
        let prefix = format!("{folder}/");
        self.0
            .keys()
            .filter_map(|path| path.strip_prefix(&prefix))
            .map(str::to_owned)
            .collect()
    }
}

struct OnDisk(std::path::PathBuf);

impl FolderFiles for OnDisk {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        std::fs::read(self.0.join(path)).map_err(|error| error.to_string())
    }

    fn list(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.0.join(folder)) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

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

fn folder() -> BTreeMap<String, String> {
    [
        (
            "city.yaml",
            "city: test\ntitle: Test\nzone: Asia/Shanghai\nbounds: [30, 110, 31, 111]\ncategories: city\n",
        ),
        ("feeds/calls.yaml", FEED),
        (
            "categories/city.csv",
            "code,parent,name,name_zh,severity\nnoise,,Noise,噪声,2\n",
        ),
        ("categories/city.calls.csv", "source,code\nN,noise\n"),
    ]
    .map(|(path, text)| (path.to_owned(), text.to_owned()))
    .into()
}

fn errors_of(path: &str, from: &str, to: &str) -> String {
    let mut files = folder();
    let text = files.get_mut(path).unwrap();
    assert!(text.contains(from));
    *text = text.replace(from, to);
    City::load(&InMemory(files), &BTreeMap::new()).unwrap_err().to_string()
}

#[test]
fn a_whole_folder_loads_and_its_hash_follows_its_files() {
    let city = City::load(&InMemory(folder()), &BTreeMap::new()).unwrap();
    assert_eq!(city.feeds.len(), 1);
    assert_eq!(city.feed("calls").unwrap().crosswalk.map("N"), Some("noise"));
    let mut other = folder();
    other.get_mut("city.yaml").unwrap().push_str("# changed\n");
    assert_ne!(
        City::load(&InMemory(other), &BTreeMap::new()).unwrap().revision,
        city.revision
    );
}

#[test]
fn problems_name_file_line_column_and_remedy() {
    let error = errors_of("feeds/calls.yaml", "origin: citizen", "orign: citizen");
    assert!(
        error.starts_with("feeds/calls.yaml:5:1: ") && error.contains("did you mean \"origin\"?"),
        "{error}"
    );
    let error = errors_of("feeds/calls.yaml", "channel: police", "channel: polise");
    assert!(
        error.starts_with("feeds/calls.yaml:4:1: ") && error.contains("did you mean \"police\"?"),
        "{error}"
    );
    let error = errors_of("city.yaml", "Asia/Shanghai", "Asia/Shanghia");
    assert!(error.starts_with("city.yaml:3:1: unknown time zone"), "{error}");
    let error = errors_of("categories/city.calls.csv", "N,noise", "N,noisy");
    assert!(
        error.contains("city.calls.csv:2: the tree has no category \"noisy\"; did you mean \"noise\"?"),
        "{error}"
    );
}

#[test]
fn a_horizon_of_repeats_is_days_behind_the_end_of_a_case() {
    let horizon = |days: &str| {
        let closed = format!("dedupe_days: {days}\nmap:\n  closed_at: {{ sql: at, formats: ['%Y-%m-%d'] }}");
        let mut files = folder();
        let text = files.get_mut("feeds/calls.yaml").unwrap();
        *text = text.replace("map:", &closed);
        City::load(&InMemory(files), &BTreeMap::new())
    };
    let city = horizon("90").unwrap();
    assert_eq!(city.feed("calls").unwrap().manifest.dedupe_days, Some(90));
    for (days, problem) in [
        ("0", "feeds/calls.yaml:9:1: dedupe_days is 0, it must be 1 to 36500"),
        ("40000", "it must be 1 to 36500"),
        ("2", "less than lateness_hours (72)"),
        ("90d", "feeds/calls.yaml:9"),
    ] {
        let error = horizon(days).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
    let error = errors_of("feeds/calls.yaml", "map:", "dedupe_days: 90\nmap:");
    assert!(error.contains("give map.status or map.closed_at"), "{error}");
}

#[test]
fn columns_about_people_do_not_load() {
    for name in ["caller_name", "手机号", "IMEI", "license_plate"] {
        let error = errors_of(
            "feeds/calls.yaml",
            "{ name: kind }",
            &format!("{{ name: kind }}, {{ name: {name} }}"),
        );
        assert!(error.contains("never admitted"), "{error}");
    }
    let error = errors_of(
        "feeds/calls.yaml",
        "  category: kind",
        "  category: kind\n  attributes: { household_score: kind }",
    );
    assert!(error.contains("household"), "{error}");
}

#[test]
fn the_shipped_cities_load_without_their_data() {
    let cities = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/cities");
    for name in ["yunlan", "chicago", "stlouis", "boston"] {
        let city = City::load(&OnDisk(cities.join(name)), &BTreeMap::new());
        let city = city.unwrap_or_else(|errors| panic!("{name}: {errors}"));
        assert_eq!(city.config.city, name);
        assert!(!city.feeds.is_empty() && !city.models.is_empty());
        assert_eq!(city.layers.is_empty(), name != "yunlan");
    }
}
