//! Programs of the system, run with a limit on their time and on what they print.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::OracleError;
use super::question::Format;

/// The search path: that of an ordinary user often lacks the `sbin` directories.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long a tool may take. Rulesets of ten thousand rules take a second or two.
const LIMIT: Duration = Duration::from_secs(10);

/// How much of what a tool prints is kept; the rest is read and thrown away.
const LONGEST: u64 = 32 << 20;

/// What a tool said.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) success: bool,
    pub(super) out: String,
    pub(super) err: String,
}

/// The tools that a question needs.
#[derive(Debug, Clone)]
pub(super) struct Tools {
    ip: PathBuf,
    nft: PathBuf,
    iptables: Option<PathBuf>,
    ip6tables: Option<PathBuf>,
}

impl Tools {
    /// Looks for them. Of iptables only the variant over nftables can be traced.
    pub(super) fn find(formats: &[Format]) -> Result<Self, OracleError> {
        let needed = |format, stem: &str| {
            let wanted = formats.contains(&format);
            wanted.then(|| restore(stem)).transpose()
        };
        Ok(Self {
            ip: need("ip", "iproute2")?,
            nft: need("nft", "nftables")?,
            iptables: needed(Format::Iptables, "iptables")?,
            ip6tables: needed(Format::Ip6tables, "ip6tables")?,
        })
    }

    /// `ip -batch`, in the network namespace of the calling thread.
    pub(super) fn ip(&self, lines: &str) -> Result<(), OracleError> {
        let said = run(&self.ip, &["-batch", "-"], lines)?;
        if said.success {
            return Ok(());
        }
        let complaint = said.err.lines().next().unwrap_or_default().to_owned();
        if complaint.contains("not permitted") {
            return Err(OracleError::NoNamespaces { why: complaint });
        }
        Err(OracleError::Internal(format!("ip: {complaint}")))
    }

    /// `nft`, in the network namespace of the calling thread.
    pub(super) fn nft(&self, arguments: &[&str], input: &str) -> Result<Said, OracleError> {
        run(&self.nft, arguments, input)
    }

    /// The tool of a part, with its input.
    pub(super) fn load(&self, format: Format, input: &str) -> Result<Said, OracleError> {
        let restore = match format {
            Format::Nft => return self.nft(&["-f", "-"], input),
            Format::Iptables => &self.iptables,
            Format::Ip6tables => &self.ip6tables,
        };
        let missing = || OracleError::Internal("a tool was not looked for".to_owned());
        run(restore.as_ref().ok_or_else(missing)?, &[], input)
    }
}

fn restore(stem: &str) -> Result<PathBuf, OracleError> {
    find(&format!("{stem}-nft-restore"))
        .map_or_else(|| need(&format!("{stem}-nft-restore"), "iptables"), Ok)
}

fn need(tool: &str, package: &str) -> Result<PathBuf, OracleError> {
    find(tool).ok_or_else(|| OracleError::Missing {
        tool: tool.to_owned(),
        package: package.to_owned(),
    })
}

/// Where a program of the system is, if it is installed.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let mut candidates = PATH
        .split(':')
        .map(|directory| Path::new(directory).join(name));
    candidates.find(|candidate| candidate.is_file())
}

fn run(tool: &Path, arguments: &[&str], input: &str) -> Result<Said, OracleError> {
    let mut command = Command::new(tool);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .env("LC_ALL", "C");
    finish(&mut command, input, LIMIT, false)
}

/// Runs a command to its end, or ends it after a time: with its whole group if it leads one.
pub(super) fn finish(
    command: &mut Command,
    input: &str,
    limit: Duration,
    leads_group: bool,
) -> Result<Said, OracleError> {
    if leads_group {
        command.process_group(0);
    }
    let internal = |why: std::io::Error| OracleError::Internal(why.to_string());
    let piped = [Stdio::piped(), Stdio::piped(), Stdio::piped()];
    let [stdin, stdout, stderr] = piped;
    command.stdin(stdin).stdout(stdout).stderr(stderr);
    let mut child = command.spawn().map_err(internal)?;
    let input = input.as_bytes().to_owned();
    if let Some(mut stdin) = child.stdin.take() {
        // A tool that reads no further has said why.
        thread::spawn(move || stdin.write_all(&input));
    }
    let (out, err) = (child.stdout.take().map(read), child.stderr.take().map(read));
    let until = Instant::now() + limit;
    let (Some(out), Some(err)) = (all_of(out, until), all_of(err, until)) else {
        end(&mut child, leads_group);
        return Err(OracleError::Time {
            seconds: limit.as_secs(),
        });
    };
    let success = child.wait().map_err(internal)?.success();
    Ok(Said { success, out, err })
}

/// Reads to the end in a thread of its own: a tool that cannot go on printing does not end.
fn read(mut from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.by_ref().take(LONGEST).read_to_end(&mut bytes);
        let _ = std::io::copy(&mut from, &mut std::io::sink());
        let _ = sender.send(bytes);
    });
    receiver
}

/// What was read, if it came to its end in time.
fn all_of(reader: Option<Receiver<Vec<u8>>>, until: Instant) -> Option<String> {
    let rest = until.saturating_duration_since(Instant::now());
    let bytes = reader?.recv_timeout(rest).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn end(child: &mut Child, leads_group: bool) {
    if let Ok(id) = i32::try_from(child.id()).map(Pid::from_raw) {
        let _ = if leads_group {
            killpg(id, Signal::SIGKILL)
        } else {
            kill(id, Signal::SIGKILL)
        };
    }
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(limit: u64, script: &str, input: &str) -> Result<Said, OracleError> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        finish(&mut command, input, Duration::from_millis(limit), true)
    }

    #[test]
    fn a_tool_that_does_not_end_is_ended_with_what_it_started() {
        let began = Instant::now();
        let error = sh(100, "sleep 60 & sleep 60", &"x".repeat(1 << 20)).unwrap_err();
        assert!(matches!(error, OracleError::Time { .. }), "{error}");
        assert!(began.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn what_a_tool_prints_is_kept_up_to_a_limit() {
        let said = sh(20_000, "cat; echo no >&2; exit 3", "yes").unwrap();
        assert_eq!(
            (said.success, said.out.as_str(), said.err.as_str()),
            (false, "yes", "no\n")
        );
        let said = sh(60_000, "head -c 40000000 /dev/zero", "").unwrap();
        assert_eq!(said.out.len() as u64, LONGEST);
    }
}
