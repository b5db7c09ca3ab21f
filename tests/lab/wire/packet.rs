//! IP packets as a middlebox reads them: addresses, ports, the payload.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Protocol numbers (RFC 5237).
pub(super) const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ICMPV6: u8 = 58;

/// TCP flags.
pub(super) const FIN: u8 = 0x01;
pub(super) const SYN: u8 = 0x02;
pub(super) const RST: u8 = 0x04;
pub(super) const PSH: u8 = 0x08;
pub(super) const ACK: u8 = 0x10;

/// The way that a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    ToEdge,
    ToClient,
}

impl Direction {
    pub(crate) const BOTH: [Self; 2] = [Self::ToEdge, Self::ToClient];

    pub(crate) fn back(self) -> Self {
        match self {
            Self::ToEdge => Self::ToClient,
            Self::ToClient => Self::ToEdge,
        }
    }
}

/// A flow, the same for both directions of its packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Flow {
    pub(super) client: SocketAddr,
    pub(super) edge: SocketAddr,
}

/// What is known of a packet's transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp {
        sequence: u32,
        acknowledged: u32,
        flags: u8,
    },
    /// An ICMP or `ICMPv6` message that reports an error.
    IcmpError,
    Other,
}

/// One IP packet on the wire.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub(super) bytes: Vec<u8>,
    pub(super) direction: Direction,
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) transport: Transport,
    /// Where the transport's payload begins.
    payload_at: usize,
}

impl Packet {
    /// None for what is no IP packet. Fragments and IPv6 extension headers, which nothing in the
    /// laboratory sends, count as [`Transport::Other`].
    pub(super) fn read(bytes: Vec<u8>, direction: Direction) -> Option<Self> {
        let (source, destination, protocol, header, length) = match bytes.first()? >> 4 {
            4 => ipv4(&bytes)?,
            6 => ipv6(&bytes)?,
            _ => return None,
        };
        let mut bytes = bytes;
        // A link may pad short frames.
        bytes.truncate(length);
        let (transport, ports, payload_at) =
            transport(protocol, bytes.get(header..)?).unwrap_or((Transport::Other, (0, 0), 0));
        Some(Self {
            direction,
            source: SocketAddr::new(source, ports.0),
            destination: SocketAddr::new(destination, ports.1),
            transport,
            payload_at: header + payload_at,
            bytes,
        })
    }

    pub(super) fn payload(&self) -> &[u8] {
        self.bytes.get(self.payload_at..).unwrap_or_default()
    }

    pub(super) fn flow(&self) -> Flow {
        match self.direction {
            Direction::ToEdge => Flow {
                client: self.source,
                edge: self.destination,
            },
            Direction::ToClient => Flow {
                client: self.destination,
                edge: self.source,
            },
        }
    }

    /// Whether this belongs to a flow between the client and this port of the edge.
    pub(super) fn is(&self, transport: &str, port: u16) -> bool {
        let right = match self.transport {
            Transport::Udp => transport == "udp",
            Transport::Tcp { .. } => transport == "tcp",
            Transport::IcmpError | Transport::Other => false,
        };
        right && self.flow().edge.port() == port
    }
}

type Network = (IpAddr, IpAddr, u8, usize, usize);

fn ipv4(bytes: &[u8]) -> Option<Network> {
    let header = usize::from(bytes[0] & 0x0f) * 4;
    let length = usize::from(be16(bytes, 2)?);
    let is_fragment = be16(bytes, 6)? & 0x3fff != 0;
    let address = |at: usize| -> Option<IpAddr> {
        let octets: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(Ipv4Addr::from(octets).into())
    };
    let protocol = if is_fragment { 0 } else { *bytes.get(9)? };
    Some((address(12)?, address(16)?, protocol, header, length))
}

fn ipv6(bytes: &[u8]) -> Option<Network> {
    let length = usize::from(be16(bytes, 4)?) + 40;
    let address = |at: usize| -> Option<IpAddr> {
        let octets: [u8; 16] = bytes.get(at..at + 16)?.try_into().ok()?;
        Some(Ipv6Addr::from(octets).into())
    };
    Some((address(8)?, address(24)?, *bytes.get(6)?, 40, length))
}

/// The transport, its ports and the length of its header.
fn transport(protocol: u8, bytes: &[u8]) -> Option<(Transport, (u16, u16), usize)> {
    let ports = || Some((be16(bytes, 0)?, be16(bytes, 2)?));
    match protocol {
        UDP => Some((Transport::Udp, ports()?, 8)),
        TCP => {
            let tcp = Transport::Tcp {
                sequence: be32(bytes, 4)?,
                acknowledged: be32(bytes, 8)?,
                flags: *bytes.get(13)?,
            };
            Some((tcp, ports()?, usize::from(bytes.get(12)? >> 4) * 4))
        }
        // Destination unreachable, source quench, time exceeded, parameter problem.
        ICMP if [3, 4, 11, 12].contains(bytes.first()?) => Some((Transport::IcmpError, (0, 0), 8)),
        // Errors have the numbers below 128 (RFC 4443, section 2.1).
        ICMPV6 if *bytes.first()? < 128 => Some((Transport::IcmpError, (0, 0), 8)),
        _ => None,
    }
}

pub(super) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
