//! Checks of the program: once, or again and again, until it is asked to stop.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::app::settings::Settings;
use crate::app::signals::{self, Stop};
use crate::blocking::{self, RunError};
use crate::model::{Ended, Report};
use crate::observe::OnEvent;

/// Checks this network and diagnoses what was seen. Returns early when the user or the system asks
/// the process to stop.
///
/// # Errors
/// Only what keeps the program from looking at all; everything that a network does is in the report.
pub fn check(settings: &Settings, on_event: &mut OnEvent<'_>) -> Result<Report, RunError> {
    blocking::check_until(&settings.check(), signals::asked, on_event)
}

/// Checks again and again until the process is asked to stop, or `on_report` has enough. Each check is
/// one by itself: flows, questions, resolvers and authorities are fresh.
///
/// `interval` counts from the start of a check to the start of the next. Where a check takes longer,
/// the next begins when it has ended; what was missed is not made up for. A check that is interrupted
/// is not passed on, unless it is the first: then there is no other answer. A check that cannot be made at
/// all is passed on as its error, and the next one is tried all the same.
///
/// # Errors
/// Only what keeps the process from hearing that it is asked to stop, or from waiting.
pub fn watch(
    settings: &Settings,
    interval: Duration,
    on_check: &mut dyn FnMut(Result<Report, RunError>) -> ControlFlow<()>,
) -> Result<(), RunError> {
    let stop = Stop::listen()?;
    let timer = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let check = settings.check();
    let check = || blocking::check(&check, stop.clone().asked(), &mut |_| {});
    let asked_until = |next: Instant| {
        let pause = async { tokio::time::timeout_at(next.into(), stop.clone().asked()).await };
        timer.block_on(pause).is_ok()
    };
    repeat(interval, check, asked_until, on_check);
    Ok(())
}

/// One check after the other. `asked_until` waits, and returns whether the process was asked to stop before.
fn repeat(
    interval: Duration,
    mut check: impl FnMut() -> Result<Report, RunError>,
    mut asked_until: impl FnMut(Instant) -> bool,
    on_check: &mut dyn FnMut(Result<Report, RunError>) -> ControlFlow<()>,
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

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::report::samples;

    #[test]
    fn an_interruption_is_told_where_nothing_else_has_been() {
        let interrupted = Report {
            ended: Ended::Interrupted,
            ..samples::ready()
        };
        let mut checks = vec![
            Ok(interrupted),
            Err(RunError::Runtime(io::Error::other("no more threads"))),
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
        let failure = || Err(RunError::Runtime(io::Error::other("no more threads")));
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
