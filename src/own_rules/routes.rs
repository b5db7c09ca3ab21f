//! PURE: which route or rule of policy routing forbids a flow, by what `ip` prints.

use std::net::IpAddr;

use super::Failed;
use crate::model::Transport;
use crate::rules::Cidr;

/// What `ip rule show` and `ip route show table all` print for the family of a flow.
pub(super) struct Routing {
    pub(super) rules: String,
    pub(super) routes: String,
}

impl Routing {
    /// The only line that can have refused the flow with this error; none if there is none, or several.
    pub(super) fn closing(&self, flow: &Failed, user: u32) -> Option<String> {
        // What the kernel answers for each type (`fib_props` in net/ipv4/fib_semantics.c).
        let kind = match flow.no_route? {
            22 => "blackhole",
            13 => "prohibit",
            113 => "unreachable",
            _ => return None,
        };
        let rules = self.rules.lines().map(str::trim);
        let routes = self.routes.lines().map(str::trim);
        let rules = rules.filter(|line| rule_matches(line, kind, flow, user));
        let routes = routes.filter(|line| route_matches(line, kind, flow.to.ip()));
        let mut lines = rules
            .map(|line| format!("ip rule {}", plain(line)))
            .chain(routes.map(|line| format!("ip route {}", plain(line))));
        let first = lines.next()?;
        lines.next().is_none().then_some(first)
    }
}

fn plain(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `unreachable 198.41.192.0/24 table 100 metric 5`.
fn route_matches(line: &str, kind: &str, address: IpAddr) -> bool {
    let mut words = line.split_whitespace();
    words.next() == Some(kind) && words.next().is_some_and(|prefix| contains(prefix, address))
}

/// `32765: from all to 198.41.192.0/24 ipproto udp dport 7844 prohibit`. A selector that is not known
/// may match.
fn rule_matches(line: &str, kind: &str, flow: &Failed, user: u32) -> bool {
    let words: Vec<_> = line.split_whitespace().collect();
    if words.last() != Some(&kind) {
        return false;
    }
    let transport = match flow.transport {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
    };
    words.windows(2).all(|pair| match pair {
        ["to", prefix] => contains(prefix, flow.to.ip()),
        ["ipproto", name] => *name == transport,
        ["dport", ports] => within(ports, flow.to.port().into()),
        ["uidrange", users] => within(users, user),
        _ => true,
    })
}

/// `7844`, `7000-8000`.
fn within(range: &str, number: u32) -> bool {
    let (low, high) = range.split_once('-').unwrap_or((range, range));
    match (low.parse::<u32>(), high.parse::<u32>()) {
        (Ok(low), Ok(high)) => (low..=high).contains(&number),
        _ => false,
    }
}

fn contains(prefix: &str, address: IpAddr) -> bool {
    prefix == "default" || Cidr::covering(prefix).is_some_and(|network| network.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn flow(transport: Transport, to: &str, error: i32) -> Failed {
        Failed {
            transport,
            to: to.parse().unwrap(),
            no_route: Some(error),
        }
    }

    fn routing(rules: &str, routes: &str) -> Routing {
        Routing {
            rules: rules.to_owned(),
            routes: routes.to_owned(),
        }
    }

    #[test]
    fn the_only_line_that_fits_is_named() {
        let routes = "default via 192.0.2.1 dev eth0\nblackhole 198.41.192.0/24 \nblackhole 10.0.0.0/8\n\
                      prohibit 198.41.200.0/24\n";
        let named =
            |error, to: &str| routing("", routes).closing(&flow(Transport::Tcp, to, error), 0);
        assert_eq!(
            named(22, "198.41.192.7:7844").as_deref(),
            Some("ip route blackhole 198.41.192.0/24")
        );
        assert_eq!(named(113, "198.41.192.7:7844"), None, "another error");
        assert_eq!(named(22, "198.41.200.7:7844"), None, "another network");
        assert_eq!(
            named(13, "198.41.200.7:7844").as_deref(),
            Some("ip route prohibit 198.41.200.0/24")
        );
    }

    #[test]
    fn two_lines_that_fit_name_none() {
        let rules = "0:\tfrom all lookup local\n100:\tfrom all ipproto udp dport 7844 blackhole\n";
        let udp = flow(Transport::Udp, "[2606:4700:a0::1]:7844", 22);
        let named = routing(rules, "").closing(&udp, 0);
        assert_eq!(
            named.as_deref(),
            Some("ip rule 100: from all ipproto udp dport 7844 blackhole")
        );
        let both = routing(rules, "blackhole 2606:4700::/32 dev lo metric 1024\n");
        assert_eq!(both.closing(&udp, 0), None);
        let tcp = flow(Transport::Tcp, "[2606:4700:a0::1]:7844", 22);
        assert!(routing(rules, "").closing(&tcp, 0).is_none());
    }

    #[test]
    fn users_and_ports_select() {
        let rules = "100: from all uidrange 1000-1999 dport 7000-8000 prohibit";
        let closing = |user, to| routing(rules, "").closing(&flow(Transport::Tcp, to, 13), user);
        assert!(closing(1500, "198.41.192.7:7844").is_some());
        assert!(closing(0, "198.41.192.7:7844").is_none());
        assert!(closing(1500, "198.41.192.7:443").is_none());
    }

    proptest! {
        #[test]
        fn a_prefix_contains_what_shares_its_bits(a: u32, b: u32, bits in 0_u32..=32) {
            let mask = if bits == 0 { 0 } else { u32::MAX << (32 - bits) };
            let prefix = format!("{}/{bits}", std::net::Ipv4Addr::from(a & mask));
            let other = IpAddr::from(std::net::Ipv4Addr::from(b));
            prop_assert_eq!(contains(&prefix, other), a & mask == b & mask);
        }

        #[test]
        fn any_text_is_read(rules: String, routes: String) {
            let udp = flow(Transport::Udp, "198.41.192.7:7844", 22);
            let _ = routing(&rules, &routes).closing(&udp, 0);
        }
    }
}
