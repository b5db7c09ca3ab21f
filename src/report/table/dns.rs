//! Name resolution: a line for each resolver that was asked.

use std::collections::{BTreeMap, BTreeSet};

use super::super::style::Paint;
use super::page::Page;
use crate::model::{Answer, Lookup, LookupStatus, RecordType, Report, Service, Via};

/// Writes a line for each resolver, in the order in which they were first asked.
pub(super) fn write(page: &mut Page, report: &Report) {
    page.heading("DNS");
    let resolvers = resolvers(report);
    if resolvers.is_empty() {
        page.paragraph(4, "-", "nothing was looked up");
    }
    for resolver in resolvers {
        let mark = page.style.paint(resolver.paint, resolver.mark);
        let label = format!("{}  {mark}", resolver.name);
        page.paragraph(4, &label, &resolver.answers);
    }
}

/// What became of the questions to one resolver.
pub(in crate::report) struct Resolver {
    pub(in crate::report) name: String,
    pub(in crate::report) mark: &'static str,
    paint: Paint,
    pub(in crate::report) answers: String,
}

/// The resolvers in the order in which they were first asked.
pub(in crate::report) fn resolvers(report: &Report) -> Vec<Resolver> {
    let mut asked: Vec<Via> = Vec::new();
    for lookup in &report.dns.lookups {
        if !asked.contains(&lookup.via) {
            asked.push(lookup.via);
        }
    }
    let of = |via| {
        let lookups = report.dns.lookups.iter();
        let own: Vec<_> = lookups.filter(|lookup| lookup.via == via).collect();
        resolver(report, via, &own)
    };
    asked.into_iter().map(of).collect()
}

fn resolver(report: &Report, via: Via, lookups: &[&Lookup]) -> Resolver {
    let failed = lookups
        .iter()
        .filter(|lookup| failed(report, lookup))
        .count();
    let (paint, mark) = match failed {
        0 => (Paint::Good, "ok"),
        failed if failed == lookups.len() => (Paint::Bad, "x"),
        _ => (Paint::Fair, "~"),
    };
    let mut parts: Vec<_> = [RecordType::Srv, RecordType::A, RecordType::Aaaa]
        .into_iter()
        .filter_map(|kind| of_type(report, kind, lookups))
        .collect();
    parts.extend(documented(report, lookups));
    let name = match via {
        Via::Dot => "DNS over TLS".to_owned(),
        Via::Hosts => "hosts file".to_owned(),
        Via::Resolver(_) => via.to_string(),
    };
    Resolver {
        name,
        mark,
        paint,
        answers: parts.join(", "),
    }
}

/// That an optional host has no IPv6 address, say, is no failure of the resolver.
fn failed(report: &Report, lookup: &Lookup) -> bool {
    match lookup.status {
        LookupStatus::Ok => false,
        LookupStatus::NoRecords => !is_optional(report, lookup),
        _ => true,
    }
}

fn is_optional(report: &Report, lookup: &Lookup) -> bool {
    let rows = &report.destinations;
    rows.iter()
        .any(|row| row.service == Service::Https && row.host == lookup.name)
}

/// How many records of a type the edge's names have, and what went wrong.
fn of_type(report: &Report, kind: RecordType, lookups: &[&Lookup]) -> Option<String> {
    let (optional, edge): (Vec<&&Lookup>, Vec<&&Lookup>) = lookups
        .iter()
        .filter(|lookup| lookup.record_type == kind)
        .partition(|lookup| is_optional(report, lookup));
    let answers = edge.iter().flat_map(|lookup| &lookup.answers);
    let found = answers
        .map(Answer::to_string)
        .collect::<BTreeSet<_>>()
        .len();
    let unit = if kind == RecordType::Srv {
        " targets"
    } else {
        ""
    };
    let failures = failures(report, &edge, &optional);
    match (found, failures) {
        (0, None) if edge.is_empty() => None,
        (_, None) => Some(format!("{kind} {found}{unit}")),
        (0, Some(failures)) => Some(format!("{kind} {failures}")),
        (_, Some(failures)) => Some(format!("{kind} {found}{unit} and {failures}")),
    }
}

/// `timed out` where everything did; else each failure with the names that it befell.
fn failures(report: &Report, edge: &[&&Lookup], optional: &[&&Lookup]) -> Option<String> {
    let all = || edge.iter().chain(optional);
    let mut befell: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for lookup in all().filter(|lookup| failed(report, lookup)) {
        let names = befell.entry(lookup.status.to_string()).or_default();
        names.insert(&lookup.name);
    }
    let asked = all()
        .map(|lookup| lookup.name.as_str())
        .collect::<BTreeSet<_>>()
        .len();
    let texts = befell.iter().map(|(status, names)| {
        if names.len() == asked {
            status.clone()
        } else {
            let names: Vec<_> = names.iter().copied().collect();
            format!("{status} for {}", names.join(" and "))
        }
    });
    let texts: Vec<_> = texts.collect();
    (!texts.is_empty()).then(|| texts.join(" and "))
}

/// Whether the edge's answers are the documented ones. Edges given by hand have no documentation.
fn documented(report: &Report, lookups: &[&Lookup]) -> Option<String> {
    let edge = lookups.iter().filter(|lookup| !is_optional(report, lookup));
    let answered = edge.clone().any(|lookup| !lookup.answers.is_empty());
    if !answered || !report.options.edge.is_empty() {
        return None;
    }
    let unexpected = edge
        .flat_map(|lookup| &lookup.unexpected)
        .map(Answer::to_string);
    Some(match unexpected.collect::<BTreeSet<_>>().len() {
        0 => "all as documented".to_owned(),
        some => format!("{some} not documented"),
    })
}
