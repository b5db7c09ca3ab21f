//! PURE: the attempts at one row become its status and its cause.
//!
//! ```text
//! an address ...                                                        is
//!   passes with the tunnel's name                                       reachable
//!   passes with the probe's name, the tunnel's is proven in the row     reachable
//!   passes with the probe's name, the tunnel's is proven cut            blocked, sni_filtered
//!   never passes, and a failure is proven (see `failure.rs`)            blocked, by that failure, or
//!                                                                       by what the experiments
//!                                                                       prove (`experiments.rs`)
//!   anything else                                                       inconclusive
//!
//! blocked addresses   reachable ones   the row is
//!   none                some             reachable
//!   some                some             partial
//!   some                none             blocked
//!   none                none             inconclusive
//! ```

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::experiments::Experiments;
use super::failure::Tally;
use super::row_evidence::{AddressState, RowEvidence};
use crate::evidence::{SilenceTest, was_refused};
use crate::model::{Attempt, Cause, Millis, Role, RttRange, Status, Transport};
use crate::targets::{Target, TargetState};

/// What the attempts at one row prove.
#[derive(Debug, Clone, PartialEq)]
pub struct RowVerdict {
    /// What is known of the row.
    pub status: Status,
    /// How it is blocked.
    pub cause: Option<Cause>,
    /// Each address with what is known of it, in the order of the row.
    pub addresses: Vec<(IpAddr, AddressState)>,
    /// Whether the tunnel's own server name has passed anywhere in the row.
    pub tunnel_proven: bool,
    /// Whether the probe's server name has passed anywhere in the row.
    pub probe_passes: bool,
    /// The server name that is proven cut on addresses on which the other passes.
    pub cut_name: Option<Role>,
    /// What is still to be found out beside the addresses.
    pub open: Option<Pending>,
}

/// What is worth a little more time where all addresses are decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pending {
    /// Whether the probe's name is cut where the tunnel's passes.
    ProbeName,
    /// How the row is blocked: experiments are under way.
    Experiments,
    /// Whether an answer that cannot be right leads to the right place.
    SuspiciousAnswers,
    /// Whether new flows to what has passed still pass: failures are held against a fresh one.
    Control,
}

impl RowVerdict {
    /// True when more attempts could not change the row.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let open = |(_, state): &(_, AddressState)| *state == AddressState::Open;
        self.open.is_none() && !self.addresses.iter().any(open)
    }

    /// How many addresses pass.
    #[must_use]
    pub fn reachable(&self) -> usize {
        self.addresses
            .iter()
            .filter(|(_, state)| *state == AddressState::Reachable)
            .count()
    }

    /// The addresses that are proven blocked.
    pub fn blocked(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let blocked = |(address, state): &(IpAddr, AddressState)| {
            matches!(state, AddressState::Blocked(_)).then_some(*address)
        };
        self.addresses.iter().filter_map(blocked)
    }
}

/// Judges a row by the attempts that belong to it.
#[must_use]
pub fn judge(target: &Target, attempts: &[&Attempt], test: &SilenceTest) -> RowVerdict {
    let (status, cause) = match target.state {
        TargetState::Skipped => (Status::Skipped, None),
        TargetState::Unavailable => (Status::Unavailable, Some(Cause::NoRoute)),
        TargetState::Unresolved => (Status::Unresolved, Some(Cause::Dns)),
        TargetState::Waiting => (Status::Inconclusive, Some(Cause::Unknown)),
        TargetState::Probed => return judge_probed(target, attempts, test),
    };
    RowVerdict {
        status,
        cause,
        addresses: Vec::new(),
        tunnel_proven: false,
        probe_passes: false,
        cut_name: None,
        open: suspicious_answers_open(target, attempts, test).then_some(Pending::SuspiciousAnswers),
    }
}

/// Whether a suspicious answer has neither passed nor failed yet. This takes less evidence
/// than other blocks do: that it is blocked is what its address says already.
fn suspicious_answers_open(target: &Target, attempts: &[&Attempt], test: &SilenceTest) -> bool {
    target.suspicious_answers.iter().any(|address| {
        let own = || attempts.iter().filter(|a| a.address == *address);
        let silent = test.unanswered_tries(own().copied());
        let failed = Tally::of(own().copied()).anything();
        !failed && !own().any(|a| a.passed()) && silent < test.tries_of_an_experiment()
    })
}

fn judge_probed(target: &Target, attempts: &[&Attempt], test: &SilenceTest) -> RowVerdict {
    let open_answers = suspicious_answers_open(target, attempts, test);
    let own = |a: &&&Attempt| target.addresses.contains(&a.address) && test.window.admits(a);
    let attempts: &[&Attempt] = &attempts.iter().filter(own).copied().collect::<Vec<_>>();
    let experiments = Experiments::of(target, attempts);
    let test = &experiments.restrict(test);
    let row = RowEvidence::of(target, attempts, test);
    // A row that has seen an ICMP error of its own need not wait for one.
    let test = &SilenceTest {
        awaits_icmp: test.awaits_icmp && !row.met_icmp(),
        ..*test
    };
    let cut_name = row.cut_name(test);
    let proven = row.states(cut_name, test);
    let held = confirmed_by_controls(target, attempts, test, &proven);
    let addresses = explained(&row, held.clone(), &experiments);
    let explicable = |(_, state): &(_, AddressState)| match state {
        AddressState::Blocked(cause) => may_be_explained(*cause, row.transport),
        AddressState::Reachable | AddressState::Open => false,
    };
    let open = if held != proven {
        Some(Pending::Control)
    } else if addresses.iter().any(explicable) && experiments.are_open(test) {
        Some(Pending::Experiments)
    } else if row.probe_name_is_open() && cut_name.is_none() {
        Some(Pending::ProbeName)
    } else {
        open_answers.then_some(Pending::SuspiciousAnswers)
    };
    let reachable = addresses
        .iter()
        .any(|(_, state)| *state == AddressState::Reachable);
    let cause = row_cause(&addresses);
    let status = match (cause.is_some(), reachable) {
        (true, true) => Status::Partial,
        (true, false) => Status::Blocked,
        (false, true) => Status::Reachable,
        (false, false) => Status::Inconclusive,
    };
    let cause = match status {
        Status::Inconclusive => Some(Cause::Unknown),
        _ => cause,
    };
    RowVerdict {
        status,
        cause,
        cut_name,
        open,
        addresses,
        tunnel_proven: row.tunnel_proven,
        probe_passes: row.probe_passes,
    }
}

/// The states, without the accusations that hold only if flows to what has passed would still pass.
fn confirmed_by_controls(
    target: &Target,
    attempts: &[&Attempt],
    test: &SilenceTest,
    proven: &[(IpAddr, AddressState)],
) -> Vec<(IpAddr, AddressState)> {
    let accuses = |(_, state): &(IpAddr, AddressState)| matches!(state, AddressState::Blocked(_));
    if test.controls.is_none() || !proven.iter().any(accuses) {
        return proven.to_vec();
    }
    let test = test.confirmed_by_controls();
    let in_time = |a: &&&Attempt| !(was_refused(a) && test.window.is_over(a.started()));
    let attempts: Vec<_> = attempts.iter().filter(in_time).copied().collect();
    let row = RowEvidence::of(target, &attempts, &test);
    let held = row.states(row.cut_name(&test), &test);
    let pairs = proven.iter().zip(held);
    pairs
        .map(|((address, proven), (_, held))| match held {
            AddressState::Open => (*address, AddressState::Open),
            AddressState::Reachable | AddressState::Blocked(_) => (*address, *proven),
        })
        .collect()
}

/// The cause that most blocked addresses share; of equals the one that is stronger evidence.
pub(super) fn row_cause(states: &[(IpAddr, AddressState)]) -> Option<Cause> {
    let mut counts = BTreeMap::<Cause, usize>::new();
    for (_, state) in states {
        if let AddressState::Blocked(cause) = state {
            *counts.entry(*cause).or_default() += 1;
        }
    }
    // The causes are declared from the weakest evidence (silence) on, so the last of equals wins.
    counts
        .into_iter()
        .max_by_key(|(_, count)| *count)
        .map(|(cause, _)| cause)
}

/// The states with the causes that experiments prove. The address that they were made on speaks for
/// those that fail as it does, and, where nothing passes in the row, for all.
fn explained(
    row: &RowEvidence<'_>,
    states: Vec<(IpAddr, AddressState)>,
    experiments: &Experiments<'_>,
) -> Vec<(IpAddr, AddressState)> {
    let subject = experiments.subject();
    let fate = states
        .iter()
        .find(|(address, _)| Some(*address) == subject)
        .map(|(_, state)| *state);
    let told = |state: AddressState| match state {
        AddressState::Blocked(cause)
            if may_be_explained(cause, row.transport)
                && (!row.any_pass() || fate == Some(state)) =>
        {
            AddressState::Blocked(experiments.prove(cause).unwrap_or(cause))
        }
        state => state,
    };
    states
        .into_iter()
        .map(|(address, state)| (address, told(state)))
        .collect()
}

/// Whether an experiment may tell more than the cause that the failures by themselves prove.
const fn may_be_explained(cause: Cause, transport: Transport) -> bool {
    match transport {
        Transport::Udp => matches!(
            cause,
            Cause::Dropped | Cause::QuicFiltered | Cause::NotTheEdge
        ),
        // Experiments are made only where TCP connects, so a SYN that was rejected is not all.
        Transport::Tcp => matches!(
            cause,
            Cause::Interrupted | Cause::Rejected | Cause::NotTheEdge
        ),
    }
}

/// Round-trip times of the answering addresses of a row.
#[must_use]
pub(super) fn round_trips(attempts: &[&Attempt]) -> Option<RttRange> {
    let mut by_address = BTreeMap::<IpAddr, Millis>::new();
    let plain = |a: &&&Attempt| a.passed() && !a.profile.is_experiment();
    for attempt in attempts.iter().filter(plain) {
        if let Some(contact) = attempt.contact_ms {
            let best = by_address.entry(attempt.address).or_insert(contact);
            if contact < *best {
                *best = contact;
            }
        }
    }
    let mut times: Vec<_> = by_address.into_values().collect();
    times.sort_by_key(|time| time.duration());
    Some(RttRange {
        min: *times.first()?,
        median: *times.get(times.len() / 2)?,
        max: *times.last()?,
    })
}
