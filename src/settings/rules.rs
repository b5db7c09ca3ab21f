//! What `rules` was meant to print.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use super::session::session;
use super::{UsageError, edge_options};
use crate::cli::RulesArgs;
use crate::model::Options;
use crate::rules::drift::{self, Reading};
use crate::rules::{Cidr, Dialect, Distribution, Lockdown, Session, Ssh};

/// What is done with what has to be let out.
#[derive(Debug, Clone)]
pub enum RulesTask {
    /// Rules are printed.
    Print(Dialect),
    /// Rules that are there already, and have been read, are held against it.
    Compare(Box<Reading>),
}

/// Rules that are to be printed, or compared.
#[derive(Debug, Clone)]
pub struct RulesSettings {
    /// What the tunnel needs, and how its names are looked up.
    pub options: Options,
    /// What is done with it.
    pub task: RulesTask,
    /// Everything that the host lets in and out, where that is wanted.
    pub lockdown: Option<Lockdown>,
    /// Whether the documented addresses have to do.
    pub offline: bool,
    /// What this host runs.
    pub distribution: Distribution,
}

impl RulesSettings {
    /// Settles what was asked for; reads what sshd and the system say, and sends nothing.
    pub(super) fn new(args: &RulesArgs) -> Result<Self, UsageError> {
        // The rules of clouds are for other machines than this one.
        let elsewhere = args.format.is_some_and(Dialect::is_for_other_machines);
        let session = session().filter(|_| !elsewhere);
        let os_release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        Ok(Self {
            options: edge_options(&args.edge)?,
            task: task(args)?,
            lockdown: lockdown(args, session)?,
            offline: args.offline,
            distribution: Distribution::parse(&os_release),
        })
    }
}

impl RulesSettings {
    /// Whether rules are to be printed that close this host, so that what it needs itself has to be known.
    #[must_use]
    pub fn is_for_this_host_alone(&self) -> bool {
        let here = matches!(&self.task, RulesTask::Print(dialect) if dialect.is_for_this_host());
        here && self.lockdown.is_some()
    }

    /// Whether the port of SSH is the usual one because nothing tells another.
    #[must_use]
    pub fn guesses_ssh(&self) -> bool {
        let guessed = self
            .lockdown
            .as_ref()
            .is_some_and(|closed| closed.ssh.guessed);
        guessed && self.is_for_this_host_alone()
    }
}

/// A file is read at once: where it cannot be, nothing is sent.
fn task(args: &RulesArgs) -> Result<RulesTask, UsageError> {
    match &args.check_drift {
        None => Ok(RulesTask::Print(args.format.ok_or(UsageError::NoDialect)?)),
        Some(path) => {
            let unreadable = |why: String| UsageError::Drift {
                path: path.clone(),
                why,
            };
            let bytes =
                contents(path).map_err(|why| unreadable(format!("cannot be read: {why}")))?;
            let reading = drift::read(&bytes).map_err(|why| unreadable(why.to_string()))?;
            Ok(RulesTask::Compare(Box::new(reading)))
        }
    }
}

fn contents(path: &Path) -> io::Result<Vec<u8>> {
    if path != Path::new("-") {
        return fs::read(path);
    }
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn lockdown(args: &RulesArgs, session: Option<Session>) -> Result<Option<Lockdown>, UsageError> {
    if !args.lockdown {
        return Ok(None);
    }
    let mut ports = args
        .ssh_port
        .iter()
        .map(|text| port(text))
        .collect::<Result<Vec<_>, _>>()?;
    // The session in which somebody reads this must not be the first thing that is closed.
    ports.extend(session.map(|session| session.port));
    let guessed = ports.is_empty();
    if guessed {
        ports.push(Ssh::PORT);
    }
    ports.sort_unstable();
    ports.dedup();
    let from = args
        .ssh_from
        .iter()
        .map(|text| text.parse::<Cidr>().map_err(UsageError::SshFrom))
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(Session { peer, .. }) = session
        && !from.is_empty()
        && !from.iter().any(|network| network.contains(peer))
    {
        return Err(UsageError::SshFrom(format!(
            "this session comes from {peer}, which would be locked out; add --ssh-from {peer}"
        )));
    }
    Ok(Some(Lockdown {
        ssh: Ssh {
            ports,
            from,
            session,
            guessed,
        },
    }))
}

fn port(text: &str) -> Result<u16, UsageError> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let port = text.parse().ok().filter(|port| *port != 0 && digits);
    port.ok_or_else(|| UsageError::SshPort(text.to_owned()))
}
