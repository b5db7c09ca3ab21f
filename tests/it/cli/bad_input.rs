//! Wrong usage: one clear message, exit 2, nothing sent.

use super::{assert_refused, degraded, run, text, tunnelcheck};

#[test]
fn wrong_options_are_refused() {
    for (args, words) in [
        (&["--protocol", "h2mux"][..], "h2mux"),
        (&["--edge-ip-version", "5"], "possible values: auto, 4, 6"),
        (&["--region", "eu"], "possible values: us, fed"),
        (&["--format", "xml"], "xml"),
        (&["--color", "red"], "red"),
        (&["--unheard-of"], "--unheard-of"),
        (&["check"], "check"),
        (&["-q", "-v"], "cannot be used with"),
        (
            &["--team", "my.team"],
            "--team: `my.team` is not a team name",
        ),
        (&["--team", "acme.cloudflareaccess.com"], "--team acme"),
        (&["--team", "-x"], "-x"),
        (
            &["--optional-host", "192.0.2.1"],
            "--optional-host: `192.0.2.1` is an address",
        ),
        (
            &["--optional-host", "https://a.example/"],
            "give --optional-host a.example",
        ),
        (&["--post-quantum=maybe"], "--post-quantum"),
        (&["--edge", "a.example"], "--edge (TUNNEL_EDGE)"),
        (&["--edge-bind-address", "192.0.2.77"], "192.0.2.77"),
        (&["--resolver", "dns.google"], "--resolver: `dns.google`"),
        (&["--timeout", "0"], "--timeout: `0`"),
        (&["--timeout", "-1"], "--timeout: `-1`"),
        (&["--timeout", "soon"], "0.1 to 3600"),
        (&["--cacert", "/nonexistent/ca.pem"], "/nonexistent/ca.pem"),
        (&["--cacert", "/"], "--cacert"),
        (&["--output", "report.pdf"], ".md and .prom"),
        (
            &["--output", "/nonexistent/report.json"],
            "cannot be written",
        ),
        (&["--strict", "show", "x.json"], "`--strict` is for a check"),
        (&["show"], "REPORT.json"),
        (
            &["--strict", "rehearse", "x"],
            "`--strict` comes before `rehearse`",
        ),
        (&["--format", "json", "rehearse", "x"], "`--format` is for"),
        (&["rehearse"], "RULES"),
        (&["rehearse", "--restore", "x"], "--restore"),
        (&["rehearse", "/nonexistent/rules"], "/nonexistent/rules"),
        (&["rehearse", "/"], "/: cannot be read"),
        (&["rehearse", "/dev/null"], "/dev/null: holds no rules"),
        (&["rehearse", "/dev/zero"], "/dev/zero"),
        (&["rehearse", "x", "--deadline", "1"], "--deadline: `1`"),
        (&["rehearse", "x", "--deadline", "-5"], "2 to 3600"),
        (&["rehearse", "x", "--team", "my.team"], "--team"),
        (&["report.json"], "tunnelcheck show report.json"),
    ] {
        assert_refused(&run(args), words);
    }
}

#[test]
fn wrong_variables_are_refused() {
    for (name, value) in [
        ("TUNNEL_TRANSPORT_PROTOCOL", "h2mux"),
        ("TUNNEL_EDGE_IP_VERSION", "5"),
        ("TUNNEL_EDGE_BIND_ADDRESS", "eth0"),
        ("TUNNEL_REGION", "eu"),
        ("TUNNEL_EDGE", "a.example"),
        ("TUNNEL_CACERT", "/nonexistent/ca.pem"),
        ("TUNNEL_POST_QUANTUM", "maybe"),
    ] {
        let output = tunnelcheck(&[]).env(name, value).output().unwrap();
        assert_refused(&output, value);
        assert_refused(&output, name);
    }
}

#[test]
fn empty_variables_are_unset() {
    let mut command = tunnelcheck(&["show", &degraded()]);
    for name in [
        "TUNNEL_TRANSPORT_PROTOCOL",
        "TUNNEL_EDGE_IP_VERSION",
        "TUNNEL_EDGE_BIND_ADDRESS",
        "TUNNEL_REGION",
        "TUNNEL_EDGE",
        "TUNNEL_CACERT",
        "TUNNEL_POST_QUANTUM",
        "NO_COLOR",
    ] {
        command.env(name, "");
        // The last input to be judged: to get there, all of the others have been accepted.
        let mut check = tunnelcheck(&["--output", "report.pdf"]);
        assert_refused(&check.env(name, "").output().unwrap(), "--output");
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
}

#[test]
fn messages_are_one_line_and_escape_what_was_typed() {
    let output = run(&["--team", "evil\x1b[31m\u{202e}"]);
    assert_refused(&output, r"evil\u{1b}[31m\u{202e}");
    let stderr = text(&output.stderr);
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(!stderr.trim_end().contains(char::is_control));
}
