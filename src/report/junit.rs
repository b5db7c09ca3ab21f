//! The report as JUnit XML, which every CI system reads: a test case for the verdict, and one for
//! each destination.
//!
//! The file holds a failure or an error exactly when the exit code is not 0. With a baseline the
//! difference decides both, and the rows are told without counting.

use std::io;
use std::time::Duration;

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::rows::{self, Meaning};
use super::{escape, table};
use crate::diff::{Change, Difference, Outcome, Trend};
use crate::model::{Attempt, Destination, Report, Requirement, Severity, Verdict};

/// Renders a report whose texts are escaped already, and what is different, whose are not.
pub(super) fn write(
    report: Option<&Report>,
    difference: Option<&Difference>,
) -> io::Result<String> {
    let mut document = quick_junit::Report::new("tunnelcheck");
    if let Some(report) = report {
        document.set_time(seconds(report.duration_ms.duration().as_secs_f64()));
        document.add_test_suite(of_report(report, difference.is_some()));
    }
    if let Some(difference) = difference {
        document.add_test_suite(of_difference(difference));
    }
    document.to_string().map_err(io::Error::other)
}

fn of_report(report: &Report, is_compared: bool) -> TestSuite {
    let mut suite = TestSuite::new("tunnelcheck");
    suite.set_time(seconds(report.duration_ms.duration().as_secs_f64()));
    // A saved report may hold anything; readers of timestamps are strict.
    if report.started_at.parse::<jiff::Timestamp>().is_ok() {
        add(&mut suite, "timestamp", &report.started_at);
    }
    if let Some(host) = &report.host.name {
        add(&mut suite, "hostname", host);
    }
    suite.add_test_case(of_verdict(report, is_compared));
    for row in &report.destinations {
        suite.add_test_case(of_row(row, report, is_compared));
    }
    suite
}

fn add(suite: &mut TestSuite, name: &str, value: &str) {
    suite.extra.insert(name.into(), value.into());
}

fn of_verdict(report: &Report, is_compared: bool) -> TestCase {
    let status = match report.verdict {
        _ if report.exit_code == 0 => TestCaseStatus::success(),
        _ if is_compared => aside(&report.summary),
        Verdict::Inconclusive | Verdict::Skipped => error("inconclusive", &report.summary),
        Verdict::Ready | Verdict::Degraded | Verdict::Blocked => {
            failure(&report.verdict.to_string(), &report.summary)
        }
    };
    let matter = |severity| severity != Severity::Info;
    let findings = report.findings.iter().filter(|f| matter(f.severity));
    let mut lines: Vec<_> = findings.flat_map(rows::finding_lines).collect();
    lines.extend([report.scope.clone(), table::provenance(report)]);
    let mut test = case("verdict", "tunnelcheck", status, &lines);
    test.set_time(seconds(report.duration_ms.duration().as_secs_f64()));
    let verdict = report.verdict.to_string().to_uppercase();
    test.set_system_out(format!("{verdict}  {}", report.summary));
    test
}

fn of_row(row: &Destination, report: &Report, is_compared: bool) -> TestCase {
    let state = rows::state(row);
    let cause = row.cause.map(|cause| cause.to_string());
    let kind = cause.unwrap_or_else(|| row.status.to_string());
    let status = match Meaning::of(row, report) {
        Meaning::Good => TestCaseStatus::success(),
        Meaning::NotAsked(why) => skipped(&format!("{state}: {why}")),
        Meaning::Excused(why) => skipped(&format!("{state}; {why}")),
        Meaning::Bad | Meaning::Unknown if is_compared => aside(&state),
        Meaning::Bad => failure(&kind, &state),
        Meaning::Unknown => error(&kind, &state),
    };
    let mut lines: Vec<_> = row.detail.iter().cloned().collect();
    lines.extend(rows::findings(row, report).flat_map(rows::finding_lines));
    let class = match row.requirement {
        Requirement::Required => "tunnelcheck.required",
        Requirement::Optional => "tunnelcheck.optional",
    };
    let mut test = case(&rows::name(row), class, status, &lines);
    test.set_time(seconds(lasted(&row.probes)));
    let rtt = row.rtt_ms.map(|rtt| format!(", round trip {}", rtt.min));
    let told = format!(
        "{} port {}: {state}{}",
        row.host,
        row.port,
        rtt.unwrap_or_default()
    );
    test.set_system_out(told);
    test
}

/// From the start of the first attempt to the end of the last, in seconds.
fn lasted(attempts: &[Attempt]) -> f64 {
    let started = attempts.iter().map(Attempt::started).min();
    let ended = attempts.iter().map(Attempt::ended).max();
    let ended = ended.unwrap_or_default();
    ended.since(started.unwrap_or_default()).as_secs_f64()
}

fn of_difference(difference: &Difference) -> TestSuite {
    let mut suite = TestSuite::new("difference");
    let summary = escape(&difference.summary);
    let status = match difference.outcome {
        Outcome::NotWorse => TestCaseStatus::success(),
        Outcome::Worse => failure("worse", &summary),
        Outcome::Uncertain => error("uncertain", &summary),
    };
    let caveats = difference.caveats.iter().map(ToString::to_string);
    let mut lines: Vec<_> = difference.lines();
    lines.extend(caveats.map(|caveat| format!("note: {caveat}")));
    let name = "nothing required got worse";
    let mut whole = case(name, CLASS_OF_DIFFERENCE, status, &escaped(&lines));
    whole.set_system_out(summary.as_ref());
    suite.add_test_case(whole);
    for trend in Trend::ALL {
        let changes = difference.of(trend).iter();
        suite.add_test_cases(changes.map(|change| of_change(trend, change)));
    }
    suite
}

const CLASS_OF_DIFFERENCE: &str = "tunnelcheck.difference";

fn of_change(trend: Trend, change: &Change) -> TestCase {
    let trend_word = trend.heading().to_lowercase();
    let course = escape(&change.course()).into_owned();
    let status = match trend {
        Trend::Worse if change.required => failure("worse", &course),
        Trend::Worse => skipped(&format!("{course}; not required")),
        _ if change.may_be_loss() => error("uncertain", &course),
        _ => TestCaseStatus::success(),
    };
    // One row may get worse and better at once, by its addresses.
    let name = format!("{}: {trend_word}", change.subject);
    let mut test = case(&escape(&name), CLASS_OF_DIFFERENCE, status, &[]);
    test.set_system_out(course);
    test
}

fn case(name: &str, class: &str, mut status: TestCaseStatus, lines: &[String]) -> TestCase {
    let is_success = matches!(status, TestCaseStatus::Success { .. });
    if !is_success && !lines.is_empty() {
        status.set_description(lines.join("\n"));
    }
    let mut case = TestCase::new(name, status);
    case.set_classname(class);
    case
}

/// What does not work and does not count, because the difference from a baseline does.
fn aside(what: &str) -> TestCaseStatus {
    skipped(&format!("{what}; the difference from the baseline counts"))
}

fn failure(kind: &str, message: &str) -> TestCaseStatus {
    not_passed(NonSuccessKind::Failure, kind, message)
}

fn error(kind: &str, message: &str) -> TestCaseStatus {
    not_passed(NonSuccessKind::Error, kind, message)
}

fn not_passed(how: NonSuccessKind, kind: &str, message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(how);
    status.set_type(kind).set_message(message);
    status
}

fn skipped(message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_message(message);
    status
}

fn escaped(lines: &[String]) -> Vec<String> {
    let lines = lines.iter();
    lines.map(|line| escape(line).into_owned()).collect()
}

/// A saved report may hold any number.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.clamp(0.0, 1e9)).unwrap_or_default()
}
