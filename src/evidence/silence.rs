//! The rule: how many failures over how long a time prove a block.

use std::time::Duration;

use super::flows::{first_packet_schedule, handshake_schedule, overdue};
use super::{PathEstimate, Window, tuning};
use crate::catalog;
use crate::model::{Attempt, ContactFailure, HandshakeFailure, Moment, Outcome, Transport};

/// What decides how much the silence of a destination proves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SilenceTest {
    /// What was measured of the path.
    pub estimate: PathEstimate,
    /// The time in which failures count.
    pub window: Window,
    /// What fresh flows show, where any flow of the service has passed.
    pub controls: Option<ControlResult>,
    /// Whether an ICMP error may still come: some were seen, but none from the way to this destination.
    pub awaits_icmp: bool,
    /// Whether this host's system reports late that a connection was reset.
    pub late_resets: bool,
}

/// What fresh flows show of what has passed: it may have stopped passing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ControlResult {
    /// Since when several new flows have passed. Failures from after it prove nothing yet.
    pub until: Moment,
    /// An upper bound on the chance that a fresh flow to what has passed fails, where one has failed.
    pub loss_rate: Option<f64>,
}

impl SilenceTest {
    /// The test where nothing has answered.
    pub const UNKNOWN: Self = Self {
        estimate: PathEstimate::UNKNOWN,
        window: Window::WHOLE_RUN,
        controls: None,
        awaits_icmp: false,
        late_resets: false,
    };

    /// The test by which only failures from before fresh flows that passed count, and only as far as fresh
    /// flows to what has passed do pass.
    #[must_use]
    pub(crate) fn confirmed_by_controls(self) -> Self {
        let Some(controls) = self.controls else {
            return self;
        };
        let loss_rate = controls.loss_rate.unwrap_or_default();
        Self {
            estimate: self.estimate.losing_at_least(loss_rate),
            window: self.window.until(controls.until),
            ..self
        }
    }

    /// How long a flow without any answer is waited for before it counts as silent: a reset that the
    /// system keeps to itself is no silence.
    #[must_use]
    pub fn timeout(&self, transport: Transport) -> Duration {
        let timeout = self.estimate.timeout();
        if !self.may_hide_a_reset(transport) {
            return timeout;
        }
        let round_trip = self.estimate.round_trip.unwrap_or_default();
        timeout + tuning::LATE_RESET + round_trip * tuning::LATE_RESET_ROUND_TRIPS
    }

    /// How many tries of the attempt's first packet have stayed unanswered for long enough, of those
    /// that were sent when failures count.
    #[must_use]
    pub fn silent_tries(&self, attempt: &Attempt) -> u32 {
        let silent = matches!(
            &attempt.outcome,
            Outcome::Unanswered {
                failure: ContactFailure::Silent
            } | Outcome::Abandoned
        );
        if !silent || attempt.contact_ms.is_some() {
            return 0;
        }
        let schedule = if self.may_hide_a_reset(attempt.transport) {
            catalog::LATEST_SYN_SCHEDULE
        } else {
            first_packet_schedule(attempt.transport)
        };
        let timeout = self.timeout(attempt.transport);
        let counted = schedule.iter().filter(|sent| {
            let overdue = **sent + timeout <= attempt.elapsed();
            overdue && self.window.includes(attempt.started() + **sent)
        });
        u32::try_from(counted.count()).unwrap_or(u32::MAX)
    }

    /// How many retransmissions of the hello have stayed unanswered after a TCP connection, or a
    /// QUIC answer, had come about.
    #[must_use]
    pub fn stalled_tries(&self, attempt: &Attempt) -> u32 {
        let stalled = matches!(
            attempt.outcome,
            Outcome::Unsecured {
                failure: HandshakeFailure::Silent
            } | Outcome::Abandoned
        );
        let contact = attempt.contact().filter(|_| stalled);
        contact.map_or(0, |contact| {
            let waited = attempt.elapsed().saturating_sub(contact);
            let schedule = handshake_schedule(attempt.transport);
            overdue(schedule, waited, self.estimate.handshake_timeout())
        })
    }

    /// How many tries of these attempts went unanswered, before a first answer or after one.
    #[must_use]
    pub fn unanswered_tries<'a>(&self, attempts: impl Iterator<Item = &'a Attempt>) -> u32 {
        attempts
            .map(|a| self.silent_tries(a) + self.stalled_tries(a))
            .sum()
    }

    /// The time from the first start to the last moment that is accounted for, as far as failures count
    /// in it.
    #[must_use]
    pub fn span<'a>(&self, attempts: impl Iterator<Item = &'a Attempt> + Clone) -> Duration {
        let first = attempts.clone().map(Attempt::started).min();
        let first = first.unwrap_or(Moment::NEVER).max(self.window.from);
        let last = attempts.map(Attempt::ended).max().unwrap_or_default();
        last.min(self.window.until + self.estimate.timeout())
            .since(first)
    }

    /// Whether `tries` unanswered tries over `span` prove a block of a whole row.
    #[must_use]
    pub fn proves_row(&self, tries: u32, span: Duration) -> bool {
        let needed = match self.estimate.round_trip {
            _ if self.awaits_icmp => tuning::ICMP_SPAN,
            Some(_) => row_span(self.estimate.timeout()),
            None => tuning::UNKNOWN_SPAN,
        };
        span >= needed && is_improbable(tries, self.estimate.loss_rate)
    }

    /// Whether `refused` refusals and `silent` unanswered tries over `span` prove a block of one
    /// address in a row in which others answer.
    #[must_use]
    pub fn proves_address(&self, refused: u32, silent: u32, span: Duration) -> bool {
        let enough = refused + silent >= tuning::LEAST_TRIES && span >= tuning::ADDRESS_SPAN;
        enough && self.is_more_than_loss(refused, silent)
    }

    /// Whether `refused` refusals and `silent` unanswered tries over `span`, in a row of which nothing
    /// passes, are more than an accident and more than a rate limit.
    #[must_use]
    pub fn proves_refusals(&self, refused: u32, silent: u32, span: Duration) -> bool {
        let recurs = span >= tuning::REFUSAL_SPAN;
        recurs && (!self.estimate.kind_answers || self.is_more_than_loss(refused, silent))
    }

    /// Whether `tries` tries of handshakes that fell silent after a first answer prove that they are cut,
    /// in a row of which nothing passes.
    #[must_use]
    pub fn proves_stalled_row(&self, tries: u32, span: Duration) -> bool {
        let needed = match self.estimate.handshake {
            Some(_) => row_span(self.estimate.handshake_timeout()),
            None => tuning::STALL_SPAN,
        };
        self.proves_stall(tries, span, needed)
    }

    /// The same for one address among others that pass. One server of many may be slow; how quick the
    /// others are does not matter.
    #[must_use]
    pub fn proves_stalled_address(&self, tries: u32, span: Duration) -> bool {
        self.proves_stall(tries, span, tuning::STALL_SPAN)
    }

    /// The same for one server name on addresses on which another one passes.
    #[must_use]
    pub fn proves_cut_name(&self, tries: u32, span: Duration) -> bool {
        let twice = self.estimate.handshake_timeout() * tuning::ROW_TIMEOUTS;
        let needed = match self.estimate.handshake {
            Some(_) => twice.max(tuning::ADDRESS_SPAN),
            None => tuning::STALL_SPAN,
        };
        self.proves_stall(tries, span, needed)
    }

    /// How many tries an experiment gets before it is said not to pass.
    #[must_use]
    pub fn tries_of_an_experiment(&self) -> u32 {
        if !self.estimate.kind_answers {
            return tuning::FEWEST_EXPERIMENT_TRIES;
        }
        let loss = self.estimate.loss_rate;
        (tuning::FEWEST_EXPERIMENT_TRIES..tuning::MOST_EXPERIMENT_TRIES)
            .find(|tries| is_rarer_than(tuning::EXPERIMENT_CHANCE, *tries, loss))
            .unwrap_or(tuning::MOST_EXPERIMENT_TRIES)
    }

    fn may_hide_a_reset(&self, transport: Transport) -> bool {
        self.late_resets && transport == Transport::Tcp
    }

    fn proves_stall(&self, tries: u32, span: Duration, needed: Duration) -> bool {
        span >= needed && is_improbable(tries, self.estimate.flight_loss_rate())
    }

    /// A path that loses much refuses nothing, so refusals are compared with refusals as well.
    fn is_more_than_loss(&self, refused: u32, silent: u32) -> bool {
        let PathEstimate {
            loss_rate,
            refusal_rate,
            ..
        } = self.estimate;
        is_improbable(refused + silent, loss_rate) || is_improbable(refused, refusal_rate)
    }
}

/// How long a row must have been silent: two answers' time, and on a slow path one answer's and the
/// outage of a link.
fn row_span(timeout: Duration) -> Duration {
    let answers = timeout * tuning::ROW_TIMEOUTS;
    answers.clamp(tuning::ROW_SPAN, timeout + tuning::ROW_SPAN)
}

/// Whether an open address fails so many tries too rarely to be taken for open.
fn is_improbable(tries: u32, rate: f64) -> bool {
    is_rarer_than(tuning::ERROR_BOUND, tries, rate)
}

fn is_rarer_than(chance: f64, tries: u32, rate: f64) -> bool {
    f64::from(tries) * rate.ln() <= chance.ln()
}
