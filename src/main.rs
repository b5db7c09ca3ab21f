//! The program: parse, run, exit.

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;

use tunnelcheck::cli;
use tunnelcheck::diagnose::diagnose;
use tunnelcheck::exit::ExitStatus;
use tunnelcheck::model::Report;
use tunnelcheck::report::{self, Progress, Style, Topic, Verbosity, escape};
use tunnelcheck::rules::drift;
use tunnelcheck::settings::{
    Presentation, Request, RulesSettings, RulesTask, Settings, ShowSettings, UsageError,
};
use tunnelcheck::terminal::Terminal;

fn main() -> ExitCode {
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(error) => return answer_or_refuse(&error),
    };
    let told = Request::new(cli, Terminal::detect()).and_then(|request| match request {
        Request::Check(settings) => Ok(run(&settings)),
        Request::Show(settings) => show(&settings),
        Request::Explain { topics, style } => Ok(explain(&topics, style)),
        Request::Rules(settings) => Ok(rules(&settings)),
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

fn run(settings: &Settings) -> ExitStatus {
    let mut progress = Progress::new(settings.presentation.progress);
    let report = tunnelcheck::check(settings, &mut |event| progress.on(&event));
    progress.finish();
    match report {
        Ok(report) => tell(report, &settings.presentation),
        Err(error) => {
            complain(&error.to_string());
            ExitStatus::Inconclusive
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
        &settings.presentation,
    ))
}

fn explain(topics: &[Topic], style: Style) -> ExitStatus {
    print(&report::explain(topics, style))
}

/// Rules that had to do without DNS are rules all the same; the warning stands in the file as well.
fn rules(settings: &RulesSettings) -> ExitStatus {
    let egress = match tunnelcheck::egress(settings) {
        Ok(Some(egress)) => egress,
        Ok(None) => {
            complain("interrupted before all names were looked up; no rules are printed");
            return ExitStatus::Inconclusive;
        }
        Err(error) => {
            complain(&error.to_string());
            return ExitStatus::Inconclusive;
        }
    };
    for note in &egress.notes {
        complain(note);
    }
    match &settings.task {
        RulesTask::Print(dialect) => print(&dialect.render(&egress, settings.lockdown.as_ref())),
        RulesTask::Compare(reading) => {
            let drift = drift::compare(&egress, reading, settings.lockdown.is_some());
            match print(&drift.to_string()) {
                ExitStatus::Ready if drift.lacks_required() => ExitStatus::Blocked,
                status => status,
            }
        }
    }
}

fn print(text: &str) -> ExitStatus {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain(&naming_stdout(&error).to_string());
            ExitStatus::Usage
        }
        _ => ExitStatus::Ready,
    }
}

/// Prints and writes the report, and returns what its verdict says to the caller.
fn tell(report: Report, presentation: &Presentation) -> ExitStatus {
    let status = ExitStatus::of(report.verdict, report.options.allow_degraded);
    match present(report, presentation) {
        Ok(()) => status,
        // The reader has seen enough, as in `tunnelcheck | head -1`; the verdict holds.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => status,
        Err(error) => {
            complain(&error.to_string());
            ExitStatus::Usage
        }
    }
}

/// Files come first: a closed standard output must not cost them.
fn present(report: Report, to: &Presentation) -> io::Result<()> {
    let report = if to.redact {
        report::redact(&report)?
    } else {
        report
    };
    for (path, format) in &to.outputs {
        let mut text = Vec::new();
        let verbosity = match to.verbosity {
            Verbosity::Quiet => Verbosity::Normal,
            other => other,
        };
        report::render(&report, *format, Style::default(), verbosity, &mut text)?;
        fs::write(path, text).map_err(|error| {
            let message = format!("--output: {}: cannot be written: {error}", path.display());
            io::Error::other(message)
        })?;
    }
    let mut out = io::stdout().lock();
    report::render(&report, to.format, to.style, to.verbosity, &mut out)
        .map_err(|e| naming_stdout(&e))
}

/// A bare "No space left on device" does not say where. What kind of error it is stays.
fn naming_stdout(error: &io::Error) -> io::Error {
    let message = format!("standard output cannot be written: {error}");
    io::Error::new(error.kind(), message)
}

/// Says on standard error why there is no report. There is nobody to tell when that fails.
fn complain(message: &str) {
    let _ = writeln!(io::stderr(), "tunnelcheck: {}", escape(message));
}
