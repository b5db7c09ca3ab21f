//! The tools that change and show the kernel's rules, run in the network namespace of the calling
//! thread.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::mend::{Setback, load};
use super::ruleset::{Piece, Plan, Ruleset, View};
pub use super::run::ToolError;
use super::run::{command, find, run};
use super::steps::{Loader, Step};
use crate::model::Family;

/// The tools that are here.
#[derive(Debug, Clone)]
pub struct Tools {
    nft: PathBuf,
    over_nftables: [Option<Xtables>; 2],
    legacy: [Option<Xtables>; 2],
}

/// `iptables-save` and `iptables-restore`, or those of IPv6.
#[derive(Debug, Clone)]
struct Xtables {
    save: PathBuf,
    restore: PathBuf,
}

const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];

const fn at(family: Family) -> usize {
    match family {
        Family::Ipv4 => 0,
        Family::Ipv6 => 1,
    }
}

const fn stem(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "iptables",
        Family::Ipv6 => "ip6tables",
    }
}

impl Tools {
    /// Looks for the tools.
    ///
    /// # Errors
    /// Without nft, which shows the rules of nearly every system of today.
    pub fn find() -> Result<Self, ToolError> {
        let nft = find("nft").ok_or(ToolError::Missing {
            tool: "nft",
            package: "nftables",
        })?;
        Ok(Self {
            nft,
            over_nftables: FAMILIES.map(|family| Xtables::find(family, "nft", "nf_tables")),
            legacy: FAMILIES.map(|family| Xtables::find(family, "legacy", "legacy")),
        })
    }

    /// The command of a step, which reads this file.
    ///
    /// # Errors
    /// Where its program is missing.
    pub fn command(&self, step: &Step, file: &Path) -> Result<Command, ToolError> {
        let (tool, arguments) = self.called(step)?;
        let mut command = command(&tool);
        command.args(arguments).arg(file);
        Ok(command)
    }

    /// Does a step in the network namespace of the calling thread.
    ///
    /// # Errors
    /// What the tool has against it, and one that is missing.
    pub fn load(&self, step: &Step) -> Result<(), ToolError> {
        let (tool, mut arguments) = self.called(step)?;
        if step.loader == Loader::Nft {
            arguments.push("-");
        }
        run(&tool, &arguments, &step.text).map(drop)
    }

    fn called(&self, step: &Step) -> Result<(PathBuf, Vec<&'static str>), ToolError> {
        let refilled = |tools: &[Option<Xtables>; 2], family| {
            let tool = tools[at(family)].as_ref().map(|tool| tool.restore.clone());
            tool.map_or_else(|| restore_of(family), Ok)
        };
        Ok(match step.loader {
            Loader::Nft => (self.nft.clone(), vec!["-f"]),
            Loader::Restore(family) => (restore_of(family)?, vec![]),
            Loader::Refill(family) => {
                let tool = refilled(&self.over_nftables, family)?;
                (tool, vec!["--counters", "--noflush"])
            }
            Loader::Legacy(family) => (refilled(&self.legacy, family)?, vec!["--counters"]),
        })
    }

    /// Everything that packets meet now.
    ///
    /// # Errors
    /// A tool that fails, and rules of the old interface without the tool that shows them.
    pub fn look(&self) -> Result<Ruleset, ToolError> {
        let look = self.look_around();
        match look.unseen.into_iter().next() {
            None => Ok(look.ruleset),
            Some((_, why)) => Err(why),
        }
    }

    /// The same, as far as the tools can show it.
    #[must_use]
    pub fn look_around(&self) -> Look {
        let over_nftables = |family| match &self.over_nftables[at(family)] {
            Some(tool) => run(&tool.save, &["-c"], ""),
            None => Ok(String::new()),
        };
        let mut unseen = Vec::new();
        let mut seen = |view, shown: Result<String, ToolError>| {
            shown.unwrap_or_else(|why| {
                unseen.push((view, why));
                String::new()
            })
        };
        let ruleset = Ruleset {
            nft: seen(View::Nft, run(&self.nft, &["list", "ruleset"], "")),
            ipv4: seen(View::Ipv4, over_nftables(Family::Ipv4)),
            ipv6: seen(View::Ipv6, over_nftables(Family::Ipv6)),
            legacy_ipv4: seen(View::LegacyIpv4, self.look_at_legacy(Family::Ipv4)),
            legacy_ipv6: seen(View::LegacyIpv6, self.look_at_legacy(Family::Ipv6)),
        };
        Look { ruleset, unseen }
    }

    /// The kernel lists the old interface's tables here as soon as there are any; the file of the
    /// thread, because the process may stand in another network namespace.
    fn look_at_legacy(&self, family: Family) -> Result<String, ToolError> {
        let path = match family {
            Family::Ipv4 => "/proc/thread-self/net/ip_tables_names",
            Family::Ipv6 => "/proc/thread-self/net/ip6_tables_names",
        };
        let names = fs::read_to_string(path).unwrap_or_default();
        if names.trim().is_empty() {
            return Ok(String::new());
        }
        let tool = self.legacy[at(family)].as_ref();
        let missing = || ToolError::Missing {
            tool: "iptables-legacy-save, which shows rules that are in force here,",
            package: "iptables (iptables-legacy)",
        };
        run(&tool.ok_or_else(missing)?.save, &["-c"], "")
    }

    /// Carries out a plan, and returns what could not be done. Everything is tried, whatever fails
    /// before: half of the old rules is better than none.
    #[must_use]
    pub fn carry_out(&self, plan: &Plan) -> Vec<Setback> {
        let (over_nftables, legacy) = (&self.over_nftables, &self.legacy);
        [
            self.transact(&plan.delete, &plan.create),
            refill(over_nftables, Family::Ipv4, &plan.ipv4, true),
            refill(over_nftables, Family::Ipv6, &plan.ipv6, true),
            refill(legacy, Family::Ipv4, &plan.legacy_ipv4, false),
            refill(legacy, Family::Ipv6, &plan.legacy_ipv6, false),
        ]
        .concat()
    }

    /// One transaction; more where the kernel does not let hooks of devices go and come at once, or
    /// does not take one of the tables any more.
    fn transact(&self, delete: &[String], create: &[Piece]) -> Vec<Setback> {
        if delete.is_empty() && create.is_empty() {
            return Vec::new();
        }
        let nft = |text: &str| run(&self.nft, &["-f", "-"], text).map(drop);
        let whole = delete.concat() + &Piece::joined(create);
        match nft(&whole) {
            Ok(()) => return Vec::new(),
            Err(why @ ToolError::Endless { .. }) => return vec![Setback::new("nftables", &why)],
            Err(_) => {}
        }
        // One that is gone already must not keep the others.
        let alone = |command: &String| {
            let why = nft(command).err()?;
            Some(Setback::new(format!("`{}`", command.trim()), &why))
        };
        let kept = match nft(&delete.concat()) {
            Ok(()) => Vec::new(),
            Err(_) => delete.iter().filter_map(alone).collect(),
        };
        [kept, load(create, &nft)].concat()
    }
}

/// What the tools have shown.
#[derive(Debug)]
pub struct Look {
    /// As far as it is known.
    pub ruleset: Ruleset,
    /// What is not, and why.
    pub unseen: Vec<(View, ToolError)>,
}

fn refill(
    tools: &[Option<Xtables>; 2],
    family: Family,
    pieces: &[Piece],
    noflush: bool,
) -> Vec<Setback> {
    let Some(tool) = &tools[at(family)] else {
        return Vec::new();
    };
    let mut arguments = vec!["--counters"];
    arguments.extend(noflush.then_some("--noflush"));
    load(pieces, &|text| {
        run(&tool.restore, &arguments, text).map(drop)
    })
}

impl Xtables {
    /// The variant by its own name, or by the usual name where that is this variant.
    fn find(family: Family, variant: &str, calls_itself: &str) -> Option<Self> {
        let stem = stem(family);
        let pair = |prefix: &str| {
            Some(Self {
                save: find(&format!("{prefix}-save"))?,
                restore: find(&format!("{prefix}-restore"))?,
            })
        };
        pair(&format!("{stem}-{variant}")).or_else(|| {
            let pair = pair(stem)?;
            let version = run(&find(stem)?, &["-V"], "").ok()?;
            version.contains(calls_itself).then_some(pair)
        })
    }
}

fn restore_of(family: Family) -> Result<PathBuf, ToolError> {
    let tool = match family {
        Family::Ipv4 => "iptables-restore",
        Family::Ipv6 => "ip6tables-restore",
    };
    find(tool).ok_or(ToolError::Missing {
        tool,
        package: "iptables",
    })
}
