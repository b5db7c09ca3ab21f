//! PURE: what was seen becomes what a start of cloudflared meets, and that its forecast.
//!
//! ```text
//! a dial to an address                                     fails after
//!   over QUIC, this host refuses to send                   0 s
//!   over QUIC, the other side ends the handshake           one round trip
//!   over QUIC, anything else                               5 s: silence, and ICMP errors, which it ignores
//!   over HTTP/2, a reset, an ICMP error, a refusal         as long as that took
//!   over HTTP/2, silence                                   15 s
//! ```
//! Addresses of which too little is known are not guessed: a start that meets one has no forecast.

mod dials;
mod lookups;
#[cfg(test)]
mod tests;

use std::time::Duration;

use super::JudgedRow;
use super::dns::{Discovery, EdgeHost, Resolves, SrvState};
use super::verdict::Conclusion;
use crate::catalog;
use crate::forecast::{self, Addresses, Conditions, Dial, Region, Starts};
use crate::model::{
    Attempt, Ended, Family, Forecast, IpVersionChoice, Killed, LookupStatus, Observations, Options,
    ProtocolChoice, Service, ServiceUnit, Span, Status, Transport, Verdict, Via,
};
use crate::targets::uses_family;
use dials::dial;

/// What cloudflared does from its start, and as a service.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Outlook {
    pub(super) forecast: Forecast,
    /// How a service fares that systemd kills, always or now and then.
    pub(super) killed: Option<KilledService>,
}

/// A service that systemd kills before its first connection, with the options of its unit.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct KilledService {
    /// When its first connection would come; nothing where it never would.
    pub(super) first_connection_s: Option<Span>,
    /// What would get it up in time; nothing where no option does.
    pub(super) cure: Option<Cure>,
}

/// Options with which a service is never killed in this network, by the same simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cure {
    /// `--edge-ip-version 4`.
    Ipv4,
    /// `--protocol http2`.
    Http2,
    /// Both of them.
    Ipv4AndHttp2,
}

impl Cure {
    /// The one that changes least comes first.
    const ALL: [Self; 3] = [Self::Ipv4, Self::Http2, Self::Ipv4AndHttp2];

    fn applied_to(self, options: &Options) -> Options {
        let mut options = options.clone();
        if matches!(self, Self::Ipv4 | Self::Ipv4AndHttp2) {
            options.edge_ip_version = IpVersionChoice::V4;
        }
        if matches!(self, Self::Http2 | Self::Ipv4AndHttp2) {
            options.protocol = ProtocolChoice::Http2;
        }
        options
    }
}

/// What cloudflared does from its start; nothing where too little is known.
pub(super) fn outlook(
    seen: &Observations,
    discovery: &Discovery,
    rows: &[JudgedRow],
    conclusion: &Conclusion,
) -> Option<Outlook> {
    if seen.ended == Ended::Interrupted || conclusion.verdict == Verdict::Inconclusive {
        return None;
    }
    let view = View {
        seen,
        discovery,
        rows,
    };
    let mut forecast = view.starts(&seen.options)?.forecast();
    let killed = view.service(&mut forecast);
    Some(Outlook { forecast, killed })
}

struct View<'a> {
    seen: &'a Observations,
    discovery: &'a Discovery,
    rows: &'a [JudgedRow],
}

impl View<'_> {
    fn starts(&self, options: &Options) -> Option<Starts> {
        forecast::simulate(&self.conditions(options)?)
    }

    /// Adds what becomes of a service to the forecast, if that is known.
    fn service(&self, forecast: &mut Forecast) -> Option<KilledService> {
        let systemd = self.seen.host.systemd.as_ref()?;
        let options = self.options_of(systemd.unit.as_ref())?;
        let starts = self.starts(&options)?;
        let service = forecast::service_start(systemd, &starts);
        let known = systemd.unit.as_ref().is_none_or(|unit| unit.options_known);
        forecast
            .steps
            .extend(forecast::killed_step(&service, known));
        forecast
            .steps
            .sort_by(|a, b| a.at_s.median.total_cmp(&b.at_s.median));
        let limit = service
            .timeout_s
            .filter(|_| service.killed != Killed::Never);
        forecast.service_start = Some(service);
        let limit = limit?;
        let cures = |cure: &Cure| {
            let starts = self.starts(&cure.applied_to(&options));
            starts.is_some_and(|starts| starts.connects() && starts.killed(limit) == Killed::Never)
        };
        Some(KilledService {
            first_connection_s: starts.forecast().first_connection_s,
            cure: Cure::ALL.into_iter().find(cures),
        })
    }

    /// The options that a service starts with; nothing where the check was made with others, which no
    /// unit that was read sets.
    fn options_of(&self, unit: Option<&ServiceUnit>) -> Option<Options> {
        let own = &self.seen.options;
        let Some(unit) = unit else {
            return Some(own.clone());
        };
        let others = !own.edge.is_empty()
            || !own.resolver.is_empty()
            || own.region.is_some()
            || own.edge_bind_address.is_some()
            || own.cacert.is_some();
        (!others || !unit.options_known).then(|| Options {
            protocol: unit.protocol.unwrap_or(ProtocolChoice::Auto),
            edge_ip_version: unit.edge_ip_version.unwrap_or(IpVersionChoice::Auto),
            ..own.clone()
        })
    }

    fn conditions(&self, options: &Options) -> Option<Conditions> {
        // Of Windows' own resolver only the good case is known.
        if self.seen.host.asks_all_resolvers() && self.some_resolver_is_silent() {
            return None;
        }
        if self.misled_or_undecided(options) {
            return None;
        }
        let hosts = self.discovery.hosts.iter();
        let each = hosts.map(|host| self.region(host, options));
        let regions = if self.discovery.srv == SrvState::NotNeeded {
            given_regions(each)
        } else {
            each.take(catalog::MINIMUM_SRV_TARGETS).collect()
        };
        let loss = self.loss();
        Some(Conditions {
            protocol: options.protocol,
            lookups: self.lookups(loss)?,
            regions,
            round_trip_s: self.round_trip().unwrap_or_default(),
            loss,
        })
    }

    fn some_resolver_is_silent(&self) -> bool {
        let mut asked = self.seen.lookups.iter();
        asked.any(|lookup| lookup.via != Via::Dot && lookup.status.is_silence())
    }

    /// Whether a name has addresses that were not tried as the edge's: those that cannot be its own,
    /// which cloudflared dials, or those that DNS had no time to give.
    fn misled_or_undecided(&self, options: &Options) -> bool {
        let open = [Resolves::Undecided, Resolves::No(LookupStatus::Suspicious)];
        let mut hosts = self.discovery.hosts.iter();
        hosts.any(|host| {
            let used = Family::BOTH
                .into_iter()
                .filter(|f| uses_family(options, *f));
            used.map(|f| host.family(f)).any(|is| open.contains(&is))
        })
    }

    fn region(&self, host: &EdgeHost, options: &Options) -> Region {
        let families = host.families(options, &self.seen.host).into_iter();
        let addresses = |family| Addresses {
            family,
            quic: self.dials(host, Service::Quic, family),
            http2: self.dials(host, Service::Http2, family),
        };
        Region {
            families: families.map(addresses).collect(),
        }
    }

    fn dials(&self, host: &EdgeHost, service: Service, family: Family) -> Vec<Dial> {
        let of_host = |row: &&JudgedRow| {
            let target = &row.target;
            target.host == host.name && target.service == service && target.family == family
        };
        let Some(row) = self.rows.iter().find(of_host) else {
            return Vec::new();
        };
        match row.status() {
            // A host without the family refuses at once.
            Status::Unavailable => vec![Dial::Fails(0.0)],
            Status::Skipped | Status::Unresolved => vec![Dial::Unknown],
            _ if row.target.addresses.is_empty() => vec![Dial::Unknown],
            _ => {
                let states = row.verdict.addresses.iter();
                states.map(|(at, state)| dial(row, *at, *state)).collect()
            }
        }
    }

    /// The median time to a first answer of the edge, in seconds.
    fn round_trip(&self) -> Option<f64> {
        let edge = self
            .rows
            .iter()
            .filter(|row| row.target.service != Service::Https);
        let times = edge
            .flat_map(|row| &row.attempts)
            .filter(|attempt| attempt.passed());
        let mut times: Vec<_> = times.filter_map(Attempt::contact).collect();
        times.sort_unstable();
        times.get(times.len() / 2).map(Duration::as_secs_f64)
    }

    /// The loss each way, by the SYNs that were answered only after they had been sent again.
    fn loss(&self) -> f64 {
        /// Fewer answers, or fewer late ones, show nothing.
        const ENOUGH: (usize, usize) = (16, 2);
        const RESENT: Duration = Duration::from_millis(900);
        let attempts = self.seen.attempts.iter();
        let tcp = attempts.filter(|a| a.transport == Transport::Tcp && a.passed());
        let times = tcp.filter_map(Attempt::contact);
        let quickest = times.clone().min().unwrap_or_default();
        let late = times.clone().filter(|t| *t > quickest + RESENT).count();
        let all = times.count();
        if all < ENOUGH.0 || late < ENOUGH.1 {
            return 0.0;
        }
        1.0 - (1.0 - ratio(late, all)).sqrt()
    }
}

fn ratio(part: usize, all: usize) -> f64 {
    let number = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    number(part) / number(all).max(1.0)
}

/// The regions that cloudflared makes of the addresses that `--edge` gives: every other one goes to the
/// second (`NewNoResolve` of its source). In each the first address decides about the family.
fn given_regions(each: impl Iterator<Item = Region>) -> Vec<Region> {
    let mut regions = [(); catalog::MINIMUM_SRV_TARGETS].map(|()| Vec::<Addresses>::new());
    let usable = each.filter(|region| !region.families.is_empty());
    for (number, region) in usable.enumerate() {
        let families = &mut regions[number % catalog::MINIMUM_SRV_TARGETS];
        for own in region.families {
            match families.iter_mut().find(|of| of.family == own.family) {
                Some(of) => {
                    of.quic.extend(own.quic);
                    of.http2.extend(own.http2);
                }
                None => families.push(own),
            }
        }
    }
    let used = |mut families: Vec<Addresses>| {
        // From IPv4 cloudflared never changes to IPv6.
        if families.first().is_some_and(|of| of.family == Family::Ipv4) {
            families.truncate(1);
        }
        Region { families }
    };
    regions.into_iter().map(used).collect()
}
