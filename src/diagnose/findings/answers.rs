//! Findings about what the answers of name resolution say.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::dns::{failed_lookups, resolver_commands, sentence};
use super::{Draft, Platform};
use crate::catalog;
use crate::diagnose::dns::{Discovery, EdgeHost, Resolves};
use crate::model::{
    Attempt, Family, Finding, FindingCode, Lookup, LookupStatus, Observations, Profile, RecordType,
    Severity, Via,
};

pub(super) fn findings(seen: &Observations, discovery: &Discovery) -> Vec<Finding> {
    [
        suspicious(seen, discovery),
        one_family(seen, discovery),
        pinned(seen, discovery),
        drift(seen, discovery),
        partial(seen, discovery),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn suspicious(seen: &Observations, discovery: &Discovery) -> Option<Finding> {
    let lookups: Vec<_> = seen
        .lookups
        .iter()
        .filter(|l| l.status == LookupStatus::Suspicious)
        .collect();
    lookups.first()?;
    let edge = lookups.iter().any(|l| discovery.host(&l.name).is_some());
    let is_unused = |l: &&Lookup| discovery.unused.iter().any(|host| host.name == l.name);
    let unused = lookups.iter().any(is_unused);
    // An answer in which not every address leads to the edge still leads astray.
    let leads_there = lookups
        .iter()
        .filter(|l| discovery.host(&l.name).is_some())
        .flat_map(|l| l.addresses())
        .all(|address| {
            let there = |a: &Attempt| a.address == address && a.profile == Profile::Cloudflared;
            seen.attempts.iter().any(|a| there(a) && a.passed())
        });
    let (severity, detail) = match (edge, leads_there) {
        (true, true) => (
            Severity::Warning,
            "A handshake with the edge passes at such an address: something on the way leads there. \
             cloudflared goes through it, and stops when it stops; UDP may fare worse than TCP.",
        ),
        (true, false) => (
            Severity::Error,
            "cloudflared takes the answer, connects there and retries for as long as the answer \
             stays. Not everywhere there a handshake with the edge passes; where none does, the rows show \
             the documented addresses.",
        ),
        (false, _) if unused => (
            Severity::Warning,
            "cloudflared looks this target of the SRV record up and connects to the first two only, so the \
             tunnel does not depend on the answer.",
        ),
        (false, _) => (
            Severity::Warning,
            "Only optional hosts are affected; the tunnel itself is not.",
        ),
    };
    Some(
        Draft {
            code: FindingCode::DnsSuspicious,
            severity,
            title: "The resolver answers with addresses that cannot be Cloudflare's".to_owned(),
            detail: detail.to_owned(),
            evidence: lookups
                .iter()
                .map(|l| format!("{}{}", with_kinds(l), tried_there(l, seen)))
                .collect(),
            summary: "Exempt argotunnel.com from the filter or the proxy.".to_owned(),
            commands: Vec::new(),
        }
        .about(&[]),
    )
}

/// What became of the attempts at the addresses of an answer.
fn tried_there(lookup: &Lookup, seen: &Observations) -> String {
    let there = || {
        let attempts = seen.attempts.iter();
        attempts.filter(|a| lookup.addresses().any(|address| address == a.address))
    };
    match (there().count(), there().any(Attempt::passed)) {
        (0, _) => String::new(),
        (_, true) => "; a handshake passes there".to_owned(),
        (count, false) => format!("; {count} attempts there came to nothing"),
    }
}

/// The lookup, and who gives such answers.
fn with_kinds(lookup: &Lookup) -> String {
    let kinds: BTreeSet<_> = lookup.addresses().filter_map(catalog::made_up_by).collect();
    let kinds: Vec<_> = kinds.into_iter().collect();
    // Whose line of the hosts file it is, no address tells.
    let of = if lookup.via == Via::Hosts || kinds.is_empty() {
        String::new()
    } else {
        format!("; such answers come from {}", kinds.join(" or "))
    };
    format!("{}{of}", sentence(lookup))
}

fn one_family(seen: &Observations, discovery: &Discovery) -> Option<Finding> {
    let only = |present: Family, absent: Family| {
        let halved = |host: &&EdgeHost| {
            host.resolves(present) && matches!(host.family(absent), Resolves::No(_))
        };
        let named = |host: &&EdgeHost| host.name.parse::<IpAddr>().is_err();
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
    // With the options, or on a host, that know the absent family alone, the names are as good as gone.
    let useless = hosts
        .iter()
        .any(|host| !host.has_a_way(&seen.options, &seen.host));
    let (severity, detail) = if useless {
        (
            Severity::Error,
            format!(
                "These options and this host leave cloudflared with {absent} only, so it has no address of \
                 these names to connect to. The {absent} rows show the documented addresses."
            ),
        )
    } else {
        (
            Severity::Warning,
            format!(
                "cloudflared uses {present}, and has no {absent} to fall back on. The {absent} rows show \
                 the documented addresses."
            ),
        )
    };
    let names: Vec<_> = hosts.iter().map(|host| host.name.as_str()).collect();
    let evidence = failed_lookups(seen, |l| {
        names.contains(&l.name.as_str()) && l.record_type == RecordType::of(absent)
    });
    Some(
        Draft {
            code: FindingCode::DnsOneFamily,
            severity,
            title: format!("The resolver gives {present} addresses only"),
            detail,
            evidence,
            summary: format!(
                "Harmless where {absent} is not wanted; else let the resolver answer for it."
            ),
            commands: resolver_commands(seen, &names, RecordType::of(absent)),
        }
        .about(&[]),
    )
}

/// The hosts file gives the edge addresses that are not documented, and DNS is not asked.
fn pinned(seen: &Observations, discovery: &Discovery) -> Option<Finding> {
    let edge = |l: &&Lookup| discovery.host(&l.name).is_some();
    let pinned: Vec<_> = seen
        .lookups
        .iter()
        .filter(|l| l.via == Via::Hosts && !l.unexpected.is_empty())
        .filter(edge)
        .collect();
    pinned.first()?;
    let reached = pinned.iter().flat_map(|l| l.addresses()).any(|address| {
        let passed = |a: &Attempt| a.address == address && a.passed();
        seen.attempts.iter().any(passed)
    });
    Some(
        Draft {
            code: FindingCode::DnsSuspicious,
            severity: if reached {
                Severity::Warning
            } else {
                Severity::Error
            },
            title: "This host's hosts file pins the edge to addresses of its own".to_owned(),
            detail:
                "cloudflared connects there and asks no resolver; what the resolvers know does not \
                     matter."
                    .to_owned(),
            evidence: pinned
                .iter()
                .map(|l| format!("{}{}", with_kinds(l), tried_there(l, seen)))
                .collect(),
            summary: "Remove the lines from the hosts file.".to_owned(),
            commands: Platform::of(&seen.host).hosts_lines(),
        }
        .about(&[]),
    )
}

fn drift(seen: &Observations, discovery: &Discovery) -> Option<Finding> {
    let edge = |lookup: &Lookup| {
        lookup.record_type == RecordType::Srv || discovery.host(&lookup.name).is_some()
    };
    let drifted: Vec<_> = seen
        .lookups
        .iter()
        .filter(|l| l.status == LookupStatus::Ok && edge(l) && !l.unexpected.is_empty())
        .filter(|l| l.via != Via::Hosts)
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

/// All that was answered is documented, and some of what is documented was not answered.
fn partial(seen: &Observations, discovery: &Discovery) -> Option<Finding> {
    let edge = |lookup: &&Lookup| {
        lookup.status == LookupStatus::Ok && discovery.host(&lookup.name).is_some()
    };
    let evidence: Vec<_> = seen.lookups.iter().filter(edge).filter_map(short).collect();
    evidence.first()?;
    Some(
        Draft {
            code: FindingCode::DnsDrift,
            severity: Severity::Info,
            title: "DNS answers with a part of the documented addresses".to_owned(),
            detail:
                "cloudflared tries only these, and so did this check. A hosts file, split DNS or a \
                     filter shortens answers, and so does a record that has changed."
                    .to_owned(),
            evidence,
            summary: "If this is intended, do nothing. Otherwise compare with a public resolver."
                .to_owned(),
            commands: vec![Platform::of(&seen.host).ask(
                Some(catalog::DOT_SERVER.ip()),
                "region1.v2.argotunnel.com",
                RecordType::A,
            )],
        }
        .about(&[]),
    )
}

fn short(lookup: &Lookup) -> Option<String> {
    let answers: BTreeSet<_> = lookup.addresses().collect();
    let family = Family::of(*answers.first()?);
    let documented = catalog::documented(&lookup.name, family).len();
    (lookup.unexpected.is_empty() && answers.len() < documented).then(|| {
        format!(
            "{} {} via {}: {} of {documented} documented addresses",
            lookup.name,
            lookup.record_type,
            lookup.via,
            answers.len()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_range_has_its_usual_origin() {
        let word = |text: &str| catalog::made_up_by(text.parse().unwrap()).unwrap_or_default();
        for (address, origin) in [
            ("0.0.0.0", "DNS filter"),
            ("::", "DNS filter"),
            ("127.0.0.1", "DNS filter"),
            ("::ffff:127.0.0.1", "DNS filter"),
            ("10.1.2.3", "captive portal"),
            ("192.168.1.1", "captive portal"),
            ("fd00::1", "captive portal"),
            ("198.18.0.7", "fake-IP"),
            ("198.19.255.1", "fake-IP"),
            ("100.100.100.100", "overlay"),
        ] {
            assert!(word(address).contains(origin), "{address}");
        }
        assert_eq!(word("198.20.0.1"), "");
        assert_eq!(word("240.0.0.1"), "");
    }
}
