//! What is made from the command line: the version, the completions and the manual pages.

use std::fs;
use std::process::Command;

use super::{assert_refused, run, text};

/// What users are shown, in the order of `--help`.
const COMMANDS: [&str; 8] = [
    "show",
    "diff",
    "explain",
    "rules",
    "rehearse",
    "completions",
    "man",
    "help",
];

const SHELLS: [&str; 5] = ["bash", "elvish", "fish", "powershell", "zsh"];

/// Which commit it is, `version.rs` tests: HEAD may have moved since this program was built.
#[test]
fn the_version_names_a_commit_where_there_is_one() {
    let output = run(&["--version"]);
    assert!(output.status.success() && output.stderr.is_empty());
    let version = text(&output.stdout);
    assert_eq!(version.lines().count(), 1);
    assert_eq!(text(&run(&["-V"]).stdout), version);
    let commit = version
        .strip_prefix(concat!("tunnelcheck ", env!("CARGO_PKG_VERSION")))
        .expect("name and version");
    let Some(commit) = commit.trim_end().strip_prefix(" (") else {
        assert_eq!(commit, "\n");
        return;
    };
    let hash = commit.strip_suffix(')').expect("one parenthesis");
    let hash = hash.strip_suffix("-dirty").unwrap_or(hash);
    assert!(
        hash.len() == 12 && hash.chars().all(|c| c.is_ascii_hexdigit()),
        "{version}"
    );
}

#[test]
fn the_help_lists_what_the_manual_has_pages_for() {
    let help = text(&run(&["--help"]).stdout);
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let (list, _) = list.split_once("\n\n").unwrap();
    // What is wrapped is indented further.
    let named = list
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty());
    assert_eq!(named.collect::<Vec<_>>(), COMMANDS, "{list}");
}

#[test]
fn every_shell_completes_all_commands_and_no_hidden_one() {
    for shell in SHELLS {
        let output = run(&["completions", shell]);
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{shell}"
        );
        let script = text(&output.stdout);
        for word in ["edge-ip-version", "check-drift", "rehearse"] {
            assert!(script.contains(word), "{shell}: {word} is missing");
        }
        assert!(!script.contains("rehearsal-guard"), "{shell}");
    }
}

/// As bash asks: the words so far, and which of them is being typed.
#[cfg(unix)]
#[test]
fn bash_completes_options_values_and_commands() {
    let script = text(&run(&["completions", "bash"]).stdout);
    for (typed, offered) in [
        ("--edge-i", "--edge-ip-version"),
        ("--protocol q", "quic"),
        ("reh", "rehearse"),
        ("rules --check", "--check-drift"),
        ("completions po", "powershell"),
    ] {
        let ask = r#"
            COMP_WORDS=(tunnelcheck $1)
            COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            COMP_LINE="${COMP_WORDS[*]}" COMP_POINT=${#COMP_LINE}
            _tunnelcheck tunnelcheck "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
            echo "${COMPREPLY[*]}""#;
        let output = Command::new("bash")
            .args(["--norc", "-c", &(script.clone() + ask), "bash", typed])
            .output()
            .expect("bash is there");
        assert_eq!(text(&output.stdout).trim(), offered, "{typed}");
        assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    }
}

#[test]
fn the_manual_page_has_what_the_help_has() {
    let output = run(&["man"]);
    assert!(output.status.success() && output.stderr.is_empty());
    let page = text(&output.stdout);
    for word in [
        ".TH tunnelcheck 1",
        ".SH NAME",
        "tunnelcheck \\- Checks in seconds",
        ".SH \"EXIT CODES\"",
        "TUNNEL_TRANSPORT_PROTOCOL",
        "tunnelcheck\\-rehearse(1)",
    ] {
        assert!(page.contains(word), "{word} is missing:\n{page}");
    }
    assert!(!page.contains("guard"));
}

#[test]
fn a_folder_takes_a_page_for_each_command() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(&["man", folder.path().to_str().unwrap()]);
    assert!(output.status.success() && output.stdout.is_empty());
    let entries = fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let pages = COMMANDS.iter().filter(|command| **command != "help");
    let mut expected: Vec<_> = pages.map(|name| format!("tunnelcheck-{name}.1")).collect();
    expected.push("tunnelcheck.1".to_owned());
    names.sort();
    expected.sort();
    assert_eq!(names, expected);
    let rules = fs::read_to_string(folder.path().join("tunnelcheck-rules.1")).unwrap();
    assert!(
        rules.contains("tunnelcheck\\-rules \\- Print the firewall rules"),
        "{rules}"
    );
}

#[test]
fn what_does_not_exist_is_refused() {
    assert_refused(
        &run(&["man", "/nowhere/at/all"]),
        "give a folder that is there",
    );
    assert_refused(&run(&["completions", "tcsh"]), "powershell");
    assert_refused(
        &run(&["--format", "json", "completions", "bash"]),
        "`--format` is for a report",
    );
    assert_refused(&run(&["man", "--redact"]), "`--redact` is for a report");
}
