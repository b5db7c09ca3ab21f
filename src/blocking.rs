//! A check on a runtime of its own, for callers that have none: the program and its rehearsals.

use std::io;

use thiserror::Error;

use crate::check::{Check, CheckError};
use crate::model::Report;
use crate::observe::OnEvent;

/// Why a check cannot be made.
#[derive(Debug, Error)]
pub enum RunError {
    /// The check itself.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// The system gives no threads, timers or sockets to run on.
    #[error("the asynchronous runtime cannot be started: {0}")]
    Runtime(#[from] io::Error),
}

/// One check, which ends early when `stop` completes.
///
/// # Errors
/// Only what keeps the program from looking at all; everything that a network does is in the report.
pub fn check(
    check: &Check,
    stop: impl Future<Output = ()>,
    on_event: &mut OnEvent<'_>,
) -> Result<Report, RunError> {
    check_until(check, || Ok(stop), on_event)
}

/// As [`check()`], with a `stop` that needs the runtime to be made.
///
/// # Errors
/// As [`check()`].
pub fn check_until<S: Future<Output = ()>>(
    check: &Check,
    stop: impl FnOnce() -> io::Result<S>,
    on_event: &mut OnEvent<'_>,
) -> Result<Report, RunError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(async {
        let stop = stop()?;
        Ok(check.run_until(stop, on_event).await?)
    });
    // Farewells to the edge and probes that were given up are not waited for.
    runtime.shutdown_background();
    report
}
