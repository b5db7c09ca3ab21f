//! Random rulesets: what the oracle says of a flow is what becomes of it where the same rules are in force.
//!
//! `TUNNELCHECK_LAB_RULESETS=300` tries that many; 24 unless it is set.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use tunnelcheck::internal::model::Transport;
use tunnelcheck::internal::oracle::{Answer, Flow, Format, On};

use super::{asked, out};
use crate::Outcome;
use crate::clients::{TIMEOUT, expect, unspecified};
use crate::runner::World;
use crate::sandbox::tool;
use crate::scenario::Scenario;

/// How long to wait where no answer is right. What must answer gets [`TIMEOUT`].
const SILENCE: Duration = Duration::from_millis(150);

/// How many rulesets of each format are tried in an ordinary run.
const FEW: usize = 12;

const DESTINATIONS: [&str; 4] = [
    "198.41.192.7:7844",
    "198.41.200.233:7844",
    "[2606:4700:a0::1]:7844",
    "[2606:4700:a8::10]:7844",
];

pub(super) fn rules_are_what_the_oracle_says() -> Outcome {
    let count = std::env::var("TUNNELCHECK_LAB_RULESETS").ok();
    let count = count.map_or(Ok(2 * FEW), |text| text.parse::<usize>())?;
    let scenario: Scenario =
        toml::from_str("name = 'random'\nabout = ''\nexpect.verdict = 'ready'\n")?;
    let world = World::build(&scenario)?;
    let mut runner = TestRunner::deterministic();
    let (mut valid, mut made) = (0, 0);
    while valid < count {
        made += 1;
        let (format, text) = if made % 2 == 0 {
            (Format::Nft, sample(nft_ruleset(), &mut runner)?)
        } else {
            (Format::Iptables, sample(saved_ruleset(), &mut runner)?)
        };
        // Chance also makes rules that no tool takes, such as one for both families.
        if load(&world, format, &text).is_err() {
            expect(made < 4 * count, "most rulesets are valid")?;
            continue;
        }
        valid += 1;
        compare(&world, format, &text).map_err(|why| format!("ruleset {made}: {why}\n{text}"))?;
    }
    Ok(())
}

fn sample(strategy: impl Strategy<Value = String>, runner: &mut TestRunner) -> Outcome<String> {
    let tree = strategy.new_tree(runner);
    Ok(tree.map_err(|why| why.to_string())?.current())
}

fn flows() -> Vec<Flow> {
    let both = |to| [Transport::Tcp, Transport::Udp].map(|transport| out(transport, to));
    DESTINATIONS.into_iter().flat_map(both).collect()
}

fn compare(world: &World, format: Format, text: &str) -> Outcome {
    let answers = asked(format, text, flows())?;
    for (flow, answer) in flows().into_iter().zip(&answers) {
        let Flow::Out { transport, to } = flow else {
            continue;
        };
        let right = match answer {
            Answer::Passes | Answer::Silent(_) => true,
            Answer::Closed(_) => false,
            // The first flows pass a limit, and the rule is what the answer is about.
            Answer::Conditional(condition) if is_about(condition.on, &condition.rule.text) => {
                continue;
            }
            other => return Err(format!("{transport} to {to}: {other:?}").into()),
        };
        // Loaded afresh, so that no limit is used up.
        load(world, format, text)?;
        let passes = world
            .topology
            .client
            .run(move || passes(transport, to, right))?;
        if passes != right {
            return Err(format!("{transport} to {to}: {answer:?}, and it passes: {passes}").into());
        }
    }
    Ok(())
}

fn is_about(on: On, rule: &str) -> bool {
    match on {
        On::Limit => rule.contains("limit"),
        On::User => rule.contains("skuid") || rule.contains("owner"),
        _ => false,
    }
}

fn load(world: &World, format: Format, text: &str) -> Outcome {
    let text = text.to_owned();
    world.topology.client.run(move || {
        tool("nft", &["flush", "ruleset"], "")?;
        match format {
            Format::Nft => tool("nft", &["-f", "-"], &text),
            Format::Iptables => tool("iptables-restore", &[], &text),
            Format::Ip6tables => tool("ip6tables-restore", &[], &text),
        }
        .map(|_| ())
    })
}

/// Whether a flow gets an answer.
fn passes(transport: Transport, to: SocketAddr, wait: bool) -> Outcome<bool> {
    let wait = if wait { TIMEOUT } else { SILENCE };
    match transport {
        Transport::Tcp => Ok(TcpStream::connect_timeout(&to, wait).is_ok()),
        Transport::Udp => {
            let socket = UdpSocket::bind((unspecified(to.ip()), 0))?;
            socket.set_read_timeout(Some(wait))?;
            socket.connect(to)?;
            if let Err(error) = socket.send(&unknown_version()) {
                let refused = error.kind() == ErrorKind::PermissionDenied;
                return if refused {
                    Ok(false)
                } else {
                    Err(error.into())
                };
            }
            Ok(socket.recv(&mut [0; 100]).is_ok())
        }
    }
}

/// A long header of a version that nobody speaks: a QUIC server answers with Version Negotiation
/// (RFC 9000, section 6).
fn unknown_version() -> Vec<u8> {
    let mut packet = vec![
        0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 7, 6, 5, 4, 3, 2, 1,
    ];
    packet.resize(1200, 0);
    packet
}

fn pick(choices: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(choices).prop_map(str::to_owned)
}

/// A few of some words, in an order of their own.
fn words(parts: impl Strategy<Value = String>, most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(parts, 0..most).prop_map(|parts| parts.join(" "))
}

fn nft_ruleset() -> impl Strategy<Value = String> {
    const MATCHES: &[&str] = &[
        "ip daddr 198.41.192.0/24",
        "ip daddr != 198.41.192.7",
        "ip daddr { 198.41.192.7, 198.41.200.0/25 }",
        "ip daddr 198.41.192.1-198.41.192.100",
        "ip6 daddr 2606:4700:a0::/44",
        "ip6 daddr != { 2606:4700:a8::10, 2606:4700:a8::11 }",
        "ip daddr @some",
        "tcp dport 7844",
        "udp dport { 53, 7000-8000 }",
        "th dport != 443",
        "meta l4proto udp",
        "meta nfproto ipv6",
        "meta skuid 0",
        "meta skuid 4711",
        "ct state new",
        "oifname \"eth0\"",
        "limit rate 1/hour burst 1 packets",
    ];
    const VERDICTS: &[&str] = &[
        "accept",
        "drop",
        "reject",
        "counter",
        "jump own",
        "counter drop comment \"a reason\"",
        "tcp dport vmap { 7844 : accept, 443 : drop }",
        "udp dport vmap { 7844 : drop, 1-7000 : accept }",
        "return",
    ];
    const ENDS: &[&str] = &["accept", "drop", "reject", "return", "counter accept"];
    let rule = |verdicts| {
        (words(pick(MATCHES), 3), pick(verdicts))
            .prop_map(|(parts, end)| format!("  {parts} {end}\n"))
    };
    let chain =
        |verdicts| prop::collection::vec(rule(verdicts), 0..5).prop_map(|rules| rules.concat());
    (chain(VERDICTS), chain(ENDS), any::<bool>()).prop_map(|(output, own, drops)| {
        let policy = if drops { "drop" } else { "accept" };
        format!(
            "table inet t {{\n set some {{ type ipv4_addr; flags interval; elements = {{ 198.41.192.0/28, 198.41.200.233 }} }}\n \
             chain own {{\n{own} }}\n chain output {{\n  type filter hook output priority 0; policy {policy};\n  \
             ct state established,related accept\n  meta l4proto ipv6-icmp accept\n{output} }}\n}}\n"
        )
    })
}

fn saved_ruleset() -> impl Strategy<Value = String> {
    const MATCHES: &[&str] = &[
        "-d 198.41.192.0/24",
        "! -d 198.41.200.233/32",
        "-m iprange --dst-range 198.41.192.1-198.41.200.100",
        "-m conntrack --ctstate NEW",
        "-o eth0",
        "-m owner --uid-owner 0",
        "-m owner ! --uid-owner 0",
        "-m comment --comment \"a b\"",
        "-m limit --limit 1/hour --limit-burst 1",
        "-m addrtype --dst-type UNICAST",
    ];
    const PROTOCOLS: &[&str] = &[
        "",
        "-p tcp",
        "-p udp -m udp --dport 7844",
        "-p tcp -m tcp ! --dport 443",
        "-p udp -m multiport --dports 53,7000:8000",
        "-p tcp -m multiport ! --dports 7844",
    ];
    const TARGETS: &[&str] = &["ACCEPT", "DROP", "REJECT", "OWN", "RETURN"];
    const ENDS: &[&str] = &["ACCEPT", "DROP", "REJECT", "RETURN"];
    let rule = |chain: &'static str, targets| {
        (
            pick(PROTOCOLS),
            prop::option::of(pick(MATCHES)),
            pick(targets),
        )
            .prop_map(move |(protocol, part, target)| {
                let part = part.unwrap_or_default();
                format!("-A {chain} {protocol} {part} -j {target}\n")
            })
    };
    let chain = |chain, targets| {
        prop::collection::vec(rule(chain, targets), 0..5).prop_map(|rules| rules.concat())
    };
    (chain("OUTPUT", TARGETS), chain("OWN", ENDS), any::<bool>()).prop_map(|(output, own, drops)| {
        let policy = if drops { "DROP" } else { "ACCEPT" };
        format!(
            "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT {policy} [0:0]\n:OWN - [0:0]\n\
             -A OUTPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT\n{output}{own}COMMIT\n"
        )
    })
}
