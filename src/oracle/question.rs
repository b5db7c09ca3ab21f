//! What the oracle is asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use serde::{Deserialize, Serialize};

use crate::model::{Family, Transport};

/// Rules, where they are to be in force, and the flows to try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The rules, loaded one after the other into one namespace.
    pub parts: Vec<Part>,
    /// As whom, and by which interface and addresses.
    pub context: Context,
    /// The flows; the answers come in this order.
    pub flows: Vec<Flow>,
}

/// A text that one tool loads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What errors call it: a file's name, or the command that printed it.
    pub name: String,
    /// The tool.
    pub format: Format,
    /// The rules.
    pub text: String,
}

/// Who reads a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Format {
    /// `nft -f`: a file of nftables, or what `nft list ruleset` printed.
    Nft,
    /// `iptables-restore`: what `iptables-save` printed.
    Iptables,
    /// `ip6tables-restore`: what `ip6tables-save` printed.
    Ip6tables,
}

/// Where the rules are to be in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// Who opens the flows.
    pub user: User,
    /// The interface by which the host reaches the Internet, at most 15 bytes.
    pub interface: String,
    /// The host's IPv4 address there.
    pub ipv4: Ipv4Addr,
    /// The host's IPv6 address there.
    pub ipv6: Ipv6Addr,
    /// Where forwarded flows come from; needed for [`Flow::Forwarded`] only.
    pub entry: Option<Entry>,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum User {
    /// The user who runs this program.
    Own,
    /// A user by number; the group is the user's own, or has the same number.
    Id(u32),
    /// A user by name. One that this host lacks gets the unused number that the rules get for that name.
    Name(String),
}

impl User {
    /// The user of an option: a number, or else a name.
    #[must_use]
    pub fn named(text: &str) -> Self {
        text.parse()
            .map_or_else(|_| Self::Name(text.to_owned()), Self::Id)
    }
}

/// A container's way into the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The bridge, at most 15 bytes.
    pub interface: String,
    /// The container's IPv4 address, if it has one.
    pub ipv4: Option<Ipv4Addr>,
    /// The container's IPv6 address, if it has one.
    pub ipv6: Option<Ipv6Addr>,
}

impl Entry {
    /// The container's addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let ipv4 = self.ipv4.map(IpAddr::from).into_iter();
        ipv4.chain(self.ipv6.map(IpAddr::from))
    }
}

/// A flow, with its replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Flow {
    /// A new flow of this host.
    Out {
        /// TCP or UDP.
        transport: Transport,
        /// The destination.
        to: SocketAddr,
    },
    /// A new TCP connection to a port of this host.
    In {
        /// Who connects.
        from: IpAddr,
        /// The port of this host.
        port: u16,
    },
    /// A TCP connection to a port of this host that was there before the rules were.
    Session {
        /// Who has connected.
        from: IpAddr,
        /// The port of this host.
        port: u16,
        /// Whether the connection tracking of the host knows it, as it does where the rules before
        /// used it.
        tracked: bool,
    },
    /// A new flow of the container of [`Context::entry`], forwarded by this host.
    Forwarded {
        /// TCP or UDP.
        transport: Transport,
        /// The destination.
        to: SocketAddr,
    },
}

impl Flow {
    /// The far end's address.
    #[must_use]
    pub const fn peer(&self) -> IpAddr {
        match self {
            Self::Out { to, .. } | Self::Forwarded { to, .. } => to.ip(),
            Self::In { from, .. } | Self::Session { from, .. } => *from,
        }
    }

    /// The family.
    #[must_use]
    pub const fn family(&self) -> Family {
        Family::of(self.peer())
    }

    /// The base chain's hook that sees the first packet of the flow: `output`, `input` or `forward`.
    #[must_use]
    pub const fn hook(&self) -> &'static str {
        match self {
            Self::Out { .. } => "output",
            Self::In { .. } | Self::Session { .. } => "input",
            Self::Forwarded { .. } => "forward",
        }
    }
}

impl Context {
    /// The default interface and the own addresses of this host; made up for a family without a route.
    /// Nothing is sent.
    #[must_use]
    pub fn of_host(user: User) -> Self {
        own_context(user)
    }
}

/// An address of the Internet for each family. Nothing is sent to it: a route is looked up.
const ELSEWHERE: [&str; 2] = ["198.41.192.7:7844", "[2606:4700:a0::1]:7844"];

fn own_context(user: User) -> Context {
    let [ipv4, ipv6] = ELSEWHERE.map(|to| {
        let own = own_address(to.parse().ok()?, None)?;
        (!own.is_loopback() && !own.is_unspecified()).then_some(own)
    });
    let interface = ipv4.or(ipv6).and_then(interface_of);
    let default = (
        Ipv4Addr::new(192, 0, 2, 2),
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2),
    );
    Context {
        user,
        interface: interface.unwrap_or_else(|| "eth0".to_owned()),
        ipv4: match ipv4 {
            Some(IpAddr::V4(ip)) => ip,
            _ => default.0,
        },
        ipv6: match ipv6 {
            Some(IpAddr::V6(ip)) => ip,
            _ => default.1,
        },
        entry: None,
    }
}

/// The interface by which a flow of this host leaves, and its source address: `from` if that is given and of
/// the family. Nothing is sent.
pub(crate) fn way_out(to: SocketAddr, from: Option<IpAddr>) -> Option<(String, IpAddr)> {
    let own = own_address(to, from)?;
    Some((interface_of(own)?, own))
}

/// The address from which this host would reach another: the kernel looks up the route.
fn own_address(to: SocketAddr, from: Option<IpAddr>) -> Option<IpAddr> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let from = from.filter(|from| from.is_ipv4() == to.is_ipv4());
    let socket = UdpSocket::bind((from.unwrap_or(any), 0)).ok()?;
    socket.connect(to).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// The interface that has this address of the host.
fn interface_of(own: IpAddr) -> Option<String> {
    let mut interfaces = nix::ifaddrs::getifaddrs().ok()?;
    let found = interfaces.find(|interface| {
        let address = interface.address;
        let v4 = address.and_then(|a| a.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip())));
        let v6 = address.and_then(|a| a.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())));
        v4.or(v6) == Some(own)
    });
    Some(found?.interface_name)
}
