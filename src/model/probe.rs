//! One attempt at one address, and how it ended.

use std::net::IpAddr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ContactFailure, Family, HandshakeFailure, IcmpError, Millis, Moment, OsError, Service,
    Transport,
};

/// One attempt: a fresh flow to one address with one first flight. Retries are attempts of their
/// own, so that no success erases a failure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// The host of the destination that it was made for. Read from the report's destinations where a
    /// report was written before attempts knew it.
    #[serde(default)]
    pub host: String,
    /// What it was made to find out; as for `host`.
    #[serde(default)]
    pub role: Role,
    /// Where the flow went.
    pub address: IpAddr,
    /// The destination port.
    pub port: u16,
    /// The transport of the flow.
    pub transport: Transport,
    /// The server name in the `ClientHello` (RFC 6066), and nothing that DNS was asked for; empty
    /// where no hello was sent.
    pub sni: String,
    /// Which first flight was sent.
    pub profile: Profile,
    /// The ordinal of the attempt at this address with this name and profile, from 1.
    pub attempt: u32,
    /// Start, since the start of the run.
    pub started_ms: Millis,
    /// How long the attempt lasted, or how long it had waited when it was given up.
    pub elapsed_ms: Millis,
    /// Time to the first answer: the TCP handshake, or the first datagram that came back.
    pub contact_ms: Option<Millis>,
    /// Time to the end of the TLS or QUIC handshake.
    pub handshake_ms: Option<Millis>,
    /// UDP datagrams sent; absent for TCP, whose segments the kernel counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<u32>,
    /// UDP datagrams received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<u32>,
    /// Socket errors on the way that did not end the attempt, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stray: Vec<StrayError>,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
}

impl Attempt {
    /// The family of the address.
    #[must_use]
    pub const fn family(&self) -> Family {
        Family::of(self.address)
    }

    /// True when the handshake completed with a certificate that cloudflared trusts.
    #[must_use]
    pub const fn passed(&self) -> bool {
        matches!(self.outcome, Outcome::Secured { .. })
    }

    /// What it speaks.
    #[must_use]
    pub const fn service(&self) -> Service {
        match (self.transport, self.profile) {
            (Transport::Udp, _) => Service::Quic,
            (Transport::Tcp, Profile::Https) => Service::Https,
            (Transport::Tcp, _) => Service::Http2,
        }
    }

    /// When it began.
    #[must_use]
    pub fn started(&self) -> Moment {
        Moment::after(self.started_ms.duration())
    }

    /// How long it lasted, or has lasted so far.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.elapsed_ms.duration()
    }

    /// When it ended.
    #[must_use]
    pub fn ended(&self) -> Moment {
        self.started() + self.elapsed()
    }

    /// How long its first answer took.
    #[must_use]
    pub fn contact(&self) -> Option<Duration> {
        self.contact_ms.map(Millis::duration)
    }

    /// When it was first answered.
    #[must_use]
    pub fn answered(&self) -> Option<Moment> {
        Some(self.started() + self.contact()?)
    }

    /// How long the handshake took once the other side had answered.
    #[must_use]
    pub fn handshake_after_contact(&self) -> Option<Duration> {
        let whole = self.handshake_ms?.duration();
        Some(whole.saturating_sub(self.contact()?))
    }

    /// True when another machine sent an ICMP error on the way that is not about the size.
    #[must_use]
    pub fn met_rejection(&self) -> bool {
        self.stray_icmp().any(|icmp| !icmp.is_too_big())
    }

    /// True when another machine said on the way that the packet is too big.
    #[must_use]
    pub fn met_too_big(&self) -> bool {
        self.stray_icmp().any(IcmpError::is_too_big)
    }

    fn stray_icmp(&self) -> impl Iterator<Item = &IcmpError> {
        let remote = self.stray.iter().filter(|stray| !stray.local);
        remote.filter_map(|stray| stray.icmp.as_ref())
    }
}

/// A socket error that surfaced while an attempt went on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StrayError {
    /// When, since the start of the attempt.
    pub at_ms: Millis,
    /// The ICMP error behind it, where the error queue held one.
    pub icmp: Option<IcmpError>,
    /// True when this host itself is the sender of the ICMP error, or refused the packet.
    pub local: bool,
    /// The error as the system put it.
    pub error: OsError,
}

/// What an attempt is made to find out. It decides the server name and the first flight.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Whether the destination passes: with the tunnel's own server name, or the HTTPS host's.
    #[default]
    Tunnel,
    /// Whether the server name of cloudflared's pre-checks passes.
    Probe,
    /// Whether a documented server name passes that decides nothing.
    Documented,
    /// How the destination is blocked: a first flight that differs from the tunnel's on purpose, and
    /// decides nothing. Written as the name of the flight.
    #[serde(untagged)]
    Experiment(Profile),
}

impl Role {
    /// Whether attempts in this role say whether an address is blocked.
    #[must_use]
    pub const fn decides(self) -> bool {
        matches!(self, Self::Tunnel | Self::Probe)
    }
}

/// Which first flight a probe sends.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// cloudflared's own: a post-quantum `ClientHello` larger than one packet.
    Cloudflared,
    /// An ordinary HTTPS client's.
    Https,
    /// cloudflared's but for the hello: a classical one that fits into one packet.
    SmallHello,
    /// cloudflared's in smaller packets: UDP payloads of 1200 octets, TCP segments of 1000.
    SmallPackets,
    /// cloudflared's but for the server name, which is nobody's.
    ControlName,
    /// A datagram as large as cloudflared's, of a QUIC version that nobody speaks: a QUIC server
    /// answers with Version Negotiation (RFC 9000, section 6).
    VersionPing,
}

impl Profile {
    /// True for a first flight that differs from the tunnel's on purpose, in one thing: it tells how
    /// a destination is blocked, and never whether.
    #[must_use]
    pub const fn is_experiment(self) -> bool {
        match self {
            Self::Cloudflared | Self::Https => false,
            Self::SmallHello | Self::SmallPackets | Self::ControlName | Self::VersionPing => true,
        }
    }
}

/// How an attempt ended. "Blocked" is concluded from outcomes, never one of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The handshake completed with a certificate that cloudflared trusts.
    Secured {
        /// What was learned of the other side.
        secured: Secured,
    },
    /// The other side answered, and then no acceptable handshake came about.
    Unsecured {
        /// What happened instead.
        failure: HandshakeFailure,
    },
    /// No proper answer to the first packet.
    Unanswered {
        /// What happened instead.
        failure: ContactFailure,
    },
    /// Given up before it could tell anything, because the question was settled or the run ended.
    Abandoned,
}

/// What a completed handshake tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Secured {
    /// TLS version, as `TLSv1_3`.
    pub version: String,
    /// The negotiated key exchange group.
    pub group: Option<String>,
    /// The negotiated application protocol.
    pub alpn: Option<String>,
    /// Issuer of the leaf certificate.
    pub issuer: String,
    /// http2 only: whether the edge's HTTP/2 preface arrived while we waited for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preface: Option<bool>,
    /// https only: the status of the HTTP response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// https only: what went wrong after the handshake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_error: Option<String>,
}
