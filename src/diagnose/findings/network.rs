//! Findings about what stands between this host and the edge, one for each kind of it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Draft, Platform, remedies};
use crate::diagnose::verdict::Conclusion;
use crate::diagnose::{Diagnosis, JudgedRow, causes, experiment_words, own_rules, words};
use crate::model::{
    Attempt, Cause, DistrustKind, Evidence, Finding, FindingCode, Forecast, Outcome, Requirement,
    Service, Severity, Status, Transport, Verdict,
};

pub(super) fn findings(diagnosis: Diagnosis<'_>) -> Vec<Finding> {
    let Diagnosis { seen, rows, .. } = diagnosis;
    let mut groups = BTreeMap::<FindingCode, Vec<&JudgedRow>>::new();
    let required = |row: &&JudgedRow| row.target.requirement == Requirement::Required;
    for row in rows.iter().filter(required).filter(|row| row.is_blocked()) {
        if let Some(cause) = row.verdict.cause {
            let transport = row.target.service.transport();
            groups
                .entry(code(cause, transport, row))
                .or_default()
                .push(row);
        }
    }
    let blocked = groups.into_iter().map(|(code, group)| {
        let mut finding = blocked_finding(code, &group, diagnosis);
        if code == FindingCode::CertificateTime {
            let clock = format!("this host's clock says {}", seen.started_at);
            finding.evidence.push(Evidence(clock));
        }
        finding
    });
    let mut blocked: Vec<_> = blocked.collect();
    own_rules::say_why_not(&mut blocked, seen.own_rules.as_ref());
    blocked
}

/// The finding that stands for a cause.
fn code(cause: Cause, transport: Transport, row: &JudgedRow) -> FindingCode {
    let by_clock = |kind| matches!(kind, DistrustKind::Expired | DistrustKind::NotYetValid);
    match (cause, transport) {
        (Cause::Dropped, Transport::Udp) => FindingCode::UdpDropped,
        (Cause::Dropped, Transport::Tcp) => FindingCode::TcpDropped,
        (Cause::Rejected, Transport::Udp) => FindingCode::UdpRejected,
        (Cause::Rejected, Transport::Tcp) => FindingCode::TcpRejected,
        (Cause::Reset, _) => FindingCode::TcpReset,
        (Cause::LocalFirewall, _) => FindingCode::LocalFirewall,
        (Cause::NoRoute, _) => FindingCode::NoRoute,
        (Cause::Interrupted, _) => FindingCode::Interrupted,
        (Cause::SniFiltered, _) => FindingCode::SniFiltered,
        (Cause::LargeHelloDropped, _) => FindingCode::LargeHelloDropped,
        (Cause::TlsIntercepted, _)
            if causes::chains(row).iter().all(|chain| by_clock(chain.kind)) =>
        {
            FindingCode::CertificateTime
        }
        (Cause::TlsIntercepted, _) => FindingCode::TlsIntercepted,
        (Cause::NotTheEdge, _) => FindingCode::NotTheEdge,
        (Cause::QuicFiltered, _) => FindingCode::QuicFiltered,
        (Cause::Mtu, _) => FindingCode::Mtu,
        (Cause::Unknown, _) if causes::refuses_post_quantum(row) => FindingCode::PostQuantumRefused,
        (Cause::Dns | Cause::Unknown, _) => FindingCode::Unexplained,
    }
}

fn blocked_finding(code: FindingCode, group: &[&JudgedRow], diagnosis: Diagnosis<'_>) -> Finding {
    let Diagnosis {
        seen,
        rows,
        conclusion,
        forecast,
        ..
    } = diagnosis;
    let platform = Platform::of(&seen.host);
    let (summary, commands) = remedies::remedy(code, group, rows, platform);
    let summary = format!("{}{summary}", workaround(group, conclusion));
    Draft {
        code,
        severity: Severity::Error,
        title: format!(
            "{} {}",
            title(code, &flow(group), transports(group).len() > 1),
            extent(group, rows)
        )
        .trim()
        .to_owned(),
        detail: consequence(group, conclusion, forecast),
        evidence: evidence(group, rows, platform),
        summary,
        commands,
    }
    .about(group)
}

/// The transports and the port of a group, as `UDP 7844`.
fn flow(group: &[&JudgedRow]) -> String {
    let port = group.first().map_or(0, |row| row.target.port);
    let transports: Vec<_> = transports(group).iter().map(ToString::to_string).collect();
    format!("{} {port}", transports.join(" and "))
}

fn transports(group: &[&JudgedRow]) -> BTreeSet<Transport> {
    group
        .iter()
        .map(|row| row.target.service.transport())
        .collect()
}

fn title(code: FindingCode, flow: &str, plural: bool) -> String {
    let is = if plural { "are" } else { "is" };
    let s = if plural { "" } else { "s" };
    let what = match code {
        FindingCode::UdpDropped | FindingCode::TcpDropped => {
            format!("{is} dropped in silence")
        }
        FindingCode::UdpRejected | FindingCode::TcpRejected => {
            format!("{is} rejected with an ICMP error")
        }
        FindingCode::TcpReset => format!("{is} answered with a reset"),
        FindingCode::LocalFirewall => format!("{is} refused by this host's own firewall"),
        FindingCode::NoRoute if plural => "have no route on this host".to_owned(),
        FindingCode::NoRoute => "has no route on this host".to_owned(),
        FindingCode::Interrupted => {
            format!("connect{s}, and {is} cut during the handshake")
        }
        FindingCode::SniFiltered => format!("{is} filtered by server name"),
        FindingCode::LargeHelloDropped => {
            format!("lose{s} a ClientHello as large as cloudflared's")
        }
        FindingCode::PostQuantumRefused => {
            format!("refuse{s} a key exchange that is post-quantum only")
        }
        FindingCode::TlsIntercepted => {
            format!("{is} intercepted: the certificate is not one that cloudflared trusts")
        }
        FindingCode::CertificateTime => {
            format!("present{s} a certificate outside its validity by this host's clock")
        }
        FindingCode::NotTheEdge => format!("{is} answered by something else than the edge"),
        FindingCode::QuicFiltered => format!("let{s} packets through, but no QUIC handshake"),
        FindingCode::Mtu => format!("lose{s} datagrams of cloudflared's size"),
        _ => format!("fail{s} for a reason without a name"),
    };
    format!("{flow} {what}")
}

/// Which part of the transport is meant, when it is not all of it.
fn extent(group: &[&JudgedRow], rows: &[JudgedRow]) -> String {
    let transports = transports(group);
    let kin: Vec<_> = rows
        .iter()
        .filter(|row| row.target.requirement == Requirement::Required)
        .filter(|row| transports.contains(&row.target.service.transport()))
        .filter(|row| !is_out_of_play(row.status()))
        .collect();
    if kin.len() == group.len() && group.iter().all(|row| row.status() == Status::Blocked) {
        return String::new();
    }
    let part = |row: &&JudgedRow| {
        let region = row
            .target
            .region
            .clone()
            .unwrap_or_else(|| row.target.host.clone());
        let count = row.verdict.blocked().count();
        match row.status() {
            Status::Partial => {
                format!(
                    "{region} {} ({count} of {})",
                    row.target.family,
                    row.target.addresses.len()
                )
            }
            _ => format!("{region} {}", row.target.family),
        }
    };
    format!(
        "({})",
        group.iter().map(part).collect::<Vec<_>>().join(", ")
    )
}

const fn is_out_of_play(status: Status) -> bool {
    matches!(status, Status::Unavailable | Status::Skipped)
}

fn quic_is_hurt(conclusion: &Conclusion) -> bool {
    conclusion.quic.status != Verdict::Ready
}

/// What it means for cloudflared, as it was measured (`docs/cloudflared.md`).
fn consequence(
    group: &[&JudgedRow],
    conclusion: &Conclusion,
    forecast: Option<&Forecast>,
) -> String {
    let quic_dead = conclusion.quic.status == Verdict::Blocked;
    let http2_dead = conclusion.http2.status == Verdict::Blocked;
    let transports = transports(group);
    let only = |transport| transports.len() == 1 && transports.contains(&transport);
    let text = match (conclusion.quic.usable, conclusion.http2.usable) {
        (false, false) if conclusion.verdict == Verdict::Blocked => {
            "cloudflared cannot establish a tunnel with these options. A tunnel that is already up may \
             live on its old flows: cloudflared notices nothing until it has to reconnect."
                .to_owned()
        }
        (false, true) if quic_dead && only(Transport::Udp) => falls_back_late(group, forecast),
        (true, false) if http2_dead && only(Transport::Tcp) => {
            "cloudflared connects over QUIC and does not notice. If QUIC fails at a start, there is no \
             fallback. A process that was connected over QUIC never falls back at all."
                .to_owned()
        }
        (true, _) if only(Transport::Tcp) && !quic_is_hurt(conclusion) => {
            "cloudflared connects over QUIC and does not notice. Its fallback, HTTP/2, has fewer paths \
             and may need several dials of up to 15 s each."
                .to_owned()
        }
        _ if group.iter().all(|row| row.status() == Status::Partial) => {
            "cloudflared takes addresses by chance. A dial to one that is blocked costs 5 s over QUIC \
             and up to 15 s over HTTP/2, then it tries another."
                .to_owned()
        }
        _ => "cloudflared uses the paths that are left. Starts and reconnects are slower, and there is \
              less redundancy."
            .to_owned(),
    };
    let excluded = [
        (conclusion.quic, Service::Quic),
        (conclusion.http2, Service::Http2),
    ]
    .into_iter()
    .find(|(state, _)| state.status == Verdict::Skipped);
    match excluded {
        Some((_, service)) if conclusion.verdict == Verdict::Blocked => {
            format!(
                "{text} The options exclude {service}, so it was not checked; `--protocol auto` checks both."
            )
        }
        _ => text,
    }
}

/// What works today: HTTP/2 from the start, where QUIC is what is blocked.
fn workaround(group: &[&JudgedRow], conclusion: &Conclusion) -> &'static str {
    let only_udp = transports(group).into_iter().eq([Transport::Udp]);
    let helps = conclusion.quic.status == Verdict::Blocked && conclusion.http2.usable && only_udp;
    if helps {
        "For now, start cloudflared with --protocol http2 (TUNNEL_TRANSPORT_PROTOCOL=http2). "
    } else {
        ""
    }
}

/// QUIC fails and HTTP/2 works: the fallback comes, but late.
fn falls_back_late(group: &[&JudgedRow], forecast: Option<&Forecast>) -> String {
    let refused_by_icmp = |row: &&&JudgedRow| row.verdict.cause == Some(Cause::Rejected);
    let icmp = if group.iter().any(|row| refused_by_icmp(&row)) {
        " ICMP errors do not make it faster."
    } else {
        ""
    };
    let late = forecast.and_then(|f| f.first_connection_s).map_or_else(
        || "cloudflared dials QUIC nine times before it falls back to HTTP/2.".to_owned(),
        |first| {
            format!(
                "cloudflared dials QUIC nine times, with waits that grow, before it falls back to HTTP/2: \
                 {} after its start.",
                words::range(first)
            )
        },
    );
    format!(
        "{late}{icmp} A process that was once connected over QUIC never falls back. Over HTTP/2, UDP and \
         ICMP through the tunnel do not work, and a dead connection goes unnoticed for 136 to 151 s."
    )
}

/// What was seen: rows of which the same can be told share a line.
fn evidence(group: &[&JudgedRow], rows: &[JudgedRow], platform: Platform) -> Vec<String> {
    let mut alike: Vec<(String, Vec<&JudgedRow>)> = Vec::new();
    for row in group {
        let cause = row
            .verdict
            .cause
            .map_or_else(String::new, |c| causes::detail(c, row, platform));
        match alike.iter_mut().find(|(known, _)| *known == cause) {
            Some((_, rows)) => rows.push(row),
            None => alike.push((cause, vec![row])),
        }
    }
    let mut lines: Vec<_> = alike
        .iter()
        .map(|(cause, rows)| format!("{}: {cause}", tried(rows)))
        .collect();
    lines.extend(experiment_words::experiment_results(group));
    let other = rows.iter().find(|row| {
        group.iter().any(|blocked| {
            blocked.target.host == row.target.host
                && blocked.target.family == row.target.family
                && blocked.target.service != row.target.service
        }) && row.status() == Status::Reachable
    });
    if let Some((row, rtt)) = other.and_then(|row| Some((row, round_trip(row)?))) {
        lines.push(format!(
            "{} to the same addresses of {} answers in {rtt}",
            row.target.service.transport(),
            row.target.host
        ));
    }
    lines
}

fn round_trip(row: &JudgedRow) -> Option<crate::model::Millis> {
    crate::diagnose::row::round_trips(&row.attempts.iter().collect::<Vec<_>>())
        .map(|rtt| rtt.median)
}

/// Which rows were tried how often, for how long, and how many of their addresses are blocked.
fn tried(rows: &[&JudgedRow]) -> String {
    let plain = |a: &&Attempt| !a.profile.is_experiment();
    let attempts = || rows.iter().flat_map(|row| &row.attempts).filter(plain);
    let ran = attempts()
        .filter(|a| !matches!(a.outcome, Outcome::Abandoned))
        .count();
    let end = attempts().map(Attempt::ended).max().unwrap_or_default();
    let start = attempts().map(Attempt::started).min().unwrap_or(end);
    let sent = match attempts().filter_map(|a| a.sent).sum::<u32>() {
        0 => String::new(),
        sent => format!(", {sent} datagrams"),
    };
    let blocked: usize = rows.iter().map(|row| row.verdict.blocked().count()).sum();
    let total: usize = rows.iter().map(|row| row.target.addresses.len()).sum();
    format!(
        "{}: {blocked} of {total} addresses blocked, {ran} attempts{sent} in {:.1} s",
        named(rows),
        end.since(start).as_secs_f64(),
    )
}

/// `region1.v2.argotunnel.com (UDP IPv4, UDP IPv6), …`.
fn named(rows: &[&JudgedRow]) -> String {
    let mut hosts = BTreeMap::<&str, Vec<String>>::new();
    for row in rows {
        let target = &row.target;
        let kind = format!("{} {}", target.service.transport(), target.family);
        hosts.entry(&target.host).or_default().push(kind);
    }
    let hosts: Vec<_> = hosts
        .iter()
        .map(|(host, kinds)| format!("{host} ({})", kinds.join(", ")))
        .collect();
    hosts.join(", ")
}
