//! Masks what a report says about this host, so that it can be passed on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::strings;
use crate::model::{FamilyState, OwnFate, OwnRules, Report, Via};

/// What stands for the host's name.
const HOST: &str = "redacted-host";
/// What stands for the team's name: still a host label, so that the report reads as before.
const TEAM: &str = "redacted-team";
/// What stands for a proxy that has a name.
const PROXY: &str = "redacted-proxy";
/// What stands for the file of certificate authorities.
const CACERT: &str = "redacted.pem";

/// The fields that hold prose, or words of others, in which anything may be mentioned.
const PROSE: [&str; 18] = [
    "summary",
    "scope",
    "title",
    "detail",
    "evidence",
    "commands",
    "text",
    "error",
    "received",
    "location",
    "issuer",
    "subject",
    "reason",
    "above",
    "alert",
    "http_error",
    "from",
    "comment",
];

/// The report with the host's name, its addresses, the resolvers, the proxies, the team and the name
/// of the `--cacert` file masked, wherever they stand. One address has one mask throughout, from the
/// documentation's ranges (RFC 5737, RFC 3849), so that the report still reads and shows as one.
/// Loopback resolvers stay: they name nobody, and that there is a local stub matters.
///
/// # Errors
/// None that a report can cause: masks are of the types that they replace.
pub fn redact(report: &Report) -> Result<Report, serde_json::Error> {
    let masks = Masks::of(report);
    let mut masked = strings::map(report, &|key, text| masks.text(key, text))?;
    masks.typed(&mut masked);
    Ok(masked)
}

struct Masks {
    addresses: BTreeMap<IpAddr, IpAddr>,
    words: Vec<(String, &'static str)>,
    team: Option<String>,
}

impl Masks {
    fn of(report: &Report) -> Self {
        let mut masks = Self {
            addresses: BTreeMap::new(),
            words: Vec::new(),
            team: report.options.team.clone().filter(|team| !team.is_empty()),
        };
        for address in own_addresses(report).chain(resolvers(report)) {
            masks.add(address);
        }
        masks.add_of_rules(report);
        for host in report.host.proxies.iter().filter_map(|p| p.host.as_ref()) {
            match host.parse() {
                Ok(address) => masks.add(address),
                Err(_) if host == "localhost" => {}
                Err(_) => masks.words.push((host.clone(), PROXY)),
            }
        }
        let words = [(&report.options.cacert, CACERT), (&report.host.name, HOST)];
        for (word, mask) in words {
            masks.words.extend(
                word.clone()
                    .filter(|word| !word.is_empty())
                    .map(|word| (word, mask)),
            );
        }
        masks
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
        let mask = match address {
            IpAddr::V4(_) => Ipv4Addr::new(192, 0, 2, number).into(),
            IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number.into()).into(),
        };
        self.addresses.insert(address, mask);
    }

    fn address(&self, address: IpAddr) -> IpAddr {
        self.addresses.get(&address).copied().unwrap_or(address)
    }

    fn server(&self, server: SocketAddr) -> SocketAddr {
        SocketAddr::new(self.address(server.ip()), server.port())
    }

    /// Prose and the team's host, which are plain strings.
    fn text(&self, key: &str, text: &str) -> String {
        let mut text = text.to_owned();
        if let Some(team) = &self.team {
            text = replace(
                &text,
                &format!("{team}.cloudflareaccess.com"),
                &format!("{TEAM}.cloudflareaccess.com"),
            );
            text = replace(
                &text,
                &format!("{team}.fed.cloudflareaccess.com"),
                &format!("{TEAM}.fed.cloudflareaccess.com"),
            );
        }
        if !PROSE.contains(&key) {
            return text;
        }
        if let Some(team) = &self.team {
            text = replace(&text, team, TEAM);
        }
        for (word, mask) in &self.words {
            text = replace(&text, word, mask);
        }
        // All at once and not one after the other: a mask may be somebody's address.
        self.addresses_in(&text)
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
            masked.push_str(&self.word(word));
            rest = after;
        }
        masked.push_str(rest);
        masked
    }

    /// A word that may be an address, with a port or with the sentence's punctuation behind it.
    fn word(&self, word: &str) -> String {
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

    /// What is no plain string.
    fn typed(&self, report: &mut Report) {
        for server in report
            .dns
            .resolvers
            .iter_mut()
            .chain(&mut report.options.resolver)
        {
            *server = self.server(*server);
        }
        for lookup in report
            .dns
            .lookups
            .iter_mut()
            .chain(&mut report.dns.over_tcp)
        {
            if let Via::Resolver(server) = &mut lookup.via {
                *server = self.server(*server);
            }
        }
        for state in [&mut report.host.ipv4, &mut report.host.ipv6] {
            if let FamilyState::Available {
                source: Some(source),
            } = state
            {
                *source = self.address(*source);
            }
        }
        for proxy in &mut report.host.proxies {
            proxy.host = proxy.host.as_ref().map(|host| match host.parse() {
                Ok(address) => self.address(address).to_string(),
                Err(_) if host == "localhost" => host.clone(),
                Err(_) => PROXY.to_owned(),
            });
        }
        let options = &mut report.options;
        options.edge_bind_address = options
            .edge_bind_address
            .map(|address| self.address(address));
        options.team = options.team.as_ref().map(|_| TEAM.to_owned());
        options.cacert = options.cacert.as_ref().map(|_| CACERT.to_owned());
        report.host.name = report.host.name.as_ref().map(|_| HOST.to_owned());
    }
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
    use super::super::{json, samples};
    use super::*;

    #[test]
    fn nothing_of_the_host_is_left() {
        let report = samples::private();
        let text = json::write(&redact(&report).unwrap()).unwrap();
        for secret in samples::SECRETS {
            assert!(!text.contains(secret), "{secret} is left");
        }
        for mask in [HOST, TEAM, CACERT, PROXY, "192.0.2.1", "2001:db8::1"] {
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
            "192.0.2.1:53, 10.0.0.21 [2001:db8::1]:53 2001:db8::1: no; 192.0.2.2 from 192.0.2.1."
        );
    }

    #[test]
    fn a_local_stub_stays_visible() {
        let mut report = samples::ready();
        report.dns.resolvers = vec!["127.0.0.53:53".parse().unwrap()];
        assert_eq!(redact(&report).unwrap().dns.resolvers, report.dns.resolvers);
    }
}
