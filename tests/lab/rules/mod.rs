//! The rules that the product prints, applied with the firewalls' own tools.
//!
//! | trial | the host before | what is shown |
//! | --- | --- | --- |
//! | `lockdown-…` | lets everything in and out | the check is ready; the SSH session lives, and a new one comes in; what is not listed goes neither in nor out; applied twice is applied once |
//! | `accepts-…` | lets nothing out | the check is ready, and what is not listed still does not go out |
//! | `every-rule-counts-…` | locked down, less one rule | the check names that rule's destination, and no other |
//! | `drift-…` | has a file of rules, or some in force | the comparison says what is true of them |
//! | `the-page-…` | lets everything in and out | the commands of docs/lock-down.md lead to a check that is ready |
//!
//! All of it over IPv4 and IPv6. What is true of a locked-down host is shown to be otherwise before.

mod drift;
mod flows;
mod host;
mod page;

use std::net::IpAddr;
use std::process::Command;

use libtest_mimic::Trial;
use serde_json::Value;

use self::flows::Flows;
use self::host::{Firewall, Host};
use crate::Outcome;
use crate::clients::expect;
use crate::internet::{self, Family};
use crate::runner::World;
use crate::scenario::Scenario;

/// The trials of the rules.
pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for firewall in Firewall::ALL {
        let word = firewall.word();
        trials.push(Trial::test(format!("rules::lockdown-{word}"), move || {
            Ok(lockdown(firewall)?)
        }));
        trials.push(Trial::test(format!("rules::accepts-{word}"), move || {
            Ok(accepts(firewall)?)
        }));
        trials.push(Trial::test(
            format!("rules::every-rule-counts-{word}"),
            move || Ok(every_rule_counts(firewall)?),
        ));
    }
    trials.extend(page::trials());
    trials.extend(drift::trials());
    trials.push(Trial::test("rules::scripts-are-clean", || {
        Ok(scripts_are_clean()?)
    }));
    trials
}

/// The session of the one who locks down, from the edge's side of the router.
const SSH: (&str, &str) = ("SSH_CONNECTION", "10.0.2.2 50022 10.0.1.2 22");

fn world() -> Outcome<World> {
    let text = "name = 'rules'\nabout = ''\nexpect.verdict = 'ready'\n";
    let scenario: Scenario = toml::from_str(text)?;
    World::build(&scenario)
}

/// What the product prints for these arguments.
fn rules(world: &World, firewall: Firewall, args: &[&str]) -> Outcome<String> {
    let mut command = world.product();
    command
        .args(["rules", "--format", firewall.word()])
        .args(args)
        .env(SSH.0, SSH.1);
    let output = world.output(command)?;
    let stderr = String::from_utf8(output.stderr)?;
    expect(
        output.status.success() && stderr.is_empty(),
        &format!("rules are printed without a word: {stderr}"),
    )?;
    Ok(String::from_utf8(output.stdout)?)
}

/// The report of a check with these arguments. On a busy machine the usual time may not suffice to prove
/// that one address of many is dropped; a check ends as soon as it does.
fn check(world: &World, args: &[&str]) -> Outcome<Value> {
    let mut command: Command = world.product();
    command.args(["--format", "json", "--timeout", "25"]);
    command.args(args);
    Ok(serde_json::from_slice(&world.output(command)?.stdout)?)
}

/// The rows that are not reachable, as `host transport family status`.
fn troubled(report: &Value) -> Vec<String> {
    let rows = report["destinations"].as_array();
    let word = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    rows.into_iter()
        .flatten()
        .filter(|row| row["status"] != "reachable")
        .map(|row| {
            ["host", "transport", "family", "status"]
                .map(|key| word(row, key))
                .join(" ")
        })
        .collect()
}

/// The optional hosts that no rule is printed for, since their addresses move.
const WITHOUT_A_RULE: [&str; 2] = ["github.com", "management.argotunnel.com"];

/// What the printed rules let out passes, and what they do not is closed.
fn expect_ready(report: &Value) -> Outcome {
    let troubled = troubled(report);
    let closed = WITHOUT_A_RULE
        .iter()
        .flat_map(|host| ["ipv4", "ipv6"].map(|family| format!("{host} tcp {family} blocked")));
    let closed: Vec<String> = closed
        .filter(|_| report["options"]["optional"] == true)
        .collect();
    expect(
        report["verdict"] == "ready" && troubled == closed,
        &format!("the check is ready: {} {troubled:?}", report["verdict"]),
    )
}

/// Fewer addresses where the firewall's tool takes its time for each.
fn options(firewall: Firewall) -> &'static [&'static str] {
    match firewall {
        Firewall::Nftables | Firewall::Iptables | Firewall::Firewalld => &[],
        Firewall::Ufw => &[
            "--no-optional",
            "--edge",
            "198.41.192.7:7844,198.41.200.13:7844,[2606:4700:a0::1]:7844,[2606:4700:a8::1]:7844",
        ],
    }
}

fn lockdown(firewall: Firewall) -> Outcome {
    let world = world()?;
    let mut flows = Flows::begin(&world.topology)?;
    flows.expect_open()?;
    let args = options(firewall);
    let text = rules(&world, firewall, &[args, &["--lockdown"]].concat())?;
    let host = Host::start(&world, firewall)?;
    host.apply(&text)?;
    if firewall.keeps_untracked_sessions() {
        flows.expect_server_first()?;
    }
    flows.expect_session()?;
    expect_ready(&check(&world, args)?)?;
    flows.expect_closed()?;
    let once = host.state()?;
    host.apply(&text)?;
    expect(once == host.state()?, "applied twice is applied once")?;
    flows.expect_session()
}

fn accepts(firewall: Firewall) -> Outcome {
    let world = world()?;
    let args = options(firewall);
    let text = rules(&world, firewall, args)?;
    let host = Host::start(&world, firewall)?;
    host.let_nothing_out()?;
    let flows = Flows::outward(&world.topology);
    flows.expect_nothing_out()?;
    host.apply(&text)?;
    let once = host.state()?;
    host.apply(&text)?;
    expect(once == host.state()?, "applied twice is applied once")?;
    expect_ready(&check(&world, args)?)?;
    flows.expect_nothing_out()
}

/// What is left out of the rules, and the row that is in trouble then.
struct Leaving {
    host: String,
    transport: &'static str,
    family: Family,
    addresses: Vec<IpAddr>,
    status: &'static str,
}

impl Leaving {
    fn row(&self) -> String {
        [&self.host, self.transport, self.family.word(), self.status].join(" ")
    }

    /// Whether the line is about one of the addresses.
    fn names(&self, line: &str) -> bool {
        let mut words = line.split(|c: char| c.is_whitespace() || "/\",'".contains(c));
        words.any(|word| word.parse().is_ok_and(|ip| self.addresses.contains(&ip)))
    }

    /// Whether the line, which is a rule by itself, is about one of them over this transport.
    fn is_named_by(&self, line: &str) -> bool {
        self.names(line) && line.contains(self.transport) && !line.starts_with('#')
    }
}

/// Both transports and both families of both regions: all addresses of the one, of the other a
/// single one. Where addresses are given by hand each is a row of its own.
fn leavings(firewall: Firewall) -> Vec<Leaving> {
    let regions = internet::REGIONS.map(str::to_owned).into_iter();
    let rows = regions
        .zip(["blocked", "partial"])
        .flat_map(|(region, status)| {
            let row = move |transport, family| {
                let mut addresses = internet::addresses(&region, family);
                let (mut host, mut status) = (region.clone(), status);
                if firewall == Firewall::Ufw {
                    host = addresses[0].to_string();
                    status = "blocked";
                }
                if firewall == Firewall::Ufw || status == "partial" {
                    addresses.truncate(1);
                }
                Leaving {
                    host,
                    transport,
                    family,
                    addresses,
                    status,
                }
            };
            let each = move |transport| Family::BOTH.map(|family| row(transport, family));
            ["udp", "tcp"].into_iter().flat_map(each)
        });
    rows.collect()
}

fn every_rule_counts(firewall: Firewall) -> Outcome {
    let mut args = options(firewall).to_vec();
    if !args.contains(&"--no-optional") {
        args.push("--no-optional");
    }
    let args = args.as_slice();
    let world = world()?;
    let text = rules(&world, firewall, &[args, &["--lockdown"][..]].concat())?;
    let host = Host::start(&world, firewall)?;
    host.apply(&text)?;
    let mut wrong = Vec::new();
    for leaving in leavings(firewall) {
        host.apply_without(&text, &leaving)?;
        let report = check(&world, args)?;
        let troubled = troubled(&report);
        if troubled != [leaving.row()] {
            let (row, ended) = (leaving.row(), &report["ended"]);
            wrong.push(format!("without the rule for {row}: {troubled:?}, {ended}"));
        }
        host.apply_again(&text, &leaving)?;
    }
    expect(wrong.is_empty(), &wrong.join("\n"))?;
    without_dns(&world, &host, firewall, &text)
}

/// Without the rule for the resolver no name is found, and no address is accused.
fn without_dns(world: &World, host: &Host<'_>, firewall: Firewall, text: &str) -> Outcome {
    if firewall == Firewall::Ufw {
        // Its addresses are given by hand, and no name is asked for.
        return Ok(());
    }
    let resolver = Leaving {
        host: "resolver".to_owned(),
        transport: "udp",
        family: Family::Ipv4,
        addresses: vec![internet::RESOLVERS[0].parse()?],
        status: "",
    };
    host.apply_without(text, &resolver)?;
    let report = check(world, &["--no-optional"])?;
    let silent = report["dns"]["lookups"].as_array().is_some_and(|lookups| {
        lookups
            .iter()
            .any(|lookup| lookup["status"] == "unreachable")
    });
    expect(
        report["verdict"] == "blocked" && silent && troubled(&report).is_empty(),
        &format!("DNS alone is blocked: {}", report["dns"]),
    )
}

fn scripts_are_clean() -> Outcome {
    let world = world()?;
    for firewall in Firewall::ALL {
        for args in [
            &[][..],
            &["--lockdown"],
            &[
                "--lockdown",
                "--ssh-from",
                "10.0.2.0/24",
                "--protocol",
                "quic",
                "--edge-ip-version",
                "4",
            ],
        ] {
            host::lint(&world, firewall, &rules(&world, firewall, args)?)?;
        }
    }
    Ok(())
}
