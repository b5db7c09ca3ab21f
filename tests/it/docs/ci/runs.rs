//! What of the page is run: scripts and units, with the program in the place of itself, and a saved
//! report in the place of the network.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::snippet;
use crate::program::tunnelcheck;
use crate::tool::tool;

/// The snippets that are units of systemd.
pub(super) const UNITS: [&str; 3] = [
    "tunnelcheck-failed.service",
    "tunnelcheck.service",
    "tunnelcheck.timer",
];

const PROGRAM: &str = env!("CARGO_BIN_EXE_tunnelcheck");

/// A report that the laboratory recorded.
pub(super) fn sample(name: &str) -> String {
    format!(
        "{}/tests/replay/cases/{name}.json",
        env!("CARGO_MANIFEST_DIR")
    )
}

/// How a script ended.
pub(super) struct Told {
    pub(super) code: i32,
    pub(super) stdout: String,
    pub(super) stderr: String,
    /// The commands that would have changed the machine.
    pub(super) called: String,
}

/// Runs a script in a folder, after shellcheck has read it. `tunnelcheck` shows the sample instead of
/// checking the network, `systemctl` writes down what it is asked, and the folders that the page names
/// are this one.
pub(super) fn script(shell: &str, text: &str, sample_name: &str, folder: &Path) -> Told {
    shellcheck(shell, text, folder);
    let bin = folder.join("bin");
    fs::create_dir_all(&bin).unwrap();
    let sample = sample(sample_name);
    let stub = format!(
        "#!/bin/sh\n[ \"$1\" = show ] && exec '{PROGRAM}' \"$@\"\nexec '{PROGRAM}' show '{sample}' \"$@\"\n"
    );
    program(&bin.join("tunnelcheck"), &stub);
    program(&folder.join("tunnelcheck"), &stub);
    let called = folder.join("called");
    let record = format!(
        "#!/bin/sh\necho \"systemctl $*\" >>'{}'\n",
        called.display()
    );
    program(&bin.join("systemctl"), &record);
    let output = Command::new(shell)
        .args(["-c", &here(text, folder)])
        .current_dir(folder)
        .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
        .env("GITHUB_STEP_SUMMARY", folder.join("step-summary"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Told {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        called: fs::read_to_string(called).unwrap_or_default(),
    }
}

/// The text with the folder in the place of those that only root may write to.
fn here(text: &str, folder: &Path) -> String {
    let places = [
        "/var/lib/prometheus/node-exporter",
        "/var/lib/tunnelcheck",
        "/var/log/tunnelcheck",
        "/tmp",
    ];
    // The folder itself may be in /tmp.
    let marked = places
        .iter()
        .fold(text.to_owned(), |text, place| text.replace(place, "\0"));
    marked.replace('\0', &folder.display().to_string())
}

fn program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn shellcheck(shell: &str, text: &str, folder: &Path) {
    let path = folder.join("script");
    fs::write(&path, text).unwrap();
    let path = path.display().to_string();
    let output = tool("shellcheck", &["--shell", shell, &path], "");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}");
}

/// A command line of the program whose options it takes: the last input to be judged is refused, so
/// that nothing is sent.
pub(super) fn check(command: &[String]) {
    assert_eq!(command[0], "tunnelcheck");
    let args: Vec<_> = command[1..].iter().map(String::as_str).collect();
    let output = tunnelcheck(&[&args[..], &["--output", "report.pdf"]].concat())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("--output: report.pdf"), "{command:?}: {told}");
}

/// As systemd reads them, with the program where it is.
#[test]
fn units_are_valid() {
    let folder = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for name in UNITS {
        let text = snippet(name);
        assert!(name == "tunnelcheck.timer" || text.contains("/usr/local/bin/tunnelcheck"));
        let path = folder.path().join(name);
        fs::write(&path, text.replace("/usr/local/bin/tunnelcheck", PROGRAM)).unwrap();
        paths.push(path.display().to_string());
    }
    let mut args = vec!["verify", "--man=no"];
    args.extend(paths.iter().map(String::as_str));
    let output = tool("systemd-analyze", &args, "");
    let told = String::from_utf8_lossy(&output.stderr);
    let ours: Vec<_> = told
        .lines()
        .filter(|line| line.contains("tunnelcheck"))
        .collect();
    assert!(output.status.success() && ours.is_empty(), "{told}");
    // A verifier that lets everything pass would prove nothing.
    let broken = fs::read_to_string(&paths[1])
        .unwrap()
        .replace("Type=oneshot", "Typ=oneshot");
    fs::write(&paths[1], broken).unwrap();
    let told = tool("systemd-analyze", &args, "").stderr;
    assert!(String::from_utf8_lossy(&told).contains("Typ"));
}

/// The commands of the units, with the exit codes that systemd takes for success.
#[test]
fn units_run() {
    for (sample_name, code, succeeds) in [
        ("all-open", 0, true),
        ("udp-dropped", 3, true),
        ("both-dropped", 1, false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let unit = snippet("tunnelcheck.service");
        let told = script("sh", &command(&unit), sample_name, folder.path());
        assert_eq!(told.code, code, "{sample_name}: {}", told.stderr);
        assert_eq!(is_success(&unit, told.code), succeeds, "{sample_name}");
        assert_eq!(told.stdout.lines().count(), 1, "{}", told.stdout);
        let metrics = fs::read_to_string(folder.path().join("tunnelcheck.prom")).unwrap();
        assert!(metrics.starts_with("# HELP tunnelcheck_"), "{metrics}");
        // What is told of it comes from the report that the first unit left.
        let unit = snippet("tunnelcheck-failed.service");
        let told = script("sh", &command(&unit), sample_name, folder.path());
        assert!(
            is_success(&unit, told.code),
            "{sample_name}: {}",
            told.stderr
        );
        assert!(told.stdout.lines().count() > 10, "{}", told.stdout);
    }
}

fn setting<'a>(unit: &'a str, name: &str) -> &'a str {
    let value = unit
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("no {name} in {unit}"))
}

fn command(unit: &str) -> String {
    setting(unit, "ExecStart").replace("/usr/local/bin/", "") + "\n"
}

fn is_success(unit: &str, code: i32) -> bool {
    let more = setting(unit, "SuccessExitStatus").split(' ');
    code == 0
        || more
            .filter_map(|code| code.parse().ok())
            .any(|own: i32| own == code)
}
