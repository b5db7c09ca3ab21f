//! The one gate between what others wrote and this terminal.

use std::borrow::Cow;
use std::io;

use unicode_width::UnicodeWidthChar;

use super::strings;
use crate::model::Report;

/// Makes everything visible that could move a cursor, change colours, reorder or hide text:
/// control characters (C0, DEL, C1), line and paragraph separators, bidirectional controls,
/// whatever has no width of its own, and the two characters that XML takes for none. `\u{1b}` stands for an escape character, `\n` for a line feed.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => escaped.extend(c.escape_default()),
            c if is_unsafe(c) => escaped.extend(c.escape_unicode()),
            c => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

/// The report with every text of it escaped: a renderer cannot forget what has been done before it.
///
/// # Errors
/// None that a report can cause: typed fields hold no character that is escaped.
pub(super) fn escaped(report: &Report) -> io::Result<Report> {
    Ok(strings::map(report, &|_, text| escape(text).into_owned())?)
}

/// Whether a terminal would do anything else with the character than to show it.
pub(super) fn is_unsafe(c: char) -> bool {
    let reorders = matches!(c,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fffe}'..='\u{ffff}' | '\u{e0000}'..='\u{e0fff}');
    c.is_control() || reorders || c.width().unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_as_it_is() {
        for text in ["", "region1.v2.argotunnel.com", "Zürich CA, 株式会社"] {
            assert!(matches!(escape(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn what_acts_on_a_terminal_becomes_visible() {
        assert_eq!(escape("\x1b[31mred"), r"\u{1b}[31mred");
        assert_eq!(escape("a\nb\r\tc"), r"a\nb\r\tc");
        assert_eq!(escape("\u{9b}2J\u{7f}\0"), r"\u{9b}2J\u{7f}\u{0}");
        assert_eq!(escape("moc.\u{202e}evil"), r"moc.\u{202e}evil");
        assert_eq!(
            escape("a\u{200b}b\u{2066}\u{feff}"),
            r"a\u{200b}b\u{2066}\u{feff}"
        );
        assert_eq!(escape("e\u{301}\u{2060}"), r"e\u{301}\u{2060}");
    }
}
