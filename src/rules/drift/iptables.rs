//! Rules of iptables and ip6tables: commands, and files for `iptables-restore`.

use std::collections::BTreeSet;

use super::block::Block;
use super::firewalld::Sets;
use super::permit::{Ports, Said, combinations, from_ports, is_variable, some_ports, transport};
use super::ways::{Policy, Step, Verdict};
use super::{Named, Reading};
use crate::model::{Family, Transport};

/// The tables of both families, as far as a file has come with them.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// The table that the lines of a file for `iptables-restore` are about.
    table: Option<String>,
    /// The families whose table `filter` the file holds as a whole.
    whole: BTreeSet<&'static str>,
    /// Where the rules that come now stand among others, as firewalld has it for direct rules.
    pub(super) rank: i64,
}

/// What is done to a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action<'a> {
    Append(&'a str),
    /// At a place, from 0.
    Insert(&'a str, usize),
    Delete(&'a str),
    Flush(Option<&'a str>),
    New(&'a str),
    Policy(&'a str, &'a str),
    /// By number, or under another name.
    Unclear,
    /// Listing and checking.
    Nothing,
}

impl Tables {
    /// Reads `*TABLE`, `:CHAIN POLICY` and `COMMIT`.
    pub(super) fn heading(&mut self, words: &[String], family: Option<Family>, into: &mut Reading) {
        let first = words.first().map_or("", String::as_str);
        if let Some(table) = first.strip_prefix('*') {
            self.table = Some(table.to_owned());
        } else if let Some(chain) = first.strip_prefix(':') {
            let policy = words.get(1).map_or("-", String::as_str);
            for name in families(family) {
                let key = self.key(name, None, chain);
                into.ways.chain(&key);
                if policy != "-" {
                    if key == format!("{name} filter OUTPUT") {
                        self.whole.insert(name);
                    }
                    self.hook(name, None, chain, policy, into);
                }
            }
        } else {
            self.table = None;
        }
    }

    fn key(&self, family: &str, table: Option<&str>, chain: &str) -> String {
        let table = table.or(self.table.as_deref()).unwrap_or("filter");
        format!("{family} {table} {chain}")
    }

    /// A chain of the system that packets of this host pass on their way out.
    fn hook(
        &self,
        family: &'static str,
        table: Option<&str>,
        chain: &str,
        policy: &str,
        into: &mut Reading,
    ) {
        if !matches!(chain, "OUTPUT" | "POSTROUTING") {
            return;
        }
        let key = self.key(family, table, chain);
        let policy = match policy {
            "ACCEPT" => Policy::Accept,
            "DROP" => Policy::Deny,
            _ => Policy::Unsaid,
        };
        let decides = key.split(' ').nth(1) == Some("filter");
        into.ways
            .hook(&key, Some(family_of(family)), policy, decides);
    }

    /// Reads the words of one command, from `-A CHAIN` on. False when they are no rule.
    pub(super) fn rule(
        &mut self,
        words: &[String],
        family: Option<Family>,
        sets: &Sets,
        line: usize,
        into: &mut Reading,
    ) -> bool {
        let mut rule = Rule {
            sets: Some(sets),
            ..Rule::default()
        };
        let mut rest = words.iter().map(String::as_str).peekable();
        while let Some(word) = rest.next() {
            rule.option(word, &mut rest);
        }
        let Some(action) = rule.action else {
            return false;
        };
        for name in families(family) {
            self.act(action, &rule, (name, family), line, into);
        }
        true
    }

    fn act(
        &mut self,
        action: Action<'_>,
        rule: &Rule<'_>,
        (name, family): (&'static str, Option<Family>),
        line: usize,
        into: &mut Reading,
    ) {
        let key = |chain: &str| self.key(name, rule.table, chain);
        match action {
            Action::Append(chain) | Action::Insert(chain, _) => {
                let key = key(chain);
                into.ways.chain(&key);
                let Some(step) = self.step(rule, name, family, line, into) else {
                    return;
                };
                let at = match action {
                    Action::Insert(_, at) => at,
                    _ => usize::MAX,
                };
                into.insert(&key, at, step);
            }
            Action::Delete(chain) => {
                let key = key(chain);
                let Some(step) = self.step(rule, name, family, line, into) else {
                    return;
                };
                // A rule that the file does not hold was there before it.
                let steps = into.ways.chain(&key);
                if let Some(at) = steps.iter().position(|own| own.is_like(&step)) {
                    steps.remove(at);
                }
            }
            Action::Flush(Some(chain)) => into.ways.chain(&key(chain)).clear(),
            Action::Flush(None) => {
                let table = key("");
                for own in into
                    .ways
                    .names()
                    .iter()
                    .filter(|own| own.starts_with(&table))
                {
                    into.ways.chain(own).clear();
                }
            }
            Action::New(chain) => {
                into.ways.chain(&key(chain));
            }
            Action::Policy(chain, policy) => {
                if into.unsure {
                    into.doubt(line);
                }
                self.hook(name, rule.table, chain, policy, into);
            }
            Action::Unclear => into.doubt(line),
            Action::Nothing => {}
        }
    }

    /// The rule; none where it decides nothing, or is about no new flow of this host.
    fn step(
        &self,
        rule: &Rule<'_>,
        name: &str,
        family: Option<Family>,
        line: usize,
        into: &mut Reading,
    ) -> Option<Step> {
        let verdict = match rule.target? {
            "ACCEPT" => Verdict::Accept,
            "DROP" | "REJECT" => Verdict::Deny,
            "RETURN" => Verdict::Return,
            other if GO_ON.contains(&other) => return None,
            // A target that is not known is like a chain that the file does not hold.
            chain if rule.goes => Verdict::Goto(self.key(name, rule.table, chain)),
            chain => Verdict::Jump(self.key(name, rule.table, chain)),
        };
        if rule.irrelevant {
            return None;
        }
        for host in &rule.hosts {
            into.named(line);
            if verdict == Verdict::Accept {
                rule.by_name(host, into);
            }
        }
        let by_name_alone = !rule.hosts.is_empty() && rule.blocks.is_empty();
        if by_name_alone && verdict == Verdict::Accept {
            return None;
        }
        Some(Step::new(verdict, rule.permits(family, line)).ranked(self.rank))
    }

    /// At the end of a file: where flows begin.
    pub(super) fn finish(&self, into: &mut Reading) {
        for name in families(None) {
            for (table, chain) in [
                ("filter", "OUTPUT"),
                ("raw", "OUTPUT"),
                ("mangle", "OUTPUT"),
                ("nat", "OUTPUT"),
                ("security", "OUTPUT"),
                ("mangle", "POSTROUTING"),
            ] {
                let key = self.key(name, Some(table), chain);
                if into.ways.has(&key) && !into.ways.is_hook(&key) {
                    self.hook(name, Some(table), chain, "", into);
                }
            }
            let filter = self.key(name, Some("filter"), "");
            let is_builtin = |chain: &str| matches!(chain, "INPUT" | "FORWARD");
            let strays = into.ways.unreached().into_iter().filter(|own| {
                let chain = own.strip_prefix(&filter);
                chain.is_some_and(|chain| !is_builtin(chain)) && !self.whole.contains(name)
            });
            for stray in strays.collect::<Vec<_>>() {
                into.ways.loose(&stray, Some(family_of(name)));
            }
        }
    }
}

/// Targets after which the rules that follow are asked.
const GO_ON: &[&str] = &[
    "AUDIT",
    "CHECKSUM",
    "CLASSIFY",
    "CONNMARK",
    "CONNSECMARK",
    "CT",
    "DSCP",
    "HL",
    "LOG",
    "MARK",
    "MASQUERADE",
    "NFLOG",
    "NOTRACK",
    "SECMARK",
    "SET",
    "SNAT",
    "TCPMSS",
    "TEE",
    "TOS",
    "TRACE",
    "TTL",
    "ULOG",
];

/// A rule of a family that is not told may be of either.
fn families(family: Option<Family>) -> Vec<&'static str> {
    match family {
        Some(Family::Ipv4) => vec!["ip"],
        Some(Family::Ipv6) => vec!["ip6"],
        None => vec!["ip", "ip6"],
    }
}

fn family_of(name: &str) -> Family {
    if name == "ip" {
        Family::Ipv4
    } else {
        Family::Ipv6
    }
}

#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a word of the rule, and any of them go together"
)]
struct Rule<'a> {
    sets: Option<&'a Sets>,
    action: Option<Action<'a>>,
    table: Option<&'a str>,
    target: Option<&'a str>,
    goes: bool,
    blocks: Vec<Block>,
    /// Whether it names destinations, be they none.
    to_some: bool,
    transport: Option<Said<Transport>>,
    ports: Vec<Said<Ports>>,
    /// The next option is turned round.
    negated: bool,
    conditional: bool,
    irrelevant: bool,
    hosts: Vec<String>,
}

impl<'a> Rule<'a> {
    fn option(
        &mut self,
        option: &'a str,
        words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>,
    ) {
        if option == "!" {
            self.negated = true;
            return;
        }
        let negated = std::mem::take(&mut self.negated);
        if self.command(option, words) {
            return;
        }
        let mut value = || {
            words
                .next_if(|word| !word.starts_with("--"))
                .unwrap_or_default()
        };
        // A flow of this host's to elsewhere never leaves by the loopback.
        if negated && matches!(option, "-o" | "--out-interface") {
            self.conditional |= value() != "lo";
            return;
        }
        if negated && option.starts_with('-') {
            self.conditional = true;
            value();
            return;
        }
        match option {
            "-j" | "--jump" => self.target = Some(value()),
            "-g" | "--goto" => {
                self.target = Some(value());
                self.goes = true;
            }
            "-p" | "--protocol" => {
                let said = value();
                self.transport = transport(said);
                self.conditional |= is_variable(said) || said == "!";
                self.irrelevant |= self.transport.is_none() && !self.conditional;
            }
            "-d" | "--dst" | "--destination" => self.destinations(value()),
            "--match-set" => {
                let (name, side) = (value(), value());
                self.set(name, side);
            }
            "--dport" | "--dports" | "--destination-port" | "--destination-ports" => {
                self.ports.extend(value().split(',').map(some_ports));
            }
            "--ctstate" | "--state" => {
                let states = value();
                self.conditional |= is_variable(states);
                self.irrelevant |= !states.contains("NEW") && !is_variable(states);
            }
            "-o" | "--out-interface" => match value() {
                "lo" => self.irrelevant = true,
                _ => self.conditional = true,
            },
            // Nothing that leaves this host has come in.
            "-i" | "--in-interface" => {
                value();
                self.irrelevant = true;
            }
            "--sport" | "--sports" | "--source-port" | "--source-ports" => {
                match from_ports(value().split(',')) {
                    Some(condition) => self.conditional |= condition,
                    None => self.irrelevant = true,
                }
            }
            "-t" | "--table" => self.table = Some(value()),
            "-m" | "--match" => {
                let known = [
                    "tcp",
                    "udp",
                    "multiport",
                    "comment",
                    "conntrack",
                    "state",
                    "set",
                ];
                self.conditional |= !known.contains(&value());
            }
            "--comment" | "--reject-with" => {
                words.next();
            }
            "--syn" | "-w" | "--wait" | "-4" | "-6" | "--ipv4" | "--ipv6" | "-c" => {}
            // A match that is not known: the rule may not hold.
            other => self.conditional |= other.starts_with('-'),
        }
    }

    /// What is done, and to which chain.
    fn command(
        &mut self,
        option: &str,
        words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>,
    ) -> bool {
        let numbered = |words: &mut std::iter::Peekable<_>| {
            let number = words.next_if(|word: &&str| word.parse::<usize>().is_ok());
            number.and_then(|number: &str| number.parse::<usize>().ok())
        };
        let mut chain = || words.next().unwrap_or_default();
        let action = match option {
            "-A" | "--append" => Action::Append(chain()),
            "-I" | "--insert" => {
                let chain = chain();
                Action::Insert(chain, numbered(words).map_or(0, |at| at.saturating_sub(1)))
            }
            "-D" | "--delete" => {
                let chain = chain();
                match numbered(words) {
                    Some(_) => Action::Unclear,
                    None => Action::Delete(chain),
                }
            }
            "-F" | "--flush" => Action::Flush(words.next_if(|word| !word.starts_with('-'))),
            "-N" | "--new-chain" => Action::New(chain()),
            "-P" | "--policy" => Action::Policy(chain(), words.next().unwrap_or_default()),
            "-R" | "--replace" | "-E" | "--rename-chain" => Action::Unclear,
            "-X" | "--delete-chain" | "-Z" | "--zero" | "-L" | "--list" | "-S" | "--list-rules"
            | "-C" | "--check" => Action::Nothing,
            _ => return false,
        };
        self.action = Some(action);
        true
    }

    fn destinations(&mut self, text: &str) {
        self.to_some = true;
        for destination in text.split(',') {
            match Block::parse(destination) {
                Some(block) => self.blocks.push(block),
                None if is_variable(destination) => {
                    self.conditional = true;
                    self.blocks.extend(Block::everywhere(|_| true));
                }
                None => self.hosts.push(destination.to_owned()),
            }
        }
    }

    /// A set of addresses, where the file holds it.
    fn set(&mut self, name: &str, side: &str) {
        let known = self
            .sets
            .and_then(|sets| sets.get(name))
            .filter(|_| side == "dst");
        match known {
            Some(blocks) if !self.to_some => {
                self.to_some = true;
                self.blocks.extend(blocks);
            }
            _ => self.conditional = true,
        }
    }

    /// A rule for a name holds for the addresses that it had when the rule was made.
    fn by_name(&self, host: &str, into: &mut Reading) {
        let pattern = host.trim_end_matches('.').to_ascii_lowercase();
        let ports = if self.ports.is_empty() {
            &[Said::Any]
        } else {
            self.ports.as_slice()
        };
        into.names.extend(ports.iter().map(|ports| Named {
            pattern: pattern.clone(),
            transport: self.transport.unwrap_or(Said::Any),
            ports: *ports,
            momentary: true,
        }));
    }

    fn permits(&self, family: Option<Family>, line: usize) -> Vec<super::Permit> {
        let everywhere = !self.to_some || (self.blocks.is_empty() && !self.hosts.is_empty());
        // Without a destination the rule is for all of the family, which the file may leave open.
        let open = everywhere && (family.is_none() || self.to_some);
        let blocks = if everywhere {
            Block::everywhere(|own| family.is_none_or(|family| family == own))
        } else {
            self.blocks.clone()
        };
        let transport = self.transport.as_slice();
        let conditional = self.conditional || open;
        combinations(&blocks, transport, &self.ports, conditional, line)
    }
}

#[cfg(test)]
mod tests {
    use super::super::permit::Fit;
    use super::*;

    fn read(text: &str) -> Reading {
        let mut reading = Reading::default();
        assert!(super::super::shell::read(
            &format!("# Generated by iptables-save\n{text}\n"),
            &mut reading
        ));
        reading
    }

    fn fit(text: &str) -> Fit {
        read(text).fit("198.41.192.7".parse().unwrap(), Transport::Tcp, 7844)
    }

    #[test]
    fn only_what_lets_new_flows_out_counts() {
        for (text, expected) in [
            (
                "-A OUTPUT -d 198.41.192.7/32 -p tcp -m tcp --dport 7844 -j ACCEPT",
                Fit::Yes,
            ),
            (
                "-A OUTPUT -d 198.41.192.0/24 -p tcp -m multiport --dports 443,7844 -j ACCEPT",
                Fit::Yes,
            ),
            (
                "-A OUTPUT -p tcp --dport 7844 -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT",
                Fit::Yes,
            ),
            ("-A cloudflared -d 198.41.192.7 -j ACCEPT", Fit::Perhaps),
            (
                "-A OUTPUT -j cloudflared\n-A cloudflared -d 198.41.192.7 -j ACCEPT",
                Fit::Yes,
            ),
            (
                "*filter\n:OUTPUT DROP [0:0]\n-A cloudflared -d 198.41.192.7 -j ACCEPT",
                Fit::No,
            ),
            (
                "-A OUTPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
                Fit::No,
            ),
            ("-A OUTPUT -o lo -j ACCEPT", Fit::No),
            ("-A OUTPUT -p tcp --sport 22 -j ACCEPT", Fit::No),
            ("-A INPUT -j ACCEPT", Fit::No),
            (
                "-A OUTPUT -d 198.41.192.7 -p udp --dport 7844 -j ACCEPT",
                Fit::No,
            ),
            ("-A OUTPUT -d 198.41.192.7 -p icmp -j ACCEPT", Fit::No),
            ("-A OUTPUT -d 198.41.192.7 -j LOG", Fit::No),
            ("-A OUTPUT -d 198.41.192.7 -j DROP", Fit::No),
            (
                "-A OUTPUT -d 198.41.192.7 -p tcp -m owner --uid-owner 1 -j ACCEPT",
                Fit::Perhaps,
            ),
            ("-A OUTPUT -p tcp ! -d 198.41.192.7 -j ACCEPT", Fit::Perhaps),
            (
                "-A OUTPUT -o eth0 -p tcp --dport 7844 -j ACCEPT",
                Fit::Perhaps,
            ),
            ("-P OUTPUT ACCEPT", Fit::Perhaps),
            ("-P OUTPUT DROP", Fit::No),
        ] {
            assert_eq!(fit(text), expected, "{text}");
        }
        let named = read("-A OUTPUT -d region1.example -j ACCEPT");
        assert_eq!((named.permits(), named.names.len()), (vec![], 1));
    }
}
