//! Rules held against what is needed today, and what a script is told.

use std::fmt;
use std::net::IpAddr;

use super::fate::{Fate, Target};
use super::own::Difference;
use crate::model::{ExitStatus, Requirement, Transport};
use crate::report::escape;
use crate::rules::{Egress, Entry, Purpose, Today};

/// What is judged, and which resolvers count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// What was read: file and form, for each.
    pub what: Vec<String>,
    /// Whether it is what is in force on this host.
    pub in_force: bool,
    /// Whether this host's resolvers have to be let out.
    pub judges_dns: bool,
    /// Whether the resolvers have to be known: the rules are all that this host has.
    pub needs_resolvers: bool,
}

/// Addresses of one entry with the same fate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The host.
    pub host: String,
    /// The transport.
    pub transport: Transport,
    /// The port.
    pub port: u16,
    /// Whether a tunnel needs it.
    pub requirement: Requirement,
    /// The addresses, never none.
    pub addresses: Vec<IpAddr>,
    /// Never [`Fate::Open`] or [`Fate::Exempt`].
    pub fate: Fate,
}

/// Rules held against what is needed today.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// What was judged.
    pub subject: Subject,
    /// Whether what is needed is known as of today, or as it is documented.
    pub today: Today,
    /// How many destinations (address, protocol and port) are needed.
    pub needed: usize,
    /// What is not surely let out.
    pub gaps: Vec<Gap>,
    /// The lines that are different, if this program printed the file.
    pub difference: Option<Difference>,
    /// Whether lines that this program would not print decide, because no other judge was there.
    pub lines_decide: bool,
    /// Whether no rule lets pods ask a resolver.
    pub lacks_dns: bool,
    /// Rules for the edge's port that lead to no address of today.
    pub superfluous: Vec<String>,
    /// Whether something that a tunnel needs has no address today.
    pub unknown: bool,
    /// What was not judged, or assumed.
    pub notes: Vec<String>,
}

/// The destinations that are judged, each with its entry.
#[must_use]
pub fn targets<'a>(egress: &'a Egress, subject: &Subject) -> Vec<(&'a Entry, Target<'a>)> {
    let judged = egress
        .entries
        .iter()
        .filter(|e| subject.judges_dns || e.purpose != Purpose::Dns);
    let each = judged.flat_map(|entry| {
        entry.addresses.iter().map(move |address| {
            let target = Target {
                host: entry.host.as_str(),
                address: address.ip,
                transport: entry.transport,
                port: entry.port,
            };
            (entry, target)
        })
    });
    each.collect()
}

/// A tunnel needs TCP 53 only if answers are too long for UDP.
fn requirement(entry: &Entry, egress: &Egress) -> Requirement {
    let spare = entry.purpose == Purpose::Dns && entry.transport == Transport::Tcp;
    if spare && !egress.has_long_answers {
        Requirement::Optional
    } else {
        entry.requirement
    }
}

impl Comparison {
    /// Holds the fates of all [`targets`], in their order, against what is needed.
    #[must_use]
    pub fn new(egress: &Egress, subject: Subject, fates: Vec<Fate>) -> Self {
        let targets = targets(egress, &subject);
        let needed = targets.len();
        let mut gaps: Vec<Gap> = Vec::new();
        for ((entry, target), fate) in targets.into_iter().zip(fates) {
            if matches!(fate, Fate::Open | Fate::Exempt) {
                continue;
            }
            let same = |gap: &&mut Gap| {
                (gap.host.as_str(), gap.transport, gap.port)
                    == (target.host, target.transport, target.port)
                    && gap.fate == fate
            };
            match gaps.iter_mut().find(same) {
                Some(gap) => gap.addresses.push(target.address),
                None => gaps.push(Gap {
                    host: target.host.to_owned(),
                    transport: target.transport,
                    port: target.port,
                    requirement: requirement(entry, egress),
                    addresses: vec![target.address],
                    fate,
                }),
            }
        }
        let mut comparison = Self {
            today: egress.today,
            needed,
            gaps,
            difference: None,
            lines_decide: false,
            lacks_dns: false,
            superfluous: Vec::new(),
            unknown: false,
            notes: Vec::new(),
            subject,
        };
        comparison.note_what_is_unknown(egress);
        comparison
    }

    fn note_what_is_unknown(&mut self, egress: &Egress) {
        let mut resolvers = egress
            .entries
            .iter()
            .filter(|e| e.purpose == Purpose::Dns)
            .peekable();
        let known = resolvers.peek().is_none()
            || resolvers.any(|e| e.addresses.iter().any(|address| !address.ip.is_loopback()));
        if self.subject.needs_resolvers && !known {
            self.unknown = true;
            self.notes.push("This host asks a resolver on itself, and whom that one asks is not known: name its upstream resolvers with --resolver.".to_owned());
        }
        for entry in egress
            .entries
            .iter()
            .filter(|entry| entry.addresses.is_empty())
        {
            self.unknown |= entry.requirement == Requirement::Required;
            self.notes.push(format!(
                "{} {} {} was not judged: none of its addresses is known today.",
                entry.host, entry.transport, entry.port
            ));
        }
    }

    fn has_required(&self, is: impl Fn(&Fate) -> bool) -> bool {
        let mut required = self
            .gaps
            .iter()
            .filter(|gap| gap.requirement == Requirement::Required);
        required.any(|gap| is(&gap.fate))
    }

    /// Whether something that a tunnel needs is missing or closed, or the file is not what it was.
    #[must_use]
    pub fn lacks_required(&self) -> bool {
        let lines = self.difference.as_ref().is_some_and(|difference| {
            difference.lacks_required || (self.lines_decide && difference.has_strange)
        });
        lines
            || self.lacks_dns
            || self.has_required(|fate| matches!(fate, Fate::Missing(_) | Fate::Closed(_)))
    }

    /// Whether it is not known of something that a tunnel needs what the rules do with it.
    #[must_use]
    pub fn leaves_required_open(&self) -> bool {
        self.unknown || self.today == Today::NotTold || self.has_required(|_| true)
    }

    /// What a script is told: 0 is for rules that surely let out everything that a tunnel needs.
    ///
    /// | required | exit |
    /// | --- | --- |
    /// | something missing, or closed by a rule | 1 |
    /// | else something conditional, not in the file, or not clear | 4 |
    /// | all of it let out | 0 |
    #[must_use]
    pub fn status(&self) -> ExitStatus {
        if self.lacks_required() {
            ExitStatus::Blocked
        } else if self.leaves_required_open() {
            ExitStatus::Inconclusive
        } else {
            ExitStatus::Ready
        }
    }

    fn headline(&self) -> String {
        let rules = if self.subject.in_force {
            "The rule set in force on this host"
        } else {
            "The file"
        };
        let missing = self.has_required(|fate| matches!(fate, Fate::Missing(_)));
        let closed = self.has_required(|fate| matches!(fate, Fate::Closed(_)));
        match (self.lacks_required(), self.leaves_required_open()) {
            (true, _) if missing || self.lacks_dns => format!("{rules} lacks something that a tunnel needs."),
            (true, _) if closed => format!("{rules} closes something that a tunnel needs."),
            (true, _) => format!("{rules} is not what tunnelcheck would print now."),
            (false, true) if self.today == Today::NotTold => {
                "Nothing documented that is required is known to be missing, but DNS gave no answer about today.".to_owned()
            }
            (false, true) => "Nothing required is known to be missing, but not all that is required is clear.".to_owned(),
            (false, false) if self.difference.as_ref().is_some_and(Difference::is_none) => {
                format!("{rules} is what tunnelcheck would print now.")
            }
            (false, false) => format!("{rules} lets out everything that is required."),
        }
    }
}

/// Whether a fate is of a section.
type IsOf = fn(&Fate) -> bool;

/// The sections of the answer: what is said of a fate.
const SECTIONS: [(&str, IsOf); 5] = [
    ("Missing", |fate| matches!(fate, Fate::Missing(_))),
    ("Closed by a rule", |fate| matches!(fate, Fate::Closed(_))),
    ("Depends on a condition", |fate| {
        matches!(fate, Fate::Conditional(_))
    }),
    ("Not in the file", |fate| matches!(fate, Fate::NotInFile(_))),
    ("Not clear", |fate| matches!(fate, Fate::Unclear(_))),
];

/// The comparison in words, for a terminal or a log.
impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.headline())?;
        for what in &self.subject.what {
            writeln!(f, "Read as {}.", escape(what))?;
        }
        writeln!(
            f,
            "{} destinations are {}.",
            self.needed,
            self.today.words()
        )?;
        for (wanted, word) in [
            (Requirement::Required, "required"),
            (Requirement::Optional, "optional"),
        ] {
            for (title, belongs) in SECTIONS {
                let of_fate = |gap: &&Gap| gap.requirement == wanted && belongs(&gap.fate);
                let gaps: Vec<_> = self.gaps.iter().filter(of_fate).collect();
                section(f, &format!("{title}, {word}"), &gaps)?;
            }
        }
        if let Some(difference) = &self.difference {
            write!(f, "{difference}")?;
        }
        list(
            f,
            &format!("Superfluous, not {}", self.today.words()),
            &self.superfluous,
        )?;
        list(f, "Not judged, or assumed", &self.notes)
    }
}

fn list(f: &mut fmt::Formatter<'_>, title: &str, lines: &[String]) -> fmt::Result {
    if !lines.is_empty() {
        writeln!(f, "\n{title}:")?;
    }
    lines
        .iter()
        .try_for_each(|line| writeln!(f, "  {}", escape(line)))
}

fn section(f: &mut fmt::Formatter<'_>, title: &str, gaps: &[&Gap]) -> fmt::Result {
    if !gaps.is_empty() {
        writeln!(f, "\n{title}:")?;
    }
    for gap in gaps {
        let addresses: Vec<_> = gap.addresses.iter().map(ToString::to_string).collect();
        let addresses = addresses.join(", ");
        writeln!(
            f,
            "  {} {} {}: {addresses}",
            gap.host, gap.transport, gap.port
        )?;
        if let Some(why) = gap.fate.why() {
            writeln!(f, "    {}", escape(why))?;
        }
    }
    Ok(())
}
