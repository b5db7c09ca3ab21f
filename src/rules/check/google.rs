//! VPC firewall rules, as `gcloud compute firewall-rules list --format json` lists them.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::fate::Fate;
use super::list::{List, Rule, To, ports, transport};
use crate::rules::Cidr;

/// One firewall rule.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Firewall {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) network: String,
    pub(super) direction: Option<String>,
    pub(super) priority: Option<i64>,
    #[serde(default)]
    pub(super) disabled: bool,
    #[serde(default)]
    pub(super) allowed: Vec<Service>,
    #[serde(default)]
    pub(super) denied: Vec<Service>,
    #[serde(default)]
    pub(super) destination_ranges: Vec<String>,
    #[serde(default)]
    pub(super) source_ranges: Vec<String>,
    #[serde(default)]
    pub(super) target_tags: Vec<String>,
    #[serde(default)]
    pub(super) target_service_accounts: Vec<String>,
}

/// A protocol with its ports.
#[derive(Debug, Deserialize)]
pub(super) struct Service {
    #[serde(rename = "IPProtocol", alias = "protocol")]
    pub(super) protocol: String,
    #[serde(default)]
    pub(super) ports: Vec<String>,
}

impl Firewall {
    fn goes_out(&self) -> bool {
        !self.disabled && self.direction.as_deref() == Some("EGRESS")
    }

    /// Which machines it is for; empty is all of the network.
    fn targets(&self) -> String {
        let targets = self.target_tags.iter().chain(&self.target_service_accounts);
        targets.cloned().collect::<Vec<_>>().join(", ")
    }
}

/// One list for each network. What no rule denies leaves by the rule that every network has.
pub(super) fn lists(firewalls: &[Firewall]) -> Vec<List> {
    let networks: BTreeSet<_> = firewalls.iter().map(|f| f.network.as_str()).collect();
    let list = |network: &str| {
        let of_network = firewalls.iter().filter(|f| f.network == network);
        let out: Vec<_> = of_network.filter(|f| f.goes_out()).collect();
        let targets: BTreeSet<_> = out.iter().map(|f| f.targets()).collect();
        // One set of targets is taken to be the one that is asked about.
        let several = targets.iter().filter(|targets| !targets.is_empty()).count() > 1;
        let name = network.rsplit('/').next().unwrap_or_default();
        List {
            otherwise: Fate::Open,
            ..List::stateful(
                format!("the network {name}"),
                out.iter().flat_map(|f| rules(f, several)).collect(),
            )
        }
    };
    networks.into_iter().map(list).collect()
}

fn rules(firewall: &Firewall, several: bool) -> Vec<Rule> {
    let targets = firewall.targets();
    let doubt = if several && !targets.is_empty() {
        Some(format!(
            "which machines are its targets ({targets}) is not in the file"
        ))
    } else if !firewall.source_ranges.is_empty() {
        Some("it is for some source addresses".to_owned())
    } else {
        None
    };
    let everywhere = ["0.0.0.0/0".to_owned()];
    let ranges = match firewall.destination_ranges.as_slice() {
        [] => &everywhere[..],
        some => some,
    };
    let mut rules = Vec::new();
    for (allows, services) in [(true, &firewall.allowed), (false, &firewall.denied)] {
        for service in services {
            let Some(transport) = transport(&service.protocol) else {
                continue;
            };
            let all = [String::new()];
            let of_service = if service.ports.is_empty() {
                &all[..]
            } else {
                &service.ports
            };
            for (text, range) in of_service
                .iter()
                .flat_map(|p| ranges.iter().map(move |r| (p, r)))
            {
                let (Some(ports), Some(to)) = (ports(text), Cidr::covering(range)) else {
                    continue;
                };
                rules.push(Rule {
                    // Of two rules with the same priority the one that denies comes first.
                    order: 2 * firewall.priority.unwrap_or(1000) + i64::from(allows),
                    allows,
                    transport,
                    ports,
                    to: To::Network(to, Vec::new()),
                    doubt: doubt.clone(),
                    label: format!("the firewall rule {}", firewall.name),
                });
            }
        }
    }
    rules
}
