//! Rules for what a host forwards for a container: a chain of our own, into which `DOCKER-USER` (or
//! `FORWARD`) of iptables jumps, or a base chain of nftables.
//!
//! The lock-down of a host leaves alone what is forwarded, so a container needs rules of its own.

use std::fmt::Write as _;

use super::check::Container;
use super::header::{Advice, Words, header};
use super::{Dialect, Egress, iptables, nftables};
use crate::model::Family;

/// The chain of iptables.
const CHAIN: &str = "TUNNELCHECK-CONTAINER";

impl Container {
    /// The rule file. `closed` drops everything else that the container sends.
    #[must_use]
    pub fn render(&self, dialect: Dialect, egress: &Egress, closed: bool) -> String {
        let mut egress = egress.clone();
        for entry in &mut egress.entries {
            // A resolver on the host itself is not forwarded to.
            entry.addresses.retain(|address| {
                let family = Family::of(address.ip);
                !address.ip.is_loopback() && self.families().iter().any(|(of, _)| *of == family)
            });
        }
        let both: Vec<_> = self.families().into_iter().map(|(_, ip)| ip).collect();
        egress
            .arguments
            .extend(["--for-container".to_owned(), both.join(",")]);
        egress
            .arguments
            .extend(closed.then(|| "--lockdown".to_owned()));
        match dialect {
            Dialect::Iptables => self.iptables(&egress, closed),
            _ => self.nftables(&egress, closed),
        }
    }

    fn families(&self) -> Vec<(Family, String)> {
        let v4 = self.ipv4.map(|ip| (Family::Ipv4, ip.to_string()));
        let v6 = self.ipv6.map(|ip| (Family::Ipv6, ip.to_string()));
        v4.into_iter().chain(v6).collect()
    }

    fn iptables(&self, egress: &Egress, closed: bool) -> String {
        let words = Words {
            what: "a shell script for iptables, for what the host forwards for one container",
            apply: vec![
                Advice::command("sh FILE"),
                Advice::text(
                    "The chain TUNNELCHECK-CONTAINER is replaced, and DOCKER-USER jumps there for the container's address (FORWARD, if there is no DOCKER-USER). Nothing else is touched.",
                ),
                self.scope(closed),
            ],
            permanent: vec![Advice::text(
                "have `sh FILE` run at boot after Docker has started: Docker makes DOCKER-USER and keeps its rules. A container without a fixed address gets another one when it is made anew; give it one with --ip.",
            )],
        };
        let mut text = format!(
            "#!/bin/sh\n{}\nset -eu\n\n{JUMP}",
            header("# ", Dialect::Iptables, &words, egress, None)
        );
        for (family, address) in self.families() {
            let tool = match family {
                Family::Ipv4 => "iptables",
                Family::Ipv6 => "ip6tables",
            };
            let rules = iptables::destinations(egress, family, CHAIN);
            let rest = if closed {
                format!("# Everything else, counted.\n-A {CHAIN} -j DROP\n")
            } else {
                String::new()
            };
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                "\n{tool}-restore --wait --noflush <<'RULES'\n*filter\n:{CHAIN} - [0:0]\n\
                 -A {CHAIN} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n{rules}{rest}COMMIT\nRULES\n\
                 jump {tool} --source {address} --jump {CHAIN}\n\
                 jump {tool} --destination {address} --match conntrack --ctstate RELATED,ESTABLISHED --jump ACCEPT\n"
            );
        }
        text
    }

    fn nftables(&self, egress: &Egress, closed: bool) -> String {
        let from: Vec<_> = self
            .families()
            .into_iter()
            .map(|(family, address)| {
                let ip = match family {
                    Family::Ipv4 => "ip",
                    Family::Ipv6 => "ip6",
                };
                format!("{ip} saddr {address} jump tunnelcheck-container")
            })
            .collect();
        let mut apply = vec![Advice::command(
            "nft --check --file FILE && nft --file FILE",
        )];
        if closed {
            apply.push(Advice::text("The table `inet tunnelcheck-container` is replaced as a whole. A packet has to pass all tables, so what Docker drops stays dropped. `nft delete table inet tunnelcheck-container` removes the rules."));
        } else {
            apply.push(Advice::text("The chain `tunnelcheck-container` in the table `inet filter` is \
                                     replaced. Add a jump from the chain that drops forwarded packets \
                                     (once):"));
            apply.extend(from.iter().map(|rule| {
                Advice::Command(format!("nft insert rule inet filter forward {rule}"))
            }));
        }
        apply.push(self.scope(closed));
        let words = Words {
            what: "a file for nft --file, for what the host forwards for one container",
            apply,
            permanent: vec![Advice::text(nftables::FLUSHES_DOCKER)],
        };
        let header = header("# ", Dialect::Nftables, &words, egress, None);
        let rules = nftables::destinations(egress);
        let chain = |rest: &str| {
            format!(
                "\tchain tunnelcheck-container {{\n\t\tct state established,related accept\n{rules}{rest}\t}}\n}}\n"
            )
        };
        let body = if closed {
            let jumps = from.join("\n\t\t");
            format!(
                "# Removes the table if it exists.\nadd table inet tunnelcheck-container\n\
                 delete table inet tunnelcheck-container\n\ntable inet tunnelcheck-container {{\n\
                 \tchain forward {{\n\t\ttype filter hook forward priority filter - 5; policy accept;\n\t\t{jumps}\n\t}}\n\n{}",
                chain("\t\tcounter drop comment \"everything else\"\n")
            )
        } else {
            format!(
                "# Empties the chain, should it be there.\nadd table inet filter\n\
                 add chain inet filter tunnelcheck-container\nflush chain inet filter tunnelcheck-container\n\n\
                 table inet filter {{\n{}",
                chain("")
            )
        };
        format!("#!/usr/sbin/nft -f\n{header}\n{body}")
    }

    fn scope(&self, closed: bool) -> Advice {
        let rest = if closed {
            "Everything else that it sends through the host is dropped: add rules for the services behind the tunnel."
        } else {
            "Nothing is closed; --lockdown drops everything else that it sends through the host."
        };
        Advice::Text(format!(
            "The rules are for the container {}. {rest}",
            self.addresses()
        ))
    }
}

const JUMP: &str = "\
# Jumps once, from the chain that Docker leaves to the administrator.
jump() {
    tool=$1
    shift
    chain=FORWARD
    if \"$tool\" --wait --numeric --list DOCKER-USER >/dev/null 2>&1; then chain=DOCKER-USER; fi
    \"$tool\" --wait --check \"$chain\" \"$@\" 2>/dev/null || \"$tool\" --wait --insert \"$chain\" \"$@\"
}
";

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn both_families_and_what_is_dropped() {
        let container = Container {
            ipv4: Some("172.31.9.2".parse().unwrap()),
            ipv6: None,
            bridge: None,
        };
        for dialect in [Dialect::Iptables, Dialect::Nftables] {
            for closed in [false, true] {
                let text = container.render(dialect, &samples::whole(), closed);
                let acting = |word: &str| {
                    text.lines()
                        .any(|l| !l.starts_with('#') && l.contains(word))
                };
                assert!(acting("198.41.192.7") && !acting("2606:"), "{text}");
                assert_eq!(
                    acting("-j DROP") || acting("counter drop"),
                    closed,
                    "{text}"
                );
                assert!(text.contains("--for-container 172.31.9.2"), "{text}");
            }
        }
    }
}
