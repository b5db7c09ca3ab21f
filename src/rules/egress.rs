//! What a firewall has to let out, from the options and the lookups.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::distribution::Distribution;
use super::text::HostName;
use crate::catalog;
use crate::model::{
    Family, IpVersionChoice, Lookup, LookupStatus, Options, ProtocolChoice, Requirement, Service,
    Transport,
};
use crate::targets::{Names, is_wanted, optional_hosts, record_type};

/// What a firewall has to let out for cloudflared with given options.
#[derive(Debug, Clone, PartialEq)]
pub struct Egress {
    /// When and where it was made.
    pub surroundings: Surroundings,
    /// The options that it was made for, as they are typed; empty where all are the usual ones.
    pub arguments: Vec<String>,
    /// What is let out: the resolvers, then what a tunnel needs, then what is optional.
    pub entries: Vec<Entry>,
    /// What the reader should know, each in a sentence or two: what DNS did not tell, and what it
    /// told that became no rule.
    pub notes: Vec<String>,
}

/// When and where rules are made.
#[derive(Debug, Clone, PartialEq)]
pub struct Surroundings {
    /// When the addresses were looked up (RFC 3339).
    pub made_at: String,
    /// The resolvers that this host asks, and those that a stub on this host asks in turn.
    pub resolvers: Vec<SocketAddr>,
    /// What this host runs.
    pub distribution: Distribution,
}

/// One host over one transport: its addresses are what a packet filter can match.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The host's name; for resolvers, `resolver`.
    pub host: HostName,
    /// The transport.
    pub transport: Transport,
    /// The destination port.
    pub port: u16,
    /// What is spoken there.
    pub purpose: Purpose,
    /// Whether a tunnel needs it.
    pub requirement: Requirement,
    /// The names in the `ClientHello` for firewalls that look at them (RFC 6066); none for plain DNS.
    pub server_names: Vec<HostName>,
    /// What it is for, in a few words.
    pub reason: String,
    /// Each address once, IPv4 before IPv6, in ascending order. May be empty: a note says why.
    pub addresses: Vec<Address>,
}

impl Entry {
    /// The addresses of one family.
    pub fn of(&self, family: Family) -> impl Iterator<Item = Address> + '_ {
        let of_family = move |a: &&Address| Family::of(a.ip) == family;
        self.addresses.iter().filter(of_family).copied()
    }

    /// The transport as rules write it.
    #[must_use]
    pub const fn protocol(&self) -> &'static str {
        match self.transport {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        }
    }

    /// Host, purpose and requirement in one line, for a comment beside the rule.
    #[must_use]
    pub fn label(&self) -> String {
        let optional = match self.requirement {
            Requirement::Required => "",
            Requirement::Optional => ", optional",
        };
        format!("{}: {}{optional}", self.host, self.purpose)
    }
}

/// What is spoken to a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The lookups of cloudflared's names.
    Dns,
    /// The tunnel over QUIC.
    Quic,
    /// The tunnel over TLS and HTTP/2.
    Http2,
    /// Updates, the management interface, Access.
    Https,
    /// The second way to the SRV record.
    DnsOverTls,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Dns => "dns",
            Self::Quic => "quic",
            Self::Http2 => "http2",
            Self::Https => "https",
            Self::DnsOverTls => "dns over tls",
        })
    }
}

/// An address with what is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where an address comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// DNS answers with it and, where addresses are documented, so does the documentation.
    Answered,
    /// Documented; DNS was not asked or has not answered.
    Documented,
    /// Documented, and DNS answers without it: about to go, or kept for later.
    NoLongerAnswered,
    /// DNS answers with it, and the documentation of this name lacks it: new, or a wrong answer.
    NotDocumented,
    /// Given by hand, or by this host's configuration.
    Given,
}

impl Origin {
    /// What to say beside the address, where there is something to say.
    #[must_use]
    pub const fn remark(self) -> Option<&'static str> {
        match self {
            Self::Answered | Self::Documented | Self::Given => None,
            Self::NoLongerAnswered => Some("documented, but not in today's DNS answer"),
            Self::NotDocumented => Some("in today's DNS answer, but not documented"),
        }
    }
}

impl Egress {
    /// Unites what DNS has answered with what is documented.
    #[must_use]
    pub fn new(options: &Options, lookups: &[Lookup], surroundings: Surroundings) -> Self {
        let resolvers = surroundings.resolvers.clone();
        let mut egress = Self {
            surroundings,
            arguments: arguments(options),
            entries: Vec::new(),
            notes: Vec::new(),
        };
        egress.note_answers(options, lookups);
        egress.add_resolvers(&resolvers);
        egress.add_edge(options, lookups);
        egress.add_optional(options, lookups);
        egress.note_suspicious(lookups);
        egress
    }

    /// The entries that a tunnel cannot do without.
    pub fn required(&self) -> impl Iterator<Item = &Entry> {
        let required = |entry: &&Entry| entry.requirement == Requirement::Required;
        self.entries.iter().filter(required)
    }

    /// Whether the addresses are today's; those given by hand are what they are.
    fn note_answers(&mut self, options: &Options, lookups: &[Lookup]) {
        let edge = Names::settled(lookups, &[]).edge_hosts(options);
        let named = edge.iter().any(|(host, _)| host.parse::<IpAddr>().is_err());
        let wanted = named || !optional_hosts(options).is_empty();
        if wanted && !lookups.iter().any(|l| l.status == LookupStatus::Ok) {
            self.notes.push(
                "DNS has not told any address: the documented ones alone are listed, and some of them may be out of date."
                    .to_owned(),
            );
        }
    }

    /// One entry for each port and transport; nearly always two.
    fn add_resolvers(&mut self, resolvers: &[SocketAddr]) {
        let mut by_port: BTreeMap<u16, Vec<Address>> = BTreeMap::new();
        for server in resolvers {
            let address = Address {
                ip: server.ip().to_canonical(),
                origin: Origin::Given,
            };
            by_port.entry(server.port()).or_default().push(address);
        }
        let is_stub = |server: &SocketAddr| server.ip().is_loopback();
        if resolvers.iter().all(is_stub) {
            self.notes.push(
                "This host asks a resolver on itself, and whom that one asks in turn is not known here: add a rule for its upstream resolvers, UDP and TCP 53."
                    .to_owned(),
            );
        }
        for (port, addresses) in by_port {
            for transport in [Transport::Udp, Transport::Tcp] {
                self.entries.push(Entry {
                    host: HostName::sanitised("resolver"),
                    transport,
                    port,
                    purpose: Purpose::Dns,
                    requirement: Requirement::Required,
                    server_names: Vec::new(),
                    reason: "lookups of cloudflared's names by this host's resolvers".to_owned(),
                    addresses: in_order(addresses.clone()),
                });
            }
        }
    }

    fn add_edge(&mut self, options: &Options, lookups: &[Lookup]) {
        let names = Names::settled(lookups, &[]);
        let hosts = names.edge_hosts(options);
        let usual = catalog::usual_targets(options.region)
            .into_iter()
            .filter(|usual| options.edge.is_empty() && hosts.iter().all(|(host, _)| host != usual))
            .map(|host| (host, catalog::EDGE_PORT));
        let usual: Vec<_> = usual.collect();
        for service in [Service::Quic, Service::Http2] {
            for (host, port) in &hosts {
                let at = (host.as_str(), *port);
                self.add_edge_host(options, lookups, at, service, Requirement::Required);
            }
            for (host, port) in &usual {
                let at = (host.as_str(), *port);
                self.add_edge_host(options, lookups, at, service, Requirement::Optional);
            }
        }
        for (host, _) in &usual {
            let host = HostName::sanitised(host);
            self.notes.push(format!(
                "The SRV record does not name {host}, which is documented: its rules are marked optional."
            ));
        }
    }

    fn add_edge_host(
        &mut self,
        options: &Options,
        lookups: &[Lookup],
        (host, port): (&str, u16),
        service: Service,
        requirement: Requirement,
    ) {
        let families: Vec<_> = Family::BOTH
            .into_iter()
            .filter(|family| is_wanted(options, service, *family))
            .collect();
        if families.is_empty() {
            return;
        }
        let mut addresses = Vec::new();
        for family in families {
            let found = addresses_of(lookups, host, family);
            if found.is_empty() && host.parse::<IpAddr>().is_err() {
                self.note_once(missing(host, family));
            }
            addresses.extend(found);
        }
        if addresses.is_empty() && host.parse::<IpAddr>().is_ok() {
            // An address of a family that the options exclude.
            return;
        }
        let (purpose, reason, names) = match service {
            Service::Quic => (
                Purpose::Quic,
                "the tunnel over QUIC",
                vec![catalog::QUIC_SNI, catalog::PROBE_SNI],
            ),
            Service::Http2 | Service::Https => (
                Purpose::Http2,
                "the tunnel over HTTP/2",
                vec![catalog::HTTP2_SNI, catalog::PROBE_SNI],
            ),
        };
        self.entries.push(Entry {
            host: HostName::sanitised(host),
            transport: service.transport(),
            port,
            purpose,
            requirement,
            server_names: names.into_iter().map(HostName::sanitised).collect(),
            reason: reason.to_owned(),
            addresses: in_order(addresses),
        });
    }

    fn add_optional(&mut self, options: &Options, lookups: &[Lookup]) {
        for host in optional_hosts(options) {
            let found = Family::BOTH.map(|family| addresses_of(lookups, &host, family));
            if found.iter().all(Vec::is_empty) {
                let name = HostName::sanitised(&host);
                self.notes.push(format!(
                    "{name} ({}) has no documented addresses and DNS has told none: it has no rule here.",
                    catalog::purpose(&host)
                ));
            }
            self.entries.push(Entry {
                host: HostName::sanitised(&host),
                transport: Transport::Tcp,
                port: catalog::HTTPS_PORT,
                purpose: Purpose::Https,
                requirement: Requirement::Optional,
                server_names: vec![HostName::sanitised(&host)],
                reason: catalog::purpose(&host).to_owned(),
                addresses: in_order(found.concat()),
            });
        }
        if options.optional && options.edge.is_empty() {
            self.entries.push(over_tls());
        }
    }

    /// Answers that cannot be the edge's are told, and become no rule.
    fn note_suspicious(&mut self, lookups: &[Lookup]) {
        for lookup in lookups {
            if lookup.status != LookupStatus::Suspicious {
                continue;
            }
            let mut wrong: Vec<_> = lookup.addresses().map(|a| a.to_string()).collect();
            wrong.sort();
            let name = HostName::sanitised(&lookup.name);
            self.note_once(format!(
                "The resolver {} answers {name} with {}, which cannot be right: no rule is made of that answer.",
                lookup.via,
                wrong.join(", ")
            ));
        }
    }

    fn note_once(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

/// cloudflared asks there for the SRV record alone, once the system's resolvers have failed it.
fn over_tls() -> Entry {
    Entry {
        host: HostName::sanitised(catalog::DOT_SERVER_NAME),
        transport: Transport::Tcp,
        port: catalog::DOT_SERVER.port(),
        purpose: Purpose::DnsOverTls,
        requirement: Requirement::Optional,
        server_names: vec![HostName::sanitised(catalog::DOT_SERVER_NAME)],
        reason: "the SRV record, when this host's resolvers fail it".to_owned(),
        addresses: vec![Address {
            ip: catalog::DOT_SERVER.ip(),
            origin: Origin::Documented,
        }],
    }
}

fn missing(host: &str, family: Family) -> String {
    let host = HostName::sanitised(host);
    format!(
        "{host} has no {family} address, neither in DNS nor in the documentation: it has no rule here."
    )
}

/// The addresses of a host in one family: itself, or what is answered united with what is documented.
fn addresses_of(lookups: &[Lookup], host: &str, family: Family) -> Vec<Address> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        let given = Address {
            ip,
            origin: Origin::Given,
        };
        return Vec::from_iter((Family::of(ip) == family).then_some(given));
    }
    let answered: Vec<IpAddr> = lookups
        .iter()
        .filter(|l| l.name == host && l.record_type == record_type(family))
        .filter(|l| l.status == LookupStatus::Ok)
        .flat_map(Lookup::addresses)
        .collect();
    let documented = catalog::documented(host, family);
    let told = answered.iter().map(|ip| {
        let known = documented.is_empty() || documented.contains(ip);
        let origin = if known {
            Origin::Answered
        } else {
            Origin::NotDocumented
        };
        Address { ip: *ip, origin }
    });
    let silent = documented.iter().filter(|ip| !answered.contains(ip));
    let origin = if answered.is_empty() {
        Origin::Documented
    } else {
        Origin::NoLongerAnswered
    };
    told.chain(silent.map(|ip| Address { ip: *ip, origin }))
        .collect()
}

fn in_order(mut addresses: Vec<Address>) -> Vec<Address> {
    addresses.sort();
    addresses.dedup_by_key(|address| address.ip);
    addresses
}

/// The options as they are typed, those that are the usual ones left out.
fn arguments(options: &Options) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut option = |name: &str, value: &str| words.extend([name.to_owned(), value.to_owned()]);
    match options.protocol {
        ProtocolChoice::Auto => {}
        ProtocolChoice::Quic => option("--protocol", "quic"),
        ProtocolChoice::Http2 => option("--protocol", "http2"),
    }
    match options.edge_ip_version {
        IpVersionChoice::Auto => {}
        IpVersionChoice::V4 => option("--edge-ip-version", "4"),
        IpVersionChoice::V6 => option("--edge-ip-version", "6"),
    }
    if let Some(region) = options.region {
        option("--region", &region.to_string());
    }
    for edge in &options.edge {
        option("--edge", &edge_argument(&edge.host, edge.port));
    }
    for server in &options.resolver {
        option("--resolver", &server.to_string());
    }
    if let Some(team) = &options.team {
        option("--team", team);
    }
    if !options.optional {
        words.push("--no-optional".to_owned());
    }
    words
}

fn edge_argument(host: &str, port: u16) -> String {
    match host.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, port).to_string(),
        Err(_) => format!("{}:{port}", HostName::sanitised(host)),
    }
}

#[cfg(test)]
#[path = "egress/tests.rs"]
mod tests;
