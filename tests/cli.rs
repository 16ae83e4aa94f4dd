//! The built program, as a user runs it: exit codes, the demo, a load that is repeated.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

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
    let wrong = shiyu(folder.path())
        .args(["sql", "--city", "deploy/cities/yunlan", "SELECT nothing FROM cases"])
        .assert();
    wrong.code(65);
}
