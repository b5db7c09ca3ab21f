//! `tunnelcheck explain`: the pages of the findings.

use super::{assert_refused, run, text};

#[test]
fn one_or_several_findings_are_explained() {
    let output = run(&["explain", "udp-dropped", "tls_intercepted"]);
    assert!(output.status.success() && output.stderr.is_empty());
    let page = text(&output.stdout);
    for word in ["udp-dropped", "tls-intercepted", "Means:", "Ask:", "Apart:"] {
        assert!(page.contains(word), "{word} is missing:\n{page}");
    }
    assert!(!page.contains('\x1b'), "{page}");
}

#[test]
fn without_a_code_all_are_listed() {
    let output = run(&["explain"]);
    assert!(output.status.success());
    let list = text(&output.stdout);
    for code in tunnelcheck::internal::model::FindingCode::ALL {
        assert!(list.contains(code.as_str()), "{code} is missing:\n{list}");
    }
}

#[test]
fn colour_comes_when_asked_for() {
    let output = run(&["explain", "mtu", "--color", "always"]);
    assert!(text(&output.stdout).contains("\x1b[1m"));
}

#[test]
fn unknown_codes_are_refused_with_the_nearest() {
    let output = run(&["explain", "udp-dropped", "tcp-droped"]);
    assert_refused(&output, "'tcp-droped'");
    assert_refused(&output, "did you mean `tcp-dropped`?");
    assert_refused(&output, "`tunnelcheck explain` lists all");
    assert_refused(&run(&["explain", ""]), "lists all");
}

#[test]
fn options_that_mean_nothing_here_are_refused() {
    for (args, words) in [
        (
            &["--format", "json", "explain", "mtu"][..],
            "`--format` is for a report",
        ),
        (
            &["explain", "mtu", "--format", "json"],
            "unexpected argument '--format'",
        ),
        (
            &["explain", "--output", "x.txt"],
            "`--output` is for a report",
        ),
        (&["--redact", "explain"], "`--redact` is for a report"),
        (&["--strict", "explain"], "`--strict` is for a check"),
    ] {
        assert_refused(&run(args), words);
    }
}
