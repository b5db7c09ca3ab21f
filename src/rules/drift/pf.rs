//! Rules of pf: files for `pfctl -f`.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::block::Block;
use super::permit::{
    Permit, Ports, Said, combinations, from_ports, is_variable, some_ports, transport,
};
use super::statements::{Item, Statement, statements};
use super::ways::{Step, Verdict};
use super::{Named, Reading};
use crate::model::{Family, Transport};

/// The chain of the rules; the last one that is about a flow decides, unless one is quick.
const LIST: &str = "pf";

type Tables = HashMap<String, Vec<Block>>;

/// Reads a file.
pub(super) fn read(text: &str, into: &mut Reading) {
    let text = with_macros(text);
    let mut tables = Tables::new();
    for statement in statements(&text, |_| false) {
        match statement.items.first().map(Item::word) {
            Some("table") => {
                let name = statement.items.get(1).map(Item::word).unwrap_or_default();
                let list: Vec<_> = statement.items.iter().skip(2).flat_map(words).collect();
                let blocks: Vec<_> = list.iter().filter_map(|word| Block::parse(word)).collect();
                // What else fills a table is not in the file: another file, a name, a command.
                let fillers =
                    |word: &&&str| !matches!(**word, "const" | "persist" | "counters" | "");
                let is_whole = list.iter().filter(fillers).count() == blocks.len();
                if is_whole && !blocks.is_empty() {
                    tables.insert(name.to_owned(), blocks);
                }
            }
            Some("pass") => rule(&statement, Verdict::Accept, &tables, into),
            Some("block") => rule(&statement, Verdict::Deny, &tables, into),
            // What an anchor holds is loaded by itself, and comes before what follows.
            Some("anchor" | "load" | "include") => into.doubt(statement.line),
            Some("match") if statement.items.iter().any(|item| item.word() == "rdr-to") => {
                into.doubt(statement.line);
            }
            _ => {}
        }
    }
}

/// The text with its macros (`NAME = "VALUE"`) filled in; it keeps the numbers of its lines.
fn with_macros(text: &str) -> String {
    let mut macros: Vec<(String, String)> = Vec::new();
    let mut filled = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let mut whole = line.to_owned();
        let mut more = 0;
        while whole.ends_with('\\') {
            let Some(next) = lines.next() else { break };
            whole.pop();
            whole.push(' ');
            whole.push_str(next);
            more += 1;
        }
        let whole = fill(&whole, &macros);
        if let Some((name, value)) = definition(&whole) {
            macros.push((name.to_owned(), value));
        } else {
            filled.push_str(&whole);
        }
        // Writing to a string cannot fail.
        let _ = write!(filled, "{}", "\n".repeat(more + 1));
    }
    filled
}

/// `NAME = "VALUE"`; a comment may follow.
fn definition(line: &str) -> Option<(&str, String)> {
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let value = value.trim();
    let value = match value.split('"').collect::<Vec<_>>().as_slice() {
        [_, quoted, _] => (*quoted).to_owned(),
        [plain] => plain
            .split('#')
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned(),
        // Several texts in a row are one.
        pieces => pieces.concat(),
    };
    is_name.then_some((name, value))
}

/// The line with `$NAME` replaced, the longest names first, so that none is taken for its beginning.
fn fill(line: &str, macros: &[(String, String)]) -> String {
    if !line.contains('$') {
        return line.to_owned();
    }
    let mut macros: Vec<_> = macros.iter().rev().collect();
    macros.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    let mut line = line.to_owned();
    for (name, value) in macros {
        line = line.replace(&format!("${name}"), value);
    }
    line
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
    hosts: Vec<String>,
    ports: Vec<Said<Ports>>,
    to_some: bool,
    after_to: bool,
    conditional: bool,
    irrelevant: bool,
    quick: bool,
}

fn rule(statement: &Statement, verdict: Verdict, tables: &Tables, into: &mut Reading) {
    let mut rule = Rule::default();
    let mut rest = statement.items[1..].iter();
    while let Some(item) = rest.next() {
        rule.option(item.word(), &mut rest, tables);
    }
    if rule.irrelevant {
        return;
    }
    for host in &rule.hosts {
        into.named(statement.line);
        if verdict == Verdict::Accept {
            rule.by_name(host, into);
        } else {
            rule.conditional = true;
            rule.blocks.extend(Block::everywhere(|_| true));
        }
    }
    let step = Step {
        quick: rule.quick,
        ..Step::new(verdict, rule.permits(statement.line))
    };
    into.list(LIST, step);
}

impl Rule {
    fn option(&mut self, word: &str, rest: &mut std::slice::Iter<'_, Item>, tables: &Tables) {
        let mut values = || rest.next().map(words).unwrap_or_default();
        match word {
            "quick" => self.quick = true,
            "out" | "log" | "drop" | "return" | "all" | "keep" | "no" | "modulate" | "state" => {}
            "in" => self.irrelevant = true,
            "inet" => self.families.push(Family::Ipv4),
            "inet6" => self.families.push(Family::Ipv6),
            "label" | "flags" => {
                values();
            }
            "on" => match values().as_slice() {
                ["lo0" | "lo"] => self.irrelevant = true,
                // OpenBSD's group of the interfaces with a default route.
                ["egress"] => {}
                _ => self.conditional = true,
            },
            "proto" => {
                let said = values();
                let known: Vec<_> = said.iter().filter_map(|word| transport(word)).collect();
                self.conditional |= said.iter().any(|word| is_variable(word));
                self.irrelevant |= known.is_empty() && !self.conditional;
                self.transports.extend(known);
            }
            "from" => self.conditional |= !matches!(values().as_slice(), ["any" | "self"]),
            "to" => {
                self.after_to = true;
                self.destinations(&values(), tables);
            }
            "port" if self.after_to => {
                self.ports.extend(values().into_iter().map(some_ports));
            }
            "port" => match from_ports(values()) {
                Some(condition) => self.conditional |= condition,
                None => self.irrelevant = true,
            },
            _ => self.conditional = true,
        }
    }

    fn destinations(&mut self, values: &[&str], tables: &Tables) {
        for value in values.iter().filter(|value| **value != "any") {
            self.to_some = true;
            let is_host = value.contains('.') && value.bytes().all(is_of_name);
            match (tables.get(*value), Block::parse(value)) {
                (Some(blocks), _) => self.blocks.extend(blocks),
                (None, Some(block)) => self.blocks.push(block),
                (None, None) if is_host => self.hosts.push((*value).to_owned()),
                // A table that is filled elsewhere, an interface, a negation.
                (None, None) => {
                    self.conditional = true;
                    self.blocks.extend(Block::everywhere(|_| true));
                }
            }
        }
    }

    /// A rule for a name holds for the addresses that it had when the rule was made.
    fn by_name(&self, host: &str, into: &mut Reading) {
        let any = [Said::Any];
        let ports = if self.ports.is_empty() {
            &any[..]
        } else {
            &self.ports
        };
        into.names.extend(ports.iter().map(|ports| Named {
            pattern: host.to_ascii_lowercase(),
            transport: match self.transports.as_slice() {
                [one] => *one,
                _ => Said::Any,
            },
            ports: *ports,
            momentary: true,
        }));
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

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
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
            ("pass out proto tcp to <other> port 7844", Fit::Perhaps),
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
