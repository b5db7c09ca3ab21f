//! Text in lines that are no wider than the terminal.

use unicode_width::UnicodeWidthStr;

use super::super::Style;
use super::super::style::{Paint, wrap};

/// A text that grows downwards.
pub(in crate::report) struct Page {
    pub(in crate::report) style: Style,
    text: String,
}

impl Page {
    pub(in crate::report) const fn new(style: Style) -> Self {
        Self {
            style,
            text: String::new(),
        }
    }

    pub(in crate::report) fn into_text(self) -> String {
        self.text
    }

    pub(in crate::report) fn blank(&mut self) {
        self.text.push('\n');
    }

    /// One line that is known to fit.
    pub(in crate::report) fn line(&mut self, indent: usize, text: &str) {
        let text = text.trim_end();
        self.text.extend(std::iter::repeat_n(' ', indent));
        self.text.push_str(text);
        self.text.push('\n');
    }

    pub(in crate::report) fn heading(&mut self, text: &str) {
        self.blank();
        let style = self.style;
        for line in wrap(text, style.width() - 2) {
            self.line(2, &style.paint(Paint::Strong, &line));
        }
    }

    /// A wrapped text behind a label, with its further lines below its first. Beside a label of
    /// more than half the width the text would have no room, so it goes below.
    pub(in crate::report) fn paragraph(&mut self, indent: usize, label: &str, text: &str) {
        let gap = if label.is_empty() { "" } else { "  " };
        self.labelled(indent, &format!("{label}{gap}"), text);
    }

    /// As [`Page::paragraph`], with a label that brings its own space to the text.
    pub(in crate::report) fn labelled(&mut self, indent: usize, label: &str, text: &str) {
        let hang = indent + label.width();
        if hang > self.style.width() / 2 {
            for line in wrap(label, self.style.width() - indent) {
                self.line(indent, &line);
            }
            return self.labelled(indent + 2, "", text);
        }
        for (index, line) in wrap(text, self.style.width() - hang).iter().enumerate() {
            if index == 0 && !label.is_empty() {
                self.line(indent, &format!("{label}{line}"));
            } else {
                self.line(hang, line);
            }
        }
    }
}
