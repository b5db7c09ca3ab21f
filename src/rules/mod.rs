//! PURE: firewall rules from what cloudflared needs. Nothing here is applied, and nothing is asked of
//! the network: the lookups, the resolvers and the time are arguments.
//!
//! [`Egress`] says what has to get out; a file for each dialect says it in that firewall's words. All
//! that others wrote passes [`text`] before it stands in a rule file.

mod aws;
mod azure;
pub mod check;
mod cilium;
mod container;
mod csv;
mod distribution;
mod egress;
mod firewalld;
mod flows;
mod gcloud;
mod header;
mod iptables;
mod kubernetes;
mod lockdown;
mod nftables;
mod pf;
pub mod text;
mod ufw;
mod windows;

#[cfg(test)]
pub(crate) mod hostile;
#[cfg(test)]
#[cfg(unix)]
mod proofs;
#[cfg(test)]
pub(crate) mod samples;

pub use csv::COLUMNS as CSV_COLUMNS;
pub use distribution::Distribution;
pub use egress::{Address, Egress, Entry, Origin, Purpose, Surroundings, Today};
pub use lockdown::{Cidr, Lockdown, Session, Sources, Ssh};

/// The language of a rule file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// A file for nft --file
    Nftables,
    /// A shell script around iptables-restore and ip6tables-restore
    Iptables,
    /// A shell script of ufw commands
    Ufw,
    /// A shell script that replaces policies of firewalld
    Firewalld,
    /// A script of New-NetFirewallRule for Windows
    Windows,
    /// A file for an anchor of pf (FreeBSD, OpenBSD, macOS)
    Pf,
    /// A shell script of gcloud commands: VPC firewall rules
    Gcloud,
    /// A shell script of aws commands: a security group of EC2
    Aws,
    /// A shell script of az commands: a network security group
    Azure,
    /// A policy of Kubernetes for cloudflared's pods
    Kubernetes,
    /// A policy of Cilium, which follows names
    Cilium,
    /// A table to paste into a ticket
    Csv,
}

impl Dialect {
    /// All of them, in the order of the help.
    pub const ALL: [Self; 12] = [
        Self::Nftables,
        Self::Iptables,
        Self::Ufw,
        Self::Firewalld,
        Self::Windows,
        Self::Pf,
        Self::Gcloud,
        Self::Aws,
        Self::Azure,
        Self::Kubernetes,
        Self::Cilium,
        Self::Csv,
    ];

    /// Whether the rules are for other machines than the one that prints them, so that the SSH session in
    /// which they are printed tells nothing of theirs.
    #[must_use]
    pub const fn is_for_other_machines(self) -> bool {
        matches!(self, Self::Gcloud | Self::Aws | Self::Azure)
    }

    /// Whether the rules close the host that they are applied on, with whatever runs on it.
    #[must_use]
    pub const fn is_for_this_host(self) -> bool {
        matches!(
            self,
            Self::Nftables
                | Self::Iptables
                | Self::Ufw
                | Self::Firewalld
                | Self::Windows
                | Self::Pf
        )
    }

    /// The word of `--format`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nftables => "nftables",
            Self::Iptables => "iptables",
            Self::Ufw => "ufw",
            Self::Firewalld => "firewalld",
            Self::Windows => "windows",
            Self::Pf => "pf",
            Self::Gcloud => "gcloud",
            Self::Aws => "aws",
            Self::Azure => "azure",
            Self::Kubernetes => "kubernetes",
            Self::Cilium => "cilium",
            Self::Csv => "csv",
        }
    }

    /// The words of `--format`, for messages.
    #[must_use]
    pub fn words() -> String {
        let words: Vec<_> = Self::ALL.into_iter().map(Self::as_str).collect();
        words.join(", ")
    }

    /// The rule file: accepts alone, or with a lock-down everything that a host lets in and out.
    #[must_use]
    pub fn render(self, egress: &Egress, lockdown: Option<&Lockdown>) -> String {
        match self {
            Self::Nftables => nftables::render(egress, lockdown),
            Self::Iptables => iptables::render(egress, lockdown),
            Self::Ufw => ufw::render(egress, lockdown),
            Self::Firewalld => firewalld::render(egress, lockdown),
            Self::Windows => windows::render(egress, lockdown),
            Self::Pf => pf::render(egress, lockdown),
            Self::Gcloud => gcloud::render(egress, lockdown),
            Self::Aws => aws::render(egress, lockdown),
            Self::Azure => azure::render(egress, lockdown),
            Self::Kubernetes => kubernetes::render(egress, lockdown),
            Self::Cilium => cilium::render(egress, lockdown),
            Self::Csv => csv::render(egress, lockdown),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::catalog;
    use crate::model::{Answer, RecordType};

    /// The rules when the SRV record names this target, which has one address.
    fn with_target(target: &str) -> Egress {
        let mut lookups = samples::lookups();
        let service = Answer::Service {
            priority: 0,
            weight: 0,
            port: 7844,
            target: target.to_owned(),
        };
        let address = Answer::Address("192.0.2.1".parse().unwrap());
        lookups[0] = samples::lookup(&catalog::srv_name(None), RecordType::Srv, vec![service]);
        lookups.push(samples::lookup(target, RecordType::A, vec![address]));
        Egress::new(&samples::options(), &lookups, samples::surroundings())
    }

    /// The lines that a firewall or a shell acts on.
    fn acting(text: &str) -> usize {
        text.lines().filter(|line| !line.starts_with('#')).count()
    }

    #[test]
    fn a_hostile_name_stands_in_no_rule_file() {
        let hostile = with_target("$(reboot)`id`';\"\n--><x>.example");
        for dialect in Dialect::ALL {
            for lockdown in [None, Some(samples::lockdown())] {
                let text = dialect.render(&hostile, lockdown.as_ref());
                assert!(text.contains("__reboot__id_"), "{text}");
                for bad in ["$(reboot", "`id`", "--><x"] {
                    assert!(!text.contains(bad), "{bad} in {text}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn no_name_adds_a_line_to_a_rule_file(target in "\\PC{1,40}|[\u{0}-\u{7f}]{1,40}") {
            prop_assume!(!target.ends_with("argotunnel.com") && target.parse::<std::net::IpAddr>().is_err());
            let (plain, other) = (with_target("plain.example"), with_target(&target));
            for dialect in Dialect::ALL {
                let (plain, other) = (dialect.render(&plain, None), dialect.render(&other, None));
                prop_assert!(acting(&other) <= acting(&plain));
                prop_assert!(other.chars().all(|c| matches!(c, '\n' | '\r' | '\t' | ' '..='~')), "{}", other);
            }
        }
    }
}
