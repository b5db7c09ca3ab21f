//! What a run is asked to do.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The options of the run that decide what is probed and how it is judged.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of the command line and a member of the report"
)]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Options {
    /// Which transports cloudflared may use.
    pub protocol: ProtocolChoice,
    /// Which families cloudflared may use.
    pub edge_ip_version: IpVersionChoice,
    /// The regional service, if not the global one.
    pub region: Option<Region>,
    /// Edge addresses given by hand, which replace discovery.
    pub edge: Vec<EdgeAddress>,
    /// The local address to bind probes of the edge to.
    pub edge_bind_address: Option<IpAddr>,
    /// The file of certificate authorities that replaces all others, if any.
    pub cacert: Option<String>,
    /// The Zero Trust team whose Access host is probed too.
    pub team: Option<String>,
    /// Whether the optional hosts are probed; those of `--optional-host` are in any case.
    pub optional: bool,
    /// The optional hosts that are probed, but for the team's, in the order of the report. Absent in
    /// reports that were written before this list was part of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional_hosts: Option<Vec<OptionalHost>>,
    /// Whether the key exchange must be post-quantum (`--post-quantum`).
    #[serde(default)]
    pub post_quantum: bool,
    /// Resolvers given by hand, which replace the system's.
    pub resolver: Vec<SocketAddr>,
    /// The budget of the whole check in seconds.
    pub timeout_s: f64,
    /// `degraded` exits 0.
    pub allow_degraded: bool,
    /// An optional destination counts like a required one.
    pub strict: bool,
}

impl Options {
    /// Everything that cloudflared may use, for at most 10 s; the optional hosts are not listed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            protocol: ProtocolChoice::Auto,
            edge_ip_version: IpVersionChoice::Auto,
            region: None,
            edge: Vec::new(),
            edge_bind_address: None,
            cacert: None,
            team: None,
            optional: true,
            optional_hosts: None,
            post_quantum: false,
            resolver: Vec::new(),
            timeout_s: 10.0,
            allow_degraded: false,
            strict: false,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

/// An optional host of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OptionalHost {
    /// The host's name.
    pub name: String,
    /// Whether the user named it (`--optional-host`), so that it counts for `--strict`.
    pub asked: bool,
}

/// Which transports cloudflared may use (`--protocol`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProtocolChoice {
    /// QUIC first, HTTP/2 when it fails.
    Auto,
    /// QUIC only.
    Quic,
    /// HTTP/2 only.
    Http2,
}

impl ProtocolChoice {
    /// All of them, in the order of the help.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Quic, Self::Http2];

    /// The word of `--protocol`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Quic => "quic",
            Self::Http2 => "http2",
        }
    }
}

impl FromStr for ProtocolChoice {
    type Err = UnknownChoice;

    fn from_str(text: &str) -> Result<Self, UnknownChoice> {
        let mut all = Self::ALL.into_iter();
        all.find(|choice| choice.as_str() == text)
            .ok_or(UnknownChoice)
    }
}

/// Which families cloudflared may use (`--edge-ip-version`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IpVersionChoice {
    /// The family that RFC 6724 sorts first; from IPv6 it falls back to IPv4.
    #[serde(rename = "auto")]
    Auto,
    /// IPv4 only.
    #[serde(rename = "4")]
    V4,
    /// IPv6 only.
    #[serde(rename = "6")]
    V6,
}

impl IpVersionChoice {
    /// All of them, in the order of the help.
    pub const ALL: [Self; 3] = [Self::Auto, Self::V4, Self::V6];

    /// The word of `--edge-ip-version`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::V4 => "4",
            Self::V6 => "6",
        }
    }
}

impl FromStr for IpVersionChoice {
    type Err = UnknownChoice;

    fn from_str(text: &str) -> Result<Self, UnknownChoice> {
        let mut all = Self::ALL.into_iter();
        all.find(|choice| choice.as_str() == text)
            .ok_or(UnknownChoice)
    }
}

/// The word is not one of the choices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not one of the choices")]
pub struct UnknownChoice;

/// A regional service (`--region`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Region {
    /// United States.
    Us,
    /// FedRAMP.
    Fed,
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Us => "us",
            Self::Fed => "fed",
        })
    }
}

/// A `HOST:PORT` of `--edge`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct EdgeAddress {
    /// A host name or an address.
    pub host: String,
    /// The port, never 0.
    pub port: u16,
}

impl fmt::Display for EdgeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl From<EdgeAddress> for String {
    fn from(edge: EdgeAddress) -> Self {
        edge.to_string()
    }
}

impl TryFrom<String> for EdgeAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for EdgeAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return match address.port() {
                0 => Err(format!(
                    "`{text}` has port 0; cloudflared's edge listens on 7844"
                )),
                port => Ok(Self {
                    host: address.ip().to_string(),
                    port,
                }),
            };
        }
        let (host, port) = text
            .rsplit_once(':')
            .filter(|(host, _)| !host.contains(':'))
            .ok_or_else(|| {
                format!("`{text}` is not HOST:PORT, such as region1.v2.argotunnel.com:7844")
            })?;
        let port = match port.parse() {
            Ok(0) | Err(_) => return Err(format!("`{port}` is not a port number from 1 to 65535")),
            Ok(port) => port,
        };
        let host = host.trim_end_matches('.');
        if !is_host_name(host) {
            return Err(format!("`{host}` is not a host name"));
        }
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

/// Letters, digits, hyphens and underscores in labels of 1 to 63, 253 bytes in all (RFC 1035, 2782).
pub(crate) fn is_host_name(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}
