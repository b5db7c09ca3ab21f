//! What the dialects of other machines print, held against those machines' own forms: the schemas of
//! the policies, and scripts that are run with programs in the place of the clouds' tools.

mod policies;
mod scripts;

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Egress, Purpose};

/// Protocol, address and port.
type Flows = BTreeSet<(String, IpAddr, u16)>;

/// What has to be let out.
fn flows(egress: &Egress, resolvers: bool) -> Flows {
    let entries = egress.entries.iter();
    let wanted = entries.filter(|entry| resolvers || entry.purpose != Purpose::Dns);
    let each = wanted.flat_map(|entry| {
        let to = |ip| (entry.protocol().to_owned(), ip, entry.port);
        entry.addresses.iter().map(move |address| to(address.ip))
    });
    each.collect()
}

/// The address of a network of one address.
fn single(cidr: &str) -> IpAddr {
    let (address, length) = cidr.split_once('/').unwrap();
    let address: IpAddr = address.parse().unwrap();
    assert_eq!(length, if address.is_ipv4() { "32" } else { "128" });
    address
}
