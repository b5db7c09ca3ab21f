//! PURE: which resolvers fail over UDP, so that a question over TCP would tell something.

use std::net::SocketAddr;
use std::time::Duration;

use crate::model::{Lookup, Via};

/// How long a resolver may be silent before it is asked over TCP. A silent one is waited for two
/// seconds at least, so that the answer over TCP, or its silence, is in before that.
const TIMEOUT: Duration = Duration::from_millis(500);

/// Whether a resolver fails over UDP so far. The one at `index` is asked about `index` seconds after
/// the start; `waiting` tells whether questions are still open.
pub(super) fn fails_over_udp(
    lookups: &[Lookup],
    (index, server): (u32, SocketAddr),
    elapsed: Duration,
    waiting: bool,
) -> bool {
    let mut heard = lookups
        .iter()
        .filter(|lookup| lookup.via == Via::Resolver(server))
        .peekable();
    match heard.peek() {
        Some(_) => heard.all(|lookup| lookup.status.is_silence() && !lookup.truncated),
        None => waiting && elapsed >= TIMEOUT + Duration::from_secs(index.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LookupStatus;
    use crate::report::samples;

    #[test]
    fn silence_and_rejection_are_deaf_and_any_answer_is_not() {
        let server: SocketAddr = "192.0.2.53:53".parse().unwrap();
        let lookup = |status| Lookup {
            via: Via::Resolver(server),
            status,
            ..samples::ready().dns.lookups[0].clone()
        };
        let now = Duration::ZERO;
        let udp_blocked = |lookups: &[Lookup]| fails_over_udp(lookups, (0, server), now, true);
        assert!(udp_blocked(&[lookup(LookupStatus::Unreachable)]));
        assert!(udp_blocked(&[
            lookup(LookupStatus::TimedOut),
            lookup(LookupStatus::Unreachable)
        ]));
        assert!(!udp_blocked(&[
            lookup(LookupStatus::TimedOut),
            lookup(LookupStatus::Refused)
        ]));
        assert!(!udp_blocked(&[Lookup {
            truncated: true,
            ..lookup(LookupStatus::TimedOut)
        }]));
        assert!(!udp_blocked(&[]));
        for (seconds, index, waiting, udp_blocked) in [
            (1, 0, true, true),
            (1, 0, false, false),
            (1, 1, true, false),
            (2, 1, true, true),
        ] {
            let elapsed = Duration::from_secs(seconds);
            assert_eq!(
                fails_over_udp(&[], (index, server), elapsed, waiting),
                udp_blocked
            );
        }
    }
}
