//! `tunnelcheck` tells whether cloudflared can get out of a network, and what stands in the way.
//!
//! ```text
//! settings -> targets -> plan -> observe -> diagnose -> report
//! ```
//! Each stage imports [`model`] and nothing to its right. Only [`net`] opens sockets. [`targets`],
//! [`plan`], [`evidence`] and [`diagnose`] are pure functions of data, so a saved report can be
//! diagnosed again for ever without a network.

pub mod catalog;
pub mod cli;
pub mod diagnose;
pub mod diff;
pub mod evidence;
pub mod exit;
pub mod model;
pub mod net;
pub mod observe;
pub mod plan;
pub mod report;
pub mod settings;
pub mod targets;
pub mod terminal;

use std::io;
use std::sync::Arc;

use thiserror::Error;

use crate::model::{Event, Report};
use crate::net::trust::{self, Trust};
use crate::settings::Settings;

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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    // While authorities are loaded and names resolve.
    runtime.spawn_blocking(trust::seed_random);
    let report = runtime.block_on(async {
        let interrupted = interrupted()?;
        let trust = Arc::new(Trust::load(settings.cacert.as_deref())?);
        let options = settings.options.clone();
        let seen = observe::observe(options, trust, interrupted, on_event).await;
        Ok(diagnose::diagnose(seen))
    });
    // Farewells to the edge and probes that were given up are not waited for.
    runtime.shutdown_background();
    report
}

/// Completes on Ctrl-C, and on SIGTERM where there is one.
///
/// # Errors
/// The system's, when handlers cannot be installed.
fn interrupted() -> io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    let (mut interrupt, mut terminate) = {
        use tokio::signal::unix::{SignalKind, signal};
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        )
    };
    #[cfg(unix)]
    let wait = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    #[cfg(not(unix))]
    let wait = async {
        // Without a handler the default action ends the process, which is an interruption too.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    Ok(wait)
}
