//! Findings about the optional hosts.

use super::{Draft, Platform};
use crate::catalog;
use crate::diagnose::{JudgedRow, words};
use crate::model::{Cause, Finding, FindingCode, Observations, Service, Severity, Status};
use crate::targets::counts_when_strict;

pub(super) fn findings(seen: &Observations, rows: &[JudgedRow]) -> Vec<Finding> {
    let optional: Vec<_> = rows
        .iter()
        .filter(|row| row.target.service == Service::Https)
        .collect();
    let mut hosts: Vec<&str> = optional
        .iter()
        .map(|row| row.target.host.as_str())
        .collect();
    hosts.dedup();
    hosts
        .into_iter()
        .filter_map(|host| blocked(host, &optional, seen))
        .collect()
}

fn blocked(host: &str, rows: &[&JudgedRow], seen: &Observations) -> Option<Finding> {
    let own: Vec<_> = rows
        .iter()
        .filter(|row| row.target.host == host)
        .copied()
        .collect();
    let lost: Vec<_> = own.iter().filter(|row| row.is_blocked()).copied().collect();
    let unresolved = own
        .iter()
        .all(|row| matches!(row.status(), Status::Unresolved | Status::Unavailable))
        && own.iter().any(|row| row.status() == Status::Unresolved);
    let affected: Vec<_> = if unresolved {
        own.iter()
            .filter(|row| row.status() == Status::Unresolved)
            .copied()
            .collect()
    } else {
        lost
    };
    affected.first()?;
    let (summary, commands) = if unresolved {
        (
            "Let this host's resolvers answer for it, if you want what it is for.",
            words::tuples(&affected),
        )
    } else {
        remedy(&affected, Platform::of(&seen.host))
    };
    let counts = seen.options.strict && counts_when_strict(&seen.options, host);
    let evidence = affected.iter().map(|row| {
        let cause = row
            .verdict
            .cause
            .map_or_else(String::new, |cause| cause.to_string());
        let detail = words::detail(row, &seen.host).unwrap_or_default();
        format!("{} {}: {cause}: {detail}", row.target.family, row.status())
    });
    Some(
        Draft {
            code: FindingCode::OptionalBlocked,
            severity: if counts {
                Severity::Error
            } else {
                Severity::Info
            },
            title: if unresolved {
                format!("The optional host {host} does not resolve")
            } else {
                format!("The optional host {host} cannot be reached")
            },
            detail: format!(
                "Used for {}. The tunnel itself does not need it.{}",
                catalog::purpose(host),
                through_proxy(host, seen)
            ),
            evidence: evidence.collect(),
            summary: summary.to_owned(),
            commands,
        }
        .about(&affected),
    )
}

/// What to do where all that is lost is lost for the same reason; else the rule that all need.
fn remedy(lost: &[&JudgedRow], platform: Platform) -> (&'static str, Vec<String>) {
    let first = lost.first().and_then(|row| row.verdict.cause);
    let same = lost.iter().all(|row| row.verdict.cause == first);
    match first.filter(|_| same) {
        Some(Cause::TlsIntercepted) => (
            "Exempt it from TLS inspection, if you want what it is for.",
            words::tuples(lost),
        ),
        Some(Cause::NotTheEdge) => (
            "Find the portal, proxy or server that answers in its place, and let the flow pass unchanged, \
             if you want what it is for.",
            words::tuples(lost),
        ),
        _ => (
            "Allow it if you want what it is for.",
            [platform.try_connection(lost), words::tuples(lost)].concat(),
        ),
    }
}

/// cloudflared's updater is the one part of it that uses a proxy.
fn through_proxy(host: &str, seen: &Observations) -> String {
    let proxy = seen.host.proxies.iter().find(|proxy| proxy.is_for_https());
    match proxy {
        Some(proxy) if [catalog::UPDATE_HOST, catalog::DOWNLOAD_HOST].contains(&host) => format!(
            " {} is set and the updater honours it, so updates may work through the proxy all the same.",
            proxy.variable
        ),
        _ => String::new(),
    }
}
