//! The guard: a process of its own, in a session of its own, that alone changes rules.
//!
//! | what happens | what it does |
//! | --- | --- |
//! | told to apply | runs the tools; when one refuses, brings the old rules back |
//! | told to keep, before the deadline | forgets the old rules |
//! | told to restore | brings the old rules back, if it was ever told to apply |
//! | the deadline passes | the same, whoever says what later |
//! | the other end of its input closes, because the rehearsal is gone | the same |
//! | SIGTERM or SIGINT: the machine goes down, or a session's processes are ended | the same |
//! | SIGHUP and the rest of a terminal's signals | nothing |
//! | it is killed | nothing: the rehearsal sees its output close, and brings them back |
//!
//! A tool that is at work while one of these happens is killed and waited for first, with all that
//! it has started, so that nothing is applied after the restoration. Where the guard is killed, the
//! rehearsal inherits the tool (`kin.rs`) and does the same.

use std::fs;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::setsid;
use thiserror::Error;

use super::kin;
use super::run::{complaint, end};
use super::snapshot::Snapshot;
use super::state::{State, StateError};
use super::steps::Step;
use super::tools::{ToolError, Tools};
use super::words::{Order, Said};

/// How often a tool at work is looked after.
const LOOK: Duration = Duration::from_millis(10);

/// How often a guard that brings rules back says so.
pub(super) const BEAT: Duration = Duration::from_secs(1);

/// Why the guard cannot stand guard. Nothing has been touched.
#[derive(Debug, Error)]
pub enum GuardError {
    /// Its files.
    #[error(transparent)]
    State(#[from] StateError),
    /// Its tools.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The system does not give what it needs.
    #[error("the guard: {0}")]
    System(#[from] Errno),
}

/// Stands guard over the rehearsal whose files are there, until it ends. `deadline` counts from now.
///
/// # Errors
/// Only before it says that it is ready; nothing has been touched then.
pub fn stand(deadline: Duration) -> Result<(), GuardError> {
    let end = Instant::now() + deadline;
    // A process that leads a group cannot leave its session; then it is in one of its own already.
    let _ = setsid();
    // Memory may run short under load. Without the privilege the guard is as likely to go as any.
    let _ = fs::write("/proc/self/oom_score_adj", "-1000");
    let ears = Ears::open(end)?;
    kin::inherit()?;
    let state = State::present();
    let mut guard = Guard {
        ears,
        tools: Tools::find()?,
        snapshot: state.snapshot()?,
        steps: state.steps()?,
        state,
        touched: false,
    };
    say(&Said::Ready);
    guard.serve();
    Ok(())
}

struct Guard {
    ears: Ears,
    tools: Tools,
    state: State,
    /// In memory, so that no file is needed any more.
    snapshot: Snapshot,
    steps: Vec<Step>,
    /// Whether rules may be others than before.
    touched: bool,
}

/// What the guard hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Told(Order),
    Expired,
    /// The rehearsal is gone, or the system ends the guard.
    Alone,
    /// Nothing for as long as was asked for.
    Nothing,
}

impl Guard {
    fn serve(&mut self) {
        let mut heard = self.ears.hear(None);
        if heard == Heard::Told(Order::Apply) {
            heard = self.apply();
        }
        if heard == Heard::Told(Order::Keep) && self.touched {
            return self.keep();
        }
        if heard == Heard::Expired {
            say(&Said::Expired);
        }
        self.restore();
    }

    /// Puts the rules into force; returns what ends that.
    fn apply(&mut self) -> Heard {
        if let Err(why) = self.state.touch() {
            say(&Said::Refused(why.to_string()));
            return Heard::Told(Order::Restore);
        }
        self.touched = true;
        let commands = self.commands();
        for command in commands {
            let done = command
                .map_err(|why| why.to_string())
                .and_then(|command| self.run(command));
            match done {
                Ok(None) => {}
                Ok(Some(heard)) => return heard,
                Err(why) => {
                    say(&Said::Refused(why));
                    return Heard::Told(Order::Restore);
                }
            }
        }
        say(&Said::Applied);
        self.ears.hear(None)
    }

    fn commands(&self) -> Vec<Result<Command, ToolError>> {
        let steps = self.steps.iter().enumerate();
        steps
            .map(|(index, step)| self.tools.command(step, &self.state.step_file(index)))
            .collect()
    }

    /// Runs a tool to its end, or until something is heard that ends the rehearsal.
    fn run(&mut self, mut command: Command) -> Result<Option<Heard>, String> {
        let before = log().len();
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.spawn().map_err(|why| why.to_string())?;
        loop {
            if let Some(status) = child.try_wait().map_err(|why| why.to_string())? {
                let said = log().split_off(before);
                let failed = || complaint(&said, status);
                return status.success().then_some(None).ok_or_else(failed);
            }
            let heard = self.ears.hear(Some(LOOK));
            if heard != Heard::Nothing {
                end(&mut child);
                return Ok(Some(heard));
            }
        }
    }

    fn keep(&self) {
        self.forget();
        say(&Said::Kept);
    }

    fn restore(&self) {
        if !self.touched {
            self.forget();
            return say(&Said::Untouched);
        }
        // Of a tool that was ended, commands that it had started.
        if !kin::end_all() {
            log_line("a tool does not end");
        }
        let restored = telling_of_it(|| self.snapshot.restore(&self.tools));
        match restored {
            Ok(()) => {
                self.forget();
                say(&Said::Restored);
            }
            Err(why) => {
                log_line(&format!("the old rules are not back: {why}"));
                say(&Said::Unrestored(why.to_string()));
            }
        }
    }

    fn forget(&self) {
        if let Err(why) = self.state.remove() {
            log_line(&format!("the files of the rehearsal stay: {why}"));
        }
    }
}

/// Does work that may take long, and says all the time that it is at it.
fn telling_of_it<T>(work: impl FnOnce() -> T) -> T {
    let (done, over) = channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            while over.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
                say(&Said::Working);
            }
        });
        let outcome = work();
        drop(done);
        outcome
    })
}

/// Whether anybody listens does not matter to the guard.
fn say(what: &Said) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{}", what.line()).and_then(|()| out.flush());
}

fn log_line(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// What the guard and its tools have written to the guard's standard error, which is a file.
fn log() -> Vec<u8> {
    fs::read("/proc/self/fd/2").unwrap_or_default()
}

/// Where orders, the deadline and signals come from.
struct Ears {
    end: Instant,
    signals: SignalFd,
    /// Of a line that has not ended.
    begun: Vec<u8>,
}

impl Ears {
    fn open(end: Instant) -> Result<Self, Errno> {
        let mut ignored = SigSet::empty();
        for signal in [
            Signal::SIGHUP,
            Signal::SIGQUIT,
            Signal::SIGTSTP,
            Signal::SIGUSR1,
            Signal::SIGUSR2,
        ] {
            ignored.add(signal);
        }
        ignored.thread_block()?;
        let mut ending = SigSet::empty();
        ending.add(Signal::SIGTERM);
        ending.add(Signal::SIGINT);
        ending.thread_block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Self {
            end,
            signals: SignalFd::with_flags(&ending, flags)?,
            begun: Vec::new(),
        })
    }

    /// Waits for the next thing that counts, at most for `patience`. The deadline comes before what was said,
    /// so that nobody is told that rules stay which go.
    fn hear(&mut self, patience: Option<Duration>) -> Heard {
        let until = patience.map(|patience| Instant::now() + patience);
        loop {
            let now = Instant::now();
            if now >= self.end {
                return Heard::Expired;
            }
            if let Some(order) = self.order() {
                return Heard::Told(order);
            }
            if until.is_some_and(|until| now >= until) {
                return Heard::Nothing;
            }
            let wait = until.unwrap_or(self.end).min(self.end) - now;
            match self.listen(wait) {
                Ok(true) => {}
                Ok(false) => return Heard::Alone,
                Err(errno) => {
                    log_line(&format!("cannot listen: {errno}"));
                    return Heard::Alone;
                }
            }
        }
    }

    /// The first order among the lines that have ended.
    fn order(&mut self) -> Option<Order> {
        while let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.begun.drain(..=end).collect();
            let order = Order::read(String::from_utf8_lossy(&line).trim_end());
            if order.is_some() {
                return order;
            }
        }
        None
    }

    /// Waits and takes in what was said; false when nobody is left to say anything.
    fn listen(&mut self, wait: Duration) -> Result<bool, Errno> {
        let stdin = io::stdin();
        let mut ears = [
            PollFd::new(stdin.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
        ];
        // Rounded up, or the last millisecond would be spent turning in circles.
        let wait = PollTimeout::try_from(wait + Duration::from_millis(1));
        match poll(&mut ears, wait.unwrap_or(PollTimeout::MAX)) {
            Ok(0) | Err(Errno::EINTR) => return Ok(true),
            Ok(_) => {}
            Err(errno) => return Err(errno),
        }
        let [words, signals] = ears.map(|ear| ear.any().unwrap_or(true));
        if signals && self.signals.read_signal()?.is_some() {
            return Ok(false);
        }
        if !words {
            return Ok(true);
        }
        let mut buffer = [0; 64];
        let length = nix::unistd::read(&stdin, &mut buffer)?;
        self.begun.extend(buffer.iter().take(length));
        Ok(length > 0)
    }
}
