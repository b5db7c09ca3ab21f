//! Rules of nftables: files for `nft -f`, and what `nft list ruleset` prints.

use std::collections::HashMap;

use super::Reading;
use super::block::Block;
use super::permit::{Permit, Ports, Said, combinations, some_ports, transport};
use super::statements::{Item, Statement, statements};
use crate::model::{Family, Transport};

/// Reads a file.
pub(super) fn read(text: &str, into: &mut Reading) {
    let all = statements(text, opens_block);
    let names = Names::of(&all);
    for statement in &all {
        if names.is_egress(statement) {
            rule(statement, &names, into);
        }
    }
}

fn opens_block(items: &[Item]) -> bool {
    let mut words = items.iter().map(Item::word);
    let first = words.find(|word| !matches!(*word, "add" | "create"));
    matches!(
        first,
        Some("table" | "chain" | "set" | "map" | "flowtable" | "counter")
    )
}

/// What the file gives names to: sets, definitions, and chains that are no way out.
struct Names {
    lists: HashMap<String, Vec<String>>,
    elsewhere: Vec<String>,
}

impl Names {
    fn of(all: &[Statement]) -> Self {
        let mut names = Self {
            lists: HashMap::new(),
            elsewhere: Vec::new(),
        };
        for statement in all {
            names.learn(statement);
        }
        names
    }

    fn learn(&mut self, statement: &Statement) {
        let words: Vec<_> = statement.items.iter().map(Item::word).collect();
        let block = statement
            .within
            .last()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let name = block.last().cloned().unwrap_or_default();
        let values = |item: Option<&Item>| {
            let values = item.map(Item::values).unwrap_or_default();
            values.into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        match words.as_slice() {
            ["elements", ..] => {
                let list = self.lists.entry(format!("@{name}")).or_default();
                list.extend(values(statement.items.last()));
            }
            ["add", "element", .., set, ""] => {
                let list = self.lists.entry(format!("@{set}")).or_default();
                list.extend(values(statement.items.last()));
            }
            ["define", defined, _] => {
                self.lists
                    .insert(format!("${defined}"), values(statement.items.last()));
            }
            ["type", "filter", "hook", hook, ..] if *hook != "output" => self.elsewhere.push(name),
            _ => {}
        }
    }

    /// A chain without a hook may be reached from the output.
    fn is_egress(&self, statement: &Statement) -> bool {
        let words: Vec<_> = statement.items.iter().map(Item::word).collect();
        let chain = match (statement.within.last().map(Vec::as_slice), words.as_slice()) {
            (Some([.., kind, chain]), _) if kind == "chain" => Some(chain.clone()),
            (
                None,
                [
                    "add" | "insert",
                    "rule",
                    "ip" | "ip6" | "inet",
                    _,
                    chain,
                    ..,
                ],
            ) => Some((*chain).to_owned()),
            _ => None,
        };
        chain.is_some_and(|chain| !self.elsewhere.contains(&chain))
    }

    fn resolve<'a>(&'a self, item: &'a Item) -> Vec<&'a str> {
        let resolved = item.values().into_iter().flat_map(|value| {
            let list = self.lists.get(value);
            let values = list.map(|list| list.iter().map(String::as_str).collect());
            values.unwrap_or_else(|| vec![value])
        });
        resolved.collect()
    }
}

#[derive(Default)]
struct Rule {
    blocks: Vec<Block>,
    to_some: bool,
    transports: Vec<Said<Transport>>,
    ports: Vec<Said<Ports>>,
    family: Option<Family>,
    conditional: bool,
    irrelevant: bool,
    accepts: Option<bool>,
}

fn rule(statement: &Statement, names: &Names, into: &mut Reading) {
    let items = if statement.within.is_empty() {
        // `add rule FAMILY TABLE CHAIN`
        statement.items.get(5..).unwrap_or_default()
    } else {
        statement.items.as_slice()
    };
    let mut rule = Rule::default();
    let mut rest = items.iter();
    while let Some(item) = rest.next() {
        rule.expression(item.word(), &mut rest, names);
    }
    let accepts = rule.accepts;
    let permits = if rule.irrelevant {
        Vec::new()
    } else {
        rule.permits(family_of(statement), statement.line)
    };
    if let Some(accepts) = accepts {
        into.take(accepts, permits);
    }
}

fn family_of(statement: &Statement) -> Option<Family> {
    let inside = statement
        .within
        .first()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let words = statement.items.iter().map(Item::word).take(3);
    let mut words = inside.iter().map(String::as_str).chain(words);
    words.find_map(|word| match word {
        "ip" if inside.is_empty() || inside.contains(&"ip".to_owned()) => Some(Family::Ipv4),
        "ip6" if inside.is_empty() || inside.contains(&"ip6".to_owned()) => Some(Family::Ipv6),
        _ => None,
    })
}

impl Rule {
    fn expression<'a>(
        &mut self,
        word: &str,
        rest: &mut std::slice::Iter<'a, Item>,
        names: &'a Names,
    ) {
        let mut next = || rest.next();
        match word {
            "accept" => self.accepts = Some(true),
            "drop" | "reject" => self.accepts = Some(false),
            // Nothing that comes after a verdict is a condition, nor is a count.
            "with" | "packets" | "bytes" | "comment" | "level" | "prefix" => {
                next();
            }
            "counter" | "log" | "icmpx" | "type" | "admin-prohibited" | "" => {}
            "ip" | "ip6" | "tcp" | "udp" | "th" | "meta" | "ct" => {
                let field = next().map(Item::word).unwrap_or_default();
                let value = next();
                // What leaves from a port of this host is an answer, or no flow of cloudflared's.
                self.irrelevant |= field == "sport";
                match value.map(Item::word) {
                    Some("!=" | "!" | "." | "&") | None => self.conditional = true,
                    Some(_) => {
                        let values = value.map(|v| names.resolve(v)).unwrap_or_default();
                        self.test(word, field, &values);
                    }
                }
            }
            "oif" | "oifname" => match next().map(Item::word) {
                Some("lo") => self.irrelevant = true,
                _ => self.conditional = true,
            },
            "icmp" | "icmpv6" | "iif" | "iifname" => self.irrelevant = true,
            _ => self.conditional = true,
        }
    }

    fn test(&mut self, word: &str, field: &str, values: &[&str]) {
        match (word, field) {
            ("ip" | "ip6", "daddr") => {
                let blocks: Vec<_> = values.iter().filter_map(|v| Block::parse(v)).collect();
                // A set that the file does not hold, or a name, may be anything.
                self.conditional |= blocks.len() < values.len();
                self.to_some = !blocks.is_empty();
                self.family = Some(match word {
                    "ip" => Family::Ipv4,
                    _ => Family::Ipv6,
                });
                self.blocks.extend(blocks);
            }
            ("tcp" | "udp" | "th", "dport") => {
                self.transports.extend(transport(word));
                self.ports.extend(values.iter().map(|v| some_ports(v)));
            }
            ("meta", "l4proto") | ("ip", "protocol") | ("ip6", "nexthdr") => {
                let known: Vec<_> = values.iter().filter_map(|v| transport(v)).collect();
                self.irrelevant |= known.is_empty();
                self.transports.extend(known);
            }
            ("meta", "nfproto") => {
                self.family = match values {
                    ["ipv4"] => Some(Family::Ipv4),
                    ["ipv6"] => Some(Family::Ipv6),
                    _ => None,
                };
            }
            ("ct", "state") => {
                let is_new = |value: &&str| value.split(',').any(|state| state == "new");
                self.irrelevant |= !values.iter().any(is_new);
            }
            _ => self.conditional = true,
        }
    }

    fn permits(mut self, family: Option<Family>, line: usize) -> Vec<Permit> {
        if !self.to_some {
            let is = |said: Option<Family>, family| said.is_none_or(|said| said == family);
            self.blocks = Block::everywhere(|f| is(family, f) && is(self.family, f));
        }
        combinations(
            &self.blocks,
            &self.transports,
            &self.ports,
            self.conditional,
            line,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::permit::Fit;
    use super::*;

    fn read(text: &str) -> Reading {
        let mut reading = Reading::default();
        super::read(text, &mut reading);
        reading
    }

    fn fit(rule: &str) -> Fit {
        let text = format!(
            "table inet t {{\n set edge {{ type ipv4_addr; flags interval\n elements = {{ 198.41.192.7,\n 198.41.200.0/24 }}\n }}\n chain out {{\n type filter hook output priority 0; policy drop;\n {rule}\n }}\n}}\n"
        );
        read(&text).fit("198.41.192.7".parse().unwrap(), Transport::Tcp, 7844)
    }

    #[test]
    fn only_what_lets_new_flows_out_counts() {
        for (rule, expected) in [
            (
                "ip daddr @edge tcp dport 7844 counter accept comment \"x\"",
                Fit::Yes,
            ),
            (
                "ip daddr { 198.41.192.7, 1.1.1.1 } tcp dport { 443, 7844 } accept",
                Fit::Yes,
            ),
            (
                "ip daddr 198.41.192.0/24 meta l4proto { tcp, udp } th dport 7844 accept",
                Fit::Yes,
            ),
            (
                "tcp dport 7000-8000 counter packets 1 bytes 2 accept",
                Fit::Yes,
            ),
            ("ct state new tcp dport 7844 accept", Fit::Yes),
            ("ct state established,related accept", Fit::No),
            ("ip6 daddr ::/0 tcp dport 7844 accept", Fit::No),
            ("meta nfproto ipv6 tcp dport 7844 accept", Fit::No),
            ("oif \"lo\" accept", Fit::No),
            (
                "tcp sport { 22 } tcp flags & (syn | ack) == ack accept",
                Fit::No,
            ),
            ("ip daddr @edge udp dport 7844 accept", Fit::No),
            ("ip daddr @edge icmp type echo-request accept", Fit::No),
            (
                "ip daddr != 198.41.192.7 tcp dport 7844 accept",
                Fit::Perhaps,
            ),
            ("ip daddr @edge tcp dport != 7844 accept", Fit::Perhaps),
            (
                "ip daddr @edge tcp dport 7844 meta skuid 1 accept",
                Fit::Perhaps,
            ),
            ("ip daddr @edge tcp dport 7844 drop", Fit::No),
            ("ip daddr @unknown tcp dport 7844 accept", Fit::Perhaps),
        ] {
            assert_eq!(fit(rule), expected, "{rule}");
        }
    }

    #[test]
    fn commands_and_other_hooks() {
        let text = "add rule ip filter out ip daddr 1.1.1.1 tcp dport 853 accept\n";
        assert_eq!(read(text).permits.len(), 1);
        let text = "table ip6 t { chain c { tcp dport 7844 accept; }\n chain in { type filter hook input priority 0;\n tcp dport 22 accept\n } }";
        let permits = read(text).permits;
        assert_eq!(permits.len(), 1);
        assert_eq!(permits[0].block, Block::all(Family::Ipv6));
    }
}
