//! The command line of `rules`.

use std::net::IpAddr;
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

    /// Compare rules that are there with what is needed today: files, or without FILE what is in force on
    /// this host (root). Exit 0 when all that is required is let out, 1 when something is missing or
    /// closed, 4 when that is not clear, 2 when the rules cannot be read; `-` reads standard input
    #[arg(long, value_name = "FILE", num_args = 0.., help_heading = "The rules")]
    pub check_drift: Option<Vec<PathBuf>>,

    /// Judge what this user sends (a name or a number), as rules may look at the user
    #[arg(
        long,
        value_name = "NAME",
        requires = "check_drift",
        help_heading = "The rules"
    )]
    pub as_user: Option<String>,

    /// Judge what the host forwards for this address, instead of what it sends itself
    #[arg(
        long,
        value_name = "ADDRESS",
        requires = "check_drift",
        conflicts_with_all = ["for_container", "as_user"],
        help_heading = "The rules"
    )]
    pub source: Option<IpAddr>,

    /// Rules for what is forwarded for a container of Docker or Podman (nftables, iptables); with
    /// --check-drift, judge that
    #[arg(
        long,
        value_name = "NAME|ADDRESS",
        conflicts_with = "as_user",
        help_heading = "The rules"
    )]
    pub for_container: Option<String>,

    /// Of csv: a row for each address
    #[arg(long, help_heading = "The rules")]
    pub each_address: bool,
}
