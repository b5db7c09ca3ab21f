//! Making what can be made where a tool refuses the whole: piece by piece, and a piece without the
//! lines that the tool names. Old rules that miss a line are better than none, and nearly always that
//! line speaks of something that is gone, which no packet can meet any more.

use std::fmt;

use super::ruleset::Piece;
use super::run::ToolError;

/// How many lines of one piece may be left out before it is given up.
const MOST: usize = 100;

/// Something that could not be brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setback {
    /// The table, or the command.
    pub what: String,
    /// The line of it that was left out; the whole where there is none.
    pub line: Option<String>,
    /// What the tool has against it.
    pub why: String,
}

impl Setback {
    pub(super) fn new(what: impl Into<String>, why: &ToolError) -> Self {
        Self {
            what: what.into(),
            line: None,
            why: why.to_string(),
        }
    }
}

impl fmt::Display for Setback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.line {
            Some(line) => write!(f, "{} is back without `{line}`: {}", self.what, self.why),
            None => write!(f, "{} is not back: {}", self.what, self.why),
        }
    }
}

/// Loads pieces with a tool: at once, or else one by one, or else without the lines that it refuses.
pub(super) fn load(pieces: &[Piece], tool: &dyn Fn(&str) -> Result<(), ToolError>) -> Vec<Setback> {
    if pieces.is_empty() {
        return Vec::new();
    }
    match tool(&Piece::joined(pieces)) {
        Ok(()) => Vec::new(),
        Err(why @ ToolError::Endless { .. }) => {
            let setback = |piece: &Piece| Setback::new(&*piece.table, &why);
            pieces.iter().map(setback).collect()
        }
        Err(_) => pieces
            .iter()
            .flat_map(|piece| load_one(piece, tool))
            .collect(),
    }
}

fn load_one(piece: &Piece, tool: &dyn Fn(&str) -> Result<(), ToolError>) -> Vec<Setback> {
    let mut lines: Vec<&str> = piece.text.lines().collect();
    let mut left_out = Vec::new();
    loop {
        let text: String = lines.iter().flat_map(|line| [*line, "\n"]).collect();
        let Err(why) = tool(&text) else {
            return left_out;
        };
        let index = refused_line(&why.to_string()).and_then(|number| number.checked_sub(1));
        let index = index.filter(|index| left_out.len() < MOST && is_rule(&lines, *index));
        let Some(index) = index else {
            return vec![Setback::new(&*piece.table, &why)];
        };
        left_out.push(Setback {
            line: Some(lines.remove(index).trim().to_owned()),
            ..Setback::new(&*piece.table, &why)
        });
    }
}

/// The number of the line that a tool complains of: `/dev/stdin:4:3-20: Error: …` of nft, `line 4
/// failed` or `Error occurred at line: 4` of iptables-restore.
fn refused_line(complaint: &str) -> Option<usize> {
    let after = |mark: &str| complaint.split(mark).nth(1);
    let rest = after("/dev/stdin:").or_else(|| after("line: ").or_else(|| after("line ")))?;
    let end = rest.find(|next: char| !next.is_ascii_digit());
    rest.get(..end.unwrap_or(rest.len()))?.parse().ok()
}

/// Whether a line is a rule: of iptables, or in a chain of nft.
fn is_rule(lines: &[&str], index: usize) -> bool {
    let Some((line, before)) = lines.get(index).zip(lines.get(..index)) else {
        return false;
    };
    if line.contains("-A ") {
        return true;
    }
    let block = before.iter().rev().find(|line| !line.starts_with("\t\t"));
    let in_chain = block.is_some_and(|line| line.starts_with("\tchain "));
    in_chain && line.starts_with("\t\t") && !line.starts_with("\t\ttype ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NFT: &str = "table inet x {\n\tset s {\n\t\ttype ipv4_addr\n\t}\n\n\tchain c {\n\
        \t\ttype filter hook input priority filter; policy drop;\n\
        \t\tiif \"gone\" accept\n\t\ttcp dport 22 accept\n\t}\n}\n";
    const IPTABLES: &str = "*filter\n:INPUT DROP [0:0]\n[0:0] -A INPUT -m set --match-set gone src -j DROP\n\
        [0:0] -A INPUT -j ACCEPT\nCOMMIT\n";

    fn piece(table: &str, text: &str) -> Piece {
        Piece {
            table: table.to_owned(),
            text: text.to_owned(),
        }
    }

    /// A tool that refuses every text with this word, and says where as `told` does.
    fn refuses(
        word: &'static str,
        told: fn(usize) -> String,
    ) -> impl Fn(&str) -> Result<(), ToolError> {
        move |text| match text.lines().position(|line| line.contains(word)) {
            None => Ok(()),
            Some(index) => Err(ToolError::Failed {
                tool: "it".to_owned(),
                complaint: told(index + 1),
            }),
        }
    }

    #[test]
    fn a_rule_that_is_refused_takes_nothing_with_it() {
        let nft = |number| format!("/dev/stdin:{number}:7-12: Error: Interface does not exist");
        for (text, told) in [
            (NFT, nft as fn(usize) -> String),
            (IPTABLES, |number| {
                format!("iptables-restore: line {number} failed")
            }),
            (IPTABLES, |number| {
                format!("Set gone doesn't exist. | Error occurred at line: {number}")
            }),
        ] {
            let loaded = std::cell::RefCell::new(Vec::new());
            let tool = refuses("gone", told);
            let tool =
                |text: &str| tool(text).inspect(|()| loaded.borrow_mut().push(text.to_owned()));
            let pieces = [
                piece("table ip a", "a\n"),
                piece("table ip b", text),
                piece("table ip c", "c\n"),
            ];
            let setbacks = load(&pieces, &tool);
            assert_eq!(setbacks.len(), 1);
            assert_eq!(setbacks[0].what, "table ip b");
            assert!(setbacks[0].line.as_ref().unwrap().contains("gone"));
            let rest: Vec<_> = text.lines().filter(|line| !line.contains("gone")).collect();
            let rest = rest.join("\n") + "\n";
            assert_eq!(*loaded.borrow(), ["a\n".to_owned(), rest, "c\n".to_owned()]);
        }
    }

    #[test]
    fn a_piece_whose_frame_is_refused_is_told_and_the_others_are_made() {
        for word in ["table inet x", "ipv4_addr", "policy drop"] {
            let tool = refuses(word, |number| format!("/dev/stdin:{number}:1-2: Error: no"));
            let setbacks = load(
                &[piece("table inet x", NFT), piece("table ip c", "c\n")],
                &tool,
            );
            let told: Vec<_> = setbacks.iter().map(ToString::to_string).collect();
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(
                told[0].starts_with("table inet x is not back: it: /dev/stdin:"),
                "{told:?}"
            );
        }
    }

    #[test]
    fn a_tool_that_hangs_is_not_asked_again() {
        let asked = std::cell::Cell::new(0);
        let tool = |_: &str| {
            asked.set(asked.get() + 1);
            let limit = std::time::Duration::from_secs(1);
            Err(ToolError::Endless {
                tool: "it".to_owned(),
                limit,
            })
        };
        let setbacks = load(&[piece("a", "a"), piece("b", "b")], &tool);
        assert_eq!((setbacks.len(), asked.get()), (2, 1));
    }
}
