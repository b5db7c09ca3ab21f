//! What a line of an unknown form lets out, as far as its words tell: addresses, with the protocol
//! and the port that stand beside them. A guess, which the comparison calls one.

use super::Reading;
use super::block::Block;
use super::permit::{Permit, Ports, Said, ports};
use super::ways::{Step, Verdict, unordered};
use crate::model::Transport;

/// Reads one line of an unknown form. False when no address is in it.
pub(super) fn line(text: &str, line: usize, into: &mut Reading) -> bool {
    let cut = |c: char| c.is_whitespace() || "\"'`,;(){}<>=|@".contains(c);
    let words: Vec<_> = text.split(cut).filter(|word| !word.is_empty()).collect();
    let places: Vec<_> = words.iter().filter_map(|word| place(word)).collect();
    if places.is_empty() {
        return false;
    }
    let transports = transports(&words);
    let beside = beside(&words);
    let denied = words.iter().any(|word| is_denial(word));
    let mut found = Vec::new();
    for (block, own) in places {
        let ports = match own {
            Some(port) => vec![port],
            None => beside.clone(),
        };
        for transport in &transports {
            found.extend(ports.iter().map(|ports| Permit {
                block,
                transport: *transport,
                ports: *ports,
                // Nobody knows what the words mean.
                conditional: true,
                line,
            }));
        }
    }
    let verdict = if denied {
        Verdict::Deny
    } else {
        Verdict::Accept
    };
    into.list("words", unordered(Step::new(verdict, found)));
    into.guessed = true;
    true
}

/// An address or a block of them, with the port that is glued to it.
fn place(word: &str) -> Option<(Block, Option<Said<Ports>>)> {
    let word = word.trim_end_matches(['.', ':']);
    let whole = Block::parse(word).map(|block| (block, None));
    let glued = || {
        let (address, port) = word.rsplit_once(':')?;
        let bare = !address.contains(':') || address.ends_with(']');
        Some((Block::parse(address).filter(|_| bare)?, ports(port)))
    };
    let (block, port) = whole.or_else(glued)?;
    // `::` and `0.0.0.0` stand for "any" or for nothing; a rule for one address is neither.
    (block != Block::parse("::")? && block != Block::parse("0.0.0.0")?).then_some((block, port))
}

/// The protocols that the words name; neither is no statement.
fn transports(words: &[&str]) -> Vec<Said<Transport>> {
    let named = |name: &str| {
        let is_it = |part: &str| part.eq_ignore_ascii_case(name);
        words
            .iter()
            .any(|word| word.split(['/', ':', '-', '_']).any(is_it))
    };
    let both = [("tcp", Transport::Tcp), ("udp", Transport::Udp)];
    let said: Vec<_> = both
        .into_iter()
        .filter(|(name, _)| named(name))
        .map(|(_, transport)| Said::Only(transport))
        .collect();
    if said.is_empty() {
        vec![Said::Unclear]
    } else {
        said
    }
}

/// The ports that follow a word for "port", or are glued to a protocol; none is no statement.
fn beside(words: &[&str]) -> Vec<Said<Ports>> {
    let mut said = Vec::new();
    let mut after_port = false;
    for word in words {
        let word = word.to_ascii_lowercase();
        let glued = word.split_once(['/', ':']).and_then(|(a, b)| match (a, b) {
            ("tcp" | "udp", port) | (port, "tcp" | "udp") => ports(port),
            _ => None,
        });
        let number = glued.or_else(|| ports(&word).filter(|_| after_port));
        said.extend(number);
        // `port 443 7844` goes on; another word ends it.
        after_port = is_port_word(&word) || (after_port && number.is_some());
    }
    said.sort_unstable();
    said.dedup();
    if said.is_empty() {
        vec![Said::Unclear]
    } else {
        said
    }
}

fn is_port_word(word: &str) -> bool {
    let word = word.trim_start_matches('-').trim_end_matches(':');
    matches!(
        word,
        "eq" | "port" | "ports" | "dport" | "dports" | "toport" | "dst_port" | "dst-port"
    ) || word.ends_with("destination-port")
        || word.ends_with("destination_port")
}

fn is_denial(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    ["deny", "denied", "drop", "reject", "block"].contains(&word.as_str())
}

#[cfg(test)]
mod tests {
    use super::super::permit::Fit;
    use super::*;

    /// How a line stands to TCP 7844 at an address that it names.
    fn fit(text: &str) -> Fit {
        let mut reading = Reading::default();
        line(text, 1, &mut reading);
        let (address, port) = ("198.41.192.7".parse().unwrap(), 7844);
        assert!(
            reading.fit(address, Transport::Tcp, port) < Fit::Yes,
            "{text}"
        );
        let mut permits = reading.permits();
        for permit in &mut permits {
            permit.conditional = false;
        }
        let fits = permits
            .iter()
            .map(|permit| permit.fit(address, Transport::Tcp, port));
        fits.max().unwrap_or(Fit::No)
    }

    #[test]
    fn protocol_and_port_are_known_where_they_stand_beside_the_address() {
        for (text, expected) in [
            ("permit tcp any host 198.41.192.7 eq 7844", Fit::Yes),
            ("198.41.192.0/24 7844/tcp ALLOW OUT Anywhere", Fit::Yes),
            ("tcp/7844 to 198.41.192.7, please.", Fit::Yes),
            ("TCP 198.41.192.7:7844", Fit::Yes),
            ("allow TCP to 198.41.192.7 ports 443, 7844", Fit::Yes),
            ("permit udp any host 198.41.192.7 eq 7844", Fit::No),
            ("198.41.192.7:443 tcp", Fit::No),
            ("198.41.192.7", Fit::Perhaps),
            ("198.41.192.7:7844", Fit::Perhaps),
            ("address=198.41.192.7 proto=tcp", Fit::Perhaps),
            ("deny tcp any host 198.41.192.7 eq 7844", Fit::No),
            ("version 1.2.3 of 12:30:45", Fit::No),
        ] {
            assert_eq!(fit(text), expected, "{text}");
        }
    }

    #[test]
    fn ipv6_with_and_without_a_port() {
        let mut reading = Reading::default();
        assert!(line(
            "tcp [2606:4700:a0::1]:7844 2606:4700:a0::2",
            1,
            &mut reading
        ));
        let ports: Vec<_> = reading.permits().iter().map(|p| p.ports).collect();
        assert_eq!(ports, [Said::Only((7844, 7844)), Said::Unclear]);
        assert!(!line("12:30:45 :: 0.0.0.0", 1, &mut reading));
    }
}
