//! Objects of Kubernetes: `NetworkPolicy` and Cilium's policies.

use serde_json::Value;

use super::block::Block;
use super::permit::{Ports, Said, combinations, some_ports, transport};
use super::{Named, Reading};
use crate::model::Transport;

/// Reads objects, and lists of them. False when none is a policy.
pub(super) fn read(documents: &[Value], into: &mut Reading) -> bool {
    let mut known = false;
    for document in documents {
        known |= match document.get("kind").and_then(Value::as_str) {
            Some("NetworkPolicy") => {
                for rule in list(document.pointer("/spec/egress")) {
                    plain_rule(rule, into);
                }
                true
            }
            Some("CiliumNetworkPolicy" | "CiliumClusterwideNetworkPolicy") => {
                let specs = document.get("spec").into_iter();
                for spec in specs.chain(list(document.get("specs"))) {
                    list(spec.get("egress")).for_each(|rule| cilium_rule(rule, into));
                }
                true
            }
            _ => {
                let items: Vec<_> = list(document.get("items")).cloned().collect();
                read(&items, into)
            }
        };
    }
    known
}

fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

/// A protocol with a range of ports.
type Pair = (Said<Transport>, Said<Ports>);

fn plain_rule(rule: &Value, into: &mut Reading) {
    let mut pairs: Vec<Pair> = list(rule.get("ports"))
        .filter_map(|p| pair(p, "TCP"))
        .collect();
    if rule.get("ports").is_none() {
        pairs.push((Said::Any, Said::Any));
    }
    if rule.get("to").is_none() {
        add(&Block::everywhere(|_| true), false, &pairs, into);
    }
    for peer in list(rule.get("to")) {
        if let Some(block) = peer.get("ipBlock") {
            add_block(block, &pairs, into);
        }
    }
}

fn cilium_rule(rule: &Value, into: &mut Reading) {
    let ports = list(rule.get("toPorts")).flat_map(|set| list(set.get("ports")));
    let mut pairs: Vec<Pair> = ports.filter_map(|port| pair(port, "ANY")).collect();
    if rule.get("toPorts").is_none() {
        pairs.push((Said::Any, Said::Any));
    }
    let cidrs = list(rule.get("toCIDR")).filter_map(Value::as_str);
    let blocks: Vec<_> = cidrs.filter_map(Block::parse).collect();
    add(&blocks, false, &pairs, into);
    for set in list(rule.get("toCIDRSet")) {
        add_block(set, &pairs, into);
    }
    if list(rule.get("toEntities")).any(|entity| entity == "world" || entity == "all") {
        add(&Block::everywhere(|_| true), false, &pairs, into);
    }
    for name in list(rule.get("toFQDNs")) {
        let pattern = name.get("matchName").or_else(|| name.get("matchPattern"));
        for (transport, ports) in &pairs {
            into.names
                .extend(pattern.and_then(Value::as_str).map(|pattern| Named {
                    pattern: pattern.trim_end_matches('.').to_ascii_lowercase(),
                    transport: *transport,
                    ports: *ports,
                }));
        }
    }
}

fn add_block(block: &Value, pairs: &[Pair], into: &mut Reading) {
    let cidr = block.get("cidr").and_then(Value::as_str);
    let blocks: Vec<_> = cidr.and_then(Block::parse).into_iter().collect();
    add(&blocks, block.get("except").is_some(), pairs, into);
}

fn add(blocks: &[Block], conditional: bool, pairs: &[Pair], into: &mut Reading) {
    for (transport, ports) in pairs {
        let made = combinations(blocks, &[*transport], &[*ports], conditional, 0);
        into.take(true, made);
    }
}

/// `{protocol, port, endPort}`; none for protocols without ports.
fn pair(value: &Value, usual: &str) -> Option<Pair> {
    let protocol = value
        .get("protocol")
        .and_then(Value::as_str)
        .unwrap_or(usual);
    let text = |name: &str| match value.get(name) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(number) => Some(number.to_string()),
        None => None,
    };
    let range = match (text("port"), text("endPort")) {
        (None, _) => Said::Any,
        (Some(zero), _) if zero == "0" => Said::Any,
        (Some(port), None) => some_ports(&port),
        (Some(port), Some(end)) => some_ports(&format!("{port}-{end}")),
    };
    Some((transport(protocol)?, range))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::permit::Fit;
    use super::*;

    fn fit(kind: &str, rule: &Value) -> Fit {
        let mut reading = Reading::default();
        let object = json!({"kind": "List", "items": [{"kind": kind, "spec": {"egress": [rule]}}]});
        assert!(read(&[object], &mut reading));
        reading.fit("198.41.192.7".parse().unwrap(), Transport::Tcp, 7844)
    }

    #[test]
    fn policies_are_read() {
        let to = json!([{"ipBlock": {"cidr": "198.41.192.0/24"}}]);
        for (rule, expected) in [
            (
                json!({"to": to, "ports": [{"protocol": "TCP", "port": 7844}]}),
                Fit::Yes,
            ),
            (
                json!({"to": to, "ports": [{"port": 7000, "endPort": 8000}]}),
                Fit::Yes,
            ),
            (json!({"to": to}), Fit::Yes),
            (json!({}), Fit::Yes),
            (
                json!({"to": to, "ports": [{"protocol": "UDP", "port": 7844}]}),
                Fit::No,
            ),
            (
                json!({"to": to, "ports": [{"port": "named"}]}),
                Fit::Perhaps,
            ),
            (
                json!({"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}]}),
                Fit::Perhaps,
            ),
            (json!({"to": [{"podSelector": {}}]}), Fit::No),
        ] {
            assert_eq!(fit("NetworkPolicy", &rule), expected, "{rule}");
        }
        let ports = json!([{"ports": [{"port": "7844", "protocol": "TCP"}]}]);
        for (rule, expected) in [
            (
                json!({"toCIDR": ["198.41.192.7/32"], "toPorts": ports}),
                Fit::Yes,
            ),
            (
                json!({"toCIDRSet": [{"cidr": "198.41.192.0/24"}], "toPorts": ports}),
                Fit::Yes,
            ),
            (json!({"toEntities": ["world"], "toPorts": ports}), Fit::Yes),
            (
                json!({"toFQDNs": [{"matchName": "a.example"}], "toPorts": ports}),
                Fit::No,
            ),
        ] {
            assert_eq!(fit("CiliumNetworkPolicy", &rule), expected, "{rule}");
        }
    }
}
