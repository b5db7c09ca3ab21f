//! nftables: a file for `nft -f`, which the kernel takes as a whole or not at all.

use std::fmt::Write as _;

use super::egress::{Egress, Entry};
use super::header::{Advice, BESIDE_FIREWALLD, Words, header};
use super::lockdown::{ICMP, ICMPV6, Lockdown, Sources, Ssh};
use super::{Dialect, Distribution};
use crate::model::Family;

/// The rule file.
pub(super) fn render(egress: &Egress, lockdown: Option<&Lockdown>) -> String {
    let words = words(egress.surroundings.distribution, lockdown.is_some());
    let header = header("# ", Dialect::Nftables, &words, egress, lockdown);
    let rules = match lockdown {
        None => accepts(egress),
        Some(lockdown) => closed(egress, lockdown),
    };
    format!("#!/usr/sbin/nft -f\n{header}\n{rules}")
}

/// A chain of its own in the table that is there: in nftables an accept in another table would not
/// outweigh the drop in this one.
fn accepts(egress: &Egress) -> String {
    format!(
        "# Empties the chain, should it be there.\n\
         add table inet filter\n\
         add chain inet filter tunnelcheck\n\
         flush chain inet filter tunnelcheck\n\n\
         table inet filter {{\n\tchain tunnelcheck {{\n{}\t}}\n}}\n",
        destinations(egress)
    )
}

/// A table of its own, made anew each time.
fn closed(egress: &Egress, lockdown: &Lockdown) -> String {
    format!(
        "# Removes the table if it exists.\n\
         add table inet tunnelcheck\n\
         delete table inet tunnelcheck\n\n\
         table inet tunnelcheck {{\n\
         \tchain input {{\n{}\t}}\n\n\
         \tchain output {{\n{}\t}}\n}}\n",
        input(&lockdown.ssh),
        output(egress, &lockdown.ssh)
    )
}

fn input(ssh: &Ssh) -> String {
    format!(
        "\t\ttype filter hook input priority filter; policy drop;\n\
         \t\tct state established,related accept\n\
         \t\tiifname \"lo\" accept\n\
         {}{}\
         \t\tudp sport 67 udp dport 68 accept comment \"DHCP\"\n\
         \t\tip6 saddr fe80::/10 udp sport 547 udp dport 546 accept comment \"DHCPv6\"\n\
         \t\t# limit rate 6/minute log prefix \"tunnelcheck in: \"\n\
         \t\tcounter drop comment \"everything else\"\n",
        ssh_in(ssh),
        icmp()
    )
}

fn icmp() -> String {
    let names =
        |types: &[(u8, &'static str)]| -> Vec<_> { types.iter().map(|(_, name)| *name).collect() };
    format!(
        "\t\ticmp type {{ {} }} accept\n\t\t# What IPv6 needs (RFC 4890).\n\t\ticmpv6 type {{ {} }} accept\n",
        list(&names(ICMP)),
        list(&names(ICMPV6))
    )
}

fn ssh_in(ssh: &Ssh) -> String {
    let ports = list(&ssh.ports);
    let rule =
        |source: &str| format!("\t\t{source}tcp dport {{ {ports} }} accept comment \"SSH\"\n");
    if ssh.from.is_empty() {
        return rule("");
    }
    let mut text = String::new();
    for family in Family::BOTH {
        if let Sources::These(networks) = ssh.sources(family) {
            text.push_str(&rule(&format!(
                "{} saddr {{ {} }} ",
                ip(family),
                list(&networks)
            )));
        }
    }
    text
}

fn output(egress: &Egress, ssh: &Ssh) -> String {
    format!(
        "\t\ttype filter hook output priority filter; policy drop;\n\
         \t\tct state established,related accept\n\
         \t\toifname \"lo\" accept\n\
         \t\t# SSH sessions that are older than connection tracking; cannot open a connection.\n\
         \t\ttcp sport {{ {} }} tcp flags & (syn | ack) == ack accept comment \"SSH\"\n\
         {}\
         \t\tudp sport 68 udp dport 67 accept comment \"DHCP\"\n\
         \t\tip6 daddr {{ fe80::/10, ff02::1:2 }} udp sport 546 udp dport 547 accept comment \"DHCPv6\"\n\
         \t\tudp dport 123 accept comment \"NTP\"\n\
         {}\
         \t\t# limit rate 6/minute log prefix \"tunnelcheck out: \"\n\
         \t\tcounter drop comment \"everything else\"\n",
        list(&ssh.ports),
        icmp(),
        destinations(egress)
    )
}

/// One rule for each host, transport and family.
pub(super) fn destinations(egress: &Egress) -> String {
    let mut text = String::new();
    for entry in &egress.entries {
        for family in Family::BOTH {
            rule(&mut text, entry, family);
        }
    }
    text
}

fn rule(text: &mut String, entry: &Entry, family: Family) {
    let mut addresses = entry.of(family).peekable();
    if addresses.peek().is_none() {
        return;
    }
    // Writing to a string cannot fail.
    let _ = writeln!(text, "\t\t{} daddr {{", ip(family));
    for address in addresses {
        let remark = address.origin.remark();
        let remark = remark.map_or_else(String::new, |words| format!(" # {words}"));
        let _ = writeln!(text, "\t\t\t{},{remark}", address.ip);
    }
    let label: String = entry.label().chars().take(LONGEST_COMMENT).collect();
    let _ = writeln!(
        text,
        "\t\t}} {} dport {} counter accept comment \"{label}\"",
        entry.protocol(),
        entry.port
    );
}

/// What the service of nftables does to tables of others.
pub(super) const FLUSHES_DOCKER: &str = "Debian's /etc/nftables.conf begins with `flush ruleset`: each \
                                         start, reload and stop of the service nftables also removes \
                                         Docker's and Podman's tables. Containers then lose their network \
                                         until Docker is restarted. On a host with containers remove that \
                                         line, and let the file replace only its own tables.";

/// In octets, of a rule's comment (nft(8)).
const LONGEST_COMMENT: usize = 120;

const fn ip(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "ip",
        Family::Ipv6 => "ip6",
    }
}

fn list<T: ToString>(items: &[T]) -> String {
    let items: Vec<_> = items.iter().map(ToString::to_string).collect();
    items.join(", ")
}

fn words(distribution: Distribution, closed: bool) -> Words {
    let apply = if closed {
        vec![
            Advice::command("nft --check --file FILE && nft --file FILE"),
            Advice::text(
                "The table `inet tunnelcheck` is replaced as a whole; other tables, and forwarding, stay \
                 as they are, for containers and virtual machines. A packet must pass all tables, so if \
                 another one closes the host already, both apply. `nft list table inet tunnelcheck` shows \
                 what was dropped; `nft delete table inet tunnelcheck` opens the host again.",
            ),
        ]
    } else {
        vec![
            Advice::command("nft --check --file FILE && nft --file FILE"),
            Advice::text(
                "The chain `tunnelcheck` in the table `inet filter` is replaced as a whole. Add a jump \
                 from the chain that drops packets (once):",
            ),
            Advice::command("nft insert rule inet filter output jump tunnelcheck"),
            Advice::text(
                "If your table has another name (`nft list ruleset` shows it), write that instead of `inet \
                 filter`. In nftables an accept in one table does not override a drop in another.",
            ),
        ]
    };
    Words {
        what: "a file for nft --file, which is applied as a whole or not at all",
        apply,
        permanent: permanent(distribution),
    }
}

fn permanent(distribution: Distribution) -> Vec<Advice> {
    let included = |file: &str| {
        vec![
            Advice::command("install -m 0644 FILE /etc/tunnelcheck.nft"),
            Advice::Command(format!("echo 'include \"/etc/tunnelcheck.nft\"' >> {file}")),
            Advice::command("systemctl enable nftables"),
        ]
    };
    let drops = |file: &str| {
        Advice::Text(format!(
            "before that, remove the table `inet filter` from {file}, which {} ships: its chains drop, and \
             an accept in another table does not override that.",
            distribution.name()
        ))
    };
    let mut advice = match distribution {
        Distribution::Debian => included("/etc/nftables.conf"),
        Distribution::Arch => [
            vec![drops("/etc/nftables.conf")],
            included("/etc/nftables.conf"),
        ]
        .concat(),
        Distribution::RedHat => included("/etc/sysconfig/nftables.conf"),
        Distribution::Suse => included("/etc/nftables/rules/main.nft"),
        Distribution::Alpine => vec![
            drops("/etc/nftables.nft"),
            Advice::command("install -m 0644 FILE /etc/nftables.d/tunnelcheck.nft"),
            Advice::command("rc-update add nftables boot"),
        ],
        Distribution::Other => vec![Advice::text(
            "have FILE loaded with nft --file at boot, after the rest of the ruleset.",
        )],
    };
    if distribution == Distribution::Debian {
        advice.push(Advice::text(FLUSHES_DOCKER));
    }
    advice.push(Advice::text(BESIDE_FIREWALLD));
    advice
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn accepts_for_an_existing_table() {
        insta::assert_snapshot!(render(&samples::drifted(), None));
    }

    #[test]
    fn a_whole_lockdown() {
        insta::assert_snapshot!(render(&samples::whole(), Some(&samples::lockdown())));
    }

    #[test]
    fn what_a_distribution_ships_is_told() {
        for (distribution, file) in [
            (Distribution::Arch, "/etc/nftables.conf, which Arch ships"),
            (
                Distribution::Alpine,
                "/etc/nftables.nft, which Alpine ships",
            ),
        ] {
            let mut egress = samples::http2_ipv4();
            egress.surroundings.distribution = distribution;
            let text = render(&egress, Some(&samples::lockdown())).replace("\n# ", " ");
            assert!(
                text.contains(file) && text.contains("If firewalld runs"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_narrow_lockdown() {
        let text = render(&samples::http2_ipv4(), Some(&samples::narrow()));
        assert!(text.contains("ip saddr { 192.0.2.0/24 } tcp dport { 22, 2222 } accept"));
        assert!(
            !text.contains("ip6 saddr {") && !text.contains("udp dport 7844"),
            "{text}"
        );
    }
}
