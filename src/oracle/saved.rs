//! Rules in the form of `iptables-save`, line by line.

/// A line `-A CHAIN …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SavedRule {
    /// From 0.
    pub(super) line: usize,
    pub(super) table: String,
    pub(super) chain: String,
}

/// The policy of a chain: its table, its name and its line, from 0.
pub(super) type Policy = (String, String, usize);

/// Its rules, and the lines `:CHAIN POLICY` with table, chain and number from 0. None where a line changes
/// rules in another way, so that their numbers are not the kernel's.
pub(super) fn read(text: &str) -> Option<(Vec<SavedRule>, Vec<Policy>)> {
    let (mut rules, mut policies) = (Vec::new(), Vec::new());
    let mut table = String::new();
    for (line, content) in text.lines().enumerate() {
        let content = content.trim();
        if let Some(name) = content.strip_prefix('*') {
            name.clone_into(&mut table);
        } else if let Some(policy) = content.strip_prefix(':') {
            let chain = policy.split_whitespace().next().unwrap_or_default();
            policies.push((table.clone(), chain.to_owned(), line));
        } else if content.starts_with('#') || content.is_empty() || content == "COMMIT" {
        } else {
            let words = words(content);
            // Counters may come first.
            let first = words.iter().position(|word| !word.starts_with('['))?;
            let [verb, chain] = words.get(first..first + 2)? else {
                return None;
            };
            if verb != "-A" && verb != "--append" {
                return None;
            }
            rules.push(SavedRule {
                line,
                table: table.clone(),
                chain: chain.clone(),
            });
        }
    }
    Some((rules, policies))
}

/// The words of a line, with their quotes, as iptables-restore splits them.
pub(super) fn words(line: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), String::new());
    let (mut quoted, mut escaped) = (false, false);
    for c in line.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            _ => {}
        }
        word.push(c);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}
