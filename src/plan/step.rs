//! PURE: one look at a run: what all rows prove, what starts, what is given up, and whether it is
//! enough.

use std::time::Duration;

use super::controls::Controls;
use super::head_start::{begun, canaries_first};
use super::pacing::{Candidate, Priority, is_in_vain, next_flow};
use super::{Launch, Seen, is_exhausted, makes_room, next_starts};
use crate::diagnose::{AddressState, FirstSuccesses, RateLimits, RowVerdict, SilenceTests, judge};
use crate::evidence::SilenceTest;
use crate::model::{Attempt, Moment, Role};
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
        let successes = FirstSuccesses::of(attempts());
        let rows: Vec<_> = targets.iter().map(|t| Row::of(t, seen, &tests)).collect();
        let verdicts: Vec<_> = rows.iter().map(Row::judge).collect();
        let controls = Controls::new(targets, seen, &successes, &verdicts, now);
        let look = Look {
            rows,
            verdicts: &verdicts,
            rate_limits,
            successes: &successes,
            controls: &controls,
            now,
        };
        let only_canaries = look.only_canaries_may_start();
        let candidates = look.candidates(only_canaries);
        let complete = !only_canaries
            && !waits_for_documented_name(seen)
            && look.is_exhausted()
            && candidates.is_empty()
            && !controls.may_come();
        Self {
            starts: look.starts(targets, seen, &candidates),
            given_up: look.given_up(seen),
            complete,
            judgements: verdicts,
        }
    }
}

/// All that one look at a run knows.
struct Look<'a> {
    rows: Vec<Row<'a>>,
    verdicts: &'a [RowVerdict],
    rate_limits: &'a RateLimits,
    successes: &'a FirstSuccesses<'a>,
    controls: &'a Controls<'a>,
    now: Moment,
}

impl Look<'_> {
    fn rows(&self) -> impl Iterator<Item = (&Row<'_>, &RowVerdict)> {
        self.rows.iter().zip(self.verdicts)
    }

    fn only_canaries_may_start(&self) -> bool {
        let begun: Vec<_> = self.rows.iter().map(|r| begun(r.target, &r.seen)).collect();
        canaries_first(&begun, self.now)
    }

    /// Whether every row is settled, or has nothing left to start.
    fn is_exhausted(&self) -> bool {
        self.rows().all(|(row, verdict)| {
            is_settled(row.target, verdict)
                || is_exhausted(row.target, &row.seen, verdict, &row.test)
        })
    }

    /// The flows that the rows want now.
    fn candidates(&self, only_canaries: bool) -> Vec<Candidate> {
        let rows = self.rows().enumerate();
        let may_start = rows.filter(|(_, (row, _))| row.seen.is_empty() || !only_canaries);
        let each = may_start.flat_map(|(number, (row, verdict))| {
            let starts = next_starts(row.target, &row.seen, verdict, &row.test, self.now);
            starts.into_iter().map(move |start| Candidate {
                row: number,
                urgency: Priority::of(&start, verdict),
                start,
            })
        });
        each.collect()
    }

    /// All of what is wanted starts now, or one flow after the other where new ones may meet a limit.
    fn starts(
        &self,
        targets: &[Target],
        seen: &[Seen<'_>],
        candidates: &[Candidate],
    ) -> Vec<(usize, Launch)> {
        let paced = |row: usize| self.rate_limits.on(targets[row].service).is_some();
        let (slow, rest): (Vec<&Candidate>, Vec<_>) = candidates.iter().partition(|w| paced(w.row));
        let mut starts: Vec<_> = rest.into_iter().map(|w| (w.row, w.start)).collect();
        let due = self.controls.due().into_iter();
        starts.extend(due.filter(|(row, _)| !paced(*row)));
        if !self.rate_limits.is_none() {
            let (limits, successes) = (self.rate_limits, self.successes);
            starts.extend(next_flow(limits, targets, seen, successes, &slow, self.now));
        }
        starts
    }

    /// The running attempts that are given up, by their numbers.
    fn given_up(&self, seen: &[Seen<'_>]) -> Vec<(usize, Cancel)> {
        let each = self.rows().flat_map(|(row, verdict)| {
            let running = seen.iter().enumerate().filter(|(_, seen)| seen.running);
            let of_row = running.filter(|(_, seen)| row.target.includes(seen.attempt));
            of_row.filter_map(|(number, seen)| {
                let why = self.why_given_up(row, verdict, seen.attempt)?;
                Some((number, why))
            })
        });
        each.collect()
    }

    fn why_given_up(
        &self,
        row: &Row<'_>,
        verdict: &RowVerdict,
        attempt: &Attempt,
    ) -> Option<Cancel> {
        let service = row.target.service;
        let rate_limit = self.rate_limits.on(service);
        if rate_limit.is_some_and(|limit| is_in_vain(attempt, limit, &row.test)) {
            return Some(Cancel::Silent);
        }
        let control_is_awaited = rate_limit.is_some() || self.controls.are_awaited(service);
        if control_is_awaited && self.successes.is_control(attempt) {
            return None;
        }
        given_up(row.target, attempt, verdict, &row.test)
    }
}

/// A row with its attempts.
struct Row<'a> {
    target: &'a Target,
    seen: Vec<Seen<'a>>,
    test: SilenceTest,
}

impl<'a> Row<'a> {
    fn of(target: &'a Target, seen: &[Seen<'a>], tests: &SilenceTests) -> Self {
        let own = seen.iter().filter(|seen| target.includes(seen.attempt));
        Self {
            target,
            seen: own.copied().collect(),
            test: tests.for_target(target),
        }
    }

    fn judge(&self) -> RowVerdict {
        let attempts: Vec<_> = self.seen.iter().map(|seen| seen.attempt).collect();
        judge(self.target, &attempts, &self.test)
    }
}

/// A name that informs is worth a moment, not a wait.
fn waits_for_documented_name(seen: &[Seen<'_>]) -> bool {
    const A_MOMENT: Duration = Duration::from_millis(500);
    seen.iter().any(|seen| {
        seen.running && seen.attempt.role == Role::Documented && seen.attempt.elapsed() < A_MOMENT
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
    if attempt.role == Role::Documented {
        return None;
    }
    let state = verdict
        .addresses
        .iter()
        .find(|(address, _)| *address == attempt.address);
    match state.map(|(_, state)| *state) {
        // The probe's name is wanted even where the tunnel's has passed.
        Some(AddressState::Reachable) if attempt.role == Role::Probe && verdict.open.is_some() => {
            None
        }
        Some(AddressState::Reachable) => Some(Cancel::Settled),
        Some(AddressState::Blocked(_)) if verdict.is_settled() => Some(Cancel::Silent),
        _ if makes_room(target, attempt, verdict, test) => Some(Cancel::Silent),
        _ => None,
    }
}
