//! The rows of a run with their attempts, ended and running.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::OnEvent;
use crate::catalog;
use crate::diagnose::{RateLimits, RowVerdict};
use crate::model::{
    Attempt, ContactFailure, Event, Family, HandshakeFailure, Millis, Moment, Outcome, Profile,
    Role, RowProgress, Service, Status,
};
use crate::net::quic::{self, QuicProbe};
use crate::net::stream::{self, StreamProbe};
use crate::net::trust::Trust;
use crate::net::{Trace, TraceState, host};
use crate::plan::{self, Cancel, Launch, Seen, Step};
use crate::targets::Target;

/// The rows of a run with their attempts.
pub(super) struct AttemptPool {
    bind: Option<IpAddr>,
    trust: Arc<Trust>,
    own: Arc<[IpAddr]>,
    started: Instant,
    targets: Vec<Target>,
    judgements: Vec<RowVerdict>,
    ended: Vec<Attempt>,
    running: HashMap<u64, Running>,
    tasks: JoinSet<(u64, Outcome)>,
    next_id: u64,
    complete: bool,
    told: HashMap<(Service, String, Family), RowProgress>,
    /// When a limit on new flows was first suspected.
    limited: OnceCell<Instant>,
}

/// An attempt that goes on.
struct Running {
    /// All of the attempt that does not depend on how it ends.
    template: Attempt,
    trace: Trace,
    abort: AbortHandle,
}

impl AttemptPool {
    pub(super) fn new(bind: Option<IpAddr>, trust: Arc<Trust>, started: Instant) -> Self {
        Self {
            bind,
            trust,
            own: host::own_addresses().into(),
            started,
            targets: Vec::new(),
            judgements: Vec::new(),
            ended: Vec::new(),
            running: HashMap::new(),
            tasks: JoinSet::new(),
            next_id: 0,
            complete: false,
            told: HashMap::new(),
            limited: OnceCell::new(),
        }
    }

    /// Waits until an attempt ends, and notes it. Never returns while none runs.
    pub(super) async fn next_end(&mut self) {
        match self.tasks.join_next().await {
            Some(Ok((id, outcome))) => self.note_end(id, outcome),
            // Given up, and noted as such already.
            Some(Err(_)) => {}
            None => std::future::pending().await,
        }
        self.note_ends();
    }

    /// Notes all attempts that have ended by now.
    pub(super) fn note_ends(&mut self) {
        while let Some(ended) = self.tasks.try_join_next() {
            if let Ok((id, outcome)) = ended {
                self.note_end(id, outcome);
            }
        }
    }

    /// Forgets attempts that were silent while this process did not run: those that run, and those that
    /// have ended since `known` had. They are made again.
    pub(super) fn forget_silence(&mut self, known: usize, now: Instant) {
        let since = self.ended.split_off(known);
        let heard = since.into_iter().filter(|attempt| !is_silent(attempt));
        self.ended.extend(heard);
        let running = self.running_now(now);
        for (id, _) in running.iter().filter(|(_, attempt)| is_silent(attempt)) {
            if let Some(running) = self.running.remove(id) {
                running.abort.abort();
            }
        }
    }

    /// Judges all rows anew, gives up what is settled, and starts what is due.
    pub(super) fn advance(
        &mut self,
        targets: Vec<Target>,
        now: Instant,
        on_event: &mut OnEvent<'_>,
    ) {
        self.targets = targets;
        let running = self.running_now(now);
        let seen = self.seen(&running);
        let rate_limits = self.rate_limits(&seen);
        let moment = Moment::after(now.duration_since(self.started));
        let step = Step::of(&self.targets, &seen, &rate_limits, moment);
        let first_running = self.ended.len();
        self.complete = step.complete;
        self.judgements = step.judgements;
        for (number, why) in step.given_up {
            let (id, _) = running[number - first_running];
            self.cancel(id, why, now);
        }
        for (row, start) in step.starts {
            let target = self.targets[row].clone();
            self.start(&target, start);
        }
        self.start_documented_name();
        self.tell(on_event);
    }

    /// True when every row was settled at the last look, or nothing more could be started in it.
    pub(super) const fn is_complete(&self) -> bool {
        self.complete
    }

    /// The attempts that have ended.
    pub(super) fn ended(&self) -> &[Attempt] {
        &self.ended
    }

    /// Takes everything off the board that still runs.
    pub(super) fn give_up(&mut self, now: Instant) {
        let ids: Vec<_> = self.running.keys().copied().collect();
        for id in ids {
            self.cancel(id, Cancel::Silent, now);
        }
    }

    pub(super) fn into_attempts(mut self) -> Vec<Attempt> {
        self.tasks.abort_all();
        self.ended
    }

    fn note_end(&mut self, id: u64, outcome: Outcome) {
        if let Some(running) = self.running.remove(&id) {
            let state = running.trace.state();
            let attempt = self.finish(running.template, &state, outcome, Instant::now());
            self.ended.push(attempt);
        }
    }

    fn cancel(&mut self, id: u64, why: Cancel, now: Instant) {
        let Some(running) = self.running.remove(&id) else {
            return;
        };
        running.abort.abort();
        let state = running.trace.state();
        let outcome = match why {
            Cancel::Settled => Outcome::Abandoned,
            Cancel::Silent => silent_so_far(&state),
        };
        let attempt = self.finish(running.template, &state, outcome, now);
        self.ended.push(attempt);
    }

    fn start(&mut self, target: &Target, start: Launch) {
        let remote = SocketAddr::new(start.address, target.port);
        let trace = Trace::start();
        let id = self.next_id;
        self.next_id += 1;
        let (trust, own) = (Arc::clone(&self.trust), Arc::clone(&self.own));
        let template = start.attempt(target, Millis::from(self.started.elapsed()));
        let sni = template.sni.clone();
        let task_trace = trace.clone();
        let bind = if target.service == Service::Https {
            None
        } else {
            self.bind
        };
        let abort = if target.service == Service::Quic {
            let datagram_size = match template.profile {
                Profile::SmallPackets => catalog::SMALLEST_INITIAL,
                _ => target.datagram_size,
            };
            let probe = QuicProbe {
                remote,
                bind,
                sni,
                datagram_size,
                profile: template.profile,
            };
            self.tasks
                .spawn(async move { (id, quic::probe(&probe, &trust, &own, &task_trace).await) })
        } else {
            let probe = StreamProbe {
                remote,
                bind,
                sni,
                service: target.service,
                profile: template.profile,
            };
            self.tasks
                .spawn(async move { (id, stream::probe(&probe, &trust, &own, &task_trace).await) })
        };
        self.running.insert(
            id,
            Running {
                template,
                trace,
                abort,
            },
        );
    }

    /// The documentation's extra name is tried once where the tunnel's is answered; it decides nothing.
    fn start_documented_name(&mut self) {
        let known = || {
            let running = self.running.values().map(|r| {
                let contact = r.trace.state().contact;
                (&r.template, contact.is_some())
            });
            let ended = self.ended.iter().map(|a| (a, a.contact_ms.is_some()));
            ended.chain(running)
        };
        if known().any(|(attempt, _)| attempt.role == Role::Documented) {
            return;
        }
        let mut answered = known().filter(|(_, is_answered)| *is_answered);
        let by_tunnel =
            |attempt: &Attempt| attempt.service() == Service::Http2 && attempt.role == Role::Tunnel;
        let proven = answered.find(|(attempt, _)| by_tunnel(attempt));
        let proven = proven.map(|(attempt, _)| attempt);
        let Some(address) = proven.map(|attempt| attempt.address) else {
            return;
        };
        let target = self
            .targets
            .iter()
            .find(|target| target.service == Service::Http2 && target.addresses.contains(&address));
        if let Some(target) = target.cloned() {
            self.start(
                &target,
                Launch {
                    address,
                    role: Role::Documented,
                    number: 1,
                },
            );
        }
    }

    fn finish(
        &self,
        template: Attempt,
        state: &TraceState,
        outcome: Outcome,
        now: Instant,
    ) -> Attempt {
        let udp = template.transport == crate::model::Transport::Udp;
        Attempt {
            started_ms: Millis::from(state.started.duration_since(self.started.into_std())),
            elapsed_ms: Millis::from(now.into_std().saturating_duration_since(state.started)),
            contact_ms: state.contact.map(Millis::from),
            handshake_ms: state.handshake.map(Millis::from),
            sent: udp.then_some(state.sent),
            received: udp.then_some(state.received),
            stray: state.stray.clone(),
            outcome,
            ..template
        }
    }

    /// Whether new flows may meet a limit. It takes two looks: a machine that was busy finds answers
    /// late, and its probes note them between one look and the next.
    fn rate_limits(&self, seen: &[Seen<'_>]) -> RateLimits {
        const APART: Duration = Duration::from_millis(20);
        let attempts: Vec<_> = seen.iter().map(|seen| seen.attempt).collect();
        let rate_limits = RateLimits::of(&attempts, &self.targets);
        if rate_limits.is_none() {
            return rate_limits;
        }
        let first = self.limited.get_or_init(Instant::now);
        if first.elapsed() >= APART {
            rate_limits
        } else {
            RateLimits::default()
        }
    }

    /// The attempts that run, silent so far unless they have failed.
    fn running_now(&self, now: Instant) -> Vec<(u64, Attempt)> {
        let running = self.running.iter().map(|(id, running)| {
            let state = running.trace.state();
            let outcome = silent_so_far(&state);
            let template = running.template.clone();
            (*id, self.finish(template, &state, outcome, now))
        });
        running.collect()
    }

    /// All attempts, those that have ended first.
    fn seen<'a>(&'a self, running: &'a [(u64, Attempt)]) -> Vec<Seen<'a>> {
        let ended = self.ended.iter().map(|attempt| Seen {
            attempt,
            running: false,
        });
        let running = running.iter().map(|(_, attempt)| Seen {
            attempt,
            running: true,
        });
        ended.chain(running).collect()
    }

    fn tell(&mut self, on_event: &mut OnEvent<'_>) {
        for (target, verdict) in self.targets.iter().zip(&self.judgements) {
            let settled = plan::is_settled(target, verdict);
            let row = RowProgress {
                host: target.host.clone(),
                region: target.region.clone(),
                service: target.service,
                family: target.family,
                reachable: verdict.reachable(),
                total: target.addresses.len(),
                settled: settled
                    .then_some(verdict.status)
                    .filter(|s| *s != Status::Inconclusive),
            };
            let key = (target.service, target.host.clone(), target.family);
            if self.told.get(&key) != Some(&row) {
                self.told.insert(key, row.clone());
                on_event(Event::Row(row));
            }
        }
    }
}

/// Whether nothing came, or nothing more after a first answer.
const fn is_silent(attempt: &Attempt) -> bool {
    matches!(
        attempt.outcome,
        Outcome::Unanswered {
            failure: ContactFailure::Silent
        } | Outcome::Unsecured {
            failure: HandshakeFailure::Silent
        }
    )
}

/// The outcome of an attempt that is given up now.
fn silent_so_far(state: &TraceState) -> Outcome {
    if state.contact.is_some() {
        return Outcome::Unsecured {
            failure: quic::cut_by(state),
        };
    }
    match quic::failure_from_errors(state) {
        // Only an attempt that ends by itself has waited long enough to call an ICMP error final.
        ContactFailure::Icmp { .. } => Outcome::Unanswered {
            failure: ContactFailure::Silent,
        },
        failure => Outcome::Unanswered { failure },
    }
}
