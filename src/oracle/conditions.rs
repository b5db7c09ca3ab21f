//! Rules that look at what a trial cannot settle, and the same rules without it.
//!
//! Each is tried as if its condition always held, and what counts (limits, sets) as if it never did. Only
//! where the two differ does the rule matter.

use super::listing::Chain;
use super::question::{Format, Part};
use super::{On, saved};

/// A rule with a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lever {
    pub(super) family: String,
    pub(super) table: String,
    pub(super) chain: String,
    /// From 0.
    pub(super) index: usize,
    pub(super) on: On,
    /// Whether the interface is among its conditions.
    pub(super) by_interface: bool,
    pub(super) how: How,
}

/// How a rule is made another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum How {
    /// A line of a part, from 0; what it is when the condition holds, and when it does not.
    Line(usize, usize, String, String),
    /// A rule of nftables by its handle, and what it is when the condition holds.
    Handle(u64, String),
}

impl Lever {
    /// Whether a trial itself changes what the rule says, or leaves it open.
    pub(super) const fn is_counting(&self) -> bool {
        // iptables does not load a control group that this host lacks.
        counts(self.on) || matches!((self.on, &self.how), (On::Cgroup, How::Line(..)))
    }

    /// Whether a flow that passes may be closed by it. That the user, the interface and the mark of an
    /// unmarked packet are as asked is a fact; the time and the control group are not.
    pub(super) const fn may_close(&self) -> bool {
        matches!(self.on, On::Limit | On::Set | On::Time | On::Cgroup)
    }
}

/// The levers among lines of iptables. The index is among the rules of the chain.
pub(super) fn of_lines(parts: &[Part]) -> Vec<Lever> {
    let mut levers = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        let family = match part.format {
            Format::Nft => continue,
            Format::Iptables => "ip",
            Format::Ip6tables => "ip6",
        };
        let Some((rules, _)) = saved::read(&part.text) else {
            continue;
        };
        let lines: Vec<&str> = part.text.lines().collect();
        let mut counts = std::collections::BTreeMap::new();
        for rule in rules {
            let count = counts.entry((rule.table.clone(), rule.chain.clone()));
            let index = count.or_insert(0);
            if let Some((found, always)) = relax(|pick| without_saved(lines[rule.line], pick)) {
                let never = format!("-A {}", rule.chain);
                levers.push(Lever {
                    family: family.to_owned(),
                    table: rule.table,
                    chain: rule.chain,
                    index: *index,
                    on: first(&found),
                    by_interface: found.contains(&On::Interface),
                    how: How::Line(number, rule.line, always, never),
                });
            }
            *index += 1;
        }
    }
    levers
}

/// The levers among the rules of a chain of nftables.
pub(super) fn of_chain(chain: &Chain, open_sets: &[(String, String, String)]) -> Vec<Lever> {
    let open = |name: &str| {
        let of_table =
            |set: &&(String, String, String)| set.0 == chain.family && set.1 == chain.table;
        open_sets.iter().filter(of_table).any(|set| set.2 == name)
    };
    let rules = chain.rules.iter().enumerate();
    let levers = rules.filter_map(|(index, rule)| {
        let (found, always) = relax(|pick| without_nft(&rule.text, &open, pick))?;
        Some(Lever {
            family: chain.family.clone(),
            table: chain.table.clone(),
            chain: chain.name.clone(),
            index,
            on: first(&found),
            by_interface: found.contains(&On::Interface),
            how: How::Handle(rule.handle, always),
        })
    });
    levers.collect()
}

const fn counts(on: On) -> bool {
    matches!(on, On::Limit | On::Set)
}

/// What counts comes first, and by itself: the other conditions of such a rule stay.
fn relax(without: impl Fn(&dyn Fn(On) -> bool) -> (Vec<On>, String)) -> Option<(Vec<On>, String)> {
    let picks: [&dyn Fn(On) -> bool; 2] = [&counts, &|on| !counts(on)];
    let mut relaxed = picks.iter().map(|pick| without(*pick));
    relaxed.find(|(found, _)| !found.is_empty())
}

/// The interface is the weakest reason.
fn first(found: &[On]) -> On {
    let mut others = found.iter().filter(|on| **on != On::Interface);
    others.next().copied().unwrap_or(On::Interface)
}

/// The modules of iptables that look at such things.
fn module(name: &str) -> Option<On> {
    Some(match name {
        "limit" | "hashlimit" | "recent" | "connlimit" | "quota" | "quota2" | "statistic" => {
            On::Limit
        }
        "mark" | "connmark" => On::Mark,
        "cgroup" => On::Cgroup,
        "owner" => On::User,
        "set" => On::Set,
        "time" => On::Time,
        _ => return None,
    })
}

/// Options of other modules, which a line written by hand may have in between.
const OTHERS: [&str; 8] = [
    "--dport",
    "--dports",
    "--sport",
    "--sports",
    "--destination-port",
    "--source-port",
    "--ctstate",
    "--comment",
];

/// A line of iptables without the conditions that are picked, and those.
fn without_saved(line: &str, pick: &dyn Fn(On) -> bool) -> (Vec<On>, String) {
    let words = saved::words(line);
    let (mut kept, mut found) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < words.len() {
        let next = words.get(at + 1).map_or("", |word| word.trim_matches('"'));
        match words[at].as_str() {
            "-m" | "--match" if module(next).is_some_and(pick) => {
                found.extend(module(next));
                at += 2;
                let ends = |word: &String| {
                    (word.starts_with('-') && !word.starts_with("--"))
                        || OTHERS.contains(&word.as_str())
                        || matches!(&**word, "--jump" | "--goto" | "--match")
                };
                while at < words.len() && !ends(&words[at]) {
                    at += 1;
                }
            }
            "-o" | "-i" | "--out-interface" | "--in-interface"
                if next != "lo" && pick(On::Interface) =>
            {
                found.push(On::Interface);
                at += 2;
                if kept.last().is_some_and(|word| word == "!") {
                    kept.pop();
                }
            }
            word => {
                kept.push(word.to_owned());
                at += 1;
            }
        }
    }
    (found, kept.join(" "))
}

/// A rule of nftables without the conditions that are picked, and those. `open` says whether the content
/// of a set is not certain.
fn without_nft(
    text: &str,
    open: &dyn Fn(&str) -> bool,
    pick: &dyn Fn(On) -> bool,
) -> (Vec<On>, String) {
    let words = saved::words(text);
    let (mut kept, mut found): (Vec<String>, Vec<On>) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < words.len() {
        let rest = &words[at..];
        if let Some((on, length)) = condition(rest).filter(|(on, _)| pick(*on)) {
            found.push(on);
            at += length;
            continue;
        }
        let named = pick(On::Set) && rest[0].strip_prefix('@').is_some_and(open);
        let before = kept.last().map(String::as_str);
        if named && !matches!(before, Some("add" | "update" | "delete" | "vmap" | "map")) {
            found.push(On::Set);
            left_side(&mut kept);
        } else {
            kept.push(rest[0].clone());
        }
        at += 1;
    }
    (found, kept.join(" "))
}

/// Takes back what is looked up in a set: `ip saddr`, `ip saddr . tcp dport !=`.
fn left_side(kept: &mut Vec<String>) {
    if kept.last().is_some_and(|word| word == "!=") {
        kept.pop();
    }
    loop {
        kept.truncate(kept.len().saturating_sub(2));
        if kept.last().is_none_or(|word| word != ".") {
            return;
        }
        kept.pop();
    }
}

/// The condition at the beginning of these words, with how many are its own.
fn condition(words: &[String]) -> Option<(On, usize)> {
    let word = |index: usize| words.get(index).map_or("", String::as_str);
    let matched = |on, key: usize| {
        // `meta mark set …` is no match, and `lo` is not another way out.
        let (operator, value) = value(&words[key..]);
        let is_match = word(key) != "set" && word(key + operator).trim_matches('"') != "lo";
        is_match.then_some((on, key + operator + value))
    };
    match (word(0), word(1)) {
        ("meta", "skuid" | "skgid") => matched(On::User, 2),
        ("meta" | "ct", "mark") => matched(On::Mark, 2),
        ("meta", "cgroup") => matched(On::Cgroup, 2),
        ("meta", "hour" | "day" | "time") => matched(On::Time, 2),
        ("socket", "cgroupv2") => matched(On::Cgroup, 4),
        ("oifname" | "iifname" | "oif" | "iif", _) => matched(On::Interface, 1),
        ("numgen", _) => {
            let offset = if word(4) == "offset" { 6 } else { 4 };
            (word(offset) != "vmap" && word(offset) != "map").then(|| matched(On::Limit, offset))?
        }
        ("ct", "count") => Some((On::Limit, if word(2) == "over" { 4 } else { 3 })),
        ("limit" | "quota", "name") => Some((On::Limit, 3)),
        ("limit", "rate") => {
            let mut at = if word(2) == "over" { 3 } else { 2 };
            at += if word(at).contains('/') { 1 } else { 2 };
            at += if word(at) == "burst" { 3 } else { 0 };
            Some((On::Limit, at))
        }
        ("quota", _) => {
            let mut at = if matches!(word(1), "over" | "until") {
                2
            } else {
                1
            };
            at += 2;
            at += if word(at) == "used" { 3 } else { 0 };
            Some((On::Limit, at))
        }
        _ => None,
    }
}

/// How many words are before the value of a match, and how many the value has.
fn value(words: &[String]) -> (usize, usize) {
    let word = |index: usize| words.get(index).map_or("", String::as_str);
    let mut before = 0;
    if word(0) == "&" {
        // `& 0xff == 0x1`
        before += 2;
    }
    if matches!(word(before), "==" | "!=" | "<" | ">" | "<=" | ">=") {
        before += 1;
    }
    if word(before) != "{" {
        return (before, 1);
    }
    let end = words[before..].iter().position(|word| word == "}");
    (before, end.map_or(1, |end| end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_of_nft_are_left_out() {
        let open = |name: &str| name == "open";
        for (text, on, left) in [
            (
                "meta skuid \"x y\" udp dport 53 accept",
                On::User,
                "udp dport 53 accept",
            ),
            (
                "meta skuid { 0, 5 } tcp dport 1 accept",
                On::User,
                "tcp dport 1 accept",
            ),
            (
                "tcp dport 1 meta mark & 0x0000000f == 0x00000001 drop",
                On::Mark,
                "tcp dport 1 drop",
            ),
            (
                "limit rate over 10/second burst 5 packets drop",
                On::Limit,
                "drop",
            ),
            (
                "limit rate 10 mbytes/second counter accept",
                On::Limit,
                "counter accept",
            ),
            (
                "tcp dport 1 quota over 25 mbytes used 0 bytes drop",
                On::Limit,
                "tcp dport 1 drop",
            ),
            (
                "tcp dport 22 ct count over 3 reject",
                On::Limit,
                "tcp dport 22 reject",
            ),
            ("numgen random mod 10 < 5 drop", On::Limit, "drop"),
            (
                "socket cgroupv2 level 2 \"a/b\" accept",
                On::Cgroup,
                "accept",
            ),
            ("meta hour \"08:00\"-\"17:00\" drop", On::Time, "drop"),
            (
                "oifname { \"a\", \"b\" } oifname != \"c\" accept",
                On::Interface,
                "accept",
            ),
            ("ip saddr . tcp dport != @open drop", On::Set, "drop"),
            (
                "udp dport 5 ip daddr @open accept",
                On::Set,
                "udp dport 5 accept",
            ),
            (
                "oifname \"a\" limit rate 5/minute accept",
                On::Limit,
                "oifname \"a\" accept",
            ),
        ] {
            let (found, told) = relax(|pick| without_nft(text, &open, pick)).unwrap();
            assert_eq!((first(&found), &*told), (on, left), "{text}");
        }
        for text in [
            "oifname \"lo\" accept",
            "iif \"lo\" accept",
            "meta mark set 0x00000001 accept",
            "ip daddr @closed accept",
            "add @open { ip saddr }",
            "udp dport 7844 accept comment \"meta mark 1\"",
        ] {
            assert_eq!(relax(|pick| without_nft(text, &open, pick)), None, "{text}");
        }
    }

    #[test]
    fn conditions_of_iptables_are_left_out() {
        for (text, on, left) in [
            (
                "-A O -p udp -m owner --uid-owner 5 -j ACCEPT",
                On::User,
                "-A O -p udp -j ACCEPT",
            ),
            (
                "-A O -m mark ! --mark 0x1/0xff -m udp -j DROP",
                On::Mark,
                "-A O -m udp -j DROP",
            ),
            (
                "-A O -m limit --limit 5/min --limit-burst 2 -j LOG --log-prefix \"a b\"",
                On::Limit,
                "-A O -j LOG --log-prefix \"a b\"",
            ),
            ("-A O ! -o eth1 -j ACCEPT", On::Interface, "-A O -j ACCEPT"),
            (
                "-A O -m set --match-set x dst -j ACCEPT",
                On::Set,
                "-A O -j ACCEPT",
            ),
        ] {
            let (found, told) = relax(|pick| without_saved(text, pick)).unwrap();
            assert_eq!((first(&found), &*told), (on, left), "{text}");
        }
        for text in [
            "-A O -o lo -j ACCEPT",
            "-A O -m conntrack --ctstate NEW -j ACCEPT",
        ] {
            assert_eq!(relax(|pick| without_saved(text, pick)), None, "{text}");
        }
    }
}
