//! What was asked of which resolver, and what it answered.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Family, Millis};

/// One question to one resolver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Lookup {
    /// The name that was asked for, without the root's dot.
    pub name: String,
    /// The record type that was asked for.
    #[serde(rename = "type")]
    pub record_type: RecordType,
    /// Who was asked.
    pub via: Via,
    /// How it ended.
    pub status: LookupStatus,
    /// The records of the asked type in the answer, in the resolver's order.
    pub answers: Vec<Answer>,
    /// Those of `answers` that are not documented for the name.
    pub unexpected: Vec<Answer>,
    /// How long the answer took, or how long it was waited for.
    pub elapsed_ms: Millis,
    /// The original error, or what was remarkable on the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Whether the answer over UDP was truncated, so that the question was asked again over TCP.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

impl Lookup {
    /// The addresses among the answers.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.answers.iter().filter_map(|answer| match answer {
            Answer::Address(address) => Some(*address),
            Answer::Service { .. } => None,
        })
    }
}

/// The record types that cloudflared asks for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum RecordType {
    /// An IPv4 address (RFC 1035).
    A,
    /// An IPv6 address (RFC 3596).
    Aaaa,
    /// A service location (RFC 2782).
    Srv,
}

impl RecordType {
    /// The type that holds a family's addresses.
    #[must_use]
    pub const fn of(family: Family) -> Self {
        match family {
            Family::Ipv4 => Self::A,
            Family::Ipv6 => Self::Aaaa,
        }
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Srv => "SRV",
        })
    }
}

/// Who was asked.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Via {
    /// A resolver of the system's configuration, or one that was given.
    Resolver(SocketAddr),
    /// DNS over TLS at 1.1.1.1:853, as cloudflared does for the SRV record.
    Dot,
    /// This host's own hosts file, which comes before every resolver.
    Hosts,
}

impl fmt::Display for Via {
    /// The port is left out where it is 53.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolver(server) if server.port() == 53 => server.ip().fmt(f),
            Self::Resolver(server) => server.fmt(f),
            Self::Dot => f.write_str("dot"),
            Self::Hosts => f.write_str("hosts"),
        }
    }
}

impl From<Via> for String {
    fn from(via: Via) -> Self {
        via.to_string()
    }
}

impl TryFrom<String> for Via {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "dot" => return Ok(Self::Dot),
            "hosts" => return Ok(Self::Hosts),
            _ => {}
        }
        let server = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
        server
            .or_else(|_| text.parse())
            .map(Self::Resolver)
            .map_err(|_| format!("`{text}` is neither a resolver's address nor `dot` nor `hosts`"))
    }
}

/// How a lookup ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LookupStatus {
    /// Records came back.
    Ok,
    /// NXDOMAIN: the resolver says that the name does not exist.
    NoSuchName,
    /// The name exists, but has no record of this type.
    NoRecords,
    /// SERVFAIL, or another code that says the resolver could not.
    ServerFailure,
    /// REFUSED: the resolver's policy forbids the question.
    Refused,
    /// No answer while we waited.
    TimedOut,
    /// The resolver itself cannot be reached: ICMP, no route, a local firewall.
    Unreachable,
    /// What came back is no answer to the question.
    Malformed,
    /// An answer that cannot be the edge: unspecified, loopback, private, 198.18.0.0/15.
    Suspicious,
}

impl LookupStatus {
    /// True when the resolver has spoken for the name, so that Go's resolver would ask no other.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::Ok | Self::NoSuchName | Self::NoRecords | Self::Suspicious
        )
    }
}

impl LookupStatus {
    /// True when nothing at all came back from the resolver.
    #[must_use]
    pub const fn is_silence(self) -> bool {
        matches!(self, Self::TimedOut | Self::Unreachable)
    }
}

impl fmt::Display for LookupStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::NoSuchName => "no such name",
            Self::NoRecords => "no records",
            Self::ServerFailure => "server failure",
            Self::Refused => "refused",
            Self::TimedOut => "timed out",
            Self::Unreachable => "unreachable",
            Self::Malformed => "malformed",
            Self::Suspicious => "suspicious",
        })
    }
}

/// One record of an answer, written as in a zone file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Answer {
    /// An A or AAAA record.
    Address(IpAddr),
    /// An SRV record.
    Service {
        /// Lower is preferred.
        priority: u16,
        /// Share among equals.
        weight: u16,
        /// The port of the service.
        port: u16,
        /// The host of the service, without the root's dot.
        target: String,
    },
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Service {
                priority,
                weight,
                port,
                target,
            } => {
                write!(f, "{priority} {weight} {port} {target}")
            }
        }
    }
}

impl From<Answer> for String {
    fn from(answer: Answer) -> Self {
        answer.to_string()
    }
}

impl TryFrom<String> for Answer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Answer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let fields: Vec<_> = text.splitn(4, ' ').collect();
        let wrong = || format!("`{text}` is neither an address nor an SRV record");
        let &[priority, weight, port, target] = fields.as_slice() else {
            return Err(wrong());
        };
        let number = |field: &str| field.parse().map_err(|_| wrong());
        Ok(Self::Service {
            priority: number(priority)?,
            weight: number(weight)?,
            port: number(port)?,
            target: target.to_owned(),
        })
    }
}
