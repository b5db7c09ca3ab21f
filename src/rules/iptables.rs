//! iptables: a shell script that hands each family's rules to iptables-restore as a whole.

use std::fmt::Write as _;

use super::egress::Egress;
use super::header::{Advice, BESIDE_FIREWALLD, Words, header};
use super::lockdown::{ICMP, ICMPV6, Lockdown, Sources, Ssh};
use super::{Dialect, Distribution};
use crate::model::Family;

/// The rule file.
pub(super) fn render(egress: &Egress, lockdown: Option<&Lockdown>) -> String {
    let words = words(egress.surroundings.distribution, lockdown.is_some());
    let header = header("# ", Dialect::Iptables, &words, egress, lockdown);
    let [v4, v6] = Family::BOTH.map(|family| match lockdown {
        None => accepts(egress, family),
        Some(lockdown) => closed(egress, &lockdown.ssh, family),
    });
    let jump = if lockdown.is_some() { "" } else { JUMP };
    format!(
        "#!/bin/sh\n{header}\nset -eu\n\nrules4() {{\ncat <<'RULES'\n{v4}RULES\n}}\n\nrules6() {{\ncat <<'RULES'\n{v6}RULES\n}}\n\n{APPLY}{jump}"
    )
}

/// Both families are tried before the first one is applied. A kernel without IPv6 has nothing that
/// ip6tables could load its rules into, and needs none.
const APPLY: &str = "\
has_ipv6() { [ -e /proc/net/if_inet6 ]; }

rules4 | iptables-restore --noflush --test
if has_ipv6; then rules6 | ip6tables-restore --noflush --test; fi

rules4 | iptables-restore --wait --noflush
if has_ipv6; then rules6 | ip6tables-restore --wait --noflush; fi
";

/// First in the chain, since a jump behind the drop would never be taken; and once.
const JUMP: &str = "
iptables --wait --check OUTPUT --jump TUNNELCHECK 2>/dev/null ||
    iptables --wait --insert OUTPUT --jump TUNNELCHECK
if has_ipv6; then
    ip6tables --wait --check OUTPUT --jump TUNNELCHECK 2>/dev/null ||
        ip6tables --wait --insert OUTPUT --jump TUNNELCHECK
fi
";

/// A chain of its own, which naming it empties.
fn accepts(egress: &Egress, family: Family) -> String {
    format!(
        "*filter\n:TUNNELCHECK - [0:0]\n{}COMMIT\n",
        destinations(egress, family, "TUNNELCHECK")
    )
}

/// INPUT and OUTPUT are emptied and filled in one step; other chains stay.
fn closed(egress: &Egress, ssh: &Ssh, family: Family) -> String {
    let mut text =
        String::from("*filter\n:INPUT DROP [0:0]\n:OUTPUT DROP [0:0]\n-F INPUT\n-F OUTPUT\n");
    let established = "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT";
    let _ = writeln!(text, "-A INPUT {established}\n-A INPUT -i lo -j ACCEPT");
    text.push_str(&ssh_in(ssh, family));
    text.push_str(&icmp("INPUT", family));
    text.push_str(match family {
        Family::Ipv4 => "# DHCP\n-A INPUT -p udp -m udp --sport 67 --dport 68 -j ACCEPT\n",
        Family::Ipv6 => {
            "# DHCPv6\n-A INPUT -s fe80::/10 -p udp -m udp --sport 547 --dport 546 -j ACCEPT\n"
        }
    });
    text.push_str("# -A INPUT -m limit --limit 6/min -j LOG --log-prefix \"tunnelcheck in: \"\n");
    text.push_str("# Everything else, counted.\n-A INPUT -j DROP\n");
    let _ = writeln!(text, "-A OUTPUT {established}\n-A OUTPUT -o lo -j ACCEPT");
    text.push_str(
        "# SSH sessions that are older than connection tracking; cannot open a connection.\n",
    );
    for port in &ssh.ports {
        let _ = writeln!(
            text,
            "-A OUTPUT -p tcp -m tcp --sport {port} ! --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT"
        );
    }
    text.push_str(&icmp("OUTPUT", family));
    text.push_str(match family {
        Family::Ipv4 => "# DHCP\n-A OUTPUT -p udp -m udp --sport 68 --dport 67 -j ACCEPT\n",
        Family::Ipv6 => {
            "# DHCPv6\n-A OUTPUT -d fe80::/10 -p udp -m udp --sport 546 --dport 547 -j ACCEPT\n\
             -A OUTPUT -d ff02::1:2/128 -p udp -m udp --sport 546 --dport 547 -j ACCEPT\n"
        }
    });
    text.push_str("# NTP\n-A OUTPUT -p udp -m udp --dport 123 -j ACCEPT\n");
    text.push_str(&destinations(egress, family, "OUTPUT"));
    text.push_str("# -A OUTPUT -m limit --limit 6/min -j LOG --log-prefix \"tunnelcheck out: \"\n");
    text.push_str("# Everything else, counted.\n-A OUTPUT -j DROP\nCOMMIT\n");
    text
}

fn ssh_in(ssh: &Ssh, family: Family) -> String {
    let sources = match ssh.sources(family) {
        Sources::Everybody => vec![String::new()],
        Sources::Nobody => Vec::new(),
        Sources::These(networks) => networks.iter().map(|n| format!("-s {n} ")).collect(),
    };
    let mut text = String::from("# SSH\n");
    for source in sources {
        for port in &ssh.ports {
            let _ = writeln!(
                text,
                "-A INPUT {source}-p tcp -m tcp --dport {port} -j ACCEPT"
            );
        }
    }
    text
}

fn icmp(chain: &str, family: Family) -> String {
    let (head, types, matches) = match family {
        Family::Ipv4 => ("ICMP errors", ICMP, "-p icmp -m icmp --icmp-type"),
        Family::Ipv6 => (
            "What IPv6 needs (RFC 4890)",
            ICMPV6,
            "-p ipv6-icmp -m icmp6 --icmpv6-type",
        ),
    };
    let mut text = format!("# {head}\n");
    for (number, _) in types {
        let _ = writeln!(text, "-A {chain} {matches} {number} -j ACCEPT");
    }
    text
}

/// One rule for each address, as iptables-save writes it.
pub(super) fn destinations(egress: &Egress, family: Family, chain: &str) -> String {
    let length = match family {
        Family::Ipv4 => 32,
        Family::Ipv6 => 128,
    };
    let mut text = String::new();
    for entry in &egress.entries {
        let mut head = Some(format!("# {}\n", entry.label()));
        for address in entry.of(family) {
            text.push_str(&head.take().unwrap_or_default());
            if let Some(remark) = address.origin.remark() {
                let _ = writeln!(text, "# {}: {remark}", address.ip);
            }
            let protocol = entry.protocol();
            let _ = writeln!(
                text,
                "-A {chain} -d {}/{length} -p {protocol} -m {protocol} --dport {} -j ACCEPT",
                address.ip, entry.port
            );
        }
    }
    text
}

fn words(distribution: Distribution, closed: bool) -> Words {
    let touched = if closed {
        "INPUT and OUTPUT of both families are replaced, each family in one step. FORWARD and all other \
         chains and tables, for containers and virtual machines, stay as they are. Packets no longer reach \
         the chains of fail2ban, ufw or firewalld. `iptables -vnL` counts dropped packets. Keep a way \
         back: iptables-save > before4; ip6tables-save > before6."
    } else {
        "The chain TUNNELCHECK of both families is replaced, each in one step, and OUTPUT jumps there \
         first. Nothing else is touched."
    };
    Words {
        what: "a shell script for iptables-restore and ip6tables-restore",
        apply: vec![Advice::command("sh FILE"), Advice::text(touched)],
        permanent: permanent(distribution),
    }
}

fn permanent(distribution: Distribution) -> Vec<Advice> {
    let commands = |lines: &[&str]| lines.iter().map(|line| Advice::command(line)).collect();
    let mut advice: Vec<Advice> = match distribution {
        Distribution::Debian => commands(&[
            "apt-get install iptables-persistent",
            "netfilter-persistent save",
        ]),
        Distribution::RedHat => commands(&[
            "dnf install iptables-services && systemctl enable iptables ip6tables",
            "service iptables save && service ip6tables save",
        ]),
        Distribution::Arch => commands(&[
            "iptables-save -f /etc/iptables/iptables.rules",
            "ip6tables-save -f /etc/iptables/ip6tables.rules",
            "systemctl enable iptables ip6tables",
        ]),
        Distribution::Alpine => commands(&[
            "rc-service iptables save && rc-service ip6tables save",
            "rc-update add iptables && rc-update add ip6tables",
        ]),
        Distribution::Suse | Distribution::Other => vec![Advice::text(
            "have `sh FILE` run at boot before the network is up, such as by a systemd unit with Before=network-pre.target and Wants=network-pre.target.",
        )],
    };
    advice.push(Advice::text(BESIDE_FIREWALLD));
    advice
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn accepts_in_a_chain_of_their_own() {
        insta::assert_snapshot!(render(&samples::drifted(), None));
    }

    #[test]
    fn a_whole_lockdown() {
        insta::assert_snapshot!(render(&samples::whole(), Some(&samples::lockdown())));
    }

    #[test]
    fn a_narrow_lockdown_lets_nobody_in_over_the_other_family() {
        let text = render(&samples::http2_ipv4(), Some(&samples::narrow()));
        let ssh: Vec<_> = text
            .lines()
            .filter(|l| l.starts_with("-A INPUT") && l.contains("tcp"))
            .collect();
        assert_eq!(
            ssh,
            [
                "-A INPUT -s 192.0.2.0/24 -p tcp -m tcp --dport 22 -j ACCEPT",
                "-A INPUT -s 192.0.2.0/24 -p tcp -m tcp --dport 2222 -j ACCEPT",
            ]
        );
    }
}
