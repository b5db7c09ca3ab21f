//! Where in a file a rule of nftables is: nft itself says it, in its notes for developers.

use std::collections::BTreeMap;

use super::OracleError;
use super::question::{Format, Part};
use super::tools::{Said, Tools};

/// Notes of `nft -d eval` take much room.
const LONGEST: usize = 400_000;

/// A rule's family, table, chain and handle.
type Place = (String, String, String, u64);

/// Part and line of rules and chains, from 0 and from 1.
#[derive(Debug, Default)]
pub(super) struct Sources {
    rules: BTreeMap<Place, (usize, usize)>,
}

impl Sources {
    /// Loads the parts once more, with notes.
    pub(super) fn find(parts: &[Part], tools: &Tools) -> Result<Self, OracleError> {
        let mut sources = Self::default();
        tools.nft(&["-f", "-"], "flush ruleset\n")?;
        for (index, part) in parts.iter().enumerate() {
            if part.format != Format::Nft {
                tools.load(part.format, &part.text)?;
                continue;
            }
            if part.text.len() > LONGEST {
                continue;
            }
            if part.text.contains("flush") || part.text.contains("delete") {
                sources.rules.clear();
            }
            let said = tools.nft(&["-e", "-a", "-d", "eval", "-f", "-"], &part.text)?;
            let found = places(&said).into_iter();
            sources
                .rules
                .extend(found.map(|(place, line)| (place, (index, line))));
        }
        Ok(sources)
    }

    /// Where a rule is.
    pub(super) fn of_rule(
        &self,
        family: &str,
        table: &str,
        chain: &str,
        handle: u64,
    ) -> Option<(usize, usize)> {
        let place = (
            family.to_owned(),
            table.to_owned(),
            chain.to_owned(),
            handle,
        );
        self.rules.get(&place).copied()
    }
}

/// The first line that begins a chain of this name, if there is only one.
pub(super) fn of_chain(parts: &[Part], chain: &str) -> Option<(usize, usize)> {
    let nft = parts
        .iter()
        .enumerate()
        .filter(|(_, part)| part.format == Format::Nft);
    let mut found = nft.flat_map(|(index, part)| {
        let lines = part.text.lines().enumerate();
        lines.filter_map(move |(line, text)| {
            let words: Vec<&str> = text
                .split(|c: char| c.is_whitespace() || c == '{')
                .collect();
            let begins = words.windows(2).any(|pair| pair == ["chain", chain]);
            begins.then_some((index, line + 1))
        })
    });
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// The rules in the order in which they were made, with their lines; none where the two accounts of nft
/// do not agree on how many there are.
fn places(said: &Said) -> Vec<(Place, usize)> {
    let (made, lines) = (made(&said.out), lines(&said.err));
    if made.len() != lines.len() {
        return Vec::new();
    }
    made.into_iter().zip(lines).collect()
}

/// `add rule FAMILY TABLE CHAIN … # handle N`, over more than one line if a comment is.
fn made(out: &str) -> Vec<Place> {
    let mut places = Vec::new();
    let mut begun: Option<[String; 3]> = None;
    for line in out.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let ["add" | "insert", "rule", family, table, chain, ..] = words[..] {
            begun = Some([family, table, chain].map(str::to_owned));
        }
        let handle = line
            .rsplit_once(" # handle ")
            .and_then(|(_, handle)| handle.trim().parse().ok());
        if let (Some(handle), Some([family, table, chain])) =
            (handle, begun.take_if(|_| handle.is_some()))
        {
            places.push((family, table, chain, handle));
        }
    }
    places
}

/// `/dev/stdin:LINE:FROM-TO: Evaluate add`, and the line itself after it.
fn lines(err: &str) -> Vec<usize> {
    let mut found = Vec::new();
    let mut rest = err.lines();
    while let Some(note) = rest.next() {
        let Some((place, what)) = note.split_once(": Evaluate ") else {
            continue;
        };
        if !matches!(what, "add" | "insert") {
            continue;
        }
        let mut place = place.rsplitn(3, ':');
        let from = place
            .next()
            .and_then(|columns| columns.split('-').next()?.parse::<usize>().ok());
        let line = place.next().and_then(|line| line.parse().ok());
        if let (Some(from), Some(line), Some(text)) = (from, line, rest.next())
            && is_rule(text, from.saturating_sub(1))
        {
            found.push(line);
        }
    }
    found
}

/// Whether what begins there is a rule, and not a table, a chain, a set or an element.
fn is_rule(line: &str, at: usize) -> bool {
    let (Some(before), Some(after)) = (line.get(..at), line.get(at..)) else {
        return false;
    };
    let is_object = |word: &str| {
        let objects = [
            "table",
            "chain",
            "set",
            "map",
            "flowtable",
            "counter",
            "quota",
            "limit",
            "secmark",
        ];
        objects.contains(&word) || ["synproxy", "helper", "timeout", "expectation"].contains(&word)
    };
    let mut words = after.split_whitespace();
    match (words.next(), words.next()) {
        _ if before.split_whitespace().next_back().is_some_and(is_object) => false,
        (Some("table"), _) => false,
        _ if before.trim().is_empty() && line.trim_start().starts_with("table ") => false,
        (Some("add" | "create" | "insert"), Some(word)) => word == "rule" || word.starts_with('@'),
        _ => true,
    }
}
