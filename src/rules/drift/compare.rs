//! What is missing from a rule file, what is too much in it, and what cannot be judged.

use std::fmt;
use std::net::IpAddr;

use super::permit::{Fit, Permit, Said};
use super::{Form, Reading, Way};
use crate::exit::ExitStatus;
use crate::model::{Requirement, Transport};
use crate::rules::{Egress, Entry, Purpose, Today};

/// A rule file held against what is needed today.
#[derive(Debug, Clone, PartialEq)]
pub struct Drift {
    /// The form in which the file was read.
    pub form: Form,
    /// Whether what is needed is known as of today, or as it is documented.
    pub today: Today,
    /// How many destinations (address, protocol and port) are needed.
    pub needed: usize,
    /// What is needed and not let out.
    pub missing: Vec<Gap>,
    /// What may be let out: the file is not clear about it.
    pub unclear: Vec<Gap>,
    /// What a rule would let out, were it not that another one comes first and keeps it in.
    pub contradicted: Vec<Gap>,
    /// Rules for cloudflared's ports to what is not needed today.
    pub superfluous: Vec<Permit>,
    /// Whether something that a tunnel needs has no address today, so that no rule can be held against it.
    pub unknown: bool,
    /// What else could not be judged, in sentences.
    pub notes: Vec<String>,
}

/// Addresses of one entry that share a fate.
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
}

impl Drift {
    /// Whether something is missing that a tunnel needs, or is kept in.
    #[must_use]
    pub fn lacks_required(&self) -> bool {
        let mut lacking = self.missing.iter().chain(&self.contradicted);
        lacking.any(Gap::is_required)
    }

    /// Whether it is not known of something that a tunnel needs how the file stands to it.
    #[must_use]
    pub fn leaves_required_open(&self) -> bool {
        self.unknown || self.today == Today::NotTold || self.unclear.iter().any(Gap::is_required)
    }

    /// What a script is told: 0 is for a file that surely lets out everything that a tunnel needs.
    ///
    /// | required | exit |
    /// | --- | --- |
    /// | something missing, or kept in | 1 |
    /// | else something not clear | 4 |
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
}

impl Gap {
    fn is_required(&self) -> bool {
        self.requirement == Requirement::Required
    }
}

/// How a file stands to one destination.
///
/// | what the file does with it | a rule would let it out | fate |
/// | --- | --- | --- |
/// | lets it out | | present |
/// | keeps it in | yes, or it may | contradicted |
/// | keeps it in | no | missing |
/// | says nothing | | missing |
/// | is not clear | | unclear |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Present,
    Contradicted,
    Unclear,
    Missing,
}

/// Holds a file against what is needed. `closed` tells that the file is meant to be the whole
/// firewall, so that the resolvers have to be in it.
#[must_use]
pub fn compare(egress: &Egress, reading: &Reading, closed: bool) -> Drift {
    let judged = |entry: &&Entry| entry.purpose != Purpose::Dns || holds_dns(reading, closed);
    let entries: Vec<_> = egress.entries.iter().filter(judged).collect();
    let permits = reading.permits();
    let gaps = |fate| {
        let of_entry = |entry: &&Entry| gap(entry, reading, &permits, fate);
        entries.iter().filter_map(of_entry).collect::<Vec<_>>()
    };
    let is_unknown =
        |entry: &&Entry| entry.requirement == Requirement::Required && entry.addresses.is_empty();
    Drift {
        form: reading.form,
        today: egress.today,
        needed: entries.iter().map(|entry| needed(entry).count()).sum(),
        missing: gaps(Fate::Missing),
        unclear: gaps(Fate::Unclear),
        contradicted: gaps(Fate::Contradicted),
        superfluous: superfluous(egress, reading, &permits),
        unknown: entries.iter().any(is_unknown) || (closed && hides_resolvers(egress)),
        notes: notes(egress, reading, closed),
    }
}

/// The addresses of an entry that a rule has to name: what does not leave the host needs none.
fn needed(entry: &Entry) -> impl Iterator<Item = IpAddr> {
    let addresses = entry.addresses.iter().map(|address| address.ip);
    addresses.filter(|ip| !ip.is_loopback())
}

/// A file for cloudflared alone has no rules for the resolvers; one that keeps in all the rest has to.
/// Pods do not ask this host's, and what a cloud's own resolver is asked is never filtered.
fn holds_dns(reading: &Reading, closed: bool) -> bool {
    let is_dns = |permit: &Permit| permit.ports == Said::Only((53, 53));
    let here = matches!(
        reading.form,
        Form::Nftables | Form::Commands | Form::Policy | Form::Pf | Form::Windows
    );
    let tells = || reading.permits().iter().any(is_dns);
    reading.form != Form::Kubernetes && (closed || tells() || (here && reading.is_closed()))
}

/// Whether this host asks a resolver on itself, of which it is not known whom it asks in turn.
fn hides_resolvers(egress: &Egress) -> bool {
    let resolvers = || egress.entries.iter().filter(|e| e.purpose == Purpose::Dns);
    resolvers().next().is_some() && resolvers().all(|entry| needed(entry).next().is_none())
}

fn gap(entry: &Entry, reading: &Reading, permits: &[Permit], fate: Fate) -> Option<Gap> {
    let addresses: Vec<_> = needed(entry)
        .filter(|address| fate_of(entry, *address, reading, permits) == fate)
        .collect();
    (!addresses.is_empty()).then(|| Gap {
        host: entry.host.to_string(),
        transport: entry.transport,
        port: entry.port,
        requirement: entry.requirement,
        addresses,
    })
}

fn fate_of(entry: &Entry, address: IpAddr, reading: &Reading, permits: &[Permit]) -> Fate {
    let (transport, port) = (entry.transport, entry.port);
    let would = || {
        let mut fits = permits
            .iter()
            .map(|rule| rule.fit(address, transport, port));
        fits.any(|fit| fit > Fit::No)
    };
    match reading.way(entry.host.as_str(), address, transport, port) {
        Way::Open => Fate::Present,
        Way::Unclear => Fate::Unclear,
        Way::Closed if would() => Fate::Contradicted,
        Way::Closed | Way::Unsaid => Fate::Missing,
    }
}

/// Rules to cloudflared's ports that serve nothing that is needed. Other ports than the edge's are
/// those of half the world: only in a file of this program's own are they known to be for cloudflared.
fn superfluous(egress: &Egress, reading: &Reading, permits: &[Permit]) -> Vec<Permit> {
    let ours = |entry: &&Entry| match entry.purpose {
        Purpose::Quic | Purpose::Http2 => true,
        Purpose::Https | Purpose::DnsOverTls => reading.ours && !entry.addresses.is_empty(),
        Purpose::Dns => false,
    };
    let ports: Vec<_> = egress
        .entries
        .iter()
        .filter(ours)
        .map(|entry| entry.port)
        .collect();
    let about = |rule: &&Permit| matches!(rule.ports, Said::Only((first, last)) if first == last && ports.contains(&first));
    let serves = |rule: &Permit| {
        egress.entries.iter().any(|entry| {
            needed(entry).any(|address| rule.fit(address, entry.transport, entry.port) > Fit::No)
        })
    };
    let rules = permits.iter().filter(about);
    let mut unneeded: Vec<_> = rules.filter(|rule| !serves(rule)).copied().collect();
    unneeded.sort_unstable();
    unneeded.dedup_by_key(|rule| Permit { line: 0, ..*rule });
    unneeded
}

fn notes(egress: &Egress, reading: &Reading, closed: bool) -> Vec<String> {
    let mut notes = Vec::new();
    let mut note = |applies: bool, text: &str| notes.extend(applies.then(|| text.to_owned()));
    note(
        reading.guessed,
        "Some lines are in a form that is not known: addresses were taken from them, with the \
         protocol and port that stand beside. What they mean is not known.",
    );
    note(
        !reading.hosts.is_empty(),
        "Some rules name a host; a packet filter takes its addresses once, when the rule is made.",
    );
    note(
        !holds_dns(reading, closed),
        "Whether this host's resolvers can be reached was not judged: the file is not about them.",
    );
    note(
        reading.form != Form::Kubernetes,
        "Whether the file is what is applied, and the whole of it, was not judged. What the policy of a chain lets out and no rule names is not clear: another table may keep it in.",
    );
    if !reading.doubts.is_empty() {
        let lines: Vec<_> = reading.doubts.iter().filter(|line| **line > 0).collect();
        let lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
        let place = match lines.as_slice() {
            [] => "Something in the file".to_owned(),
            lines => format!("Line {}", lines.join(", ")),
        };
        notes.push(format!(
            "{place} may change what all rules mean (rules that are taken away, or are in another file), and is not followed: nothing counts as let out."
        ));
    }
    if closed && hides_resolvers(egress) {
        notes.push(
            "This host asks a resolver on itself, and whom that one asks in turn is not known: name its upstream resolvers with --resolver.".to_owned(),
        );
    }
    for entry in egress
        .entries
        .iter()
        .filter(|entry| entry.addresses.is_empty())
    {
        notes.push(format!(
            "{} {} {} was not judged: none of its addresses is known today.",
            entry.host, entry.transport, entry.port
        ));
    }
    notes
}

/// The comparison in words, for a terminal or a log.
impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.headline())?;
        writeln!(
            f,
            "Read as {}; {} destinations are {}.",
            self.form,
            self.needed,
            self.today.words()
        )?;
        let of = |wanted: Requirement| {
            let gaps = self.missing.iter();
            gaps.filter(move |gap| gap.requirement == wanted).collect()
        };
        section(f, "Missing, required", &of(Requirement::Required))?;
        section(f, "Missing, optional", &of(Requirement::Optional))?;
        let kept_in = "Kept in by a rule that comes before the one that would let it out";
        section(f, kept_in, &self.contradicted.iter().collect())?;
        let of = |wanted: Requirement| {
            let gaps = self.unclear.iter();
            gaps.filter(move |gap| gap.requirement == wanted).collect()
        };
        section(
            f,
            "Not clear from the file, required",
            &of(Requirement::Required),
        )?;
        section(
            f,
            "Not clear from the file, optional",
            &of(Requirement::Optional),
        )?;
        if !self.superfluous.is_empty() {
            writeln!(f, "\nSuperfluous, not {}:", self.today.words())?;
        }
        for rule in &self.superfluous {
            write!(f, "  {}{}", rule.block, flow(rule))?;
            match rule.line {
                0 => writeln!(f)?,
                line => writeln!(f, " (line {line})")?,
            }
        }
        if !self.notes.is_empty() {
            writeln!(f, "\nNot judged:")?;
        }
        self.notes
            .iter()
            .try_for_each(|note| writeln!(f, "  {note}"))
    }
}

impl Drift {
    fn headline(&self) -> &'static str {
        let missing = self.missing.iter().any(Gap::is_required);
        let exact = self.missing.is_empty()
            && self.contradicted.is_empty()
            && self.unclear.is_empty()
            && self.superfluous.is_empty();
        match (self.lacks_required(), self.leaves_required_open()) {
            (true, _) if missing => "The file lacks something that a tunnel needs.",
            (true, _) => "The file keeps in something that a tunnel needs.",
            (false, true) if self.today == Today::NotTold => {
                "Nothing documented that is required is known to be missing, but DNS has not told what is needed today."
            }
            (false, true) => {
                "Nothing required is known to be missing, but not all that is required is clear."
            }
            (false, false) if exact && self.today == Today::NotAsked => {
                "The file lets out exactly what is documented; DNS was not asked."
            }
            (false, false) if exact => "The file lets out exactly what is needed today.",
            (false, false) => "The file lets out everything that is required.",
        }
    }
}

fn section(f: &mut fmt::Formatter<'_>, title: &str, gaps: &Vec<&Gap>) -> fmt::Result {
    if !gaps.is_empty() {
        writeln!(f, "\n{title}:")?;
    }
    gaps.iter().try_for_each(|gap| {
        let addresses: Vec<_> = gap.addresses.iter().map(ToString::to_string).collect();
        let addresses = addresses.join(", ");
        writeln!(
            f,
            "  {} {} {}: {addresses}",
            gap.host, gap.transport, gap.port
        )
    })
}

fn flow(rule: &Permit) -> String {
    let transport = match rule.transport {
        Said::Only(transport) => format!(" {transport}"),
        Said::Any | Said::Unclear => String::new(),
    };
    match rule.ports {
        Said::Only((first, last)) if first == last => format!("{transport} {first}"),
        Said::Only((first, last)) => format!("{transport} {first}-{last}"),
        Said::Any | Said::Unclear => transport,
    }
}
