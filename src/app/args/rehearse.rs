//! What `tunnelcheck rehearse` takes.

use std::path::PathBuf;

use clap::Args;

use super::CheckArgs;

/// What `rehearse` takes.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct RehearseArgs {
    /// The new rules: a file for nft, the output of iptables-save, or a script of such commands
    #[arg(value_name = "RULES", required_unless_present = "restore")]
    pub rules: Option<PathBuf>,

    /// The output of ip6tables-save, if RULES is the output of iptables-save
    #[arg(long, value_name = "FILE", help_heading = "The rehearsal")]
    pub ipv6: Option<PathBuf>,

    /// How long the new rules may be in force unconfirmed, from 2 to 3600 seconds
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "60",
        allow_negative_numbers = true
    )]
    #[arg(help_heading = "The rehearsal")]
    pub deadline: String,

    /// Do not ask: keep the rules if nothing is lost
    #[arg(short, long, help_heading = "The rehearsal")]
    pub yes: bool,

    /// Let the rules delete this table, or chains of it, for good; repeatable
    #[arg(long, value_name = "TABLE", help_heading = "The rehearsal")]
    pub may_remove: Vec<String>,

    /// Let the rules close SSH, for hosts that are reached in another way
    #[arg(long, help_heading = "The rehearsal")]
    pub may_close_ssh: bool,

    /// Make the connections of the checks as this user, for rules about cloudflared's user
    #[arg(long, value_name = "NAME", help_heading = "The rehearsal")]
    pub as_user: Option<String>,

    /// Restore the old rules after a rehearsal that was killed together with its guard
    #[arg(long, help_heading = "The rehearsal")]
    #[arg(conflicts_with_all = ["rules", "ipv6", "yes", "may_remove", "may_close_ssh", "as_user"])]
    pub restore: bool,

    /// The check before and after.
    #[command(flatten)]
    pub check: CheckArgs,
}

const HELP: &str = "\
The old rules come back unless nothing required was lost and you
confirm. They come back at the deadline, and when this process is
killed or its terminal is gone; a separate process sees to that.
New rules that are kept last until the next boot, unless you make
them permanent.

Exit codes:
  0  kept: nothing required was lost (--restore: the old rules are back)
  1  something required was lost; the old rules are back
  2  wrong usage, or refused rules: not valid, without effect, or closing
     what cloudflared needs, DNS or SSH; the old rules are in force
  4  not confirmed, interrupted, out of time, or something required is not
     known any more; the old rules are back
  5  the old rules could NOT be brought back: look at once";
