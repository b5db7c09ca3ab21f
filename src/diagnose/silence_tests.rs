//! PURE: which answers a row's silence is compared with.
//!
//! ```text
//! silence of            is compared with
//!   a TCP SYN           TCP connects of the family to the port, else of any kind that answers
//!   a QUIC Initial      QUIC answers; without any, with whole TLS handshakes of the edge, because a
//!                       server that is slow over TCP is slow over UDP; a TCP connect alone tells
//!                       nothing of the server; where the edge is silent over TCP too, with HTTPS
//!   a handshake         completed handshakes of the same kind, and nothing else
//! ```
//! Experiments are not compared with: they differ from the tunnel's first flight on purpose.
//!
//! Silence counts only since the family, and since the port, is known to have been answered, if they
//! ever were: a path that comes up late was down for all. And it counts only up to the last new flow
//! of the service that passed, if any did: what lets the first ones through may have closed since.

use std::collections::HashSet;
use std::time::Duration;

use super::rate_limit::{FirstSuccesses, RateLimits, loss_of_controls};
use crate::evidence::{
    CONTROLS_AT_ONCE, ControlResult, PathEstimate, SilenceTest, Window, peer, sorted, tuning,
    upper_quartile,
};
use crate::model::{Attempt, Family, Millis, Moment, Service};
use crate::targets::Target;

/// The tests for silence of a run, one for each service and family.
#[derive(Debug, Clone)]
pub struct SilenceTests(Vec<(Service, Family, SilenceTest)>);

impl SilenceTests {
    /// Estimates all paths from all attempts of a run.
    #[must_use]
    pub fn of<'a>(attempts: impl Iterator<Item = &'a Attempt>, rate_limits: &RateLimits) -> Self {
        let plain = attempts.filter(|a| !a.profile.is_experiment());
        let attempts: Vec<_> = plain.collect();
        let first_successes = FirstSuccesses::of(attempts.iter().copied());
        let services = [Service::Quic, Service::Http2, Service::Https];
        let each = services.into_iter().flat_map(|service| {
            Family::BOTH.map(|family| {
                let test = silence_test(&attempts, &first_successes, service, family);
                let limited = rate_limits.on(service).map(|limit| {
                    let comparable = comparable_with(&attempts, service);
                    limit.restrict(test, &comparable, &first_successes)
                });
                (service, family, limited.unwrap_or(test))
            })
        });
        Self(each.collect())
    }

    /// The test for a destination.
    #[must_use]
    pub fn for_target(&self, target: &Target) -> SilenceTest {
        let wanted = (target.service, target.family);
        let found = self
            .0
            .iter()
            .find(|(service, family, _)| (*service, *family) == wanted);
        let test = found.map_or(SilenceTest::UNKNOWN, |(.., test)| *test);
        SilenceTest {
            late_resets: target.late_resets,
            ..test
        }
    }
}

fn silence_test(
    attempts: &[&Attempt],
    first_successes: &FirstSuccesses<'_>,
    service: Service,
    family: Family,
) -> SilenceTest {
    let of_family = attempts.iter().copied().filter(|a| a.family() == family);
    let is_edge_service = service != Service::Https;
    let to_port = attempts
        .iter()
        .copied()
        .filter(|a| is_edge(a) == is_edge_service);
    let of_kind = of_service(attempts, service);
    let (base, window) = base_estimate(attempts, service, family);
    let kind = PathEstimate::of(&of_kind);
    let round_trip = match service {
        Service::Quic if kind.round_trip.is_none() => whole_handshakes(attempts),
        Service::Quic => kind.round_trip,
        Service::Http2 | Service::Https => base.round_trip,
    };
    let estimate = PathEstimate {
        round_trip,
        handshake: kind.handshake,
        icmp_seen: PathEstimate::of(&of_family).icmp_seen,
        kind_answers: kind.kind_answers,
        ..base
    };
    SilenceTest {
        estimate,
        // Without an answer these begin with the run, which changes nothing.
        window: window
            .from(Window::of(&of_family).from)
            .from(Window::of(&to_port).from),
        controls: controls(
            &of_kind.collect::<Vec<_>>(),
            first_successes,
            estimate.timeout(),
        ),
        awaits_icmp: estimate.icmp_seen,
        late_resets: false,
    }
}

/// What is measured of the attempts that are most alike, if enough of them are answered, and since when
/// they are.
fn base_estimate(
    attempts: &[&Attempt],
    service: Service,
    family: Family,
) -> (PathEstimate, Window) {
    let of_kind = of_service(attempts, service);
    let near = of_kind.clone().filter(move |a| a.family() == family);
    if answers(near.clone()) >= tuning::ANSWERS_OF_A_KIND {
        (PathEstimate::of(&near), Window::of(&near))
    } else if answers(of_kind.clone()) >= tuning::ANSWERS_OF_A_KIND {
        (PathEstimate::of(&of_kind), Window::of(&of_kind))
    } else {
        let all = attempts.iter().copied();
        (PathEstimate::of(&all), Window::of(&all))
    }
}

/// What fresh flows show among those of a service.
fn controls(
    of_kind: &[&Attempt],
    first_successes: &FirstSuccesses<'_>,
    timeout: Duration,
) -> Option<ControlResult> {
    let passes = of_kind.iter().filter(|a| a.passed());
    let mut starts: Vec<_> = passes.map(|a| a.started()).collect();
    starts.sort_unstable();
    let last = starts.iter().nth_back(CONTROLS_AT_ONCE - 1);
    let until = *last.or(starts.first())?;
    let loss_rate = loss_of_controls(of_kind, first_successes, Moment::START, timeout);
    Some(ControlResult { until, loss_rate })
}

/// The flows whose passing shows that new ones of the service may pass: its own, and where nothing of
/// it passes those of the edge.
fn comparable_with<'a>(attempts: &[&'a Attempt], service: Service) -> Vec<&'a Attempt> {
    let own: Vec<_> = of_service(attempts, service).collect();
    if own.iter().any(|a| a.passed()) {
        return own;
    }
    attempts.iter().copied().filter(|a| is_edge(a)).collect()
}

/// How many destinations answer. Their number must not depend on how often one was tried: fresh flows to
/// a few of them would make the estimate a different one.
fn answers<'a>(attempts: impl Iterator<Item = &'a Attempt>) -> usize {
    attempts
        .filter(|attempt| attempt.contact_ms.is_some())
        .map(peer)
        .collect::<HashSet<_>>()
        .len()
}

/// How long whole TLS handshakes take: with the edge, or with HTTPS hosts where the edge does not
/// even connect.
fn whole_handshakes(attempts: &[&Attempt]) -> Option<Duration> {
    let of = |service| of_service(attempts, service);
    let edge_connects = of(Service::Http2).any(|a| a.contact_ms.is_some());
    let service = if edge_connects {
        Service::Http2
    } else {
        Service::Https
    };
    let times = of(service).filter_map(|a| a.handshake_ms);
    upper_quartile(&sorted(times.map(Millis::duration)))
}

fn of_service<'a, 'b>(
    attempts: &'b [&'a Attempt],
    service: Service,
) -> impl Iterator<Item = &'a Attempt> + Clone + use<'a, 'b> {
    let of_kind = move |a: &&Attempt| a.service() == service;
    attempts.iter().copied().filter(of_kind)
}

fn is_edge(attempt: &Attempt) -> bool {
    attempt.service() != Service::Https
}
