//! The report, exactly as it is written to JSON.

mod recorded;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Attempt, Cause, Ended, Family, Finding, Forecast, Host, Lookup, Millis, Observations, Options,
    OwnRules, Requirement, Service, Status, Transport, Verdict,
};

/// The version of the JSON layout. A reader refuses what it does not know.
pub const SCHEMA_VERSION: u32 = 2;

/// The report of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// The version of this layout.
    pub schema_version: u32,
    /// The program that wrote it.
    pub tool: Tool,
    /// Start of the run (RFC 3339).
    pub started_at: String,
    /// Length of the run in milliseconds.
    pub duration_ms: Millis,
    /// Why the run stopped looking.
    pub ended: Ended,
    /// The host it ran on.
    pub host: Host,
    /// What it was asked to do.
    pub options: Options,
    /// The answer.
    pub verdict: Verdict,
    /// The exit code that goes with it under these options.
    pub exit_code: u8,
    /// The answer in a plain sentence.
    pub summary: String,
    /// For whom the answer holds.
    pub scope: String,
    /// The transport that cloudflared would end up with.
    pub suggested_protocol: Option<Service>,
    /// What cloudflared will do from its start; null when too little is known.
    #[serde(default)]
    pub forecast: Option<Forecast>,
    /// The two transports of the tunnel.
    pub protocols: Protocols,
    /// Name resolution.
    pub dns: DnsReport,
    /// One row for each host, transport and family.
    #[serde(deserialize_with = "recorded::destinations")]
    pub destinations: Vec<Destination>,
    /// What this host's own rules do with flows that failed; absent if no flow failed in a way that this
    /// host could cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_rules: Option<OwnRules>,
    /// One row for each documented server name and transport.
    pub sni: Vec<SniReport>,
    /// What is wrong and what to do, most fundamental first.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Takes back what the run saw, so that it can be diagnosed again.
    #[must_use]
    pub fn into_observations(self) -> Observations {
        Observations {
            started_at: self.started_at,
            duration: self.duration_ms,
            ended: self.ended,
            host: self.host,
            options: self.options,
            resolvers: self.dns.resolvers,
            lookups: self.dns.lookups,
            over_tcp: self.dns.over_tcp,
            own_rules: self.own_rules,
            attempts: distinct_attempts(self.destinations),
        }
    }
}

/// The attempts of all rows; rows that share an address list the same ones.
fn distinct_attempts(rows: Vec<Destination>) -> Vec<Attempt> {
    let mut attempts: Vec<Attempt> = Vec::new();
    for row in rows {
        let known = attempts.len();
        for attempt in row.probes {
            let listed = attempts.iter().take(known).any(|other| *other == attempt);
            if !listed {
                attempts.push(attempt);
            }
        }
    }
    attempts
}

/// The program that wrote a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tool {
    /// Always `tunnelcheck`.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// The two transports of the tunnel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Protocols {
    /// The tunnel over QUIC.
    pub quic: ProtocolReport,
    /// The tunnel over HTTP/2.
    pub http2: ProtocolReport,
}

impl Protocols {
    /// One transport's report; `None` for a service that carries no tunnel.
    #[must_use]
    pub const fn get(&self, service: Service) -> Option<&ProtocolReport> {
        match service {
            Service::Quic => Some(&self.quic),
            Service::Http2 => Some(&self.http2),
            Service::Https => None,
        }
    }
}

/// One transport of the tunnel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProtocolReport {
    /// The verdict on this transport alone.
    pub status: Verdict,
    /// Whether cloudflared with these options would get a connection over it.
    pub usable: bool,
    /// `region1` and `region2` stand for the SRV record's first and second target.
    pub regions: BTreeMap<String, RegionReport>,
}

/// One region over one transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RegionReport {
    /// The status over IPv4.
    pub ipv4: Status,
    /// The status over IPv6.
    pub ipv6: Status,
}

impl RegionReport {
    /// The status over one family.
    #[must_use]
    pub const fn get(&self, family: Family) -> Status {
        match family {
            Family::Ipv4 => self.ipv4,
            Family::Ipv6 => self.ipv6,
        }
    }
}

/// Name resolution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DnsReport {
    /// The resolvers in the order in which they are asked.
    #[serde(with = "resolvers")]
    #[schemars(with = "Vec<String>")]
    pub resolvers: Vec<std::net::SocketAddr>,
    /// Every question, with who was asked and what came back.
    pub lookups: Vec<Lookup>,
    /// Questions asked over TCP of resolvers that fail over UDP, to tell one from the other. They
    /// decide nothing, since cloudflared does not ask so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub over_tcp: Vec<Lookup>,
}

/// One host over one transport and one family.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Destination {
    /// The host's name.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The transport.
    pub transport: Transport,
    /// What is spoken there.
    pub service: Service,
    /// The server name that decides the status.
    pub sni: String,
    /// The family.
    pub family: Family,
    /// `region1`, `region2`, …; absent for optional hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Whether a tunnel needs it.
    pub requirement: Requirement,
    /// Where its addresses come from.
    pub source: Source,
    /// What is known of it.
    pub status: Status,
    /// How it is blocked.
    pub cause: Option<Cause>,
    /// What else the evidence says, in words.
    pub detail: Option<String>,
    /// How many addresses there are, were probed, and pass.
    pub addresses: AddressCount,
    /// Round-trip times of the addresses that answered.
    pub rtt_ms: Option<RttRange>,
    /// Every attempt.
    pub probes: Vec<Attempt>,
}

/// Where a row's addresses come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The resolver's answer, as cloudflared would use it.
    Dns,
    /// The documentation, because the name does not resolve: cloudflared would not get this far.
    Documented,
    /// An address given with `--edge`.
    Given,
}

/// Counts of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AddressCount {
    /// Known addresses.
    pub total: usize,
    /// Addresses with at least one attempt that ran.
    pub probed: usize,
    /// Addresses that pass.
    pub reachable: usize,
}

/// Round-trip times in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RttRange {
    /// The quickest.
    pub min: Millis,
    /// The one in the middle.
    pub median: Millis,
    /// The slowest.
    pub max: Millis,
}

/// One documented server name over one transport.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SniReport {
    /// The server name.
    pub name: String,
    /// The transport.
    pub transport: Transport,
    /// What is known of it.
    pub status: Status,
    /// How it is cut.
    pub cause: Option<Cause>,
}

/// Resolvers are written like `via`: without the port where it is 53.
mod resolvers {
    use std::net::SocketAddr;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use crate::model::Via;

    pub(super) fn serialize<S: Serializer>(list: &[SocketAddr], to: S) -> Result<S::Ok, S::Error> {
        list.iter()
            .map(|server| Via::Resolver(*server))
            .collect::<Vec<_>>()
            .serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<SocketAddr>, D::Error> {
        Vec::<Via>::deserialize(from)?
            .into_iter()
            .map(|via| match via {
                Via::Resolver(server) => Ok(server),
                other => Err(D::Error::custom(format!("`{other}` is not a resolver"))),
            })
            .collect()
    }
}
