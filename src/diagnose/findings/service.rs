//! The finding about a start limit of systemd that ends cloudflared before its first connection.

use super::Draft;
use crate::diagnose::words::{range, seconds};
use crate::diagnose::{Diagnosis, JudgedRow};
use crate::model::{
    Family, Finding, FindingCode, Forecast, Killed, LookupStatus, Prospect, Service, ServiceStart,
    Severity, Status, UnitSource, Via,
};

pub(super) fn findings(diagnosis: Diagnosis<'_>) -> Option<Finding> {
    let forecast = diagnosis.forecast?;
    let start = forecast.service_start.as_ref()?;
    let limit = start.timeout_s?;
    // Where no tunnel is possible at all, the limit changes nothing.
    if start.killed == Killed::Never || forecast.outcome != Prospect::Connects {
        return None;
    }
    let dies = diagnosis.conclusion.service_dies;
    let (slow, summary, commands) = remedy(diagnosis);
    Some(
        Draft {
            code: FindingCode::ServiceKilled,
            severity: if dies {
                Severity::Error
            } else {
                Severity::Warning
            },
            title: title(start).to_owned(),
            detail: detail(start, limit),
            evidence: evidence(forecast, start, limit, slow),
            summary,
            commands,
        }
        .about(&[]),
    )
}

const fn title(start: &ServiceStart) -> &'static str {
    match (start.killed, start.source) {
        (Killed::Always, UnitSource::Read) => {
            "systemd kills the cloudflared service before it connects"
        }
        (Killed::Always, UnitSource::Assumed) => {
            "As a systemd service, cloudflared is killed before it connects"
        }
        _ => "systemd may kill cloudflared before it connects",
    }
}

fn detail(start: &ServiceStart, limit: f64) -> String {
    let unit = match (&start.unit, start.source) {
        (Some(path), UnitSource::Read) => format!("{path} gives cloudflared"),
        _ => "The unit that `cloudflared service install` writes gives cloudflared".to_owned(),
    };
    let then = match start.killed {
        Killed::Always => {
            "Then systemd kills it and starts it again, for ever. There is never a tunnel."
        }
        Killed::Sometimes | Killed::Never => {
            "A start that needs longer is killed, and systemd begins again."
        }
    };
    format!("{unit} {} to connect. {then}", seconds(limit))
}

/// What makes the start slow, and what is known of the limit.
fn evidence(forecast: &Forecast, start: &ServiceStart, limit: f64, slow: &str) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(first) = forecast.first_connection_s {
        lines.push(format!(
            "{slow}: the first connection comes {} after the start (forecast for {})",
            range(first),
            forecast.based_on
        ));
    }
    lines.push(match (&start.unit, start.source) {
        (Some(path), UnitSource::Read) => {
            format!("{path}: Type=notify, and a start limit of {}", seconds(limit))
        }
        _ => format!(
            "this host runs systemd and has no cloudflared.service: the {} of the official unit are assumed",
            seconds(limit)
        ),
    });
    lines
}

/// Why the start is slow, what to do about it, and how.
fn remedy(diagnosis: Diagnosis<'_>) -> (&'static str, String, Vec<String>) {
    let Diagnosis {
        seen,
        rows,
        conclusion,
        ..
    } = diagnosis;
    let silent = seen
        .lookups
        .iter()
        .any(|l| l.via != Via::Dot && l.status == LookupStatus::TimedOut);
    if silent {
        return (
            "a resolver does not answer",
            "Remove the silent resolver, or give the service more time to start.".to_owned(),
            override_unit("TimeoutStartSec=180"),
        );
    }
    if !conclusion.quic.usable && conclusion.http2.usable {
        return (
            "QUIC is blocked",
            "Start cloudflared with HTTP/2, so that it does not wait for QUIC.".to_owned(),
            override_unit("Environment=TUNNEL_TRANSPORT_PROTOCOL=http2"),
        );
    }
    if is_dead(rows, Family::Ipv6) && !is_dead(rows, Family::Ipv4) {
        return (
            "IPv6 is blocked",
            "Let cloudflared use IPv4 only, until IPv6 works.".to_owned(),
            override_unit("Environment=TUNNEL_EDGE_IP_VERSION=4"),
        );
    }
    (
        "some dials or lookups fail",
        "Give the service more time to start.".to_owned(),
        override_unit("TimeoutStartSec=180"),
    )
}

fn is_dead(rows: &[JudgedRow], family: Family) -> bool {
    let mut own = rows
        .iter()
        .filter(|row| row.target.family == family && row.target.service != Service::Https);
    own.any(|row| row.status() == Status::Blocked)
}

/// The lines that change the service, as an administrator types them.
fn override_unit(assignment: &str) -> Vec<String> {
    vec![
        "mkdir -p /etc/systemd/system/cloudflared.service.d".to_owned(),
        format!(
            "printf '[Service]\\n{assignment}\\n' > /etc/systemd/system/cloudflared.service.d/tunnelcheck.conf"
        ),
        "systemctl daemon-reload && systemctl restart cloudflared".to_owned(),
    ]
}
