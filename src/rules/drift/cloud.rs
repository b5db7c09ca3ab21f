//! Commands of `gcloud`, `aws` and `az`, and of the scripts that are printed for them.

use serde_json::Value;

use super::Reading;
use super::block::Block;
use super::permit::{Ports, Said, combinations, some_ports, transport};
use crate::model::{Family, Transport};

/// Reads the words of a command. False when it is none of these.
pub(super) fn command(words: &[String], line: usize, into: &mut Reading) -> bool {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["gcloud", ..] => gcloud(&words, line, into),
        ["aws", "ec2", "authorize-security-group-egress", ..] => {
            aws(&words, line, into);
            true
        }
        ["az", "network", "nsg", "rule", "create" | "update", ..] => azure(&words, line, into),
        // The functions of the printed scripts.
        [
            "egress",
            _,
            action @ ("ALLOW" | "DENY"),
            _,
            rules,
            ranges,
            _,
        ] => {
            let rules = gcloud_rules(rules);
            into.add(*action == "ALLOW", &blocks(ranges.split(',')), &rules, line);
            true
        }
        ["allow", protocol @ ("tcp" | "udp"), port, _, ranges @ ..] => {
            let rules = rules_of(&[protocol], &[port]);
            into.add(true, &blocks(ranges.iter().copied()), &rules, line);
            true
        }
        [
            "outbound",
            _,
            _,
            access @ ("Allow" | "Deny"),
            protocol,
            port,
            _,
            ranges @ ..,
        ] => {
            let rules = rules_of(&[protocol], &[port]);
            into.add(*access == "Allow", &azure_blocks(ranges), &rules, line);
            true
        }
        // What else these tools do, and the other functions of the printed scripts.
        ["aws" | "az" | "ingress" | "inbound" | "revoke", ..] => true,
        _ => false,
    }
}

/// A protocol with a range of ports.
type Rule = (Said<Transport>, Said<Ports>);

impl Reading {
    pub(super) fn add(&mut self, allows: bool, blocks: &[Block], rules: &[Rule], line: usize) {
        for (transport, ports) in rules {
            let made = combinations(blocks, &[*transport], &[*ports], false, line);
            self.take(allows, made);
        }
    }
}

pub(super) fn blocks<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<Block> {
    texts.into_iter().filter_map(Block::parse).collect()
}

/// Service tags name what cannot be known here, but for the one that is everything.
pub(super) fn azure_blocks(texts: &[&str]) -> Vec<Block> {
    match texts {
        ["*" | "Internet"] => Block::everywhere(|_| true),
        some => blocks(some.iter().copied()),
    }
}

pub(super) fn rules_of(protocols: &[&str], ports: &[&str]) -> Vec<Rule> {
    let protocols: Vec<_> = protocols.iter().filter_map(|p| transport(p)).collect();
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
    let makes = words.contains(&"firewall-rules")
        && words.iter().any(|w| matches!(*w, "create" | "update"));
    let egress = option(words, "--direction")
        .iter()
        .any(|d| matches!(*d, "EGRESS" | "OUT"));
    if !makes {
        return false;
    }
    if !egress {
        return true;
    }
    let text = |name| option(words, name).join(",");
    let rules = [text("--rules"), text("--allow")].join(",");
    let ranges = text("--destination-ranges");
    let blocks = if ranges.is_empty() {
        vec![Block::all(Family::Ipv4)]
    } else {
        blocks(ranges.split(','))
    };
    let denies = text("--action").eq_ignore_ascii_case("deny");
    into.add(
        !denies,
        &blocks,
        &gcloud_rules(rules.trim_matches(',')),
        line,
    );
    true
}

fn aws(words: &[&str], line: usize, into: &mut Reading) {
    let lists = option(words, "--ip-permissions");
    let lists = lists
        .iter()
        .filter_map(|text| serde_json::from_str::<Value>(text).ok());
    for list in lists {
        for permission in list.as_array().into_iter().flatten() {
            aws_permission(permission, line, into);
        }
    }
    if let [cidr] = option(words, "--cidr")[..] {
        let rules = rules_of(&option(words, "--protocol"), &option(words, "--port"));
        into.add(true, &blocks([cidr]), &rules, line);
    }
}

pub(super) fn aws_permission(permission: &Value, line: usize, into: &mut Reading) {
    let protocol = text(permission, "IpProtocol");
    let port = |name: &str| permission.get(name).and_then(Value::as_i64).unwrap_or(-1);
    let range = match (port("FromPort"), port("ToPort")) {
        (-1, _) | (_, -1) => "any".to_owned(),
        (from, to) => format!("{from}-{to}"),
    };
    let of = |list: &str, name: &str| strings(permission.get(list), name);
    let mut cidrs = [of("IpRanges", "CidrIp"), of("Ipv6Ranges", "CidrIpv6")].concat();
    cidrs.extend([text(permission, "CidrIpv4"), text(permission, "CidrIpv6")]);
    into.add(
        true,
        &blocks(cidrs),
        &rules_of(&[protocol], &[&range]),
        line,
    );
}

fn azure(words: &[&str], line: usize, into: &mut Reading) -> bool {
    if option(words, "--direction") == ["Outbound"] {
        let or = |name, usual: &'static str| match option(words, name) {
            none if none.is_empty() => vec![usual],
            some => some,
        };
        let protocols = or("--protocol", "*");
        let ports = or("--destination-port-ranges", "80");
        let blocks = azure_blocks(&or("--destination-address-prefixes", "*"));
        let allows = option(words, "--access") != ["Deny"];
        into.add(allows, &blocks, &rules_of(&protocols, &ports), line);
    }
    true
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
