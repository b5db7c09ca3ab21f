//! The program: parse, run, exit.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

#[cfg(target_os = "linux")]
use tunnelcheck::internal::rehearse::{self, Rehearsal, RehearsalError};
use tunnelcheck::internal::{
    app::{
        args,
        egress::{self, EgressError},
        man,
        output::{self, Told},
        run,
        settings::{
            DiffSettings, Presentation, Request, RulesSettings, RulesTask, Settings, ShowSettings,
            UsageError,
        },
        terminal::{Terminal, Window},
        watch::Live,
    },
    diagnose::diagnose,
    model::{ExitStatus, Report},
    report::{self, Progress, Style, Topic, escape},
    rules::{Egress, check::Check},
};

fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    if let Some(code) = tunnelcheck::internal::oracle::serve_if_asked() {
        return code;
    }
    let cli = match args::parse() {
        Ok(cli) => cli,
        Err(error) => return answer_or_refuse(&error),
    };
    let told = Request::new(cli, Terminal::detect()).and_then(|request| match request {
        Request::Check(settings) => Ok(check(&settings)),
        Request::Show(settings) => show(&settings),
        Request::Diff(settings) => Ok(diff(settings)),
        Request::Explain { topics, style } => Ok(explain(&topics, style)),
        Request::Completions(shell) => Ok(print(&man::completions(shell))),
        Request::Manual(folder) => Ok(manual(folder.as_deref())),
        Request::Rules(settings) => Ok(rules(&settings)),
        #[cfg(target_os = "linux")]
        Request::Rehearse(rehearsal, to) => Ok(rehearse(&rehearsal, &to)),
        #[cfg(target_os = "linux")]
        Request::Restore => Ok(or_complain(rehearse::restore(&mut io::stderr()))),
        #[cfg(target_os = "linux")]
        Request::Guard { deadline } => Ok(guard(deadline)),
        #[cfg(target_os = "linux")]
        Request::Script { inside } => {
            if inside {
                rehearse::script::work();
            } else {
                rehearse::script::begin();
            }
            Ok(ExitStatus::Ready)
        }
    });
    match told {
        Ok(status) => status.into(),
        Err(error) => {
            complain(&error.to_string());
            ExitStatus::Usage.into()
        }
    }
}

/// clap's errors include the answers to `--help` and `--version`.
fn answer_or_refuse(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        // clap quotes what was typed as it is.
        let text = error.render().to_string();
        let lines: Vec<_> = text.lines().map(escape).collect();
        let _ = writeln!(io::stderr(), "{}", lines.join("\n"));
        return ExitStatus::Usage.into();
    }
    // Whoever closed the pipe does not want the rest.
    let _ = error.print();
    ExitCode::SUCCESS
}

fn check(settings: &Settings) -> ExitStatus {
    if let Some(interval) = settings.watch {
        return watch(settings, interval);
    }
    let mut progress = Progress::new(settings.presentation.progress);
    let report = run::check(settings, &mut |event| progress.on(&event));
    progress.finish();
    match report {
        Ok(report) => tell(report, settings.baseline.as_deref(), &settings.presentation),
        Err(error) => {
            complain(&error.to_string());
            ExitStatus::Inconclusive
        }
    }
}

/// Checks again and again. The last complete check decides the exit code.
fn watch(settings: &Settings, interval: Duration) -> ExitStatus {
    let mut live = Live::new(settings, interval);
    let mut told = Ok(());
    let watched = run::watch(settings, interval, &mut |checked| {
        told = match checked {
            Ok(report) => live.tell(report, Window::detect(), &mut io::stdout().lock()),
            Err(error) => {
                complain(&format!("this check cannot be made: {error}"));
                Ok(())
            }
        };
        match told {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    });
    if let Err(error) = watched {
        complain(&error.to_string());
        return ExitStatus::Inconclusive;
    }
    let told = told.and_then(|()| live.end(Window::detect(), &mut io::stdout().lock()));
    settle(told, live.status())
}

/// The report with the new rules in force is printed and written as that of a check is.
#[cfg(target_os = "linux")]
fn rehearse(rehearsal: &Rehearsal, to: &Presentation) -> ExitStatus {
    let mut deliver = |report: Report| {
        tell(report, None, to);
    };
    or_complain(rehearse::run(rehearsal, &mut deliver, &mut io::stderr()))
}

#[cfg(target_os = "linux")]
fn or_complain(ending: Result<ExitStatus, RehearsalError>) -> ExitStatus {
    ending.unwrap_or_else(|error| {
        let line = format!("tunnelcheck: {}", escape(&error.to_string()));
        let _ = writeln!(io::stderr(), "{}", rehearse::fit(line));
        error.status()
    })
}

#[cfg(target_os = "linux")]
fn guard(deadline: Duration) -> ExitStatus {
    match rehearse::guard::stand(deadline) {
        Ok(()) => ExitStatus::Ready,
        Err(error) => {
            complain(&error.to_string());
            ExitStatus::Usage
        }
    }
}

fn show(settings: &ShowSettings) -> Result<ExitStatus, UsageError> {
    let report = report::load(&settings.report).map_err(|why| UsageError::Report {
        path: settings.report.clone(),
        why,
    })?;
    Ok(tell(
        diagnose(report.into_observations()),
        None,
        &settings.presentation,
    ))
}

fn diff(settings: DiffSettings) -> ExitStatus {
    let DiffSettings {
        before,
        after,
        presentation,
    } = settings;
    let status = output::exit_status(&after, Some(&before));
    let mut out = io::stdout().lock();
    let told = Told::new(*after, Some(&before), &presentation)
        .and_then(|told| output::deliver(told.difference(), &presentation, &mut out));
    settle(told, status)
}

fn explain(topics: &[Topic], style: Style) -> ExitStatus {
    print(&report::explain(topics, style))
}

fn manual(folder: Option<&Path>) -> ExitStatus {
    let Some(folder) = folder else {
        return man::manual().map_or_else(
            |error| settle(Err(error), ExitStatus::Usage),
            |page| print(&page),
        );
    };
    match man::write_manual(folder) {
        Ok(()) => ExitStatus::Ready,
        Err(error) => {
            complain(&format!(
                "{}: {error}; give a folder that is there",
                folder.display()
            ));
            ExitStatus::Usage
        }
    }
}

/// Rules that had to do without DNS are rules all the same; the warning stands in the file as well.
fn rules(settings: &RulesSettings) -> ExitStatus {
    let egress = match egress::egress(settings) {
        Ok(Some(egress)) => egress,
        Ok(None) => {
            complain("interrupted before all names were looked up; no rules are printed");
            return ExitStatus::Inconclusive;
        }
        Err(error @ EgressError::HiddenResolvers(_)) => {
            complain(&error.to_string());
            return ExitStatus::Usage;
        }
        Err(error) => {
            complain(&error.to_string());
            return ExitStatus::Inconclusive;
        }
    };
    if settings.guesses_ssh() {
        complain(
            "no SSH session was found: SSH stays open on port 22 only. If sshd listens on another port, \
             give it with --ssh-port, or the rules lock you out",
        );
    }
    for note in &egress.notes {
        complain(note);
    }
    match &settings.task {
        RulesTask::Print(dialect) => print(&dialect.render(&egress, settings.lockdown.as_ref())),
        RulesTask::PrintForContainer(dialect, container) => {
            let closed = settings.lockdown.is_some();
            print(&container.render(*dialect, &egress, closed))
        }
        RulesTask::Compare(check, printed) => compare(settings, &egress, check, printed.as_deref()),
    }
}

fn compare(
    settings: &RulesSettings,
    egress: &Egress,
    check: &Check,
    printed: Option<&RulesSettings>,
) -> ExitStatus {
    match egress::compare(settings, egress, check, printed) {
        Ok(Some(comparison)) => match print(&comparison.to_string()) {
            ExitStatus::Ready => comparison.status(),
            status => status,
        },
        Ok(None) => {
            complain("interrupted before all names were looked up; nothing is compared");
            ExitStatus::Inconclusive
        }
        Err(error) => {
            complain(&error.to_string());
            ExitStatus::Usage
        }
    }
}

fn print(text: &str) -> ExitStatus {
    let mut out = io::stdout().lock();
    settle(output::write_text(text, &mut out), ExitStatus::Ready)
}

/// Prints and writes the report, and returns what it says to the caller: its verdict, or what is
/// different from the baseline.
fn tell(report: Report, baseline: Option<&Report>, presentation: &Presentation) -> ExitStatus {
    let status = output::exit_status(&report, baseline);
    let mut out = io::stdout().lock();
    let told = Told::new(report, baseline, presentation)
        .and_then(|told| output::deliver(told.content(), presentation, &mut out));
    settle(told, status)
}

/// The status unless telling failed.
fn settle(told: io::Result<()>, status: ExitStatus) -> ExitStatus {
    match told {
        Ok(()) => status,
        // The reader has seen enough, as in `tunnelcheck | head -1`; the verdict holds.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => status,
        Err(error) => {
            complain(&error.to_string());
            ExitStatus::Usage
        }
    }
}

/// Says on standard error why there is no report. There is nobody to tell when that fails.
fn complain(message: &str) {
    let _ = writeln!(io::stderr(), "tunnelcheck: {}", escape(message));
}
