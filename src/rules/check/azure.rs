//! Network security groups, as `az network nsg … list` and `show` list them.

use serde::Deserialize;

use super::fate::Fate;
use super::list::{List, Rule, To, ports, transport};
use crate::rules::Cidr;

/// `az network nsg show`, and each of `list`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Group {
    #[serde(default)]
    name: String,
    security_rules: Vec<SecurityRule>,
}

/// One rule. Terraform has the same fields in other letters.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SecurityRule {
    name: String,
    access: String,
    direction: String,
    priority: i64,
    protocol: String,
    #[serde(alias = "destination_address_prefix")]
    destination_address_prefix: Option<String>,
    #[serde(alias = "destination_address_prefixes")]
    destination_address_prefixes: Option<Vec<String>>,
    #[serde(alias = "destination_port_range")]
    destination_port_range: Option<String>,
    #[serde(alias = "destination_port_ranges")]
    destination_port_ranges: Option<Vec<String>>,
    #[serde(alias = "source_address_prefix")]
    source_address_prefix: Option<String>,
    #[serde(alias = "source_address_prefixes")]
    source_address_prefixes: Option<Vec<String>>,
    #[serde(alias = "source_port_range")]
    source_port_range: Option<String>,
    #[serde(alias = "source_port_ranges")]
    source_port_ranges: Option<Vec<String>>,
    #[serde(
        alias = "source_application_security_groups",
        alias = "source_application_security_group_ids"
    )]
    source_application_security_groups: Option<Vec<serde_json::Value>>,
}

pub(super) fn group(group: &Group) -> List {
    list(&group.name, &group.security_rules)
}

/// What no rule denies leaves by the rule `AllowInternetOutBound`, which every group has.
pub(super) fn list(name: &str, rules: &[SecurityRule]) -> List {
    let out = rules.iter().filter(|rule| rule.direction == "Outbound");
    let name = if name.is_empty() { "given" } else { name };
    List {
        otherwise: Fate::Open,
        ..List::stateful(
            format!("the network security group {name}"),
            out.flat_map(SecurityRule::rules).collect(),
        )
    }
}

impl SecurityRule {
    fn rules(&self) -> Vec<Rule> {
        let Some(transport) = transport(&self.protocol) else {
            return Vec::new();
        };
        let all = |one: &Option<String>, many: &Option<Vec<String>>| -> Vec<String> {
            one.iter()
                .chain(many.iter().flatten())
                .filter(|text| !text.is_empty())
                .cloned()
                .collect()
        };
        let to = all(
            &self.destination_address_prefix,
            &self.destination_address_prefixes,
        );
        let mut rules = Vec::new();
        for range in all(&self.destination_port_range, &self.destination_port_ranges) {
            for prefix in &to {
                let Some((to, unknown)) = destination(prefix) else {
                    continue;
                };
                rules.push(Rule {
                    order: self.priority,
                    allows: self.access == "Allow",
                    transport,
                    ports: ports(&range).unwrap_or(super::list::ANY_PORT),
                    to,
                    doubt: unknown.or_else(|| self.is_for_some()),
                    label: format!("the rule {} (priority {})", self.name, self.priority),
                });
            }
        }
        rules
    }

    /// Why it may not be about this machine, or not about all of its flows.
    fn is_for_some(&self) -> Option<String> {
        let sources = self.source_address_prefix.iter();
        let sources = sources.chain(self.source_address_prefixes.iter().flatten());
        let all = ["*", "VirtualNetwork", "0.0.0.0/0", "::/0", ""];
        let some: Vec<_> = sources
            .filter(|source| !all.contains(&source.as_str()))
            .collect();
        let from = self
            .source_port_range
            .iter()
            .chain(self.source_port_ranges.iter().flatten());
        let groups = self.source_application_security_groups.as_ref();
        if let Some(source) = some.first() {
            return Some(format!("it is for the source {source}"));
        }
        if groups.is_some_and(|groups| !groups.is_empty()) {
            return Some("it is for some application security groups".to_owned());
        }
        let mut from = from.filter(|range| !["*", "0-65535", ""].contains(&range.as_str()));
        from.next()
            .map(|range| format!("it is for the source ports {range}"))
    }
}

/// Where a prefix leads to, and why that is not certain; none if never to the edge.
fn destination(prefix: &str) -> Option<(To, Option<String>)> {
    match prefix {
        "*" | "Internet" => Some((To::Anywhere, None)),
        "VirtualNetwork" | "AzureLoadBalancer" => None,
        _ => Some(match Cidr::covering(prefix) {
            Some(network) => (To::Network(network, Vec::new()), None),
            None => {
                let why = format!("the addresses of the service tag {prefix} are not in the file");
                (To::Anywhere, Some(why))
            }
        }),
    }
}
