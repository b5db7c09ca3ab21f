//! `rules --check-drift`: exit codes and streams. Nothing is sent: `--offline` lists what is documented.

use std::io::Write as _;
use std::process::Stdio;

use super::{assert_refused, run, text, tunnelcheck};

const RULES: [&str; 3] = ["rules", "--offline", "--no-optional"];

fn printed(format: &str) -> String {
    let output = run(&[&RULES[..], &["--format", format]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn file(contents: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(contents).unwrap();
    file
}

fn check(contents: &[u8]) -> std::process::Output {
    let file = file(contents);
    let path = file.path().display().to_string();
    run(&[&RULES[..], &["--check-drift", &path]].concat())
}

#[test]
fn a_fresh_file_exits_0() {
    for format in [
        "windows",
        "pf",
        "gcloud",
        "aws",
        "azure",
        "kubernetes",
        "cilium",
        "csv",
    ] {
        let output = check(printed(format).as_bytes());
        assert_eq!(
            output.status.code(),
            Some(0),
            "{format}: {}",
            text(&output.stdout)
        );
        let said = text(&output.stdout);
        assert!(
            said.starts_with("The file lets out exactly what is documented; DNS was not asked."),
            "{format}: {said}"
        );
    }
}

#[test]
fn a_missing_address_exits_1_and_is_named() {
    let rules = printed("csv");
    let rules = rules
        .lines()
        .filter(|line| !line.contains(",198.41.192.27,"));
    let rules: Vec<_> = rules.collect();
    let output = check(rules.join("\n").as_bytes());
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("region1.v2.argotunnel.com UDP 7844: 198.41.192.27\n"),
        "{said}"
    );
    assert!(
        said.contains("region1.v2.argotunnel.com TCP 7844: 198.41.192.27\n"),
        "{said}"
    );
    assert!(!said.contains("region2"), "{said}");
}

#[test]
fn what_is_not_clear_exits_4() {
    let rules = "iptables -A OUTPUT -o eth0 -j ACCEPT\nip6tables -A OUTPUT -o eth0 -j ACCEPT\n";
    let output = check(rules.as_bytes());
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stdout));
    let said = text(&output.stdout);
    assert!(
        said.contains("Not clear from the file, required:\n"),
        "{said}"
    );
}

#[test]
fn what_cannot_be_compared_exits_2() {
    assert_refused(&check(b"\x7fELF\0\0"), "is not a text file");
    assert_refused(&check(b"nothing to see\n"), "holds no rule and no address");
    let gone = run(&[&RULES[..], &["--check-drift", "/nowhere/rules"]].concat());
    assert_refused(&gone, "--check-drift: /nowhere/rules: cannot be read");
}

#[test]
fn standard_input_is_read() {
    let mut command = tunnelcheck(&[&RULES[..], &["--check-drift", "-"]].concat());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let rules = "198.41.192.0/24 tcp/7844\n198.41.192.0/24 udp/7844\n";
    child
        .stdin
        .take()
        .unwrap()
        .write_all(rules.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    assert!(
        said.contains("a form that is not known") && said.contains("region2"),
        "{said}"
    );
    let (missing, unclear) = said.split_once("Not clear from the file").unwrap();
    assert!(!missing.contains("198.41.192.7") && unclear.contains("198.41.192.7"));
}
