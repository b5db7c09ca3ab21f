//! What files hold, found out by their content.

use std::collections::BTreeSet;

use serde_json::Value;
use thiserror::Error;

use super::fate::{Fate, Target};
use super::filters::Filters;
use super::list::{self, List, Rule, To};
use super::own::Printed;
use super::{LONGEST, aws, azure, cluster, google, table, terraform};
use crate::encoding::utf16;
use crate::rules::{Cidr, Egress, Entry, Purpose};

/// Rules that were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// Rules of packet filters.
    Filters(Filters),
    /// Lists of clouds, clusters and tables.
    Lists(Lists),
    /// A file that this program printed.
    Own(Printed),
}

/// Lists that a flow has to pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lists {
    all: Vec<List>,
    /// What they are: "network ACLs of AWS".
    pub forms: Vec<&'static str>,
    /// Whether pods may ask a resolver, if the lists are for pods.
    pub lets_pods_ask: Option<bool>,
    /// Whether it is a table, which may be for this host.
    pub is_table: bool,
    /// Whether the table has a rule for DNS.
    pub lists_resolvers: bool,
}

impl Lists {
    /// What the lists do with a destination.
    #[must_use]
    pub fn fate(&self, target: &Target<'_>) -> Fate {
        list::fate(&self.all, target)
    }

    /// Rules for the edge's port that lead to no address of today.
    #[must_use]
    pub fn superfluous(&self, egress: &Egress) -> Vec<String> {
        let is_edge = |e: &&Entry| matches!(e.purpose, Purpose::Quic | Purpose::Http2);
        let edge: Vec<_> = egress.entries.iter().filter(is_edge).collect();
        let serves = |rule: &Rule, network: &Cidr| {
            let holds = |e: &&Entry| {
                e.addresses
                    .iter()
                    .any(|address| network.contains(address.ip))
            };
            edge.iter()
                .any(|e| rule.ports.contains(&e.port) && holds(e))
        };
        let rules = self
            .all
            .iter()
            .flat_map(|list| &list.rules)
            .filter(|rule| rule.allows);
        let unneeded = rules.filter_map(|rule| match &rule.to {
            To::Network(network, _) if edge.iter().any(|e| rule.ports == (e.port..=e.port)) => {
                (!serves(rule, network)).then(|| format!("{network} ({})", rule.label))
            }
            _ => None,
        });
        let unneeded: BTreeSet<_> = unneeded.collect();
        unneeded.into_iter().collect()
    }
}

/// Why rules cannot be compared, in one line that says what to give instead.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{name}: {why}")]
pub struct Refused {
    /// The file.
    pub name: String,
    /// What is wrong with it, and what to give instead.
    pub why: String,
}

/// Finds out what files hold, each by its name and content. All have to be of one kind.
///
/// # Errors
/// A file that is not read, or of another kind than those before it.
pub fn read(files: &[(String, Vec<u8>)]) -> Result<Given, Refused> {
    let mut all: Option<Given> = None;
    for (name, bytes) in files {
        let refused = |why: String| Refused {
            name: name.clone(),
            why,
        };
        if bytes.len() as u64 > LONGEST {
            let most = LONGEST >> 20;
            return Err(refused(format!(
                "is longer than {most} MB, the most that is read; give only the rules"
            )));
        }
        let text = decode(bytes)
            .ok_or_else(|| refused("is not a text file; give the rules as text".to_owned()))?;
        let given = one(name, &text).map_err(refused)?;
        all = Some(match (all, given) {
            (None, given) => given,
            (Some(Given::Filters(mut all)), Given::Filters(more)) => {
                all.parts.extend(more.parts);
                Given::Filters(all)
            }
            (Some(Given::Lists(mut all)), Given::Lists(more)) => {
                all.all.extend(more.all);
                all.forms.extend(more.forms);
                all.lets_pods_ask = all.lets_pods_ask.or(more.lets_pods_ask);
                Given::Lists(all)
            }
            _ => {
                return Err(refused(
                    "is of another kind than the file before it; compare them one by one"
                        .to_owned(),
                ));
            }
        });
    }
    if let Some(Given::Filters(filters)) = &mut all {
        filters.drop_saved_tables();
    }
    all.ok_or_else(|| Refused {
        name: "no file".to_owned(),
        why: "give a file with rules".to_owned(),
    })
}

/// UTF-8, or UTF-16 as `PowerShell` writes it.
fn decode(bytes: &[u8]) -> Option<String> {
    let text = utf16(bytes).unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned());
    (!text.contains('\0')).then(|| text.trim_start_matches('\u{feff}').to_owned())
}

fn one(name: &str, text: &str) -> Result<Given, String> {
    let start = text.trim_start();
    if start.is_empty() {
        return Err("is empty; give the rules, or run `--check-drift` without a file".to_owned());
    }
    if let Some(printed) = Printed::read(text) {
        return Ok(Given::Own(printed));
    }
    if start.starts_with(['{', '['])
        && let Ok(value) = serde_json::from_str::<Value>(text)
    {
        return json(value);
    }
    if table::is_one(text) {
        let list = table::read(text)?;
        return Ok(Given::Lists(Lists {
            lists_resolvers: list.rules.iter().any(|rule| rule.ports == (53..=53)),
            all: vec![list],
            forms: vec!["a table (CSV)"],
            is_table: true,
            lets_pods_ask: None,
        }));
    }
    if let Some(parts) = Filters::of(name, text) {
        return Ok(Given::Filters(Filters {
            parts,
            in_force: false,
        }));
    }
    if text.lines().any(|line| {
        line.trim_start_matches([' ', '-', '{', '"'])
            .starts_with("kind")
    }) {
        return yaml(text);
    }
    Err(instead(text))
}

/// Aliases are counted, so that a file of a few lines cannot fill the memory.
fn yaml(text: &str) -> Result<Given, String> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        strict_booleans: true,
        budget: serde_saphyr::budget! { max_nodes: 200_000, max_aliases: 2_000, max_documents: 1_024 },
    };
    let documents = serde_saphyr::from_multiple_with_options::<Value>(text, options);
    policies(documents.map_err(|why| format!("is not YAML that can be read: {why}"))?)
}

fn policies(documents: Vec<Value>) -> Result<Given, String> {
    let policies = cluster::read(documents)?;
    let policies = policies.ok_or("holds no NetworkPolicy and no CiliumNetworkPolicy; give `kubectl get networkpolicies -o yaml`")?;
    Ok(Given::Lists(Lists {
        all: vec![policies.list],
        forms: vec!["policies of Kubernetes"],
        lets_pods_ask: Some(policies.lets_dns_out),
        ..Lists::default()
    }))
}

/// The form is known by what the first object of a list has.
fn json(value: Value) -> Result<Given, String> {
    let Some(first) = (match &value {
        Value::Array(items) => items.first(),
        other => Some(other),
    }) else {
        return Err("is an empty list; give a list with rules".to_owned());
    };
    let has = |name: &str| first.get(name).is_some();
    for list in ["SecurityGroups", "NetworkAcls", "SecurityGroupRules"] {
        if let Some(inner) = first.get(list) {
            return json(inner.clone());
        }
    }
    let (form, lists) = if has("nftables") {
        return Err("is nft's JSON; give `nft list ruleset` without --json".to_owned());
    } else if has("kind") && has("apiVersion") {
        return policies(items(value));
    } else if has("format_version") {
        ("resources of Terraform", terraform::lists(typed(value)?)?)
    } else if has("IpPermissionsEgress") {
        let groups: Vec<aws::Group> = each(value)?;
        (
            "security groups of AWS",
            groups.iter().map(aws::group).collect(),
        )
    } else if has("IsEgress") {
        let rules: Vec<aws::Allowed> = each(value)?;
        ("rules of security groups of AWS", aws::group_rules(&rules))
    } else if has("NetworkAclId") {
        let acls: Vec<aws::Acl> = each(value)?;
        ("network ACLs of AWS", acls.iter().map(aws::acl).collect())
    } else if has("securityRules") {
        let groups: Vec<azure::Group> = each(value)?;
        let list = |group: &azure::Group| {
            azure::list(
                group.name.as_deref(),
                group.rules.as_deref().unwrap_or_default(),
            )
        };
        (
            "network security groups of Azure",
            groups.iter().map(list).collect(),
        )
    } else if has("access") && has("direction") {
        let rules: Vec<azure::SecurityRule> = each(value)?;
        (
            "rules of a network security group of Azure",
            vec![azure::list(None, &rules)],
        )
    } else if has("direction") || first["kind"] == "compute#firewall" {
        let rules: Vec<google::Firewall> = each(value)?;
        ("firewall rules of Google Cloud", google::lists(&rules))
    } else {
        return Err(format!("is JSON of a form that is not known; give {LISTS}"));
    };
    if lists.is_empty() {
        return Err(format!("holds no rule that is read; give {LISTS}"));
    }
    Ok(Given::Lists(Lists {
        all: lists,
        forms: vec![form],
        ..Lists::default()
    }))
}

const LISTS: &str = "`aws ec2 describe-security-groups`, `gcloud compute firewall-rules list --format json`, `az network nsg rule list`, `terraform show -json` or `kubectl get networkpolicies -o json`";

fn items(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        other => vec![other],
    }
}

fn each<T: for<'de> serde::Deserialize<'de>>(value: Value) -> Result<Vec<T>, String> {
    items(value).into_iter().map(typed).collect()
}

fn typed<T: for<'de> serde::Deserialize<'de>>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|why| {
        format!("is not as the cloud's tool prints it: {why}; give its list as it is")
    })
}

/// What to give instead of a text that is not read.
fn instead(text: &str) -> String {
    let acting = text.lines().map(str::trim);
    let mut acting =
        acting.filter(|line| !line.is_empty() && !line.starts_with("# ") && *line != "#");
    let first = acting.next().unwrap_or_default();
    let word = first.split_whitespace().next().unwrap_or_default();
    let lower = text.to_ascii_lowercase();
    let kind = if first.starts_with('<') || ["ufw", "firewall-cmd"].contains(&word) {
        "is for ufw or firewalld: apply it, and run `--check-drift` without a file on that host"
    } else if lower.contains("new-netfirewallrule") || lower.contains("advfirewall") {
        "is for Windows, and only a file that tunnelcheck printed can be compared: give that one"
    } else if ["pass", "block", "anchor", "set"].contains(&word) || first.starts_with("table <") {
        "is for pf, and only a file that tunnelcheck printed can be compared: give that one"
    } else if ["gcloud", "aws", "az"].contains(&word) {
        return format!("is a script for a cloud: give what the cloud lists afterwards, {LISTS}");
    } else if lower.contains("resource \"") {
        "is a configuration of Terraform: give `terraform show -json`"
    } else if first.starts_with("#!")
        || lower.contains("iptables ")
        || lower.contains("nft ")
        || lower.contains("ufw ")
    {
        "is a script: apply it in a scratch host and give `nft list ruleset`, or run `--check-drift` \
         without a file on the host that has these rules"
    } else {
        "is of a form that is not known: give `nft list ruleset`, `iptables-save` or a cloud's list as JSON, or run `--check-drift` without a file"
    };
    kind.to_owned()
}
