//! Commands of ufw.

use super::Reading;
use super::block::Block;
use super::permit::{Permit, Ports, Said, combinations, some_ports, transport};
use crate::model::Transport;

/// Reads the words after `ufw`. False when they are no rule.
pub(super) fn command(words: &[String], line: usize, into: &mut Reading) -> bool {
    let words = words.iter().map(String::as_str);
    let mut words =
        words.skip_while(|word| !matches!(*word, "allow" | "limit" | "deny" | "reject"));
    let allows = match words.next() {
        Some("allow" | "limit") => true,
        Some(_) => false,
        None => return false,
    };
    let mut rule = Rule::default();
    while let Some(word) = words.next() {
        rule.option(word, &mut words);
    }
    let permits = if rule.out {
        rule.permits(line)
    } else {
        Vec::new()
    };
    into.take(allows, permits);
    if rule.names_a_host {
        into.named(line);
    }
    true
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
    names_a_host: bool,
}

impl Rule {
    fn option(&mut self, word: &str, words: &mut dyn Iterator<Item = &str>) {
        let mut value = || words.next().unwrap_or_default();
        match word {
            "out" => self.out = true,
            "log" | "log-all" => {}
            "in" | "on" => {
                let interface = value();
                self.conditional |= word == "on" || !interface.is_empty();
            }
            "proto" => self.transport = transport(value()),
            "comment" => {
                value();
            }
            "from" => {
                self.after_from = true;
                self.conditional |= value() != "any";
            }
            "to" => {
                self.after_from = false;
                let to = value();
                self.block = Block::parse(to);
                self.names_a_host |= self.block.is_none() && to != "any";
            }
            // What leaves from a port of this host is an answer, or no flow of cloudflared's.
            "port" if self.after_from => {
                self.out = false;
                value();
            }
            "port" => self.ports_of(value()),
            other => {
                let (port, protocol) = other.split_once('/').unwrap_or((other, "any"));
                self.ports_of(port);
                self.transport = transport(protocol);
            }
        }
    }

    fn ports_of(&mut self, text: &str) {
        self.ports.extend(text.split(',').map(some_ports));
    }

    fn permits(&self, line: usize) -> Vec<Permit> {
        let blocks = match self.block {
            Some(block) => vec![block],
            None if self.names_a_host => Vec::new(),
            None => Block::everywhere(|_| true),
        };
        let transport = self.transport.as_slice();
        combinations(&blocks, transport, &self.ports, self.conditional, line)
    }
}

#[cfg(test)]
mod tests {
    use super::super::permit::Fit;
    use super::*;

    fn fit(text: &str) -> Fit {
        let mut reading = Reading::default();
        let words: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
        command(&words, 1, &mut reading);
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
