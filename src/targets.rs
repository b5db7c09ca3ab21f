//! PURE: options, host and lookups become the rows of the report, each with the addresses to probe.
//!
//! The run and the diagnosis derive the same rows from the same lookups, so that a saved report can
//! be diagnosed again.

use std::collections::HashSet;
use std::net::IpAddr;

use crate::catalog;
use crate::model::{
    Answer, Attempt, Family, Host, IpVersionChoice, Lookup, LookupStatus, Options, Profile,
    ProtocolChoice, RecordType, Requirement, Service, Source, Via,
};

/// A name and a record type that has been asked for.
pub type Asked = (String, RecordType);

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

/// What the lookups say about one name and type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// The answer is not in yet.
    Waiting,
    /// Addresses or targets, never none.
    Found(Vec<Answer>),
    /// No usable answer, with the status that says most.
    Failed(LookupStatus),
    /// Silence, for less time than cloudflared's own resolver would wait.
    Undecided,
}

/// Everything that name resolution has told so far.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    lookups: &'a [Lookup],
    attempts: &'a [Attempt],
    unsettled: Option<&'a HashSet<Asked>>,
    any_counts: bool,
}

impl<'a> Names<'a> {
    /// All that a finished run has been told.
    #[must_use]
    pub const fn settled(lookups: &'a [Lookup], attempts: &'a [Attempt]) -> Self {
        Self {
            lookups,
            attempts,
            unsettled: None,
            any_counts: false,
        }
    }

    /// On a system that asks the resolvers of all its networks, what one of them denies another may give
    /// ([`Host::asks_all_resolvers`]).
    #[must_use]
    pub const fn where_any_counts(self, any_counts: bool) -> Self {
        Self { any_counts, ..self }
    }

    /// What a run has been told so far; `unsettled` questions may still be answered.
    #[must_use]
    pub const fn so_far(
        lookups: &'a [Lookup],
        attempts: &'a [Attempt],
        unsettled: &'a HashSet<Asked>,
    ) -> Self {
        Self {
            lookups,
            attempts,
            unsettled: Some(unsettled),
            any_counts: false,
        }
    }

    /// What is known of one name and type.
    #[must_use]
    pub fn resolution(&self, name: &str, record_type: RecordType) -> Resolution {
        let rows = || {
            self.lookups
                .iter()
                .filter(|l| l.name == name && l.record_type == record_type)
        };
        // The system's resolvers come first, TLS comes last.
        let spoken = self.spoken(name, record_type);
        let over_tls = rows().find(|l| l.via == Via::Dot && l.status == LookupStatus::Ok);
        match (spoken, over_tls) {
            (Some(found), _) if found.status == LookupStatus::Ok || self.vouches_for(found) => {
                return Resolution::Found(found.answers.clone());
            }
            (_, Some(found)) => return Resolution::Found(found.answers.clone()),
            _ => {}
        }
        let asked = (name.to_owned(), record_type);
        if self
            .unsettled
            .is_some_and(|unsettled| unsettled.contains(&asked))
        {
            return Resolution::Waiting;
        }
        let failed = spoken.or_else(|| rows().find(|l| l.status != LookupStatus::TimedOut));
        match failed {
            Some(lookup) => Resolution::Failed(lookup.status),
            None if rows().any(is_long_silence) => Resolution::Failed(LookupStatus::TimedOut),
            None => Resolution::Undecided,
        }
    }

    /// The answer of the first resolver of the system that speaks, which is the one that cloudflared
    /// hears.
    fn spoken(&self, name: &str, record_type: RecordType) -> Option<&'a Lookup> {
        let mut by_system = self
            .lookups
            .iter()
            .filter(|l| l.name == name && l.record_type == record_type && l.via != Via::Dot);
        let given = |l: &&Lookup| matches!(l.status, LookupStatus::Ok | LookupStatus::Suspicious);
        let any = by_system.clone().find(given).filter(|_| self.any_counts);
        any.or_else(|| by_system.find(|l| l.status.is_final()))
    }

    /// Whether an answer that cannot be right leads to the right place: a handshake as the name's host
    /// is spoken to passed there.
    fn vouches_for(&self, lookup: &Lookup) -> bool {
        let spoken_to = |attempt: &Attempt| match attempt.profile {
            Profile::Https => attempt.sni == lookup.name,
            profile => !profile.is_experiment() && !self.is_optional(&lookup.name),
        };
        lookup.status == LookupStatus::Suspicious
            && lookup.addresses().any(|address| {
                let there = |a: &&Attempt| a.address == address && a.passed();
                self.attempts.iter().filter(there).any(spoken_to)
            })
    }

    /// Whether a name is an optional host's: a known one, or one that was spoken to as such.
    fn is_optional(&self, name: &str) -> bool {
        let spoken_to = |a: &Attempt| a.profile == Profile::Https && a.sni == name;
        catalog::is_optional_host(name) || self.attempts.iter().any(spoken_to)
    }

    /// Whether the answer that cloudflared hears comes from this host's hosts file.
    fn is_in_hosts_file(&self, name: &str, family: Family) -> bool {
        let spoken = self.spoken(name, record_type(family));
        spoken.is_some_and(|lookup| lookup.via == Via::Hosts)
    }

    /// The answers for a name that cannot be its own, as long as nothing vouches for them; a few.
    fn suspicious_answers(&self, name: &str, family: Family) -> Vec<IpAddr> {
        const FEW: usize = 2;
        let spoken = self.spoken(name, record_type(family));
        let suspicious = spoken.filter(|l| l.status == LookupStatus::Suspicious);
        let lookup = suspicious.filter(|l| !self.vouches_for(l));
        let addresses = lookup.into_iter().flat_map(Lookup::addresses);
        let mut distinct: Vec<_> = addresses.filter(|a| !a.is_multicast()).collect();
        distinct.dedup();
        distinct.truncate(FEW);
        distinct
    }

    /// Whether the SRV record is known from DNS over TLS alone.
    #[must_use]
    pub fn only_over_tls(&self, name: &str) -> bool {
        self.spoken(name, RecordType::Srv)
            .is_none_or(|l| l.status != LookupStatus::Ok)
    }

    /// The addresses of a name in one family.
    #[must_use]
    pub fn addresses(&self, name: &str, family: Family) -> Resolution {
        self.resolution(name, record_type(family))
    }

    /// The SRV record's first two targets with their ports, in order of priority, which are those that
    /// cloudflared uses; the usual targets while it is unknown or when it fails.
    #[must_use]
    pub fn edge_hosts(&self, options: &Options) -> Vec<(String, u16)> {
        if !options.edge.is_empty() {
            return options
                .edge
                .iter()
                .map(|edge| (edge.host.clone(), edge.port))
                .collect();
        }
        let mut found = self.srv_targets(options);
        // Where the record is missing, or names too few, the usual targets show the firewall's side.
        for host in catalog::usual_targets(options.region) {
            if found.len() < catalog::MINIMUM_SRV_TARGETS
                && found.iter().all(|(known, _)| *known != host)
            {
                found.push((host, catalog::EDGE_PORT));
            }
        }
        found.truncate(catalog::USED_SRV_TARGETS);
        found
    }

    /// The SRV record's further targets, in order of priority. cloudflared looks up their addresses,
    /// stops if there are none, and connects to none of them.
    #[must_use]
    pub fn unused_edge_hosts(&self, options: &Options) -> Vec<String> {
        if !options.edge.is_empty() {
            return Vec::new();
        }
        let further = self.srv_targets(options).into_iter();
        further
            .skip(catalog::USED_SRV_TARGETS)
            .map(|(host, _)| host)
            .collect()
    }

    /// Whether a name's addresses have been asked for at all.
    #[must_use]
    pub fn was_asked(&self, name: &str) -> bool {
        let asked = |l: &Lookup| l.name == name && l.record_type != RecordType::Srv;
        self.lookups.iter().any(asked)
    }

    /// All targets of the SRV record; none while it is unknown or when it fails.
    fn srv_targets(&self, options: &Options) -> Vec<(String, u16)> {
        let name = catalog::srv_name(options.region);
        match self.resolution(&name, RecordType::Srv) {
            Resolution::Found(answers) => services(&answers),
            Resolution::Waiting | Resolution::Failed(_) | Resolution::Undecided => Vec::new(),
        }
    }
}

/// Whether a resolver was silent for about as long as Go's resolver waits for one.
fn is_long_silence(lookup: &Lookup) -> bool {
    const SHARE: f64 = 0.8;
    lookup.elapsed_ms.duration() >= catalog::GO_RESOLVER_TIMEOUT.mul_f64(SHARE)
}

/// The record type that holds a family's addresses.
#[must_use]
pub const fn record_type(family: Family) -> RecordType {
    match family {
        Family::Ipv4 => RecordType::A,
        Family::Ipv6 => RecordType::Aaaa,
    }
}

/// Targets and ports of SRV answers by priority (RFC 2782), each host once.
#[must_use]
pub fn services(answers: &[Answer]) -> Vec<(String, u16)> {
    let mut services: Vec<_> = answers
        .iter()
        .filter_map(|answer| match answer {
            Answer::Service {
                priority,
                port,
                target,
                ..
            } => Some((*priority, target.clone(), *port)),
            Answer::Address(_) => None,
        })
        .collect();
    services.sort_by_key(|(priority, ..)| *priority);
    let mut seen = HashSet::new();
    services.retain(|(_, target, _)| seen.insert(target.clone()));
    services
        .into_iter()
        .map(|(_, target, port)| (target, port))
        .collect()
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
