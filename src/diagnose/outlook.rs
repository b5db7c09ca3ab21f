//! PURE: what was seen becomes what a start of cloudflared meets, and that its forecast.
//!
//! ```text
//! a dial to an address                                     fails after
//!   over QUIC, this host refuses to send                   0 s
//!   over QUIC, the other side ends the handshake           one round trip
//!   over QUIC, anything else                               5 s: silence, and ICMP errors, which it ignores
//!   over HTTP/2, a reset, an ICMP error, a refusal         at once
//!   over HTTP/2, silence                                   15 s
//! ```
//! Addresses of which too little is known are not guessed: a start that meets one has no forecast.

use std::net::IpAddr;

use super::JudgedRow;
use super::dns::{Discovery, EdgeHost, SrvState};
use super::row::{AddressState, belongs};
use super::verdict::Conclusion;
use crate::catalog;
use crate::forecast::{
    self, Addresses, Conditions, Dial, Lookup, Lookups, QUIC_DIAL_S, Region, Starts, TCP_DIAL_S,
};
use crate::model::{
    Attempt, Cause, ContactFailure, Ended, Family, Forecast, HandshakeFailure, IpVersionChoice,
    LookupStatus, Millis, Observations, Options, Outcome, ProtocolChoice, RecordType, Service,
    Status, Transport, Verdict, Via,
};

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
        let hosts = self.discovery.hosts.iter();
        let regions: Vec<_> = hosts
            .take(catalog::MINIMUM_SRV_TARGETS)
            .map(|host| self.region(host, options))
            .collect();
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

    /// The lookups of a start; nothing where the run ended before they were answered.
    fn lookups(&self, loss: f64) -> Option<Lookups> {
        let options = &self.seen.options;
        let retry_s = f64::from(self.resolver_options().timeout_s);
        let name = catalog::srv_name(options.region);
        let (srv, dot) = match self.discovery.srv {
            SrvState::NotNeeded => (None, None),
            SrvState::Undecided => return None,
            _ => (
                Some(self.exchange(&[(&name, RecordType::Srv)])?),
                self.over_tls(),
            ),
        };
        let targets = self.discovery.hosts.iter().map(|host| {
            if host.name.parse::<IpAddr>().is_ok() {
                return Some(Lookup {
                    seconds: 0.0,
                    found: true,
                });
            }
            self.exchange(&[(&host.name, RecordType::A), (&host.name, RecordType::Aaaa)])
        });
        let targets = targets.collect::<Option<Vec<_>>>()?;
        // Nothing but the time of a TXT record matters, and that is like the time of any other.
        let txt_s = srv
            .or(targets.first().copied())
            .map_or(0.0, |like| like.seconds);
        let least = self.loss_of_questions();
        let most = 1.0 - (1.0 - loss).powi(2);
        Some(Lookups {
            txt_s,
            srv,
            dot,
            targets,
            loss: (least, most.max(least)),
            retry_s,
        })
    }

    fn resolver_options(&self) -> crate::model::ResolverOptions {
        let own = self.seen.host.resolver_options.unwrap_or_default();
        if self.seen.options.resolver.is_empty() {
            own
        } else {
            crate::model::ResolverOptions::default()
        }
    }

    /// Questions that are asked at the same time, as Go's resolver asks them: the servers in their order, each
    /// for its time, for as many rounds as resolv.conf says.
    fn exchange(&self, questions: &[(&str, RecordType)]) -> Option<Lookup> {
        let each = questions.iter().map(|(name, kind)| self.asked(name, *kind));
        let each = each.collect::<Option<Vec<_>>>()?;
        Some(Lookup {
            seconds: each.iter().map(|one| one.seconds).fold(0.0, f64::max),
            found: each.iter().any(|one| one.found),
        })
    }

    fn asked(&self, name: &str, kind: RecordType) -> Option<Lookup> {
        let all = self.seen.lookups.iter();
        let own: Vec<_> = all
            .filter(|l| l.name == name && l.record_type == kind && l.via != Via::Dot)
            .collect();
        own.first()?;
        let options = self.resolver_options();
        let timeout = f64::from(options.timeout_s);
        let mut seconds = 0.0;
        for _ in 0..options.attempts.max(1) {
            for lookup in &own {
                let usable = matches!(lookup.status, LookupStatus::Ok | LookupStatus::Suspicious);
                if lookup.status.is_final() {
                    return Some(Lookup {
                        seconds: seconds + lookup.elapsed_ms.secs().min(timeout),
                        found: usable,
                    });
                }
                seconds += match lookup.status {
                    LookupStatus::TimedOut | LookupStatus::Malformed => timeout,
                    _ => lookup.elapsed_ms.secs().min(timeout),
                };
            }
        }
        Some(Lookup {
            seconds,
            found: false,
        })
    }

    /// The SRV record by DNS over TLS: each server of resolv.conf costs its time in each round, because
    /// cloudflared's resolver dials 1.1.1.1 in place of each.
    fn over_tls(&self) -> Option<Lookup> {
        let lookup = self.seen.lookups.iter().find(|l| l.via == Via::Dot)?;
        let found = lookup.status == LookupStatus::Ok;
        let options = self.resolver_options();
        let servers = u32::try_from(self.seen.resolvers.len().max(1)).unwrap_or(1);
        let rounds = f64::from(options.timeout_s * options.attempts.max(1) * servers);
        let seconds = match lookup.status {
            LookupStatus::TimedOut => rounds.min(forecast::DOT_S),
            _ => lookup.elapsed_ms.secs(),
        };
        Some(Lookup { seconds, found })
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

    /// The share of questions that were answered only after they had been asked again.
    fn loss_of_questions(&self) -> f64 {
        let answered = self.seen.lookups.iter().filter(|l| l.status.is_final());
        let late = answered
            .clone()
            .filter(|lookup| lookup.elapsed_ms.secs() > 0.3)
            .count();
        let all = answered.count();
        // Where most are late the resolver is slow, and nothing is lost.
        if all == 0 || late * 2 > all {
            return 0.0;
        }
        ratio(late, all)
    }
}

fn ratio(part: usize, all: usize) -> f64 {
    let number = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    number(part) / number(all).max(1.0)
}

/// How an address takes a dial, by what is known of it.
fn dial(row: &JudgedRow, address: IpAddr, state: AddressState) -> Dial {
    let service = row.target.service;
    match state {
        AddressState::Open => Dial::Unknown,
        AddressState::Reachable if hangs_after_tls(row, address) => Dial::Unknown,
        AddressState::Reachable => Dial::Passes,
        AddressState::Blocked(cause) => {
            let own = |a: &&Attempt| a.address == address && belongs(a, &row.target);
            let plain =
                |a: &&Attempt| !a.profile.is_experiment() && a.sni == row.target.deciding_sni();
            let attempts: Vec<_> = row.attempts.iter().filter(own).filter(plain).collect();
            match service {
                Service::Quic => Dial::Fails(quic_fails_after(cause, &attempts)),
                _ => http2_fails_after(cause, &attempts).map_or(Dial::Unknown, Dial::Fails),
            }
        }
    }
}

/// TLS completes and the edge does not speak: what cloudflared does then was not measured.
fn hangs_after_tls(row: &JudgedRow, address: IpAddr) -> bool {
    let own = row.attempts.iter().filter(|a| a.address == address);
    let prefaces = own.filter_map(|attempt| match &attempt.outcome {
        Outcome::Secured { secured } => secured.preface,
        _ => None,
    });
    let (mut any, mut came) = (false, false);
    for preface in prefaces {
        any = true;
        came |= preface;
    }
    any && !came
}

/// Only what ends the dial itself ends it before its time: an ICMP error does not.
fn quic_fails_after(cause: Cause, attempts: &[&Attempt]) -> f64 {
    let at_once = |attempt: &&Attempt| match &attempt.outcome {
        Outcome::Unanswered { failure } => match failure {
            // What the error queue held is an ICMP error as well, if it is this host's own.
            ContactFailure::LocalFirewall { icmp, .. } => icmp.is_none(),
            ContactFailure::NoRoute { .. } => true,
            _ => false,
        },
        Outcome::Unsecured { failure } => matches!(
            failure,
            HandshakeFailure::Untrusted { .. }
                | HandshakeFailure::Alert { .. }
                | HandshakeFailure::WrongAlpn
                | HandshakeFailure::Refused { .. }
        ),
        _ => false,
    };
    let dropped = matches!(cause, Cause::Dropped | Cause::Mtu | Cause::QuicFiltered);
    if !dropped && attempts.iter().any(at_once) {
        0.0
    } else {
        QUIC_DIAL_S
    }
}

/// How long a dial over TCP and TLS takes to fail; nothing where the attempts do not show it.
fn http2_fails_after(cause: Cause, attempts: &[&Attempt]) -> Option<f64> {
    if matches!(
        cause,
        Cause::Dropped | Cause::Mtu | Cause::LargeHelloDropped
    ) {
        return Some(TCP_DIAL_S);
    }
    let after = |attempt: &&&Attempt| match &attempt.outcome {
        Outcome::Unanswered {
            failure: ContactFailure::Silent,
        }
        | Outcome::Unsecured {
            failure: HandshakeFailure::Silent,
        } => Some(TCP_DIAL_S),
        Outcome::Unanswered { .. } | Outcome::Unsecured { .. } => Some(0.0),
        Outcome::Secured { .. } | Outcome::Abandoned => None,
    };
    let mut times: Vec<f64> = attempts.iter().filter_map(|a| after(&a)).collect();
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied()
}
