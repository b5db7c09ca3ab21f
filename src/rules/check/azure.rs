//! Network security groups, as `az network nsg … list` and `show`, and Terraform, list them.

use serde::Deserialize;

use super::fate::Fate;
use super::list::{ANY_PORT, List, Rule, To, ports, transport};

/// A group with its rules.
#[derive(Debug, Deserialize)]
pub(super) struct Group {
    pub(super) name: Option<String>,
    #[serde(alias = "securityRules", alias = "security_rule")]
    pub(super) rules: Option<Vec<SecurityRule>>,
}

/// One rule.
#[derive(Debug, Deserialize)]
pub(super) struct SecurityRule {
    name: String,
    access: String,
    direction: String,
    priority: i64,
    protocol: String,
    #[serde(rename = "network_security_group_name")]
    pub(super) group: Option<String>,
    #[serde(alias = "destinationAddressPrefix")]
    destination_address_prefix: Option<String>,
    #[serde(alias = "destinationAddressPrefixes")]
    destination_address_prefixes: Option<Vec<String>>,
    #[serde(alias = "destinationPortRange")]
    destination_port_range: Option<String>,
    #[serde(alias = "destinationPortRanges")]
    destination_port_ranges: Option<Vec<String>>,
    #[serde(alias = "sourceAddressPrefix")]
    source_address_prefix: Option<String>,
    #[serde(alias = "sourceAddressPrefixes")]
    source_address_prefixes: Option<Vec<String>>,
    #[serde(alias = "sourcePortRange")]
    source_port_range: Option<String>,
    #[serde(alias = "sourcePortRanges")]
    source_port_ranges: Option<Vec<String>>,
    #[serde(
        alias = "sourceApplicationSecurityGroups",
        alias = "source_application_security_group_ids"
    )]
    source_groups: Option<Vec<serde_json::Value>>,
}

/// What no rule denies leaves by the rule `AllowInternetOutBound`, which every group has.
pub(super) fn list(name: Option<&str>, rules: &[SecurityRule]) -> List {
    let out = rules.iter().filter(|rule| rule.direction == "Outbound");
    List {
        otherwise: Fate::Open,
        ..List::stateful(
            format!("the network security group {}", name.unwrap_or("given")),
            out.flat_map(SecurityRule::rules).collect(),
        )
    }
}

/// The field for one, and the one for many.
fn both(one: Option<&String>, many: Option<&Vec<String>>) -> Vec<String> {
    let all = one.into_iter().chain(many.into_iter().flatten());
    all.filter(|text| !text.is_empty()).cloned().collect()
}

impl SecurityRule {
    fn rules(&self) -> Vec<Rule> {
        let Some(transport) = transport(&self.protocol) else {
            return Vec::new();
        };
        let to = both(
            self.destination_address_prefix.as_ref(),
            self.destination_address_prefixes.as_ref(),
        );
        let mut rules = Vec::new();
        for range in both(
            self.destination_port_range.as_ref(),
            self.destination_port_ranges.as_ref(),
        ) {
            rules.extend(to.iter().filter_map(|prefix| destination(prefix)).map(
                |(to, unknown)| Rule {
                    order: self.priority,
                    allows: self.access == "Allow",
                    transport,
                    ports: ports(&range).unwrap_or(ANY_PORT),
                    to,
                    doubt: unknown.or_else(|| self.is_for_some()),
                    label: format!("the rule {} (priority {})", self.name, self.priority),
                },
            ));
        }
        rules
    }

    /// Why it may not be about this machine, or not about all of its flows.
    fn is_for_some(&self) -> Option<String> {
        let all = ["*", "VirtualNetwork", "0.0.0.0/0", "::/0", "0-65535"];
        let mut sources = both(
            self.source_address_prefix.as_ref(),
            self.source_address_prefixes.as_ref(),
        );
        sources.extend(both(
            self.source_port_range.as_ref(),
            self.source_port_ranges.as_ref(),
        ));
        sources.retain(|source| !all.contains(&source.as_str()));
        if self.source_groups.iter().flatten().next().is_some() {
            sources.push("of some application security groups".to_owned());
        }
        sources
            .first()
            .map(|source| format!("it is for the source {source}"))
    }
}

/// Where a prefix leads to, and why that is not certain; none if never to the edge.
fn destination(prefix: &str) -> Option<(To, Option<String>)> {
    match prefix {
        "*" | "Internet" => Some((To::Anywhere, None)),
        "VirtualNetwork" | "AzureLoadBalancer" => None,
        _ => Some(To::network(prefix)),
    }
}
