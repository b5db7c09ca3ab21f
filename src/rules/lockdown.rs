//! What stays open when everything else is closed.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::model::Family;

/// ICMP errors by type, as nftables names them: replies to what this host sent, and what tells it
/// that its packets are too big.
pub(super) const ICMP: &[(u8, &str)] = &[
    (3, "destination-unreachable"),
    (11, "time-exceeded"),
    (12, "parameter-problem"),
];

/// What IPv6 does not work without, by type, as nftables names them (RFC 4890, sections 4.3 and
/// 4.4): errors, echo, neighbour and router discovery, multicast listeners.
pub(super) const ICMPV6: &[(u8, &str)] = &[
    (1, "destination-unreachable"),
    (2, "packet-too-big"),
    (3, "time-exceeded"),
    (4, "parameter-problem"),
    (128, "echo-request"),
    (129, "echo-reply"),
    (130, "mld-listener-query"),
    (131, "mld-listener-report"),
    (132, "mld-listener-done"),
    (133, "nd-router-solicit"),
    (134, "nd-router-advert"),
    (135, "nd-neighbor-solicit"),
    (136, "nd-neighbor-advert"),
    (143, "mld2-listener-report"),
];

/// The full positive model: what a host lets in and out besides cloudflared's destinations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lockdown {
    /// How the administrator gets in.
    pub ssh: Ssh,
}

/// How the administrator gets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ssh {
    /// The ports that stay open, never none, in ascending order: those given, and this session's own.
    pub ports: Vec<u16>,
    /// Who may connect; nobody named is everybody.
    pub from: Vec<Cidr>,
    /// The session in which the rules were printed, where there is one.
    pub session: Option<Session>,
    /// Whether the port is the usual one because no other one is known.
    pub guessed: bool,
}

impl Ssh {
    /// sshd's port where nothing else is known (RFC 4253).
    pub const PORT: u16 = 22;

    /// Whether anybody of the family may connect.
    #[must_use]
    pub fn sources(&self, family: Family) -> Sources {
        let of_family = |cidr: &&Cidr| cidr.family() == family;
        let from: Vec<_> = self.from.iter().filter(of_family).copied().collect();
        match (self.from.is_empty(), from.is_empty()) {
            (true, _) => Sources::Everybody,
            (false, true) => Sources::Nobody,
            (false, false) => Sources::These(from),
        }
    }
}

/// Who may open an SSH session over one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sources {
    /// Any address.
    Everybody,
    /// The networks that `--ssh-from` gives are all of the other family.
    Nobody,
    /// These networks.
    These(Vec<Cidr>),
}

impl Sources {
    /// Them as words of a rule, with the one for everybody.
    pub(super) fn words(&self, everybody: &str) -> Vec<String> {
        match self {
            Self::Everybody => vec![everybody.to_owned()],
            Self::Nobody => Vec::new(),
            Self::These(networks) => networks.iter().map(ToString::to_string).collect(),
        }
    }
}

/// The SSH session that a process runs in, as sshd tells it (`SSH_CONNECTION`, ssh(1)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// The client's address.
    pub peer: IpAddr,
    /// The server's port.
    pub port: u16,
}

impl Session {
    /// Reads `PEER PEER_PORT LOCAL LOCAL_PORT`; none for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let words: Vec<_> = text.split_whitespace().collect();
        let [peer, _, _, port] = words.as_slice() else {
            return None;
        };
        // A link-local peer comes with its zone, which no rule needs.
        let peer = peer.split('%').next().unwrap_or(peer);
        let peer: IpAddr = peer.parse().ok()?;
        Some(Self {
            peer: peer.to_canonical(),
            port: port.parse().ok().filter(|port| *port != 0)?,
        })
    }
}

/// A network: `ADDRESS/LENGTH`, or an address alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    length: u8,
}

impl Cidr {
    /// The family of the network.
    #[must_use]
    pub const fn family(&self) -> Family {
        Family::of(self.address)
    }

    /// Reads a network as clouds do: bits beyond its length do not count.
    #[must_use]
    pub fn covering(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/').unwrap_or((text, ""));
        let address: IpAddr = address.trim().parse().ok()?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let length = if length.is_empty() {
            whole
        } else {
            length.parse().ok().filter(|length| *length <= whole)?
        };
        Some(Self {
            address: network(address, length),
            length,
        })
    }

    /// Whether the network is all of its family.
    #[must_use]
    pub const fn is_everything(&self) -> bool {
        self.length == 0
    }

    /// Whether the network holds the address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        Family::of(address) == self.family() && network(address, self.length) == self.address
    }
}

/// The address with all bits behind the first `length` cleared.
fn network(address: IpAddr, length: u8) -> IpAddr {
    let length = u32::from(length);
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("`{text}` is not a network, such as 192.0.2.0/24, 2001:db8::/32 or one address")
        };
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let digits = length.is_none_or(|l| !l.is_empty() && l.bytes().all(|b| b.is_ascii_digit()));
        let length = match length {
            _ if !digits => return Err(wrong()),
            None => whole,
            Some(length) => length.parse().map_err(|_| wrong())?,
        };
        if length > whole {
            return Err(wrong());
        }
        if network(address, length) != address {
            return Err(format!(
                "`{text}` has bits beyond its length; the network is {}/{length}",
                network(address, length)
            ));
        }
        Ok(Self { address, length })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_what_sshd_tells() {
        let told = Session::parse("192.0.2.7 51234 198.51.100.2 2222").unwrap();
        assert_eq!(
            (told.peer.to_string().as_str(), told.port),
            ("192.0.2.7", 2222)
        );
        let told = Session::parse("fe80::1%eth0 51234 fe80::2%eth0 22").unwrap();
        assert_eq!(told.peer.to_string(), "fe80::1");
        let told = Session::parse("::ffff:192.0.2.7 51234 ::ffff:198.51.100.2 22").unwrap();
        assert_eq!(told.peer.to_string(), "192.0.2.7");
        for wrong in [
            "",
            "x",
            "192.0.2.7 1 192.0.2.8",
            "192.0.2.7 1 192.0.2.8 0",
            "a 1 b 22",
        ] {
            assert_eq!(Session::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn networks_are_read_strictly() {
        for (text, shown) in [
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(text.parse::<Cidr>().unwrap().to_string(), shown);
        }
        for wrong in [
            "192.0.2.0/33",
            "192.0.2.0/",
            "192.0.2.0/+4",
            "::/129",
            "office",
            "/24",
        ] {
            assert!(
                wrong.parse::<Cidr>().unwrap_err().contains("not a network"),
                "{wrong}"
            );
        }
        let error = "192.0.2.7/24".parse::<Cidr>().unwrap_err();
        assert!(error.ends_with("the network is 192.0.2.0/24"), "{error}");
    }

    #[test]
    fn a_network_holds_its_addresses() {
        let holds =
            |cidr: &str, ip: &str| cidr.parse::<Cidr>().unwrap().contains(ip.parse().unwrap());
        assert!(holds("192.0.2.0/24", "192.0.2.255") && !holds("192.0.2.0/24", "192.0.3.0"));
        assert!(holds("0.0.0.0/0", "1.2.3.4") && !holds("0.0.0.0/0", "::1"));
        assert!(
            holds("2001:db8::/32", "2001:db8:ffff::1") && !holds("2001:db8::/32", "2001:db9::")
        );
    }
}
