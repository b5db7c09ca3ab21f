//! Families, transports and services.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An IP version. The two never merge: each has its own rows, routes and firewall rules.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Internet Protocol version 4.
    Ipv4,
    /// Internet Protocol version 6.
    Ipv6,
}

impl Family {
    /// Both families, in the order in which reports list them.
    pub const BOTH: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    /// The family that `address` belongs to.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

/// The transport protocol that a firewall rule would name.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Transmission Control Protocol.
    Tcp,
    /// User Datagram Protocol.
    Udp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

/// What is spoken to a destination.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// The tunnel over QUIC.
    Quic,
    /// The tunnel over TLS and HTTP/2, in which the edge is the HTTP/2 client.
    Http2,
    /// An ordinary HTTPS server: updates, the management interface.
    Https,
}

impl Service {
    /// The transport that the service runs over.
    #[must_use]
    pub const fn transport(self) -> Transport {
        match self {
            Self::Quic => Transport::Udp,
            Self::Http2 | Self::Https => Transport::Tcp,
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Quic => "quic",
            Self::Http2 => "http2",
            Self::Https => "https",
        })
    }
}

/// Whether a tunnel needs the destination.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Requirement {
    /// Its loss degrades or prevents the tunnel.
    Required,
    /// Its loss costs a convenience, such as updates.
    Optional,
}

/// A duration in milliseconds, with two decimals in reports.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(from = "f64", into = "f64")]
#[schemars(with = "f64")]
pub struct Millis(f64);

impl Millis {
    /// The duration in milliseconds.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }

    /// The duration in seconds.
    #[must_use]
    pub fn secs(self) -> f64 {
        self.0 / 1000.0
    }
}

impl From<Duration> for Millis {
    fn from(duration: Duration) -> Self {
        Self::from(duration.as_secs_f64() * 1000.0)
    }
}

impl From<f64> for Millis {
    /// A saved report may hold anything that JSON calls a number; what is no duration becomes 0.
    fn from(ms: f64) -> Self {
        // More than thirty years, or infinite, or not a number.
        if ms > 0.0 && ms < 1e12 {
            Self((ms * 100.0).round() / 100.0)
        } else {
            Self(0.0)
        }
    }
}

impl From<Millis> for f64 {
    fn from(millis: Millis) -> Self {
        millis.0
    }
}

impl fmt::Display for Millis {
    /// Three significant figures are what a round trip deserves: `0.21 ms`, `21 ms`, `1.2 s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            ms if ms < 1.0 => format!("{ms:.2} ms"),
            ms if ms < 10.0 => format!("{ms:.1} ms"),
            ms if ms < 1000.0 => format!("{ms:.0} ms"),
            ms => format!("{:.1} s", ms / 1000.0),
        };
        f.pad(&text)
    }
}
