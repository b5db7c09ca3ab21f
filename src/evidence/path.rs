//! What was measured of a path.

use std::time::Duration;

use super::flows::{saw_remote_icmp, sorted, upper_quartile};
use super::loss::Rates;
use super::tuning;
use crate::model::{Attempt, Millis};

/// What the answering probes show of the path: how slow and how lossy it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PathEstimate {
    /// A time that most answers to a first packet stay below; absent when nothing comparable answers.
    pub round_trip: Option<Duration>,
    /// A time that most handshakes stay below once the other side has answered; absent when none of the
    /// kind has completed.
    pub handshake: Option<Duration>,
    /// An upper bound on the chance that one try of an open address stays unanswered.
    pub loss_rate: f64,
    /// An upper bound on the chance that a flow to an open address is refused or cut.
    pub refusal_rate: f64,
    /// Whether ICMP errors of other machines were seen.
    pub icmp_seen: bool,
    /// Whether flows of the same kind, to the same port, are answered somewhere.
    pub kind_answers: bool,
}

impl PathEstimate {
    /// What is known when nothing has answered.
    pub const UNKNOWN: Self = Self {
        round_trip: None,
        handshake: None,
        loss_rate: tuning::UNKNOWN_LOSS,
        refusal_rate: tuning::UNKNOWN_LOSS,
        icmp_seen: false,
        kind_answers: false,
    };

    /// Estimates the path from attempts of one kind, at addresses of which at least some answered.
    #[must_use]
    pub fn of<'a>(attempts: &(impl Iterator<Item = &'a Attempt> + Clone)) -> Self {
        let contacts = attempts.clone().filter_map(|a| a.contact_ms);
        let contacts = sorted(contacts.map(Millis::duration));
        let handshakes = attempts
            .clone()
            .filter_map(Attempt::handshake_after_contact);
        let round_trip = upper_quartile(&contacts);
        let quickest = contacts.first().copied().unwrap_or_default();
        let rates = Rates::of(attempts, quickest, timeout(round_trip));
        Self {
            round_trip,
            handshake: upper_quartile(&sorted(handshakes)),
            loss_rate: rates.loss,
            refusal_rate: rates.refusal,
            icmp_seen: attempts.clone().any(saw_remote_icmp),
            kind_answers: round_trip.is_some(),
        }
    }

    /// How long an answer to one packet is waited for before its absence means something.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        timeout(self.round_trip)
    }

    /// The same for what follows the first answer of a handshake.
    #[must_use]
    pub fn handshake_timeout(&self) -> Duration {
        timeout(self.handshake)
    }

    /// The chance that a flight of a handshake, which has several packets, does not arrive in full.
    pub(super) fn flight_loss_rate(&self) -> f64 {
        1.0 - (1.0 - self.loss_rate).powi(tuning::HANDSHAKE_PACKETS)
    }

    /// The estimate of a path on which fresh flows to what has passed fail so often.
    pub(crate) fn losing_at_least(self, rate: f64) -> Self {
        Self {
            loss_rate: self.loss_rate.max(rate),
            refusal_rate: self.refusal_rate.max(rate),
            ..self
        }
    }

    /// The estimate, with the time of a handshake that was measured otherwise if it has none.
    pub(crate) fn or_handshake(self, handshake: Option<Duration>) -> Self {
        Self {
            handshake: self.handshake.or(handshake),
            ..self
        }
    }
}

fn timeout(answer: Option<Duration>) -> Duration {
    answer.map_or(tuning::UNKNOWN_TIMEOUT, |answer| {
        let likely = tuning::TIMEOUT_MARGIN + answer * tuning::TIMEOUT_ROUND_TRIPS;
        likely.min(tuning::LONGEST_TIMEOUT)
    })
}
