//! PURE: options, host and lookups become the rows of the report, each with the addresses to probe.
//!
//! The run and the diagnosis derive the same rows from the same lookups, so that a saved report can
//! be diagnosed again.

mod names;

pub use names::{Asked, Names, Resolution, services};

use std::net::IpAddr;

use crate::catalog;
use crate::model::{
    Answer, Attempt, Family, Host, IpVersionChoice, Options, Profile, ProtocolChoice, Requirement,
    Role, Service, Source,
};

/// One row: a host over one transport and one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The host's name.
    pub host: String,
    /// The port.
    pub port: u16,
    /// `region1`, `region2`, …; absent for optional hosts.
    pub region: Option<String>,
    /// What is spoken there.
    pub service: Service,
    /// The family.
    pub family: Family,
    /// Whether a tunnel needs it.
    pub requirement: Requirement,
    /// Where the addresses come from.
    pub source: Source,
    /// The addresses, in the resolver's order, each once.
    pub addresses: Vec<IpAddr>,
    /// Answers of DNS that cannot be the host's own, and may be a proxy's that leads there. They are
    /// tried beside the row's addresses, and take their place once one of them has passed.
    pub suspicious_answers: Vec<IpAddr>,
    /// UDP payload of cloudflared's Initial datagrams at these addresses, in bytes.
    pub datagram_size: u16,
    /// Whether the key exchange must be post-quantum (`--post-quantum`).
    pub post_quantum: bool,
    /// Whether this host's system tells late that a connection was reset ([`Host::tells_resets_late`]).
    pub late_resets: bool,
    /// Whether it is to be probed.
    pub state: TargetState,
}

impl Target {
    /// The server name that decides the row.
    #[must_use]
    pub fn deciding_sni(&self) -> &str {
        catalog::tunnel_sni(self.service).unwrap_or(&self.host)
    }

    /// The server name of an attempt in a role.
    #[must_use]
    pub fn sni(&self, role: Role) -> &str {
        match role {
            Role::Experiment(Profile::VersionPing) => "",
            Role::Experiment(Profile::ControlName) => catalog::CONTROL_SNI,
            Role::Tunnel | Role::Experiment(_) => self.deciding_sni(),
            Role::Probe => catalog::PROBE_SNI,
            Role::Documented => catalog::DOCUMENTED_SNI,
        }
    }

    /// The first flight of an attempt in a role.
    #[must_use]
    pub const fn profile(&self, role: Role) -> Profile {
        match (role, self.service) {
            (Role::Experiment(profile), _) => profile,
            (_, Service::Https) => Profile::Https,
            _ => Profile::Cloudflared,
        }
    }

    /// Whether the attempt counts here: it was made for this destination, or for another one of the edge
    /// that shares the address. What an address answers does not depend on the name that led there, but
    /// for an HTTPS host's.
    #[must_use]
    pub fn includes(&self, attempt: &Attempt) -> bool {
        let shared = |known: &[IpAddr]| known.contains(&attempt.address);
        attempt.port == self.port
            && attempt.service() == self.service
            && (shared(&self.addresses) || shared(&self.suspicious_answers))
            && (self.service != Service::Https || attempt.host == self.host)
    }
}

/// Whether a row is to be probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetState {
    /// It is.
    Probed,
    /// Its name is not resolved yet.
    Waiting,
    /// The options exclude it.
    Skipped,
    /// The host lacks the family.
    Unavailable,
    /// No address is known.
    Unresolved,
}

/// The optional hosts of a run, in the order of the report.
#[must_use]
pub fn optional_hosts(options: &Options) -> Vec<String> {
    let mut hosts: Vec<String> = match &options.optional_hosts {
        Some(hosts) => hosts.iter().map(|host| host.name.clone()).collect(),
        None if options.optional => catalog::FORMER_OPTIONAL_HOSTS.map(str::to_owned).into(),
        None => Vec::new(),
    };
    let team = options.team.as_ref().filter(|_| options.optional);
    let access = team.map(|team| catalog::access_host(team, options.region));
    hosts.extend(access.filter(|access| !hosts.contains(access)));
    hosts
}

/// Whether a host counts for `--strict`: what the user named does, but for the host that no ordinary
/// tunnel asks.
#[must_use]
pub fn counts_when_strict(options: &Options, host: &str) -> bool {
    let asked = is_asked_for(options, host) && host != catalog::QUICK_TUNNEL_HOST;
    asked || catalog::counts_when_strict(host)
}

/// The optional hosts that rules are printed for, in the order of the report.
#[must_use]
pub fn hosts_with_a_rule(options: &Options) -> Vec<String> {
    let mut hosts = optional_hosts(options);
    hosts.retain(|host| is_asked_for(options, host) || catalog::has_rule(host));
    hosts
}

/// Whether the user named the host (`--optional-host`).
fn is_asked_for(options: &Options, host: &str) -> bool {
    let listed = options.optional_hosts.iter().flatten();
    listed
        .into_iter()
        .any(|known| known.asked && known.name == host)
}

/// All rows of a report, required ones first.
#[must_use]
pub fn targets(options: &Options, host: &Host, names: Names<'_>) -> Vec<Target> {
    let mut targets = Vec::new();
    let edge = names.edge_hosts(options);
    for service in [Service::Quic, Service::Http2] {
        for (number, (name, port)) in edge.iter().enumerate() {
            let literal = name.parse::<IpAddr>().ok().map(Family::of);
            for family in Family::BOTH
                .into_iter()
                .filter(|f| literal.is_none_or(|own| own == *f))
            {
                let region = format!("region{}", number + 1);
                targets.push(edge_target(
                    options,
                    host,
                    names,
                    (name, *port, region),
                    service,
                    family,
                ));
            }
        }
    }
    for name in optional_hosts(options) {
        for family in Family::BOTH {
            targets.push(optional_target(host, names, &name, family));
        }
    }
    targets
}

fn edge_target(
    options: &Options,
    host: &Host,
    names: Names<'_>,
    (name, port, region): (&str, u16, String),
    service: Service,
    family: Family,
) -> Target {
    let wanted = is_wanted(options, service, family);
    let (source, addresses, waiting) = edge_addresses(names, name, family);
    let state = match (wanted, host.family(family).is_available(), waiting) {
        (false, ..) => TargetState::Skipped,
        (true, false, _) => TargetState::Unavailable,
        (true, true, true) => TargetState::Waiting,
        (true, true, false) if addresses.is_empty() => TargetState::Unresolved,
        (true, true, false) => TargetState::Probed,
    };
    let not_of_dns = source == Source::Given || names.is_in_hosts_file(name, family);
    Target {
        host: name.to_owned(),
        port,
        region: Some(region),
        service,
        family,
        requirement: if wanted {
            Requirement::Required
        } else {
            Requirement::Optional
        },
        source,
        addresses,
        suspicious_answers: suspicious_answers(names, name, family, state),
        datagram_size: catalog::quic_datagram_size(family, not_of_dns),
        post_quantum: options.post_quantum,
        late_resets: host.tells_resets_late(),
        state,
    }
}

/// Nothing is tried where nothing would be probed.
fn suspicious_answers(
    names: Names<'_>,
    name: &str,
    family: Family,
    state: TargetState,
) -> Vec<IpAddr> {
    match state {
        TargetState::Probed | TargetState::Unresolved => names.suspicious_answers(name, family),
        TargetState::Waiting | TargetState::Skipped | TargetState::Unavailable => Vec::new(),
    }
}

/// Whether the options let cloudflared use the service over the family.
#[must_use]
pub fn is_wanted(options: &Options, service: Service, family: Family) -> bool {
    let by_protocol = match options.protocol {
        ProtocolChoice::Auto => true,
        ProtocolChoice::Quic => service == Service::Quic,
        ProtocolChoice::Http2 => service == Service::Http2,
    };
    by_protocol && uses_family(options, family)
}

/// Whether the options let cloudflared use the family.
///
/// Of addresses given by hand it takes whatever family they have, whatever `--edge-ip-version` says;
/// only from an address of the same family can it send to them.
#[must_use]
pub fn uses_family(options: &Options, family: Family) -> bool {
    if !options.edge.is_empty() {
        let bind = options.edge_bind_address.map(Family::of);
        return bind.is_none_or(|own| own == family);
    }
    match options.edge_ip_version {
        IpVersionChoice::Auto => true,
        IpVersionChoice::V4 => family == Family::Ipv4,
        IpVersionChoice::V6 => family == Family::Ipv6,
    }
}

/// The addresses of an edge host: given, resolved, or else documented. True while they may change.
fn edge_addresses(names: Names<'_>, name: &str, family: Family) -> (Source, Vec<IpAddr>, bool) {
    if let Ok(given) = name.parse::<IpAddr>() {
        let addresses = (Family::of(given) == family).then_some(given);
        return (Source::Given, addresses.into_iter().collect(), false);
    }
    match names.addresses(name, family) {
        Resolution::Found(answers) => (Source::Dns, addresses_of(&answers), false),
        Resolution::Waiting => (Source::Dns, Vec::new(), true),
        Resolution::Failed(_) | Resolution::Undecided => match catalog::documented(name, family) {
            none if none.is_empty() => (Source::Dns, none, false),
            documented => (Source::Documented, documented, false),
        },
    }
}

fn optional_target(host: &Host, names: Names<'_>, name: &str, family: Family) -> Target {
    let (addresses, waiting) = match names.addresses(name, family) {
        Resolution::Found(answers) => (addresses_of(&answers), false),
        Resolution::Waiting | Resolution::Undecided => (Vec::new(), true),
        Resolution::Failed(_) => (Vec::new(), false),
    };
    let state = match (host.family(family).is_available(), waiting) {
        (false, _) => TargetState::Unavailable,
        (true, true) => TargetState::Waiting,
        (true, false) if addresses.is_empty() => TargetState::Unresolved,
        (true, false) => TargetState::Probed,
    };
    Target {
        host: name.to_owned(),
        port: catalog::HTTPS_PORT,
        region: None,
        service: Service::Https,
        family,
        requirement: Requirement::Optional,
        source: Source::Dns,
        addresses,
        suspicious_answers: suspicious_answers(names, name, family, state),
        datagram_size: catalog::quic_datagram_size(family, false),
        post_quantum: false,
        late_resets: host.tells_resets_late(),
        state,
    }
}

fn addresses_of(answers: &[Answer]) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for answer in answers {
        match answer {
            Answer::Address(address) if !addresses.contains(address) => addresses.push(*address),
            _ => {}
        }
    }
    addresses
}

#[cfg(test)]
mod tests;
