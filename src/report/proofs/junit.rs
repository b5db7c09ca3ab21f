//! JUnit: valid by the schema of Jenkins' xUnit plugin, and in accord with the exit code.

use quick_junit::TestCaseStatus;

use super::{
    Content, Format, Verbosity, compare, diagnose, differences, hostile, recorded, samples, written,
};
use crate::model::{Report, Status, Verdict};

pub(super) fn junit<'a>(content: impl Into<Content<'a>>) -> String {
    written(content, Format::Junit, Verbosity::Normal)
}

fn parsed(text: &str) -> quick_junit::Report {
    quick_junit::Report::deserialize_from_str(text).unwrap()
}

#[test]
fn files_look_as_they_should() {
    for (name, report) in samples::all() {
        insta::assert_snapshot!(format!("junit-{name}"), junit(&report));
    }
    let (before, after) = (samples::ready(), samples::partial());
    let difference = compare(&before, &after);
    let compared = Content::Compared(&after, &difference);
    insta::assert_snapshot!("junit-compared", junit(compared));
}

/// Whoever looks at the file alone comes to what the exit code says.
#[test]
fn a_file_holds_failures_exactly_when_the_exit_code_is_not_0() {
    let mut seen = [0; 2];
    for (name, report) in recorded() {
        for (strict, allow_degraded) in [(false, false), (true, false), (false, true), (true, true)]
        {
            let mut observations = report.clone().into_observations();
            observations.options.strict = strict;
            observations.options.allow_degraded = allow_degraded;
            let report = diagnose(observations);
            let document = parsed(&junit(&report));
            let bad = document.failures + document.errors;
            assert_eq!(
                bad > 0,
                report.exit_code != 0,
                "{name} {strict} {allow_degraded}"
            );
            seen[usize::from(bad > 0)] += 1;
            excuses_hold(&name, &report, &document);
        }
    }
    assert!(seen[0] > 50 && seen[1] > 50, "{seen:?}");
    for (name, report, difference) in differences() {
        for content in [
            Content::Difference(&difference),
            Content::Compared(&report, &difference),
        ] {
            let document = parsed(&junit(content));
            let bad = document.failures + document.errors;
            assert_eq!(bad > 0, difference.exit_code != 0, "{name}");
        }
    }
}

/// Each row has its case, with the status of the row, and nobody is excused for a wrong reason.
fn excuses_hold(name: &str, report: &Report, document: &quick_junit::Report) {
    let cases = &document.test_suites[0].test_cases;
    assert_eq!(cases.len(), report.destinations.len() + 1, "{name}");
    for (row, case) in report.destinations.iter().zip(&cases[1..]) {
        let passed = matches!(case.status, TestCaseStatus::Success { .. });
        assert_eq!(
            passed,
            row.status == Status::Reachable,
            "{name} {}",
            case.name.as_str()
        );
        if let TestCaseStatus::Skipped { message, .. } = &case.status {
            let message = message.as_ref().unwrap().as_str();
            assert!(
                message.starts_with(&row.status.to_string()),
                "{name}: {message}"
            );
            let allowed = report.options.allow_degraded && report.verdict == Verdict::Degraded;
            assert!(
                allowed || !message.contains("--allow-degraded"),
                "{name}: {message}"
            );
        }
    }
}

/// A blocked optional host fails nobody's build unless that is asked for.
#[test]
fn optional_hosts_fail_with_strict_alone() {
    for (case, failures) in [
        ("update-host-blocked", 0),
        ("update-host-blocked-strict", 3),
    ] {
        let (_, report) = recorded()
            .into_iter()
            .find(|(name, _)| name == case)
            .unwrap();
        let document = parsed(&junit(&report));
        // The host over both families, and the verdict.
        assert_eq!(
            (document.failures, document.errors),
            (failures, 0),
            "{case}"
        );
    }
}

#[test]
fn hostile_texts_stay_texts() {
    for (name, report) in hostile() {
        let document = parsed(&junit(&report));
        assert_eq!(document.test_suites.len(), 1, "{name}");
        let cases = &document.test_suites[0].test_cases;
        assert_eq!(cases.len(), report.destinations.len() + 1, "{name}");
        let issuer = crate::report::escape(&report.destinations[0].host).into_owned();
        let told = cases[1].system_out.as_ref().unwrap().as_str();
        assert!(told.starts_with(&issuer), "{name}: {told}");
    }
}
