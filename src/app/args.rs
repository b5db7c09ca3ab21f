//! The command line: only what was typed, or set in the environment. `settings` gives it meaning.

mod rehearse;
mod rules;
mod words;

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{
    ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum,
};
use clap_complete::Shell;

use crate::model::{IpVersionChoice, ProtocolChoice};
use crate::report::{Format, Topic};

pub use self::rehearse::RehearseArgs;
pub use self::rules::RulesArgs;

const EXAMPLES: &str = "\
Examples:
  tunnelcheck
      Check everything that cloudflared may use.
  tunnelcheck --protocol http2 --team example
      Check what `cloudflared tunnel --protocol http2` needs, and Access.
  tunnelcheck --format json --output check.txt
      JSON to standard output, the table to a file.
  tunnelcheck --output junit.xml --output summary.md --output node.prom
      For a CI system, an issue and a monitoring system, in one run.
  tunnelcheck --redact --output report.json
      Write a report that can be passed on.
  tunnelcheck show report.json
      Print a saved report again; nothing is sent.
  tunnelcheck rules --format nftables --lockdown > rules.nft
      The firewall rules that cloudflared needs; nothing is applied.
  tunnelcheck diff before.json after.json
      What got worse, better or moved between two reports.
  tunnelcheck --baseline before.json
      Check, and show the differences from a saved report.
  tunnelcheck --watch 5
      Check every 5 seconds while the firewall is edited.
  tunnelcheck explain udp-dropped
      What a finding means and what to do about it.
  sudo tunnelcheck rehearse rules.nft
      Try firewall rules; the old ones come back unless you confirm.

Exit codes:
  0  ready: every required destination is reachable
     (with --allow-degraded, degraded too);
     of a comparison: nothing required got worse
  1  blocked: no tunnel can be established with these options;
     of a comparison: something required got worse
  2  wrong usage, and nothing was sent; or a report that cannot be
     read or written
  3  degraded: a tunnel can be established, but something required
     is blocked
  4  inconclusive: interrupted, or out of time, before the evidence was enough; of a comparison: something required may have got worse

Options with a TUNNEL_ variable have cloudflared's own names, values
and variables. An empty variable counts as unset.";

/// Checks in seconds whether cloudflared can reach Cloudflare from this network, and what blocks it
///
/// Resolves cloudflared's names and makes the connections that cloudflared would make: QUIC and HTTP/2 on
/// port 7844, over IPv4 and IPv6, to every address of the edge. Reports what works, what does not, how it
/// is blocked, and what to ask for. Needs no configuration, no account and no root.
#[derive(Debug, Parser)]
// `--watch show x.json` is the subcommand after an option without a value, not 'show' seconds.
#[command(subcommand_precedence_over_arg = true)]
#[command(version = env!("TUNNELCHECK_VERSION"))]
#[command(after_help = EXAMPLES, max_term_width = 100, subcommand_value_name = "COMMAND")]
pub struct Cli {
    /// What to do instead of a check.
    #[command(subcommand)]
    pub command: Option<Action>,
    /// What to check.
    #[command(flatten)]
    pub check: CheckArgs,
    /// What to compare with, and whether to repeat.
    #[command(flatten)]
    pub compare: CompareArgs,
    /// How to report.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What to do instead of a check.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Diagnose and print a saved report again; nothing is sent
    Show {
        /// The report, as `--format json` or `--output FILE.json` wrote it; `-` reads standard input
        #[arg(value_name = "REPORT.json")]
        report: PathBuf,
        /// The format of standard output
        // Not a global option, because other subcommands have formats of their own.
        #[arg(long, value_name = "FORMAT", help_heading = "The report")]
        format: Option<Format>,
    },
    /// Compare two saved reports: what got worse, better or moved; nothing is sent
    Diff {
        /// The earlier report, as `--format json` or `--output FILE.json` wrote it; `-` reads standard input
        #[arg(value_name = "BEFORE.json")]
        before: PathBuf,
        /// The later report
        #[arg(value_name = "AFTER.json")]
        after: PathBuf,
        /// The format of standard output
        #[arg(long, value_name = "FORMAT", help_heading = "The report")]
        format: Option<Format>,
    },
    /// Explain what findings mean and what to do about them; without CODE, list them
    Explain {
        /// The code of a finding, such as `udp-dropped`, or the cause of a row, such as `sni_filtered`
        #[arg(value_name = "CODE", value_parser = Topic::parse)]
        topics: Vec<Topic>,
    },
    /// Print the firewall rules that cloudflared needs; nothing is applied, and only DNS queries are sent
    Rules(Box<RulesArgs>),
    /// Try firewall rules: apply, check, and keep them only if nothing required is lost (Linux, root)
    Rehearse(Box<RehearseArgs>),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or write all pages into a folder
    Man {
        /// The folder, which must exist
        folder: Option<PathBuf>,
    },
    /// The process that brings the old rules back; `rehearse` starts it.
    #[command(hide = true)]
    RehearsalGuard {
        /// Until when, in milliseconds from now.
        deadline_ms: u64,
    },
    /// The processes in which a script is tried; `rehearse` starts them.
    #[command(hide = true)]
    RehearsalScript {
        /// Whether this is the first process inside.
        #[arg(long)]
        inside: bool,
    },
}

/// What the tunnel needs, and how its names are looked up. Ranges and forms are left to `settings`,
/// whose messages say more.
#[derive(Debug, Args)]
pub struct EdgeArgs {
    /// The transports that cloudflared may use; auto tries QUIC, then HTTP/2
    #[arg(
        long,
        env = "TUNNEL_TRANSPORT_PROTOCOL",
        value_name = "PROTOCOL",
        default_value = "auto"
    )]
    #[arg(help_heading = "As for cloudflared", hide_env_values = true)]
    pub protocol: ProtocolChoice,

    /// The families that cloudflared may use
    #[arg(
        long,
        env = "TUNNEL_EDGE_IP_VERSION",
        value_name = "VERSION",
        default_value = "auto"
    )]
    #[arg(help_heading = "As for cloudflared", hide_env_values = true)]
    pub edge_ip_version: IpVersionChoice,

    /// The local address to connect to the edge from
    #[arg(long, env = "TUNNEL_EDGE_BIND_ADDRESS", value_name = "IP")]
    #[arg(help_heading = "As for cloudflared", hide_env_values = true)]
    pub edge_bind_address: Option<String>,

    /// The regional service; without it, the global one
    #[arg(long, env = "TUNNEL_REGION", value_name = "REGION")]
    #[arg(help_heading = "As for cloudflared", hide_env_values = true)]
    pub region: Option<RegionArg>,

    /// An edge address to use instead of discovery; repeatable, or separated by commas
    #[arg(
        long,
        env = "TUNNEL_EDGE",
        value_name = "HOST:PORT",
        value_delimiter = ','
    )]
    #[arg(help_heading = "As for cloudflared", hide_env_values = true)]
    pub edge: Vec<String>,

    /// Also check the Access host of a team (NAME.cloudflareaccess.com), which tunnels with Access need
    #[arg(long, value_name = "NAME", help_heading = "The check")]
    pub team: Option<String>,

    /// Also check this host on port 443; repeatable. It counts for --strict and gets a rule
    #[arg(long, value_name = "NAME", help_heading = "The check")]
    pub optional_host: Vec<String>,

    /// Leave out the optional hosts (updates, management) on port 443, except those of --optional-host
    #[arg(long, help_heading = "The check")]
    pub no_optional: bool,

    /// Use this resolver instead of the system's; repeatable, used in this order
    #[arg(long, value_name = "IP[:PORT]", help_heading = "The check")]
    pub resolver: Vec<String>,

    /// Time limit for the whole run, from 0.1 to 3600 seconds
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "10",
        allow_negative_numbers = true
    )]
    #[arg(help_heading = "The check")]
    pub timeout: String,
}

/// The options of a check.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// What the tunnel needs.
    #[command(flatten)]
    pub edge: EdgeArgs,

    /// Certificate authorities (PEM) that replace the system's and Cloudflare's for the tunnel
    #[arg(long, env = "TUNNEL_CACERT", value_name = "FILE")]
    #[arg(help_heading = "As for cloudflared", hide_env_values = true)]
    pub cacert: Option<PathBuf>,

    /// Offer a post-quantum key exchange only, as cloudflared does with this option
    #[arg(
        long,
        env = "TUNNEL_POST_QUANTUM",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        default_value = "false",
        hide_default_value = true,
        value_parser = as_go_reads_it
    )]
    #[arg(help_heading = "As for cloudflared", hide_env_values = true)]
    pub post_quantum: bool,

    /// Exit 0 when degraded
    #[arg(long, help_heading = "The verdict")]
    pub allow_degraded: bool,

    /// Let a blocked optional host degrade the verdict
    #[arg(long, help_heading = "The verdict")]
    pub strict: bool,
}

/// What a check is compared with, and whether it is repeated.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Compare with this report; the exit code is then that of the comparison
    #[arg(long, value_name = "BEFORE.json", help_heading = "Before and after")]
    pub baseline: Option<PathBuf>,

    /// Repeat the check at this interval (1 to 86400 seconds, by default 5) until Ctrl-C
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        default_missing_value = "5",
        allow_negative_numbers = true
    )]
    #[arg(help_heading = "Before and after")]
    pub watch: Option<String>,
}

/// How to report. Every subcommand that prints reports takes these.
#[derive(Debug, Args)]
pub struct OutputArgs {
    /// The format of standard output
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    #[arg(help_heading = "The report")]
    pub format: Format,

    /// Also write the report to a file, in the format of its extension (.json, .txt, .xml for JUnit, .md,
    /// .prom); repeatable
    #[arg(long, global = true, value_name = "FILE", help_heading = "The report")]
    pub output: Vec<PathBuf>,

    /// Mask the host's name, local addresses, resolvers, proxies, team and file names in all reports
    #[arg(long, global = true, help_heading = "The report")]
    pub redact: bool,

    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    #[arg(help_heading = "The report")]
    pub color: ColorChoice,

    /// No progress, and only the verdict in the formats for people (table, markdown, github)
    #[arg(
        short,
        long,
        global = true,
        conflicts_with = "verbose",
        help_heading = "The report"
    )]
    pub quiet: bool,

    /// Show every lookup and every attempt, in the table and in Markdown
    #[arg(short, long, global = true, help_heading = "The report")]
    pub verbose: bool,
}

/// Yes or no as cloudflared reads it (Go's `strconv.ParseBool`).
fn as_go_reads_it(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("give true or false".to_owned()),
    }
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set (<https://no-color.org>) or `TERM` is `dumb`.
    #[value(help = "On a terminal, unless NO_COLOR is set or TERM is dumb")]
    Auto,
    /// Even into a pipe, even with `NO_COLOR`.
    #[value(help = "Even into a pipe, even with NO_COLOR")]
    Always,
    /// Not at all.
    Never,
}

/// `--region` as cloudflared takes it: the empty word is the global service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RegionArg {
    /// Not regional.
    #[value(name = "", hide = true)]
    Global,
    /// The United States.
    Us,
    /// The United States' federal agencies (FedRAMP).
    Fed,
}

/// Reads the command line and the environment of this process.
///
/// # Errors
/// clap's: wrong usage, but also `--help` and `--version`, which it prints and exits 0 for.
pub fn parse() -> Result<Cli, clap::Error> {
    parse_from(env::args_os())
}

/// Reads a given command line, and the environment of this process.
///
/// # Errors
/// As [`parse`].
pub fn parse_from(args: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let mut command = Cli::command()
        .mut_args(without_empty_variable)
        .mut_subcommands(|subcommand| subcommand.mut_args(without_empty_variable));
    let matches = command.try_get_matches_from_mut(args);
    let matches = matches.map_err(|error| hinting_at_show(&mut command, error));
    let matches = matches.map_err(|error| naming_the_variable(&command, error))?;
    refuse_check_options_of_subcommand(&mut command, &matches)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// An empty variable is how shells, units and CI systems leave an option out, so it is no value.
fn without_empty_variable(arg: clap::Arg) -> clap::Arg {
    let is_empty = |name| env::var_os(name).is_some_and(|value| value.is_empty());
    if arg.get_env().is_some_and(is_empty) {
        arg.env(None::<&'static str>)
    } else {
        arg
    }
}

/// `tunnelcheck report.json` means `show`, as a rule.
fn hinting_at_show(command: &mut Command, error: clap::Error) -> clap::Error {
    let typed = match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(typed)) if typed.contains(['.', '/', '\\']) => typed.clone(),
        _ => return error,
    };
    let message =
        format!("`{typed}` is not a subcommand; to print a saved report: tunnelcheck show {typed}");
    command.error(ErrorKind::InvalidSubcommand, message)
}

/// Whoever set a variable months ago looks in vain for the option that the message names.
fn naming_the_variable(command: &Command, mut error: clap::Error) -> clap::Error {
    let quoted = |kind| error.get(kind).map(ToString::to_string);
    let value = quoted(ContextKind::InvalidValue);
    let name = quoted(ContextKind::InvalidArg);
    let (Some(value), Some(name)) = (value, name) else {
        return error;
    };
    let arg = command.get_arguments().find(|arg| arg.to_string() == name);
    let Some(variable) = arg.and_then(clap::Arg::get_env) else {
        return error;
    };
    if env::var_os(variable).is_some_and(|set| set.to_string_lossy() == value) {
        let name = format!("{name} ({})", variable.to_string_lossy());
        error.insert(ContextKind::InvalidArg, ContextValue::String(name));
    }
    error
}

/// `tunnelcheck --protocol quic show x.json` would not do what it says: a saved report brings its
/// own options. Variables are no offence: they are there for the check.
fn refuse_check_options_of_subcommand(
    command: &mut Command,
    matches: &ArgMatches,
) -> Result<(), clap::Error> {
    let Some((subcommand, inner)) = matches.subcommand() else {
        return Ok(());
    };
    // What a finding means is no report: nothing but its colour can be chosen. Rules have none.
    let takes = |arg: &clap::Arg| match subcommand {
        "explain" => arg.get_id() == "color",
        "rules" | "completions" | "man" => false,
        "rehearse" => arg.is_global_set(),
        _ => arg.is_global_set() || arg.get_id() == "format",
    };
    let typed = command.get_arguments().find(|arg| {
        let id = arg.get_id().as_str();
        !takes(arg) && matches.value_source(id) == Some(ValueSource::CommandLine)
    });
    let Some(arg) = typed else {
        return Ok(());
    };
    let option = arg.get_long().unwrap_or_default();
    let own = inner.try_contains_id(arg.get_id().as_str()).is_ok() && !arg.is_global_set();
    let what = if arg.is_global_set() || arg.get_id() == "format" {
        "report"
    } else {
        "check"
    };
    let message = if own {
        format!(
            "`--{option}` comes before `{subcommand}`; write it after: tunnelcheck {subcommand} --{option} …"
        )
    } else {
        format!("`--{option}` is for a {what}; `{subcommand}` does not take it")
    };
    Err(command.error(ErrorKind::ArgumentConflict, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        parse_from(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_arguments_is_a_whole_check() {
        let cli = parse("tunnelcheck").unwrap();
        assert!(cli.command.is_none());
        assert_eq!(cli.check.edge.protocol, ProtocolChoice::Auto);
        assert_eq!(cli.output.format, Format::Table);
        assert!(!cli.check.edge.no_optional);
    }

    #[test]
    fn report_options_stand_on_either_side_of_a_subcommand() {
        for line in [
            "tunnelcheck --redact --format json show x.json",
            "tunnelcheck show x.json --format json --redact",
        ] {
            let cli = parse(line).unwrap();
            let after = match cli.command {
                Some(Action::Show { format, .. }) => format,
                _ => None,
            };
            assert_eq!(after.unwrap_or(cli.output.format), Format::Json, "{line}");
            assert!(cli.output.redact, "{line}");
        }
    }

    #[test]
    fn check_options_do_not_go_with_show() {
        for option in [
            "--protocol quic",
            "--strict",
            "--team a",
            "--timeout 5",
            "--watch",
            "--watch 3",
            "--baseline b.json",
        ] {
            let error = parse(&format!("tunnelcheck {option} show x.json")).unwrap_err();
            assert_eq!(error.exit_code(), 2);
        }
    }

    #[test]
    fn watching_takes_seconds_or_none() {
        let watch = |line: &str| parse(line).unwrap().compare.watch;
        assert_eq!(watch("tunnelcheck"), None);
        assert_eq!(watch("tunnelcheck --watch").as_deref(), Some("5"));
        assert_eq!(watch("tunnelcheck --watch 2.5").as_deref(), Some("2.5"));
        assert_eq!(watch("tunnelcheck --watch -q").as_deref(), Some("5"));
    }

    #[test]
    fn edges_are_repeated_or_listed() {
        let cli = parse("tunnelcheck --edge a:1,b:2 --edge c:3").unwrap();
        assert_eq!(cli.check.edge.edge, ["a:1", "b:2", "c:3"]);
    }

    #[test]
    fn unknown_values_exit_2() {
        for line in [
            "--protocol QUIC",
            "--protocol h2mux",
            "--edge-ip-version 5",
            "--region eu",
            "--format xml",
            "--color sometimes",
            "--nonsense",
            "nonsense",
            "-q -v",
        ] {
            let error = parse(&format!("tunnelcheck {line}")).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn an_empty_region_is_the_global_one() {
        let args = ["tunnelcheck", "--region", ""].map(OsString::from);
        let cli = parse_from(args).unwrap();
        assert_eq!(cli.check.edge.region, Some(RegionArg::Global));
    }
}
