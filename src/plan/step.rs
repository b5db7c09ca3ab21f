//! PURE: one look at a run: what all rows prove, what starts, what is given up, and whether it is
//! enough.

use std::time::Duration;

use super::controls::Controls;
use super::head_start::{begun, leaders_first};
use super::pacing::{Candidate, Priority, is_in_vain, next_flow};
use super::{Launch, Seen, is_exhausted, makes_room, next_starts};
use crate::catalog;
use crate::diagnose::{
    AddressState, FirstSuccesses, RateLimits, Role, RowVerdict, SilenceTests, belongs, judge,
};
use crate::evidence::SilenceTest;
use crate::model::{Attempt, Moment};
use crate::targets::{Target, TargetState};

/// What follows from one look at a run.
#[derive(Debug)]
pub struct Step {
    /// What is known of each row, in the order of the rows.
    pub judgements: Vec<RowVerdict>,
    /// What starts, with the number of its row.
    pub starts: Vec<(usize, Launch)>,
    /// The attempts that are given up, by their numbers among those that were seen.
    pub given_up: Vec<(usize, Cancel)>,
    /// Whether every row is settled, or nothing more can be started in it.
    pub complete: bool,
}

/// Why an attempt is given up before its own end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    /// Its question is settled by other attempts.
    Settled,
    /// The run is over, or the row is; what it has seen by now is what it tells.
    Silent,
}

impl Step {
    /// Looks at the rows and at all attempts so far.
    #[must_use]
    pub fn of(
        targets: &[Target],
        seen: &[Seen<'_>],
        rate_limits: &RateLimits,
        now: Moment,
    ) -> Self {
        let attempts = || seen.iter().map(|seen| seen.attempt);
        let tests = SilenceTests::of(attempts(), rate_limits);
        let passes = FirstSuccesses::of(attempts());
        let rows: Vec<Vec<Seen<'_>>> = targets.iter().map(|t| of_row(seen, t)).collect();
        let begun: Vec<_> = targets
            .iter()
            .zip(&rows)
            .map(|(t, own)| begun(t, own))
            .collect();
        let leaders_first = leaders_first(&begun, now);
        let judged = |(target, own): (&Target, &Vec<Seen<'_>>)| {
            let own: Vec<_> = own.iter().map(|seen| seen.attempt).collect();
            judge(target, &own, &tests.for_target(target))
        };
        let judgements: Vec<_> = targets.iter().zip(&rows).map(judged).collect();
        let controls = Controls::new(targets, seen, &passes, &judgements, now);
        let mut step = Self {
            judgements: Vec::new(),
            starts: Vec::new(),
            given_up: Vec::new(),
            complete: !leaders_first && !waits_for_documented_name(seen),
        };
        let mut wanted = Vec::new();
        let each = targets.iter().zip(&rows).zip(&judgements);
        for (row, ((target, own), verdict)) in each.enumerate() {
            let test = tests.for_target(target);
            let rate_limit = rate_limits.on(target.service);
            let starts = next_starts(target, own, verdict, &test, now).into_iter();
            wanted.extend(
                starts
                    .filter(|_| own.is_empty() || !leaders_first)
                    .map(|start| Candidate {
                        row,
                        urgency: Priority::of(&start, verdict),
                        start,
                    }),
            );
            let control_is_awaited = rate_limit.is_some() || controls.are_awaited(target.service);
            let running = seen.iter().enumerate().filter(|(_, seen)| seen.running);
            let of_row = running.filter(|(_, seen)| belongs(seen.attempt, target));
            step.given_up.extend(of_row.filter_map(|(number, seen)| {
                let attempt = seen.attempt;
                let why = match rate_limit {
                    Some(rate_limit) if is_in_vain(attempt, rate_limit, &test) => {
                        Some(Cancel::Silent)
                    }
                    _ if control_is_awaited && passes.is_control(attempt) => None,
                    _ => given_up(target, attempt, verdict, &test),
                };
                Some((number, why?))
            }));
            step.complete &=
                is_settled(target, verdict) || is_exhausted(target, own, verdict, &test);
        }
        step.complete &= wanted.is_empty() && !controls.may_come();
        // All of what is wanted starts now, or one flow after the other where new ones may meet a limit.
        let paced = |row: usize| rate_limits.on(targets[row].service).is_some();
        let (slow, rest): (Vec<&Candidate>, Vec<_>) = wanted.iter().partition(|w| paced(w.row));
        step.starts
            .extend(rest.into_iter().map(|w| (w.row, w.start)));
        let due = controls.due().into_iter();
        step.starts.extend(due.filter(|(row, _)| !paced(*row)));
        if !rate_limits.is_none() {
            let next = next_flow(rate_limits, targets, seen, &passes, &slow, now);
            step.starts.extend(next);
        }
        step.judgements = judgements;
        step
    }
}

fn of_row<'a>(seen: &[Seen<'a>], target: &Target) -> Vec<Seen<'a>> {
    let own = seen.iter().filter(|seen| belongs(seen.attempt, target));
    own.copied().collect()
}

/// A name that informs is worth a moment, not a wait.
fn waits_for_documented_name(seen: &[Seen<'_>]) -> bool {
    const A_MOMENT: Duration = Duration::from_millis(500);
    seen.iter().any(|seen| {
        seen.running
            && seen.attempt.sni == catalog::DOCUMENTED_SNI
            && seen.attempt.elapsed() < A_MOMENT
    })
}

/// Whether more attempts could not change the row, and its name is resolved.
#[must_use]
pub fn is_settled(target: &Target, verdict: &RowVerdict) -> bool {
    verdict.is_settled() && target.state != TargetState::Waiting
}

/// Whether a running attempt has become pointless, and why.
fn given_up(
    target: &Target,
    attempt: &Attempt,
    verdict: &RowVerdict,
    test: &SilenceTest,
) -> Option<Cancel> {
    let role = Role::of(attempt, target);
    if role == Role::Documented {
        return None;
    }
    let state = verdict
        .addresses
        .iter()
        .find(|(address, _)| *address == attempt.address);
    match state.map(|(_, state)| *state) {
        // The probe's name is wanted even where the tunnel's has passed.
        Some(AddressState::Reachable) if role == Role::Probe && verdict.open.is_some() => None,
        Some(AddressState::Reachable) => Some(Cancel::Settled),
        Some(AddressState::Blocked(_)) if verdict.is_settled() => Some(Cancel::Silent),
        _ if makes_room(target, attempt, verdict, test) => Some(Cancel::Silent),
        _ => None,
    }
}
