//! PURE: what is told in sentences: the summary, the scope, and what stands behind a row.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::JudgedRow;
use super::row::AddressState;
use super::verdict::Conclusion;
use crate::model::{
    Attempt, Cause, ContactFailure, Ended, Family, FamilyState, Finding, HandshakeFailure, Host,
    IcmpError, Outcome, Service, Severity, Status, UntrustedChain, Verdict,
};

/// The verdict in one plain sentence.
pub(super) fn summary(conclusion: &Conclusion, rows: &[JudgedRow], findings: &[Finding]) -> String {
    const MOST: usize = 3;
    let errors = findings.iter().filter(|f| f.severity == Severity::Error);
    let titles: Vec<_> = errors.take(MOST).map(|f| lower_first(&f.title)).collect();
    let because = if titles.is_empty() {
        String::new()
    } else {
        format!(": {}", titles.join("; "))
    };
    match conclusion.verdict {
        Verdict::Ready => match conclusion.suggested {
            Some(service) => format!(
                "cloudflared can connect over {}.",
                offers(conclusion, service)
            ),
            None => "cloudflared can connect.".to_owned(),
        },
        Verdict::Degraded => degraded(conclusion, rows, &because),
        Verdict::Blocked => format!("cloudflared cannot establish a tunnel{because}."),
        Verdict::Inconclusive if conclusion.ended == Ended::Interrupted => {
            "The check was interrupted before the evidence sufficed.".to_owned()
        }
        Verdict::Inconclusive | Verdict::Skipped => {
            "The evidence does not suffice for a verdict.".to_owned()
        }
    }
}

fn offers(conclusion: &Conclusion, first: Service) -> String {
    match (first, conclusion.http2.usable) {
        (Service::Quic, true) => "quic, and over http2 if it has to".to_owned(),
        (service, _) => service.to_string(),
    }
}

fn degraded(conclusion: &Conclusion, rows: &[JudgedRow], because: &str) -> String {
    let Some(service) = conclusion.suggested else {
        return format!("Something required is blocked{because}.");
    };
    if conclusion.quic.status == Verdict::Blocked && service == Service::Http2 {
        return format!("cloudflared will run over http2; QUIC is blocked{because}.");
    }
    if conclusion.http2.status == Verdict::Blocked {
        return format!("cloudflared will run over quic; its fallback http2 is blocked{because}.");
    }
    let lost: Vec<_> = rows.iter().filter(|row| row.is_blocked()).collect();
    if lost.is_empty() || lost.iter().all(|row| row.target.service == Service::Https) {
        return format!(
            "cloudflared can connect over {service}, but an optional host is blocked{because}."
        );
    }
    format!("cloudflared can connect over {service}, but not everything it needs is open{because}.")
}

fn lower_first(text: &str) -> String {
    // Abbreviations such as UDP stay as they are.
    let second_is_upper = text
        .chars()
        .nth(1)
        .is_some_and(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    let mut characters = text.chars();
    match characters.next() {
        Some(first) if !second_is_upper => first.to_lowercase().chain(characters).collect(),
        _ => text.to_owned(),
    }
}

/// For whom the verdict holds.
pub(super) fn scope(host: &Host) -> String {
    let place = host
        .name
        .as_ref()
        .map_or_else(String::new, |name| format!(" on {name}"));
    format!(
        "Holds for this program, this user and this network namespace{place}; rules for other \
         programs, users or containers may differ."
    )
}

/// What stands behind a row's cause, and what would tell two possible causes apart.
pub(super) fn detail(row: &JudgedRow, host: &Host) -> Option<String> {
    let cause = match row.status() {
        Status::Reachable => return open_addresses(row),
        Status::Unavailable => return unavailable(row, host),
        Status::Skipped => return Some("excluded by the options".to_owned()),
        Status::Unresolved => return Some("DNS gives no address of this family".to_owned()),
        Status::Inconclusive => return Some(inconclusive(row)),
        Status::Blocked | Status::Partial => row.judgement.cause?,
    };
    let text = cause_detail(cause, row);
    if row.status() == Status::Partial {
        let blocked: Vec<_> = row
            .judgement
            .blocked()
            .map(|address| address.to_string())
            .collect();
        return Some(format!("{text}; blocked: {}", blocked.join(", ")));
    }
    Some(text)
}

fn open_addresses(row: &JudgedRow) -> Option<String> {
    let open: Vec<_> = row
        .judgement
        .addresses
        .iter()
        .filter(|(_, state)| *state == AddressState::Open)
        .map(|(address, _)| address.to_string())
        .collect();
    (!open.is_empty()).then(|| format!("not enough evidence on {}", open.join(", ")))
}

fn unavailable(row: &JudgedRow, host: &Host) -> Option<String> {
    match host.family(row.target.family) {
        FamilyState::Unavailable { why } => {
            Some(format!("this host has no {}: {why}", row.target.family))
        }
        FamilyState::Available { .. } => None,
    }
}

fn inconclusive(row: &JudgedRow) -> String {
    let attempts = row.attempts.len();
    let lossy = if row.climate.loss > 0.5 && row.climate.round_trip.is_some() {
        "; many packets are lost on this path, or new connections are limited in rate"
    } else {
        ""
    };
    format!("{attempts} attempts prove neither that it is open nor that it is blocked{lossy}")
}

/// What the evidence for a cause says in words.
pub(super) fn cause_detail(cause: Cause, row: &JudgedRow) -> String {
    let text = match cause {
        Cause::Dropped => return dropped(row),
        Cause::Rejected => rejections(row),
        Cause::Reset => Some(reset_words()),
        Cause::LocalFirewall => local_refusal(row),
        Cause::NoRoute => first(row, |outcome| match outcome {
            Outcome::Unanswered {
                failure: ContactFailure::NoRoute { error },
            } => Some(format!("this host's routing table: {error}")),
            _ => None,
        }),
        Cause::TlsIntercepted => chains(row).first().map(|chain| describe_chain(chain)),
        Cause::Interrupted => first(row, interrupted),
        Cause::NotTheEdge => first(row, foreign),
        Cause::SniFiltered => first_tunnel_failure(row),
        Cause::QuicFiltered => Some(
            "a QUIC server answers, and no handshake completes; a filter that reads the handshake and \
             a server that speaks another QUIC version look the same"
                .to_owned(),
        ),
        Cause::Mtu => first(row, |outcome| match outcome {
            Outcome::Unanswered {
                failure: ContactFailure::Icmp { icmp },
            } => Some(icmp.to_string()),
            Outcome::Unanswered {
                failure: ContactFailure::TooBig { error },
            } => Some(format!("larger than the interface carries: {error}")),
            _ => None,
        }),
        Cause::LargeHelloDropped | Cause::Dns | Cause::Unknown => first(row, other_error),
    };
    text.unwrap_or_else(|| cause.to_string())
}

fn reset_words() -> String {
    "a TCP reset answered the SYN; a firewall on this host, one on the way and the other side \
         itself look the same here (`nft list ruleset` shows this host's)"
        .to_owned()
}

fn dropped(row: &JudgedRow) -> String {
    let what = match row.target.service {
        Service::Quic => {
            "no reply, no ICMP, no error; a filter that drops every QUIC long header looks the same"
        }
        Service::Http2 | Service::Https => {
            "no reply, no ICMP, no reset; a rule on this host's own OUTPUT chain looks the same \
             (`nft list ruleset` shows it)"
        }
    };
    what.to_owned()
}

/// Which ICMP errors came back from whom.
pub(super) fn icmp_errors(row: &JudgedRow) -> Vec<(IcmpError, usize)> {
    let mut counts: Vec<(IcmpError, usize)> = Vec::new();
    let mut count = |icmp: &IcmpError| match counts.iter_mut().find(|(seen, _)| seen == icmp) {
        Some((_, n)) => *n += 1,
        None => counts.push((icmp.clone(), 1)),
    };
    for attempt in &row.attempts {
        let remote = attempt
            .stray
            .iter()
            .filter(|s| !s.local)
            .filter_map(|s| s.icmp.as_ref());
        if attempt.stray.is_empty() {
            match &attempt.outcome {
                Outcome::Unanswered {
                    failure: ContactFailure::Icmp { icmp },
                }
                | Outcome::Unsecured {
                    failure: HandshakeFailure::Icmp { icmp },
                } => count(icmp),
                _ => {}
            }
        }
        remote.for_each(&mut count);
    }
    counts.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    counts
}

fn rejections(row: &JudgedRow) -> Option<String> {
    let errors = icmp_errors(row);
    let text: Vec<_> = errors
        .iter()
        .map(|(icmp, n)| format!("{icmp}, {n} seen"))
        .collect();
    (!text.is_empty()).then(|| text.join("; "))
}

fn local_refusal(row: &JudgedRow) -> Option<String> {
    first(row, |outcome| match outcome {
        Outcome::Unanswered {
            failure: ContactFailure::LocalFirewall { error, icmp },
        } => {
            let by = icmp
                .as_ref()
                .map_or_else(String::new, |icmp| format!("; {icmp}, this host itself"));
            Some(format!("this host refused to send: {error}{by}"))
        }
        _ => None,
    })
}

fn interrupted(outcome: &Outcome) -> Option<String> {
    let Outcome::Unsecured { failure } = outcome else {
        return None;
    };
    let how = match failure {
        HandshakeFailure::Silent => "went silent",
        HandshakeFailure::Reset => "was reset",
        HandshakeFailure::Closed => "was closed",
        _ => return None,
    };
    Some(format!(
        "TCP connects, then the flow {how} during the TLS handshake"
    ))
}

fn foreign(outcome: &Outcome) -> Option<String> {
    let Outcome::Unsecured { failure } = outcome else {
        return None;
    };
    match failure {
        HandshakeFailure::NotTls {
            http_status: Some(status),
            location,
            ..
        } => {
            let to = location
                .as_ref()
                .map_or_else(String::new, |l| format!(" with Location {l}"));
            Some(format!("plain HTTP answers: status {status}{to}"))
        }
        HandshakeFailure::NotTls { received, .. } => {
            Some(format!("no TLS answers, but: {received}"))
        }
        HandshakeFailure::WrongAlpn => {
            Some("a server without the tunnel's application protocol (ALPN) answers".to_owned())
        }
        HandshakeFailure::Alert { alert } => {
            Some(format!("a TLS alert refuses the handshake: {alert}"))
        }
        HandshakeFailure::Refused { error } => {
            Some(format!("a QUIC server refuses the handshake: {error}"))
        }
        _ => None,
    }
}

fn other_error(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Unanswered {
            failure: ContactFailure::Other { error },
        } => Some(error.to_string()),
        Outcome::Unsecured {
            failure: HandshakeFailure::Other { error },
        } => Some(error.clone()),
        _ => None,
    }
}

fn first_tunnel_failure(row: &JudgedRow) -> Option<String> {
    let failed = row
        .attempts
        .iter()
        .find(|a| a.sni == row.target.deciding_sni() && !a.passed())?;
    let how = match &failed.outcome {
        Outcome::Unsecured {
            failure: HandshakeFailure::Reset,
        } => "is reset",
        Outcome::Unsecured {
            failure: HandshakeFailure::Closed,
        } => "is closed",
        Outcome::Unsecured {
            failure: HandshakeFailure::Alert { .. },
        } => "is refused with an alert",
        _ => "goes silent",
    };
    Some(format!(
        "a handshake with {} {how}, one with another name passes",
        failed.sni
    ))
}

fn first(row: &JudgedRow, tell: impl Fn(&Outcome) -> Option<String>) -> Option<String> {
    row.attempts
        .iter()
        .find_map(|attempt| tell(&attempt.outcome))
}

/// The untrusted chains that the row was shown.
pub(super) fn chains(row: &JudgedRow) -> Vec<&UntrustedChain> {
    row.attempts.iter().filter_map(untrusted).collect()
}

fn untrusted(attempt: &Attempt) -> Option<&UntrustedChain> {
    match &attempt.outcome {
        Outcome::Unsecured {
            failure: HandshakeFailure::Untrusted { chain },
        } => Some(chain),
        _ => None,
    }
}

fn describe_chain(chain: &UntrustedChain) -> String {
    let validity = match (&chain.not_before, &chain.not_after) {
        (Some(from), Some(to)) if chain.kind.is_about_time() => {
            format!(", valid from {from} to {to}")
        }
        _ => String::new(),
    };
    format!(
        "the certificate for {} was issued by {}{validity} ({})",
        chain.subject, chain.issuer, chain.reason
    )
}

/// The addresses of rows, by host and family, a line each.
pub(super) fn tuples(rows: &[&JudgedRow]) -> Vec<String> {
    let mut lines = BTreeMap::<(String, Family, String), Vec<IpAddr>>::new();
    for row in rows {
        let target = &row.target;
        let what = format!("{} out to port {}", target.service.transport(), target.port);
        let addresses = lines
            .entry((what, target.family, target.host.clone()))
            .or_default();
        addresses.extend(row.judgement.blocked());
        if row.judgement.blocked().next().is_none() {
            addresses.extend(&target.addresses);
        }
    }
    lines
        .into_iter()
        .filter(|(_, addresses)| !addresses.is_empty())
        .map(|((what, _, host), addresses)| {
            let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            format!("{what} of {host}: {}", addresses.join(", "))
        })
        .collect()
}
