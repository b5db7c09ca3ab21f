//! Annotations, read as the runner of GitHub Actions reads workflow commands.

use super::{Content, Format, Verbosity, compare, differences, reports, samples, written};
use crate::model::Severity;
use crate::report::escape;

fn commands<'a>(content: impl Into<Content<'a>>, verbosity: Verbosity) -> Vec<Command> {
    let text = written(content, Format::Github, verbosity);
    text.lines().map(Command::parse).collect()
}

/// What the runner makes of a line.
#[derive(Debug)]
struct Command {
    name: String,
    title: String,
    message: String,
}

impl Command {
    /// As `ActionCommand.TryParseV2` of actions/runner: the line begins with `::`, up to the next `::`
    /// stand the name and, behind a space, `key=value` separated by commas; the rest is data.
    /// Unlike the runner, nothing is forgiven.
    fn parse(line: &str) -> Self {
        let rest = line.strip_prefix("::").unwrap_or_else(|| panic!("{line}"));
        let (head, data) = rest.split_once("::").unwrap();
        let (name, properties) = head.split_once(' ').unwrap();
        let properties: Vec<_> = properties.split(',').collect();
        let [title] = properties[..] else {
            panic!("not one property: {properties:?}");
        };
        let title = title.strip_prefix("title=").unwrap();
        Self {
            name: name.to_owned(),
            title: unescaped(title, &["%3A", "%2C", "%0D", "%0A"]),
            message: unescaped(data, &["%0D", "%0A"]),
        }
    }
}

/// `%25` and the given escapes, each of which GitHub's toolkit writes for one character.
fn unescaped(text: &str, escapes: &[&str]) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        plain.push_str(&rest[..at]);
        let escape = &rest[at..at + 3];
        assert!(
            escape == "%25" || escapes.contains(&escape),
            "{escape} in {text}"
        );
        plain.push(char::from(u8::from_str_radix(&escape[1..], 16).unwrap()));
        rest = &rest[at + 3..];
    }
    plain + rest
}

#[test]
fn annotations_look_as_they_should() {
    let text = |content, verbosity| written(content, Format::Github, verbosity);
    let degraded = samples::degraded();
    let content = Content::Report(&degraded);
    insta::assert_snapshot!("github-degraded", text(content, Verbosity::Normal));
    insta::assert_snapshot!("github-quiet", text(content, Verbosity::Quiet));
    let difference = compare(&samples::ready(), &degraded);
    let content = Content::Compared(&degraded, &difference);
    insta::assert_snapshot!("github-compared", text(content, Verbosity::Normal));
}

#[test]
fn each_finding_is_an_annotation_behind_that_of_the_verdict() {
    for (name, report) in reports() {
        let commands = commands(&report, Verbosity::Verbose);
        assert_eq!(commands.len(), report.findings.len() + 1, "{name}");
        let verdict = report.verdict.to_string().to_uppercase();
        assert_eq!(
            commands[0].title,
            format!("tunnelcheck: {verdict}"),
            "{name}"
        );
        let summary = escape(&report.summary);
        assert_eq!(
            commands[0].message.lines().next(),
            Some(&*summary),
            "{name}"
        );
        let is_error = commands[0].name == "error";
        assert_eq!(is_error, report.exit_code != 0, "{name}");
        for (finding, command) in report.findings.iter().zip(&commands[1..]) {
            let title = format!("{} [{}]", escape(&finding.title), finding.code);
            assert_eq!(command.title, title, "{name}");
            let level = match finding.severity {
                Severity::Error if report.exit_code != 0 => "error",
                Severity::Error | Severity::Warning => "warning",
                Severity::Info => "notice",
            };
            assert_eq!(command.name, level, "{name}");
            for seen in &finding.evidence {
                let seen = format!("Seen: {}", escape(&seen.0));
                assert!(
                    command.message.lines().any(|line| line == seen),
                    "{name}: {seen}"
                );
            }
        }
    }
}

#[test]
fn an_allowed_degradation_is_no_error() {
    let mut report = samples::degraded();
    report.options.allow_degraded = true;
    report.exit_code = 0;
    let commands = commands(&report, Verbosity::Normal);
    assert!(
        commands.iter().all(|command| command.name == "warning"),
        "{commands:?}"
    );
}

#[test]
fn a_difference_decides_the_level() {
    for (name, report, difference) in differences() {
        let content = Content::Compared(&report, &difference);
        let commands = commands(content, Verbosity::Normal);
        let errors = commands
            .iter()
            .filter(|command| command.name == "error")
            .count();
        assert_eq!(errors, usize::from(difference.exit_code != 0), "{name}");
        assert!(commands[0].title.starts_with("tunnelcheck: "), "{name}");
    }
}
