//! Linux: the socket error queue (`IP_RECVERR`, ip(7)) and the interfaces' addresses.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use rustls::pki_types::CertificateDer;

use super::classify::{ErrorOrigin, QueuedError};
use crate::model::{IcmpError, Transport};

/// Whether sockets keep ICMP errors in a queue.
pub(super) const ERROR_QUEUE: bool = true;

/// Whether plain datagrams stand in where the QUIC library's socket cannot be set up. They would be
/// fragmented.
pub(super) const PLAIN_DATAGRAMS: bool = false;

/// Whether a connected socket can be given the name of its peer again with each datagram, as the QUIC
/// library does.
pub(super) const CONNECTED_TAKES_NAME: bool = true;

/// Asks the kernel to keep ICMP errors of this socket, with their senders.
pub(super) fn enable_error_queue(socket: &impl AsFd, ipv6: bool) -> io::Result<()> {
    if ipv6 {
        setsockopt(socket, sockopt::Ipv6RecvErr, &true)?;
    } else {
        setsockopt(socket, sockopt::Ipv4RecvErr, &true)?;
    }
    Ok(())
}

/// What has an error queue.
pub(super) use std::os::fd::AsRawFd as Socket;

/// Takes the next error from the queue.
///
/// # Errors
/// `WouldBlock` when the queue is empty.
pub(super) fn next_queued_error(socket: &impl Socket) -> io::Result<QueuedError> {
    let mut payload = [0_u8; 64];
    let mut iov = [IoSliceMut::new(&mut payload)];
    // The QUIC library's socket options put the destination and the traffic class before the error.
    let mut control = nix::cmsg_space!([u8; 256]);
    let message = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut iov,
        Some(&mut control),
        MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT,
    )?;
    let found = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::Ipv4RecvErr(error, from) => {
            let from = from.map(|a| IpAddr::from(u32::from_be(a.sin_addr.s_addr).to_be_bytes()));
            Some(queued(&error, from))
        }
        ControlMessageOwned::Ipv6RecvErr(error, from) => Some(queued(
            &error,
            from.map(|a| IpAddr::from(a.sin6_addr.s6_addr)),
        )),
        _ => None,
    });
    // A message without an error report is none of ours; the caller asks for the next one.
    Ok(found.unwrap_or(QueuedError {
        errno: 0,
        icmp: None,
    }))
}

fn queued(error: &libc::sock_extended_err, from: Option<IpAddr>) -> QueuedError {
    let version = match error.ee_origin {
        libc::SO_EE_ORIGIN_ICMP => Some(4),
        libc::SO_EE_ORIGIN_ICMP6 => Some(6),
        _ => None,
    };
    let icmp = version.map(|version| {
        let icmp = IcmpError {
            version,
            kind: error.ee_type,
            code: error.ee_code,
            from,
            mtu: None,
        };
        let mtu = icmp.is_too_big().then_some(error.ee_info);
        IcmpError {
            mtu,
            from: icmp.from.filter(|from| !from.is_unspecified()),
            ..icmp
        }
    });
    QueuedError {
        errno: i32::try_from(error.ee_errno).unwrap_or_default(),
        icmp,
    }
}

/// Segments of this flow carry so many octets at most, in both directions (RFC 9293, section 3.7.1).
pub(super) fn limit_segments(socket: &impl AsFd, octets: u32) -> io::Result<()> {
    Ok(setsockopt(socket, sockopt::TcpMaxSeg, &octets)?)
}

/// Nothing: what stands behind an error is in the queue.
pub(super) fn behind(_: &io::Error, _: Transport, _: SocketAddr) -> Option<ErrorOrigin> {
    None
}

/// Authorities that the system trusts and does not list.
pub(super) const FETCHED_WHEN_NEEDED: &[CertificateDer<'static>] = &[];

/// The system's authorities, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
pub(super) fn system_authorities() -> Vec<CertificateDer<'static>> {
    rustls_native_certs::load_native_certs().certs
}

/// The addresses of all interfaces that are up.
pub(super) fn interface_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else {
        return Vec::new();
    };
    interfaces
        .filter(|i| i.flags.contains(nix::net::if_::InterfaceFlags::IFF_UP))
        .filter_map(|interface| interface.address)
        .filter_map(|address| {
            let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
        })
        .collect()
}

/// The interface whose network holds the address, if it is not the interface's own.
pub(super) fn interface_towards(address: IpAddr) -> Option<String> {
    let interfaces = nix::ifaddrs::getifaddrs().ok()?;
    let bits = |storage: Option<SockaddrStorage>| -> Option<u128> {
        let storage = storage?;
        let v4 = storage.as_sockaddr_in().map(|a| a.ip().to_bits().into());
        v4.or_else(|| storage.as_sockaddr_in6().map(|a| a.ip().to_bits()))
    };
    let (wanted, is_v4) = match address {
        IpAddr::V4(v4) => (v4.to_bits().into(), true),
        IpAddr::V6(v6) => (v6.to_bits(), false),
    };
    let mut towards = interfaces.filter(|interface| {
        let family = interface
            .address
            .is_some_and(|a| a.as_sockaddr_in().is_some());
        match (bits(interface.address), bits(interface.netmask)) {
            (Some(own), Some(mask)) if family == is_v4 => {
                own != wanted && mask != 0 && own & mask == wanted & mask
            }
            _ => false,
        }
    });
    towards.next().map(|interface| interface.interface_name)
}

/// The names of all interfaces.
pub(super) fn interface_names() -> Vec<String> {
    let interfaces = nix::net::if_::if_nameindex();
    let names = interfaces.iter().flat_map(|all| all.iter());
    names
        .map(|interface| interface.name().to_string_lossy().into_owned())
        .collect()
}

/// The number of an interface, by its name.
pub(super) fn interface_index(name: &str) -> Option<u32> {
    nix::net::if_::if_nametoindex(name).ok()
}

/// The host's name.
pub(super) fn host_name() -> Option<String> {
    nix::unistd::gethostname()
        .ok()
        .map(|name| name.to_string_lossy().into_owned())
}

/// What an error of a system call says, for [`super::classify`].
pub(super) mod errno {
    use super::Errno;

    pub(in crate::net) const REFUSED: i32 = Errno::ECONNREFUSED as i32;
    pub(in crate::net) const RESET: i32 = Errno::ECONNRESET as i32;
    pub(in crate::net) const TIMED_OUT: i32 = Errno::ETIMEDOUT as i32;
    pub(in crate::net) const TOO_BIG: i32 = Errno::EMSGSIZE as i32;
    /// netfilter's verdict on a packet that this host sends.
    pub(in crate::net) const LOCAL_FIREWALL: &[i32] = &[Errno::EPERM as i32];
    /// The routing decision: no route, unreachable, prohibit, blackhole, no source address.
    pub(in crate::net) const NO_ROUTE: &[i32] = &[
        Errno::ENETUNREACH as i32,
        Errno::EHOSTUNREACH as i32,
        Errno::EACCES as i32,
        Errno::EINVAL as i32,
        Errno::EADDRNOTAVAIL as i32,
        Errno::ENETDOWN as i32,
    ];
    /// What ICMP and `ICMPv6` errors become (`icmp_err_convert` and `icmpv6_err_convert`).
    pub(in crate::net) const SOFT: &[i32] = &[
        Errno::ENETUNREACH as i32,
        Errno::EHOSTUNREACH as i32,
        Errno::ENOPROTOOPT as i32,
        Errno::ECONNREFUSED as i32,
        Errno::EMSGSIZE as i32,
        Errno::EOPNOTSUPP as i32,
        Errno::EHOSTDOWN as i32,
        Errno::ENONET as i32,
        Errno::EACCES as i32,
        Errno::EPROTO as i32,
    ];
    /// Routing decisions that say that a route exists and forbids.
    pub(in crate::net) const ROUTE_FORBIDS: &[i32] = &[
        Errno::EHOSTUNREACH as i32,
        Errno::EACCES as i32,
        Errno::EINVAL as i32,
    ];
}
