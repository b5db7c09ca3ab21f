//! Rules of iptables and ip6tables: commands, and files for `iptables-restore`.

use super::Reading;
use super::block::Block;
use super::permit::{Ports, Said, combinations, some_ports, transport};
use crate::model::{Family, Transport};

/// Reads the words of one rule, from `-A CHAIN` on. False when they are no rule.
pub(super) fn rule(
    words: &[String],
    family: Option<Family>,
    line: usize,
    into: &mut Reading,
) -> bool {
    let mut rule = Rule::default();
    let mut words = words.iter().map(String::as_str).peekable();
    while let Some(word) = words.next() {
        rule.option(word, &mut words);
    }
    if rule.chain.is_none() {
        return false;
    }
    if rule.is_egress() {
        let permits = rule.permits(family, line);
        match rule.target {
            Some("ACCEPT") => into.take(true, permits),
            Some("DROP" | "REJECT") => into.take(false, permits),
            _ => {}
        }
        if rule.names_a_host {
            into.named(line);
        }
    }
    true
}

#[derive(Debug, Default)]
struct Rule<'a> {
    chain: Option<&'a str>,
    target: Option<&'a str>,
    blocks: Vec<Block>,
    transport: Option<Said<Transport>>,
    ports: Vec<Said<Ports>>,
    conditional: bool,
    irrelevant: bool,
    names_a_host: bool,
}

impl<'a> Rule<'a> {
    fn option(&mut self, option: &'a str, words: &mut dyn Iterator<Item = &'a str>) {
        let mut value = || words.next().unwrap_or_default();
        match option {
            "-A" | "--append" | "-I" | "--insert" => self.chain = Some(value()),
            "-j" | "--jump" => self.target = Some(value()),
            "-p" | "--protocol" => match transport(value()) {
                Some(said) => self.transport = Some(said),
                None => self.irrelevant = true,
            },
            "-d" | "--dst" | "--destination" => self.destinations(value()),
            "--dport" | "--dports" | "--destination-port" | "--destination-ports" => {
                self.ports.extend(value().split(',').map(some_ports));
            }
            "--ctstate" | "--state" => self.irrelevant |= !value().contains("NEW"),
            "-o" | "--out-interface" => match value() {
                "lo" => self.irrelevant = true,
                _ => self.conditional = true,
            },
            // What leaves from a port of this host is an answer, or no flow of cloudflared's.
            "--sport" | "--sports" | "--source-port" | "--source-ports" => {
                value();
                self.irrelevant = true;
            }
            "-t" | "--table" => self.irrelevant |= value() != "filter",
            "-m" | "--match" => {
                let known = ["tcp", "udp", "multiport", "comment", "conntrack", "state"];
                self.conditional |= !known.contains(&value());
            }
            "--comment" | "--reject-with" => {
                value();
            }
            "-w" | "--wait" | "-4" | "-6" | "--ipv4" | "--ipv6" | "-c" => {}
            // A negation, or a match that is not known: the rule may not hold.
            other => self.conditional |= other == "!" || other.starts_with('-'),
        }
    }

    fn destinations(&mut self, text: &str) {
        for destination in text.split(',') {
            match Block::parse(destination) {
                Some(block) => self.blocks.push(block),
                None => self.names_a_host = true,
            }
        }
    }

    /// Chains of users may be reached from OUTPUT; the others of the system are not.
    fn is_egress(&self) -> bool {
        let chain = self.chain.unwrap_or_default().to_ascii_lowercase();
        let elsewhere = ["input", "forward", "prerouting", "postrouting"];
        !self.irrelevant && !elsewhere.iter().any(|word| chain.contains(word))
    }

    fn permits(&self, family: Option<Family>, line: usize) -> Vec<super::Permit> {
        if self.names_a_host && self.blocks.is_empty() {
            return Vec::new();
        }
        // Without a destination the rule is for all of the family, which the file may leave open.
        let open = self.blocks.is_empty() && family.is_none();
        let blocks = if self.blocks.is_empty() {
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
        for (number, line) in text.lines().enumerate() {
            let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
            rule(&words, Some(Family::Ipv4), number + 1, &mut reading);
        }
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
            ("-A cloudflared -d 198.41.192.7 -j ACCEPT", Fit::Yes),
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
            ("-P OUTPUT ACCEPT", Fit::No),
        ] {
            assert_eq!(fit(text), expected, "{text}");
        }
        assert_eq!(read("-A OUTPUT -d 198.41.192.7 -j DROP").denies.len(), 1);
        assert_eq!(read("-A OUTPUT -d region1.example -j ACCEPT").permits, []);
    }
}
