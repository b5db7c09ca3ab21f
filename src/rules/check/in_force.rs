//! The rules that are in force on this host, as their own tools print them.

use std::fs;
use std::process::{Command, Stdio};

use super::LONGEST;
use super::filters::{Filter, FilterFormat, Filters};
use crate::oracle;

/// Reads what is in force: the rules of nftables, and those of iptables in both of its variants.
///
/// # Errors
/// One line: a tool that is missing or fails, or rules that cannot be read.
pub fn in_force() -> Result<Filters, String> {
    if !nix::unistd::geteuid().is_root() {
        return Err(
            "only root can read the rules in force: run it with sudo, or give a file".to_owned(),
        );
    }
    let mut parts = Vec::new();
    match output("nft", &["list", "ruleset"])? {
        Some(text) => parts.push(part("nft list ruleset", FilterFormat::Nft, text)),
        None => {
            return Err(
                "nft is missing, and without it the rules in force are not known: install the \
                            package nftables"
                    .to_owned(),
            );
        }
    }
    for (format, tool, old) in [
        (
            FilterFormat::Iptables,
            "iptables",
            "/proc/net/ip_tables_names",
        ),
        (
            FilterFormat::Ip6tables,
            "ip6tables",
            "/proc/net/ip6_tables_names",
        ),
    ] {
        let legacy = fs::read_to_string(old).unwrap_or_default();
        let own = match output(&format!("{tool}-nft-save"), &[])? {
            Some(text) => Some(text),
            None if legacy.is_empty() => output(&format!("{tool}-save"), &[])?,
            None => None,
        };
        let own = own.filter(|text| has_tables(text));
        if !legacy.is_empty() {
            let name = format!("{tool}-legacy-save");
            let saved = match output(&name, &[])? {
                Some(text) => text,
                None => output(&format!("{tool}-save"), &[])?.unwrap_or_default(),
            };
            if !has_tables(&saved) {
                return Err(format!(
                    "the kernel has rules of {tool}-legacy, and {name} does not print them: install the package iptables"
                ));
            }
            if own.as_deref().is_some_and(has_rules) && has_rules(&saved) {
                return Err(format!(
                    "both variants of {tool} have rules, which one trial cannot hold: remove those of one of them"
                ));
            }
            if has_rules(&saved) {
                parts.push(part(&name, format, saved));
                continue;
            }
        }
        if let Some(text) = own {
            parts.push(part(&format!("{tool}-save"), format, text));
        }
    }
    let mut filters = Filters {
        parts,
        in_force: true,
    };
    filters.drop_saved_tables();
    Ok(filters)
}

fn part(name: &str, format: FilterFormat, text: String) -> Filter {
    Filter {
        name: name.to_owned(),
        format,
        text,
    }
}

fn has_tables(text: &str) -> bool {
    text.lines().any(|line| line.starts_with('*'))
}

/// Whether a saved table decides anything.
fn has_rules(text: &str) -> bool {
    let decides =
        |line: &str| line.starts_with("-A") || (line.starts_with(':') && line.contains(" DROP "));
    text.lines().any(decides)
}

/// What a tool prints; none if it is not installed.
fn output(tool: &str, args: &[&str]) -> Result<Option<String>, String> {
    let Some(path) = oracle::program(tool) else {
        return Ok(None);
    };
    let run = Command::new(path)
        .args(args)
        .env("LANG", "C")
        .stdin(Stdio::null())
        .output();
    let output = run.map_err(|why| format!("{tool}: {why}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().next().unwrap_or_default();
        return Err(format!(
            "{tool} failed: {said}; run it as root, in the host's own network namespace"
        ));
    }
    if output.stdout.len() as u64 > LONGEST {
        return Err(format!(
            "{tool} prints more than {} MB, the most that is read",
            LONGEST >> 20
        ));
    }
    String::from_utf8(output.stdout)
        .map(Some)
        .map_err(|_| format!("the output of {tool} is not text"))
}
