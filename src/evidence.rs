//! PURE: how much silence proves something.
//!
//! Silence is what loss, a slow path, a rate limit and a firewall have in common. It becomes
//! evidence only by comparison: with the round-trip times and the losses of what did answer. The
//! rule, its constants and its error probability are explained in `docs/evidence.md`.

use std::collections::HashSet;
use std::net::IpAddr;

use crate::catalog;
use crate::model::{Attempt, ContactFailure, HandshakeFailure, Millis, Outcome, Transport};

/// The chance of accusing an address that is open, per address, which the rule must stay below.
pub const ERROR_BOUND: f64 = 1e-5;

/// The loss that is assumed of a path which nothing is known of: worse than any tunnel survives.
const UNKNOWN_LOSS: f64 = 0.5;

/// The least loss that is ever assumed, however well things look.
const LEAST_LOSS: f64 = 0.05;

/// How long a row must have been silent when there is something to compare with, in seconds. An
/// outage of a wireless link is shorter.
const QUIET_SPAN: f64 = 1.5;

/// The same for one address among others that answer, where the answers may as well be the luck.
const MIXED_SPAN: f64 = 2.0;

/// The same when nothing at all answers, in seconds: six round trips of a satellite path.
const UNKNOWN_SPAN: f64 = 3.6;

/// The same when ICMP errors are seen nearby, in seconds: routers send about one a second (RFC 1812,
/// RFC 4443), so a rejected row may look silent for a while.
const ICMP_SPAN: f64 = 4.5;

/// How many tries of one address among others that pass are too few, however lossless the path.
const LEAST_TRIES: u32 = 5;

/// How long a flow that has answered once may keep its handshake waiting when no handshake of its
/// kind has completed: the other side may be slow, or something nearer may have answered for it.
const STALL_SPAN: f64 = 5.0;

/// Over how long refusals must recur before they are no accident, in seconds.
const REFUSAL_SPAN: f64 = 1.0;

/// What the answering probes tell of the path: how slow and how lossy it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PathEstimate {
    /// A time that most answers to a first packet stay below, in seconds; absent when nothing
    /// comparable answers.
    pub round_trip: Option<f64>,
    /// A time that most handshakes stay below once the other side has answered, in seconds; absent
    /// when none of the kind has completed.
    pub handshake: Option<f64>,
    /// Since when something comparable is known to be answered, in seconds of the run. Silence from
    /// before proves nothing: the whole path may have been down.
    pub since: f64,
    /// From when on failures of any kind count, in seconds of the run: before, new flows met a limit.
    pub resume_at: f64,
    /// Up to when silence counts, in seconds of the run: the start of the last new flow of the kind
    /// that passed, where a limit on new flows is suspected.
    pub until: f64,
    /// What fresh flows tell, where any flow of the service has passed.
    pub fresh: Option<ControlResult>,
    /// An upper bound on the chance that one try of an open address stays unanswered.
    pub loss: f64,
    /// An upper bound on the chance that a flow to an open address is refused or cut.
    pub refusing: f64,
    /// Whether ICMP errors of other machines were seen.
    pub icmp_seen: bool,
    /// Whether flows of the same kind, to the same port, are answered somewhere.
    pub kin_answer: bool,
    /// How much later than it comes this host's system tells that a connection was reset, in seconds.
    pub reset_delay: f64,
}

/// What fresh flows tell of what passes: it may have stopped passing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ControlResult {
    /// Since when several new flows have passed, in seconds of the run. Failures from after it prove
    /// nothing yet.
    pub until: f64,
    /// An upper bound on the chance that a fresh flow to what has passed fails, where one has failed.
    pub loss: Option<f64>,
}

impl PathEstimate {
    /// What is known when nothing has answered.
    pub const UNKNOWN: Self = Self {
        round_trip: None,
        handshake: None,
        since: 0.0,
        resume_at: 0.0,
        until: f64::INFINITY,
        fresh: None,
        loss: UNKNOWN_LOSS,
        refusing: UNKNOWN_LOSS,
        icmp_seen: false,
        kin_answer: false,
        reset_delay: 0.0,
    };

    /// Estimates the path from attempts at addresses of which at least some answered.
    #[must_use]
    pub fn of<'a>(attempts: &(impl Iterator<Item = &'a Attempt> + Clone)) -> Self {
        let contacts = sorted(
            attempts
                .clone()
                .filter_map(|a| a.contact_ms)
                .map(Millis::secs),
        );
        let handshakes = sorted(attempts.clone().filter_map(handshake_after_contact));
        let round_trip = upper_quartile(&contacts);
        let quickest = contacts.first().copied().unwrap_or_default();
        let answered = attempts.clone().filter_map(|a| answered_try(a, quickest));
        let (loss, refusing) = loss_among(attempts, quickest, timeout(round_trip));
        Self {
            round_trip,
            handshake: upper_quartile(&handshakes),
            since: answered.reduce(f64::min).unwrap_or_default(),
            loss,
            refusing,
            icmp_seen: attempts.clone().any(saw_remote_icmp),
            ..Self::UNKNOWN
        }
    }

    /// The estimate on a system that reports resets late, or at once.
    #[must_use]
    pub(crate) fn with_late_resets(self, late: bool) -> Self {
        Self {
            reset_delay: if late { LATE_RESET } else { 0.0 },
            ..self
        }
    }

    /// The estimate with which only failures from before fresh flows that passed count, and only as far
    /// as fresh flows to what has passed do pass.
    #[must_use]
    pub(crate) fn confirmed_by_controls(self) -> Self {
        let Some(fresh) = self.fresh else { return self };
        Self {
            until: self.until.min(fresh.until),
            loss: self.loss.max(fresh.loss.unwrap_or_default()),
            refusing: self.refusing.max(fresh.loss.unwrap_or_default()),
            ..self
        }
    }

    /// Whether a refusal comes from after the last moment up to which failures count.
    #[must_use]
    pub(crate) fn is_too_late(&self, refused: &Attempt) -> bool {
        refused.started_ms.secs() > self.until + SLACK
    }

    /// How long an answer to one packet is waited for before its absence means something, in seconds.
    #[must_use]
    pub fn timeout(&self) -> f64 {
        timeout(self.round_trip)
    }

    /// How long a flow without any answer is waited for before it counts as silent, in seconds: a reset
    /// that the system keeps to itself is no silence.
    #[must_use]
    pub fn silence_of(&self, transport: Transport) -> f64 {
        /// Each of the tries that come before a reset is told costs a round trip more than the timeout.
        const ROUND_TRIPS: f64 = 2.0;
        match transport {
            Transport::Tcp if self.reset_delay > 0.0 => {
                let trips = ROUND_TRIPS * self.round_trip.unwrap_or_default();
                self.timeout() + self.reset_delay + trips
            }
            Transport::Tcp | Transport::Udp => self.timeout(),
        }
    }

    /// How many tries of the attempt's first packet have stayed unanswered for long enough, of those
    /// that were sent when something comparable is known to have been answered.
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
        let heard_by = attempt.elapsed_ms.secs() - self.silence_of(attempt.transport);
        let before = self.since - SLACK - attempt.started_ms.secs();
        let after = self.until + SLACK - attempt.started_ms.secs();
        let schedule = match attempt.transport {
            Transport::Tcp if self.reset_delay > 0.0 => catalog::LATEST_SYN_SCHEDULE,
            transport => first_packet_schedule(transport),
        };
        let tries = schedule
            .iter()
            .filter(|sent| **sent >= before && **sent <= heard_by.min(after));
        u32::try_from(tries.count()).unwrap_or(u32::MAX)
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
        let since = attempt
            .contact_ms
            .map(|c| attempt.elapsed_ms.secs() - c.secs());
        // Once a flow is under way TCP knows its round trip; a QUIC server may not yet, and then sends
        // again after a second, twice that, and so on (RFC 9002, section 6.2.2).
        let schedule = match attempt.transport {
            Transport::Tcp => catalog::QUIC_SCHEDULE,
            Transport::Udp => catalog::SYN_SCHEDULE,
        };
        match since {
            Some(since) if stalled => sends(schedule, since - timeout(self.handshake)),
            _ => 0,
        }
    }

    /// How many tries of these attempts went unanswered, before a first answer or after one.
    #[must_use]
    pub fn unanswered_tries<'a>(&self, attempts: impl Iterator<Item = &'a Attempt>) -> u32 {
        attempts
            .map(|a| self.silent_tries(a) + self.stalled_tries(a))
            .sum()
    }

    /// Seconds from the first start to the last moment that is accounted for, as far as something
    /// comparable is known to have been answered in them.
    #[must_use]
    pub fn span<'a>(&self, attempts: impl Iterator<Item = &'a Attempt> + Clone) -> f64 {
        let starts = attempts.clone().map(|a| a.started_ms.secs());
        let ends = attempts.map(Attempt::ended);
        let first = starts.fold(f64::INFINITY, f64::min).max(self.since);
        let last = ends.fold(0.0, f64::max).min(self.until + self.timeout());
        (last - first).max(0.0)
    }

    /// Whether `tries` unanswered tries over `span` seconds prove a block of a whole row.
    #[must_use]
    pub fn proves_row(&self, tries: u32, span: f64) -> bool {
        let needed = match (self.round_trip, self.icmp_seen) {
            (_, true) => ICMP_SPAN,
            (Some(_), false) => quiet_span(self.timeout()),
            (None, false) => UNKNOWN_SPAN,
        };
        span >= needed && self.improbable(tries)
    }

    /// Whether `refused` refusals and `silent` unanswered tries over `span` seconds prove a block of one
    /// address in a row in which others answer.
    #[must_use]
    pub fn proves_address(&self, refused: u32, silent: u32, span: f64) -> bool {
        let enough = refused + silent >= LEAST_TRIES && span >= MIXED_SPAN;
        enough && self.no_accident(refused, silent)
    }

    /// Whether `tries` tries of a handshake that fell silent after a first answer prove that it is
    /// cut, on one address among others that pass or in a row of which nothing does.
    #[must_use]
    pub fn proves_stall(&self, tries: u32, span: f64, others_pass: bool) -> bool {
        /// A flight of a handshake has several packets, and all of them must arrive.
        const PACKETS: i32 = 3;
        let needed = match self.handshake {
            Some(_) if others_pass => MIXED_SPAN.max(2.0 * timeout(self.handshake)),
            Some(_) => quiet_span(timeout(self.handshake)),
            None => STALL_SPAN,
        };
        let loss = 1.0 - (1.0 - self.loss).powi(PACKETS);
        span >= needed && Self { loss, ..*self }.improbable(tries)
    }

    /// Whether `refused` refusals and `silent` unanswered tries of a row of which nothing passes, over
    /// `span` seconds, are no accident and no rate limit.
    #[must_use]
    pub fn proves_refusals(&self, refused: u32, silent: u32, span: f64) -> bool {
        span >= REFUSAL_SPAN && (!self.kin_answer || self.no_accident(refused, silent))
    }

    /// A path that loses much refuses nothing, so refusals are held against refusals as well.
    fn no_accident(&self, refused: u32, silent: u32) -> bool {
        let as_refusals = Self {
            loss: self.refusing,
            ..*self
        };
        self.improbable(refused + silent) || as_refusals.improbable(refused)
    }

    /// How many tries an experiment gets before it is said not to pass. It decides on no accusation,
    /// only on its wording, so a chance of one in a thousand is little enough, and where nothing of its
    /// kind answers at all the tries of the first second have to do.
    #[must_use]
    pub fn enough_for_an_experiment(&self) -> u32 {
        const CHANCE: f64 = 1e-3;
        const FEW: u32 = 3;
        const MOST: u32 = 5;
        if !self.kin_answer {
            return FEW;
        }
        (FEW..MOST)
            .find(|tries| f64::from(*tries) * self.loss.ln() <= CHANCE.ln())
            .unwrap_or(MOST)
    }

    fn improbable(&self, tries: u32) -> bool {
        f64::from(tries) * self.loss.ln() <= ERROR_BOUND.ln()
    }
}

/// How long a row must have been silent: two answers' time, and on a slow path one answer's and the
/// outage of a link.
fn quiet_span(timeout: f64) -> f64 {
    // A saved report may hold answers that came before their packets, and so a timeout below zero.
    let timeout = timeout.max(0.0);
    (2.0 * timeout).clamp(QUIET_SPAN, timeout + QUIET_SPAN)
}

/// How long Windows keeps a reset to itself, in seconds: it tries the connection again, half a second
/// apart, before it tells (Microsoft's article 175523); about two seconds in all.
const LATE_RESET: f64 = 2.2;

/// How much earlier than an answered packet another may have been sent and still count, in seconds.
const SLACK: f64 = 0.05;

/// When the packet that was answered had been sent, in seconds of the run.
fn answered_try(attempt: &Attempt, quickest: f64) -> Option<f64> {
    let contact = attempt.contact_ms?.secs();
    let schedule = first_packet_schedule(attempt.transport);
    let sent = schedule
        .iter()
        .rev()
        .find(|sent| **sent <= contact - quickest);
    Some(attempt.started_ms.secs() + sent.copied().unwrap_or_default())
}

/// How long a handshake took once the other side had answered, in seconds.
pub(crate) fn handshake_after_contact(attempt: &Attempt) -> Option<f64> {
    Some(attempt.handshake_ms?.secs() - attempt.contact_ms?.secs())
}

pub(crate) fn sorted(times: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut times: Vec<_> = times.collect();
    times.sort_by(f64::total_cmp);
    times
}

pub(crate) fn upper_quartile(sorted: &[f64]) -> Option<f64> {
    sorted.get(sorted.len() * 3 / 4).copied()
}

/// The loss among attempts at what answered at some time, an address with one server name: a name
/// that never passes may be filtered, and tells nothing of loss. (TCP answers before it sees a name,
/// QUIC may answer half of one.) Refusals and cut handshakes of what passes at other times count as
/// well, because a rate limit does that; how many of the flows these are is told beside it.
fn loss_among<'a>(
    attempts: &(impl Iterator<Item = &'a Attempt> + Clone),
    quickest: f64,
    timeout: f64,
) -> (f64, f64) {
    let peers = |which: fn(&Attempt) -> bool| {
        let chosen = attempts.clone().filter(move |a| which(a));
        chosen.map(peer).collect::<HashSet<_>>()
    };
    let answering = peers(|a| a.contact_ms.is_some());
    let passing = peers(Attempt::passed);
    let quic_passes = passing.iter().any(|peer| peer.2 == Transport::Udp);
    let comparable = |attempt: &&Attempt| match attempt.transport {
        Transport::Udp if quic_passes => passing.contains(&peer(attempt)),
        Transport::Udp | Transport::Tcp => answering.contains(&peer(attempt)),
    };
    let (mut lost, mut tried) = (0, 0);
    let (mut refusals, mut flows) = (0, 0);
    for attempt in attempts.clone().filter(comparable) {
        let unanswered = match attempt.contact_ms {
            Some(_) => lost_tries(attempt, quickest),
            None if was_refused(attempt) => 1,
            None => tries(attempt, attempt.elapsed_ms.secs() - timeout),
        };
        let cut = was_cut(attempt) && passing.contains(&peer(attempt));
        lost += unanswered + u32::from(cut);
        tried += unanswered + u32::from(attempt.contact_ms.is_some());
        let refused = was_refused(attempt) || cut;
        refusals += u32::from(refused);
        flows += u32::from(refused || attempt.contact_ms.is_some());
    }
    (loss_bound(lost, tried), loss_bound(refusals, flows))
}

/// How many tries of an attempt went unanswered before the one that was answered.
pub(crate) fn lost_tries(attempt: &Attempt, quickest: f64) -> u32 {
    let contact = attempt.contact_ms.map_or(0.0, Millis::secs);
    let by_time = tries(attempt, contact - quickest).saturating_sub(1);
    by_time.min(sent_again(attempt))
}

/// How often a QUIC attempt can have sent its hello again at most, by the datagrams that it sent. A
/// machine that is busy with many handshakes looks at an answer late, which is no loss.
fn sent_again(attempt: &Attempt) -> u32 {
    const HELLO: u32 = 2;
    const REST: u32 = 1;
    let sent = attempt.sent.map(|sent| sent.saturating_sub(HELLO + REST));
    sent.map_or(u32::MAX, |sent| sent / HELLO)
}

const fn was_cut(attempt: &Attempt) -> bool {
    use HandshakeFailure::{Alert, Closed, Refused, Reset};
    matches!(
        attempt.outcome,
        Outcome::Unsecured {
            failure: Reset | Closed | Alert { .. } | Refused { .. }
        }
    )
}

/// What a flow goes to: address, port, transport and server name.
pub(crate) type Peer<'a> = (IpAddr, u16, Transport, &'a str);

pub(crate) fn peer(attempt: &Attempt) -> Peer<'_> {
    let Attempt {
        address,
        port,
        transport,
        sni,
        ..
    } = attempt;
    (*address, *port, *transport, sni)
}

/// Refused, where the same address has answered at another time: a rate limit does that too.
pub(crate) const fn was_refused(attempt: &Attempt) -> bool {
    use ContactFailure::{Icmp, LocalFirewall, Other, Reset};
    matches!(
        attempt.outcome,
        Outcome::Unanswered {
            failure: Reset | Icmp { .. } | LocalFirewall { .. } | Other { .. }
        }
    )
}

fn saw_remote_icmp(attempt: &Attempt) -> bool {
    let by_outcome = match &attempt.outcome {
        Outcome::Unanswered {
            failure: ContactFailure::Icmp { icmp },
        } => Some(icmp),
        _ => None,
    };
    // Too big is no rejection: what is smaller passes.
    by_outcome.is_some_and(|icmp| !icmp.is_too_big()) || attempt.met_rejection()
}

/// Three round trips and a little for scheduling; without any knowledge, a satellite path's.
fn timeout(round_trip: Option<f64>) -> f64 {
    const UNKNOWN: f64 = 1.8;
    round_trip.map_or(UNKNOWN, |round_trip| (0.15 + 3.0 * round_trip).min(3.0))
}

/// How often the first packet had been sent `before` seconds after the start of the attempt.
fn tries(attempt: &Attempt, before: f64) -> u32 {
    sends(first_packet_schedule(attempt.transport), before)
}

/// When the first packet of a flow is sent, and sent again, in seconds since its start.
pub(crate) const fn first_packet_schedule(transport: Transport) -> &'static [f64] {
    match transport {
        Transport::Tcp => catalog::SYN_SCHEDULE,
        Transport::Udp => catalog::QUIC_SCHEDULE,
    }
}

fn sends(schedule: &[f64], before: f64) -> u32 {
    let count = schedule.iter().filter(|sent| **sent <= before).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The upper end of an Agresti-Coull interval (two standard errors) on the loss of one try.
pub(crate) fn loss_bound(lost: u32, tried: u32) -> f64 {
    if tried == 0 {
        return UNKNOWN_LOSS;
    }
    let n = f64::from(tried) + 4.0;
    let p = (f64::from(lost) + 2.0) / n;
    (p + 2.0 * (p * (1.0 - p) / n).sqrt()).clamp(LEAST_LOSS, 0.95)
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
