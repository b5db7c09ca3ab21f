//! A tool, run to its end or to the end of its time.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use thiserror::Error;

use crate::oracle;

/// How long a tool may take. Rulesets of ten thousand rules take a second or two.
const LIMIT: Duration = Duration::from_secs(20);

/// A tool that is missing or that failed.
#[derive(Debug, Error)]
pub enum ToolError {
    /// It is not installed.
    #[error("{tool} is missing; install the package {package}")]
    Missing {
        /// The program.
        tool: &'static str,
        /// What it comes with.
        package: &'static str,
    },
    /// It cannot be run.
    #[error("{tool} cannot be run: {why}")]
    Start {
        /// The program.
        tool: String,
        /// The system's error.
        why: io::Error,
    },
    /// It ran, and said no.
    #[error("{tool}: {complaint}")]
    Failed {
        /// The program with its arguments.
        tool: String,
        /// The first lines that it said.
        complaint: String,
    },
    /// It did not end.
    #[error("{tool} has not come to an end in {} s and was ended", limit.as_secs())]
    Endless {
        /// The program with its arguments.
        tool: String,
        /// The time that it had.
        limit: Duration,
    },
}

fn search_path() -> String {
    let own = std::env::var("PATH").unwrap_or_default();
    [&own, oracle::PATH].join(":")
}

/// Where a program is, if it is installed.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    let path = search_path();
    let directories = path
        .split(':')
        .filter(|directory| directory.starts_with('/'));
    let mut candidates = directories.map(|directory| Path::new(directory).join(name));
    candidates.find(|candidate| candidate.is_file())
}

/// A tool in a group of its own: Ctrl-C on the terminal is not meant for it.
pub(super) fn command(tool: &Path) -> Command {
    let mut command = Command::new(tool);
    command.env("PATH", search_path()).env("LC_ALL", "C");
    command.process_group(0);
    command
}

/// Ends a tool with everything in its group, and waits for it.
pub(super) fn end(child: &mut Child) {
    let _ = i32::try_from(child.id()).map(|group| killpg(Pid::from_raw(group), Signal::SIGKILL));
    let _ = child.wait();
}

/// Runs a tool to its end and returns what it printed.
pub(super) fn run(tool: &Path, arguments: &[&str], input: &str) -> Result<String, ToolError> {
    run_within(LIMIT, tool, arguments, input)
}

fn run_within(
    limit: Duration,
    tool: &Path,
    arguments: &[&str],
    input: &str,
) -> Result<String, ToolError> {
    let name = tool.file_name().unwrap_or_default().to_string_lossy();
    let called = || [&*name, &arguments.join(" ")].join(" ").trim().to_owned();
    let start = |why| ToolError::Start {
        tool: name.to_string(),
        why,
    };
    let mut child = command(tool)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(start)?;
    let input = input.to_owned();
    if let Some(mut stdin) = child.stdin.take() {
        // A tool that reads no further has said why.
        thread::spawn(move || stdin.write_all(input.as_bytes()));
    }
    let said = child.stdout.take().map(read);
    let complained = child.stderr.take().map(read);
    let Some(status) = wait(&mut child, limit).map_err(start)? else {
        end(&mut child);
        return Err(ToolError::Endless {
            tool: called(),
            limit,
        });
    };
    if status.success() {
        return Ok(String::from_utf8_lossy(&all_of(said)).into_owned());
    }
    Err(ToolError::Failed {
        tool: called(),
        complaint: complaint(&all_of(complained), status),
    })
}

/// Reads to the end, beside whoever waits for the tool: one that cannot go on printing does not end.
fn read(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        bytes
    })
}

fn all_of(reader: Option<JoinHandle<Vec<u8>>>) -> Vec<u8> {
    let bytes = reader.map(|reader| reader.join().unwrap_or_default());
    bytes.unwrap_or_default()
}

/// Waits for the end; nothing where it does not come in time.
fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let until = Instant::now() + limit;
    let mut pause = Duration::from_micros(200);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= until {
            return Ok(None);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// What a tool said, in one line.
pub(super) fn complaint(stderr: &[u8], status: ExitStatus) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let said: Vec<&str> = lines.take(3).collect();
    if said.is_empty() {
        return status.to_string();
    }
    said.join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(limit: u64, script: &str, input: &str) -> Result<String, ToolError> {
        let limit = Duration::from_millis(limit);
        run_within(limit, Path::new("/bin/sh"), &["-c", script], input)
    }

    #[test]
    fn a_tool_that_does_not_end_is_ended_with_what_it_started() {
        let began = Instant::now();
        // Neither reads what it is given, and both hold the pipes.
        let error = sh(100, "sleep 60 & sleep 60", &"x".repeat(1 << 20)).unwrap_err();
        assert!(matches!(error, ToolError::Endless { .. }), "{error}");
        assert!(began.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn what_a_tool_says_is_told_whole() {
        let long = "y".repeat(1 << 20);
        assert_eq!(sh(20_000, "cat", &long).unwrap(), long);
        let error = sh(20_000, "echo one >&2; echo; echo two >&2; exit 3", "").unwrap_err();
        assert!(error.to_string().ends_with(": one | two"), "{error}");
        let error = sh(20_000, "exit 3", "").unwrap_err();
        assert!(error.to_string().ends_with("exit status: 3"), "{error}");
    }
}
