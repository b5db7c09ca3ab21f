//! A lock-down as the product prints it, less one rule at a time, and with one closing rule more at a time.

use std::net::IpAddr;

use tunnelcheck::internal::model::{Family, Transport};
use tunnelcheck::internal::oracle::{self, Answer, Direction, Flow, Format, Part, Question, What};

use super::{context, out};
use crate::Outcome;
use crate::clients::expect;
use crate::runner::World;
use crate::scenario::Scenario;

const ADDRESSES: [&str; 2] = ["198.41.192.7", "2606:4700:a0::1"];
const RESOLVER: &str = "9.9.9.9";
const PEERS: [&str; 2] = ["203.0.113.5", "2001:db8:5::5"];
/// A flow that no rule lists.
const STRANGER: &str = "203.0.113.9:80";

/// The product's rules as text for one tool or two.
fn printed(firewall: &str) -> Outcome<Vec<Part>> {
    let scenario: Scenario =
        toml::from_str("name = 'lockdown'\nabout = ''\nexpect.verdict = 'ready'\n")?;
    let world = World::build(&scenario)?;
    let mut product = world.product();
    let edge = format!("{}:7844,[{}]:7844", ADDRESSES[0], ADDRESSES[1]);
    product
        .args(["rules", "--format", firewall, "--lockdown", "--no-optional"])
        .args(["--edge", &edge, "--resolver", RESOLVER])
        .env("SSH_CONNECTION", "10.0.2.2 50022 10.0.1.2 22");
    let text = String::from_utf8(world.output(product)?.stdout)?;
    let part = |name: &str, format, text: String| Part {
        name: name.to_owned(),
        format,
        text,
    };
    if firewall == "nftables" {
        return Ok(vec![part("rules.nft", Format::Nft, text)]);
    }
    let file = world.path("rules.sh");
    std::fs::write(&file, text)?;
    let run = |program: &str, arguments: &[&str]| -> Outcome<String> {
        let mut command = std::process::Command::new(program);
        command.args(arguments).env("PATH", crate::sandbox::PATH);
        let output = world.output(command)?;
        expect(
            output.status.success(),
            &format!("{program}: {}", String::from_utf8_lossy(&output.stderr)),
        )?;
        Ok(String::from_utf8(output.stdout)?)
    };
    run("sh", &[&file.display().to_string()])?;
    Ok(vec![
        part("rules.v4", Format::Iptables, run("iptables-save", &[])?),
        part("rules.v6", Format::Ip6tables, run("ip6tables-save", &[])?),
    ])
}

fn flows() -> Outcome<Vec<Flow>> {
    let mut flows = Vec::new();
    for transport in [Transport::Tcp, Transport::Udp] {
        for to in [
            "198.41.192.7:7844",
            "[2606:4700:a0::1]:7844",
            "9.9.9.9:53",
            STRANGER,
        ] {
            flows.push(out(transport, to));
        }
    }
    flows.push(out(Transport::Udp, "203.0.113.1:123"));
    for peer in PEERS {
        let (from, port, tracked) = (peer.parse()?, 22, true);
        flows.push(Flow::In { from, port });
        flows.push(Flow::Session {
            from,
            port,
            tracked,
        });
    }
    Ok(flows)
}

fn ask(parts: Vec<Part>) -> Outcome<Vec<Answer>> {
    let (context, flows) = (context(), flows()?);
    let question = Question {
        parts,
        context,
        flows,
    };
    Ok(oracle::ask(&question)?.flows)
}

/// The lines of each rule, from 0: a set of nftables has several.
fn rules(part: &Part) -> Vec<std::ops::Range<usize>> {
    let lines: Vec<&str> = part.text.lines().map(str::trim).collect();
    let mut rules = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        let begun = at;
        at += 1;
        if part.format != Format::Nft {
            rules.extend(line.starts_with("-A ").then_some(begun..at));
            continue;
        }
        let other = ["#", "table ", "chain ", "type ", "}", "add ", "delete "];
        if line.is_empty() || other.iter().any(|start| line.starts_with(start)) {
            continue;
        }
        if line.ends_with('{') {
            while !lines[at - 1].starts_with('}') {
                at += 1;
            }
        }
        rules.push(begun..at);
    }
    rules
}

/// A part with other lines in the place of some.
fn edited(part: &Part, lines: &std::ops::Range<usize>, put: &str) -> Part {
    let mut all: Vec<&str> = part.text.lines().collect();
    all.splice(lines.clone(), (!put.is_empty()).then_some(put));
    Part {
        text: all.join("\n") + "\n",
        ..part.clone()
    }
}

/// Whether rules of this format see the flow at all.
fn concerns(format: Format, flow: &Flow) -> bool {
    match format {
        Format::Nft => true,
        Format::Iptables => flow.family() == Family::Ipv4,
        Format::Ip6tables => flow.family() == Family::Ipv6,
    }
}

/// What the rule is for, in the words of docs/lock-down.md: without it this flow is closed, which way, and
/// in which chain.
fn closes(
    rule: &str,
    chain: &str,
    format: Format,
    flow: &Flow,
) -> Option<(Direction, &'static str)> {
    if !concerns(format, flow) {
        return None;
    }
    let has = |words: &str| rule.contains(words);
    let established = has("established") || has("ESTABLISHED");
    let replies = established && chain == "input";
    match *flow {
        // Closed with all rules too.
        Flow::Out { to, .. } if to.port() == 80 => None,
        Flow::Out { .. } if replies => Some((Direction::Reply, "input")),
        Flow::Out { transport, to } => {
            let words = rule.split(|c: char| c.is_whitespace() || "/,".contains(c));
            let mut addresses = words.filter_map(|word| word.parse::<IpAddr>().ok());
            let is_it = addresses.any(|ip| ip == to.ip()) || (has("dport 123") && to.port() == 123);
            let is_it = is_it && has(&transport.to_string().to_lowercase());
            is_it.then_some((Direction::Request, "output"))
        }
        Flow::In { .. } if chain == "input" && has("dport") && has("22") => {
            Some((Direction::Request, "input"))
        }
        // The rule for old sessions of nftables lets no handshake out.
        Flow::In { .. } if established && chain == "output" && format == Format::Nft => {
            Some((Direction::Reply, "output"))
        }
        _ => None,
    }
}

/// The chain that a line is in, in small letters.
fn chain_of(part: &Part, line: usize) -> String {
    let lines: Vec<&str> = part.text.lines().collect();
    if part.format != Format::Nft {
        let chain = lines[line].split_whitespace().nth(1);
        return chain.unwrap_or_default().to_lowercase();
    }
    let before = lines[..line].iter().rev();
    let mut heads = before.filter_map(|line| line.trim().strip_prefix("chain "));
    let name = heads.next().and_then(|head| head.split_whitespace().next());
    name.unwrap_or_default().to_owned()
}

/// The direction and the chain, and whether it is the last rule (its words) or the policy.
fn said(answer: &Answer) -> Option<(Direction, String, Option<String>)> {
    let Answer::Closed(closing) = answer else {
        return None;
    };
    Some(match &closing.by {
        What::Rule(rule) => (
            closing.direction,
            rule.chain.to_lowercase(),
            Some(rule.text.clone()),
        ),
        What::Policy { chain, .. } => (closing.direction, chain.to_lowercase(), None),
    })
}

pub(super) fn each_rule_is_missed(firewall: &str) -> Outcome {
    let parts = printed(firewall)?;
    let base = ask(parts.clone())?;
    let flows = flows()?;
    for (flow, answer) in flows.iter().zip(&base) {
        let stranger = matches!(flow, Flow::Out { to, .. } if to.port() == 80);
        expect(
            (*answer == Answer::Passes) != stranger,
            &format!("the lock-down lets out what it should: {flow:?} {answer:?}"),
        )?;
    }
    let (mut wrong, mut missed) = (Vec::new(), 0);
    for (index, part) in parts.iter().enumerate() {
        for lines in rules(part) {
            let rule = part.text.lines().collect::<Vec<_>>()[lines.clone()].join(" ");
            let chain = chain_of(part, lines.start);
            let last = rule.trim() == format!("-A {} -j DROP", chain.to_uppercase())
                || rule.contains("everything else");
            let mut changed = parts.clone();
            changed[index] = edited(part, &lines, "");
            for ((flow, before), after) in flows.iter().zip(&base).zip(ask(changed)?) {
                let right = closes(&rule, &chain, part.format, flow);
                let told = said(&after);
                let is_right = match (&told, right) {
                    (Some((direction, chain, by)), Some((way, place))) => {
                        let drops = by.as_deref().is_some_and(|by| {
                            by.ends_with("-j DROP") || by.contains("everything else")
                        });
                        missed += 1;
                        (*direction, &**chain) == (way, place) && drops
                    }
                    // Without the last rule it is the policy.
                    (Some((_, place, by)), None)
                        if last && *place == chain && concerns(part.format, flow) =>
                    {
                        by.is_none()
                    }
                    (None, None) => after == *before,
                    (Some(_), None) => told == said(before),
                    (None, Some(_)) => false,
                };
                if !is_right {
                    wrong.push(format!(
                        "without `{rule}`: {flow:?}: {after:?}, right is {right:?}"
                    ));
                }
            }
        }
    }
    expect(wrong.is_empty(), &wrong.join("\n"))?;
    expect(missed > 12, &format!("rules are missed: {missed}"))
}

/// A closing rule, what it closes, and which way: a transport or both.
type Closer = (&'static str, Option<Transport>, Direction);

const NFT: [Closer; 13] = [
    (
        "udp dport 7844 drop",
        Some(Transport::Udp),
        Direction::Request,
    ),
    (
        "tcp dport 7844 reject with tcp reset",
        Some(Transport::Tcp),
        Direction::Request,
    ),
    (
        "meta l4proto udp th dport 7844 reject",
        Some(Transport::Udp),
        Direction::Request,
    ),
    (
        "ip daddr { 198.41.192.0/24, 192.0.2.1 } drop",
        None,
        Direction::Request,
    ),
    ("ip6 daddr 2606:4700:a0::/44 drop", None, Direction::Request),
    (
        "ip daddr != 198.51.100.0/24 counter drop comment \"a far too wide rule\"",
        None,
        Direction::Request,
    ),
    (
        "udp dport vmap { 53 : accept, 7000-8000 : drop }",
        Some(Transport::Udp),
        Direction::Request,
    ),
    (
        "th dport { 7844 } ct state new drop",
        None,
        Direction::Request,
    ),
    (
        "oifname \"eth0\" tcp dport 7844 drop",
        Some(Transport::Tcp),
        Direction::Request,
    ),
    (
        "meta skuid != 4711 th dport 7844 drop",
        None,
        Direction::Request,
    ),
    (
        "meta mark 0 tcp dport 7844 drop",
        Some(Transport::Tcp),
        Direction::Request,
    ),
    (
        "udp length > 8 udp dport 7844 drop",
        Some(Transport::Udp),
        Direction::Request,
    ),
    ("th sport 7844 drop", None, Direction::Reply),
];

const IPTABLES: [Closer; 9] = [
    (
        "-p udp -m udp --dport 7844 -j DROP",
        Some(Transport::Udp),
        Direction::Request,
    ),
    (
        "-p tcp -m tcp --dport 7844 -j REJECT --reject-with tcp-reset",
        Some(Transport::Tcp),
        Direction::Request,
    ),
    ("-p udp -j REJECT", Some(Transport::Udp), Direction::Request),
    (
        "-p tcp -m multiport --dports 443,7000:8000 -j DROP",
        Some(Transport::Tcp),
        Direction::Request,
    ),
    (
        "-m iprange --dst-range {range} -j DROP",
        None,
        Direction::Request,
    ),
    (
        "! -d {other} -m comment --comment \"a far too wide rule\" -j DROP",
        None,
        Direction::Request,
    ),
    (
        "-o eth0 -p udp -m conntrack --ctstate NEW -j DROP",
        Some(Transport::Udp),
        Direction::Request,
    ),
    (
        "-m owner ! --uid-owner 4711 -p tcp -j DROP",
        Some(Transport::Tcp),
        Direction::Request,
    ),
    (
        "-p udp -m udp --sport 7844 -j DROP",
        Some(Transport::Udp),
        Direction::Reply,
    ),
];

pub(super) fn each_closing_rule_is_named(firewall: &str) -> Outcome {
    let parts = printed(firewall)?;
    let flows = flows()?;
    let mut wrong = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let closers: &[Closer] = match part.format {
            Format::Nft => &NFT,
            _ => &IPTABLES,
        };
        for (text, transport, direction) in closers {
            let (line, rule, families) = inserted(part, text, *direction)?;
            let mut changed = parts.clone();
            changed[index] = edited(part, &(line..line), &rule);
            let mut closed = 0;
            for (flow, answer) in flows.iter().zip(ask(changed)?) {
                let Flow::Out { transport: own, to } = flow else {
                    continue;
                };
                let concerned = to.port() == 7844
                    && transport.is_none_or(|transport| transport == *own)
                    && families.contains(&flow.family());
                if !concerned {
                    continue;
                }
                closed += 1;
                let told = match &answer {
                    Answer::Closed(closing) => match &closing.by {
                        What::Rule(rule) => Some((closing.direction, rule.source)),
                        What::Policy { .. } => None,
                    },
                    _ => None,
                };
                if told != Some((*direction, Some((index, line + 1)))) {
                    wrong.push(format!("with `{rule}`: {flow:?}: {answer:?}"));
                }
            }
            expect(closed > 0, &format!("`{rule}` closes something"))?;
        }
    }
    expect(wrong.is_empty(), &wrong.join("\n"))
}

/// Where a rule goes, how it is written there, and which families it is about: first in the chain that sees
/// the packets of this direction.
fn inserted(
    part: &Part,
    text: &str,
    direction: Direction,
) -> Outcome<(usize, String, Vec<Family>)> {
    let chain = match direction {
        Direction::Request => "output",
        Direction::Reply => "input",
    };
    let mut lines = part.text.lines();
    if part.format == Format::Nft {
        let head = lines.position(|line| line.trim() == format!("chain {chain} {{"));
        let families = match text.split_whitespace().next() {
            Some("ip") => vec![Family::Ipv4],
            Some("ip6") => vec![Family::Ipv6],
            _ => Family::BOTH.to_vec(),
        };
        return Ok((head.ok_or("a chain")? + 2, format!("\t\t{text}"), families));
    }
    let (family, range, other) = match part.format {
        Format::Iptables => (Family::Ipv4, "198.41.192.1-198.41.192.9", "198.51.100.0/24"),
        _ => (
            Family::Ipv6,
            "2606:4700:a0::1-2606:4700:a0::9",
            "2001:db8:7::/48",
        ),
    };
    let chain = chain.to_uppercase();
    let first = lines.position(|line| line.starts_with(&format!("-A {chain} ")));
    let text = text.replace("{range}", range).replace("{other}", other);
    Ok((
        first.ok_or("a rule")?,
        format!("-A {chain} {text}"),
        vec![family],
    ))
}
