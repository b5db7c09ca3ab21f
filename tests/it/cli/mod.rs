//! The program as scripts see it: exit codes, and what goes to which stream. Nothing here gets as
//! far as the network: every case ends before, or shows a saved report.

mod bad_input;
mod diff;
mod drift;
mod explain;
mod paper;
mod rules;
mod schema;
mod show;
#[cfg(unix)]
mod version;
#[cfg(unix)]
mod watch;

use std::path::PathBuf;
use std::process::Output;

use crate::program::tunnelcheck;

fn run(args: &[&str]) -> Output {
    tunnelcheck(args).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the output is UTF-8")
}

/// A report that the laboratory recorded: UDP is dropped, which degrades.
fn degraded() -> String {
    recorded("udp-dropped")
}

/// The file of a report that the laboratory recorded.
fn recorded(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let path = folder.join(format!("tests/replay/cases/{name}.json"));
    path.display().to_string()
}

/// Asserts wrong usage: exit 2, nothing on standard output, and words on standard error.
#[track_caller]
fn assert_refused(output: &Output, words: &str) {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    assert!(stderr.contains(words), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[test]
fn help_goes_to_standard_output() {
    let help = run(&["--help"]);
    assert!(help.status.success() && help.stderr.is_empty());
    let help = text(&help.stdout);
    for word in [
        "Exit codes:",
        "Examples:",
        "TUNNEL_TRANSPORT_PROTOCOL",
        "--allow-degraded",
        "show",
        "explain",
    ] {
        assert!(help.contains(word), "{word} is missing:\n{help}");
    }
    assert!(run(&["show", "--help"]).status.success());
}
