//! Security groups and network ACLs, as `aws ec2 describe-…` lists them.
//!
//! Amazon's own resolver is subject to neither, so that no rule for DNS is looked for.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::fate::Fate;
use super::list::{ANY_PORT, Kind, List, Rule, To, transport};
use crate::rules::Cidr;

/// `describe-security-groups`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Group {
    group_id: String,
    #[serde(rename = "IpPermissionsEgress")]
    egress: Vec<Permission>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Permission {
    ip_protocol: String,
    from_port: Option<i64>,
    to_port: Option<i64>,
    #[serde(default)]
    ip_ranges: Vec<Range>,
    #[serde(default, rename = "Ipv6Ranges")]
    ipv6_ranges: Vec<Range>,
    #[serde(default)]
    prefix_list_ids: Vec<PrefixList>,
}

#[derive(Debug, Deserialize)]
struct Range {
    #[serde(alias = "CidrIp", alias = "CidrIpv6")]
    cidr: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PrefixList {
    prefix_list_id: String,
}

/// `describe-security-group-rules`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GroupRule {
    group_id: String,
    is_egress: bool,
    ip_protocol: String,
    from_port: Option<i64>,
    to_port: Option<i64>,
    cidr_ipv4: Option<String>,
    cidr_ipv6: Option<String>,
    prefix_list_id: Option<String>,
}

/// `describe-network-acls`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Acl {
    network_acl_id: String,
    entries: Vec<AclEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AclEntry {
    rule_number: i64,
    egress: bool,
    protocol: String,
    rule_action: String,
    cidr_block: Option<String>,
    ipv6_cidr_block: Option<String>,
    port_range: Option<PortRange>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PortRange {
    from: i64,
    to: i64,
}

/// What a group allows, in the words of any of Amazon's forms.
#[derive(Debug, Default)]
pub(super) struct Allowed<'a> {
    /// `-1`, a name or a number.
    pub(super) protocol: &'a str,
    /// The first and the last port, if the protocol has ports.
    pub(super) ports: (Option<i64>, Option<i64>),
    /// The networks of both families.
    pub(super) networks: Vec<&'a str>,
    /// The lists of networks that are named.
    pub(super) prefix_lists: Vec<&'a str>,
}

impl Allowed<'_> {
    /// Rules for it. What a group allows to other groups never leads to the Internet.
    pub(super) fn rules(&self, group: &str) -> Vec<Rule> {
        let Some(transport) = transport(self.protocol) else {
            return Vec::new();
        };
        let ports = match self.ports {
            (Some(from), Some(to)) if transport.is_some() && from >= 0 => clamp(from)..=clamp(to),
            _ => ANY_PORT,
        };
        let rule = |to, doubt| Rule {
            order: 0,
            allows: true,
            transport,
            ports: ports.clone(),
            to,
            doubt,
            label: format!("security group {group}"),
        };
        let networks = self.networks.iter().map(|text| match Cidr::covering(text) {
            Some(network) => rule(To::Network(network, Vec::new()), None),
            None => rule(To::Anywhere, Some(format!("`{text}` is not a network"))),
        });
        let lists = self.prefix_lists.iter().map(|name| {
            let doubt = format!("the entries of the prefix list {name} are not in the file");
            rule(To::Anywhere, Some(doubt))
        });
        networks.chain(lists).collect()
    }
}

fn clamp(port: i64) -> u16 {
    u16::try_from(port.clamp(0, u16::MAX.into())).unwrap_or(u16::MAX)
}

pub(super) fn group(group: &Group) -> List {
    let rules = group.egress.iter().flat_map(|permission| {
        let ranges = permission.ip_ranges.iter().chain(&permission.ipv6_ranges);
        let lists = permission.prefix_list_ids.iter();
        Allowed {
            protocol: &permission.ip_protocol,
            ports: (permission.from_port, permission.to_port),
            networks: ranges.map(|range| range.cidr.as_str()).collect(),
            prefix_lists: lists.map(|list| list.prefix_list_id.as_str()).collect(),
        }
        .rules(&group.group_id)
    });
    List::stateful(named(&group.group_id), rules.collect())
}

fn named(group: &str) -> String {
    format!("the security group {group}")
}

/// One list for each group. A group of which only rules for what comes in are listed is not judged: the
/// list may be filtered.
pub(super) fn group_rules(rules: &[GroupRule]) -> Vec<List> {
    let mut groups: BTreeMap<&str, Vec<&GroupRule>> = BTreeMap::new();
    for rule in rules {
        groups.entry(&rule.group_id).or_default().push(rule);
    }
    let list = |(group, rules): (&str, Vec<&GroupRule>)| {
        let out: Vec<_> = rules.into_iter().filter(|rule| rule.is_egress).collect();
        let otherwise = match out.is_empty() {
            true => Fate::NotInFile(format!("{} has only rules for what comes in", named(group))),
            false => Fate::Missing(None),
        };
        let allowed = |rule: &&GroupRule| {
            let networks = [&rule.cidr_ipv4, &rule.cidr_ipv6].into_iter().flatten();
            Allowed {
                protocol: &rule.ip_protocol,
                ports: (rule.from_port, rule.to_port),
                networks: networks.map(String::as_str).collect(),
                prefix_lists: rule.prefix_list_id.iter().map(String::as_str).collect(),
            }
            .rules(group)
        };
        List {
            otherwise,
            ..List::stateful(named(group), out.iter().flat_map(allowed).collect())
        }
    };
    groups.into_iter().map(list).collect()
}

/// A VPC with IPv6 has an entry for `::/0` in each ACL, which denies the rest.
pub(super) fn acl(acl: &Acl) -> List {
    let rules = |egress: bool| -> Vec<Rule> {
        let entries = acl.entries.iter().filter(|entry| entry.egress == egress);
        entries.flat_map(|entry| acl_rules(entry, acl)).collect()
    };
    List {
        name: format!("the network ACL {}", acl.network_acl_id),
        kind: Kind::Stateless,
        rules: rules(true),
        back: Some(rules(false)),
        otherwise: Fate::Missing(None),
        is_ipv4_only: acl.entries.iter().all(|e| e.ipv6_cidr_block.is_none()),
    }
}

fn acl_rules(entry: &AclEntry, acl: &Acl) -> Vec<Rule> {
    let Some(transport) = transport(&entry.protocol) else {
        return Vec::new();
    };
    let range = entry.port_range.as_ref().filter(|_| transport.is_some());
    let direction = if entry.egress { "outbound" } else { "inbound" };
    let networks = [&entry.cidr_block, &entry.ipv6_cidr_block];
    let rule = |text: &String| Rule {
        order: entry.rule_number,
        allows: entry.rule_action == "allow",
        transport,
        ports: range.map_or(ANY_PORT, |range| clamp(range.from)..=clamp(range.to)),
        to: Cidr::covering(text).map_or(To::Anywhere, |to| To::Network(to, Vec::new())),
        doubt: Cidr::covering(text)
            .is_none()
            .then(|| format!("`{text}` is not a network")),
        label: format!(
            "{direction} rule {} of the network ACL {}",
            entry.rule_number, acl.network_acl_id
        ),
    };
    networks.into_iter().flatten().map(rule).collect()
}
