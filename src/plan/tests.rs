//! What is started when, where the laboratory's packets come and go too fast to show it.

use super::*;
use crate::diagnose::tests::{
    NEAR, NEAR_WITH_ICMP, PROBE, at, attempt, burst, cut, lasting, named, passed, prohibited,
    row_of, silent, starting, untrusted,
};
use crate::diagnose::{RateLimits, judge};

fn starts_in(test: &SilenceTest, row: &Target, attempts: &[Attempt], now: f64) -> Vec<Launch> {
    let seen: Vec<_> = attempts
        .iter()
        .map(|attempt| Seen {
            attempt,
            running: matches!(attempt.outcome, Outcome::Abandoned),
        })
        .collect();
    let verdict = judge(row, &attempts.iter().collect::<Vec<_>>(), test);
    next_starts(row, &seen, &verdict, test, at(now))
}

fn starts(row: &Target, attempts: &[Attempt], now: f64) -> Vec<Launch> {
    starts_in(&NEAR, row, attempts, now)
}

fn is_experiment(start: &Launch) -> bool {
    matches!(start.role, Role::Experiment(_))
}

#[test]
fn the_canary_goes_first() {
    let row = row_of(Service::Http2);
    let alone = starts(&row, &[], 0.0);
    assert_eq!(alone.len(), 1);
    assert_eq!(alone[0].address, row.addresses[0]);
    assert_eq!(alone[0].role, Role::Tunnel);
    let canary = [lasting(0.02, attempt(&row, 0, Outcome::Abandoned))];
    assert_eq!(starts(&row, &canary, 0.02), []);
    let others = starts(&row, &canary, 0.04);
    assert!(others.iter().any(|start| start.address == row.addresses[9]));
    let passes = [lasting(0.01, attempt(&row, 0, passed()))];
    assert!(
        starts(&row, &passes, 0.02).len() >= 9,
        "a pass ends the head start"
    );
}

#[test]
fn the_canaries_of_all_rows_go_before_the_rest() {
    use super::head_start::FirstAttempt::{At, Never, NotYet};
    use super::head_start::canaries_first;
    assert!(!canaries_first(&[NotYet, NotYet], at(0.0)));
    assert!(canaries_first(&[At(at(0.0)), NotYet], at(0.1)));
    assert!(
        !canaries_first(&[At(at(0.0)), NotYet], at(0.2)),
        "not for ever"
    );
    assert!(canaries_first(
        &[At(at(0.0)), At(at(0.05)), Never],
        at(0.07)
    ));
    assert!(!canaries_first(
        &[At(at(0.0)), At(at(0.05)), Never],
        at(0.09)
    ));
}

#[test]
fn where_icmp_errors_are_seen_only_the_canary_goes_on() {
    let row = row_of(Service::Http2);
    let probe = |address, start| {
        let attempt = named(PROBE, lasting(0.01, attempt(&row, address, prohibited())));
        starting(start, attempt)
    };
    let mut attempts = vec![lasting(0.01, attempt(&row, 0, prohibited())), probe(0, 0.1)];
    let addresses = |attempts: &[Attempt], now| {
        let starts = starts_in(&NEAR_WITH_ICMP, &row, attempts, now);
        let mut addresses: Vec<_> = starts.iter().map(|start| start.address).collect();
        addresses.dedup();
        addresses
    };
    assert_eq!(addresses(&attempts, 0.6).len(), 10, "each is tried once");
    attempts.extend((1..10).map(|address| probe(address, 0.1)));
    assert_eq!(addresses(&attempts, 0.6), [row.addresses[0]]);
    assert_eq!(starts(&row, &attempts, 0.6).len(), 11, "without a ration");
    attempts[0].elapsed_ms = Millis::from(1.0);
    let again = judge(&row, &attempts.iter().collect::<Vec<_>>(), &NEAR_WITH_ICMP);
    assert!(!again.is_settled(), "refusals have to recur");
    assert_eq!(addresses(&attempts, 1.2).len(), 10, "and once more");
    attempts.truncate(2);
    attempts.extend((1..10).flat_map(|address| [probe(address, 0.1), probe(address, 0.2)]));
    assert_eq!(addresses(&attempts, 9.0), [row.addresses[0]]);
}

#[test]
fn the_tunnels_name_is_tried_on_two_more_addresses() {
    let row = row_of(Service::Http2);
    let mut attempts = vec![attempt(&row, 0, silent())];
    attempts.extend((1..10).map(|address| named(PROBE, attempt(&row, address, passed()))));
    let tunnel = starts(&row, &attempts, 0.3).into_iter();
    let tunnel = tunnel.filter(|start| start.role == Role::Tunnel);
    let addresses: Vec<_> = tunnel.map(|start| start.address).collect();
    assert_eq!(addresses, row.addresses[1..=2]);
}

#[test]
fn the_probes_name_gives_way_where_it_is_cut() {
    let row = row_of(Service::Http2);
    let mut attempts = vec![lasting(0.02, attempt(&row, 0, passed()))];
    let reset = || cut(HandshakeFailure::Reset);
    attempts
        .extend((0..10).map(|address| named(PROBE, lasting(0.1, attempt(&row, address, reset())))));
    let tunnel = starts(&row, &attempts, 0.2).into_iter();
    let tunnel = tunnel.filter(|start| start.role == Role::Tunnel);
    assert_eq!(tunnel.count(), 9);
}

#[test]
fn an_attempt_is_made_again_after_a_while() {
    let row = row_of(Service::Http2);
    let reset = || lasting(0.01, attempt(&row, 0, cut(HandshakeFailure::Reset)));
    let tried = |count| vec![reset(); count];
    let again = |count, now| {
        let starts = starts(&row, &tried(count), now);
        starts
            .iter()
            .any(|start| start.address == row.addresses[0] && start.role == Role::Tunnel)
    };
    assert!(!again(1, 0.3));
    assert!(again(1, 0.4));
    assert!(again(9, 9.0));
    assert!(!again(10, 90.0), "ten times at most");
}

#[test]
fn experiments_are_made_where_the_first_flight_looks_cut() {
    let made = |service, outcome: Outcome, seconds: f64| {
        let row = row_of(service);
        let tunnel = lasting(seconds, attempt(&row, 0, outcome));
        let attempts = [tunnel.clone(), named(PROBE, tunnel)];
        starts(&row, &attempts, seconds)
            .into_iter()
            .filter(is_experiment)
            .count()
    };
    assert_eq!(made(Service::Quic, silent(), 0.3), 0);
    assert_eq!(made(Service::Quic, silent(), 0.5), 4);
    assert_eq!(made(Service::Http2, silent(), 0.9), 0, "a SYN is a SYN");
    assert_eq!(made(Service::Http2, cut(HandshakeFailure::Reset), 0.5), 3);
    assert_eq!(made(Service::Http2, cut(HandshakeFailure::Silent), 0.5), 3);
    assert_eq!(made(Service::Http2, cut(untrusted()), 0.5), 0);
    assert_eq!(made(Service::Quic, prohibited(), 0.5), 0);
}

#[test]
fn a_name_that_is_cut_is_the_experiment() {
    let row = row_of(Service::Http2);
    let reset = || cut(HandshakeFailure::Reset);
    let mut attempts: Vec<_> = (0..3)
        .map(|address| attempt(&row, address, reset()))
        .collect();
    attempts.push(named(PROBE, attempt(&row, 0, reset())));
    let experiments = |attempts: &[Attempt]| {
        let starts = starts(&row, attempts, 4.5).into_iter();
        starts.filter(is_experiment).count()
    };
    assert_eq!(experiments(&attempts), 3);
    attempts.push(named(PROBE, attempt(&row, 9, passed())));
    assert_eq!(experiments(&attempts), 0);
}

#[test]
fn an_experiment_is_made_three_times() {
    let row = row_of(Service::Quic);
    let tunnel = attempt(&row, 0, silent());
    let mut attempts = vec![tunnel.clone(), named(PROBE, tunnel.clone())];
    for count in 1..=3 {
        let unanswered = lasting(0.1, tunnel.clone());
        attempts.push(Attempt {
            role: Role::Experiment(crate::model::Profile::SmallPackets),
            profile: crate::model::Profile::SmallPackets,
            ..unanswered
        });
        let again = starts(&row, &attempts, 9.0)
            .into_iter()
            .any(|start| start.role == Role::Experiment(crate::model::Profile::SmallPackets));
        assert_eq!(again, count < 3, "after {count}");
    }
}

/// One look at a row under a rate limit: a burst of which two were answered, and what came later.
fn paced(row: &Target, later: &[Attempt], now: f64) -> Step {
    let burst = burst(row, 2).into_iter().map(|flow| {
        let given_up = now >= 0.4 && !flow.passed();
        if given_up { lasting(0.4, flow) } else { flow }
    });
    let attempts: Vec<_> = burst.chain(later.iter().cloned()).collect();
    let seen: Vec<_> = attempts
        .iter()
        .map(|attempt| {
            let running = !attempt.passed() && attempt.ended() >= at(now);
            Seen { attempt, running }
        })
        .collect();
    let rows = std::slice::from_ref(row);
    let known: Vec<_> = attempts.iter().collect();
    let rate_limits = RateLimits::of(&known, rows);
    assert!(!rate_limits.is_none());
    Step::of(rows, &seen, &rate_limits, at(now))
}

fn later(row: &Target, address: usize, start: f64, lasts: f64) -> Attempt {
    let outcome = if lasts < 0.1 { passed() } else { silent() };
    let flow = lasting(lasts, attempt(row, address, outcome));
    named(PROBE, starting(start, flow))
}

/// The only flow that starts, and whether it goes where one has passed.
fn only(row: &Target, step: &Step) -> (IpAddr, bool) {
    assert_eq!(step.starts.len(), 1, "{:?}", step.starts);
    let (_, Launch { address, role, .. }) = step.starts[0];
    let passed = [
        (row.addresses[0], Role::Tunnel),
        (row.addresses[1], Role::Probe),
    ];
    (address, passed.contains(&(address, role)))
}

#[test]
fn under_a_rate_limit_one_flow_follows_the_other() {
    let row = row_of(Service::Http2);
    assert_eq!(
        paced(&row, &[], 0.8).starts,
        [],
        "flows have not resumed yet"
    );
    let first = paced(&row, &[], 0.9);
    assert!(!first.complete);
    let (_, is_control) = only(&row, &first);
    assert!(!is_control);
    let passes = [later(&row, 2, 0.9, 0.02)];
    assert_eq!(paced(&row, &passes, 1.0).starts, []);
    let (second, is_control) = only(&row, &paced(&row, &passes, 1.1));
    assert!(!is_control && second != row.addresses[2]);
    let under_way: Vec<_> = (3..9)
        .map(|address| later(&row, address, 1.2, 0.2))
        .collect();
    assert_eq!(paced(&row, &under_way, 1.4).starts, [], "six are enough");
    assert_eq!(paced(&row, &under_way[1..], 1.5).starts.len(), 1);
}

#[test]
fn after_a_failure_comes_a_control() {
    let row = row_of(Service::Http2);
    let fails = later(&row, 5, 0.9, 0.3);
    let (_, is_control) = only(&row, &paced(&row, std::slice::from_ref(&fails), 1.3));
    assert!(is_control);
    let flows = [fails.clone(), later(&row, 1, 1.3, 0.3)];
    assert_eq!(
        paced(&row, &flows, 1.7).starts,
        [],
        "later, since it failed"
    );
    let other = only(&row, &paced(&row, &flows, 1.9));
    assert_eq!(
        other,
        (row.addresses[0], true),
        "the one that was not tried lately"
    );
    let flows = [fails, later(&row, 1, 1.3, 0.02)];
    let (_, is_control) = only(&row, &paced(&row, &flows, 1.6));
    assert!(!is_control);
}

#[test]
fn under_a_rate_limit_what_goes_unanswered_is_given_up() {
    let row = row_of(Service::Http2);
    let fresh = later(&row, 5, 0.9, 0.15);
    let stale = later(&row, 5, 0.9, 0.35);
    let given_up = |flow: &Attempt| {
        let now = flow.ended().since(Moment::START).as_secs_f64();
        let step = paced(&row, std::slice::from_ref(flow), now);
        step.given_up
            .iter()
            .any(|(number, why)| (*number, *why) == (10, Cancel::Silent))
    };
    assert!(!given_up(&fresh));
    assert!(given_up(&stale));
}

/// A machine that was busy has answers that it has not read yet.
#[test]
fn what_was_under_way_is_given_up_before_it_would_be_sent_again() {
    for (service, again) in [(Service::Quic, 0.6), (Service::Http2, f64::INFINITY)] {
        let row = row_of(service);
        let rows = std::slice::from_ref(&row);
        let given_up = |now: f64| {
            let burst = burst(&row, 2).into_iter();
            let known: Vec<_> = burst
                .map(|flow| {
                    if flow.passed() {
                        flow
                    } else {
                        lasting(now - 0.03, flow)
                    }
                })
                .collect();
            let seen: Vec<_> = known
                .iter()
                .map(|attempt| Seen {
                    attempt,
                    running: !attempt.passed(),
                })
                .collect();
            let rate_limits = RateLimits::of(&known.iter().collect::<Vec<_>>(), rows);
            assert!(!rate_limits.is_none(), "at {now}");
            Step::of(rows, &seen, &rate_limits, at(now)).given_up.len()
        };
        // It shows at 0.37, and flows resume at 0.87.
        let last_call = (0.03 + again - 0.03_f64).min(0.87);
        assert_eq!(given_up(0.38), 0);
        assert_eq!(given_up(last_call - 0.01), 0);
        assert_eq!(given_up(last_call + 0.01), 8);
    }
}
