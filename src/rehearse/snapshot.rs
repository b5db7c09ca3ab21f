//! The rules from before: taken, tried out, stored, and brought back.

use std::collections::BTreeSet;
use std::thread;

use nix::sched::{CloneFlags, unshare};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::ruleset::{Ruleset, TableId, plan, remake};
use super::tools::{ToolError, Tools};

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
        "the present rules cannot be brought back exactly (table {0} {1}), so nothing was touched; make that table with one tool alone, nft or iptables"
    )]
    Unfaithful(String, String),
}

/// Whether a restoration was tried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trial {
    /// In an empty network namespace the rules came back exactly.
    Passed,
    /// It could not be made there, for this reason: rules may name interfaces or sets of this
    /// namespace. The kernel has accepted them here, without making them.
    Impossible(String),
}

/// Why the rules from before are not in force again.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// A tool failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// No tool complained, and yet they are others.
    #[error("{0}")]
    Differs(String),
}

impl Snapshot {
    /// Takes the present rules, and tries in an empty network namespace whether they come back.
    ///
    /// # Errors
    /// Where they do not, or a tool fails.
    pub fn take(tools: &Tools) -> Result<(Self, Trial), SnapshotError> {
        let ruleset = tools.look()?;
        let snapshot = |by_iptables| Self {
            ruleset: ruleset.clone(),
            by_iptables,
        };
        // iptables lists tables of nft too, and what it prints of those may be wrong. So both ways
        // are tried, that of iptables first: it knows its own rules best.
        let ways = [ruleset.of_iptables(), ruleset.unreadable_for_nft()];
        let mut found = Found::Impossible(String::new());
        for by_iptables in ways.iter().cloned() {
            found = found.or(snapshot(by_iptables).refined(tools));
            if let Found::Way(by_iptables) = found {
                return Ok((snapshot(by_iptables), Trial::Passed));
            }
        }
        match found {
            Found::Impossible(why) => {
                let [first, _] = ways;
                let snapshot = snapshot(first);
                // The kernel here, with its interfaces and sets, says whether it would take them.
                tools.test_plan(&remake(&snapshot.ruleset, &snapshot.by_iptables))?;
                Ok((snapshot, Trial::Impossible(why)))
            }
            Found::Departing((family, name)) => Err(SnapshotError::Unfaithful(family, name)),
            Found::Way(by_iptables) => Ok((snapshot(by_iptables), Trial::Passed)),
        }
    }

    /// Tries this way, and with nft those tables that do not come back by it.
    fn refined(mut self, tools: &Tools) -> Found {
        let mut failed = match in_scratch(|| self.departures(tools)) {
            Ok(failed) => failed,
            Err(why) => return Found::Impossible(why),
        };
        if failed.iter().any(|id| self.by_iptables.contains(id)) {
            self.by_iptables.retain(|id| !failed.contains(id));
            failed = match in_scratch(|| self.departures(tools)) {
                Ok(failed) => failed,
                Err(_) => failed,
            };
        }
        match failed.into_iter().next() {
            None => Found::Way(self.by_iptables),
            Some(id) => Found::Departing(id),
        }
    }

    /// Makes the rules where none are; returns the tables that come out different.
    fn departures(&self, tools: &Tools) -> Result<Vec<TableId>, ToolError> {
        let nothing = Ruleset::default();
        tools.carry_out(&plan(&self.ruleset, &self.by_iptables, &nothing))?;
        Ok(self.ruleset.departures(&tools.look()?))
    }

    /// Brings the rules back, and looks whether they are.
    ///
    /// # Errors
    /// Where they are not.
    pub fn restore(&self, tools: &Tools) -> Result<(), RestoreError> {
        let mut failure = None;
        for _ in 0..ROUNDS {
            let now = tools.look()?;
            let Some(difference) = self.ruleset.difference(&now) else {
                return Ok(());
            };
            let plan = plan(&self.ruleset, &self.by_iptables, &now);
            let done = tools.carry_out(&plan).map_err(RestoreError::Tool);
            failure = done.err().or(Some(RestoreError::Differs(difference)));
        }
        match self.ruleset.difference(&tools.look()?) {
            None => Ok(()),
            Some(difference) => Err(failure.unwrap_or(RestoreError::Differs(difference))),
        }
    }
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
fn in_scratch<T: Send>(work: impl FnOnce() -> Result<T, ToolError> + Send) -> Result<T, String> {
    let worker = || {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| format!("no namespace: {errno}"))?;
        work().map_err(|error| error.to_string())
    };
    thread::scope(|scope| {
        let joined = scope.spawn(worker).join();
        joined.unwrap_or_else(|_| Err("the trial ended early".to_owned()))
    })
}
