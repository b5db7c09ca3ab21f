//! `tunnelcheck rehearse RULES`: tries firewall rules, and keeps them only if nothing is lost.
//!
//! ```text
//! lock -> test -> check -> save -> guard -> apply -> check -> difference -> keep, or restore
//! ```
//!
//! Two processes share the work. The rehearsal checks and asks; the [`guard`] alone changes rules.
//! Each brings the old rules back when the other one goes, and the guard also at the deadline.

pub mod format;
pub mod guard;
mod hold;
mod kin;
mod mend;
pub mod ruleset;
mod run;
mod shell;
pub mod snapshot;
pub mod state;
mod tell;
pub mod tools;
mod trouble;
pub mod words;

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use nix::sys::termios::{FlushArg, tcflush};
use nix::unistd::geteuid;
use thiserror::Error;

use self::format::Rules;
use self::hold::{Back, Event, Events, Hold};
use self::snapshot::{Snapshot, SnapshotError};
use self::state::{Lock, State, StateError};
use self::tell::{Tell, differ, kept, kind, saved, told, unrestored, warn};
use self::tools::{ToolError, Tools};
use self::trouble::{Trouble, judge, ran_out};
use crate::blocking::{self, RunError};
use crate::check::Check;
use crate::diff;
use crate::model::{Ended, ExitStatus, Report};
use crate::report::Progress;

/// What a second check leaves of the time before the deadline, for what comes after it.
const RESERVE: Duration = Duration::from_secs(2);

/// In how many seconds a check gets to know all of nearly every network.
const AMPLE: f64 = 10.0;

/// What is rehearsed, and how.
#[derive(Debug, Clone)]
pub struct Rehearsal {
    /// What is checked before and after.
    pub check: Check,
    /// Whether progress is shown on standard error.
    pub progress: bool,
    /// The new rules.
    pub rules: Rules,
    /// How long the new rules may be in force without having been confirmed.
    pub deadline: Duration,
    /// Whether rules that lose nothing are kept without asking.
    pub yes: bool,
}

/// How a rehearsal ended.
#[derive(Debug)]
pub struct Ending {
    /// For the caller.
    pub status: ExitStatus,
    /// The report with the new rules in force, if there is one.
    pub after: Option<Report>,
}

/// Why no rehearsal took place. Nothing was touched.
#[derive(Debug, Error)]
pub enum RehearsalError {
    /// Only root may change rules.
    #[error("rehearse changes this host's firewall, which only root may; run it with sudo")]
    NotRoot,
    /// The lock, or the files.
    #[error(transparent)]
    State(#[from] StateError),
    /// A tool is missing or fails.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// A tool does not take the rules.
    #[error("the rules are not valid, and nothing was touched: {0}")]
    Rules(ToolError),
    /// The present rules cannot be saved.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The check cannot be made.
    #[error(transparent)]
    Check(#[from] RunError),
    /// Signals cannot be listened to.
    #[error("signals cannot be listened to: {0}")]
    Signals(io::Error),
    /// The guard cannot be started.
    #[error("the guard, which would bring the old rules back, cannot be started: {0}")]
    Guard(io::Error),
    /// The guard does not come up.
    #[error(
        "the guard, which would bring the old rules back, does not come up; /run/tunnelcheck/lock says why"
    )]
    GuardSilent,
    /// Ctrl-C before anything was touched.
    #[error("interrupted; nothing was touched")]
    Interrupted,
}

impl RehearsalError {
    /// The status for the caller.
    #[must_use]
    pub const fn status(&self) -> ExitStatus {
        match self {
            Self::Interrupted => ExitStatus::Inconclusive,
            _ => ExitStatus::Usage,
        }
    }
}

/// Rehearses. How it gets on goes to `log`.
///
/// # Errors
/// Only before anything is touched.
pub fn run(rehearsal: &Rehearsal, log: &mut dyn Write) -> Result<Ending, RehearsalError> {
    let mut tell = Tell(log);
    if !geteuid().is_root() {
        return Err(RehearsalError::NotRoot);
    }
    let tools = Tools::find()?;
    let lock = Lock::take()?;
    let state = State::make(&lock)?;
    let prepared = prepare(rehearsal, &tools, &lock, &state, &mut tell);
    let prepared = prepared.inspect_err(|_| {
        // Without rules that were touched the files are of no use.
        let _ = state.remove();
    })?;
    Ok(prepared.finish(rehearsal, &tools, &state, &mut tell))
}

/// Everything that has to stand before rules may be touched.
fn prepare(
    rehearsal: &Rehearsal,
    tools: &Tools,
    lock: &Lock,
    state: &State,
    tell: &mut Tell,
) -> Result<Prepared, RehearsalError> {
    tools
        .test(&rehearsal.rules)
        .map_err(RehearsalError::Rules)?;
    tell.step(
        "rules",
        &format!("{}; their syntax is valid", kind(&rehearsal.rules)),
    );
    let events = Events::listen().map_err(RehearsalError::Signals)?;
    tell.step("before", "checking");
    let before = check(rehearsal, &rehearsal.check, &events, None)?;
    if before.ended == Ended::Interrupted || events.interrupted() {
        return Err(RehearsalError::Interrupted);
    }
    tell.step("before", &told(&before));
    let (snapshot, trial) = Snapshot::take(tools)?;
    state.store(&snapshot, &rehearsal.rules)?;
    tell.step("saved", &saved(&trial));
    let hold = Hold::arm(lock, &events, rehearsal.deadline)?;
    tell.step(
        "guard",
        &format!(
            "process {} brings the old rules back in {} s, or when this process ends",
            hold.process(),
            rehearsal.deadline.as_secs()
        ),
    );
    Ok(Prepared {
        before,
        snapshot,
        events,
        hold,
    })
}

fn check(
    rehearsal: &Rehearsal,
    check: &Check,
    events: &Events,
    until: Option<Instant>,
) -> Result<Report, RunError> {
    let mut progress = Progress::new(rehearsal.progress);
    let stop = events.stopped(until);
    let report = blocking::check(check, stop, &mut |event| progress.on(&event));
    progress.finish();
    report
}

struct Prepared {
    before: Report,
    snapshot: Snapshot,
    events: Events,
    hold: Hold,
}

impl Prepared {
    /// From here on every way leads to rules that are kept or brought back.
    fn finish(
        mut self,
        rehearsal: &Rehearsal,
        tools: &Tools,
        state: &State,
        tell: &mut Tell,
    ) -> Ending {
        let mut after = None;
        let tried = self.attempt(rehearsal, &mut after, tell);
        let status = match tried {
            Ok(()) if self.hold.keep(&self.events) => kept(&rehearsal.rules, tell),
            Ok(()) => self.back(&Trouble::Expired, tools, state, tell),
            Err(trouble) => self.back(&trouble, tools, state, tell),
        };
        Ending { status, after }
    }

    /// Applies, checks, compares, asks.
    fn attempt(
        &mut self,
        rehearsal: &Rehearsal,
        after: &mut Option<Report>,
        tell: &mut Tell,
    ) -> Result<(), Trouble> {
        self.hold.well(&self.events)?;
        self.hold.apply(&self.events)?;
        tell.step(
            "applied",
            "the new rules are in force; checking with new connections",
        );
        match self.check_after(rehearsal, &rehearsal.check, after, tell) {
            Err(Trouble::Unknown) if ran_out(after.as_ref()) => {
                let Some(longer) = self.with_more_time(&rehearsal.check) else {
                    return Err(Trouble::Unknown);
                };
                let time = longer.options().timeout_s;
                let text = format!("the time ran out; checking again, for at most {time:.0} s");
                tell.step("after", &text);
                self.check_after(rehearsal, &longer, after, tell)?;
            }
            judged => judged?,
        }
        warn(tell);
        if rehearsal.yes {
            return Ok(());
        }
        self.confirm(tell)
    }

    /// Checks with the new rules in force, and holds the report against the one from before.
    fn check_after(
        &mut self,
        rehearsal: &Rehearsal,
        settings: &Check,
        after: &mut Option<Report>,
        tell: &mut Tell,
    ) -> Result<(), Trouble> {
        let report = check(rehearsal, settings, &self.events, Some(self.hold.limit()));
        self.hold.well(&self.events)?;
        let report = report.map_err(|why| Trouble::Unchecked(why.to_string()))?;
        tell.step("after", &told(&report));
        let difference = diff::compare(&self.before, after.insert(report));
        differ(&difference, tell);
        judge(&difference, after.as_ref())
    }

    /// The same check with more time, as far as the deadline leaves it.
    fn with_more_time(&self, check: &Check) -> Option<Check> {
        let left = self.hold.left().saturating_sub(RESERVE).as_secs_f64();
        let given = check.options().timeout_s;
        let longer = (given * 3.0).max(AMPLE).min(left);
        (longer > given).then(|| check.clone().timeout(Duration::from_secs_f64(longer)))
    }

    fn confirm(&mut self, tell: &mut Tell) -> Result<(), Trouble> {
        if !io::stdin().is_terminal() {
            return Err(Trouble::Unconfirmed(
                "there is no terminal to confirm on; --yes keeps rules that lose nothing",
            ));
        }
        // What was typed before the question is no answer to it.
        let _ = tcflush(io::stdin(), FlushArg::TCIFLUSH);
        let left = self.hold.left().as_secs();
        let question = format!("keep the new rules? [y/N] ({left} s left)");
        tell.step("confirm", &question);
        self.events.read_answer();
        loop {
            if let Event::Answer(answer) = self.hold.trouble(&self.events)? {
                let yes = ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str());
                return yes
                    .then_some(())
                    .ok_or(Trouble::Unconfirmed("not confirmed"));
            }
        }
    }

    fn back(
        &mut self,
        trouble: &Trouble,
        tools: &Tools,
        state: &State,
        tell: &mut Tell,
    ) -> ExitStatus {
        let restored = self
            .hold
            .restore(&self.events, tools, &self.snapshot, state);
        match restored {
            Ok(back) => {
                let how = match back {
                    Back::Restored => "the old rules are back, as they were",
                    Back::Untouched => "the old rules were not touched",
                };
                tell.step("restored", &format!("{how}: {}", trouble.words()));
                trouble.status()
            }
            Err(why) => unrestored(&why, tell),
        }
    }
}

/// Brings back what a rehearsal has left.
///
/// # Errors
/// Where nothing was left, or a rehearsal is under way.
pub fn restore(log: &mut dyn Write) -> Result<ExitStatus, RehearsalError> {
    let mut tell = Tell(log);
    if !geteuid().is_root() {
        return Err(RehearsalError::NotRoot);
    }
    let tools = Tools::find()?;
    let lock = Lock::take()?;
    let (state, snapshot) = State::left(&lock)?;
    if let Err(why) = snapshot.restore(&tools) {
        return Ok(unrestored(&why.to_string(), &mut tell));
    }
    state.remove()?;
    tell.step(
        "restored",
        "the rules from before the rehearsal are back, as they were",
    );
    Ok(ExitStatus::Ready)
}
