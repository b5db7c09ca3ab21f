//! Recorded reports compared with each other.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::Index;
use tunnelcheck::internal::diff::{Change, Difference, Outcome, Subject, compare};
use tunnelcheck::internal::model::{Report, Status, Verdict};

use super::recorded;

fn case(name: &str) -> Report {
    let found = recorded().iter().find(|(known, _)| known == name);
    // When they were recorded says nothing of which comes before which.
    let started_at = "2026-01-01T00:00:00Z".to_owned();
    let (_, report) = found.expect("a recorded case");
    Report {
        started_at,
        ..report.clone()
    }
}

fn subjects(changes: &[Change]) -> Vec<String> {
    let of = |change: &Change| change.subject.to_string();
    changes.iter().map(of).collect()
}

#[test]
fn a_report_does_not_differ_from_itself() {
    for (name, report) in recorded() {
        let difference = compare(report, report);
        assert!(difference.is_empty(), "{name}: {:?}", difference.lines());
        assert_eq!(difference.outcome, Outcome::NotWorse, "{name}");
        assert!(difference.unchanged > 20, "{name}");
    }
}

#[test]
fn dropped_udp_is_worse_and_says_so() {
    let difference = compare(&case("all-open"), &case("udp-dropped"));
    assert_eq!(difference.outcome, Outcome::Worse);
    assert_eq!(difference.exit_code, 1);
    let lost: Vec<_> = difference.lost_required().map(Change::to_string).collect();
    assert_eq!(
        lost,
        [
            "verdict: ready -> degraded",
            "quic: ready -> blocked",
            "region1 quic IPv4: reachable, 10 of 10 addresses -> blocked (dropped), 0 of 10 addresses",
            "region1 quic IPv6: reachable, 10 of 10 addresses -> blocked (dropped), 0 of 10 addresses",
            "region2 quic IPv4: reachable, 10 of 10 addresses -> blocked (dropped), 0 of 10 addresses",
            "region2 quic IPv6: reachable, 10 of 10 addresses -> blocked (dropped), 0 of 10 addresses",
        ]
    );
    assert!(subjects(&difference.worse).contains(&"finding udp-dropped".to_owned()));
    assert!(difference.better.is_empty());
    assert!(difference.caveats.is_empty());
    let back = compare(&case("udp-dropped"), &case("all-open"));
    assert_eq!((back.exit_code, back.worse.len()), (0, 0));
}

#[test]
fn another_way_to_be_blocked_is_a_change_and_no_loss() {
    let difference = compare(&case("both-dropped"), &case("both-rejected"));
    assert_eq!(difference.exit_code, 0, "{:?}", difference.lines());
    let rows = subjects(&difference.changed);
    let count = rows.iter().filter(|subject| subject.starts_with("region"));
    assert_eq!(count.count(), 8, "{rows:?}");
}

/// The rows keep their status where other addresses are blocked than before.
#[test]
fn one_blocked_address_is_named() {
    let difference = compare(&case("all-open"), &case("one-address-blocked"));
    assert_eq!(difference.outcome, Outcome::Worse);
    let stopped: BTreeSet<_> = difference.worse.iter().flat_map(|c| &c.stopped).collect();
    assert_eq!(stopped.len(), 1, "{:?}", difference.lines());
    let lines = difference.lines().join("\n");
    let address = stopped.first().expect("one").to_string();
    assert!(
        lines.contains(&format!("stopped passing: {address}")),
        "{lines}"
    );
}

/// A host that loses IPv6, as by a rule against `ICMPv6`, has lost rows that it needed, although what
/// is left is ready.
#[test]
fn a_family_that_is_gone_is_a_loss() {
    let difference = compare(&case("all-open"), &case("no-ipv6"));
    assert_eq!(case("no-ipv6").verdict, Verdict::Ready);
    assert_eq!(
        difference.outcome,
        Outcome::Worse,
        "{:?}",
        difference.lines()
    );
    assert_eq!(difference.lost_required().count(), 4);
}

#[test]
fn optional_hosts_count_only_where_they_are_strict() {
    let loose = compare(&case("all-open"), &case("update-host-blocked"));
    assert_eq!(loose.exit_code, 0, "{:?}", loose.lines());
    assert!(!loose.worse.is_empty());
    let strict = compare(&case("all-open"), &case("update-host-blocked-strict"));
    assert_eq!(strict.exit_code, 1);
    assert_eq!(strict.caveats.len(), 1, "--strict differs");
}

#[test]
fn rows_that_nobody_asked_for_are_neither_lost_nor_won() {
    let difference = compare(&case("all-open"), &case("all-open-protocol-http2"));
    assert_eq!(difference.exit_code, 0, "{:?}", difference.lines());
    assert!(difference.worse.is_empty() && difference.better.is_empty());
    let options = difference.caveats[0].to_string();
    assert!(options.contains("--protocol"), "{options}");
}

#[test]
fn what_dns_adds_and_withdraws_has_moved() {
    let difference = compare(&case("all-open"), &case("part-of-the-addresses"));
    assert!(!difference.moved.is_empty(), "{:?}", difference.lines());
    assert!(difference.moved.iter().all(|moved| moved.added.is_empty()));
    assert!(
        difference
            .moved
            .iter()
            .all(|moved| !moved.withdrawn.is_empty())
    );
    assert_eq!(difference.exit_code, 0, "{:?}", difference.lines());
    let region = compare(&case("all-open"), &case("all-open-region-us"));
    let moved = &region.moved[0];
    assert_eq!(moved.host_before, "region1.v2.argotunnel.com");
    assert_eq!(moved.host_after, "us-region1.v2.argotunnel.com");
}

#[test]
fn an_uncertain_row_proves_nothing_and_is_no_all_clear() {
    let open = case("all-open");
    let mut unsure = open.clone();
    unsure.verdict = Verdict::Inconclusive;
    unsure.protocols.quic.status = Verdict::Inconclusive;
    unsure.destinations[0].status = Status::Inconclusive;
    let difference = compare(&open, &unsure);
    assert_eq!(difference.outcome, Outcome::Uncertain);
    assert_eq!(difference.exit_code, 4);
    assert!(difference.worse.is_empty());
    assert_eq!(difference.uncertain_required().count(), 3);
    // What was not known before, and works now, was no loss.
    assert_eq!(compare(&unsure, &open).outcome, Outcome::NotWorse);
    // What was blocked before cannot have got worse by being unknown.
    let blocked = case("both-dropped");
    let mut unknown = blocked.clone();
    unknown.verdict = Verdict::Inconclusive;
    assert_eq!(compare(&blocked, &unknown).outcome, Outcome::NotWorse);
    assert_eq!(compare(&unknown, &blocked).outcome, Outcome::Uncertain);
    // A proof outweighs a doubt.
    unsure.destinations[1].status = Status::Blocked;
    assert_eq!(compare(&open, &unsure).outcome, Outcome::Worse);
}

#[test]
fn time_is_no_difference() {
    let open = case("all-open");
    let mut later = open.clone();
    later.started_at = "2099-01-01T00:00:00Z".to_owned();
    later.duration_ms = 5000.0.into();
    for row in &mut later.destinations {
        row.rtt_ms = None;
        row.detail = Some("slower".to_owned());
    }
    for lookup in &mut later.dns.lookups {
        lookup.elapsed_ms = 900.0.into();
    }
    assert!(compare(&open, &later).is_empty());
}

/// A difference as it would be with the two reports exchanged.
fn mirrored(difference: Difference) -> Difference {
    let flip = |changes: Vec<Change>| -> Vec<Change> {
        let flipped = changes.into_iter().map(|change| Change {
            before: change.after,
            after: change.before,
            stopped: change.started,
            started: change.stopped,
            undecided: change.decided,
            decided: change.undecided,
            ..change
        });
        flipped.collect()
    };
    let mut moved = difference.moved;
    for moved in &mut moved {
        std::mem::swap(&mut moved.host_before, &mut moved.host_after);
        std::mem::swap(&mut moved.added, &mut moved.withdrawn);
    }
    Difference {
        before: difference.after,
        after: difference.before,
        worse: flip(difference.better),
        better: flip(difference.worse),
        no_longer_certain: flip(difference.now_certain),
        now_certain: flip(difference.no_longer_certain),
        changed: flip(difference.changed),
        moved,
        ..difference
    }
}

/// A report with some rows in other states than they were, as tampering or a future rule may make it.
fn disturbed(mut report: Report, statuses: &[(Index, u8)]) -> Report {
    const STATUSES: [Status; 7] = [
        Status::Reachable,
        Status::Partial,
        Status::Blocked,
        Status::Unavailable,
        Status::Unresolved,
        Status::Inconclusive,
        Status::Skipped,
    ];
    for (row, status) in statuses {
        let rows = report.destinations.len();
        report.destinations[row.index(rows)].status = STATUSES[usize::from(*status) % 7];
    }
    report
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn comparisons_hold_together(
        a: Index, b: Index, c: Index,
        statuses in prop::collection::vec(any::<(Index, u8)>(), 0..4),
    ) {
        let cases = recorded();
        let [(a_name, a), (b_name, b), (_, c)] = [a, b, c].map(|index| index.get(cases).clone());
        let b = disturbed(b, &statuses);
        let names = format!("{a_name} and {b_name}");
        let there = compare(&a, &b);
        let back = compare(&b, &a);

        let mirror = mirrored(there.clone());
        prop_assert_eq!(&mirror.worse, &back.worse, "{}", names);
        prop_assert_eq!(&mirror.better, &back.better, "{}", names);
        prop_assert_eq!(&mirror.no_longer_certain, &back.no_longer_certain, "{}", names);
        prop_assert_eq!(&mirror.now_certain, &back.now_certain, "{}", names);
        prop_assert_eq!(&mirror.changed, &back.changed, "{}", names);
        prop_assert_eq!(&mirror.moved, &back.moved, "{}", names);

        // No subject got worse and better, but a row that lost some addresses and won others.
        for worse in &there.worse {
            let both = there.better.iter().find(|better| better.subject == worse.subject);
            if let Some(better) = both {
                prop_assert!(matches!(worse.subject, Subject::Destination { .. }), "{}", names);
                prop_assert!(!worse.stopped.is_empty() && worse.stopped.is_disjoint(&better.started));
            }
        }

        // The code follows from the lists alone.
        let expected = match (there.lost_required().count(), there.uncertain_required().count()) {
            (0, 0) => 0,
            (0, _) => 4,
            _ => 1,
        };
        prop_assert_eq!(there.exit_code, expected, "{}", names);

        // What is lost on a way with two steps is lost in one of them.
        let (first, second) = (compare(&a, &c), compare(&c, &b));
        let certain = first.no_longer_certain.is_empty() && first.now_certain.is_empty();
        if certain && first.caveats.is_empty() && second.caveats.is_empty() && first.changed.is_empty() {
            for worse in there.worse.iter().filter(|change| change.stopped.is_empty()) {
                let in_step = |step: &Difference| step.changes().any(|c| c.subject == worse.subject);
                prop_assert!(in_step(&first) || in_step(&second), "{}: {}", names, worse);
            }
        }
    }

    #[test]
    fn order_is_no_difference(case: Index, turn in 1_usize..30) {
        let cases = recorded();
        let (name, report) = case.get(cases);
        let mut turned = report.clone();
        turned.destinations.reverse();
        let rows = turned.destinations.len();
        turned.destinations.rotate_left(turn % rows);
        for row in &mut turned.destinations {
            row.probes.reverse();
        }
        turned.findings.reverse();
        turned.sni.reverse();
        let difference = compare(report, &turned);
        prop_assert!(difference.is_empty(), "{}: {:?}", name, difference.lines());
    }
}
