//! VPC firewall rules, as `gcloud compute firewall-rules list --format json` and Terraform list them.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::fate::Fate;
use super::list::{ANY_PORT, List, Rule, To, ports, transport};

/// One firewall rule.
#[derive(Debug, Deserialize)]
pub(super) struct Firewall {
    name: Option<String>,
    network: Option<String>,
    direction: Option<String>,
    priority: Option<i64>,
    disabled: Option<bool>,
    #[serde(alias = "allow")]
    allowed: Option<Vec<Service>>,
    #[serde(alias = "deny")]
    denied: Option<Vec<Service>>,
    #[serde(alias = "destinationRanges")]
    destination_ranges: Option<Vec<String>>,
    #[serde(alias = "sourceRanges")]
    source_ranges: Option<Vec<String>>,
    #[serde(alias = "targetTags")]
    target_tags: Option<Vec<String>>,
    #[serde(alias = "targetServiceAccounts")]
    target_service_accounts: Option<Vec<String>>,
}

/// A protocol with its ports.
#[derive(Debug, Deserialize)]
struct Service {
    #[serde(rename = "IPProtocol", alias = "protocol")]
    protocol: String,
    ports: Option<Vec<String>>,
}

impl Firewall {
    fn goes_out(&self) -> bool {
        self.disabled != Some(true) && self.direction.as_deref() == Some("EGRESS")
    }

    /// Which machines it is for; empty is all of the network.
    fn targets(&self) -> String {
        let targets = [&self.target_tags, &self.target_service_accounts];
        let targets = targets.into_iter().flatten().flatten();
        targets.cloned().collect::<Vec<_>>().join(", ")
    }

    fn doubt(&self, several: bool) -> Option<String> {
        let targets = self.targets();
        if several && !targets.is_empty() {
            Some(format!(
                "which machines are its targets ({targets}) is not in the file"
            ))
        } else {
            let narrow = self.source_ranges.iter().flatten().next().is_some();
            narrow.then(|| "it is for some source addresses".to_owned())
        }
    }

    fn rules(&self, several: bool) -> Vec<Rule> {
        let everywhere = vec!["0.0.0.0/0".to_owned()];
        let ranges = self
            .destination_ranges
            .as_ref()
            .filter(|ranges| !ranges.is_empty());
        let mut rules = Vec::new();
        for (allows, services) in [(true, &self.allowed), (false, &self.denied)] {
            for service in services.iter().flatten() {
                let Some(transport) = transport(&service.protocol) else {
                    continue;
                };
                let of_service = service.ports.iter().flatten();
                let mut of_service: Vec<_> = of_service.filter_map(|text| ports(text)).collect();
                if of_service.is_empty() {
                    of_service.push(ANY_PORT);
                }
                for range in ranges.unwrap_or(&everywhere) {
                    let (to, unknown) = To::network(range);
                    rules.extend(of_service.iter().map(|ports| Rule {
                        // Of two rules with the same priority the one that denies comes first.
                        order: 2 * self.priority.unwrap_or(1000) + i64::from(allows),
                        allows,
                        transport,
                        ports: ports.clone(),
                        to: to.clone(),
                        doubt: unknown.clone().or_else(|| self.doubt(several)),
                        label: format!(
                            "the firewall rule {}",
                            self.name.as_deref().unwrap_or("without a name")
                        ),
                    }));
                }
            }
        }
        rules
    }
}

/// One list for each network. What no rule denies leaves by the rule that every network has.
pub(super) fn lists(firewalls: &[Firewall]) -> Vec<List> {
    let networks: BTreeSet<_> = firewalls.iter().map(|f| f.network.as_deref()).collect();
    let list = |network: Option<&str>| {
        let of_network = firewalls.iter().filter(|f| f.network.as_deref() == network);
        let out: Vec<_> = of_network.filter(|f| f.goes_out()).collect();
        let targets: BTreeSet<_> = out.iter().map(|f| f.targets()).collect();
        // One set of targets is taken to be the one that is asked about.
        let several = targets.iter().filter(|targets| !targets.is_empty()).count() > 1;
        let name = network.and_then(|network| network.rsplit('/').next());
        List {
            otherwise: Fate::Open,
            ..List::stateful(
                format!("the network {}", name.unwrap_or_default()),
                out.iter().flat_map(|f| f.rules(several)).collect(),
            )
        }
    };
    networks.into_iter().map(list).collect()
}
