//! Scripts are run, not read: once, starting from a copy of the present rules, in namespaces of their
//! own. What comes out is the ruleset that is rehearsed.
//!
//! ```text
//! rehearsal ──> rehearsal-script           user namespace; the rehearsal writes its map of users
//!                └─> rehearsal-script --inside   process 1 of the others: mount, PID, IPC, UTS, network
//!                     └─> the shell with the script
//! ```
//!
//! When the rehearsal ends the first of them, the kernel ends all others.

mod inside;
mod root;

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::inside::{begin, work};
use super::links;
use super::ruleset::Ruleset;
use super::snapshot::Snapshot;

/// How long a script may take, with the loading of the present rules.
const LIMIT: Duration = Duration::from_secs(20);

/// At most this much of an answer is read: a ruleset of some hundred thousand rules.
const LONGEST: u64 = 256 << 20;

/// The first of the users outside that stand for those of the script: nobody's, and out of the way of
/// the ranges that systems give to containers.
const FIRST_USER: u32 = 0x7000_0000;

/// How many users the script knows.
const USERS: u32 = 0x0fff_ffff;

/// What the process inside is to do.
#[derive(Debug, Serialize, Deserialize)]
struct Task {
    script: String,
    /// The shell that its first line names, if that is not the usual one.
    bash: bool,
    present: Snapshot,
    /// The names of this host's interfaces.
    interfaces: Vec<String>,
}

/// What has come out.
#[derive(Debug, Serialize, Deserialize)]
enum Outcome {
    Made(Box<Ruleset>),
    Refused(Refusal),
    /// The surroundings cannot be made.
    Impossible(String),
}

/// What a script did that a rehearsal cannot take.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum Refusal {
    /// A program that is not there.
    #[error(
        "line {line} of the script runs `{program}`; a script can run a shell, nft, iptables, ip6tables, ip and sysctl here, and nothing else: {}",
        remedy(program)
    )]
    Program {
        /// The line's number, from 1.
        line: usize,
        /// The program.
        program: String,
    },
    /// The shell complains.
    #[error("line {line} of the script: {complaint}")]
    Shell {
        /// The line's number, from 1.
        line: usize,
        /// What the shell said.
        complaint: String,
    },
    /// The script ends with an error.
    #[error("the script fails: {0}")]
    Failed(String),
}

fn remedy(program: &str) -> &'static str {
    let name = program.rsplit('/').next().unwrap_or(program);
    match name {
        "ufw" | "firewall-cmd" | "firewall-offline-cmd" => {
            "it keeps files that a rehearsal cannot bring back; rehearse the same rules as `tunnelcheck rules --format nftables` prints them"
        }
        _ => "leave that line out, or give an nft file or what iptables-save prints",
    }
}

/// Why a script gives no rules. Nothing was touched.
#[derive(Debug, Error)]
pub enum ScriptError {
    /// It did something that cannot be taken.
    #[error("{0}")]
    Refused(Refusal),
    /// It did not end.
    #[error("the script has not come to an end in {} s", LIMIT.as_secs())]
    Endless,
    /// It cannot be run safely here.
    #[error(
        "the script cannot be tried in namespaces of its own here ({0}); give an nft file or what iptables-save prints instead"
    )]
    Impossible(String),
}

/// Runs a script, and returns the rules that it leaves. The rules of this host are not touched.
///
/// # Errors
/// Where it fails, or cannot be run safely.
pub(super) fn run(script: &str, present: &Snapshot) -> Result<Ruleset, ScriptError> {
    let impossible = |why: io::Error| ScriptError::Impossible(why.to_string());
    let first = script.lines().next().unwrap_or_default();
    let task = Task {
        script: script.to_owned(),
        bash: first.starts_with("#!") && first.contains("bash"),
        present: present.clone(),
        interfaces: links::of_this_host(),
    };
    let task = serde_json::to_vec(&task).map_err(io::Error::from);
    let task = task.map_err(impossible)?;
    let mut child = Command::new("/proc/self/exe")
        .arg("rehearsal-script")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(impossible)?;
    let answer = converse(&mut child, task);
    let _ = child.kill();
    let _ = child.wait();
    match answer? {
        Outcome::Made(ruleset) => Ok(*ruleset),
        Outcome::Refused(refusal) => Err(ScriptError::Refused(refusal)),
        Outcome::Impossible(why) => Err(ScriptError::Impossible(why)),
    }
}

fn converse(child: &mut Child, task: Vec<u8>) -> Result<Outcome, ScriptError> {
    let until = Instant::now() + LIMIT;
    let impossible = |why: &str| ScriptError::Impossible(why.to_owned());
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(impossible("no pipes"));
    };
    let (sender, answers) = channel();
    thread::spawn(move || {
        let mut stdout = BufReader::new(stdout);
        let mut ready = String::new();
        let _ = stdout.read_line(&mut ready);
        let _ = sender.send(ready.into_bytes());
        let mut answer = Vec::new();
        let _ = stdout.take(LONGEST).read_to_end(&mut answer);
        let _ = sender.send(answer);
    });
    let left = || until.saturating_duration_since(Instant::now());
    let ready = answers.recv_timeout(left());
    let ready = ready.map_err(|_| ScriptError::Endless)?;
    let ready = String::from_utf8_lossy(&ready).trim().to_owned();
    if ready != inside::READY {
        return Err(ScriptError::Impossible(ready));
    }
    map_users(child.id()).map_err(|why| ScriptError::Impossible(why.to_string()))?;
    // A process that is gone has said why.
    thread::spawn(move || stdin.write_all(&[b"\n", &*task].concat()));
    let answer = answers.recv_timeout(left());
    let answer = answer.map_err(|_| ScriptError::Endless)?;
    serde_json::from_slice(&answer).map_err(|_| impossible("the trial ended early"))
}

/// Gives the process users that nobody has outside. In a user namespace that lacks them, such as that of
/// a container, its root is the own user, which has no power outside either.
fn map_users(process: u32) -> io::Result<()> {
    let write = |map: &str| {
        let file = |name: &str| fs::write(format!("/proc/{process}/{name}"), map);
        file("uid_map").and_then(|()| file("gid_map"))
    };
    let for_all = fs::metadata("/proc/self/exe")?.mode() & 0o001 != 0;
    if for_all && write(&format!("0 {FIRST_USER} {USERS}\n")).is_ok() {
        return Ok(());
    }
    let own = fs::read_to_string("/proc/self/uid_map")?;
    if own.split_whitespace().eq(["0", "0", "4294967295"]) {
        return Err(io::Error::other(
            "other users cannot execute this program: `chmod o+rx` its file",
        ));
    }
    write("0 0 1\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_comes_with_a_remedy() {
        let told = |program: &str| {
            let program = program.to_owned();
            Refusal::Program { line: 3, program }.to_string()
        };
        assert!(told("rm").starts_with("line 3 of the script runs `rm`; "));
        assert!(
            told("rm")
                .ends_with("leave that line out, or give an nft file or what iptables-save prints")
        );
        assert!(told("/usr/sbin/ufw").contains("--format nftables"));
    }
}
