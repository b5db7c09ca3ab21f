//! The product while it does not run: stopped for longer than anything may take, on a network that is open.
//!
//! Answers lie unread then and nothing is sent, as on a machine without a moment for this process. So
//! nothing may be called blocked, whatever was under way.

use std::process::{Child, Stdio};
use std::time::Duration;

use libtest_mimic::Trial;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::Outcome;
use crate::runner::World;
use crate::scenario::Scenario;

/// When the product is stopped after its start, in milliseconds: while it asks, dials and shakes hands.
const MOMENTS: [u64; 8] = [20, 60, 100, 140, 180, 220, 260, 300];

/// Longer than a resolver, a handshake of QUIC, or a whole run with [`HURRIED`] may take.
const STOP: Duration = Duration::from_millis(6500);

/// A run whose time is over while it is stopped, and one that has time left.
const HURRIED: [&str; 2] = ["--timeout", "1.2"];
const PATIENT: [&str; 2] = ["--timeout", "20"];

/// Slow enough for every moment to find something under way. Few addresses, because all checks go on at the
/// same time, and an edge that is too busy to answer them all is silent indeed.
const WORLD: &str = "
name = 'stopped'
about = ''
expect.verdict = 'ready'
wire.delay_ms = 50
dns = [
  { name = 'region1.v2.argotunnel.com', types = ['A', 'AAAA'], answer = { addresses = ['198.41.192.7', '2606:4700:a0::1'] } },
  { name = 'region2.v2.argotunnel.com', types = ['A', 'AAAA'], answer = { addresses = ['198.41.200.13', '2606:4700:a8::1'] } },
]
";

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name: &str, arguments: [&'static str; 2]| {
        Trial::test(format!("stopped::{name}"), move || Ok(run(arguments)?))
    };
    vec![
        trial("with-time-left", PATIENT),
        trial("until-the-time-is-over", HURRIED),
    ]
}

/// One check for each moment, all of them stopped at the same time.
fn run(arguments: [&str; 2]) -> Outcome {
    let scenario: Scenario = toml::from_str(WORLD)?;
    let world = World::build(&scenario)?;
    let mut checks = Vec::new();
    for moment in MOMENTS {
        let mut command = world.product();
        command.args(["--format", "json", "--no-optional"]);
        command.args(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let child = world.topology.client.run(move || command.spawn())?;
        checks.push((moment, std::thread::spawn(move || stopped(child, moment))));
    }
    let mut wrong = Vec::new();
    for (moment, check) in checks {
        let report = check.join().map_err(|_| "a panic")??;
        wrong.extend(accusations(&report).map(|what| format!("{moment} ms: {what}")));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!("on an open network:\n  {}", wrong.join("\n  ")).into())
}

/// The report of a check that is stopped at this moment, and goes on after [`STOP`].
fn stopped(child: Child, moment: u64) -> Outcome<Value> {
    let process = Pid::from_raw(i32::try_from(child.id())?);
    std::thread::sleep(Duration::from_millis(moment));
    kill(process, Signal::SIGSTOP)?;
    std::thread::sleep(STOP);
    kill(process, Signal::SIGCONT)?;
    Ok(serde_json::from_slice(&child.wait_with_output()?.stdout)?)
}

/// What a report says against an open network: a verdict, rows, and findings that are more than notes.
fn accusations(report: &Value) -> impl Iterator<Item = String> {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |name: &str| report[name].as_array().cloned().unwrap_or_default();
    let verdict = Some(word(&report["verdict"])).filter(|verdict| {
        // What was not seen in time is not known.
        !["ready", "inconclusive"].contains(&verdict.as_str())
    });
    let rows = list("destinations").into_iter().filter_map(move |row| {
        ["blocked", "partial", "unresolved"]
            .contains(&word(&row["status"]).as_str())
            .then(|| format!("{} {} is {}", row["host"], row["service"], row["status"]))
    });
    let findings = list("findings").into_iter().filter_map(move |finding| {
        let code = word(&finding["code"]);
        let note = word(&finding["severity"]) == "info";
        let honest = ["budget-ended", "undecided"].contains(&code.as_str());
        (!note && !honest).then(|| format!("finding {code}"))
    });
    verdict.into_iter().chain(rows).chain(findings)
}
