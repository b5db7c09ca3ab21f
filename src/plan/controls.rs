//! PURE: fresh flows to what has passed, against which failures are held.
//!
//! ```text
//! failures would prove a block, were it known that new flows still pass     several controls at once
//! a control goes unanswered                                                 others, later
//! ```
//! What has let the first flows through may have closed since: a limit on new flows, or an outage. Where
//! such a limit shows by itself, `pace.rs` decides when there is a control.

use std::net::IpAddr;
use std::time::Duration;

use super::{Launch, Seen};
use crate::diagnose::{FirstSuccesses, Pending, RowVerdict};
use crate::evidence::CONTROLS_AT_ONCE;
use crate::model::{Attempt, Moment, Role, Service};
use crate::targets::Target;

/// Between a control that goes unanswered and the next: at first, and at most.
const GAP: Duration = Duration::from_millis(350);
const MOST_GAP: Duration = Duration::from_secs(2);

/// Controls of one service in a run.
const MOST: usize = 24;

/// The controls of a run, as far as they have come.
pub(super) struct Controls<'a> {
    targets: &'a [Target],
    seen: &'a [Seen<'a>],
    passes: &'a FirstSuccesses<'a>,
    /// The rows that wait for one.
    waiting: Vec<usize>,
    now: Moment,
}

impl<'a> Controls<'a> {
    pub(super) fn new(
        targets: &'a [Target],
        seen: &'a [Seen<'a>],
        passes: &'a FirstSuccesses<'a>,
        judgements: &[RowVerdict],
        now: Moment,
    ) -> Self {
        let rows = judgements.iter().enumerate();
        let waiting = rows.filter(|(_, verdict)| verdict.open == Some(Pending::Control));
        Self {
            targets,
            seen,
            passes,
            waiting: waiting.map(|(row, _)| row).collect(),
            now,
        }
    }

    /// Whether a row of the service waits for a control.
    pub(super) fn are_awaited(&self, service: Service) -> bool {
        self.first_waiting(service).is_some()
    }

    /// Whether one more, or the answer to one, may still come for a row that waits.
    pub(super) fn may_come(&self) -> bool {
        self.waiting.iter().any(|row| {
            let mut own = self.of(self.targets[*row].service);
            own.clone().any(|seen| seen.running) || own.nth(MOST - 1).is_none()
        })
    }

    /// What starts now, several of each service that waits.
    pub(super) fn due(&self) -> Vec<(usize, Launch)> {
        [Service::Quic, Service::Http2, Service::Https]
            .into_iter()
            .filter_map(|service| Some((service, self.first_waiting(service)?)))
            .filter(|(service, _)| self.is_due(*service))
            .flat_map(|(service, row)| {
                let nearest = flows(service, Some(row), self.targets, self.seen).into_iter();
                nearest.take(CONTROLS_AT_ONCE)
            })
            .collect()
    }

    fn first_waiting(&self, service: Service) -> Option<usize> {
        let mut waiting = self.waiting.iter().copied();
        waiting.find(|row| self.targets[*row].service == service)
    }

    fn of(&self, service: Service) -> impl Iterator<Item = &'a Seen<'a>> + Clone {
        let own = move |seen: &&Seen<'_>| {
            seen.attempt.service() == service && self.passes.is_control(seen.attempt)
        };
        self.seen.iter().filter(own)
    }

    /// Whether those before have been waited for. Those that pass do not count: what they told is known,
    /// and was not enough.
    fn is_due(&self, service: Service) -> bool {
        let mut own: Vec<&Attempt> = self.of(service).map(|seen| seen.attempt).collect();
        own.sort_by_key(|a| a.started());
        let in_vain = own.iter().rev().take_while(|a| !a.passed()).count();
        let rounds = in_vain.saturating_sub(1) / CONTROLS_AT_ONCE;
        let gap = (0..rounds).fold(GAP, |gap, _| (gap * 2).min(MOST_GAP));
        let last = own.last().filter(|_| in_vain > 0);
        own.len() < MOST && last.is_none_or(|last| last.started() + gap <= self.now)
    }
}

/// Fresh flows to addresses of the service that have passed: first those in the row, then in its family,
/// what was tried least lately first; at last those of the other service of the edge.
pub(super) fn flows(
    service: Service,
    near: Option<usize>,
    targets: &[Target],
    seen: &[Seen<'_>],
) -> Vec<(usize, Launch)> {
    let near = near.and_then(|row| Some((row, targets.get(row)?.family)));
    let is_edge = |service| service != Service::Https;
    let rows = targets.iter().enumerate();
    let rows = rows.filter(|(_, target)| is_edge(target.service) == is_edge(service));
    let candidates = rows.flat_map(|(row, target)| {
        let addresses = target.addresses.iter();
        let peers = addresses.flat_map(|a| [Role::Tunnel, Role::Probe].map(|role| (*a, role)));
        peers.filter_map(move |(address, role)| {
            let (start, latest) = again(target, address, role, seen)?;
            let far = (
                target.service != service,
                near.is_some_and(|(near, _)| near != row),
                near.is_some_and(|(_, family)| family != target.family),
            );
            Some((row, start, far, latest))
        })
    });
    let mut nearest: Vec<_> = candidates.collect();
    nearest.sort_by_key(|(.., far, latest)| (*far, *latest));
    nearest
        .into_iter()
        .map(|(row, start, ..)| (row, start))
        .collect()
}

/// Another flow where one has passed, and when the latest one was started.
fn again(
    target: &Target,
    address: IpAddr,
    role: Role,
    seen: &[Seen<'_>],
) -> Option<(Launch, Moment)> {
    let own = seen
        .iter()
        .map(|seen| seen.attempt)
        .filter(|a| a.address == address && a.role == role && target.includes(a));
    let own: Vec<_> = own.collect();
    let latest = own.iter().map(|a| a.started()).max()?;
    let number = u32::try_from(own.len() + 1).ok()?;
    let start = Launch {
        address,
        role,
        number,
    };
    own.iter().any(|a| a.passed()).then_some((start, latest))
}
