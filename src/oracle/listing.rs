//! What `nft -a list ruleset` shows: which rules there are, by handle and number.

/// All chains, and the sets of which the content is not certain.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) chains: Vec<Chain>,
    /// Family, table and name of sets that are empty here, or filled by packets.
    pub(super) open_sets: Vec<(String, String, String)>,
}

/// A chain.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) family: String,
    pub(super) table: String,
    pub(super) name: String,
    pub(super) base: Option<Base>,
    pub(super) rules: Vec<Listed>,
}

/// What makes a chain a base chain.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Base {
    /// `filter`, `nat` or `route`.
    pub(super) kind: String,
    pub(super) hook: String,
    pub(super) drops: bool,
}

/// A rule.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) handle: u64,
    pub(super) text: String,
}

impl Listing {
    /// Reads what nft prints. What is none of a chain's or a set's is passed over.
    pub(super) fn read(text: &str) -> Self {
        let mut listing = Self::default();
        let (mut family, mut table) = (String::new(), String::new());
        let mut block = Block::None;
        let mut begun = String::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (depth, head) = (indent(line), words.first().copied().unwrap_or_default());
            match (depth, head, &mut block) {
                // A comment of a rule may go on in the next line.
                (_, _, Block::Chain(chain)) if !begun.is_empty() => {
                    begun.push('\n');
                    begun.push_str(line);
                    take(&mut begun, chain);
                }
                (0, "table", _) => {
                    family = word(&words, 1);
                    table = word(&words, 2);
                }
                (1, "}", Block::Chain(chain)) => {
                    listing.chains.push(std::mem::take(chain));
                    block = Block::None;
                }
                (1, "}", Block::Set { name, filled }) => {
                    if !*filled {
                        let set = (family.clone(), table.clone(), std::mem::take(name));
                        listing.open_sets.push(set);
                    }
                    block = Block::None;
                }
                (1, "chain", _) => {
                    block = Block::Chain(Chain {
                        family: family.clone(),
                        table: table.clone(),
                        name: word(&words, 1),
                        ..Chain::default()
                    });
                }
                (1, "set" | "map", _) => {
                    let (name, filled) = (word(&words, 1), false);
                    block = Block::Set { name, filled };
                }
                (2, "elements", Block::Set { filled, .. }) => *filled = true,
                (2, "flags", Block::Set { name, .. })
                    if words[1..].join("").contains("dynamic") =>
                {
                    let set = (family.clone(), table.clone(), name.clone());
                    listing.open_sets.push(set);
                }
                (2, "type", Block::Chain(chain)) if words.get(2) == Some(&"hook") => {
                    chain.base = Some(Base {
                        kind: word(&words, 1),
                        hook: word(&words, 3),
                        drops: line.contains("policy drop;"),
                    });
                }
                (2, "}" | "", _) => {}
                (2, _, Block::Chain(chain)) => {
                    begun.push_str(line.trim_start());
                    let quotes = begun.matches('"').count();
                    take(&mut begun, chain);
                    // Lines of a chain's own, such as its comment, end with themselves.
                    if quotes.is_multiple_of(2) {
                        begun.clear();
                    }
                }
                _ => {}
            }
        }
        listing.open_sets.sort();
        listing.open_sets.dedup();
        listing
    }

    /// The chain and the rule's index in it.
    pub(super) fn find(
        &self,
        family: &str,
        table: &str,
        chain: &str,
        handle: u64,
    ) -> Option<(&Chain, usize)> {
        let chain = self.chain(family, table, chain)?;
        let index = chain.rules.iter().position(|rule| rule.handle == handle)?;
        Some((chain, index))
    }

    pub(super) fn chain(&self, family: &str, table: &str, name: &str) -> Option<&Chain> {
        self.chains
            .iter()
            .find(|chain| (&*chain.family, &*chain.table, &*chain.name) == (family, table, name))
    }
}

enum Block {
    None,
    Chain(Chain),
    Set { name: String, filled: bool },
}

fn indent(line: &str) -> usize {
    line.bytes().take_while(|byte| *byte == b'\t').count()
}

fn word(words: &[&str], index: usize) -> String {
    words.get(index).copied().unwrap_or_default().to_owned()
}

/// A rule is whole when its handle has come.
fn take(begun: &mut String, chain: &mut Chain) {
    let Some((text, handle)) = begun.rsplit_once(" # handle ") else {
        return;
    };
    if let Ok(handle) = handle.parse() {
        let text = text.to_owned();
        chain.rules.push(Listed { handle, text });
        begun.clear();
    }
}

/// The comment in a rule's text, of nft or iptables.
pub(super) fn comment(text: &str) -> Option<String> {
    let after = text
        .split_once(" --comment ")
        .or_else(|| text.split_once(" comment "))?
        .1;
    let words = match after.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => after.split_whitespace().next()?,
    };
    Some(words.to_owned())
}
