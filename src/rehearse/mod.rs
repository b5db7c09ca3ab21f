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
pub mod ruleset;
mod shell;
pub mod snapshot;
pub mod state;
mod tell;
pub mod tools;
pub mod words;

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use nix::sys::termios::{FlushArg, tcflush};
use nix::unistd::geteuid;
use thiserror::Error;

use self::format::Rules;
use self::hold::{Event, Events, Hold};
use self::snapshot::{Snapshot, SnapshotError};
use self::state::{Lock, State, StateError};
use self::tell::{Tell, differ, kept, kind, saved, told, unrestored, warn};
use self::tools::{ToolError, Tools};
use crate::diff::{self, Difference};
use crate::exit::ExitStatus;
use crate::model::{Ended, Report, Verdict};
use crate::report::Progress;
use crate::settings::Settings;
use crate::{CheckError, check_until};

/// What is rehearsed, and how.
#[derive(Debug, Clone)]
pub struct Rehearsal {
    /// What is checked before and after, and how it is told.
    pub check: Box<Settings>,
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
    Check(#[from] CheckError),
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

/// Why new rules go.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Trouble {
    /// Ctrl-C, SIGTERM, or the terminal is gone.
    Interrupted,
    /// The guard was killed.
    GuardGone,
    /// A tool refused them.
    Refused(String),
    /// The deadline has passed.
    Expired,
    /// The check could not be made.
    Unchecked(String),
    /// Something required is lost.
    Lost,
    /// Something required is not known any more.
    Unknown,
    /// The answer was not yes, or nobody could be asked.
    Unconfirmed(&'static str),
}

impl Trouble {
    fn words(&self) -> String {
        let words = match self {
            Self::Interrupted => "interrupted",
            Self::GuardGone => "the guard was ended",
            Self::Refused(why) => return format!("the rules could not be applied: {why}"),
            Self::Expired => "the deadline has passed",
            Self::Unchecked(why) => return format!("the check could not be made: {why}"),
            Self::Lost => "something required was lost",
            Self::Unknown => "something required is not known any more",
            Self::Unconfirmed(why) => why,
        };
        words.to_owned()
    }

    const fn status(&self) -> ExitStatus {
        match self {
            Self::Lost => ExitStatus::Blocked,
            Self::Refused(_) => ExitStatus::Usage,
            _ => ExitStatus::Inconclusive,
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
    let before = check(&rehearsal.check, &events, None)?;
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
    settings: &Settings,
    events: &Events,
    until: Option<Instant>,
) -> Result<Report, CheckError> {
    let mut progress = Progress::new(settings.presentation.progress);
    let stop = events.stopped(until);
    let report = check_until(settings, stop, &mut |event| progress.on(&event));
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
        let report = check(&rehearsal.check, &self.events, Some(self.hold.limit()));
        self.hold.well(&self.events)?;
        let report = report.map_err(|why| Trouble::Unchecked(why.to_string()))?;
        tell.step("after", &told(&report));
        let difference = diff::compare(&self.before, after.insert(report));
        differ(&difference, tell);
        judge(&difference, after.as_ref())?;
        warn(tell);
        if rehearsal.yes {
            return Ok(());
        }
        self.confirm(tell)
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
            Ok(()) => {
                let text = format!("the old rules are back, as they were: {}", trouble.words());
                tell.step("restored", &text);
                trouble.status()
            }
            Err(why) => unrestored(&why, tell),
        }
    }
}

/// Rules are kept when nothing required is lost, and nothing required has become unknown.
fn judge(difference: &Difference, after: Option<&Report>) -> Result<(), Trouble> {
    if difference.lost_required().next().is_some() {
        return Err(Trouble::Lost);
    }
    let unsure = after.is_some_and(|report| report.verdict == Verdict::Inconclusive);
    if unsure || difference.uncertain_required().next().is_some() {
        return Err(Trouble::Unknown);
    }
    Ok(())
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
