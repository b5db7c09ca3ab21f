//! PURE: a text in the place of the one before.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::app::terminal::Window;

/// One drawing: notes that are cut to the window's width, and the table below as far as it fits.
///
/// The whole is one text for one write, so that no half of it is seen. It begins at the upper left
/// corner, clears each line before it is written, and what is left of the last drawing below. Lines
/// never wrap and the last row stays empty, so nothing scrolls, however small the window is.
pub(super) fn frame(notes: &[String], table: &str, window: Window, is_first: bool) -> String {
    const CLEAR: &str = "\x1b[2J";
    const HOME: &str = "\x1b[H";
    const NO_WRAP: &str = "\x1b[?7l";
    const WRAP: &str = "\x1b[?7h";
    const CLEAR_LINE: &str = "\x1b[K";
    const CLEAR_BELOW: &str = "\x1b[J";
    let notes = notes
        .iter()
        .map(|note| clipped(note, window.columns.into()));
    let all: Vec<_> = notes.chain(table.lines().map(str::to_owned)).collect();
    let body: String = fitting(all, window.rows.saturating_sub(1).max(1).into())
        .into_iter()
        .flat_map(|line| [CLEAR_LINE.to_owned(), line, "\r\n".to_owned()])
        .collect();
    let clear = if is_first { CLEAR } else { "" };
    [clear, HOME, NO_WRAP, &body, CLEAR_BELOW, WRAP].concat()
}

/// The first lines; where not all fit, the last one says so.
fn fitting(mut lines: Vec<String>, room: usize) -> Vec<String> {
    if lines.len() > room {
        let more = lines.len() - room + 1;
        lines.truncate(room.saturating_sub(1));
        lines.push(format!("... {more} more lines in a higher window"));
    }
    lines
}

/// A line of at most `width` columns.
fn clipped(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut used = 0;
    let fits = |c: &char| {
        used += c.width().unwrap_or(0);
        used < width
    };
    let mut cut: String = text.chars().take_while(fits).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(columns: u16, rows: u16) -> Window {
        Window { columns, rows }
    }

    #[test]
    fn a_drawing_never_scrolls() {
        let table = "line\n".repeat(100);
        for rows in 2..120 {
            let text = frame(&["note".to_owned()], &table, window(80, rows), false);
            let feeds = text.matches('\n').count();
            assert!(feeds < usize::from(rows), "{feeds} lines in {rows} rows");
            let said_all = !text.contains("more lines");
            assert_eq!(said_all, rows > 101, "{rows}");
        }
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let lines = fitting((1..=9).map(|n| n.to_string()).collect(), 4);
        assert_eq!(
            lines,
            ["1", "2", "3", "... 6 more lines in a higher window"]
        );
    }

    #[test]
    fn only_the_first_drawing_clears_the_screen() {
        let draw = |is_first| frame(&[], "a\n", window(80, 24), is_first);
        assert!(draw(true).starts_with("\x1b[2J\x1b[H"));
        assert!(!draw(false).contains("\x1b[2J"));
        for text in [draw(true), draw(false)] {
            assert!(text.contains("\x1b[Ka\r\n"));
            assert!(text.ends_with("\x1b[J\x1b[?7h"));
        }
    }

    #[test]
    fn notes_are_cut_by_columns() {
        assert_eq!(clipped("abcdef", 6), "abcdef");
        assert_eq!(clipped("abcdef", 5), "abcd…");
        assert_eq!(clipped("株式会社", 6), "株式…");
        for width in 1..9 {
            assert!(clipped("株式a会社", width).width() <= width);
        }
    }
}
