//! PURE: two reports in, what got worse, better or moved out. No clock, no socket, no global.
//!
//! What is compared are [`Facts`]: each subject (the verdict, a protocol, a row, a lookup, a server
//! name, a finding) with the state that a report gives it. A state has a [`Standing`], and two
//! standings have a [`Trend`]:
//!
//! ```text
//! before          after           trend
//!   all or some     less            worse
//!   none or some    more            better
//!   known           not certain     no longer certain
//!   not certain     known           now certain
//!   not comparable  anything        changed, as where the options differ
//!   the same        the same        by the addresses of the row: those that stopped passing are
//!                                   worse, those that started are better; else changed (a cause)
//!   known           known           besides, by the addresses of the row: those that are undecided now
//!                                   are no longer certain, those that were before are now certain
//! ```
//! Times never count. An address that was undecided and still is makes no difference, and neither does
//! one that DNS added or withdrew: it has moved.

mod caveat;
mod crossed;
mod facts;
mod words;

use std::collections::BTreeSet;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

pub use caveat::Caveat;
#[cfg(feature = "cli")]
pub(crate) use facts::counts;
pub use facts::{DestinationState, Facts, Level, Standing, State, Subject};
pub use words::lines;

use self::crossed::Crossed;
use crate::model::{ExitStatus, Family, Report, Tool, Verdict};

/// The version of the JSON layout of a difference.
pub const SCHEMA_VERSION: u32 = 1;

/// What is different between two reports.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Difference {
    /// The version of this layout.
    pub schema_version: u32,
    /// The program that compared them.
    pub tool: Tool,
    /// The earlier report.
    pub before: Side,
    /// The later report.
    pub after: Side,
    /// What the comparison comes to.
    pub outcome: Outcome,
    /// The exit code that goes with it.
    pub exit_code: u8,
    /// The outcome in a plain sentence.
    pub summary: String,
    /// What keeps the two reports from being fully comparable.
    pub caveats: Vec<Caveat>,
    /// What is proven to work less than before.
    pub worse: Vec<Change>,
    /// What was known before, and is not now: no proof of anything.
    pub no_longer_certain: Vec<Change>,
    /// What works more than before.
    pub better: Vec<Change>,
    /// What was not known before, and is now.
    pub now_certain: Vec<Change>,
    /// What is different, and neither better nor worse.
    pub changed: Vec<Change>,
    /// Addresses that DNS added or withdrew.
    pub moved: Vec<Move>,
    /// How many subjects are as they were.
    pub unchanged: usize,
}

/// One of the two reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Side {
    /// When its run began (RFC 3339).
    pub started_at: String,
    /// The host that it ran on, where the report tells.
    pub host: Option<String>,
    /// Its verdict.
    pub verdict: Verdict,
    /// The exit code of its verdict.
    pub exit_code: u8,
}

/// What a comparison comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing required got worse.
    NotWorse,
    /// Something required is proven to have got worse.
    Worse,
    /// Nothing is proven to have got worse, but something required may have: it is known on one of
    /// the two sides only.
    Uncertain,
}

impl Outcome {
    /// What the process tells its caller.
    #[must_use]
    pub const fn exit_status(self) -> ExitStatus {
        match self {
            Self::NotWorse => ExitStatus::Ready,
            Self::Worse => ExitStatus::Blocked,
            Self::Uncertain => ExitStatus::Inconclusive,
        }
    }
}

/// One subject that is different.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Change {
    /// What is different.
    pub subject: Subject,
    /// Whether a tunnel needs it, so that it counts for the exit code.
    pub required: bool,
    /// Its state before; null where it was not there.
    pub before: Option<State>,
    /// Its state after; null where it is not there.
    pub after: Option<State>,
    /// The addresses that passed before and are proven blocked now.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub stopped: BTreeSet<IpAddr>,
    /// The addresses that were proven blocked before and pass now.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub started: BTreeSet<IpAddr>,
    /// The addresses that were known before and are not now.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub undecided: BTreeSet<IpAddr>,
    /// The addresses that were not known before and are now.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub decided: BTreeSet<IpAddr>,
}

/// What DNS says of a host: addresses that came and went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Move {
    /// `region1`, `region2`, …, or the name of an optional host.
    pub place: String,
    /// The name that stood for it before.
    pub host_before: String,
    /// The name that stands for it now.
    pub host_after: String,
    /// The family.
    pub family: Family,
    /// Addresses that are new.
    pub added: BTreeSet<IpAddr>,
    /// Addresses that are gone.
    pub withdrawn: BTreeSet<IpAddr>,
}

/// Where a change leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trend {
    /// Proven to work less.
    Worse,
    /// Known before, not known now.
    NoLongerCertain,
    /// Proven to work more.
    Better,
    /// Not known before, known now.
    NowCertain,
    /// Neither.
    Changed,
}

impl Trend {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 5] = [
        Self::Worse,
        Self::NoLongerCertain,
        Self::Better,
        Self::NowCertain,
        Self::Changed,
    ];

    /// From one standing to another; the same standing leads nowhere.
    #[must_use]
    pub const fn of(before: Standing, after: Standing) -> Self {
        use Standing::{Apart, Known, Uncertain};
        match (before, after) {
            (Known(before), Known(after)) if (before as u8) > (after as u8) => Self::Worse,
            (Known(before), Known(after)) if (before as u8) < (after as u8) => Self::Better,
            (Known(_), Uncertain) => Self::NoLongerCertain,
            (Uncertain, Known(_)) => Self::NowCertain,
            (Known(_), Known(_)) | (Uncertain, Uncertain) | (Apart, _) | (_, Apart) => {
                Self::Changed
            }
        }
    }
}

/// Compares two reports. Both should have been diagnosed by this program, so that a change of its
/// rules is no difference of the network.
#[must_use]
pub fn compare(before: &Report, after: &Report) -> Difference {
    let (was, is) = (Facts::of(before), Facts::of(after));
    let changes = changes(&was, &is);
    let outcome = outcome(&changes);
    let of = |wanted: Trend| {
        let own = changes.iter().filter(|(trend, _)| *trend == wanted);
        own.map(|(_, change)| change.clone()).collect()
    };
    let subjects: BTreeSet<_> = was.states.keys().chain(is.states.keys()).collect();
    let different: BTreeSet<_> = changes.iter().map(|(_, change)| &change.subject).collect();
    Difference {
        schema_version: SCHEMA_VERSION,
        tool: crate::diagnose::tool(),
        before: side(before),
        after: side(after),
        outcome,
        exit_code: outcome.exit_status().code(),
        summary: words::summary(outcome, &changes),
        caveats: caveat::caveats(before, after),
        worse: of(Trend::Worse),
        no_longer_certain: of(Trend::NoLongerCertain),
        better: of(Trend::Better),
        now_certain: of(Trend::NowCertain),
        changed: of(Trend::Changed),
        moved: moves(&was, &is),
        unchanged: subjects.len() - different.len(),
    }
}

impl Difference {
    /// What a tunnel needs and is proven to work less than before.
    pub fn lost_required(&self) -> impl Iterator<Item = &Change> {
        self.worse.iter().filter(|change| change.required)
    }

    /// What a tunnel needs and may work less than before, because it is known on one side only.
    pub fn uncertain_required(&self) -> impl Iterator<Item = &Change> {
        let unknown = self.no_longer_certain.iter().chain(&self.now_certain);
        unknown.filter(|change| change.may_be_loss())
    }

    /// True when the two reports say the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes().next().is_none() && self.moved.is_empty()
    }

    /// The changes that lead somewhere.
    #[must_use]
    pub fn of(&self, trend: Trend) -> &[Change] {
        match trend {
            Trend::Worse => &self.worse,
            Trend::NoLongerCertain => &self.no_longer_certain,
            Trend::Better => &self.better,
            Trend::NowCertain => &self.now_certain,
            Trend::Changed => &self.changed,
        }
    }

    /// All changes, what got worse first.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        Trend::ALL.into_iter().flat_map(|trend| self.of(trend))
    }
}

impl Change {
    /// Whether something that a tunnel needs may have been lost where one side is not certain: it
    /// worked before, or does not wholly work now.
    #[must_use]
    pub fn may_be_loss(&self) -> bool {
        let standing = |state: &Option<State>| Standing::of(&self.subject, state.as_ref());
        self.required
            && match (standing(&self.before), standing(&self.after)) {
                (Standing::Known(before), Standing::Uncertain) => before != Level::None,
                (Standing::Uncertain, Standing::Known(after)) => after != Level::All,
                _ => self.may_have_lost_addresses(),
            }
    }

    /// The same for single addresses of a row that is known on both sides.
    fn may_have_lost_addresses(&self) -> bool {
        match (&self.before, &self.after) {
            (Some(State::Destination(before)), Some(State::Destination(after))) => {
                !self.undecided.is_disjoint(&before.passing)
                    || !self.decided.is_disjoint(&after.blocked)
            }
            _ => false,
        }
    }

    /// Whether it is about single addresses of which one side does not know enough.
    #[must_use]
    pub(crate) fn is_of_undecided_addresses(&self) -> bool {
        !self.undecided.is_empty() || !self.decided.is_empty()
    }
}

fn side(report: &Report) -> Side {
    Side {
        started_at: report.started_at.clone(),
        host: report.host.name.clone(),
        verdict: report.verdict,
        exit_code: report.exit_code,
    }
}

fn outcome(changes: &[(Trend, Change)]) -> Outcome {
    let worse = |(trend, change): &(Trend, Change)| *trend == Trend::Worse && change.required;
    if changes.iter().any(worse) {
        Outcome::Worse
    } else if changes.iter().any(|(_, change)| change.may_be_loss()) {
        Outcome::Uncertain
    } else {
        Outcome::NotWorse
    }
}

/// What is different between what two reports say: changes with where they lead, and moves.
pub(crate) fn compare_facts(was: &Facts, is: &Facts) -> (Vec<(Trend, Change)>, Vec<Move>) {
    (changes(was, is), moves(was, is))
}

/// All subjects whose states differ, in their order.
fn changes(was: &Facts, is: &Facts) -> Vec<(Trend, Change)> {
    let subjects: BTreeSet<_> = was.states.keys().chain(is.states.keys()).collect();
    subjects
        .into_iter()
        .flat_map(|subject| changes_of(subject, was, is))
        .collect()
}

fn changes_of(subject: &Subject, was: &Facts, is: &Facts) -> Vec<(Trend, Change)> {
    let (before, after) = (was.states.get(subject), is.states.get(subject));
    let change = Change {
        required: was.required.contains(subject) || is.required.contains(subject),
        subject: subject.clone(),
        before: before.cloned(),
        after: after.cloned(),
        stopped: BTreeSet::new(),
        started: BTreeSet::new(),
        undecided: BTreeSet::new(),
        decided: BTreeSet::new(),
    };
    let crossed = Crossed::between(before, after);
    let standings = [before, after].map(|state| Standing::of(subject, state));
    let trend = Trend::of(standings[0], standings[1]);
    let quiet = crossed.stopped.is_empty() && crossed.started.is_empty();
    let mut parts = match trend {
        Trend::Changed if quiet && said(before) == said(after) => Vec::new(),
        Trend::Changed if !quiet => crossed.losses_and_gains(&change),
        trend => vec![(trend, crossed.told_with(&change))],
    };
    if standings
        .iter()
        .all(|standing| matches!(standing, Standing::Known(_)))
    {
        parts.extend(crossed.doubts(&change));
    }
    parts
}

/// What a state says, without the counts that vary from run to run.
fn said(state: Option<&State>) -> Option<State> {
    match state {
        Some(State::Destination(row)) => Some(State::Destination(row.without_addresses())),
        other => other.cloned(),
    }
}

/// What DNS added and withdrew, where both reports have its answer.
fn moves(was: &Facts, is: &Facts) -> Vec<Move> {
    let both = was.answers.iter().filter_map(|(key, before)| {
        let after = is.answers.get(key)?;
        Some((key, before, after))
    });
    both.map(|((place, family), before, after)| Move {
        place: place.clone(),
        host_before: before.host.clone(),
        host_after: after.host.clone(),
        family: *family,
        added: after
            .addresses
            .difference(&before.addresses)
            .copied()
            .collect(),
        withdrawn: before
            .addresses
            .difference(&after.addresses)
            .copied()
            .collect(),
    })
    .filter(|moved| !moved.added.is_empty() || !moved.withdrawn.is_empty())
    .collect()
}

#[cfg(test)]
mod tests;
