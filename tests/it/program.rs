//! The program, kept from the network.

use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The program with a known environment, and without a network where the system lets us take it
/// away: should a case get further than it should, it sends nothing.
pub(crate) fn tunnelcheck(args: &[&str]) -> Command {
    let program = env!("CARGO_BIN_EXE_tunnelcheck");
    let mut command = match without_network() {
        Some(unshare) => {
            let mut command = Command::new("unshare");
            command.args(unshare).arg(program);
            command
        }
        None => Command::new(program),
    };
    command.args(args).stdin(Stdio::null());
    let ours = std::env::vars_os().map(|(name, _)| name);
    for name in ours.filter(|name| name.to_string_lossy().starts_with("TUNNEL_")) {
        command.env_remove(name);
    }
    // Set and empty: no session, not even one of the processes around this one.
    command.env_remove("NO_COLOR").env("SSH_CONNECTION", "");
    command
}

/// The arguments of `unshare` that give an empty network namespace here.
pub(crate) fn without_network() -> Option<&'static [&'static str]> {
    static KNOWN: OnceLock<Option<&'static [&'static str]>> = OnceLock::new();
    const WAYS: [&[&str]; 2] = [&["--net"], &["--user", "--map-root-user", "--net"]];
    let works = |way: &&[&str]| {
        let tried = Command::new("unshare")
            .args(*way)
            .arg("true")
            .stderr(Stdio::null())
            .status();
        tried.is_ok_and(|status| status.success())
    };
    *KNOWN.get_or_init(|| WAYS.into_iter().find(works))
}
