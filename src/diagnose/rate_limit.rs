//! PURE: whether new flows to the edge meet a limit, and since when it is no longer limited.
//!
//! A firewall that limits new flows lets the first of a burst pass and drops or refuses the rest. So
//! does a path that goes down for a moment. Either shows in the order in which flows begin, as loss
//! and a blocked destination do not: in rows that pass, many addresses one after the other fail at
//! the first try after others have passed. What fails then proves nothing. The plan holds its breath
//! and goes on flow by flow (`plan/pacing.rs`), with fresh flows to addresses that have passed between
//! the others: only what fails among such controls that pass counts from there on.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::evidence::{
    Peer, SilenceTest, loss_bound, peer, sorted, tuning, upper_quartile, was_refused,
};
use crate::model::{Attempt, Moment, Service};
use crate::targets::Target;

/// A stretch of new flows that failed where earlier ones had passed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateLimit {
    /// When it shows: flows that are under way by then prove nothing.
    pub shows: Moment,
    /// From when on flows are started one by one, and their failures count.
    pub resume_at: Moment,
    /// How many new flows had been answered at once before.
    pub answered: usize,
    /// How many addresses failed one after the other then.
    pub failed: usize,
    /// How many of those were reached later.
    pub recovered: usize,
    /// Whether handshakes took so long that this host, or the edge, may have been too busy to answer.
    pub host_overloaded: bool,
}

/// The limit on each service of the edge.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RateLimits {
    quic: Option<RateLimit>,
    http2: Option<RateLimit>,
}

impl RateLimits {
    /// Reads it from the first flow to each address of the edge, in rows of which something passes: a
    /// row of which nothing passes may be blocked. A service of which nothing passes anywhere may be
    /// blocked too, or starved by the same limit as the other one.
    #[must_use]
    pub fn of(attempts: &[&Attempt], targets: &[Target]) -> Self {
        let [quic, http2] = [Service::Quic, Service::Http2].map(|service| {
            let own = targets.iter().filter(|target| target.service == service);
            let flows: Vec<_> = own.flat_map(|t| first_flows(attempts, t)).collect();
            (!flows.is_empty(), RateLimit::of(flows, attempts, service))
        });
        let or_of = |(passes, own): (bool, Option<RateLimit>), other| {
            own.or(if passes { None } else { other })
        };
        Self {
            quic: or_of(quic, http2.1),
            http2: or_of(http2, quic.1),
        }
    }

    /// The limit on flows of the service.
    #[must_use]
    pub const fn on(&self, service: Service) -> Option<&RateLimit> {
        match service {
            Service::Quic => self.quic.as_ref(),
            Service::Http2 => self.http2.as_ref(),
            Service::Https => None,
        }
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.quic.is_none() && self.http2.is_none()
    }
}

impl RateLimit {
    fn of(mut flows: Vec<FirstFlow<'_>>, attempts: &[&Attempt], service: Service) -> Option<Self> {
        flows.sort_by_key(FirstFlow::started);
        let answered_after = flows.iter().filter_map(|flow| flow.attempt.contact());
        let quickest = answered_after.min()?;
        let mut stretch = Vec::new();
        let mut answered = 0;
        for flow in &flows {
            match flow.fails(quickest) {
                Some(true) if answered > 0 => stretch.push(flow),
                Some(false) if stretch.len() >= tuning::LIMIT_STRETCH => break,
                Some(false) => {
                    answered += 1;
                    stretch.clear();
                }
                Some(true) | None => {}
            }
        }
        let mut shows = stretch.get(tuning::LIMIT_STRETCH - 1)?.fails_by(quickest);
        // A busy machine finds answers late, but it finds one after the other.
        let of_kind = attempts.iter().filter(|a| a.service() == service);
        let mut answers: Vec<_> = of_kind.filter_map(|a| a.answered()).collect();
        answers.sort_unstable();
        for answered in answers {
            if answered <= shows && shows <= answered + tuning::LIMIT_STOPPED {
                shows = answered + tuning::LIMIT_STOPPED;
            }
        }
        let in_vain = |flow: &&&FirstFlow<'_>| flow.is_refused() || flow.attempt.ended() >= shows;
        let failed = stretch.iter().filter(in_vain).count();
        (failed >= tuning::LIMIT_STRETCH).then(|| Self {
            shows,
            resume_at: shows + tuning::LIMIT_PAUSE,
            answered,
            failed,
            recovered: stretch
                .iter()
                .filter(in_vain)
                .filter(|flow| flow.recovers)
                .count(),
            host_overloaded: is_busy(attempts, quickest),
        })
    }

    /// Whether it is a limit or a short outage: what had failed passed later, one by one, and nobody
    /// was too busy.
    #[must_use]
    pub const fn is_recognised(&self) -> bool {
        !self.host_overloaded
            && self.failed >= tuning::LIMIT_FAILED
            && self.recovered >= tuning::LIMIT_RECOVERED
    }

    /// The test by which failures are judged: only those since the flows resumed count, only up to the last
    /// new flow of the kind that passed, and only as far as fresh flows to what is open pass.
    pub(super) fn restrict(
        &self,
        test: SilenceTest,
        comparable: &[&Attempt],
        first_successes: &FirstSuccesses<'_>,
    ) -> SilenceTest {
        let since = |a: &&&Attempt| a.started() >= self.resume_at;
        let passes = comparable.iter().filter(since).filter(|a| a.passed());
        let last = passes.map(|a| a.started()).max().unwrap_or(self.resume_at);
        let timeout = test.estimate.timeout();
        let loss = loss_of_controls(comparable, first_successes, self.resume_at, timeout);
        SilenceTest {
            estimate: test.estimate.losing_at_least(loss.unwrap_or_default()),
            window: test.window.after_limit(self.resume_at).until(last),
            controls: None,
            ..test
        }
    }
}

/// Whether a quarter of the handshakes took far longer, once the other side had answered, than answers
/// do or than the quickest of them.
fn is_busy(attempts: &[&Attempt], quickest_answer: Duration) -> bool {
    let took = attempts.iter().filter_map(|a| a.handshake_after_contact());
    let took = sorted(took);
    let quickest = took.first().copied().unwrap_or_default();
    let bearable = tuning::BUSY_MARGIN + quickest * tuning::BUSY_HANDSHAKES;
    let bearable = bearable.min(timeout(quickest_answer));
    upper_quartile(&took).is_some_and(|slow| slow > bearable)
}

/// When each address first passed, with each name. Experiments are left out: that one passes says
/// nothing of the tunnel's own first flight.
#[derive(Debug, Default)]
pub struct FirstSuccesses<'a>(HashMap<Peer<'a>, Moment>);

impl<'a> FirstSuccesses<'a> {
    /// Reads it from attempts.
    #[must_use]
    pub fn of(attempts: impl Iterator<Item = &'a Attempt>) -> Self {
        let mut passes = HashMap::new();
        let plain = attempts.filter(|a| !a.profile.is_experiment());
        for attempt in plain.filter(|a| a.passed()) {
            let first = passes.entry(peer(attempt)).or_insert(Moment::NEVER);
            *first = attempt.ended().min(*first);
        }
        Self(passes)
    }

    /// Whether the attempt goes where, and with a name with which, another had passed before it began.
    #[must_use]
    pub fn is_control(&self, attempt: &Attempt) -> bool {
        let first = self.0.get(&peer(attempt));
        let first = first.filter(|_| !attempt.profile.is_experiment());
        first.is_some_and(|passed| *passed <= attempt.started())
    }
}

/// An upper bound on the chance that a control fails at the first try, by those since then that are
/// decided; none where none has failed.
pub(super) fn loss_of_controls(
    attempts: &[&Attempt],
    first_successes: &FirstSuccesses<'_>,
    since: Moment,
    timeout: Duration,
) -> Option<f64> {
    let late = attempts.iter().filter(|a| a.started() >= since);
    let controls = late.filter(|a| first_successes.is_control(a));
    let decided = controls.filter(|a| a.contact_ms.is_some() || a.elapsed() >= timeout);
    let (lost, tried) = decided.fold((0, 0), |(lost, tried), control| {
        (lost + u32::from(control.contact_ms.is_none()), tried + 1)
    });
    (lost > 0).then(|| loss_bound(lost, tried))
}

/// The first flow to one address.
struct FirstFlow<'a> {
    attempt: &'a Attempt,
    /// Whether another one with the same name passes.
    recovers: bool,
}

/// The first flow to each address of a row, if anything passes in it.
fn first_flows<'a>(attempts: &[&'a Attempt], target: &Target) -> Vec<FirstFlow<'a>> {
    let own = attempts.iter().copied().filter(|a| target.includes(a));
    let own: Vec<_> = own.filter(|a| a.role.decides()).collect();
    if !own.iter().any(|a| a.passed()) {
        return Vec::new();
    }
    let first = |address: &IpAddr| {
        let here = || own.iter().filter(|a| a.address == *address);
        let attempt = here().min_by_key(|a| a.started())?;
        Some(FirstFlow {
            attempt,
            recovers: here().any(|a| a.passed() && a.role == attempt.role),
        })
    };
    target.addresses.iter().filter_map(first).collect()
}

/// How long silence takes to look like a failure.
fn timeout(quickest: Duration) -> Duration {
    tuning::FLOW_FAILS_MARGIN + quickest * tuning::FLOW_FAILS_ROUND_TRIPS
}

impl FirstFlow<'_> {
    fn started(&self) -> Moment {
        self.attempt.started()
    }

    fn is_refused(&self) -> bool {
        was_refused(self.attempt)
    }

    /// Whether it went unanswered or was refused; nothing while it is too early to say.
    fn fails(&self, quickest: Duration) -> Option<bool> {
        let answered = self.attempt.contact_ms.is_some();
        let ripe = answered || self.is_refused() || self.attempt.ended() >= self.fails_by(quickest);
        ripe.then_some(!answered)
    }

    /// When it counts as a failure.
    fn fails_by(&self, quickest: Duration) -> Moment {
        if self.is_refused() {
            self.attempt.ended()
        } else {
            self.started() + timeout(quickest)
        }
    }
}
