//! The ends of the wire: packet sockets on the far ends of two veth pairs.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, bind, setsockopt, sockopt,
};

use super::packet::Direction;
use crate::Outcome;

/// The hardware addresses of the router's and the edge's end. They are fixed, and known to both
/// ends, so that the wire carries IP and nothing else.
pub(super) const ROUTER: &str = "02:00:00:00:02:01";
pub(super) const EDGE: &str = "02:00:00:00:02:02";
const ROUTER_OCTETS: [u8; 6] = [2, 0, 0, 0, 2, 1];
const EDGE_OCTETS: [u8; 6] = [2, 0, 0, 0, 2, 2];

const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];
const HEADER: usize = 14;
/// More than any burst of the product, so that the wire loses nothing by itself.
const BUFFER: usize = 8 << 20;

/// One end.
pub(super) struct End {
    socket: socket2::Socket,
    name: &'static str,
    /// The way of what comes in here.
    pub(super) direction: Direction,
    /// How many frames were read.
    read: u64,
    /// How many could not be sent.
    unsent: u64,
}

impl End {
    /// Opens the interface of this name, in the namespace of the calling thread, before it is up.
    pub(super) fn open(name: &'static str, direction: Direction) -> Outcome<Self> {
        let fd = nix::sys::socket::socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::EthAll,
        )
        .map_err(|errno| format!("cannot open a packet socket for the wire: {errno}"))?;
        // Root alone may exceed the system's limit, which then holds.
        if setsockopt(&fd, sockopt::RcvBufForce, &BUFFER).is_err() {
            setsockopt(&fd, sockopt::RcvBuf, &BUFFER)?;
        }
        let address = getifaddrs()?
            .filter(|interface| interface.interface_name == name)
            .find_map(|interface| interface.address?.as_link_addr().copied())
            .ok_or_else(|| format!("there is no interface {name}"))?;
        bind(fd.as_raw_fd(), &address)?;
        Ok(Self {
            socket: fd.into(),
            name,
            direction,
            read: 0,
            unsent: 0,
        })
    }

    /// The next IP packet, none when there is none yet.
    pub(super) fn receive(&mut self) -> Option<Vec<u8>> {
        let mut frame = [0; 2048];
        loop {
            let length = match self.socket.read(&mut frame) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return None,
            };
            self.read += 1;
            // What is sent to everybody is the ends' small talk about themselves.
            if let Some((head, packet)) = frame[..length].split_at_checked(HEADER)
                && head[..6] == destination(self.direction)
            {
                return Some(packet.to_vec());
            }
        }
    }

    /// Sends an IP packet out here.
    pub(super) fn send(&mut self, packet: &[u8]) {
        let kind = if packet.first().is_some_and(|first| first >> 4 == 6) {
            IPV6
        } else {
            IPV4
        };
        let (to, from) = (
            destination(self.direction.back()),
            destination(self.direction),
        );
        let frame = [&to[..], &from, &kind, packet].concat();
        if self.socket.write(&frame).is_err() {
            self.unsent += 1;
        }
    }

    /// How many frames arrived at this interface, by the kernel's count, and were not read; and
    /// how many could not be sent.
    pub(super) fn lost(&self) -> Outcome<u64> {
        let table = std::fs::read_to_string("/proc/thread-self/net/dev")?;
        let arrived: u64 = table
            .lines()
            .find_map(|line| line.trim().strip_prefix(self.name)?.strip_prefix(':'))
            .and_then(|counters| counters.split_whitespace().nth(1))
            .ok_or_else(|| format!("no counters of {}", self.name))?
            .parse()?;
        Ok(arrived.saturating_sub(self.read) + self.unsent)
    }
}

/// The hardware address of the end that a packet of this direction goes to.
fn destination(direction: Direction) -> [u8; 6] {
    match direction {
        Direction::ToEdge => EDGE_OCTETS,
        Direction::ToClient => ROUTER_OCTETS,
    }
}

impl AsFd for End {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
