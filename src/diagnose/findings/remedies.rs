//! What to do about a finding on what stands between this host and the edge.

use crate::diagnose::{JudgedRow, causes};
use crate::model::{Cause, Family, FindingCode, Service};

pub(super) const fn asks_for_a_rule(code: FindingCode) -> bool {
    !matches!(
        code,
        FindingCode::CertificateTime
            | FindingCode::NoRoute
            | FindingCode::Mtu
            | FindingCode::Unexplained
    )
}

/// A sentence, and commands.
pub(super) fn remedy(
    code: FindingCode,
    group: &[&JudgedRow],
    rows: &[JudgedRow],
) -> (String, Vec<String>) {
    let (summary, commands): (&str, &[&str]) = match code {
        FindingCode::TcpDropped if refused_beside(group, rows) => (
            "This host's own firewall refuses UDP to the same destinations, so begin there, and then \
             look again. What has to be allowed:",
            &["nft list ruleset"],
        ),
        FindingCode::LocalFirewall => (
            "Allow it in this host's own firewall (OUTPUT); `nft list ruleset` or `iptables-save` shows \
             the rule.",
            &["nft list ruleset"],
        ),
        FindingCode::NoRoute => (
            "Add or mend the route; look for unreachable, prohibit and blackhole routes and for the \
             gateway.",
            &["ip route show table all", "ip -6 route show table all"],
        ),
        FindingCode::TlsIntercepted => (
            "Exempt the tunnel from TLS inspection: cloudflared trusts the system's authorities and \
             Cloudflare's own, or those of --cacert alone.",
            &[],
        ),
        FindingCode::CertificateTime if clock_is_right(rows) => (
            "Find what presents the certificate: by the same clock those of other destinations are \
             valid.",
            &["date -u"],
        ),
        FindingCode::CertificateTime => (
            "Set this host's clock (NTP, UDP 123); if it is right, something presents an outdated \
             certificate.",
            &["timedatectl status", "date -u"],
        ),
        FindingCode::NotTheEdge => (
            "Find the portal, proxy or server that answers in the edge's place, and let the flow pass \
             unchanged.",
            &[],
        ),
        FindingCode::SniFiltered => (
            "Allow the server names h2.cftunnel.com, quic.cftunnel.com and probe.cftunnel.com.",
            &[],
        ),
        FindingCode::Mtu => mtu(group, rows),
        FindingCode::LargeHelloDropped if group.iter().any(|row| causes::loses_segments(row)) => (
            "Let ICMP fragmentation-needed and ICMPv6 packet-too-big through, or clamp the MSS where \
             the path narrows; cloudflared's ClientHello cannot be made smaller.",
            &[
                "iptables -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu",
                "ip6tables -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu",
            ],
        ),
        FindingCode::Interrupted | FindingCode::QuicFiltered | FindingCode::LargeHelloDropped => (
            "Exempt the flow from application control, deep packet inspection and transparent proxies.",
            &[],
        ),
        _ => (
            "Ask for this rule (replies to established flows included):",
            &[],
        ),
    };
    (
        summary.to_owned(),
        commands.iter().map(|c| (*c).to_owned()).collect(),
    )
}

/// IPv6 alone failing is a path with the least MTU that IPv6 allows; both failing is a narrower one.
fn mtu(group: &[&JudgedRow], rows: &[JudgedRow]) -> (&'static str, &'static [&'static str]) {
    let ipv6_only = group.iter().all(|row| row.target.family == Family::Ipv6);
    let ipv4_passes = rows.iter().any(|row| {
        row.target.service == Service::Quic
            && row.target.family == Family::Ipv4
            && row.judgement.reachable() > 0
    });
    if ipv6_only && ipv4_passes {
        (
            "Let cloudflared use IPv4, where its packets have 1260 octets, or raise the MTU of the path: \
             over IPv6 they have 1300, more than the 1280 of WARP and of many VPNs.",
            &["cloudflared tunnel --edge-ip-version 4"],
        )
    } else {
        (
            "Raise the MTU of the path to 1300 octets or more (cloudflared's QUIC packets have 1260 over \
             IPv4 and 1300 over IPv6), or let cloudflared use http2.",
            &["cloudflared tunnel --protocol http2"],
        )
    }
}

/// Other certificates are valid by this host's clock.
fn clock_is_right(rows: &[JudgedRow]) -> bool {
    rows.iter().any(|row| row.judgement.reachable() > 0)
}

/// Whether this host's own firewall refuses UDP where TCP goes unanswered: a local filter drops a SYN
/// without an error.
fn refused_beside(group: &[&JudgedRow], rows: &[JudgedRow]) -> bool {
    let family = |row: &JudgedRow| {
        group
            .iter()
            .any(|own| own.target.family == row.target.family)
    };
    let mut beside = rows.iter().filter(|row| family(row));
    beside.any(|row| row.judgement.cause == Some(Cause::LocalFirewall))
}
