//! What a rehearsal says while it goes on: a paragraph a step, on standard error.

use std::io::{self, IsTerminal, Write};

use terminal_size::{Width, terminal_size_of};

use super::format::{Part, Rules};
use crate::diff::Difference;
use crate::model::{ExitStatus, Family, Report};
use crate::report::{escape, wrap};

/// Where the rehearsal says how it gets on. A terminal that is gone must not keep the old rules from
/// coming back.
pub(super) struct Tell<'a> {
    log: &'a mut dyn Write,
    quiet: bool,
    /// Columns of the terminal, if it is one that knows its size.
    width: Option<usize>,
}

impl<'a> Tell<'a> {
    /// Lines for people; only those that matter in the end if `quiet`.
    pub(super) fn new(log: &'a mut dyn Write, quiet: bool) -> Self {
        let width = width();
        Self { log, quiet, width }
    }

    /// The step, and what is to be said of it.
    pub(super) fn step(&mut self, step: &str, text: &str) {
        if !self.quiet {
            self.outcome(step, text);
        }
    }

    /// What is said under `--quiet` too.
    pub(super) fn outcome(&mut self, step: &str, text: &str) {
        let line = format!("{step}: {}", escape(text));
        let line = folded(line, self.width);
        let _ = writeln!(self.log, "{line}").and_then(|()| self.log.flush());
    }
}

fn width() -> Option<usize> {
    let size = terminal_size_of(io::stderr()).filter(|_| io::stderr().is_terminal());
    size.map(|(Width(columns), _)| columns.into())
}

/// A line in pieces that fit the terminal of standard error, if it is one.
#[must_use]
pub fn fit(line: String) -> String {
    folded(line, width())
}

/// Each but the first is indented.
fn folded(line: String, width: Option<usize>) -> String {
    match width {
        Some(width) => wrap(&line, width.saturating_sub(3).max(20)).join("\n  "),
        None => line,
    }
}

/// What is rehearsed.
pub(super) const fn kind(rules: &Rules) -> &'static str {
    match rules {
        Rules::Nft(_) => "a file for nft",
        Rules::Iptables(parts) if parts.len() > 1 => "for iptables-restore and ip6tables-restore",
        Rules::Iptables(parts) => match parts.as_slice() {
            [
                Part {
                    family: Family::Ipv6,
                    ..
                },
            ] => "for ip6tables-restore",
            _ => "for iptables-restore",
        },
        Rules::Script(_) => "a script, run once in namespaces of its own",
    }
}

/// What a check came to.
pub(super) fn told(report: &Report) -> String {
    format!("{}: {}", report.verdict, report.summary)
}

/// Lines on what is different.
pub(super) fn differ(difference: &Difference, tell: &mut Tell) {
    let lines = difference.lines();
    if lines.is_empty() {
        tell.step("difference", "none");
    }
    for line in lines {
        tell.step("difference", &line);
    }
}

/// What no check can see.
pub(super) fn warn(tell: &mut Tell) {
    tell.step(
        "note",
        "the check made new connections. Those that were there before, a running tunnel or this SSH \
         session, may live on connection tracking only: open a second session before you confirm",
    );
}

/// The end with the new rules in force.
pub(super) fn kept(rules: &Rules, tell: &mut Tell) -> ExitStatus {
    tell.step(
        "note",
        match rules {
            Rules::Nft(_) => {
                "to make them permanent: have /etc/nftables.conf include the file, and `systemctl enable nftables`"
            }
            Rules::Iptables(_) | Rules::Script(_) => {
                "to make them permanent: `netfilter-persistent save` (Debian, Ubuntu; package iptables-persistent), or `iptables-save >/etc/sysconfig/iptables` and `ip6tables-save >/etc/sysconfig/ip6tables` (Fedora, RHEL; package iptables-services)"
            }
        },
    );
    tell.outcome("kept", "the new rules are in force until the next boot");
    ExitStatus::Ready
}

/// The end that must not be.
pub(super) fn unrestored(why: &str, tell: &mut Tell) -> ExitStatus {
    tell.outcome(
        "NOT RESTORED",
        &format!("the old rules are NOT back: {why}"),
    );
    tell.outcome(
        "NOT RESTORED",
        "try `tunnelcheck rehearse --restore`; the old rules are in /run/tunnelcheck/rehearsal (old.nft, old.ipv4, old.ipv6)",
    );
    ExitStatus::Unrestored
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_folded() {
        let line = "restored: the old rules are back, as they were: not confirmed";
        let lines = folded(line.to_owned(), Some(30));
        assert!(lines.lines().all(|line| line.len() <= 30), "{lines}");
        assert_eq!(lines.replace("\n  ", " "), line);
        assert_eq!(folded(line.to_owned(), None), line);
    }

    #[test]
    fn only_what_matters_is_said_to_who_wants_silence() {
        let mut log = Vec::new();
        let mut tell = Tell::new(&mut log, true);
        tell.step("after", "ready");
        tell.outcome("kept", "yes");
        assert_eq!(String::from_utf8(log).unwrap(), "kept: yes\n");
    }
}
