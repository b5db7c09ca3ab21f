//! PURE: what is told in sentences: the summary, the scope, and what stands behind a row.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::platform::Platform;
use super::row::AddressState;
use super::verdict::Conclusion;
use super::{JudgedRow, causes, findings};
use crate::model::{
    Ended, Family, FamilyState, Finding, Host, Service, Severity, Source, Status, Transport,
    Verdict,
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
    match Platform::of(host) {
        Platform::Linux => format!(
            "Holds for this program, this user and this network namespace{place}; rules for other \
             programs, users or containers may differ."
        ),
        Platform::Windows => format!(
            "Holds for this program and this user{place}; rules for other programs or services, such \
             as those for cloudflared.exe alone, may differ."
        ),
    }
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
    let text = causes::detail(cause, row, Platform::of(host));
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

/// The addresses of rows, by host and family, a line each; both transports in one where the addresses
/// are the same.
pub(super) fn tuples(rows: &[&JudgedRow]) -> Vec<String> {
    type Flows = (u16, Family, String, Vec<IpAddr>);
    let mut lines = BTreeMap::<Flows, BTreeSet<Transport>>::new();
    for row in rows {
        let target = &row.target;
        let blocked: Vec<_> = row.judgement.blocked().collect();
        let addresses = if blocked.is_empty() {
            target.addresses.clone()
        } else {
            blocked
        };
        // No rule leads to the edge by way of an address that cannot be its own.
        let edge = target.service != Service::Https && target.source == Source::Dns;
        let misled = |a: &IpAddr| edge && findings::is_made_up(*a);
        let addresses = addresses.into_iter().filter(|a| !misled(a)).collect();
        let flows = (target.port, target.family, target.host.clone(), addresses);
        let transports = lines.entry(flows).or_default();
        transports.insert(target.service.transport());
    }
    lines
        .into_iter()
        .filter(|((.., addresses), _)| !addresses.is_empty())
        .map(|((port, _, host, addresses), transports)| {
            let transports: Vec<_> = transports.iter().map(ToString::to_string).collect();
            let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            let what = transports.join(" and ");
            format!(
                "{what} out to port {port} of {host}: {}",
                addresses.join(", ")
            )
        })
        .collect()
}
