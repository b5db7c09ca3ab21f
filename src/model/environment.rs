//! What surrounds cloudflared on this host and decides what it does, beside the network itself.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A proxy that an environment variable names, without the user and the password in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Proxy {
    /// The variable, as it is spelled in the environment (`HTTPS_PROXY`, `all_proxy`).
    pub variable: String,
    /// The scheme, `http` where none is written.
    pub scheme: String,
    /// The proxy's host; absent where the value cannot be read as a proxy.
    pub host: Option<String>,
    /// The proxy's port, where one is written.
    pub port: Option<u16>,
}

impl Proxy {
    /// Whether cloudflared's updater asks this proxy: Go's HTTP client honours `HTTPS_PROXY` for
    /// HTTPS, in either case, and not `ALL_PROXY` (`golang.org/x/net/http/httpproxy`).
    #[must_use]
    pub fn is_for_https(&self) -> bool {
        self.variable.eq_ignore_ascii_case("HTTPS_PROXY") && self.host.is_some()
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(host) = &self.host else {
            return write!(
                f,
                "{} is set to something that is not a proxy",
                self.variable
            );
        };
        let Self {
            variable, scheme, ..
        } = self;
        match self.port {
            _ if host.contains(':') => write!(f, "{variable}={scheme}://[{host}]")?,
            _ => write!(f, "{variable}={scheme}://{host}")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// The `options` of resolv.conf(5) that change what Go's resolver does, and so cloudflared's lookups
/// (Go's `net/dnsconfig_unix.go`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResolverOptions {
    /// `use-vc`: questions go over TCP from the start, and never over UDP.
    pub use_tcp: bool,
    /// `timeout`: how long one server is waited for, in seconds; 5 unless set.
    pub timeout_s: u32,
    /// `attempts`: how often the list of servers is walked; 2 unless set.
    pub attempts: u32,
}

impl Default for ResolverOptions {
    fn default() -> Self {
        Self {
            use_tcp: false,
            timeout_s: 5,
            attempts: 2,
        }
    }
}

/// How large Linux lets a socket's buffers become (`net.core.rmem_max` and `wmem_max`), in octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UdpBuffers {
    /// `net.core.rmem_max`.
    pub receive_max: u64,
    /// `net.core.wmem_max`.
    pub send_max: u64,
}
