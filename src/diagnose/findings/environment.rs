//! Findings about what surrounds cloudflared on this host: proxies, a local stub, socket buffers.

use std::net::{IpAddr, SocketAddr};

use super::{Draft, Platform};
use crate::catalog;
use crate::diagnose::JudgedRow;
use crate::diagnose::verdict::Conclusion;
use crate::model::{
    Finding, FindingCode, LookupStatus, Observations, Service, Severity, Status, UdpBuffers,
    Verdict,
};

pub(super) fn findings(
    seen: &Observations,
    rows: &[JudgedRow],
    conclusion: &Conclusion,
) -> Vec<Finding> {
    [
        local_stub(seen),
        proxy_ignored(seen, rows),
        udp_buffers(seen, conclusion),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A proxy is no way out for the tunnel; where everything else is closed, that is the point.
fn proxy_ignored(seen: &Observations, rows: &[JudgedRow]) -> Option<Finding> {
    let proxies = &seen.host.proxies;
    proxies.first()?;
    let tried: Vec<_> = rows
        .iter()
        .filter(|row| row.target.service != Service::Https)
        .filter(|row| !matches!(row.status(), Status::Skipped | Status::Unavailable))
        .collect();
    let closed = !tried.is_empty() && tried.iter().all(|row| row.status() == Status::Blocked);
    let (severity, title, detail, summary) = if closed {
        (
            Severity::Warning,
            "A proxy is configured and nothing gets out directly: the tunnel cannot use the proxy",
            "cloudflared ignores the proxy for the tunnel: it needs TCP 7844 or UDP 7844 directly. If \
             the proxy is the only way out of this network, no tunnel is possible until that changes.",
            "Ask for port 7844 directly; a rule in the proxy does not help.",
        )
    } else {
        (
            Severity::Info,
            "A proxy is configured, which cloudflared ignores for the tunnel",
            "The tunnel connects directly to port 7844 whatever these variables say. cloudflared's \
             updater honours HTTPS_PROXY, so updates go through the proxy.",
            "The tunnel needs no action.",
        )
    };
    let draft = Draft {
        code: FindingCode::ProxyIgnored,
        severity,
        title: title.to_owned(),
        detail: detail.to_owned(),
        evidence: proxies.iter().map(ToString::to_string).collect(),
        summary: summary.to_owned(),
        commands: Vec::new(),
    };
    Some(draft.about(if closed { &tried } else { &[] }))
}

/// What such a stub says is all that is seen of DNS.
fn local_stub(seen: &Observations) -> Option<Finding> {
    let servers: Vec<_> = seen.resolvers.iter().map(SocketAddr::ip).collect();
    let local = !servers.is_empty() && servers.iter().all(IpAddr::is_loopback);
    if !local || !seen.options.resolver.is_empty() {
        return None;
    }
    let named: Vec<_> = servers.iter().map(ToString::to_string).collect();
    let silent = |status| matches!(status, LookupStatus::Unreachable | LookupStatus::TimedOut);
    let mut asked = seen
        .lookups
        .iter()
        .filter(|l| matches!(l.via, crate::model::Via::Resolver(_)))
        .peekable();
    let dead = asked.peek().is_some() && asked.all(|lookup| silent(lookup.status));
    let platform = Platform::of(&seen.host);
    let (title, detail) = if dead {
        (
            "The only resolver is this host itself, and it does not answer",
            platform.pick(
                "cloudflared asks it and stops when it does not answer. Either the stub \
                 (systemd-resolved, dnsmasq, unbound, …) is not running, or resolv.conf names no \
                 resolver: cloudflared then asks this host.",
                "cloudflared asks it and stops when it does not answer. Either the program that should \
                 listen there is not running, or no adapter has a resolver.",
            ),
        )
    } else {
        (
            "The resolver is a stub on this host; the resolvers behind it are not seen",
            "cloudflared asks the stub as well, so this report holds for it. But failures and delays of \
             DNS may come from the resolvers behind the stub, which this report cannot name.",
        )
    };
    Some(
        Draft {
            code: FindingCode::DnsLocalStub,
            severity: Severity::Info,
            title: title.to_owned(),
            detail: detail.to_owned(),
            evidence: vec![format!("the configured resolvers: {}", named.join(", "))],
            summary: "Look at the resolvers behind the stub where DNS fails.".to_owned(),
            commands: stub_commands(&servers, platform),
        }
        .about(&[]),
    )
}

fn stub_commands(servers: &[IpAddr], platform: Platform) -> Vec<String> {
    /// Where systemd-resolved listens (systemd-resolved.service(8)).
    const SYSTEMD: [&str; 2] = ["127.0.0.53", "127.0.0.54"];
    let is_systemd = |server: &IpAddr| SYSTEMD.contains(&server.to_string().as_str());
    platform.stub(servers.iter().any(is_systemd))
}

/// What cloudflared's log warns of, and is often taken for the cause of a failure.
fn udp_buffers(seen: &Observations, conclusion: &Conclusion) -> Option<Finding> {
    let UdpBuffers {
        receive_max,
        send_max,
    } = seen.host.udp_buffers?;
    let small = receive_max.min(send_max) < catalog::QUIC_BUFFER_LIMIT;
    if !small || conclusion.quic.status == Verdict::Skipped {
        return None;
    }
    Some(
        Draft {
            code: FindingCode::UdpBuffers,
            severity: Severity::Info,
            title: "The kernel's UDP buffers are smaller than cloudflared's QUIC library wants"
                .to_owned(),
            detail: "cloudflared logs \"failed to sufficiently increase receive buffer size\" and goes \
                     on. This costs throughput under load; it is not the cause of a connection that \
                     fails."
                .to_owned(),
            evidence: vec![format!(
                "net.core.rmem_max is {} KiB and net.core.wmem_max {} KiB; {} KiB is enough",
                receive_max / 1024,
                send_max / 1024,
                catalog::QUIC_BUFFER_LIMIT / 1024
            )],
            summary: "Raise them if the tunnel carries much, and to silence the warning.".to_owned(),
            commands: ["rmem_max", "wmem_max"]
                .map(|name| format!("sysctl -w net.core.{name}=7500000"))
                .to_vec(),
        }
        .about(&[]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::diagnose;
    use crate::model::{Proxy, Report};
    use crate::report::samples;

    fn diagnosed(change: impl Fn(&mut Observations)) -> Report {
        let mut seen = samples::ready().into_observations();
        change(&mut seen);
        diagnose(seen)
    }

    fn found(report: &Report, code: FindingCode) -> Option<&Finding> {
        report.findings.iter().find(|finding| finding.code == code)
    }

    #[test]
    fn a_stub_is_told_and_what_was_given_by_hand_is_none() {
        for (servers, given, expected) in [
            (&["127.0.0.53:53"][..], false, true),
            (&["127.0.0.1:53", "[::1]:53"], false, true),
            (&["127.0.0.1:53", "9.9.9.9:53"], false, false),
            (&["127.0.0.1:53"], true, false),
            (&[], false, false),
        ] {
            let report = diagnosed(|seen| {
                seen.resolvers = servers.iter().map(|s| s.parse().unwrap()).collect();
                if given {
                    seen.options.resolver = seen.resolvers.clone();
                }
            });
            let stub = found(&report, FindingCode::DnsLocalStub);
            assert_eq!(stub.is_some(), expected, "{servers:?}");
            let resolvectl = stub.is_some_and(|f| f.remedy.commands[0].contains("resolvectl"));
            assert_eq!(resolvectl, servers == ["127.0.0.53:53"], "{servers:?}");
        }
    }

    #[test]
    fn buffers_are_small_below_half_of_what_is_wanted() {
        for (receive_max, send_max, small) in [
            (212_992, 212_992, true),
            (7_500_000, 212_992, true),
            (4_194_304, 4_194_304, false),
        ] {
            let report = diagnosed(|seen| {
                seen.host.udp_buffers = Some(UdpBuffers {
                    receive_max,
                    send_max,
                });
            });
            let finding = found(&report, FindingCode::UdpBuffers);
            assert_eq!(finding.is_some(), small, "{receive_max} {send_max}");
        }
    }

    #[test]
    fn a_proxy_is_told_without_an_accusation() {
        let report = diagnosed(|seen| {
            seen.host.proxies = vec![Proxy {
                variable: "https_proxy".to_owned(),
                scheme: "http".to_owned(),
                host: Some("proxy".to_owned()),
                port: Some(3128),
            }];
        });
        let finding = found(&report, FindingCode::ProxyIgnored).unwrap();
        assert_eq!(finding.severity, Severity::Info);
        assert_eq!(finding.evidence[0].0, "https_proxy=http://proxy:3128");
    }
}
