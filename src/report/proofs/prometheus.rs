//! Metrics: read back by a parser of the text format, and by `promtool`.

#![expect(clippy::float_cmp, reason = "what was written is read to the bit")]

use std::collections::{BTreeMap, BTreeSet};

use super::{Content, Format, Verbosity, compare, differences, reports, samples, written};
use crate::model::Status;

pub(super) fn metrics<'a>(content: impl Into<Content<'a>>) -> String {
    written(content, Format::Prometheus, Verbosity::Normal)
}

type Sample = (BTreeMap<String, String>, f64);

/// Reads the text format as Prometheus documents it, and nothing but it: each metric with its help
/// and type in front, each sample once.
fn parsed(text: &str) -> BTreeMap<String, Vec<Sample>> {
    let mut metrics: BTreeMap<String, Vec<Sample>> = BTreeMap::new();
    let mut lines = text.lines().peekable();
    while let Some(help) = lines.next() {
        let help = help
            .strip_prefix("# HELP ")
            .unwrap_or_else(|| panic!("{help}"));
        let (name, help) = help.split_once(' ').unwrap();
        assert!(help.ends_with('.') && !help.contains('\\'), "{help}");
        assert_eq!(lines.next().unwrap(), format!("# TYPE {name} gauge"));
        let samples = metrics.entry(name.to_owned()).or_default();
        assert!(samples.is_empty(), "{name} comes twice");
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let (labels, value) = sample(line.strip_prefix(name).unwrap());
            assert!(
                samples.iter().all(|(known, _)| *known != labels),
                "twice: {line}"
            );
            samples.push((labels, value));
        }
        assert!(!samples.is_empty(), "{name}");
    }
    metrics
}

/// `{name="value",…} number`.
fn sample(text: &str) -> Sample {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    if let Some(inner) = rest.strip_prefix('{') {
        rest = braced(inner, &mut labels);
    }
    let value = rest.strip_prefix(' ').unwrap();
    // A second number would be a time, which the textfile collector refuses.
    (labels, value.parse().unwrap())
}

/// Reads labels up to the closing brace, and returns what comes after that.
fn braced<'a>(text: &'a str, labels: &mut BTreeMap<String, String>) -> &'a str {
    let (name, value) = text.split_once("=\"").unwrap();
    let is_name = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    assert!(is_name, "{name}");
    let (value, after) = unquoted(value);
    assert!(labels.insert(name.to_owned(), value).is_none());
    match after.strip_prefix(',') {
        Some(next) => braced(next, labels),
        None => after.strip_prefix('}').unwrap(),
    }
}

/// A label's value up to its closing quote, and what comes after that.
fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match chars.next().unwrap().1 {
                'n' => '\n',
                c @ ('\\' | '"') => c,
                other => panic!("\\{other} is no escape"),
            }),
            c => value.push(c),
        }
    }
    panic!("no closing quote: {text}")
}

#[test]
fn metrics_look_as_they_should() {
    insta::assert_snapshot!("prometheus-partial", metrics(&samples::partial()));
    let (before, after) = (samples::ready(), samples::degraded());
    let difference = compare(&before, &after);
    let content = Content::Difference(&difference);
    insta::assert_snapshot!("prometheus-difference", metrics(content));
}

#[test]
fn metrics_say_what_the_report_says() {
    for (name, report) in reports() {
        let metrics = parsed(&metrics(&report));
        let verdicts = &metrics["tunnelcheck_verdict"];
        let verdict: Vec<_> = verdicts.iter().filter(|(_, value)| *value == 1.0).collect();
        assert_eq!(verdict.len(), 1, "{name}");
        assert_eq!(verdict[0].0["verdict"], report.verdict.to_string());
        let code = metrics["tunnelcheck_exit_code"][0].1;
        assert_eq!(code, f64::from(report.exit_code), "{name}");
        let none = Vec::new();
        let reached = metrics
            .get("tunnelcheck_destination_reachable")
            .unwrap_or(&none);
        let known = report.destinations.iter().filter(|row| {
            !matches!(
                row.status,
                Status::Unavailable | Status::Skipped | Status::Inconclusive
            )
        });
        let known: Vec<_> = known.collect();
        assert_eq!(reached.len(), known.len(), "{name}");
        for (row, (labels, value)) in known.iter().zip(reached) {
            assert_eq!(labels["host"], *crate::report::escape(&row.host), "{name}");
            let is_reachable = row.status == Status::Reachable;
            assert_eq!(*value == 1.0, is_reachable, "{name}: {labels:?}");
        }
        let states = &metrics["tunnelcheck_destination_status"];
        assert_eq!(states.len(), report.destinations.len(), "{name}");
    }
}

#[test]
fn of_two_equal_rows_one_is_told() {
    let mut report = samples::ready();
    let row = report.destinations[0].clone();
    report.destinations.push(row);
    let metrics = parsed(&metrics(&report));
    let states = &metrics["tunnelcheck_destination_status"];
    assert_eq!(states.len(), report.destinations.len() - 1);
}

#[test]
fn differences_are_counted() {
    for (name, _, difference) in differences() {
        let metrics = parsed(&metrics(Content::Difference(&difference)));
        let names: BTreeSet<_> = metrics.keys().map(String::as_str).collect();
        assert!(
            names
                .iter()
                .all(|name| name.starts_with("tunnelcheck_baseline_"))
        );
        let counted: f64 = metrics["tunnelcheck_baseline_changes"]
            .iter()
            .map(|s| s.1)
            .sum();
        let changes = u32::try_from(difference.changes().count()).unwrap();
        assert_eq!(counted, f64::from(changes), "{name}");
    }
}
