//! The program as scripts see it: exit codes, and what goes to which stream. Nothing here gets as
//! far as the network: every case ends before, or shows a saved report.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on says so in the shortest way"
)]

mod bad_input;
mod schema;
mod show;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// The program with a known environment.
fn tunnelcheck(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tunnelcheck"));
    command.args(args).stdin(Stdio::null());
    let ours = std::env::vars_os().map(|(name, _)| name);
    for name in ours.filter(|name| name.to_string_lossy().starts_with("TUNNEL_")) {
        command.env_remove(name);
    }
    command.env_remove("NO_COLOR");
    command
}

fn run(args: &[&str]) -> Output {
    tunnelcheck(args).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the output is UTF-8")
}

/// A report in `tests/cli/reports`.
fn report(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let path = folder.join("tests/cli/reports").join(name);
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
fn help_and_version_go_to_standard_output() {
    let help = run(&["--help"]);
    assert!(help.status.success() && help.stderr.is_empty());
    let help = text(&help.stdout);
    for word in [
        "Exit codes:",
        "Examples:",
        "TUNNEL_TRANSPORT_PROTOCOL",
        "--allow-degraded",
        "show",
    ] {
        assert!(help.contains(word), "{word} is missing:\n{help}");
    }
    let version = run(&["--version"]);
    assert!(version.status.success());
    assert_eq!(
        text(&version.stdout),
        concat!("tunnelcheck ", env!("CARGO_PKG_VERSION"), "\n")
    );
    assert!(run(&["show", "--help"]).status.success());
}
