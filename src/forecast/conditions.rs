//! What a start of cloudflared meets in a network, as the simulation sees it.

use crate::model::{Family, ProtocolChoice, Service};

/// Everything about a network that decides how a start goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Conditions {
    /// Which protocols cloudflared may use.
    pub protocol: ProtocolChoice,
    /// What comes of the lookups.
    pub lookups: Lookups,
    /// The regions that cloudflared uses: the first two targets of the SRV record.
    pub regions: Vec<Region>,
    /// The round-trip time to the edge in seconds.
    pub round_trip_s: f64,
    /// The chance that a packet to or from the edge is lost, each way.
    pub loss: f64,
}

/// One exchange with the resolvers, as Go's resolver makes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lookup {
    /// How long it takes in seconds.
    pub seconds: f64,
    /// Whether it gives records.
    pub found: bool,
}

/// The lookups of a start.
#[derive(Debug, Clone, PartialEq)]
pub struct Lookups {
    /// A TXT record. Whether there is one does not matter.
    pub txt_s: f64,
    /// The SRV record from the system's resolvers; absent when `--edge` makes it unnecessary.
    pub srv: Option<Lookup>,
    /// The SRV record by DNS over TLS; absent when that was not tried.
    pub dot: Option<Lookup>,
    /// The addresses of each target, A and AAAA at the same time.
    pub targets: Vec<Lookup>,
    /// The chance that a question or its answer is lost: the lower and the upper bound.
    pub loss: (f64, f64),
    /// How long a lost question is waited for, in seconds.
    pub retry_s: f64,
}

/// A region of the edge: the families that cloudflared tries there, in its order.
#[derive(Debug, Clone, PartialEq)]
pub struct Region {
    /// The families, the preferred one first. From IPv6 cloudflared changes to IPv4 on an error, and back
    /// on an error of IPv4.
    pub families: Vec<Addresses>,
}

/// The addresses of a region in one family.
#[derive(Debug, Clone, PartialEq)]
pub struct Addresses {
    /// Their family.
    pub family: Family,
    /// How each address takes a dial over QUIC.
    pub quic: Vec<Dial>,
    /// How each address takes a dial over HTTP/2.
    pub http2: Vec<Dial>,
}

impl Addresses {
    pub(super) fn dials(&self, service: Service) -> &[Dial] {
        match service {
            Service::Quic => &self.quic,
            Service::Http2 | Service::Https => &self.http2,
        }
    }
}

/// How an address takes a dial.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Dial {
    /// The connection is registered.
    Passes,
    /// The dial fails after so many seconds.
    Fails(f64),
    /// Not known.
    Unknown,
}
