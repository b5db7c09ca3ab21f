//! The hosts file, which Go's resolver reads before it asks DNS for an address.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::model::{Answer, Family, Lookup, LookupStatus, Millis, Via};
use crate::targets::record_type;

use super::message::{Question, unexpected};

/// The names that this host's file pins to addresses.
#[derive(Debug, Default)]
pub struct Hosts(Vec<(IpAddr, Vec<String>)>);

impl Hosts {
    /// Reads the system's file; without one nothing is pinned.
    #[must_use]
    pub fn load() -> Self {
        let octets = std::fs::read(path()).unwrap_or_default();
        Self::parse(&String::from_utf8_lossy(&octets))
    }

    /// What the file says to an address question; none where DNS is asked. A name that it pins in one
    /// family has no address in the other.
    #[must_use]
    pub fn answer(&self, question: &Question) -> Option<Lookup> {
        let pinned = self.addresses(&question.name);
        let family = Family::BOTH
            .into_iter()
            .find(|family| record_type(*family) == question.record_type)?;
        if pinned.is_empty() {
            return None;
        }
        let answers: Vec<_> = pinned
            .into_iter()
            .filter(|address| Family::of(*address) == family)
            .map(Answer::Address)
            .collect();
        Some(Lookup {
            name: question.name.clone(),
            record_type: question.record_type,
            via: Via::Hosts,
            status: if answers.is_empty() {
                LookupStatus::NoRecords
            } else {
                LookupStatus::Ok
            },
            unexpected: unexpected(&question.name, &answers),
            answers,
            elapsed_ms: Millis::from(0.0),
            detail: None,
        })
    }

    /// As Go reads it (`net/hosts.go`): an address and any number of names a line, comments after `#`.
    fn parse(text: &str) -> Self {
        let lines = text.lines().filter_map(|line| {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let address = words.next()?;
            let address = address.split('%').next().unwrap_or(address);
            let address: IpAddr = address.parse().ok()?;
            Some((address.to_canonical(), words.map(plain).collect()))
        });
        Self(lines.collect())
    }

    fn addresses(&self, name: &str) -> Vec<IpAddr> {
        let name = plain(name);
        let lines = self.0.iter().filter(|(_, names)| names.contains(&name));
        lines.map(|(address, _)| *address).collect()
    }
}

/// Without the root's dot, in lower case.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(windows)]
fn path() -> PathBuf {
    let root = std::env::var_os("SystemRoot").unwrap_or_else(|| r"C:\Windows".into());
    PathBuf::from(root).join(r"System32\drivers\etc\hosts")
}

#[cfg(not(windows))]
fn path() -> PathBuf {
    PathBuf::from("/etc/hosts")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RecordType;

    fn ask(hosts: &Hosts, name: &str, record_type: RecordType) -> Option<(LookupStatus, usize)> {
        let question = Question {
            name: name.to_owned(),
            record_type,
        };
        let lookup = hosts.answer(&question)?;
        Some((lookup.status, lookup.answers.len()))
    }

    #[test]
    fn lines_are_read_as_go_reads_them() {
        let hosts = Hosts::parse(
            "# by hand\n\n127.0.0.1\tlocalhost\n10.9.9.9  a.example A2.Example. # b.example\n\
             10.9.9.10 a.example\r\n2001:db8::1 both.example\n192.0.2.1 both.example\n\
             nonsense c.example\n192.0.2.2\n#192.0.2.3 d.example\n",
        );
        assert_eq!(
            ask(&hosts, "A.example.", RecordType::A),
            Some((LookupStatus::Ok, 2))
        );
        assert_eq!(
            ask(&hosts, "a2.example", RecordType::A),
            Some((LookupStatus::Ok, 1))
        );
        for kind in [RecordType::A, RecordType::Aaaa] {
            assert_eq!(
                ask(&hosts, "both.example", kind),
                Some((LookupStatus::Ok, 1))
            );
            for name in ["b.example", "c.example", "d.example", "192.0.2.2"] {
                assert_eq!(ask(&hosts, name, kind), None, "{name}");
            }
        }
    }

    #[test]
    fn a_pinned_name_has_no_addresses_but_these_and_srv_is_not_pinned() {
        let hosts = Hosts::parse("10.9.9.9 region1.v2.argotunnel.com");
        let ask = |kind| ask(&hosts, "region1.v2.argotunnel.com", kind);
        assert_eq!(ask(RecordType::A), Some((LookupStatus::Ok, 1)));
        assert_eq!(ask(RecordType::Aaaa), Some((LookupStatus::NoRecords, 0)));
        assert_eq!(ask(RecordType::Srv), None);
    }
}
