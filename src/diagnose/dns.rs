//! PURE: what the lookups mean for cloudflared.

use crate::catalog;
use crate::model::{Family, FamilyState, Host, IpVersionChoice, LookupStatus, Options, RecordType};
use crate::targets::{Names, Resolution, services, uses_family};

/// Whether cloudflared gets a connection somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Usable {
    /// Proven not.
    No,
    /// Not known.
    Unknown,
    /// Proven.
    Yes,
}

/// What discovery gives cloudflared to work with.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Discovery {
    /// How cloudflared comes by the SRV record.
    pub(super) srv: SrvState,
    /// The edge hosts in order, with the families that resolve.
    pub(super) hosts: Vec<EdgeHost>,
    /// The SRV record's further targets, which cloudflared looks up and does not use.
    pub(super) unused: Vec<EdgeHost>,
}

/// How cloudflared comes by the SRV record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SrvState {
    /// `--edge` makes it unnecessary.
    NotNeeded,
    /// A system resolver has it.
    System,
    /// Only DNS over TLS has it.
    OverTls,
    /// It names fewer targets than cloudflared wants.
    TooFew {
        /// How many there are.
        targets: usize,
    },
    /// Nobody has it.
    Failed(LookupStatus),
    /// The run ended before that was known.
    Undecided,
}

/// Whether a name resolves in one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resolves {
    /// It does.
    Yes,
    /// It does not.
    No(LookupStatus),
    /// The run ended before that was known.
    Undecided,
}

/// One edge host and how it resolves.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct EdgeHost {
    pub(super) name: String,
    pub(super) ipv4: Resolves,
    pub(super) ipv6: Resolves,
}

impl EdgeHost {
    pub(super) fn resolves(&self, family: Family) -> bool {
        self.family(family) == Resolves::Yes
    }

    pub(super) fn family(&self, family: Family) -> Resolves {
        match family {
            Family::Ipv4 => self.ipv4,
            Family::Ipv6 => self.ipv6,
        }
    }

    /// Whether the name resolves to anything, which is what cloudflared needs of it.
    pub(super) fn resolves_at_all(&self) -> Usable {
        match (self.ipv4, self.ipv6) {
            (Resolves::Yes, _) | (_, Resolves::Yes) => Usable::Yes,
            (Resolves::Undecided, _) | (_, Resolves::Undecided) => Usable::Unknown,
            (Resolves::No(_), Resolves::No(_)) => Usable::No,
        }
    }

    /// The families that cloudflared tries in this region, in its order.
    ///
    /// `auto` takes the family that RFC 6724 sorts first, and falls back from IPv6 to IPv4 but never
    /// the other way. Of a name that `--edge` gives it takes one address, IPv4 before IPv6 (Go's
    /// `net.ResolveTCPAddr`).
    pub(super) fn families(&self, options: &Options, host: &Host) -> Vec<Family> {
        let has = |family: Family| self.resolves(family) && uses_family(options, family);
        let choice = if options.edge.is_empty() {
            options.edge_ip_version
        } else {
            // Given addresses are taken as they are.
            IpVersionChoice::Auto
        };
        match choice {
            IpVersionChoice::V4 | IpVersionChoice::V6 => Family::BOTH
                .into_iter()
                .filter(|family| has(*family))
                .collect(),
            IpVersionChoice::Auto
                if options.edge.is_empty() && has(Family::Ipv6) && prefers_ipv6(host) =>
            {
                [Family::Ipv6, Family::Ipv4]
                    .into_iter()
                    .filter(|family| has(*family))
                    .collect()
            }
            IpVersionChoice::Auto if has(Family::Ipv4) => vec![Family::Ipv4],
            IpVersionChoice::Auto => [Family::Ipv6]
                .into_iter()
                .filter(|family| has(*family))
                .collect(),
        }
    }

    /// Whether cloudflared has an address of a family that this host has.
    pub(super) fn has_a_way(&self, options: &Options, host: &Host) -> bool {
        let mut families = self.families(options, host).into_iter();
        families.any(|family| host.family(family).is_available())
    }
}

impl Discovery {
    /// The edge host of that name.
    pub(super) fn host(&self, name: &str) -> Option<&EdgeHost> {
        self.hosts.iter().find(|host| host.name == name)
    }

    /// All that cloudflared looks up, whether it connects there or not.
    pub(super) fn looked_up(&self) -> impl Iterator<Item = &EdgeHost> {
        self.hosts.iter().chain(&self.unused)
    }

    /// Whether cloudflared gets as far as dialling: every target must resolve to something.
    pub(super) fn usable(&self) -> Usable {
        let hosts = self.looked_up().map(EdgeHost::resolves_at_all);
        let srv = match self.srv {
            // cloudflared goes on with those of the given addresses that resolve.
            SrvState::NotNeeded => return hosts.max().unwrap_or(Usable::No),
            SrvState::System | SrvState::OverTls => Usable::Yes,
            SrvState::Undecided => Usable::Unknown,
            SrvState::TooFew { .. } | SrvState::Failed(_) => Usable::No,
        };
        hosts.min().unwrap_or(Usable::No).min(srv)
    }
}

/// Reads the lookups as cloudflared would.
pub(super) fn discovery(options: &Options, names: Names<'_>) -> Discovery {
    let hosts = names
        .edge_hosts(options)
        .into_iter()
        .map(|(name, _)| edge_host(name, names));
    // Reports of older versions do not have them: they were not asked.
    let unused = names.unused_edge_hosts(options).into_iter();
    let unused = unused.filter(|name| names.was_asked(name));
    Discovery {
        srv: srv_state(options, names),
        hosts: hosts.collect(),
        unused: unused.map(|name| unused_host(name, names)).collect(),
    }
}

fn srv_state(options: &Options, names: Names<'_>) -> SrvState {
    if !options.edge.is_empty() {
        return SrvState::NotNeeded;
    }
    let name = catalog::srv_name(options.region);
    match names.resolution(&name, RecordType::Srv) {
        Resolution::Found(answers) => match services(&answers).len() {
            targets if targets < catalog::MINIMUM_SRV_TARGETS => SrvState::TooFew { targets },
            _ if names.only_over_tls(&name) => SrvState::OverTls,
            _ => SrvState::System,
        },
        Resolution::Failed(status) => SrvState::Failed(status),
        Resolution::Waiting | Resolution::Undecided => SrvState::Undecided,
    }
}

/// As cloudflared sees it, an address that cannot be the edge's is an address; it never connects there.
fn unused_host(name: String, names: Names<'_>) -> EdgeHost {
    let taken = |resolves| match resolves {
        Resolves::No(LookupStatus::Suspicious) => Resolves::Yes,
        other => other,
    };
    let host = edge_host(name, names);
    EdgeHost {
        ipv4: taken(host.ipv4),
        ipv6: taken(host.ipv6),
        ..host
    }
}

fn edge_host(name: String, names: Names<'_>) -> EdgeHost {
    let given = name.parse::<std::net::IpAddr>().ok().map(Family::of);
    let resolves = |family| match (given, names.addresses(&name, family)) {
        (Some(own), _) if own == family => Resolves::Yes,
        (Some(_), _) => Resolves::No(LookupStatus::NoRecords),
        (None, Resolution::Found(_)) => Resolves::Yes,
        (None, Resolution::Failed(status)) => Resolves::No(status),
        (None, Resolution::Waiting | Resolution::Undecided) => Resolves::Undecided,
    };
    EdgeHost {
        ipv4: resolves(Family::Ipv4),
        ipv6: resolves(Family::Ipv6),
        name,
    }
}

/// Whether RFC 6724 sorts the edge's IPv6 addresses before its IPv4 addresses on this host.
///
/// Destinations without a source sort last (rule 1), then those whose source has the same label
/// (rule 5: a 6to4 or Teredo source has not), then IPv6 (rule 6).
fn prefers_ipv6(host: &Host) -> bool {
    let same_label = |state: &FamilyState| match state.source() {
        Some(std::net::IpAddr::V6(source)) => {
            let [first, second, ..] = source.segments();
            let teredo = first == 0x2001 && second == 0;
            let six_to_four = first == 0x2002;
            !(teredo || six_to_four)
        }
        _ => false,
    };
    match (host.ipv6.source(), host.ipv4.source()) {
        (None, Some(_)) => false,
        (None, None) => host.ipv6.is_available() && !host.ipv4.is_available(),
        (Some(_), None) => true,
        (Some(_), Some(_)) => same_label(&host.ipv6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn a_given_edge_is_dialled_over_ipv4_first() {
        let report = samples::ready();
        let (mut options, mut host) = (report.options, report.host);
        for state in [&mut host.ipv4, &mut host.ipv6] {
            *state = FamilyState::Available { source: None };
        }
        host.ipv6 = FamilyState::Available {
            source: Some("2001:db8::7".parse().unwrap()),
        };
        let mut edge = EdgeHost {
            name: "edge.example".to_owned(),
            ipv4: Resolves::Yes,
            ipv6: Resolves::Yes,
        };
        assert_eq!(edge.families(&options, &host), [Family::Ipv6, Family::Ipv4]);
        options.edge = vec!["edge.example:7844".parse().unwrap()];
        assert_eq!(edge.families(&options, &host), [Family::Ipv4]);
        edge.ipv4 = Resolves::No(LookupStatus::NoRecords);
        assert_eq!(edge.families(&options, &host), [Family::Ipv6]);
    }

    #[test]
    fn a_host_without_an_ipv6_source_begins_with_ipv4() {
        let report = samples::ready();
        let (options, mut host) = (report.options, report.host);
        host.ipv4 = FamilyState::Available {
            source: Some("192.0.2.7".parse().unwrap()),
        };
        host.ipv6 = FamilyState::Available { source: None };
        let edge = EdgeHost {
            name: "edge.example".to_owned(),
            ipv4: Resolves::Yes,
            ipv6: Resolves::Yes,
        };
        assert_eq!(edge.families(&options, &host), [Family::Ipv4]);
    }
}
