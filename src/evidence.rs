//! PURE: how much silence proves something.
//!
//! Silence is what loss, a slow path, a rate limit and a firewall have in common. It becomes
//! evidence only by comparison: with the round-trip times and the losses of what did answer. The
//! rule, its constants and its error probability are explained in `docs/evidence.md`.

use std::collections::HashSet;
use std::net::IpAddr;

use crate::catalog;
use crate::model::{Attempt, ContactFailure, HandshakeFailure, Outcome, Transport};

/// The chance of accusing an address that is open, per address, which the rule must stay below.
pub const ERROR_BOUND: f64 = 1e-5;

/// The loss that is assumed of a path which nothing is known of: worse than any tunnel survives.
const UNKNOWN_LOSS: f64 = 0.5;

/// The least loss that is ever assumed, however well things look.
const LEAST_LOSS: f64 = 0.05;

/// How long everything must have been silent when there is something to compare with, in seconds.
/// An outage of a wireless link is shorter.
const QUIET_SPAN: f64 = 1.0;

/// The same for one address among others that answer, where the answers may as well be the luck.
const MIXED_SPAN: f64 = 1.5;

/// The same when nothing at all answers, in seconds: six round trips of a satellite path.
const UNKNOWN_SPAN: f64 = 3.6;

/// The same when ICMP errors are seen nearby, in seconds: routers send about one a second (RFC 1812,
/// RFC 4443), so a rejected row may look silent for a while.
const ICMP_SPAN: f64 = 3.0;

/// What the answering probes tell of the path: how slow and how lossy it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Climate {
    /// A round trip that most answers stay below, in seconds; absent when nothing answers.
    pub round_trip: Option<f64>,
    /// An upper bound on the chance that one try of an open address stays unanswered.
    pub loss: f64,
    /// Whether ICMP errors of other machines were seen.
    pub icmp_seen: bool,
}

impl Climate {
    /// Reads the climate from attempts at addresses of which at least some answered.
    #[must_use]
    pub fn of<'a>(attempts: &(impl Iterator<Item = &'a Attempt> + Clone)) -> Self {
        let mut contacts: Vec<f64> = attempts
            .clone()
            .filter_map(|a| a.contact_ms)
            .map(crate::model::Millis::secs)
            .collect();
        contacts.sort_by(f64::total_cmp);
        let round_trip = contacts.get(contacts.len() * 3 / 4).copied();
        let quickest = contacts.first().copied().unwrap_or_default();
        let patience = patience(round_trip);
        let answering: HashSet<Peer> = attempts
            .clone()
            .filter(|a| a.contact_ms.is_some())
            .map(peer)
            .collect();
        let (mut lost, mut tried) = (0, 0);
        for attempt in attempts.clone().filter(|a| answering.contains(&peer(a))) {
            let unanswered = match attempt.contact_ms {
                Some(contact) => tries(attempt, contact.secs() - quickest).saturating_sub(1),
                None if was_refused(attempt) => 1,
                None => tries(attempt, attempt.elapsed_ms.secs() - patience),
            };
            lost += unanswered;
            tried += unanswered + u32::from(attempt.contact_ms.is_some());
        }
        let icmp_seen = attempts.clone().any(saw_remote_icmp);
        Self {
            round_trip,
            loss: loss_bound(lost, tried),
            icmp_seen,
        }
    }

    /// How long an answer to one packet is waited for before its absence means something, in seconds.
    #[must_use]
    pub fn patience(&self) -> f64 {
        patience(self.round_trip)
    }

    /// How many tries of the attempt's first packet have stayed unanswered for long enough.
    #[must_use]
    pub fn silent_tries(&self, attempt: &Attempt) -> u32 {
        match &attempt.outcome {
            Outcome::Unanswered {
                failure: ContactFailure::Silent,
            }
            | Outcome::Abandoned
                if attempt.contact_ms.is_none() =>
            {
                tries(attempt, attempt.elapsed_ms.secs() - self.patience())
            }
            _ => 0,
        }
    }

    /// How many retransmissions of the hello have stayed unanswered after a TCP connection, or a
    /// QUIC answer, had come about.
    #[must_use]
    pub fn hushed_tries(&self, attempt: &Attempt) -> u32 {
        let hushed = matches!(
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
            Some(since) if hushed => sends(schedule, since - self.patience()),
            _ => 0,
        }
    }

    /// The climate of handshakes: a flight has several packets, and all of them must arrive.
    #[must_use]
    pub fn of_handshakes(&self) -> Self {
        const PACKETS: i32 = 3;
        let loss = 1.0 - (1.0 - self.loss).powi(PACKETS);
        Self { loss, ..*self }
    }

    /// Whether `tries` unanswered tries over `span` seconds prove a block of a whole row.
    #[must_use]
    pub fn proves_row(&self, tries: u32, span: f64) -> bool {
        let needed = match (self.round_trip, self.icmp_seen) {
            (_, true) => ICMP_SPAN,
            (Some(_), false) => QUIET_SPAN.max(2.0 * self.patience()),
            (None, false) => UNKNOWN_SPAN,
        };
        span >= needed && self.improbable(tries)
    }

    /// Whether `tries` unanswered tries over `span` seconds prove a block of one address in a row in
    /// which others answer.
    #[must_use]
    pub fn proves_address(&self, tries: u32, span: f64) -> bool {
        const LEAST_TRIES: u32 = 5;
        tries >= LEAST_TRIES && span >= MIXED_SPAN && self.improbable(tries)
    }

    fn improbable(&self, tries: u32) -> bool {
        f64::from(tries) * self.loss.ln() <= ERROR_BOUND.ln()
    }
}

type Peer = (IpAddr, u16, Transport);

const fn peer(attempt: &Attempt) -> Peer {
    (attempt.address, attempt.port, attempt.transport)
}

/// Refused, where the same address has answered at another time: a rate limit does that too.
const fn was_refused(attempt: &Attempt) -> bool {
    use ContactFailure::{Icmp, LocalFirewall, Other, Reset};
    matches!(
        attempt.outcome,
        Outcome::Unanswered {
            failure: Reset | Icmp { .. } | LocalFirewall { .. } | Other { .. }
        }
    )
}

fn saw_remote_icmp(attempt: &Attempt) -> bool {
    let outcome = matches!(
        attempt.outcome,
        Outcome::Unanswered {
            failure: ContactFailure::Icmp { .. }
        } | Outcome::Unsecured {
            failure: HandshakeFailure::Icmp { .. }
        }
    );
    outcome
        || attempt
            .stray
            .iter()
            .any(|stray| stray.icmp.is_some() && !stray.local)
}

/// Three round trips and a little for scheduling; without any knowledge, a satellite path's.
fn patience(round_trip: Option<f64>) -> f64 {
    const UNKNOWN: f64 = 1.8;
    round_trip.map_or(UNKNOWN, |round_trip| (0.15 + 3.0 * round_trip).min(3.0))
}

/// How often the first packet had been sent `before` seconds after the start of the attempt.
fn tries(attempt: &Attempt, before: f64) -> u32 {
    let schedule = match attempt.transport {
        Transport::Tcp => catalog::SYN_SCHEDULE,
        Transport::Udp => catalog::QUIC_SCHEDULE,
    };
    sends(schedule, before)
}

fn sends(schedule: &[f64], before: f64) -> u32 {
    let count = schedule.iter().filter(|sent| **sent <= before).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The upper end of an Agresti-Coull interval (two standard errors) on the loss of one try.
fn loss_bound(lost: u32, tried: u32) -> f64 {
    if tried == 0 {
        return UNKNOWN_LOSS;
    }
    let n = f64::from(tried) + 4.0;
    let p = (f64::from(lost) + 2.0) / n;
    (p + 2.0 * (p * (1.0 - p) / n).sqrt()).clamp(LEAST_LOSS, 0.95)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Millis, Profile, Secured};

    fn attempt(transport: Transport, elapsed: f64, contact: Option<f64>) -> Attempt {
        let secured = Secured {
            version: "TLSv1_3".to_owned(),
            group: None,
            alpn: None,
            issuer: String::new(),
            preface: None,
            http_status: None,
            http_error: None,
        };
        Attempt {
            address: "198.41.192.7".parse().unwrap(),
            port: 7844,
            transport,
            sni: "probe.cftunnel.com".to_owned(),
            profile: Profile::Cloudflared,
            attempt: 1,
            started_ms: Millis::from(0.0),
            elapsed_ms: Millis::from(elapsed * 1000.0),
            contact_ms: contact.map(|c| Millis::from(c * 1000.0)),
            handshake_ms: None,
            sent: None,
            received: None,
            stray: Vec::new(),
            outcome: match contact {
                Some(_) => Outcome::Secured { secured },
                None => Outcome::Unanswered {
                    failure: ContactFailure::Silent,
                },
            },
        }
    }

    fn climate(answers: usize, contact: f64) -> Climate {
        let attempts: Vec<_> = (0..answers)
            .map(|_| attempt(Transport::Tcp, contact, Some(contact)))
            .collect();
        Climate::of(&attempts.iter())
    }

    #[test]
    fn silence_alone_needs_the_patience_of_a_satellite_path() {
        let unknown = Climate::of(&[].iter());
        assert!(!unknown.proves_row(1000, 3.0));
        assert!(unknown.proves_row(17, 3.7));
        assert!(
            !unknown.proves_row(16, 3.7),
            "0.5^16 is more than the bound"
        );
    }

    #[test]
    fn answers_nearby_make_silence_speak_sooner() {
        let near = climate(20, 0.02);
        assert!(near.proves_row(20, 1.0));
        assert!(!near.proves_row(20, 0.9));
        assert!(!near.proves_row(3, 5.0));
    }

    #[test]
    fn one_silent_address_among_many_needs_tries_of_its_own() {
        let near = climate(40, 0.02);
        assert!(!near.proves_address(4, 5.0));
        assert!(near.proves_address(6, 1.6));
        assert!(!near.proves_address(6, 1.4));
    }

    #[test]
    fn a_rate_limit_shows_as_loss_and_accuses_nobody() {
        let mut attempts: Vec<_> = (0..10)
            .map(|_| attempt(Transport::Tcp, 0.02, Some(0.02)))
            .collect();
        attempts.extend((0..20).map(|_| attempt(Transport::Tcp, 0.5, None)));
        let limited = Climate::of(&attempts.iter());
        assert!(limited.loss > 0.6, "{}", limited.loss);
        assert!(!limited.proves_address(10, 9.0));
    }

    #[test]
    fn a_retransmitted_syn_counts_as_loss() {
        let quick = attempt(Transport::Tcp, 0.02, Some(0.02));
        let slow = attempt(Transport::Tcp, 1.02, Some(1.02));
        let lossy = Climate::of(&[quick.clone(), slow].iter());
        let clean = Climate::of(&[quick.clone(), quick].iter());
        assert!(lossy.loss > clean.loss);
    }

    #[test]
    fn a_slow_path_is_waited_for() {
        let slow = climate(20, 0.6);
        assert!(slow.patience() > 1.8);
        assert_eq!(slow.silent_tries(&attempt(Transport::Udp, 1.5, None)), 0);
        let near = climate(20, 0.02);
        assert_eq!(near.silent_tries(&attempt(Transport::Udp, 1.5, None)), 3);
    }

    proptest! {
        #[test]
        fn more_loss_never_makes_silence_more_telling(
            lost in 0_u32..200, more in 0_u32..200, answered in 1_u32..200, tries in 0_u32..100,
        ) {
            let bound = |lost| loss_bound(lost, lost + answered);
            prop_assert!(bound(lost + more) >= bound(lost) - 1e-12);
            let proves = |loss| Climate { round_trip: Some(0.02), loss, icmp_seen: false }
                .proves_address(tries, 10.0);
            prop_assert!(proves(bound(lost)) || !proves(bound(lost + more)));
        }

        #[test]
        fn the_error_bound_holds(lost in 0_u32..100, answered in 0_u32..200, tries in 0_u32..100) {
            let loss = loss_bound(lost, lost + answered);
            let climate = Climate { round_trip: Some(0.02), loss, icmp_seen: false };
            if climate.proves_address(tries, 10.0) || climate.proves_row(tries, 10.0) {
                let n = i32::try_from(tries).unwrap();
                prop_assert!(loss.powi(n) <= ERROR_BOUND * 1.000_001);
            }
        }
    }
}
