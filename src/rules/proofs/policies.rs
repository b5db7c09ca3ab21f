//! The policies as a cluster would take them: nothing that the schemas do not know, and nothing that
//! they want left out. The types follow `networking.k8s.io/v1` and `cilium.io/v2`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Flows, flows, single};
use crate::model::Requirement;
use crate::rules::{Dialect, Purpose, hostile, samples};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Policy<Spec> {
    api_version: String,
    kind: String,
    metadata: Metadata,
    spec: Spec,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Selector {
    match_labels: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PlainSpec {
    pod_selector: Selector,
    policy_types: Vec<String>,
    ingress: Option<Vec<PlainRule>>,
    egress: Vec<PlainRule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainRule {
    to: Vec<Peer>,
    ports: Vec<PlainPort>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Peer {
    ip_block: Option<IpBlock>,
    pod_selector: Option<Selector>,
    namespace_selector: Option<Selector>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct IpBlock {
    cidr: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainPort {
    protocol: String,
    port: u16,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct CiliumSpec {
    endpoint_selector: Selector,
    ingress: Option<Vec<Nothing>>,
    egress: Vec<CiliumRule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CiliumRule {
    #[serde(rename = "toEndpoints")]
    endpoints: Option<Vec<Selector>>,
    #[serde(rename = "toFQDNs")]
    names: Option<Vec<MatchName>>,
    #[serde(rename = "toCIDR")]
    cidrs: Option<Vec<String>>,
    #[serde(rename = "toPorts")]
    ports: Vec<PortRule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct MatchName {
    match_name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PortRule {
    ports: Vec<CiliumPort>,
    rules: Option<DnsRules>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CiliumPort {
    port: String,
    protocol: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DnsRules {
    dns: Vec<MatchPattern>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct MatchPattern {
    match_pattern: String,
}

fn policy<Spec: for<'a> Deserialize<'a>>(text: &str) -> Policy<Spec> {
    serde_saphyr::from_str(text).unwrap_or_else(|why| panic!("{why}\n{text}"))
}

#[test]
fn a_network_policy_lets_out_exactly_what_is_needed() {
    for egress in [samples::whole(), samples::drifted(), hostile::egress()] {
        for lockdown in [None, Some(samples::lockdown())] {
            let text = Dialect::Kubernetes.render(&egress, lockdown.as_ref());
            let policy: Policy<PlainSpec> = policy(&text);
            assert_eq!(
                (&*policy.api_version, &*policy.kind),
                ("networking.k8s.io/v1", "NetworkPolicy")
            );
            assert!(
                is_label(&policy.metadata.name)
                    && !policy.spec.pod_selector.match_labels.is_empty()
            );
            // An empty list lets nothing in; none at all would leave what comes in alone.
            let ingress = policy.spec.ingress.map(|rules| rules.len());
            assert_eq!(ingress, lockdown.as_ref().map(|_| 0));
            let types = if lockdown.is_some() {
                &["Ingress", "Egress"][..]
            } else {
                &["Egress"]
            };
            assert_eq!(policy.spec.policy_types, types);
            let (dns, rules) = policy.spec.egress.split_first().unwrap();
            assert!(dns.ports.iter().all(|port| port.port == 53) && dns.ports.len() == 2);
            assert!(dns.to[0].pod_selector.is_some() && dns.to[0].namespace_selector.is_some());
            let mut found = Flows::new();
            for rule in rules {
                for peer in &rule.to {
                    let address = single(&peer.ip_block.as_ref().unwrap().cidr);
                    let flow =
                        |port: &PlainPort| (port.protocol.to_lowercase(), address, port.port);
                    found.extend(rule.ports.iter().map(flow));
                }
            }
            assert_eq!(found, flows(&egress, false));
        }
    }
}

#[test]
fn a_cilium_policy_lets_out_names_and_addresses() {
    for egress in [samples::whole(), samples::drifted(), hostile::egress()] {
        for lockdown in [None, Some(samples::lockdown())] {
            let text = Dialect::Cilium.render(&egress, lockdown.as_ref());
            let policy: Policy<CiliumSpec> = policy(&text);
            assert_eq!(
                (&*policy.api_version, &*policy.kind),
                ("cilium.io/v2", "CiliumNetworkPolicy")
            );
            assert!(is_label(&policy.metadata.name));
            assert!(!policy.spec.endpoint_selector.match_labels.is_empty());
            // One rule that selects nobody is how Cilium closes what comes in.
            assert_eq!(
                policy.spec.ingress.map(|rules| rules.len()),
                lockdown.as_ref().map(|_| 1)
            );
            let (dns, rules) = policy.spec.egress.split_first().unwrap();
            assert!(dns.endpoints.is_some());
            let read = dns.ports[0].rules.as_ref().unwrap();
            assert_eq!(
                (&*dns.ports[0].ports[0].port, &*read.dns[0].match_pattern),
                ("53", "*")
            );
            let mut found = Flows::new();
            let mut names = Vec::new();
            for rule in rules {
                assert!(
                    rule.names.is_some() != rule.cidrs.is_some(),
                    "never both in one rule"
                );
                let port = &rule.ports[0].ports[0];
                let number: u16 = port.port.parse().unwrap();
                let cidrs = rule.cidrs.iter().flatten();
                found.extend(cidrs.map(|c| (port.protocol.to_lowercase(), single(c), number)));
                let matched = rule.names.iter().flatten();
                names.extend(matched.map(|name| (name.match_name.clone(), number)));
            }
            assert_eq!(found, flows(&egress, false));
            // The pattern of the definition of the resource.
            for (name, _) in &names {
                let part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
                assert!(
                    name.split('.')
                        .all(|label| !label.is_empty() && label.chars().all(part))
                        || name.ends_with('.'),
                    "{name}"
                );
            }
            for entry in &egress.entries {
                if entry.purpose == Purpose::Dns || entry.requirement == Requirement::Optional {
                    continue;
                }
                let name = (entry.host.to_string(), entry.port);
                assert!(names.contains(&name) || !is_name(&name.0), "{name:?}");
            }
        }
    }
}

fn is_name(text: &str) -> bool {
    text.contains('.') && text.split('.').all(|label| !label.is_empty())
}

/// RFC 1123, section 2.1, which Kubernetes follows.
fn is_label(name: &str) -> bool {
    (1..=63).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
}
