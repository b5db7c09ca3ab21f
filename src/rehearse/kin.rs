//! Processes that a process answers for: its children, and what these leave behind.
//!
//! A tool of the firewall that runs on would change rules after the old ones are back. So the
//! rehearsal and its guard both inherit what processes below them leave behind: a tool whose guard
//! was killed, a command of a script whose shell was. They end it before they bring anything back.

use std::fs;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};

/// How often children that were killed are looked for again.
const LOOK: Duration = Duration::from_millis(5);

/// How long the kernel may take to end them: it does so between two of its own calls.
const PATIENCE: Duration = Duration::from_secs(5);

/// From now on this process inherits what processes below it leave behind.
///
/// # Errors
/// A kernel before 3.4.
pub(super) fn inherit() -> Result<(), Errno> {
    set_child_subreaper(true)
}

/// Kills all children, and those that they leave, until there are none; false where some do not end.
///
/// Children that are held elsewhere must have been waited for before.
pub(super) fn end_all() -> bool {
    let until = Instant::now() + PATIENCE;
    loop {
        for child in children() {
            let _ = kill(child, Signal::SIGKILL);
        }
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Err(Errno::ECHILD) => return true,
                Ok(WaitStatus::StillAlive) | Err(_) => break,
                Ok(_) => {}
            }
        }
        if Instant::now() > until {
            return false;
        }
        std::thread::sleep(LOOK);
    }
}

/// The processes whose parent is this one. A number in the list is not given to another process as
/// long as this one has not waited for it.
fn children() -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    let numbers = names.filter_map(|name| name.to_str()?.parse().ok());
    let own = |process: &Pid| parent(*process) == Some(getpid());
    numbers.map(Pid::from_raw).filter(own).collect()
}

fn parent(process: Pid) -> Option<Pid> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Its name, in parentheses, may hold anything.
    let (_, rest) = text.rsplit_once(')')?;
    let number = rest.split_whitespace().nth(1)?;
    number.parse().ok().map(Pid::from_raw)
}
