//! Rules of nftables: files for `nft -f`, and what `nft list ruleset` prints.

use std::collections::HashMap;

use super::Reading;
use super::block::Block;
use super::permit::{
    Permit, Ports, Said, combinations, from_ports, is_variable, some_ports, transport,
};
use super::statements::{Item, Statement, statements};
use super::ways::{Policy, Step, Verdict};
use crate::model::{Family, Transport};

/// Reads a file.
pub(super) fn read(text: &str, into: &mut Reading) {
    let all = statements(text, opens_block);
    let names = Names::of(&all);
    for statement in &all {
        match Place::of(statement) {
            Some(place) => place.take(statement, &names, into),
            None => other(statement, into),
        }
    }
    let strays = into.ways.unreached();
    let is_whole = into.ways.names().len() > strays.len();
    for stray in strays.iter().filter(|stray| is_chain(stray)) {
        let family = family_of(stray);
        match (is_whole, into.ours) {
            // The printed form without a lock-down is a chain to jump to.
            (false, true) => into.ways.hook(stray, family, Policy::Unsaid, true),
            (false, false) => into.ways.loose(stray, family),
            // A ruleset with chains that flows begin in has all that lead further.
            (true, _) => {}
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

/// The key of a chain: the family of its table, the table, and itself.
fn key(family: &str, table: &str, chain: &str) -> String {
    format!("nft {family} {table} {chain}")
}

fn is_chain(key: &str) -> bool {
    key.starts_with("nft ")
}

fn family_of(key: &str) -> Option<Family> {
    match key.split(' ').nth(1) {
        Some("ip") => Some(Family::Ipv4),
        Some("ip6") => Some(Family::Ipv6),
        _ => None,
    }
}

const FAMILIES: &[&str] = &["ip", "ip6", "inet", "arp", "bridge", "netdev"];

/// `FAMILY TABLE`, or `TABLE` alone, which is of IPv4, from words on; with how many words it takes.
fn table<'a>(words: &[&'a str]) -> (&'a str, &'a str, usize) {
    match words {
        [family, table, ..] if FAMILIES.contains(family) => (family, table, 2),
        [table, ..] => ("ip", table, 1),
        [] => ("ip", "", 0),
    }
}

/// Where a rule stands.
struct Place {
    chain: String,
    first: bool,
    /// How many words come before the rule.
    skip: usize,
}

impl Place {
    fn of(statement: &Statement) -> Option<Self> {
        let words: Vec<_> = statement.items.iter().map(Item::word).collect();
        match statement.within.as_slice() {
            [outer, inner] if inner.first().is_some_and(|kind| kind == "chain") => {
                let outer: Vec<_> = outer
                    .iter()
                    .map(String::as_str)
                    .filter(|w| !matches!(*w, "add" | "create"))
                    .collect();
                let (family, table, _) = table(outer.get(1..).unwrap_or_default());
                let chain = inner.last().map_or("", String::as_str);
                Some(Self {
                    chain: key(family, table, chain),
                    first: false,
                    skip: 0,
                })
            }
            [only] if only.iter().take(2).any(|kind| kind == "chain") => {
                let words = only
                    .iter()
                    .map(String::as_str)
                    .skip_while(|w| *w != "chain");
                let words: Vec<_> = words.skip(1).collect();
                let (family, table, at) = table(&words);
                let chain = words.get(at)?;
                Some(Self {
                    chain: key(family, table, chain),
                    first: false,
                    skip: 0,
                })
            }
            [] => {
                let first = *words.first()? == "insert";
                let at = 1 + usize::from(matches!(words[0], "add" | "insert"));
                if words.get(at - 1) != Some(&"rule") {
                    return None;
                }
                let (family, table, more) = table(words.get(at..)?);
                let chain = words.get(at + more)?;
                Some(Self {
                    chain: key(family, table, chain),
                    first,
                    skip: at + more + 1,
                })
            }
            _ => None,
        }
    }

    fn take(&self, statement: &Statement, names: &Names, into: &mut Reading) {
        let items = statement.items.get(self.skip..).unwrap_or_default();
        let words: Vec<_> = items.iter().map(Item::word).collect();
        match words.as_slice() {
            ["type", kind, "hook", hook, ..] => {
                base(&self.chain, kind, hook, "", into);
            }
            ["policy", policy] => policy_of(&self.chain, policy, into),
            ["comment" | "flags", ..] => {}
            // Among the rules that are there, at a place that only their handles tell.
            ["position" | "handle" | "index", ..] => into.doubt(statement.line),
            _ => {
                if let Some(step) = rule(items, names, &self.chain, statement.line) {
                    let at = if self.first { 0 } else { usize::MAX };
                    into.insert(&self.chain, at, step);
                }
            }
        }
    }
}

/// A chain that packets come by. The others are kept, so that it is known that they lead elsewhere.
fn base(chain: &str, kind: &str, hook: &str, policy: &str, into: &mut Reading) {
    let decides = kind == "filter" && hook == "output";
    let policy = if policy == "drop" {
        Policy::Deny
    } else {
        Policy::Accept
    };
    let other_layer = ["nft arp ", "nft bridge "];
    if other_layer.iter().any(|layer| chain.starts_with(layer)) {
        into.ways.elsewhere(chain);
        return;
    }
    match hook {
        "output" | "postrouting" | "egress" => {
            into.ways.hook(chain, family_of(chain), policy, decides);
        }
        _ => into.ways.elsewhere(chain),
    }
}

fn policy_of(chain: &str, policy: &str, into: &mut Reading) {
    if policy == "drop" && into.ways.is_hook(chain) {
        into.ways.hook(chain, None, Policy::Deny, true);
    }
}

/// What is no rule, but may make or unmake some.
fn other(statement: &Statement, into: &mut Reading) {
    let words: Vec<_> = statement.items.iter().map(Item::word).collect();
    if !statement.within.is_empty() {
        // A table that sleeps is asked nothing.
        if words.first() == Some(&"flags") && words.contains(&"dormant") {
            into.doubt(statement.line);
        }
        return;
    }
    match words.as_slice() {
        ["include" | "replace" | "rename", ..] | ["delete", "rule", ..] => {
            into.doubt(statement.line);
        }
        ["flush", "ruleset", ..] => into.ways.forget(is_chain),
        ["flush" | "delete" | "destroy", "table", rest @ ..] => {
            let (family, table, _) = table(rest);
            let start = key(family, table, "");
            into.ways.forget(|chain| chain.starts_with(&start));
        }
        ["flush" | "delete" | "destroy", "chain", rest @ ..] => {
            let (family, table, at) = table(rest);
            let key = key(family, table, rest.get(at).unwrap_or(&""));
            into.ways.chain(&key).clear();
        }
        ["add" | "create", "chain", rest @ ..] | ["chain", rest @ ..] => {
            let (family, table, at) = table(rest);
            let key = key(family, table, rest.get(at).unwrap_or(&""));
            into.ways.chain(&key);
            // `{ type filter hook output priority 0; policy drop; }` reads as a list of one element.
            if let Some(Item::List(elements)) = statement.items.last() {
                let words: Vec<_> = elements.iter().flatten().map(String::as_str).collect();
                let after = |name: &str| {
                    let at = words.iter().position(|word| *word == name);
                    at.and_then(|at| words.get(at + 1))
                        .copied()
                        .unwrap_or_default()
                };
                if !after("hook").is_empty() {
                    base(&key, after("type"), after("hook"), after("policy"), into);
                }
            }
        }
        _ => {}
    }
}

/// What the file gives names to: sets and definitions.
struct Names {
    lists: HashMap<String, Vec<String>>,
    /// Sets that lose elements, so that it is not known what is in them.
    changed: Vec<String>,
}

impl Names {
    fn of(all: &[Statement]) -> Self {
        let mut names = Self {
            lists: HashMap::new(),
            changed: Vec::new(),
        };
        for statement in all {
            names.learn(statement);
        }
        for set in &names.changed {
            names.lists.remove(set);
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
            ["delete" | "destroy", "element", .., set, ""] | ["flush", "set", .., set] => {
                self.changed.push(format!("@{set}"));
            }
            ["define" | "redefine", defined, _] => {
                self.lists
                    .insert(format!("${defined}"), values(statement.items.last()));
            }
            _ => {}
        }
    }

    fn resolve(&self, item: &Item) -> Vec<String> {
        let values = item.values().into_iter();
        values.flat_map(|value| self.resolved(value, 0)).collect()
    }

    /// The values of a name; a name that the file does not tell is left as it is.
    fn resolved(&self, value: &str, depth: usize) -> Vec<String> {
        match self.lists.get(value) {
            Some(list) if depth < 8 => {
                let values = list.iter();
                values
                    .flat_map(|value| self.resolved(value, depth + 1))
                    .collect()
            }
            _ => vec![value.to_owned()],
        }
    }
}

/// States of a flow, which a rule may list without braces.
const STATES: &[&str] = &["new", "established", "related", "invalid", "untracked"];

#[derive(Default)]
struct Rule {
    /// The first words of the keys of the table's chains.
    table: String,
    blocks: Vec<Block>,
    to_some: bool,
    transports: Vec<Said<Transport>>,
    ports: Vec<Said<Ports>>,
    family: Option<Family>,
    conditional: bool,
    irrelevant: bool,
    verdict: Option<Verdict>,
}

/// The rule; none where it decides nothing, or is about no new flow of this host.
fn rule(items: &[Item], names: &Names, chain: &str, line: usize) -> Option<Step> {
    let mut rule = Rule {
        table: chain
            .rsplit_once(' ')
            .map_or("", |(table, _)| table)
            .to_owned(),
        ..Rule::default()
    };
    let mut rest = items.iter();
    // Nothing that comes after a verdict is a condition.
    while rule.verdict.is_none()
        && let Some(item) = rest.next()
    {
        rule.expression(item.word(), &mut rest, names);
    }
    let verdict = rule.verdict.take()?;
    let permits = rule.permits(family_of(chain), line);
    (!permits.is_empty()).then(|| Step::new(verdict, permits))
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
            "accept" => self.verdict = Some(Verdict::Accept),
            "drop" | "reject" => self.verdict = Some(Verdict::Deny),
            "return" => self.verdict = Some(Verdict::Return),
            "jump" | "goto" => {
                let to = next().map(Item::word).unwrap_or_default();
                let to = format!("{} {to}", self.table);
                self.verdict = Some(if word == "jump" {
                    Verdict::Jump(to)
                } else {
                    Verdict::Goto(to)
                });
            }
            "vmap" | "queue" | "dnat" | "redirect" | "tproxy" | "fwd" | "dup" | "synproxy" => {
                self.verdict = Some(Verdict::Unknown);
            }
            // `snat` and `masquerade` change where a packet comes from, not where it goes.
            "continue" | "snat" | "masquerade" | "icmp" | "icmpv6" => self.irrelevant = true,
            // A count is no condition.
            "packets" | "bytes" | "comment" | "level" | "prefix" | "name" | "group" => {
                next();
            }
            "counter" | "log" | "" => {}
            "ip" | "ip6" | "tcp" | "udp" | "th" | "meta" | "ct" => {
                let field = next().map(Item::word).unwrap_or_default();
                let value = next();
                match value.map(Item::word) {
                    Some(state) if field == "state" && STATES.contains(&state) => {
                        let mut is_new = state == "new";
                        while let Some(more) = rest.as_slice().first()
                            && STATES.contains(&more.word())
                        {
                            is_new |= more.word() == "new";
                            rest.next();
                        }
                        self.irrelevant |= !is_new;
                    }
                    Some("vmap") => self.map(word, field, next()),
                    // The sign of equality is no word of its own, as in `!=`.
                    Some("!" | "<" | ">") => {
                        self.conditional = true;
                        next();
                    }
                    Some("." | "&" | "and" | "|" | "set") | None => self.conditional = true,
                    Some(_) => self.test(word, field, value, names),
                }
            }
            "oif" | "oifname" => match next().map(Item::word) {
                Some("lo") => self.irrelevant = true,
                // A flow of this host's to elsewhere never leaves by the loopback.
                Some("!") => self.conditional |= next().map(Item::word) != Some("lo"),
                _ => self.conditional = true,
            },
            "iif" | "iifname" => match next().map(Item::word) {
                Some("!") => {
                    self.conditional = true;
                    next();
                }
                _ => self.irrelevant = true,
            },
            _ => self.conditional = true,
        }
    }

    /// `ct state vmap { established : accept, invalid : drop }` says nothing about new flows.
    fn map(&mut self, word: &str, field: &str, map: Option<&Item>) {
        self.verdict = Some(Verdict::Unknown);
        if let (("ct", "state"), Some(Item::List(elements))) = ((word, field), map) {
            let is_new = |text: &String| text.split([':', ',']).any(|state| state == "new");
            self.irrelevant |= !elements.iter().flatten().any(is_new);
        }
    }

    fn test(&mut self, word: &str, field: &str, value: Option<&Item>, names: &Names) {
        let values = value.map(|value| names.resolve(value)).unwrap_or_default();
        let values: Vec<_> = values.iter().map(String::as_str).collect();
        let unknown = values.iter().any(|value| is_variable(value));
        match (word, field) {
            ("ip" | "ip6", "daddr") => {
                let blocks: Vec<_> = values.iter().filter_map(|v| Block::parse(v)).collect();
                // A set that the file does not hold, or a name, may be anything.
                self.conditional |= blocks.len() < values.len();
                self.to_some |= blocks.len() == values.len() || !blocks.is_empty();
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
            ("tcp" | "udp" | "th", "sport") => {
                self.transports.extend(transport(word));
                match from_ports(values) {
                    Some(condition) => self.conditional |= condition,
                    None => self.irrelevant = true,
                }
            }
            ("meta", "l4proto") | ("ip", "protocol") | ("ip6", "nexthdr") => {
                let known: Vec<_> = values.iter().filter_map(|v| transport(v)).collect();
                self.conditional |= unknown;
                self.irrelevant |= known.is_empty() && !unknown;
                self.transports.extend(known);
                self.family = match word {
                    "ip" => Some(Family::Ipv4),
                    "ip6" => Some(Family::Ipv6),
                    _ => self.family,
                };
            }
            ("meta", "nfproto") => {
                self.family = match values.as_slice() {
                    ["ipv4"] => Some(Family::Ipv4),
                    ["ipv6"] => Some(Family::Ipv6),
                    _ => None,
                };
            }
            ("ct", "state") => {
                let is_new = |value: &&str| value.split(',').any(|state| state == "new");
                self.conditional |= unknown;
                self.irrelevant |= !values.iter().any(is_new) && !unknown;
            }
            ("ip", _) => {
                self.conditional = true;
                self.family = Some(Family::Ipv4);
            }
            ("ip6", _) => {
                self.conditional = true;
                self.family = Some(Family::Ipv6);
            }
            _ => self.conditional = true,
        }
    }

    fn permits(mut self, family: Option<Family>, line: usize) -> Vec<Permit> {
        if self.irrelevant {
            return Vec::new();
        }
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
        assert_eq!(read(text).permits().len(), 1);
        let text = "table ip6 t { chain c { tcp dport 7844 accept; }\n chain in { type filter hook input priority 0;\n tcp dport 22 accept\n } }";
        let text = format!(
            "{text}\ntable ip6 t {{ chain o {{ type filter hook output priority 0; jump c; }} }}"
        );
        let permits = read(&text).permits();
        assert_eq!(permits.len(), 1);
        assert_eq!(permits[0].block, Block::all(Family::Ipv6));
    }
}
