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
//! them has changed: the kernel lists tables in the order in which they were made. Where a piece of a
//! plan cannot be made, the others are made without it (`mend.rs`).

mod mask;
mod plan;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use self::mask::mask;
pub use self::plan::{Piece, Plan, plan, plan_blind};

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

/// One of the ways to look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum View {
    /// Everything that goes over nftables.
    Nft,
    /// What of it iptables knows.
    Ipv4,
    /// What of it ip6tables knows.
    Ipv6,
    /// The old interface of the kernel.
    LegacyIpv4,
    /// The same for IPv6.
    LegacyIpv6,
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

impl Ruleset {
    /// The tables that can be changed: one with an owner belongs to a running program, and the
    /// kernel keeps everybody else from touching it.
    #[must_use]
    pub fn tables(&self) -> Vec<Table> {
        let mut tables = tables(&self.nft);
        tables.retain(|table| !table.has_owner());
        tables
    }

    /// The tables that iptables lists rules or chains of its own in. It makes none with sets, and of
    /// one that nft has made with sets it shows rules without them, which let through or drop more.
    #[must_use]
    pub fn of_iptables(&self) -> BTreeSet<TableId> {
        let listed = |table: &Table| self.section(&table.id).is_some() && !table.has_sets();
        let tables = self.tables().into_iter().filter(listed);
        tables.map(|table| table.id).collect()
    }

    /// The tables of iptables that nft shows and cannot read again.
    #[must_use]
    pub fn unreadable_for_nft(&self) -> BTreeSet<TableId> {
        let tables = self.tables().into_iter().filter(Table::needs_iptables);
        tables.map(|table| table.id).collect()
    }

    /// These tables of nftables, as if there were no others.
    #[must_use]
    pub fn only(&self, wanted: impl Fn(&TableId) -> bool) -> Self {
        let tables = self.tables().into_iter();
        let tables: Vec<Table> = tables.filter(|table| wanted(&table.id)).collect();
        let sections = |family: &str| {
            let own = tables.iter().filter(|table| table.id.0 == family);
            let sections = own.filter_map(|table| {
                let lines = self.section(&table.id)?.join("\n");
                Some(format!("*{}\n{lines}\nCOMMIT\n", table.id.1))
            });
            sections.collect()
        };
        Self {
            nft: tables.iter().map(|table| &*table.text).collect(),
            ipv4: sections("ip"),
            ipv6: sections("ip6"),
            ..Self::default()
        }
    }

    /// The tables with what changes by itself left out: the listing of nft, and the rules that iptables
    /// shows of a table that nft cannot read.
    #[must_use]
    pub fn plain_tables(&self) -> Vec<(TableId, String, String)> {
        let tables = self.tables().into_iter();
        let plain = tables.map(|table| {
            let lines = self.section(&table.id).filter(|_| table.needs_iptables());
            let rules = mask(&lines.unwrap_or_default().join("\n"));
            (table.id, mask(&table.text), rules)
        });
        plain.collect()
    }

    /// The rules of the old interface alone.
    #[must_use]
    pub fn legacy(&self) -> Self {
        Self {
            legacy_ipv4: self.legacy_ipv4.clone(),
            legacy_ipv6: self.legacy_ipv6.clone(),
            ..Self::default()
        }
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

    /// The tables of this ruleset that are not the same in the other one.
    #[must_use]
    pub fn departures(&self, other: &Self) -> Vec<TableId> {
        let others = other.tables();
        let has = |table: &Table| others.iter().any(|now| same(self, table, other, now));
        let tables = self.tables().into_iter().filter(|table| !has(table));
        tables.map(|table| table.id).collect()
    }

    /// What the tool of this view has printed, as far as it can be brought back: what counts by itself
    /// is left out (counters, remaining times, elements that packets add, dates), and so are tables
    /// with an owner, wherever they stand among the others.
    fn comparable(&self, view: View) -> String {
        match view {
            View::Nft => {
                let tables = self.tables();
                mask(&tables.iter().map(|table| &*table.text).collect::<String>())
            }
            View::Ipv4 => mask(&self.ipv4),
            View::Ipv6 => mask(&self.ipv6),
            View::LegacyIpv4 => without_empty(&self.legacy_ipv4),
            View::LegacyIpv6 => without_empty(&self.legacy_ipv6),
        }
    }

    /// The first line in which another ruleset differs. `None` where they are the same.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<String> {
        let mut views = View::ALL.into_iter();
        views.find_map(|view| {
            let (was, is) = (self.comparable(view), other.comparable(view));
            first_difference(view.tool(), &was, &is)
        })
    }
}

impl View {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Nft,
        Self::Ipv4,
        Self::Ipv6,
        Self::LegacyIpv4,
        Self::LegacyIpv6,
    ];

    /// What prints it.
    #[must_use]
    pub const fn tool(self) -> &'static str {
        match self {
            Self::Nft => "nft list ruleset",
            Self::Ipv4 => "iptables-save",
            Self::Ipv6 => "ip6tables-save",
            Self::LegacyIpv4 => "iptables-legacy-save",
            Self::LegacyIpv6 => "ip6tables-legacy-save",
        }
    }
}

/// Whether a table of one ruleset is the same in another.
fn same(saved: &Ruleset, table: &Table, other: &Ruleset, now: &Table) -> bool {
    let lines = |set: &Ruleset| set.section(&table.id).map(|lines| mask(&lines.join("\n")));
    table.id == now.id && mask(&table.text) == mask(&now.text) && lines(saved) == lines(other)
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
    let mut names: Vec<&str> = table_names(save).into_iter().filter(filled).collect();
    // The kernel lists the one that was made last first.
    names.sort_unstable();
    let tables = names.into_iter().flat_map(|name| {
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

    /// Whether it has sets or maps with names.
    pub(super) fn has_sets(&self) -> bool {
        let named = |line: &str| line.starts_with("\tset ") || line.starts_with("\tmap ");
        self.text.lines().any(named)
    }

    /// As a person calls it.
    pub(super) fn name(&self) -> String {
        let (family, name) = &self.id;
        format!("table {family} {name}")
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

#[cfg(test)]
mod tests;
