//! What `terraform show -json` and `tofu show -json` print, of a state or a plan.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::aws::Allowed;
use super::azure::{self, SecurityRule};
use super::google::{self, Firewall, Service};
use super::list::{List, Rule};

/// The document.
#[derive(Debug, Deserialize)]
pub(super) struct Document {
    #[serde(alias = "planned_values")]
    values: Option<Values>,
}

#[derive(Debug, Deserialize)]
struct Values {
    root_module: Module,
}

#[derive(Debug, Deserialize)]
struct Module {
    #[serde(default)]
    resources: Vec<Resource>,
    #[serde(default)]
    child_modules: Vec<Module>,
}

#[derive(Debug, Deserialize)]
struct Resource {
    address: String,
    r#type: String,
    #[serde(default)]
    values: Value,
}

/// `aws_security_group`.
#[derive(Debug, Deserialize)]
struct Group {
    id: Option<String>,
    egress: Option<Vec<Egress>>,
}

/// A block `egress`, `aws_security_group_rule` and `aws_vpc_security_group_egress_rule`.
#[derive(Debug, Deserialize)]
struct Egress {
    r#type: Option<String>,
    security_group_id: Option<String>,
    #[serde(alias = "ip_protocol")]
    protocol: Option<String>,
    from_port: Option<i64>,
    to_port: Option<i64>,
    cidr_blocks: Option<Vec<String>>,
    ipv6_cidr_blocks: Option<Vec<String>>,
    prefix_list_ids: Option<Vec<String>>,
    cidr_ipv4: Option<String>,
    cidr_ipv6: Option<String>,
    prefix_list_id: Option<String>,
}

impl Egress {
    fn rules(&self, group: &str) -> Vec<Rule> {
        let lists = [&self.cidr_blocks, &self.ipv6_cidr_blocks];
        let networks = lists.into_iter().flatten().flatten();
        let networks = networks.chain([&self.cidr_ipv4, &self.cidr_ipv6].into_iter().flatten());
        let prefixes = self
            .prefix_list_ids
            .iter()
            .flatten()
            .chain(&self.prefix_list_id);
        Allowed {
            protocol: self.protocol.as_deref().unwrap_or("-1"),
            ports: (self.from_port, self.to_port),
            networks: networks.map(String::as_str).collect(),
            prefix_lists: prefixes.map(String::as_str).collect(),
        }
        .rules(group)
    }
}

/// `google_compute_firewall`.
#[derive(Debug, Deserialize)]
struct Google {
    name: Option<String>,
    network: Option<String>,
    direction: Option<String>,
    priority: Option<i64>,
    disabled: Option<bool>,
    allow: Option<Vec<Service>>,
    deny: Option<Vec<Service>>,
    destination_ranges: Option<Vec<String>>,
    target_tags: Option<Vec<String>>,
    target_service_accounts: Option<Vec<String>>,
}

impl From<Google> for Firewall {
    fn from(rule: Google) -> Self {
        Self {
            name: rule.name.unwrap_or_default(),
            network: rule.network.unwrap_or_default(),
            direction: rule.direction,
            priority: rule.priority,
            disabled: rule.disabled.unwrap_or_default(),
            allowed: rule.allow.unwrap_or_default(),
            denied: rule.deny.unwrap_or_default(),
            destination_ranges: rule.destination_ranges.unwrap_or_default(),
            source_ranges: Vec::new(),
            target_tags: rule.target_tags.unwrap_or_default(),
            target_service_accounts: rule.target_service_accounts.unwrap_or_default(),
        }
    }
}

/// `azurerm_network_security_group`.
#[derive(Debug, Deserialize)]
struct AzureGroup {
    name: Option<String>,
    security_rule: Option<Vec<SecurityRule>>,
}

#[derive(Debug, Deserialize)]
struct GroupName {
    network_security_group_name: Option<String>,
}

/// The lists of all resources that are read, each group with the rules that are resources of their own.
///
/// # Errors
/// A resource whose fields are of another form, by its address.
pub(super) fn lists(document: Document) -> Result<Vec<List>, String> {
    let mut resources = Vec::new();
    let mut modules = Vec::from_iter(document.values.map(|values| values.root_module));
    while let Some(module) = modules.pop() {
        resources.extend(module.resources);
        modules.extend(module.child_modules);
    }
    let mut amazon: BTreeMap<String, Vec<Rule>> = BTreeMap::new();
    let mut azure: BTreeMap<String, Vec<SecurityRule>> = BTreeMap::new();
    let mut google: Vec<Firewall> = Vec::new();
    for Resource {
        address,
        r#type,
        values,
    } in resources
    {
        let wrong = |why: serde_json::Error| format!("{address}: {why}");
        match r#type.as_str() {
            "aws_security_group" => {
                let group: Group = serde_json::from_value(values).map_err(wrong)?;
                let id = group.id.unwrap_or_else(|| address.clone());
                let rules = group.egress.iter().flatten().flat_map(|e| e.rules(&id));
                let rules: Vec<_> = rules.collect();
                amazon.entry(id).or_default().extend(rules);
            }
            "aws_security_group_rule" | "aws_vpc_security_group_egress_rule" => {
                let rule: Egress = serde_json::from_value(values).map_err(wrong)?;
                let id = rule.security_group_id.clone().unwrap_or_default();
                if rule.r#type.as_deref().is_none_or(|kind| kind == "egress") {
                    amazon
                        .entry(id.clone())
                        .or_default()
                        .extend(rule.rules(&id));
                }
            }
            "google_compute_firewall" => {
                let rule: Google = serde_json::from_value(values).map_err(wrong)?;
                google.push(rule.into());
            }
            "azurerm_network_security_group" => {
                let group: AzureGroup = serde_json::from_value(values).map_err(wrong)?;
                let rules = azure.entry(group.name.unwrap_or_default()).or_default();
                rules.extend(group.security_rule.unwrap_or_default());
            }
            "azurerm_network_security_rule" => {
                let of: GroupName = serde_json::from_value(values.clone()).map_err(wrong)?;
                let rules = azure.entry(of.network_security_group_name.unwrap_or_default());
                rules
                    .or_default()
                    .push(serde_json::from_value(values).map_err(wrong)?);
            }
            _ => {}
        }
    }
    // In a plan the number of a group that is to be made is not known yet.
    if let (2, Some(rules)) = (amazon.len(), amazon.remove("")) {
        amazon
            .values_mut()
            .for_each(|group| group.extend_from_slice(&rules));
    }
    let mut lists = google::lists(&google);
    let amazon = amazon.into_iter();
    lists.extend(
        amazon.map(|(id, rules)| List::stateful(format!("the security group {id}"), rules)),
    );
    lists.extend(azure.iter().map(|(name, rules)| azure::list(name, rules)));
    Ok(lists)
}
