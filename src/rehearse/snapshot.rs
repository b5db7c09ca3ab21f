//! The rules from before: taken, tried out, stored, and brought back.

use std::collections::BTreeSet;
use std::thread;

use nix::sched::{CloneFlags, unshare};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::mend::Setback;
use super::ruleset::{Plan, Ruleset, Table, TableId, View, plan, plan_blind, remake};
use super::tools::{Look, ToolError, Tools};

/// How often a restoration looks again: something else may change rules at the same time, such as
/// a tool that outlives the process that started it.
const ROUNDS: usize = 3;

/// A ruleset that can be brought back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// As the tools showed it.
    pub ruleset: Ruleset,
    /// The tables whose rules iptables brings back.
    by_iptables: BTreeSet<TableId>,
}

/// Why rules cannot be saved so that they surely come back.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// A tool failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// Tried out in an empty network namespace, a table does not come back as it was.
    #[error(
        "the present rules cannot be brought back exactly (table {0} {1}), so nothing was touched; make \
         that table with one tool only, nft or iptables"
    )]
    Unfaithful(String, String),
}

/// What was tried out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trial {
    /// What could not be, and why: it may name interfaces or sets of this namespace. Everything else
    /// came back exactly in an empty network namespace.
    pub untried: Vec<(String, String)>,
}

/// Why the rules from before are not in force again: everything that was tried in vain.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct RestoreError(String);

impl Snapshot {
    /// Takes the present rules, and tries in an empty network namespace whether they come back.
    ///
    /// # Errors
    /// Where they do not, or a tool fails.
    pub fn take(tools: &Tools) -> Result<(Self, Trial), SnapshotError> {
        let ruleset = tools.look()?;
        if let Found::Way(by_iptables) = way(&ruleset, tools) {
            let snapshot = Self {
                ruleset,
                by_iptables,
            };
            return Ok((snapshot, Trial::default()));
        }
        Self::piece_by_piece(ruleset, tools)
    }

    /// Tries one table after the other, and then all of those together that could be tried.
    fn piece_by_piece(ruleset: Ruleset, tools: &Tools) -> Result<(Self, Trial), SnapshotError> {
        let mut snapshot = Self {
            by_iptables: BTreeSet::new(),
            ruleset,
        };
        let mut trial = Trial::default();
        let mut tried = BTreeSet::new();
        for table in snapshot.ruleset.tables() {
            match way(&snapshot.ruleset.only(|id| *id == table.id), tools) {
                Found::Way(by_iptables) => {
                    snapshot.by_iptables.extend(by_iptables);
                    tried.insert(table.id);
                }
                Found::Departing((family, name)) => {
                    return Err(SnapshotError::Unfaithful(family, name));
                }
                Found::Impossible(why) => {
                    trial.untried.push((table.name(), why));
                    match snapshot.likely_tool(&table, tools) {
                        Some(Tool::Nft) => {}
                        Some(Tool::Iptables) => drop(snapshot.by_iptables.insert(table.id)),
                        None => {
                            let (family, name) = table.id;
                            return Err(SnapshotError::Unfaithful(family, name));
                        }
                    }
                }
            }
        }
        let together = Self {
            ruleset: snapshot.ruleset.only(|id| tried.contains(id)),
            by_iptables: snapshot.by_iptables.clone(),
        };
        match in_scratch(|| together.departures(tools)) {
            Ok(departing) => {
                if let Some((family, name)) = departing.into_iter().next() {
                    return Err(SnapshotError::Unfaithful(family, name));
                }
            }
            Err(why) => trial.untried.push(("all tables together".to_owned(), why)),
        }
        trial.untried.extend(snapshot.untried_legacy(tools));
        // The kernel here, with its interfaces and sets, says whether it would take them.
        tools.test_plan(&remake(&snapshot.ruleset, &snapshot.by_iptables))?;
        Ok((snapshot, trial))
    }

    /// What brings a table back that cannot be tried out; nothing where nft has made one part of it,
    /// and iptables another that nft makes differently.
    fn likely_tool(&self, table: &Table, tools: &Tools) -> Option<Tool> {
        if !self.ruleset.of_iptables().contains(&table.id) {
            return Some(Tool::Nft);
        }
        if table.needs_iptables() {
            return Some(Tool::Iptables);
        }
        // Without the lines that cannot be loaded there, iptables should show of nft's table what it
        // shows of it here.
        let alone = Self {
            ruleset: self.ruleset.only(|id| *id == table.id),
            by_iptables: BTreeSet::new(),
        };
        let trial = in_scratch(|| {
            let setbacks = tools.carry_out(&plan(
                &alone.ruleset,
                &alone.by_iptables,
                &Ruleset::default(),
            ));
            let shown = tools.look().ok();
            let whole = setbacks.iter().any(|setback| setback.line.is_none());
            Ok(!whole && shown.is_some_and(|now| now.shows_part_of(&alone.ruleset)))
        });
        match trial {
            Ok(true) => Some(Tool::Nft),
            Ok(false) => None,
            // No namespaces at all.
            Err(_) => Some(Tool::Iptables),
        }
    }

    /// The rules of the old interface, if they cannot be tried.
    fn untried_legacy(&self, tools: &Tools) -> Option<(String, String)> {
        let alone = Self {
            ruleset: self.ruleset.legacy(),
            by_iptables: BTreeSet::new(),
        };
        let why = in_scratch(|| alone.departures(tools)).err()?;
        Some(("the rules of iptables-legacy".to_owned(), why))
    }

    /// Tries this way, and with nft those tables that do not come back by it.
    fn refined(mut self, tools: &Tools) -> Found {
        let mut failed = match in_scratch(|| self.departures(tools)) {
            Ok(failed) => failed,
            Err(why) => return Found::Impossible(why),
        };
        let unreadable = self.ruleset.unreadable_for_nft();
        let misread = |id: &TableId| failed.contains(id) && !unreadable.contains(id);
        if self.by_iptables.iter().any(misread) {
            self.by_iptables.retain(|id| !misread(id));
            failed = match in_scratch(|| self.departures(tools)) {
                Ok(failed) => failed,
                Err(why) => return Found::Impossible(why),
            };
        }
        match failed.into_iter().next() {
            None => Found::Way(self.by_iptables),
            Some(id) => Found::Departing(id),
        }
    }

    /// Makes the rules where none are; returns the tables that come out different.
    fn departures(&self, tools: &Tools) -> Result<Vec<TableId>, String> {
        let nothing = Ruleset::default();
        let setbacks = tools.carry_out(&plan(&self.ruleset, &self.by_iptables, &nothing));
        if let Some(setback) = setbacks.first() {
            return Err(setback.why.clone());
        }
        let now = tools.look().map_err(|why| why.to_string())?;
        let departures = self.ruleset.departures(&now);
        let legacy = self.ruleset.legacy().difference(&now.legacy());
        legacy.map_or(Ok(departures), Err)
    }

    /// Brings the rules back, and looks whether they are. Whatever fails, everything else is tried.
    ///
    /// # Errors
    /// Where they are not, or nobody can see whether they are.
    pub fn restore(&self, tools: &Tools) -> Result<(), RestoreError> {
        let mut setbacks = Vec::new();
        for _ in 0..ROUNDS {
            let look = tools.look_around();
            if self.is_in_force(&look) {
                return Ok(());
            }
            let fresh = tools.carry_out(&self.way_from(&look));
            let in_vain = !fresh.is_empty() && fresh == setbacks;
            setbacks = fresh;
            if in_vain {
                break;
            }
        }
        let look = tools.look_around();
        if self.is_in_force(&look) {
            return Ok(());
        }
        Err(self.complaint(&look, &setbacks))
    }

    fn is_in_force(&self, look: &Look) -> bool {
        look.unseen.is_empty() && self.ruleset.difference(&look.ruleset).is_none()
    }

    /// The way back from what can be seen. Of tables that iptables does not show, what nft shows
    /// counts: one that looks as before stays, because iptables may not be able to fill it again.
    fn way_from(&self, look: &Look) -> Plan {
        let unseen = |view: View| look.unseen.iter().any(|(own, _)| *own == view);
        let mut now = look.ruleset.clone();
        for (view, then, now) in [
            (View::Ipv4, &self.ruleset.ipv4, &mut now.ipv4),
            (View::Ipv6, &self.ruleset.ipv6, &mut now.ipv6),
        ] {
            if unseen(view) {
                now.clone_from(then);
            }
        }
        let way = if unseen(View::Nft) { plan_blind } else { plan };
        way(&self.ruleset, &self.by_iptables, &now)
    }

    /// Everything that is not as it was, with why.
    fn complaint(&self, look: &Look, setbacks: &[Setback]) -> RestoreError {
        let mut parts: Vec<String> = setbacks.iter().map(ToString::to_string).collect();
        let unseen = look.unseen.iter();
        parts.extend(
            unseen.map(|(view, why)| {
                format!("what `{}` would show is not known: {why}", view.tool())
            }),
        );
        if look.unseen.is_empty() {
            let others = self.ruleset.departures(&look.ruleset).into_iter();
            let others = others.map(|(family, name)| format!("table {family} {name}"));
            let others = others.filter(|table| setbacks.iter().all(|known| known.what != *table));
            parts.extend(others.map(|table| format!("{table} is not as it was")));
        }
        if parts.is_empty() {
            parts.extend(self.ruleset.difference(&look.ruleset));
        }
        RestoreError(parts.join("; "))
    }
}

/// By which tools a ruleset comes back. Iptables lists tables of nft too, and what it prints of those
/// may be wrong. So both ways are tried, that of iptables first: it knows its own rules best.
fn way(ruleset: &Ruleset, tools: &Tools) -> Found {
    let mut found = Found::Impossible(String::new());
    for by_iptables in [ruleset.of_iptables(), ruleset.unreadable_for_nft()] {
        let snapshot = Snapshot {
            ruleset: ruleset.clone(),
            by_iptables,
        };
        found = found.or(snapshot.refined(tools));
        if matches!(found, Found::Way(_)) {
            break;
        }
    }
    found
}

/// What brings back the rules of a table.
enum Tool {
    Nft,
    Iptables,
}

/// What trying a way found.
enum Found {
    /// It works, with these tables by iptables.
    Way(BTreeSet<TableId>),
    /// This table comes out different.
    Departing(TableId),
    /// It could not be tried.
    Impossible(String),
}

impl Found {
    /// A table that came out different is the stronger answer than a trial that could not be made.
    fn or(self, next: Self) -> Self {
        match (&self, &next) {
            (Self::Departing(_), Self::Impossible(_)) => self,
            (Self::Impossible(why), Self::Impossible(_)) if !why.is_empty() => self,
            _ => next,
        }
    }
}

/// Runs work in a network namespace of its own, which ends with it. Namespaces belong to threads.
fn in_scratch<T: Send>(work: impl FnOnce() -> Result<T, String> + Send) -> Result<T, String> {
    let worker = || {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| format!("no namespace: {errno}"))?;
        work()
    };
    thread::scope(|scope| {
        let joined = scope.spawn(worker).join();
        joined.unwrap_or_else(|_| Err("the trial ended early".to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "table ip filter {\n\tchain INPUT {\n\t}\n}\n";
    const SAVE: &str = "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n";

    fn look(nft: &str, ipv4: &str, unseen: &[View]) -> Look {
        let why = || ToolError::Failed {
            tool: "it".to_owned(),
            complaint: "no".to_owned(),
        };
        Look {
            ruleset: Ruleset {
                nft: nft.to_owned(),
                ipv4: ipv4.to_owned(),
                ..Ruleset::default()
            },
            unseen: unseen.iter().map(|view| (*view, why())).collect(),
        }
    }

    #[test]
    fn what_cannot_be_seen_keeps_nothing_from_coming_back() {
        let snapshot = Snapshot {
            ruleset: look(TABLE, SAVE, &[]).ruleset,
            by_iptables: BTreeSet::new(),
        };
        let way = |nft, ipv4, unseen: &[View]| snapshot.way_from(&look(nft, ipv4, unseen));
        assert_eq!(way(TABLE, SAVE, &[]), Plan::default());
        // As far as nft shows, it is as before.
        assert_eq!(way(TABLE, "", &[View::Ipv4]), Plan::default());
        assert_eq!(way("", "", &[View::Ipv4]).create.len(), 1);
        let blind = way("", SAVE, &[View::Nft]);
        assert_eq!((blind.delete.len(), blind.create.len()), (1, 1));
        // But nobody can say that it is back.
        assert!(snapshot.is_in_force(&look(TABLE, SAVE, &[])));
        assert!(!snapshot.is_in_force(&look(TABLE, SAVE, &[View::LegacyIpv6])));
        let told = snapshot.complaint(&look(TABLE, SAVE, &[View::Ipv4]), &[]);
        let told = told.to_string();
        assert!(
            told.contains("`iptables-save`") && told.contains("it: no"),
            "{told}"
        );
    }

    #[test]
    fn every_table_that_is_not_back_is_named_once() {
        let other = TABLE.replace("ip filter", "inet own");
        let snapshot = Snapshot {
            ruleset: look(&[TABLE, &other].concat(), SAVE, &[]).ruleset,
            by_iptables: BTreeSet::new(),
        };
        let setback = Setback {
            what: "table inet own".to_owned(),
            line: None,
            why: "no".to_owned(),
        };
        let told = snapshot
            .complaint(&look("", "", &[]), &[setback])
            .to_string();
        let expected = "table inet own is not back: no; table ip filter is not as it was";
        assert_eq!(told, expected);
    }
}
