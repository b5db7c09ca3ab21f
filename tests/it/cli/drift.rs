//! `rules --check-drift`: exit codes and streams. Nothing is sent: `--offline` lists what is documented.
//! Rules of nftables and iptables are judged by the kernel, in the laboratory.

use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};

use super::{assert_refused, run, text, tunnelcheck};

const RULES: [&str; 3] = ["rules", "--offline", "--no-optional"];

fn printed(format: &str) -> String {
    let output = run(&[&RULES[..], &["--format", format]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn check_with(contents: &[u8], options: &[&str]) -> Output {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(contents).unwrap();
    let path = file.path().display().to_string();
    run(&[&RULES[..], options, &["--check-drift", &path]].concat())
}

fn check(contents: &[u8]) -> Output {
    check_with(contents, &[])
}

#[track_caller]
fn assert_exit(output: &Output, code: i32) -> String {
    let said = text(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{said}{}",
        text(&output.stderr)
    );
    said
}

#[test]
fn a_fresh_file_exits_0() {
    for format in [
        "nftables",
        "iptables",
        "ufw",
        "firewalld",
        "windows",
        "pf",
        "gcloud",
        "aws",
        "azure",
        "kubernetes",
        "cilium",
        "csv",
    ] {
        let said = assert_exit(&check(printed(format).as_bytes()), 0);
        let is_table = format == "csv";
        let expected = if is_table {
            "The file lets out everything that is required."
        } else {
            "The file is what tunnelcheck would print now."
        };
        assert!(said.starts_with(expected), "{format}: {said}");
    }
}

#[test]
fn a_missing_address_exits_1_and_is_named() {
    for (format, named) in [
        ("csv", "region1.v2.argotunnel.com UDP 7844: 198.41.192.27\n"),
        (
            "iptables",
            "  + -A TUNNELCHECK -d 198.41.192.27/32 -p udp -m udp --dport 7844 -j ACCEPT\n",
        ),
        ("kubernetes", "  + cidr: \"198.41.192.27/32\"\n"),
    ] {
        let rules = printed(format);
        let rules = rules.lines().filter(|line| !line.contains("198.41.192.27"));
        let rules: Vec<_> = rules.collect();
        let said = assert_exit(&check(rules.join("\n").as_bytes()), 1);
        assert!(said.contains(named) && !said.contains("region2"), "{said}");
    }
}

/// The file has its own options; what is asked for beyond them is missing all the same.
#[test]
fn a_file_for_one_transport_lacks_the_other() {
    let output = run(&[&RULES[..], &["--format", "pf", "--protocol", "quic"]].concat());
    let file = text(&output.stdout);
    assert_exit(&check_with(file.as_bytes(), &["--protocol", "quic"]), 0);
    let said = assert_exit(&check(file.as_bytes()), 1);
    assert!(
        said.contains("TCP 7844: 198.41.192.7") && !said.contains("UDP 7844:"),
        "{said}"
    );
    let mut command = tunnelcheck(&[&RULES[..], &["--check-drift", "-"]].concat());
    // The variable says what is needed, and nothing of how the file was printed.
    command.env("TUNNEL_TRANSPORT_PROTOCOL", "quic");
    assert_exit(&fed(command, file.as_bytes()), 0);
}

#[test]
fn a_header_that_was_tampered_with_is_refused() {
    let file = printed("pf");
    for (from, to, why) in [
        (
            "--format pf",
            "--format pf --output /x",
            "unexpected argument",
        ),
        (
            "--format pf",
            "--check-drift /etc/shadow",
            "does not say how",
        ),
        ("--format pf", "--format zz", "invalid value"),
    ] {
        let file = file.replacen(from, to, 1);
        assert_refused(&check(file.as_bytes()), why);
    }
}

/// What others have, and what is right about it.
#[test]
fn lists_of_clouds_and_clusters_are_judged_by_their_fields() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/rules/cases");
    let v4 = ["--edge-ip-version", "4"];
    let quic = ["--protocol", "quic", "--edge-ip-version", "4"];
    let http2 = ["--protocol", "http2"];
    for (file, options, code, says, says_not) in [
        (
            "r02-nacl-replies.json",
            &[][..],
            1,
            "UDP 7844: 198.41.192.7",
            "TCP 7844:",
        ),
        (
            "r02-nacl-replies.json",
            &http2,
            0,
            "lets out everything",
            "7844:",
        ),
        (
            "r05-netpol-anywhere.yaml",
            &[],
            1,
            "UDP 7844: 198.41.192.7",
            "TCP 7844:",
        ),
        (
            "r05-netpol-anywhere.yaml",
            &http2,
            0,
            "DNS inside the cluster is let out",
            "7844:",
        ),
        (
            "r07-security-group.json",
            &[],
            1,
            "UDP 7844: 2606:4700:a0::1",
            "UDP 7844: 198",
        ),
        (
            "r07-security-group.json",
            &v4,
            1,
            "TCP 7844: 198.41.192.7",
            "UDP 7844:",
        ),
        (
            "r07-security-group.json",
            &quic,
            0,
            "lets out everything",
            "resolver UDP",
        ),
    ] {
        let path = folder.join(file).display().to_string();
        let output = run(&[&RULES[..], options, &["--check-drift", &path]].concat());
        let said = assert_exit(&output, code);
        assert!(
            said.contains(says) && !said.contains(says_not),
            "{file} {options:?}\n{said}"
        );
    }
}

#[test]
fn what_cannot_be_compared_exits_2_and_says_what_can() {
    assert_refused(&check(b"\x7fELF\0\0"), "is not a text file");
    assert_refused(&check(b"nothing to see\n"), "give `nft list ruleset`");
    let script = b"#!/bin/sh\niptables -A OUTPUT -j DROP\n";
    assert_refused(&check(script), "apply it in a scratch host");
    let gone = run(&[&RULES[..], &["--check-drift", "/nowhere/rules"]].concat());
    assert_refused(&gone, "--check-drift: /nowhere/rules: cannot be read");
    let both = ["--check-drift", "--source", "192.0.2.1", "--as-user", "x"];
    assert_refused(&run(&[&RULES[..], &both].concat()), "cannot be used with");
    let ufw = ["--format", "ufw", "--for-container", "192.0.2.1"];
    assert_refused(
        &run(&[&RULES[..], &ufw].concat()),
        "give --format nftables or iptables",
    );
    let name = ["--format", "nftables", "--for-container", "$(id)"];
    assert_refused(
        &run(&[&RULES[..], &name].concat()),
        "neither an address nor the name",
    );
}

#[cfg(unix)]
#[test]
fn what_never_ends_is_not_read_to_its_end() {
    let endless = run(&[&RULES[..], &["--check-drift", "/dev/zero"]].concat());
    assert_refused(&endless, "is longer than 16 MB");
}

#[test]
fn standard_input_is_read() {
    let command = tunnelcheck(&[&RULES[..], &["--check-drift", "-"]].concat());
    let table = "protocol,destination,destination_port\nudp,198.41.192.0/24,7844\ntcp,198.41.192.0/24,7844\n";
    let said = assert_exit(&fed(command, table.as_bytes()), 1);
    assert!(
        said.contains("region2") && !said.contains("198.41.192.7"),
        "{said}"
    );
}

fn fed(mut command: std::process::Command, input: &[u8]) -> Output {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}
