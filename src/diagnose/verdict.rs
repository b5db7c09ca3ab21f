//! PURE: the rows become a verdict.
//!
//! ```text
//! a region over one protocol   = the best of the families that cloudflared tries there
//! a protocol is usable         = discovery works, and some region of it is usable
//!
//! required rows                          some protocol usable   verdict
//!   all reachable or unavailable         yes                    ready
//!   one blocked, partial or unresolved   yes                    degraded
//!   one inconclusive, none of the above  yes                    inconclusive
//!   no protocol can be usable            no                     blocked
//!   anything else                        not proven             inconclusive
//! ```
//! An interrupted run is inconclusive whatever it saw. What is ready becomes degraded where the unit of
//! cloudflared on this host is always killed before its first connection.

use super::JudgedRow;
use super::dns::{Discovery, Resolves, SrvState, Usable};
use crate::model::{
    Ended, Forecast, Killed, Observations, Requirement, Service, Status, UnitSource, Verdict,
};
use crate::targets::counts_when_strict;

/// The verdict and what leads to it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Conclusion {
    pub(super) verdict: Verdict,
    pub(super) suggested: Option<Service>,
    pub(super) quic: ProtocolState,
    pub(super) http2: ProtocolState,
    pub(super) ended: Ended,
    /// Whether the unit of cloudflared that was read on this host never gets a connection, because systemd
    /// kills it first.
    pub(super) service_dies: bool,
}

impl Conclusion {
    /// A network in which a tunnel can be had is no use to a service that is killed before it has one.
    pub(super) fn heed_the_service(&mut self, seen: &Observations, forecast: Option<&Forecast>) {
        let unit = seen.host.systemd.as_ref().and_then(|s| s.unit.as_ref());
        let known = unit.is_some_and(|unit| unit.options_known);
        let start = forecast.and_then(|forecast| forecast.service_start.as_ref());
        let killed = start.is_some_and(|start| {
            start.source == UnitSource::Read && start.killed == Killed::Always
        });
        self.service_dies = known && killed;
        if self.service_dies && self.verdict == Verdict::Ready {
            self.verdict = Verdict::Degraded;
        }
    }

    pub(super) const fn protocol(&self, service: Service) -> ProtocolState {
        match service {
            Service::Quic => self.quic,
            Service::Http2 | Service::Https => self.http2,
        }
    }
}

/// One protocol by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProtocolState {
    pub(super) status: Verdict,
    pub(super) usable: bool,
}

/// Concludes from the rows and from discovery.
pub(super) fn conclude(
    seen: &Observations,
    discovery: &Discovery,
    rows: &[JudgedRow],
) -> Conclusion {
    let [quic, http2] = [Service::Quic, Service::Http2].map(|s| protocol(s, seen, discovery, rows));
    let suggested = [(Service::Quic, quic), (Service::Http2, http2)]
        .into_iter()
        .find(|(_, state)| state.usable)
        .map(|(service, _)| service);
    let wanted: Vec<_> = [quic, http2]
        .into_iter()
        .filter(|p| p.status != Verdict::Skipped)
        .collect();
    let verdict = match seen.ended {
        Ended::Interrupted => Verdict::Inconclusive,
        Ended::Complete | Ended::Budget => overall(&wanted, strict_loss(seen, rows)),
    };
    Conclusion {
        verdict,
        suggested,
        quic,
        http2,
        ended: seen.ended,
        service_dies: false,
    }
}

/// The verdicts of the wanted protocols together.
fn overall(wanted: &[ProtocolState], optional_lost: bool) -> Verdict {
    let is = |status| wanted.iter().any(|p| p.status == status);
    if wanted.iter().any(|p| p.usable) {
        if is(Verdict::Degraded) || is(Verdict::Blocked) || optional_lost {
            Verdict::Degraded
        } else if is(Verdict::Inconclusive) {
            Verdict::Inconclusive
        } else {
            Verdict::Ready
        }
    } else if is(Verdict::Inconclusive) {
        Verdict::Inconclusive
    } else {
        Verdict::Blocked
    }
}

fn protocol(
    service: Service,
    seen: &Observations,
    discovery: &Discovery,
    rows: &[JudgedRow],
) -> ProtocolState {
    let own: Vec<_> = rows
        .iter()
        .filter(|row| row.target.service == service)
        .collect();
    if own.iter().all(|row| row.status() == Status::Skipped) {
        return ProtocolState {
            status: Verdict::Skipped,
            usable: false,
        };
    }
    let usable = best_region(&own, seen, discovery).min(discovery.usable());
    let required = || {
        own.iter()
            .filter(|row| row.target.requirement == Requirement::Required)
    };
    let status = match usable {
        Usable::No => Verdict::Blocked,
        Usable::Unknown => Verdict::Inconclusive,
        Usable::Yes
            if required().any(|row| is_lost(row, discovery)) || loses_region(seen, discovery) =>
        {
            Verdict::Degraded
        }
        Usable::Yes if required().any(|row| row.status() == Status::Inconclusive) => {
            Verdict::Inconclusive
        }
        Usable::Yes => Verdict::Ready,
    };
    ProtocolState {
        status,
        usable: usable == Usable::Yes,
    }
}

fn best_region(own: &[&JudgedRow], seen: &Observations, discovery: &Discovery) -> Usable {
    let regions = discovery.hosts.iter().map(|host| {
        let families = host.families(&seen.options, &seen.host);
        let tried = own
            .iter()
            .filter(|row| row.target.host == host.name && families.contains(&row.target.family));
        let best = tried.map(|row| usable_row(row.status())).max();
        // What is not resolved yet may still be the way.
        let undecided = host.resolves_at_all() == Usable::Unknown;
        best.unwrap_or(if undecided {
            Usable::Unknown
        } else {
            Usable::No
        })
    });
    regions.max().unwrap_or(Usable::No)
}

/// Whether a region resolves, and to no address of a family that cloudflared has here.
fn loses_region(seen: &Observations, discovery: &Discovery) -> bool {
    let hopeless = |host: &super::dns::EdgeHost| {
        let undecided = [host.ipv4, host.ipv6].contains(&Resolves::Undecided);
        !undecided && !host.has_a_way(&seen.options, &seen.host)
    };
    // Of addresses given by hand cloudflared takes those that it can use.
    discovery.srv != SrvState::NotNeeded && discovery.hosts.iter().any(hopeless)
}

const fn usable_row(status: Status) -> Usable {
    match status {
        Status::Reachable | Status::Partial => Usable::Yes,
        Status::Inconclusive => Usable::Unknown,
        Status::Blocked | Status::Unavailable | Status::Unresolved | Status::Skipped => Usable::No,
    }
}

/// A name without addresses of one family is no loss while it has some of the other.
fn is_lost(row: &JudgedRow, discovery: &Discovery) -> bool {
    let resolves = || {
        let host = discovery.host(&row.target.host);
        host.is_some_and(|host| host.resolves_at_all() == Usable::Yes)
    };
    match row.status() {
        Status::Blocked | Status::Partial => true,
        Status::Unresolved => !resolves(),
        _ => false,
    }
}

/// With `--strict`, whether an optional destination that counts is lost.
///
/// A host that has no address of one family is not lost while the other family resolves.
fn strict_loss(seen: &Observations, rows: &[JudgedRow]) -> bool {
    let counts = |row: &&JudgedRow| {
        row.target.service == Service::Https && counts_when_strict(&seen.options, &row.target.host)
    };
    let lost = |row: &JudgedRow| match row.status() {
        Status::Blocked | Status::Partial => true,
        Status::Unresolved => !rows.iter().any(|other| {
            other.target.host == row.target.host
                && !matches!(other.status(), Status::Unresolved | Status::Unavailable)
        }),
        _ => false,
    };
    seen.options.strict && rows.iter().filter(counts).any(lost)
}
