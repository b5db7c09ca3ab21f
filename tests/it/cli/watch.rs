//! `--watch` and `--baseline` where there is no network: checks are quick, and all say the same.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::{assert_refused, recorded, run, text, tunnelcheck};
use crate::program::without_network;

/// Longer than any check without a network takes.
const DEADLINE: Duration = Duration::from_secs(20);

#[test]
fn intervals_and_subcommands_are_refused() {
    for (args, words) in [
        (
            &["--watch", "0"][..],
            "--watch: `0` is not a number of seconds from 1 to 86400",
        ),
        (&["--watch", "soon"], "--watch: `soon`"),
        (
            &["--watch", "--format", "junit"],
            "cannot carry junit again and again; give --format table or json, and --output FILE.xml",
        ),
        (&["--watch", "--format", "markdown"], "--output FILE.md"),
        (&["--watch", "--format", "prometheus"], "--output FILE.prom"),
        (&["--watch", "--format", "github"], "github again and again"),
        (
            &["--watch", "show", "x.json"],
            "`--watch` is for a check; `show` does not take it",
        ),
        (
            &["--watch", "2", "explain"],
            "`--watch` is for a check; `explain` does not take it",
        ),
        (
            &["--baseline", "x.json", "diff", "a", "b"],
            "`--baseline` is for a check; `diff`",
        ),
        (&["diff", "a", "b", "--watch"], "--watch"),
    ] {
        assert_refused(&run(args), words);
    }
}

/// The lines that a program writes, as they come.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines() {
                if sender.send(line.unwrap()).is_err() {
                    break;
                }
            }
        });
        Self { child, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(DEADLINE).expect("a line in time")
    }

    /// Sends the signal, and gives the exit code and what was still written.
    fn end(mut self, signal: nix::sys::signal::Signal) -> (Option<i32>, Vec<String>) {
        let id = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(id, signal).unwrap();
        let rest = std::iter::from_fn(|| self.lines.recv_timeout(DEADLINE).ok()).collect();
        (self.child.wait().unwrap().code(), rest)
    }
}

/// Nothing may be sent, so without a namespace there is nothing to run. The laboratory says so loudly.
fn watching(args: &[&str]) -> Option<Running> {
    without_network()?;
    // unshare makes way for the program (exec), so that it gets the signal.
    Some(Running::start(tunnelcheck(args)))
}

#[test]
fn json_is_a_report_a_line_and_the_last_verdict_decides() {
    use nix::sys::signal::Signal::{SIGINT, SIGTERM};
    for signal in [SIGINT, SIGTERM] {
        let Some(running) = watching(&["--watch", "1", "--format", "json"]) else {
            return;
        };
        let reports: Vec<serde_json::Value> = (0..2)
            .map(|_| serde_json::from_str(&running.line()).expect("a report in each line"))
            .collect();
        for report in &reports {
            assert_eq!(report["verdict"], "blocked", "a host without a network");
        }
        assert_ne!(reports[0]["started_at"], reports[1]["started_at"]);
        let (code, _) = running.end(signal);
        assert_eq!(code, Some(1));
    }
}

#[test]
fn files_hold_the_latest_report() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latest.json");
    let output = path.display().to_string();
    let Some(running) = watching(&["--watch", "1", "--format", "json", "--output", &output]) else {
        return;
    };
    for _ in 0..2 {
        let told: serde_json::Value = serde_json::from_str(&running.line()).unwrap();
        // The file comes first, so it holds this report or a later one.
        let kept: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert!(kept["started_at"].as_str() >= told["started_at"].as_str());
    }
    running.end(nix::sys::signal::Signal::SIGINT);
    let files = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(files, 1, "no half-written file is left");
}

#[test]
fn nothing_changes_and_nothing_is_told() {
    let Some(running) = watching(&["--watch", "1"]) else {
        return;
    };
    let first = running.line();
    assert!(first.contains("Z blocked: "), "{first}");
    let silence = running.lines.recv_timeout(Duration::from_secs(3));
    assert!(silence.is_err(), "{silence:?}");
    let (code, rest) = running.end(nix::sys::signal::Signal::SIGINT);
    assert_eq!((code, rest.len()), (Some(1), 0));
}

#[test]
fn a_reader_that_leaves_ends_the_watch() {
    let Some(mut running) = watching(&["--watch", "1", "--format", "json"]) else {
        return;
    };
    running.line();
    // Dropping the receiver ends the thread that reads, and so the pipe.
    running.lines = channel().1;
    assert_eq!(running.child.wait().unwrap().code(), Some(1));
}

#[test]
fn a_baseline_decides_the_exit_code() {
    if without_network().is_none() {
        return;
    }
    let lost = run(&["--baseline", &recorded("all-open")]);
    assert_eq!(lost.status.code(), Some(1), "{}", text(&lost.stderr));
    let told = text(&lost.stdout);
    assert!(
        told.contains("  BLOCKED  ") && told.contains("  WORSE  Got worse: verdict"),
        "{told}"
    );
    // Blocked as before: nothing got worse.
    let same = run(&["--baseline", &recorded("both-dropped"), "--format", "json"]);
    let report: serde_json::Value = serde_json::from_slice(&same.stdout).unwrap();
    assert_eq!(report["exit_code"], 1, "of the verdict");
    let difference = &report["difference"];
    assert_eq!(
        difference["exit_code"],
        same.status.code().unwrap(),
        "of the process"
    );
    assert_eq!(difference["before"]["verdict"], "blocked");
    tunnelcheck::internal::report::read(&same.stdout).expect("it is a report all the same");
}
