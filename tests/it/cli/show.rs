//! `tunnelcheck show`: saved reports, good and bad.

use std::fs;
use std::process::Stdio;

use super::{assert_refused, degraded, run, text, tunnelcheck};

#[test]
fn a_saved_report_is_shown_with_its_verdict() {
    let output = run(&["show", &degraded()]);
    assert_eq!(output.status.code(), Some(3));
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    assert!(
        table.contains("DEGRADED  ") && !table.contains('\x1b'),
        "{table}"
    );
}

#[test]
fn colour_comes_when_asked_for() {
    let colored = run(&["show", &degraded(), "--color", "always"]);
    assert!(text(&colored.stdout).contains("\x1b["));
}

#[test]
fn quiet_leaves_the_verdict() {
    let output = run(&["show", "-q", &degraded()]);
    let line = text(&output.stdout);
    assert!(
        line.starts_with("DEGRADED  ") && line.lines().count() == 1,
        "{line}"
    );
}

#[test]
fn files_get_the_format_of_their_ending() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(
        path("a.json"),
        "something longer than nothing".repeat(10_000),
    )
    .unwrap();
    let output = run(&[
        "show",
        &degraded(),
        "--output",
        &path("a.json"),
        "--output",
        &path("b.txt"),
        "--format",
        "json",
    ]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert_eq!(fs::read(path("a.json")).unwrap(), output.stdout);
    assert!(
        fs::read_to_string(path("b.txt"))
            .unwrap()
            .contains("DEGRADED  ")
    );
    let again = run(&["show", &path("a.json"), "--format", "json"]);
    assert_eq!(again.stdout, output.stdout);
}

/// One run for a CI system, an issue and a monitoring system.
#[test]
fn every_form_is_written_in_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let mut args = vec!["show".to_owned(), degraded(), "--redact".to_owned()];
    let files = [
        ("a.xml", "junit", "<?xml version="),
        ("b.md", "markdown", "## tunnelcheck: DEGRADED\n"),
        ("c.prom", "prometheus", "# HELP tunnelcheck_info "),
    ];
    for (name, ..) in files {
        args.extend(["--output".to_owned(), path(name)]);
    }
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let output = run(&[&args[..], &["--format", "github"]].concat());
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let commands = text(&output.stdout);
    assert!(
        commands.starts_with("::error title=tunnelcheck%3A DEGRADED::"),
        "{commands}"
    );
    assert!(commands.contains("on redacted-host;"), "{commands}");
    for (name, format, start) in files {
        let written = fs::read_to_string(path(name)).unwrap();
        assert!(written.starts_with(start), "{written}");
        assert!(!written.contains("laboratory;"), "{written}");
        let told = run(&["show", &degraded(), "--redact", "--format", format]);
        assert_eq!(text(&told.stdout), written, "{name}");
    }
    // Nothing is left beside them.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), files.len());
}

#[test]
fn standard_input_is_a_report_too() {
    let file = fs::File::open(degraded()).unwrap();
    let output = tunnelcheck(&["show", "-", "-q"])
        .stdin(file)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn a_masked_report_shows_the_same_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("masked.json").display().to_string();
    run(&["show", &degraded(), "--redact", "--output", &path]);
    let masked = fs::read_to_string(&path).unwrap();
    assert!(masked.contains("redacted-host"));
    assert_eq!(run(&["show", &path]).status.code(), Some(3));
}

#[test]
fn other_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let deep = format!(r#"{{"schema_version": {}"#, "[".repeat(200_000));
    let balanced = format!(
        r#"{{"schema_version": 1, "a": {}{}}}"#,
        "[".repeat(50_000),
        "]".repeat(50_000)
    );
    for (name, content, words) in [
        ("empty.json", "", "it is empty"),
        (
            "garbage.json",
            "\x1b]0;title\x07 \0\u{feff}",
            "is not a JSON report",
        ),
        (
            "huge-number.json",
            r#"{"schema_version": 1e999}"#,
            "is not a JSON report",
        ),
        (
            "newer.json",
            r#"{"schema_version": 99, "verdict": "sunny"}"#,
            "schema version 99",
        ),
        (
            "other.json",
            r#"{"name": "package"}"#,
            "missing field `schema_version`",
        ),
        ("deep.json", &deep, "is not a JSON report"),
        ("balanced.json", &balanced, "is damaged"),
    ] {
        let path = folder.path().join(name).display().to_string();
        fs::write(&path, content).unwrap();
        let output = run(&["show", &path]);
        assert_refused(&output, words);
        assert_refused(&output, name);
        assert!(!text(&output.stderr).trim_end().contains(char::is_control));
    }
    assert_refused(
        &run(&["show", "/nonexistent/report.json"]),
        "/nonexistent/report.json",
    );
    assert_refused(
        &run(&["show", &folder.path().display().to_string()]),
        "cannot be read",
    );
}

#[test]
fn any_damage_to_a_report_is_survived() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.json").display().to_string();
    let good = fs::read_to_string(degraded()).unwrap();
    let mut absurd: serde_json::Value = serde_json::from_str(&good).unwrap();
    let row = &mut absurd["destinations"][0];
    row["addresses"]["total"] = u64::MAX.into();
    for time in ["started_ms", "elapsed_ms"] {
        row["probes"][0][time] = 1e308.into();
    }
    absurd["duration_ms"] = 1e308.into();
    fs::write(&path, absurd.to_string()).unwrap();
    assert_eq!(run(&["show", "-v", &path]).status.code(), Some(3));
    for length in (0..good.len()).step_by(good.len() / 20 + 1) {
        fs::write(&path, good.get(..length).unwrap_or_default()).unwrap();
        assert_refused(&run(&["show", &path]), "damaged.json");
    }
}

/// As `tunnelcheck | head -1`: the reader has gone, the verdict stands.
#[cfg(unix)]
#[test]
fn a_closed_pipe_is_no_failure() {
    for args in [&["--format", "json"][..], &["-v"], &["-q"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = tunnelcheck(&["show", &degraded()]);
        let child = command
            .args(args)
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{args:?}");
        assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_a_failure() {
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    for args in [&["show", &degraded()][..], &["explain"]] {
        let full = full.try_clone().unwrap();
        let output = tunnelcheck(args).stdout(full).output().unwrap();
        assert_refused(&output, "standard output cannot be written");
    }
}

/// What can be written is, whatever else fails.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_fails_does_not_cost_the_other_reports() {
    let folder = tempfile::tempdir().unwrap();
    let (full, good) = (folder.path().join("a.prom"), folder.path().join("b.json"));
    std::os::unix::fs::symlink("/dev/full", &full).unwrap();
    let paths = [&full, &good].map(|path| path.display().to_string());
    let output = run(&[
        "show",
        &degraded(),
        "-q",
        "--output",
        &paths[0],
        "--output",
        &paths[1],
    ]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stdout).contains("DEGRADED"));
    let told = text(&output.stderr);
    assert!(
        told.contains(&paths[0]) && !told.contains(&paths[1]),
        "{told}"
    );
    let written: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&good).unwrap()).unwrap();
    assert_eq!(written["verdict"], "degraded");
}
