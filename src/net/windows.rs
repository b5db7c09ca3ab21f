//! Windows: Winsock's errors, the adapters, the registry and the store of certificates.
//!
//! A socket has no error queue here. Of an ICMP error it is told the kind at best, never the sender.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use rustls::pki_types::CertificateDer;
use schannel::cert_context::{CertContext, ValidUses};
use schannel::cert_store::CertStore;

use super::classify::{ErrorOrigin, QueuedError};
use crate::model::{IcmpError, Transport};

/// Whether sockets keep ICMP errors in a queue.
pub(super) const ERROR_QUEUE: bool = false;

/// Whether plain datagrams stand in where the QUIC library's socket cannot be set up. Windows sets it
/// up; Wine has neither don't-fragment nor the packet information.
pub(super) const PLAIN_DATAGRAMS: bool = true;

/// Whether a connected socket can be given the name of its peer again with each datagram, as the QUIC
/// library does. Winsock does not say.
pub(super) const CONNECTED_TAKES_NAME: bool = false;

/// No way to the network: the routing decision says so before a packet leaves, and a router afterwards.
const NET_UNREACHABLE: i32 = 10051;

/// No way to the host: as above, or a gateway that does not answer on the link.
const HOST_UNREACHABLE: i32 = 10065;

pub(super) fn enable_error_queue<S>(_socket: &S, _ipv6: bool) -> io::Result<()> {
    Ok(())
}

/// Anything: nothing here has an error queue.
pub(super) trait Socket {}

impl<S> Socket for S {}

pub(super) fn next_queued_error(_socket: &impl Socket) -> io::Result<QueuedError> {
    Err(io::ErrorKind::WouldBlock.into())
}

/// Windows takes no such option.
pub(super) fn limit_segments<S>(_socket: &S, _octets: u32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// What stands behind an error that came after the first packet was sent. A reset over UDP is a port
/// unreachable (recvfrom in Winsock's reference); Wine hands Linux's refusal on as such. No way to the
/// network or the host may be this host's own routing as well, so a route has to exist.
pub(super) fn behind(
    error: &io::Error,
    transport: Transport,
    remote: SocketAddr,
) -> Option<ErrorOrigin> {
    let ipv6 = remote.is_ipv6();
    match (error.raw_os_error()?, transport) {
        (errno::RESET | errno::REFUSED, Transport::Udp) => {
            Some(ErrorOrigin::Icmp(IcmpError::port_unreachable(ipv6)))
        }
        (NET_UNREACHABLE, _) if super::host::has_route(remote) => {
            Some(ErrorOrigin::Icmp(IcmpError::net_unreachable(ipv6)))
        }
        (HOST_UNREACHABLE, _) if super::host::has_route(remote) => Some(ErrorOrigin::Unknown),
        _ => None,
    }
}

/// The addresses of all adapters that are up.
pub(super) fn interface_addresses() -> Vec<IpAddr> {
    let adapters = adapters();
    let addresses = adapters.iter().flat_map(ipconfig::Adapter::ip_addresses);
    addresses.copied().collect()
}

/// The resolvers of all adapters that are up, those on the link with their zone.
pub(super) fn adapter_resolvers() -> Vec<SocketAddr> {
    const DNS_PORT: u16 = 53;
    let adapters = adapters();
    let servers = adapters.iter().flat_map(|adapter| {
        let zone = adapter.ipv6_if_index();
        let server = move |ip: &IpAddr| match ip {
            IpAddr::V6(v6) if v6.is_unicast_link_local() => {
                SocketAddrV6::new(*v6, DNS_PORT, 0, zone).into()
            }
            ip => SocketAddr::new(*ip, DNS_PORT),
        };
        adapter.dns_servers().iter().map(server)
    });
    servers.filter(|server| !is_made_up(server.ip())).collect()
}

/// Windows lists fec0:0:0:ffff::1 to ::3 where no resolver is configured; nobody answers there
/// (RFC 3879).
fn is_made_up(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.segments()[..4] == [0xfec0, 0, 0, 0xffff])
}

fn adapters() -> Vec<ipconfig::Adapter> {
    let mut adapters = ipconfig::get_adapters().unwrap_or_default();
    adapters.retain(|adapter| adapter.oper_status() == ipconfig::OperStatus::IfOperStatusUp);
    adapters
}

/// Zones are numbers in Windows' notation.
pub(super) fn interface_index(_name: &str) -> Option<u32> {
    None
}

/// The host's name in DNS; the one in the environment is cut to 15 characters.
pub(super) fn host_name() -> Option<String> {
    let parameters = r"SYSTEM\CurrentControlSet\Services\Tcpip\Parameters";
    let name = windows_registry::LOCAL_MACHINE
        .open(parameters)
        .and_then(|key| key.get_string("Hostname"));
    let name = name.ok().filter(|name| !name.is_empty());
    name.or_else(|| std::env::var("COMPUTERNAME").ok())
}

/// The authorities of the user's store, in which those of the machine and of group policies appear as
/// well. cloudflared asks the same store, and `SSL_CERT_FILE` means nothing to it here.
pub(super) fn system_authorities() -> Vec<CertificateDer<'static>> {
    let Ok(store) = CertStore::open_current_user("ROOT") else {
        return Vec::new();
    };
    let good = store.certs().filter(is_for_servers);
    good.map(|authority| CertificateDer::from(authority.to_der().to_vec()))
        .collect()
}

/// The public authorities (Mozilla's list): Windows fetches one of them when it is first needed, so that
/// the store lacks those that are good as well.
pub(super) const FETCHED_WHEN_NEEDED: &[CertificateDer<'static>] =
    webpki_root_certs::TLS_SERVER_ROOT_CERTS;

fn is_for_servers(authority: &CertContext) -> bool {
    const SERVER_AUTHENTICATION: &str = "1.3.6.1.5.5.7.3.1";
    match authority.valid_uses() {
        Ok(ValidUses::All) => true,
        Ok(ValidUses::Oids(uses)) => uses.iter().any(|used| used == SERVER_AUTHENTICATION),
        Err(_) => false,
    }
}

/// What an error of Winsock says, for [`super::classify`].
pub(super) mod errno {
    /// No listener, or a firewall that says so.
    pub(in crate::net) const REFUSED: i32 = 10061;
    pub(in crate::net) const RESET: i32 = 10054;
    pub(in crate::net) const TIMED_OUT: i32 = 10060;
    pub(in crate::net) const TOO_BIG: i32 = 10040;
    /// The filtering platform's verdict on a packet that this host sends.
    pub(in crate::net) const LOCAL_FIREWALL: &[i32] = &[10013];
    /// Network and host unreachable, no such source address, network down.
    pub(in crate::net) const NO_ROUTE: &[i32] = &[10051, 10065, 10049, 10050];
    /// Of an established flow nothing of the kind surfaces.
    pub(in crate::net) const SOFT: &[i32] = &[];
    pub(in crate::net) const ROUTE_FORBIDS: &[i32] = &[10065];
}

/// Which interface leads to an address is not asked here.
pub(super) const fn interface_towards(_: IpAddr) -> Option<String> {
    None
}

/// The names of interfaces are not asked for here.
pub(super) const fn interface_names() -> Vec<String> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn icmp_errors_are_told_as_far_as_windows_tells_them() {
        // The loopback interface has a route always.
        let told = |code, transport| {
            let error = io::Error::from_raw_os_error(code);
            behind(&error, transport, "127.0.0.1:7844".parse().unwrap())
        };
        let closed = Some(ErrorOrigin::Icmp(IcmpError::port_unreachable(false)));
        let router = Some(ErrorOrigin::Icmp(IcmpError::net_unreachable(false)));
        assert_eq!(told(10054, Transport::Udp), closed);
        assert_eq!(told(10061, Transport::Udp), closed);
        assert_eq!(told(10013, Transport::Udp), None);
        assert_eq!(told(10054, Transport::Tcp), None, "a reset");
        assert_eq!(told(10061, Transport::Tcp), None, "a reset");
        assert_eq!(told(10060, Transport::Tcp), None, "silence");
        for transport in [Transport::Tcp, Transport::Udp] {
            assert_eq!(told(10051, transport), router);
            assert_eq!(
                told(10065, transport),
                Some(ErrorOrigin::Unknown),
                "a gateway may be silent"
            );
        }
    }

    #[test]
    fn adapters_the_registry_and_the_store_are_read() {
        assert!(host_name().is_some_and(|name| !name.is_empty()));
        assert!(interface_addresses().iter().any(IpAddr::is_loopback));
        assert!(adapter_resolvers().iter().all(|server| server.port() == 53));
        assert!(!system_authorities().is_empty());
    }

    #[test]
    fn the_addresses_of_no_resolver_are_not_asked() {
        assert!(is_made_up("fec0:0:0:ffff::2".parse().unwrap()));
        assert!(!is_made_up("fec0::1".parse().unwrap()));
    }
}
