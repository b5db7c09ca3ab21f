//! Findings about handshakes that complete, or would, and still lead astray.

use std::collections::{BTreeMap, BTreeSet};

use super::Draft;
use crate::catalog;
use crate::diagnose::{JudgedRow, sni, words};
use crate::model::{Cause, Finding, FindingCode, Outcome, Secured, Service, Severity, Status};

pub(super) fn findings(rows: &[JudgedRow]) -> Vec<Finding> {
    [
        probe_name_filtered(rows),
        inspected(rows),
        preface_missing(rows),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The tunnel's name passes, and cloudflared's own pre-checks send another one.
fn probe_name_filtered(rows: &[JudgedRow]) -> Option<Finding> {
    let cut: Vec<_> = sni::sni(rows)
        .into_iter()
        .filter(|name| name.name == catalog::PROBE_SNI)
        .filter(|name| (name.status, name.cause) == (Status::Blocked, Some(Cause::SniFiltered)))
        .map(|name| name.transport)
        .collect();
    let affected: Vec<_> = rows
        .iter()
        .filter(|row| row.verdict.tunnel_proven)
        .filter(|row| cut.contains(&row.target.service.transport()))
        .filter(|row| row.target.service != Service::Https)
        .collect();
    affected.first()?;
    let evidence = affected.iter().map(|row| {
        format!(
            "{} {} {}: {} passes, {} does not at the same address",
            row.target.host,
            row.target.service,
            row.target.family,
            row.target.deciding_sni(),
            catalog::PROBE_SNI
        )
    });
    let transports: Vec<_> = cut.iter().map(ToString::to_string).collect();
    Some(
        Draft {
            code: FindingCode::ProbeNameFiltered,
            severity: Severity::Warning,
            title: format!(
                "{} is filtered over {}, the tunnel's own name is not",
                catalog::PROBE_SNI,
                transports.join(" and ")
            ),
            detail:
                "cloudflared's pre-checks at its start use that name and will say FAIL, although \
                     the tunnel comes up."
                    .to_owned(),
            evidence: evidence.collect(),
            summary: format!("Allow the server name {} as well.", catalog::PROBE_SNI),
            commands: Vec::new(),
        }
        .about(&affected),
    )
}

/// Who issues certificates to Cloudflare, by a word of the issuer's name.
const CLOUDFLARES_ISSUERS: &[&str] = &[
    "cloudflare",
    "google trust services",
    "let's encrypt",
    "digicert",
    "sectigo",
    "ssl.com",
    "ssl corporation",
];

/// Some destinations of the edge present one issuer and some another, which is none of Cloudflare's:
/// an inspector whose authority this host trusts.
fn inspected(rows: &[JudgedRow]) -> Option<Finding> {
    let edge = rows
        .iter()
        .filter(|row| row.target.service != Service::Https);
    let mut by_issuer = BTreeMap::<&str, Vec<&JudgedRow>>::new();
    for row in edge {
        let issuers: BTreeSet<_> = secured(row)
            .map(|secured| secured.issuer.as_str())
            .collect();
        for issuer in issuers {
            by_issuer.entry(issuer).or_default().push(row);
        }
    }
    let silent = |row: &&&JudgedRow| !secured(row).any(|secured| secured.preface == Some(true));
    let differs = by_issuer.len() > 1;
    let foreign = by_issuer.iter().filter(|(issuer, _)| is_foreign(issuer));
    // Of two strangers the one is the inspector that takes TCP, because hardly any takes QUIC.
    let (issuer, rows) = foreign
        .filter(|(_, rows)| rows.iter().all(|row| row.target.service == Service::Http2))
        .find(|(_, rows)| differs || rows.iter().any(|row| silent(&row)))?;
    Some(
        Draft {
            code: FindingCode::TlsInspected,
            severity: Severity::Info,
            title: "A TLS inspector that this host trusts sits in front of the edge".to_owned(),
            detail: "The handshake completes, and cloudflared accepts the certificate because the \
                     system trusts its issuer. A tunnel through an inspector lives only if it passes \
                     on what the edge says first."
                .to_owned(),
            evidence: vec![format!("the certificates were issued by {issuer}")],
            summary: "Exempt the tunnel from TLS inspection.".to_owned(),
            commands: Vec::new(),
        }
        .about(rows),
    )
}

fn is_foreign(issuer: &str) -> bool {
    let issuer = issuer.to_lowercase();
    !CLOUDFLARES_ISSUERS
        .iter()
        .any(|known| issuer.contains(known))
}

fn secured(row: &JudgedRow) -> impl Iterator<Item = &Secured> {
    let plain = row.attempts.iter().filter(|a| !a.profile.is_experiment());
    plain.filter_map(|attempt| match &attempt.outcome {
        Outcome::Secured { secured } => Some(secured),
        _ => None,
    })
}

/// TLS passes, but the edge does not speak as it should: a proxy that waits for the client hangs the
/// tunnel.
fn preface_missing(rows: &[JudgedRow]) -> Option<Finding> {
    let http2: Vec<_> = rows
        .iter()
        .filter(|row| row.target.service == Service::Http2 && row.verdict.reachable() > 0)
        .collect();
    let prefaces: Vec<_> = http2
        .iter()
        .flat_map(|row| &row.attempts)
        .filter_map(|attempt| match &attempt.outcome {
            Outcome::Secured { secured } => secured.preface,
            _ => None,
        })
        .collect();
    if prefaces.is_empty() || prefaces.contains(&true) {
        return None;
    }
    Some(
        Draft {
            code: FindingCode::PrefaceMissing,
            severity: Severity::Warning,
            title: "TLS completes, but the edge's HTTP/2 preface does not arrive".to_owned(),
            detail: "The edge speaks first on this connection. A TLS inspector whose authority this host \
                     trusts waits for the client to speak, and the tunnel would hang."
                .to_owned(),
            evidence: vec![format!("{} handshakes completed, no preface was received", prefaces.len())],
            summary: "Exempt the tunnel from TLS inspection.".to_owned(),
            commands: words::tuples(&http2),
        }
        .about(&http2),
    )
}
