//! Snapshots of the table, and that it keeps within its bounds whatever it is given.

use std::sync::LazyLock;

use proptest::prelude::*;
use unicode_width::UnicodeWidthStr;

use super::super::escape::escape;
use super::super::{Format, Style, Verbosity, render, samples};
use crate::model::{Report, Severity};

fn table(report: &Report, style: Style, verbosity: Verbosity) -> String {
    let mut out = Vec::new();
    render(report, Format::Table, style, verbosity, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// Whether no line is wider, but for commands, which a shell must read as one.
fn keeps_within(report: &Report, text: &str, width: u16) -> bool {
    let findings = report.findings.iter();
    let commands: Vec<_> = findings
        .flat_map(|finding| finding.remedy.parts().0)
        .collect();
    let commands: Vec<_> = commands.into_iter().map(escape).collect();
    text.lines().all(|line| {
        line.width() <= usize::from(width) || commands.iter().any(|one| one.trim() == line.trim())
    })
}

/// A finding whose remedy has a command of this length, and a flow.
#[test]
fn commands_stand_in_one_line() {
    let mut report = samples::degraded();
    let command = format!(
        "New-NetFirewallRule -RemoteAddress {}",
        "192.0.2.7, ".repeat(20)
    );
    let flow = format!(
        "UDP out to port 7844 of region1: {}",
        "192.0.2.7, ".repeat(20)
    );
    report.findings[0].remedy.commands = vec![command.clone(), flow.clone()];
    let text = table(&report, plain(60), Verbosity::Normal);
    assert!(
        text.lines().any(|line| line.trim() == command.trim()),
        "{text}"
    );
    assert!(
        !text.lines().any(|line| line.trim() == flow.trim()),
        "{text}"
    );
    assert!(keeps_within(&report, &text, 60));
}

fn plain(width: u16) -> Style {
    Style::new(false, Some(width))
}

#[test]
fn tables_look_as_they_should() {
    for (name, report) in samples::all() {
        for width in [80, 50] {
            let text = table(&report, plain(width), Verbosity::Normal);
            insta::assert_snapshot!(format!("{name}-{width}"), text);
        }
    }
}

#[test]
fn verbose_tells_every_lookup_and_attempt() {
    insta::assert_snapshot!(table(&samples::degraded(), plain(80), Verbosity::Verbose));
}

#[test]
fn quiet_is_one_line() {
    let text = table(&samples::degraded(), plain(80), Verbosity::Quiet);
    assert_eq!(
        text,
        "DEGRADED  QUIC is blocked: UDP 7844 is dropped in silence. Set --protocol http2.\n"
    );
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for (name, report) in samples::all() {
        for width in 40..=120 {
            for verbosity in [Verbosity::Normal, Verbosity::Verbose] {
                let text = table(&report, plain(width), verbosity);
                assert!(
                    keeps_within(&report, &text, width),
                    "{name} at {width}:\n{text}"
                );
            }
        }
    }
}

#[test]
fn colour_adds_nothing_but_colour() {
    for (name, mut report) in samples::all() {
        report
            .findings
            .iter_mut()
            .for_each(|finding| finding.severity = Severity::Info);
        for verbosity in [Verbosity::Quiet, Verbosity::Normal, Verbosity::Verbose] {
            let colored = table(&report, Style::new(true, Some(80)), verbosity);
            assert!(colored.contains("\x1b["));
            assert_eq!(
                without_colour(&colored),
                table(&report, plain(80), verbosity),
                "{name}"
            );
        }
    }
}

fn without_colour(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').unwrap().1)
}

static TEXTS: LazyLock<samples::Texts> = LazyLock::new(|| samples::Texts::of(&samples::private()));

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_text_in_a_report_reaches_the_terminal_unescaped(
        text in "(?s).{0,12}[\u{1b}\u{9b}\u{7f}\n\u{202e}\u{2066}\u{200b}\u{2060}\u{2061}a株]{1,6}"
    ) {
        let report = TEXTS.poisoned(&text);
        let text = table(&report, plain(60), Verbosity::Verbose);
        prop_assert!(!text.chars().any(|c| c != '\n' && super::super::escape::is_unsafe(c)));
        prop_assert!(keeps_within(&report, &text, 60));
        let colored = table(&report, Style::new(true, Some(60)), Verbosity::Verbose);
        prop_assert_eq!(without_colour(&colored), text);
    }
}
