//! Addresses of special use that stand in answers for names which have others.

use std::net::IpAddr;

/// Who makes up an address of that range, as a rule (RFC 6890, RFC 2544, RFC 6598).
#[must_use]
pub fn made_up_by(address: IpAddr) -> Option<&'static str> {
    let address = address.to_canonical();
    if address.is_unspecified() || address.is_loopback() {
        return Some("a DNS filter or a hosts list");
    }
    match address {
        IpAddr::V4(v4) => match v4.octets() {
            [198, 18 | 19, ..] => {
                Some("a proxy or VPN client with made-up addresses (fake-IP, TUN mode)")
            }
            [100, 64..=127, ..] => Some("an overlay network or a carrier's translation"),
            _ if v4.is_private() || v4.is_link_local() => Some("a captive portal or split DNS"),
            _ => None,
        },
        IpAddr::V6(v6) if v6.is_unique_local() || v6.is_unicast_link_local() => {
            Some("a captive portal or split DNS")
        }
        IpAddr::V6(_) => None,
    }
}
