//! The laboratory: `tunnelcheck` against a real firewall, real DNS, TLS and QUIC.
//!
//! Every scenario gets its own three network namespaces
//!
//! ```text
//!   client  eth0 ───── lan  router  wan ───── eth0  edge
//!   10.0.1.2             nftables               all documented addresses on lo
//!   2a01:4f8:1::2        iptables               DNS 53, DoT 853, 7844, 443
//! ```
//!
//! and the product runs in the first one as a child process, as a user would run it. A scenario
//! is data ([`scenario::Scenario`], the TOML files beside this one): what the world is like, and
//! the whole truth that the report has to tell about it. The truth is written down from the
//! contract of the report, never copied from what the product printed.
//!
//! # Running
//!
//! ```text
//! cargo test --profile ci --test lab                      # all of it
//! cargo test --profile ci --test lab -- udp-dropped       # the scenarios whose name contains this
//! cargo test --profile ci --test lab -- --list
//! TUNNELCHECK_LAB_SHELL=udp-dropped target/ci/deps/lab-…  # a shell in that client, for poking
//! ```
//!
//! | variable | effect |
//! | --- | --- |
//! | `TUNNELCHECK_LAB=skip` | pass without running anything, and say so |
//! | `TUNNELCHECK_LAB_RECORD=1` | keep the report of each scenario that passes in `tests/replay/cases` |
//! | `TUNNELCHECK_LAB_SHELL=NAME` | build that world and open `$SHELL` in the client's namespaces |
//! | `TUNNELCHECK_LAB_EXEC=COMMAND` | with the one before: run this in place of the shell; `$TUNNELCHECK` is the product |
//! | `TUNNELCHECK_LAB_SCENARIOS=FILE` | the scenarios of this file, and none of these |
//! | `TUNNELCHECK_LAB_BIN=PATH` | test this binary instead of the one cargo built |
//! | `TUNNELCHECK_LAB_RUNNER=PROGRAM` | start the product by this: `PROGRAM PRODUCT ARGUMENT…` |
//! | `TUNNELCHECK_LAB_OUT=DIR` | where reports are written (default `target/lab`) |
//!
//! A product that ends in `.exe` is the Windows build, for which `windows.toml` lists the scenarios; it
//! takes a runner that starts Wine (`scripts/under-wine`).
//!
//! It needs Linux, `ip`, `nft`, `iptables` and either root or unprivileged user namespaces. What
//! is missing is a failure with its remedy, never a pass.
//!
//! # Adding a scenario
//!
//! Add a `[[scenario]]` to a file in `scenarios/`; unknown fields are refused. Where nothing is
//! said the world is all open and every destination is expected to be reachable, so a scenario
//! states only what is broken and what follows from it. Rules can use the `$region1_v4`-like
//! sets of [`internet::nft_definitions`].
//!
//! # The wire
//!
//! Latency, jitter, loss and middleboxes that read packets come from [`wire`], which a scenario
//! puts between the router and the edge with `wire = { … }`; nothing else changes.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test program: a failed expectation ends the trial, and the terminal is its output"
)]

#[cfg(target_os = "linux")]
mod clients;
#[cfg(target_os = "linux")]
mod expect;
#[cfg(target_os = "linux")]
mod internet;
#[cfg(target_os = "linux")]
mod namespace;
#[cfg(target_os = "linux")]
mod oracle;
#[cfg(target_os = "linux")]
mod pki;
#[cfg(target_os = "linux")]
mod ready;
#[cfg(target_os = "linux")]
mod rehearsal;
#[cfg(target_os = "linux")]
mod rows;
#[cfg(target_os = "linux")]
mod rules;
#[cfg(target_os = "linux")]
mod runner;
#[cfg(target_os = "linux")]
mod sandbox;
#[cfg(target_os = "linux")]
mod scenario;
#[cfg(target_os = "linux")]
mod selftest;
#[cfg(target_os = "linux")]
mod servers;
#[cfg(target_os = "linux")]
mod stopped;
#[cfg(target_os = "linux")]
mod terminal;
#[cfg(target_os = "linux")]
mod topology;
#[cfg(target_os = "linux")]
mod watch;
#[cfg(target_os = "linux")]
mod windows;
#[cfg(target_os = "linux")]
mod wire;

/// What fallible steps of the laboratory return: the message is for a person.
#[cfg(target_os = "linux")]
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Scenarios mostly wait for time-outs, so a few fit on one processor at a time.
#[cfg(target_os = "linux")]
const DEFAULT_WORKERS: usize = 4;

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("LAB SKIPPED: network namespaces exist on Linux only");
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    if let Some(code) = tunnelcheck::internal::oracle::serve_if_asked() {
        return code;
    }
    let mut arguments = libtest_mimic::Arguments::from_args();
    arguments.test_threads.get_or_insert(DEFAULT_WORKERS);
    let scenarios = match scenario::load().and_then(windows::select) {
        Ok(scenarios) => scenarios,
        Err(error) => return refuse(&error.to_string()),
    };
    if std::env::var("TUNNELCHECK_LAB").is_ok_and(|value| value == "skip") {
        println!("LAB SKIPPED: TUNNELCHECK_LAB=skip is set, no scenario was run");
        return std::process::ExitCode::SUCCESS;
    }
    if !arguments.list
        && let Err(error) = sandbox::enter()
    {
        return refuse(&error.to_string());
    }
    match std::env::var("TUNNELCHECK_LAB_SHELL") {
        Ok(name) => runner::shell(&scenarios, &name),
        Err(_) => libtest_mimic::run(&arguments, trials(scenarios)).exit_code(),
    }
}

/// One trial a scenario, after those that test the laboratory itself.
#[cfg(target_os = "linux")]
fn trials(scenarios: Vec<scenario::Scenario>) -> Vec<libtest_mimic::Trial> {
    let mut trials = Vec::new();
    if std::env::var_os("TUNNELCHECK_LAB_SCENARIOS").is_none() && !windows::is_tested() {
        trials.extend(selftest::trials());
        trials.extend(wire::selftest::trials());
        trials.extend(rules::trials());
        trials.extend(oracle::trials());
        trials.extend(watch::trials());
        trials.extend(stopped::trials());
        trials.extend(rehearsal::trials());
    }
    trials.extend(scenarios.into_iter().map(|scenario| {
        let name = scenario.trial_name();
        libtest_mimic::Trial::test(name, move || Ok(runner::run(&scenario)?))
    }));
    trials
}

/// Says loudly why nothing was tested. This is a failure: an untested build must not look tested.
#[cfg(target_os = "linux")]
fn refuse(why: &str) -> std::process::ExitCode {
    eprintln!("\nLAB NOT RUN: {why}\n\nSet TUNNELCHECK_LAB=skip to go on without it.\n");
    std::process::ExitCode::FAILURE
}
