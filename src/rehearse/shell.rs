//! PURE: shell scripts that change the kernel's rules and nothing else, as guides and `tunnelcheck
//! rules --format iptables` print them.
//!
//! Such a script can be rehearsed, because the kernel's rules can be brought back whatever it did
//! to them. So every command has to be one of these:
//!
//! | command | |
//! | --- | --- |
//! | `iptables`, `ip6tables`, their `-restore` and `-save`, `nft` | but for `--modprobe`, which runs programs |
//! | `set`, `[`, `test`, `echo`, `printf`, `cat`, `true`, `exit`, … | change nothing outside of the script |
//! | functions of the script, assignments, `if`, `for`, `while` | |
//!
//! Output goes to `/dev/null` or the script's own output, never to a file, and nothing is
//! substituted by what a command prints. This finds commands that a rehearsal could not undo; it
//! keeps nobody from harming himself on purpose.

use std::collections::{BTreeMap, BTreeSet};

use super::format::FormatError;

/// What changes nothing outside of the script.
const HARMLESS: &[&str] = &[
    "[", ":", "cat", "echo", "exit", "export", "false", "id", "local", "printf", "readonly",
    "return", "set", "shift", "sleep", "test", "true", "unset",
];

/// What may stand before a command.
const KEYWORDS: &[&str] = &[
    "!", "do", "done", "elif", "else", "fi", "if", "sudo", "then", "until", "while",
];

/// Judges every command of a script.
///
/// # Errors
/// The first one that a rehearsal could not undo.
pub(super) fn judge(script: &str) -> Result<(), FormatError> {
    // Whatever else such a script does, this is why there is no way to rehearse it.
    let mut lines = script.lines().enumerate();
    let own_files = |line: &str| line.split_whitespace().find_map(with_files);
    let not_comment = |line: &&str| !line.trim_start().starts_with('#');
    let calls = lines.find_map(|(index, line)| {
        let tool = Some(line).filter(not_comment).and_then(own_files)?;
        Some((index + 1, tool))
    });
    if let Some((line, tool)) = calls {
        return Err(FormatError::OwnFiles { line, tool });
    }
    let mut known = Known::default();
    let mut changes = false;
    let mut lines = script.lines().enumerate();
    while let Some((index, first)) = lines.next() {
        let number = index + 1;
        let mut line = first.to_owned();
        // A comment ends with its line, whatever it ends with.
        while line.ends_with('\\') && !line.contains('#') {
            line.pop();
            let next = lines.next().map(|(_, next)| next);
            line.push_str(next.ok_or_else(|| refused(number, first))?);
        }
        let read = Line::read(&line).ok_or_else(|| refused(number, first))?;
        for end in &read.documents {
            let mut body = lines.by_ref().map(|(_, line)| line);
            if !body.any(|line| line.trim_start_matches('\t') == end) {
                return Err(FormatError::Endless { line: number });
            }
        }
        known.functions.extend(read.functions);
        for command in &read.commands {
            changes |= known.allows(command, number, first)?;
        }
    }
    changes.then_some(()).ok_or(FormatError::Empty)
}

fn refused(line: usize, text: &str) -> FormatError {
    FormatError::Shell {
        line,
        text: super::format::beginning(text.trim()),
    }
}

/// What the script has defined so far.
#[derive(Debug, Default)]
struct Known {
    functions: BTreeSet<String>,
    variables: BTreeMap<String, String>,
}

impl Known {
    /// Whether the command changes rules.
    fn allows(&mut self, words: &[String], line: usize, text: &str) -> Result<bool, FormatError> {
        let mut words = words;
        while let Some((word, rest)) = words.split_first() {
            if !KEYWORDS.contains(&&**word) && !self.assigns(word) {
                break;
            }
            words = rest;
        }
        let Some((word, arguments)) = words.split_first() else {
            return Ok(false);
        };
        let word = self.resolved(word);
        let word = word.split_whitespace().next().unwrap_or_default();
        let name = word.rsplit('/').next().unwrap_or_default();
        let looks_up = name == "command" && arguments.first().is_some_and(|word| word == "-v");
        if name == "for" || looks_up || HARMLESS.contains(&name) || self.functions.contains(name) {
            return Ok(false);
        }
        if is_tool(name) && !does_more(name, arguments) {
            return Ok(true);
        }
        Err(refused(line, text))
    }

    /// Takes note of `NAME=value`.
    fn assigns(&mut self, word: &str) -> bool {
        let Some((name, value)) = word.split_once('=') else {
            return false;
        };
        let is_name = !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && !name.starts_with(|first: char| first.is_ascii_digit());
        if is_name {
            let value = self.resolved(value);
            self.variables.insert(name.to_owned(), value);
        }
        is_name
    }

    /// `$NAME` by its value, as in `$IPT -A OUTPUT …`.
    fn resolved(&self, word: &str) -> String {
        let name = word.strip_prefix('$').unwrap_or_default();
        let name = name.trim_start_matches('{').trim_end_matches('}');
        let value = self.variables.get(name).cloned();
        value.unwrap_or_else(|| word.to_owned())
    }
}

/// The tools that keep files beside the kernel's rules.
fn with_files(name: &str) -> Option<&'static str> {
    match name {
        "ufw" => Some("ufw"),
        "firewall-cmd" | "firewall-offline-cmd" => Some("firewalld"),
        _ => None,
    }
}

/// Whether a tool is to run a program, or to write a file.
fn does_more(name: &str, arguments: &[String]) -> bool {
    let runs = |word: &String| word.contains("modprobe") || word.starts_with("-M");
    let writes = |word: &String| word.starts_with("-f") || word.starts_with("--f");
    let saves = name.ends_with("-save");
    arguments
        .iter()
        .any(|word| runs(word) || (saves && writes(word)))
}

fn is_tool(name: &str) -> bool {
    let rest = name
        .strip_prefix("ip6tables")
        .or_else(|| name.strip_prefix("iptables"));
    let rest = rest.map(|rest| {
        rest.trim_start_matches("-nft")
            .trim_start_matches("-legacy")
    });
    name == "nft" || rest.is_some_and(|rest| ["", "-restore", "-save"].contains(&rest))
}

/// Whether a line calls one of the tools, or is otherwise of a shell script.
pub(super) fn looks_like(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().filter(|w| *w != "sudo").collect();
    let first = words.first().copied().unwrap_or_default();
    let name = first.rsplit('/').next().unwrap_or(first);
    is_tool(name)
        || with_files(name).is_some()
        || ["set", "if", "export", "for"].contains(&name)
        || first.ends_with("()")
        || (first.contains('=') && !first.contains(':'))
}

/// A line of a script, taken apart.
#[derive(Debug, Default)]
struct Line {
    commands: Vec<Vec<String>>,
    /// Functions that begin here.
    functions: Vec<String>,
    /// The words that end here-documents that begin here.
    documents: Vec<String>,
}

impl Line {
    /// Nothing where the line substitutes what a command prints, writes a file or reads one.
    fn read(line: &str) -> Option<Self> {
        let mut read = Self::default();
        let mut command = Vec::new();
        let mut word = String::new();
        let mut rest = line.chars().peekable();
        while let Some(next) = rest.next() {
            match next {
                ' ' | '\t' => finish(&mut word, &mut command),
                '#' if word.is_empty() => break,
                '\'' => loop {
                    match rest.next()? {
                        '\'' => break,
                        inner => word.push(inner),
                    }
                },
                '"' => loop {
                    match rest.next()? {
                        '"' => break,
                        '`' => return None,
                        '$' if rest.peek() == Some(&'(') => return None,
                        '\\' => word.push(rest.next()?),
                        inner => word.push(inner),
                    }
                },
                '\\' => word.push(rest.next()?),
                '`' => return None,
                '$' if rest.peek() == Some(&'(') => return None,
                '>' | '<' => {
                    if word.bytes().all(|byte| byte.is_ascii_digit()) {
                        word.clear();
                    }
                    finish(&mut word, &mut command);
                    let target: String = {
                        let tail: String = rest.clone().collect();
                        let length = redirection(&tail)?;
                        rest.by_ref().take(length).collect()
                    };
                    match Redirection::read(next, &target)? {
                        Redirection::Document(end) => read.documents.push(end),
                        Redirection::Nowhere => {}
                    }
                }
                '(' if rest.peek() == Some(&')') && !word.is_empty() => {
                    rest.next();
                    read.functions.push(std::mem::take(&mut word));
                }
                // What goes on in the background would change rules after the old ones are back.
                '&' if rest.peek() != Some(&'&') => return None,
                ';' | '|' | '&' | '(' | ')' | '{' | '}' => {
                    if next == '&' {
                        rest.next();
                    }
                    // `${NAME}` is a word; a brace for itself is none.
                    if (next == '{' && word.ends_with('$')) || (next == '}' && word.contains("${"))
                    {
                        word.push(next);
                        continue;
                    }
                    finish(&mut word, &mut command);
                    read.commands.push(std::mem::take(&mut command));
                }
                other => word.push(other),
            }
        }
        finish(&mut word, &mut command);
        read.commands.push(command);
        read.commands.retain(|command| !command.is_empty());
        Some(read)
    }
}

fn finish(word: &mut String, command: &mut Vec<String>) {
    if !word.is_empty() {
        command.push(std::mem::take(word));
    }
}

/// How many characters after the first sign belong to a redirection.
fn redirection(tail: &str) -> Option<usize> {
    let signs = tail.len() - tail.trim_start_matches(['<', '>', '&', '-']).len();
    let blanks = tail.get(signs..)?;
    let blanks = blanks.len() - blanks.trim_start().len();
    let target = tail.get(signs + blanks..)?;
    let end = target
        .find([' ', '\t', ';', '|', '&', ')'])
        .unwrap_or(target.len());
    let whole = tail.get(..signs + blanks + end)?;
    Some(whole.chars().count())
}

/// A redirection that changes nothing.
enum Redirection {
    /// A here-document, with the word that ends it.
    Document(String),
    /// To another stream of the script, or to nowhere.
    Nowhere,
}

impl Redirection {
    fn read(sign: char, rest: &str) -> Option<Self> {
        let target = rest.trim_start_matches(['<', '>', '&', '-']).trim();
        let signs = rest.get(..rest.len() - rest.trim_start_matches(['<', '>', '&', '-']).len())?;
        if sign == '<' && (signs == "<" || signs == "<-") {
            // Unquoted, the text itself would be expanded.
            let word = target
                .strip_prefix('\'')
                .and_then(|word| word.strip_suffix('\''));
            let word = word.or_else(|| target.strip_prefix('"')?.strip_suffix('"'))?;
            return (!word.is_empty()).then(|| Self::Document(word.to_owned()));
        }
        let to_stream = signs == "&" && ["1", "2"].contains(&target);
        let nowhere = ["", ">"].contains(&signs) && target == "/dev/null";
        (to_stream || nowhere).then_some(Self::Nowhere)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `tunnelcheck rules --format iptables` prints it.
    const PRINTED: &str = "\
#!/bin/sh
# Rules for cloudflared; `iptables -vnL` counts what was dropped.

set -eu

rules4() {
cat <<'RULES'
*filter
:TUNNELCHECK - [0:0]
-A TUNNELCHECK -d 198.41.192.7/32 -p udp -m udp --dport 7844 -j ACCEPT
COMMIT
RULES
}

rules6() {
cat <<'RULES'
*filter
COMMIT
RULES
}

has_ipv6() { [ -e /proc/net/if_inet6 ]; }

rules4 | iptables-restore --noflush --test
if has_ipv6; then rules6 | ip6tables-restore --noflush --test; fi

iptables --wait --check OUTPUT --jump TUNNELCHECK 2>/dev/null ||
    iptables --wait --insert OUTPUT --jump TUNNELCHECK
if has_ipv6; then
    ip6tables --wait --check OUTPUT --jump TUNNELCHECK 2>/dev/null ||
        ip6tables --wait --insert OUTPUT --jump TUNNELCHECK
fi
";

    #[test]
    fn scripts_that_change_rules_alone_are_taken() {
        for script in [
            PRINTED,
            "iptables -P OUTPUT DROP\nsudo ip6tables -P OUTPUT DROP # both\n",
            "IPT='/usr/sbin/iptables --wait'\nfor ip in 1.1.1.1 \\\n  1.0.0.1; do\n  $IPT -A OUTPUT -d \"$ip\" -j ACCEPT\ndone\n",
            "nft -f - <<'X'\nflush ruleset\nX\n",
            "iptables -A INPUT -m comment --comment 'a; b > c' -j ACCEPT >/dev/null 2>&1 || exit 1\n",
            "iptables-nft-restore -n <<-\"END\"\n\t*filter\n\tCOMMIT\n\tEND\n",
            "[ \"${X}\" = 1 ] && iptables -F; iptables-legacy -F\n",
        ] {
            assert_eq!(judge(script), Ok(()), "{script}");
        }
    }

    #[test]
    fn anything_else_is_named() {
        for (line, found) in [
            ("rm -rf /", "line 2 (`rm -rf /`)"),
            ("sysctl -w net.ipv4.ip_forward=1", "line 2 (`sysctl"),
            ("ipset add x 1.1.1.1", "line 2"),
            ("iptables-save > /etc/iptables/rules.v4", "line 2"),
            ("iptables-save >>x", "line 2"),
            ("iptables-restore < rules", "line 2"),
            ("iptables -A OUTPUT -d $(dig +short x) -j ACCEPT", "line 2"),
            ("iptables -A OUTPUT -d \"`dig x`\" -j ACCEPT", "line 2"),
            ("iptables --modprobe=/tmp/x -L", "line 2"),
            ("iptables -M /tmp/x -L", "line 2"),
            ("iptables-save -f /etc/iptables/rules.v4", "line 2"),
            ("iptables-save --file=/etc/iptables/rules.v4", "line 2"),
            ("command netfilter-persistent save", "line 2"),
            ("(sleep 90; iptables -P OUTPUT DROP) &", "line 2"),
            ("sleep 90 & iptables -F", "line 2"),
            ("# a comment \\\nreboot", "line 3"),
            ("true && reboot", "line 2"),
            ("if true; then reboot; fi", "line 2"),
            ("$X -A OUTPUT", "line 2"),
            ("iptables-restore <<X", "line 2"),
            ("netfilter-persistent save", "line 2"),
            ("echo 'not closed", "line 2"),
            ("nft -f - <<'X'", "does not end"),
            ("ufw allow 22", "ufw"),
            ("true; firewall-cmd --reload", "firewalld"),
            ("rm x\nif true; then ufw reload; fi", "line 3 calls ufw"),
        ] {
            let error = judge(&format!("iptables -F\n{line}\n")).unwrap_err();
            assert!(error.to_string().contains(found), "{line}: {error}");
        }
        assert_eq!(judge("#!/bin/sh\ntrue\n"), Err(FormatError::Empty));
    }
}
