//! The gate between what others wrote and a script: names of hosts, and comments.

use std::fmt;

/// A host's name as it may stand in any script: letters, digits, `.`, `_` and `-` alone.
///
/// A resolver may name an SRV target `$(reboot).example`, or one with a line feed. What does not
/// belong into a name becomes `_`, so that no rule file can be made to say something else.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(String);

impl HostName {
    /// The longest name that DNS carries (RFC 1035, section 2.3.4).
    const LONGEST: usize = 253;

    /// The name, with `_` for every character that belongs into none.
    #[must_use]
    pub fn sanitised(name: &str) -> Self {
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') {
                c
            } else {
                '_'
            }
        };
        Self(name.chars().take(Self::LONGEST).map(plain).collect())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// How long a line of a comment becomes, its prefix included.
const WIDTH: usize = 96;

/// A paragraph as lines of a comment, each behind `prefix`. Only printable ASCII passes, so that no
/// text can end the comment or move a cursor.
#[must_use]
pub fn comment(prefix: &str, paragraph: &str) -> String {
    let plain: String = paragraph
        .chars()
        .map(|c| if matches!(c, ' '..='~') { c } else { '_' })
        .collect();
    let mut text = String::new();
    let mut line = String::new();
    for word in plain.split_whitespace() {
        if !line.is_empty() && prefix.len() + line.len() + 1 + word.len() > WIDTH {
            push_line(&mut text, prefix, &line);
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    push_line(&mut text, prefix, &line);
    text
}

/// A command in a comment, indented and never wrapped.
#[must_use]
pub fn command(prefix: &str, command: &str) -> String {
    let plain: String = command
        .chars()
        .map(|c| if matches!(c, ' '..='~') { c } else { '_' })
        .collect();
    let mut text = String::new();
    push_line(&mut text, prefix, &format!("    {plain}"));
    text
}

fn push_line(text: &mut String, prefix: &str, line: &str) {
    let line = format!("{prefix}{line}");
    text.push_str(line.trim_end());
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hostile_names_lose_their_teeth() {
        for (name, plain) in [
            ("region1.v2.argotunnel.com", "region1.v2.argotunnel.com"),
            ("$(reboot).example", "__reboot_.example"),
            ("a\nrm -rf /", "a_rm_-rf__"),
            ("`id`'\";|&", "_id______"),
            ("zürich.example", "z_rich.example"),
        ] {
            assert_eq!(HostName::sanitised(name).as_str(), plain);
        }
        assert_eq!(HostName::sanitised(&"a".repeat(999)).as_str().len(), 253);
    }

    #[test]
    fn paragraphs_are_wrapped_and_commands_are_not() {
        let text = comment("# ", &"word ".repeat(40));
        assert!(
            text.lines()
                .all(|l| l.starts_with("# word") && l.len() <= 96)
        );
        assert_eq!(text.lines().count(), 3);
        assert_eq!(comment("# ", ""), "#\n");
        assert_eq!(command("# ", &"x".repeat(200)).lines().count(), 1);
    }

    proptest! {
        #[test]
        fn no_text_leaves_its_comment(text in any::<String>()) {
            for made in [comment("# ", &text), command("# ", &text)] {
                prop_assert!(made.lines().all(|line| line.starts_with('#')));
                prop_assert!(made.chars().all(|c| c == '\n' || matches!(c, ' '..='~')));
            }
            let name = HostName::sanitised(&text);
            prop_assert!(name.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)));
        }
    }
}
