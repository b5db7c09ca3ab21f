//! The tools that change and show the kernel's rules, run in the network namespace of the calling
//! thread.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use thiserror::Error;

use super::format::{Part, Rules};
use super::ruleset::{Plan, Ruleset};
use crate::model::Family;

/// Where tools are beside `PATH`: the one of an ordinary user often lacks the `sbin` directories.
const USUAL: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What runs scripts.
const SHELL: &str = "/bin/sh";

/// A tool that is missing or that failed.
#[derive(Debug, Error)]
pub enum ToolError {
    /// It is not installed.
    #[error("{tool} is missing; install the package {package}")]
    Missing {
        /// The program.
        tool: &'static str,
        /// What it comes with.
        package: &'static str,
    },
    /// It cannot be run.
    #[error("{tool} cannot be run: {why}")]
    Start {
        /// The program.
        tool: String,
        /// The system's error.
        why: io::Error,
    },
    /// It ran, and said no.
    #[error("{tool}: {complaint}")]
    Failed {
        /// The program with its arguments.
        tool: String,
        /// The first lines that it said.
        complaint: String,
    },
}

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

    /// Tries rules without applying them.
    ///
    /// # Errors
    /// What the tool has against them, and a tool that is missing.
    pub fn test(&self, rules: &Rules) -> Result<(), ToolError> {
        match rules {
            Rules::Nft(text) => run(&self.nft, &["-c", "-f", "-"], text).map(drop),
            Rules::Iptables(parts) => parts.iter().try_for_each(|part| {
                run(&restore_of(part.family)?, &["--test"], &part.text).map(drop)
            }),
            Rules::Script(text) => run(Path::new(SHELL), &["-n"], text).map(drop),
        }
    }

    /// The command that applies an nft script.
    #[must_use]
    pub fn apply_nft(&self, file: &Path) -> Command {
        let mut command = command(&self.nft);
        command.arg("-f").arg(file);
        command
    }

    /// The command that applies a part of iptables, by the program that an administrator would run.
    ///
    /// # Errors
    /// Where it is missing.
    pub fn apply_iptables(part: &Part, file: &Path) -> Result<Command, ToolError> {
        let mut command = command(&restore_of(part.family)?);
        command.arg(file);
        Ok(command)
    }

    /// The command that applies a shell script.
    #[must_use]
    pub fn apply_script(file: &Path) -> Command {
        let mut command = command(Path::new(SHELL));
        command.arg(file);
        command
    }

    /// Everything that packets meet now.
    ///
    /// # Errors
    /// A tool that fails, and rules of the old interface without the tool that shows them.
    pub fn look(&self) -> Result<Ruleset, ToolError> {
        let [ipv4, ipv6] = FAMILIES.map(|family| match &self.over_nftables[at(family)] {
            Some(tool) => run(&tool.save, &["-c"], ""),
            None => Ok(String::new()),
        });
        let [legacy_ipv4, legacy_ipv6] = FAMILIES.map(|family| self.look_at_legacy(family));
        Ok(Ruleset {
            nft: run(&self.nft, &["list", "ruleset"], "")?,
            ipv4: ipv4?,
            ipv6: ipv6?,
            legacy_ipv4: legacy_ipv4?,
            legacy_ipv6: legacy_ipv6?,
        })
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

    /// Tries whether the kernel takes a transaction, without making it.
    ///
    /// # Errors
    /// What it has against it.
    pub fn test_plan(&self, plan: &Plan) -> Result<(), ToolError> {
        let transaction = [&*plan.delete, &plan.create].concat();
        run(&self.nft, &["-c", "-f", "-"], &transaction).map(drop)
    }

    /// Carries out a plan. Everything is tried, whatever fails before: half of the old rules is
    /// better than none.
    ///
    /// # Errors
    /// The first failure.
    pub fn carry_out(&self, plan: &Plan) -> Result<(), ToolError> {
        let results = [
            self.transact(&plan.delete, &plan.create),
            refill(self.over_nftables.as_ref(), Family::Ipv4, &plan.ipv4, true),
            refill(self.over_nftables.as_ref(), Family::Ipv6, &plan.ipv6, true),
            refill(self.legacy.as_ref(), Family::Ipv4, &plan.legacy_ipv4, false),
            refill(self.legacy.as_ref(), Family::Ipv6, &plan.legacy_ipv6, false),
        ];
        results.into_iter().collect()
    }

    /// One transaction; two where the kernel does not let hooks of devices go and come at once.
    fn transact(&self, delete: &str, create: &str) -> Result<(), ToolError> {
        if delete.is_empty() && create.is_empty() {
            return Ok(());
        }
        let load = |text: &str| run(&self.nft, &["-f", "-"], text).map(drop);
        load(&[delete, create].concat()).or_else(|_| {
            load(delete)?;
            load(create)
        })
    }
}

fn refill(
    tools: &[Option<Xtables>],
    family: Family,
    text: &str,
    noflush: bool,
) -> Result<(), ToolError> {
    let Some(Some(tool)) = tools.get(at(family)).filter(|_| !text.is_empty()) else {
        return Ok(());
    };
    let mut arguments = vec!["--counters"];
    arguments.extend(noflush.then_some("--noflush"));
    run(&tool.restore, &arguments, text).map(drop)
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

fn search_path() -> String {
    let own = std::env::var("PATH").unwrap_or_default();
    [&own, USUAL].join(":")
}

fn find(name: &str) -> Option<PathBuf> {
    let path = search_path();
    let directories = path
        .split(':')
        .filter(|directory| directory.starts_with('/'));
    let mut candidates = directories.map(|directory| Path::new(directory).join(name));
    candidates.find(|candidate| candidate.is_file())
}

fn command(tool: &Path) -> Command {
    let mut command = Command::new(tool);
    command.env("PATH", search_path()).env("LC_ALL", "C");
    command
}

/// Runs a tool to its end and returns what it printed.
fn run(tool: &Path, arguments: &[&str], input: &str) -> Result<String, ToolError> {
    let name = tool.file_name().unwrap_or_default().to_string_lossy();
    let start = |why| ToolError::Start {
        tool: name.to_string(),
        why,
    };
    let mut child = command(tool)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(start)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A tool that reads no further has said why.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(start)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(ToolError::Failed {
        tool: format!("{name} {}", arguments.join(" ")),
        complaint: complaint(&output.stderr, output.status),
    })
}

/// What a tool said, in one line.
pub fn complaint(stderr: &[u8], status: std::process::ExitStatus) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let said: Vec<&str> = lines.take(3).collect();
    if said.is_empty() {
        return status.to_string();
    }
    said.join(" | ")
}
