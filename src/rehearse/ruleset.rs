//! PURE: rulesets as the tools print them: cut into tables, compared, and the way back from one to
//! another.
//!
//! # How a table comes back
//!
//! | table | by |
//! | --- | --- |
//! | made by nft | its listing, in the transaction |
//! | made by iptables over nftables | its chains in the transaction, then its rules by `iptables-restore --noflush --counters`: nft prints matches of iptables that it cannot read again |
//! | of the old kernel interface (`iptables-legacy`) | `iptables-legacy-restore --counters` |
//!
//! The chains of all tables come in one transaction, so their order is the old one, and no packet
//! meets half of what nft made. Tables that have not changed are left alone, as long as no table before
//! them has changed: the kernel lists tables in the order in which they were made.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Everything that packets meet, as the tools print it, with counters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ruleset {
    /// `nft list ruleset`.
    pub nft: String,
    /// `iptables-save -c` over nftables.
    pub ipv4: String,
    /// `ip6tables-save -c` over nftables.
    pub ipv6: String,
    /// `iptables-legacy-save -c`.
    pub legacy_ipv4: String,
    /// `ip6tables-legacy-save -c`.
    pub legacy_ipv6: String,
}

/// The family and the name of a table.
pub type TableId = (String, String);

/// A table as `nft list ruleset` prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its family and name.
    pub id: TableId,
    /// From `table` to the closing brace.
    pub text: String,
}

/// What brings one ruleset back from another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// For `nft -f`: away with what must go.
    pub delete: String,
    /// For `nft -f`, in the same transaction if the kernel allows it.
    pub create: String,
    /// For `iptables-restore --noflush --counters` over nftables.
    pub ipv4: String,
    /// For `ip6tables-restore --noflush --counters` over nftables.
    pub ipv6: String,
    /// For `iptables-legacy-restore --counters`.
    pub legacy_ipv4: String,
    /// For `ip6tables-legacy-restore --counters`.
    pub legacy_ipv6: String,
}

impl Ruleset {
    /// The tables that can be changed: one with an owner belongs to a running program, and the
    /// kernel keeps everybody else from touching it.
    #[must_use]
    pub fn tables(&self) -> Vec<Table> {
        let mut tables = tables(&self.nft);
        tables.retain(|table| !table.has_owner());
        tables
    }

    /// The tables that iptables lists rules or chains of its own in.
    #[must_use]
    pub fn of_iptables(&self) -> BTreeSet<TableId> {
        let listed = |table: &Table| self.section(&table.id).is_some();
        let tables = self.tables().into_iter().filter(listed);
        tables.map(|table| table.id).collect()
    }

    /// The tables of iptables that nft shows and cannot read again.
    #[must_use]
    pub fn unreadable_for_nft(&self) -> BTreeSet<TableId> {
        let tables = self.tables().into_iter().filter(Table::needs_iptables);
        tables.map(|table| table.id).collect()
    }

    /// The lines of a table as iptables-save prints them.
    fn section(&self, (family, name): &TableId) -> Option<Vec<&str>> {
        let text = match family.as_str() {
            "ip" => &self.ipv4,
            "ip6" => &self.ipv6,
            _ => return None,
        };
        section(text, name)
    }

    fn same(&self, table: &Table, other: &Self, now: &Table) -> bool {
        let lines = |set: &Self| set.section(&table.id).map(|lines| mask(&lines.join("\n")));
        table.id == now.id && mask(&table.text) == mask(&now.text) && lines(self) == lines(other)
    }

    /// The tables of this ruleset that are not the same in the other one.
    #[must_use]
    pub fn departures(&self, other: &Self) -> Vec<TableId> {
        let others = other.tables();
        let has = |table: &Table| others.iter().any(|now| self.same(table, other, now));
        let tables = self.tables().into_iter().filter(|table| !has(table));
        tables.map(|table| table.id).collect()
    }

    /// The first line in which another ruleset differs, without what counts by itself: counters,
    /// remaining times, elements that packets add, dates. `None` where they are the same.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<String> {
        let views = [
            ("nft list ruleset", &self.nft, &other.nft),
            ("iptables-save", &self.ipv4, &other.ipv4),
            ("ip6tables-save", &self.ipv6, &other.ipv6),
        ];
        let legacy = [
            (
                "iptables-legacy-save",
                &self.legacy_ipv4,
                &other.legacy_ipv4,
            ),
            (
                "ip6tables-legacy-save",
                &self.legacy_ipv6,
                &other.legacy_ipv6,
            ),
        ];
        let live = views.map(|(name, was, is)| (name, mask(was), mask(is)));
        let legacy = legacy.map(|(name, was, is)| (name, without_empty(was), without_empty(is)));
        let mut views = live.into_iter().chain(legacy);
        views.find_map(|(name, was, is)| first_difference(name, &was, &is))
    }
}

/// The way from `now` back to `saved`. Tables in `by_iptables` get their rules from iptables-restore.
#[must_use]
pub fn plan(saved: &Ruleset, by_iptables: &BTreeSet<TableId>, now: &Ruleset) -> Plan {
    let (old, new) = (saved.tables(), now.tables());
    let pairs = old.iter().zip(&new);
    let kept = pairs
        .take_while(|(old, new)| saved.same(old, now, new))
        .count();
    Plan {
        delete: deletions(new.get(kept..).unwrap_or_default()),
        legacy_ipv4: legacy(&saved.legacy_ipv4, &now.legacy_ipv4),
        legacy_ipv6: legacy(&saved.legacy_ipv6, &now.legacy_ipv6),
        ..creation(saved, by_iptables, old.get(kept..).unwrap_or_default())
    }
}

/// The way from `saved` to itself by making every table of nftables anew.
#[must_use]
pub fn remake(saved: &Ruleset, by_iptables: &BTreeSet<TableId>) -> Plan {
    let tables = saved.tables();
    Plan {
        delete: deletions(&tables),
        ..creation(saved, by_iptables, &tables)
    }
}

fn deletions(tables: &[Table]) -> String {
    let ids = tables.iter().map(|table| &table.id);
    ids.flat_map(|(family, name)| ["delete table ", family, " ", name, "\n"])
        .collect()
}

fn creation(saved: &Ruleset, by_iptables: &BTreeSet<TableId>, tables: &[Table]) -> Plan {
    let filled = |table: &&Table| by_iptables.contains(&table.id);
    let text = |table: &Table| {
        if by_iptables.contains(&table.id) {
            table.chains()
        } else {
            table.text.clone()
        }
    };
    let rules_of = |family: &str| {
        let tables = tables.iter().filter(|table| table.id.0 == family);
        tables
            .filter(filled)
            .map(|table| rules(saved, table))
            .collect()
    };
    Plan {
        create: tables.iter().map(text).collect(),
        ipv4: rules_of("ip"),
        ipv6: rules_of("ip6"),
        ..Plan::default()
    }
}

/// The rules of a table, and the counters of its chains' policies, which nft does not show. The
/// chains exist by then; iptables lists others as well, which naming them would make.
fn rules(saved: &Ruleset, table: &Table) -> String {
    let lines = saved.section(&table.id).unwrap_or_default();
    let wanted = |line: &&str| match line.strip_prefix(':') {
        Some(chain) => !chain.contains(" - ") && table.has_chain(first_word(chain)),
        None => true,
    };
    let rules = lines.into_iter().filter(wanted);
    let rules: String = rules.flat_map(|line| [line, "\n"]).collect();
    if rules.is_empty() {
        return rules;
    }
    format!("*{}\n{rules}COMMIT\n", table.id.1)
}

/// Tables of the old interface cannot be deleted: one that was not there before is emptied.
fn legacy(saved: &str, now: &str) -> String {
    if without_empty(saved) == without_empty(now) {
        return String::new();
    }
    let new = table_names(now).into_iter();
    let new = new.filter(|name| section(saved, name).is_none());
    let emptied = new.filter_map(|name| {
        let lines = section(now, name)?;
        let chains = lines.into_iter().filter(|line| line.starts_with(':'));
        let builtin = chains.filter(|line| !line.contains(" - "));
        let opened = builtin.filter_map(|line| line.split(' ').next());
        let chains: String = opened
            .flat_map(|chain| [chain, " ACCEPT [0:0]\n"])
            .collect();
        Some(format!("*{name}\n{chains}COMMIT\n"))
    });
    let emptied: String = emptied.collect();
    saved.to_owned() + &emptied
}

fn first_word(line: &str) -> &str {
    line.split(' ').next().unwrap_or_default()
}

fn table_names(save: &str) -> Vec<&str> {
    save.lines()
        .filter_map(|line| line.strip_prefix('*'))
        .collect()
}

/// What iptables-save prints between `*name` and `COMMIT`.
fn section<'a>(save: &'a str, name: &str) -> Option<Vec<&'a str>> {
    let mut lines = save.lines();
    lines.find(|line| line.strip_prefix('*') == Some(name))?;
    Some(lines.take_while(|line| *line != "COMMIT").collect())
}

/// A table of the old interface that lets everything through is as good as none.
fn without_empty(save: &str) -> String {
    let filled = |name: &&str| {
        let lines = section(save, name).unwrap_or_default();
        let open = |line: &&str| line.starts_with(':') && line.contains(" ACCEPT ");
        !lines.iter().all(open)
    };
    let names = table_names(save).into_iter().filter(filled);
    let tables = names.flat_map(|name| {
        let mut lines = section(save, name).unwrap_or_default();
        lines.insert(0, name);
        lines
    });
    mask(&tables.collect::<Vec<_>>().join("\n"))
}

fn first_difference(view: &str, was: &str, is: &str) -> Option<String> {
    if was == is {
        return None;
    }
    let (mut old, mut new) = (was.lines(), is.lines());
    loop {
        match (old.next(), new.next()) {
            (None, None) => return Some(format!("{view}: line ends differ")),
            (old, new) if old == new => {}
            (old, new) => {
                let show = |line: Option<&str>| line.unwrap_or("(end)").trim().to_owned();
                return Some(format!("{view}: `{}` was `{}`", show(new), show(old)));
            }
        }
    }
}

/// Cuts a listing into its tables. Braces at the beginning of a line close tables only.
fn tables(listing: &str) -> Vec<Table> {
    let mut tables = Vec::new();
    let mut open: Option<Table> = None;
    for line in listing.lines() {
        if open.is_none() {
            open = header(line).map(|id| Table {
                id,
                text: String::new(),
            });
        }
        let Some(table) = open.as_mut() else { continue };
        table.text.push_str(line);
        table.text.push('\n');
        if line == "}" {
            tables.extend(open.take());
        }
    }
    tables
}

fn header(line: &str) -> Option<TableId> {
    let mut words = line.strip_prefix("table ")?.split(' ');
    Some((words.next()?.to_owned(), words.next()?.to_owned()))
}

impl Table {
    /// Whether nft shows matches of iptables in it, which it cannot read again.
    pub(super) fn needs_iptables(&self) -> bool {
        ["xt match ", "xt target "]
            .iter()
            .any(|word| self.text.contains(word))
    }

    fn has_owner(&self) -> bool {
        let own = |line: &str| line.starts_with("\tflags ") && line.contains("owner");
        self.text.lines().any(own)
    }

    fn has_chain(&self, name: &str) -> bool {
        let header = format!("\tchain {name} {{");
        self.text.lines().any(|line| line == header)
    }

    /// The table with its chains and without their rules.
    fn chains(&self) -> String {
        let is_rule = |line: &str| line.starts_with("\t\t") && !line.starts_with("\t\ttype ");
        let lines = self.text.lines().filter(|line| !is_rule(line));
        lines.flat_map(|line| [line, "\n"]).collect()
    }
}

/// Takes away what changes by itself: `packets 1 bytes 2`, `expires 3s`, `used 4 bytes`, `[1:2]`,
/// comments with dates, and the elements of sets that rules add to.
fn mask(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut dynamic = false;
    let mut within = false;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let word = line.trim_start();
        if word.starts_with("set ") || word.starts_with("map ") {
            dynamic = false;
        }
        dynamic |= word.starts_with("flags ") && word.contains("dynamic");
        within |= dynamic && word.starts_with("elements = ");
        if !within {
            mask_line(line, &mut masked);
        }
        within &= !line.ends_with('}');
    }
    masked
}

fn mask_line(line: &str, masked: &mut String) {
    let words: Vec<&str> = line.split(' ').collect();
    let mut kept = Vec::new();
    let mut rest = words.as_slice();
    while let Some((word, after)) = rest.split_first() {
        let counting = counting(rest);
        if counting == 0 {
            kept.push(*word);
        }
        rest = rest
            .get(counting..)
            .filter(|_| counting > 0)
            .unwrap_or(after);
    }
    masked.push_str(&kept.join(" "));
    masked.push('\n');
}

/// How many of the first words only say how much has been counted, or how long is left.
fn counting(words: &[&str]) -> usize {
    let number = |word: &str| word.starts_with(|first: char| first.is_ascii_digit());
    match words {
        [packets, n, "bytes", m, ..] if packets.trim() == "packets" && number(n) && number(m) => 4,
        ["used", n, _, ..] if number(n) => 3,
        ["expires", time, ..] if number(time) => 2,
        [word, ..] if is_counter(word) => 1,
        _ => 0,
    }
}

/// `[12:3456]`, as iptables-save prints counters.
fn is_counter(word: &str) -> bool {
    let inner = word
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let numbers = inner.and_then(|inner| inner.split_once(':'));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    numbers.is_some_and(|(packets, bytes)| digits(packets) && digits(bytes))
}

#[cfg(test)]
mod tests;
