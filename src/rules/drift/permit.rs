//! What a rule of a file lets out, and how sure that is.

use std::net::IpAddr;

use super::block::Block;
use crate::model::Transport;

/// What a rule says about a protocol or a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Said<T> {
    /// This one.
    Only(T),
    /// The rule holds for all of them.
    Any,
    /// Nothing that could be understood.
    Unclear,
}

impl<T: Copy> Said<T> {
    /// Whether a value fits: yes, no, or nobody knows.
    fn fits(self, matches: impl Fn(T) -> bool) -> Option<bool> {
        match self {
            Self::Only(said) => Some(matches(said)),
            Self::Any => Some(true),
            Self::Unclear => None,
        }
    }
}

/// Ports from one to another, both included.
pub type Ports = (u16, u16);

/// A rule that lets something out (or keeps it in, where it stands in a list of those).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Permit {
    /// Where to.
    pub block: Block,
    /// Over which protocol.
    pub transport: Said<Transport>,
    /// To which ports.
    pub ports: Said<Ports>,
    /// True when the rule has conditions that are not understood, such as an interface or a user.
    pub conditional: bool,
    /// The line of the file that it stands in, from 1; 0 where the form has no lines.
    pub line: usize,
}

/// How a rule stands to one flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// It is about something else.
    No,
    /// It may be about this flow.
    Perhaps,
    /// It is about this flow.
    Yes,
}

impl Permit {
    /// Whether the rule is about a flow.
    #[must_use]
    pub fn fit(&self, address: IpAddr, transport: Transport, port: u16) -> Fit {
        if !self.block.contains(address) {
            return Fit::No;
        }
        let transport = self.transport.fits(|said| said == transport);
        let port = self
            .ports
            .fits(|(first, last)| first <= port && port <= last);
        match (transport, port) {
            (Some(false), _) | (_, Some(false)) => Fit::No,
            (Some(true), Some(true)) if !self.conditional => Fit::Yes,
            _ => Fit::Perhaps,
        }
    }
}

/// A protocol as rule files write it: a name or a number; `None` for protocols without ports.
pub(super) fn transport(text: &str) -> Option<Said<Transport>> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" | "6" => Some(Said::Only(Transport::Tcp)),
        "udp" | "17" => Some(Said::Only(Transport::Udp)),
        "all" | "any" | "*" | "-1" | "0" | "ip" => Some(Said::Any),
        _ => None,
    }
}

/// A port or a range of them, joined by `:` or `-`; also the few names that files use.
pub(super) fn ports(text: &str) -> Option<Said<Ports>> {
    let text = text.to_ascii_lowercase();
    if matches!(text.as_str(), "any" | "*" | "all") {
        return Some(Said::Any);
    }
    let one = |text: &str| match text {
        "https" => Some(443),
        "domain" => Some(53),
        "ntp" => Some(123),
        "ssh" => Some(22),
        number => number.parse().ok(),
    };
    let (first, last) = text.split_once([':', '-']).unwrap_or((&text, &text));
    let (first, last) = (one(first)?, one(last)?);
    (first <= last).then_some(Said::Only((first, last)))
}

/// The same, where a rule names some port: what is not understood is one that nobody knows.
pub(super) fn some_ports(text: &str) -> Said<Ports> {
    ports(text).unwrap_or(Said::Unclear)
}

/// What a rule about ports of this host says about new flows of cloudflared's, which leave from ports
/// that the system chooses, none of them below 1024: `None` when it is not about them, else whether it
/// may not hold.
pub(super) fn from_ports<'a>(texts: impl IntoIterator<Item = &'a str>) -> Option<bool> {
    let mut may_hold = false;
    for text in texts {
        match ports(text) {
            Some(Said::Any) => return Some(false),
            Some(Said::Only((_, last))) => may_hold |= last >= 1024,
            Some(Said::Unclear) | None => may_hold = true,
        }
    }
    may_hold.then_some(true)
}

/// Whether a word stands for something else, which this program does not know.
pub(super) fn is_variable(text: &str) -> bool {
    text.contains(['$', '`', '@', '%'])
}

/// Every combination of what a rule lists. A rule that names no protocol, or no port, holds for all.
pub(super) fn combinations(
    blocks: &[Block],
    transports: &[Said<Transport>],
    ports: &[Said<Ports>],
    conditional: bool,
    line: usize,
) -> Vec<Permit> {
    let transports = if transports.is_empty() {
        &[Said::Any]
    } else {
        transports
    };
    let ports = if ports.is_empty() {
        &[Said::Any]
    } else {
        ports
    };
    let mut permits = Vec::new();
    for block in blocks {
        for transport in transports {
            permits.extend(ports.iter().map(|ports| Permit {
                block: *block,
                transport: *transport,
                ports: *ports,
                conditional,
                line,
            }));
        }
    }
    permits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permit(transport: Said<Transport>, ports: Said<Ports>) -> Permit {
        Permit {
            block: Block::parse("198.41.192.0/24").unwrap(),
            transport,
            ports,
            conditional: false,
            line: 1,
        }
    }

    /// | address | protocol | port | conditions | fit |
    #[test]
    fn a_rule_fits_only_by_what_it_says() {
        let inside: IpAddr = "198.41.192.7".parse().unwrap();
        let outside: IpAddr = "198.41.200.13".parse().unwrap();
        let tcp = Said::Only(Transport::Tcp);
        let port = Said::Only((7844, 7844));
        let whole = permit(tcp, port);
        assert_eq!(whole.fit(inside, Transport::Tcp, 7844), Fit::Yes);
        assert_eq!(whole.fit(outside, Transport::Tcp, 7844), Fit::No);
        assert_eq!(whole.fit(inside, Transport::Udp, 7844), Fit::No);
        assert_eq!(whole.fit(inside, Transport::Tcp, 443), Fit::No);
        assert_eq!(
            permit(Said::Any, Said::Any).fit(inside, Transport::Udp, 1),
            Fit::Yes
        );
        assert_eq!(
            permit(tcp, Said::Unclear).fit(inside, Transport::Tcp, 7844),
            Fit::Perhaps
        );
        assert_eq!(
            permit(tcp, Said::Unclear).fit(inside, Transport::Udp, 7844),
            Fit::No
        );
        let conditional = Permit {
            conditional: true,
            ..whole
        };
        assert_eq!(conditional.fit(inside, Transport::Tcp, 7844), Fit::Perhaps);
        assert_eq!(conditional.fit(inside, Transport::Tcp, 443), Fit::No);
    }

    #[test]
    fn protocols_and_ports_are_read_as_files_write_them() {
        assert_eq!(transport("TCP"), Some(Said::Only(Transport::Tcp)));
        assert_eq!(transport("17"), Some(Said::Only(Transport::Udp)));
        assert_eq!(transport("icmp"), None);
        assert_eq!(ports("7844"), Some(Said::Only((7844, 7844))));
        assert_eq!(ports("67:68"), Some(Said::Only((67, 68))));
        assert_eq!(ports("https"), Some(Said::Only((443, 443))));
        assert_eq!(ports("9-8"), None);
        assert_eq!(ports("70000"), None);
    }
}
