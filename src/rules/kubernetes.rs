//! Kubernetes: a `NetworkPolicy` for cloudflared's pods.

use super::flows::{Flow, flows};
use super::header::{Advice, Words, header};
use super::lockdown::Lockdown;
use super::text::comment;
use super::{Dialect, Egress};

/// The policy.
pub(super) fn render(egress: &Egress, lockdown: Option<&Lockdown>) -> String {
    let header = header(
        "# ",
        Dialect::Kubernetes,
        &words(lockdown.is_some()),
        egress,
        lockdown,
    );
    let rules: String = flows(egress, false).iter().map(rule).collect();
    let types = match lockdown {
        None => "    - Egress\n",
        Some(_) => "    - Ingress\n    - Egress\n  ingress: []\n",
    };
    format!("{header}{BEGIN}{types}  egress:\n{DNS}{rules}")
}

const BEGIN: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: cloudflared-egress
spec:
  podSelector:
    matchLabels:
      app: cloudflared
  policyTypes:
";

const DNS: &str = "    # The cluster's DNS.
    - to:
        - namespaceSelector:
            matchLabels:
              kubernetes.io/metadata.name: kube-system
          podSelector:
            matchLabels:
              k8s-app: kube-dns
      ports:
        - protocol: UDP
          port: 53
        - protocol: TCP
          port: 53
";

fn rule(flow: &Flow<'_>) -> String {
    let blocks: Vec<_> = flow
        .cidrs()
        .iter()
        .map(|cidr| format!("        - ipBlock:\n            cidr: \"{cidr}\"\n"))
        .collect();
    format!(
        "{}{}    - to:\n{}      ports:\n        - protocol: {}\n          port: {}\n",
        comment("    # ", &flow.label(200)),
        flow.remarks("    # "),
        blocks.concat(),
        flow.entry.protocol().to_uppercase(),
        flow.entry.port
    )
}

fn words(closed: bool) -> Words {
    let mut apply = vec![
        Advice::command("kubectl apply --namespace NAMESPACE -f FILE"),
        Advice::command("kubectl delete --namespace NAMESPACE -f FILE    # removes it"),
        Advice::text(
            "Write the labels of your pods into podSelector, and those of your DNS into the first rule \
             (NodeLocal DNSCache answers at 169.254.20.10: an ipBlock). The network plug-in of the cluster \
             must enforce policies; if it does not, the policy is accepted and does nothing.",
        ),
        Advice::text(
            "Policies only allow: a pod that a policy selects can reach only what some policy allows. Add \
             a rule for each service that the tunnel leads to, such as:",
        ),
        Advice::command("- to: [{podSelector: {matchLabels: {app: web}}}]"),
        Advice::command("  ports: [{protocol: TCP, port: 8080}]"),
        Advice::text(
            "To most plug-ins, pods with hostNetwork are the host: policies do not apply to them. Replies \
             need no rules. At best the plug-in counts what the policy drops.",
        ),
    ];
    if closed {
        apply.push(Advice::text(
            "The lock-down closes the pods to all inbound traffic except probes of the node's kubelet. It \
             has no rules for SSH, NTP, DHCP and the host's resolvers: those belong to the node, not to \
             the pods. If metrics are collected, add a rule under `ingress`.",
        ));
    }
    Words {
        what: "a NetworkPolicy for Kubernetes",
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
