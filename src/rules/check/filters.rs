//! Rules of packet filters, taken apart by the tool that loads them.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Who loads a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterFormat {
    /// nft.
    Nft,
    /// iptables-restore.
    Iptables,
    /// ip6tables-restore.
    Ip6tables,
}

impl FilterFormat {
    /// What a text of this form is called.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nft => "nftables",
            Self::Iptables => "iptables-save (IPv4)",
            Self::Ip6tables => "ip6tables-save (IPv6)",
        }
    }
}

/// A text that one tool loads. Its lines have the numbers that they have in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The file, or the command that printed it.
    pub name: String,
    /// Who loads it.
    pub format: FilterFormat,
    /// The rules.
    pub text: String,
}

/// Rules of packet filters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters {
    /// In the order in which they are loaded.
    pub parts: Vec<Filter>,
    /// Whether they are all that is in force on this host.
    pub in_force: bool,
}

impl Filters {
    /// Takes a text apart: what `iptables-save` and `ip6tables-save` print, and the rest for nft. None if
    /// it is not a text for these tools.
    #[must_use]
    pub fn of(name: &str, text: &str) -> Option<Vec<Filter>> {
        let mut parts: Vec<Filter> = Vec::new();
        // The family is said by a comment before the table, or by what is in it.
        let mut told = None;
        let mut saved: Option<(usize, usize)> = None;
        let mut sections = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let plain = line.trim();
            if saved.is_none() && plain.starts_with('#') {
                told = told_family(plain).or(told);
            } else if saved.is_none() && is_table(plain) {
                saved = Some((at, at));
            } else if let Some((first, _)) = saved
                && plain == "COMMIT"
            {
                sections.push((first, at, told));
                saved = None;
            }
        }
        let lines: Vec<_> = text.lines().collect();
        let is_saved = |at: usize| {
            sections
                .iter()
                .any(|(first, last, _)| (*first..=*last).contains(&at))
        };
        let acts = |at: &usize| {
            let plain = lines[*at].trim();
            !is_saved(*at) && !plain.is_empty() && !plain.starts_with('#')
        };
        let nft: Vec<usize> = (0..lines.len()).filter(acts).collect();
        if saved.is_some() || nft.first().is_some_and(|at| !is_nft(lines[*at])) {
            return None;
        }
        let mut add = |format, keeps: &dyn Fn(usize) -> bool| {
            let kept = |(at, line): (usize, &&str)| {
                if keeps(at) {
                    format!("{line}\n")
                } else {
                    "\n".to_owned()
                }
            };
            let text: String = lines.iter().enumerate().map(kept).collect();
            parts.push(Filter {
                name: name.to_owned(),
                format,
                text,
            });
        };
        if !nft.is_empty() {
            add(FilterFormat::Nft, &|at| !is_saved(at));
        }
        let family = |(first, last, told): &(usize, usize, Option<FilterFormat>)| {
            told.or_else(|| family_within(&lines[*first..=*last]))
                .unwrap_or(if name.contains("v6") || name.contains("ip6") {
                    FilterFormat::Ip6tables
                } else {
                    FilterFormat::Iptables
                })
        };
        for format in [FilterFormat::Iptables, FilterFormat::Ip6tables] {
            let own: Vec<_> = sections
                .iter()
                .filter(|section| family(section) == format)
                .collect();
            if !own.is_empty() {
                add(format, &|at| {
                    own.iter()
                        .any(|(first, last, _)| (*first..=*last).contains(&at))
                });
            }
        }
        (!parts.is_empty()).then_some(parts)
    }

    /// Leaves out of what nft lists the tables that iptables has saved as well: nft shows matches of
    /// iptables in a form that it does not read.
    pub fn drop_saved_tables(&mut self) {
        let saved = |format: FilterFormat, table: &str| {
            let mut texts = self.parts.iter().filter(|part| part.format == format);
            let begins = format!("*{table}");
            texts.any(|part| part.text.lines().any(|line| line.trim() == begins))
        };
        let doubled = |line: &str| {
            let words: Vec<_> = line.split_whitespace().collect();
            match words.as_slice() {
                ["table", "ip", name, "{"] => saved(FilterFormat::Iptables, name),
                ["table", "ip6", name, "{"] => saved(FilterFormat::Ip6tables, name),
                _ => false,
            }
        };
        let mut texts = Vec::new();
        for part in self
            .parts
            .iter()
            .filter(|part| part.format == FilterFormat::Nft)
        {
            let mut within = false;
            let mut text = String::new();
            for line in part.text.lines() {
                within |= doubled(line);
                text.push_str(if within { "" } else { line });
                text.push('\n');
                within &= line != "}";
            }
            texts.push(text);
        }
        let nft = self
            .parts
            .iter_mut()
            .filter(|part| part.format == FilterFormat::Nft);
        nft.zip(texts).for_each(|(part, text)| part.text = text);
        self.parts.retain(|part| {
            part.text
                .lines()
                .any(|line| !line.trim().is_empty() && !line.starts_with('#'))
        });
    }
}

/// `*filter` and the like.
fn is_table(line: &str) -> bool {
    let name = line.strip_prefix('*');
    name.is_some_and(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase()))
}

fn told_family(comment: &str) -> Option<FilterFormat> {
    let says = |word: &str| comment.contains(word);
    if says("ip6tables") && says("save") {
        Some(FilterFormat::Ip6tables)
    } else if says("iptables") && says("save") {
        Some(FilterFormat::Iptables)
    } else {
        None
    }
}

fn family_within(lines: &[&str]) -> Option<FilterFormat> {
    let words = || lines.iter().flat_map(|line| line.split_whitespace());
    let address = |word: &str| word.split('/').next().unwrap_or_default().to_owned();
    if words().any(|word| {
        address(word).parse::<Ipv6Addr>().is_ok() || word.contains("icmp6") || word == "ipv6-icmp"
    }) {
        Some(FilterFormat::Ip6tables)
    } else if words().any(|word| address(word).parse::<Ipv4Addr>().is_ok() || word == "icmp") {
        Some(FilterFormat::Iptables)
    } else {
        None
    }
}

/// Whether a file that begins with this line is for nft. `table <name>` is for pf.
fn is_nft(line: &str) -> bool {
    let words: Vec<_> = line.split_whitespace().take(3).collect();
    match words.as_slice() {
        ["table", name, ..] => !name.starts_with('<'),
        ["define", _, "=", ..] | ["include", ..] => true,
        [verb, object, ..] => {
            matches!(
                *verb,
                "add" | "create" | "insert" | "replace" | "delete" | "destroy" | "flush" | "reset"
            ) && [
                "ruleset", "table", "chain", "rule", "set", "map", "element", "ip", "ip6", "inet",
                "counter",
            ]
            .contains(&object.trim_end_matches(';'))
        }
        _ => false,
    }
}
