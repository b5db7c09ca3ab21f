//! PURE: what the experiments of a row prove.
//!
//! ```text
//! differs from cloudflared's first flight in      where it passes and the tunnel's does not
//!   the size of its packets (UDP)                   mtu
//!   the size of its packets (TCP)                   large_hello_dropped: a path that loses what is
//!                                                   large, or a filter; `detail` says which
//!   the size of its hello                           large_hello_dropped
//!   the server name                                 sni_filtered
//!   the QUIC version, answered by Version           quic_filtered
//!   Negotiation
//!   nothing of the above passes                     what silence or the cut by itself proves
//! ```
//! With `--post-quantum` a small classical hello that passes where the tunnel's meets an alert proves
//! that the key exchange is refused. No cause has that name: it is `unknown`, with a finding of its own.
//! What stands higher explains more and wins. An experiment tells how a row is blocked, never
//! whether: that takes failures of the tunnel's own flight after the experiment has passed, because
//! a path that has just come back lets everything pass.

use std::net::IpAddr;

use crate::evidence::{SilenceTest, tuning};
use crate::model::{Attempt, Cause, HandshakeFailure, Outcome, Profile, Role, Transport};
use crate::targets::Target;

/// The experiments for a transport, those first that explain most.
#[must_use]
pub const fn experiments(transport: Transport) -> &'static [Profile] {
    match transport {
        Transport::Tcp => &[
            Profile::SmallPackets,
            Profile::SmallHello,
            Profile::ControlName,
        ],
        Transport::Udp => &[
            Profile::SmallPackets,
            Profile::SmallHello,
            Profile::ControlName,
            Profile::VersionPing,
        ],
    }
}

/// What an experiment proves by passing where the tunnel's first flight does not.
const fn proven_by(profile: Profile, transport: Transport) -> Option<Cause> {
    match (profile, transport) {
        (Profile::SmallPackets, Transport::Udp) => Some(Cause::Mtu),
        (Profile::SmallPackets, Transport::Tcp) | (Profile::SmallHello, _) => {
            Some(Cause::LargeHelloDropped)
        }
        (Profile::ControlName, _) => Some(Cause::SniFiltered),
        (Profile::VersionPing, _) => Some(Cause::QuicFiltered),
        (Profile::Cloudflared | Profile::Https, _) => None,
    }
}

/// The experiments of a row, as far as they have come.
pub(super) struct Experiments<'a> {
    transport: Transport,
    attempts: Vec<&'a Attempt>,
    tunnel_is_cut: bool,
    /// Whether the tunnel's hello, which is post-quantum only, is answered with an alert.
    post_quantum_is_refused: bool,
}

impl<'a> Experiments<'a> {
    pub(super) fn of(target: &Target, attempts: &[&'a Attempt]) -> Self {
        let all = || attempts.iter().copied();
        Self {
            transport: target.service.transport(),
            attempts: all().filter(|a| was_made(a)).collect(),
            tunnel_is_cut: all().any(|a| a.role == Role::Tunnel && is_cut(a)),
            post_quantum_is_refused: target.post_quantum
                && all().any(|a| a.role.decides() && is_alerted(a)),
        }
    }

    /// Whether the experiment's answer is the one that tells something.
    fn passes(&self, attempt: &Attempt) -> bool {
        use HandshakeFailure::{Untrusted, VersionNegotiation};
        match (&attempt.outcome, attempt.profile) {
            (Outcome::Unsecured { failure }, Profile::VersionPing) => {
                *failure == VersionNegotiation
            }
            (Outcome::Unsecured { failure }, Profile::ControlName) => {
                // A server may refuse a name that it does not know. That is an answer where the
                // tunnel's name is cut in the middle; where it meets silence the size may matter,
                // since a refusal is one small packet.
                matches!(failure, Untrusted { .. }) || (is_refused(attempt) && self.tunnel_is_cut)
            }
            _ => attempt.passed(),
        }
    }

    /// Whether the experiment has passed.
    pub(super) fn has_passed(&self, profile: Profile) -> bool {
        self.passed().any(|attempt| attempt.profile == profile)
    }

    /// What became of the experiment, if it was made.
    pub(super) fn result(&self, profile: Profile) -> Option<Tried<'a>> {
        let mut own = self
            .attempts
            .iter()
            .copied()
            .filter(|a| a.profile == profile);
        let first = own.clone().next()?;
        let passed = self.has_passed(profile);
        let heard = own.clone().any(|a| a.contact_ms.is_some());
        let last = own.next_back().unwrap_or(first);
        Some(Tried {
            passed,
            heard,
            last,
        })
    }

    fn passed(&self) -> impl Iterator<Item = &'a Attempt> {
        self.attempts.iter().copied().filter(|a| self.passes(a))
    }

    /// The address that the experiments were made on.
    pub(super) fn subject(&self) -> Option<IpAddr> {
        self.attempts.first().map(|attempt| attempt.address)
    }

    /// The cause that the experiments prove in place of the one that the failures prove by themselves.
    pub(super) fn prove(&self, instead: Cause) -> Option<Cause> {
        if instead == Cause::NotTheEdge && self.prove_a_refusal() {
            return Some(Cause::Unknown);
        }
        // Whoever refuses a handshake has read it, whatever its size, and speaks QUIC anyway.
        let tells = |p: &&Profile| instead != Cause::NotTheEdge || **p == Profile::ControlName;
        experiments(self.transport)
            .iter()
            .filter(tells)
            .find(|profile| self.has_passed(**profile))
            .and_then(|profile| proven_by(*profile, self.transport))
    }

    /// Whether a hello that is post-quantum only is refused, and a classical one passes: it is the
    /// edge that answers, or somebody whose certificate is trusted, and the key exchange that fails.
    pub(super) fn prove_a_refusal(&self) -> bool {
        self.post_quantum_is_refused && self.has_passed(Profile::SmallHello)
    }

    /// The test by which the tunnel's own flight is judged: what it met before an experiment passed may
    /// have been an outage, and a handshake that passed shows how long one takes.
    pub(super) fn restrict(&self, test: &SilenceTest) -> SilenceTest {
        let answered = self.passed().filter_map(Attempt::answered).min();
        let handshakes = self.passed().filter_map(Attempt::handshake_after_contact);
        SilenceTest {
            estimate: test.estimate.or_handshake(handshakes.max()),
            window: test.window.from(answered.unwrap_or_default()),
            ..*test
        }
    }

    /// True while an experiment has neither passed nor been tried often enough to say that it does
    /// not.
    pub(super) fn are_open(&self, test: &SilenceTest) -> bool {
        experiments(self.transport).iter().any(|profile| {
            let own = || self.attempts.iter().filter(|a| a.profile == *profile);
            let silent = test.unanswered_tries(own().copied());
            let failed = own().filter(|a| is_failure(a)).count();
            own().next().is_some()
                && !self.has_passed(*profile)
                && silent < test.tries_of_an_experiment()
                && failed < tuning::EXPERIMENT_FAILURES
        })
    }
}

/// An experiment that this host did not manage to begin, such as small segments on a system without the
/// option, tells nothing of the network.
fn was_made(attempt: &Attempt) -> bool {
    use crate::model::ContactFailure::Other;
    let begun = !matches!(
        &attempt.outcome,
        Outcome::Unanswered {
            failure: Other { .. }
        }
    );
    attempt.profile.is_experiment() && begun
}

/// What became of one experiment.
pub(super) struct Tried<'a> {
    /// Whether its answer was the one that tells something.
    pub(super) passed: bool,
    /// Whether it was answered at all.
    pub(super) heard: bool,
    /// The last attempt at it.
    pub(super) last: &'a Attempt,
}

/// A TLS alert refuses the handshake.
const fn is_alerted(attempt: &Attempt) -> bool {
    matches!(
        attempt.outcome,
        Outcome::Unsecured {
            failure: HandshakeFailure::Alert { .. }
        }
    )
}

/// The other side has read the hello, and does not want it.
const fn is_refused(attempt: &Attempt) -> bool {
    use HandshakeFailure::{Alert, Refused, WrongAlpn};
    matches!(
        attempt.outcome,
        Outcome::Unsecured {
            failure: Alert { .. } | Refused { .. } | WrongAlpn
        }
    )
}

/// The flow was ended in the middle.
const fn is_cut(attempt: &Attempt) -> bool {
    use HandshakeFailure::{Closed, Reset};
    matches!(
        attempt.outcome,
        Outcome::Unsecured {
            failure: Reset | Closed
        }
    )
}

/// It has ended in another way than by silence.
fn is_failure(attempt: &Attempt) -> bool {
    use crate::model::ContactFailure;
    match &attempt.outcome {
        Outcome::Secured { .. } | Outcome::Abandoned => false,
        Outcome::Unanswered { failure } => *failure != ContactFailure::Silent,
        Outcome::Unsecured { failure } => *failure != HandshakeFailure::Silent,
    }
}
