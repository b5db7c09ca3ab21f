//! `rules`: what is printed without a network, and what is refused.

use super::{assert_refused, run, text, tunnelcheck};

const FORMATS: [&str; 4] = ["nftables", "iptables", "ufw", "firewalld"];

#[test]
fn without_a_network_the_documented_addresses_are_printed_with_a_warning() {
    for format in FORMATS {
        for (way, why) in [
            (&["--offline"][..], "DNS was not asked"),
            (&["--timeout", "0.5"], "DNS gave no address"),
        ] {
            let output = run(&[&["rules", "--format", format], way].concat());
            let (rules, warning) = (text(&output.stdout), text(&output.stderr));
            assert_eq!(output.status.code(), Some(0), "{warning}");
            for address in ["198.41.192.7", "198.41.200.233", "2606:4700:a0::10"] {
                assert!(
                    rules.contains(address),
                    "{format} lacks {address}:\n{rules}"
                );
            }
            assert!(warning.contains(why), "{warning}");
            assert!(rules.contains(&format!("# Note: {why}")), "{rules}");
        }
    }
}

#[test]
fn options_and_variables_are_those_of_a_check() {
    let mut command = tunnelcheck(&[
        "rules",
        "--format",
        "iptables",
        "--offline",
        "--no-optional",
    ]);
    command
        .env("TUNNEL_TRANSPORT_PROTOCOL", "http2")
        .env("TUNNEL_REGION", "us")
        .env("TUNNEL_EDGE", "");
    let output = command.output().unwrap();
    let rules = text(&output.stdout);
    assert!(
        rules.contains("--protocol http2 --region us --no-optional"),
        "{rules}"
    );
    assert!(
        rules.contains("198.41.218.1/32 -p tcp") && !rules.contains("-p udp -m udp --dport 7844")
    );
    let mut command = tunnelcheck(&["rules", "--format", "iptables", "--offline"]);
    assert_refused(
        &command.env("TUNNEL_REGION", "eu").output().unwrap(),
        "TUNNEL_REGION",
    );
}

/// A lock-down that needs no network.
const LOCKDOWN: [&str; 7] = [
    "rules",
    "--format",
    "nftables",
    "--offline",
    "--lockdown",
    "--resolver",
    "9.9.9.9",
];

#[test]
fn the_session_stays_open() {
    let lockdown = |args: &[&str], session: &str| {
        let mut command = tunnelcheck(&[&LOCKDOWN, args].concat());
        command.env("SSH_CONNECTION", session).output().unwrap()
    };
    let ports = |args: &[&str], session: &str| {
        let rules = text(&lockdown(args, session).stdout);
        let line = rules
            .lines()
            .find(|l| l.contains("tcp dport") && l.contains("SSH"));
        line.unwrap_or_default().trim().to_owned()
    };
    let session = "192.0.2.7 51234 198.51.100.2 2222";
    assert!(ports(&[], "").starts_with("tcp dport { 22 } accept"));
    assert!(ports(&[], "nonsense").starts_with("tcp dport { 22 } accept"));
    assert!(ports(&[], session).starts_with("tcp dport { 2222 } accept"));
    assert!(ports(&["--ssh-port", "22"], session).starts_with("tcp dport { 22, 2222 } accept"));
    assert!(
        ports(&["--ssh-from", "192.0.2.0/24"], session)
            .starts_with("ip saddr { 192.0.2.0/24 } tcp")
    );
    assert_refused(
        &lockdown(&["--ssh-from", "10.0.0.0/8"], session),
        "this session comes from 192.0.2.7, which would be locked out; add --ssh-from 192.0.2.7",
    );
}

/// As under `sudo`, which drops the variable; the shell that runs it has it still.
#[test]
#[cfg(target_os = "linux")]
fn a_session_that_sudo_hides_is_found() {
    let script = "env -u SSH_CONNECTION \"$0\" rules --format nftables --offline --lockdown --resolver 9.9.9.9 \"$@\"; exit $?";
    let run = |args: &[&str]| {
        let mut shell = std::process::Command::new("/bin/sh");
        shell
            .args(["-c", script, env!("CARGO_BIN_EXE_tunnelcheck")])
            .args(args);
        shell
            .env("SSH_CONNECTION", "192.0.2.7 51234 198.51.100.2 2222")
            .output()
            .unwrap()
    };
    let rules = text(&run(&[]).stdout);
    assert!(
        rules.contains("tcp dport { 2222 } accept comment \"SSH\""),
        "{rules}"
    );
    assert_refused(
        &run(&["--ssh-from", "10.0.0.0/8"]),
        "this session comes from 192.0.2.7",
    );
}

#[test]
fn a_port_that_is_guessed_is_told() {
    let said = |args: &[&str]| text(&run(&[&LOCKDOWN[..], args].concat()).stderr);
    assert!(said(&[]).contains("no SSH session was found: SSH stays open on port 22 only"));
    assert!(!said(&["--ssh-port", "22"]).contains("SSH"));
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (args, words) in [
        (
            &["rules"][..],
            "--format: which rules? One of nftables, iptables, ufw, firewalld",
        ),
        (&["rules", "--format", "xml"], "possible values: nftables"),
        (
            &["rules", "--format", "ufw", "--ssh-port", "22"],
            "--lockdown",
        ),
        (
            &["rules", "--format", "ufw", "--lockdown", "--ssh-port", "0"],
            "--ssh-port: `0`",
        ),
        (
            &[
                "rules",
                "--format",
                "ufw",
                "--lockdown",
                "--ssh-port",
                "+22",
            ],
            "--ssh-port: `+22`",
        ),
        (
            &[
                "rules",
                "--format",
                "ufw",
                "--lockdown",
                "--ssh-from",
                "office",
            ],
            "--ssh-from: `office`",
        ),
        (
            &["rules", "--format", "ufw", "--team", "a.b"],
            "--team: `a.b`",
        ),
        (&["rules", "--format", "ufw", "--strict"], "--strict"),
        (
            &["--protocol", "quic", "rules", "--format", "ufw"],
            "`--protocol` comes before `rules`; write it after",
        ),
        (
            &["--format", "json", "rules"],
            "`--format` comes before `rules`; write it after",
        ),
        (
            &["--strict", "rules", "--format", "ufw"],
            "`--strict` is for a check; `rules` does not take it",
        ),
        (
            &["rules", "--format", "ufw", "--output", "x.txt"],
            "`--output` is for a report; `rules` does not take it",
        ),
        (
            &["rules", "--format", "ufw", "--redact"],
            "`--redact` is for a report; `rules` does not take it",
        ),
        (
            &["-q", "rules", "--format", "ufw"],
            "`--quiet` is for a report; `rules` does not take it",
        ),
    ] {
        assert_refused(&run(args), words);
    }
    assert!(!std::path::Path::new("x.txt").exists());
}
