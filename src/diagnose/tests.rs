//! What attempts prove, where no scenario can show it: the order in which a second flow is lost and
//! the next one refused is not ours to arrange in a real network.

use std::time::Duration;

use super::*;
use crate::catalog;
use crate::evidence::{ControlResult, SilenceTest};
use crate::model::{
    Cause, ContactFailure, DistrustKind, Ended, FamilyState, FindingCode, HandshakeFailure,
    IcmpError, Lookup, LookupStatus, Millis, Moment, NoFamily, Outcome, Profile, RecordType,
    Requirement, Role, Secured, Source, Transport, UntrustedChain, Verdict,
};
use crate::targets::TargetState;

const TUNNEL: &str = "h2.cftunnel.com";
pub(crate) const PROBE: &str = "probe.cftunnel.com";

pub(crate) fn row_of(service: Service) -> Target {
    let edge = service != Service::Https;
    let host = if edge {
        "region1.v2.argotunnel.com"
    } else {
        "api.cloudflare.com"
    };
    let addresses = if edge {
        catalog::documented(host, Family::Ipv4)
    } else {
        vec!["192.0.2.1".parse().unwrap()]
    };
    Target {
        host: host.to_owned(),
        port: if edge { 7844 } else { 443 },
        region: edge.then(|| "region1".to_owned()),
        service,
        family: Family::Ipv4,
        requirement: Requirement::Required,
        source: Source::Dns,
        addresses,
        suspicious_answers: Vec::new(),
        datagram_size: 1232,
        post_quantum: false,
        late_resets: false,
        state: TargetState::Probed,
    }
}

/// An attempt at an address of the row: with the tunnel's name, since the run began, for four seconds.
pub(crate) fn attempt(row: &Target, address: usize, outcome: Outcome) -> Attempt {
    let contact = match &outcome {
        Outcome::Secured { .. } | Outcome::Unsecured { .. } => Some(Millis::from(10.0)),
        Outcome::Unanswered { .. } | Outcome::Abandoned => None,
    };
    let passed = matches!(outcome, Outcome::Secured { .. });
    Attempt {
        host: row.host.clone(),
        role: Role::Tunnel,
        address: row.addresses[address],
        port: row.port,
        transport: row.service.transport(),
        sni: row.deciding_sni().to_owned(),
        profile: Profile::Cloudflared,
        attempt: 1,
        started_ms: Millis::from(0.0),
        elapsed_ms: Millis::from(if passed { 20.0 } else { 4000.0 }),
        contact_ms: contact,
        handshake_ms: passed.then(|| Millis::from(20.0)),
        sent: None,
        received: None,
        stray: Vec::new(),
        outcome,
    }
}

fn experiment(row: &Target, profile: Profile, outcome: Outcome) -> Attempt {
    let role = Role::Experiment(profile);
    Attempt {
        role,
        profile,
        sni: row.sni(role).to_owned(),
        elapsed_ms: Millis::from(20.0),
        ..attempt(row, 0, outcome)
    }
}

pub(crate) fn named(name: &str, attempt: Attempt) -> Attempt {
    let role = match name {
        TUNNEL => Role::Tunnel,
        PROBE => Role::Probe,
        _ => Role::Documented,
    };
    Attempt {
        role,
        sni: name.to_owned(),
        ..attempt
    }
}

pub(crate) fn lasting(seconds: f64, attempt: Attempt) -> Attempt {
    Attempt {
        elapsed_ms: Millis::from(seconds * 1000.0),
        ..attempt
    }
}

/// So many seconds after the start of the run.
pub(crate) fn at(seconds: f64) -> Moment {
    Moment::after(Duration::from_secs_f64(seconds))
}

pub(crate) fn starting(seconds: f64, attempt: Attempt) -> Attempt {
    Attempt {
        started_ms: Millis::from(seconds * 1000.0),
        ..attempt
    }
}

pub(crate) fn passed() -> Outcome {
    Outcome::Secured {
        secured: Secured {
            version: "TLSv1_3".to_owned(),
            group: None,
            alpn: None,
            issuer: String::new(),
            preface: None,
            http_status: None,
            http_error: None,
        },
    }
}

pub(crate) fn unanswered(failure: ContactFailure) -> Outcome {
    Outcome::Unanswered { failure }
}

pub(crate) fn cut(failure: HandshakeFailure) -> Outcome {
    Outcome::Unsecured { failure }
}

pub(crate) fn silent() -> Outcome {
    unanswered(ContactFailure::Silent)
}

pub(crate) fn stalled() -> Outcome {
    cut(HandshakeFailure::Silent)
}

pub(crate) fn refused() -> Outcome {
    cut(HandshakeFailure::Refused {
        error: "no".to_owned(),
    })
}

pub(crate) fn untrusted() -> HandshakeFailure {
    let chain = UntrustedChain {
        reason: String::new(),
        kind: DistrustKind::Invalid,
        subject: String::new(),
        issuer: String::new(),
        not_before: None,
        not_after: None,
        above: Vec::new(),
    };
    HandshakeFailure::Untrusted {
        chain: Box::new(chain),
    }
}

pub(crate) fn prohibited() -> Outcome {
    let icmp = IcmpError::v4(3, 13);
    unanswered(ContactFailure::Icmp { icmp })
}

/// A good path: quick, hardly lossy, and other flows of the kind pass.
pub(crate) const NEAR: SilenceTest = SilenceTest {
    estimate: PathEstimate {
        round_trip: Some(Duration::from_millis(10)),
        handshake: Some(Duration::from_millis(10)),
        loss_rate: 0.05,
        refusal_rate: 0.05,
        icmp_seen: false,
        kind_answers: true,
    },
    ..SilenceTest::UNKNOWN
};

/// [`NEAR`] in a family in which ICMP errors are seen.
pub(crate) const NEAR_WITH_ICMP: SilenceTest = SilenceTest {
    estimate: PathEstimate {
        icmp_seen: true,
        ..NEAR.estimate
    },
    awaits_icmp: true,
    ..NEAR
};

fn silence_tests(attempts: &[Attempt]) -> SilenceTests {
    SilenceTests::of(attempts.iter(), &RateLimits::default())
}

fn judged(row: &Target, attempts: &[Attempt]) -> RowVerdict {
    judged_in(NEAR, row, attempts)
}

fn judged_in(test: SilenceTest, row: &Target, attempts: &[Attempt]) -> RowVerdict {
    judge(row, &attempts.iter().collect::<Vec<_>>(), &test)
}

fn each(row: &Target, count: usize, outcome: &Outcome) -> Vec<Attempt> {
    (0..count)
        .map(|address| attempt(row, address, outcome.clone()))
        .collect()
}

fn state(verdict: &RowVerdict, address: usize) -> AddressState {
    verdict.addresses[address].1
}

fn blocked(cause: Cause) -> AddressState {
    AddressState::Blocked(cause)
}

#[test]
fn an_address_that_was_never_waited_for_is_never_accused() {
    for (outcome, cause) in [
        (silent(), Cause::Dropped),
        (stalled(), Cause::Interrupted),
        (unanswered(ContactFailure::Reset), Cause::Reset),
    ] {
        let row = row_of(Service::Http2);
        let verdict = judged(&row, &each(&row, 9, &outcome));
        assert_eq!(state(&verdict, 0), blocked(cause));
        assert_eq!(state(&verdict, 9), AddressState::Open, "{outcome:?}");
    }
}

#[test]
fn one_address_among_others_that_pass_answers_for_itself() {
    let row = row_of(Service::Http2);
    let passes = attempt(&row, 0, passed());
    // Each has too few failures of its own, and all of them together would have enough.
    for outcome in [stalled(), unanswered(ContactFailure::Reset)] {
        let few = (1..10).map(|address| lasting(0.9, attempt(&row, address, outcome.clone())));
        let again = (1..10).map(|address| {
            let attempt = lasting(0.9, attempt(&row, address, outcome.clone()));
            starting(8.0, attempt)
        });
        let attempts: Vec<_> = [passes.clone()].into_iter().chain(few).collect();
        assert_eq!(state(&judged(&row, &attempts), 1), AddressState::Open);
        if outcome != stalled() {
            let attempts: Vec<_> = attempts.into_iter().chain(again).collect();
            assert_eq!(state(&judged(&row, &attempts), 1), AddressState::Open);
        }
    }
}

#[test]
fn one_server_of_many_may_be_slow() {
    let row = row_of(Service::Http2);
    let waiting = |seconds| {
        let flows = vec![lasting(seconds, attempt(&row, 1, stalled())); 4];
        let mut attempts = flows;
        attempts.push(attempt(&row, 0, passed()));
        state(&judged(&row, &attempts), 1)
    };
    assert_eq!(waiting(4.0), AddressState::Open);
    assert_eq!(waiting(5.5), blocked(Cause::Interrupted));
}

#[test]
fn silence_adds_to_refusals_among_addresses_that_pass() {
    let row = row_of(Service::Http2);
    let mut attempts = vec![attempt(&row, 0, passed())];
    attempts.extend(vec![attempt(&row, 1, unanswered(ContactFailure::Reset)); 3]);
    assert_eq!(state(&judged(&row, &attempts), 1), AddressState::Open);
    attempts.push(attempt(&row, 1, silent()));
    assert_eq!(state(&judged(&row, &attempts), 1), blocked(Cause::Reset));
}

#[test]
fn two_silent_attempts_share_the_icmp_errors_of_their_row() {
    let row = row_of(Service::Http2);
    let mut test = NEAR_WITH_ICMP;
    test.estimate.kind_answers = false;
    let mut attempts = vec![attempt(&row, 0, prohibited()); 2];
    attempts.push(lasting(0.5, attempt(&row, 1, silent())));
    let state_of_second = |attempts: &[Attempt]| state(&judged_in(test, &row, attempts), 1);
    // The span of a row is that of the others as well; silence proves nothing by its number yet.
    assert_eq!(state_of_second(&attempts), AddressState::Open);
    attempts.push(lasting(0.5, attempt(&row, 1, silent())));
    assert_eq!(state_of_second(&attempts), blocked(Cause::Rejected));
}

#[test]
fn the_documented_name_decides_nothing() {
    let row = row_of(Service::Http2);
    let mut attempts = vec![attempt(&row, 0, unanswered(ContactFailure::Reset))];
    let documented = named(
        catalog::DOCUMENTED_SNI,
        attempt(&row, 1, unanswered(ContactFailure::Reset)),
    );
    attempts.extend(vec![documented; 5]);
    let verdict = judged(&row, &attempts);
    assert_eq!(state(&verdict, 0), AddressState::Open);
}

#[test]
fn a_name_is_cut_on_addresses_on_which_the_other_passes() {
    let row = row_of(Service::Http2);
    let probe = |address| named(PROBE, attempt(&row, address, passed()));
    let elsewhere: Vec<_> = (1..10).map(|a| attempt(&row, a, silent())).collect();
    let attempts: Vec<_> = elsewhere.iter().cloned().chain([probe(0)]).collect();
    assert_eq!(judged(&row, &attempts).cut_name, None);
    for outcome in [silent(), prohibited()] {
        let there = (0..10).map(|a| named(TUNNEL, attempt(&row, a, outcome.clone())));
        let attempts: Vec<_> = there.chain((0..10).map(probe)).collect();
        assert_eq!(judged(&row, &attempts).cut_name, Some(Role::Tunnel));
    }
}

#[test]
fn a_quic_handshake_that_falls_silent_has_a_name_of_its_own() {
    let row = row_of(Service::Quic);
    let mut attempts = each(&row, 10, &stalled());
    let cause = |attempts: &[Attempt]| judged(&row, attempts).cause;
    assert_eq!(cause(&attempts), Some(Cause::QuicFiltered));
    attempts.push(experiment(&row, Profile::SmallPackets, passed()));
    assert_eq!(cause(&attempts), Some(Cause::Mtu));
}

#[test]
fn another_name_that_passes_explains_a_refusal() {
    let row = row_of(Service::Quic);
    let mut attempts = each(&row, 10, &refused());
    attempts.push(experiment(&row, Profile::SmallPackets, passed()));
    attempts.push(experiment(&row, Profile::SmallHello, passed()));
    assert_eq!(judged(&row, &attempts).cause, Some(Cause::NotTheEdge));
    attempts.push(experiment(&row, Profile::ControlName, passed()));
    assert_eq!(judged(&row, &attempts).cause, Some(Cause::SniFiltered));
}

#[test]
fn experiments_explain_an_icmp_error_over_tcp() {
    let row = row_of(Service::Http2);
    let mut attempts = each(&row, 10, &prohibited());
    assert_eq!(judged(&row, &attempts).cause, Some(Cause::Rejected));
    attempts.push(experiment(&row, Profile::SmallHello, passed()));
    assert_eq!(
        judged(&row, &attempts).cause,
        Some(Cause::LargeHelloDropped)
    );
}

#[test]
fn experiments_speak_for_what_fails_as_their_address_does() {
    let row = row_of(Service::Http2);
    let mut attempts = vec![attempt(&row, 9, passed())];
    let reset = || cut(HandshakeFailure::Reset);
    let foreign = || cut(HandshakeFailure::WrongAlpn);
    attempts.extend(vec![attempt(&row, 0, reset()); 6]);
    attempts.extend(vec![attempt(&row, 1, reset()); 6]);
    attempts.extend(vec![attempt(&row, 2, foreign()); 6]);
    attempts.push(experiment(&row, Profile::ControlName, passed()));
    let verdict = judged(&row, &attempts);
    assert_eq!(state(&verdict, 0), blocked(Cause::SniFiltered));
    assert_eq!(state(&verdict, 1), blocked(Cause::SniFiltered));
    assert_eq!(state(&verdict, 2), blocked(Cause::NotTheEdge));
}

#[test]
fn what_failed_before_an_experiment_passed_proves_nothing() {
    let row = row_of(Service::Quic);
    let mut attempts = each(&row, 10, &silent());
    let small = experiment(&row, Profile::SmallPackets, passed());
    attempts.push(starting(3.9, small));
    assert_eq!(judged(&row, &attempts).cause, Some(Cause::Unknown));
}

#[test]
fn an_answer_to_another_name_tells_where_the_tunnels_is_cut() {
    let row = row_of(Service::Http2);
    let untrusted = untrusted();
    let alert = HandshakeFailure::Alert {
        alert: "UnrecognizedName".to_owned(),
    };
    let explained = |failure: HandshakeFailure, answer: &HandshakeFailure| {
        let mut attempts = each(&row, 10, &cut(failure));
        let answer = cut(answer.clone());
        attempts.push(experiment(&row, Profile::ControlName, answer));
        judged(&row, &attempts).cause
    };
    let sni = Some(Cause::SniFiltered);
    assert_eq!(explained(HandshakeFailure::Silent, &untrusted), sni);
    assert_eq!(explained(HandshakeFailure::Closed, &alert), sni);
    assert_eq!(explained(HandshakeFailure::Reset, &alert), sni);
    let unexplained = explained(HandshakeFailure::Silent, &alert);
    assert_eq!(unexplained, Some(Cause::Interrupted));
}

#[test]
fn version_negotiation_alone_answers_an_unknown_version() {
    let row = row_of(Service::Quic);
    let with = |outcome| {
        let mut attempts = each(&row, 10, &silent());
        attempts.push(experiment(&row, Profile::VersionPing, outcome));
        judged(&row, &attempts).cause
    };
    assert_eq!(with(refused()), Some(Cause::Dropped));
    let negotiates = cut(HandshakeFailure::VersionNegotiation);
    assert_eq!(with(negotiates), Some(Cause::QuicFiltered));
}

#[test]
fn a_row_waits_for_its_experiments() {
    let row = row_of(Service::Quic);
    let with = |seconds, outcome: &Outcome, count| {
        let mut attempts = each(&row, 10, &silent());
        let under_way = experiment(&row, Profile::SmallPackets, outcome.clone());
        attempts.extend(vec![lasting(seconds, under_way); count]);
        judged(&row, &attempts).open
    };
    let open = Some(Pending::Experiments);
    assert_eq!(with(0.1, &Outcome::Abandoned, 1), open);
    assert_eq!(with(3.5, &Outcome::Abandoned, 1), None, "five tries");
    assert_eq!(with(0.1, &prohibited(), 1), open, "one failure");
    assert_eq!(with(0.1, &prohibited(), 2), None, "two failures");
}

#[test]
fn a_row_waits_for_the_probes_name() {
    let row = row_of(Service::Http2);
    let mut attempts = each(&row, 10, &passed());
    assert_eq!(judged(&row, &attempts).open, None);
    let under_way = named(PROBE, attempt(&row, 0, Outcome::Abandoned));
    attempts.push(lasting(0.1, under_way));
    assert_eq!(judged(&row, &attempts).open, Some(Pending::ProbeName));
}

#[test]
fn failures_are_held_against_fresh_flows() {
    let row = row_of(Service::Http2);
    let with = |outcome: &Outcome, until, loss_rate| {
        let mut attempts = each(&row, 9, &passed());
        let failed = (0..6).map(|_| lasting(0.4, attempt(&row, 9, outcome.clone())));
        attempts.extend(failed.zip(0_u16..).map(|(failed, number)| Attempt {
            started_ms: Millis::from(500.0 * f64::from(number)),
            ..failed
        }));
        let until = at(until);
        let controls = Some(ControlResult { until, loss_rate });
        let verdict = judged_in(SilenceTest { controls, ..NEAR }, &row, &attempts);
        (verdict.status, verdict.open)
    };
    let open = (Status::Reachable, Some(Pending::Control));
    let proven = (Status::Partial, None);
    let reset = unanswered(ContactFailure::Reset);
    for outcome in [silent(), reset] {
        assert_eq!(with(&outcome, 3.0, None), proven);
        assert_eq!(with(&outcome, 0.0, None), open, "nothing fresh has passed");
        assert_eq!(with(&outcome, 1.6, None), open, "too few tries before it");
        assert_eq!(with(&outcome, 3.0, Some(0.5)), open, "fresh flows fail");
    }
}

#[test]
fn a_row_waits_for_suspicious_answers() {
    let mut row = row_of(Service::Http2);
    row.suspicious_answers = vec!["198.18.0.7".parse().unwrap()];
    let open = Some(Pending::SuspiciousAnswers);
    for state in [TargetState::Probed, TargetState::Unresolved] {
        row.state = state;
        let mut attempts = each(&row, 10, &passed());
        assert_eq!(judged(&row, &attempts).open, open);
        let mut there = attempt(&row, 0, unanswered(ContactFailure::Reset));
        there.address = row.suspicious_answers[0];
        attempts.push(there);
        assert_eq!(judged(&row, &attempts).open, None);
    }
}

#[test]
fn experiments_are_not_compared_with() {
    let row = row_of(Service::Quic);
    let attempts = vec![experiment(&row, Profile::SmallPackets, passed())];
    let test = silence_tests(&attempts).for_target(&row);
    assert_eq!(test, SilenceTest::UNKNOWN);
}

#[test]
fn silence_counts_since_the_family_and_the_port_answer() {
    let (edge, other) = (row_of(Service::Http2), row_of(Service::Https));
    let https = |attempt: Attempt| Attempt {
        profile: Profile::Https,
        ..attempt
    };
    let early = https(attempt(&other, 0, passed()));
    let late = starting(5.0, attempt(&edge, 0, passed()));
    let since = |attempts: &[Attempt], row: &Target| {
        let window = silence_tests(attempts).for_target(row).window;
        window.from.since(Moment::START).as_secs_f64()
    };
    let attempts = [early.clone(), late.clone()];
    assert!((since(&attempts, &edge) - 5.0).abs() < 0.1, "the port");
    assert!(since(&attempts, &other) < 0.1);
    let mut early = attempt(&edge, 0, passed());
    early.address = "2606:4700:a0::1".parse().unwrap();
    let attempts = [early, late];
    assert!((since(&attempts, &edge) - 5.0).abs() < 0.1, "the family");
    let ipv6 = Target {
        family: Family::Ipv6,
        ..edge
    };
    assert!(since(&attempts, &ipv6) < 0.1);
}

#[test]
fn handshakes_are_compared_with_those_of_the_service() {
    let [quic, edge, other] = [Service::Quic, Service::Http2, Service::Https].map(row_of);
    let slow = Attempt {
        handshake_ms: Some(Millis::from(900.0)),
        ..attempt(&edge, 0, passed())
    };
    let quick = Attempt {
        profile: Profile::Https,
        ..attempt(&other, 0, passed())
    };
    let mute = attempt(&edge, 1, stalled());
    let both = silence_tests(&[slow, quick.clone()]);
    assert_eq!(
        both.for_target(&quic).estimate.round_trip,
        Some(Duration::from_millis(900)),
        "the edge's"
    );
    let alone = silence_tests(&[mute, quick]);
    assert_eq!(alone.for_target(&edge).estimate.handshake, None);
    assert!(alone.for_target(&edge).estimate.kind_answers);
    assert!(!alone.for_target(&quic).estimate.kind_answers);
}

#[test]
fn icmp_errors_of_the_family_are_heeded() {
    let edge = row_of(Service::Http2);
    let told = silence_tests(&[attempt(&edge, 0, prohibited())]);
    assert!(told.for_target(&edge).estimate.icmp_seen);
    let ipv6 = Target {
        family: Family::Ipv6,
        ..edge
    };
    assert!(!told.for_target(&ipv6).estimate.icmp_seen);
}

/// A recorded network that lets everything out.
fn all_open() -> Observations {
    let text = include_str!("../../tests/replay/cases/all-open.json");
    let report: Report = serde_json::from_str(text).unwrap();
    report.into_observations()
}

#[test]
fn an_interrupted_run_is_inconclusive_whatever_it_saw() {
    assert_eq!(diagnose(all_open()).verdict, Verdict::Ready);
    let mut seen = all_open();
    seen.ended = Ended::Interrupted;
    assert_eq!(diagnose(seen).verdict, Verdict::Inconclusive);
}

fn without(seen: &mut Observations, name: &str, record_type: RecordType) {
    let asked = |l: &Lookup| l.name == name && l.record_type == record_type;
    seen.lookups.retain(|l| !asked(l));
}

#[test]
fn a_region_that_is_not_resolved_yet_is_not_lost() {
    let mut seen = all_open();
    seen.host.ipv6 = FamilyState::Unavailable {
        why: NoFamily::NoGlobalAddress,
    };
    without(&mut seen, "region2.v2.argotunnel.com", RecordType::A);
    let (now, mut later) = (seen.clone(), seen);
    assert_eq!(diagnose(now).verdict, Verdict::Ready);
    let any = later.lookups[0].clone();
    later.lookups.push(Lookup {
        name: "region2.v2.argotunnel.com".to_owned(),
        record_type: RecordType::A,
        via: any.via,
        status: LookupStatus::NoSuchName,
        answers: Vec::new(),
        ..any
    });
    assert_eq!(diagnose(later).verdict, Verdict::Degraded);
}

#[test]
fn a_given_host_that_does_not_resolve_is_lost() {
    let mut seen = all_open();
    let given = ["region1.v2.argotunnel.com:7844", "edge.example:7844"];
    seen.options.edge = given.map(|edge| edge.parse().unwrap()).into();
    let any = seen.lookups[0].clone();
    for record_type in [RecordType::A, RecordType::Aaaa] {
        seen.lookups.push(Lookup {
            name: "edge.example".to_owned(),
            record_type,
            status: LookupStatus::NoSuchName,
            answers: Vec::new(),
            ..any.clone()
        });
    }
    assert_eq!(diagnose(seen).verdict, Verdict::Degraded);
}

fn told(rows: &[JudgedRow], name: &str) -> (Status, Option<Cause>) {
    let report = sni::sni(rows).into_iter();
    let mut report = report.filter(|sni| sni.name == name && sni.transport == Transport::Tcp);
    let sni = report.next().unwrap();
    (sni.status, sni.cause)
}

fn judged_row(row: &Target, attempts: &[Attempt]) -> JudgedRow {
    JudgedRow {
        target: row.clone(),
        verdict: judged(row, attempts),
        attempts: attempts.to_vec(),
        estimate: NEAR.estimate,
        own: Vec::new(),
    }
}

#[test]
fn the_name_that_is_cut_is_told() {
    let row = row_of(Service::Http2);
    let mut attempts = each(&row, 10, &passed());
    attempts.extend((0..10).map(|address| named(PROBE, attempt(&row, address, stalled()))));
    let documented = attempt(&row, 0, stalled());
    attempts.push(named(catalog::DOCUMENTED_SNI, documented));
    let rows = [judged_row(&row, &attempts)];
    assert_eq!(told(&rows, TUNNEL), (Status::Reachable, None));
    let cut = (Status::Blocked, Some(Cause::SniFiltered));
    assert_eq!(told(&rows, PROBE), cut);
    let open = (Status::Inconclusive, Some(Cause::Unknown));
    assert_eq!(told(&rows, catalog::DOCUMENTED_SNI), open);
}

#[test]
fn a_name_shares_the_fate_of_the_rows_that_were_tried() {
    let row = row_of(Service::Http2);
    let dropped = judged_row(&row, &each(&row, 10, &silent()));
    let untried = judged_row(&row, &[]);
    let rows = [untried, dropped];
    assert_eq!(told(&rows, TUNNEL), (Status::Blocked, Some(Cause::Dropped)));
}

fn codes(seen: Observations) -> Vec<FindingCode> {
    let findings = diagnose(seen).findings.into_iter();
    findings.map(|finding| finding.code).collect()
}

#[test]
fn a_family_that_is_not_resolved_yet_is_not_missing() {
    let mut seen = all_open();
    without(&mut seen, "region1.v2.argotunnel.com", RecordType::Aaaa);
    assert!(!codes(seen.clone()).contains(&FindingCode::DnsOneFamily));
    let any = seen.lookups[0].clone();
    seen.lookups.push(Lookup {
        name: "region1.v2.argotunnel.com".to_owned(),
        record_type: RecordType::Aaaa,
        status: LookupStatus::NoRecords,
        answers: Vec::new(),
        ..any
    });
    assert!(codes(seen).contains(&FindingCode::DnsOneFamily));
}

#[test]
fn an_inspector_is_none_of_cloudflares_issuers() {
    let with = |over_tcp: &str| {
        let mut seen = all_open();
        for attempt in &mut seen.attempts {
            if let Outcome::Secured { secured } = &mut attempt.outcome {
                let issuer = match attempt.transport {
                    Transport::Tcp => over_tcp,
                    Transport::Udp => "C=US, O=Google Trust Services, CN=WE1",
                };
                issuer.clone_into(&mut secured.issuer);
            }
        }
        codes(seen).contains(&FindingCode::TlsInspected)
    };
    assert!(with("CN=Inspection, O=Example"));
    assert!(!with("C=US, O=Let's Encrypt, CN=E7"));
}

#[test]
fn one_chain_out_of_time_among_others_is_no_matter_of_the_clock() {
    let text = include_str!("../../tests/replay/cases/certificate-expired.json");
    let report: Report = serde_json::from_str(text).unwrap();
    let mut seen = report.into_observations();
    assert!(codes(seen.clone()).contains(&FindingCode::CertificateTime));
    for attempt in seen.attempts.iter_mut().step_by(2) {
        if let Outcome::Unsecured {
            failure: HandshakeFailure::Untrusted { chain },
        } = &mut attempt.outcome
        {
            chain.kind = DistrustKind::Invalid;
        }
    }
    assert!(!codes(seen).contains(&FindingCode::CertificateTime));
}

#[test]
fn prefaces_are_missed_where_a_tunnel_would_come_up() {
    let text = include_str!("../../tests/replay/cases/h2-name-reset.json");
    let report: Report = serde_json::from_str(text).unwrap();
    let without_prefaces = |mut seen: Observations| {
        for attempt in &mut seen.attempts {
            if let Outcome::Secured { secured } = &mut attempt.outcome
                && attempt.transport == Transport::Tcp
            {
                secured.preface = secured.preface.and(Some(false));
            }
        }
        codes(seen).contains(&FindingCode::PrefaceMissing)
    };
    assert!(without_prefaces(all_open()));
    assert!(!without_prefaces(report.into_observations()));
}

fn rate_limits(attempts: &[Attempt], rows: &[Target]) -> RateLimits {
    RateLimits::of(&attempts.iter().collect::<Vec<_>>(), rows)
}

/// A burst to all addresses of a row, of which the first ones are answered: the canary's with the
/// tunnel's name, the others with the probe's.
pub(crate) fn burst(row: &Target, answered: usize) -> Vec<Attempt> {
    let flow = |address| {
        let outcome = if address < answered {
            passed()
        } else {
            silent()
        };
        let lasts = if address < answered { 0.02 } else { 1.0 };
        let flow = starting(0.03, lasting(lasts, attempt(row, address, outcome)));
        if address == 0 {
            flow
        } else {
            named(PROBE, flow)
        }
    };
    (0..10).map(flow).collect()
}

#[test]
fn a_rate_limit_is_many_failures_after_a_pass() {
    let row = row_of(Service::Http2);
    let on = |attempts: &[Attempt]| {
        let rate_limits = rate_limits(attempts, std::slice::from_ref(&row));
        rate_limits.on(Service::Http2).copied()
    };
    let rate_limit = on(&burst(&row, 2)).expect("eight fail");
    assert_eq!(
        (rate_limit.answered, rate_limit.failed, rate_limit.recovered),
        (2, 8, 0)
    );
    // The quickest answer took 10 ms.
    assert_eq!(rate_limit.shows, at(0.37));
    assert_eq!(rate_limit.resume_at, at(0.87));
    assert_eq!(on(&burst(&row, 3)), None, "seven fail");
    assert_eq!(on(&burst(&row, 0)), None, "a row of which nothing passes");
    let mut late = burst(&row, 1);
    late[0] = starting(0.5, late[0].clone());
    assert_eq!(on(&late), None, "nothing had passed before");
    let early: Vec<_> = burst(&row, 2)
        .into_iter()
        .map(|a| lasting(0.3, a))
        .collect();
    assert_eq!(on(&early), None, "too early to say");
    let mut refused = burst(&row, 2);
    for flow in &mut refused[2..] {
        flow.outcome = unanswered(ContactFailure::Reset);
        flow.elapsed_ms = Millis::from(10.0);
    }
    let rate_limit = on(&refused).expect("refusals are failures");
    assert_eq!(rate_limit.shows, at(0.34), "but not before answers stop");
    let mut trickle = burst(&row, 2);
    trickle.push(named("other", starting(0.25, attempt(&row, 0, passed()))));
    let rate_limit = on(&trickle).expect("they stop in the end");
    assert_eq!(rate_limit.shows, at(0.56));
}

#[test]
fn a_limit_is_recognised_by_what_passes_later() {
    let [row, mut other] = [Service::Http2, Service::Http2].map(row_of);
    other.host = "region2.v2.argotunnel.com".to_owned();
    other.addresses = catalog::documented(&other.host, Family::Ipv4);
    let rows = [row.clone(), other.clone()];
    let mut attempts = [burst(&row, 3), burst(&other, 3)].concat();
    // The rows' bursts are interleaved as they begin: six pass, and fourteen fail.
    for (number, flow) in (0_u8..).zip(&mut attempts) {
        let is_first = flow.passed();
        *flow = starting(
            if is_first { 0.02 } else { 0.03 } + 1e-6 * f64::from(number),
            flow.clone(),
        );
    }
    let recognised = |attempts: &[Attempt]| {
        let rate_limits = rate_limits(attempts, &rows);
        rate_limits
            .on(Service::Http2)
            .is_some_and(RateLimit::is_recognised)
    };
    let again = |address| {
        let flow = starting(2.0, attempt(&row, address, passed()));
        named(PROBE, flow)
    };
    attempts.extend((3..8).map(again));
    assert!(!recognised(&attempts), "five have recovered");
    attempts.push(again(8));
    assert!(recognised(&attempts), "six have");
    let mut host_overloaded = attempts.clone();
    for flow in &mut host_overloaded {
        flow.handshake_ms = flow.handshake_ms.map(|_| Millis::from(500.0));
    }
    assert!(!recognised(&host_overloaded), "nobody had time to answer");
    let mut at_times = attempts.clone();
    for flow in at_times.iter_mut().skip(1) {
        flow.handshake_ms = flow.handshake_ms.map(|_| Millis::from(300.0));
    }
    assert!(!recognised(&at_times), "one was quick, the others waited");
    let renamed = attempts.iter().cloned().map(|a| {
        let late = a.started() >= at(2.0);
        if late { named(TUNNEL, a) } else { a }
    });
    let by_another_name: Vec<_> = renamed.collect();
    assert!(!recognised(&by_another_name), "it may have been the name");
}

#[test]
fn a_service_that_never_passes_shares_the_others_rate_limit() {
    let [tcp, udp] = [Service::Http2, Service::Quic].map(row_of);
    let rows = [tcp.clone(), udp.clone()];
    let silent = [burst(&tcp, 2), burst(&udp, 0)].concat();
    assert!(rate_limits(&silent, &rows).on(Service::Quic).is_some());
    let passing = [burst(&tcp, 2), burst(&udp, 10)].concat();
    assert_eq!(rate_limits(&passing, &rows).on(Service::Quic), None);
    assert_eq!(rate_limits(&passing, &rows).on(Service::Https), None);
}

#[test]
fn under_a_rate_limit_only_what_fails_between_controls_that_pass_counts() {
    let row = row_of(Service::Http2);
    let state_after = |later: &[Attempt]| {
        let attempts = [burst(&row, 2), later.to_vec()].concat();
        let rows = std::slice::from_ref(&row);
        let tests = SilenceTests::of(attempts.iter(), &rate_limits(&attempts, rows));
        state(&judged_in(tests.for_target(&row), &row, &attempts), 9)
    };
    let tries = |outcome: &Outcome| -> Vec<_> {
        let tried = |number: u8| {
            let flow = lasting(0.5, attempt(&row, 9, outcome.clone()));
            named(PROBE, starting(1.0 + 0.1 * f64::from(number), flow))
        };
        (0..30).map(tried).collect()
    };
    let control = |at, outcome| {
        let lasts = if outcome == passed() { 0.02 } else { 0.5 };
        named(
            PROBE,
            starting(at, lasting(lasts, attempt(&row, 1, outcome))),
        )
    };
    let with = |controls: &[Attempt]| state_after(&[tries(&silent()), controls.to_vec()].concat());
    let passing = [control(1.2, passed()), control(4.0, passed())];
    assert_eq!(with(&passing), blocked(Cause::Dropped));
    assert_eq!(
        with(&passing[..1]),
        AddressState::Open,
        "nothing passed after"
    );
    let failing = [1.2, 1.7, 2.2, 2.7, 3.2].map(|at| control(at, silent()));
    let failing = [&failing[..], &passing[1..]].concat();
    assert_eq!(with(&failing), AddressState::Open, "controls fail as well");
    let reset = tries(&unanswered(ContactFailure::Reset)).into_iter();
    let early = reset.map(|flow| lasting(0.01, starting(0.4, flow)));
    let early: Vec<_> = early.chain(passing.clone()).collect();
    assert_eq!(
        state_after(&early),
        AddressState::Open,
        "refused under the limit"
    );
    let reset = tries(&unanswered(ContactFailure::Reset)).into_iter();
    let late = reset.map(|flow| lasting(0.01, flow)).chain(passing);
    let late: Vec<_> = late.collect();
    let told = state_after(&late);
    assert_eq!(told, AddressState::Open, "it may be in step with the limit");
}
