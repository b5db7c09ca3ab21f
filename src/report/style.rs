//! Colour and width, decided once and handed down.

use std::fmt::Write as _;

use colored::Color;
use unicode_width::UnicodeWidthStr;

/// The width of what is no terminal, in columns.
const DEFAULT_WIDTH: u16 = 80;
/// Below this a table makes no sense, and the terminal may wrap it.
const MIN_WIDTH: u16 = 40;
/// Longer lines of prose are hard to read.
const MAX_WIDTH: u16 = 100;

/// How the table looks: plain unless it is told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    colored: bool,
    width: u16,
}

impl Default for Style {
    fn default() -> Self {
        Self::new(false, None)
    }
}

impl Style {
    /// A style with colour or without, for a terminal of `width` columns or for none.
    #[must_use]
    pub fn new(colored: bool, width: Option<u16>) -> Self {
        let width = width.unwrap_or(DEFAULT_WIDTH).clamp(MIN_WIDTH, MAX_WIDTH);
        Self { colored, width }
    }

    /// The same colours in another width.
    #[must_use]
    pub fn with_width(self, width: u16) -> Self {
        Self::new(self.colored, Some(width))
    }

    /// Columns that may be filled.
    pub(super) const fn width(self) -> usize {
        self.width as usize
    }

    /// Puts invisible marks around a text, which [`Style::finish`] turns into colours. The marks
    /// have no width, so that wrapping and alignment need not know of them, and nobody else's text
    /// can hold them, because escaping makes what is invisible visible.
    pub(super) fn paint(self, paint: Paint, text: &str) -> String {
        if self.colored && paint != Paint::Plain {
            format!("{}{text}{END}", paint.mark())
        } else {
            text.to_owned()
        }
    }

    /// Turns the marks of [`Style::paint`] into colours.
    pub(super) fn finish(self, text: &str) -> String {
        if !self.colored {
            return text.to_owned();
        }
        let mut finished = String::with_capacity(text.len() + 256);
        for c in text.chars() {
            // Writing to a string cannot fail.
            let _ = match Paint::ALL.iter().find(|paint| paint.mark() == c) {
                Some(paint) => write!(finished, "\x1b[{}m", paint.codes()),
                None if c == END => write!(finished, "\x1b[0m"),
                None => write!(finished, "{c}"),
            };
        }
        finished
    }
}

/// How much the forms for people tell: the table, Markdown and annotations. The forms for programs
/// always tell everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbosity {
    /// The line with the verdict.
    Quiet,
    /// What is needed to act.
    Normal,
    /// Every lookup and every attempt as well.
    Verbose,
}

/// What a colour says; never the only thing that says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paint {
    /// Works.
    Good,
    /// Works in part, or at a cost.
    Fair,
    /// Does not work.
    Bad,
    /// Less important.
    Faint,
    /// A heading.
    Strong,
    /// No colour.
    Plain,
}

/// U+2060, word joiner: no width, and never in an escaped text.
const END: char = '\u{2060}';

impl Paint {
    const ALL: [Self; 5] = [Self::Good, Self::Fair, Self::Bad, Self::Faint, Self::Strong];

    /// U+2061 to U+2064 and U+206A: no width, and never in an escaped text.
    const fn mark(self) -> char {
        match self {
            Self::Good => '\u{2061}',
            Self::Fair => '\u{2062}',
            Self::Bad => '\u{2063}',
            Self::Faint => '\u{2064}',
            Self::Strong => '\u{206a}',
            Self::Plain => END,
        }
    }

    /// The parameters of "select graphic rendition" (ECMA-48). `colored`'s own strings would ask
    /// a global switch.
    fn codes(self) -> String {
        match self {
            Self::Good => format!("1;{}", Color::Green.to_fg_str()),
            Self::Fair => format!("1;{}", Color::Yellow.to_fg_str()),
            Self::Bad => format!("1;{}", Color::Red.to_fg_str()),
            Self::Faint => "2".to_owned(),
            Self::Strong => "1".to_owned(),
            Self::Plain => "0".to_owned(),
        }
    }
}

/// Breaks a text at its spaces into lines of at most `width` columns; a word that is longer is cut.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace().flat_map(|word| pieces(word, width)) {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(&word);
        } else if line.width() + 1 + word.width() <= width {
            line.push(' ');
            line.push_str(&word);
        } else {
            lines.push(word);
        }
    }
    lines
}

/// A word in pieces of at most `width` columns, but at least one character each.
fn pieces(word: &str, width: usize) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for c in word.chars() {
        let mut longer = pieces.last().cloned().unwrap_or_default();
        longer.push(c);
        match pieces.last_mut() {
            Some(piece) if piece.is_empty() || longer.width() <= width => *piece = longer,
            _ => pieces.push(c.to_string()),
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_is_plain_and_colour_leaves_nothing_behind() {
        let plain = Style::default();
        assert_eq!(plain.finish(&plain.paint(Paint::Bad, "x")), "x");
        let colored = Style::new(true, Some(80));
        assert_eq!(
            colored.finish(&colored.paint(Paint::Bad, "x")),
            "\x1b[1;31mx\x1b[0m"
        );
        assert_eq!(colored.finish(&colored.paint(Paint::Plain, "x")), "x");
    }

    #[test]
    fn marks_have_no_width() {
        let colored = Style::new(true, Some(80));
        for paint in Paint::ALL {
            assert_eq!(colored.paint(paint, "ok").width(), 2, "{paint:?}");
        }
    }

    #[test]
    fn lines_are_as_wide_as_they_may_be() {
        assert_eq!(wrap("", 10), [""]);
        assert_eq!(wrap("one two  three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh ij", 5), ["abcde", "fgh", "ij"]);
        assert_eq!(wrap("株式会社", 5), ["株式", "会社"]);
        assert_eq!(wrap("株", 1), ["株"]);
    }

    proptest::proptest! {
        #[test]
        fn no_line_is_wider_and_no_word_is_lost(text in "[a-z 株]{0,200}", width in 2usize..60) {
            let lines = wrap(&text, width);
            proptest::prop_assert!(lines.iter().all(|line| line.width() <= width));
            let joined: String = lines.concat().split(' ').collect();
            let bare: String = text.split(' ').collect();
            proptest::prop_assert_eq!(joined, bare);
        }
    }
}
