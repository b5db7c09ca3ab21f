//! PURE: what to start next, given what has been seen. Time is an argument.
//!
//! ```text
//! a row begins with one address, its canary, and the name that decides; it speaks for the row
//! the others follow once the canary has ended, or after a moment's head start
//! an address that has not passed is tried again, later and later, while its row is open
//! where only the probe's name passes, the tunnel's is tried on addresses that pass
//! where only the tunnel's name passes, it is tried on all
//! where ICMP errors are seen and nothing passes, the canary alone goes on
//! where the tunnel's first flight looks cut, experiments tell how (`experiments.rs`)
//! where new flows may meet a limit, one follows the other (`pace.rs`)
//! ```
//! The head start lets a row's first packets out before the burst of the rest: a router that sends
//! few ICMP errors has one for each row.

mod controls;
mod experiments;
mod head_start;
mod pacing;
mod step;

pub use step::{Cancel, Step, is_settled};

use std::net::IpAddr;
use std::time::Duration;

use crate::diagnose::{AddressState, RowVerdict};
use crate::evidence::SilenceTest;
use crate::model::{Attempt, HandshakeFailure, Millis, Moment, Outcome, Role, Service, Transport};
use crate::targets::{Target, TargetState};

/// How long the canary goes before the rest.
const HEAD_START: Duration = Duration::from_millis(30);

/// Between the starts of one attempt and the next over TCP, in milliseconds; an eleventh would not be
/// worth its packets. The kernel sends a SYN again after 1 s only, which the path may not deserve.
const TCP_GAPS_MS: [u64; 9] = [350, 450, 600, 700, 800, 900, 1000, 1000, 1000];

/// The same over UDP, where an attempt sends its Initial again by itself.
const UDP_GAPS_MS: [u64; 9] = [1700, 700, 800, 900, 1000, 1000, 1000, 1000, 1000];

/// After an attempt that has ended: an immediate repetition proves little.
const AFTER_FAILURE: Duration = Duration::from_millis(350);

/// On how many addresses the tunnel's name is tried before it is called cut.
const TUNNEL_TRIALS: usize = 2;

/// An attempt as the plan sees it: ended or still running.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The attempt; while it runs, with the outcome that it would have if it were given up now.
    pub attempt: &'a Attempt,
    /// Whether it still runs.
    pub running: bool,
}

/// An attempt to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launch {
    /// Where to.
    pub address: IpAddr,
    /// What for.
    pub role: Role,
    /// The ordinal, from 1.
    pub number: u32,
}

impl Launch {
    /// The attempt in the row as it begins, `started` since the start of the run.
    #[must_use]
    pub fn attempt(&self, target: &Target, started: Millis) -> Attempt {
        Attempt {
            host: target.host.clone(),
            role: self.role,
            address: self.address,
            port: target.port,
            transport: target.service.transport(),
            sni: target.sni(self.role).to_owned(),
            profile: target.profile(self.role),
            attempt: self.number,
            started_ms: started,
            elapsed_ms: Millis::from(0.0),
            contact_ms: None,
            handshake_ms: None,
            sent: None,
            received: None,
            stray: Vec::new(),
            outcome: Outcome::Abandoned,
        }
    }
}

/// What to start now in a row.
fn next_starts(
    target: &Target,
    seen: &[Seen<'_>],
    verdict: &RowVerdict,
    test: &SilenceTest,
    now: Moment,
) -> Vec<Launch> {
    let row = PlannedRow {
        target,
        seen,
        verdict,
        test,
        now,
    };
    if verdict.is_settled() {
        return Vec::new();
    }
    let mut starts = row.suspicious_answer_starts();
    if target.state == TargetState::Probed {
        starts.extend(row.own_starts());
    }
    starts
}

/// Whether a row has nothing left to start and nothing running: more time would not help.
fn is_exhausted(
    target: &Target,
    seen: &[Seen<'_>],
    verdict: &RowVerdict,
    test: &SilenceTest,
) -> bool {
    match target.state {
        TargetState::Waiting => return false,
        TargetState::Skipped | TargetState::Unavailable => return true,
        TargetState::Probed | TargetState::Unresolved => {}
    }
    let idle = !seen.iter().any(|seen| seen.running);
    idle && next_starts(target, seen, verdict, test, Moment::NEVER).is_empty()
}

/// Whether a running attempt should make room: where routers answer with ICMP errors they answer few
/// packets, and those of a row's canary say as much as those of all its addresses.
fn makes_room(
    target: &Target,
    attempt: &Attempt,
    verdict: &RowVerdict,
    test: &SilenceTest,
) -> bool {
    is_rationed(verdict, test)
        && target.addresses.first() != Some(&attempt.address)
        && test.silent_tries(attempt) > 0
}

fn is_rationed(verdict: &RowVerdict, test: &SilenceTest) -> bool {
    test.estimate.icmp_seen && verdict.reachable() == 0 && !verdict.probe_passes
}

struct PlannedRow<'a> {
    target: &'a Target,
    seen: &'a [Seen<'a>],
    verdict: &'a RowVerdict,
    test: &'a SilenceTest,
    now: Moment,
}

impl<'a> PlannedRow<'a> {
    /// What to start at the row's own addresses.
    fn own_starts(&self) -> Vec<Launch> {
        let Some(canary) = self.target.addresses.first().copied() else {
            return Vec::new();
        };
        let own = |seen: &Seen<'_>| self.target.addresses.contains(&seen.attempt.address);
        if !self.seen.iter().any(own) {
            return vec![Launch {
                address: canary,
                role: Role::Tunnel,
                number: 1,
            }];
        }
        if !self.head_start_is_over() {
            return Vec::new();
        }
        let mut wanted = self.wanted(canary);
        wanted.extend(experiments::wanted(self));
        wanted
            .into_iter()
            .filter_map(|(address, role)| self.due(address, role))
            .collect()
    }

    /// What to start where DNS leads astray, or through a proxy.
    fn suspicious_answer_starts(&self) -> Vec<Launch> {
        const MOST_ATTEMPTS: usize = 3;
        let suspicious_answers = self.target.suspicious_answers.iter().copied();
        suspicious_answers
            .filter(|address| !self.is_answered(*address, Role::Tunnel))
            .filter(|address| self.tries(*address, Role::Tunnel).count() < MOST_ATTEMPTS)
            .filter_map(|address| self.due(address, Role::Tunnel))
            .collect()
    }

    fn head_start_is_over(&self) -> bool {
        let first = self
            .seen
            .iter()
            .map(|seen| seen.attempt.started())
            .min()
            .unwrap_or(Moment::NEVER);
        // A canary that fails at once may have used up what a router grants; the others wait.
        self.now.since(first) >= HEAD_START || self.seen.iter().any(|seen| seen.attempt.passed())
    }

    fn tries(&self, address: IpAddr, role: Role) -> impl Iterator<Item = &Seen<'a>> {
        self.seen
            .iter()
            .filter(move |seen| seen.attempt.address == address && seen.attempt.role == role)
    }

    /// Attempts in a role that says whether the address is blocked.
    fn deciding_tries(&self, address: IpAddr) -> impl Iterator<Item = &Seen<'a>> {
        [Role::Tunnel, Role::Probe]
            .into_iter()
            .flat_map(move |role| self.tries(address, role))
    }

    fn has_experiments(&self, address: IpAddr) -> bool {
        let here = |seen: &&Seen<'_>| seen.attempt.address == address;
        let mut here = self.seen.iter().filter(here);
        here.any(|seen| seen.attempt.profile.is_experiment())
    }

    /// Whether an attempt in the role has been answered by somebody who understood it.
    fn is_answered(&self, address: IpAddr, role: Role) -> bool {
        use HandshakeFailure::{Closed, Reset, Silent};
        self.tries(address, role)
            .any(|seen| match &seen.attempt.outcome {
                Outcome::Secured { .. } => true,
                Outcome::Unsecured { failure } => !matches!(failure, Silent | Reset | Closed),
                Outcome::Unanswered { .. } | Outcome::Abandoned => false,
            })
    }

    fn passes(&self, address: IpAddr, role: Role) -> bool {
        self.tries(address, role).any(|seen| seen.attempt.passed())
    }

    /// Which names are wanted on which addresses, most telling first.
    fn wanted(&self, canary: IpAddr) -> Vec<(IpAddr, Role)> {
        let open = |(address, state): &(IpAddr, AddressState)| {
            (*state == AddressState::Open).then_some(*address)
        };
        let open: Vec<IpAddr> = self.verdict.addresses.iter().filter_map(open).collect();
        if self.target.service == Service::Https {
            return open
                .into_iter()
                .map(|address| (address, Role::Tunnel))
                .collect();
        }
        let mut wanted: Vec<_> = self
            .tunnel_candidates(canary)
            .into_iter()
            .map(|a| (a, Role::Tunnel))
            .collect();
        // The canary has shown that the tunnel's name passes; the probe's is wanted there as well,
        // because cloudflared's own pre-checks send it.
        let probed = open.iter().copied().chain([canary]);
        for address in probed.filter(|address| !self.passes(*address, Role::Probe)) {
            if !wanted.contains(&(address, Role::Probe)) {
                wanted.push((address, Role::Probe));
            }
        }
        if self.probe_name_is_cut() {
            wanted.extend(open.iter().map(|address| (*address, Role::Tunnel)));
        }
        if is_rationed(self.verdict, self.test) {
            wanted.retain(|(address, role)| *address == canary || self.may_try(*address, *role));
        }
        wanted
    }

    /// Whether an address that is no canary may be tried where ICMP errors are rationed: twice, the
    /// second time well after the first, because what the canary meets need not be its fate.
    fn may_try(&self, address: IpAddr, role: Role) -> bool {
        const APART: Duration = Duration::from_secs(1);
        let starts: Vec<_> = self
            .tries(address, role)
            .map(|seen| seen.attempt.started())
            .collect();
        match starts.as_slice() {
            [] => true,
            [first] => *first + APART <= self.now,
            _ => false,
        }
    }

    /// Where the tunnel's name is still to be proven: the canary, then addresses that pass otherwise.
    fn tunnel_candidates(&self, canary: IpAddr) -> Vec<IpAddr> {
        if self.verdict.tunnel_proven {
            return Vec::new();
        }
        let passing = self
            .target
            .addresses
            .iter()
            .filter(|a| self.passes(**a, Role::Probe));
        let mut candidates = vec![canary];
        candidates.extend(
            passing
                .copied()
                .filter(|address| *address != canary)
                .take(TUNNEL_TRIALS),
        );
        candidates
    }

    /// The tunnel's name passes in the row, the probe's has failed and passes nowhere.
    fn probe_name_is_cut(&self) -> bool {
        const LONG: Duration = Duration::from_secs(1);
        let probe = |seen: &&Seen<'_>| seen.attempt.role == Role::Probe;
        let failed = |seen: &Seen<'_>| {
            let waited = seen.attempt.elapsed() > LONG;
            !seen.attempt.passed() && (!seen.running || waited)
        };
        self.verdict.tunnel_proven
            && self.seen.iter().filter(probe).any(failed)
            && !self
                .seen
                .iter()
                .filter(probe)
                .any(|seen| seen.attempt.passed())
    }

    /// What the gaps are multiplied by: a row of few addresses has to prove as much as one of many.
    const fn gap_factor(&self) -> f64 {
        const FEW: usize = 2;
        if self.target.addresses.len() <= FEW {
            0.7
        } else {
            1.0
        }
    }

    /// The next attempt at an address with a name, if its time has come.
    fn due(&self, address: IpAddr, role: Role) -> Option<Launch> {
        let tries: Vec<_> = self.tries(address, role).collect();
        let number = u32::try_from(tries.len() + 1).ok()?;
        let start = Launch {
            address,
            role,
            number,
        };
        let Some(last) = tries.iter().max_by_key(|seen| seen.attempt.started()) else {
            return Some(start);
        };
        let gaps = match self.target.service.transport() {
            Transport::Udp => UDP_GAPS_MS,
            Transport::Tcp => TCP_GAPS_MS,
        };
        let gap = Duration::from_millis(*gaps.get(tries.len() - 1)?).mul_f64(self.gap_factor());
        let started = last.attempt.started();
        let failed = !last.running && !matches!(last.attempt.outcome, Outcome::Abandoned);
        let due = if failed {
            (last.attempt.ended() + AFTER_FAILURE).min(started + gap)
        } else {
            started + gap
        };
        (self.now >= due).then_some(start)
    }
}

#[cfg(test)]
mod tests;
