//! Findings about name resolution.

use super::Draft;
use crate::catalog;
use crate::diagnose::dns::{Discovery, EdgeHost, Resolves, SrvState};
use crate::diagnose::verdict::Usable;
use crate::model::{
    Family, Finding, FindingCode, Lookup, LookupStatus, Observations, RecordType, Severity, Via,
};
use crate::targets::record_type;

pub(super) fn findings(seen: &Observations, discovery: &Discovery) -> Vec<Finding> {
    [
        addresses_failed(seen, discovery),
        srv(seen, discovery),
        suspicious(seen),
        resolver_failed(seen),
        one_family(seen, discovery),
        drift(seen, discovery),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A lookup in a sentence: who was asked for what, and what came of it.
fn sentence(lookup: &Lookup) -> String {
    let detail = lookup
        .detail
        .as_ref()
        .map_or_else(String::new, |detail| format!(" ({detail})"));
    format!(
        "{} {} via {}: {}{detail} after {}",
        lookup.name, lookup.record_type, lookup.via, lookup.status, lookup.elapsed_ms
    )
}

fn failed_lookups<'a>(
    seen: &'a Observations,
    concerns: impl Fn(&Lookup) -> bool + 'a,
) -> impl Iterator<Item = String> + 'a {
    seen.lookups
        .iter()
        .filter(move |l| l.status != LookupStatus::Ok && concerns(l))
        .map(sentence)
}

fn resolver_commands(seen: &Observations, names: &[&str], record: RecordType) -> Vec<String> {
    let server = seen
        .resolvers
        .first()
        .map_or_else(String::new, |s| format!(" @{}", s.ip()));
    names
        .iter()
        .map(|name| format!("dig{server} {name} {record}"))
        .collect()
}

fn addresses_failed(seen: &Observations, discovery: &Discovery) -> Option<Finding> {
    let dead: Vec<_> = discovery
        .hosts
        .iter()
        .filter(|host| host.resolves_at_all() == Usable::No)
        .collect();
    let names: Vec<_> = dead.iter().map(|host| host.name.as_str()).collect();
    // With `--edge` cloudflared goes on with the others.
    let all = dead.len() == discovery.hosts.len();
    if dead.is_empty() || (discovery.srv == SrvState::NotNeeded && !all) {
        return None;
    }
    let evidence = failed_lookups(seen, |l| {
        names.contains(&l.name.as_str()) && l.record_type != RecordType::Srv
    });
    Some(
        Draft {
            code: FindingCode::DnsAddressesFailed,
            severity: Severity::Error,
            title: format!("DNS gives no address for {}", names.join(" and ")),
            detail: "cloudflared asks this host's resolvers for these names, has no other source of \
                     addresses, and stops when one of them does not resolve. The rows show whether the \
                     documented addresses can be reached."
                .to_owned(),
            evidence: evidence.collect(),
            summary: "Let this host's resolvers answer for argotunnel.com, and let UDP and TCP 53 out \
                      to them."
                .to_owned(),
            commands: resolver_commands(seen, &names, RecordType::A),
        }
        .about(&[]),
    )
}

fn srv(seen: &Observations, discovery: &Discovery) -> Option<Finding> {
    let name = catalog::srv_name(seen.options.region);
    let evidence = failed_lookups(seen, |l| l.record_type == RecordType::Srv).collect();
    let commands = resolver_commands(seen, &[&name], RecordType::Srv);
    let fix = format!("Let this host's resolvers answer the SRV question for {name}.");
    let draft = match discovery.srv {
        SrvState::NotNeeded | SrvState::System | SrvState::Undecided => return None,
        SrvState::OverTls => Draft {
            code: FindingCode::DnsDotFallback,
            severity: Severity::Warning,
            title: "The resolver does not have the SRV record; DNS over TLS does".to_owned(),
            detail:
                "cloudflared asks 1.1.1.1:853 instead and goes on, at the cost of a delay at every \
                     start. When that path closes it cannot start."
                    .to_owned(),
            evidence,
            summary: fix,
            commands,
        },
        SrvState::TooFew { targets } => Draft {
            code: FindingCode::DnsSrvTooFew,
            severity: Severity::Error,
            title: format!("The SRV record names {targets} target, and cloudflared wants two"),
            detail: "cloudflared refuses to start with fewer than two regions.".to_owned(),
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
            title: "Neither the resolver nor DNS over TLS gives the SRV record".to_owned(),
            detail: "Without it cloudflared does not know the edge, and stops.".to_owned(),
            evidence,
            summary: format!("{fix} TCP 853 to 1.1.1.1 would do instead."),
            commands,
        },
    };
    Some(draft.about(&[]))
}

fn suspicious(seen: &Observations) -> Option<Finding> {
    let lookups: Vec<_> = seen
        .lookups
        .iter()
        .filter(|l| l.status == LookupStatus::Suspicious)
        .collect();
    lookups.first()?;
    let about_edge = |l: &&&Lookup| !catalog::OPTIONAL_HOSTS.contains(&l.name.as_str());
    let edge = lookups.iter().any(|l| about_edge(&l));
    Some(
        Draft {
            code: FindingCode::DnsSuspicious,
            severity: if edge { Severity::Error } else { Severity::Warning },
            title: "The resolver answers with addresses that cannot be Cloudflare's".to_owned(),
            detail: "A DNS filter (0.0.0.0, 127.0.0.1), a captive portal (private addresses) or a proxy \
                     with made-up answers (198.18.0.0/15) does that. cloudflared would connect there."
                .to_owned(),
            evidence: lookups.iter().map(|l| sentence(l)).collect(),
            summary: "Exempt argotunnel.com from the filter or the proxy.".to_owned(),
            commands: Vec::new(),
        }
        .about(&[]),
    )
}

fn is_bad(status: LookupStatus) -> bool {
    !status.is_final()
}

/// A resolver that fails where another one answers: cloudflared waits for it at every lookup.
fn resolver_failed(seen: &Observations) -> Option<Finding> {
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
    Some(
        Draft {
            code: FindingCode::DnsResolverFailed,
            severity: Severity::Warning,
            title: format!("Resolver {} gives no usable answer", servers.join(", ")),
            detail:
                "Another resolver answers, so cloudflared starts; where the first one is silent it \
                     waits 5 s at every lookup, and its own pre-checks report failures."
                    .to_owned(),
            evidence: failed.iter().map(|l| sentence(l)).collect(),
            summary: "Remove or mend the resolver in this host's configuration.".to_owned(),
            commands: Vec::new(),
        }
        .about(&[]),
    )
}

fn one_family(seen: &Observations, discovery: &Discovery) -> Option<Finding> {
    let only = |present: Family, absent: Family| {
        let halved = |host: &&EdgeHost| {
            host.resolves(present) && matches!(host.family(absent), Resolves::No(_))
        };
        let named = |host: &&EdgeHost| host.name.parse::<std::net::IpAddr>().is_err();
        let hosts: Vec<_> = discovery
            .hosts
            .iter()
            .filter(named)
            .filter(halved)
            .collect();
        (!hosts.is_empty()).then_some((hosts, present, absent))
    };
    let (hosts, present, absent) =
        only(Family::Ipv4, Family::Ipv6).or_else(|| only(Family::Ipv6, Family::Ipv4))?;
    let names: Vec<_> = hosts.iter().map(|host| host.name.as_str()).collect();
    let evidence = failed_lookups(seen, |l| {
        names.contains(&l.name.as_str()) && l.record_type == record_type(absent)
    });
    Some(
        Draft {
            code: FindingCode::DnsOneFamily,
            severity: Severity::Warning,
            title: format!("The resolver gives {present} addresses only"),
            detail: format!(
                "cloudflared uses {present}, and has no {absent} to fall back on. The {absent} rows \
                 show the documented addresses."
            ),
            evidence: evidence.collect(),
            summary: format!("Harmless where {absent} is not wanted; else let the resolver answer for it."),
            commands: resolver_commands(seen, &names, record_type(absent)),
        }
        .about(&[]),
    )
}

fn drift(seen: &Observations, discovery: &Discovery) -> Option<Finding> {
    let edge = |lookup: &Lookup| {
        lookup.record_type == RecordType::Srv
            || discovery.hosts.iter().any(|host| host.name == lookup.name)
    };
    let drifted: Vec<_> = seen
        .lookups
        .iter()
        .filter(|l| l.status == LookupStatus::Ok && edge(l) && !l.unexpected.is_empty())
        .collect();
    drifted.first()?;
    let evidence = drifted.iter().map(|lookup| {
        let answers: Vec<_> = lookup.unexpected.iter().map(ToString::to_string).collect();
        format!(
            "{} {} via {}: {}",
            lookup.name,
            lookup.record_type,
            lookup.via,
            answers.join(", ")
        )
    });
    Some(
        Draft {
            code: FindingCode::DnsDrift,
            severity: Severity::Info,
            title: "DNS answers with addresses that the documentation does not list".to_owned(),
            detail: "The live answer counts, and these addresses were probed. A firewall that allows the \
                     documented addresses only would block them."
                .to_owned(),
            evidence: evidence.collect(),
            summary: "Allow the addresses of the live answer as well.".to_owned(),
            commands: Vec::new(),
        }
        .about(&[]),
    )
}
