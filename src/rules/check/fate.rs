//! What rules do with one destination.

use std::net::IpAddr;

use crate::model::Transport;

/// A destination: one address, port and transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// The name behind the address.
    pub host: &'a str,
    /// The address.
    pub address: IpAddr,
    /// TCP or UDP.
    pub transport: Transport,
    /// The port.
    pub port: u16,
}

/// What rules do with a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is let out, and its replies come back.
    Open,
    /// No rule lets it out; with what closes the rest, if that is known.
    Missing(Option<String>),
    /// A rule closes it: this one.
    Closed(String),
    /// It depends on something, which is named with the rule.
    Conditional(String),
    /// The rules do not speak of such flows.
    NotInFile(String),
    /// It is not clear, and why.
    Unclear(String),
    /// There are no such flows in the network that the rules are for.
    Exempt,
}

impl Fate {
    /// What decides it, in words.
    #[must_use]
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Open | Self::Exempt | Self::Missing(None) => None,
            Self::Missing(Some(why))
            | Self::Closed(why)
            | Self::Conditional(why)
            | Self::NotInFile(why)
            | Self::Unclear(why) => Some(why),
        }
    }
}
