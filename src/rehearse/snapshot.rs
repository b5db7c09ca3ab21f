//! The rules from before: taken, tried out, stored, and brought back.

use std::collections::BTreeSet;
use std::thread;

use nix::sched::{CloneFlags, unshare};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::links;
use super::mend::Setback;
use super::ruleset::{Plan, Ruleset, TableId, View, plan, plan_blind};
use super::steps::Step;
use super::tools::{Look, ToolError, Tools};
use crate::oracle::{Format, Part};

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
    /// Loaded into an empty network namespace, a table is not as it was.
    #[error(
        "table {0} {1} is not the same when it is loaded again; make it with one tool only, nft or iptables"
    )]
    Unfaithful(String, String),
    /// Something else changes rules at the same time.
    #[error("they have changed meanwhile ({0}); try again")]
    Changing(String),
    /// They cannot be loaded there.
    #[error("they cannot be loaded into an empty network namespace: {0}")]
    Untried(String),
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
    pub fn take(tools: &Tools) -> Result<Self, SnapshotError> {
        Self::of(tools.look()?, tools)
    }

    /// A ruleset, once it is certain that it can be made.
    ///
    /// # Errors
    /// Where it cannot.
    pub fn of(ruleset: Ruleset, tools: &Tools) -> Result<Self, SnapshotError> {
        match way(&ruleset, tools) {
            Found::Way(by_iptables) => Ok(Self {
                ruleset,
                by_iptables,
            }),
            Found::Departing((family, name)) => Err(SnapshotError::Unfaithful(family, name)),
            Found::Impossible(why) => Err(SnapshotError::Untried(why)),
        }
    }

    /// Looks again shortly before it counts, so that no counter goes back further than it must.
    ///
    /// # Errors
    /// Where other rules are in force by now.
    pub fn again(self, tools: &Tools) -> Result<Self, SnapshotError> {
        let ruleset = tools.look()?;
        match self.ruleset.difference(&ruleset) {
            None => Ok(Self { ruleset, ..self }),
            Some(difference) => Err(SnapshotError::Changing(difference)),
        }
    }

    /// The tables whose rules iptables brings back.
    #[must_use]
    pub const fn by_iptables(&self) -> &BTreeSet<TableId> {
        &self.by_iptables
    }

    /// The same for the oracle: each table by the tool that makes it.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        let by_iptables = self.ruleset.only(|id| self.by_iptables.contains(id));
        let by_nft = self.ruleset.only(|id| !self.by_iptables.contains(id));
        // The rules of the old interface are judged like those of the new one, if these are none.
        let either = |new: String, old: &String| if new.is_empty() { old.clone() } else { new };
        let legacy = &self.ruleset;
        let part = |(name, format, text): (&str, Format, String)| Part {
            name: name.to_owned(),
            format,
            text,
        };
        let (v4, v6) = (&legacy.legacy_ipv4, &legacy.legacy_ipv6);
        let parts = [
            ("nft", Format::Nft, by_nft.nft),
            ("iptables", Format::Iptables, either(by_iptables.ipv4, v4)),
            ("ip6tables", Format::Ip6tables, either(by_iptables.ipv6, v6)),
        ];
        let parts = parts.into_iter().filter(|(_, _, text)| !text.is_empty());
        parts.map(part).collect()
    }

    /// Whether the kernel tracks connections for these rules.
    #[must_use]
    pub fn tracks(&self) -> bool {
        let Ruleset {
            nft,
            legacy_ipv4,
            legacy_ipv6,
            ..
        } = &self.ruleset;
        let words = ["ct ", "conntrack", "type nat ", "*nat"];
        let tracks = |text: &String| words.iter().any(|word| text.contains(word));
        [nft, legacy_ipv4, legacy_ipv6].into_iter().any(tracks)
    }

    /// What nft or iptables make of these rules, tried in an empty network namespace.
    ///
    /// # Errors
    /// What the tool has against them.
    pub fn with(&self, tools: &Tools, steps: &[Step]) -> Result<Ruleset, String> {
        in_scratch(|| {
            let nothing = Ruleset::default();
            let setbacks = tools.carry_out(&plan(&self.ruleset, &self.by_iptables, &nothing));
            if let Some(setback) = setbacks.first() {
                return Err(setback.to_string());
            }
            for step in steps {
                tools.load(step).map_err(|why| why.to_string())?;
            }
            tools.look().map_err(|why| why.to_string())
        })
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
    match both(ruleset, tools) {
        Found::Impossible(_) => one_by_one(ruleset, tools),
        found => found,
    }
}

fn both(ruleset: &Ruleset, tools: &Tools) -> Found {
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

/// The ways of all tables, each found without the others, together.
fn one_by_one(ruleset: &Ruleset, tools: &Tools) -> Found {
    let mut by_iptables = BTreeSet::new();
    for table in ruleset.tables() {
        match both(&ruleset.only(|id| *id == table.id), tools) {
            Found::Way(way) => by_iptables.extend(way),
            Found::Impossible(why) => {
                return Found::Impossible(format!("{}: {why}", table.name()));
            }
            departing @ Found::Departing(_) => return departing,
        }
    }
    let snapshot = Snapshot {
        ruleset: ruleset.clone(),
        by_iptables,
    };
    snapshot.refined(tools)
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

/// Runs work in a network namespace of its own with interfaces of this host's names, which ends with
/// it. Namespaces belong to threads.
fn in_scratch<T: Send>(work: impl FnOnce() -> Result<T, String> + Send) -> Result<T, String> {
    let interfaces = links::of_this_host();
    let worker = || {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| format!("no namespace: {errno}"))?;
        links::make(&interfaces).map_err(|why| why.to_string())?;
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
