//! What `terraform show -json` and `tofu show -json` print, of a state or a plan.

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::list::{List, Rule};
use super::{aws, azure, google};

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

impl Resource {
    fn read<T: DeserializeOwned>(self) -> Result<T, String> {
        let address = self.address;
        serde_json::from_value(self.values).map_err(|why| format!("{address}: {why}"))
    }
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
    let mut azure: BTreeMap<Option<String>, Vec<azure::SecurityRule>> = BTreeMap::new();
    let mut google: Vec<google::Firewall> = Vec::new();
    for resource in resources {
        match resource.r#type.as_str() {
            "aws_security_group" => {
                let address = resource.address.clone();
                let group: aws::Group = resource.read()?;
                let id = group.id.unwrap_or(address);
                let rules: Vec<_> = group
                    .egress
                    .iter()
                    .flatten()
                    .flat_map(|e| e.rules(&id))
                    .collect();
                amazon.entry(id).or_default().extend(rules);
            }
            "aws_security_group_rule" | "aws_vpc_security_group_egress_rule" => {
                let rule: aws::Allowed = resource.read()?;
                let id = rule.group.clone().unwrap_or_default();
                if rule.goes_out() {
                    let rules = rule.rules(&id);
                    amazon.entry(id).or_default().extend(rules);
                }
            }
            "google_compute_firewall" => google.push(resource.read()?),
            "azurerm_network_security_group" => {
                let group: azure::Group = resource.read()?;
                azure
                    .entry(group.name)
                    .or_default()
                    .extend(group.rules.unwrap_or_default());
            }
            "azurerm_network_security_rule" => {
                let rule: azure::SecurityRule = resource.read()?;
                azure.entry(rule.group.clone()).or_default().push(rule);
            }
            _ => {}
        }
    }
    // In a plan the number of a group that is to be made is not known yet.
    if amazon.len() == 2
        && let Some(rules) = amazon.remove("")
    {
        for group in amazon.values_mut() {
            group.extend_from_slice(&rules);
        }
    }
    let mut lists = google::lists(&google);
    lists.extend(amazon.into_iter().map(|(id, rules)| aws::list(&id, rules)));
    lists.extend(
        azure
            .iter()
            .map(|(name, rules)| azure::list(name.as_deref(), rules)),
    );
    Ok(lists)
}
