//! Findings about a family that leads nowhere beside one that works, where cloudflared chooses
//! between the two.

use super::{Draft, Platform};
use crate::diagnose::dns::Discovery;
use crate::diagnose::{Diagnosis, JudgedRow, words};
use crate::model::{
    Cause, Family, Finding, FindingCode, Forecast, IpVersionChoice, Observations, Service,
    Severity, Source, Status,
};

pub(super) fn findings(diagnosis: Diagnosis<'_>) -> Vec<Finding> {
    let Diagnosis {
        seen,
        discovery,
        rows,
        forecast,
        ..
    } = diagnosis;
    let chooses = seen.options.edge_ip_version == IpVersionChoice::Auto;
    if !chooses || !seen.options.edge.is_empty() {
        return Vec::new();
    }
    let found = [
        ipv6_broken(seen, discovery, rows, forecast),
        ipv4_broken(seen, discovery, rows),
    ];
    found.into_iter().flatten().collect()
}

/// The edge's rows of a family, all blocked, where the other family reaches the edge at addresses that
/// cloudflared knows of.
fn dead_beside_living(rows: &[JudgedRow], dead: Family) -> Option<Vec<&JudgedRow>> {
    let edge = || {
        rows.iter()
            .filter(|row| row.target.service != Service::Https)
            .filter(|row| !matches!(row.status(), Status::Skipped | Status::Unavailable))
    };
    let lost: Vec<_> = edge().filter(|row| row.target.family == dead).collect();
    let living = edge()
        .filter(|row| row.target.family != dead && row.target.source != Source::Documented)
        .any(|row| row.status() == Status::Reachable);
    let all_blocked = lost.iter().all(|row| is_dead(row));
    (!lost.is_empty() && living && all_blocked).then_some(lost)
}

/// Nothing comes through, as opposed to nothing that is too large, or badly named.
fn is_dead(row: &JudgedRow) -> bool {
    use Cause::{Dropped, LocalFirewall, NoRoute, Rejected, Reset};
    let whatever = [Dropped, Rejected, Reset, LocalFirewall, NoRoute];
    let cause = row.verdict.cause;
    row.status() == Status::Blocked && cause.is_some_and(|cause| whatever.contains(&cause))
}

/// The family that cloudflared takes first in some region.
fn first_choice(seen: &Observations, discovery: &Discovery, family: Family) -> bool {
    let hosts = discovery.hosts.iter();
    let mut first = hosts.map(|host| host.families(&seen.options, &seen.host).first().copied());
    first.any(|first| first == Some(family))
}

/// Whether other ports answer over the family, which tells a filter from a family that is dead.
fn elsewhere(rows: &[JudgedRow], family: Family) -> String {
    let other = || {
        rows.iter()
            .filter(|row| row.target.service == Service::Https && row.target.family == family)
    };
    if other().any(|row| row.status() == Status::Reachable) {
        format!("TCP 443 answers over {family}: only the edge or its port is blocked there")
    } else if other().any(|row| row.attempts.iter().any(|a| a.contact_ms.is_some())) {
        format!("TCP 443 connects over {family}, and no handshake completes there")
    } else if other().any(|row| row.status() == Status::Blocked) {
        format!("TCP 443 does not answer over {family} either: the family leads nowhere here")
    } else {
        format!("nothing else was tried over {family}")
    }
}

fn ipv6_broken(
    seen: &Observations,
    discovery: &Discovery,
    rows: &[JudgedRow],
    forecast: Option<&Forecast>,
) -> Option<Finding> {
    let lost = dead_beside_living(rows, Family::Ipv6)?;
    // Without IPv6 addresses from DNS, or with an IPv6 source that RFC 6724 sorts behind IPv4,
    // cloudflared never tries IPv6.
    if !first_choice(seen, discovery, Family::Ipv6) {
        return None;
    }
    Some(
        Draft {
            code: FindingCode::Ipv6Broken,
            severity: Severity::Warning,
            title: "The edge answers over IPv4 only, and cloudflared begins with IPv6".to_owned(),
            detail: format!(
                "With --edge-ip-version auto, cloudflared begins with the family that RFC 6724 sorts first. \
                 On this host that is IPv6. A dial that is not answered costs 5 s over QUIC and 15 s over \
                 HTTP/2; then it changes to IPv4 in that region.{}",
                late(forecast)
            ),
            evidence: vec![
                format!("{} rows over IPv6 are blocked, IPv4 reaches the edge", lost.len()),
                elsewhere(rows, Family::Ipv6),
            ],
            summary: "Let cloudflared use IPv4 (TUNNEL_EDGE_IP_VERSION=4) until IPv6 works, or remove the \
                      IPv6 address and route from this host."
                .to_owned(),
            commands: vec![
                "cloudflared tunnel --edge-ip-version 4".to_owned(),
                Platform::of(&seen.host).route_to("2606:4700:a0::1"),
            ],
        }
        .about(&lost),
    )
}

/// When the first connection comes, if IPv6 makes it late.
fn late(forecast: Option<&Forecast>) -> String {
    let first = forecast.and_then(|forecast| forecast.first_connection_s);
    first.map_or_else(String::new, |first| {
        format!(
            " The first connection comes {} after its start.",
            words::range(first)
        )
    })
}

fn ipv4_broken(seen: &Observations, discovery: &Discovery, rows: &[JudgedRow]) -> Option<Finding> {
    let lost = dead_beside_living(rows, Family::Ipv4)?;
    if !first_choice(seen, discovery, Family::Ipv4) {
        return None;
    }
    Some(
        Draft {
            code: FindingCode::Ipv4Broken,
            severity: Severity::Error,
            title: "The edge answers over IPv6 only, and cloudflared chooses IPv4".to_owned(),
            detail: "With --edge-ip-version auto, cloudflared begins with the family that RFC 6724 sorts \
                     first. On this host that is IPv4, and from IPv4 it never changes to IPv6. So it gets no \
                     connection, although IPv6 works."
                .to_owned(),
            evidence: vec![
                format!("{} rows over IPv4 are blocked, IPv6 reaches the edge", lost.len()),
                elsewhere(rows, Family::Ipv4),
            ],
            summary: "Let cloudflared use IPv6 (TUNNEL_EDGE_IP_VERSION=6), or fix IPv4.".to_owned(),
            commands: vec!["cloudflared tunnel --edge-ip-version 6".to_owned()],
        }
        .about(&lost),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::diagnose;
    use crate::model::{FamilyState, Report};

    /// A recorded network in which nothing comes back over IPv6.
    fn recorded() -> Report {
        let text = include_str!("../../../tests/replay/cases/ipv6-black-hole.json");
        serde_json::from_str(text).unwrap()
    }

    fn code_with(change: impl Fn(&mut Observations)) -> Option<FindingCode> {
        let mut seen = recorded().into_observations();
        change(&mut seen);
        let codes = [FindingCode::Ipv6Broken, FindingCode::Ipv4Broken];
        let report = diagnose(seen);
        let mut found = report.findings.iter().map(|finding| finding.code);
        found.find(|code| codes.contains(code))
    }

    #[test]
    fn broken_ipv6_matters_where_cloudflared_may_choose_it() {
        assert_eq!(code_with(|_| {}), Some(FindingCode::Ipv6Broken));
        let asked = |seen: &mut Observations| seen.options.edge_ip_version = IpVersionChoice::V4;
        assert_eq!(code_with(asked), None);
        let teredo = |seen: &mut Observations| {
            seen.host.ipv6 = FamilyState::Available {
                source: Some("2001:0:1::7".parse().unwrap()),
            };
        };
        assert_eq!(code_with(teredo), None);
    }

    #[test]
    fn broken_ipv4_matters_where_ipv6_sorts_behind_it() {
        let swapped = |source: &'static str| {
            move |seen: &mut Observations| {
                seen.host.ipv6 = FamilyState::Available {
                    source: Some(source.parse().unwrap()),
                };
                swap_families(seen);
            }
        };
        assert_eq!(code_with(swapped("2001:db8::7")), None);
        assert_eq!(
            code_with(swapped("2002:c000:204::7")),
            Some(FindingCode::Ipv4Broken)
        );
    }

    /// Gives every attempt at an edge of one family the address of the other, region by region.
    fn swap_families(seen: &mut Observations) {
        let hosts = crate::catalog::usual_targets(None);
        let of = |family| {
            let addresses = hosts
                .iter()
                .flat_map(move |host| crate::catalog::documented(host, family));
            addresses.collect::<Vec<_>>()
        };
        let (v4, v6) = (of(Family::Ipv4), of(Family::Ipv6));
        for attempt in &mut seen.attempts {
            let at = |list: &[std::net::IpAddr]| list.iter().position(|a| *a == attempt.address);
            if let Some(index) = at(&v4) {
                attempt.address = v6[index];
            } else if let Some(index) = at(&v6) {
                attempt.address = v4[index];
            }
        }
    }
}
