//! Security groups and network ACLs, as `aws ec2 describe-…` and Terraform list them.
//!
//! Amazon's own resolver is subject to neither, so that no rule for DNS is looked for.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::fate::Fate;
use super::list::{ANY_PORT, Kind, List, Rule, To, transport};

/// A group with its rules for what leaves.
#[derive(Debug, Deserialize)]
pub(super) struct Group {
    #[serde(alias = "GroupId")]
    pub(super) id: Option<String>,
    #[serde(alias = "IpPermissionsEgress")]
    pub(super) egress: Option<Vec<Allowed>>,
}

/// What a group allows, in the fields of any form: a permission of a group, a rule of a list, a resource.
#[derive(Debug, Deserialize)]
pub(super) struct Allowed {
    #[serde(alias = "GroupId", alias = "security_group_id")]
    pub(super) group: Option<String>,
    #[serde(alias = "IsEgress")]
    is_egress: Option<bool>,
    #[serde(alias = "type")]
    direction: Option<String>,
    #[serde(alias = "IpProtocol", alias = "ip_protocol")]
    protocol: Option<String>,
    #[serde(alias = "FromPort")]
    from_port: Option<i64>,
    #[serde(alias = "ToPort")]
    to_port: Option<i64>,
    #[serde(alias = "IpRanges", alias = "cidr_blocks")]
    networks: Option<Vec<Named>>,
    #[serde(alias = "Ipv6Ranges", alias = "ipv6_cidr_blocks")]
    networks6: Option<Vec<Named>>,
    #[serde(alias = "PrefixListIds", alias = "prefix_list_ids")]
    prefix_lists: Option<Vec<Named>>,
    #[serde(alias = "CidrIpv4")]
    cidr_ipv4: Option<String>,
    #[serde(alias = "CidrIpv6")]
    cidr_ipv6: Option<String>,
    #[serde(alias = "PrefixListId")]
    prefix_list_id: Option<String>,
}

/// A network or a list of networks, as a word or in an object.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Named {
    Word(String),
    Object {
        #[serde(alias = "CidrIp", alias = "CidrIpv6", alias = "PrefixListId")]
        name: String,
    },
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

impl Named {
    fn word(&self) -> &String {
        let (Self::Word(word) | Self::Object { name: word }) = self;
        word
    }
}

impl Allowed {
    pub(super) fn goes_out(&self) -> bool {
        self.is_egress != Some(false) && self.direction.as_deref() != Some("ingress")
    }

    /// Rules for it. What a group allows to other groups never leads to the Internet.
    pub(super) fn rules(&self, group: &str) -> Vec<Rule> {
        let Some(transport) = transport(self.protocol.as_deref().unwrap_or("-1")) else {
            return Vec::new();
        };
        let ports = match (self.from_port, self.to_port) {
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
        let listed = [&self.networks, &self.networks6].into_iter().flatten();
        let listed = listed.flatten().map(Named::word);
        let networks = listed
            .chain(&self.cidr_ipv4)
            .chain(&self.cidr_ipv6)
            .map(|text| {
                let (to, doubt) = To::network(text);
                rule(to, doubt)
            });
        let lists = self.prefix_lists.iter().flatten().map(Named::word);
        let lists = lists.chain(&self.prefix_list_id).map(|name| {
            let doubt = format!("the entries of the prefix list {name} are not in the file");
            rule(To::Anywhere, Some(doubt))
        });
        networks.chain(lists).collect()
    }
}

fn clamp(port: i64) -> u16 {
    u16::try_from(port.clamp(0, u16::MAX.into())).unwrap_or(u16::MAX)
}

/// A group that allows what the rules say.
pub(super) fn list(id: &str, rules: Vec<Rule>) -> List {
    List::stateful(format!("the security group {id}"), rules)
}

pub(super) fn group(group: &Group) -> List {
    let id = group.id.as_deref().unwrap_or_default();
    let egress = group.egress.iter().flatten();
    list(id, egress.flat_map(|allowed| allowed.rules(id)).collect())
}

/// One list for each group. A group of which only rules for what comes in are listed is not judged: the
/// list may be filtered.
pub(super) fn group_rules(rules: &[Allowed]) -> Vec<List> {
    let mut groups: BTreeMap<&str, Vec<&Allowed>> = BTreeMap::new();
    for rule in rules {
        let group = rule.group.as_deref().unwrap_or_default();
        let of_group = groups.entry(group).or_default();
        of_group.extend(rule.goes_out().then_some(rule));
    }
    let lists = groups.into_iter().map(|(id, out)| {
        let mut of_group = list(id, out.iter().flat_map(|rule| rule.rules(id)).collect());
        if out.is_empty() {
            let why = format!("{} has only rules for what comes in", of_group.name);
            of_group.otherwise = Fate::NotInFile(why);
        }
        of_group
    });
    lists.collect()
}

/// A VPC with IPv6 has an entry for `::/0` in each ACL, which denies the rest.
pub(super) fn acl(acl: &Acl) -> List {
    let rules = |egress: bool| -> Vec<Rule> {
        let entries = acl.entries.iter().filter(|entry| entry.egress == egress);
        entries
            .flat_map(|entry| acl_rules(entry, &acl.network_acl_id))
            .collect()
    };
    List {
        kind: Kind::Stateless,
        back: Some(rules(false)),
        is_ipv4_only: acl.entries.iter().all(|e| e.ipv6_cidr_block.is_none()),
        ..List::stateful(
            format!("the network ACL {}", acl.network_acl_id),
            rules(true),
        )
    }
}

fn acl_rules(entry: &AclEntry, acl: &str) -> Vec<Rule> {
    let Some(transport) = transport(&entry.protocol) else {
        return Vec::new();
    };
    let range = entry.port_range.as_ref().filter(|_| transport.is_some());
    let direction = if entry.egress { "outbound" } else { "inbound" };
    let networks = [&entry.cidr_block, &entry.ipv6_cidr_block]
        .into_iter()
        .flatten();
    let rules = networks.map(|text| {
        let (to, doubt) = To::network(text);
        Rule {
            order: entry.rule_number,
            allows: entry.rule_action == "allow",
            transport,
            ports: range.map_or(ANY_PORT, |range| clamp(range.from)..=clamp(range.to)),
            to,
            doubt,
            label: format!(
                "{direction} rule {} of the network ACL {acl}",
                entry.rule_number
            ),
        }
    });
    rules.collect()
}
