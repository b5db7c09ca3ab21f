//! Commands of `gcloud`, `aws` and `az`, and of the scripts that are printed for them.

use serde_json::Value;

use super::Reading;
use super::block::Block;
use super::permit::{Permit, Ports, Said, combinations, is_variable, some_ports, transport};
use super::ways::{Policy, Step, Verdict, denial_first};
use crate::model::{Family, Transport};

/// The chains of the clouds' rules.
pub(super) const GCLOUD: &str = "gcloud";
pub(super) const GROUP: &str = "security group";
pub(super) const ACL: &str = "network acl";
pub(super) const AZURE: &str = "azure";

/// Reads the words of a command. False when it is none of these.
pub(super) fn command(words: &[String], line: usize, into: &mut Reading) -> bool {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["gcloud", ..] => gcloud(&words, line, into),
        ["aws", "ec2", "authorize-security-group-egress", ..] => {
            aws(&words, line, into);
            true
        }
        [
            "aws",
            "ec2",
            "create-network-acl-entry" | "replace-network-acl-entry",
            ..,
        ] => {
            acl(&words, line, into);
            true
        }
        ["az", "network", "nsg", "rule", "create", ..] => {
            azure(&words, line, into);
            true
        }
        // What takes rules away or changes them, and is not looked at.
        [
            "aws",
            "ec2",
            "revoke-security-group-egress"
            | "modify-security-group-rules"
            | "delete-network-acl-entry",
            ..,
        ]
        | ["az", "network", "nsg", "rule", "update" | "delete", ..] => {
            into.doubt(line);
            true
        }
        ["aws" | "az", ..] => true,
        // The functions of the printed scripts.
        printed if into.ours => function(printed, line, into),
        _ => false,
    }
}

fn function(words: &[&str], line: usize, into: &mut Reading) -> bool {
    match words {
        [
            "egress",
            _,
            action @ ("ALLOW" | "DENY"),
            priority,
            rules,
            ranges,
            _,
        ] => {
            let found = permits(
                &blocks(ranges.split(',')),
                &gcloud_rules(rules),
                false,
                line,
            );
            let rank = gcloud_rank(priority.parse().ok(), *action == "ALLOW");
            into.list(
                GCLOUD,
                Step::new(verdict(*action == "ALLOW"), found).ranked(rank),
            );
        }
        ["allow", protocol @ ("tcp" | "udp"), port, _, ranges @ ..] => {
            let rules = rules_of(&[protocol], &[port]);
            let found = permits(&blocks(ranges.iter().copied()), &rules, false, line);
            into.list(GROUP, Step::new(Verdict::Accept, found));
        }
        [
            "outbound",
            _,
            priority,
            access @ ("Allow" | "Deny"),
            protocol,
            port,
            _,
            ranges @ ..,
        ] => {
            let (blocks, _) = azure_blocks(ranges);
            let found = permits(&blocks, &rules_of(&[protocol], &[port]), false, line);
            // `-` is for one from PRIORITY on, which is below that of the rule that closes.
            let rank = priority.parse().unwrap_or(1000);
            into.list(
                AZURE,
                Step::new(verdict(*access == "Allow"), found).ranked(rank),
            );
        }
        ["ingress" | "inbound" | "revoke", ..] => {}
        _ => return false,
    }
    true
}

pub(super) const fn verdict(allows: bool) -> Verdict {
    if allows {
        Verdict::Accept
    } else {
        Verdict::Deny
    }
}

/// A protocol with a range of ports.
pub(super) type Rule = (Said<Transport>, Said<Ports>);

pub(super) fn permits(
    blocks: &[Block],
    rules: &[Rule],
    conditional: bool,
    line: usize,
) -> Vec<Permit> {
    let each = rules.iter().flat_map(|(transport, ports)| {
        combinations(blocks, &[*transport], &[*ports], conditional, line)
    });
    each.collect()
}

/// Of two rules with the same priority (1000 where none is given) the one that denies comes first.
pub(super) fn gcloud_rank(priority: Option<i64>, allows: bool) -> i64 {
    2 * priority.unwrap_or(1000) + denial_first(allows)
}

pub(super) fn blocks<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<Block> {
    texts.into_iter().filter_map(Block::parse).collect()
}

/// The blocks, and whether all are understood: service tags name what cannot be known here, but for
/// those of everything, and of what is never the edge.
pub(super) fn azure_blocks(texts: &[&str]) -> (Vec<Block>, bool) {
    let mut blocks = Vec::new();
    let mut understood = true;
    for text in texts {
        match (*text, Block::parse(text)) {
            (_, Some(block)) => blocks.push(block),
            ("*" | "Internet" | "0.0.0.0/0", None) => blocks.extend(Block::everywhere(|_| true)),
            ("VirtualNetwork" | "AzureLoadBalancer", None) => {}
            (_, None) => {
                understood = false;
                blocks.extend(Block::everywhere(|_| true));
            }
        }
    }
    (blocks, understood)
}

pub(super) fn rules_of(protocols: &[&str], ports: &[&str]) -> Vec<Rule> {
    let said = |text: &&str| match transport(text) {
        None if is_variable(text) => Some(Said::Unclear),
        known => known,
    };
    let protocols: Vec<_> = protocols.iter().filter_map(said).collect();
    let ports: Vec<_> = ports.iter().map(|p| some_ports(p)).collect();
    let pairs = protocols
        .iter()
        .flat_map(|p| ports.iter().map(|port| (*p, *port)));
    pairs.collect()
}

/// `tcp:7844,udp:1-9,icmp`
fn gcloud_rules(text: &str) -> Vec<Rule> {
    let each = text.split(',').flat_map(|rule| match rule.split_once(':') {
        Some((protocol, port)) => rules_of(&[protocol], &[port]),
        None => rules_of(&[rule], &["any"]),
    });
    each.collect()
}

/// The values of `--name VALUE...` or `--name=VALUE`.
fn option<'a>(words: &[&'a str], name: &str) -> Vec<&'a str> {
    let glued = words
        .iter()
        .filter_map(|w| w.strip_prefix(name)?.strip_prefix('='));
    let mut values: Vec<_> = glued.collect();
    if let Some(at) = words.iter().position(|word| *word == name) {
        let after = words[at + 1..]
            .iter()
            .take_while(|word| !word.starts_with("--"));
        values.extend(after);
    }
    values
}

fn gcloud(words: &[&str], line: usize, into: &mut Reading) -> bool {
    let egress = option(words, "--direction")
        .iter()
        .any(|d| matches!(*d, "EGRESS" | "OUT"));
    let is = |word: &str| words.contains(&word);
    if !is("firewall-rules") {
        return false;
    }
    if is("update") || is("delete") {
        // What rule that is, and what it says otherwise, is not in the file.
        into.doubt(line);
        return true;
    }
    if !is("create") || !egress || (is("--disabled") && !is("--no-disabled")) {
        return true;
    }
    let text = |name| option(words, name).join(",");
    let rules = [text("--rules"), text("--allow")].join(",");
    let ranges = text("--destination-ranges");
    let blocks = if ranges.is_empty() {
        vec![Block::all(Family::Ipv4)]
    } else if is_variable(&ranges) {
        Block::everywhere(|_| true)
    } else {
        blocks(ranges.split(','))
    };
    let allows = !text("--action").eq_ignore_ascii_case("deny");
    let found = permits(
        &blocks,
        &gcloud_rules(rules.trim_matches(',')),
        is_variable(&ranges),
        line,
    );
    let priority = text("--priority");
    let scope = format!(
        "{} {}",
        text("--target-tags"),
        text("--target-service-accounts")
    );
    let step = Step {
        scope: Some(scope).filter(|scope| !scope.trim().is_empty()),
        ..Step::new(verdict(allows), found).ranked(gcloud_rank(priority.parse().ok(), allows))
    };
    into.list(GCLOUD, step);
    if !priority.is_empty() && priority.parse::<i64>().is_err() {
        into.doubt(line);
    }
    true
}

fn aws(words: &[&str], line: usize, into: &mut Reading) {
    let scope = option(words, "--group-id").join(",");
    let lists = option(words, "--ip-permissions");
    for text in &lists {
        match serde_json::from_str::<Value>(text) {
            Ok(list) => {
                for permission in list.as_array().into_iter().flatten() {
                    aws_permission(permission, Some(scope.clone()), line, into);
                }
            }
            // The short form, or another file.
            Err(_) => into.doubt(line),
        }
    }
    if let [cidr] = option(words, "--cidr")[..] {
        let rules = rules_of(&option(words, "--protocol"), &option(words, "--port"));
        let variable = is_variable(cidr);
        let blocks = if variable {
            Block::everywhere(|_| true)
        } else {
            blocks([cidr])
        };
        let step = Step::new(Verdict::Accept, permits(&blocks, &rules, variable, line));
        into.list(
            GROUP,
            Step {
                scope: Some(scope),
                ..step
            },
        );
    }
}

/// Rules of several groups are rules of several machines, as far as this program can know.
pub(super) fn aws_permission(
    permission: &Value,
    scope: Option<String>,
    line: usize,
    into: &mut Reading,
) {
    let protocol = text(permission, "IpProtocol");
    let port = |name: &str| permission.get(name).and_then(Value::as_i64).unwrap_or(-1);
    let range = match (port("FromPort"), port("ToPort")) {
        (-1, _) | (_, -1) => "any".to_owned(),
        (from, to) => format!("{from}-{to}"),
    };
    let of = |list: &str, name: &str| strings(permission.get(list), name);
    let mut cidrs = [of("IpRanges", "CidrIp"), of("Ipv6Ranges", "CidrIpv6")].concat();
    cidrs.extend([text(permission, "CidrIpv4"), text(permission, "CidrIpv6")]);
    let rules = rules_of(&[protocol], &[&range]);
    let mut found = permits(&blocks(cidrs), &rules, false, line);
    // What a prefix list holds is not in the file.
    let lists = of("PrefixListIds", "PrefixListId");
    if !lists.is_empty() || !text(permission, "PrefixListId").is_empty() {
        found.extend(permits(&Block::everywhere(|_| true), &rules, true, line));
    }
    let step = Step::new(Verdict::Accept, found);
    into.list(
        GROUP,
        Step {
            scope: scope.filter(|scope| !scope.is_empty()),
            ..step
        },
    );
}

/// An entry of a network ACL: the smallest number comes first, and what none allows is denied.
fn acl(words: &[&str], line: usize, into: &mut Reading) {
    if !words.contains(&"--egress") {
        return;
    }
    let text = |name| option(words, name).join(",");
    let ports = option(words, "--port-range").join(",").replace("From=", "");
    let ports = ports.replace("To=", "").replacen(',', "-", 1);
    let cidr = [text("--cidr-block"), text("--ipv6-cidr-block")].concat();
    acl_entry(
        &text("--protocol"),
        &ports,
        &cidr,
        (&text("--rule-action"), text("--rule-number").parse().ok()),
        line,
        into,
    );
}

pub(super) fn acl_entry(
    protocol: &str,
    ports: &str,
    cidr: &str,
    (action, number): (&str, Option<i64>),
    line: usize,
    into: &mut Reading,
) {
    let ports = if ports.is_empty() { "any" } else { ports };
    let rules = rules_of(&[protocol], &[ports]);
    let found = match Block::parse(cidr) {
        Some(block) => permits(&[block], &rules, false, line),
        None => permits(&Block::everywhere(|_| true), &rules, true, line),
    };
    if number.is_none() {
        into.doubt(line);
    }
    let step = Step::new(verdict(action == "allow"), found).ranked(number.unwrap_or(0));
    into.list(ACL, step);
    into.ways.hook(ACL, None, Policy::Deny, true);
}

fn azure(words: &[&str], line: usize, into: &mut Reading) {
    if option(words, "--direction") == ["Outbound"] {
        let or = |name, usual: &'static str| match option(words, name) {
            none if none.is_empty() => vec![usual],
            some => some,
        };
        let protocols = or("--protocol", "*");
        let ports = or("--destination-port-ranges", "80");
        let (blocks, understood) = azure_blocks(&or("--destination-address-prefixes", "*"));
        let narrow = or("--source-address-prefixes", "*") != ["*"]
            || or("--source-port-ranges", "*") != ["*"]
            || words.iter().any(|word| word.contains("-asgs"));
        let allows = option(words, "--access") != ["Deny"];
        let found = permits(
            &blocks,
            &rules_of(&protocols, &ports),
            narrow || !understood,
            line,
        );
        let priority = option(words, "--priority")
            .first()
            .and_then(|text| text.parse().ok());
        if priority.is_none() {
            into.doubt(line);
        }
        into.list(
            AZURE,
            Step::new(verdict(allows), found).ranked(priority.unwrap_or(0)),
        );
    }
}

pub(super) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The strings of a list, or those under a name in its objects.
pub(super) fn strings<'a>(list: Option<&'a Value>, name: &str) -> Vec<&'a str> {
    let items = list.and_then(Value::as_array).into_iter().flatten();
    let strings = items.filter_map(|item| item.as_str().or_else(|| item.get(name)?.as_str()));
    strings.collect()
}

#[cfg(test)]
mod tests {
    use super::super::permit::Fit;
    use super::*;

    fn best(reading: &Reading) -> Fit {
        reading.fit("198.41.192.7".parse().unwrap(), Transport::Tcp, 7844)
    }

    fn fit(words: &[&str]) -> Fit {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        let mut reading = Reading::default();
        assert!(command(&words, 1, &mut reading), "{words:?}");
        best(&reading)
    }

    #[test]
    fn the_tools_commands_are_read() {
        let gcloud = |rest: &str| {
            let all = format!("gcloud compute firewall-rules create x {rest}");
            fit(&all.split(' ').collect::<Vec<_>>())
        };
        let ranges = "--destination-ranges=198.41.192.7/32,1.1.1.1/32";
        assert_eq!(
            gcloud(&format!(
                "--direction=EGRESS --action=ALLOW --rules=udp:1,tcp:7844 {ranges}"
            )),
            Fit::Yes
        );
        assert_eq!(
            gcloud(&format!("--direction EGRESS --allow tcp:7844 {ranges}")),
            Fit::Yes
        );
        assert_eq!(
            gcloud(&format!(
                "--direction=EGRESS --action=DENY --rules=all {ranges}"
            )),
            Fit::No
        );
        assert_eq!(gcloud("--direction=INGRESS --allow tcp:7844"), Fit::No);
        let aws = |json: &str| {
            fit(&[
                "aws",
                "ec2",
                "authorize-security-group-egress",
                "--group-id",
                "sg-1",
                "--ip-permissions",
                json,
            ])
        };
        assert_eq!(
            aws(
                r#"[{"IpProtocol":"tcp","FromPort":7844,"ToPort":7844,"IpRanges":[{"CidrIp":"198.41.192.0/24"}]}]"#
            ),
            Fit::Yes
        );
        assert_eq!(
            aws(r#"[{"IpProtocol":"-1","IpRanges":[{"CidrIp":"0.0.0.0/0"}]}]"#),
            Fit::Yes
        );
        let azure = [
            "az",
            "network",
            "nsg",
            "rule",
            "create",
            "--direction",
            "Outbound",
            "--priority",
            "100",
            "--access",
        ];
        let rest = [
            "--protocol",
            "Tcp",
            "--destination-address-prefixes",
            "1.1.1.1",
            "198.41.192.7",
            "--destination-port-ranges",
            "443",
            "7844",
        ];
        assert_eq!(fit(&[&azure[..], &["Allow"], &rest].concat()), Fit::Yes);
        assert_eq!(fit(&[&azure[..], &["Deny"], &rest].concat()), Fit::No);
    }
}
