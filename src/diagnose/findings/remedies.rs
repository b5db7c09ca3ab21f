//! What to do about a finding on what stands between this host and the edge.

use super::Platform;
use crate::diagnose::{JudgedRow, causes, own_rules, words};
use crate::model::{Cause, Family, FindingCode, OwnFate, OwnRule, Service};

/// Whether the addresses follow, for whoever makes the rule; where the rule itself is given they stand
/// in it.
fn asks_for_a_rule(code: FindingCode, platform: Platform) -> bool {
    let given = code == FindingCode::LocalFirewall && platform == Platform::Windows;
    !given
        && !matches!(
            code,
            FindingCode::CertificateTime
                | FindingCode::NoRoute
                | FindingCode::Mtu
                | FindingCode::PostQuantumRefused
                | FindingCode::Unexplained
        )
}

/// A sentence, and commands with the flows that it announces.
pub(super) fn remedy(
    code: FindingCode,
    group: &[&JudgedRow],
    rows: &[JudgedRow],
    platform: Platform,
) -> (String, Vec<String>) {
    let flows = if asks_for_a_rule(code, platform) {
        words::tuples(group)
    } else {
        Vec::new()
    };
    let (summary, commands): (&str, Vec<String>) = match code {
        FindingCode::TcpDropped if !flows.is_empty() && refused_beside(group, rows) => (
            "This host's own firewall refuses UDP to the same destinations, so begin there, and then \
             look again. What has to be allowed:",
            platform.firewall_rules(),
        ),
        FindingCode::LocalFirewall if !own_rules(group).is_empty() => {
            let (summary, commands) = by_own_rule(&own_rules(group));
            return (summary, [commands, flows].concat());
        }
        FindingCode::LocalFirewall => local_firewall(group, platform),
        FindingCode::NoRoute => (
            platform.pick(
                "Add or fix the route; look for unreachable, prohibit and blackhole routes and for the \
                 gateway.",
                "Add or fix the route; look for the gateway, and for a VPN client that has taken the route \
                 away.",
            ),
            platform.routes(),
        ),
        FindingCode::TlsIntercepted => (
            "Exempt the tunnel from TLS inspection: cloudflared trusts the system's authorities and \
             Cloudflare's own, or with --cacert only those.",
            Vec::new(),
        ),
        FindingCode::CertificateTime if clock_is_right(rows) => (
            "Find what presents the certificate: by the same clock those of other destinations are \
             valid.",
            platform.time(),
        ),
        FindingCode::CertificateTime => (
            "Set this host's clock (NTP, UDP 123); if it is right, something presents an outdated \
             certificate.",
            platform.clock(),
        ),
        FindingCode::PostQuantumRefused => (
            "Start cloudflared without --post-quantum (TUNNEL_POST_QUANTUM). It then offers P-256 too, and \
             takes X25519MLKEM768 with everyone who has it.",
            vec![
                "cloudflared tunnel --post-quantum=false".to_owned(),
                "TUNNEL_POST_QUANTUM=false".to_owned(),
            ],
        ),
        FindingCode::NotTheEdge => (
            "Find the portal, proxy or server that answers in the edge's place, and let the flow pass \
             unchanged.",
            Vec::new(),
        ),
        FindingCode::SniFiltered => (
            "Allow the server names h2.cftunnel.com, quic.cftunnel.com and probe.cftunnel.com.",
            Vec::new(),
        ),
        FindingCode::Mtu => mtu(group, rows),
        FindingCode::LargeHelloDropped if group.iter().any(|row| causes::loses_segments(row)) => (
            "Let ICMP fragmentation-needed and ICMPv6 packet-too-big through, or clamp the MSS at the link \
             with the smaller MTU; cloudflared's ClientHello cannot be made smaller.",
            platform.segments(),
        ),
        FindingCode::Interrupted | FindingCode::QuicFiltered | FindingCode::LargeHelloDropped => (
            "Exempt the flow from application control, deep packet inspection and transparent proxies.",
            Vec::new(),
        ),
        FindingCode::UdpDropped | FindingCode::TcpDropped if !flows.is_empty() => (
            platform.pick(
                ASK,
                "Let this host's own firewall log what it drops (as administrator), check again, and read \
                 the log. If it has no such drop, ask for this rule (replies to established flows \
                 included):",
            ),
            [platform.try_connection(group), platform.firewall_log()].concat(),
        ),
        FindingCode::Unexplained => (
            "Look up the error itself, which the report holds under `probes`, and report it to the \
             maintainers of tunnelcheck (`--redact --output report.json`).",
            platform.try_connection(group),
        ),
        _ if flows.is_empty() => (
            "There is no rule to ask for, because such addresses are not the edge's own: begin with what \
             gives them.",
            Vec::new(),
        ),
        _ => (ASK, platform.try_connection(group)),
    };
    (summary.to_owned(), [commands, flows].concat())
}

const ASK: &str = "Ask for this rule (replies to established flows included):";

/// The rules of this host that close or redirect what is in a group, each once.
fn own_rules<'a>(group: &[&'a JudgedRow]) -> Vec<&'a OwnRule> {
    let mut rules: Vec<&OwnRule> = Vec::new();
    for flow in group.iter().flat_map(|row| own_rules::deciding(row)) {
        if let OwnFate::Closed { rule, .. } | OwnFate::Redirected { rule } = &flow.fate
            && !rules.contains(&rule)
        {
            rules.push(rule);
        }
    }
    rules
}

/// What this host's administrator changes, and how to look at it.
fn by_own_rule(rules: &[&OwnRule]) -> (String, Vec<String>) {
    const MOST: usize = 3;
    let named: Vec<_> = rules.iter().take(MOST).map(ToString::to_string).collect();
    let more = match rules.len().saturating_sub(MOST) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let summary = format!(
        "As this host's administrator, change or remove what closes it: {}{more}. What has to be allowed:",
        named.join("; ")
    );
    let mut commands: Vec<_> = rules.iter().map(|rule| shows(rule)).collect();
    commands.dedup();
    (summary, commands)
}

/// The command that shows a rule in its chain.
fn shows(rule: &OwnRule) -> String {
    let OwnRule {
        family,
        table,
        chain,
        text,
        ..
    } = rule;
    let plain = |name: &str| {
        name.chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
    };
    if !plain(table) || !plain(chain) {
        return "nft -a list ruleset".to_owned();
    }
    match (text.starts_with("-A "), family.as_str()) {
        (true, "ip6") => format!("ip6tables -t {table} -S {chain}"),
        (true, _) => format!("iptables -t {table} -S {chain}"),
        (false, _) => format!("nft -a list chain {family} {table} {chain}"),
    }
}

/// On Windows a rule that blocks outweighs every rule that allows.
fn local_firewall(group: &[&JudgedRow], platform: Platform) -> (&'static str, Vec<String>) {
    let summary = platform.pick(
        "Allow it in this host's own firewall (OUTPUT); `nft list ruleset` or `iptables-save` shows \
         the rule.",
        "Find the rule that blocks it in this host's own firewall, and disable it: a rule that blocks \
         outweighs every rule that allows. If a profile blocks outbound by default, allow it, as the \
         New-NetFirewallRule below does (as administrator).",
    );
    let rules = platform.firewall_rules();
    (summary, [rules, platform.allow_rules(group)].concat())
}

/// IPv6 alone failing is a path with the least MTU that IPv6 allows; both failing is a narrower one.
fn mtu(group: &[&JudgedRow], rows: &[JudgedRow]) -> (&'static str, Vec<String>) {
    let ipv6_only = group.iter().all(|row| row.target.family == Family::Ipv6);
    let ipv4_passes = rows.iter().any(|row| {
        row.target.service == Service::Quic
            && row.target.family == Family::Ipv4
            && row.verdict.reachable() > 0
    });
    if ipv6_only && ipv4_passes {
        (
            "Let cloudflared use IPv4, or raise the MTU of the path. cloudflared's packets have 1260 bytes over IPv4 \
             and 1300 over IPv6, and WARP and many VPNs pass only 1280.",
            vec!["cloudflared tunnel --edge-ip-version 4".to_owned()],
        )
    } else {
        (
            "Raise the MTU of the path to 1300 bytes or more, or let cloudflared use http2 \
             (TUNNEL_TRANSPORT_PROTOCOL=http2). cloudflared's QUIC packets have 1260 bytes over IPv4 and 1300 over \
             IPv6.",
            vec!["cloudflared tunnel --protocol http2".to_owned()],
        )
    }
}

/// Other certificates are valid by this host's clock.
fn clock_is_right(rows: &[JudgedRow]) -> bool {
    rows.iter().any(|row| row.verdict.reachable() > 0)
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
    beside.any(|row| row.verdict.cause == Some(Cause::LocalFirewall))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_announced_that_does_not_follow() {
        for platform in [Platform::Linux, Platform::Windows] {
            for code in FindingCode::ALL {
                let (summary, commands) = remedy(*code, &[], &[], platform);
                let announces = summary.ends_with(':');
                assert!(!announces || !commands.is_empty(), "{code}: {summary}");
            }
        }
    }
}
