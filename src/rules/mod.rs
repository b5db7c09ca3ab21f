//! PURE: firewall rules from what cloudflared needs. Nothing here is applied, and nothing is asked of
//! the network: the lookups, the resolvers and the time are arguments.
//!
//! [`Egress`] says what has to get out; a file for each dialect says it in that firewall's words. All
//! that others wrote passes [`text`] before it stands in a rule file.

mod distribution;
mod egress;
mod firewalld;
mod header;
mod iptables;
mod lockdown;
mod nftables;
pub mod text;
mod ufw;

#[cfg(test)]
pub(crate) mod samples;

use clap::ValueEnum;

pub use distribution::Distribution;
pub use egress::{Address, Egress, Entry, Origin, Purpose, Surroundings};
pub use lockdown::{Cidr, Lockdown, Session, Sources, Ssh};

/// The language of a rule file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum Dialect {
    /// A file for nft --file
    Nftables,
    /// A shell script around iptables-restore and ip6tables-restore
    Iptables,
    /// A shell script of ufw commands
    Ufw,
    /// A shell script that replaces policies of firewalld
    Firewalld,
}

impl Dialect {
    /// The word of `--format`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nftables => "nftables",
            Self::Iptables => "iptables",
            Self::Ufw => "ufw",
            Self::Firewalld => "firewalld",
        }
    }

    /// The words of `--format`, for messages.
    #[must_use]
    pub fn words() -> String {
        let words: Vec<_> = Self::value_variants().iter().map(|d| d.as_str()).collect();
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
        }
    }
}
