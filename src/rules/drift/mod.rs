//! PURE: whether a rule file that is there still lets out what is needed today.
//!
//! [`read`] finds out what a file lets out, [`compare`] holds it against an [`Egress`](super::Egress). Files in the
//! dialects of `tunnelcheck rules` are read by their grammar, and so are the usual lists of the
//! firewalls' own tools; whatever is in another form is read by its words, which is a guess.
//!
//! Rules are asked in the order in which the firewall asks them (`ways.rs`). What a rule says counts only
//! when nothing about it is unclear: a rule with a condition that is not understood, or a line that may
//! change what all others mean, makes a destination neither missing nor present.

mod block;
mod cloud;
mod compare;
mod firewalld;
mod iptables;
mod kubernetes;
mod lex;
mod listed;
mod nftables;
mod permit;
mod pf;
mod shell;
mod statements;
mod table;
mod ufw;
mod ways;
mod windows;
mod words;
mod yaml;

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

pub use self::block::Block;
pub use self::compare::{Drift, Gap, compare};
pub use self::permit::{Fit, Permit, Ports, Said};
use self::ways::{Policy, Step, Ways};
use crate::encoding::utf16;
use crate::model::Transport;

/// What a rule file lets out, as far as it could be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// The form of the file.
    pub form: Form,
    /// The rules that let a name out.
    pub names: Vec<Named>,
    /// Lines that name a host where only its addresses of one moment count.
    pub hosts: Vec<usize>,
    /// Lines that may change the meaning of all others, and are not understood.
    pub doubts: BTreeSet<usize>,
    /// Whether something was read by its words alone.
    pub guessed: bool,
    /// Whether this program printed the file.
    pub ours: bool,
    /// The rules in their order.
    ways: Ways,
    /// True while what is read may never come to pass, as in the branch of a script.
    unsure: bool,
}

/// How a file stands to a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It is let out.
    Open,
    /// Nobody knows.
    Unclear,
    /// A rule keeps it in, or a policy does.
    Closed,
    /// Nothing is said about it.
    Unsaid,
}

impl Reading {
    /// The rules that let something out.
    #[must_use]
    pub fn permits(&self) -> Vec<Permit> {
        self.ways.accepts()
    }

    /// How the file stands to a flow, `host` being the name behind the address.
    #[must_use]
    pub fn way(&self, host: &str, address: IpAddr, transport: Transport, port: u16) -> Way {
        let mut came = self.ways.outcomes(address, transport, port);
        let names = self.names.iter();
        let by_name = names.map(|named| named.fit(host, transport, port)).max();
        match by_name.unwrap_or(Fit::No) {
            Fit::Yes => {
                came.accept |= came.end;
                came.end = false;
            }
            Fit::Perhaps => came.accept |= came.end,
            Fit::No => {}
        }
        match (came.accept, came.deny, came.end) {
            _ if !self.doubts.is_empty() => Way::Unclear,
            (false, true, false) => Way::Closed,
            (true, false, false) => Way::Open,
            (true, ..) => Way::Unclear,
            (false, ..) => Way::Unsaid,
        }
    }

    /// Whether what no rule lets out is kept in.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.ways.is_closed()
    }

    /// How the file stands to a flow to an address that no name leads to, as a fit of one rule.
    #[cfg(test)]
    fn fit(&self, address: IpAddr, transport: Transport, port: u16) -> Fit {
        match self.way("", address, transport, port) {
            Way::Open => Fit::Yes,
            Way::Unclear => Fit::Perhaps,
            Way::Closed | Way::Unsaid => Fit::No,
        }
    }

    fn named(&mut self, line: usize) {
        self.hosts.push(line);
    }

    /// Something that is not understood, and may change the meaning of all rules.
    fn doubt(&mut self, line: usize) {
        self.doubts.insert(line);
    }

    /// Takes a rule at the end of a chain.
    fn push(&mut self, chain: &str, step: Step) {
        let at = self.ways.chain(chain).len();
        self.insert(chain, at, step);
    }

    fn insert(&mut self, chain: &str, at: usize, mut step: Step) {
        if self.unsure {
            step.doubt();
        }
        let steps = self.ways.chain(chain);
        steps.insert(at.min(steps.len()), step);
    }

    /// Takes a rule of a list that all flows have to pass.
    fn list(&mut self, list: &str, step: Step) {
        if !self.ways.has(list) {
            self.ways.hook(list, None, Policy::Unsaid, true);
        }
        self.push(list, step);
    }

    fn is_empty(&self) -> bool {
        self.ways == Ways::default() && self.names.is_empty() && self.doubts.is_empty()
    }
}

/// A rule for whatever a name resolves to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// A name in lower case, in which `*` stands for any characters but the dot.
    pub pattern: String,
    /// Over which protocol.
    pub transport: Said<Transport>,
    /// To which ports.
    pub ports: Said<Ports>,
    /// Whether it is the name's addresses of one moment that count, which may be others today.
    pub momentary: bool,
}

impl Named {
    /// Whether the rule is about a flow to a host.
    #[must_use]
    pub fn fit(&self, host: &str, transport: Transport, port: u16) -> Fit {
        if !matches(&self.pattern, &host.to_ascii_lowercase()) {
            return Fit::No;
        }
        let everywhere = IpAddr::from([0, 0, 0, 0]);
        let rule = Permit {
            block: Block::one(everywhere),
            transport: self.transport,
            ports: self.ports,
            conditional: self.momentary,
            line: 0,
        };
        rule.fit(everywhere, transport, port)
    }
}

/// Whether a name has the form of a pattern, label by label.
fn matches(pattern: &str, name: &str) -> bool {
    let label = |pattern: &str, label: &str| match pattern.split_once('*') {
        None => pattern == label,
        Some((before, after)) => {
            label.len() >= before.len() + after.len()
                && label.starts_with(before)
                && label.ends_with(after)
        }
    };
    pattern == "*"
        || pattern.split('.').count() == name.split('.').count()
            && pattern
                .split('.')
                .zip(name.split('.'))
                .all(|(p, n)| label(p, n))
}

/// In which form a file was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    /// A ruleset of nftables.
    Nftables,
    /// A ruleset of pf.
    Pf,
    /// Commands for Windows.
    Windows,
    /// Policies of Kubernetes or Cilium.
    Kubernetes,
    /// The file of a policy of firewalld.
    Policy,
    /// A table with columns.
    Csv,
    /// What a cloud's tool lists as JSON.
    CloudList,
    /// Commands of iptables, ufw, firewalld or a cloud's tool, or what iptables-save prints.
    Commands,
    /// None of these.
    #[default]
    Unknown,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Nftables => "rules of nftables",
            Self::Pf => "rules of pf",
            Self::Windows => "commands for Windows",
            Self::Kubernetes => "policies of Kubernetes",
            Self::Policy => "a policy of firewalld (XML)",
            Self::Csv => "a table (CSV)",
            Self::CloudList => "a list of a cloud's rules (JSON)",
            Self::Commands => "commands",
            Self::Unknown => "text of a form that is not known",
        })
    }
}

/// Why a file cannot be compared at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It holds octets that no text holds.
    #[error("is not a text file; give the rules as text")]
    Binary,
    /// There is nothing in it to compare.
    #[error("holds no rule and no address that could be compared; is it the right file?")]
    Empty,
}

/// Finds out what a file lets out.
///
/// # Errors
/// When it is no text, or nothing in it is a rule or an address.
pub fn read(bytes: &[u8]) -> Result<Reading, Unreadable> {
    let text = decode(bytes).ok_or(Unreadable::Binary)?;
    let mut reading = by_grammar(&text, text.contains("by tunnelcheck"));
    if reading.is_empty() {
        let mut words = Reading {
            ours: reading.ours,
            ..Reading::default()
        };
        for (number, line) in text.lines().enumerate() {
            words::line(line, number + 1, &mut words);
        }
        if reading.form == Form::Unknown && words.is_empty() {
            return Err(Unreadable::Empty);
        }
        // A ruleset that lets nothing out is an answer, and its comments may well hold addresses.
        if reading.form == Form::Unknown {
            reading = words;
        }
    }
    reading.ways.doubt_scopes();
    reading.ways.sort();
    Ok(reading)
}

/// UTF-8, or UTF-16 as `PowerShell` writes it.
fn decode(bytes: &[u8]) -> Option<String> {
    let text = utf16(bytes).unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned());
    (!text.contains('\0')).then(|| text.trim_start_matches('\u{feff}').to_owned())
}

fn by_grammar(text: &str, ours: bool) -> Reading {
    let mut reading = Reading {
        ours,
        ..Reading::default()
    };
    reading.form = match form(text) {
        Form::Nftables => {
            nftables::read(text, &mut reading);
            Form::Nftables
        }
        Form::Pf => {
            pf::read(text, &mut reading);
            Form::Pf
        }
        Form::Windows => {
            windows::read(text, &mut reading);
            Form::Windows
        }
        Form::Csv => {
            table::read(text, &mut reading);
            Form::Csv
        }
        Form::Kubernetes => match yaml::documents(text) {
            Some(documents) if kubernetes::read(&documents, &mut reading) => Form::Kubernetes,
            _ => Form::Unknown,
        },
        Form::CloudList => match serde_json::from_str(text) {
            Ok(value) if kubernetes::read(std::slice::from_ref(&value), &mut reading) => {
                Form::Kubernetes
            }
            Ok(value) if listed::listed(&value, &mut reading) => Form::CloudList,
            _ => Form::Unknown,
        },
        Form::Policy => {
            if firewalld::policy(text, &mut reading) {
                Form::Policy
            } else {
                Form::Unknown
            }
        }
        Form::Commands | Form::Unknown => {
            if shell::read(text, &mut reading) {
                Form::Commands
            } else {
                Form::Unknown
            }
        }
    };
    reading
}

/// The form that the lines of a file look like; comments are not asked.
fn form(text: &str) -> Form {
    if text.trim_start().starts_with(['{', '[']) && !text.trim_start().starts_with("[0:") {
        return Form::CloudList;
    }
    if text.trim_start().starts_with('<') {
        return Form::Policy;
    }
    if table::is_one(text) {
        return Form::Csv;
    }
    let form = |line: &str| {
        let line = line.trim().to_ascii_lowercase();
        let words: Vec<_> = line.split_whitespace().take(3).collect();
        match words.as_slice() {
            [first, ..] if first.starts_with('#') => None,
            ["add", "table", _] | ["add" | "insert", "rule", "ip" | "ip6" | "inet"] => {
                Some(Form::Nftables)
            }
            ["table", "ip" | "ip6" | "inet", _] => Some(Form::Nftables),
            ["table", name, _] if name.starts_with('<') => Some(Form::Pf),
            ["pass", ..]
            | [
                "block",
                "all" | "in" | "out" | "drop" | "return" | "log",
                ..,
            ] => Some(Form::Pf),
            ["kind:", kind] if kind.contains("networkpolicy") => Some(Form::Kubernetes),
            ["kind:", "list"] => Some(Form::Kubernetes),
            _ if line.contains("new-netfirewallrule") || line.contains("advfirewall") => {
                Some(Form::Windows)
            }
            _ => None,
        }
    };
    text.lines().find_map(form).unwrap_or(Form::Unknown)
}

#[cfg(all(test, unix))]
pub(crate) use self::yaml::documents as yaml_documents;

#[cfg(test)]
mod tests;
