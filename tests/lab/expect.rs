//! The truth about a scenario, and how a report departs from it.

use std::fmt::Display;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::rows::{self, RowRule};
use crate::scenario::Scenario;
use crate::windows;

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
    /// What is true of these server names.
    #[serde(default)]
    sni: Vec<NameRule>,
    /// Departures from "ok" among the DNS lookups.
    #[serde(default)]
    lookups: Vec<LookupRule>,
    /// The codes of all findings of severity error or warning, where the scenario is about them.
    findings: Option<Vec<String>>,
    /// What findings have to say, somewhere in their text.
    #[serde(default)]
    says: Vec<Says>,
    /// What the forecast has to say, where the scenario is about it.
    forecast: Option<ForecastRule>,
    /// The longest that the whole run may take.
    #[serde(default = "twelve_seconds")]
    within_ms: u64,
}

/// A part of the text of a finding: of its evidence or its remedy.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Says {
    code: String,
    text: String,
}

/// The truth about a start of cloudflared, from the measurements in `docs/cloudflared.md`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ForecastRule {
    /// `connects`, `never` or `exits`.
    outcome: String,
    /// `quic`, `http2`, or absent for null.
    protocol: Option<String>,
    /// What was measured of the first connection in seconds: the forecast must contain it.
    first: Option<[f64; 2]>,
    /// When it exits, in seconds, to a third or a second.
    exit_after: Option<f64>,
    /// `never`, `sometimes` or `always`; absent for a host without systemd.
    killed: Option<String>,
}

/// What is different on another system.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Departures {
    /// The reason for it.
    #[expect(dead_code, reason = "no difference without a reason")]
    why: String,
    verdict: Option<String>,
    /// More rules; where several match a row the last one decides.
    #[serde(default)]
    rows: Vec<RowRule>,
    findings: Option<Vec<String>>,
}

impl Expect {
    pub(crate) fn depart(&mut self, departures: Departures) {
        self.rows.extend(departures.rows);
        self.findings = departures.findings.or(self.findings.take());
        if let Some(verdict) = departures.verdict {
            self.verdict = verdict;
        }
    }
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
        Self {
            status: "ready".to_owned(),
            usable: true,
        }
    }
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

/// What became of a server name over a transport.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NameRule {
    name: String,
    transport: String,
    status: String,
    cause: Option<String>,
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
        found.compare(
            &format!("protocols.{name}.status"),
            &wanted.status,
            &text(&actual["status"]),
        );
        found.compare(
            &format!("protocols.{name}.usable"),
            &wanted.usable,
            &actual["usable"],
        );
    }
    rows::compare(
        scenario,
        &expect.rows,
        list(&run.report["destinations"]),
        &mut found,
    );
    lookups(
        &expect.lookups,
        list(&run.report["dns"]["lookups"]),
        &mut found,
    );
    names(&expect.sni, list(&run.report["sni"]), &mut found);
    findings(expect, list(&run.report["findings"]), &mut found);
    if !windows::is_tested() {
        says(&expect.says, list(&run.report["findings"]), &mut found);
    }
    if let Some(rule) = &expect.forecast {
        forecast(rule, &run.report["forecast"], &mut found);
    }
    found.0
}

fn forecast(rule: &ForecastRule, said: &Value, found: &mut Differences) {
    found.compare("forecast.outcome", &rule.outcome, &text(&said["outcome"]));
    let protocol = rule.protocol.as_deref().unwrap_or("null");
    found.compare("forecast.protocol", &protocol, &text(&said["protocol"]));
    let killed = rule.killed.as_deref().unwrap_or("null");
    let service = &said["service_start"]["killed"];
    found.compare("forecast.service_start.killed", &killed, &text(service));
    let first = &said["first_connection_s"];
    let end = |name: &str| first[name].as_f64();
    let contains = |[least, most]: [f64; 2]| {
        end("min").is_some_and(|min| min <= least) && end("max").is_some_and(|max| max >= most)
    };
    if rule.first.is_some_and(|measured| !contains(measured)) {
        found
            .0
            .push(format!("forecast.first_connection_s is {first}"));
    }
    let exit = said["exit_after_s"].as_f64();
    let is_near = |at: f64| exit.is_some_and(|said| (said - at).abs() <= (at / 3.0).max(1.0));
    if rule.exit_after.is_some_and(|at| !is_near(at)) {
        found.0.push(format!("forecast.exit_after_s is {exit:?}"));
    }
}

fn verdict(expect: &Expect, run: &Run, found: &mut Differences) {
    let exit_code = expect.exit_code.unwrap_or(match expect.verdict.as_str() {
        "ready" => 0,
        "blocked" => 1,
        "degraded" => 3,
        _ => 4,
    });
    found.compare("schema_version", &2, &run.report["schema_version"]);
    found.compare("verdict", &expect.verdict, &text(&run.report["verdict"]));
    found.compare("exit_code", &exit_code, &run.report["exit_code"]);
    let status = run
        .exit_code
        .map_or("a signal".to_owned(), |code| code.to_string());
    found.compare("exit status of the process", &exit_code, &status);
    let suggested = expect.suggested_protocol.as_deref().unwrap_or("null");
    found.compare(
        "suggested_protocol",
        &suggested,
        &text(&run.report["suggested_protocol"]),
    );
    let start = if windows::is_tested() {
        windows::START
    } else {
        Duration::ZERO
    };
    let within_ms = u128::from(expect.within_ms) + start.as_millis();
    if u128::from(run.elapsed_ms) > within_ms {
        found.0.push(format!(
            "took {} ms, at most {within_ms} ms are right",
            run.elapsed_ms
        ));
    }
}

fn lookups(rules: &[LookupRule], actual: &[Value], found: &mut Differences) {
    for rule in rules {
        if !actual.iter().any(|lookup| rule.fits(lookup)) {
            found
                .0
                .push(format!("no lookup in the report fits {rule:?}"));
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
            found.compare(
                &format!("lookup {}", words.join(" ")),
                &allowed.join(" or "),
                &status,
            );
        }
    }
}

fn names(rules: &[NameRule], actual: &[Value], found: &mut Differences) {
    for rule in rules {
        let is_meant = |value: &&Value| {
            value["name"] == rule.name.as_str() && value["transport"] == rule.transport.as_str()
        };
        let wanted = format!(
            "{} ({})",
            rule.status,
            rule.cause.as_deref().unwrap_or("null")
        );
        let said = actual.iter().find(is_meant).map_or_else(
            || "nothing".to_owned(),
            |value| format!("{} ({})", text(&value["status"]), text(&value["cause"])),
        );
        found.compare(
            &format!("sni {} over {}", rule.name, rule.transport),
            &wanted,
            &said,
        );
    }
}

/// Whether a finding with each code has each text somewhere.
fn says(rules: &[Says], actual: &[Value], found: &mut Differences) {
    for Says { code, text } in rules {
        let mut meant = actual.iter().filter(|said| said["code"] == code.as_str());
        let holds = |said: &Value| {
            let parts = [&said["detail"], &said["evidence"], &said["remedy"]];
            parts
                .iter()
                .flat_map(|part| strings(part))
                .any(|s| s.contains(text))
        };
        if !meant.any(holds) {
            found.0.push(format!("no finding {code} says `{text}`"));
        }
    }
}

/// Every string in a value.
fn strings(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(list) => list.iter().flat_map(strings).collect(),
        Value::Object(members) => members.values().flat_map(strings).collect(),
        _ => Vec::new(),
    }
}

impl LookupRule {
    fn fits(&self, lookup: &Value) -> bool {
        let begins = |wanted: &Option<String>, field: &str| {
            wanted
                .as_ref()
                .is_none_or(|wanted| text(&lookup[field]).starts_with(wanted))
        };
        self.kind
            .as_ref()
            .is_none_or(|kind| lookup["type"] == kind.as_str())
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
            .filter(|finding| {
                severities
                    .iter()
                    .any(|severity| finding["severity"] == *severity)
            })
            .map(|finding| text(&finding["code"]))
            .collect();
        codes.sort();
        // One code can be found of several things, such as TCP and UDP.
        codes.dedup();
        codes
    };
    if let Some(wanted) = &expect.findings {
        let mut wanted = wanted.clone();
        wanted.sort();
        found.compare(
            "findings",
            &wanted.join(" "),
            &of(&["error", "warning"]).join(" "),
        );
    }
    let errors = of(&["error"]);
    if expect.verdict == "ready" && !errors.is_empty() {
        found.0.push(format!(
            "ready, yet findings of severity error: {}",
            errors.join(" ")
        ));
    }
    if ["blocked", "degraded"].contains(&expect.verdict.as_str()) && errors.is_empty() {
        found.0.push(format!(
            "{}, yet no finding of severity error",
            expect.verdict
        ));
    }
}

/// Departures from the truth, one line each.
#[derive(Default)]
pub(crate) struct Differences(pub(crate) Vec<String>);

impl Differences {
    /// Notes a value that is not as expected.
    pub(crate) fn compare(&mut self, what: &str, expected: &impl Display, actual: &impl Display) {
        let (expected, actual) = (expected.to_string(), actual.to_string());
        if expected != actual {
            self.0
                .push(format!("{what}: expected {expected}, report says {actual}"));
        }
    }
}

/// A string without its quotes, anything else as JSON.
pub(crate) fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
