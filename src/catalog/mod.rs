//! What cloudflared needs: names, addresses, handshakes and trust anchors, each with its source.
//!
//! Read from cloudflared 2026.8.2's source and Cloudflare's public documentation. Where a fact can
//! drift, such as an address, the live answer wins and the difference is a finding.

mod addresses;
mod optional;
mod roots;
mod special_use;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

pub use addresses::{documented, is_documented};
pub use optional::{
    API_HOST, DOWNLOAD_HOST, FED_API_HOST, FED_MANAGEMENT_HOST, FORMER_OPTIONAL_HOSTS,
    MANAGEMENT_HOST, QUICK_TUNNEL_HOST, RESEARCH_HOST, UPDATE_HOST, access_host,
    counts_when_strict, has_rule, is_optional_host, optional_hosts, purpose, usual_optional_hosts,
};
pub use roots::{cloudflare_roots, trust_anchor};
pub use special_use::made_up_by;

use crate::model::{Family, Region, Service};

/// The edge's port, used where no SRV record tells one (cloudflared `edgediscovery/allregions`).
pub const EDGE_PORT: u16 = 7844;

/// The port of the optional HTTPS hosts.
pub const HTTPS_PORT: u16 = 443;

/// cloudflared refuses to start with fewer SRV targets (`edgediscovery/allregions/discovery.go`).
pub const MINIMUM_SRV_TARGETS: usize = 2;

/// How many SRV targets cloudflared connects to, in order of priority. It looks up the addresses of all
/// of them, and a further one that does not resolve stops it (`edgediscovery/allregions`).
pub const USED_SRV_TARGETS: usize = 2;

/// Server name of the HTTP/2 tunnel (cloudflared `connection/protocol.go`).
pub const HTTP2_SNI: &str = "h2.cftunnel.com";

/// Server name of the QUIC tunnel (cloudflared `connection/protocol.go`).
pub const QUIC_SNI: &str = "quic.cftunnel.com";

/// Server name of cloudflared's own start-up pre-checks (cloudflared `prechecks`).
pub const PROBE_SNI: &str = "probe.cftunnel.com";

/// Server name that the documentation lists for firewalls; the source no longer sends it.
pub const DOCUMENTED_SNI: &str = "cftunnel.com";

/// A server name that no filter has a reason to know (RFC 2606): where it passes and the tunnel's
/// does not, the name is what matters.
pub const CONTROL_SNI: &str = "www.example.com";

/// Application protocol of the QUIC tunnel (RFC 7301); the HTTP/2 tunnel offers none.
pub const QUIC_ALPN: &[u8] = b"argotunnel";

/// Where cloudflared asks for the SRV record when the system resolver fails
/// (cloudflared `edgediscovery/allregions/discovery.go`).
pub const DOT_SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1)), 853);

/// The name in the certificate of [`DOT_SERVER`].
pub const DOT_SERVER_NAME: &str = "cloudflare-dns.com";

/// UDP payload of cloudflared's Initial datagrams in bytes (`supervisor/tunnel.go`): 1232 over IPv4
/// and 1252 over IPv6. At addresses that DNS did not give, which are those of `--edge` and those of a
/// hosts file, it is 1252 over both.
#[must_use]
pub const fn quic_datagram_size(family: Family, not_of_dns: bool) -> u16 {
    match (family, not_of_dns) {
        (Family::Ipv4, false) => 1232,
        (Family::Ipv4, true) | (Family::Ipv6, _) => 1252,
    }
}

/// UDP payload in octets that every QUIC path must carry (RFC 9000, section 14), the least that an
/// Initial may have.
pub const SMALLEST_INITIAL: u16 = 1200;

/// A TCP segment in octets that is well below what any path to the edge carries, and still too small
/// for cloudflared's hello in one.
pub const SMALL_SEGMENT: u32 = 1000;

/// quinn sends its first retransmission after three times this; it gives cloudflared's schedule.
pub const QUIC_INITIAL_RTT: Duration = Duration::from_millis(67);

/// When cloudflared's QUIC library sends its Initials, since the start of a connection, measured.
pub const QUIC_SCHEDULE: &[Duration] = &[
    Duration::ZERO,
    Duration::from_millis(200),
    Duration::from_millis(600),
    Duration::from_millis(1400),
    Duration::from_secs(3),
];

/// When Linux sends a SYN or an unanswered first segment again (RFC 6298 with an RTO of 1 s).
pub const SYN_SCHEDULE: &[Duration] = &[
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(7),
];

/// When a system that keeps resets to itself, which is Windows, has sent a SYN again at the latest: from
/// an RTO of 3 s on (`Get-NetTCPSetting`, `InitialRtoMs`: 3000 on older ones, 1000 on newer ones).
pub const LATEST_SYN_SCHEDULE: &[Duration] = &[
    Duration::ZERO,
    Duration::from_secs(3),
    Duration::from_secs(9),
];

/// Socket buffers in octets from which on cloudflared's QUIC library has what it wants without a
/// warning: half of its 7 MiB, because Linux doubles what is asked for (quic-go `internal/protocol`
/// and `sys_conn_buffers.go`; socket(7)).
pub const QUIC_BUFFER_LIMIT: u64 = (7 << 20) / 2;

/// How long Go's resolver waits for one server, in seconds (`net/dnsconfig_unix.go`).
pub const GO_RESOLVER_TIMEOUT: Duration = Duration::from_secs(5);

/// The server name that decides whether a tunnel gets through.
#[must_use]
pub const fn tunnel_sni(service: Service) -> Option<&'static str> {
    match service {
        Service::Quic => Some(QUIC_SNI),
        Service::Http2 => Some(HTTP2_SNI),
        Service::Https => None,
    }
}

/// The name of the SRV record (RFC 2782) for a region.
#[must_use]
pub fn srv_name(region: Option<Region>) -> String {
    let prefix = region.map_or_else(String::new, |region| format!("{region}-"));
    format!("_{prefix}v2-origintunneld._tcp.argotunnel.com")
}

/// The targets that the SRV record usually names, so that their addresses can be asked for at once.
#[must_use]
pub fn usual_targets(region: Option<Region>) -> [String; 2] {
    let prefix = region.map_or_else(String::new, |region| format!("{region}-"));
    [1, 2].map(|number| format!("{prefix}region{number}.v2.argotunnel.com"))
}

/// Whether some region's SRV record usually names the target.
#[must_use]
pub fn is_usual_target(target: &str) -> bool {
    [None, Some(Region::Us), Some(Region::Fed)]
        .into_iter()
        .any(|region| usual_targets(region).iter().any(|usual| usual == target))
}

/// Whether the name is one that every host with cloudflared knows: of the edge, its server names, DNS
/// records and optional hosts. A team's own host is not.
#[must_use]
pub fn is_documented_name(name: &str) -> bool {
    const SERVERS: [&str; 6] = [
        HTTP2_SNI,
        QUIC_SNI,
        PROBE_SNI,
        DOCUMENTED_SNI,
        CONTROL_SNI,
        DOT_SERVER_NAME,
    ];
    let regions = [None, Some(Region::Us), Some(Region::Fed)];
    SERVERS.contains(&name)
        || is_usual_target(name)
        || regions.into_iter().any(|region| srv_name(region) == name)
        || (is_optional_host(name) && !name.ends_with(".cloudflareaccess.com"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_region() {
        assert_eq!(srv_name(None), "_v2-origintunneld._tcp.argotunnel.com");
        assert_eq!(
            srv_name(Some(Region::Us)),
            "_us-v2-origintunneld._tcp.argotunnel.com"
        );
        assert_eq!(
            usual_targets(Some(Region::Fed))[1],
            "fed-region2.v2.argotunnel.com"
        );
    }
}
