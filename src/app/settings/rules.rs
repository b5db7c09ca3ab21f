//! What `rules` was meant to print.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::builder::Resettable;
use clap::{Args as _, FromArgMatches as _};

use super::container::{self, container};
use super::session::session;
use super::{UsageError, edge_options};
use crate::app::args::RulesArgs;
use crate::model::Options;
use crate::rules::check::{self, Check, Container, Given, Viewpoint};
use crate::rules::{Cidr, Dialect, Distribution, Lockdown, Session, Ssh};

/// What is done with what has to be let out.
#[derive(Debug, Clone)]
pub enum RulesTask {
    /// Rules are printed.
    Print(Dialect),
    /// Rules for what is forwarded for a container are printed.
    PrintForContainer(Dialect, Container),
    /// Rules that are there already, and have been read, are held against it.
    Compare(Box<Check>, Option<Box<RulesSettings>>),
}

/// Rules that are to be printed, or compared.
#[derive(Debug, Clone)]
pub struct RulesSettings {
    /// What the tunnel needs, and how its names are looked up.
    pub options: Options,
    /// What is done with it. A file that this program printed comes with how it was printed.
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
        Ok(Self {
            task: task(args)?,
            ..Self::without_task(args, session)?
        })
    }

    fn without_task(args: &RulesArgs, session: Option<Session>) -> Result<Self, UsageError> {
        let os_release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        Ok(Self {
            options: edge_options(&args.edge)?,
            task: RulesTask::Print(args.format.unwrap_or(Dialect::Csv)),
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

    /// The dialect in which rules are printed; that of tables if none are.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        match self.task {
            RulesTask::Print(dialect) | RulesTask::PrintForContainer(dialect, _) => dialect,
            RulesTask::Compare(..) => Dialect::Csv,
        }
    }

    /// The container for which rules are printed.
    #[must_use]
    pub const fn container(&self) -> Option<&Container> {
        match &self.task {
            RulesTask::PrintForContainer(_, container) => Some(container),
            RulesTask::Print(_) | RulesTask::Compare(..) => None,
        }
    }

    /// Whether the port of SSH is the usual one because no other one is known.
    #[must_use]
    pub fn guesses_ssh(&self) -> bool {
        let guessed = self
            .lockdown
            .as_ref()
            .is_some_and(|closed| closed.ssh.guessed);
        guessed && self.is_for_this_host_alone()
    }
}

/// Files are read at once: where one cannot be, nothing is sent.
fn task(args: &RulesArgs) -> Result<RulesTask, UsageError> {
    if let Some(paths) = &args.check_drift {
        return compare(args, paths);
    }
    let dialect = args.format.ok_or(UsageError::NoDialect)?;
    match &args.for_container {
        None => Ok(RulesTask::Print(dialect)),
        Some(_) if !matches!(dialect, Dialect::Nftables | Dialect::Iptables) => {
            Err(UsageError::Container(format!(
                "{} has no rules for forwarded traffic; give --format nftables or iptables",
                dialect.as_str()
            )))
        }
        Some(text) => Ok(RulesTask::PrintForContainer(dialect, container(text)?)),
    }
}

fn compare(args: &RulesArgs, paths: &[PathBuf]) -> Result<RulesTask, UsageError> {
    let viewpoint = Viewpoint {
        user: args.as_user.clone(),
        container: match (&args.for_container, args.source) {
            (Some(text), _) => Some(container(text)?),
            (None, Some(address)) => container::of(&[address]),
            (None, None) => None,
        },
    };
    let given = if paths.is_empty() {
        in_force().map_err(|why| UsageError::Drift {
            name: "the rules in force".to_owned(),
            why,
        })?
    } else {
        let files = paths.iter().map(|path| contents(path));
        let files = files.collect::<Result<Vec<_>, _>>()?;
        check::read(&files).map_err(|refused| UsageError::Drift {
            name: refused.name,
            why: refused.why,
        })?
    };
    let printed = match &given {
        Given::Own(printed) => Some(Box::new(as_printed(&printed.options)?)),
        Given::Filters(filters) => {
            verify(filters, &viewpoint)?;
            None
        }
        Given::Lists(_) => None,
    };
    let closed = args.lockdown;
    let check = Box::new(Check {
        given,
        viewpoint,
        closed,
    });
    Ok(RulesTask::Compare(check, printed))
}

/// How a file was printed, by the options in its header. Neither the environment nor the session in which
/// this is read was there when it was printed.
fn as_printed(words: &[String]) -> Result<RulesSettings, UsageError> {
    let wrong = |why: String| UsageError::Drift {
        name: "the header of the file".to_owned(),
        why: format!("{why}; print the file again"),
    };
    let command = RulesArgs::augment_args(clap::Command::new("rules").no_binary_name(true));
    let command = command.mut_args(|arg| arg.env(Resettable::Reset));
    let matches = command.try_get_matches_from(words);
    let args = matches.and_then(|matches| RulesArgs::from_arg_matches(&matches));
    let args = args.map_err(|why| {
        let text = why.to_string();
        wrong(
            text.lines()
                .next()
                .unwrap_or_default()
                .trim_start_matches("error: ")
                .to_owned(),
        )
    })?;
    let dialect = args.format.filter(|_| args.check_drift.is_none());
    let dialect =
        dialect.ok_or_else(|| wrong("it does not say how the file was printed".to_owned()))?;
    let task = match &args.for_container {
        None => RulesTask::Print(dialect),
        Some(text) => match container::of(&addresses(text)) {
            Some(container) => RulesTask::PrintForContainer(dialect, container),
            None => return Err(wrong(format!("`{text}` is not an address"))),
        },
    };
    Ok(RulesSettings {
        task,
        ..RulesSettings::without_task(&args, None)?
    })
}

fn addresses(text: &str) -> Vec<std::net::IpAddr> {
    text.split(',')
        .filter_map(|word| word.parse().ok())
        .collect()
}

#[cfg(target_os = "linux")]
fn in_force() -> Result<Given, String> {
    check::in_force().map(Given::Filters)
}

#[cfg(not(target_os = "linux"))]
fn in_force() -> Result<Given, String> {
    Err("without a file it compares the rules in force, on Linux only; give a file".to_owned())
}

/// Rules that cannot be tried are refused before anything is sent.
#[cfg(target_os = "linux")]
fn verify(filters: &check::Filters, viewpoint: &Viewpoint) -> Result<(), UsageError> {
    check::verify(filters, viewpoint).map_err(|why| UsageError::Trial(why.to_string()))
}

#[cfg(not(target_os = "linux"))]
fn verify(_: &check::Filters, _: &Viewpoint) -> Result<(), UsageError> {
    Err(UsageError::Trial(
        "rules of nftables and iptables are judged by the kernel: compare them on Linux".to_owned(),
    ))
}

/// The name of a file and what is in it, no more than is read of one.
fn contents(path: &Path) -> Result<(String, Vec<u8>), UsageError> {
    let name = if path == Path::new("-") {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    };
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin()
            .lock()
            .take(check::LONGEST + 1)
            .read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(check::LONGEST + 1).read_to_end(&mut bytes))
    };
    match read {
        Ok(_) => Ok((name, bytes)),
        Err(why) => Err(UsageError::Drift {
            name,
            why: format!("cannot be read: {why}"),
        }),
    }
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
