//! What a rehearsal says while it goes on: a line a step, on standard error.

use std::io::Write;

use super::format::{Part, Rules};
use super::snapshot::Trial;
use crate::diff::Difference;
use crate::exit::ExitStatus;
use crate::model::{Family, Report};
use crate::report::escape;

/// Where the rehearsal tells how it gets on. Nobody may be listening any more: a terminal that is
/// gone must not keep the old rules from coming back.
pub(super) struct Tell<'a>(pub(super) &'a mut dyn Write);

impl Tell<'_> {
    /// One line: the step, and what is to be said of it.
    pub(super) fn step(&mut self, step: &str, text: &str) {
        let _ = writeln!(self.0, "{step}: {}", escape(text)).and_then(|()| self.0.flush());
    }
}

/// What is rehearsed.
pub(super) const fn kind(rules: &Rules) -> &'static str {
    match rules {
        Rules::Nft(_) => "a script for nft",
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
        Rules::Script(_) => "a shell script of iptables and nft",
    }
}

/// How sure it is that the old rules can come back.
pub(super) fn saved(trial: &Trial) -> String {
    let untried = trial.untried.iter();
    let untried: Vec<String> = untried
        .map(|(what, why)| format!("{what} could not be tried out ({why})"))
        .collect();
    if untried.is_empty() {
        return "the present rules; tried out, they come back exactly".to_owned();
    }
    format!(
        "the present rules; tried out, they come back exactly, but {}",
        untried.join("; ")
    )
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
    tell.step("kept", "the new rules are in force until the next boot");
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
    ExitStatus::Ready
}

/// The end that must not be.
pub(super) fn unrestored(why: &str, tell: &mut Tell) -> ExitStatus {
    tell.step(
        "NOT RESTORED",
        &format!("the old rules are NOT back: {why}"),
    );
    tell.step(
        "NOT RESTORED",
        "try `tunnelcheck rehearse --restore`; the old rules are in /run/tunnelcheck/rehearsal (old.nft, old.ipv4, old.ipv6)",
    );
    ExitStatus::Unrestored
}
