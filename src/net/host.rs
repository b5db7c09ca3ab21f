//! What this host is: its families by the routing decision alone. Nothing is sent to find out.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use super::{classify, environment, os, service};
use crate::catalog;
use crate::model::{Family, FamilyState, Host, NoFamily, Options, ResolverOptions};

/// Describes this host, with the `resolver` options of its configuration.
#[must_use]
pub fn describe(options: &Options, resolver: ResolverOptions, trusted_roots: usize) -> Host {
    let own = os::interface_addresses();
    Host {
        name: os::host_name(),
        os: std::env::consts::OS.to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
        ipv4: family_state(Family::Ipv4, options, &own),
        ipv6: family_state(Family::Ipv6, options, &own),
        trusted_roots,
        proxies: environment::proxies(),
        udp_buffers: environment::udp_buffers(),
        resolver_options: Some(resolver).filter(|o| *o != ResolverOptions::default()),
        systemd: service::systemd(),
    }
}

/// The addresses of this host's interfaces, to recognise its own ICMP errors by.
#[must_use]
pub fn own_addresses() -> Vec<IpAddr> {
    os::interface_addresses()
}

/// The interface whose network holds the address, which is not the host's own; none if none does.
#[must_use]
pub fn interface_towards(address: IpAddr) -> Option<String> {
    os::interface_towards(address)
}

/// The bridges of Docker and Podman on this host.
#[must_use]
pub fn container_bridges() -> Vec<String> {
    let is_bridge = |name: &String| {
        name == "docker0"
            || ["br-", "podman", "cni-podman"]
                .iter()
                .any(|prefix| name.starts_with(prefix))
    };
    let mut names = os::interface_names();
    names.retain(is_bridge);
    names
}

/// Whether this host can send from `address`, by binding a socket to it; nothing is sent.
///
/// # Errors
/// The system's, as a rule that the address is not available.
pub fn can_send_from(address: IpAddr) -> io::Result<()> {
    UdpSocket::bind((address, 0))?;
    // A kernel without any address yet, or with `ip_nonlocal_bind`, takes every address for its own,
    // even those that documents are written with (RFC 5737, RFC 3849).
    let nobodys: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::new(192, 0, 2, 254).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xfffe).into(),
    };
    let proves_nothing = UdpSocket::bind((nobodys, 0)).is_ok();
    if proves_nothing && !os::interface_addresses().contains(&address) {
        return Err(io::ErrorKind::AddrNotAvailable.into());
    }
    Ok(())
}

fn family_state(family: Family, options: &Options, own: &[IpAddr]) -> FamilyState {
    let unavailable = |why| FamilyState::Unavailable { why };
    let mut forbidden = false;
    for remote in candidates(family, options) {
        match source_for(remote, options.edge_bind_address) {
            Ok(source) if reaches(source, remote.ip()) => {
                return FamilyState::Available {
                    source: Some(source),
                };
            }
            Ok(_) => return unavailable(NoFamily::NoGlobalAddress),
            Err(error) => forbidden |= classify::route_forbids(&error),
        }
    }
    let has_address = own
        .iter()
        .any(|a| Family::of(*a) == family && is_global(*a));
    match (has_address, forbidden) {
        (true, true) => FamilyState::Available { source: None },
        (true, false) => unavailable(NoFamily::NoRoute),
        (false, _) => unavailable(NoFamily::NoGlobalAddress),
    }
}

/// The addresses whose routes decide: those given with `--edge`, else the documented ones.
fn candidates(family: Family, options: &Options) -> Vec<SocketAddr> {
    let given: Vec<_> = options
        .edge
        .iter()
        .filter_map(|edge| Some(SocketAddr::new(edge.host.parse().ok()?, edge.port)))
        .filter(|remote| Family::of(remote.ip()) == family)
        .collect();
    if !given.is_empty() {
        return given;
    }
    catalog::usual_targets(options.region)
        .iter()
        .flat_map(|host| catalog::documented(host, family))
        .map(|address| SocketAddr::new(address, catalog::EDGE_PORT))
        .collect()
}

/// Asks the routing table by connecting a UDP socket, which sends nothing.
fn source_for(remote: SocketAddr, bind: Option<IpAddr>) -> io::Result<IpAddr> {
    let socket = super::new_socket(remote, bind, socket2::Type::DGRAM)?;
    socket.connect(&remote.into())?;
    let local = socket
        .local_addr()?
        .as_socket()
        .ok_or(io::ErrorKind::Unsupported)?;
    Ok(local.ip())
}

/// Whether the routing table knows a way to `remote`; nothing is sent.
#[cfg(windows)]
pub(super) fn has_route(remote: SocketAddr) -> bool {
    source_for(remote, None).is_ok()
}

/// Whether replies can find their way to `source`: it is global, or the two are on the same kind of
/// network.
fn reaches(source: IpAddr, remote: IpAddr) -> bool {
    is_global(source) || !is_global(remote)
}

/// Whether an address reaches beyond its link. Private IPv4 counts, since translation is the rule;
/// unique local IPv6 does not, since it is the exception (RFC 6724 sorts it behind IPv4 too).
fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            !(v4.is_loopback() || v4.is_link_local() || v4.is_unspecified() || v4.is_multicast())
        }
        IpAddr::V6(v6) => {
            !(v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unicast_link_local()
                || v6.is_unique_local())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn global_is_what_reaches_beyond_the_link() {
        let global = |text: &str| is_global(text.parse().unwrap());
        for yes in ["10.0.0.2", "192.0.2.1", "2a01:4f8::1", "2606:4700:a0::1"] {
            assert!(global(yes), "{yes}");
        }
        for no in [
            "127.0.0.1",
            "169.254.1.1",
            "0.0.0.0",
            "::1",
            "fe80::1",
            "fd00::1",
            "fc00::1",
        ] {
            assert!(!global(no), "{no}");
        }
    }
}
