//! PURE: how an address takes a dial of cloudflared, by the attempts of the check.

use std::net::IpAddr;
use std::time::Duration;

use crate::diagnose::{AddressState, JudgedRow};
use crate::forecast::{Dial, QUIC_DIAL_S, TCP_DIAL_S};
use crate::model::{Attempt, Cause, ContactFailure, HandshakeFailure, Outcome, Role, Service};

/// How an address takes a dial, by what is known of it.
pub(super) fn dial(row: &JudgedRow, address: IpAddr, state: AddressState) -> Dial {
    match state {
        AddressState::Open => Dial::Unknown,
        AddressState::Reachable if hangs_after_tls(row, address) => Dial::Unknown,
        AddressState::Reachable => Dial::Passes,
        AddressState::Blocked(cause) => {
            let attempts = telling(row, address);
            match row.target.service {
                Service::Quic => Dial::Fails(quic_fails_after(cause, &attempts)),
                _ => http2_fails_after(cause, &attempts).map_or(Dial::Unknown, Dial::Fails),
            }
        }
    }
}

/// The attempts at an address that show how a dial fails: those with the tunnel's name. Most addresses
/// of a row are tried with the pre-checks' name only, and that speaks for them as it does in the verdict.
fn telling(row: &JudgedRow, address: IpAddr) -> Vec<&Attempt> {
    let own = row.attempts.iter().filter(|attempt| {
        attempt.address == address
            && row.target.includes(attempt)
            && !attempt.profile.is_experiment()
            && !matches!(attempt.outcome, Outcome::Abandoned)
    });
    let (tunnel, other): (Vec<_>, Vec<_>) = own.partition(|attempt| attempt.role == Role::Tunnel);
    if tunnel.is_empty() { other } else { tunnel }
}

/// TLS completes and the edge does not speak: what cloudflared does then was not measured.
fn hangs_after_tls(row: &JudgedRow, address: IpAddr) -> bool {
    let own = row.attempts.iter().filter(|a| a.address == address);
    let prefaces = own.filter_map(|attempt| match &attempt.outcome {
        Outcome::Secured { secured } => secured.preface,
        _ => None,
    });
    let (mut any, mut came) = (false, false);
    for preface in prefaces {
        any = true;
        came |= preface;
    }
    any && !came
}

/// Only what ends the dial itself ends it before its time: an ICMP error of another machine does not.
fn quic_fails_after(cause: Cause, attempts: &[&Attempt]) -> f64 {
    /// A refusal of the routing decision comes at once, a next hop that does not answer takes longer.
    const AT_ONCE: Duration = Duration::from_millis(500);
    let at_once = |attempt: &&Attempt| match &attempt.outcome {
        Outcome::Unanswered { failure } => match failure {
            // The packet filter makes `sendmsg` fail, whether it drops or rejects: the ICMP error that
            // comes of a reject is one more sign, and not the one that cloudflared sees.
            ContactFailure::LocalFirewall { .. } => true,
            ContactFailure::NoRoute { .. } => attempt.elapsed() < AT_ONCE,
            _ => false,
        },
        Outcome::Unsecured { failure } => matches!(
            failure,
            HandshakeFailure::Untrusted { .. }
                | HandshakeFailure::Alert { .. }
                | HandshakeFailure::WrongAlpn
                | HandshakeFailure::Refused { .. }
        ),
        _ => false,
    };
    let dropped = matches!(cause, Cause::Dropped | Cause::Mtu | Cause::QuicFiltered);
    if !dropped && attempts.iter().any(at_once) {
        0.0
    } else {
        QUIC_DIAL_S
    }
}

/// How long a dial over TCP and TLS takes to fail; nothing where the attempts do not show it.
fn http2_fails_after(cause: Cause, attempts: &[&Attempt]) -> Option<f64> {
    if matches!(
        cause,
        Cause::Dropped | Cause::Mtu | Cause::LargeHelloDropped
    ) {
        return Some(TCP_DIAL_S);
    }
    let after = |attempt: &&&Attempt| match &attempt.outcome {
        Outcome::Unanswered {
            failure: ContactFailure::Silent,
        }
        | Outcome::Unsecured {
            failure: HandshakeFailure::Silent,
        } => Some(TCP_DIAL_S),
        Outcome::Unanswered { .. } | Outcome::Unsecured { .. } => {
            Some(attempt.elapsed().as_secs_f64().min(TCP_DIAL_S))
        }
        Outcome::Secured { .. } | Outcome::Abandoned => None,
    };
    let mut times: Vec<f64> = attempts.iter().filter_map(|a| after(&a)).collect();
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied()
}
