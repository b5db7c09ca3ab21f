//! Lists of rules of clouds, clusters and tables, in the terms that all of them share.
//!
//! | of a flow | fate |
//! | --- | --- |
//! | the first rule that is surely about it allows it, or the list allows what no rule is about | open |
//! | that rule denies it, or the list denies what no rule is about | closed, missing |
//! | a rule before that one may be about it, and says otherwise | unclear |
//! | the replies of a list without state do not come back | closed, missing |
//! | lists of one kind disagree | unclear |
//! | of lists of two kinds, which both count, one closes it | closed, missing |

use std::ops::RangeInclusive;

use super::fate::{Fate, Target};
use crate::model::Transport;
use crate::rules::Cidr;

/// The ports from which Linux sends (`net.ipv4.ip_local_port_range`): replies come back to them.
const EPHEMERAL: RangeInclusive<u16> = 32768..=60999;

/// All ports.
pub(super) const ANY_PORT: RangeInclusive<u16> = 0..=u16::MAX;

/// What kind of list it is: all kinds have to let a flow pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A list that keeps state.
    Stateful,
    /// A network ACL of AWS.
    Stateless,
}

/// One list that a flow passes through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct List {
    /// What it is called.
    pub(super) name: String,
    /// Its kind.
    pub(super) kind: Kind,
    /// The rules for what leaves, in any order.
    pub(super) rules: Vec<Rule>,
    /// The rules for what comes in, if the list keeps no state.
    pub(super) back: Option<Vec<Rule>>,
    /// What becomes of a flow that no rule is about.
    pub(super) otherwise: Fate,
    /// Whether the network behind the list has no IPv6.
    pub(super) is_ipv4_only: bool,
}

impl List {
    /// A list that keeps state and denies what no rule allows.
    pub(super) fn stateful(name: String, rules: Vec<Rule>) -> Self {
        Self {
            name,
            kind: Kind::Stateful,
            rules,
            back: None,
            otherwise: Fate::Missing(None),
            is_ipv4_only: false,
        }
    }

    fn fate(&self, target: &Target<'_>) -> Fate {
        if self.is_ipv4_only && target.address.is_ipv6() {
            return Fate::Exempt;
        }
        let out = decide(&self.rules, target, target.port, &self.otherwise);
        match (&self.back, out) {
            (Some(back), Fate::Open) => replies(back, target, &self.otherwise),
            (_, out) => out,
        }
    }
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    /// Its place: the smallest comes first.
    pub(super) order: i64,
    /// Whether it allows.
    pub(super) allows: bool,
    /// The transport; none is any.
    pub(super) transport: Option<Transport>,
    /// The destination's ports.
    pub(super) ports: RangeInclusive<u16>,
    /// Where it leads to; for what comes in, where that is from.
    pub(super) to: To,
    /// Why it may be about less than it says.
    pub(super) doubt: Option<String>,
    /// The rule in words.
    pub(super) label: String,
}

/// Where a rule leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum To {
    /// To all addresses.
    Anywhere,
    /// To a network, without some in it.
    Network(Cidr, Vec<Cidr>),
    /// To the addresses that DNS answers for names of this pattern.
    Name(String),
}

impl To {
    /// The network of a word, or why it is not known.
    pub(super) fn network(word: &str) -> (Self, Option<String>) {
        match Cidr::covering(word) {
            Some(network) => (Self::Network(network, Vec::new()), None),
            None => (
                Self::Anywhere,
                Some(format!("the addresses of `{word}` are not in the file")),
            ),
        }
    }
}

impl Rule {
    fn is_about(&self, target: &Target<'_>, port: u16) -> bool {
        let to = match &self.to {
            To::Anywhere => true,
            To::Network(network, except) => {
                let holds = |network: &Cidr| network.contains(target.address);
                holds(network) && !except.iter().any(holds)
            }
            To::Name(pattern) => fits(pattern, &target.host.to_ascii_lowercase()),
        };
        let transport = self.transport.is_none_or(|of| of == target.transport);
        to && transport && self.ports.contains(&port)
    }

    /// Whether it is the rule for everything that no other one is about.
    pub(super) fn is_for_everything(&self) -> bool {
        let everywhere = match &self.to {
            To::Network(network, except) => network.is_everything() && except.is_empty(),
            To::Anywhere => true,
            To::Name(_) => false,
        };
        everywhere && self.transport.is_none() && self.ports == ANY_PORT
    }

    fn fate(&self) -> Fate {
        match (self.allows, self.is_for_everything()) {
            (true, _) => Fate::Open,
            (false, true) => Fate::Missing(Some(self.label.clone())),
            (false, false) => Fate::Closed(self.label.clone()),
        }
    }
}

fn decide(rules: &[Rule], target: &Target<'_>, port: u16, otherwise: &Fate) -> Fate {
    let mut about: Vec<_> = rules.iter().filter(|r| r.is_about(target, port)).collect();
    about.sort_by_key(|rule| rule.order);
    let decides = about.iter().position(|rule| rule.doubt.is_none());
    let fate = decides.map_or_else(|| otherwise.clone(), |at| about[at].fate());
    let before = &about[..decides.unwrap_or(about.len())];
    let mut against = before.iter().filter(|r| r.allows != (fate == Fate::Open));
    match against.next() {
        Some(rule) => {
            let why = rule.doubt.as_deref().unwrap_or_default();
            Fate::Unclear(format!("{}: {why}", rule.label))
        }
        None => fate,
    }
}

/// What becomes of the replies: each port that the flow may have been sent from counts.
fn replies(back: &[Rule], target: &Target<'_>, otherwise: &Fate) -> Fate {
    let mut edges: Vec<u16> = back
        .iter()
        .flat_map(|rule| [*rule.ports.start(), rule.ports.end().saturating_add(1)])
        .chain([*EPHEMERAL.start()])
        .filter(|port| EPHEMERAL.contains(port))
        .collect();
    edges.sort_unstable();
    let fates = edges
        .iter()
        .map(|port| (port, decide(back, target, *port, otherwise)));
    let Some((port, fate)) = { fates }.find(|(_, fate)| *fate != Fate::Open) else {
        return Fate::Open;
    };
    let what = format!(
        "the replies to port {port} (Linux sends from ports {} to {})",
        EPHEMERAL.start(),
        EPHEMERAL.end()
    );
    match fate {
        Fate::Closed(by) | Fate::Missing(Some(by)) => Fate::Closed(format!("{what}: {by}")),
        Fate::Unclear(why) => Fate::Unclear(format!("{what}: {why}")),
        _ => Fate::Closed(format!("{what}: no rule lets them in")),
    }
}

/// What all lists together do with a flow.
pub(super) fn fate(lists: &[List], target: &Target<'_>) -> Fate {
    let of_kind = |kind| {
        let lists = lists.iter().filter(move |list| list.kind == kind);
        agreed(lists.map(|list| (list, list.fate(target))))
    };
    let fates = [Kind::Stateful, Kind::Stateless].map(of_kind);
    let worst = fates.into_iter().flatten().max_by_key(|fate| match fate {
        Fate::Exempt => 0,
        Fate::Open => 1,
        Fate::NotInFile(_) => 2,
        Fate::Unclear(_) | Fate::Conditional(_) => 3,
        Fate::Missing(_) | Fate::Closed(_) => 4,
    });
    worst.unwrap_or(Fate::Missing(None))
}

fn agreed<'a>(fates: impl Iterator<Item = (&'a List, Fate)>) -> Option<Fate> {
    let (exempt, others): (Vec<_>, Vec<_>) = fates.partition(|(_, fate)| *fate == Fate::Exempt);
    let mut fates = others.into_iter();
    let Some((first, fate)) = fates.next() else {
        return (!exempt.is_empty()).then_some(Fate::Exempt);
    };
    let kind = |fate: &Fate| std::mem::discriminant(fate);
    let shut = |fate: &Fate| matches!(fate, Fate::Missing(_) | Fate::Closed(_));
    match fates.find(|(_, other)| kind(other) != kind(&fate) && !(shut(other) && shut(&fate))) {
        None => Some(fate),
        Some((second, _)) => Some(Fate::Unclear(format!(
            "{} and {} disagree, and which of them are for cloudflared is not in the file",
            first.name, second.name
        ))),
    }
}

/// Whether a name has the form of a pattern of Cilium: `*` is any part of a label, a leading `**.` any labels.
fn fits(pattern: &str, name: &str) -> bool {
    if let Some(tail) = pattern.strip_prefix("**.") {
        return name
            .strip_suffix(tail)
            .is_some_and(|head| head.ends_with('.'));
    }
    let label = |pattern: &str, label: &str| match pattern.split_once('*') {
        None => pattern == label,
        Some((before, after)) => {
            let long = label.len() >= before.len() + after.len();
            long && label.starts_with(before) && label.ends_with(after)
        }
    };
    let labels = || pattern.split('.').zip(name.split('.'));
    let same = pattern.split('.').count() == name.split('.').count();
    pattern == "*" || (same && labels().all(|(pattern, name)| label(pattern, name)))
}

/// The transport that a list names: `Some(None)` is any; none is a protocol without ports.
#[allow(clippy::option_option)]
pub(super) fn transport(text: &str) -> Option<Option<Transport>> {
    match text.to_ascii_lowercase().as_str() {
        "" | "-1" | "all" | "any" | "*" => Some(None),
        "6" | "tcp" => Some(Some(Transport::Tcp)),
        "17" | "udp" => Some(Some(Transport::Udp)),
        _ => None,
    }
}

/// `*`, a port, or a range; none for anything else.
pub(super) fn ports(text: &str) -> Option<RangeInclusive<u16>> {
    match text {
        "" | "*" | "any" => Some(ANY_PORT),
        _ => {
            let (from, to) = text.split_once('-').unwrap_or((text, text));
            Some(from.trim().parse().ok()?..=to.trim().parse().ok()?)
        }
    }
}
