//! PURE: the attempts at one row, and what their failures prove of each address and server name.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::failure::{RowContext, Silence, Tally, proven_cause};
use crate::evidence::SilenceTest;
use crate::model::{Attempt, Cause, Role, Transport};
use crate::targets::Target;

/// What is known of one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressState {
    /// It passes.
    Reachable,
    /// It is proven blocked.
    Blocked(Cause),
    /// The evidence does not suffice.
    Open,
}

/// The attempts of a row by address and role.
pub(super) struct RowEvidence<'a> {
    addresses: &'a [IpAddr],
    by_address: BTreeMap<(IpAddr, Role), Vec<&'a Attempt>>,
    /// The failures of all addresses.
    failures: Failures,
    /// Whether the next hop does not answer: then errors of this host itself come from no firewall.
    silent_next_hop: bool,
    pub(super) transport: Transport,
    pub(super) tunnel_proven: bool,
    pub(super) probe_passes: bool,
}

/// How some attempts failed, and how often their silence counts.
struct Failures {
    tally: Tally,
    /// Unanswered tries before a first answer.
    silent: u32,
    /// Unanswered tries after one.
    stalled: u32,
    /// Attempts with a try that went unanswered.
    waited: usize,
    span: Duration,
}

impl Failures {
    fn of(attempts: &[&Attempt], silent_next_hop: bool, test: &SilenceTest) -> Self {
        let all = || attempts.iter().copied();
        Self {
            tally: Tally::of(all()).with_next_hop(silent_next_hop),
            silent: all().map(|a| test.silent_tries(a)).sum(),
            stalled: all().map(|a| test.stalled_tries(a)).sum(),
            waited: all().filter(|a| test.silent_tries(a) > 0).count(),
            span: test.span(all()),
        }
    }
}

impl<'a> RowEvidence<'a> {
    pub(super) fn of(target: &'a Target, attempts: &[&'a Attempt], test: &SilenceTest) -> Self {
        let mut by_address = BTreeMap::<_, Vec<&Attempt>>::new();
        let deciding = |a: &&&Attempt| a.role.decides();
        for attempt in attempts.iter().filter(deciding) {
            by_address
                .entry((attempt.address, attempt.role))
                .or_default()
                .push(attempt);
        }
        let passes = |role| {
            by_address
                .iter()
                .any(|((_, r), list)| *r == role && list.iter().any(|a| a.passed()))
        };
        let tunnel_proven = passes(Role::Tunnel);
        let everything: Vec<_> = by_address.values().flatten().copied().collect();
        let silent_next_hop = Tally::of(everything.iter().copied()).no_route > 0;
        Self {
            addresses: &target.addresses,
            failures: Failures::of(&everything, silent_next_hop, test),
            silent_next_hop,
            transport: target.service.transport(),
            tunnel_proven,
            probe_passes: passes(Role::Probe),
            by_address,
        }
    }

    /// What is known of each address.
    pub(super) fn states(
        &self,
        cut_name: Option<Role>,
        test: &SilenceTest,
    ) -> Vec<(IpAddr, AddressState)> {
        let sni_cut = cut_name == Some(Role::Tunnel);
        let state = |address: &IpAddr| (*address, self.address_state(*address, sni_cut, test));
        self.addresses.iter().map(state).collect()
    }

    /// Whether an ICMP error of another machine came in the row.
    pub(super) const fn met_icmp(&self) -> bool {
        self.failures.tally.icmp > 0
    }

    pub(super) const fn any_pass(&self) -> bool {
        self.tunnel_proven || self.probe_passes
    }

    fn attempts(&self, address: IpAddr, role: Role) -> &[&'a Attempt] {
        self.by_address
            .get(&(address, role))
            .map_or(&[], Vec::as_slice)
    }

    fn passes(&self, address: IpAddr, role: Role) -> bool {
        self.attempts(address, role)
            .iter()
            .any(|attempt| attempt.passed())
    }

    fn address_state(&self, address: IpAddr, sni_cut: bool, test: &SilenceTest) -> AddressState {
        let tunnel = self.passes(address, Role::Tunnel);
        let probe = self.passes(address, Role::Probe);
        match (tunnel, probe, self.tunnel_proven, sni_cut) {
            (true, ..) | (_, true, true, _) => AddressState::Reachable,
            (_, true, false, true) => AddressState::Blocked(Cause::SniFiltered),
            (_, true, false, false) => AddressState::Open,
            (false, false, ..) => self
                .proven(&self.failures_at(address, test), test)
                .map(|cause| in_terms_of(self.transport, cause))
                .map_or(AddressState::Open, AddressState::Blocked),
        }
    }

    /// The failures that count against an address.
    fn failures_at(&self, address: IpAddr, test: &SilenceTest) -> Failures {
        let names = self.telling_names().iter();
        let failed = names.flat_map(|role| self.attempts(address, *role));
        let failed: Vec<_> = failed.copied().collect();
        Failures::of(&failed, self.silent_next_hop, test)
    }

    /// The names whose failures accuse an address: where the tunnel's passes and the probe's nowhere
    /// does, the name may be to blame for its failures.
    const fn telling_names(&self) -> &'static [Role] {
        if self.tunnel_proven && !self.probe_passes {
            &[Role::Tunnel]
        } else {
            &[Role::Tunnel, Role::Probe]
        }
    }

    /// What the failures of one address prove, together with the row's.
    fn proven(&self, own: &Failures, test: &SilenceTest) -> Option<Cause> {
        let row = &self.failures;
        let any_pass = self.any_pass();
        let silence_proves = if any_pass {
            test.proves_address(0, own.silent, own.span)
        } else {
            own.silent > 0 && test.proves_row(row.silent, row.span)
        };
        // Silence after a first answer proves a cut.
        let stall_proves = if any_pass {
            test.proves_stalled_address(own.stalled, own.span)
        } else {
            own.stalled > 0 && test.proves_stalled_row(row.stalled, row.span)
        };
        let refusals_prove = if any_pass {
            test.proves_address(own.tally.refusals(), own.silent, own.span)
        } else {
            test.proves_refusals(row.tally.refusals(), row.silent, row.span)
        };
        let silence = match (silence_proves, own.waited) {
            (true, _) => Silence::Conclusive,
            (false, 0 | 1) => Silence::NotYetDue,
            (false, _) => Silence::Insufficient,
        };
        let context = RowContext {
            row: row.tally,
            any_pass,
            silence,
            stall_proves,
            refusals_prove,
        };
        proven_cause(&own.tally, &context)
    }

    /// Whether the probe's name has been tried beside a tunnel's that passes, and has not passed.
    pub(super) fn probe_name_is_open(&self) -> bool {
        let mut roles = self.by_address.keys().map(|(_, role)| *role);
        self.tunnel_proven && !self.probe_passes && roles.any(|role| role == Role::Probe)
    }

    /// The name that passes nowhere, and fails too often on addresses on which the other one passes.
    pub(super) fn cut_name(&self, test: &SilenceTest) -> Option<Role> {
        match (self.tunnel_proven, self.probe_passes) {
            (false, true) if self.proves_cut(Role::Tunnel, Role::Probe, test) => Some(Role::Tunnel),
            (true, false) if self.proves_cut(Role::Probe, Role::Tunnel, test) => Some(Role::Probe),
            _ => None,
        }
    }

    fn proves_cut(&self, name: Role, other: Role, test: &SilenceTest) -> bool {
        let cut: Vec<_> = self
            .by_address
            .iter()
            .filter(|((address, role), _)| *role == name && self.passes(*address, other))
            .flat_map(|(_, attempts)| attempts.iter().copied())
            .collect();
        let tally = Tally::of(cut.iter().copied());
        let silent = test.unanswered_tries(cut.iter().copied());
        let tries = tally.cut + tally.refused + tally.icmp + silent;
        test.proves_cut_name(tries, test.span(cut.iter().copied()))
    }
}

/// A QUIC handshake that is cut after a first answer has a name of its own.
const fn in_terms_of(transport: Transport, cause: Cause) -> Cause {
    match (transport, cause) {
        (Transport::Udp, Cause::Interrupted) => Cause::QuicFiltered,
        (_, cause) => cause,
    }
}
