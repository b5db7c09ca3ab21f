//! PURE: which rows have begun, and whether the others are waited for.

use std::time::Duration;

use super::{HEAD_START, Seen};
use crate::model::Moment;
use crate::targets::{Target, TargetState};

/// When a row's first attempt began.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum FirstAttempt {
    /// Then.
    At(Moment),
    /// Its name is not resolved yet.
    NotYet,
    /// It has none, and waits for nothing.
    Never,
}

/// Whether only canaries may start now: names resolve within moments of each other, and the burst of
/// one row would take the ICMP errors that a router grants the canary of another.
pub(super) fn canaries_first(rows: &[FirstAttempt], now: Moment) -> bool {
    /// A name that takes longer than this is not waited for.
    const MOMENTS: Duration = Duration::from_millis(150);
    let starts = || {
        rows.iter().filter_map(|row| match row {
            FirstAttempt::At(start) => Some(*start),
            FirstAttempt::NotYet | FirstAttempt::Never => None,
        })
    };
    let Some(first) = starts().min() else {
        return false;
    };
    let last = starts().max().unwrap_or(first);
    let more_to_come = rows.contains(&FirstAttempt::NotYet) || now.since(last) < HEAD_START;
    more_to_come && now.since(first) < MOMENTS
}

/// Whether a row's first attempt has begun, and when.
pub(super) fn begun(target: &Target, seen: &[Seen<'_>]) -> FirstAttempt {
    let starts = seen.iter().map(|seen| seen.attempt.started());
    match (starts.min(), target.state) {
        (Some(start), _) => FirstAttempt::At(start),
        (None, TargetState::Waiting) => FirstAttempt::NotYet,
        (None, _) => FirstAttempt::Never,
    }
}
