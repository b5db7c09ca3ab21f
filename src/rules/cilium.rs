//! Cilium: a `CiliumNetworkPolicy` that follows names, and holds the addresses of today beside them.

use std::fmt::Write as _;

use super::flows::{Flow, flows};
use super::header::{Advice, Words, header};
use super::lockdown::Lockdown;
use super::text::comment;
use super::{Dialect, Egress, Purpose};

/// The policy.
pub(super) fn render(egress: &Egress, lockdown: Option<&Lockdown>) -> String {
    let header = header(
        "# ",
        Dialect::Cilium,
        &words(lockdown.is_some()),
        egress,
        lockdown,
    );
    let ingress = lockdown.map_or("", |_| "  ingress:\n    - {}\n");
    let addresses: String = flows(egress, false).iter().map(by_address).collect();
    format!(
        "{header}{BEGIN}{ingress}  egress:\n{DNS}{}{addresses}",
        by_name(egress)
    )
}

const BEGIN: &str = "\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata:
  name: cloudflared-egress
spec:
  endpointSelector:
    matchLabels:
      app: cloudflared
";

/// The DNS rule makes Cilium read the answers, which `toFQDNs` lives on.
const DNS: &str = "    # The cluster's DNS, read by Cilium's proxy.
    - toEndpoints:
        - matchLabels:
            \"k8s:io.kubernetes.pod.namespace\": kube-system
            \"k8s:k8s-app\": kube-dns
      toPorts:
        - ports:
            - port: \"53\"
              protocol: ANY
          rules:
            dns:
              - matchPattern: \"*\"
";

/// One rule for each host that has a name; cloudflared learns no address of the second way to the
/// SRV record from DNS.
fn by_name(egress: &Egress) -> String {
    let named = egress.entries.iter().filter(|entry| {
        let host = entry.host.as_str();
        let is_name = host.contains('.') && host.split('.').all(|label| !label.is_empty());
        let is_name = is_name && !is_address(host);
        is_name && !matches!(entry.purpose, Purpose::Dns | Purpose::DnsOverTls)
    });
    let mut text = String::new();
    for entry in named {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "{}    - toFQDNs:\n        - matchName: \"{}\"\n{}",
            comment("    # ", &entry.label()),
            entry.host,
            ports(entry.port, entry.protocol())
        );
    }
    text
}

fn is_address(host: &str) -> bool {
    host.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

fn by_address(flow: &Flow<'_>) -> String {
    let blocks: Vec<_> = flow
        .cidrs()
        .iter()
        .map(|c| format!("        - \"{c}\"\n"))
        .collect();
    format!(
        "{}{}    - toCIDR:\n{}{}",
        comment(
            "    # ",
            &format!("{}, {}, by address", flow.label(200), flow.family)
        ),
        flow.remarks("    # "),
        blocks.concat(),
        ports(flow.entry.port, flow.entry.protocol())
    )
}

fn ports(port: u16, protocol: &str) -> String {
    format!(
        "      toPorts:\n        - ports:\n            - port: \"{port}\"\n              protocol: {}\n",
        protocol.to_uppercase()
    )
}

fn words(closed: bool) -> Words {
    let mut apply = vec![
        Advice::command("kubectl apply --namespace NAMESPACE -f FILE"),
        Advice::command("kubectl delete --namespace NAMESPACE -f FILE    # removes it"),
        Advice::text(
            "Write the labels of your pods into endpointSelector, and those of your DNS into the first \
             rule. Rules by name follow the DNS answers to the pods, which pass the proxy of the first \
             rule (l7Proxy must be on). The proxy lets all names pass, because the services behind the \
             tunnel have names too. The rules by address hold when the proxy has seen no answer, such as \
             after a restart of the agent.",
        ),
        Advice::text(
            "A pod that a policy selects can reach only what some policy allows. Add a rule for each \
             service that the tunnel leads to, such as:",
        ),
        Advice::command("- toEndpoints: [{matchLabels: {app: web}}]"),
        Advice::command("  toPorts: [{ports: [{port: \"8080\", protocol: TCP}]}]"),
        Advice::text(
            "Replies need no rules. `hubble observe --verdict DROPPED` shows what is dropped.",
        ),
    ];
    if closed {
        apply.push(Advice::text(
            "The lock-down closes the pods to all inbound traffic except probes of their own node. It has \
             no rules for SSH, NTP, DHCP and the host's resolvers: those belong to the node, not to the \
             pods. If metrics are collected, add a rule under `ingress`.",
        ));
    }
    Words {
        what: "a CiliumNetworkPolicy",
        apply,
        permanent: vec![Advice::text(
            "nothing to do: the cluster keeps its policies.",
        )],
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn accepts() {
        insta::assert_snapshot!(render(&samples::drifted(), None));
    }

    #[test]
    fn a_lockdown() {
        insta::assert_snapshot!(render(&samples::http2_ipv4(), Some(&samples::lockdown())));
    }
}
