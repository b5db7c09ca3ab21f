//! `NetworkPolicy` and Cilium's policies, as JSON or YAML.
//!
//! A policy counts if it is for all pods, or names `cloudflared` in its selector, or is the only one.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use serde::Deserialize;
use serde_json::Value;

use super::fate::Fate;
use super::list::{ANY_PORT, List, Rule, To, transport};
use crate::model::{Family, Transport};
use crate::rules::Cidr;

#[derive(Debug, Deserialize)]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Object<Spec> {
    metadata: Option<Metadata>,
    spec: Option<Spec>,
    specs: Option<Vec<Spec>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Selector {
    match_labels: Option<BTreeMap<String, String>>,
    match_expressions: Option<Vec<Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PlainSpec {
    pod_selector: Option<Selector>,
    policy_types: Option<Vec<String>>,
    egress: Option<Vec<PlainRule>>,
}

#[derive(Debug, Deserialize)]
struct PlainRule {
    to: Option<Vec<Peer>>,
    ports: Option<Vec<Port>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Peer {
    ip_block: Option<Block>,
}

#[derive(Debug, Deserialize)]
struct Block {
    cidr: Option<String>,
    except: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Port {
    #[serde(rename = "port")]
    first: Option<Value>,
    #[serde(rename = "endPort")]
    last: Option<u16>,
    protocol: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CiliumSpec {
    endpoint_selector: Option<Selector>,
    egress: Option<Vec<CiliumRule>>,
    egress_deny: Option<Vec<CiliumRule>>,
}

#[derive(Debug, Deserialize)]
struct CiliumRule {
    #[serde(rename = "toCIDR")]
    cidrs: Option<Vec<String>>,
    #[serde(rename = "toCIDRSet")]
    sets: Option<Vec<Block>>,
    #[serde(rename = "toEntities")]
    entities: Option<Vec<String>>,
    #[serde(rename = "toFQDNs")]
    names: Option<Vec<Name>>,
    #[serde(rename = "toPorts")]
    ports: Option<Vec<PortRule>>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Name {
    match_name: Option<String>,
    match_pattern: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PortRule {
    ports: Option<Vec<Port>>,
    rules: Option<BTreeMap<String, Value>>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

/// What the policies of a file say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Policies {
    /// All that count, as one list: each may allow.
    pub(super) list: List,
    /// Whether they let the pods ask some resolver over UDP.
    pub(super) lets_dns_out: bool,
}

/// One policy: whom it is for, and its rules, if it is about what leaves.
struct Policy {
    name: String,
    namespace: Option<String>,
    is_for_cloudflared: bool,
    rules: Vec<Rule>,
    dns: bool,
}

/// Reads objects, and lists of them; none of them a policy is `None`.
///
/// # Errors
/// A policy of another form, or policies of which nothing is for cloudflared.
pub(super) fn read(documents: Vec<Value>) -> Result<Option<Policies>, String> {
    let mut policies = Vec::new();
    let mut foreign = None;
    let mut found = false;
    let mut rest = documents;
    while let Some(mut document) = rest.pop() {
        let kind = document["kind"].as_str().unwrap_or_default().to_owned();
        match kind.as_str() {
            "NetworkPolicy" if is_of(&document, "projectcalico.org") => foreign = Some(kind),
            "NetworkPolicy" => {
                found = true;
                policies.extend(plain(parse(document, &kind)?));
            }
            "CiliumNetworkPolicy" | "CiliumClusterwideNetworkPolicy" => {
                found = true;
                policies.extend(cilium(parse(document, &kind)?));
            }
            // Of another plug-in or an administrator: it may close what the others open.
            _ if kind.ends_with("Policy") && kind.contains("Network") => foreign = Some(kind),
            _ => {
                let items = document.get_mut("items").map(Value::take);
                rest.extend(
                    items
                        .and_then(|items| match items {
                            Value::Array(items) => Some(items),
                            _ => None,
                        })
                        .into_iter()
                        .flatten(),
                );
            }
        }
    }
    if !found {
        return foreign.map_or(Ok(None), |kind| {
            Err(format!(
                "{kind} is not read; give NetworkPolicy or CiliumNetworkPolicy"
            ))
        });
    }
    Ok(Some(counted(policies, foreign)))
}

fn is_of(document: &Value, group: &str) -> bool {
    document["apiVersion"]
        .as_str()
        .is_some_and(|version| version.contains(group))
}

fn parse<T: for<'de> Deserialize<'de>>(document: Value, kind: &str) -> Result<T, String> {
    serde_json::from_value(document).map_err(|why| format!("{kind}: {why}"))
}

fn counted(mut policies: Vec<Policy>, foreign: Option<String>) -> Policies {
    let only = policies.len() == 1;
    policies.retain(|policy| policy.is_for_cloudflared || only);
    let namespaces: BTreeSet<_> = policies.iter().map(|p| p.namespace.as_deref()).collect();
    let doubt = if let Some(kind) = foreign {
        Some(format!(
            "a {kind} in the file, which is not read, may say otherwise"
        ))
    } else if namespaces.len() > 1 {
        Some("which of the namespaces is cloudflared's is not in the file".to_owned())
    } else {
        None
    };
    let names: Vec<_> = policies.iter().map(|policy| policy.name.as_str()).collect();
    let name = format!("the policy {}", names.join(", "));
    let lets_dns_out = policies.is_empty() || policies.iter().any(|policy| policy.dns);
    let otherwise = match &doubt {
        _ if policies.is_empty() => Fate::NotInFile(
            "no policy for cloudflared's pods, by a label with `cloudflared`, is about egress"
                .to_owned(),
        ),
        Some(why) => Fate::Unclear(why.clone()),
        None => Fate::Missing(None),
    };
    let mut rules: Vec<_> = policies
        .into_iter()
        .flat_map(|policy| policy.rules)
        .collect();
    for rule in &mut rules {
        rule.doubt = rule.doubt.take().or_else(|| doubt.clone());
    }
    let list = List {
        otherwise,
        ..List::stateful(name, rules)
    };
    Policies { list, lets_dns_out }
}

/// Whether a selector is for cloudflared's pods: for all pods, or by a label that says so.
fn is_for_cloudflared(selector: Option<&Selector>) -> bool {
    let Some(selector) = selector else {
        return true;
    };
    let mut labels = selector.match_labels.iter().flatten();
    let mut expressions = selector.match_expressions.iter().flatten();
    let says_so = |text: &str| text.contains("cloudflared");
    let all = selector.match_labels.iter().flatten().count() == 0
        && selector.match_expressions.iter().flatten().count() == 0;
    all || labels.any(|(_, value)| says_so(value))
        || expressions.any(|e| e["operator"] == "In" && says_so(&e["values"].to_string()))
}

fn names(metadata: Option<Metadata>) -> (String, Option<String>) {
    let metadata = metadata.map(|m| (m.name, m.namespace));
    let (name, namespace) = metadata.unwrap_or_default();
    (name.unwrap_or_default(), namespace)
}

fn plain(object: Object<PlainSpec>) -> Option<Policy> {
    let (name, namespace) = names(object.metadata);
    let spec = object.spec?;
    let egress = spec.egress.unwrap_or_default();
    match &spec.policy_types {
        Some(types) if types.iter().all(|kind| kind != "Egress") => return None,
        None if egress.is_empty() => return None,
        _ => {}
    }
    let mut policy = Policy {
        is_for_cloudflared: is_for_cloudflared(spec.pod_selector.as_ref()),
        name,
        namespace,
        rules: Vec::new(),
        dns: false,
    };
    for rule in &egress {
        let services = services(
            rule.ports.as_deref().unwrap_or_default(),
            Some(Transport::Tcp),
        );
        policy.dns |= services.iter().any(Service::is_dns);
        let peers = rule.to.iter().flatten();
        // An empty list is everywhere.
        let everywhere = peers
            .clone()
            .next()
            .is_none()
            .then_some((To::Anywhere, None));
        let blocks = peers.filter_map(|peer| peer.ip_block.as_ref()).map(network);
        policy.add(true, everywhere.into_iter().chain(blocks), &services);
    }
    Some(policy)
}

fn cilium(object: Object<CiliumSpec>) -> Option<Policy> {
    let (name, namespace) = names(object.metadata);
    let specs: Vec<_> = object
        .spec
        .into_iter()
        .chain(object.specs.into_iter().flatten())
        .collect();
    let about_egress = |spec: &&CiliumSpec| spec.egress.is_some() || spec.egress_deny.is_some();
    let specs: Vec<_> = specs.iter().filter(about_egress).collect();
    let selectors = specs.iter().map(|spec| spec.endpoint_selector.as_ref());
    let mut policy = Policy {
        is_for_cloudflared: selectors.into_iter().any(is_for_cloudflared),
        name,
        namespace,
        rules: Vec::new(),
        dns: false,
    };
    for spec in &specs {
        for rule in spec.egress.iter().flatten() {
            policy.cilium(rule, true);
        }
        for rule in spec.egress_deny.iter().flatten() {
            policy.cilium(rule, false);
        }
    }
    (!specs.is_empty()).then_some(policy)
}

impl Policy {
    fn add(
        &mut self,
        allows: bool,
        destinations: impl Iterator<Item = (To, Option<String>)>,
        services: &[Service],
    ) {
        for (to, doubt) in destinations {
            self.rules.extend(services.iter().map(|service| Rule {
                // A denial of Cilium's outweighs all that is allowed.
                order: i64::from(allows),
                allows,
                transport: service.transport,
                ports: service.ports.clone(),
                to: to.clone(),
                doubt: doubt.clone().or_else(|| service.doubt.clone()),
                label: format!("the policy {}", self.name),
            }));
        }
    }

    fn cilium(&mut self, rule: &CiliumRule, allows: bool) {
        let sets = rule.ports.iter().flatten();
        let ports = sets
            .clone()
            .flat_map(|set| set.ports.as_deref().unwrap_or_default());
        let mut services: Vec<_> = ports.filter_map(|port| Service::of(port, None)).collect();
        if sets.clone().next().is_none() {
            services.push(Service::any());
        }
        // A proxy that reads what is spoken there may end it.
        if sets.clone().any(PortRule::is_read_by_a_proxy) {
            let doubt = Some("a proxy reads that traffic and may refuse it".to_owned());
            for service in &mut services {
                service.doubt.clone_from(&doubt);
            }
        }
        self.dns |= allows && services.iter().any(Service::is_dns);
        let cidrs = rule.cidrs.iter().flatten();
        let cidrs = cidrs.filter_map(|text| Some(To::Network(Cidr::covering(text)?, Vec::new())));
        let mut to: Vec<_> = cidrs.map(|to| (to, None)).collect();
        to.extend(rule.sets.iter().flatten().map(network));
        to.extend(
            rule.entities
                .iter()
                .flatten()
                .flat_map(|name| entity(name))
                .map(|to| (to, None)),
        );
        let names = rule.names.iter().flatten();
        let patterns =
            names.filter_map(|name| name.match_name.as_ref().or(name.match_pattern.as_ref()));
        let has = |name: &&str| rule.others.get(*name).is_some_and(|value| !value.is_null());
        let elsewhere =
            has(&"toGroups") || (!allows && (has(&"toServices") || rule.names.is_some()));
        if allows {
            to.extend(patterns.map(|name| {
                (
                    To::Name(name.trim_end_matches('.').to_ascii_lowercase()),
                    None,
                )
            }));
        }
        if elsewhere {
            to.push((
                To::Anywhere,
                Some("what its names or groups lead to is not in the file".to_owned()),
            ));
        }
        // A rule without any destination is for all of them, and a rule with nothing in it for none.
        let nowhere = ["toEndpoints", "toServices", "toNodes", "icmps"]
            .iter()
            .any(has)
            || rule.ports.is_none();
        let leads_somewhere = rule.cidrs.is_some()
            || rule.sets.is_some()
            || rule.entities.is_some()
            || rule.names.is_some();
        if !nowhere && !leads_somewhere && !elsewhere {
            to.push((To::Anywhere, None));
        }
        self.add(allows, to.into_iter(), &services);
    }
}

impl PortRule {
    fn is_read_by_a_proxy(&self) -> bool {
        let rules = self.rules.iter().flatten().any(|(name, _)| name != "dns");
        let reads = [
            "serverNames",
            "terminatingTLS",
            "originatingTLS",
            "listener",
        ];
        rules || reads.iter().any(|name| self.others.contains_key(*name))
    }
}

fn entity(name: &str) -> Vec<To> {
    let all = |family| {
        let text = match family {
            Family::Ipv4 => "0.0.0.0/0",
            Family::Ipv6 => "::/0",
        };
        Cidr::covering(text).map(|network| To::Network(network, Vec::new()))
    };
    match name {
        "world" | "all" => vec![To::Anywhere],
        "world-ipv4" => Vec::from_iter(all(Family::Ipv4)),
        "world-ipv6" => Vec::from_iter(all(Family::Ipv6)),
        _ => Vec::new(),
    }
}

/// The network of a block, and why it is not certain.
fn network(block: &Block) -> (To, Option<String>) {
    let except = block.except.iter().flatten();
    let except = except.filter_map(|text| Cidr::covering(text)).collect();
    match block.cidr.as_deref().and_then(Cidr::covering) {
        Some(network) => (To::Network(network, except), None),
        None => (
            To::Anywhere,
            Some("a block has no network in the file".to_owned()),
        ),
    }
}

/// A transport with its ports.
struct Service {
    transport: Option<Transport>,
    ports: RangeInclusive<u16>,
    doubt: Option<String>,
}

/// An empty list is for all ports, as none is.
fn services(ports: &[Port], usual: Option<Transport>) -> Vec<Service> {
    if ports.is_empty() {
        return vec![Service::any()];
    }
    ports
        .iter()
        .filter_map(|port| Service::of(port, usual))
        .collect()
}

impl Service {
    const fn any() -> Self {
        Self {
            transport: None,
            ports: ANY_PORT,
            doubt: None,
        }
    }

    /// None for protocols without ports.
    fn of(port: &Port, usual: Option<Transport>) -> Option<Self> {
        let transport = match &port.protocol {
            Some(name) => transport(name)?,
            None => usual,
        };
        let number = match &port.first {
            None => None,
            Some(Value::String(text)) => Some(text.parse::<u16>().map_err(|_| text.clone())),
            Some(number) => number.as_u64().and_then(|n| u16::try_from(n).ok()).map(Ok),
        };
        let (ports, doubt) = match number {
            None | Some(Ok(0)) => (ANY_PORT, None),
            Some(Ok(first)) => (first..=port.last.unwrap_or(first), None),
            Some(Err(name)) => (
                ANY_PORT,
                Some(format!("which port `{name}` is, is not in the file")),
            ),
        };
        Some(Self {
            transport,
            ports,
            doubt,
        })
    }

    fn is_dns(&self) -> bool {
        self.ports.contains(&53) && self.transport != Some(Transport::Tcp)
    }
}
