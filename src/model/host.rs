//! The host itself, as far as it decides what cloudflared does.

use std::fmt;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Family, Proxy, ResolverOptions, Systemd, UdpBuffers};

/// What this host is, as far as it decides what cloudflared does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Host {
    /// The host's own name, where the system tells it.
    pub name: Option<String>,
    /// Operating system, in Rust's words (`linux`, `windows`, `macos`).
    pub os: String,
    /// Processor architecture, in Rust's words (`x86_64`, `aarch64`).
    pub arch: String,
    /// The IPv4 side of the host.
    pub ipv4: FamilyState,
    /// The IPv6 side of the host.
    pub ipv6: FamilyState,
    /// How many certificate authorities the system trusts; 0 means that no HTTPS server can be judged.
    pub trusted_roots: usize,
    /// The proxies that the environment names, which cloudflared ignores for the tunnel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proxies: Vec<Proxy>,
    /// How large the kernel lets a socket's buffers become, where it tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub udp_buffers: Option<UdpBuffers>,
    /// The options of the system's resolver configuration, where they are not the usual ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolver_options: Option<ResolverOptions>,
    /// Present where systemd runs the services of this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub systemd: Option<Systemd>,
}

impl Host {
    /// The state of one family.
    #[must_use]
    pub const fn family(&self, family: Family) -> &FamilyState {
        match family {
            Family::Ipv4 => &self.ipv4,
            Family::Ipv6 => &self.ipv6,
        }
    }

    /// Whether its system asks the resolvers of all networks that it is in ([`asks_all_resolvers`]).
    #[must_use]
    pub fn asks_all_resolvers(&self) -> bool {
        asks_all_resolvers(&self.os)
    }

    /// Whether its system keeps a TCP reset that answers a SYN to itself for a while, and tries again.
    #[must_use]
    pub fn tells_resets_late(&self) -> bool {
        self.os == WINDOWS
    }
}

/// How Rust calls the system ([`std::env::consts::OS`]).
const WINDOWS: &str = "windows";

/// Whether a system asks the resolvers of all networks that it is in, and takes what any of them gives,
/// whatever the others deny. `os` is its name in [`std::env::consts::OS`].
#[must_use]
pub fn asks_all_resolvers(os: &str) -> bool {
    os == WINDOWS
}

/// Whether the host has a family, by its routing table alone: nothing is sent to find out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum FamilyState {
    /// There is a usable address; `source` is the one that the routing decision picks for the edge,
    /// absent where a route forbids the edge itself.
    Available {
        /// The local address that packets to the edge would carry.
        source: Option<IpAddr>,
    },
    /// The host has no such family.
    Unavailable {
        /// What is missing.
        why: NoFamily,
    },
}

impl FamilyState {
    /// True when the host has the family.
    #[must_use]
    pub const fn is_available(&self) -> bool {
        matches!(self, Self::Available { .. })
    }

    /// The source address for the edge, where there is one.
    #[must_use]
    pub const fn source(&self) -> Option<IpAddr> {
        match self {
            Self::Available { source } => *source,
            Self::Unavailable { .. } => None,
        }
    }
}

/// What keeps a family from being available.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoFamily {
    /// No interface has an address that reaches beyond the local network
    /// (for IPv6 a unique local address, RFC 4193, does not count).
    NoGlobalAddress,
    /// There is an address, but no route leads to the edge.
    NoRoute,
}

impl fmt::Display for NoFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoGlobalAddress => "no global address",
            Self::NoRoute => "no route",
        })
    }
}
