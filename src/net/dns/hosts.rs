//! The hosts file, which Go's resolver reads before it asks DNS for an address.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::model::{Answer, Family, Lookup, LookupStatus, Millis, RecordType, Via};

use super::message::{Question, unexpected};

/// The names that this host's file pins to addresses.
#[derive(Debug)]
pub struct Hosts {
    pinned: Vec<(IpAddr, Vec<String>)>,
    sources: Sources,
}

/// Where nsswitch.conf(5) lets Go's resolver look for addresses (`net/conf.go`). SRV records are
/// always asked of DNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sources {
    /// The hosts file, then DNS.
    FilesThenDns,
    /// DNS alone, or DNS before the file: then the file matters only for names that DNS denies.
    Dns,
    /// The hosts file alone.
    Files,
}

impl Hosts {
    /// Reads the system's file and its nsswitch.conf; without the one nothing is pinned, without the
    /// other the file comes before DNS.
    #[must_use]
    pub fn load() -> Self {
        let octets = std::fs::read(path()).unwrap_or_default();
        let switch = if cfg!(unix) {
            std::fs::read_to_string("/etc/nsswitch.conf").unwrap_or_default()
        } else {
            String::new()
        };
        Self {
            sources: Sources::parse(&switch),
            ..Self::parse(&String::from_utf8_lossy(&octets))
        }
    }

    /// What the file says to an address question; none where DNS is asked. A name that it pins in one
    /// family has no address in the other.
    #[must_use]
    pub fn answer(&self, question: &Question) -> Option<Lookup> {
        if self.sources == Sources::Dns {
            return None;
        }
        let pinned = self.addresses(&question.name);
        let family = Family::BOTH
            .into_iter()
            .find(|family| RecordType::of(*family) == question.record_type)?;
        if pinned.is_empty() && self.sources == Sources::FilesThenDns {
            return None;
        }
        let denied = pinned.is_empty().then(|| {
            "nsswitch.conf lets addresses come from the hosts file only (`hosts:` without `dns`)"
                .to_owned()
        });
        let answers: Vec<_> = pinned
            .into_iter()
            .filter(|address| Family::of(*address) == family)
            .map(Answer::Address)
            .collect();
        Some(Lookup {
            name: question.name.clone(),
            record_type: question.record_type,
            via: Via::Hosts,
            status: if denied.is_some() {
                LookupStatus::NoSuchName
            } else if answers.is_empty() {
                LookupStatus::NoRecords
            } else {
                LookupStatus::Ok
            },
            unexpected: unexpected(&question.name, &answers),
            answers,
            elapsed_ms: Millis::from(0.0),
            detail: denied,
            truncated: false,
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
        Self {
            pinned: lines.collect(),
            sources: Sources::FilesThenDns,
        }
    }

    fn addresses(&self, name: &str) -> Vec<IpAddr> {
        let name = plain(name);
        let lines = self
            .pinned
            .iter()
            .filter(|(_, names)| names.contains(&name));
        lines.map(|(address, _)| *address).collect()
    }
}

impl Sources {
    /// As Go without the C library reads the line `hosts:`: sources that it does not know count as
    /// DNS where none is called so; without the line the file comes before DNS.
    fn parse(text: &str) -> Self {
        let lines = text.lines().filter_map(|line| {
            let line = line.split('#').next().unwrap_or_default();
            line.trim().strip_prefix("hosts:")
        });
        let words = lines.flat_map(|line| {
            let line = line.replace('[', " [").replace(']', "] ");
            let mut inside = false;
            let mut sources = Vec::new();
            for word in line.split_whitespace() {
                inside |= word.starts_with('[');
                if !inside {
                    sources.push(word.to_ascii_lowercase());
                }
                inside &= !word.ends_with(']');
            }
            sources
        });
        let words: Vec<_> = words.collect();
        let named_dns = words.iter().any(|word| word == "dns");
        let is_dns = |word: &String| word == "dns" || (!named_dns && word != "files");
        let dns = words.iter().position(is_dns);
        let files = words.iter().position(|word| word == "files");
        match (files, dns) {
            (None, Some(_)) => Self::Dns,
            (Some(files), Some(dns)) if dns < files => Self::Dns,
            (Some(_), None) => Self::Files,
            (None, None) | (Some(_), Some(_)) => Self::FilesThenDns,
        }
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
    fn the_switch_decides_who_is_asked() {
        for (line, sources) in [
            ("", Sources::FilesThenDns),
            ("passwd: files\n", Sources::FilesThenDns),
            ("hosts: files dns", Sources::FilesThenDns),
            (
                "hosts: mymachines resolve [!UNAVAIL=return] files myhostname dns",
                Sources::FilesThenDns,
            ),
            ("hosts: files mymachines # dns", Sources::FilesThenDns),
            ("hosts:\tfiles[NOTFOUND = return]\n", Sources::Files),
            ("hosts: dns files", Sources::Dns),
            (" hosts: dns [NOTFOUND=return] files", Sources::Dns),
            ("hosts: resolve", Sources::Dns),
        ] {
            assert_eq!(Sources::parse(line), sources, "{line}");
        }
        let mut hosts = Hosts::parse("10.9.9.9 a.example");
        hosts.sources = Sources::Files;
        let denied = Some((LookupStatus::NoSuchName, 0));
        assert_eq!(ask(&hosts, "b.example", RecordType::A), denied);
        assert_eq!(ask(&hosts, "b.example", RecordType::Srv), None);
        assert_eq!(
            ask(&hosts, "a.example", RecordType::A),
            Some((LookupStatus::Ok, 1))
        );
        hosts.sources = Sources::Dns;
        assert_eq!(ask(&hosts, "a.example", RecordType::A), None);
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
