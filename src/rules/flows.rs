//! What the dialects of other machines share: one rule for each host, transport and family.

use std::net::IpAddr;

use super::text::comment;
use super::{Address, Egress, Entry, Purpose};
use crate::model::Family;

/// The addresses of an entry in one family, never none.
#[derive(Debug, Clone)]
pub(super) struct Flow<'a> {
    /// What it is for.
    pub(super) entry: &'a Entry,
    /// The family of all addresses.
    pub(super) family: Family,
    /// The addresses that leave the host.
    pub(super) addresses: Vec<Address>,
    /// A name of lower-case letters, digits and hyphens: a letter first, at most [`Flow::LONGEST_NAME`],
    /// unlike all others of the file, and the same each time as long as the hosts stay the same.
    pub(super) name: String,
}

impl Flow<'_> {
    /// What Google Cloud takes for a name (RFC 1035, section 2.3.1).
    const LONGEST_NAME: usize = 63;

    /// What stands beside addresses of which there is something to say, as comments.
    pub(super) fn remarks(&self, prefix: &str) -> String {
        let remark = |address: &Address| {
            let words = address.origin.remark()?;
            Some(comment(prefix, &format!("{}: {words}.", address.ip)))
        };
        self.addresses.iter().filter_map(remark).collect()
    }

    /// The label of the entry, no longer than a field takes.
    pub(super) fn label(&self, longest: usize) -> String {
        self.entry.label().chars().take(longest).collect()
    }

    /// The addresses as networks.
    pub(super) fn cidrs(&self) -> Vec<String> {
        self.addresses
            .iter()
            .map(|address| cidr(address.ip))
            .collect()
    }
}

/// All flows; the resolvers of this host too, where the file is to close everything else.
pub(super) fn flows(egress: &Egress, resolvers: bool) -> Vec<Flow<'_>> {
    let mut flows: Vec<Flow<'_>> = Vec::new();
    let wanted = egress
        .entries
        .iter()
        .filter(|e| resolvers || e.purpose != Purpose::Dns);
    for entry in wanted {
        for family in Family::BOTH {
            // A resolver on this host itself is reached without leaving it.
            let addresses: Vec<_> = entry.of(family).filter(|a| !a.ip.is_loopback()).collect();
            if !addresses.is_empty() {
                let name = name(entry, family, &flows);
                flows.push(Flow {
                    entry,
                    family,
                    addresses,
                    name,
                });
            }
        }
    }
    flows
}

/// Each family with the network that is all of it, and its name in the names of rules.
pub(super) const FAMILIES: &[(Family, &str, &str)] = &[
    (Family::Ipv4, "0.0.0.0/0", "ipv4"),
    (Family::Ipv6, "::/0", "ipv6"),
];

/// An address as a network of one.
pub(super) fn cidr(ip: IpAddr) -> String {
    match Family::of(ip) {
        Family::Ipv4 => format!("{ip}/32"),
        Family::Ipv6 => format!("{ip}/128"),
    }
}

fn name(entry: &Entry, family: Family, others: &[Flow<'_>]) -> String {
    let family = family.to_string().to_lowercase();
    let tail = format!("-{}-{}-{family}", entry.protocol(), entry.port);
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let host: String = entry.host.as_str().chars().map(plain).collect();
    let made = |number: &str| {
        let start = format!("tunnelcheck-{}", host.trim_matches('-'));
        let room = Flow::LONGEST_NAME - tail.len() - number.len();
        let start: String = start.chars().take(room).collect();
        format!("{}{number}{tail}", start.trim_end_matches('-'))
    };
    let is_free = |name: &String| others.iter().all(|other| other.name != *name);
    let numbered = (2_u32..).map(|number| made(&format!("-{number}")));
    let mut names = std::iter::once(made("")).chain(numbered);
    names.find(is_free).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::{hostile, samples};
    use super::*;

    #[test]
    fn names_differ_and_fit() {
        let egress = hostile::egress();
        let flows = flows(&egress, true);
        let mut names: Vec<_> = flows.iter().map(|flow| flow.name.as_str()).collect();
        assert!(names.len() > 4);
        for name in &names {
            assert!(name.len() <= Flow::LONGEST_NAME, "{name}");
            assert!(
                name.bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            );
        }
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all, "{names:?}");
    }

    #[test]
    fn what_stays_on_the_host_is_left_out() {
        let mut egress = samples::whole();
        egress.entries[0].addresses[0].ip = "127.0.0.53".parse().unwrap();
        let all = flows(&egress, true);
        assert!(
            all.iter()
                .all(|flow| flow.addresses.iter().all(|a| !a.ip.is_loopback()))
        );
        assert!(
            flows(&egress, false)
                .iter()
                .all(|flow| flow.entry.purpose != Purpose::Dns)
        );
    }
}
