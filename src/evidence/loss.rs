//! How lossy a path is, and how often it refuses, by what answers at some time.

use std::collections::HashSet;
use std::time::Duration;

use super::flows::{Peer, first_packet_schedule, overdue, peer, was_cut, was_refused};
use super::tuning;
use crate::model::{Attempt, Transport};

/// Upper bounds on what befalls a flow to an open address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rates {
    /// The chance that a try stays unanswered.
    pub(super) loss: f64,
    /// The chance that the flow is refused or cut.
    pub(super) refusal: f64,
}

impl Rates {
    /// The rates among attempts at what answered at some time, an address with one server name: a name
    /// that never passes may be filtered, which is not loss. (TCP answers before it sees a name,
    /// QUIC may answer half of one.) Refusals and cut handshakes of what passes at other times count as
    /// loss as well, because a rate limit does that.
    pub(super) fn of<'a>(
        attempts: &(impl Iterator<Item = &'a Attempt> + Clone),
        quickest: Duration,
        timeout: Duration,
    ) -> Self {
        let answering = Answering::of(attempts);
        let (mut lost, mut tried) = (0, 0);
        let (mut refusals, mut flows) = (0, 0);
        for attempt in attempts.clone().filter(|a| answering.includes(a)) {
            let unanswered = match attempt.contact() {
                Some(_) => lost_tries(attempt, quickest),
                None if was_refused(attempt) => 1,
                None => tries_before(attempt, attempt.elapsed(), timeout),
            };
            let cut = was_cut(attempt) && answering.passing.contains(&peer(attempt));
            lost += unanswered + u32::from(cut);
            tried += unanswered + u32::from(attempt.contact_ms.is_some());
            let refused = was_refused(attempt) || cut;
            refusals += u32::from(refused);
            flows += u32::from(refused || attempt.contact_ms.is_some());
        }
        Self {
            loss: loss_bound(lost, tried),
            refusal: loss_bound(refusals, flows),
        }
    }
}

/// What answers at some time.
struct Answering<'a> {
    peers: HashSet<Peer<'a>>,
    passing: HashSet<Peer<'a>>,
    quic_passes: bool,
}

impl<'a> Answering<'a> {
    fn of(attempts: &(impl Iterator<Item = &'a Attempt> + Clone)) -> Self {
        let peers = |which: fn(&Attempt) -> bool| {
            let chosen = attempts.clone().filter(move |a| which(a));
            chosen.map(peer).collect::<HashSet<_>>()
        };
        let passing = peers(Attempt::passed);
        Self {
            peers: peers(|a| a.contact_ms.is_some()),
            quic_passes: passing.iter().any(|peer| peer.2 == Transport::Udp),
            passing,
        }
    }

    fn includes(&self, attempt: &Attempt) -> bool {
        match attempt.transport {
            Transport::Udp if self.quic_passes => self.passing.contains(&peer(attempt)),
            Transport::Udp | Transport::Tcp => self.peers.contains(&peer(attempt)),
        }
    }
}

/// How many tries of an attempt went unanswered before the one that was answered.
fn lost_tries(attempt: &Attempt, quickest: Duration) -> u32 {
    let contact = attempt.contact().unwrap_or_default();
    let by_time = tries_before(attempt, contact, quickest).saturating_sub(1);
    by_time.min(sent_again(attempt))
}

/// How many tries of the first packet had been sent at least `earlier` before that time of the attempt.
fn tries_before(attempt: &Attempt, time: Duration, earlier: Duration) -> u32 {
    overdue(first_packet_schedule(attempt.transport), time, earlier)
}

/// How often a QUIC attempt can have sent its hello again at most, by the datagrams that it sent. A
/// machine that is busy with many handshakes looks at an answer late, which is no loss.
fn sent_again(attempt: &Attempt) -> u32 {
    const HELLO: u32 = 2;
    const REST: u32 = 1;
    let sent = attempt.sent.map(|sent| sent.saturating_sub(HELLO + REST));
    sent.map_or(u32::MAX, |sent| sent / HELLO)
}

/// The upper end of an Agresti-Coull interval on the loss of one try.
pub(crate) fn loss_bound(lost: u32, tried: u32) -> f64 {
    const Z: f64 = tuning::STANDARD_ERRORS;
    if tried == 0 {
        return tuning::UNKNOWN_LOSS;
    }
    let n = f64::from(tried) + Z * Z;
    let p = (f64::from(lost) + Z * Z / 2.0) / n;
    (p + Z * (p * (1.0 - p) / n).sqrt()).clamp(tuning::LEAST_LOSS, tuning::MOST_LOSS)
}
