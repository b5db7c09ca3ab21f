//! The command line of `rules`.

use std::path::PathBuf;

use clap::Args;

use super::EdgeArgs;
use crate::rules::Dialect;

/// What `rules` is told.
#[derive(Debug, Args)]
pub struct RulesArgs {
    /// What the tunnel needs.
    #[command(flatten)]
    pub edge: EdgeArgs,

    /// The language of the rules
    // Not required by clap, whose message would not list the choices.
    #[arg(long, value_name = "FORMAT", help_heading = "The rules")]
    pub format: Option<Dialect>,

    /// Everything that a host lets in and out, not what is to be added: SSH comes in, what cloudflared
    /// needs goes out, and so do DNS, NTP and DHCP
    #[arg(long, help_heading = "The rules")]
    pub lockdown: bool,

    /// Keep this port open for SSH; repeatable. Usually that of this session (`sudo` does not hide it),
    /// else 22
    #[arg(
        long,
        value_name = "PORT",
        requires = "lockdown",
        help_heading = "The rules"
    )]
    pub ssh_port: Vec<String>,

    /// Let SSH in from this network alone; repeatable
    #[arg(
        long,
        value_name = "NETWORK",
        requires = "lockdown",
        help_heading = "The rules"
    )]
    pub ssh_from: Vec<String>,

    /// Send nothing: list the documented addresses alone
    #[arg(long, help_heading = "The rules")]
    pub offline: bool,

    /// Compare a rule file with what is needed today instead of printing one: exit 0 when all that is
    /// required is let out, 1 when something is not, 4 when that is not clear, 2 when the file cannot be
    /// read; `-` reads standard input
    #[arg(long, value_name = "FILE", help_heading = "The rules")]
    pub check_drift: Option<PathBuf>,
}
