//! Findings about name resolution.

use std::collections::BTreeSet;

use super::port53::{Port53, ends, exits, patience_with_one, timeout};
use super::{Draft, Platform};
use crate::catalog;
use crate::diagnose::dns::{Discovery, Resolves, SrvState, Usable};
use crate::diagnose::{Diagnosis, words};
use crate::model::{
    Finding, FindingCode, Forecast, Lookup, LookupStatus, Observations, RecordType, Severity, Via,
};

pub(super) fn findings(diagnosis: Diagnosis<'_>) -> Vec<Finding> {
    let Diagnosis {
        seen,
        discovery,
        forecast,
        ..
    } = diagnosis;
    [
        addresses_failed(seen, discovery, forecast),
        srv(seen, discovery, forecast),
        resolver_failed(seen, forecast),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A lookup in a sentence: who was asked for what, and what came of it.
pub(super) fn sentence(lookup: &Lookup) -> String {
    told(&format!("{} {}", lookup.name, lookup.record_type), lookup)
}

fn told(questions: &str, lookup: &Lookup) -> String {
    let detail = lookup
        .detail
        .as_ref()
        .map_or_else(String::new, |detail| format!(" ({detail})"));
    format!(
        "{questions} via {}: {}{detail} after {}",
        lookup.via, lookup.status, lookup.elapsed_ms
    )
}

/// The failed lookups in sentences: those that failed alike share one, whatever they asked for and
/// how often.
pub(super) fn failed_lookups(
    seen: &Observations,
    concerns: impl Fn(&Lookup) -> bool,
) -> Vec<String> {
    let mut alike: Vec<Vec<&Lookup>> = Vec::new();
    let failed = |l: &&Lookup| l.status != LookupStatus::Ok && concerns(l);
    for lookup in seen.lookups.iter().filter(failed) {
        let key = |l: &Lookup| (l.via, l.status, l.detail.clone());
        let same = |group: &&mut Vec<&Lookup>| group.iter().all(|l| key(l) == key(lookup));
        match alike.iter_mut().find(same) {
            Some(group) => group.push(lookup),
            None => alike.push(vec![lookup]),
        }
    }
    alike.iter().filter_map(|group| together(group)).collect()
}

/// Lookups that failed alike in a sentence; the longest of them tells the time.
fn together(group: &[&Lookup]) -> Option<String> {
    let longest = group
        .iter()
        .max_by(|a, b| a.elapsed_ms.get().total_cmp(&b.elapsed_ms.get()))?;
    let questions: BTreeSet<_> = group
        .iter()
        .map(|l| format!("{} {}", l.name, l.record_type))
        .collect();
    let questions: Vec<_> = questions.into_iter().collect();
    Some(told(&questions.join(", "), longest))
}

pub(super) fn resolver_commands(
    seen: &Observations,
    names: &[&str],
    record: RecordType,
) -> Vec<String> {
    let server = seen.resolvers.first().map(std::net::SocketAddr::ip);
    let platform = Platform::of(&seen.host);
    let ask = |name: &&str| platform.ask(server, name, record);
    names.iter().map(ask).collect()
}

fn addresses_failed(
    seen: &Observations,
    discovery: &Discovery,
    forecast: Option<&Forecast>,
) -> Option<Finding> {
    let dead: Vec<_> = discovery
        .looked_up()
        .filter(|host| host.resolves_at_all() == Usable::No)
        // An answer that cannot be right is an answer, and a finding of its own.
        .filter(|host| ![host.ipv4, host.ipv6].contains(&Resolves::No(LookupStatus::Suspicious)))
        .collect();
    let names: Vec<_> = dead.iter().map(|host| host.name.as_str()).collect();
    if dead.is_empty() {
        return None;
    }
    let some_are_left = discovery.srv == SrvState::NotNeeded && dead.len() < discovery.hosts.len();
    let concerns =
        |l: &Lookup| names.contains(&l.name.as_str()) && l.record_type != RecordType::Srv;
    let failed = seen
        .lookups
        .iter()
        .filter(|l| l.status != LookupStatus::Ok && concerns(l));
    let fix = if failed.clone().any(|lookup| lookup.status.is_silence()) {
        "Let this host's resolvers answer for argotunnel.com, and let UDP and TCP 53 out to them."
    } else {
        "Let this host's resolvers answer for argotunnel.com, unfiltered."
    };
    let port53 = Port53::of(seen);
    let mut evidence = failed_lookups(seen, concerns);
    evidence.extend(port53.evidence.iter().cloned());
    Some(
        Draft {
            code: FindingCode::DnsAddressesFailed,
            severity: Severity::Error,
            title: format!("DNS gives no address for {}", names.join(" and ")),
            detail: if some_are_left {
                "cloudflared goes on with the other addresses that --edge gives.".to_owned()
            } else {
                let rows = if dead.iter().all(|host| discovery.host(&host.name).is_none()) {
                    "It stops although it would connect to the first two targets of the SRV record only."
                } else {
                    "The rows show whether the documented addresses can be reached."
                };
                format!(
                    "cloudflared asks this host's resolvers for these names, and has no other source \
                     of addresses. {} {rows}",
                    ends(seen, forecast, &failed)
                )
            },
            evidence,
            summary: port53.advice_or(fix.to_owned()),
            commands: resolver_commands(seen, &names, RecordType::A),
        }
        .about(&[]),
    )
}

fn srv(seen: &Observations, discovery: &Discovery, forecast: Option<&Forecast>) -> Option<Finding> {
    let name = catalog::srv_name(seen.options.region);
    let is_srv = |l: &Lookup| l.record_type == RecordType::Srv;
    let port53 = Port53::of(seen);
    let mut evidence = failed_lookups(seen, is_srv);
    evidence.extend(port53.evidence.iter().cloned());
    let commands = resolver_commands(seen, &[&name], RecordType::Srv);
    let fix = format!("Let this host's resolvers answer the SRV question for {name}.");
    let draft = match discovery.srv {
        SrvState::NotNeeded | SrvState::System | SrvState::Undecided => return None,
        SrvState::OverTls => Draft {
            code: FindingCode::DnsDotFallback,
            severity: Severity::Warning,
            title: "The resolver does not have the SRV record; DNS over TLS does".to_owned(),
            detail: format!(
                "cloudflared {}asks 1.1.1.1:853 for it instead, which delays every start. When that path \
                 closes too there is no record.",
                wait_for_srv(seen)
            ),
            evidence,
            summary: port53.advice_or(fix),
            commands,
        },
        SrvState::TooFew { targets } => Draft {
            code: FindingCode::DnsSrvTooFew,
            severity: Severity::Error,
            title: format!("The SRV record names {targets} target, and cloudflared wants two"),
            detail:
                "cloudflared refuses to start with fewer than two regions, within a second. It does not \
                 try DNS over TLS, because the resolver did answer."
                    .to_owned(),
            evidence: seen
                .lookups
                .iter()
                .filter(|l| l.record_type == RecordType::Srv)
                .map(|l| format!("{}: {} answer(s)", sentence(l), l.answers.len()))
                .collect(),
            summary: fix,
            commands,
        },
        SrvState::Failed(_) => Draft {
            code: FindingCode::DnsSrvFailed,
            severity: Severity::Error,
            title: if over_tls_was_asked(seen) {
                "Neither the resolver nor DNS over TLS gives the SRV record".to_owned()
            } else {
                "The resolver does not give the SRV record".to_owned()
            },
            detail: format!(
                "Without it cloudflared does not know the edge. It {}{}, and exits{}.",
                wait_for_srv(seen),
                if over_tls_was_asked(seen) {
                    "asks 1.1.1.1:853, also without success"
                } else {
                    "asks 1.1.1.1:853, which this check did not get to"
                },
                exits(forecast)
            ),
            evidence,
            summary: format!("{}{}", port53.advice_or(fix), instead(seen)),
            commands,
        },
    };
    Some(draft.about(&[]))
}

/// Nothing is said of DNS over TLS unless a question to it has ended.
fn over_tls_was_asked(seen: &Observations) -> bool {
    seen.lookups.iter().any(|lookup| lookup.via == Via::Dot)
}

/// DNS over TLS is another way, unless it has spoken.
fn instead(seen: &Observations) -> &'static str {
    let over_tls = seen.lookups.iter().find(|l| l.via == Via::Dot);
    if over_tls.is_some_and(|lookup| lookup.status.is_silence()) {
        " TCP 853 out to 1.1.1.1 would do for this record, for the addresses it would not."
    } else {
        ""
    }
}

/// What comes before cloudflared turns to DNS over TLS.
fn wait_for_srv(seen: &Observations) -> String {
    let ended = |status| {
        seen.lookups.iter().any(|lookup| {
            lookup.record_type == RecordType::Srv
                && lookup.via != Via::Dot
                && lookup.status == status
        })
    };
    if ended(LookupStatus::TimedOut) {
        format!("{}, then ", timeout(seen))
    } else if ended(LookupStatus::Unreachable) {
        "does not reach the resolver, then ".to_owned()
    } else {
        "gets that answer at once, then ".to_owned()
    }
}

fn is_bad(status: LookupStatus) -> bool {
    !status.is_final()
}

/// A resolver that fails where another one answers: cloudflared waits for it at every lookup.
fn resolver_failed(seen: &Observations, forecast: Option<&Forecast>) -> Option<Finding> {
    let answered_elsewhere = |lookup: &Lookup| {
        seen.lookups.iter().any(|other| {
            other.name == lookup.name
                && other.record_type == lookup.record_type
                && other.via != lookup.via
                && other.via != Via::Dot
                && other.status.is_final()
        })
    };
    let failed: Vec<_> = seen
        .lookups
        .iter()
        .filter(|l| l.via != Via::Dot && is_bad(l.status) && answered_elsewhere(l))
        .collect();
    let mut servers: Vec<_> = failed.iter().map(|l| l.via.to_string()).collect();
    servers.sort();
    servers.dedup();
    servers.first()?;
    let port53 = Port53::of(seen);
    let vias: Vec<_> = failed.iter().map(|l| l.via).collect();
    let mut evidence = failed_lookups(seen, |l| vias.contains(&l.via));
    evidence.extend(port53.evidence.iter().cloned());
    Some(
        Draft {
            code: FindingCode::DnsResolverFailed,
            severity: Severity::Warning,
            title: format!("Resolver {} gives no usable answer", servers.join(", ")),
            detail: if failed.iter().any(|l| l.status == LookupStatus::TimedOut) {
                let first = forecast.and_then(|forecast| forecast.first_connection_s);
                let late = first.map_or_else(String::new, |first| {
                    format!(
                        " Its first connection comes {} after its start.",
                        words::about(first)
                    )
                });
                format!(
                    "Another resolver answers, so cloudflared starts. If the silent one is asked first, it \
                     waits {} for it at every lookup, and its own pre-checks report failures.{late}",
                    patience_with_one(seen)
                )
            } else if failed.iter().any(|l| l.status == LookupStatus::Unreachable) {
                format!(
                    "Another resolver answers, so cloudflared starts. If this one is asked first, each lookup \
                     goes on at once if the kernel reports the error to cloudflared, else after {}.",
                    patience_with_one(seen)
                )
            } else {
                "Another resolver answers, and cloudflared asks it as soon as this one has refused: \
                 nothing is lost but the time of a question."
                    .to_owned()
            },
            evidence,
            summary: port53
                .advice_or("Fix this resolver, or remove it from this host's configuration.".to_owned()),
            commands: Vec::new(),
        }
        .about(&[]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Millis;
    use crate::report::samples;

    #[test]
    fn lookups_that_fail_alike_share_a_sentence() {
        let mut seen = samples::dns_dead().into_observations();
        for lookup in &mut seen.lookups {
            lookup.status = LookupStatus::Refused;
        }
        seen.lookups.extend(seen.lookups.clone());
        seen.lookups[1].elapsed_ms = Millis::from(7.0);
        let told = failed_lookups(&seen, |l| l.record_type == RecordType::A);
        assert_eq!(told.len(), 1, "{told:?}");
        let regions = "region1.v2.argotunnel.com A, region2.v2.argotunnel.com A";
        assert!(told[0].contains(regions), "{told:?}");
        assert!(told[0].ends_with("after 5.0 s"), "{told:?}");
        seen.lookups[2].status = LookupStatus::ServerFailure;
        let told = failed_lookups(&seen, |l| l.record_type == RecordType::A);
        assert_eq!(told.len(), 2, "{told:?}");
    }
}
