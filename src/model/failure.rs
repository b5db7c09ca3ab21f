//! The closed vocabulary of what can go wrong with one attempt, with the original error kept beside.

use std::fmt;
use std::io;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An operating-system error as it was returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OsError {
    /// The raw error number (`errno`, `WSAGetLastError`), where there is one.
    pub code: Option<i32>,
    /// The system's own words.
    pub text: String,
}

impl OsError {
    /// Whether this host had no socket, port or memory to spare, which says nothing of the network:
    /// `EMFILE`, `ENFILE`, `ENOMEM`, `ENOBUFS` of Linux, and `WSAEMFILE`, `WSAEADDRINUSE`, `WSAENOBUFS`.
    #[must_use]
    pub const fn is_shortage(&self) -> bool {
        matches!(
            self.code,
            Some(12 | 23 | 24 | 105 | 10_024 | 10_048 | 10_055)
        )
    }
}

impl From<&io::Error> for OsError {
    fn from(error: &io::Error) -> Self {
        Self {
            code: error.raw_os_error(),
            text: error.to_string(),
        }
    }
}

impl fmt::Display for OsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// An ICMP (RFC 792) or `ICMPv6` (RFC 4443) error that the kernel matched to one of our packets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct IcmpError {
    /// 4 for ICMP, 6 for `ICMPv6`.
    pub version: u8,
    /// The message type.
    #[serde(rename = "type")]
    pub kind: u8,
    /// The message code.
    pub code: u8,
    /// Who sent it, where the kernel tells.
    pub from: Option<IpAddr>,
    /// The next hop's MTU in octets, in a fragmentation-needed or packet-too-big message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
}

#[cfg(test)]
impl IcmpError {
    /// An ICMP error of nobody in particular.
    pub(crate) const fn v4(kind: u8, code: u8) -> Self {
        Self {
            version: 4,
            kind,
            code,
            from: None,
            mtu: None,
        }
    }
}

impl IcmpError {
    /// A port unreachable of an unknown sender.
    #[must_use]
    pub const fn port_unreachable(ipv6: bool) -> Self {
        Self::of_nobody(ipv6, (3, 3), (1, 4))
    }

    /// An unreachable network, or no route, of an unknown sender.
    #[must_use]
    pub const fn net_unreachable(ipv6: bool) -> Self {
        Self::of_nobody(ipv6, (3, 0), (1, 0))
    }

    const fn of_nobody(ipv6: bool, v4: (u8, u8), v6: (u8, u8)) -> Self {
        let (version, (kind, code)) = if ipv6 { (6, v6) } else { (4, v4) };
        Self {
            version,
            kind,
            code,
            from: None,
            mtu: None,
        }
    }

    /// The RFCs' words for the type and code.
    #[must_use]
    pub const fn meaning(&self) -> &'static str {
        match (self.version, self.kind, self.code) {
            (4, 3, 0) => "net unreachable",
            (4, 3, 1) => "host unreachable",
            (4, 3, 2) => "protocol unreachable",
            (4, 3, 3) | (6, 1, 4) => "port unreachable",
            (4, 3, 4) => "fragmentation needed and DF set",
            (4, 3, 5) => "source route failed",
            (4, 3, 6) => "destination network unknown",
            (4, 3, 7) => "destination host unknown",
            (4, 3, 9) => "network administratively prohibited",
            (4, 3, 10) => "host administratively prohibited",
            (4, 3, 13) => "communication administratively prohibited",
            (4, 11, _) => "time to live exceeded",
            (6, 1, 0) => "no route to destination",
            (6, 1, 1) => "communication with destination administratively prohibited",
            (6, 1, 2) => "beyond scope of source address",
            (6, 1, 3) => "address unreachable",
            (6, 1, 5) => "source address failed ingress/egress policy",
            (6, 1, 6) => "reject route to destination",
            (6, 2, _) => "packet too big",
            (6, 3, _) => "hop limit exceeded",
            _ => "unassigned type or code",
        }
    }

    /// True for what a closed UDP port, or a firewall in its place, says.
    #[must_use]
    pub const fn is_port_unreachable(&self) -> bool {
        matches!((self.version, self.kind, self.code), (4, 3, 3) | (6, 1, 4))
    }

    /// True for host and address unreachable, which a host also says to itself where the next hop does
    /// not answer ARP or neighbour discovery.
    #[must_use]
    pub const fn is_host_unreachable(&self) -> bool {
        matches!((self.version, self.kind, self.code), (4, 3, 1) | (6, 1, 3))
    }

    /// True for fragmentation-needed and packet-too-big: the path is narrow, not closed.
    #[must_use]
    pub const fn is_too_big(&self) -> bool {
        matches!((self.version, self.kind, self.code), (4, 3, 4) | (6, 2, _))
    }
}

impl fmt::Display for IcmpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.version == 6 { "ICMPv6" } else { "ICMP" };
        write!(
            f,
            "{name} type {} code {} ({})",
            self.kind,
            self.code,
            self.meaning()
        )?;
        self.from.map_or(Ok(()), |from| write!(f, " from {from}"))
    }
}

/// Why the first packet of a flow got no proper answer from the other side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum ContactFailure {
    /// Nothing came back while we waited: a silent drop, loss, or a slow path.
    Silent,
    /// A TCP reset answered the SYN: no listener, or a firewall that says so.
    Reset,
    /// An ICMP error from another machine answered: a rejecting firewall or a router without a route.
    Icmp {
        /// The error with the address that sent it.
        icmp: IcmpError,
    },
    /// This host's own packet filter refused the packet.
    LocalFirewall {
        /// The error of the system call, or what the error queue held.
        error: OsError,
        /// The ICMP error that this host sent to itself, where it did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        icmp: Option<IcmpError>,
    },
    /// The routing decision of this host has no way, or forbids it.
    NoRoute {
        /// The error of the system call.
        error: OsError,
    },
    /// The datagram is larger than this host's own interface carries.
    TooBig {
        /// The error of the system call.
        error: OsError,
    },
    /// An error that names no cause, such as exhausted file descriptors.
    Other {
        /// The original error.
        error: OsError,
    },
}

/// Why a flow whose other side had answered did not become a handshake that cloudflared accepts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum HandshakeFailure {
    /// The other side went silent after it had answered once: a tarpit or a filter.
    Silent,
    /// The connection was reset during the handshake.
    Reset,
    /// The connection was closed in order during the handshake.
    Closed,
    /// The handshake completed with a certificate that cloudflared would not trust.
    Untrusted {
        /// Who presents it, and what is wrong with it.
        chain: Box<UntrustedChain>,
    },
    /// What came back is no TLS, or no QUIC: a plain-text portal or another protocol.
    NotTls {
        /// The first bytes, printable characters only.
        received: String,
        /// The HTTP status, when it reads as an HTTP response.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        http_status: Option<u16>,
        /// The Location header of such a response: where a portal wants to lead.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        location: Option<String>,
    },
    /// The other side asked for a key exchange group that was not offered, in a `HelloRetryRequest`
    /// (RFC 8446, section 4.1.4), which ends the handshake.
    GroupNotOffered {
        /// The library's own words.
        error: String,
    },
    /// A TLS alert refused the handshake (RFC 8446, section 6).
    Alert {
        /// The alert's name or number.
        alert: String,
    },
    /// A TLS or QUIC server without the tunnel's application protocol answers.
    WrongAlpn,
    /// A QUIC server answers, but speaks no version of ours (RFC 9000, section 6).
    VersionNegotiation,
    /// The other side ended a QUIC connection attempt with a transport error.
    Refused {
        /// The library's words, with the error code of RFC 9000, section 20.
        error: String,
    },
    /// An error that names no cause.
    Other {
        /// The library's words.
        error: String,
    },
}

/// A certificate chain that cloudflared would refuse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UntrustedChain {
    /// The verifier's reason, such as an unknown issuer or an expired certificate.
    pub reason: String,
    /// What kind of reason it is.
    pub kind: DistrustKind,
    /// The subject of the leaf.
    pub subject: String,
    /// The issuer of the leaf: the interceptor's name, as a rule.
    pub issuer: String,
    /// Start of the leaf's validity (RFC 3339).
    pub not_before: Option<String>,
    /// End of the leaf's validity (RFC 3339).
    pub not_after: Option<String>,
    /// Subjects of the certificates above the leaf, as presented.
    #[serde(default)]
    pub above: Vec<String>,
}

impl DistrustKind {
    /// True when the certificate would be good at another time.
    #[must_use]
    pub const fn is_about_time(self) -> bool {
        matches!(self, Self::Expired | Self::NotYetValid)
    }
}

/// The kinds of distrust that lead to different advice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DistrustKind {
    /// No trusted root signed the chain.
    UnknownIssuer,
    /// The certificate is for other names.
    WrongName,
    /// The certificate has expired by this host's clock.
    Expired,
    /// The certificate is not valid yet by this host's clock.
    NotYetValid,
    /// Anything else, such as a bad signature.
    Invalid,
}
