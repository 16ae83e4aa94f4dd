//! The built program, as a user runs it: exit codes, the demo, a load that is repeated.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::io::BufRead as _;
use std::path::Path;

use assert_cmd::Command;

fn shiyu(data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shiyu"));
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .arg("--data-dir")
        .arg(data_dir);
    command
}

#[test]
fn every_documented_failure_has_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    shiyu(folder.path()).arg("no-such-command").assert().code(64);
    shiyu(folder.path())
        .args(["check", "--city", "no/such/city"])
        .assert()
        .code(66);
    shiyu(folder.path())
        .args(["simulate", "--seed", "1", "--days", "0", "--out", "x"])
        .assert()
        .code(64);
    let city = folder.path().join("city");
    std::fs::create_dir(&city).unwrap();
    std::fs::write(city.join("city.yaml"), "city: x\ntitel: X\n").unwrap();
    let output = shiyu(folder.path())
        .arg("check")
        .arg("--city")
        .arg(&city)
        .assert()
        .code(78);
    let error = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    assert!(
        error.contains("city.yaml:2:1") && error.contains("did you mean \"title\"?"),
        "{error}"
    );
}

#[test]
fn the_shipped_cities_pass_their_check() {
    let folder = tempfile::tempdir().unwrap();
    for city in ["yunlan", "chicago", "stlouis", "boston"] {
        shiyu(folder.path())
            .arg("check")
            .arg("--city")
            .arg(format!("deploy/cities/{city}"))
            .assert()
            .success();
    }
}

#[test]
fn the_demo_loads_and_answers_and_a_second_load_finds_nothing_new() {
    let folder = tempfile::tempdir().unwrap();
    let first = shiyu(folder.path())
        .args(["demo", "--once", "--days", "3", "--scale", "0.02"])
        .assert()
        .success();
    let text = String::from_utf8(first.get_output().stdout.clone()).unwrap();
    assert!(text.contains("hotline") && text.contains("SELECT category"), "{text}");
    let query =
        "SELECT count(*) AS cases, sum(CASE WHEN address LIKE '%1__________%' THEN 1 ELSE 0 END) AS phones FROM events";
    let ask = |sql: &str| {
        let output = shiyu(folder.path())
            .args(["--output", "csv", "sql", "--city", "deploy/cities/yunlan", sql])
            .assert()
            .success();
        String::from_utf8(output.get_output().stdout.clone()).unwrap()
    };
    let before = ask(query);
    let again = shiyu(folder.path())
        .args(["--output", "json", "load", "--city", "deploy/cities/yunlan", "--input"])
        .arg(folder.path().join("simulated"))
        .assert()
        .success();
    let balance = String::from_utf8(again.get_output().stdout.clone()).unwrap();
    assert!(
        balance
            .lines()
            .all(|line| line.contains("\"accepted\":\"0\"") || line.contains("\"note\"")),
        "{balance}"
    );
    assert_eq!(ask(query), before);
    let score = shiyu(folder.path())
        .args(["--output", "csv", "score-truth", "--truth"])
        .arg(folder.path().join("simulated/truth"))
        .assert()
        .success();
    let score = String::from_utf8(score.get_output().stdout.clone()).unwrap();
    for feed in ["hotline", "police", "grid", "device"] {
        assert!(
            score.contains(&format!("records,{feed},records that are cases,100.00 %")),
            "{score}"
        );
    }
    assert!(score.contains("records,all,cases without a true record,0,"), "{score}");
    shiyu(folder.path())
        .args(["score-truth", "--truth", "no/such/folder"])
        .assert()
        .code(66);
    let wrong = shiyu(folder.path())
        .args(["sql", "--city", "deploy/cities/yunlan", "SELECT nothing FROM cases"])
        .assert();
    wrong.code(65);
}

/// A hub that serves, until it is told to stop.
struct Hub {
    process: std::process::Child,
    /// Of its gRPC services.
    address: String,
    /// Kept open: it may have more to say.
    _output: std::io::Lines<std::io::BufReader<std::process::ChildStdout>>,
}

impl Hub {
    fn serve(data_dir: &Path, city: &Path, records: &Path) -> Self {
        let any = "127.0.0.1:0";
        let mut process = std::process::Command::new(env!("CARGO_BIN_EXE_shiyu"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .arg("--data-dir")
            .arg(data_dir)
            .arg("serve")
            .arg("--city")
            .arg(city)
            .arg("--var")
            .arg(format!("CITY_DATA={}", records.display()))
            .args(["--grpc", any, "--flight", any, "--postgres", any, "--http", any])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = std::io::BufReader::new(process.stdout.take().unwrap()).lines();
        let address = output
            .by_ref()
            .map(Result::unwrap)
            .find_map(|line| {
                line.split_whitespace()
                    .find(|word| word.starts_with("http://"))
                    .map(str::to_owned)
            })
            .expect("the hub tells its addresses");
        Self {
            process,
            address,
            _output: output,
        }
    }

    fn stop(mut self) {
        let told = std::process::Command::new("kill")
            .arg(self.process.id().to_string())
            .status()
            .unwrap();
        assert!(told.success() && self.process.wait().unwrap().success());
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        // Only where a test failed does it still run.
        drop(self.process.kill());
    }
}

#[test]
fn a_city_that_lives_on_reaches_the_hub() {
    let folder = tempfile::tempdir().unwrap();
    let records = folder.path().join("none");
    let hub = Hub::serve(folder.path(), Path::new("deploy/cities/yunlan"), &records);
    let live = [
        "simulate",
        "--seed",
        "3",
        "--days",
        "2",
        "--scale",
        "0.02",
        "--live",
        "200000",
        "--live-days",
        "1",
    ];
    let pushed = shiyu(folder.path())
        .args(live)
        .args(["--address", &hub.address])
        .assert()
        .success();
    let told = String::from_utf8(pushed.get_output().stderr.clone()).unwrap();
    let count: u64 = told
        .split("pushed ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert!(count > 100, "{told}");
    hub.stop();
    let output = shiyu(folder.path())
        .args([
            "--output",
            "csv",
            "sql",
            "SELECT count(*) AS cases FROM cases WHERE counted",
        ])
        .assert()
        .success();
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    let cases: u64 = text.lines().nth(1).unwrap().parse().unwrap();
    assert!(cases > 50 && cases <= count, "{cases} cases of {count} records");
}

/// A data folder with a few days of Yunlan, and the folder of its files.
fn loaded(folder: &Path) {
    shiyu(folder)
        .args(["demo", "--once", "--days", "1", "--scale", "0.01"])
        .assert()
        .success();
}

fn yunlan(data_dir: &Path, command: &[&str]) -> Command {
    let (first, rest) = command.split_first().unwrap();
    let mut run = shiyu(data_dir);
    run.args([first, "--city", "deploy/cities/yunlan"]).args(rest);
    run
}

#[test]
fn a_server_that_is_not_there_is_told_as_such() {
    let folder = tempfile::tempdir().unwrap();
    shiyu(folder.path())
        .args(["watch", "risk", "--address", "http://127.0.0.1:1"])
        .assert()
        .code(69);
}

#[test]
fn a_data_folder_another_process_owns_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    loaded(folder.path());
    let lock = std::fs::File::open(folder.path().join("LOCK")).unwrap();
    lock.lock().unwrap();
    for command in [
        &["rebuild"] as &[&str],
        &["backup", "--to", "/nowhere"],
        &["rejections-list"],
    ] {
        let mut run = match command {
            ["rejections-list"] => {
                let mut run = shiyu(folder.path());
                run.args(["rejections", "list", "--city", "deploy/cities/yunlan"]);
                run
            }
            command => yunlan(folder.path(), command),
        };
        run.assert().code(77);
    }
}

#[test]
fn tables_of_another_version_are_refused_until_they_are_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    loaded(folder.path());
    let sql = |query: &str| {
        let mut run = shiyu(folder.path());
        run.args(["--output", "csv", "sql", query]);
        run.assert()
    };
    let query = "SELECT feed, count(*) AS events, count(sequence) AS changes FROM events GROUP BY feed ORDER BY feed";
    let before = sql(query).success().get_output().stdout.clone();
    // As the version before this one would have made it.
    let first = folder.path().join("tables/events/_delta_log/00000000000000000000.json");
    let text = std::fs::read_to_string(&first).unwrap();
    std::fs::write(&first, text.replace("opens_case", "was_opened")).unwrap();
    for refused in [sql(query), yunlan(folder.path(), &["load"]).assert()] {
        let refused = refused.failure();
        let told = String::from_utf8(refused.get_output().stderr.clone()).unwrap();
        assert!(
            told.contains("lacks column \"opens_case\" boolean not null") && told.contains("shiyu rebuild"),
            "{told}"
        );
    }
    yunlan(folder.path(), &["rebuild"]).assert().success();
    assert_eq!(sql(query).success().get_output().stdout, before);
}

#[test]
fn damaged_and_newer_data_are_refused_each_with_its_code() {
    let folder = tempfile::tempdir().unwrap();
    loaded(folder.path());
    let identity = folder.path().join("hub.json");
    let text = std::fs::read_to_string(&identity).unwrap();
    std::fs::write(&identity, text.replace("\"format\": 1", "\"format\": 99")).unwrap();
    yunlan(folder.path(), &["rebuild"]).assert().code(78);
    std::fs::write(&identity, text).unwrap();

    let segments = folder.path().join("log/sources.v1/0");
    let segment = std::fs::read_dir(segments).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    yunlan(folder.path(), &["rebuild"]).assert().code(74);
}

#[test]
fn what_is_no_backup_and_a_folder_in_use_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    shiyu(&data)
        .args(["restore", "--from"])
        .arg(folder.path())
        .assert()
        .code(66);
    loaded(&data);
    let here = folder.path().to_string_lossy().into_owned();
    yunlan(&data, &["backup", "--to", &here]).assert().code(65);
    yunlan(&data, &["backup", "--to", &format!("{here}/backup")])
        .assert()
        .success();
    shiyu(&data)
        .args(["restore", "--from", &format!("{here}/backup")])
        .assert()
        .code(65);
    shiyu(&folder.path().join("other"))
        .args(["restore", "--verify", "--from", &format!("{here}/backup")])
        .assert()
        .success();
}

#[test]
fn refused_records_are_listed_shown_and_pushed_again() {
    let folder = tempfile::tempdir().unwrap();
    let files = folder.path().join("hotline");
    std::fs::create_dir(&files).unwrap();
    std::fs::write(
        files.join("orders.csv"),
        "order_id,changed_at,filed_at,kind,content,address,lng,lat,status,unit,ended_at\n1,,soon,noise,,,,,,,\n",
    )
    .unwrap();
    let data = folder.path().join("data");
    yunlan(&data, &["load", "--feed", "hotline", "--input"])
        .arg(folder.path())
        .assert()
        .success();
    let rejections = |command: &[&str]| {
        let (first, rest) = command.split_first().unwrap();
        let output = shiyu(&data)
            .args(["--output", "csv", "rejections", first, "--city", "deploy/cities/yunlan"])
            .args(rest)
            .assert()
            .success();
        String::from_utf8(output.get_output().stdout.clone()).unwrap()
    };
    let listed = rejections(&["list", "--reason", "bad_time"]);
    assert!(
        listed.contains("\n1,hotline,") && listed.contains("bad_time"),
        "{listed}"
    );
    assert!(!rejections(&["list", "--reason", "missing_id"]).contains("hotline"));
    assert!(rejections(&["show", "1"]).contains("\"filed_at\":\"soon\""));
    assert!(rejections(&["replay", "--dry-run"]).contains("hotline,to be pushed,1"));
    assert!(rejections(&["replay"]).contains("hotline,rejected,1"));
}

#[test]
fn revisions_of_the_city_folder_are_listed_and_written_back() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let city = folder.path().join("city");
    copy_folder(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("deploy/cities/yunlan")
            .as_path(),
        &city,
    );
    let files = folder.path().join("records/hotline");
    std::fs::create_dir_all(&files).unwrap();
    std::fs::write(
        files.join("orders.csv"),
        "order_id,changed_at,filed_at,kind,content,address,lng,lat,status,unit,ended_at\n1,,soon,noise,,,,,,,\n",
    )
    .unwrap();
    let load = |city: &Path| {
        shiyu(&data)
            .args(["load", "--feed", "hotline", "--city"])
            .arg(city)
            .arg("--input")
            .arg(folder.path().join("records"))
            .assert()
            .success();
    };
    let listed = || {
        let output = shiyu(&data)
            .args(["--output", "csv", "revisions", "list"])
            .assert()
            .success();
        String::from_utf8(output.get_output().stdout.clone()).unwrap()
    };
    shiyu(&data).args(["revisions", "list"]).assert().code(66);
    load(&city);
    load(&city);
    let config = city.join("city.yaml");
    let first = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{first}# changed\n")).unwrap();
    load(&city);
    let text = listed();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), lines[0]), (3, "revision,since,files,bytes"), "{text}");
    let hash = lines[1].split(',').next().unwrap();
    assert_ne!(hash, lines[2].split(',').next().unwrap());

    let show = |hash: &str, out: &Path| {
        let mut command = shiyu(&data);
        command
            .args(["revisions", "show", hash, "--city"])
            .arg(&city)
            .arg("--out")
            .arg(out);
        command.assert()
    };
    let back = folder.path().join("back");
    show(&hash[..9], &back).success();
    assert_eq!(std::fs::read_to_string(back.join("city.yaml")).unwrap(), first);
    show(hash, &back).code(65);
    let unknown = show("nothing", &folder.path().join("other")).code(66);
    let error = String::from_utf8(unknown.get_output().stderr.clone()).unwrap();
    assert!(error.contains(hash), "{error}");
    assert!(!folder.path().join("other").exists());
    // What was written back is that revision: a hub that takes it up has it as the newest one.
    load(&back);
    let text = listed();
    let newest = text.lines().last().unwrap();
    assert!(text.lines().count() == 4 && newest.starts_with(hash), "{text}");
    // A hub that runs tells the same, and keeps what it has.
    let hub = Hub::serve(&data, &back, &folder.path().join("records"));
    assert_eq!(listed(), text);
    let again = folder.path().join("again");
    show(hash, &again).success();
    assert_eq!(std::fs::read_to_string(again.join("city.yaml")).unwrap(), first);
    hub.stop();
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &place);
        } else {
            std::fs::copy(entry.path(), place).unwrap();
        }
    }
}
