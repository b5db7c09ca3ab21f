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
mod encoding;
pub mod evidence;
pub mod exit;
pub mod forecast;
pub mod live;
pub mod model;
pub mod net;
pub mod observe;
#[cfg(target_os = "linux")]
pub mod oracle;
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
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::model::{Ended, Event, Report};
use crate::net::dns::{self, Resolvers};
use crate::net::trust::{self, Trust};
use crate::rules::check::{Check, Comparison, Reprint};
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
    /// A lock-down would close the way of the resolver on this host, and with it all of DNS.
    #[error(
        "this host asks a resolver on itself ({}), and which servers that one asks is not known: a \
         lock-down would cut it off. Name its upstream resolvers with --resolver IP, once for each. If it \
         resolves by itself, make it forward to a resolver, or let UDP and TCP 53 out with a rule of your \
         own",
        list(.0)
    )]
    HiddenResolvers(Vec<SocketAddr>),
    /// Rules cannot be tried; the text has the remedy.
    #[error("--check-drift: {0}")]
    Trial(String),
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
/// tells nothing, unless it is the first: then there is no other answer. A check that cannot be made at
/// all is told as well, and the next one is tried all the same.
///
/// # Errors
/// Only what keeps the process from hearing that it is asked to stop, or from waiting.
pub fn watch(
    settings: &Settings,
    interval: Duration,
    on_check: &mut dyn FnMut(Result<Report, CheckError>) -> ControlFlow<()>,
) -> Result<(), CheckError> {
    let stop = Stop::listen()?;
    let timer = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let check = || look(settings, || Ok(stop.clone().asked()), &mut |_| {});
    let asked_until = |next: Instant| {
        let pause = async { tokio::time::timeout_at(next.into(), stop.clone().asked()).await };
        timer.block_on(pause).is_ok()
    };
    repeat(interval, check, asked_until, on_check);
    Ok(())
}

/// One check after the other. `asked_until` waits, and tells whether the process was asked to stop before.
fn repeat(
    interval: Duration,
    mut check: impl FnMut() -> Result<Report, CheckError>,
    mut asked_until: impl FnMut(Instant) -> bool,
    on_check: &mut dyn FnMut(Result<Report, CheckError>) -> ControlFlow<()>,
) {
    let mut is_first = true;
    loop {
        let next = Instant::now() + interval;
        let checked = check();
        let is_report = checked.is_ok();
        let interrupted = matches!(&checked, Ok(report) if report.ended == Ended::Interrupted);
        let enough = (is_first || !interrupted) && on_check(checked).is_break();
        if interrupted || enough || asked_until(next) {
            return;
        }
        is_first &= !is_report;
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
        let trust = Arc::new(Trust::load(
            settings.cacert.as_deref(),
            settings.options.post_quantum,
        )?);
        let options = settings.options.clone();
        let seen = observe::observe(options, trust, stop, on_event).await;
        Ok(diagnose::diagnose(seen))
    });
    // Farewells to the edge and probes that were given up are not waited for.
    runtime.shutdown_background();
    report
}

/// Whether nobody but resolvers on this host itself is known: whom they ask in turn would be cut off.
fn are_stubs(servers: &[SocketAddr]) -> bool {
    servers.iter().all(|server| server.ip().is_loopback())
}

fn list(servers: &[SocketAddr]) -> String {
    let servers: Vec<_> = servers
        .iter()
        .map(|server| server.ip().to_string())
        .collect();
    servers.join(", ")
}

/// Looks up what a firewall has to let out for cloudflared; nothing but DNS is sent. Returns nothing
/// when the user or the system asks the process to stop before.
///
/// # Errors
/// What keeps the program from looking at all (without DNS the documented addresses are given), and a
/// lock-down that would cut this host's own resolver off.
pub fn egress(settings: &RulesSettings) -> Result<Option<Egress>, CheckError> {
    let options = &settings.options;
    let resolvers = Resolvers::of(options);
    let servers = dns::asked_by_this_host(&options.resolver);
    if settings.is_for_this_host_alone() && are_stubs(&servers) {
        return Err(CheckError::HiddenResolvers(servers));
    }
    let lookups = if settings.offline {
        Some(Vec::new())
    } else {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let found = runtime.block_on(async {
            let interrupted = stop::asked()?;
            Ok::<_, io::Error>(observe::resolve_all(options, &resolvers, interrupted).await)
        })?;
        // Resolvers that are still asked although another one has answered are not waited for.
        runtime.shutdown_background();
        found
    };
    let surroundings = Surroundings {
        made_at: observe::now_to_the_second(),
        resolvers: servers,
        distribution: settings.distribution,
        offline: settings.offline,
    };
    Ok(lookups.map(|lookups| {
        let mut egress = Egress::new(options, &lookups, surroundings);
        if settings.is_for_this_host_alone() {
            egress.note_containers(&net::host::container_bridges());
        }
        egress
    }))
}

/// Compares rules that are there with what is needed today.
///
/// # Errors
/// The runtime, interruption, or that the rules cannot be tried, with the remedy.
pub fn compare(
    settings: &RulesSettings,
    egress: &Egress,
    check: &Check,
    printed: Option<&RulesSettings>,
) -> Result<Option<Comparison>, CheckError> {
    let Some(printed) = printed else {
        return check.run(egress, None).map(Some).map_err(CheckError::Trial);
    };
    // The file is printed again as of today, whatever was asked then.
    let printed_then = RulesSettings {
        offline: settings.offline,
        ..printed.clone()
    };
    let again = if printed.options == settings.options {
        Some(egress.clone())
    } else {
        self::egress(&printed_then)?
    };
    let Some(egress_again) = again else {
        return Ok(None);
    };
    let reprint = Reprint {
        dialect: printed.dialect(),
        container: printed.container().cloned(),
        egress: egress_again,
        lockdown: printed.lockdown.clone(),
        knows_all_hosts: printed.offline || !settings.offline,
    };
    check
        .run(egress, Some(&reprint))
        .map(Some)
        .map_err(CheckError::Trial)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stub_that_hides_whom_it_asks_is_told_from_one_that_does_not() {
        let servers = |texts: &[&str]| -> Vec<SocketAddr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        assert!(are_stubs(&servers(&["127.0.0.1:53", "[::1]:53"])));
        assert!(!are_stubs(&servers(&["127.0.0.1:53", "192.0.2.53:53"])));
        let refused = CheckError::HiddenResolvers(servers(&["127.0.0.1:53"])).to_string();
        assert!(
            refused.contains("a resolver on itself (127.0.0.1)")
                && refused.contains("--resolver IP")
        );
    }

    #[test]
    fn an_interruption_is_told_where_nothing_else_has_been() {
        let interrupted = Report {
            ended: Ended::Interrupted,
            ..report::samples::ready()
        };
        let mut checks = vec![
            Ok(interrupted),
            Err(CheckError::Runtime(io::Error::other("no more threads"))),
        ];
        let mut told = Vec::new();
        repeat(
            Duration::ZERO,
            || checks.pop().unwrap(),
            |_| false,
            &mut |checked| {
                told.push(checked.is_ok());
                ControlFlow::Continue(())
            },
        );
        assert_eq!(told, [false, true]);
    }

    #[test]
    fn a_check_that_cannot_be_made_ends_no_watch() {
        let mut told = 0;
        let mut pauses = 0;
        let failure = || Err(CheckError::Runtime(io::Error::other("no more threads")));
        let asked = |_| {
            pauses += 1;
            pauses == 3
        };
        repeat(Duration::ZERO, failure, asked, &mut |checked| {
            told += usize::from(checked.is_err());
            ControlFlow::Continue(())
        });
        assert_eq!(told, 3);
        let mut told = 0;
        repeat(Duration::ZERO, failure, |_| false, &mut |_| {
            told += 1;
            ControlFlow::Break(())
        });
        assert_eq!(told, 1);
    }
}
