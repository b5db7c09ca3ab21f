//! Unix without an error queue: what an ICMP error becomes is up to the socket call.

use std::io;
use std::net::{IpAddr, SocketAddr};

use rustls::pki_types::CertificateDer;

use super::classify::{ErrorOrigin, QueuedError};
use crate::model::{IcmpError, Transport};

/// Whether sockets keep ICMP errors in a queue.
pub(super) const ERROR_QUEUE: bool = false;

/// Whether plain datagrams stand in where the QUIC library's socket cannot be set up.
pub(super) const PLAIN_DATAGRAMS: bool = false;

/// Whether a connected socket can be given the name of its peer again with each datagram, as the QUIC
/// library does. macOS and OpenBSD refuse that (`EISCONN`).
pub(super) const CONNECTED_TAKES_NAME: bool = false;

pub(super) fn enable_error_queue<S>(_socket: &S, _ipv6: bool) -> io::Result<()> {
    Ok(())
}

/// Anything: nothing here has an error queue.
pub(super) trait Socket {}

impl<S> Socket for S {}

/// Left to the system: without the option an experiment with small segments tells nothing.
pub(super) fn limit_segments<S>(_socket: &S, _octets: u32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// What stands behind an error: a refusal over UDP is a port unreachable.
pub(super) fn behind(
    error: &io::Error,
    transport: Transport,
    remote: SocketAddr,
) -> Option<ErrorOrigin> {
    let refused = (error.raw_os_error(), transport) == (Some(errno::REFUSED), Transport::Udp);
    refused.then(|| ErrorOrigin::Icmp(IcmpError::port_unreachable(remote.is_ipv6())))
}

/// Authorities that the system trusts and does not list.
pub(super) const FETCHED_WHEN_NEEDED: &[CertificateDer<'static>] = &[];

/// The system's authorities, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
pub(super) fn system_authorities() -> Vec<CertificateDer<'static>> {
    rustls_native_certs::load_native_certs().certs
}

pub(super) fn next_queued_error(_socket: &impl Socket) -> io::Result<QueuedError> {
    Err(io::ErrorKind::WouldBlock.into())
}

/// Unknown here; a family then counts as available when the routing decision names a source.
pub(super) fn interface_addresses() -> Vec<IpAddr> {
    Vec::new()
}

pub(super) fn interface_index(_name: &str) -> Option<u32> {
    None
}

pub(super) fn host_name() -> Option<String> {
    let name = nix::unistd::gethostname().ok()?;
    Some(name.to_string_lossy().into_owned())
}

pub(super) mod errno {
    use nix::errno::Errno;

    pub(in crate::net) const REFUSED: i32 = Errno::ECONNREFUSED as i32;
    pub(in crate::net) const RESET: i32 = Errno::ECONNRESET as i32;
    pub(in crate::net) const TIMED_OUT: i32 = Errno::ETIMEDOUT as i32;
    pub(in crate::net) const TOO_BIG: i32 = Errno::EMSGSIZE as i32;
    pub(in crate::net) const LOCAL_FIREWALL: &[i32] = &[Errno::EPERM as i32, Errno::EACCES as i32];
    pub(in crate::net) const NO_ROUTE: &[i32] = &[
        Errno::ENETUNREACH as i32,
        Errno::EHOSTUNREACH as i32,
        Errno::EADDRNOTAVAIL as i32,
        Errno::ENETDOWN as i32,
    ];
    /// Without an error queue nothing of the kind surfaces.
    pub(in crate::net) const SOFT: &[i32] = &[];
    pub(in crate::net) const ROUTE_FORBIDS: &[i32] = &[Errno::EHOSTUNREACH as i32];
}

/// Which interface leads to an address is not asked here.
pub(super) const fn interface_towards(_: std::net::IpAddr) -> Option<String> {
    None
}

/// The names of interfaces are not asked for here.
pub(super) const fn interface_names() -> Vec<String> {
    Vec::new()
}
