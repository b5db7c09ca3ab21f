//! PURE: what became of each documented server name.

use super::JudgedRow;
use crate::catalog;
use crate::model::{Attempt, Cause, Service, SniReport, Status, Transport};

/// One row for each documented name and transport; they inform, and decide nothing.
pub(super) fn sni(rows: &[JudgedRow]) -> Vec<SniReport> {
    [
        (catalog::DOCUMENTED_SNI, Service::Http2),
        (catalog::HTTP2_SNI, Service::Http2),
        (catalog::QUIC_SNI, Service::Quic),
        (catalog::PROBE_SNI, Service::Http2),
        (catalog::PROBE_SNI, Service::Quic),
    ]
    .map(|(name, service)| name_report(name, service, rows))
    .into()
}

fn name_report(name: &str, service: Service, rows: &[JudgedRow]) -> SniReport {
    let own: Vec<_> = rows
        .iter()
        .filter(|row| row.target.service == service)
        .collect();
    let (status, cause) = name_status(name, &own);
    let transport: Transport = service.transport();
    SniReport {
        name: name.to_owned(),
        transport,
        status,
        cause,
    }
}

fn name_status(name: &str, rows: &[&JudgedRow]) -> (Status, Option<Cause>) {
    let plain = |a: &&Attempt| !a.profile.is_experiment();
    let attempts = || {
        rows.iter()
            .flat_map(|row| row.attempts.iter())
            .filter(plain)
    };
    if rows.iter().all(|row| row.status() == Status::Skipped) {
        return (Status::Skipped, None);
    }
    if attempts().any(|a| a.sni == name && a.passed()) {
        return (Status::Reachable, None);
    }
    if rows.iter().any(|row| is_cut(name, row)) {
        return (Status::Blocked, Some(Cause::SniFiltered));
    }
    // A name that never passed where nothing else passed shares the fate of the rows.
    let probed = rows.iter().filter(|row| !row.attempts.is_empty());
    let mut causes = probed.map(|row| (row.status(), row.verdict.cause));
    match causes.next() {
        Some((Status::Blocked, cause)) if causes.all(|(status, _)| status == Status::Blocked) => {
            (Status::Blocked, cause)
        }
        _ => (Status::Inconclusive, Some(Cause::Unknown)),
    }
}

/// Whether the name is proven cut on addresses on which another name passes.
fn is_cut(name: &str, row: &JudgedRow) -> bool {
    let cut = row.verdict.cut_name.map(|role| row.target.sni(role));
    cut == Some(name)
}
