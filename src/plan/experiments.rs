//! PURE: which experiments are worth their packets, and where.
//!
//! ```text
//! an address on which the tunnel's first flight ...      gets
//!   goes unanswered over UDP for a while                 all experiments over UDP
//!   is answered, then silent, cut or refused             all experiments of its transport
//!   goes unanswered over TCP                             none: a SYN is a SYN
//!   meets ICMP, an untrusted chain, another protocol     none: it is known by whom it is blocked
//! ```
//! One address speaks for its row: the first where nothing passes, else one that looks blocked among
//! others that pass. Where the tunnel's name fails and the probe's passes, that is the experiment.

use std::net::IpAddr;
use std::time::Duration;

use super::PlannedRow;
use crate::diagnose::{AddressState, experiments};
use crate::evidence::tuning;
use crate::model::{Attempt, ContactFailure, HandshakeFailure, Outcome, Role, Service};

/// Attempts at one experiment.
const MOST_ATTEMPTS: usize = 3;

/// What is to be tried with which experiment, in the order in which they explain.
pub(super) fn wanted(row: &PlannedRow<'_>) -> Vec<(IpAddr, Role)> {
    let Some(subject) = subject(row) else {
        return Vec::new();
    };
    let transport = row.target.service.transport();
    let roles = experiments(transport).iter().copied().map(Role::Experiment);
    roles
        .filter(|role| !row.is_answered(subject, *role))
        .filter(|role| row.tries(subject, *role).count() < MOST_ATTEMPTS)
        .map(|role| (subject, role))
        .collect()
}

/// The address that experiments are made on: the one that they have begun on, if they have.
fn subject(row: &PlannedRow<'_>) -> Option<IpAddr> {
    let verdict = row.verdict;
    let name_is_cut = verdict.probe_passes && !verdict.tunnel_proven;
    if row.target.service == Service::Https || name_is_cut {
        return None;
    }
    let passing = verdict.reachable() > 0;
    let addresses = verdict.addresses.iter();
    let candidates = addresses.filter(|(_, state)| *state != AddressState::Reachable);
    let mut candidates = candidates.map(|(address, _)| *address);
    let begun = candidates
        .clone()
        .find(|address| row.has_experiments(*address));
    begun.or_else(|| candidates.find(|address| looks_cut(row, *address, passing)))
}

/// Whether the tunnel's first flight fails here in a way that another one might not.
fn looks_cut(row: &PlannedRow<'_>, address: IpAddr, others_pass: bool) -> bool {
    let timeout = row.test.estimate.timeout();
    let timeout = timeout.clamp(tuning::LOOKS_CUT_SOONEST, tuning::LOOKS_CUT_LATEST);
    let tries = || row.deciding_tries(address).map(|seen| seen.attempt);
    if tries().any(|attempt| attempt.passed() || names_its_cause(&attempt.outcome)) {
        return false;
    }
    let silent = row.test.unanswered_tries(tries());
    let cut = |attempt: &&Attempt| match &attempt.outcome {
        Outcome::Unsecured { failure } => *failure != HandshakeFailure::Silent,
        _ => false,
    };
    let too_few = silent < tuning::LOOKS_CUT_TRIES
        && tries().filter(cut).count() < tuning::LOOKS_CUT_HANDSHAKES;
    if others_pass && too_few {
        return false;
    }
    let fails = |role| {
        let mut tries = row.tries(address, role).map(|seen| seen.attempt);
        tries.any(|attempt| fails(row, attempt, timeout))
    };
    // Where the tunnel's name is proven elsewhere, the probe's is all that is tried.
    (row.verdict.tunnel_proven || fails(Role::Tunnel)) && fails(Role::Probe)
}

/// Whether an attempt has come to nothing in a way that another first flight might not.
fn fails(row: &PlannedRow<'_>, attempt: &Attempt, timeout: Duration) -> bool {
    let waited = attempt
        .elapsed()
        .saturating_sub(attempt.contact().unwrap_or_default());
    match &attempt.outcome {
        Outcome::Unanswered { .. } => {
            let quiet = attempt.stray.is_empty();
            row.target.service == Service::Quic && quiet && waited >= timeout
        }
        Outcome::Unsecured {
            failure: HandshakeFailure::Silent,
        } => waited >= timeout,
        Outcome::Unsecured { .. } => true,
        Outcome::Secured { .. } | Outcome::Abandoned => false,
    }
}

/// A failure that says by itself who or what is in the way.
const fn names_its_cause(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Secured { .. } | Outcome::Abandoned => false,
        Outcome::Unanswered { failure } => !matches!(failure, ContactFailure::Silent),
        Outcome::Unsecured { failure } => matches!(
            failure,
            HandshakeFailure::Untrusted { .. }
                | HandshakeFailure::NotTls { .. }
                | HandshakeFailure::WrongAlpn
        ),
    }
}
