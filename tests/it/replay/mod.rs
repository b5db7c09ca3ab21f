//! Reports that the laboratory recorded, diagnosed again without a network.
//!
//! A case is the report of a lab run whose verdict the laboratory had confirmed. Diagnosing its
//! observations again must give the same report, in whatever order the attempts are listed. After
//! a change of the diagnosis that is meant, read what changes and accept it with `BLESS=1 cargo test
//! --profile ci --test it replay`: observations stay as they are. `TUNNELCHECK_LAB_RECORD=1 cargo test
//! --profile ci --test lab` makes new observations.

mod diff;

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::Index;
use tunnelcheck::internal::diagnose::diagnose;
use tunnelcheck::internal::model::{
    Attempt, Destination, Observations, Outcome, Report, Secured, Service, Status,
};

#[test]
fn every_case_is_diagnosed_as_it_was() {
    let cases = cases();
    assert!(
        cases.len() >= 20,
        "only {} cases in tests/replay/cases",
        cases.len()
    );
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = Vec::new();
    for (name, report) in cases {
        let again = diagnose(report.clone().into_observations());
        if bless {
            write_case(&name, &again);
            continue;
        }
        if let Some(difference) = difference(&report, &again) {
            wrong.push(format!("{name}: {difference}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} cases differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn the_order_of_attempts_and_lookups_never_changes_the_report() {
    for (name, report) in cases() {
        let mut seen = report.clone().into_observations();
        seen.attempts.reverse();
        let reversed = diagnose(seen);
        assert_eq!(difference(&report, &reversed), None, "{name}");
    }
}

/// What is passed on leads to the same conclusions.
#[test]
fn a_masked_report_is_diagnosed_alike() {
    for (name, report) in cases() {
        let masked =
            tunnelcheck::internal::report::redact(&report).expect("a report can be masked");
        let again = diagnose(masked.into_observations());
        let concluded = |report: &Report| {
            let rows = report.destinations.iter();
            let rows: Vec<_> = rows.map(|row| (row.status, row.cause)).collect();
            let codes = report.findings.iter().map(|finding| finding.code);
            (
                report.verdict,
                report.exit_code,
                rows,
                codes.collect::<Vec<_>>(),
            )
        };
        assert_eq!(concluded(&again), concluded(&report), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// However many attempts more succeed, a protocol that was usable stays so, and a row with a
    /// proven tunnel is never called blocked.
    #[test]
    fn more_success_never_makes_it_worse(case: Index, picks in prop::collection::vec(any::<Index>(), 1..8)) {
        let cases = cases();
        let (name, before) = case.get(&cases);
        let mut seen = before.clone().into_observations();
        if seen.attempts.is_empty() {
            return Ok(());
        }
        let mut passed = Vec::new();
        for pick in &picks {
            let at = pick.index(seen.attempts.len());
            let attempt = &mut seen.attempts[at];
            let decides = |row: &&Destination| row.sni == attempt.sni && !attempt.profile.is_experiment();
            let row = before.destinations.iter().filter(decides).find(|row| row.probes.contains(attempt));
            passed.extend(row.map(|row| (row.host.clone(), row.service, row.family)));
            succeed(attempt);
        }
        let after = diagnose(seen);
        for service in [Service::Quic, Service::Http2] {
            let usable = |report: &Report| report.protocols.get(service).is_some_and(|p| p.usable);
            prop_assert!(!usable(before) || usable(&after), "{name}: {service} became unusable");
        }
        for row in &after.destinations {
            let key = (row.host.clone(), row.service, row.family);
            let worse = passed.contains(&key) && row.status == Status::Blocked;
            prop_assert!(!worse, "{name}: {} {} {} is blocked in spite of a pass", row.host, row.service, row.family);
        }
    }

    /// Whatever is left out of what was seen, nothing panics, and no case of an open network becomes
    /// an accusation.
    #[test]
    fn less_evidence_never_accuses(kept in prop::collection::vec(any::<bool>(), 400)) {
        for (name, report) in cases().into_iter().filter(|(name, _)| name == "all-open") {
            let mut seen = report.into_observations();
            let mut keep = kept.iter().cycle();
            seen.attempts.retain(|_| *keep.next().unwrap_or(&true));
            let after = diagnose(seen);
            let accused = after.destinations.iter().any(|row| matches!(row.status, Status::Blocked | Status::Partial));
            prop_assert!(!accused, "{name}");
        }
    }
}

/// Writes a case anew: what was seen stays, what the diagnosis says of it is today's.
fn write_case(name: &str, report: &Report) {
    let path = folder().join(format!("{name}.json"));
    let text = serde_json::to_string(report).expect("a report is JSON");
    fs::write(path, text + "\n").expect("a case can be written");
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/replay/cases")
}

fn succeed(attempt: &mut Attempt) {
    attempt.contact_ms = attempt.contact_ms.or(Some(1.0.into()));
    attempt.handshake_ms = Some(2.0.into());
    attempt.outcome = Outcome::Secured {
        secured: Secured {
            version: "TLSv1_3".to_owned(),
            group: None,
            alpn: None,
            issuer: "CN=test".to_owned(),
            preface: None,
            http_status: None,
            http_error: None,
        },
    };
}

/// What differs between two reports, in a line; the version of the program may.
fn difference(before: &Report, after: &Report) -> Option<String> {
    let before = Report {
        tool: after.tool.clone(),
        ..before.clone()
    };
    if before == *after {
        return None;
    }
    let value = |report: &Report| serde_json::to_value(report).expect("a report is JSON");
    first_difference("report", &value(&before), &value(after))
}

fn first_difference(path: &str, a: &serde_json::Value, b: &serde_json::Value) -> Option<String> {
    use serde_json::Value::{Array, Object};
    match (a, b) {
        (Object(a), Object(b)) => a.keys().chain(b.keys()).find_map(|key| {
            let (a, b) = (
                a.get(key).unwrap_or_default(),
                b.get(key).unwrap_or_default(),
            );
            first_difference(&format!("{path}.{key}"), a, b)
        }),
        (Array(a), Array(b)) if a.len() == b.len() => a
            .iter()
            .zip(b)
            .enumerate()
            .find_map(|(at, (a, b))| first_difference(&format!("{path}[{at}]"), a, b)),
        _ if a == b => None,
        _ => Some(format!("{path}: was {a}, is {b}")),
    }
}

/// All recorded cases by name, read once.
fn cases() -> Vec<(String, Report)> {
    recorded().to_vec()
}

/// As [`cases`], for those who only look.
fn recorded() -> &'static [(String, Report)] {
    static CASES: LazyLock<Vec<(String, Report)>> = LazyLock::new(read_cases);
    &CASES
}

fn read_cases() -> Vec<(String, Report)> {
    let mut cases: Vec<_> = fs::read_dir(folder())
        .expect("the folder of cases")
        .map(|entry| entry.expect("a directory entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .map(|path| {
            let name = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let text = fs::read(&path).expect("a readable case");
            let report = serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
            (name, report)
        })
        .collect();
    cases.sort_by(|(a, _), (b, _)| a.cmp(b));
    cases
}

#[test]
fn observations_survive_being_saved() {
    for (name, report) in cases() {
        let seen: Observations = report.clone().into_observations();
        let saved = serde_json::to_vec(&report).expect("a report is JSON");
        let loaded: Report = serde_json::from_slice(&saved).expect("a saved report can be read");
        assert_eq!(loaded.into_observations(), seen, "{name}");
    }
}
