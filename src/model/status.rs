//! The three closed vocabularies that scripts rely on: status, cause and verdict.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is known of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Handshakes complete; no address is proven blocked.
    Reachable,
    /// Some addresses are proven blocked, others pass.
    Partial,
    /// Proven blocked.
    Blocked,
    /// This host has no such family.
    Unavailable,
    /// No address is known to probe.
    Unresolved,
    /// The evidence does not suffice for any of the others.
    Inconclusive,
    /// Not probed, because the options exclude it.
    Skipped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Reachable => "reachable",
            Self::Partial => "partial",
            Self::Blocked => "blocked",
            Self::Unavailable => "unavailable",
            Self::Unresolved => "unresolved",
            Self::Inconclusive => "inconclusive",
            Self::Skipped => "skipped",
        })
    }
}

/// How a destination is blocked, as far as the evidence proves it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Nothing came back: no reply, no ICMP, no reset.
    Dropped,
    /// An ICMP or `ICMPv6` error answered (RFC 792, RFC 4443).
    Rejected,
    /// A TCP reset answered the SYN.
    Reset,
    /// This host itself refused to send.
    LocalFirewall,
    /// The routing decision of this host forbids or does not know the way.
    NoRoute,
    /// TCP connected, then the flow was reset, closed or went silent during the handshake.
    Interrupted,
    /// The required server name is cut on an address where another one passes.
    SniFiltered,
    /// A small `ClientHello` passes, the one that cloudflared sends does not.
    LargeHelloDropped,
    /// A handshake completes with a certificate that cloudflared would not trust.
    TlsIntercepted,
    /// Something else answers: plain text, a portal, the wrong ALPN.
    NotTheEdge,
    /// UDP reaches a QUIC server, but no handshake completes.
    QuicFiltered,
    /// Datagrams of the size that cloudflared sends do not pass, smaller ones do.
    Mtu,
    /// No address known to probe.
    Dns,
    /// None of these; the original error is in the probes.
    Unknown,
}

impl Cause {
    /// Every cause, in the order of the documentation.
    pub const ALL: &'static [Self] = &[
        Self::Dropped,
        Self::Rejected,
        Self::Reset,
        Self::LocalFirewall,
        Self::NoRoute,
        Self::Interrupted,
        Self::SniFiltered,
        Self::LargeHelloDropped,
        Self::TlsIntercepted,
        Self::NotTheEdge,
        Self::QuicFiltered,
        Self::Mtu,
        Self::Dns,
        Self::Unknown,
    ];

    /// The contract's word for the cause.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dropped => "dropped",
            Self::Rejected => "rejected",
            Self::Reset => "reset",
            Self::LocalFirewall => "local_firewall",
            Self::NoRoute => "no_route",
            Self::Interrupted => "interrupted",
            Self::SniFiltered => "sni_filtered",
            Self::LargeHelloDropped => "large_hello_dropped",
            Self::TlsIntercepted => "tls_intercepted",
            Self::NotTheEdge => "not_the_edge",
            Self::QuicFiltered => "quic_filtered",
            Self::Mtu => "mtu",
            Self::Dns => "dns",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The answer to the question that the program is run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every required destination is reachable.
    Ready,
    /// A tunnel can be established, but something required is blocked.
    Degraded,
    /// No tunnel can be established with these options.
    Blocked,
    /// The evidence does not suffice.
    Inconclusive,
    /// Not asked for; only ever the status of a single protocol.
    Skipped,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Blocked => "blocked",
            Self::Inconclusive => "inconclusive",
            Self::Skipped => "skipped",
        })
    }
}
