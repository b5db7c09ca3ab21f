//! A block of addresses as rule files write them: one address, a prefix, or a range.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::Family;

/// All addresses from one to another, both included and of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Block {
    first: IpAddr,
    last: IpAddr,
}

impl Block {
    /// One address.
    #[must_use]
    pub const fn one(address: IpAddr) -> Self {
        Self {
            first: address,
            last: address,
        }
    }

    /// Every address of a family, as a rule without a destination has it.
    #[must_use]
    pub const fn all(family: Family) -> Self {
        match family {
            Family::Ipv4 => Self {
                first: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                last: IpAddr::V4(Ipv4Addr::BROADCAST),
            },
            Family::Ipv6 => Self {
                first: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
                last: IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)),
            },
        }
    }

    /// Every address of the families that a rule without a destination is for.
    pub(super) fn everywhere(fits: impl Fn(Family) -> bool) -> Vec<Self> {
        let families = Family::BOTH.into_iter().filter(|family| fits(*family));
        families.map(Self::all).collect()
    }

    /// Reads `ADDRESS`, `ADDRESS/PREFIX`, `ADDRESS/NETMASK` (IPv4) or `ADDRESS-ADDRESS`; an IPv6
    /// address may stand in brackets.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some((address, length)) = text.split_once('/') {
            return Self::with_prefix(address_of(address)?, length);
        }
        if let Some((first, last)) = text.split_once('-') {
            let (first, last) = (address_of(first)?, address_of(last)?);
            let in_order = Family::of(first) == Family::of(last) && first <= last;
            return in_order.then_some(Self { first, last });
        }
        address_of(text).map(Self::one)
    }

    fn with_prefix(address: IpAddr, length: &str) -> Option<Self> {
        match address {
            IpAddr::V4(address) => {
                let length = prefix(length, 32).or_else(|| prefix_of_netmask(length))?;
                let host = u32::MAX.checked_shr(length).unwrap_or(0);
                Some(Self {
                    first: IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & !host)),
                    last: IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() | host)),
                })
            }
            IpAddr::V6(address) => {
                let host = u128::MAX.checked_shr(prefix(length, 128)?).unwrap_or(0);
                Some(Self {
                    first: IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !host)),
                    last: IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() | host)),
                })
            }
        }
    }

    /// The family of all of them.
    #[must_use]
    pub const fn family(self) -> Family {
        Family::of(self.first)
    }

    /// Whether `address` is one of them.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        // The order of `IpAddr` puts all of IPv4 before all of IPv6, so that families never mix.
        self.first <= address && address <= self.last
    }

    /// Whether it is every address of its family.
    #[must_use]
    pub fn is_everything(self) -> bool {
        self == Self::all(self.family())
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (size, varying) = match (self.first, self.last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                (32, u128::from(first.to_bits() ^ last.to_bits()))
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => (128, first.to_bits() ^ last.to_bits()),
            _ => (128, u128::MAX),
        };
        let length = size - (u128::BITS - varying.leading_zeros());
        match Self::parse(&format!("{}/{length}", self.first)) {
            _ if self.first == self.last => write!(f, "{}", self.first),
            Some(same) if same == *self => write!(f, "{}/{length}", self.first),
            _ => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

fn address_of(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    bare.unwrap_or(text).parse().ok()
}

fn prefix(text: &str, most: u32) -> Option<u32> {
    text.parse().ok().filter(|length| *length <= most)
}

/// `255.255.255.0` is 24; a mask with holes is no prefix.
fn prefix_of_netmask(text: &str) -> Option<u32> {
    let bits = text.parse::<Ipv4Addr>().ok()?.to_bits();
    (bits.leading_ones() + bits.trailing_zeros() == 32 || bits == 0).then_some(bits.leading_ones())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn block(text: &str) -> Block {
        Block::parse(text).unwrap()
    }

    #[test]
    fn a_prefix_covers_its_addresses_and_no_others() {
        let net = block("198.41.192.0/24");
        assert!(net.contains("198.41.192.0".parse().unwrap()));
        assert!(net.contains("198.41.192.255".parse().unwrap()));
        assert!(!net.contains("198.41.193.0".parse().unwrap()));
        assert!(!net.contains("::ffff:198.41.192.7".parse().unwrap()));
        assert!(block("2606:4700:a0::/48").contains("2606:4700:a0::10".parse().unwrap()));
        assert!(!block("2606:4700:a0::/48").contains("2606:4700:a8::1".parse().unwrap()));
        assert!(block("::/0").is_everything() && block("0.0.0.0/0").is_everything());
    }

    #[test]
    fn it_is_written_as_shortly_as_it_can_be() {
        for (text, same) in [
            ("198.41.192.7/32", "198.41.192.7"),
            ("198.41.192.7/24", "198.41.192.0/24"),
            ("198.41.192.0/255.255.255.0", "198.41.192.0/24"),
            ("10.0.0.0-10.0.0.255", "10.0.0.0/24"),
            ("10.0.0.1-10.0.0.4", "10.0.0.1-10.0.0.4"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("0.0.0.0/0.0.0.0", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("[2606:4700::1]", "2606:4700::1"),
        ] {
            assert_eq!(block(text).to_string(), same, "{text}");
        }
    }

    #[test]
    fn what_is_no_block_is_refused() {
        for text in [
            "",
            "1.2.3",
            "1.2.3.4/33",
            "::/129",
            "2.0.0.0-1.0.0.0",
            "1.1.1.1/255.0.255.0",
        ] {
            assert_eq!(Block::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(address: IpAddr, length in 0_u32..=128) {
            let length = if address.is_ipv4() { length % 33 } else { length };
            let made = block(&format!("{address}/{length}"));
            prop_assert!(made.contains(address));
            prop_assert_eq!(block(&made.to_string()), made);
        }
    }
}
