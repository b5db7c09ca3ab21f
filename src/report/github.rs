//! The report as workflow commands of GitHub Actions: an annotation for the verdict, and one for each
//! finding.
//!
//! A command is one line, `::error title=TITLE::MESSAGE`. Its escapes are those of GitHub's own toolkit
//! (`actions/toolkit`, `packages/core/src/command.ts`): `%`, carriage return and line feed as `%25`,
//! `%0D` and `%0A`, and in a property `:` and `,` as `%3A` and `%2C` as well.

use super::{Verbosity, escape, rows, table};
use crate::diff::{Difference, Outcome, Trend, lines};
use crate::model::{Finding, Report, Severity};

/// How an annotation is marked.
#[derive(Clone, Copy)]
enum Level {
    Error,
    Warning,
    Notice,
}

impl Level {
    const fn command(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
        }
    }
}

/// Renders a report whose texts are escaped already, and what is different, whose are not. What
/// decides the exit code comes first: GitHub shows ten annotations of a level for each step.
pub(super) fn write(
    report: Option<&Report>,
    difference: Option<&Difference>,
    verbosity: Verbosity,
) -> String {
    let mut commands = String::new();
    if let Some(difference) = difference {
        commands += &of_difference(difference, verbosity);
    }
    if let Some(report) = report {
        commands += &of_report(report, difference.is_some(), verbosity);
    }
    commands
}

fn of_report(report: &Report, is_compared: bool, verbosity: Verbosity) -> String {
    let fails = report.exit_code != 0 && !is_compared;
    let verdict = report.verdict;
    let level = match report.verdict {
        crate::model::Verdict::Ready => Level::Notice,
        _ if fails => Level::Error,
        _ => Level::Warning,
    };
    let title = format!("tunnelcheck: {}", verdict.to_string().to_uppercase());
    let about = [
        report.summary.clone(),
        report.scope.clone(),
        table::provenance(report),
    ];
    let mut commands = command(level, &title, &about);
    if verbosity != Verbosity::Quiet {
        let findings = table::findings::worth_telling(report, verbosity);
        commands.extend(findings.into_iter().map(|f| of_finding(f, fails)));
    }
    commands
}

fn of_finding(finding: &Finding, fails: bool) -> String {
    let level = match finding.severity {
        Severity::Error if fails => Level::Error,
        Severity::Error | Severity::Warning => Level::Warning,
        Severity::Info => Level::Notice,
    };
    let title = format!("{} [{}]", finding.title, finding.code);
    command(level, &title, &rows::body_lines(finding))
}

fn of_difference(difference: &Difference, verbosity: Verbosity) -> String {
    let level = match difference.outcome {
        Outcome::NotWorse => Level::Notice,
        Outcome::Worse | Outcome::Uncertain => Level::Error,
    };
    let outcome = difference.outcome.to_string().to_uppercase();
    let mut about = vec![difference.summary.clone()];
    about.extend(difference.caveats.iter().map(ToString::to_string));
    let mut commands = command(level, &format!("tunnelcheck: {outcome}"), &about);
    if verbosity == Verbosity::Quiet {
        return commands;
    }
    for trend in Trend::ALL {
        let changes = lines(difference.of(trend));
        if !changes.is_empty() {
            let level = match trend {
                Trend::Worse | Trend::NoLongerCertain => Level::Warning,
                Trend::Better | Trend::NowCertain | Trend::Changed => Level::Notice,
            };
            commands += &command(level, trend.heading(), &changes);
        }
    }
    let moved: Vec<_> = difference.moved.iter().map(ToString::to_string).collect();
    if !moved.is_empty() {
        commands += &command(Level::Notice, "Moved", &moved);
    }
    commands
}

/// One command, with a message of several lines.
fn command(level: Level, title: &str, message: &[String]) -> String {
    let message: Vec<_> = message.iter().map(|line| data(line)).collect();
    format!(
        "::{} title={}::{}\n",
        level.command(),
        property(title),
        message.join("%0A")
    )
}

/// Text in a message. No line feed is left after [`escape`]; to escape them costs nothing.
fn data(text: &str) -> String {
    escape(text)
        .replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// Text in a property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
