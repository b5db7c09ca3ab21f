//! The truth about a scenario, and how a report departs from it.
//!
//! The table of expected rows is built from the contract: two regions, two transports and two
//! families on 7844, then each optional host in both families. A scenario names the rows that
//! are not simply reachable.

use std::fmt::Display;

use serde::Deserialize;
use serde_json::Value;

use crate::internet::{Family, REGIONS};
use crate::scenario::Scenario;

/// The optional hosts that are probed always.
const OPTIONAL_HOSTS: [&str; 4] = [
    "update.argotunnel.com",
    "api.cloudflare.com",
    "pqtunnels.cloudflareresearch.com",
    "api.trycloudflare.com",
];

/// What the report has to say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    /// `ready`, `degraded`, `blocked` or `inconclusive`.
    verdict: String,
    /// The process's, where the options change what the verdict means to a script.
    exit_code: Option<i32>,
    /// `quic`, `http2`, or absent for null.
    suggested_protocol: Option<String>,
    #[serde(default)]
    quic: Protocol,
    #[serde(default)]
    http2: Protocol,
    /// Departures from "reachable"; where several match a row the last one decides.
    #[serde(default)]
    rows: Vec<RowRule>,
    /// Departures from "ok" among the DNS lookups.
    #[serde(default)]
    lookups: Vec<LookupRule>,
    /// The codes of all findings of severity error or warning, where the scenario is about them.
    findings: Option<Vec<String>>,
    /// The longest that the whole run may take.
    #[serde(default = "twelve_seconds")]
    within_ms: u64,
}

/// The default budget of the check, and a start and an end.
fn twelve_seconds() -> u64 {
    12_000
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Protocol {
    status: String,
    usable: bool,
}

impl Default for Protocol {
    fn default() -> Self {
        Self { status: "ready".to_owned(), usable: true }
    }
}

/// What is true of the rows that a selector names.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RowRule {
    /// Words that must all fit: a service (`quic`, `http2`, `https`), a family (`ipv4`, `ipv6`)
    /// or a host (`region1`, `api.cloudflare.com`). No word: every row.
    on: String,
    status: String,
    cause: Option<String>,
    requirement: Option<String>,
    source: Option<String>,
    /// The number of addresses that pass.
    reachable: Option<u64>,
    /// What `detail` has to mention: the sender of an ICMP error, the issuer of a certificate.
    detail: Option<String>,
}

/// What is true of the lookups that fit every field that is given.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LookupRule {
    name: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    via: Option<String>,
    /// Every status that is right: a dead resolver need not be asked everything.
    status: Vec<String>,
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
    detail: Option<String>,
}

/// What one run of the product left behind.
pub(crate) struct Run {
    pub(crate) report: Value,
    pub(crate) exit_code: Option<i32>,
    pub(crate) elapsed_ms: u64,
}

/// Every departure of a run from the truth, one line each; empty when it told the truth.
pub(crate) fn differences(scenario: &Scenario, run: &Run) -> Vec<String> {
    let expect = &scenario.expect;
    let mut found = Differences::default();
    verdict(expect, run, &mut found);
    for (name, wanted) in [("quic", &expect.quic), ("http2", &expect.http2)] {
        let actual = &run.report["protocols"][name];
        found.compare(&format!("protocols.{name}.status"), &wanted.status, &text(&actual["status"]));
        found.compare(&format!("protocols.{name}.usable"), &wanted.usable, &actual["usable"]);
    }
    rows(scenario, list(&run.report["destinations"]), &mut found);
    lookups(&expect.lookups, list(&run.report["dns"]["lookups"]), &mut found);
    findings(expect, list(&run.report["findings"]), &mut found);
    found.0
}

fn verdict(expect: &Expect, run: &Run, found: &mut Differences) {
    let exit_code = expect.exit_code.unwrap_or(match expect.verdict.as_str() {
        "ready" => 0,
        "blocked" => 1,
        "degraded" => 3,
        _ => 4,
    });
    found.compare("schema_version", &1, &run.report["schema_version"]);
    found.compare("verdict", &expect.verdict, &text(&run.report["verdict"]));
    found.compare("exit_code", &exit_code, &run.report["exit_code"]);
    let status = run.exit_code.map_or("a signal".to_owned(), |code| code.to_string());
    found.compare("exit status of the process", &exit_code, &status);
    let suggested = expect.suggested_protocol.as_deref().unwrap_or("null");
    found.compare("suggested_protocol", &suggested, &text(&run.report["suggested_protocol"]));
    if run.elapsed_ms > expect.within_ms {
        found.0.push(format!("took {} ms, at most {} ms are right", run.elapsed_ms, expect.within_ms));
    }
}

fn rows(scenario: &Scenario, actual: &[Value], found: &mut Differences) {
    let mut expected = all_reachable(&scenario.args);
    for rule in &scenario.expect.rows {
        let mut matched = expected.iter_mut().filter(|row| row.fits(&rule.on)).peekable();
        if matched.peek().is_none() {
            found.0.push(format!("the scenario is wrong: no row fits \"{}\"", rule.on));
        }
        matched.for_each(|row| row.follow(rule));
    }
    for row in &expected {
        let twins: Vec<&Value> = actual.iter().filter(|value| row.is(value)).collect();
        match twins[..] {
            [value] => row.compare(value, found),
            _ => found.0.push(format!("{}: {} rows in the report, expected 1", row.label(), twins.len())),
        }
    }
    for value in actual.iter().filter(|value| !expected.iter().any(|row| row.is(value))) {
        let words = ["host", "service", "transport", "family"].map(|field| text(&value[field]));
        found.0.push(format!("a row that should not be there: {}", words.join(" ")));
    }
}

/// The rows of a world in which nothing is blocked.
fn all_reachable(args: &[String]) -> Vec<Row> {
    let tunnel = REGIONS
        .iter()
        .flat_map(|host| ["quic", "http2"].map(|service| (*host, service)))
        .flat_map(|pair| Family::BOTH.map(|family| Row::reachable(pair.0, pair.1, family, "required")));
    let team = args.iter().position(|word| word == "--team").and_then(|at| args.get(at + 1));
    let mut hosts = OPTIONAL_HOSTS.map(str::to_owned).to_vec();
    hosts.extend(team.map(|team| format!("{team}.cloudflareaccess.com")));
    if args.iter().any(|word| word == "--no-optional") {
        hosts.clear();
    }
    let optional = hosts
        .iter()
        .flat_map(|host| Family::BOTH.map(|family| Row::reachable(host, "https", family, "optional")));
    tunnel.chain(optional).collect()
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
            detail: None,
        }
    }

    fn port(&self) -> u16 {
        if self.service == "https" { 443 } else { 7844 }
    }

    fn transport(&self) -> &'static str {
        if self.service == "quic" { "udp" } else { "tcp" }
    }

    fn fits(&self, selector: &str) -> bool {
        let region = self.host.split('.').next().filter(|_| self.service != "https");
        selector.split_whitespace().all(|word| {
            word == self.service || word == self.family.word() || word == self.host || Some(word) == region
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
        let host = if self.service == "https" { &self.host } else { self.host.split('.').next().unwrap_or("") };
        format!("{:5} {} {host}", self.service, self.family.word())
    }

    fn compare(&self, value: &Value, found: &mut Differences) {
        let label = self.label();
        let wanted = format!("{} ({})", self.status, self.cause.as_deref().unwrap_or("null"));
        let actual = format!("{} ({})", text(&value["status"]), text(&value["cause"]));
        found.compare(&label, &wanted, &actual);
        found.compare(&format!("{label} service"), &self.service, &text(&value["service"]));
        found.compare(&format!("{label} requirement"), &self.requirement, &text(&value["requirement"]));
        if let Some(source) = &self.source {
            found.compare(&format!("{label} source"), source, &text(&value["source"]));
        }
        if let Some(reachable) = self.reachable {
            found.compare(&format!("{label} addresses.reachable"), &reachable, &value["addresses"]["reachable"]);
        }
        let detail = text(&value["detail"]);
        if let Some(missing) = self.detail.as_ref().filter(|wanted| !detail.contains(*wanted)) {
            found.0.push(format!("{label} detail: expected mention of {missing:?}, report says {detail:?}"));
        }
    }
}

fn lookups(rules: &[LookupRule], actual: &[Value], found: &mut Differences) {
    for rule in rules {
        if !actual.iter().any(|lookup| rule.fits(lookup)) {
            found.0.push(format!("no lookup in the report fits {rule:?}"));
        }
    }
    for lookup in actual {
        let status = text(&lookup["status"]);
        let allowed = match rules.iter().rfind(|rule| rule.fits(lookup)) {
            Some(rule) => rule.status.clone(),
            None => vec!["ok".to_owned()],
        };
        if !allowed.contains(&status) {
            let words = ["type", "name", "via"].map(|field| text(&lookup[field]));
            found.compare(&format!("lookup {}", words.join(" ")), &allowed.join(" or "), &status);
        }
    }
}

impl LookupRule {
    fn fits(&self, lookup: &Value) -> bool {
        let begins = |wanted: &Option<String>, field: &str| {
            wanted.as_ref().is_none_or(|wanted| text(&lookup[field]).starts_with(wanted))
        };
        self.kind.as_ref().is_none_or(|kind| lookup["type"] == kind.as_str())
            && begins(&self.name, "name")
            && begins(&self.via, "via")
    }
}

/// The exact accusations where the scenario lists them; and whatever it lists, a network that is
/// ready is not called faulty.
fn findings(expect: &Expect, actual: &[Value], found: &mut Differences) {
    let of = |severities: &[&str]| {
        let mut codes: Vec<String> = actual
            .iter()
            .filter(|finding| severities.iter().any(|severity| finding["severity"] == *severity))
            .map(|finding| text(&finding["code"]))
            .collect();
        codes.sort();
        codes
    };
    if let Some(wanted) = &expect.findings {
        let mut wanted = wanted.clone();
        wanted.sort();
        found.compare("findings", &wanted.join(" "), &of(&["error", "warning"]).join(" "));
    }
    let errors = of(&["error"]);
    if expect.verdict == "ready" && !errors.is_empty() {
        found.0.push(format!("ready, yet findings of severity error: {}", errors.join(" ")));
    }
    if ["blocked", "degraded"].contains(&expect.verdict.as_str()) && errors.is_empty() {
        found.0.push(format!("{}, yet no finding of severity error", expect.verdict));
    }
}

#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn compare(&mut self, what: &str, expected: &impl Display, actual: &impl Display) {
        let (expected, actual) = (expected.to_string(), actual.to_string());
        if expected != actual {
            self.0.push(format!("{what}: expected {expected}, report says {actual}"));
        }
    }
}

/// A string without its quotes, anything else as JSON.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
