//! The table of destinations that a report must have.
//!
//! It is built from the contract: two regions, two transports and two families on 7844, then each
//! optional host in both families. A scenario names the rows that are not simply reachable.

use serde::Deserialize;
use serde_json::Value;

use crate::expect::{Differences, text};
use crate::internet::{Family, REGIONS};
use crate::scenario::Scenario;

/// The optional hosts that are probed always.
const OPTIONAL_HOSTS: [&str; 5] = [
    "update.argotunnel.com",
    "github.com",
    "api.cloudflare.com",
    "management.argotunnel.com",
    "api.trycloudflare.com",
];

/// The same for fed accounts.
const FED_OPTIONAL_HOSTS: [&str; 5] = [
    "update.argotunnel.com",
    "github.com",
    "api.fed.cloudflare.com",
    "management.fed.argotunnel.com",
    "api.trycloudflare.com",
];

/// What is true of the rows that a selector names.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RowRule {
    /// Words that must all fit: a service (`quic`, `http2`, `https`), a family (`ipv4`, `ipv6`)
    /// or a host (`region1`, `api.cloudflare.com`). No word: every row.
    on: String,
    /// A status of the contract, or `absent` for a row that the report must not have.
    status: String,
    cause: Option<String>,
    requirement: Option<String>,
    source: Option<String>,
    /// The number of addresses that pass.
    reachable: Option<u64>,
    /// What `detail` has to mention: the sender of an ICMP error, the issuer of a certificate.
    #[serde(default)]
    detail: Mentions,
}

/// One text or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Mentions {
    One(String),
    All(Vec<String>),
}

impl Default for Mentions {
    fn default() -> Self {
        Self::All(Vec::new())
    }
}

impl Mentions {
    fn texts(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::All(texts) => texts,
        }
    }
}

/// One row that the report must have.
struct Row {
    host: String,
    service: &'static str,
    family: Family,
    status: String,
    cause: Option<String>,
    requirement: String,
    source: Option<String>,
    reachable: Option<u64>,
    detail: Mentions,
}

/// Holds every row of the report against the table, and the table against the report.
pub(crate) fn compare(
    scenario: &Scenario,
    rules: &[RowRule],
    actual: &[Value],
    found: &mut Differences,
) {
    let mut expected = all_reachable(&scenario.args);
    for rule in rules {
        let mut matched = expected
            .iter_mut()
            .filter(|row| row.fits(&rule.on))
            .peekable();
        if matched.peek().is_none() {
            found.0.push(format!(
                "the scenario is wrong: no row fits \"{}\"",
                rule.on
            ));
        }
        matched.for_each(|row| row.follow(rule));
    }
    expected.retain(|row| row.status != "absent");
    for row in &expected {
        let twins: Vec<&Value> = actual.iter().filter(|value| row.is(value)).collect();
        match twins[..] {
            [value] => row.compare(value, found),
            _ => found.0.push(format!(
                "{}: {} rows in the report, expected 1",
                row.label(),
                twins.len()
            )),
        }
    }
    for value in actual
        .iter()
        .filter(|value| !expected.iter().any(|row| row.is(value)))
    {
        let words = ["host", "service", "transport", "family"].map(|field| text(&value[field]));
        found.0.push(format!(
            "a row that should not be there: {}",
            words.join(" ")
        ));
    }
}

/// The rows of a world in which nothing is blocked.
fn all_reachable(args: &[String]) -> Vec<Row> {
    let tunnel = edge_hosts(args)
        .into_iter()
        .flat_map(|host| ["quic", "http2"].map(|service| (host.clone(), service)))
        .flat_map(|(host, service)| {
            let families = Family::BOTH
                .into_iter()
                .filter(|family| family.suits(&host));
            let row = |family| Row::reachable(&host, service, family, "required");
            families.map(row).collect::<Vec<_>>()
        });
    let hosts = optional_hosts(args);
    let optional = hosts.iter().flat_map(|host| {
        Family::BOTH.map(|family| Row::reachable(host, "https", family, "optional"))
    });
    tunnel.chain(optional).collect()
}

/// The usual hosts of the region and that of the team, unless they are left out, and those that are
/// asked for.
fn optional_hosts(args: &[String]) -> Vec<String> {
    let usual = match option(args, "--region") {
        Some(region) if region == "fed" => FED_OPTIONAL_HOSTS,
        _ => OPTIONAL_HOSTS,
    };
    let mut hosts = usual.map(str::to_owned).to_vec();
    hosts.extend(option(args, "--team").map(|team| format!("{team}.cloudflareaccess.com")));
    if args.iter().any(|word| word == "--no-optional") {
        hosts.clear();
    }
    let pairs = args.iter().zip(args.iter().skip(1));
    for (_, asked) in pairs.filter(|(word, _)| *word == "--optional-host") {
        if !hosts.contains(asked) {
            hosts.push(asked.clone());
        }
    }
    hosts
}

/// The hosts that are given by hand, else those of the region.
fn edge_hosts(args: &[String]) -> Vec<String> {
    let pairs = args.iter().zip(args.iter().skip(1));
    let given = pairs
        .filter(|(word, _)| *word == "--edge")
        .filter_map(|(_, edge)| {
            let (host, _) = edge.rsplit_once(':')?;
            Some(host.trim_matches(['[', ']']).to_owned())
        });
    let given: Vec<String> = given.collect();
    if !given.is_empty() {
        return given;
    }
    let prefix = option(args, "--region").map_or(String::new(), |region| format!("{region}-"));
    REGIONS.map(|host| format!("{prefix}{host}")).into()
}

fn option<'a>(args: &'a [String], name: &str) -> Option<&'a String> {
    args.iter()
        .position(|word| word == name)
        .and_then(|at| args.get(at + 1))
}

impl Row {
    fn reachable(host: &str, service: &'static str, family: Family, requirement: &str) -> Self {
        Self {
            host: host.to_owned(),
            service,
            family,
            status: "reachable".to_owned(),
            cause: None,
            requirement: requirement.to_owned(),
            source: None,
            reachable: None,
            detail: Mentions::default(),
        }
    }

    fn port(&self) -> u16 {
        if self.service == "https" { 443 } else { 7844 }
    }

    fn transport(&self) -> &'static str {
        if self.service == "quic" { "udp" } else { "tcp" }
    }

    /// `region1` or `region2`, the same for the global, the us and the fed network.
    fn region(&self) -> Option<&str> {
        let label = self
            .host
            .split('.')
            .next()
            .filter(|_| self.service != "https")?;
        label.rsplit('-').next()
    }

    fn fits(&self, selector: &str) -> bool {
        selector.split_whitespace().all(|word| {
            word == self.service
                || word == self.family.word()
                || word == self.host
                || Some(word) == self.region()
        })
    }

    fn follow(&mut self, rule: &RowRule) {
        self.status.clone_from(&rule.status);
        self.cause.clone_from(&rule.cause);
        self.source.clone_from(&rule.source);
        self.reachable = rule.reachable;
        self.detail.clone_from(&rule.detail);
        if let Some(requirement) = &rule.requirement {
            self.requirement.clone_from(requirement);
        }
    }

    /// Whether a row of the report is about this destination.
    fn is(&self, value: &Value) -> bool {
        value["host"] == self.host
            && value["port"] == self.port()
            && value["transport"] == self.transport()
            && value["family"] == self.family.word()
    }

    fn label(&self) -> String {
        let host = self.region().unwrap_or(&self.host);
        format!("{:5} {} {host}", self.service, self.family.word())
    }

    fn compare(&self, value: &Value, found: &mut Differences) {
        let label = self.label();
        let wanted = format!(
            "{} ({})",
            self.status,
            self.cause.as_deref().unwrap_or("null")
        );
        let actual = format!("{} ({})", text(&value["status"]), text(&value["cause"]));
        found.compare(&label, &wanted, &actual);
        found.compare(
            &format!("{label} service"),
            &self.service,
            &text(&value["service"]),
        );
        found.compare(
            &format!("{label} requirement"),
            &self.requirement,
            &text(&value["requirement"]),
        );
        if let Some(source) = &self.source {
            found.compare(&format!("{label} source"), source, &text(&value["source"]));
        }
        if let Some(reachable) = self.reachable {
            found.compare(
                &format!("{label} addresses.reachable"),
                &reachable,
                &value["addresses"]["reachable"],
            );
        }
        let detail = text(&value["detail"]);
        for missing in self.detail.texts() {
            if !detail.contains(missing) {
                found.0.push(format!(
                    "{label} detail: expected mention of {missing:?}, report says {detail:?}"
                ));
            }
        }
    }
}
