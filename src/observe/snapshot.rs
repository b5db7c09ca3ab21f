//! The attempts of a run at one moment.

use crate::catalog;
use crate::diagnose::belongs;
use crate::model::Attempt;
use crate::plan::{Begun, Seen};
use crate::targets::{Target, TargetState};

/// The attempts at one moment, with the ids of those that run.
pub(super) struct Snapshot {
    pub(super) attempts: Vec<Attempt>,
    pub(super) ids: Vec<Option<u64>>,
}

impl Snapshot {
    /// A name that informs is worth a moment, not a wait.
    pub(super) fn waits_for_documented_name(&self) -> bool {
        const A_MOMENT: f64 = 0.5;
        self.attempts.iter().zip(&self.ids).any(|(attempt, id)| {
            id.is_some()
                && attempt.sni == catalog::DOCUMENTED_SNI
                && attempt.elapsed_ms.secs() < A_MOMENT
        })
    }

    pub(super) fn of(&self, target: &Target) -> Vec<Seen<'_>> {
        let all = self.attempts.iter().zip(&self.ids);
        all.filter(|(attempt, _)| belongs(attempt, target))
            .map(|(attempt, id)| Seen {
                attempt,
                running: id.is_some(),
            })
            .collect()
    }

    /// Whether a row's first attempt has begun, and when.
    pub(super) fn begun(&self, target: &Target) -> Begun {
        let starts = self
            .of(target)
            .into_iter()
            .map(|seen| seen.attempt.started_ms.secs());
        match (starts.reduce(f64::min), target.state) {
            (Some(start), _) => Begun::At(start),
            (None, TargetState::Waiting) => Begun::NotYet,
            (None, _) => Begun::Never,
        }
    }

    pub(super) fn running_in(&self, target: &Target) -> impl Iterator<Item = (u64, &Attempt)> {
        let all = self.attempts.iter().zip(&self.ids);
        all.filter(|(attempt, _)| belongs(attempt, target))
            .filter_map(|(attempt, id)| id.map(|id| (id, attempt)))
    }
}
