//! What attempts have in common: where they went, when their packets were sent, and how they ended.

use std::net::IpAddr;
use std::time::Duration;

use crate::catalog;
use crate::model::{Attempt, ContactFailure, HandshakeFailure, Outcome, Transport};

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

/// Refused before any answer. A rate limit does that too to an address that answers at other times.
pub(crate) const fn was_refused(attempt: &Attempt) -> bool {
    use ContactFailure::{Icmp, LocalFirewall, Other, Reset};
    matches!(
        attempt.outcome,
        Outcome::Unanswered {
            failure: Reset | Icmp { .. } | LocalFirewall { .. } | Other { .. }
        }
    )
}

/// Ended by the other side, or in its name, after a first answer.
pub(super) const fn was_cut(attempt: &Attempt) -> bool {
    use HandshakeFailure::{Alert, Closed, Refused, Reset};
    matches!(
        attempt.outcome,
        Outcome::Unsecured {
            failure: Reset | Closed | Alert { .. } | Refused { .. }
        }
    )
}

/// Whether another machine rejected it with an ICMP error, at its end or on the way.
pub(super) fn saw_remote_icmp(attempt: &Attempt) -> bool {
    let by_outcome = match &attempt.outcome {
        Outcome::Unanswered {
            failure: ContactFailure::Icmp { icmp },
        } => Some(icmp),
        _ => None,
    };
    // Too big is no rejection: what is smaller passes.
    by_outcome.is_some_and(|icmp| !icmp.is_too_big()) || attempt.met_rejection()
}

/// When the first packet of a flow is sent, and sent again, since its start.
pub(crate) const fn first_packet_schedule(transport: Transport) -> &'static [Duration] {
    match transport {
        Transport::Tcp => catalog::SYN_SCHEDULE,
        Transport::Udp => catalog::QUIC_SCHEDULE,
    }
}

/// When the other side, or the kernel, sends again what follows a first answer, since that answer. Once
/// a flow is under way TCP knows its round trip; a QUIC server may not yet, and then sends again after a
/// second, twice that, and so on (RFC 9002, section 6.2.2).
pub(super) const fn handshake_schedule(transport: Transport) -> &'static [Duration] {
    match transport {
        Transport::Tcp => catalog::QUIC_SCHEDULE,
        Transport::Udp => catalog::SYN_SCHEDULE,
    }
}

/// How many packets of a schedule are waited for longer than `timeout` once `waited` has passed since
/// its beginning.
pub(super) fn overdue(schedule: &[Duration], waited: Duration, timeout: Duration) -> u32 {
    let overdue = schedule.iter().filter(|sent| **sent + timeout <= waited);
    u32::try_from(overdue.count()).unwrap_or(u32::MAX)
}

pub(crate) fn sorted(times: impl Iterator<Item = Duration>) -> Vec<Duration> {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    times
}

pub(crate) fn upper_quartile(sorted: &[Duration]) -> Option<Duration> {
    sorted.get(sorted.len() * 3 / 4).copied()
}
