//! Findings about the run and the host themselves.

use super::{Draft, Platform};
use crate::catalog;
use crate::diagnose::JudgedRow;
use crate::model::{
    Ended, Family, FamilyState, Finding, FindingCode, IpVersionChoice, Observations, Requirement,
    Severity, Status,
};

pub(super) fn findings(seen: &Observations, rows: &[JudgedRow]) -> Vec<Finding> {
    [
        ended(seen),
        no_network(seen),
        family_missing(seen),
        no_roots(seen),
        undecided(seen, rows),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn ended(seen: &Observations) -> Option<Finding> {
    let after = format!("the run ended after {}", seen.duration);
    let draft = match seen.ended {
        Ended::Complete => return None,
        Ended::Interrupted => Draft {
            code: FindingCode::RunInterrupted,
            severity: Severity::Warning,
            title: "The check was interrupted".to_owned(),
            detail: "Partial results only; not a verdict.".to_owned(),
            evidence: vec![after],
            summary: "Run it again and let it finish.".to_owned(),
            commands: Vec::new(),
        },
        Ended::Budget => Draft {
            code: FindingCode::BudgetEnded,
            severity: Severity::Warning,
            title: "The time budget ended before every question was settled".to_owned(),
            detail: "Rows without enough evidence are shown as inconclusive.".to_owned(),
            evidence: vec![after],
            summary: "Give it more time.".to_owned(),
            commands: vec!["tunnelcheck --timeout 30".to_owned()],
        },
    };
    Some(draft.about(&[]))
}

fn no_network(seen: &Observations) -> Option<Finding> {
    if seen.host.ipv4.is_available() || seen.host.ipv6.is_available() {
        return None;
    }
    Some(
        Draft {
            code: FindingCode::NoNetwork,
            severity: Severity::Error,
            title: "This host has no network that leads to the edge".to_owned(),
            detail: "cloudflared cannot send anything, whatever a firewall allows.".to_owned(),
            evidence: Family::BOTH
                .iter()
                .filter_map(|f| missing(seen, *f))
                .collect(),
            summary: "Give the host an address and a default route.".to_owned(),
            commands: Platform::of(&seen.host).addresses(),
        }
        .about(&[]),
    )
}

fn missing(seen: &Observations, family: Family) -> Option<String> {
    match seen.host.family(family) {
        FamilyState::Unavailable { why } => Some(format!("{family}: {why}")),
        FamilyState::Available { .. } => None,
    }
}

fn family_missing(seen: &Observations) -> Option<Finding> {
    // Given addresses are taken whatever their family.
    if !seen.options.edge.is_empty() {
        return None;
    }
    let family = match seen.options.edge_ip_version {
        IpVersionChoice::Auto => return None,
        IpVersionChoice::V4 => Family::Ipv4,
        IpVersionChoice::V6 => Family::Ipv6,
    };
    let evidence = missing(seen, family)?;
    Some(
        Draft {
            code: FindingCode::FamilyMissing,
            severity: Severity::Error,
            title: format!("{family} was asked for, and this host has none"),
            detail: format!(
                "With these options cloudflared uses {family} only, and finds no way out."
            ),
            evidence: vec![evidence],
            summary: "Let cloudflared choose the family, or give the host an address and a route."
                .to_owned(),
            commands: vec!["cloudflared tunnel --edge-ip-version auto".to_owned()],
        }
        .about(&[]),
    )
}

fn no_roots(seen: &Observations) -> Option<Finding> {
    let platform = Platform::of(&seen.host);
    (seen.host.trusted_roots == 0).then(|| {
        Draft {
            code: FindingCode::NoTrustedRoots,
            severity: Severity::Warning,
            title: "This host trusts no certificate authority".to_owned(),
            detail:
                "cloudflared then trusts only Cloudflare's own three, and its updater trusts none. A \
                 certificate that is called untrusted here may be a good one."
                    .to_owned(),
            evidence: vec!["the system's store of authorities is empty or unreadable".to_owned()],
            summary: platform
                .pick(
                    "Install the system's certificate bundle.",
                    "Let Windows fetch its root certificates, or have them distributed.",
                )
                .to_owned(),
            commands: platform.authorities(),
        }
        .about(&[])
    })
}

fn undecided(seen: &Observations, rows: &[JudgedRow]) -> Option<Finding> {
    let open: Vec<_> = rows
        .iter()
        .filter(|row| row.target.requirement == Requirement::Required)
        .filter(|row| row.status() == Status::Inconclusive)
        .collect();
    if open.is_empty() || seen.ended == Ended::Interrupted {
        return None;
    }
    let evidence = open.iter().map(|row| {
        let target = &row.target;
        format!(
            "{} {} {}: {} attempts, loss of up to {:.0} % assumed",
            target.host,
            target.service,
            target.family,
            row.attempts.len(),
            row.estimate.loss_rate * 100.0
        )
    });
    let port = open
        .first()
        .map_or(catalog::EDGE_PORT, |row| row.target.port);
    Some(
        Draft {
            code: FindingCode::Undecided,
            severity: Severity::Warning,
            title: format!("There is not enough evidence on port {port}"),
            detail:
                "Some destinations neither answered nor stayed silent for long enough to be called \
                     blocked. Loss, a limit on new connections or a short --timeout do that."
                    .to_owned(),
            evidence: evidence.collect(),
            summary: "Run it again with more time.".to_owned(),
            commands: vec!["tunnelcheck --timeout 30".to_owned()],
        }
        .about(&open),
    )
}
