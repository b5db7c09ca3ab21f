//! firewalld: a shell script that replaces policies, each as a whole.

use std::fmt::Write as _;

use super::Dialect;
use super::egress::Egress;
use super::header::{Advice, Words, header};
use super::lockdown::{Lockdown, Sources, Ssh};
use crate::model::Family;

/// The rule file.
pub(super) fn render(egress: &Egress, lockdown: Option<&Lockdown>) -> String {
    let words = words(lockdown.is_some());
    let header = header("# ", Dialect::Firewalld, &words, egress, lockdown);
    let target = if lockdown.is_some() {
        "DROP"
    } else {
        "CONTINUE"
    };
    let mut own = String::new();
    let mut policies = String::new();
    if let Some(lockdown) = lockdown {
        let accepts = input(&lockdown.ssh);
        policies.push_str(&policy("tunnelcheck-in", "ANY", "HOST", target, &accepts));
        own.push_str(OWN_NEEDS);
    }
    own.push_str(&destinations(egress));
    policies.push_str(&policy("tunnelcheck-out", "HOST", "ANY", target, &own));
    format!("#!/bin/sh\n{header}\n{BEGIN}\n{policies}{END}")
}

/// A file of firewalld.policy(5), handed over as a whole. What comes before other policies and all
/// zones has a priority below 0; firewalld's own for what IPv6 needs has -15000.
fn policy(name: &str, from: &str, to: &str, target: &str, rules: &str) -> String {
    format!(
        "replace {name} <<'POLICY'\n\
         <?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
         <policy target=\"{target}\" priority=\"-14000\">\n  \
         <short>{name}</short>\n  \
         <ingress-zone name=\"{from}\"/>\n  \
         <egress-zone name=\"{to}\"/>\n\
         {rules}</policy>\nPOLICY\n\n"
    )
}

/// firewall-cmd needs the daemon, firewall-offline-cmd must not have it. The permanent configuration
/// is checked before it becomes the running one.
const BEGIN: &str = "\
set -eu

if firewall-cmd --state >/dev/null 2>&1; then
    live=yes
    permanent() { firewall-cmd --permanent \"$@\"; }
else
    live=no
    permanent() { firewall-offline-cmd \"$@\"; }
fi

files=$(mktemp -d)
trap 'rm -rf \"$files\"' EXIT

# replace NAME: the policy is what standard input says.
replace() {
    cat >\"$files/$1.xml\"
    case \" $(permanent --get-policies | tr '\\n' ' ') \" in
        *\" $1 \"*) permanent --quiet --delete-policy=\"$1\" ;;
    esac
    permanent --quiet --new-policy-from-file=\"$files/$1.xml\" --name=\"$1\"
}
";

const END: &str = "\
if [ \"$live\" = yes ]; then
    firewall-cmd --quiet --check-config
    firewall-cmd --quiet --reload
fi
";

const OWN_NEEDS: &str = "  <!-- ICMP errors, what IPv6 needs, DHCP, DHCPv6, NTP -->
  <rule family=\"ipv4\"><icmp-type name=\"destination-unreachable\"/><accept/></rule>
  <rule family=\"ipv4\"><icmp-type name=\"time-exceeded\"/><accept/></rule>
  <rule family=\"ipv4\"><icmp-type name=\"parameter-problem\"/><accept/></rule>
  <rule family=\"ipv6\"><protocol value=\"ipv6-icmp\"/><accept/></rule>
  <rule family=\"ipv4\"><port port=\"67\" protocol=\"udp\"/><accept/></rule>
  <rule family=\"ipv6\"><destination address=\"fe80::/10\"/><port port=\"547\" protocol=\"udp\"/><accept/></rule>
  <rule family=\"ipv6\"><destination address=\"ff02::1:2\"/><port port=\"547\" protocol=\"udp\"/><accept/></rule>
  <rule><port port=\"123\" protocol=\"udp\"/><accept/></rule>
";

/// firewalld itself lets replies and loopback through, before any policy.
fn input(ssh: &Ssh) -> String {
    let mut text = String::from("  <!-- SSH -->\n");
    for port in &ssh.ports {
        let element = format!("<port port=\"{port}\" protocol=\"tcp\"/><accept/></rule>");
        if ssh.from.is_empty() {
            let _ = writeln!(text, "  <rule>{element}");
        }
        for family in Family::BOTH {
            if let Sources::These(networks) = ssh.sources(family) {
                for network in networks {
                    let _ = writeln!(
                        text,
                        "  <rule family=\"{}\"><source address=\"{network}\"/>{element}",
                        word(family)
                    );
                }
            }
        }
    }
    text.push_str(
        "  <!-- ICMP errors, what IPv6 needs, DHCP, DHCPv6 -->
  <rule family=\"ipv4\"><icmp-type name=\"destination-unreachable\"/><accept/></rule>
  <rule family=\"ipv4\"><icmp-type name=\"time-exceeded\"/><accept/></rule>
  <rule family=\"ipv4\"><icmp-type name=\"parameter-problem\"/><accept/></rule>
  <rule family=\"ipv6\"><protocol value=\"ipv6-icmp\"/><accept/></rule>
  <rule family=\"ipv4\"><port port=\"68\" protocol=\"udp\"/><accept/></rule>
  <rule family=\"ipv6\"><source address=\"fe80::/10\"/><port port=\"546\" protocol=\"udp\"/><accept/></rule>
",
    );
    text
}

/// One rule for each address.
fn destinations(egress: &Egress) -> String {
    let mut text = String::new();
    for entry in &egress.entries {
        for family in Family::BOTH {
            let mut head = Some(format!(
                "  <!-- {} ({family}) -->\n",
                in_xml_comment(&entry.label())
            ));
            for address in entry.of(family) {
                text.push_str(&head.take().unwrap_or_default());
                if let Some(remark) = address.origin.remark() {
                    let _ = writeln!(text, "  <!-- {}: {remark} -->", address.ip);
                }
                let _ = writeln!(
                    text,
                    "  <rule family=\"{}\"><destination address=\"{}\"/><port port=\"{}\" protocol=\"{}\"/><accept/></rule>",
                    word(family),
                    address.ip,
                    entry.port,
                    entry.protocol()
                );
            }
        }
    }
    text
}

/// Two hyphens end a comment in XML, and a punycoded name has them.
fn in_xml_comment(text: &str) -> String {
    text.replace("--", "-_")
}

const fn word(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "ipv4",
        Family::Ipv6 => "ipv6",
    }
}

fn words(closed: bool) -> Words {
    let touched = if closed {
        "The policies `tunnelcheck-in` and `tunnelcheck-out` are replaced. They come before all zones, so \
         services that a zone opens are no longer open. Forwarding, for containers and virtual machines, \
         stays as it is. firewalld counts nothing: `firewall-cmd --set-log-denied=all` logs dropped \
         packets. To open the host again: firewall-cmd --permanent --delete-policy=NAME for both, then \
         firewall-cmd --reload."
    } else {
        "The policy `tunnelcheck-out` is replaced. It only accepts, and comes before policies with a \
         higher priority number, such as the one that lets nothing out. firewalld's own way to filter what \
         leaves a host is such a policy from HOST to ANY."
    };
    Words {
        what: "a shell script for firewalld 0.9 or newer",
        apply: vec![
            Advice::command("sh FILE"),
            Advice::text(touched),
            Advice::text(
                "Without the daemon, firewall-offline-cmd writes the same, which counts from its next start on.",
            ),
        ],
        permanent: vec![Advice::text(
            "the policies are part of firewalld's permanent configuration: `systemctl enable firewalld`.",
        )],
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn a_policy_that_accepts() {
        insta::assert_snapshot!(render(&samples::drifted(), None));
    }

    #[test]
    fn a_whole_lockdown() {
        insta::assert_snapshot!(render(&samples::whole(), Some(&samples::lockdown())));
    }

    #[test]
    fn hyphens_end_no_comment() {
        assert_eq!(in_xml_comment("xn--a---b: quic"), "xn-_a-_-b: quic");
    }
}
