//! PURE: flow by flow, where new flows to the edge may meet a limit.
//!
//! ```text
//! until flows resume                             nothing new; what is under way unanswered is given up before
//!                                          it would be sent again
//! after it                                 one new flow at a time, a gap apart
//! a flow has failed since the last control a control: a fresh flow to an address that has passed
//! the last control has failed              another control, twice as late
//! otherwise                                rows without a pass first, then what was tried least
//! ```
//! So a failure stands between controls, and what the limit does shows at the controls. Flows that
//! pass bring the next ones closer.

use std::net::IpAddr;
use std::time::Duration;

use crate::diagnose::{AddressState, FirstSuccesses, RateLimit, RateLimits, RowVerdict};
use crate::evidence::{SilenceTest, first_packet_schedule};
use crate::model::{Attempt, Moment, Role, Service, Transport};
use crate::targets::Target;

use super::{Launch, Seen, controls};

/// Between new flows at first, and the bounds on that.
const GAP: Duration = Duration::from_millis(250);
const LEAST_GAP: Duration = Duration::from_millis(30);
const MOST_GAP: Duration = Duration::from_secs(2);

/// What a flow that passes makes of the gap, and a control that fails.
const QUICKER: f64 = 0.75;
const SLOWER: f64 = 2.0;

/// New flows that may be under way unanswered.
const IN_FLIGHT: usize = 6;

/// A flow that a row wants.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    /// The number of the row.
    pub(super) row: usize,
    /// How much hangs on it.
    pub(super) urgency: Priority,
    /// The flow.
    pub(super) start: Launch,
}

/// How much hangs on a flow, most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Priority {
    /// Nothing passes in its row yet.
    Row,
    /// Its server name passes nowhere in its row, and another one passes at its address.
    Name,
    /// One address of several.
    Address,
}

impl Priority {
    /// How much hangs on the flow in a row of which this is known.
    pub(super) fn of(start: &Launch, verdict: &RowVerdict) -> Self {
        let passes = |(address, state): &(IpAddr, AddressState)| {
            *address == start.address && *state == AddressState::Reachable
        };
        match (verdict.tunnel_proven, verdict.probe_passes, start.role) {
            (false, false, _) => Self::Row,
            (true, false, Role::Probe) if verdict.addresses.iter().any(passes) => Self::Name,
            (false, true, Role::Tunnel) => Self::Name,
            _ => Self::Address,
        }
    }
}

/// Of what is wanted, what may start now under a rate limit: one flow, a control, or nothing. `seen` are
/// all attempts of the run, `passes` what has passed among them.
pub(super) fn next_flow(
    rate_limits: &RateLimits,
    targets: &[Target],
    seen: &[Seen<'_>],
    passes: &FirstSuccesses<'_>,
    wanted: &[&Candidate],
    now: Moment,
) -> Option<(usize, Launch)> {
    let paced = Paced::of(rate_limits, seen, passes);
    if now < paced.next || paced.in_flight >= IN_FLIGHT {
        return None;
    }
    match paced.control {
        Control::UnderWay => None,
        Control::Due(service) => controls::flows(service, None, targets, seen)
            .first()
            .copied(),
        Control::Idle => {
            let least = wanted.iter().min_by_key(|w| (w.urgency, w.start.number))?;
            Some((least.row, least.start))
        }
    }
}

/// Whether an attempt that runs has been waited for long enough under a rate limit: a fresh flow tells
/// more than the next retransmission of an old one, and costs no more.
pub(super) fn is_in_vain(attempt: &Attempt, rate_limit: &RateLimit, test: &SilenceTest) -> bool {
    let second_try = match attempt.transport {
        Transport::Tcp => Duration::from_millis(50),
        Transport::Udp => Duration::from_millis(250),
    };
    let waited = if attempt.started() < rate_limit.shows {
        attempt.ended() >= last_call(attempt, rate_limit)
    } else {
        attempt.elapsed() >= test.timeout(attempt.transport) + second_try
    };
    attempt.contact_ms.is_none() && waited
}

/// Until when a flow that was under way when the limit showed is waited for. On a machine that was busy its answer may lie there unread, which is no limit; until it is sent again the
/// waiting costs no packet, and when flows resume the way must be free.
fn last_call(attempt: &Attempt, rate_limit: &RateLimit) -> Moment {
    /// Less than this before a packet it is too late to stop it.
    const HAIR: Duration = Duration::from_millis(30);
    let schedule = first_packet_schedule(attempt.transport).iter();
    let sent_again = schedule.map(|sent| attempt.started() + sent.saturating_sub(HAIR));
    let next = sent_again.filter(|at| *at >= rate_limit.shows).min();
    next.map_or(rate_limit.resume_at, |next| next.min(rate_limit.resume_at))
}

/// How the flows since they resumed have fared.
struct Paced {
    in_flight: usize,
    /// When the next one may start.
    next: Moment,
    control: Control,
}

/// Whether a fresh flow to an address that has passed is wanted.
enum Control {
    Idle,
    /// To an address of this service, if one passes.
    Due(Service),
    UnderWay,
}

impl Paced {
    fn of(rate_limits: &RateLimits, seen: &[Seen<'_>], passes: &FirstSuccesses<'_>) -> Self {
        let limited = |seen: &&Seen<'_>| {
            let rate_limit = rate_limits.on(seen.attempt.service());
            rate_limit.is_some_and(|limit| seen.attempt.started() >= limit.resume_at)
        };
        let mut flows: Vec<_> = seen.iter().filter(limited).collect();
        flows.sort_by_key(|seen| seen.attempt.started());
        let (mut gap, mut control, mut in_flight) = (GAP, Control::Idle, 0);
        for flow in &flows {
            let is_control = passes.is_control(flow.attempt);
            let answered = flow.attempt.contact_ms.is_some();
            match (answered, flow.running) {
                (true, _) => {
                    gap = gap.mul_f64(QUICKER).max(LEAST_GAP);
                    if is_control {
                        control = Control::Idle;
                    }
                }
                (false, true) if is_control => {
                    in_flight += 1;
                    control = Control::UnderWay;
                }
                (false, true) => in_flight += 1,
                (false, false) => {
                    if is_control {
                        gap = gap.mul_f64(SLOWER).min(MOST_GAP);
                    }
                    control = Control::Due(flow.attempt.service());
                }
            }
        }
        let limits = [Service::Quic, Service::Http2].map(|service| rate_limits.on(service));
        let resumes = limits.into_iter().flatten().map(|limit| limit.resume_at);
        let resume_at = resumes.max().unwrap_or_default();
        let last = flows.last().map(|flow| flow.attempt.started());
        Self {
            in_flight,
            next: last.map_or(resume_at, |last| (last + gap).max(resume_at)),
            control,
        }
    }
}
