//! What a firewall has to let out, from the options and the lookups.

mod entry;

use std::collections::BTreeMap;
use std::env::consts::OS;
use std::net::{IpAddr, SocketAddr};

pub use self::entry::{Address, Entry, Origin, Purpose};

use super::distribution::Distribution;
use super::text::HostName;
use crate::catalog;
use crate::model::{
    Family, IpVersionChoice, Lookup, LookupStatus, Options, ProtocolChoice, RecordType,
    Requirement, Service, Transport, asks_all_resolvers,
};
use crate::targets::{Names, hosts_with_a_rule, is_wanted, optional_hosts};

/// What a firewall has to let out for cloudflared with given options.
#[derive(Debug, Clone, PartialEq)]
pub struct Egress {
    /// When and where it was made.
    pub surroundings: Surroundings,
    /// Whether the addresses are today's.
    pub today: Today,
    /// The options that it was made for, as they are typed; empty where all are the usual ones.
    pub arguments: Vec<String>,
    /// What is let out: the resolvers, then what a tunnel needs, then what is optional.
    pub entries: Vec<Entry>,
    /// Whether some answer was too long for UDP, so that TCP 53 is needed as well.
    pub has_long_answers: bool,
    /// What the reader should know, each in a sentence or two: what DNS did not tell, and what it
    /// told that became no rule.
    pub notes: Vec<String>,
    /// What has no rule by design, in a sentence: it stands in the file, and is no warning.
    pub without_a_rule: Option<String>,
}

/// Where the addresses come from that are united with the documented ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Today {
    /// DNS has told some, or none but given ones are wanted.
    Known,
    /// Nobody has asked DNS: the documented ones are all.
    NotAsked,
    /// DNS was asked and has told none: the documented ones are all.
    NotTold,
}

impl Today {
    /// What these addresses are, behind "what is".
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Known => "needed today",
            Self::NotAsked | Self::NotTold => "documented",
        }
    }
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
    /// Whether DNS was left out.
    pub offline: bool,
}

impl Egress {
    /// Unites what DNS has answered with what is documented.
    #[must_use]
    pub fn new(options: &Options, lookups: &[Lookup], surroundings: Surroundings) -> Self {
        let resolvers = surroundings.resolvers.clone();
        let mut egress = Self {
            surroundings,
            today: Today::Known,
            arguments: arguments(options),
            entries: Vec::new(),
            has_long_answers: lookups.iter().any(|lookup| lookup.truncated),
            notes: Vec::new(),
            without_a_rule: without_a_rule(options),
        };
        egress.note_answers(options, lookups);
        egress.add_resolvers(&resolvers);
        egress.add_edge(options, lookups);
        egress.add_optional(options, lookups);
        egress.note_suspicious(lookups);
        egress
    }

    /// Whether the addresses are today's; those given by hand are what they are.
    fn note_answers(&mut self, options: &Options, lookups: &[Lookup]) {
        let edge = Names::settled(lookups, &[])
            .where_any_counts(asks_all_resolvers(OS))
            .edge_hosts(options);
        let named = edge.iter().any(|(host, _)| host.parse::<IpAddr>().is_err());
        let wanted = named || !hosts_with_a_rule(options).is_empty();
        if !wanted || lookups.iter().any(|l| l.status == LookupStatus::Ok) {
            return;
        }
        let (today, why) = if self.surroundings.offline {
            (Today::NotAsked, "DNS was not asked")
        } else {
            (Today::NotTold, "DNS gave no address")
        };
        self.today = today;
        self.notes.push(format!(
            "{why}: only the documented addresses are listed, and some of them may be out of date."
        ));
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
                "This host asks a resolver on itself, and which servers that one asks is not known here. \
                 Add a rule for its upstream resolvers, UDP and TCP 53."
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
        let answers = Names::settled(lookups, &[]).where_any_counts(asks_all_resolvers(OS));
        let hosts = answers.edge_hosts(options);
        // What cloudflared looks up and does not connect to needs no rule.
        let unused = answers.unused_edge_hosts(options);
        let unnamed = |usual: &String| {
            let looked_up = unused.contains(usual) || hosts.iter().any(|(host, _)| host == usual);
            options.edge.is_empty() && !looked_up
        };
        let usual = catalog::usual_targets(options.region).into_iter();
        let usual: Vec<_> = usual.filter(unnamed).collect();
        for host in &usual {
            let host = HostName::sanitised(host);
            self.notes.push(format!(
                "The SRV record does not name {host}, which is documented: its rules are marked optional."
            ));
        }
        let named = hosts
            .iter()
            .map(|(host, port)| (host, *port, Requirement::Required));
        let usual = usual
            .iter()
            .map(|host| (host, catalog::EDGE_PORT, Requirement::Optional));
        let all: Vec<_> = named.chain(usual).collect();
        for service in [Service::Quic, Service::Http2] {
            let wanted = |family| is_wanted(options, service, family);
            let families: Vec<_> = Family::BOTH.into_iter().filter(|f| wanted(*f)).collect();
            if families.is_empty() {
                continue;
            }
            for (host, port, requirement) in &all {
                let addresses = self.edge_addresses(lookups, host, &families);
                // A name without an address is of use to those that match names; an address of a
                // family that the options exclude is of use to nobody.
                if !addresses.is_empty() || host.parse::<IpAddr>().is_err() {
                    let entry = edge_entry((host, *port), service, *requirement, addresses);
                    self.entries.push(entry);
                }
            }
        }
    }

    /// The addresses of a host; a name that has none in one of the families is noted.
    fn edge_addresses(
        &mut self,
        lookups: &[Lookup],
        host: &str,
        families: &[Family],
    ) -> Vec<Address> {
        let mut addresses = Vec::new();
        for family in families {
            let found = addresses_of(lookups, host, *family);
            if found.is_empty() && host.parse::<IpAddr>().is_err() {
                self.note_once(missing(host, *family));
            }
            addresses.extend(found);
        }
        addresses
    }

    fn add_optional(&mut self, options: &Options, lookups: &[Lookup]) {
        for host in hosts_with_a_rule(options) {
            let found = Family::BOTH.map(|family| addresses_of(lookups, &host, family));
            if found.iter().all(Vec::is_empty) {
                let name = HostName::sanitised(&host);
                self.notes.push(format!(
                    "{name} ({}) has no documented addresses and DNS gave none: it has no rule here.",
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

    /// Notes what a lock-down of the host does not close, if there are such bridges.
    pub fn note_containers(&mut self, bridges: &[String]) {
        if bridges.is_empty() {
            return;
        }
        let names: Vec<_> = bridges
            .iter()
            .map(|name| HostName::sanitised(name).to_string())
            .collect();
        self.notes.push(format!(
            "This host has bridges of containers ({}), and these rules do not close what it forwards for them. Is cloudflared in a container? Then it needs `tunnelcheck rules --for-container NAME`.",
            names.join(", ")
        ));
    }

    fn note_once(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

/// Hosts whose addresses move are named, so that whoever misses one finds it in the file.
fn without_a_rule(options: &Options) -> Option<String> {
    let with_a_rule = hosts_with_a_rule(options);
    let mut hosts = optional_hosts(options);
    hosts.retain(|host| !with_a_rule.contains(host));
    let hosts: Vec<_> = hosts
        .iter()
        .map(|host| format!("{} ({})", HostName::sanitised(host), catalog::purpose(host)))
        .collect();
    (!hosts.is_empty()).then(|| {
        format!(
            "No rule is made for {}, because the addresses move; --optional-host NAME makes one.",
            hosts.join(" and ")
        )
    })
}

fn edge_entry(
    (host, port): (&str, u16),
    service: Service,
    requirement: Requirement,
    addresses: Vec<Address>,
) -> Entry {
    let (purpose, reason, name) = match service {
        Service::Quic => (Purpose::Quic, "the tunnel over QUIC", catalog::QUIC_SNI),
        Service::Http2 | Service::Https => {
            (Purpose::Http2, "the tunnel over HTTP/2", catalog::HTTP2_SNI)
        }
    };
    Entry {
        host: HostName::sanitised(host),
        transport: service.transport(),
        port,
        purpose,
        requirement,
        server_names: [name, catalog::PROBE_SNI].map(HostName::sanitised).into(),
        reason: reason.to_owned(),
        addresses: in_order(addresses),
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
        .filter(|l| l.name == host && l.record_type == RecordType::of(family))
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
    let listed = options.optional_hosts.iter().flatten();
    for host in listed.into_iter().filter(|host| host.asked) {
        words.extend(["--optional-host".to_owned(), host.name.clone()]);
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
mod tests;
