//! PURE: which rows have begun, and whether the others are waited for.

use super::{HEAD_START, Seen};
use crate::targets::{Target, TargetState};

/// When a row's first attempt began.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Begun {
    /// Then, in seconds of the run.
    At(f64),
    /// Its name is not resolved yet.
    NotYet,
    /// It has none, and waits for nothing.
    Never,
}

/// Whether only leaders may start now: names resolve within moments of each other, and the burst of
/// one row would take the ICMP errors that a router grants the leader of another.
pub(super) fn leaders_first(rows: &[Begun], now: f64) -> bool {
    /// A name that takes longer than this is not waited for.
    const MOMENTS: f64 = 0.15;
    let starts = || {
        rows.iter().filter_map(|row| match row {
            Begun::At(start) => Some(*start),
            Begun::NotYet | Begun::Never => None,
        })
    };
    let Some(first) = starts().reduce(f64::min) else {
        return false;
    };
    let last = starts().fold(first, f64::max);
    let more_to_come = rows.contains(&Begun::NotYet) || now - last < HEAD_START;
    more_to_come && now - first < MOMENTS
}

/// Whether a row's first attempt has begun, and when.
pub(super) fn begun(target: &Target, seen: &[Seen<'_>]) -> Begun {
    let starts = seen.iter().map(|seen| seen.attempt.started_ms.secs());
    match (starts.reduce(f64::min), target.state) {
        (Some(start), _) => Begun::At(start),
        (None, TargetState::Waiting) => Begun::NotYet,
        (None, _) => Begun::Never,
    }
}
