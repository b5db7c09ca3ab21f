//! Systems without an error queue: what an ICMP error becomes is up to the socket call.

use std::io;
use std::net::IpAddr;

use super::classify::QueuedError;

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
    std::env::var("COMPUTERNAME")
        .or_else(|_| std::env::var("HOSTNAME"))
        .ok()
}

/// Winsock's numbers on Windows.
#[cfg(windows)]
pub(super) mod errno {
    pub(in crate::net) const REFUSED: i32 = 10061;
    pub(in crate::net) const RESET: i32 = 10054;
    pub(in crate::net) const TIMED_OUT: i32 = 10060;
    pub(in crate::net) const TOO_BIG: i32 = 10040;
    pub(in crate::net) const LOCAL_FIREWALL: &[i32] = &[10013];
    pub(in crate::net) const NO_ROUTE: &[i32] = &[10051, 10065, 10049, 10050];
    /// Without an error queue nothing of the kind surfaces.
    pub(in crate::net) const SOFT: &[i32] = &[];
    pub(in crate::net) const ROUTE_FORBIDS: &[i32] = &[10065];
}

#[cfg(not(windows))]
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
