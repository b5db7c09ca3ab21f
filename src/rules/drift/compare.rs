//! What is missing from a rule file, what is too much in it, and what cannot be judged.

use std::fmt;
use std::net::IpAddr;

use super::permit::{Fit, Permit, Said};
use super::{Form, Reading};
use crate::model::{Requirement, Transport};
use crate::rules::{Egress, Entry, Purpose};

/// A rule file held against what is needed today.
#[derive(Debug, Clone, PartialEq)]
pub struct Drift {
    /// The form in which the file was read.
    pub form: Form,
    /// How many destinations (address, protocol and port) are needed.
    pub needed: usize,
    /// What is needed and not let out.
    pub missing: Vec<Gap>,
    /// What may be let out: the file is not clear about it.
    pub unclear: Vec<Gap>,
    /// What is let out by one rule and kept in by another, whose order is not looked at.
    pub contradicted: Vec<Gap>,
    /// Rules for cloudflared's ports to what is not needed today.
    pub superfluous: Vec<Permit>,
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
    /// Whether something is missing that a tunnel needs.
    #[must_use]
    pub fn lacks_required(&self) -> bool {
        let mut missing = self.missing.iter();
        missing.any(|gap| gap.requirement == Requirement::Required)
    }
}

/// How a file stands to one destination.
///
/// | a rule lets it out | one may | a rule about it keeps it in | fate |
/// | --- | --- | --- | --- |
/// | yes | | no | present |
/// | yes | | yes | contradicted |
/// | no | yes | | unclear |
/// | no | no | | missing |
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
    let gaps = |fate| {
        let with_fate = entries.iter().filter_map(|entry| gap(entry, reading, fate));
        with_fate.collect::<Vec<_>>()
    };
    Drift {
        form: reading.form,
        needed: entries.iter().map(|entry| needed(entry).count()).sum(),
        missing: gaps(Fate::Missing),
        unclear: gaps(Fate::Unclear),
        contradicted: gaps(Fate::Contradicted),
        superfluous: superfluous(egress, reading),
        notes: notes(egress, reading, closed),
    }
}

/// The addresses of an entry that a rule has to name: what does not leave the host needs none.
fn needed(entry: &Entry) -> impl Iterator<Item = IpAddr> {
    let addresses = entry.addresses.iter().map(|address| address.ip);
    addresses.filter(|ip| !ip.is_loopback())
}

/// A file for cloudflared alone has no rules for the resolvers. Pods do not ask this host's.
fn holds_dns(reading: &Reading, closed: bool) -> bool {
    let is_dns = |permit: &Permit| permit.ports == Said::Only((53, 53));
    reading.form != Form::Kubernetes && (closed || reading.permits.iter().any(is_dns))
}

fn gap(entry: &Entry, reading: &Reading, fate: Fate) -> Option<Gap> {
    let addresses: Vec<_> = needed(entry)
        .filter(|address| fate_of(entry, *address, reading) == fate)
        .collect();
    (!addresses.is_empty()).then(|| Gap {
        host: entry.host.to_string(),
        transport: entry.transport,
        port: entry.port,
        requirement: entry.requirement,
        addresses,
    })
}

fn fate_of(entry: &Entry, address: IpAddr, reading: &Reading) -> Fate {
    let (transport, port) = (entry.transport, entry.port);
    let names = reading.names.iter();
    let by_name = names.map(|named| named.fit(entry.host.as_str(), transport, port));
    let best = by_name.fold(reading.fit(address, transport, port), Fit::max);
    // The rule that drops the rest is no contradiction.
    let aimed = reading
        .denies
        .iter()
        .filter(|rule| !rule.block.is_everything());
    let mut fits = aimed.map(|rule| rule.fit(address, transport, port));
    let denied = fits.any(|fit| fit > Fit::No);
    match (best, denied) {
        (Fit::Yes, false) => Fate::Present,
        (Fit::Yes, true) => Fate::Contradicted,
        (Fit::Perhaps, _) => Fate::Unclear,
        (Fit::No, _) => Fate::Missing,
    }
}

/// Rules to cloudflared's ports that serve nothing that is needed. Other ports than the edge's are
/// those of half the world: only in a file of this program's own are they known to be for cloudflared.
fn superfluous(egress: &Egress, reading: &Reading) -> Vec<Permit> {
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
    let rules = reading.permits.iter().filter(about);
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
         protocol and port that stand beside. Check those by hand.",
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
        "Rules alone were looked at, not their order, nor whether they are what is applied; where a policy lets out what no rule drops, nothing is missing.",
    );
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
            "Read as {}; {} destinations are needed today.",
            self.form, self.needed
        )?;
        let of = |wanted: Requirement| {
            let gaps = self.missing.iter();
            gaps.filter(move |gap| gap.requirement == wanted).collect()
        };
        section(f, "Missing, required", &of(Requirement::Required))?;
        section(f, "Missing, optional", &of(Requirement::Optional))?;
        section(
            f,
            "Let out and kept in at once",
            &self.contradicted.iter().collect(),
        )?;
        section(f, "Not clear from the file", &self.unclear.iter().collect())?;
        if !self.superfluous.is_empty() {
            writeln!(f, "\nSuperfluous, not needed today:")?;
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
        let clean = self.missing.is_empty() && self.superfluous.is_empty();
        match (
            self.lacks_required(),
            self.unclear.is_empty() && self.contradicted.is_empty(),
        ) {
            (true, _) => "The file lacks something that a tunnel needs.",
            (false, false) => "Nothing required is known to be missing, but not all is clear.",
            (false, true) if clean => "The file lets out exactly what is needed today.",
            (false, true) => "Nothing required is missing.",
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
