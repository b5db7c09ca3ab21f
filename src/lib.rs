//! `tunnelcheck` tells whether cloudflared can get out of a network, and what stands in the way.
//!
//! ```text
//! settings -> targets -> plan -> observe -> diagnose -> report
//! ```
//! Each stage imports [`model`] and nothing to its right. Only [`net`] opens sockets. [`targets`],
//! [`plan`], [`evidence`], [`diagnose`] and [`rules`] are pure functions of data, so a saved report can be
//! diagnosed again for ever without a network.

pub mod catalog;
pub mod cli;
pub mod deliver;
pub mod diagnose;
pub mod diff;
pub mod evidence;
pub mod exit;
pub mod live;
pub mod model;
pub mod net;
pub mod observe;
pub mod plan;
#[cfg(target_os = "linux")]
pub mod rehearse;
pub mod report;
pub mod rules;
pub mod settings;
mod stop;
pub mod targets;
pub mod terminal;

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::model::{Ended, Event, Report};
use crate::net::dns::{self, Resolvers};
use crate::net::trust::{self, Trust};
use crate::rules::{Egress, Surroundings};
use crate::settings::{RulesSettings, Settings};
use crate::stop::Stop;

/// Why there is no report at all: this program cannot do its work on this host.
#[derive(Debug, Error)]
pub enum CheckError {
    /// The TLS library refuses its configuration.
    #[error("the TLS library cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The system gives no threads, timers or sockets to run on.
    #[error("the asynchronous runtime cannot be started: {0}")]
    Runtime(#[from] io::Error),
}

/// Checks this network and diagnoses what was seen. Returns early when the user or the system asks
/// the process to stop.
///
/// # Errors
/// Only what keeps the program from looking at all; everything that a network does is in the report.
pub fn check(settings: &Settings, on_event: &mut dyn FnMut(Event)) -> Result<Report, CheckError> {
    look(settings, stop::asked, on_event)
}

/// As [`check`], but returns early when `stop` completes, and not when the process is asked to stop:
/// that is the caller's to notice.
///
/// # Errors
/// As [`check`].
pub fn check_until(
    settings: &Settings,
    stop: impl Future<Output = ()>,
    on_event: &mut dyn FnMut(Event),
) -> Result<Report, CheckError> {
    look(settings, || Ok(stop), on_event)
}

/// Checks again and again until the process is asked to stop, or `on_report` has enough. Each check is
/// one by itself: flows, questions, resolvers and authorities are fresh.
///
/// `interval` counts from the start of a check to the start of the next. Where a check takes longer,
/// the next begins when it has ended; what was missed is not made up for. A check that is interrupted
/// tells nothing, unless it is the first: then there is no other answer.
///
/// # Errors
/// As [`check`].
pub fn watch(
    settings: &Settings,
    interval: Duration,
    on_report: &mut dyn FnMut(Report) -> ControlFlow<()>,
) -> Result<(), CheckError> {
    let stop = Stop::listen()?;
    let timer = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let mut is_first = true;
    loop {
        let next = Instant::now() + interval;
        let report = look(settings, || Ok(stop.clone().asked()), &mut |_| {})?;
        let interrupted = report.ended == Ended::Interrupted;
        let enough = (is_first || !interrupted) && on_report(report).is_break();
        let pause = async { tokio::time::timeout_at(next.into(), stop.clone().asked()).await };
        if interrupted || enough || timer.block_on(pause).is_ok() {
            return Ok(());
        }
        is_first = false;
    }
}

/// One check on a runtime of its own.
fn look<S: Future<Output = ()>>(
    settings: &Settings,
    stop: impl FnOnce() -> io::Result<S>,
    on_event: &mut dyn FnMut(Event),
) -> Result<Report, CheckError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    // While authorities are loaded and names resolve.
    runtime.spawn_blocking(trust::seed_random);
    let report = runtime.block_on(async {
        let stop = stop()?;
        let trust = Arc::new(Trust::load(settings.cacert.as_deref())?);
        let options = settings.options.clone();
        let seen = observe::observe(options, trust, stop, on_event).await;
        Ok(diagnose::diagnose(seen))
    });
    // Farewells to the edge and probes that were given up are not waited for.
    runtime.shutdown_background();
    report
}

/// Looks up what a firewall has to let out for cloudflared; nothing but DNS is sent. Returns nothing
/// when the user or the system asks the process to stop before.
///
/// # Errors
/// Only what keeps the program from looking at all; without DNS the documented addresses are given.
pub fn egress(settings: &RulesSettings) -> Result<Option<Egress>, CheckError> {
    let options = &settings.options;
    let resolvers = Resolvers::of(options);
    let lookups = if settings.offline {
        Some(Vec::new())
    } else {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let found = runtime.block_on(async {
            let interrupted = stop::asked()?;
            Ok::<_, io::Error>(observe::look_up(options, &resolvers, interrupted).await)
        })?;
        // Resolvers that are still asked although another one has answered are not waited for.
        runtime.shutdown_background();
        found
    };
    let mut servers = resolvers.servers.to_vec();
    if servers.iter().any(|server| server.ip().is_loopback()) {
        servers.extend(dns::upstream_resolvers());
    }
    let surroundings = Surroundings {
        made_at: observe::now_to_the_second(),
        resolvers: servers,
        distribution: settings.distribution,
    };
    Ok(lookups.map(|lookups| Egress::new(options, &lookups, surroundings)))
}
