//! The command line of `rules`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;

use super::EdgeArgs;
use crate::rules::Dialect;

/// The options of `rules`.
#[derive(Debug, Args)]
pub struct RulesArgs {
    /// What the tunnel needs.
    #[command(flatten)]
    pub edge: EdgeArgs,

    /// The language of the rules
    // Not required by clap, whose message would not list the choices.
    #[arg(long, value_name = "FORMAT", help_heading = "The rules")]
    pub format: Option<Dialect>,

    /// Print a whole rule set instead of rules to add. It lets in SSH, and lets out cloudflared, DNS, NTP
    /// and DHCP
    #[arg(long, help_heading = "The rules")]
    pub lockdown: bool,

    /// Keep this port open for SSH; repeatable. By default the port of this SSH session (also under
    /// `sudo`), otherwise 22
    #[arg(
        long,
        value_name = "PORT",
        requires = "lockdown",
        help_heading = "The rules"
    )]
    pub ssh_port: Vec<String>,

    /// Let SSH in only from this network; repeatable
    #[arg(
        long,
        value_name = "NETWORK",
        requires = "lockdown",
        help_heading = "The rules"
    )]
    pub ssh_from: Vec<String>,

    /// Send nothing: list only the documented addresses
    #[arg(long, help_heading = "The rules")]
    pub offline: bool,

    /// Compare existing rules with today's needs: files, or without FILE the rules in force on this host
    /// (root). `-` reads standard input. Exit 0: everything required is let out. Exit 1: something is
    /// missing or closed. Exit 4: that is not clear. Exit 2: the rules cannot be read
    #[arg(long, value_name = "FILE", num_args = 0.., help_heading = "The rules")]
    pub check_drift: Option<Vec<PathBuf>>,

    /// Judge the traffic of this user (a name or a number), since rules may match the user
    #[arg(
        long,
        value_name = "NAME",
        requires = "check_drift",
        help_heading = "The rules"
    )]
    pub as_user: Option<String>,

    /// Judge the traffic that the host forwards for this address, instead of its own
    #[arg(
        long,
        value_name = "ADDRESS",
        requires = "check_drift",
        conflicts_with_all = ["for_container", "as_user"],
        help_heading = "The rules"
    )]
    pub source: Option<IpAddr>,

    /// Rules for the forwarded traffic of a Docker or Podman container (nftables, iptables); with
    /// --check-drift, judge that traffic
    #[arg(
        long,
        value_name = "NAME|ADDRESS",
        conflicts_with = "as_user",
        help_heading = "The rules"
    )]
    pub for_container: Option<String>,

    /// With csv: one row for each address
    #[arg(long, help_heading = "The rules")]
    pub each_address: bool,
}
