//! PURE: what new rules change in the present ones, what they take away, and whether they do anything.

use std::collections::{BTreeMap, BTreeSet};

use super::ruleset::{Ruleset, TableId};

/// A table, or a chain of a table that stays, which rules delete and do not make anew.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Removed {
    /// The table.
    pub table: TableId,
    /// The chain; the whole table where there is none.
    pub chain: Option<String>,
}

impl Removed {
    /// As a person calls it.
    #[must_use]
    pub fn name(&self) -> String {
        let table = called(&self.table);
        match &self.chain {
            Some(chain) => format!("chain {chain} of {table}"),
            None => table,
        }
    }

    /// The option that gives leave for it.
    #[must_use]
    pub fn leave(&self) -> String {
        let (family, name) = &self.table;
        format!("--may-remove '{family} {name}'")
    }

    /// Whether `leave`, a table's name with its family or without, is about it.
    #[must_use]
    pub fn is_in(&self, leave: &str) -> bool {
        let (family, name) = &self.table;
        match *leave.split_whitespace().collect::<Vec<_>>() {
            [only] => only == name,
            [first, second] => (first, second) == (family, name),
            _ => false,
        }
    }
}

/// Everything that differs between two rulesets, table by table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effect {
    /// A line for each table.
    pub lines: Vec<String>,
    /// What would be gone.
    pub removed: Vec<Removed>,
    /// Whether no packet can meet any difference.
    pub idle: bool,
    /// Whether no packet meets any rule afterwards.
    pub empty: bool,
}

impl Effect {
    /// What turns `present` into `made`.
    #[must_use]
    pub fn of(present: &Ruleset, made: &Ruleset) -> Self {
        let (old, new) = (shapes(present), shapes(made));
        let mut effect = Self {
            idle: reachable(&old) == reachable(&new),
            empty: reachable(&new).is_empty(),
            ..Self::default()
        };
        let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        for id in names {
            effect.compare(id, old.get(id), new.get(id));
        }
        effect
    }

    fn compare(&mut self, id: &TableId, old: Option<&Shape>, new: Option<&Shape>) {
        let name = called(id);
        match (old, new) {
            (None, Some(_)) => self.lines.push(format!("adds {name}")),
            (Some(old), None) => {
                self.lines.push(format!("removes {name}"));
                if old.matters() {
                    self.remove(id, None);
                }
            }
            (Some(old), Some(new)) if old != new => {
                let lines = self.chains(id, old, new);
                self.lines.push(format!("changes {name}: {lines}"));
            }
            _ => {}
        }
    }

    fn chains(&mut self, id: &TableId, old: &Shape, new: &Shape) -> String {
        let mut parts = Vec::new();
        let only = |one: &Shape, other: &Shape| -> Vec<String> {
            let names = one.chains.keys();
            let only = names.filter(|name| !other.chains.contains_key(*name));
            only.cloned().collect()
        };
        let (added, removed) = (only(new, old), only(old, new));
        let both = old.chains.iter().filter(|(name, chain)| {
            let now = new.chains.get(*name);
            now.is_some_and(|now| now != *chain)
        });
        let changed: Vec<String> = both.map(|(name, _)| name.clone()).collect();
        for (word, names) in [
            ("adds", &added),
            ("changes", &changed),
            ("removes", &removed),
        ] {
            if !names.is_empty() {
                let chains = if names.len() == 1 { "chain" } else { "chains" };
                parts.push(format!("{word} {chains} {}", names.join(", ")));
            }
        }
        for name in removed {
            if old.chains.get(&name).is_some_and(Chain::matters) {
                self.remove(id, Some(name));
            }
        }
        if old.rest != new.rest {
            parts.push("changes sets, maps or objects".to_owned());
        }
        parts.join("; ")
    }

    fn remove(&mut self, table: &TableId, chain: Option<String>) {
        let table = table.clone();
        self.removed.push(Removed { table, chain });
    }
}

/// As a person calls a table.
fn called((family, name): &TableId) -> String {
    match family.strip_prefix("legacy-") {
        Some(family) => format!("table {family} {name} of iptables-legacy"),
        None => format!("table {family} {name}"),
    }
}

/// A table, taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Shape {
    chains: BTreeMap<String, Chain>,
    /// Everything else: sets, maps, named counters.
    rest: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Chain {
    /// `type filter hook output …; policy drop;` of a base chain.
    hook: Option<String>,
    rules: Vec<String>,
}

impl Chain {
    /// A base chain that accepts everything is as good as none; others may be jumped to or filled.
    fn matters(&self) -> bool {
        self.hook.is_none() || self.acts()
    }

    /// Whether it is a base chain that does something.
    fn acts(&self) -> bool {
        let hook = self.hook.as_ref();
        hook.is_some_and(|hook| hook.contains("policy drop") || !self.rules.is_empty())
    }

    /// The chains that it names.
    fn targets(&self) -> impl Iterator<Item = String> {
        self.rules.iter().flat_map(|rule| targets(rule))
    }
}

impl Shape {
    fn matters(&self) -> bool {
        !self.rest.is_empty() || self.chains.values().any(Chain::matters)
    }
}

fn targets(line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split([' ', '\t', ',']).collect();
    let pairs = words.iter().zip(words.iter().skip(1));
    let named = pairs.filter(|(word, _)| ["jump", "goto", "-j", "-g"].contains(*word));
    named.map(|(_, chain)| (*chain).to_owned()).collect()
}

/// The tables of both kernel interfaces. `legacy` is part of the names of the old one's families.
fn shapes(ruleset: &Ruleset) -> BTreeMap<TableId, Shape> {
    let tables = ruleset.plain_tables().into_iter();
    let mut shapes: BTreeMap<_, _> = tables
        .map(|(id, text, rules)| (id, shape(&text, &rules)))
        .collect();
    let legacy = [("ip", &ruleset.legacy_ipv4), ("ip6", &ruleset.legacy_ipv6)];
    for (family, save) in legacy {
        let mut table = None;
        for line in save.lines() {
            if let Some(name) = line.strip_prefix('*') {
                table = Some((format!("legacy-{family}"), name.to_owned()));
            } else if let Some(id) = &table {
                let shape: &mut Shape = shapes.entry(id.clone()).or_default();
                add_saved(shape, line);
            }
        }
    }
    shapes.retain(|(family, _), shape| !family.starts_with("legacy") || shape.matters());
    shapes
}

/// A table as nft lists it, and the rules that iptables shows of it.
fn shape(text: &str, rules: &str) -> Shape {
    let mut shape = Shape::default();
    let mut chain: Option<String> = None;
    for line in text.lines().filter(|line| line.starts_with('\t')) {
        let inner = line.strip_prefix("\t\t");
        match (inner, &chain) {
            (Some(line), Some(name)) => {
                let chain = shape.chains.entry(name.clone()).or_default();
                if line.starts_with("type ") {
                    chain.hook = Some(line.to_owned());
                } else {
                    chain.rules.push(line.to_owned());
                }
            }
            (None, _) if line.starts_with("\tchain ") => {
                let name = line.trim_start_matches("\tchain ").trim_end_matches(" {");
                shape.chains.entry(name.to_owned()).or_default();
                chain = Some(name.to_owned());
            }
            _ if line == "\t}" => chain = None,
            _ => shape.rest.push(line.to_owned()),
        }
    }
    for line in rules.lines().filter(|line| line.starts_with("-A ")) {
        let name = line.split(' ').nth(1).unwrap_or_default();
        if let Some(chain) = shape.chains.get_mut(name) {
            chain.rules.push(line.to_owned());
        }
    }
    shape
}

/// A line of iptables-legacy-save.
fn add_saved(shape: &mut Shape, line: &str) {
    if let Some((name, rest)) = line.strip_prefix(':').and_then(|line| line.split_once(' ')) {
        let policy = rest.split(' ').next().filter(|policy| *policy != "-");
        let hook = policy.map(|policy| format!("policy {}", policy.to_lowercase()));
        shape.chains.entry(name.to_owned()).or_default().hook = hook;
    }
    // A rule comes after its counters.
    if let Some((_, rule)) = line.split_once("-A ") {
        let name = rule.split(' ').next().unwrap_or_default();
        let chain = shape.chains.entry(name.to_owned()).or_default();
        chain.rules.push(rule.to_owned());
    }
}

/// The chains that a packet can meet, with the sets and maps of their tables.
fn reachable(shapes: &BTreeMap<TableId, Shape>) -> BTreeMap<&TableId, Shape> {
    let mut met = BTreeMap::new();
    for (id, shape) in shapes {
        let acting = shape.chains.iter().filter(|(_, chain)| chain.acts());
        let mut open: Vec<String> = acting.map(|(name, _)| name.clone()).collect();
        if open.is_empty() {
            continue;
        }
        // Maps can hold jumps.
        open.extend(shape.rest.iter().flat_map(|line| targets(line)));
        let mut own = Shape {
            rest: shape.rest.clone(),
            ..Shape::default()
        };
        while let Some(name) = open.pop() {
            let chain = shape.chains.get(&name);
            let Some(chain) = chain.filter(|_| !own.chains.contains_key(&name)) else {
                continue;
            };
            open.extend(chain.targets());
            own.chains.insert(name, chain.clone());
        }
        met.insert(id, own);
    }
    met
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCKER: &str = "table ip nat {\n\tchain POSTROUTING {\n\
        \t\ttype nat hook postrouting priority srcnat; policy accept;\n\t\tmasquerade\n\t}\n}\n\
        table ip filter {\n\tchain DOCKER-USER {\n\t}\n\n\tchain FORWARD {\n\
        \t\ttype filter hook forward priority filter; policy drop;\n\
        \t\tcounter packets 1 bytes 2 jump DOCKER-USER\n\t}\n}\n";
    const HOST: &str = "table inet host {\n\tchain out {\n\
        \t\ttype filter hook output priority filter; policy drop;\n\t}\n}\n";

    fn of(present: &str, made: &str) -> Effect {
        let ruleset = |nft: &str| Ruleset {
            nft: nft.to_owned(),
            ..Ruleset::default()
        };
        Effect::of(&ruleset(present), &ruleset(made))
    }

    #[test]
    fn what_is_not_made_anew_is_named() {
        let effect = of(DOCKER, HOST);
        let names: Vec<_> = effect.removed.iter().map(Removed::name).collect();
        assert_eq!(names, ["table ip filter", "table ip nat"]);
        let lines = [
            "adds table inet host",
            "removes table ip filter",
            "removes table ip nat",
        ];
        assert_eq!(effect.lines, lines);
        assert!(effect.removed[0].is_in("ip  filter") && effect.removed[0].is_in("filter"));
        assert!(!effect.removed[0].is_in("ip6 filter") && !effect.removed[0].is_in("nat"));

        let without_user = DOCKER
            .replace("\tchain DOCKER-USER {\n\t}\n\n", "")
            .replace("\t\tcounter packets 1 bytes 2 jump DOCKER-USER\n", "");
        let effect = of(DOCKER, &without_user);
        let names: Vec<_> = effect.removed.iter().map(Removed::name).collect();
        assert_eq!(names, ["chain DOCKER-USER of table ip filter"]);
        let line = "changes table ip filter: changes chain FORWARD; removes chain DOCKER-USER";
        assert_eq!(effect.lines, [line]);
    }

    #[test]
    fn counters_are_no_difference() {
        let later = DOCKER.replace("packets 1 bytes 2", "packets 7 bytes 9");
        assert_eq!(of(DOCKER, &later).lines, Vec::<String>::new());
        assert!(of(DOCKER, &later).idle);
    }

    #[test]
    fn what_no_packet_meets_does_nothing() {
        let loose = "table inet x {\n\tchain out {\n\t\tdrop\n\t}\n}\n";
        assert!(of(DOCKER, &[DOCKER, loose].concat()).idle);
        let open = HOST.replace("drop", "accept");
        assert!(of(DOCKER, &[DOCKER, &open].concat()).idle);
        assert!(!of(DOCKER, &[DOCKER, HOST].concat()).idle);
        assert!(!of(DOCKER, "").idle);
        // A chain that is jumped to, be it by a map.
        let user = "DOCKER-USER {\n\t\tdrop\n";
        assert!(!of(DOCKER, &DOCKER.replace("DOCKER-USER {\n", user)).idle);
        let map = "table inet x {\n\tmap m {\n\t\ttype inet_service : verdict\n\
            \t\telements = { 9 : jump user }\n\t}\n\n\tchain user {\n\t}\n\n\tchain out {\n\
            \t\ttype filter hook output priority filter; policy accept;\n\t\ttcp dport vmap @m\n\t}\n}\n";
        assert!(
            !of(
                map,
                &map.replace("chain user {\n", "chain user {\n\t\tdrop\n")
            )
            .idle
        );
    }

    #[test]
    fn rules_of_the_old_interface_count() {
        let ruleset = |save: &str| Ruleset {
            legacy_ipv4: save.to_owned(),
            ..Ruleset::default()
        };
        let old = ruleset(
            "*filter\n:OUTPUT ACCEPT [0:0]\n:OWN - [0:0]\n[0:0] -A OUTPUT -j OWN\n[0:0] -A OWN -j DROP\nCOMMIT\n",
        );
        let open = ruleset("*filter\n:OUTPUT ACCEPT [5:5]\nCOMMIT\n");
        let effect = Effect::of(&old, &open);
        assert_eq!(
            effect.removed[0].name(),
            "table ip filter of iptables-legacy"
        );
        assert!(!effect.idle && Effect::of(&open, &Ruleset::default()).idle);
    }
}
