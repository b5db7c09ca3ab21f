//! The addresses of the laboratory's internet: those that Cloudflare documents, and stand-ins
//! for the hosts whose addresses are not documented.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Deserialize;

/// An address family.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Family {
    Ipv4,
    Ipv6,
}

impl Family {
    /// Both, in the order in which reports list them.
    pub(crate) const BOTH: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    /// The word that reports use.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }

    /// Whether a host may have addresses of this family: a literal is an address of one.
    pub(crate) fn suits(self, host: &str) -> bool {
        let literal = host.parse::<IpAddr>().ok();
        literal.is_none_or(|address| address.is_ipv4() == (self == Self::Ipv4))
    }

    /// The keyword of nftables for an address of this family.
    pub(crate) fn nft(self) -> &'static str {
        match self {
            Self::Ipv4 => "ip",
            Self::Ipv6 => "ip6",
        }
    }
}

/// The resolvers, hosts beyond the router; the client's resolv.conf names the first.
pub(crate) const RESOLVERS: [&str; 3] = ["9.9.9.9", "149.112.112.112", "2620:fe::fe"];
/// Where cloudflared's DNS-over-TLS fallback goes.
pub(crate) const DOT: &str = "1.1.1.1";
/// The two regions of the global network.
pub(crate) const REGIONS: [&str; 2] = ["region1.v2.argotunnel.com", "region2.v2.argotunnel.com"];

/// The last octets of the documented IPv4 addresses.
const REGION1_V4: [u8; 10] = [7, 27, 37, 47, 57, 67, 77, 107, 167, 227];
const REGION2_V4: [u8; 10] = [13, 23, 33, 43, 53, 63, 73, 113, 193, 233];
const ONE_TO_TEN: [u8; 10] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
/// The last groups of the documented IPv6 addresses: the tenth is `::10`, hexadecimal.
const HOSTS_V6: [u16; 10] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 0x10];

/// The hosts of port 443: name, name in nft rules, IPv4 and IPv6 address.
const HTTPS: [(&str, &str, &str, &str); 9] = [
    (
        "update.argotunnel.com",
        "update",
        "104.18.25.129",
        "2606:4700::6812:1981",
    ),
    (
        "api.cloudflare.com",
        "api",
        "104.19.193.29",
        "2606:4700:300a::6813:c11d",
    ),
    (
        "pqtunnels.cloudflareresearch.com",
        "pqtunnels",
        "104.18.4.64",
        "2606:4700::6812:440",
    ),
    (
        "api.trycloudflare.com",
        "trycloudflare",
        "104.16.230.132",
        "2606:4700::6810:e684",
    ),
    ("github.com", "github", "140.82.121.3", "2a0a:a440::3"),
    (
        "management.argotunnel.com",
        "management",
        "104.18.25.130",
        "2606:4700::6812:1982",
    ),
    (
        "management.fed.argotunnel.com",
        "fed_management",
        "104.18.25.131",
        "2606:4700::6812:1983",
    ),
    (
        "api.fed.cloudflare.com",
        "fed_api",
        "104.19.193.30",
        "2606:4700:300a::6813:c11e",
    ),
    (
        "lab.cloudflareaccess.com",
        "access",
        "104.19.194.29",
        "2606:4700:300a::6813:c21d",
    ),
];

/// The hosts of port 443 that answer in this world.
pub(crate) fn https_hosts() -> impl Iterator<Item = &'static str> {
    HTTPS.iter().map(|host| host.0)
}

/// The addresses of a host in one family; none for a name that is not in this world.
pub(crate) fn addresses(host: &str, family: Family) -> Vec<IpAddr> {
    if let Some((_, _, v4, v6)) = HTTPS.iter().find(|known| known.0 == host) {
        let text = if family == Family::Ipv4 { v4 } else { v6 };
        return vec![text.parse().expect("a valid address")];
    }
    let (prefix_v4, last_v4, prefix_v6): ([u8; 3], [u8; 10], [u16; 3]) = match host {
        "region1.v2.argotunnel.com" => ([198, 41, 192], REGION1_V4, [0x2606, 0x4700, 0xa0]),
        "region2.v2.argotunnel.com" => ([198, 41, 200], REGION2_V4, [0x2606, 0x4700, 0xa8]),
        "us-region1.v2.argotunnel.com" => ([198, 41, 218], ONE_TO_TEN, [0x2606, 0x4700, 0xa1]),
        "us-region2.v2.argotunnel.com" => ([198, 41, 219], ONE_TO_TEN, [0x2606, 0x4700, 0xa9]),
        "fed-region1.v2.argotunnel.com" => ([162, 159, 234], ONE_TO_TEN, [0x2a06, 0x98c1, 0x4d]),
        "fed-region2.v2.argotunnel.com" => ([172, 64, 234], ONE_TO_TEN, [0x2606, 0x4700, 0xf6]),
        _ => return Vec::new(),
    };
    match family {
        Family::Ipv4 => last_v4.map(|last| host_v4(prefix_v4, last)).to_vec(),
        Family::Ipv6 => HOSTS_V6.map(|last| host_v6(prefix_v6, last)).to_vec(),
    }
}

fn host_v4([a, b, c]: [u8; 3], last: u8) -> IpAddr {
    Ipv4Addr::new(a, b, c, last).into()
}

fn host_v6([a, b, c]: [u16; 3], last: u16) -> IpAddr {
    Ipv6Addr::new(a, b, c, 0, 0, 0, 0, last).into()
}

/// The SRV targets of a name, in order.
pub(crate) fn srv_targets(name: &str) -> Option<[String; 2]> {
    let prefix = name
        .strip_suffix("v2-origintunneld._tcp.argotunnel.com")?
        .strip_prefix('_')?;
    ["", "us-", "fed-"]
        .contains(&prefix)
        .then(|| [1, 2].map(|region| format!("{prefix}region{region}.v2.argotunnel.com")))
}

/// Every address that the edge namespace has.
pub(crate) fn everything() -> impl Iterator<Item = IpAddr> {
    let regions = ["", "us-", "fed-"]
        .iter()
        .flat_map(|prefix| REGIONS.map(|region| format!("{prefix}{region}")))
        .flat_map(|host| Family::BOTH.map(|family| addresses(&host, family)).concat());
    let hosts =
        https_hosts().flat_map(|host| Family::BOTH.map(|family| addresses(host, family)).concat());
    let named = RESOLVERS
        .iter()
        .chain([&DOT])
        .map(|text| text.parse().expect("a valid address"));
    regions.chain(hosts).chain(named)
}

/// Sets for the rules of scenarios: `$region1_v4`, `$region2_v6`, `$edge_v4` (both regions),
/// `$update_v4`, `$api_v6`, `$github_v4`, `$management_v4`, `$trycloudflare_v4`, `$access_v4`, …
pub(crate) fn nft_definitions() -> String {
    let mut text = String::new();
    for (family, suffix) in [(Family::Ipv4, "v4"), (Family::Ipv6, "v6")] {
        let regions = REGIONS.map(|host| addresses(host, family));
        let mut define = |name: &str, set: &[IpAddr]| {
            writeln!(text, "define {name}_{suffix} = {}", nft_set(set)).expect("a string");
        };
        define("edge", &regions.concat());
        define("region1", &regions[0]);
        define("region2", &regions[1]);
        for (host, name, ..) in HTTPS {
            define(name, &addresses(host, family));
        }
    }
    text
}

/// An anonymous nft set.
pub(crate) fn nft_set(addresses: &[IpAddr]) -> String {
    let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    format!("{{ {} }}", list.join(", "))
}
