//! What packets meet: the kernel's own trace of nftables, read from netlink.
//!
//! The messages are those of `nft monitor trace` (`linux/netfilter/nf_tables.h`). A socket that is bound
//! misses none, and needs no tool that has to be waited for.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, setsockopt,
    socket, sockopt,
};

use crate::model::Transport;

/// `NFNLGRP_NFTRACE`, as a bit.
const GROUP: u32 = 1 << (9 - 1);

/// `NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_TRACE`.
const MESSAGE: u16 = (0x0a << 8) | 0x11;

/// Bytes that may wait to be read.
const WAITING: usize = 16 << 20;

/// The socket.
pub(super) struct Trace(OwnedFd);

/// One thing that a packet met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// The packet.
    pub(super) id: u32,
    pub(super) family: &'static str,
    pub(super) table: String,
    pub(super) chain: String,
    /// The rule's handle; none for the policy of a chain.
    pub(super) rule: Option<u64>,
    pub(super) verdict: Verdict,
    /// In the first event of a packet in each base chain.
    pub(super) packet: Option<Packet>,
}

/// What a rule or a policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Drop,
    Accept,
    /// To a program.
    Queue,
    /// Into this chain.
    Into(String),
    /// On to the next rule, or back.
    Continue,
}

/// What a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Packet {
    pub(super) transport: Transport,
    pub(super) from: (IpAddr, u16),
    pub(super) to: (IpAddr, u16),
}

impl Trace {
    /// Listens in the network namespace of the calling thread.
    pub(super) fn open() -> nix::Result<Self> {
        let fd = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkNetFilter,
        )?;
        // Without the right to force it there is less room, and a loss is seen.
        if setsockopt(&fd, sockopt::RcvBufForce, &WAITING).is_err() {
            setsockopt(&fd, sockopt::RcvBuf, &WAITING)?;
        }
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, GROUP))?;
        Ok(Self(fd))
    }

    /// What waits to be read.
    ///
    /// # Errors
    /// `ENOBUFS` after a loss.
    pub(super) fn events(&self) -> io::Result<Vec<Event>> {
        let mut events = Vec::new();
        let mut bytes = [0; 16 << 10];
        loop {
            match recv(self.0.as_raw_fd(), &mut bytes, MsgFlags::empty()) {
                Ok(length) => messages(bytes.get(..length).unwrap_or_default(), &mut events),
                Err(Errno::EAGAIN) => return Ok(events),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// `struct nlmsghdr`: length, type, flags, sequence, port; behind it `struct nfgenmsg`: family, version, id.
fn messages(mut bytes: &[u8], events: &mut Vec<Event>) {
    while let Some(length) = bytes.first_chunk().map(|four| u32::from_ne_bytes(*four)) {
        let length = length as usize;
        let Some(message) = bytes.get(..length).filter(|message| message.len() >= 20) else {
            return;
        };
        if message.get(4..6) == Some(&MESSAGE.to_ne_bytes()) {
            events.extend(event(message[16], &message[20..]));
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
}

/// `struct nlattr`: length, type; the flags of nesting and byte order are in the type.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let header: [u8; 4] = *bytes.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// `enum nft_trace_attributes`.
fn event(family: u8, bytes: &[u8]) -> Option<Event> {
    let family = match family {
        1 => "inet",
        2 => "ip",
        5 => "netdev",
        7 => "bridge",
        10 => "ip6",
        _ => return None,
    };
    let mut event = Event {
        id: 0,
        family,
        table: String::new(),
        chain: String::new(),
        rule: None,
        verdict: Verdict::Continue,
        packet: None,
    };
    let (mut network, mut transport): (&[u8], &[u8]) = (&[], &[]);
    for (kind, value) in attributes(bytes) {
        match kind {
            1 => event.table = text(value),
            2 => event.chain = text(value),
            3 => event.rule = value.first_chunk().map(|eight| u64::from_be_bytes(*eight)),
            5 => event.verdict = verdict(value)?,
            6 => event.id = number(value)?,
            8 => network = value,
            9 => transport = value,
            16 => event.verdict = code(number(value)?, String::new()),
            _ => {}
        }
    }
    event.packet = packet(network, transport);
    Some(event)
}

fn text(bytes: &[u8]) -> String {
    let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(bytes).into_owned()
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|four| u32::from_be_bytes(*four))
}

/// `enum nft_verdict_attributes`.
fn verdict(bytes: &[u8]) -> Option<Verdict> {
    let (mut found, mut chain) = (None, String::new());
    for (kind, value) in attributes(bytes) {
        match kind {
            1 => found = number(value),
            2 => chain = text(value),
            _ => {}
        }
    }
    Some(code(found?, chain))
}

/// `NF_*` and `enum nft_verdicts`; the upper half of the former holds an error or a queue.
fn code(code: u32, chain: String) -> Verdict {
    match code.cast_signed() {
        -4 | -3 => Verdict::Into(chain),
        negative if negative < 0 => Verdict::Continue,
        other => match other & 0xff {
            0 | 2 => Verdict::Drop,
            3 => Verdict::Queue,
            _ => Verdict::Accept,
        },
    }
}

/// The addresses and ports of an IP packet without extension headers.
fn packet(network: &[u8], transport: &[u8]) -> Option<Packet> {
    let (protocol, from, to): (u8, IpAddr, IpAddr) = match network.first()? >> 4 {
        4 => {
            let (from, to): ([u8; 4], [u8; 4]) = (
                *network.get(12..)?.first_chunk()?,
                *network.get(16..)?.first_chunk()?,
            );
            (*network.get(9)?, from.into(), to.into())
        }
        6 => {
            let (from, to): ([u8; 16], [u8; 16]) = (
                *network.get(8..)?.first_chunk()?,
                *network.get(24..)?.first_chunk()?,
            );
            (*network.get(6)?, from.into(), to.into())
        }
        _ => return None,
    };
    let ports: [u8; 4] = *transport.first_chunk()?;
    Some(Packet {
        transport: match protocol {
            6 => Transport::Tcp,
            17 => Transport::Udp,
            _ => return None,
        },
        from: (from, u16::from_be_bytes([ports[0], ports[1]])),
        to: (to, u16::from_be_bytes([ports[2], ports[3]])),
    })
}
