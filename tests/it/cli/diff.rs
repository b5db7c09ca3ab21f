//! `tunnelcheck diff`: two saved reports compared.

use std::fs;
use std::process::Output;

use super::{assert_refused, recorded, run, text, tunnelcheck};

fn diff(before: &str, after: &str, more: &[&str]) -> Output {
    let (before, after) = (recorded(before), recorded(after));
    run(&[&["diff", &before, &after], more].concat())
}

#[test]
fn the_exit_code_says_whether_something_required_got_worse() {
    for (before, after, code) in [
        ("all-open", "all-open", 0),
        ("all-open", "udp-dropped", 1),
        ("udp-dropped", "all-open", 0),
        ("both-dropped", "both-rejected", 0),
        ("all-open", "update-host-blocked", 0),
        ("all-open", "update-host-blocked-strict", 1),
        ("all-open", "dns-slower-than-the-budget", 4),
        ("udp-dropped-degraded-allowed", "both-dropped", 1),
    ] {
        let output = diff(before, after, &["-q"]);
        let told = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{before} {after}: {told}");
        assert_eq!(told.lines().count(), 1, "{told}");
        let word =
            ["NOT WORSE  ", "WORSE  ", "", "", "UNCERTAIN  "][usize::try_from(code).unwrap()];
        assert!(told.starts_with(word), "{told}");
    }
}

#[test]
fn the_table_says_what_got_worse() {
    let output = diff("all-open", "udp-dropped", &[]);
    let told = text(&output.stdout);
    for line in [
        "  WORSE  Got worse: verdict, quic, region1 quic IPv4,",
        "  Worse\n    - verdict: ready -> degraded\n",
        "    - region1 quic IPv4: reachable, 10 of 10 addresses -> blocked (dropped), 0",
        "    - finding udp-dropped: new: error: UDP 7844 is dropped in silence",
        "  Before:  ready on laboratory, checked 20",
    ] {
        assert!(told.contains(line), "no `{line}` in\n{told}");
    }
    assert!(!told.contains("Better"), "{told}");
    assert!(
        told.lines().all(|line| line.chars().count() <= 80),
        "{told}"
    );
}

#[test]
fn json_is_as_documented_and_files_hold_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let args = [
        "--format",
        "json",
        "--output",
        &file("a.json"),
        "--output",
        &file("b.txt"),
    ];
    let output = diff("all-open", "udp-dropped", &args);
    assert_eq!(fs::read(file("a.json")).unwrap(), output.stdout);
    assert!(
        fs::read_to_string(file("b.txt"))
            .unwrap()
            .contains("WORSE  Got worse")
    );
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["schema_version"], 1);
    assert_eq!(
        (&json["outcome"], &json["exit_code"]),
        (&"worse".into(), &1.into())
    );
    let changes = json["worse"].as_array().unwrap();
    let is_row = |change: &&serde_json::Value| change["subject"]["kind"] == "destination";
    let row = changes.iter().find(is_row).unwrap();
    assert_eq!(row["subject"]["place"], "region1");
    assert_eq!(
        (&row["before"]["status"], &row["after"]["status"]),
        (&"reachable".into(), &"blocked".into())
    );
    assert_eq!(row["stopped"].as_array().unwrap().len(), 10);
}

#[test]
fn one_of_the_two_may_be_standard_input() {
    for args in [
        ["diff", "-", &recorded("udp-dropped"), "-q"],
        ["diff", &recorded("udp-dropped"), "-", "-q"],
    ] {
        let open = fs::File::open(recorded("all-open")).unwrap();
        let output = tunnelcheck(&args).stdin(open).output().unwrap();
        let code = i32::from(args[1] == "-");
        assert_eq!(output.status.code(), Some(code), "{args:?}");
    }
    assert_refused(&run(&["diff", "-", "-"]), "name a file for the other");
}

#[test]
fn unreadable_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let newer = folder.path().join("newer.json").display().to_string();
    fs::write(&newer, r#"{"schema_version": 3}"#).unwrap();
    let open = recorded("all-open");
    for (args, words) in [
        (
            ["diff", &open, &newer],
            "newer.json: was made by a newer tunnelcheck",
        ),
        (["diff", &newer, &open], "use a newer tunnelcheck"),
        (
            ["diff", "/nonexistent.json", &open],
            "/nonexistent.json: cannot be read",
        ),
        (
            ["--baseline", &newer, "-q"],
            "newer.json: was made by a newer tunnelcheck",
        ),
        (
            ["--baseline", "/nonexistent.json", "-q"],
            "/nonexistent.json: cannot be read",
        ),
    ] {
        assert_refused(&run(&args), words);
    }
    assert_refused(&run(&["diff", &open]), "AFTER.json");
}

/// What an older version made of the same answers is no difference: both are judged by today's rules.
#[test]
fn reports_are_diagnosed_again() {
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("old.json").display().to_string();
    let mut report: serde_json::Value =
        serde_json::from_slice(&fs::read(recorded("all-open")).unwrap()).unwrap();
    report["verdict"] = "blocked".into();
    report["destinations"][0]["status"] = "blocked".into();
    report["future_member"] = true.into();
    fs::write(&old, report.to_string()).unwrap();
    let output = run(&["diff", &old, &recorded("all-open"), "-q"]);
    assert_eq!(text(&output.stdout), "NOT WORSE  Nothing is different.\n");
}

#[test]
fn a_masked_difference_names_no_host() {
    let output = diff("all-open", "dns-dropped", &["--redact", "--format", "json"]);
    let told = text(&output.stdout);
    assert!(
        told.contains("redacted-host") && !told.contains("laboratory"),
        "{told}"
    );
    assert!(!told.contains("9.9.9.9"), "{told}");
}
