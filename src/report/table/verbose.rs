//! What `-v` adds: every lookup, every server name and every attempt.

use super::page::Page;
use crate::model::{
    Attempt, ContactFailure, Destination, HandshakeFailure, Lookup, Outcome, Profile, Report,
    Secured, SniReport,
};

/// Writes the three lists.
pub(super) fn write(page: &mut Page, report: &Report) {
    page.heading("Lookups");
    for lookup in &report.dns.lookups {
        page.paragraph(4, &format!("{:<4}", lookup.record_type), &looked_up(lookup));
    }
    for lookup in &report.dns.over_tcp {
        let text = format!("{}, over TCP to compare", looked_up(lookup));
        page.paragraph(4, &format!("{:<4}", lookup.record_type), &text);
    }
    page.heading("Server names");
    for sni in &report.sni {
        page.paragraph(4, &sni.transport.to_string(), &named(sni));
    }
    for row in report
        .destinations
        .iter()
        .filter(|row| !row.probes.is_empty())
    {
        write_attempts(page, row);
    }
}

fn looked_up(lookup: &Lookup) -> String {
    let answers: Vec<_> = lookup.answers.iter().map(ToString::to_string).collect();
    let detail = lookup.detail.as_ref().map(|text| format!("; {text}"));
    format!(
        "{}: {} from {} in {}{}{}",
        lookup.name,
        lookup.status,
        lookup.via,
        lookup.elapsed_ms,
        if answers.is_empty() {
            String::new()
        } else {
            format!(": {}", answers.join(", "))
        },
        detail.unwrap_or_default()
    )
}

fn named(sni: &SniReport) -> String {
    match sni.cause {
        Some(cause) => format!("{}: {} ({cause})", sni.name, sni.status),
        None => format!("{}: {}", sni.name, sni.status),
    }
}

fn write_attempts(page: &mut Page, row: &Destination) {
    page.heading(&format!(
        "{} {} {} {}",
        row.host, row.transport, row.port, row.family
    ));
    if let Some(detail) = &row.detail {
        page.paragraph(4, "", detail);
    }
    for attempt in &row.probes {
        page.paragraph(4, &attempt.address.to_string(), &attempted(attempt));
    }
}

fn attempted(attempt: &Attempt) -> String {
    let datagrams = match (attempt.sent, attempt.received) {
        (Some(sent), received) => format!(
            "; {sent} datagrams sent, {} received",
            received.unwrap_or(0)
        ),
        (None, _) => String::new(),
    };
    let stray: String = attempt
        .stray
        .iter()
        .map(|stray| match &stray.icmp {
            Some(icmp) => format!("; {icmp} after {}", stray.at_ms),
            None => format!("; {} after {}", stray.error, stray.at_ms),
        })
        .collect();
    format!(
        "{} #{} after {}: {}{datagrams}{stray}",
        flight(attempt),
        attempt.attempt,
        attempt.elapsed_ms,
        outcome(&attempt.outcome)
    )
}

/// The server name, and what else an experiment has of its own.
fn flight(attempt: &Attempt) -> String {
    let sni = &attempt.sni;
    match attempt.profile {
        Profile::Cloudflared | Profile::Https => sni.clone(),
        Profile::SmallHello => format!("{sni} (small ClientHello)"),
        Profile::SmallPackets => format!("{sni} (small packets)"),
        Profile::ControlName => format!("{sni} (another name)"),
        Profile::VersionPing => "unknown QUIC version".to_owned(),
    }
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Secured { secured } => format!("passed, {}", peer(secured)),
        Outcome::Unsecured { failure } => handshake(failure),
        Outcome::Unanswered { failure } => contact(failure),
        Outcome::Abandoned => "stopped, no longer needed".to_owned(),
    }
}

fn peer(secured: &Secured) -> String {
    let mut parts = vec![secured.version.clone()];
    parts.extend(secured.group.clone());
    parts.push(format!("issuer {}", secured.issuer));
    parts.extend(secured.alpn.as_ref().map(|alpn| format!("ALPN {alpn}")));
    parts.extend(
        secured
            .preface
            .map(|came| if came { "preface came" } else { "no preface" }.to_owned()),
    );
    parts.extend(secured.http_status.map(|status| format!("HTTP {status}")));
    parts.extend(
        secured
            .http_error
            .as_ref()
            .map(|error| format!("HTTP failed: {error}")),
    );
    parts.join(", ")
}

fn contact(failure: &ContactFailure) -> String {
    match failure {
        ContactFailure::Silent => "no answer".to_owned(),
        ContactFailure::Reset => "reset".to_owned(),
        ContactFailure::Icmp { icmp } => icmp.to_string(),
        ContactFailure::LocalFirewall { error, .. } => format!("refused by this host: {error}"),
        ContactFailure::NoRoute { error } => format!("no route: {error}"),
        ContactFailure::TooBig { error } => format!("too big for the interface: {error}"),
        ContactFailure::Other { error } => error.to_string(),
    }
}

fn handshake(failure: &HandshakeFailure) -> String {
    match failure {
        HandshakeFailure::Silent => "connected, then silence".to_owned(),
        HandshakeFailure::Reset => "connected, then reset".to_owned(),
        HandshakeFailure::Closed => "connected, then closed".to_owned(),
        HandshakeFailure::Untrusted { chain } => {
            format!(
                "untrusted certificate ({}), issuer {}",
                chain.reason, chain.issuer
            )
        }
        HandshakeFailure::NotTls {
            received,
            http_status,
            location,
        } => {
            let status = http_status.map(|status| format!(", HTTP {status}"));
            let location = location.as_ref().map(|location| format!(" to {location}"));
            let (status, location) = (status.unwrap_or_default(), location.unwrap_or_default());
            format!("no TLS{status}{location}: {received}")
        }
        HandshakeFailure::GroupNotOffered { .. } => {
            "a HelloRetryRequest for a key exchange that was not offered".to_owned()
        }
        HandshakeFailure::Alert { alert } => format!("TLS alert {alert}"),
        HandshakeFailure::WrongAlpn => "another protocol (ALPN)".to_owned(),
        HandshakeFailure::VersionNegotiation => "a QUIC server without our version".to_owned(),
        HandshakeFailure::Refused { error } => format!("refused: {error}"),
        HandshakeFailure::Other { error } => error.clone(),
    }
}
