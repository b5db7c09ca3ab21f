//! The finding about a start limit of systemd that ends cloudflared before its first connection.

use super::Draft;
use crate::diagnose::outlook::{Cure, KilledService};
use crate::diagnose::words::{range, seconds};
use crate::diagnose::{Diagnosis, JudgedRow};
use crate::model::{
    Family, Finding, FindingCode, Killed, LookupStatus, Prospect, Service, ServiceStart,
    ServiceUnit, Severity, Status, UnitSource, Verdict, Via,
};

pub(super) fn findings(diagnosis: Diagnosis<'_>) -> Option<Finding> {
    let forecast = diagnosis.forecast?;
    let start = forecast.service_start.as_ref()?;
    let limit = start.timeout_s?;
    let killed = diagnosis.killed?;
    // Where no tunnel is possible at all, the limit changes nothing.
    if forecast.outcome != Prospect::Connects && killed.first_connection_s.is_none() {
        return None;
    }
    let unit = diagnosis.seen.host.systemd.as_ref()?.unit.as_ref();
    let known = unit.is_none_or(|unit| unit.options_known);
    let slow = slow(diagnosis);
    let (summary, commands) = remedy(diagnosis, killed, unit);
    Some(
        Draft {
            code: FindingCode::ServiceKilled,
            severity: if diagnosis.conclusion.service_dies {
                Severity::Error
            } else {
                Severity::Warning
            },
            title: title(start, known).to_owned(),
            detail: detail(start, limit, known),
            evidence: evidence(killed, start, limit, slow, &forecast.based_on),
            summary,
            commands,
        }
        .about(&[]),
    )
}

const fn title(start: &ServiceStart, known: bool) -> &'static str {
    match (start.killed, start.source) {
        (Killed::Always, UnitSource::Read) if known => {
            "systemd kills the cloudflared service before it connects"
        }
        (Killed::Always, UnitSource::Assumed) => {
            "As a systemd service, cloudflared is killed before it connects"
        }
        _ => "systemd may kill cloudflared before it connects",
    }
}

fn detail(start: &ServiceStart, limit: f64, known: bool) -> String {
    let unit = match (&start.unit, start.source) {
        (Some(path), UnitSource::Read) => format!("{path} gives cloudflared"),
        _ => "The unit that `cloudflared service install` writes gives cloudflared".to_owned(),
    };
    let then = match start.killed {
        Killed::Always if known => {
            "Then systemd kills it and starts it again, for ever. There is never a tunnel."
        }
        Killed::Always => {
            "That is not enough, unless options in files or in a user's folder that were not read change it."
        }
        Killed::Sometimes | Killed::Never => {
            "A start that needs longer is killed, and systemd begins again."
        }
    };
    format!("{unit} {} to connect. {then}", seconds(limit))
}

/// What makes the start slow, and what is known of the limit.
fn evidence(
    killed: &KilledService,
    start: &ServiceStart,
    limit: f64,
    slow: &str,
    based_on: &str,
) -> Vec<String> {
    let first = killed.first_connection_s.map_or_else(
        || "no first connection comes with the options of the unit".to_owned(),
        |first| {
            format!(
                "the first connection comes {} after the start",
                range(first)
            )
        },
    );
    let unit = match (&start.unit, start.source) {
        (Some(path), UnitSource::Read) => {
            format!(
                "{path}: Type=notify, and a start limit of {}",
                seconds(limit)
            )
        }
        _ => format!(
            "this host runs systemd, and no cloudflared.service was read: the {} of the official unit are \
             assumed",
            seconds(limit)
        ),
    };
    vec![format!("{slow}: {first} (forecast for {based_on})"), unit]
}

/// Why the start is slow.
fn slow(diagnosis: Diagnosis<'_>) -> &'static str {
    let Diagnosis {
        rows, conclusion, ..
    } = diagnosis;
    if silent_resolver(diagnosis) {
        "a resolver does not answer"
    } else if conclusion.quic.status == Verdict::Blocked {
        "QUIC is blocked"
    } else if is_dead(rows, Family::Ipv6) && !is_dead(rows, Family::Ipv4) {
        "IPv6 is blocked"
    } else {
        "some dials or lookups are slow or fail"
    }
}

fn silent_resolver(diagnosis: Diagnosis<'_>) -> bool {
    let mut lookups = diagnosis.seen.lookups.iter();
    lookups.any(|l| l.via != Via::Dot && l.status == LookupStatus::TimedOut)
}

/// What to do about it, and how: the options with which a start is quick enough, else more time.
fn remedy(
    diagnosis: Diagnosis<'_>,
    killed: &KilledService,
    unit: Option<&ServiceUnit>,
) -> (String, Vec<String>) {
    let Some(cure) = killed.cure else {
        return more_time(diagnosis, killed);
    };
    let (summary, assignments): (_, &[&str]) = match cure {
        Cure::Ipv4 => (
            "Let cloudflared use IPv4 only (--edge-ip-version 4).",
            &["TUNNEL_EDGE_IP_VERSION=4"],
        ),
        Cure::Http2 => (
            "Start cloudflared with HTTP/2 (--protocol http2).",
            &["TUNNEL_TRANSPORT_PROTOCOL=http2"],
        ),
        Cure::Ipv4AndHttp2 => (
            "Start cloudflared with HTTP/2, over IPv4 only (--protocol http2 --edge-ip-version 4).",
            &[
                "TUNNEL_TRANSPORT_PROTOCOL=http2",
                "TUNNEL_EDGE_IP_VERSION=4",
            ],
        ),
    };
    // What a command line sets wins over the environment, so it has to be changed there.
    if unit.is_some_and(|unit| unit.protocol.is_some() || unit.edge_ip_version.is_some()) {
        return (
            format!("{summary} The unit sets such an option already: change it there."),
            vec!["systemctl edit --full cloudflared".to_owned()],
        );
    }
    let assignments = assignments.iter().map(|a| format!("Environment={a}"));
    (
        summary.to_owned(),
        override_unit(&assignments.collect::<Vec<_>>()),
    )
}

/// No option helps: what is slow has to go, or the limit.
fn more_time(diagnosis: Diagnosis<'_>, killed: &KilledService) -> (String, Vec<String>) {
    let first = if silent_resolver(diagnosis) {
        "Remove the silent resolver"
    } else {
        "Remove what makes the start slow"
    };
    let Some(needed) = killed.first_connection_s else {
        return (format!("{first}."), Vec::new());
    };
    // A minute more than the slowest start, in whole minutes.
    let limit = ((needed.max / 60.0).ceil() + 1.0) * 60.0;
    (
        format!("{first}, or give the service more time to start."),
        override_unit(&[format!("TimeoutStartSec={limit:.0}")]),
    )
}

fn is_dead(rows: &[JudgedRow], family: Family) -> bool {
    let mut own = rows
        .iter()
        .filter(|row| row.target.family == family && row.target.service != Service::Https);
    own.any(|row| row.status() == Status::Blocked)
}

/// The lines that change the service, as an administrator types them.
fn override_unit(assignments: &[String]) -> Vec<String> {
    const FOLDER: &str = "/etc/systemd/system/cloudflared.service.d";
    let assignments = assignments.join("\\n");
    vec![
        format!("mkdir -p {FOLDER}"),
        format!("printf '[Service]\\n{assignments}\\n' > {FOLDER}/tunnelcheck.conf"),
        "systemctl daemon-reload && systemctl restart cloudflared".to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use crate::diagnose::diagnose;
    use crate::model::{
        FindingCode, Observations, ProtocolChoice, Report, ServiceUnit, Severity, Systemd, Verdict,
    };

    const IPV6_DEAD: &str = include_str!("../../../tests/replay/cases/ipv6-black-hole.json");
    const UDP_DEAD: &str = include_str!("../../../tests/replay/cases/udp-dropped.json");
    const RESOLVER_DEAD: &str =
        include_str!("../../../tests/replay/cases/first-resolver-dead.json");

    fn official() -> ServiceUnit {
        ServiceUnit {
            path: "/etc/systemd/system/cloudflared.service".to_owned(),
            waits_for_ready: true,
            start_timeout_ms: Some(15_000),
            protocol: None,
            edge_ip_version: None,
            options_known: true,
        }
    }

    fn with_unit(recorded: &str, unit: ServiceUnit) -> Report {
        diagnosed(recorded, |seen| {
            seen.host.systemd = Some(Systemd { unit: Some(unit) });
        })
    }

    fn diagnosed(recorded: &str, change: impl FnOnce(&mut Observations)) -> Report {
        let report: Report = serde_json::from_str(recorded).unwrap();
        let mut seen = report.into_observations();
        change(&mut seen);
        diagnose(seen)
    }

    /// Severity, and title, evidence and remedy in one text.
    fn finding(report: &Report) -> Option<(Severity, String)> {
        let found = report
            .findings
            .iter()
            .find(|f| f.code == FindingCode::ServiceKilled)?;
        let commands = found.remedy.commands.join("; ");
        let text = format!(
            "{} | {} | {:?} | {} | {commands}",
            found.title, found.detail, found.evidence, found.remedy.summary
        );
        Some((found.severity, text))
    }

    #[test]
    fn the_remedy_is_one_with_which_the_service_starts() {
        for (report, expected) in [
            (
                with_unit(UDP_DEAD, official()),
                "Environment=TUNNEL_TRANSPORT_PROTOCOL=http2\\n'",
            ),
            (
                with_unit(IPV6_DEAD, official()),
                "Environment=TUNNEL_EDGE_IP_VERSION=4\\n'",
            ),
            (
                with_unit(RESOLVER_DEAD, official()),
                "TimeoutStartSec=120\\n'",
            ),
        ] {
            let (_, text) = finding(&report).unwrap();
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn a_service_is_judged_by_its_own_options() {
        let with = |protocol| ServiceUnit {
            protocol: Some(protocol),
            ..official()
        };
        let quic = with_unit(UDP_DEAD, with(ProtocolChoice::Quic));
        let (severity, text) = finding(&quic).unwrap();
        assert_eq!(severity, Severity::Error);
        assert!(text.contains("no first connection comes"), "{text}");
        // Its command line wins over an override of the environment.
        assert!(!text.contains("Environment="), "{text}");
        assert_eq!(
            finding(&with_unit(UDP_DEAD, with(ProtocolChoice::Http2))),
            None
        );
        // Over HTTP/2 a dial to an address that is silent takes 15 s.
        let (_, text) = finding(&with_unit(IPV6_DEAD, with(ProtocolChoice::Http2))).unwrap();
        assert!(text.contains("connection comes 15 to "), "{text}");
    }

    #[test]
    fn what_was_not_read_is_not_called_sure() {
        let unsure = ServiceUnit {
            options_known: false,
            ..official()
        };
        let report = with_unit(RESOLVER_DEAD, unsure);
        assert_eq!(report.verdict, Verdict::Ready);
        let (severity, text) = finding(&report).unwrap();
        assert_eq!(severity, Severity::Warning);
        assert!(
            text.contains("may kill") && !text.contains("never"),
            "{text}"
        );
        assert!(!report.summary.contains("kill"), "{}", report.summary);
    }

    #[test]
    fn a_check_with_other_resolvers_says_nothing_of_the_unit() {
        let report = diagnosed(RESOLVER_DEAD, |seen| {
            seen.options.resolver = seen.resolvers.clone();
            seen.host.systemd = Some(Systemd {
                unit: Some(official()),
            });
        });
        assert_eq!(report.verdict, Verdict::Ready);
        assert_eq!(finding(&report), None);
    }
}
