//! Packets that a middlebox makes up: TCP segments and ICMP errors, with right checksums.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::packet::{self, Packet};

/// Who signs the ICMP errors of a box: a hop between the router and the edge. The router's own
/// address would not do, since a router drops what comes from outside in its own name.
const BOX_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 2, 3));
const BOX_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2a01, 0x4f8, 2, 0, 0, 0, 0, 3));

const TIME_TO_LIVE: u8 = 60;
/// What an `ICMPv6` error may quote without exceeding the minimum MTU (RFC 4443, section 2.4); an
/// ICMP error of IPv4 gets along with less (RFC 1812, section 4.3.2.3).
const QUOTE_V6: usize = 1280 - 40 - 8;
const QUOTE_V4: usize = 576 - 20 - 8;

/// The kinds of ICMP errors that boxes send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Error {
    PortUnreachable,
    AdminProhibited,
    /// The datagram is too big for what follows; with the MTU.
    TooBig(u16),
}

/// An ICMP error about a packet, addressed to its sender.
pub(super) fn icmp_error(about: &Packet, error: Error) -> Vec<u8> {
    let sender = about.source.ip();
    match sender {
        IpAddr::V4(_) => {
            let (code, mtu) = match error {
                Error::PortUnreachable => (3, 0),
                Error::AdminProhibited => (13, 0),
                Error::TooBig(mtu) => (4, mtu),
            };
            let body = icmp_body([3, code], mtu, about, QUOTE_V4);
            network(BOX_V4, sender, packet::ICMP, body, 2, false)
        }
        IpAddr::V6(_) => {
            let (kind, mtu) = match error {
                Error::PortUnreachable => ([1, 4], 0),
                Error::AdminProhibited => ([1, 1], 0),
                Error::TooBig(mtu) => ([2, 0], mtu),
            };
            let body = icmp_body(kind, mtu, about, QUOTE_V6);
            network(BOX_V6, sender, packet::ICMPV6, body, 2, true)
        }
    }
}

/// Type and code, room for the checksum, the MTU in the lower half of the next four octets (which
/// is where both versions have it), the quotation.
fn icmp_body(kind: [u8; 2], mtu: u16, about: &Packet, quote: usize) -> Vec<u8> {
    let quoted = &about.bytes[..about.bytes.len().min(quote)];
    [&kind[..], &[0, 0, 0, 0], &mtu.to_be_bytes(), quoted].concat()
}

/// A TCP segment without options.
pub(super) fn segment(
    source: SocketAddr,
    destination: SocketAddr,
    sequence: u32,
    acknowledged: u32,
    flags: u8,
    payload: &[u8],
) -> Vec<u8> {
    let body = [
        &source.port().to_be_bytes()[..],
        &destination.port().to_be_bytes(),
        &sequence.to_be_bytes(),
        &acknowledged.to_be_bytes(),
        &[5 << 4, flags],
        &0xffff_u16.to_be_bytes(),
        &[0; 4],
        payload,
    ]
    .concat();
    network(source.ip(), destination.ip(), packet::TCP, body, 16, true)
}

/// Puts an IP header before `body`, whose checksum belongs at `checksum_at` and covers the
/// pseudo-header where the protocol says so.
fn network(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    mut body: Vec<u8>,
    checksum_at: usize,
    pseudo_header: bool,
) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("a small packet");
    let mut sum = Sum::default();
    if pseudo_header {
        sum.add(&octets(source));
        sum.add(&octets(destination));
        sum.add(&[0, protocol]);
        sum.add(&length.to_be_bytes());
    }
    sum.add(&body);
    body[checksum_at..checksum_at + 2].copy_from_slice(&sum.finish());
    let mut header = match source {
        IpAddr::V4(_) => {
            let mut header = vec![0x45, 0];
            header.extend((length + 20).to_be_bytes());
            header.extend([0, 0, 0x40, 0, TIME_TO_LIVE, protocol, 0, 0]);
            header
        }
        IpAddr::V6(_) => {
            let mut header = vec![0x60, 0, 0, 0];
            header.extend(length.to_be_bytes());
            header.extend([protocol, TIME_TO_LIVE]);
            header
        }
    };
    header.extend(octets(source));
    header.extend(octets(destination));
    if source.is_ipv4() {
        let mut sum = Sum::default();
        sum.add(&header);
        header[10..12].copy_from_slice(&sum.finish());
    }
    header.extend(body);
    header
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// The internet checksum (RFC 1071).
#[derive(Default)]
struct Sum(u32);

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        for pair in bytes.chunks(2) {
            let word = [pair[0], pair.get(1).copied().unwrap_or(0)];
            self.0 += u32::from(u16::from_be_bytes(word));
        }
    }

    fn finish(mut self) -> [u8; 2] {
        while self.0 > 0xffff {
            self.0 = (self.0 & 0xffff) + (self.0 >> 16);
        }
        let folded = u16::try_from(self.0).expect("folded to 16 bits");
        (!folded).to_be_bytes()
    }
}
