//! PURE: which failures prove which cause.
//!
//! ```text
//! seen on the address                                    proves, when firm
//!   this host refused to send                            local_firewall
//!   no route                                             no_route
//!   too big for the interface, ICMP packet too big       mtu
//!   a certificate that cloudflared does not trust        tls_intercepted
//!   no TLS, wrong ALPN, an alert, a QUIC refusal         not_the_edge
//!   Version Negotiation                                  quic_filtered
//!   an ICMP error of another machine                     rejected
//!   a reset in answer to the SYN                         reset
//!   reset, closed or silent after TCP had connected      interrupted
//!   nothing                                              dropped
//!   another error; a key exchange that was not offered   unknown
//! ```
//! What stands higher is stronger evidence and wins. Firm is what was seen twice on the address, or
//! once on it and several times in a row of which nothing passes, and recurred for long enough: one
//! refusal may be an accident, and many at once a rate limit. Where others pass it takes as many
//! refusals as it would take silences.

use crate::evidence::tuning;
use crate::model::{Attempt, Cause, ContactFailure, HandshakeFailure, Outcome};

/// How often each kind of failure was seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) local: u32,
    /// Errors of this host itself that may be its firewall's, or mean a silent next hop.
    pub(super) next_hop: u32,
    pub(super) no_route: u32,
    pub(super) too_big: u32,
    pub(super) untrusted: u32,
    pub(super) foreign: u32,
    pub(super) refused: u32,
    pub(super) version: u32,
    pub(super) icmp: u32,
    pub(super) reset: u32,
    pub(super) cut: u32,
    pub(super) other: u32,
}

impl Tally {
    pub(super) fn of<'a>(attempts: impl Iterator<Item = &'a Attempt>) -> Self {
        attempts.fold(Self::default(), |mut tally, attempt| {
            tally.count(attempt);
            tally
        })
    }

    /// The same where the next hop is known to be silent, or known not to be.
    pub(super) const fn with_next_hop(self, is_silent: bool) -> Self {
        let (local, no_route) = if is_silent {
            (0, self.next_hop)
        } else {
            (self.next_hop, 0)
        };
        Self {
            local: self.local + local,
            no_route: self.no_route + no_route,
            next_hop: 0,
            ..self
        }
    }

    /// Whether any attempt failed in another way than by silence.
    pub(super) const fn anything(&self) -> bool {
        self.refusals() + self.no_route + self.untrusted + self.foreign > 0
    }

    /// How many attempts were refused in a way that may be an accident.
    pub(super) const fn refusals(&self) -> u32 {
        self.local
            + self.next_hop
            + self.too_big
            + self.refused
            + self.version
            + self.icmp
            + self.reset
            + self.cut
            + self.other
    }

    /// What was given up as silent may have seen an ICMP error.
    fn count_on_the_way(&mut self, attempt: &Attempt) {
        if attempt.met_rejection() {
            self.icmp += 1;
        } else if attempt.met_too_big() {
            self.too_big += 1;
        }
    }

    fn count(&mut self, attempt: &Attempt) {
        match &attempt.outcome {
            Outcome::Secured { .. } | Outcome::Abandoned => {}
            Outcome::Unanswered { failure } => match failure {
                ContactFailure::Silent => self.count_on_the_way(attempt),
                ContactFailure::Reset => self.reset += 1,
                ContactFailure::Icmp { icmp } if icmp.is_too_big() => self.too_big += 1,
                ContactFailure::Icmp { .. } => self.icmp += 1,
                ContactFailure::LocalFirewall { icmp, .. } => match icmp {
                    Some(icmp) if icmp.is_host_unreachable() => self.next_hop += 1,
                    _ => self.local += 1,
                },
                ContactFailure::NoRoute { .. } => self.no_route += 1,
                ContactFailure::TooBig { .. } => self.too_big += 1,
                ContactFailure::Other { error } if error.is_shortage() => {}
                ContactFailure::Other { .. } => self.other += 1,
            },
            Outcome::Unsecured { failure } => match failure {
                HandshakeFailure::Silent => self.count_on_the_way(attempt),
                HandshakeFailure::Reset | HandshakeFailure::Closed => self.cut += 1,
                HandshakeFailure::Untrusted { .. } => self.untrusted += 1,
                HandshakeFailure::NotTls { .. } | HandshakeFailure::WrongAlpn => self.foreign += 1,
                HandshakeFailure::Alert { .. } | HandshakeFailure::Refused { .. } => {
                    self.refused += 1;
                }
                HandshakeFailure::VersionNegotiation => self.version += 1,
                HandshakeFailure::GroupNotOffered { .. } | HandshakeFailure::Other { .. } => {
                    self.other += 1;
                }
            },
        }
    }
}

/// What the failures of one address are seen together with.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowContext {
    /// The failures of the whole row.
    pub(super) row: Tally,
    /// Whether anything passes in the row.
    pub(super) any_pass: bool,
    /// How much the silence of the address says.
    pub(super) silence: Silence,
    /// Whether its silence after TCP had connected proves a cut.
    pub(super) stall_proves: bool,
    /// Whether its refusals and its silence together are too many for an accident.
    pub(super) refusals_prove: bool,
}

/// How much the silence of an address says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    /// Nothing was sent that could have been answered by now.
    NotYetDue,
    /// More than one attempt went unanswered for long enough to count.
    Insufficient,
    /// Enough went unanswered to prove a block.
    Conclusive,
}

/// The cause that the failures of one address prove.
pub(super) fn proven_cause(own: &Tally, context: &RowContext) -> Option<Cause> {
    let RowContext {
        row,
        any_pass,
        silence,
        stall_proves,
        refusals_prove,
    } = *context;
    let (waited, silence_proves) = (
        silence != Silence::NotYetDue,
        silence == Silence::Conclusive,
    );
    let firm = |own: u32, row: u32| {
        let recurs = own >= tuning::REPEATED || (own >= 1 && (any_pass || row >= tuning::SEVERAL));
        recurs && refusals_prove
    };
    // Routers answer only some packets of a burst with ICMP, so a row shares what it saw.
    let pooled =
        !any_pass && row.icmp >= tuning::REPEATED && (own.icmp >= 1 || waited) && refusals_prove;
    let enough = if any_pass || row.icmp > 0 {
        tuning::NO_ROUTE_AMONG_OTHERS
    } else {
        1
    };
    let no_route = own.no_route >= enough;
    let rejected = firm(own.icmp, row.icmp) || pooled;
    let table = [
        (firm(own.local, row.local), Cause::LocalFirewall),
        (no_route, Cause::NoRoute),
        (firm(own.too_big, row.too_big), Cause::Mtu),
        (own.untrusted >= 1, Cause::TlsIntercepted),
        (
            own.foreign >= 1 || firm(own.refused, row.refused),
            Cause::NotTheEdge,
        ),
        (firm(own.version, row.version), Cause::QuicFiltered),
        (rejected, Cause::Rejected),
        (firm(own.reset, row.reset), Cause::Reset),
        (firm(own.cut, row.cut) || stall_proves, Cause::Interrupted),
        (silence_proves && row.icmp > 0 && !any_pass, Cause::Rejected),
        (silence_proves, Cause::Dropped),
        (firm(own.other, row.other), Cause::Unknown),
    ];
    table
        .into_iter()
        .find(|(proven, _)| *proven)
        .map(|(_, cause)| cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(row: Tally, any_pass: bool, silence: Silence) -> RowContext {
        RowContext {
            row,
            any_pass,
            silence,
            stall_proves: false,
            refusals_prove: !any_pass,
        }
    }

    fn cause(own: Tally, row: Tally, any_pass: bool) -> Option<Cause> {
        proven_cause(&own, &around(row, any_pass, Silence::Insufficient))
    }

    #[test]
    fn one_reset_among_addresses_that_pass_is_an_accident() {
        let once = Tally {
            reset: 1,
            ..Tally::default()
        };
        assert_eq!(cause(once, once, true), None);
        let often = Tally {
            reset: 6,
            ..Tally::default()
        };
        assert_eq!(cause(often, often, true), None, "a rate limit resets often");
        let telling = RowContext {
            refusals_prove: true,
            ..around(often, true, Silence::NotYetDue)
        };
        assert_eq!(proven_cause(&often, &telling), Some(Cause::Reset));
    }

    #[test]
    fn a_row_without_a_pass_shares_its_evidence() {
        let own = Tally {
            reset: 1,
            ..Tally::default()
        };
        let row = Tally {
            reset: 10,
            ..Tally::default()
        };
        assert_eq!(cause(own, row, false), Some(Cause::Reset));
        assert_eq!(cause(own, row, true), None);
    }

    #[test]
    fn icmp_is_pooled_over_a_row_only_where_nothing_passes() {
        let row = Tally {
            icmp: 2,
            ..Tally::default()
        };
        assert_eq!(cause(Tally::default(), row, false), Some(Cause::Rejected));
        assert_eq!(cause(Tally::default(), row, true), None);
        let unanswered_yet =
            proven_cause(&Tally::default(), &around(row, false, Silence::NotYetDue));
        assert_eq!(unanswered_yet, None);
    }

    #[test]
    fn a_host_without_sockets_accuses_nobody() {
        let failed = |code| {
            let error = std::io::Error::from_raw_os_error(code);
            let failure = ContactFailure::Other {
                error: (&error).into(),
            };
            let row = crate::diagnose::tests::row_of(crate::model::Service::Quic);
            let attempt = crate::diagnose::tests::attempt(&row, 0, Outcome::Unanswered { failure });
            Tally::of([&attempt].into_iter())
        };
        assert_eq!(failed(24), Tally::default(), "too many open files");
        assert_eq!(failed(71).other, 1, "a protocol error");
    }

    #[test]
    fn stronger_evidence_wins() {
        let own = Tally {
            reset: 5,
            local: 2,
            ..Tally::default()
        };
        assert_eq!(cause(own, own, false), Some(Cause::LocalFirewall));
    }

    #[test]
    fn every_cause_stands_above_the_next() {
        let seen = |set: fn(&mut Tally)| {
            let mut tally = Tally::default();
            set(&mut tally);
            tally
        };
        let each: [(Tally, Cause); 9] = [
            (seen(|t| t.local = 2), Cause::LocalFirewall),
            (seen(|t| t.no_route = 3), Cause::NoRoute),
            (seen(|t| t.too_big = 2), Cause::Mtu),
            (seen(|t| t.untrusted = 2), Cause::TlsIntercepted),
            (seen(|t| t.refused = 2), Cause::NotTheEdge),
            (seen(|t| t.version = 2), Cause::QuicFiltered),
            (seen(|t| t.icmp = 2), Cause::Rejected),
            (seen(|t| t.reset = 2), Cause::Reset),
            (seen(|t| t.cut = 2), Cause::Interrupted),
        ];
        // From the weakest on, each is added to those below it, and silence is there all along.
        let mut own = seen(|t| t.other = 2);
        for (more, wanted) in each.into_iter().rev() {
            own = Tally {
                local: own.local + more.local,
                no_route: own.no_route + more.no_route,
                too_big: own.too_big + more.too_big,
                untrusted: own.untrusted + more.untrusted,
                refused: own.refused + more.refused,
                version: own.version + more.version,
                icmp: own.icmp + more.icmp,
                reset: own.reset + more.reset,
                cut: own.cut + more.cut,
                ..own
            };
            let around = around(own, false, Silence::Conclusive);
            assert_eq!(proven_cause(&own, &around), Some(wanted));
        }
        let other = seen(|t| t.other = 2);
        let silent = around(other, false, Silence::Conclusive);
        assert_eq!(proven_cause(&other, &silent), Some(Cause::Dropped));
        assert_eq!(cause(other, other, false), Some(Cause::Unknown));
        let cut = seen(|t| t.cut = 2);
        let beside_icmp = Tally { icmp: 1, ..cut };
        let silent = around(beside_icmp, false, Silence::Conclusive);
        assert_eq!(proven_cause(&cut, &silent), Some(Cause::Interrupted));
    }

    #[test]
    fn silence_is_the_weakest_evidence() {
        let none = Tally::default();
        let proven = |row| proven_cause(&none, &around(row, false, Silence::Conclusive));
        assert_eq!(proven(none), Some(Cause::Dropped));
        let icmp = Tally {
            icmp: 1,
            ..Tally::default()
        };
        assert_eq!(proven(icmp), Some(Cause::Rejected));
    }

    #[test]
    fn one_refusal_of_few_is_an_accident() {
        let once = Tally {
            reset: 1,
            ..Tally::default()
        };
        let few = Tally {
            reset: 3,
            ..Tally::default()
        };
        assert_eq!(cause(once, once, false), None);
        assert_eq!(cause(once, few, false), None);
        assert_eq!(cause(few, few, false), Some(Cause::Reset));
        // Where others pass, the silence beside it may make one refusal tell.
        let telling = RowContext {
            refusals_prove: true,
            ..around(once, true, Silence::NotYetDue)
        };
        assert_eq!(proven_cause(&once, &telling), Some(Cause::Reset));
    }

    #[test]
    fn a_row_shares_no_icmp_error_that_may_be_an_accident() {
        let none = Tally::default();
        let seen = |icmp| Tally {
            icmp,
            ..Tally::default()
        };
        assert_eq!(cause(none, seen(1), false), None);
        let soon = RowContext {
            refusals_prove: false,
            ..around(seen(9), false, Silence::Insufficient)
        };
        assert_eq!(proven_cause(&none, &soon), None);
        let among = RowContext {
            refusals_prove: true,
            ..around(seen(9), true, Silence::Insufficient)
        };
        assert_eq!(proven_cause(&none, &among), None);
        let silent = around(seen(9), true, Silence::Conclusive);
        assert_eq!(proven_cause(&none, &silent), Some(Cause::Dropped));
    }

    #[test]
    fn what_was_given_up_as_silent_may_have_been_too_big() {
        let text = include_str!("../../tests/replay/cases/datagrams-over-1240-too-big.json");
        let report: crate::model::Report = serde_json::from_str(text).unwrap();
        let attempts = report.into_observations().attempts;
        let mut met = attempts.into_iter().find(Attempt::met_too_big).unwrap();
        met.outcome = Outcome::Unanswered {
            failure: ContactFailure::Silent,
        };
        let tally = Tally::of([&met].into_iter());
        assert_eq!((tally.too_big, tally.icmp), (1, 0));
    }
}
