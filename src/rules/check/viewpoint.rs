//! From where flows are sent.

use std::net::{Ipv4Addr, Ipv6Addr};

/// From where flows are sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Viewpoint {
    /// By which user, by name or number; none is the one who runs this program.
    pub user: Option<String>,
    /// By a container, if the flows are forwarded.
    pub container: Option<Container>,
}

/// A container, or another machine whose flows a host forwards. It has an address of at least one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// The interface by which its packets come in, if this host has it.
    pub bridge: Option<String>,
}
