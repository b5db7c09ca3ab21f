//! PURE: what is told in sentences: the summary, the scope, and what stands behind a row.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::platform::Platform;
use super::row_evidence::AddressState;
use super::verdict::Conclusion;
use super::{Diagnosis, JudgedRow, causes};
use crate::catalog;
use crate::model::{
    Ended, Family, FamilyState, Finding, FindingCode, Host, Killed, Service, Severity, Source,
    Span, Status, Transport, UnitSource, Verdict,
};

/// The verdict in plain sentences.
pub(super) fn summary(diagnosis: Diagnosis<'_>, findings: &[Finding]) -> String {
    const MOST: usize = 3;
    let conclusion = diagnosis.conclusion;
    let errors = findings
        .iter()
        .filter(|f| f.severity == Severity::Error && f.code != FindingCode::ServiceKilled);
    let titles: Vec<_> = errors.take(MOST).map(|f| lower_first(&f.title)).collect();
    let because = if titles.is_empty() {
        String::new()
    } else {
        format!(": {}", titles.join("; "))
    };
    match conclusion.verdict {
        Verdict::Ready => ready(diagnosis),
        Verdict::Degraded => degraded(diagnosis, &because),
        Verdict::Blocked => format!("cloudflared cannot establish a tunnel{because}."),
        Verdict::Inconclusive if conclusion.ended == Ended::Interrupted => {
            "The check was interrupted before there was enough evidence.".to_owned()
        }
        Verdict::Inconclusive | Verdict::Skipped => {
            "There is not enough evidence for a verdict.".to_owned()
        }
    }
}

fn ready(diagnosis: Diagnosis<'_>) -> String {
    let conclusion = diagnosis.conclusion;
    let connects = match conclusion.suggested {
        Some(service) => format!(
            "cloudflared can connect over {}",
            offers(conclusion, service)
        ),
        None => "cloudflared can connect".to_owned(),
    };
    match killed_always(diagnosis) {
        Some((UnitSource::Assumed, Some(first))) => format!(
            "{connects}, but only {} after its start: as a systemd service it is killed before that.",
            about(first)
        ),
        _ => format!("{connects}."),
    }
}

fn offers(conclusion: &Conclusion, first: Service) -> String {
    match (first, conclusion.http2.usable) {
        (Service::Quic, true) => "quic, and over http2 if it has to".to_owned(),
        (service, _) => service.to_string(),
    }
}

fn degraded(diagnosis: Diagnosis<'_>, because: &str) -> String {
    let Diagnosis {
        seen,
        rows,
        conclusion,
        ..
    } = diagnosis;
    let Some(service) = conclusion.suggested else {
        return format!("Something required is blocked{because}.");
    };
    if conclusion.quic.status == Verdict::Blocked && service == Service::Http2 {
        return falls_back(diagnosis, because);
    }
    let killed = killed_always(diagnosis);
    let optional = |row: &&JudgedRow| row.target.service == Service::Https;
    let blocked = rows.iter().filter(|row| row.is_blocked());
    let lost: Vec<_> = blocked
        .filter(|row| seen.options.strict || !optional(row))
        .collect();
    let but = if conclusion.http2.status == Verdict::Blocked {
        format!("but its fallback http2 is blocked{because}")
    } else if lost.is_empty() && conclusion.service_dies {
        match killed.and_then(|(_, first)| first) {
            Some(first) => format!(
                "but the service only {} after its start: systemd kills it before that",
                about(first)
            ),
            None => "but the service does not, and systemd kills it".to_owned(),
        }
    } else if !lost.is_empty() && lost.iter().all(optional) {
        format!("but an optional host is blocked{because}")
    } else if because.contains("; ") {
        format!("but some paths are blocked{because}")
    } else {
        format!("but a path is blocked{because}")
    };
    let then = match killed.filter(|_| !lost.is_empty()) {
        Some((UnitSource::Read, Some(first))) => format!(
            " The service needs {} for its first connection, and systemd kills it before that.",
            about(first)
        ),
        Some((UnitSource::Read, None)) => {
            " The service never gets one, and systemd kills it.".to_owned()
        }
        Some((UnitSource::Assumed, Some(first))) => format!(
            " It needs {} for its first connection, and as a systemd service it is killed before that.",
            about(first)
        ),
        Some((UnitSource::Assumed, None)) | None => String::new(),
    };
    format!("cloudflared can connect over {service}, {but}.{then}")
}

/// QUIC is blocked, and cloudflared finds out slowly.
fn falls_back(diagnosis: Diagnosis<'_>, because: &str) -> String {
    let Some(first) = diagnosis
        .forecast
        .and_then(|forecast| forecast.first_connection_s)
    else {
        return format!("QUIC is blocked{because}. Set --protocol http2.");
    };
    let killed = match killed_always(diagnosis) {
        Some((UnitSource::Read, _)) => ", and systemd kills the service before that",
        Some((UnitSource::Assumed, _)) => ", and as a systemd service it is killed before that",
        None => "",
    };
    format!(
        "QUIC is blocked{because}. cloudflared needs {} to fall back to HTTP/2{killed}. Set --protocol \
         http2.",
        about(first)
    )
}

/// Where it is sure that a service is killed at every start: by which limit, and when it would get a
/// connection.
fn killed_always(diagnosis: Diagnosis<'_>) -> Option<(UnitSource, Option<Span>)> {
    let start = diagnosis.forecast?.service_start.as_ref()?;
    // A unit of which not all options were read may fare better.
    let sure = start.source == UnitSource::Assumed || diagnosis.conclusion.service_dies;
    (sure && start.killed == Killed::Always)
        .then_some((start.source, diagnosis.killed?.first_connection_s))
}

/// A time that chance decides, for a sentence: `about 2.5 minutes`, `40 s`.
pub(super) fn about(span: Span) -> String {
    if span.median >= 90.0 {
        return format!("about {} minutes", (span.median / 30.0).round() / 2.0);
    }
    let exact = span.max - span.min < 2.0;
    format!(
        "{}{}",
        if exact { "" } else { "about " },
        seconds(span.median)
    )
}

/// A time that chance decides, as a range: `84 to 196 s`, `40 s`.
pub(super) fn range(span: Span) -> String {
    if span.max - span.min < 1.0 {
        return seconds(span.median);
    }
    let least = seconds(span.min);
    format!("{} to {}", least.trim_end_matches(" s"), seconds(span.max))
}

/// A time in whole seconds, or in tenths where it is short.
pub(super) fn seconds(seconds: f64) -> String {
    if seconds < 10.0 && seconds.fract() != 0.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{seconds:.0} s")
    }
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
            "Holds for this program and this user{place}; rules for other programs or services, such as \
             those only for cloudflared.exe, may differ."
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
        Status::Blocked | Status::Partial => row.verdict.cause?,
    };
    let text = causes::detail(cause, row, Platform::of(host));
    if row.status() == Status::Partial {
        let blocked: Vec<_> = row
            .verdict
            .blocked()
            .map(|address| address.to_string())
            .collect();
        return Some(format!("{text}; blocked: {}", blocked.join(", ")));
    }
    Some(text)
}

fn open_addresses(row: &JudgedRow) -> Option<String> {
    let open: Vec<_> = row
        .verdict
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
    let lossy = if row.estimate.loss_rate > 0.5 && row.estimate.round_trip.is_some() {
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
        let blocked: Vec<_> = row.verdict.blocked().collect();
        let addresses = if blocked.is_empty() {
            target.addresses.clone()
        } else {
            blocked
        };
        // No rule leads to the edge by way of an address that cannot be its own.
        let edge = target.service != Service::Https && target.source == Source::Dns;
        let misled = |a: &IpAddr| edge && catalog::made_up_by(*a).is_some();
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
