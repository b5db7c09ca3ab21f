//! What no tool gets to see: rules that reach beyond themselves.

use super::OracleError;
use super::question::{Format, Part, Question};

/// Refuses files that include others or name a program to run, and names of interfaces that are none.
pub(super) fn check(question: &Question) -> Result<(), OracleError> {
    let context = &question.context;
    let entry = context.entry.as_ref().map(|entry| &*entry.interface);
    for name in [Some(&*context.interface), entry].into_iter().flatten() {
        if !is_interface(name) || name == "lo" {
            let why = format!("`{name}` cannot be the name of an interface here");
            return Err(OracleError::Question(why));
        }
    }
    if entry == Some(&context.interface) {
        let why = format!(
            "`{}` cannot be both the way in and the way out",
            context.interface
        );
        return Err(OracleError::Question(why));
    }
    question.parts.iter().try_for_each(part)
}

/// What the kernel takes for a name, and no tool for anything else.
pub(super) fn is_interface(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=15).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with(['.', '-'])
}

fn part(part: &Part) -> Result<(), OracleError> {
    let refused = |line: usize| OracleError::Include {
        part: part.name.clone(),
        line: line + 1,
    };
    let beyond = match part.format {
        Format::Nft => include(&part.text),
        Format::Iptables | Format::Ip6tables => program(&part.text),
    };
    beyond.map_or(Ok(()), |line| Err(refused(line)))
}

/// The line with `include` before a quotation mark. Comments count too where a quotation goes over the
/// end of a line: whether they are comments is nft's to say then.
fn include(text: &str) -> Option<usize> {
    let mut certain = true;
    let mut kept = String::new();
    for line in text.lines() {
        let code = without_comment(line);
        certain &= code.matches('"').count().is_multiple_of(2) && !line.contains('\0');
        kept.push_str(if certain { code } else { line });
        kept.push('\n');
    }
    kept.match_indices("include").find_map(|(at, word)| {
        let rest =
            kept[at + word.len()..].trim_start_matches(|c: char| c.is_whitespace() || c == '\\');
        let includes = rest.starts_with(['"', '\'']);
        includes.then(|| kept[..at].matches('\n').count())
    })
}

fn without_comment(line: &str) -> &str {
    let mut quoted = false;
    let comment = line.char_indices().find(|(_, c)| {
        quoted ^= *c == '"';
        *c == '#' && !quoted
    });
    comment.map_or(line, |(at, _)| &line[..at])
}

/// The line with an option by which iptables runs a program: `-M`, `--modprobe`, and what is short for it.
fn program(text: &str) -> Option<usize> {
    let runs = |word: &String| {
        let word = word.trim_matches(['"', '\'']);
        let short = word.starts_with('-') && !word.starts_with("--") && word.contains('M');
        let long = word.starts_with("--mod") && !word.starts_with("--mode");
        short || long
    };
    text.lines()
        .position(|line| super::saved::words(line).iter().any(runs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_includes_is_found() {
        for (text, line) in [
            ("include \"/etc/shadow\"", Some(0)),
            ("table ip x { }\n  include\t\\\n \"/etc/shadow\"", Some(1)),
            ("define x = 1; include '/etc/shadow'", Some(0)),
            ("a comment \"b\n# \" include \"/etc/shadow\"", Some(1)),
            ("# include \"/etc/nftables.d/*.nft\"\ntable ip x { }", None),
            ("ip saddr 1.2.3.4 accept comment \"we include it\"", None),
            ("accept comment \"# \"; include \"/etc/shadow\"", Some(0)),
        ] {
            assert_eq!(include(text), line, "{text}");
        }
    }

    #[test]
    fn what_runs_a_program_is_found() {
        for (text, line) in [
            ("*filter\n-A INPUT -M /bin/sh -j DROP", Some(1)),
            ("-A INPUT --modprobe=/bin/sh", Some(0)),
            ("-A INPUT --modp /bin/sh", Some(0)),
            ("-A INPUT -vM/bin/sh", Some(0)),
            ("-A INPUT \"--modprobe\" /bin/sh", Some(0)),
            ("-A INPUT -m statistic --mode random -j DROP", None),
            ("-A INPUT -j MASQUERADE\n-A MINE -p tcp", None),
        ] {
            assert_eq!(program(text), line, "{text}");
        }
    }

    #[test]
    fn interfaces_have_plain_names() {
        for good in ["eth0", "br-1a2b3c", "wg0.5", "enp0s31f6"] {
            assert!(is_interface(good));
        }
        for bad in ["", "-x", "a b", "a/b", "sixteen-letters-", "x\nlink"] {
            assert!(!is_interface(bad));
        }
    }
}
