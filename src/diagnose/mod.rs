//! PURE: observations in, report out. No clock, no socket, no global.

mod causes;
mod dns;
mod experiment_words;
mod experiments;
mod failure;
mod findings;
mod outlook;
mod own_rules;
mod platform;
mod rate_limit;
mod row;
mod row_evidence;
mod silence_tests;
mod sni;
mod verdict;
mod words;

pub use experiments::experiments;
pub use rate_limit::{FirstSuccesses, RateLimit, RateLimits};
pub use row::{Pending, RowVerdict, judge};
pub use row_evidence::AddressState;
pub use silence_tests::SilenceTests;

use std::collections::BTreeMap;

use crate::evidence::PathEstimate;
use crate::model::{
    AddressCount, Attempt, Destination, DnsReport, Family, Forecast, Observations, OwnFlow,
    ProtocolReport, Protocols, RegionReport, Report, SCHEMA_VERSION, Service, Status, Tool,
};
use crate::targets::{Names, Target, targets};

/// Diagnoses what a run saw. The order of attempts never changes the result.
#[must_use]
pub fn diagnose(seen: Observations) -> Report {
    let names = names(&seen);
    let (rows, rate_limits) = judged_rows(&seen, names);
    let discovery = dns::discovery(&seen.options, names);
    let mut conclusion = verdict::conclude(&seen, &discovery, &rows);
    let outlook = outlook::outlook(&seen, &discovery, &rows, &conclusion);
    let forecast = outlook.as_ref().map(|outlook| &outlook.forecast);
    conclusion.heed_the_service(&seen, forecast);
    let diagnosis = Diagnosis {
        seen: &seen,
        discovery: &discovery,
        rows: &rows,
        conclusion: &conclusion,
        forecast,
        killed: outlook.as_ref().and_then(|outlook| outlook.killed.as_ref()),
    };
    let findings = findings::findings(diagnosis, &rate_limits);
    let verdict = conclusion.verdict;
    let allow_degraded = seen.options.allow_degraded && !conclusion.service_dies;
    Report {
        schema_version: SCHEMA_VERSION,
        tool: tool(),
        summary: words::summary(diagnosis, &findings),
        scope: words::scope(&seen.host),
        verdict,
        exit_code: crate::model::exit_code(verdict, allow_degraded),
        suggested_protocol: conclusion.suggested,
        forecast: forecast.cloned(),
        protocols: Protocols {
            quic: protocol(Service::Quic, &conclusion, &rows),
            http2: protocol(Service::Http2, &conclusion, &rows),
        },
        sni: sni::sni(&rows),
        destinations: rows.iter().map(|row| destination(row, &seen)).collect(),
        findings,
        own_rules: seen.own_rules,
        dns: DnsReport {
            resolvers: seen.resolvers,
            lookups: seen.lookups,
            over_tcp: seen.over_tcp,
        },
        started_at: seen.started_at,
        duration_ms: seen.duration,
        ended: seen.ended,
        host: seen.host,
        options: seen.options,
    }
}

/// What is known of a network, for the sentences of its report.
#[derive(Clone, Copy)]
struct Diagnosis<'a> {
    seen: &'a Observations,
    discovery: &'a dns::Discovery,
    rows: &'a [JudgedRow],
    conclusion: &'a verdict::Conclusion,
    forecast: Option<&'a Forecast>,
    /// How a service fares that systemd kills.
    killed: Option<&'a outlook::KilledService>,
}

/// The rows of what a run saw, each with what is known of its addresses, in the order of the report.
///
/// A report counts addresses; which ones they are follows from what was seen, by the same rules.
#[must_use]
pub fn judgements(seen: &Observations) -> Vec<(Target, RowVerdict)> {
    let names = names(seen);
    let (rows, _) = judged_rows(seen, names);
    rows.into_iter()
        .map(|row| (row.target, row.verdict))
        .collect()
}

fn names(seen: &Observations) -> Names<'_> {
    Names::settled(&seen.lookups, &seen.attempts).where_any_counts(seen.host.asks_all_resolvers())
}

fn judged_rows(seen: &Observations, names: Names<'_>) -> (Vec<JudgedRow>, RateLimits) {
    let targets = targets(&seen.options, &seen.host, names);
    let rate_limits = RateLimits::of(&seen.attempts.iter().collect::<Vec<_>>(), &targets);
    let tests = SilenceTests::of(seen.attempts.iter(), &rate_limits);
    let judge = |target| {
        let mut row = judged(target, &seen.attempts, &tests);
        row.own = own_rules::of_row(&row.target, seen.own_rules.as_ref());
        own_rules::attribute(&mut row.verdict, &row.attempts, &row.own);
        row
    };
    (targets.into_iter().map(judge).collect(), rate_limits)
}

/// A row with its attempts and what they prove.
pub(crate) struct JudgedRow {
    pub(crate) target: Target,
    pub(crate) verdict: RowVerdict,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) estimate: PathEstimate,
    /// What this host's own rules do with its flows, as far as that was asked.
    pub(crate) own: Vec<OwnFlow>,
}

impl JudgedRow {
    pub(crate) fn status(&self) -> Status {
        self.verdict.status
    }

    pub(crate) fn is_blocked(&self) -> bool {
        matches!(self.status(), Status::Blocked | Status::Partial)
    }
}

fn judged(target: Target, attempts: &[Attempt], tests: &SilenceTests) -> JudgedRow {
    let test = tests.for_target(&target);
    let mut own: Vec<_> = attempts
        .iter()
        .filter(|a| target.includes(a))
        .cloned()
        .collect();
    own.sort_by(|a, b| place(a).cmp(&place(b)));
    let verdict = judge(&target, &own.iter().collect::<Vec<_>>(), &test);
    JudgedRow {
        target,
        verdict,
        attempts: own,
        estimate: test.estimate,
        own: Vec::new(),
    }
}

/// The place of an attempt among those of its row: by its start. Ties are broken by what identifies an
/// attempt, so that the order of the input never shows.
fn place(attempt: &Attempt) -> impl Ord + use<'_> {
    let flow = (attempt.address, attempt.sni.as_str(), attempt.profile);
    (attempt.started(), flow, attempt.attempt, attempt.elapsed())
}

/// This program, as it signs what it writes.
pub(crate) fn tool() -> Tool {
    Tool {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn protocol(
    service: Service,
    conclusion: &verdict::Conclusion,
    rows: &[JudgedRow],
) -> ProtocolReport {
    let mut regions = BTreeMap::new();
    for row in rows.iter().filter(|row| row.target.service == service) {
        let none = RegionReport {
            ipv4: Status::Unresolved,
            ipv6: Status::Unresolved,
        };
        let region = regions
            .entry(row.target.region.clone().unwrap_or_default())
            .or_insert(none);
        match row.target.family {
            Family::Ipv4 => region.ipv4 = row.status(),
            Family::Ipv6 => region.ipv6 = row.status(),
        }
    }
    let state = conclusion.protocol(service);
    ProtocolReport {
        status: state.status,
        usable: state.usable,
        regions,
    }
}

fn destination(row: &JudgedRow, seen: &Observations) -> Destination {
    let target = &row.target;
    let attempts: Vec<_> = row.attempts.iter().collect();
    let probed = target
        .addresses
        .iter()
        .filter(|address| attempts.iter().any(|a| a.address == **address))
        .count();
    Destination {
        host: target.host.clone(),
        port: target.port,
        transport: target.service.transport(),
        service: target.service,
        sni: target.deciding_sni().to_owned(),
        family: target.family,
        region: target.region.clone(),
        requirement: target.requirement,
        source: target.source,
        status: row.status(),
        cause: row.verdict.cause,
        detail: words::detail(row, &seen.host),
        addresses: AddressCount {
            total: target.addresses.len(),
            probed,
            reachable: row.verdict.reachable(),
        },
        rtt_ms: row::round_trips(&attempts),
        probes: row.attempts.clone(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
