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

use super::rate_limit::{FirstSuccesses, RateLimits, loss_of_controls};
use crate::evidence::{ControlResult, PathEstimate, peer, sorted, upper_quartile};
use crate::model::{Attempt, Family, Millis, Profile, Service, Transport};
use crate::targets::Target;

/// How many fresh flows have to pass: a limit that grants one now and then does not grant several at
/// once.
pub const FRESH_FLOWS: usize = 3;

/// The estimates of a run, one for each service and family.
#[derive(Debug, Clone)]
pub struct PathEstimates(Vec<(Service, Family, PathEstimate)>);

impl PathEstimates {
    /// Estimates all paths from all attempts of a run.
    #[must_use]
    pub fn of<'a>(attempts: impl Iterator<Item = &'a Attempt>, rate_limits: &RateLimits) -> Self {
        let plain = attempts.filter(|a| !a.profile.is_experiment());
        let attempts: Vec<_> = plain.collect();
        let passes = FirstSuccesses::of(attempts.iter().copied());
        let services = [Service::Quic, Service::Http2, Service::Https];
        let each = services.into_iter().flat_map(|service| {
            Family::BOTH.map(|family| {
                let estimate = estimate(&attempts, &passes, service, family);
                let limited = rate_limits.on(service);
                let kin = || comparable(&attempts, service);
                let restricted = limited.map(|p| p.restrict(&estimate, &kin(), &passes));
                (service, family, restricted.unwrap_or(estimate))
            })
        });
        Self(each.collect())
    }

    /// The estimate for a destination.
    #[must_use]
    pub fn for_target(&self, target: &Target) -> PathEstimate {
        let wanted = (target.service, target.family);
        let found = self
            .0
            .iter()
            .find(|(service, family, _)| (*service, *family) == wanted);
        let estimate = found.map_or(PathEstimate::UNKNOWN, |(.., estimate)| *estimate);
        estimate.with_late_resets(target.late_resets)
    }
}

fn estimate(
    attempts: &[&Attempt],
    first_passes: &FirstSuccesses<'_>,
    service: Service,
    family: Family,
) -> PathEstimate {
    /// With fewer answers the kind's own loss is not known well enough.
    const ENOUGH: usize = 16;
    let kin = of_service(attempts, service);
    let near = kin.clone().filter(move |a| a.family() == family);
    let base = if answers(near.clone()) >= ENOUGH {
        PathEstimate::of(&near)
    } else if answers(kin.clone()) >= ENOUGH {
        PathEstimate::of(&kin)
    } else {
        PathEstimate::of(&attempts.iter().copied())
    };
    let of_kind = PathEstimate::of(&kin);
    let round_trip = match service {
        Service::Quic if of_kind.round_trip.is_none() => whole_handshakes(attempts),
        Service::Quic => of_kind.round_trip,
        Service::Http2 | Service::Https => base.round_trip,
    };
    let of_family = PathEstimate::of(
        &attempts
            .iter()
            .copied()
            .filter(move |a| a.family() == family),
    );
    let to_port = PathEstimate::of(
        &attempts
            .iter()
            .copied()
            .filter(move |a| is_edge(a) == (service != Service::Https)),
    );
    // Without an answer the beginning of the run stands there, which changes nothing.
    let since = base.since.max(of_family.since).max(to_port.since);
    let timeout = PathEstimate { round_trip, ..base }.timeout();
    PathEstimate {
        since,
        round_trip,
        handshake: of_kind.handshake,
        icmp_seen: of_family.icmp_seen,
        kin_answer: of_kind.round_trip.is_some(),
        fresh: fresh(&kin.collect::<Vec<_>>(), first_passes, timeout),
        ..base
    }
}

/// What fresh flows tell among those of a service.
fn fresh(
    kin: &[&Attempt],
    first_passes: &FirstSuccesses<'_>,
    timeout: f64,
) -> Option<ControlResult> {
    let passes = kin.iter().filter(|a| a.passed());
    let starts = sorted(passes.map(|a| a.started_ms.secs()));
    let until = *starts.iter().nth_back(FRESH_FLOWS - 1).or(starts.first())?;
    let loss = loss_of_controls(kin, first_passes, 0.0, timeout);
    Some(ControlResult { until, loss })
}

/// The flows whose passing shows that new ones of the service may pass: its own, and where nothing of
/// it passes those of the edge.
fn comparable<'a>(attempts: &[&'a Attempt], service: Service) -> Vec<&'a Attempt> {
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
fn whole_handshakes(attempts: &[&Attempt]) -> Option<f64> {
    let of = |service| of_service(attempts, service);
    let edge_connects = of(Service::Http2).any(|a| a.contact_ms.is_some());
    let service = if edge_connects {
        Service::Http2
    } else {
        Service::Https
    };
    let times = of(service).filter_map(|a| a.handshake_ms).map(Millis::secs);
    upper_quartile(&sorted(times))
}

fn of_service<'a, 'b>(
    attempts: &'b [&'a Attempt],
    service: Service,
) -> impl Iterator<Item = &'a Attempt> + Clone + use<'a, 'b> {
    let kin = move |a: &&Attempt| service_of(a) == service;
    attempts.iter().copied().filter(kin)
}

const fn is_edge(attempt: &Attempt) -> bool {
    !matches!(service_of(attempt), Service::Https)
}

/// What an attempt speaks.
#[must_use]
pub const fn service_of(attempt: &Attempt) -> Service {
    match (attempt.transport, attempt.profile) {
        (Transport::Udp, _) => Service::Quic,
        (Transport::Tcp, Profile::Https) => Service::Https,
        (Transport::Tcp, _) => Service::Http2,
    }
}
