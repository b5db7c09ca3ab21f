//! Commands of ufw, which asks its rules in their order; the first that is about a flow decides.

use super::block::Block;
use super::permit::{
    Permit, Ports, Said, combinations, from_ports, is_variable, some_ports, transport,
};
use super::ways::{Policy, Step, Verdict};
use super::{Named, Reading};
use crate::model::Transport;

/// The chain of the rules.
const LIST: &str = "ufw";

/// Reads the words after `ufw`.
pub(super) fn command(words: &[String], line: usize, into: &mut Reading) {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let options = words
        .iter()
        .take_while(|word| word.starts_with("--"))
        .count();
    if words[..options].contains(&"--dry-run") {
        return;
    }
    match &words[options..] {
        ["default", policy, direction @ ..]
            if direction != ["incoming"] && direction != ["routed"] =>
        {
            // Without a direction it is for what comes in.
            if direction == ["outgoing"] {
                if into.unsure {
                    into.doubt(line);
                }
                let policy = if *policy == "allow" {
                    Policy::Accept
                } else {
                    Policy::Deny
                };
                into.ways.hook(LIST, None, policy, true);
            }
        }
        ["reset", ..] => into.ways.forget(|chain| chain == LIST),
        ["delete", number] if number.parse::<usize>().is_ok() => into.doubt(line),
        ["delete", rule @ ..] => {
            let Some((step, _)) = step(rule, line) else {
                return;
            };
            // A rule that the file does not hold was there before it.
            let steps = into.ways.chain(LIST);
            if let Some(at) = steps.iter().position(|own| own.is_like(&step)) {
                steps.remove(at);
            }
        }
        ["insert", at, rule @ ..] => {
            // Beside rules that the file does not hold the place is known no better than this.
            let at = at.parse::<usize>().map_or(0, |at| at.saturating_sub(1));
            take(rule, at, line, into);
        }
        ["prepend", rule @ ..] => take(rule, 0, line, into),
        // Rules of what is forwarded.
        ["route", ..] => {}
        ["rule", rule @ ..] | rule => take(rule, usize::MAX, line, into),
    }
}

fn take(words: &[&str], at: usize, line: usize, into: &mut Reading) {
    let Some((step, rule)) = step(words, line) else {
        return;
    };
    if !into.ways.is_hook(LIST) {
        into.ways.hook(LIST, None, Policy::Unsaid, true);
    }
    if let Some(host) = &rule.host {
        into.named(line);
        if step.verdict == Verdict::Accept {
            rule.by_name(host, into);
            return;
        }
    }
    into.insert(LIST, at, step);
}

/// A rule about what leaves the host.
fn step(words: &[&str], line: usize) -> Option<(Step, Rule)> {
    let mut words = words.iter().copied();
    let kind = words.next()?;
    let verdict = match kind {
        "allow" | "limit" => Verdict::Accept,
        "deny" | "reject" => Verdict::Deny,
        _ => return None,
    };
    let mut rule = Rule {
        // Beyond a number of flows it rejects.
        conditional: kind == "limit",
        ..Rule::default()
    };
    while let Some(word) = words.next() {
        rule.option(word, &mut words);
    }
    (rule.out && !rule.irrelevant).then(|| (Step::new(verdict, rule.permits(line)), rule))
}

#[derive(Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a word of the rule, and any of them go together"
)]
struct Rule {
    out: bool,
    block: Option<Block>,
    transport: Option<Said<Transport>>,
    ports: Vec<Said<Ports>>,
    after_from: bool,
    conditional: bool,
    irrelevant: bool,
    host: Option<String>,
}

impl Rule {
    fn option(&mut self, word: &str, words: &mut dyn Iterator<Item = &str>) {
        let mut value = || words.next().unwrap_or_default();
        match word {
            "out" => self.out = true,
            "log" | "log-all" => {}
            "in" => self.irrelevant = true,
            "on" => match value() {
                "lo" => self.irrelevant = true,
                _ => self.conditional = true,
            },
            "proto" => self.protocol(value()),
            "comment" => {
                value();
            }
            "from" => {
                self.after_from = true;
                self.conditional |= value() != "any";
            }
            "to" => {
                self.after_from = false;
                self.destination(value());
            }
            "port" if self.after_from => match from_ports(value().split(',')) {
                Some(condition) => self.conditional |= condition,
                None => self.irrelevant = true,
            },
            "port" => self.ports_of(value()),
            "app" => {
                value();
                self.ports.push(Said::Unclear);
            }
            other => {
                let (port, protocol) = other.split_once('/').unwrap_or((other, "any"));
                self.ports_of(port);
                self.protocol(protocol);
            }
        }
    }

    fn protocol(&mut self, text: &str) {
        self.transport = transport(text);
        self.conditional |= is_variable(text);
        self.irrelevant |= self.transport.is_none() && !is_variable(text);
    }

    fn destination(&mut self, text: &str) {
        self.block = Block::parse(text);
        if is_variable(text) {
            self.conditional = true;
        } else if self.block.is_none() && text != "any" {
            self.host = Some(text.to_owned());
        }
    }

    fn ports_of(&mut self, text: &str) {
        self.ports.extend(text.split(',').map(some_ports));
    }

    /// A rule for a name holds for the addresses that it had when the rule was made.
    fn by_name(&self, host: &str, into: &mut Reading) {
        into.names.push(Named {
            pattern: host.trim_end_matches('.').to_ascii_lowercase(),
            transport: self.transport.unwrap_or(Said::Any),
            ports: match self.ports.as_slice() {
                [] => Said::Any,
                [one] => *one,
                _ => Said::Unclear,
            },
            momentary: true,
        });
    }

    fn permits(&self, line: usize) -> Vec<Permit> {
        let blocks = match self.block {
            Some(block) => vec![block],
            None => Block::everywhere(|_| true),
        };
        let transport = self.transport.as_slice();
        let conditional = self.conditional || self.host.is_some();
        combinations(&blocks, transport, &self.ports, conditional, line)
    }
}

#[cfg(test)]
mod tests {
    use super::super::permit::Fit;
    use super::*;

    fn fit(text: &str) -> Fit {
        let mut reading = Reading::default();
        let words: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
        for rule in words.split(|word| word == ";") {
            command(rule, 1, &mut reading);
        }
        reading.fit("198.41.192.7".parse().unwrap(), Transport::Tcp, 7844)
    }

    #[test]
    fn only_what_lets_new_flows_out_counts() {
        for (text, expected) in [
            (
                "allow out proto tcp to 198.41.192.7 port 7844 comment x",
                Fit::Yes,
            ),
            (
                "--force allow out to 198.41.192.0/24 port 443,7844 proto tcp",
                Fit::Yes,
            ),
            ("allow out proto tcp from any to any port 7844", Fit::Yes),
            ("allow out 7844/tcp", Fit::Yes),
            ("allow out 7844", Fit::Yes),
            ("allow out proto udp to 198.41.192.7 port 7844", Fit::No),
            ("allow in proto tcp to 198.41.192.7 port 7844", Fit::No),
            ("allow 7844/tcp", Fit::No),
            ("default deny outgoing", Fit::No),
            (
                "allow out on eth0 to 198.41.192.7 port 7844 proto tcp",
                Fit::Perhaps,
            ),
            ("allow out proto tcp from any port 22 to any", Fit::No),
        ] {
            assert_eq!(fit(text), expected, "{text}");
        }
    }
}
