//! The rehearsal's hold on its guard, and everything else that can happen while rules are tried:
//! signals and answers come in at the same place as the guard's words.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::kin;
use super::snapshot::Snapshot;
use super::state::{Lock, State};
use super::tools::Tools;
use super::words::{Order, Said};
use super::{RehearsalError, Trouble};

/// How long the guard may take to come up.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long it may be silent while it brings rules back: it says every second that it is at it, and
/// before that it ends a tool.
const SILENCE: Duration = Duration::from_secs(10);

/// How long after the deadline the guard must have spoken.
const GRACE: Duration = Duration::from_secs(2);

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// The guard says something.
    Guard(Said),
    /// The guard's output has closed.
    GuardGone,
    /// Ctrl-C, SIGTERM, or the terminal is gone.
    Interrupted,
    /// A line was typed; nothing when no more can come.
    Answer(String),
}

/// Where events come in, and what ends a check that is under way.
#[derive(Debug)]
pub(super) struct Events {
    sender: Sender<Event>,
    receiver: Receiver<Event>,
    stop: Arc<watch::Sender<bool>>,
}

impl Events {
    /// Listens to signals from now on.
    pub(super) fn listen() -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel();
        let stop = Arc::new(watch::Sender::new(false));
        let events = Self {
            sender,
            receiver,
            stop,
        };
        let raise = events.raise();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (installed, heard) = mpsc::channel();
        thread::spawn(move || {
            runtime.block_on(async {
                let signals = Signals::install();
                let usable = signals.as_ref().map(drop).map_err(|why| why.kind().into());
                let _ = installed.send(usable);
                if let Ok(mut signals) = signals {
                    loop {
                        signals.next().await;
                        raise(Event::Interrupted);
                    }
                }
            });
        });
        let usable: io::Result<()> = heard.recv().map_err(io::Error::other)?;
        usable.map(|()| events)
    }

    /// What tells of an event from another thread, and ends the check that is under way.
    fn raise(&self) -> impl Fn(Event) + Send + 'static {
        let (sender, stop) = (self.sender.clone(), Arc::clone(&self.stop));
        move |event| {
            // The first word about what was asked for is no reason to stop.
            let expected = [Said::Ready, Said::Applied].map(Event::Guard);
            let stops = !expected.contains(&event);
            // The reason comes before the stop: whoever is stopped looks for it at once.
            let _ = sender.send(event);
            if stops {
                stop.send_replace(true);
            }
        }
    }

    /// Completes as soon as a check need not go on, at the latest then.
    pub(super) fn stopped(&self, until: Option<Instant>) -> impl Future<Output = ()> + use<> {
        let mut stop = self.stop.subscribe();
        async move {
            let raised = async {
                if stop.wait_for(|stop| *stop).await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            match until {
                Some(until) => drop(tokio::time::timeout_at(until.into(), raised).await),
                None => raised.await,
            }
        }
    }

    /// Reads one line of standard input, on a thread that nobody waits for.
    pub(super) fn read_answer(&self) {
        let sender = self.sender.clone();
        thread::spawn(move || {
            let mut line = String::new();
            let _ = io::stdin().read_line(&mut line);
            let _ = sender.send(Event::Answer(line));
        });
    }

    /// Whether something has ended the rehearsal before anything was touched.
    pub(super) fn interrupted(&self) -> bool {
        self.receiver
            .try_iter()
            .any(|event| event == Event::Interrupted)
    }
}

struct Signals([tokio::signal::unix::Signal; 3]);

impl Signals {
    fn install() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// The guard, seen from the rehearsal.
#[derive(Debug)]
pub(super) struct Hold {
    guard: Child,
    orders: ChildStdin,
    /// What the guard has said about the end.
    last: Option<Said>,
    gone: bool,
    /// Whether it was told to apply the new rules, and to keep them.
    applied: bool,
    kept: bool,
    /// The end of the time, as the guard counts it.
    deadline: Instant,
}

impl Hold {
    /// Starts the guard: this program again, so that it does not depend on what lies at its path.
    /// Its standard error is the file of the lock, so that the guard holds the lock too.
    pub(super) fn arm(
        lock: &Lock,
        events: &Events,
        time: Duration,
    ) -> Result<Self, RehearsalError> {
        let log = lock.share()?;
        let inherited = kin::inherit().map_err(io::Error::from);
        inherited.map_err(RehearsalError::Guard)?;
        let started = Command::new("/proc/self/exe")
            .arg("rehearsal-guard")
            .arg(time.as_millis().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn();
        let mut guard = started.map_err(RehearsalError::Guard)?;
        let deadline = Instant::now() + time;
        let (Some(orders), Some(words)) = (guard.stdin.take(), guard.stdout.take()) else {
            return Err(RehearsalError::Guard(io::ErrorKind::BrokenPipe.into()));
        };
        let raise = events.raise();
        thread::spawn(move || relay(words, &raise));
        let mut hold = Self {
            guard,
            orders,
            last: None,
            gone: false,
            applied: false,
            kept: false,
            deadline,
        };
        match hold.next(events, Instant::now() + PATIENCE) {
            Some(Event::Guard(Said::Ready)) => Ok(hold),
            other => {
                hold.end();
                Err(match other {
                    Some(Event::Interrupted) => RehearsalError::Interrupted,
                    _ => RehearsalError::GuardSilent,
                })
            }
        }
    }

    /// How long the rules may still be in force.
    pub(super) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// When the guard must have spoken, or it is not there any more, whatever it looks like.
    pub(super) fn limit(&self) -> Instant {
        self.deadline + GRACE
    }

    /// The guard's process.
    pub(super) fn process(&self) -> u32 {
        self.guard.id()
    }

    /// Has the new rules applied.
    pub(super) fn apply(&mut self, events: &Events) -> Result<(), Trouble> {
        self.applied = true;
        self.order(Order::Apply);
        match self.trouble(events)? {
            Event::Guard(Said::Applied) => Ok(()),
            _ => Err(Trouble::GuardGone),
        }
    }

    /// What has gone wrong so far, without waiting.
    pub(super) fn well(&mut self, events: &Events) -> Result<(), Trouble> {
        while let Ok(event) = events.receiver.try_recv() {
            self.note(&event);
            refuse(event)?;
        }
        if Instant::now() >= self.limit() {
            self.gone = true;
            return Err(Trouble::GuardGone);
        }
        Ok(())
    }

    /// The next event that is no trouble.
    pub(super) fn trouble(&mut self, events: &Events) -> Result<Event, Trouble> {
        let event = self.next(events, self.limit());
        self.gone |= event.is_none();
        refuse(event.unwrap_or(Event::GuardGone))
    }

    fn next(&mut self, events: &Events, until: Instant) -> Option<Event> {
        let wait = until.saturating_duration_since(Instant::now());
        let event = events.receiver.recv_timeout(wait).ok()?;
        self.note(&event);
        Some(event)
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::GuardGone => self.gone = true,
            Event::Guard(
                said @ (Said::Kept | Said::Restored | Said::Untouched | Said::Unrestored(_)),
            ) => {
                self.last = Some(said.clone());
            }
            _ => {}
        }
    }

    fn order(&mut self, order: Order) {
        // A guard that is gone hears nothing, which shows in what it says.
        let _ = writeln!(self.orders, "{}", order.word()).and_then(|()| self.orders.flush());
    }

    /// Has the new rules kept. Only the guard knows whether the deadline came first.
    pub(super) fn keep(&mut self, events: &Events) -> bool {
        self.kept = true;
        self.order(Order::Keep);
        self.conclude(events) == Some(Said::Kept)
    }

    /// Has the old rules brought back, or brings them back where the guard cannot.
    ///
    /// # Errors
    /// Why they are not in force.
    pub(super) fn restore(
        &mut self,
        events: &Events,
        tools: &Tools,
        snapshot: &Snapshot,
        state: &State,
    ) -> Result<Back, String> {
        self.order(Order::Restore);
        match self.conclude(events) {
            Some(Said::Restored) => Ok(Back::Restored),
            Some(Said::Untouched) => Ok(Back::Untouched),
            Some(Said::Unrestored(why)) => Err(why),
            _ => {
                // Two that change rules at once would undo each other's work.
                self.end();
                let back = if self.may_have_touched(state) {
                    snapshot.restore(tools).map_err(|why| why.to_string())?;
                    Back::Restored
                } else {
                    Back::Untouched
                };
                state.remove().map_err(|why| why.to_string())?;
                Ok(back)
            }
        }
    }

    /// Whether a guard that cannot be asked any more may have changed rules. Its mark is gone as soon
    /// as it keeps them.
    fn may_have_touched(&self, state: &State) -> bool {
        self.applied && (self.kept || state.is_touched())
    }

    /// The guard's last word, waited for as long as it says that it is at work.
    fn conclude(&mut self, events: &Events) -> Option<Said> {
        let mut until = Instant::now() + SILENCE;
        while self.last.is_none() && !self.gone {
            match self.next(events, until) {
                None => break,
                Some(Event::Guard(_)) => until = Instant::now() + SILENCE,
                Some(_) => {}
            }
        }
        if self.last.is_some() {
            let _ = self.guard.wait();
        }
        self.last.clone()
    }

    /// Ends the guard, and whatever tool it has left at work.
    fn end(&mut self) {
        let _ = self.guard.kill();
        let _ = self.guard.wait();
        kin::end_all();
    }
}

/// How the old rules are in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Back {
    /// They were brought back.
    Restored,
    /// They always were.
    Untouched,
}

/// What an event means for the rehearsal: nothing, or its end.
fn refuse(event: Event) -> Result<Event, Trouble> {
    match event {
        Event::Interrupted => Err(Trouble::Interrupted),
        Event::GuardGone => Err(Trouble::GuardGone),
        Event::Guard(Said::Refused(why)) => Err(Trouble::Refused(why)),
        Event::Guard(Said::Expired) => Err(Trouble::Expired),
        // It does so unasked where somebody ends it.
        Event::Guard(Said::Working | Said::Restored | Said::Untouched | Said::Unrestored(_)) => {
            Err(Trouble::GuardGone)
        }
        other => Ok(other),
    }
}

/// Hands on what the guard says.
fn relay(words: ChildStdout, raise: &impl Fn(Event)) {
    let lines = BufReader::new(words).lines();
    let lines = lines.map_while(Result::ok);
    for said in lines.filter_map(|line| Said::read(&line)) {
        raise(Event::Guard(said));
    }
    raise(Event::GuardGone);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_stopped_finds_the_reason() {
        let events = Events::listen().unwrap();
        for _ in 0..1000 {
            events.stop.send_replace(false);
            let raise = events.raise();
            let raiser = thread::spawn(move || raise(Event::GuardGone));
            while !*events.stop.borrow() {
                std::hint::spin_loop();
            }
            assert_eq!(events.receiver.try_recv(), Ok(Event::GuardGone));
            raiser.join().unwrap();
        }
    }
}
