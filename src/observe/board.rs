//! The rows of a run with their attempts, ended and running.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::snapshot::Snapshot;
use crate::catalog;
use crate::diagnose::{AddressState, Climates, Judgement, Role, judge};
use crate::evidence::Climate;
use crate::model::{
    Attempt, ContactFailure, Event, Family, Millis, Outcome, Profile, RowProgress, Service, Status,
};
use crate::net::quic::{self, QuicProbe};
use crate::net::stream::{self, StreamProbe};
use crate::net::trust::Trust;
use crate::net::{Trace, TraceState, host};
use crate::plan::{self, Start};
use crate::targets::{Target, TargetState};

/// The rows of a run with their attempts.
pub(super) struct Board {
    bind: Option<IpAddr>,
    static_edge: bool,
    trust: Arc<Trust>,
    own: Arc<[IpAddr]>,
    started: Instant,
    targets: Vec<Target>,
    judgements: Vec<Judgement>,
    ended: Vec<Attempt>,
    running: HashMap<u64, Running>,
    tasks: JoinSet<(u64, Outcome)>,
    next_id: u64,
    complete: bool,
    told: HashMap<(Service, String, Family), RowProgress>,
}

/// An attempt that goes on.
struct Running {
    /// All of the attempt that does not depend on how it ends.
    template: Attempt,
    trace: Trace,
    abort: AbortHandle,
}

/// Why an attempt is taken off the board before its own end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GivenUp {
    /// Its question is settled by other attempts.
    Settled,
    /// The run is over, or the row is; what it has seen by now is what it tells.
    Silent,
}

impl Board {
    pub(super) fn new(
        bind: Option<IpAddr>,
        static_edge: bool,
        trust: Arc<Trust>,
        started: Instant,
    ) -> Self {
        Self {
            bind,
            static_edge,
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
        while let Some(ended) = self.tasks.try_join_next() {
            if let Ok((id, outcome)) = ended {
                self.note_end(id, outcome);
            }
        }
    }

    /// Judges all rows anew, gives up what is settled, and starts what is due.
    pub(super) fn advance(&mut self, targets: Vec<Target>, on_event: &mut dyn FnMut(Event)) {
        self.targets = targets;
        let snapshot = self.snapshot();
        let mut starts = Vec::new();
        let mut finished = Vec::new();
        let climates = Climates::of(&snapshot.attempts);
        self.complete = !snapshot.waits_for_documented_name();
        self.judgements.clear();
        let now = self.started.elapsed().as_secs_f64();
        let begun = self.targets.iter().map(|target| snapshot.begun(target));
        let leaders_first = plan::leaders_first(&begun.collect::<Vec<_>>(), now);
        for target in &self.targets {
            let climate = climates.for_target(target);
            let seen = snapshot.of(target);
            let attempts: Vec<_> = seen.iter().map(|seen| seen.attempt).collect();
            let judgement = judge(target, &attempts, &climate);
            for start in plan::next_starts(target, &seen, &judgement, &climate, now) {
                if seen.is_empty() || !leaders_first {
                    starts.push((target.clone(), start));
                }
            }
            finished.extend(snapshot.running_in(target).filter_map(|(id, attempt)| {
                given_up(target, attempt, &judgement, &climate).map(|why| (id, why))
            }));
            let settled = judgement.is_settled() && target.state != TargetState::Waiting;
            self.complete &= settled || plan::is_exhausted(target, &seen, &judgement, &climate);
            self.judgements.push(judgement);
        }
        self.complete &= starts.is_empty() && !leaders_first;
        for (id, why) in finished {
            self.take_off(id, why);
        }
        for (target, start) in starts {
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
    pub(super) fn give_up(&mut self) {
        let ids: Vec<_> = self.running.keys().copied().collect();
        for id in ids {
            self.take_off(id, GivenUp::Silent);
        }
    }

    pub(super) fn into_attempts(mut self) -> Vec<Attempt> {
        self.tasks.abort_all();
        self.ended
    }

    fn note_end(&mut self, id: u64, outcome: Outcome) {
        if let Some(running) = self.running.remove(&id) {
            let attempt = self.finish(running.template, &running.trace.state(), outcome);
            self.ended.push(attempt);
        }
    }

    fn take_off(&mut self, id: u64, why: GivenUp) {
        let Some(running) = self.running.remove(&id) else {
            return;
        };
        running.abort.abort();
        let state = running.trace.state();
        let outcome = match why {
            GivenUp::Settled => Outcome::Abandoned,
            GivenUp::Silent => silent_so_far(&state),
        };
        let attempt = self.finish(running.template, &state, outcome);
        self.ended.push(attempt);
    }

    fn start(&mut self, target: &Target, start: Start) {
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
                _ => catalog::quic_datagram_size(target.family, self.static_edge),
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

    /// The documentation's extra name is tried once where the tunnel's has passed; it decides nothing.
    fn start_documented_name(&mut self) {
        let tried = self
            .ended
            .iter()
            .chain(self.running.values().map(|r| &r.template));
        if tried
            .into_iter()
            .any(|attempt| attempt.sni == catalog::DOCUMENTED_SNI)
        {
            return;
        }
        let proven = self
            .ended
            .iter()
            .find(|a| a.passed() && a.sni == catalog::HTTP2_SNI);
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
                Start {
                    address,
                    role: Role::Documented,
                    number: 1,
                },
            );
        }
    }

    fn finish(&self, template: Attempt, state: &TraceState, outcome: Outcome) -> Attempt {
        let udp = template.transport == crate::model::Transport::Udp;
        Attempt {
            started_ms: Millis::from(state.started.duration_since(self.started.into_std())),
            elapsed_ms: Millis::from(state.started.elapsed()),
            contact_ms: state.contact.map(Millis::from),
            handshake_ms: state.handshake.map(Millis::from),
            sent: udp.then_some(state.sent),
            received: udp.then_some(state.received),
            stray: state.stray.clone(),
            outcome,
            ..template
        }
    }

    /// All attempts; a running one counts as silent so far.
    fn snapshot(&self) -> Snapshot {
        let mut attempts = self.ended.clone();
        let mut ids = vec![None; attempts.len()];
        for (id, running) in &self.running {
            let state = running.trace.state();
            let outcome = silent_so_far(&state);
            attempts.push(self.finish(running.template.clone(), &state, outcome));
            ids.push(Some(*id));
        }
        Snapshot { attempts, ids }
    }

    fn tell(&mut self, on_event: &mut dyn FnMut(Event)) {
        for (target, judgement) in self.targets.iter().zip(&self.judgements) {
            let settled = judgement.is_settled() && target.state != TargetState::Waiting;
            let row = RowProgress {
                host: target.host.clone(),
                region: target.region.clone(),
                service: target.service,
                family: target.family,
                reachable: judgement.reachable(),
                total: target.addresses.len(),
                settled: settled
                    .then_some(judgement.status)
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

/// Whether a running attempt has become pointless, and why.
fn given_up(
    target: &Target,
    attempt: &Attempt,
    judgement: &Judgement,
    climate: &Climate,
) -> Option<GivenUp> {
    if Role::of(attempt, target) == Role::Documented {
        return None;
    }
    let state = judgement
        .addresses
        .iter()
        .find(|(address, _)| *address == attempt.address);
    match state.map(|(_, state)| *state) {
        Some(AddressState::Reachable) if is_probe(attempt, target) && judgement.open.is_some() => {
            None
        }
        Some(AddressState::Reachable) => Some(GivenUp::Settled),
        Some(AddressState::Blocked(_)) if judgement.is_settled() => Some(GivenUp::Silent),
        _ if plan::makes_room(target, attempt, judgement, climate) => Some(GivenUp::Silent),
        _ => None,
    }
}

/// The probe's name is wanted even where the tunnel's has passed.
fn is_probe(attempt: &Attempt, target: &Target) -> bool {
    Role::of(attempt, target) == Role::Probe
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
