//! Which resolvers the system's configuration names, as Go's resolver reads it.

use std::env::consts::OS;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;

use crate::model::{Options, ResolverOptions, asks_all_resolvers};
use crate::net::os;

const DNS_PORT: u16 = 53;

/// Who is asked, and how.
#[derive(Debug, Clone)]
pub struct Resolvers {
    /// The servers in the order in which they are asked.
    pub servers: Arc<[SocketAddr]>,
    /// Whether questions go over TCP from the start (`options use-vc`).
    pub over_tcp: bool,
    /// Whether a denial leaves the others to be asked: they may belong to other networks, as on Windows.
    pub all: bool,
}

impl Resolvers {
    /// Those that were given by hand, else the system's.
    #[must_use]
    pub fn of(options: &Options) -> Self {
        if options.resolver.is_empty() {
            Self {
                servers: system_resolvers().into(),
                over_tcp: system_options().use_tcp,
                all: asks_all_resolvers(OS),
            }
        } else {
            Self {
                servers: options.resolver.clone().into(),
                over_tcp: false,
                all: false,
            }
        }
    }
}

/// Where a resolver on this host writes down whom it asks itself: systemd-resolved, whose stub has
/// addresses of its own (systemd-resolved.service(8), "/ETC/RESOLV.CONF"), or else `NetworkManager` in
/// front of dnsmasq, and Debian's resolvconf.
fn upstream_files(stub: IpAddr) -> &'static [&'static str] {
    match stub {
        IpAddr::V4(stub) if matches!(stub.octets(), [127, 0, 0, 53 | 54]) => {
            &["/run/systemd/resolve/resolv.conf"]
        }
        _ => &[
            "/run/NetworkManager/no-stub-resolv.conf",
            "/run/dnsmasq/resolv.conf",
        ],
    }
}

/// Whom this host asks when cloudflared looks something up, each once: those `given`, the system's
/// resolvers, and those that a stub among these asks in turn, as far as it writes them down.
#[must_use]
pub fn asked_by_this_host(given: &[SocketAddr]) -> Vec<SocketAddr> {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    with_upstreams(given, &system_resolvers(), read)
}

fn with_upstreams(
    given: &[SocketAddr],
    system: &[SocketAddr],
    read: impl Fn(&str) -> String,
) -> Vec<SocketAddr> {
    let mut found: Vec<SocketAddr> = Vec::new();
    let mut add = |server: SocketAddr| {
        if !found.contains(&server) {
            found.push(server);
        }
    };
    for server in given.iter().chain(system) {
        add(*server);
    }
    for stub in system.iter().filter(|server| server.ip().is_loopback()) {
        for file in upstream_files(stub.ip()) {
            let text = read(file);
            let upstreams = name_servers(&text);
            upstreams
                .into_iter()
                .filter(|server| !server.ip().is_loopback())
                .for_each(&mut add);
        }
    }
    found
}

/// The options of the system's resolver configuration, where it has such.
#[must_use]
pub fn system_options() -> ResolverOptions {
    let text = if cfg!(unix) {
        std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default()
    } else {
        String::new()
    };
    options(&text)
}

/// Reads `options` as Go does (`net/dnsconfig_unix.go`): the last one counts, and figures below 1
/// are 1.
fn options(text: &str) -> ResolverOptions {
    let mut options = ResolverOptions::default();
    let lines = text.lines().map(str::split_whitespace);
    let words = lines.filter_map(|mut words| (words.next() == Some("options")).then_some(words));
    let figure = |digits: &str| digits.parse().unwrap_or(0).max(1);
    for word in words.flatten() {
        match (word, word.split_once(':')) {
            ("use-vc" | "usevc" | "tcp", _) => options.use_tcp = true,
            (_, Some(("timeout", digits))) => options.timeout_s = figure(digits),
            (_, Some(("attempts", digits))) => options.attempts = figure(digits),
            _ => {}
        }
    }
    options
}

/// The resolvers that the system's configuration names, in order, each once.
///
/// Without a configuration that is this host itself, as for Go's resolver.
#[must_use]
pub fn system_resolvers() -> Vec<SocketAddr> {
    let mut resolvers = configured();
    let mut seen = Vec::new();
    resolvers.retain(|server| {
        let new = !seen.contains(server);
        seen.push(*server);
        new
    });
    if resolvers.is_empty() {
        let own = [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ];
        resolvers.extend(own.map(|address| SocketAddr::new(address, DNS_PORT)));
    }
    resolvers
}

/// The library's reading, unless it gives up on a line that others skip, or loses the zone of a
/// link-local address (RFC 4007, section 11).
fn configured() -> Vec<SocketAddr> {
    let read = hickory_resolver::system_conf::read_system_conf().map(|(config, _)| {
        let servers = config.name_servers().iter().map(|server| server.ip);
        servers
            .map(|ip| SocketAddr::new(ip, DNS_PORT))
            .collect::<Vec<_>>()
    });
    let link_local = |server: &SocketAddr| match server.ip() {
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
        IpAddr::V4(_) => false,
    };
    match read {
        Ok(servers) if !servers.iter().any(link_local) => limited(servers),
        _ => own_reading(),
    }
}

/// Windows asks the resolvers of all adapters.
#[cfg(windows)]
fn own_reading() -> Vec<SocketAddr> {
    os::adapter_resolvers()
}

#[cfg(windows)]
fn limited(servers: Vec<SocketAddr>) -> Vec<SocketAddr> {
    servers
}

#[cfg(not(windows))]
fn own_reading() -> Vec<SocketAddr> {
    std::fs::read_to_string("/etc/resolv.conf")
        .map_or_else(|_| Vec::new(), |text| resolv_conf(&text))
}

#[cfg(not(windows))]
fn limited(mut servers: Vec<SocketAddr>) -> Vec<SocketAddr> {
    servers.truncate(MOST_SERVERS);
    servers
}

/// Neither the C library nor Go asks more (resolv.conf(5), Go's `net/dnsconfig_unix.go`).
#[cfg(any(test, not(windows)))]
const MOST_SERVERS: usize = 3;

/// The servers of resolv.conf(5); what cannot be read is skipped.
#[cfg(any(test, not(windows)))]
fn resolv_conf(text: &str) -> Vec<SocketAddr> {
    name_servers(text).take(MOST_SERVERS).collect()
}

fn name_servers(text: &str) -> impl Iterator<Item = SocketAddr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver"))
            .then(|| words.next())
            .flatten()
    });
    servers.filter_map(server)
}

fn server(text: &str) -> Option<SocketAddr> {
    match text.split_once('%') {
        None => Some(SocketAddr::new(text.parse().ok()?, DNS_PORT)),
        Some((address, zone)) => {
            let address: Ipv6Addr = address.parse().ok()?;
            let scope = zone.parse().ok().or_else(|| os::interface_index(zone))?;
            Some(SocketAddrV6::new(address, DNS_PORT, 0, scope).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_for_all_whom_this_host_asks() {
        let read = |file: &str| {
            let server = match file {
                "/run/systemd/resolve/resolv.conf" => "192.0.2.53",
                "/run/NetworkManager/no-stub-resolv.conf" => "192.0.2.54",
                _ => return String::new(),
            };
            format!("nameserver {server}\nnameserver 127.0.0.1\n")
        };
        let found = |given: &[&str], system: &[&str]| {
            let parse = |texts: &[&str]| -> Vec<SocketAddr> {
                texts
                    .iter()
                    .map(|text| SocketAddr::new(text.parse().unwrap(), 53))
                    .collect()
            };
            let found = with_upstreams(&parse(given), &parse(system), read);
            let found: Vec<_> = found.iter().map(|server| server.ip().to_string()).collect();
            found.join(" ")
        };
        assert_eq!(found(&[], &["9.9.9.9"]), "9.9.9.9");
        // Who is asked by hand is asked beside the system's.
        assert_eq!(found(&["1.1.1.1"], &["9.9.9.9"]), "1.1.1.1 9.9.9.9");
        assert_eq!(found(&[], &["127.0.0.53"]), "127.0.0.53 192.0.2.53");
        // What systemd-resolved would ask says nothing about another stub.
        assert_eq!(found(&[], &["127.0.0.1"]), "127.0.0.1 192.0.2.54");
        assert_eq!(
            found(&["1.1.1.1"], &["127.0.0.53"]),
            "1.1.1.1 127.0.0.53 192.0.2.53"
        );
    }

    #[test]
    fn what_cannot_be_read_is_skipped() {
        let text = "# made by hand\nnameserver\nnameserver nonsense\n  nameserver 192.0.2.53 # the first\n\
                    options timeout:1 unheard-of\nnameserver 2001:db8::53\nsearch example\n";
        let found: Vec<_> = resolv_conf(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.53:53", "[2001:db8::53]:53"]);
    }

    #[test]
    fn options_are_read_as_go_reads_them() {
        let usual = ResolverOptions::default();
        for text in [
            "",
            "nameserver 192.0.2.1\n",
            "# options use-vc\n",
            "options ndots:5 edns0",
        ] {
            assert_eq!(options(text), usual, "{text}");
        }
        let text = "options timeout:1 attempts:0\nnameserver 192.0.2.1\noptions rotate use-vc";
        let read = ResolverOptions {
            use_tcp: true,
            timeout_s: 1,
            attempts: 1,
        };
        assert_eq!(options(text), read);
    }

    #[test]
    fn the_fourth_server_is_never_asked() {
        let text = "nameserver 192.0.2.1\n".repeat(4);
        assert_eq!(resolv_conf(&text).len(), 3);
    }

    #[test]
    fn a_link_local_server_keeps_its_zone() {
        let found = resolv_conf("nameserver fe80::1%7\nnameserver fe80::1%no-such-interface\n");
        assert_eq!(found, ["[fe80::1%7]:53".parse().unwrap()]);
    }
}
