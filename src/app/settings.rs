//! Arguments, environment and terminal become settings that cannot be wrong, before anything is sent.

mod container;
mod optional_hosts;
#[cfg(target_os = "linux")]
mod rehearse;
mod rules;
mod session;

use std::fs::OpenOptions;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap_complete::Shell;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;

use crate::app::args::{Action, CheckArgs, Cli, ColorChoice, EdgeArgs, OutputArgs, RegionArg};
use crate::app::terminal::Terminal;
use crate::check::Check;
use crate::diagnose::diagnose;
use crate::model::{EdgeAddress, Family, IpVersionChoice, Options, Region, Report};
use crate::net::host;
#[cfg(target_os = "linux")]
use crate::rehearse::{Rehearsal, format::FormatError};
use crate::report::{self, Format, ReadError, Style, Topic, Verbosity};
use crate::rules::Dialect;

pub use self::rules::{RulesSettings, RulesTask};

/// What the program was asked to do.
#[derive(Debug)]
pub enum Request {
    /// Check this network.
    Check(Box<Settings>),
    /// Print a saved report again.
    Show(ShowSettings),
    /// Compare two saved reports.
    Diff(DiffSettings),
    /// Tell what findings mean.
    Explain {
        /// Which ones; none is the list of all.
        topics: Vec<Topic>,
        /// How the text looks.
        style: Style,
    },
    /// Print the completions of a shell.
    Completions(Shell),
    /// Print the manual page, or write all pages into a folder.
    Manual(Option<PathBuf>),
    /// Print firewall rules.
    Rules(Box<RulesSettings>),
    /// Try firewall rules.
    #[cfg(target_os = "linux")]
    Rehearse(Box<Rehearsal>, Box<Presentation>),
    /// Try a script in namespaces of its own.
    #[cfg(target_os = "linux")]
    Script {
        /// Whether this is the first process inside.
        inside: bool,
    },
    /// Bring back what a rehearsal has left.
    #[cfg(target_os = "linux")]
    Restore,
    /// Be the process that brings the old rules back.
    #[cfg(target_os = "linux")]
    Guard {
        /// Until when, from now.
        deadline: Duration,
    },
}

/// A check: what is probed, and how it is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What is probed and how it is judged.
    pub options: Options,
    /// The parsed certificates of `--cacert`: never empty, and each good as a trust anchor.
    pub cacert: Option<Vec<CertificateDer<'static>>>,
    /// The report that it is compared with, as this program diagnoses it.
    pub baseline: Option<Box<Report>>,
    /// From the start of one check to that of the next, where it is repeated.
    pub watch: Option<Duration>,
    /// How it is told.
    pub presentation: Presentation,
}

impl Settings {
    /// What the library is to check.
    #[must_use]
    pub fn check(&self) -> Check {
        let check = Check::with_options(self.options.clone());
        match &self.cacert {
            Some(given) => check.authorities(given.iter().map(|certificate| certificate.to_vec())),
            None => check,
        }
    }
}

/// Two saved reports that are to be compared.
#[derive(Debug, Clone)]
pub struct DiffSettings {
    /// The earlier report, as this program diagnoses it.
    pub before: Box<Report>,
    /// The later one.
    pub after: Box<Report>,
    /// How the difference is told.
    pub presentation: Presentation,
}

/// A saved report that is to be printed again.
#[derive(Debug, Clone)]
pub struct ShowSettings {
    /// The file; `-` is standard input.
    pub report: PathBuf,
    /// How it is told.
    pub presentation: Presentation,
}

/// Where reports go, and how they look.
#[derive(Debug, Clone)]
pub struct Presentation {
    /// What standard output carries.
    pub format: Format,
    /// Colour and width for standard output.
    pub style: Style,
    /// How much the table tells.
    pub verbosity: Verbosity,
    /// The files to write, each with the format of its ending.
    pub outputs: Vec<(PathBuf, Format)>,
    /// Whether names and addresses of this host are masked.
    pub redact: bool,
    /// Whether progress is shown on standard error.
    pub progress: bool,
}

/// What is wrong with the input: one line that names it, and what to give instead. Exit code 2.
#[derive(Debug, Error)]
pub enum UsageError {
    /// `--edge` is not `HOST:PORT`.
    #[error("--edge (TUNNEL_EDGE): {0}")]
    Edge(String),
    /// `--edge-bind-address` is no address.
    #[error("--edge-bind-address (TUNNEL_EDGE_BIND_ADDRESS): `{0}` is not an IP address")]
    BindAddress(String),
    /// This host does not have the bind address.
    #[error(
        "--edge-bind-address (TUNNEL_EDGE_BIND_ADDRESS): this host cannot send from {address}: {why}; give one of its own addresses"
    )]
    BindAddressMissing {
        /// The address that was asked for.
        address: IpAddr,
        /// The system's error.
        why: io::Error,
    },
    /// The file of `--cacert` gives no trust anchors.
    #[error("--cacert (TUNNEL_CACERT): {}: {why}", path.display())]
    Cacert {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// `--team` is no team name.
    #[error("--team: {0}")]
    Team(String),
    /// `--optional-host` is not a host name.
    #[error("--optional-host: {0}")]
    OptionalHost(String),
    /// `--resolver` is not `IP[:PORT]`.
    #[error(
        "--resolver: `{0}` is not IP or IP:PORT, such as 1.1.1.1, 1.1.1.1:5353 or [2606:4700:4700::1111]:53"
    )]
    Resolver(String),
    /// `--timeout` is out of range.
    #[error("--timeout: `{0}` is not a number of seconds from 0.1 to 3600")]
    Timeout(String),
    /// `rules` was not told in which language.
    #[error("--format: which rules? One of {}", Dialect::words())]
    NoDialect,
    /// The rules of `--check-drift` cannot be compared.
    #[error("--check-drift: {name}: {why}")]
    Drift {
        /// The file.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// The rules of `--check-drift` cannot be tried.
    #[error("--check-drift: {0}")]
    Trial(String),
    /// `--for-container` names none.
    #[error("--for-container: {0}")]
    Container(String),
    /// `--ssh-port` is no port.
    #[error("--ssh-port: `{0}` is not a port from 1 to 65535")]
    SshPort(String),
    /// `--ssh-from` is no network, or locks this session out.
    #[error("--ssh-from: {0}")]
    SshFrom(String),
    /// `--watch` is out of range.
    #[error("--watch: `{0}` is not a number of seconds from 1 to 86400")]
    Watch(String),
    /// What `--watch` writes again and again is no document of this format.
    #[error(
        "--watch: standard output cannot carry {0} again and again; give --format table or json{1}"
    )]
    WatchFormat(&'static str, &'static str),
    /// Standard input was to be two reports.
    #[error("standard input (`-`) can be one of the two reports; name a file for the other")]
    TwiceStdin,
    /// The ending of an `--output` names no format.
    #[error("--output: {}: the ending names the format; known are {}", path.display(), Format::ENDINGS)]
    OutputFormat {
        /// The file.
        path: PathBuf,
    },
    /// An `--output` cannot be written.
    #[error("--output: {}: cannot be written: {why}", path.display())]
    Output {
        /// The file.
        path: PathBuf,
        /// The system's error.
        why: io::Error,
    },
    /// `--deadline` is out of range.
    #[error("--deadline: `{0}` is not a whole number of seconds from 2 to 3600")]
    Deadline(String),
    /// The file of rules cannot be read.
    #[error("{}: cannot be read: {why}; give a file of firewall rules", path.display())]
    RulesFile {
        /// The file.
        path: PathBuf,
        /// The system's error.
        why: io::Error,
    },
    /// The file of rules holds something else.
    #[cfg(target_os = "linux")]
    #[error("{}: {why}", path.display())]
    Rules {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: FormatError,
    },
    /// Another system.
    #[error("rehearse is for Linux only; on this system apply the rules by hand")]
    NoRehearsal,
    /// A saved report cannot be read.
    #[error("{}: {why}", path.display())]
    Report {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: ReadError,
    },
}

impl Request {
    /// Settles what was asked for. Nothing is sent; files of `--output` are created, not truncated.
    ///
    /// # Errors
    /// The first input that does not hold, in the order in which the help lists them.
    pub fn new(cli: Cli, terminal: Terminal) -> Result<Self, UsageError> {
        match cli.command {
            None => Ok(Self::Check(Box::new(Settings {
                watch: watch(cli.compare.watch.as_deref(), cli.output.format)?,
                baseline: cli.compare.baseline.as_deref().map(saved).transpose()?,
                ..settings(&cli.check, cli.output, terminal)?
            }))),
            Some(Action::Show { report, format }) => Ok(Self::Show(ShowSettings {
                report,
                presentation: presentation(with_format(cli.output, format), terminal)?,
            })),
            Some(Action::Diff {
                before,
                after,
                format,
            }) => {
                if before == Path::new("-") && after == before {
                    return Err(UsageError::TwiceStdin);
                }
                Ok(Self::Diff(DiffSettings {
                    before: saved(&before)?,
                    after: saved(&after)?,
                    presentation: presentation(with_format(cli.output, format), terminal)?,
                }))
            }
            Some(Action::Explain { topics }) => Ok(Self::Explain {
                topics,
                style: style(cli.output.color, terminal),
            }),
            Some(Action::Completions { shell }) => Ok(Self::Completions(shell)),
            Some(Action::Man { folder }) => Ok(Self::Manual(folder)),
            Some(Action::Rules(args)) => Ok(Self::Rules(Box::new(RulesSettings::new(&args)?))),
            #[cfg(target_os = "linux")]
            Some(Action::Rehearse(args)) => rehearse::request(&args, cli.output, terminal),
            #[cfg(target_os = "linux")]
            Some(Action::RehearsalScript { inside }) => Ok(Self::Script { inside }),
            #[cfg(target_os = "linux")]
            Some(Action::RehearsalGuard { deadline_ms }) => Ok(Self::Guard {
                deadline: Duration::from_millis(deadline_ms),
            }),
            #[cfg(not(target_os = "linux"))]
            Some(
                Action::Rehearse(_)
                | Action::RehearsalGuard { .. }
                | Action::RehearsalScript { .. },
            ) => Err(UsageError::NoRehearsal),
        }
    }
}

/// A format behind the subcommand counts before one in front of it.
fn with_format(output: OutputArgs, format: Option<Format>) -> OutputArgs {
    let format = format.unwrap_or(output.format);
    OutputArgs { format, ..output }
}

/// A saved report under today's rules: what two versions of this program make of the same answers is
/// no difference of the network.
fn saved(path: &Path) -> Result<Box<Report>, UsageError> {
    let report = report::load(path).map_err(|why| UsageError::Report {
        path: path.to_owned(),
        why,
    })?;
    Ok(Box::new(diagnose(report.into_observations())))
}

fn settings(
    check: &CheckArgs,
    output: OutputArgs,
    terminal: Terminal,
) -> Result<Settings, UsageError> {
    Ok(Settings {
        options: options(check)?,
        cacert: check.cacert.as_deref().map(certificates).transpose()?,
        baseline: None,
        watch: None,
        presentation: presentation(output, terminal)?,
    })
}

fn options(args: &CheckArgs) -> Result<Options, UsageError> {
    Ok(Options {
        cacert: args.cacert.as_ref().map(|path| path.display().to_string()),
        post_quantum: args.post_quantum,
        allow_degraded: args.allow_degraded,
        strict: args.strict,
        ..edge_options(&args.edge)?
    })
}

/// What the tunnel needs; how it is judged is as usual.
fn edge_options(edge: &EdgeArgs) -> Result<Options, UsageError> {
    let bind = bind_address(edge.edge_bind_address.as_deref())?;
    let region = edge.region.and_then(region);
    Ok(Options {
        protocol: edge.protocol,
        edge_ip_version: ip_version(edge.edge_ip_version, bind),
        region,
        edge: edge
            .edge
            .iter()
            .map(|edge| edge.parse::<EdgeAddress>().map_err(UsageError::Edge))
            .collect::<Result<_, _>>()?,
        edge_bind_address: bind,
        cacert: None,
        team: edge.team.as_deref().map(team).transpose()?,
        optional: !edge.no_optional,
        optional_hosts: Some(optional_hosts::of(edge, region)?),
        post_quantum: false,
        resolver: edge
            .resolver
            .iter()
            .map(|text| resolver(text))
            .collect::<Result<_, _>>()?,
        timeout_s: timeout(&edge.timeout)?,
        allow_degraded: false,
        strict: false,
    })
}

const fn region(arg: RegionArg) -> Option<Region> {
    match arg {
        RegionArg::Global => None,
        RegionArg::Us => Some(Region::Us),
        RegionArg::Fed => Some(Region::Fed),
    }
}

fn bind_address(text: Option<&str>) -> Result<Option<IpAddr>, UsageError> {
    let Some(text) = text else { return Ok(None) };
    let address: IpAddr = text
        .parse()
        .map_err(|_| UsageError::BindAddress(text.to_owned()))?;
    let address = address.to_canonical();
    host::can_send_from(address).map_err(|why| UsageError::BindAddressMissing { address, why })?;
    Ok(Some(address))
}

/// As cloudflared: the bind address decides the family, since one cannot send to the other from it,
/// and overrides what was asked for (`cmd/cloudflared/tunnel/configuration.go`).
fn ip_version(asked: IpVersionChoice, bind: Option<IpAddr>) -> IpVersionChoice {
    match bind.map(Family::of) {
        None => asked,
        Some(Family::Ipv4) => IpVersionChoice::V4,
        Some(Family::Ipv6) => IpVersionChoice::V6,
    }
}

/// A team name is the first label of its host under `cloudflareaccess.com` (RFC 1123, section 2.1).
fn team(text: &str) -> Result<String, UsageError> {
    let name = text.to_ascii_lowercase();
    let is_label = (1..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    if is_label {
        return Ok(name);
    }
    let host = name
        .trim_start_matches("https://")
        .trim_end_matches(['/', '.']);
    let suffixes = [".fed.cloudflareaccess.com", ".cloudflareaccess.com"];
    let label = suffixes.iter().find_map(|suffix| host.strip_suffix(suffix));
    Err(UsageError::Team(match label {
        Some(label) if !label.is_empty() => {
            format!("`{text}` is the team's host; give only its name: --team {label}")
        }
        _ => format!(
            "`{text}` is not a team name: letters, digits and inner hyphens, at most 63, such as `example` for example.cloudflareaccess.com"
        ),
    }))
}

fn resolver(text: &str) -> Result<SocketAddr, UsageError> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse::<IpAddr>()
        .map(|ip| SocketAddr::new(ip, 53))
        .or_else(|_| text.parse())
        .ok()
        .filter(|server| server.port() != 0)
        .ok_or_else(|| UsageError::Resolver(text.to_owned()))
}

/// Seconds. A comparison with NaN is false, so NaN is out of range as well.
fn timeout(text: &str) -> Result<f64, UsageError> {
    let seconds = text
        .parse::<f64>()
        .ok()
        .filter(|s| (0.1..=3600.0).contains(s));
    seconds.ok_or_else(|| UsageError::Timeout(text.to_owned()))
}

/// Seconds from one check to the next. A check of an open network takes a fraction of one, so the
/// least keeps nine tenths of a second quiet.
fn interval(text: &str) -> Result<Duration, UsageError> {
    let seconds = text.parse::<f64>().ok();
    let seconds = seconds.filter(|seconds| (1.0..=86_400.0).contains(seconds));
    let interval = seconds.map(Duration::from_secs_f64);
    interval.ok_or_else(|| UsageError::Watch(text.to_owned()))
}

/// How often to check. A table is redrawn and JSON is a line for each check; of the other formats a
/// second document behind the first makes neither. In files each check replaces the one before.
fn watch(seconds: Option<&str>, format: Format) -> Result<Option<Duration>, UsageError> {
    let Some(seconds) = seconds else {
        return Ok(None);
    };
    let instead = match format {
        Format::Table | Format::Json => return interval(seconds).map(Some),
        Format::Junit => (
            "junit",
            ", and --output FILE.xml for a file that each check replaces",
        ),
        Format::Markdown => (
            "markdown",
            ", and --output FILE.md for a file that each check replaces",
        ),
        Format::Prometheus => (
            "prometheus",
            ", and --output FILE.prom for a file that each check replaces",
        ),
        Format::Github => ("github", ""),
    };
    Err(UsageError::WatchFormat(instead.0, instead.1))
}

/// Reads the certificates of a PEM file and tries each as a trust anchor.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, UsageError> {
    let wrong = |why: String| UsageError::Cacert {
        path: path.to_owned(),
        why,
    };
    let pem = std::fs::read(path).map_err(|why| wrong(format!("cannot be read: {why}")))?;
    let found = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|why| wrong(format!("is not PEM: {why}")))?;
    if found.is_empty() {
        return Err(wrong(
            "holds no certificate; give certificate authorities in PEM".to_owned(),
        ));
    }
    let mut store = RootCertStore::empty();
    for (index, certificate) in found.iter().enumerate() {
        store.add(certificate.clone()).map_err(|why| {
            wrong(format!(
                "certificate {} cannot be a trust anchor: {why}",
                index + 1
            ))
        })?;
    }
    Ok(found)
}

fn style(color: ColorChoice, terminal: Terminal) -> Style {
    let colored = match color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => terminal.stdout_width.is_some() && !terminal.no_color,
    };
    Style::new(colored, terminal.stdout_width)
}

fn presentation(args: OutputArgs, terminal: Terminal) -> Result<Presentation, UsageError> {
    Ok(Presentation {
        format: args.format,
        style: style(args.color, terminal),
        verbosity: match (args.quiet, args.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, true) => Verbosity::Verbose,
            (false, false) => Verbosity::Normal,
        },
        outputs: outputs(args.output)?,
        redact: args.redact,
        progress: terminal.stderr_is_terminal && !args.quiet,
    })
}

/// All endings are judged before the first file is touched, so that a typing error creates none.
fn outputs(paths: Vec<PathBuf>) -> Result<Vec<(PathBuf, Format)>, UsageError> {
    let with_format = |path: PathBuf| match Format::of_path(&path) {
        Some(format) => Ok((path, format)),
        None => Err(UsageError::OutputFormat { path }),
    };
    let outputs = paths
        .into_iter()
        .map(with_format)
        .collect::<Result<Vec<_>, _>>()?;
    for (path, _) in &outputs {
        // Appending leaves what is there alone: a run that is interrupted costs no old report.
        let opened = OpenOptions::new().append(true).create(true).open(path);
        opened.map_err(|why| UsageError::Output {
            path: path.clone(),
            why,
        })?;
    }
    Ok(outputs)
}

#[cfg(test)]
mod tests;
