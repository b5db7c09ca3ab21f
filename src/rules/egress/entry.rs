//! One destination of the rules, and its addresses.

use std::fmt;
use std::net::IpAddr;

use crate::model::{Family, Requirement, Transport};
use crate::rules::text::HostName;

/// One host over one transport: its addresses are what a packet filter can match.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The host's name; for resolvers, `resolver`.
    pub host: HostName,
    /// The transport.
    pub transport: Transport,
    /// The destination port.
    pub port: u16,
    /// What is spoken there.
    pub purpose: Purpose,
    /// Whether a tunnel needs it.
    pub requirement: Requirement,
    /// The names in the `ClientHello` for firewalls that look at them (RFC 6066); none for plain DNS.
    pub server_names: Vec<HostName>,
    /// What it is for, in a few words.
    pub reason: String,
    /// Each address once, IPv4 before IPv6, in ascending order. May be empty: a note says why.
    pub addresses: Vec<Address>,
}

impl Entry {
    /// The addresses of one family.
    pub fn of(&self, family: Family) -> impl Iterator<Item = Address> + '_ {
        let of_family = move |a: &&Address| Family::of(a.ip) == family;
        self.addresses.iter().filter(of_family).copied()
    }

    /// The transport as rules write it.
    #[must_use]
    pub const fn protocol(&self) -> &'static str {
        match self.transport {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        }
    }

    /// Host, purpose and requirement in one line, for a comment beside the rule.
    #[must_use]
    pub fn label(&self) -> String {
        let optional = match self.requirement {
            Requirement::Required => "",
            Requirement::Optional => ", optional",
        };
        format!("{}: {}{optional}", self.host, self.purpose)
    }
}

/// What is spoken to a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The lookups of cloudflared's names.
    Dns,
    /// The tunnel over QUIC.
    Quic,
    /// The tunnel over TLS and HTTP/2.
    Http2,
    /// Updates, the management interface, Access.
    Https,
    /// The second way to the SRV record.
    DnsOverTls,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Dns => "dns",
            Self::Quic => "quic",
            Self::Http2 => "http2",
            Self::Https => "https",
            Self::DnsOverTls => "dns over tls",
        })
    }
}

/// An address with what is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where an address comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// DNS answers with it and, where addresses are documented, so does the documentation.
    Answered,
    /// Documented; DNS was not asked or has not answered.
    Documented,
    /// Documented, and DNS answers without it: about to go, or kept for later.
    NoLongerAnswered,
    /// DNS answers with it, and the documentation of this name lacks it: new, or a wrong answer.
    NotDocumented,
    /// Given by hand, or by this host's configuration.
    Given,
}

impl Origin {
    /// What to say beside the address, where there is something to say.
    #[must_use]
    pub const fn remark(self) -> Option<&'static str> {
        match self {
            Self::Answered | Self::Documented | Self::Given => None,
            Self::NoLongerAnswered => Some("documented, but not in today's DNS answer"),
            Self::NotDocumented => Some("in today's DNS answer, but not documented"),
        }
    }
}
