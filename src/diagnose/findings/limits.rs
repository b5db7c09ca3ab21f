//! Findings about limits on new flows.

use super::Draft;
use crate::diagnose::{JudgedRow, RateLimits};
use crate::model::{Finding, FindingCode, Service, Severity};
use crate::targets::TargetState;

pub(super) fn findings(rows: &[JudgedRow], rate_limits: &RateLimits) -> Option<Finding> {
    let recognised = |service| {
        let rate_limit = rate_limits.on(service).filter(|p| p.is_recognised());
        Some((service, rate_limit?))
    };
    let services = [Service::Quic, Service::Http2].into_iter();
    let recognised: Vec<_> = services.filter_map(recognised).collect();
    let services: Vec<_> = recognised.iter().map(|(service, _)| *service).collect();
    let probed = rows
        .iter()
        .filter(|row| row.target.state == TargetState::Probed);
    let affected = probed.filter(|row| services.contains(&row.target.service));
    let affected: Vec<_> = affected.collect();
    let first = affected.first()?;
    let evidence = recognised.iter().map(|(service, rate_limit)| {
        format!(
            "{service}: {} new flows were answered at once, then {} in a row were not; {} of these addresses \
             answered later, when one new flow followed the other",
            rate_limit.answered, rate_limit.failed, rate_limit.recovered
        )
    });
    let names: Vec<_> = services.iter().map(ToString::to_string).collect();
    let port = first.target.port;
    Some(
        Draft {
            code: FindingCode::RateLimited,
            severity: Severity::Warning,
            title: format!("New flows to port {port} are limited in number ({})", names.join(" and ")),
            detail: "cloudflared opens four connections, one after the other, and gets them. It may wait \
                     for them after an outage, when other tunnels behind the same firewall reconnect too. \
                     Failures during the burst are not counted as blocked."
                .to_owned(),
            evidence: evidence.collect(),
            summary: format!("Raise the limit on new flows to port {port} of this host ({}).", names.join(" and ")),
            commands: Vec::new(),
        }
        .about(&affected),
    )
}
