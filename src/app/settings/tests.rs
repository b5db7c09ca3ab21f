//! Every input that does not hold is named, with what to give instead.

#![expect(clippy::float_cmp, reason = "what was typed is kept to the bit")]

use std::ffi::OsString;
use std::fs;

use super::*;
use crate::app::args::parse_from;

const TERMINAL: Terminal = Terminal {
    stdout_width: Some(120),
    stderr_is_terminal: true,
    no_color: false,
};

fn request(args: &[&str]) -> Result<Request, UsageError> {
    let args = std::iter::once("tunnelcheck")
        .chain(args.iter().copied())
        .map(OsString::from);
    Request::new(parse_from(args).unwrap(), TERMINAL)
}

fn settings(args: &[&str]) -> Settings {
    match request(args).unwrap() {
        Request::Check(settings) => *settings,
        _ => panic!("a check was asked for"),
    }
}

fn refused(args: &[&str]) -> String {
    let message = request(args).unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let settings = settings(&[]);
    assert_eq!(settings.options.timeout_s, 10.0);
    assert!(settings.options.optional && !settings.options.strict);
    assert!(settings.cacert.is_none());
    assert!(settings.presentation.progress);
    assert_eq!(settings.presentation.style, Style::new(true, Some(120)));
}

fn hosts(args: &[&str]) -> Vec<(String, bool)> {
    let hosts = settings(args).options.optional_hosts.unwrap();
    hosts.into_iter().map(|h| (h.name, h.asked)).collect()
}

#[test]
fn optional_hosts_are_the_usual_ones_and_those_that_are_named() {
    let usual = hosts(&[]);
    assert_eq!(usual.len(), 5);
    assert!(usual.iter().all(|(_, asked)| !asked));
    let pqtunnels = "pqtunnels.cloudflareresearch.com";
    let named = hosts(&["--optional-host", "PQtunnels.cloudflareresearch.com."]);
    assert_eq!(named[..5], usual);
    assert_eq!(named[5], (pqtunnels.to_owned(), true));
    let again = [
        "--optional-host",
        "github.com",
        "--optional-host",
        "GitHub.com",
    ];
    assert_eq!(hosts(&again).len(), 5, "each once");
    assert!(hosts(&again).contains(&("github.com".to_owned(), true)));
    let alone = hosts(&["--no-optional", "--optional-host", "github.com"]);
    assert_eq!(alone, [("github.com".to_owned(), true)]);
    let fed = hosts(&["--region", "fed"]);
    assert!(fed.contains(&("management.fed.argotunnel.com".to_owned(), false)));
}

#[test]
fn optional_hosts_are_host_names() {
    for (given, words) in [
        ("192.0.2.1", "is an address"),
        ("[2001:db8::1]", "is an address"),
        ("", "is not a host name"),
        ("a..b", "is not a host name"),
        ("-a.example", "is not a host name"),
        ("a.example;id", "is not a host name"),
        ("https://a.example/x", "give --optional-host a.example"),
        ("a.example:8443", "give --optional-host a.example"),
    ] {
        let message = refused(&[&format!("--optional-host={given}")]);
        assert!(message.starts_with("--optional-host: "), "{message}");
        assert!(message.contains(words), "{given}: {message}");
    }
}

#[test]
fn post_quantum_is_read_as_cloudflared_reads_it() {
    assert!(!settings(&[]).options.post_quantum);
    for (given, kept) in [
        ("--post-quantum", true),
        ("--post-quantum=1", true),
        ("--post-quantum=True", true),
        ("--post-quantum=false", false),
    ] {
        assert_eq!(settings(&[given]).options.post_quantum, kept, "{given}");
    }
}

#[test]
fn teams_are_host_labels() {
    let longest = "a".repeat(63);
    for (given, kept) in [
        ("myteam", "myteam"),
        ("My-Team-2", "my-team-2"),
        (longest.as_str(), longest.as_str()),
    ] {
        assert_eq!(
            settings(&["--team", given]).options.team.as_deref(),
            Some(kept)
        );
    }
    let too_long = "a".repeat(64);
    for wrong in [
        "my.team",
        "-x",
        "x-",
        "",
        "t eam",
        "téam",
        "a_b",
        too_long.as_str(),
    ] {
        assert!(
            refused(&[&format!("--team={wrong}")]).contains("is not a team name"),
            "{wrong}"
        );
    }
    for host in [
        "acme.cloudflareaccess.com",
        "https://Acme.cloudflareaccess.com/",
        "acme.fed.cloudflareaccess.com.",
    ] {
        assert!(
            refused(&["--team", host]).ends_with("--team acme"),
            "{host}"
        );
    }
}

#[test]
fn resolvers_are_addresses_with_or_without_a_port() {
    for (given, meant) in [
        ("1.1.1.1", "1.1.1.1:53"),
        ("1.1.1.1:5353", "1.1.1.1:5353"),
        ("::1", "[::1]:53"),
        ("[::1]", "[::1]:53"),
        ("[::1]:5353", "[::1]:5353"),
    ] {
        assert_eq!(
            settings(&["--resolver", given]).options.resolver,
            [meant.parse().unwrap()]
        );
    }
    for wrong in [
        "dns.google",
        "1.1.1",
        "1.1.1.1:0",
        "1.1.1.1:99999",
        "::1:zz",
        "[::1",
        "",
        "1.1.1.1 ",
    ] {
        assert!(
            refused(&["--resolver", wrong]).contains("IP:PORT"),
            "{wrong}"
        );
    }
}

#[test]
fn timeouts_are_positive_and_finite() {
    for (given, meant) in [("0.1", 0.1), ("2.5", 2.5), ("3600", 3600.0)] {
        assert_eq!(settings(&["--timeout", given]).options.timeout_s, meant);
    }
    for wrong in ["0", "-1", "NaN", "inf", "3601", "0.05", "10s", "", "1e300"] {
        assert!(
            refused(&[&format!("--timeout={wrong}")]).contains("0.1 to 3600"),
            "{wrong}"
        );
    }
}

#[test]
fn edges_have_a_port() {
    let edges = settings(&[
        "--edge",
        "a.example:7844,[2001:db8::1]:7844",
        "--region",
        "us",
    ])
    .options
    .edge;
    assert_eq!(edges.len(), 2);
    assert!(refused(&["--edge", "a.example"]).contains("HOST:PORT"));
    assert!(refused(&["--edge", "a.example:0"]).contains("1 to 65535"));
    assert!(refused(&["--edge", ""]).contains("--edge"));
}

#[test]
fn the_bind_address_decides_the_family() {
    let options = settings(&["--edge-bind-address", "127.0.0.1"]).options;
    assert_eq!(options.edge_ip_version, IpVersionChoice::V4);
    let mapped = settings(&[
        "--edge-bind-address",
        "::ffff:127.0.0.1",
        "--edge-ip-version",
        "4",
    ])
    .options;
    assert_eq!(mapped.edge_bind_address, Some([127, 0, 0, 1].into()));
    let overridden = settings(&["--edge-bind-address", "127.0.0.1", "--edge-ip-version", "6"]);
    assert_eq!(
        overridden.options.edge_ip_version,
        IpVersionChoice::V4,
        "as in cloudflared"
    );
}

#[test]
fn a_bind_address_is_one_of_this_host() {
    assert!(
        refused(&["--edge-bind-address", "192.0.2.77"]).contains("cannot send from 192.0.2.77")
    );
    assert!(refused(&["--edge-bind-address", "eth0"]).contains("`eth0` is not an IP address"));
}

#[test]
fn certificates_are_read_and_tried() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let authority = rcgen::generate_simple_self_signed(["ca.example".to_owned()])
        .unwrap()
        .cert
        .pem();
    let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    fs::write(path("good.pem"), format!("# two\n{authority}{authority}")).unwrap();
    assert_eq!(
        settings(&["--cacert", &path("good.pem")])
            .cacert
            .unwrap()
            .len(),
        2
    );
    for (name, content, word) in [
        ("empty.pem", "", "holds no certificate"),
        ("text.pem", "hello", "holds no certificate"),
        (
            "cut.pem",
            "-----BEGIN CERTIFICATE-----\nAAAA\n",
            "is not PEM",
        ),
        (
            "damaged.pem",
            damaged,
            "certificate 1 cannot be a trust anchor",
        ),
        (
            "second.pem",
            &format!("{authority}{damaged}"),
            "certificate 2 cannot be a trust anchor",
        ),
    ] {
        fs::write(path(name), content).unwrap();
        let message = refused(&["--cacert", &path(name)]);
        assert!(
            message.contains(word) && message.contains(name),
            "{message}"
        );
    }
    assert!(refused(&["--cacert", &path("missing.pem")]).contains("cannot be read"));
    assert!(refused(&["--cacert", &path("")]).contains("cannot be read"));
}

#[test]
fn outputs_can_be_written_and_are_not_touched_yet() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("old.json"), "kept").unwrap();
    fs::create_dir(path("folder.json")).unwrap();
    let outputs = settings(&["--output", &path("old.json"), "--output", &path("new.TXT")])
        .presentation
        .outputs;
    assert_eq!(
        outputs
            .iter()
            .map(|(_, format)| *format)
            .collect::<Vec<_>>(),
        [Format::Json, Format::Table]
    );
    assert_eq!(fs::read_to_string(path("old.json")).unwrap(), "kept");
    assert!(refused(&["--output", &path("folder.json")]).contains("cannot be written"));
    assert!(refused(&["--output", &path("no/such/folder.json")]).contains("cannot be written"));
    let message = refused(&[
        "--output",
        &path("untouched.json"),
        "--output",
        &path("report.pdf"),
    ]);
    assert!(
        message.contains(".json, .txt, .xml (JUnit), .md and .prom"),
        "{message}"
    );
    assert!(!folder.path().join("untouched.json").exists());
}

#[test]
fn colour_is_for_terminals_unless_told_otherwise() {
    let colored = |color: &str, stdout_width, no_color| {
        let args = ["tunnelcheck", "--color", color].map(OsString::from);
        let terminal = Terminal {
            stdout_width,
            no_color,
            ..TERMINAL
        };
        match Request::new(parse_from(args).unwrap(), terminal).unwrap() {
            Request::Check(settings) => {
                settings.presentation.style == Style::new(true, stdout_width)
            }
            _ => false,
        }
    };
    assert!(colored("auto", Some(80), false));
    assert!(!colored("auto", Some(80), true));
    assert!(!colored("auto", None, false));
    assert!(colored("always", None, true));
    assert!(!colored("never", Some(80), false));
}

#[test]
fn intervals_are_seconds_that_leave_the_network_quiet() {
    for (text, interval) in [("1", 1.0), ("2.5", 2.5), ("86400", 86_400.0)] {
        let watch = settings(&["--watch", text]).watch;
        assert_eq!(watch, Some(Duration::from_secs_f64(interval)));
    }
    assert_eq!(settings(&["--watch"]).watch, Some(Duration::from_secs(5)));
    for text in ["0", "0.9", "-1", "86401", "NaN", "inf", "soon", ""] {
        let message = refused(&["--watch", text]);
        assert_eq!(
            message,
            format!("--watch: `{text}` is not a number of seconds from 1 to 86400")
        );
    }
}

#[cfg(not(target_os = "linux"))]
#[test]
fn a_rehearsal_is_refused_where_it_would_do_nothing() {
    let message = refused(&["rehearse", "rules.nft"]);
    assert_eq!(
        message,
        "rehearse is for Linux only; on this system apply the rules by hand"
    );
}
