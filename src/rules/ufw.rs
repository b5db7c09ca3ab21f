//! ufw: a shell script of ufw commands.

use std::fmt::Write as _;

use super::Dialect;
use super::egress::{Egress, Entry};
use super::header::{Advice, Words, header};
use super::lockdown::{Lockdown, Ssh};
use crate::model::Family;

/// The rule file.
pub(super) fn render(egress: &Egress, lockdown: Option<&Lockdown>) -> String {
    let header = header(
        "# ",
        Dialect::Ufw,
        &words(lockdown.is_some()),
        egress,
        lockdown,
    );
    let mut text = format!("#!/bin/sh\n{header}\nset -eu\n\n");
    let has_ipv6 = egress
        .entries
        .iter()
        .any(|e| e.of(Family::Ipv6).next().is_some());
    if lockdown.is_some() || has_ipv6 {
        text.push_str(IPV6);
    }
    if let Some(lockdown) = lockdown {
        text.push_str(&own_needs(&lockdown.ssh));
    }
    for entry in &egress.entries {
        for family in Family::BOTH {
            destinations(&mut text, entry, family);
        }
    }
    if lockdown.is_some() {
        text.push_str(CLOSE);
    }
    text
}

/// Without it ufw takes rules for IPv6 and leaves that family alone.
const IPV6: &str = "\
if ! grep -Eqi '^IPV6=\"?yes' /etc/default/ufw; then
    echo 'ufw does not filter IPv6 here: set IPV6=yes in /etc/default/ufw first' >&2
    exit 1
fi

";

/// Last, when all that has to stay open is.
const CLOSE: &str = "\n# Everything else.\nufw default deny incoming\nufw default deny outgoing\nufw logging low\nufw --force enable\n";

/// Replies, loopback, ICMP errors and what IPv6 needs are let through by ufw's own before.rules.
fn own_needs(ssh: &Ssh) -> String {
    let mut text = String::from("# SSH first.\n");
    for port in &ssh.ports {
        if ssh.from.is_empty() {
            let _ = writeln!(
                text,
                "ufw allow in proto tcp to any port {port} comment 'SSH'"
            );
        }
        for network in &ssh.from {
            let _ = writeln!(
                text,
                "ufw allow in proto tcp from {network} to any port {port} comment 'SSH'"
            );
        }
    }
    text.push_str(
        "\n# DHCP, DHCPv6, NTP.\n\
         ufw allow out proto udp from any port 68 to any port 67 comment 'DHCP'\n\
         ufw allow out proto udp from any port 546 to any port 547 comment 'DHCPv6'\n\
         ufw allow out proto udp to any port 123 comment 'NTP'\n",
    );
    text
}

fn destinations(text: &mut String, entry: &Entry, family: Family) {
    let mut head = Some(format!("\n# {} ({family})\n", entry.label()));
    for address in entry.of(family) {
        text.push_str(&head.take().unwrap_or_default());
        if let Some(remark) = address.origin.remark() {
            let _ = writeln!(text, "# {}: {remark}", address.ip);
        }
        let _ = writeln!(
            text,
            "ufw allow out proto {} to {} port {} comment '{}'",
            entry.protocol(),
            address.ip,
            entry.port,
            entry.label()
        );
    }
}

fn words(closed: bool) -> Words {
    let touched = if closed {
        "The script adds the rules that allow, then sets the defaults to deny, then enables ufw. Existing \
         rules of ufw stay in force (`ufw status numbered`); forwarding stays as it is. Dropped packets \
         are counted (iptables -vnL, ip6tables -vnL), and some of them are logged."
    } else {
        "The rules are added to those that ufw has; an existing rule is not added twice."
    };
    Words {
        what: "a shell script of ufw commands",
        apply: vec![
            Advice::command("sh FILE"),
            Advice::text(touched),
            Advice::text("ufw takes a third of a second or so for each address."),
        ],
        permanent: vec![Advice::text(
            "ufw keeps its rules, and once it is enabled it starts with the system.",
        )],
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn accepts_are_added() {
        insta::assert_snapshot!(render(&samples::drifted(), None));
    }

    #[test]
    fn a_whole_lockdown() {
        insta::assert_snapshot!(render(&samples::whole(), Some(&samples::lockdown())));
    }

    #[test]
    fn what_stays_open_comes_before_what_closes() {
        let text = render(&samples::whole(), Some(&samples::narrow()));
        let at = |line: &str| {
            text.find(line)
                .unwrap_or_else(|| panic!("{line} is missing"))
        };
        let ssh = at("\nufw allow in proto tcp from 192.0.2.0/24 to any port 2222");
        let last_allow = text.rfind("ufw allow").unwrap();
        assert!(ssh < last_allow && last_allow < at("\nufw default deny incoming"));
        assert!(at("\nufw default deny outgoing") < at("\nufw --force enable"));
        let anybody =
            |line: &&str| line.starts_with("ufw allow in") && !line.contains("from 192.0.2.0/24");
        assert_eq!(text.lines().find(anybody), None);
    }

    /// A lock-down closes IPv6 even where nothing that is needed has an address there.
    #[test]
    fn ufw_has_to_look_after_ipv6() {
        let mut egress = samples::http2_ipv4();
        for entry in &mut egress.entries {
            entry.addresses.retain(|address| address.ip.is_ipv4());
        }
        assert!(!render(&egress, None).contains("IPV6="));
        assert!(render(&egress, Some(&samples::lockdown())).contains("IPV6="));
    }
}
