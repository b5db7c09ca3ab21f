//! PURE: what kind of rules a file holds. The content decides, never the name of the file.
//!
//! | first word that counts | kind |
//! | --- | --- |
//! | `#!…nft`, or a command of nft (`table`, `add`, `flush`, …) | a script for `nft -f` |
//! | `*filter`, `*nat`, … | what `iptables-save` prints; the family is that of its header or addresses |
//! | anything else | a script, which is run where it can change nothing (`script.rs`) |

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::model::Family;

/// Rules that can be rehearsed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rules {
    /// For `nft -f`: one transaction.
    Nft(String),
    /// For `iptables-restore` and `ip6tables-restore`, in this order.
    Iptables(Vec<Part>),
    /// For `sh`: commands of iptables and nft.
    Script(String),
}

/// What one of iptables' restore programs reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Which of the two programs.
    pub family: Family,
    /// Its standard input.
    pub text: String,
}

/// Why a file cannot be rehearsed: a fragment that names the remedy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FormatError {
    /// Nothing but blanks and comments.
    #[error("holds no rules; give an nft script or what iptables-save prints")]
    Empty,
    /// Bytes that are no text.
    #[error("is not text; give an nft script or what iptables-save prints")]
    Binary,
    /// Addresses of both families where one is possible.
    #[error(
        "holds addresses of both families; give the IPv4 rules here and the IPv6 rules with --ipv6"
    )]
    Mixed,
    /// `--ipv6` goes with an IPv4 file only.
    #[error("--ipv6 goes with a file of iptables-save for IPv4; leave it out here")]
    NoPair,
    /// The file of `--ipv6` is something else.
    #[error("is not what ip6tables-save prints; give that with --ipv6")]
    NotIpv6,
}

/// Recognises the kind of rules.
///
/// # Errors
/// The first thing that keeps the file from being rehearsed.
pub fn recognise(bytes: &[u8]) -> Result<Rules, FormatError> {
    let text = text_of(bytes)?;
    let shebang = text.lines().next().filter(|line| line.starts_with("#!"));
    if shebang.is_some_and(|line| line.contains("nft")) {
        return Ok(Rules::Nft(text.to_owned()));
    }
    let (_, first) = significant(text).next().ok_or(FormatError::Empty)?;
    if shebang.is_some() {
        return Ok(Rules::Script(text.to_owned()));
    }
    if is_table_header(first) {
        return Ok(Rules::Iptables(vec![part(text)?]));
    }
    if is_nft_command(first) {
        return Ok(Rules::Nft(text.to_owned()));
    }
    Ok(Rules::Script(text.to_owned()))
}

/// Recognises a file for each family, the second one from `--ipv6`. The inner result tells which
/// of the two is wrong: the outer one is about the first.
///
/// # Errors
/// As [`recognise`], and where the two are no pair.
pub fn recognise_pair(
    first: &[u8],
    ipv6: &[u8],
) -> Result<Result<Rules, FormatError>, FormatError> {
    let Rules::Iptables(mut parts) = recognise(first)? else {
        return Err(FormatError::NoPair);
    };
    if parts.iter().any(|part| part.family == Family::Ipv6) {
        return Err(FormatError::NoPair);
    }
    Ok(recognise_ipv6(ipv6).map(|part| {
        parts.push(part);
        Rules::Iptables(parts)
    }))
}

/// Rules without a single address are of either family: `--ipv6` says which.
fn recognise_ipv6(bytes: &[u8]) -> Result<Part, FormatError> {
    let text = text_of(bytes)?;
    let (_, first) = significant(text).next().ok_or(FormatError::Empty)?;
    if !is_table_header(first) || evidence(text)?.is_some_and(|found| found == Family::Ipv4) {
        return Err(FormatError::NotIpv6);
    }
    Ok(Part {
        family: Family::Ipv6,
        text: text.to_owned(),
    })
}

fn text_of(bytes: &[u8]) -> Result<&str, FormatError> {
    let text = std::str::from_utf8(bytes).map_err(|_| FormatError::Binary)?;
    if text.contains('\0') {
        return Err(FormatError::Binary);
    }
    Ok(text.trim_start_matches('\u{feff}'))
}

/// The lines that are neither blank nor a comment, with their numbers.
fn significant(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate();
    lines
        .map(|(index, line)| (index + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn is_table_header(line: &str) -> bool {
    let name = line.strip_prefix('*').unwrap_or_default();
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase())
}

/// The commands of nft(8) that can begin a script.
fn is_nft_command(line: &str) -> bool {
    const COMMANDS: [&str; 13] = [
        "add", "create", "define", "delete", "destroy", "flush", "include", "insert", "rename",
        "replace", "reset", "table", "undefine",
    ];
    COMMANDS.contains(&first_word(line))
}

fn first_word(line: &str) -> &str {
    line.split_whitespace().next().unwrap_or_default()
}

fn part(text: &str) -> Result<Part, FormatError> {
    Ok(Part {
        family: evidence(text)?.unwrap_or(Family::Ipv4),
        text: text.to_owned(),
    })
}

/// The family that the header or the addresses of iptables-save's output are of.
fn evidence(text: &str) -> Result<Option<Family>, FormatError> {
    let header = |word| text.lines().any(|line| line.starts_with(word));
    let (v4, v6) = (
        header("# Generated by iptables-save") || significant(text).any(|(_, line)| is_ipv4(line)),
        header("# Generated by ip6tables-save") || significant(text).any(|(_, line)| is_ipv6(line)),
    );
    match (v4, v6) {
        (true, true) => Err(FormatError::Mixed),
        (true, false) => Ok(Some(Family::Ipv4)),
        (false, true) => Ok(Some(Family::Ipv6)),
        (false, false) => Ok(None),
    }
}

fn addresses(line: &str) -> impl Iterator<Item = &str> {
    let words = line.split([' ', '\t', ',']);
    words.map(|word| word.split('/').next().unwrap_or(word))
}

fn is_ipv4(line: &str) -> bool {
    addresses(line).any(|word| word.parse::<Ipv4Addr>().is_ok() || word == "--icmp-type")
}

fn is_ipv6(line: &str) -> bool {
    const WORDS: [&str; 4] = ["ipv6-icmp", "icmpv6", "--icmpv6-type", "-m icmp6"];
    addresses(line).any(|word| word.parse::<Ipv6Addr>().is_ok() || WORDS.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: &str =
        "# by hand\n*filter\n:OUTPUT DROP [0:0]\n-A OUTPUT -d 1.1.1.1/32 -j ACCEPT\nCOMMIT\n";
    const V6: &str = "*filter\n-A OUTPUT -d 2606:4700::1/128 -j ACCEPT\nCOMMIT\n";

    fn of(text: &str) -> Result<Rules, FormatError> {
        recognise(text.as_bytes())
    }

    fn families(rules: &Rules) -> Vec<Family> {
        match rules {
            Rules::Iptables(parts) => parts.iter().map(|part| part.family).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn nft_is_known_by_its_commands() {
        for text in [
            "#!/usr/sbin/nft -f\nlist ruleset\n",
            "# a comment\n\nflush ruleset\ntable inet x {\n}\n",
            "table inet x {\n}\n",
            "add rule ip filter OUTPUT drop",
            "define dns = 1.1.1.1\n",
        ] {
            assert_eq!(of(text), Ok(Rules::Nft(text.to_owned())));
        }
    }

    #[test]
    fn the_family_is_that_of_the_header_or_the_addresses() {
        let family = |text: &str| families(&of(text).unwrap())[0];
        assert_eq!(family(V4), Family::Ipv4);
        assert_eq!(family(V6), Family::Ipv6);
        assert_eq!(family("*filter\nCOMMIT\n"), Family::Ipv4);
        let header = "# Generated by ip6tables-save v1.8.9\n*filter\nCOMMIT\n";
        assert_eq!(family(header), Family::Ipv6);
        let icmp = "*filter\n-A INPUT -p ipv6-icmp -j ACCEPT\nCOMMIT\n";
        assert_eq!(family(icmp), Family::Ipv6);
        assert_eq!(of(&[V4, V6].concat()), Err(FormatError::Mixed));
    }

    #[test]
    fn a_pair_is_ipv4_and_ipv6() {
        let pair = recognise_pair(V4.as_bytes(), b"*filter\nCOMMIT\n").unwrap();
        let expected = [Family::Ipv4, Family::Ipv6];
        assert_eq!(families(&pair.unwrap()), expected);
        let swapped = recognise_pair(V6.as_bytes(), V4.as_bytes());
        assert_eq!(swapped, Err(FormatError::NoPair));
        let wrong = recognise_pair(V4.as_bytes(), V4.as_bytes());
        assert_eq!(wrong, Ok(Err(FormatError::NotIpv6)));
        let nft = recognise_pair(b"flush ruleset", V6.as_bytes());
        assert_eq!(nft, Err(FormatError::NoPair));
    }

    #[test]
    fn everything_else_is_a_script() {
        for text in [
            "#!/bin/sh\niptables -P OUTPUT DROP\n",
            "# from a guide\niptables -P OUTPUT DROP\n",
            "sudo ip6tables -P OUTPUT DROP\n",
            "IPT=iptables\n$IPT -P OUTPUT DROP\n",
            "nft flush ruleset\n",
            "ufw default deny outgoing\n",
        ] {
            assert_eq!(of(text), Ok(Rules::Script(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn what_holds_no_rules_is_refused() {
        assert_eq!(of(" \n# x\n"), Err(FormatError::Empty));
        assert_eq!(of("#!/bin/sh\n"), Err(FormatError::Empty));
        assert_eq!(recognise(b"\xff\xfe"), Err(FormatError::Binary));
        assert_eq!(recognise(b"table\0"), Err(FormatError::Binary));
    }

    #[test]
    fn what_rules_prints_can_be_rehearsed() {
        use crate::rules::{Dialect, samples};
        let lockdown = samples::lockdown();
        for lockdown in [None, Some(&lockdown)] {
            let printed = |dialect: Dialect| dialect.render(&samples::whole(), lockdown);
            let nft = printed(Dialect::Nftables);
            assert_eq!(of(&nft), Ok(Rules::Nft(nft.clone())));
            let iptables = printed(Dialect::Iptables);
            assert_eq!(of(&iptables), Ok(Rules::Script(iptables.clone())));
        }
    }
}
