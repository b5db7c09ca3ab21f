//! The way back from one ruleset to another, in pieces that can be made one by one.

use std::collections::BTreeSet;

use super::{Ruleset, Table, TableId, first_word, same, section, table_names, without_empty};

/// What brings one ruleset back from another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Commands for `nft -f`: away with what must go.
    pub delete: Vec<String>,
    /// For `nft -f`, in the same transaction if the kernel allows it.
    pub create: Vec<Piece>,
    /// For `iptables-restore --noflush --counters` over nftables.
    pub ipv4: Vec<Piece>,
    /// For `ip6tables-restore --noflush --counters` over nftables.
    pub ipv6: Vec<Piece>,
    /// For `iptables-legacy-restore --counters`.
    pub legacy_ipv4: Vec<Piece>,
    /// For `ip6tables-legacy-restore --counters`.
    pub legacy_ipv6: Vec<Piece>,
}

/// What belongs to one table, and can be loaded without the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// As a person calls it: `table ip filter`.
    pub table: String,
    /// What the tool reads.
    pub text: String,
}

impl Piece {
    /// Several of them in one.
    #[must_use]
    pub fn joined(pieces: &[Self]) -> String {
        pieces.iter().map(|piece| &*piece.text).collect()
    }
}

/// The way from `now` back to `saved`. Tables in `by_iptables` get their rules from iptables-restore.
#[must_use]
pub fn plan(saved: &Ruleset, by_iptables: &BTreeSet<TableId>, now: &Ruleset) -> Plan {
    let (old, new) = (saved.tables(), now.tables());
    let pairs = old.iter().zip(&new);
    let kept = pairs
        .take_while(|(old, new)| same(saved, old, now, new))
        .count();
    Plan {
        delete: deletions(new.get(kept..).unwrap_or_default()),
        legacy_ipv4: legacy("iptables-legacy", &saved.legacy_ipv4, &now.legacy_ipv4),
        legacy_ipv6: legacy("ip6tables-legacy", &saved.legacy_ipv6, &now.legacy_ipv6),
        ..creation(saved, by_iptables, old.get(kept..).unwrap_or_default())
    }
}

/// The same where nft does not show what there is now: everything goes that can go, and is made anew.
#[must_use]
pub fn plan_blind(saved: &Ruleset, by_iptables: &BTreeSet<TableId>, now: &Ruleset) -> Plan {
    let nothing = Ruleset {
        nft: String::new(),
        ..now.clone()
    };
    Plan {
        delete: vec!["flush ruleset\n".to_owned()],
        ..plan(saved, by_iptables, &nothing)
    }
}

fn deletions(tables: &[Table]) -> Vec<String> {
    let ids = tables.iter().map(|table| &table.id);
    ids.map(|(family, name)| format!("delete table {family} {name}\n"))
        .collect()
}

fn creation(saved: &Ruleset, by_iptables: &BTreeSet<TableId>, tables: &[Table]) -> Plan {
    let filled = |table: &&Table| by_iptables.contains(&table.id);
    let piece = |table: &Table, text| Piece {
        table: table.name(),
        text,
    };
    let made = |table: &Table| {
        let text = if by_iptables.contains(&table.id) {
            table.chains()
        } else {
            table.text.clone()
        };
        piece(table, text)
    };
    let rules_of = |family: &str| {
        let tables = tables.iter().filter(|table| table.id.0 == family);
        let pieces = tables.filter(filled).map(|table| {
            let text = rules(saved, table);
            piece(table, text)
        });
        pieces.filter(|piece| !piece.text.is_empty()).collect()
    };
    Plan {
        create: tables.iter().map(made).collect(),
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
fn legacy(tool: &str, saved: &str, now: &str) -> Vec<Piece> {
    if without_empty(saved) == without_empty(now) {
        return Vec::new();
    }
    let table = |name: &str| format!("table {name} of {tool}");
    let old = table_names(saved).into_iter().filter_map(|name| {
        let lines = section(saved, name)?;
        let lines: String = lines.into_iter().flat_map(|line| [line, "\n"]).collect();
        let text = format!("*{name}\n{lines}COMMIT\n");
        Some((name, text))
    });
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
        Some((name, format!("*{name}\n{chains}COMMIT\n")))
    });
    let pieces = old.chain(emptied);
    pieces
        .map(|(name, text)| Piece {
            table: table(name),
            text,
        })
        .collect()
}
