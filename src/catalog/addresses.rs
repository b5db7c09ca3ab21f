//! The documented addresses of the edge, ten of each family a region
//! (Cloudflare documentation, "Tunnel with firewall", 2026).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::Family;

/// The documented addresses of an edge host in one family; empty for any other host.
#[must_use]
pub fn documented(host: &str, family: Family) -> Vec<IpAddr> {
    let Some((_, prefix4, hosts4, prefix6)) = REGIONS.iter().find(|(name, ..)| *name == host)
    else {
        return Vec::new();
    };
    match family {
        Family::Ipv4 => {
            let [a, b, c] = *prefix4;
            hosts4
                .iter()
                .map(|d| Ipv4Addr::new(a, b, c, *d).into())
                .collect()
        }
        Family::Ipv6 => {
            let [a, b, c] = *prefix6;
            HOSTS6
                .iter()
                .map(|h| Ipv6Addr::new(a, b, c, 0, 0, 0, 0, *h).into())
                .collect()
        }
    }
}

/// Whether the documentation lists `address` for `host`.
#[must_use]
pub fn is_documented(host: &str, address: IpAddr) -> bool {
    documented(host, Family::of(address)).contains(&address)
}

type RegionAddresses = (&'static str, [u8; 3], &'static [u8], [u16; 3]);

const REGIONS: &[RegionAddresses] = &[
    (
        "region1.v2.argotunnel.com",
        [198, 41, 192],
        &[7, 27, 37, 47, 57, 67, 77, 107, 167, 227],
        [0x2606, 0x4700, 0xa0],
    ),
    (
        "region2.v2.argotunnel.com",
        [198, 41, 200],
        &[13, 23, 33, 43, 53, 63, 73, 113, 193, 233],
        [0x2606, 0x4700, 0xa8],
    ),
    (
        "us-region1.v2.argotunnel.com",
        [198, 41, 218],
        ONE_TO_TEN,
        [0x2606, 0x4700, 0xa1],
    ),
    (
        "us-region2.v2.argotunnel.com",
        [198, 41, 219],
        ONE_TO_TEN,
        [0x2606, 0x4700, 0xa9],
    ),
    (
        "fed-region1.v2.argotunnel.com",
        [162, 159, 234],
        ONE_TO_TEN,
        [0x2a06, 0x98c1, 0x4d],
    ),
    (
        "fed-region2.v2.argotunnel.com",
        [172, 64, 234],
        ONE_TO_TEN,
        [0x2606, 0x4700, 0xf6],
    ),
];

const ONE_TO_TEN: &[u8] = &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10];

/// The tenth host part is hexadecimal: `::10`, not `::a`.
const HOSTS6: &[u16] = &[1, 2, 3, 4, 5, 6, 7, 8, 9, 0x10];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_region_has_ten_addresses_a_family() {
        for (host, ..) in REGIONS {
            for family in Family::BOTH {
                let addresses = documented(host, family);
                assert_eq!(addresses.len(), 10, "{host} {family}");
                assert!(
                    addresses
                        .iter()
                        .all(|a| Family::of(*a) == family && is_documented(host, *a))
                );
            }
        }
    }

    #[test]
    fn the_tenth_ipv6_host_is_hexadecimal() {
        let last = documented("region1.v2.argotunnel.com", Family::Ipv6).pop();
        assert_eq!(last, Some("2606:4700:a0::10".parse().unwrap()));
    }

    #[test]
    fn other_hosts_have_none() {
        assert!(documented("api.cloudflare.com", Family::Ipv4).is_empty());
    }
}
