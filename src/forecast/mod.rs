//! PURE: what cloudflared does from its start in a network, by a simulation of its measured behaviour.
//!
//! ```text
//! lookups (TXT, TXT, then SRV and addresses, twice)  ->  dials, waits, other addresses and families
//!   -> after nine dials over QUIC the fallback to HTTP/2  ->  connection 0  ->  connections 1 to 3
//! ```
//! Chance decides the waits, the regions and the addresses. So [`simulate()`] makes many starts with a seeded
//! generator, and reports the range that 995 of 1000 keep to. The figures are in `behaviour.rs`; a test
//! holds the result against the measurements in `docs/cloudflared.md`.

mod behaviour;
mod conditions;
mod simulate;
#[cfg(test)]
mod tests;

pub use behaviour::{DOT_S, QUIC_DIAL_S, TCP_DIAL_S};
pub use conditions::{Addresses, Conditions, Dial, Lookup, Lookups, Region};

use fastrand::Rng;

use crate::model::{
    Forecast, ForecastStep, Killed, Prospect, Service, ServiceStart, ServiceUnit, Span, StepKind,
    Systemd, UnitSource,
};
use simulate::{Start, start};

/// How many starts are simulated.
const STARTS: usize = 4000;

/// Any number: the same network always has the same forecast.
const SEED: u64 = 7844;

/// The share of starts at either end that a range leaves out.
const TAIL: f64 = 0.0025;

/// Simulated starts in one network.
pub struct Starts(Vec<Start>);

/// Simulates many starts. Returns nothing when they meet something that is not known.
#[must_use]
pub fn simulate(network: &Conditions) -> Option<Starts> {
    let mut rng = Rng::with_seed(SEED);
    let starts: Vec<_> = (0..STARTS).map(|_| start(network, &mut rng)).collect();
    let unknown = starts.iter().filter(|start| start.unknown).count();
    let few = share(STARTS, TAIL);
    (unknown <= few).then(|| Starts(starts.into_iter().filter(|start| !start.unknown).collect()))
}

impl Starts {
    /// The forecast without a service.
    #[must_use]
    pub fn forecast(&self) -> Forecast {
        let connections = self.times(|start| Some(start.first_connection?.0));
        let exits = self.times(|start| start.exit);
        let few = share(self.0.len(), TAIL);
        let outcome = if connections.len() > few {
            Prospect::Connects
        } else if exits.len() > few {
            Prospect::Exits
        } else {
            Prospect::Never
        };
        let connects = outcome == Prospect::Connects;
        let fourth = self.times(|start| start.fourth_connection);
        Forecast {
            based_on: behaviour::BASED_ON.to_owned(),
            outcome,
            protocol: self.protocol().filter(|_| connects),
            first_connection_s: connects.then(|| span(&connections)).flatten(),
            fourth_connection_s: connects.then(|| span(&fourth)).flatten(),
            exit_after_s: span(&exits)
                .filter(|_| outcome == Prospect::Exits)
                .map(|s| s.median),
            service_start: None,
            steps: self.steps(outcome),
        }
    }

    /// Whether nearly all of them get a connection.
    #[must_use]
    pub fn connects(&self) -> bool {
        let without = |start: &&Start| start.first_connection.is_none();
        self.0.iter().filter(without).count() <= share(self.0.len(), TAIL)
    }

    /// What becomes of a service with a start limit in seconds.
    #[must_use]
    pub fn killed(&self, timeout_s: f64) -> Killed {
        let few = share(self.0.len(), TAIL);
        let killed = |start: &&Start| {
            let ready = start.first_connection.map(|(at, _)| at);
            // A process that exits before its limit is not killed.
            let ended = ready.or(start.exit);
            ended.is_none_or(|at| at > timeout_s)
        };
        let count = self.0.iter().filter(killed).count();
        if count <= few {
            Killed::Never
        } else if count >= self.0.len() - few {
            Killed::Always
        } else {
            Killed::Sometimes
        }
    }

    /// The protocol of the first connection, if nearly all starts agree.
    fn protocol(&self) -> Option<Service> {
        let of = |service| {
            let own = |start: &&Start| start.first_connection.is_some_and(|(_, s)| s == service);
            self.0.iter().filter(own).count()
        };
        let (quic, http2) = (of(Service::Quic), of(Service::Http2));
        let few = share(quic + http2, 0.05);
        match () {
            () if http2 <= few => Some(Service::Quic),
            () if quic <= few => Some(Service::Http2),
            () => None,
        }
    }

    /// The times of an event in the starts that have it, sorted.
    fn times(&self, event: impl Fn(&Start) -> Option<f64>) -> Vec<f64> {
        let mut times: Vec<_> = self.0.iter().filter_map(event).collect();
        times.sort_by(f64::total_cmp);
        times
    }

    fn steps(&self, outcome: Prospect) -> Vec<ForecastStep> {
        type Event = fn(&Start) -> Option<f64>;
        const EVENTS: [(StepKind, Event, &str); 6] = [
            (
                StepKind::FirstDial,
                |start| start.first_dial,
                "the lookups are done, and cloudflared dials the edge",
            ),
            (
                StepKind::FirstFailure,
                |start| start.first_failure,
                "the first dial has failed; the next ones follow after waits that grow",
            ),
            (
                StepKind::Fallback,
                |start| start.fallback,
                "after nine failed dials cloudflared gives up QUIC and falls back to HTTP/2",
            ),
            (
                StepKind::FirstConnection,
                |start| Some(start.first_connection?.0),
                "the first connection is registered: the tunnel works",
            ),
            (
                StepKind::FourthConnection,
                |start| start.fourth_connection,
                "all four connections are registered",
            ),
            (
                StepKind::Exit,
                |start| start.exit,
                "cloudflared exits with an error",
            ),
        ];
        let half = self.0.len() / 2;
        let mut steps = Vec::new();
        for (what, event, text) in EVENTS {
            let times = self.times(event);
            // An event of the few is not part of the story.
            if times.len() < half || (what == StepKind::Exit && outcome != Prospect::Exits) {
                continue;
            }
            steps.extend(span(&times).map(|at_s| ForecastStep {
                at_s,
                what,
                text: text.to_owned(),
            }));
        }
        steps
    }
}

/// What becomes of cloudflared as a service of systemd. `starts` are those with the options of the unit, if
/// one was read.
#[must_use]
pub fn service_start(systemd: &Systemd, starts: &Starts) -> ServiceStart {
    match &systemd.unit {
        None => ServiceStart {
            timeout_s: Some(behaviour::UNIT_TIMEOUT_S),
            killed: starts.killed(behaviour::UNIT_TIMEOUT_S),
            source: UnitSource::Assumed,
            unit: None,
        },
        Some(unit) => ServiceStart {
            timeout_s: start_limit(unit),
            killed: start_limit(unit).map_or(Killed::Never, |limit| starts.killed(limit)),
            source: UnitSource::Read,
            unit: Some(unit.path.clone()),
        },
    }
}

/// How long the first connection may take, in seconds. A unit that does not wait for it has no limit.
fn start_limit(unit: &ServiceUnit) -> Option<f64> {
    let limit = unit.start_timeout_ms.filter(|_| unit.waits_for_ready)?;
    Some(std::time::Duration::from_millis(limit).as_secs_f64())
}

/// The step in which systemd kills a service, for the time line. `known` says whether all options of the
/// unit were read.
#[must_use]
pub fn killed_step(service: &ServiceStart, known: bool) -> Option<ForecastStep> {
    let at = service
        .timeout_s
        .filter(|_| service.killed != Killed::Never)?;
    let whose = match service.source {
        UnitSource::Read if known => "the service",
        UnitSource::Read => "the service, unless options in other files change that,",
        UnitSource::Assumed => {
            "it, if it runs as the service that `cloudflared service install` writes,"
        }
    };
    let text = match service.killed {
        Killed::Always => format!("systemd kills {whose} and starts it again, for ever"),
        Killed::Sometimes | Killed::Never => {
            format!("systemd kills {whose} and starts it again, unless it has a connection by then")
        }
    };
    let at_s = Span {
        min: at,
        median: at,
        max: at,
    };
    Some(ForecastStep {
        at_s,
        what: StepKind::ServiceKilled,
        text,
    })
}

/// The range that all but the tails of sorted times keep to, in tenths of a second.
fn span(times: &[f64]) -> Option<Span> {
    let last = times.len().checked_sub(1)?;
    let tail = share(times.len(), TAIL).min(last / 2);
    let tenths = |index: usize| times.get(index).map(|t| t * 10.0);
    Some(Span {
        min: tenths(tail)?.floor() / 10.0,
        median: tenths(last / 2)?.round() / 10.0,
        max: tenths(last - tail)?.ceil() / 10.0,
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of at most a few thousand"
)]
fn share(count: usize, of: f64) -> usize {
    (count as f64 * of) as usize
}
