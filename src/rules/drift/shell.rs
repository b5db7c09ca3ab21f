//! Shell scripts and lists of commands, and the files of `iptables-save`. Each command is read by the
//! rules of its program; what no program is known for is read by its words.

use std::collections::HashMap;

use super::block::Block;
use super::lex::{SHELL, commands, lex};
use super::{Reading, cloud, firewalld, iptables, ufw, words};
use crate::model::Family;

/// Reads a file. False when no command in it is known.
pub(super) fn read(text: &str, into: &mut Reading) -> bool {
    let (script, documents) = without_documents(text);
    let mut known = read_commands(&script, family_of(&script), into);
    for document in documents {
        known |= if document.contains("<policy") {
            firewalld::policy(&document, into)
        } else {
            read_commands(&document, family_of(&document), into)
        };
    }
    known
}

/// The script, and its here-documents, each in as many lines as the whole has, so that a line has the
/// same number in all of them.
fn without_documents(text: &str) -> (String, Vec<String>) {
    let mut script = String::new();
    let mut documents = Vec::new();
    let mut inside: Option<(&str, String)> = None;
    for (number, line) in text.lines().enumerate() {
        match &mut inside {
            Some((end, body)) if line.trim() == *end => {
                documents.push(std::mem::take(body));
                inside = None;
                script.push('\n');
            }
            Some((_, body)) => {
                body.push_str(line);
                body.push('\n');
                script.push('\n');
            }
            None => {
                if let Some(end) = document_end(line) {
                    inside = Some((end, "\n".repeat(number + 1)));
                }
                script.push_str(line);
                script.push('\n');
            }
        }
    }
    documents.extend(inside.map(|(_, body)| body));
    (script, documents)
}

/// The word that ends the here-document that a line begins.
fn document_end(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("<<")?;
    let quoted = |c: char| c == '\'' || c == '"' || c == '-' || c == '\\';
    let word = after.trim_start_matches(quoted);
    let word = word
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .next()?;
    let is_comment = before.trim_start().starts_with('#');
    (!word.is_empty() && !is_comment && !after.starts_with('<')).then_some(word)
}

/// Whose rules a text holds, where they do not say it themselves: iptables-save writes it into a
/// comment, and all addresses are of one family.
fn family_of(text: &str) -> Option<Family> {
    if text.contains("by ip6tables-save") {
        return Some(Family::Ipv6);
    }
    if text.contains("by iptables-save") {
        return Some(Family::Ipv4);
    }
    let rules = text
        .lines()
        .filter(|line| line.starts_with("-A ") || line.starts_with("-I "));
    let blocks = rules
        .flat_map(str::split_whitespace)
        .filter_map(Block::parse);
    let mut families = blocks.map(Block::family);
    families.next()
}

fn read_commands(text: &str, family: Option<Family>, into: &mut Reading) -> bool {
    let all = plain_commands(text);
    let mut sets = firewalld::Sets::new();
    for (_, words) in &all {
        firewalld::learn(words, &mut sets);
    }
    let mut known = false;
    for (line, words) in &all {
        let (Some(program), line) = (words.first(), *line) else {
            continue;
        };
        let understood = match program.as_str() {
            first if first.starts_with('-') || first.starts_with('[') => {
                iptables::rule(words, family, line, into)
            }
            first if first.starts_with(':') || first.starts_with('*') => true,
            "iptables" | "ip6tables" => {
                let v6 = program == "ip6tables";
                let family = if v6 { Family::Ipv6 } else { Family::Ipv4 };
                iptables::rule(&words[1..], Some(family), line, into);
                true
            }
            "ufw" => {
                ufw::command(&words[1..], line, into);
                true
            }
            "firewall-cmd" | "firewall-offline-cmd" => {
                firewalld::command(&words[1..], &sets, line, into)
            }
            // What is printed is not done.
            "echo" | "printf" => continue,
            _ => cloud::command(words, line, into),
        };
        known |= understood;
        if !understood {
            words::line(&words.join(" "), line, into);
        }
    }
    known
}

type Commands = Vec<(usize, Vec<String>)>;

/// The commands of a script with its loops run and its variables filled in, as far as both are lists
/// of plain words.
fn plain_commands(text: &str) -> Commands {
    let mut variables: HashMap<String, Vec<String>> = HashMap::new();
    let mut plain = Vec::new();
    for (line, words) in commands(&lex(text, SHELL), SHELL.marks) {
        match words.as_slice() {
            [keyword, name, list, values @ ..] if keyword == "for" && list == "in" => {
                let values = values.iter().flat_map(|word| filled(word, &variables));
                let values = values.collect();
                variables.insert(name.clone(), values);
            }
            [assignment] if used_later(assignment, text).is_some() => {
                let name = used_later(assignment, text).unwrap_or_default();
                let value = &assignment[name.len() + 1..];
                let values = value.split_whitespace().map(str::to_owned).collect();
                variables.insert(name.to_owned(), values);
            }
            _ => plain.extend(expanded(bare(&words), &variables).map(|words| (line, words))),
        }
    }
    plain
}

/// The name of a variable that a word assigns and the text uses.
fn used_later<'a>(word: &'a str, text: &str) -> Option<&'a str> {
    let (name, _) = word.split_once('=')?;
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let uses = || text.contains(&format!("${name}")) || text.contains(&format!("${{{name}"));
    (is_name && uses()).then_some(name)
}

/// The values of a word that is a variable, or the word.
fn filled(word: &str, variables: &HashMap<String, Vec<String>>) -> Vec<String> {
    let name = word
        .strip_prefix('$')
        .map(|rest| rest.trim_matches(['{', '}']));
    match name.and_then(|name| variables.get(name)) {
        Some(values) => values.clone(),
        None => vec![word.to_owned()],
    }
}

/// The command once for each value of the variable in it.
fn expanded<'a>(
    words: &'a [String],
    variables: &'a HashMap<String, Vec<String>>,
) -> impl Iterator<Item = Vec<String>> {
    let values = |word: &String| filled(word, variables);
    let varies = words.iter().position(|word| values(word) != [word.clone()]);
    let values = varies.map_or_else(|| vec![String::new()], |at| values(&words[at]));
    values.into_iter().map(move |value| {
        let mut words = words.to_vec();
        if let Some(at) = varies {
            words[at] = value;
        }
        words
    })
}

/// The words from the program's name on.
fn bare(words: &[String]) -> &[String] {
    let before = |word: &String| {
        let is_keyword = [
            "sudo", "-n", "if", "then", "else", "do", "!", "exec", "{", "nohup",
        ];
        let assigns = word.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        });
        is_keyword.contains(&word.as_str()) || assigns
    };
    let skipped = words.iter().take_while(|word| before(word)).count();
    // A line of assignments alone may hold addresses.
    if skipped == words.len() {
        words
    } else {
        &words[skipped..]
    }
}

#[cfg(test)]
mod tests {
    use super::super::permit::Fit;
    use super::*;
    use crate::model::Transport;

    fn fit(text: &str, address: &str) -> Fit {
        let mut reading = Reading::default();
        read(text, &mut reading);
        reading.fit(address.parse().unwrap(), Transport::Tcp, 7844)
    }

    #[test]
    fn here_documents_and_saved_rules_keep_their_family() {
        let text = "\
iptables-restore <<'RULES'
# it's a comment
*filter
:OUTPUT DROP [0:0]
-A OUTPUT -d 1.1.1.1 -p tcp --dport 853 -j ACCEPT
-A OUTPUT -p tcp --dport 7844 -j ACCEPT
COMMIT
RULES
ip6tables-restore <<'RULES'
*filter
-A OUTPUT -d 2606:4700:a0::1 -p tcp --dport 7844 -j ACCEPT
COMMIT
RULES
";
        assert_eq!(fit(text, "198.41.192.7"), Fit::Yes);
        assert_eq!(fit(text, "2606:4700:a0::1"), Fit::Yes);
        assert_eq!(fit(text, "2606:4700:a0::2"), Fit::No);
        let text = "# Generated by ip6tables-save v1.8.9\n-A OUTPUT -p tcp -j ACCEPT\n";
        assert_eq!(fit(text, "198.41.192.7"), Fit::No);
        let text = "-A OUTPUT -p tcp -j ACCEPT\n";
        assert_eq!(fit(text, "198.41.192.7"), Fit::Perhaps);
    }

    #[test]
    fn scripts_of_others_are_read_as_far_as_they_are_plain() {
        for (text, expected) in [
            ("if true; then sudo ufw allow out 7844/tcp; fi\n", Fit::Yes),
            (
                "sudo -n iptables -A OUTPUT -d 198.41.192.0/24 -j ACCEPT\n",
                Fit::Yes,
            ),
            (
                "for a in 198.41.192.27 198.41.192.7; do x $a; done\n",
                Fit::Perhaps,
            ),
            (
                "for a in \\\n 198.41.192.27 \\\n 198.41.192.7\ndo\n ufw allow out to \"$a\" port 7844 proto tcp\ndone\n",
                Fit::Yes,
            ),
            (
                "E='198.41.192.0/24 1.1.1.1'\nfor a in $E; do\n iptables -A OUTPUT -p tcp -d ${a} -j ACCEPT\ndone",
                Fit::Yes,
            ),
            ("ADDRESSES=\"198.41.192.7 198.41.192.27\"\n", Fit::Perhaps),
            ("echo 198.41.192.7\n", Fit::No),
        ] {
            assert_eq!(fit(text, "198.41.192.7"), expected, "{text}");
        }
    }
}
