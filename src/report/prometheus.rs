//! The report in the text format of Prometheus, for `node_exporter`'s textfile collector.
//!
//! What is not known has no sample: a row that is inconclusive, unavailable or skipped is neither 0
//! nor 1 in `tunnelcheck_destination_reachable`, and says so in `tunnelcheck_destination_status`.
//! Samples carry no time of their own, which the collector refuses; the start of the check is a metric,
//! so that the age is `time() - tunnelcheck_start_timestamp_seconds`.

use std::collections::BTreeSet;
use std::fmt::{Display, Write as _};

use super::{escape, rows};
use crate::diff::{Difference, Outcome, Trend};
use crate::model::{Cause, Destination, Report, Requirement, Service, Status, Verdict};

/// Renders a report whose texts are escaped already, and what is different.
pub(super) fn write(report: Option<&Report>, difference: Option<&Difference>) -> String {
    let mut text = Exposition::default();
    if let Some(report) = report {
        of_run(&mut text, report);
        of_protocols(&mut text, report);
        of_rows(&mut text, report);
        of_findings(&mut text, report);
    }
    if let Some(difference) = difference {
        of_difference(&mut text, difference);
    }
    text.text
}

fn of_run(text: &mut Exposition, report: &Report) {
    let version: Labels = &[("version", &report.tool.version)];
    text.gauge("info", "The program that checked.", [(version, 1.0)]);
    let verdicts = [
        Verdict::Ready,
        Verdict::Degraded,
        Verdict::Blocked,
        Verdict::Inconclusive,
    ];
    let verdicts = verdicts.map(|verdict| (verdict.to_string(), verdict == report.verdict));
    text.gauge(
        "verdict",
        "1 for the verdict of the check, 0 for the others.",
        verdicts
            .iter()
            .map(|(verdict, is)| ([("verdict", verdict.as_str())], f64::from(u8::from(*is)))),
    );
    let code = f64::from(report.exit_code);
    let help = "The exit code that goes with the verdict; 0 is good.";
    text.gauge("exit_code", help, [(NONE, code)]);
    let duration = report.duration_ms.duration().as_secs_f64();
    let help = "How long the check took.";
    text.gauge("duration_seconds", help, [(NONE, duration)]);
    // A saved report may hold anything.
    let started = report.started_at.parse::<jiff::Timestamp>();
    let started = started.map(|time| time.as_duration().as_secs_f64());
    text.gauge(
        "start_timestamp_seconds",
        "When the check began, in Unix time; its age is time() minus this.",
        started.into_iter().map(|time| (NONE, time)),
    );
}

fn of_protocols(text: &mut Exposition, report: &Report) {
    let protocols = [
        ("quic", Service::Quic, &report.protocols.quic),
        ("http2", Service::Http2, &report.protocols.http2),
    ];
    let wanted = protocols
        .iter()
        .filter(|(.., state)| state.status != Verdict::Skipped);
    text.gauge(
        "protocol_usable",
        "1 when cloudflared gets a connection over the protocol, 0 when not or when that is not known.",
        wanted.map(|(name, _, state)| ([("protocol", *name)], bit(state.usable))),
    );
    text.gauge(
        "protocol_suggested",
        "1 for the protocol that cloudflared ends up with.",
        protocols.map(|(name, service, _)| {
            let is = report.suggested_protocol == Some(service);
            ([("protocol", name)], bit(is))
        }),
    );
}

fn of_rows(text: &mut Exposition, report: &Report) {
    let rows: Vec<_> = report.destinations.iter().map(Row::of).collect();
    let reached = rows.iter().filter_map(|row| {
        let reached = match row.seen.status {
            Status::Reachable => 1.0,
            Status::Partial | Status::Blocked | Status::Unresolved => 0.0,
            Status::Unavailable | Status::Inconclusive | Status::Skipped => return None,
        };
        Some((row.labels(), reached))
    });
    text.gauge(
        "destination_reachable",
        "1 when nothing of the destination is blocked, 0 when something is; absent when not known.",
        reached,
    );
    let states = rows.iter().map(|row| {
        let cause = row.seen.cause.map(Cause::as_str);
        let more = [
            ("status", row.status.as_str()),
            ("cause", cause.unwrap_or("")),
        ];
        (
            row.labels().into_iter().chain(more).collect::<Vec<_>>(),
            1.0,
        )
    });
    text.gauge(
        "destination_status",
        "Always 1; the labels have the status and the cause of the destination.",
        states,
    );
    let count = |of: fn(&Destination) -> usize| {
        let counted = move |row: &Row| {
            let count = u32::try_from(of(row.seen)).unwrap_or(u32::MAX);
            f64::from(count)
        };
        rows.iter().map(move |row| (row.labels(), counted(row)))
    };
    text.gauge(
        "destination_addresses",
        "How many addresses of the destination are known.",
        count(|row| row.addresses.total),
    );
    text.gauge(
        "destination_addresses_reachable",
        "How many addresses of the destination pass.",
        count(|row| row.addresses.reachable),
    );
    let times = rows.iter().flat_map(|row| {
        let range = row.seen.rtt_ms.into_iter();
        let times =
            range.flat_map(|rtt| [("min", rtt.min), ("median", rtt.median), ("max", rtt.max)]);
        times.map(|(stat, time)| {
            let labels = row.labels().into_iter().chain([("stat", stat)]);
            (labels.collect::<Vec<_>>(), time.duration().as_secs_f64())
        })
    });
    text.gauge(
        "destination_rtt_seconds",
        "The least, median and greatest round-trip time of the destination's addresses.",
        times,
    );
}

fn of_findings(text: &mut Exposition, report: &Report) {
    let findings: Vec<_> = report
        .findings
        .iter()
        .map(|finding| (finding.code.as_str(), finding.severity.to_string()))
        .collect();
    text.gauge(
        "finding",
        "Always 1; the labels have the code and the severity of a finding.",
        findings
            .iter()
            .map(|(code, severity)| ([("code", *code), ("severity", severity)], 1.0)),
    );
}

fn of_difference(text: &mut Exposition, difference: &Difference) {
    let outcomes = [
        ("not_worse", Outcome::NotWorse),
        ("worse", Outcome::Worse),
        ("uncertain", Outcome::Uncertain),
    ];
    text.gauge(
        "baseline_outcome",
        "1 for what the comparison with the baseline comes to, 0 for the others.",
        outcomes.map(|(name, outcome)| ([("outcome", name)], bit(outcome == difference.outcome))),
    );
    let trends = Trend::ALL.map(|trend| (trend.heading().to_lowercase().replace(' ', "_"), trend));
    let counts = trends.iter().flat_map(|(name, trend)| {
        [true, false].map(|required| {
            let changes = difference.of(*trend).iter();
            let count = changes.filter(|change| change.required == required).count();
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            let labels = [
                ("trend", name.as_str()),
                ("required", if required { "true" } else { "false" }),
            ];
            (labels, f64::from(count))
        })
    });
    text.gauge(
        "baseline_changes",
        "How many subjects differ from the baseline.",
        counts,
    );
    let began = difference.before.started_at.parse::<jiff::Timestamp>();
    let began = began.map(|time| time.as_duration().as_secs_f64());
    text.gauge(
        "baseline_start_timestamp_seconds",
        "When the check of the baseline began, in Unix time.",
        began.into_iter().map(|time| (NONE, time)),
    );
}

type Labels<'a> = &'a [(&'static str, &'a str)];

const NONE: Labels<'static> = &[];

/// A row with the texts that its labels borrow.
struct Row<'a> {
    seen: &'a Destination,
    port: String,
    service: String,
    transport: String,
    family: String,
    status: String,
}

impl<'a> Row<'a> {
    fn of(row: &'a Destination) -> Self {
        Self {
            seen: row,
            port: row.port.to_string(),
            service: row.service.to_string(),
            transport: row.transport.to_string().to_lowercase(),
            family: row.family.to_string().to_lowercase(),
            status: row.status.to_string(),
        }
    }

    fn labels(&self) -> Vec<(&'static str, &str)> {
        let requirement = match self.seen.requirement {
            Requirement::Required => "required",
            Requirement::Optional => "optional",
        };
        vec![
            ("destination", rows::place(self.seen)),
            ("host", &self.seen.host),
            ("port", &self.port),
            ("service", &self.service),
            ("transport", &self.transport),
            ("family", &self.family),
            ("requirement", requirement),
        ]
    }
}

/// Metrics in the text format.
#[derive(Default)]
struct Exposition {
    text: String,
}

impl Exposition {
    /// Writes a gauge with its samples; one without samples is left out. Of samples with the same
    /// labels the first is kept: a collector would refuse the whole file.
    fn gauge<'a, L: AsRef<[(&'static str, &'a str)]>>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, f64)>,
    ) {
        let mut known = BTreeSet::new();
        let mut samples = samples
            .into_iter()
            .map(|(labels, value)| (braced(labels.as_ref()), value))
            .filter(|(labels, _)| known.insert(labels.clone()))
            .peekable();
        if samples.peek().is_none() {
            return;
        }
        self.line(format_args!("# HELP tunnelcheck_{name} {help}"));
        self.line(format_args!("# TYPE tunnelcheck_{name} gauge"));
        for (labels, value) in samples {
            self.line(format_args!("tunnelcheck_{name}{labels} {value}"));
        }
    }

    fn line(&mut self, line: impl Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{line}");
    }
}

fn braced(labels: &[(&'static str, &str)]) -> String {
    let pairs = labels.iter();
    let pairs = pairs.map(|(name, value)| format!("{name}=\"{}\"", quoted(value)));
    let pairs: Vec<_> = pairs.collect();
    if pairs.is_empty() {
        return String::new();
    }
    format!("{{{}}}", pairs.join(","))
}

/// A label's value: a backslash, a quote and a line feed are the only characters that are escaped in
/// the text format. What acts on terminals has been made visible before.
fn quoted(value: &str) -> String {
    escape(value)
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

fn bit(is: bool) -> f64 {
    f64::from(u8::from(is))
}
