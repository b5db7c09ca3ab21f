//! Which addresses of a row went from one state to another, and what that makes of the row.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Change, State, Trend};

/// The addresses of a row that went from one state to another.
#[derive(Debug, Default)]
pub(super) struct Crossed {
    pub(super) stopped: BTreeSet<IpAddr>,
    pub(super) started: BTreeSet<IpAddr>,
    undecided: BTreeSet<IpAddr>,
    decided: BTreeSet<IpAddr>,
}

impl Crossed {
    pub(super) fn between(before: Option<&State>, after: Option<&State>) -> Self {
        let (Some(State::Destination(before)), Some(State::Destination(after))) = (before, after)
        else {
            return Self::default();
        };
        Self {
            stopped: &before.passing & &after.blocked,
            started: &before.blocked & &after.passing,
            undecided: &before.decided() & &after.undecided,
            decided: &before.undecided & &after.decided(),
        }
    }

    /// A row whose standing is another, with what explains it.
    pub(super) fn told_with(&self, change: &Change) -> Change {
        Change {
            stopped: self.stopped.clone(),
            started: self.started.clone(),
            ..change.clone()
        }
    }

    /// A row whose standing is the same, and whose addresses are not. One that lost some addresses and
    /// won others got worse in part and better in part.
    pub(super) fn losses_and_gains(&self, change: &Change) -> Vec<(Trend, Change)> {
        let worse = Change {
            stopped: self.stopped.clone(),
            ..change.clone()
        };
        let better = Change {
            started: self.started.clone(),
            ..change.clone()
        };
        parts([
            (Trend::Worse, &self.stopped, worse),
            (Trend::Better, &self.started, better),
        ])
    }

    /// A row that is known, and addresses of it that are not: whether the time ran out or they keep
    /// silent, nobody can say that nothing happened to them.
    pub(super) fn doubts(&self, change: &Change) -> Vec<(Trend, Change)> {
        let doubted = Change {
            undecided: self.undecided.clone(),
            ..change.clone()
        };
        let cleared = Change {
            decided: self.decided.clone(),
            ..change.clone()
        };
        parts([
            (Trend::NoLongerCertain, &self.undecided, doubted),
            (Trend::NowCertain, &self.decided, cleared),
        ])
    }
}

/// What is left of a change in two parts, without one of no address.
fn parts(halves: [(Trend, &BTreeSet<IpAddr>, Change); 2]) -> Vec<(Trend, Change)> {
    let told = halves.into_iter().filter(|(_, who, _)| !who.is_empty());
    told.map(|(trend, _, change)| (trend, change)).collect()
}
