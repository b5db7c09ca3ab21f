//! What this host's own rules do with flows that failed, asked after a run. A copy of what is in force is
//! tried in scratch namespaces ([`crate::oracle`]); nothing of this host is changed.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(any(target_os = "linux", test))]
mod routes;

use std::net::SocketAddr;
use std::time::Duration;

use crate::diagnose::{self, AddressState};
use crate::model::{
    Attempt, Cause, ContactFailure, Ended, Observations, Outcome, OwnRules, Transport,
};

/// The longest that the question may take.
const MOST: Duration = Duration::from_secs(2);

/// Less time than a trial takes is not worth a start.
const LEAST: Duration = Duration::from_millis(300);

/// More flows than the edge has, so that only a strange run meets it.
const MOST_FLOWS: usize = 120;

/// A flow that failed in a way that this host could cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Failed {
    transport: Transport,
    to: SocketAddr,
    /// The error number of the routing decision, if that is what failed.
    no_route: Option<i32>,
}

/// Asks what this host's own rules do with the flows of a run that this host could have stopped. Nothing
/// is asked if there are none, the run was interrupted, or its time is used up.
pub(crate) async fn ask(seen: &mut Observations) {
    let whole = Duration::try_from_secs_f64(seen.options.timeout_s).unwrap_or_default();
    let time = whole.saturating_sub(seen.duration.duration()).min(MOST);
    if !can_be_asked() || seen.ended == Ended::Interrupted || time < LEAST {
        return;
    }
    let failed = failed(seen);
    if failed.is_empty() {
        return;
    }
    let started = tokio::time::Instant::now();
    seen.own_rules = answer(failed, seen, time).await;
    seen.duration = (seen.duration.duration() + started.elapsed()).into();
}

#[cfg(target_os = "linux")]
fn can_be_asked() -> bool {
    crate::oracle::can_be_asked()
}

#[cfg(not(target_os = "linux"))]
const fn can_be_asked() -> bool {
    false
}

#[cfg(target_os = "linux")]
async fn answer(failed: Vec<Failed>, seen: &Observations, time: Duration) -> Option<OwnRules> {
    let bind = seen.options.edge_bind_address;
    let asked = tokio::task::spawn_blocking(move || linux::ask(&failed, bind));
    match tokio::time::timeout(time, asked).await {
        Ok(answer) => answer.ok(),
        Err(_) => Some(OwnRules::Failed {
            reason: "the trial did not end in time".to_owned(),
            flows: Vec::new(),
        }),
    }
}

#[cfg(not(target_os = "linux"))]
async fn answer(_: Vec<Failed>, _: &Observations, _: Duration) -> Option<OwnRules> {
    None
}

/// The flows that failed in a way that rules or routes of this host could cause.
fn failed(seen: &Observations) -> Vec<Failed> {
    let mut failed = Vec::new();
    for (target, verdict) in diagnose::judgements(seen) {
        for (address, state) in verdict.addresses {
            let AddressState::Blocked(cause) = state else {
                continue;
            };
            let (transport, to) = (
                target.service.transport(),
                SocketAddr::new(address, target.port),
            );
            let no_route = (cause == Cause::NoRoute)
                .then(|| route_error(&seen.attempts, transport, to))
                .flatten();
            if could_be_own(cause) || no_route.is_some() {
                failed.push(Failed {
                    transport,
                    to,
                    no_route,
                });
            }
        }
    }
    failed.sort_unstable();
    failed.dedup();
    failed.truncate(MOST_FLOWS);
    failed
}

/// Whether a packet filter of this host could be behind it. A redirect of this host may lead to anything
/// that answers.
const fn could_be_own(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::Dropped
            | Cause::Rejected
            | Cause::Reset
            | Cause::LocalFirewall
            | Cause::Interrupted
            | Cause::NotTheEdge
            | Cause::TlsIntercepted
    )
}

fn route_error(attempts: &[Attempt], transport: Transport, to: SocketAddr) -> Option<i32> {
    let mut own = attempts.iter().filter(|attempt| {
        attempt.address == to.ip() && attempt.port == to.port() && attempt.transport == transport
    });
    own.find_map(|attempt| match &attempt.outcome {
        Outcome::Unanswered {
            failure: ContactFailure::NoRoute { error },
        } => error.code,
        _ => None,
    })
}
