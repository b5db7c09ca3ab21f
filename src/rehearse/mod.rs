//! `tunnelcheck rehearse RULES`: tries firewall rules, and keeps them only if nothing is lost.
//!
//! ```text
//! lock -> save -> make the rules where nothing can happen -> judge them -> check
//!      -> guard -> apply -> check -> difference -> keep, or restore
//! ```
//!
//! `tunnelcheck rehearse` is two processes, so that no single loss leaves untried rules in force. The
//! rehearsal checks, compares and asks; its guard (the same program, a hidden subcommand, in a session
//! of its own) alone changes rules. They hold each other by two pipes: the guard brings the old rules
//! back when its input closes, at the deadline and on SIGTERM; the rehearsal does when the guard's
//! output closes. Only the guard knows whether the deadline came before the answer, so `kept` is its
//! word.
//!
//! - **Nothing runs on.** Both processes inherit what processes below them leave behind (`kin.rs`, a
//!   subreaper), so whoever brings the old rules back first ends every tool that is still at work: one
//!   whose guard was killed or hangs. Every tool has a time, and a group of its own that Ctrl-C does
//!   not reach. A guard that restores says so every second; one that is silent for ten is ended.
//! - **The lock is a file that both have open** (it is the guard's standard error), so it is free
//!   exactly when both are gone. A mark among the files says whether rules were ever touched: without
//!   it a leftover is swept away, with it the next rehearsal refuses.
//! - **Saved rules are tried first**, in an empty network namespace with interfaces of this host's
//!   names: tables that iptables made come back by iptables, all others by nft, and which is which is
//!   found by trying. Rules that do not come back exactly there are a reason not to begin. iptables
//!   never gets a table with sets, which it misreads.
//! - **New rules are made before they are applied**, from a copy of the present ones. So it is known
//!   which tables and chains they change or delete (`effect.rs`), and the oracle says which flows they
//!   close (`closed.rs`). A file of nft or iptables is applied as it is. Of a script only the outcome
//!   is applied, by the way from the present rules to it.
//! - **A script is run, not read** (`script.rs`). No reader of a shell language is exact, and
//!   namespaces are. Its users are mapped to numbers that nobody has outside (0x70000000 and up); where
//!   that is not possible, in a user namespace, its root is the one who runs the program. The programs
//!   that it can run are bound one by one into a root in memory, all of it read-only but `/run` and
//!   `/tmp`. What the shell complains of by itself (a program that is not there, a file that cannot be
//!   written) refuses the script, even if the script goes on. A script that hides such a complaint
//!   (`2>/dev/null || true`) has chosen to do without, and its outcome is what is rehearsed.
//! - **A check as another user** runs on a thread with that user's file-system ids: the kernel notes
//!   them in each socket, and rules about users look at nothing else.
//! - **A restoration tries everything** (`mend.rs`): at once, then table by table, then a table without
//!   the lines that its tool refuses. A tool that shows nothing keeps nothing from coming back. What is
//!   missing afterwards, or cannot be seen, is named, and exit code 5 says so. Rules that were never
//!   touched are left alone.
//! - **Rules are kept on proof.** What passed before and is undecided after is no proof; where the time
//!   ran out, the check is made again with what is left before the deadline.
//! - **The state is in `/run`**, in memory as the kernel's rules are: a reboot forgets both.

mod closed;
pub mod effect;
pub mod format;
pub mod guard;
mod hold;
mod kin;
mod links;
mod made;
mod mend;
pub mod ruleset;
mod run;
pub mod script;
pub mod snapshot;
pub mod state;
pub mod steps;
mod tell;
pub mod tools;
mod trouble;
pub mod words;

use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::termios::{FlushArg, tcflush};
use nix::unistd::{Uid, User, geteuid, setfsgid, setfsuid};
use thiserror::Error;

use self::format::Rules;
use self::hold::{Back, Event, Events, Hold};
use self::script::ScriptError;
use self::snapshot::{Snapshot, SnapshotError};
use self::state::{Lock, State, StateError};
pub use self::tell::fit;
use self::tell::{Tell, differ, kept, kind, told, unrestored, warn};
use self::tools::{ToolError, Tools};
use self::trouble::{Trouble, judge, ran_out};
use crate::blocking::{self, RunError};
use crate::check::Check;
use crate::diff;
use crate::model::{Ended, ExitStatus, Report};
use crate::report::Progress;
use crate::rules::Session;

/// What a second check leaves of the time before the deadline, for what comes after it.
const RESERVE: Duration = Duration::from_secs(2);

/// In how many seconds a check gets to know all of nearly every network.
const AMPLE: f64 = 10.0;

/// What is rehearsed, and how.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
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
    /// The tables that the rules may delete for good, with their family or without.
    pub may_remove: Vec<String>,
    /// Whether the rules may close SSH.
    pub may_close_ssh: bool,
    /// The SSH session that this process is in.
    pub session: Option<Session>,
    /// Whose connections the checks make; this process's own where there is none.
    pub as_user: Option<String>,
    /// Whether only the question and the outcome are shown.
    pub quiet: bool,
}

/// Where the report of a check with the new rules in force goes.
pub type Deliver<'a> = &'a mut dyn FnMut(Report);

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
    Rules(String),
    /// A script gives no rules.
    #[error("{0}; nothing was touched")]
    Script(#[from] ScriptError),
    /// What the rules make does not come back exactly from its own listing.
    #[error("what the new rules make cannot be made again exactly, so nothing was touched: {0}")]
    Made(SnapshotError),
    /// No packet can meet the rules.
    #[error(
        "the rules do nothing, and nothing was touched: none of their chains has a hook with a rule or a policy of drop. No such chain jumps to them either"
    )]
    Idle,
    /// What cloudflared needs would be closed.
    #[error("the rules close what cloudflared needs: {0}; nothing was touched")]
    Closed(String),
    /// Nobody could log in any more.
    #[error(
        "the rules close SSH: {0}; nothing was touched. If you reach this host in another way, add --may-close-ssh"
    )]
    ClosesSsh(String),
    /// `--as-user` names nobody.
    #[error("--as-user: this host has no user `{0}`; give a name of /etc/passwd")]
    NoUser(String),
    /// Connections cannot be made as that user.
    #[error(
        "--as-user: connections cannot be made as `{0}` here; run it as root outside of containers"
    )]
    AsUser(String),
    /// Rules of others would be gone.
    #[error("{0}; nothing was touched")]
    Removes(String),
    /// The present rules cannot be saved.
    #[error("the present rules would not surely come back, so nothing was touched: {0}")]
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

/// Rehearses. How it gets on goes to `log`, and the reports of checks with the new rules in force to
/// `deliver`, before anything is asked.
///
/// # Errors
/// Only before anything is touched.
pub fn run(
    rehearsal: &Rehearsal,
    deliver: Deliver,
    log: &mut dyn Write,
) -> Result<ExitStatus, RehearsalError> {
    let mut tell = Tell::new(log, rehearsal.quiet);
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
    Ok(prepared.finish(rehearsal, &tools, &state, deliver, &mut tell))
}

/// Everything that must be there before rules may be touched.
fn prepare(
    rehearsal: &Rehearsal,
    tools: &Tools,
    lock: &Lock,
    state: &State,
    tell: &mut Tell,
) -> Result<Prepared, RehearsalError> {
    let events = Events::listen().map_err(RehearsalError::Signals)?;
    let user = rehearsal.as_user.as_deref().map(user).transpose()?;
    let snapshot = Snapshot::take(tools)?;
    let made = made::make(&rehearsal.rules, &snapshot, tools)?;
    made.judge(&rehearsal.may_remove)?;
    tell.step(
        "saved",
        "the present rules; tried out, they come back exactly",
    );
    tell.step("rules", kind(&rehearsal.rules));
    made.tell(tell);
    tell.step("before", "checking");
    let before = check(rehearsal, &rehearsal.check, user.as_ref(), &events, None)?;
    if before.ended == Ended::Interrupted || events.interrupted() {
        return Err(RehearsalError::Interrupted);
    }
    tell.step("before", &told(&before));
    for note in closed::judge(&made.rules, &snapshot, &before, rehearsal)? {
        tell.step("note", &note);
    }
    let snapshot = snapshot.again(tools)?;
    state.store(&snapshot, &made.steps)?;
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
        user,
        events,
        hold,
    })
}

/// The user of that name or number.
fn user(name: &str) -> Result<User, RehearsalError> {
    let number = name.parse().map(Uid::from_raw);
    let found = match number {
        Ok(number) => User::from_uid(number),
        Err(_) => User::from_name(name),
    };
    let nobody = || RehearsalError::NoUser(name.to_owned());
    let user = found.ok().flatten().ok_or_else(nobody)?;
    // The system does not say whether it worked; the next call does.
    let works = thread::scope(|scope| {
        let tried = scope.spawn(|| {
            setfsuid(user.uid);
            setfsuid(user.uid)
        });
        tried.join().is_ok_and(|now| now == user.uid)
    });
    let user = works.then_some(user);
    user.ok_or_else(|| RehearsalError::AsUser(name.to_owned()))
}

/// Checks, on a thread whose sockets are the user's: rules look at whom the file system knows.
fn check(
    rehearsal: &Rehearsal,
    check: &Check,
    user: Option<&User>,
    events: &Events,
    until: Option<Instant>,
) -> Result<Report, RunError> {
    let stop = events.stopped(until);
    let work = move || {
        if let Some(user) = user {
            setfsgid(user.gid);
            setfsuid(user.uid);
        }
        let mut progress = Progress::new(rehearsal.progress);
        let report = blocking::check(check, stop, &mut |event| progress.on(&event));
        progress.finish();
        report
    };
    thread::scope(|scope| {
        let ended = || RunError::Runtime(io::Error::other("the check ended early"));
        scope.spawn(work).join().unwrap_or_else(|_| Err(ended()))
    })
}

struct Prepared {
    before: Report,
    snapshot: Snapshot,
    user: Option<User>,
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
        deliver: Deliver,
        tell: &mut Tell,
    ) -> ExitStatus {
        let tried = self.attempt(rehearsal, deliver, tell);
        match tried {
            Ok(()) if self.hold.keep(&self.events) => kept(&rehearsal.rules, tell),
            Ok(()) => self.back(&Trouble::Expired, tools, state, tell),
            Err(trouble) => self.back(&trouble, tools, state, tell),
        }
    }

    /// Applies, checks, compares, asks.
    fn attempt(
        &mut self,
        rehearsal: &Rehearsal,
        deliver: Deliver,
        tell: &mut Tell,
    ) -> Result<(), Trouble> {
        self.hold.well(&self.events)?;
        self.hold.apply(&self.events)?;
        tell.step(
            "applied",
            "the new rules are in force; checking with new connections",
        );
        let mut after = self.check_after(rehearsal, &rehearsal.check)?;
        let mut judged = self.judge(&after, tell);
        if judged == Err(Trouble::Unknown)
            && ran_out(Some(&after))
            && let Some(longer) = self.with_more_time(&rehearsal.check)
        {
            let time = longer.options().timeout_s;
            let text = format!("the time ran out; checking again, for at most {time:.0} s");
            tell.step("after", &text);
            after = self.check_after(rehearsal, &longer)?;
            judged = self.judge(&after, tell);
        }
        deliver(after);
        judged?;
        warn(tell);
        if rehearsal.yes {
            return Ok(());
        }
        self.confirm(tell)
    }

    /// Checks with the new rules in force.
    fn check_after(&mut self, rehearsal: &Rehearsal, settings: &Check) -> Result<Report, Trouble> {
        let until = Some(self.hold.limit());
        let report = check(rehearsal, settings, self.user.as_ref(), &self.events, until);
        self.hold.well(&self.events)?;
        report.map_err(|why| Trouble::Unchecked(why.to_string()))
    }

    /// Holds a report against the one from before.
    fn judge(&self, after: &Report, tell: &mut Tell) -> Result<(), Trouble> {
        tell.step("after", &told(after));
        let difference = diff::compare(&self.before, after);
        differ(&difference, tell);
        judge(&difference, Some(after))
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
        tell.outcome("confirm", &question);
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
                tell.outcome("restored", &format!("{how}: {}", trouble.words()));
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
    let mut tell = Tell::new(log, false);
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
    tell.outcome(
        "restored",
        "the rules from before the rehearsal are back, as they were",
    );
    Ok(ExitStatus::Ready)
}
