//! Masks what a report says about this host, so that it can be passed on.
//!
//! Every string goes through the masks, unless its type has a finite list of values ([`open`]).

mod open;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::catalog;
use crate::model::{OwnFate, OwnRules, Report, Via};

/// What stands for the host's name.
const HOST: &str = "redacted-host";
/// What stands for the team's name: still a host label, so that the report reads as before.
const TEAM: &str = "redacted-team";
/// What stands for a proxy that has a name.
const PROXY: &str = "redacted-proxy";
/// What stands for the file of certificate authorities.
const CACERT: &str = "redacted.pem";
/// What stands for whatever looks like a token.
const TOKEN: &str = "redacted-token";

/// The report with the host's name, its addresses, the resolvers, the proxies, the team, the optional hosts
/// that were asked for and the name of the `--cacert` file masked, wherever they are. One address has one
/// mask throughout, of the same kind (private, 6to4, …), so that the report still reads and is diagnosed
/// alike. Loopback resolvers stay: they identify no one, and that there is a local stub matters.
///
/// # Errors
/// None that a report can cause: masks are of the types that they replace.
pub fn redact(report: &Report) -> Result<Report, serde_json::Error> {
    let masks = Masks::of(report);
    open::map(report, &|text| masks.text(text))
}

struct Masks {
    addresses: BTreeMap<IpAddr, IpAddr>,
    /// What is replaced, the longest first: a host's name may begin with the team's.
    words: Vec<(String, String)>,
}

impl Masks {
    fn of(report: &Report) -> Self {
        let mut masks = Self {
            addresses: BTreeMap::new(),
            words: Vec::new(),
        };
        for address in own_addresses(report).chain(resolvers(report)) {
            masks.add(address);
        }
        masks.add_of_rules(report);
        for host in report.host.proxies.iter().filter_map(|p| p.host.as_ref()) {
            match host.parse() {
                Ok(address) => masks.add(address),
                Err(_) => masks.word(host, PROXY),
            }
        }
        let options = &report.options;
        let optional = options.optional_hosts.iter().flatten();
        let asked = optional.filter(|host| host.asked && !is_public(&host.name));
        for (number, host) in (1..).zip(asked) {
            masks.word(&host.name, &format!("redacted-{number}.example"));
        }
        if let Some(name) = &report.host.name {
            masks.word(name, HOST);
            // What others see of a full name is often its first label.
            masks.word(name.split('.').next().unwrap_or_default(), HOST);
        }
        masks.word(options.team.as_deref().unwrap_or_default(), TEAM);
        masks.word(options.cacert.as_deref().unwrap_or_default(), CACERT);
        masks
            .words
            .sort_by_key(|(word, _)| std::cmp::Reverse(word.len()));
        masks
    }

    fn word(&mut self, word: &str, mask: &str) {
        if !word.is_empty() && word != "localhost" {
            self.words.push((word.to_owned(), mask.to_owned()));
        }
    }

    /// The addresses in this host's own rules, but for those of the destinations.
    fn add_of_rules(&mut self, report: &Report) {
        let destinations = report.destinations.iter().flat_map(|row| &row.probes);
        let known: BTreeSet<_> = destinations.map(|probe| probe.address).collect();
        let flows = report.own_rules.iter().flat_map(OwnRules::flows);
        let texts = flows.flat_map(|flow| match &flow.fate {
            OwnFate::Closed { rule, .. }
            | OwnFate::Redirected { rule }
            | OwnFate::Conditional { rule, .. } => [Some(&rule.text), rule.comment.as_ref()],
            OwnFate::Route { text } => [Some(text), None],
            OwnFate::Unclear { reason } => [Some(reason), None],
            OwnFate::Passes => [None, None],
        });
        let is_part = |c: char| c.is_ascii_hexdigit() || matches!(c, ':' | '.');
        for text in texts.flatten() {
            let words = text.split(|c: char| !is_part(c));
            let bare = words.map(|word| word.trim_end_matches(['.', ':']));
            let named = bare.filter_map(|word| {
                let with_port = || word.parse::<SocketAddr>().ok().map(|server| server.ip());
                word.parse::<IpAddr>().ok().or_else(with_port)
            });
            let foreign = named.filter(|ip| !ip.is_unspecified() && !known.contains(ip));
            foreign.for_each(|address| self.add(address));
        }
    }

    fn add(&mut self, address: IpAddr) {
        if address.is_loopback() || self.addresses.contains_key(&address) {
            return;
        }
        let of_family = |known: &&IpAddr| known.is_ipv4() == address.is_ipv4();
        let number = self.addresses.keys().filter(of_family).count() + 1;
        // 254 addresses of one host are enough; what comes after them shares the last mask.
        let number = u8::try_from(number).unwrap_or(u8::MAX).min(254);
        self.addresses.insert(address, mask(address, number));
    }

    fn address(&self, address: IpAddr) -> IpAddr {
        self.addresses.get(&address).copied().unwrap_or(address)
    }

    fn server(&self, server: SocketAddr) -> SocketAddr {
        SocketAddr::new(self.address(server.ip()), server.port())
    }

    fn text(&self, text: &str) -> String {
        if is_public(text) {
            return text.to_owned();
        }
        let mut text = text.to_owned();
        for (word, mask) in &self.words {
            text = replace(&text, word, mask);
        }
        // All at once and not one after the other: a mask may be another machine's address.
        tokens_masked(&self.addresses_in(&text))
    }

    fn addresses_in(&self, text: &str) -> String {
        let mut masked = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find(|c: char| c.is_ascii_hexdigit() || c == ':') {
            let (before, from) = rest.split_at(start);
            masked.push_str(before);
            let end = from
                .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, ':' | '.')))
                .unwrap_or(from.len());
            let (word, after) = from.split_at(end);
            masked.push_str(&self.as_address(word));
            rest = after;
        }
        masked.push_str(rest);
        masked
    }

    /// A word that may be an address, with a port or with the sentence's punctuation behind it.
    fn as_address(&self, word: &str) -> String {
        let bare = word.trim_end_matches(['.', ':']);
        let tail = word.get(bare.len()..).unwrap_or_default();
        if let Ok(address) = bare.parse() {
            return format!("{}{tail}", self.address(address));
        }
        match bare.parse::<SocketAddr>() {
            Ok(server) => format!("{}{tail}", self.server(server)),
            Err(_) => word.to_owned(),
        }
    }
}

/// Another address of the same kind, as far as a diagnosis depends on the kind.
fn mask(address: IpAddr, number: u8) -> IpAddr {
    let last = u16::from(number);
    match address {
        IpAddr::V4(v4) => match v4.octets() {
            [100, 64..=127, ..] => Ipv4Addr::new(100, 127, 254, number),
            [169, 254, ..] => Ipv4Addr::new(169, 254, 254, number),
            _ if v4.is_private() => Ipv4Addr::new(10, 254, 254, number),
            _ => Ipv4Addr::new(192, 0, 2, number),
        }
        .into(),
        IpAddr::V6(v6) => match v6.segments() {
            // 6to4 of the same documentation range as above (RFC 3056).
            [0x2002, ..] => Ipv6Addr::new(0x2002, 0xc000, 0x0200 | last, 0, 0, 0, 0, 1),
            // Teredo (RFC 4380), NAT64 (RFC 6052).
            [0x2001, 0, ..] => Ipv6Addr::new(0x2001, 0, 0xc000, 0x0200, 0, 0, 0, last),
            [0x64, 0xff9b, ..] => Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0xc000, 0x0200 | last),
            _ if v6.is_unique_local() => Ipv6Addr::new(0xfd00, 0xdb8, 0, 0, 0, 0, 0, last),
            _ if v6.is_unicast_link_local() => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xdb8, last),
            _ => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last),
        }
        .into(),
    }
}

/// Texts that say nothing about this host, whatever it is called: documented names, systems, moments.
fn is_public(text: &str) -> bool {
    const SYSTEMS: [&str; 11] = [
        "linux", "windows", "macos", "freebsd", "netbsd", "openbsd", "x86_64", "x86", "aarch64",
        "arm", "riscv64",
    ];
    SYSTEMS.contains(&text)
        || catalog::is_documented_name(text)
        || text.parse::<jiff::Timestamp>().is_ok()
}

/// Masks what looks like a token of cloudflared (base64 of a JSON object) or of something else: long, with
/// letters of both cases and digits.
fn tokens_masked(text: &str) -> String {
    const LONG: usize = 40;
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '/' | '=');
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_part) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|c| !is_part(c)).unwrap_or(from.len());
        let (word, after) = from.split_at(end);
        let has = |test: fn(&char) -> bool| word.chars().any(|c| test(&c));
        let mixed = has(char::is_ascii_lowercase)
            && has(char::is_ascii_uppercase)
            && has(char::is_ascii_digit);
        let is_token =
            (word.len() >= LONG && mixed) || (word.starts_with("eyJ") && word.len() >= LONG / 2);
        masked.push_str(before);
        masked.push_str(if is_token { TOKEN } else { word });
        rest = after;
    }
    masked.push_str(rest);
    masked
}

fn own_addresses(report: &Report) -> impl Iterator<Item = IpAddr> + '_ {
    let host = &report.host;
    [
        host.ipv4.source(),
        host.ipv6.source(),
        report.options.edge_bind_address,
    ]
    .into_iter()
    .flatten()
}

fn resolvers(report: &Report) -> impl Iterator<Item = IpAddr> + '_ {
    let asked = report
        .dns
        .lookups
        .iter()
        .filter_map(|lookup| match lookup.via {
            Via::Resolver(server) => Some(server),
            Via::Dot | Via::Hosts => None,
        });
    let listed = report
        .dns
        .resolvers
        .iter()
        .chain(&report.options.resolver)
        .copied();
    listed.chain(asked).map(|server| server.ip())
}

/// Replaces whole words only: a host called `edge` must not spoil `knowledge`.
fn replace(text: &str, word: &str, mask: &str) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(word) {
        let joins =
            |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '-' || c == '_');
        let whole = !joins(before.chars().next_back()) && !joins(after.chars().next());
        replaced.push_str(before);
        replaced.push_str(if whole { mask } else { word });
        rest = after;
    }
    replaced.push_str(rest);
    replaced
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::{json, samples};
    use super::*;

    #[test]
    fn nothing_of_the_host_is_left() {
        let report = samples::private();
        let text = json::write(&redact(&report).unwrap()).unwrap();
        for secret in samples::SECRETS {
            assert!(!text.contains(secret), "{secret} is left");
        }
        for mask in [HOST, TEAM, CACERT, PROXY, "10.254.254.1", "fd00:db8::1"] {
            assert!(text.contains(mask), "{mask} is missing");
        }
    }

    #[test]
    fn a_masked_report_is_a_report_and_masking_it_again_changes_nothing() {
        let masked = redact(&samples::private()).unwrap();
        let text = json::write(&masked).unwrap();
        assert_eq!(json::read(text.as_bytes()).unwrap(), masked);
        assert_eq!(redact(&masked).unwrap(), masked);
    }

    #[test]
    fn the_kind_of_an_address_stays() {
        for (address, masked) in [
            ("10.1.2.3", "10.254.254.7"),
            ("192.168.1.1", "10.254.254.7"),
            ("100.64.0.9", "100.127.254.7"),
            ("169.254.3.4", "169.254.254.7"),
            ("203.0.113.5", "192.0.2.7"),
            ("2002:a00:102::2", "2002:c000:207::1"),
            ("2001:0:4136::1", "2001:0:c000:200::7"),
            ("64:ff9b::a01:203", "64:ff9b::c000:207"),
            ("fd12::1", "fd00:db8::7"),
            ("fe80::1", "fe80::db8:7"),
            ("2a01:4f8::1", "2001:db8::7"),
        ] {
            let masked: IpAddr = masked.parse().unwrap();
            assert_eq!(mask(address.parse().unwrap(), 7), masked, "{address}");
            assert_eq!(mask(masked, 7), masked, "{address} masked again");
        }
    }

    #[test]
    fn tokens_are_masked_and_other_long_words_stay() {
        let token = format!("eyJhIjoi{}", "Ab1".repeat(12));
        assert_eq!(
            tokens_masked(&format!("run --token {token}.")),
            "run --token redacted-token."
        );
        for text in [
            "/etc/systemd/system/cloudflared.service",
            "pqtunnels.cloudflareresearch.com",
            "6f1ed002ab5595859014ebf0951522d9a1b2c3d4e5f60718",
        ] {
            assert_eq!(tokens_masked(text), text);
        }
    }

    /// Puts the text into the string at this place in the report; `None` where its type does not allow it.
    fn with(report: &Value, place: &str, text: &str) -> Option<Report> {
        let mut changed = report.clone();
        *changed.pointer_mut(place)? = Value::String(text.to_owned());
        serde_json::from_value(changed).ok()
    }

    fn places(value: &Value, place: &str, found: &mut Vec<String>) {
        match value {
            Value::String(_) => found.push(place.to_owned()),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    places(item, &format!("{place}/{index}"), found);
                }
            }
            Value::Object(fields) => {
                for (name, field) in fields {
                    places(
                        field,
                        &format!("{place}/{}", name.replace('~', "~0").replace('/', "~1")),
                        found,
                    );
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    #[test]
    fn no_string_field_lets_a_secret_through() {
        const TOKEN_OF_TUNNEL: &str = "eyJhIjoiNTJmZTg3ZWQ4MTdkNGE2OSIsInQiOiJlM2Q5In0";
        const LOUD: [&str; 4] = ["db-7", "10.20.30.40", "acme-corp", TOKEN_OF_TUNNEL];
        let report = samples::private();
        let value = serde_json::to_value(&report).unwrap();
        let mut all = Vec::new();
        places(&value, "", &mut all);
        let mut tried = 0;
        for place in &all {
            let text = format!("{} is {}", LOUD.join(", "), LOUD.join(" "));
            // The names that the masks are made of are what they are.
            let source = [
                "/host/name",
                "/options/team",
                "/options/cacert",
                "/host/proxies",
            ];
            if source.iter().any(|source| place.starts_with(source)) {
                continue;
            }
            let Some(report) = with(&value, place, &text) else {
                continue;
            };
            tried += 1;
            let text = json::write(&redact(&report).unwrap()).unwrap();
            for secret in LOUD {
                assert!(!text.contains(secret), "{secret} is left at {place}");
            }
        }
        assert!(tried > 50, "{tried} of {}", all.len());
    }

    #[test]
    fn whole_words_are_masked_and_others_stay() {
        assert_eq!(
            replace("edge, knowledge edge-2 (edge)", "edge", "M"),
            "M, knowledge edge-2 (M)"
        );
    }

    #[test]
    fn addresses_are_found_in_sentences() {
        let mut masks = Masks::of(&samples::ready());
        masks.addresses.clear();
        for address in ["10.0.0.2", "fd00::53", "192.0.2.1"] {
            masks.add(address.parse().unwrap());
        }
        let text = "10.0.0.2:53, 10.0.0.21 [fd00::53]:53 fd00::53: no; 192.0.2.1 from 10.0.0.2.";
        assert_eq!(
            masks.addresses_in(text),
            "10.254.254.1:53, 10.0.0.21 [fd00:db8::1]:53 fd00:db8::1: no; 192.0.2.2 from 10.254.254.1."
        );
    }

    #[test]
    fn a_local_stub_stays_visible() {
        let mut report = samples::ready();
        report.dns.resolvers = vec!["127.0.0.53:53".parse().unwrap()];
        assert_eq!(redact(&report).unwrap().dns.resolvers, report.dns.resolvers);
    }
}
