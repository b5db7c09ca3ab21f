//! Objects of Kubernetes: `NetworkPolicy` and Cilium's policies.

use serde_json::Value;

use super::block::Block;
use super::permit::{Ports, Said, combinations, some_ports, transport};
use super::ways::{Step, Verdict, denial_first};
use super::{Named, Reading};
use crate::model::Transport;

/// The chain of what the policies say: any of them may let out, and a denial of Cilium's outweighs all.
const LIST: &str = "policies";

/// Reads objects, and lists of them. False when none is a policy.
pub(super) fn read(documents: &[Value], into: &mut Reading) -> bool {
    let mut known = false;
    for document in documents {
        known |= match document.get("kind").and_then(Value::as_str) {
            Some("NetworkPolicy") => {
                plain_policy(document, into);
                true
            }
            Some("CiliumNetworkPolicy" | "CiliumClusterwideNetworkPolicy") => {
                let specs = document.get("spec").into_iter();
                let metadata = document.get("metadata");
                for spec in specs.chain(list(document.get("specs"))) {
                    cilium_policy(spec, metadata, into);
                }
                true
            }
            // Policies of others (of Calico, or an administrator's) may deny what these allow.
            Some(kind) if kind.ends_with("Policy") => {
                into.doubt(0);
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

/// Whom a policy is for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Subjects {
    /// Whether cloudflared's pods are surely among them.
    sure: bool,
    /// The namespace, where the policy is for all pods of one.
    namespace: Option<String>,
}

impl Subjects {
    /// cloudflared's pods are those with a label that says so; a policy for all pods of a namespace is
    /// for them where there is no other namespace in the file.
    fn of(selector: Option<&Value>, metadata: Option<&Value>) -> Self {
        let labels = selector
            .and_then(|s| s.get("matchLabels"))
            .and_then(Value::as_object);
        let expressions = list(selector.and_then(|s| s.get("matchExpressions"))).count();
        let labels: Vec<_> = labels.into_iter().flatten().collect();
        let says_so = |(_, value): &(&String, &Value)| {
            value
                .as_str()
                .is_some_and(|value| value.contains("cloudflared"))
        };
        // Labels beside that one may be another's.
        let named = labels.len() == 1 && labels.iter().any(says_so);
        let namespace = metadata
            .and_then(|m| m.get("namespace"))
            .and_then(Value::as_str);
        Self {
            sure: expressions == 0 && (labels.is_empty() || named) && selector.is_some(),
            namespace: namespace.filter(|_| labels.is_empty()).map(str::to_owned),
        }
    }
}

fn plain_policy(document: &Value, into: &mut Reading) {
    let spec = document.get("spec");
    // Without a selector a policy is for all pods.
    let all = Value::Object(serde_json::Map::new());
    let selector = spec.and_then(|s| s.get("podSelector")).unwrap_or(&all);
    let subjects = Subjects::of(Some(selector), document.get("metadata"));
    let types: Vec<_> = list(document.pointer("/spec/policyTypes")).collect();
    if !types.is_empty() && types.iter().all(|name| *name != "Egress") {
        return;
    }
    for rule in list(document.pointer("/spec/egress")) {
        plain_rule(rule, &subjects, into);
    }
}

fn plain_rule(rule: &Value, subjects: &Subjects, into: &mut Reading) {
    let mut pairs: Vec<Pair> = list(rule.get("ports"))
        .filter_map(|p| pair(p, "TCP"))
        .collect();
    // An empty list is for all ports, as none is.
    if list(rule.get("ports")).next().is_none() {
        pairs.push((Said::Any, Said::Any));
    }
    let mut take = |blocks: &[Block], conditional: bool| {
        add(Verdict::Accept, blocks, conditional, &pairs, subjects, into);
    };
    if list(rule.get("to")).next().is_none() {
        take(&Block::everywhere(|_| true), false);
    }
    for peer in list(rule.get("to")) {
        if let Some(block) = peer.get("ipBlock") {
            let (blocks, conditional) = block_of(block);
            take(&blocks, conditional);
        }
    }
}

fn cilium_policy(spec: &Value, metadata: Option<&Value>, into: &mut Reading) {
    let subjects = Subjects::of(spec.get("endpointSelector"), metadata);
    for rule in list(spec.get("egress")) {
        cilium_rule(rule, &Verdict::Accept, &subjects, into);
    }
    for rule in list(spec.get("egressDeny")) {
        cilium_rule(rule, &Verdict::Deny, &subjects, into);
    }
}

/// What says where a rule leads to.
const DESTINATIONS: &[&str] = &[
    "toCIDR",
    "toCIDRSet",
    "toEntities",
    "toFQDNs",
    "toEndpoints",
    "toServices",
    "toGroups",
    "toNodes",
];

fn cilium_rule(rule: &Value, verdict: &Verdict, subjects: &Subjects, into: &mut Reading) {
    // ICMP alone.
    if rule.get("icmps").is_some() {
        return;
    }
    let sets: Vec<_> = list(rule.get("toPorts")).collect();
    let ports = sets.iter().flat_map(|set| list(set.get("ports")));
    let mut pairs: Vec<Pair> = ports.filter_map(|port| pair(port, "ANY")).collect();
    if sets.is_empty() {
        pairs.push((Said::Any, Said::Any));
    }
    // A proxy that reads what is spoken there may end it.
    let reads = |set: &&Value| {
        let rules = set.get("rules").and_then(Value::as_object);
        let rules = rules.is_some_and(|rules| rules.keys().any(|name| name != "dns"));
        rules
            || [
                "serverNames",
                "terminatingTLS",
                "originatingTLS",
                "listener",
            ]
            .iter()
            .any(|n| set.get(n).is_some())
    };
    let narrow = sets.iter().any(reads)
        || rule.get("toRequires").is_some()
        || rule.get("authentication").is_some();
    let mut take = |blocks: &[Block], conditional: bool| {
        add(
            verdict.clone(),
            blocks,
            narrow || conditional,
            &pairs,
            subjects,
            into,
        );
    };
    let cidrs = list(rule.get("toCIDR")).filter_map(Value::as_str);
    take(&cidrs.filter_map(Block::parse).collect::<Vec<_>>(), false);
    for set in list(rule.get("toCIDRSet")) {
        let (blocks, conditional) = block_of(set);
        take(&blocks, conditional);
    }
    for entity in list(rule.get("toEntities")).filter_map(Value::as_str) {
        let fits = |family| match entity {
            "world" | "all" => true,
            "world-ipv4" => family == crate::model::Family::Ipv4,
            "world-ipv6" => family == crate::model::Family::Ipv6,
            _ => false,
        };
        take(&Block::everywhere(fits), false);
    }
    if DESTINATIONS.iter().all(|name| rule.get(name).is_none()) {
        take(&Block::everywhere(|_| true), false);
    }
    // What a name, a service or a group stands for when it is denied is not known here.
    let elsewhere = ["toFQDNs", "toServices", "toGroups"]
        .iter()
        .any(|name| rule.get(name).is_some());
    if *verdict == Verdict::Deny && elsewhere {
        take(&Block::everywhere(|_| true), true);
    }
    if *verdict == Verdict::Accept && rule.get("toGroups").is_some() {
        take(&Block::everywhere(|_| true), true);
    }
    if *verdict == Verdict::Deny {
        return;
    }
    for name in list(rule.get("toFQDNs")) {
        let pattern = name.get("matchName").or_else(|| name.get("matchPattern"));
        for (transport, ports) in &pairs {
            into.names
                .extend(pattern.and_then(Value::as_str).map(|pattern| Named {
                    pattern: pattern.trim_end_matches('.').to_ascii_lowercase(),
                    transport: *transport,
                    ports: *ports,
                    momentary: narrow || !subjects.sure,
                }));
        }
    }
}

/// The block, and whether it has exceptions, or is named elsewhere.
fn block_of(block: &Value) -> (Vec<Block>, bool) {
    match block
        .get("cidr")
        .and_then(Value::as_str)
        .and_then(Block::parse)
    {
        Some(cidr) => (vec![cidr], block.get("except").is_some()),
        None => (Block::everywhere(|_| true), true),
    }
}

fn add(
    verdict: Verdict,
    blocks: &[Block],
    conditional: bool,
    pairs: &[Pair],
    subjects: &Subjects,
    into: &mut Reading,
) {
    let conditional = conditional || !subjects.sure;
    let rank = denial_first(verdict == Verdict::Accept);
    let each = pairs.iter().flat_map(|(transport, ports)| {
        combinations(blocks, &[*transport], &[*ports], conditional, 0)
    });
    let step = Step::new(verdict, each.collect()).ranked(rank);
    into.list(
        LIST,
        Step {
            scope: subjects.namespace.clone(),
            ..step
        },
    );
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
        let object = json!({"kind": "List", "items": [{"kind": kind, "spec": {"endpointSelector": {}, "egress": [rule]}}]});
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
