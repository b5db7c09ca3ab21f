//! Rules of pf: files for `pfctl -f`.

use std::collections::HashMap;

use super::Reading;
use super::block::Block;
use super::permit::{Permit, Ports, Said, combinations, some_ports, transport};
use super::statements::{Item, Statement, statements};
use crate::model::{Family, Transport};

/// Reads a file.
pub(super) fn read(text: &str, into: &mut Reading) {
    let mut tables: HashMap<String, Vec<Block>> = HashMap::new();
    for statement in statements(text, |_| false) {
        match statement.items.first().map(Item::word) {
            Some("table") => {
                let name = statement.items.get(1).map(Item::word).unwrap_or_default();
                let list = statement.items.iter().flat_map(words);
                let blocks = list.filter_map(Block::parse).collect();
                tables.insert(name.to_owned(), blocks);
            }
            Some("pass") => into.take(true, rule(&statement, &tables)),
            Some("block") => into.take(false, rule(&statement, &tables)),
            _ => {}
        }
    }
}

/// Elements of a list need no comma between them.
fn words(item: &Item) -> Vec<&str> {
    match item {
        Item::Word(word) => vec![word],
        Item::List(elements) => elements.iter().flatten().map(String::as_str).collect(),
    }
}

#[derive(Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a word of the rule, and any of them go together"
)]
struct Rule {
    families: Vec<Family>,
    transports: Vec<Said<Transport>>,
    blocks: Vec<Block>,
    ports: Vec<Said<Ports>>,
    to_some: bool,
    after_to: bool,
    conditional: bool,
    irrelevant: bool,
}

fn rule(statement: &Statement, tables: &HashMap<String, Vec<Block>>) -> Vec<Permit> {
    let mut rule = Rule::default();
    let mut rest = statement.items[1..].iter();
    while let Some(item) = rest.next() {
        rule.option(item.word(), &mut rest, tables);
    }
    if rule.irrelevant {
        Vec::new()
    } else {
        rule.permits(statement.line)
    }
}

impl Rule {
    fn option(
        &mut self,
        word: &str,
        rest: &mut std::slice::Iter<'_, Item>,
        tables: &HashMap<String, Vec<Block>>,
    ) {
        let mut values = || rest.next().map(words).unwrap_or_default();
        match word {
            "out" | "quick" | "log" | "drop" | "return" | "all" | "keep" | "no" | "modulate"
            | "state" => {}
            "in" => self.irrelevant = true,
            "inet" => self.families.push(Family::Ipv4),
            "inet6" => self.families.push(Family::Ipv6),
            "label" | "flags" => {
                values();
            }
            "on" => match values().as_slice() {
                ["lo0" | "lo"] => self.irrelevant = true,
                _ => self.conditional = true,
            },
            "proto" => {
                let known: Vec<_> = values().into_iter().filter_map(transport).collect();
                self.irrelevant |= known.is_empty();
                self.transports.extend(known);
            }
            "from" => self.conditional |= values() != ["any"],
            "to" => {
                self.after_to = true;
                self.destinations(&values(), tables);
            }
            "port" if self.after_to => {
                self.ports.extend(values().into_iter().map(some_ports));
            }
            // What leaves from a port of this host is an answer, or no flow of cloudflared's.
            "port" => {
                values();
                self.irrelevant = true;
            }
            _ => self.conditional = true,
        }
    }

    fn destinations(&mut self, values: &[&str], tables: &HashMap<String, Vec<Block>>) {
        for value in values.iter().filter(|value| **value != "any") {
            self.to_some = true;
            match tables.get(*value) {
                Some(blocks) => self.blocks.extend(blocks),
                None => self.blocks.extend(Block::parse(value)),
            }
        }
    }

    fn permits(mut self, line: usize) -> Vec<Permit> {
        let families = &self.families;
        let fits = |family: Family| families.is_empty() || families.contains(&family);
        if self.to_some {
            self.blocks.retain(|block| fits(block.family()));
        } else {
            self.blocks = Block::everywhere(fits);
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

    fn fit(rule: &str) -> Fit {
        let text = format!("table <edge> const {{ 198.41.192.7\n 2606:4700:a0::1 }}\n{rule}\n");
        let mut reading = Reading::default();
        read(&text, &mut reading);
        reading.fit("198.41.192.7".parse().unwrap(), Transport::Tcp, 7844)
    }

    #[test]
    fn only_what_lets_new_flows_out_counts() {
        for (rule, expected) in [
            (
                "pass out quick proto tcp from any to <edge> port 7844 keep state",
                Fit::Yes,
            ),
            (
                "pass out proto { tcp udp } to { 198.41.192.0/24, 1.1.1.1 } port { 443 7844 }",
                Fit::Yes,
            ),
            ("pass out inet proto tcp to any port 7844", Fit::Yes),
            ("pass all", Fit::Yes),
            ("pass out inet6 proto tcp to <edge> port 7844", Fit::No),
            ("pass out proto udp to <edge> port 7844", Fit::No),
            ("pass out proto tcp to <other> port 7844", Fit::No),
            ("pass in proto tcp to <edge> port 7844", Fit::No),
            ("pass quick on lo0 all", Fit::No),
            (
                "pass out quick proto tcp from any port 22 to any flags any no state",
                Fit::No,
            ),
            ("pass out inet proto icmp all", Fit::No),
            (
                "pass out proto tcp to <edge> port 7844 user _cloudflared",
                Fit::Perhaps,
            ),
            (
                "pass out on em0 proto tcp to <edge> port 7844",
                Fit::Perhaps,
            ),
            ("block out proto tcp to <edge> port 7844", Fit::No),
        ] {
            assert_eq!(fit(rule), expected, "{rule}");
        }
    }
}
