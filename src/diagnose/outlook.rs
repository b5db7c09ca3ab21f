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

use super::JudgedRow;
use super::dns::{Discovery, EdgeHost, Resolves, SrvState};
use super::verdict::Conclusion;
use crate::catalog;
use crate::forecast::{self, Addresses, Conditions, Dial, Region, Starts};
use crate::model::{
    Ended, Family, Forecast, IpVersionChoice, LookupStatus, Millis, Observations, Options,
    ProtocolChoice, Service, Status, Transport, Verdict, Via,
};
use crate::targets::uses_family;
use dials::dial;

/// What cloudflared does from its start; nothing where too little is known.
pub(super) fn outlook(
    seen: &Observations,
    discovery: &Discovery,
    rows: &[JudgedRow],
    conclusion: &Conclusion,
) -> Option<Forecast> {
    if seen.ended == Ended::Interrupted || conclusion.verdict == Verdict::Inconclusive {
        return None;
    }
    let view = View {
        seen,
        discovery,
        rows,
    };
    let starts = view.starts(&seen.options)?;
    let mut forecast = starts.forecast();
    if let Some(systemd) = &seen.host.systemd {
        let own = view.as_the_unit_sets(systemd.unit.as_ref());
        let own = own.map_or(Some(None), |options| view.starts(&options).map(Some));
        let starts: &Starts = match &own {
            Some(None) => &starts,
            Some(Some(own)) => own,
            // What the unit would meet is not known.
            None => return Some(forecast),
        };
        let service = forecast::service_start(systemd, starts);
        forecast.steps.extend(forecast::killed_step(&service));
        forecast
            .steps
            .sort_by(|a, b| a.at_s.median.total_cmp(&b.at_s.median));
        forecast.service_start = Some(service);
    }
    Some(forecast)
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

    /// The options with those of the unit, if it sets any.
    fn as_the_unit_sets(&self, unit: Option<&crate::model::ServiceUnit>) -> Option<Options> {
        let unit = unit?;
        let own = &self.seen.options;
        let options = Options {
            protocol: unit.protocol.unwrap_or(ProtocolChoice::Auto),
            edge_ip_version: unit.edge_ip_version.unwrap_or(IpVersionChoice::Auto),
            ..own.clone()
        };
        (options != *own).then_some(options)
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
                let states = row.judgement.addresses.iter();
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
        let mut times: Vec<_> = times
            .filter_map(|a| a.contact_ms)
            .map(Millis::secs)
            .collect();
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).copied()
    }

    /// The loss each way, by the SYNs that were answered only after they had been sent again.
    fn loss(&self) -> f64 {
        /// Fewer answers, or fewer late ones, show nothing.
        const ENOUGH: (usize, usize) = (16, 2);
        const RESENT_S: f64 = 0.9;
        let attempts = self.seen.attempts.iter();
        let tcp = attempts.filter(|a| a.transport == Transport::Tcp && a.passed());
        let times = tcp.filter_map(|a| Some(a.contact_ms?.secs()));
        let quickest = times.clone().fold(f64::INFINITY, f64::min);
        let late = times.clone().filter(|t| *t > quickest + RESENT_S).count();
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
