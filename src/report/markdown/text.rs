//! The gate between what others wrote and Markdown with the HTML in it.
//!
//! | what | becomes | why |
//! | --- | --- | --- |
//! | `<`, `>`, `&`, `\|` | a character reference | no HTML, no cell, whoever renders it |
//! | what else may be markup | a backslash and the character | `CommonMark`, section 2.4 |
//! | a word with `@`, `://`, `#1`, … | a code span | sites make mentions, links and references of plain words, whatever is escaped in them |
//! | lines of commands | a fence longer than any in them | nothing in a code block is markup |

use super::super::escape;

/// A text of one line, as the content of a paragraph, an item or a heading. Its first characters
/// start no block.
pub(super) fn inline(text: &str) -> String {
    words(text, code_span)
}

/// As [`inline`], as the content of a table's cell: in a code span of a cell a `|` would have to be
/// escaped, and a `\` before it would not.
pub(super) fn cell(text: &str) -> String {
    let collapsed: Vec<_> = text.split(' ').filter(|word| !word.is_empty()).collect();
    words(&collapsed.join(" "), |word| {
        code_span(&word.replace('|', r"\u{7c}"))
    })
}

/// Lines in a code block, as they are.
pub(super) fn fenced(lines: &str) -> String {
    let lines: Vec<_> = lines.split('\n').map(escape).collect();
    let lines = lines.join("\n");
    let fence = "`".repeat(longest_run(&lines).max(2) + 1);
    format!("{fence}text\n{lines}\n{fence}")
}

fn words(text: &str, code: impl Fn(&str) -> String) -> String {
    // Spaces in front would make a code block.
    let text = escape(text);
    let words = text.trim().split(' ').enumerate().map(|(index, word)| {
        if is_active(word) {
            code(word)
        } else {
            plain(word, index == 0)
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Whether a site may make a link, a mention or a formula of a word, whatever is escaped in it.
fn is_active(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    let refers = |(sign, next): (char, char)| "#!~%&^".contains(sign) && next.is_alphanumeric();
    word.contains(['@', '$'])
        || ["://", "www.", "mailto:", "xmpp:"]
            .iter()
            .any(|start| lower.contains(start))
        || word.chars().zip(word.chars().skip(1)).any(refers)
}

fn plain(word: &str, is_first: bool) -> String {
    let mut escaped = String::with_capacity(word.len() + 8);
    // `- x`, `+ x`, `1. x`, `: x` and `===` start blocks; in the middle of a line they are text.
    let starts = is_first && starts_block(word);
    for (index, c) in word.char_indices() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '|' => escaped.push_str("&#124;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '~' | '#' | '!' | '^' | '{' | '}' => {
                escaped.extend(['\\', c]);
            }
            '-' | '+' | '=' | ':' if starts && index == 0 => escaped.extend(['\\', c]),
            '.' | ')' if starts => escaped.extend(['\\', c]),
            c => escaped.push(c),
        }
    }
    escaped
}

fn starts_block(word: &str) -> bool {
    let digits = word.trim_start_matches(|c: char| c.is_ascii_digit());
    word.starts_with(['-', '+', '=', ':'])
        || (digits.len() < word.len() && matches!(digits, "." | ")"))
}

/// A word without spaces as code.
fn code_span(word: &str) -> String {
    let ticks = "`".repeat(longest_run(word) + 1);
    let gap = if word.starts_with('`') || word.ends_with('`') {
        " "
    } else {
        ""
    };
    format!("{ticks}{gap}{word}{gap}{ticks}")
}

/// The length of the longest run of backticks.
fn longest_run(text: &str) -> usize {
    let runs = text.split(|c| c != '`').map(str::len);
    runs.max().unwrap_or(0)
}
