//! Text in lines that are no wider than the terminal.

use unicode_width::UnicodeWidthStr;

use super::super::Style;
use super::super::style::{Paint, wrap};

/// A text that grows downwards.
pub(super) struct Page {
    pub(super) style: Style,
    text: String,
}

impl Page {
    pub(super) const fn new(style: Style) -> Self {
        Self {
            style,
            text: String::new(),
        }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    pub(super) fn blank(&mut self) {
        self.text.push('\n');
    }

    /// One line that is known to fit.
    pub(super) fn line(&mut self, indent: usize, text: &str) {
        let text = text.trim_end();
        self.text.extend(std::iter::repeat_n(' ', indent));
        self.text.push_str(text);
        self.text.push('\n');
    }

    pub(super) fn heading(&mut self, text: &str) {
        self.blank();
        let style = self.style;
        for line in wrap(text, style.width() - 2) {
            self.line(2, &style.paint(Paint::Strong, &line));
        }
    }

    /// A wrapped text behind a label, with its further lines below its first. Beside a label of
    /// more than half the width the text would have no room, so it goes below.
    pub(super) fn paragraph(&mut self, indent: usize, label: &str, text: &str) {
        let gap = if label.is_empty() { 0 } else { 2 };
        let hang = indent + label.width() + gap;
        if hang > self.style.width() / 2 {
            for line in wrap(label, self.style.width() - indent) {
                self.line(indent, &line);
            }
            return self.paragraph(indent + 2, "", text);
        }
        for (index, line) in wrap(text, self.style.width() - hang).iter().enumerate() {
            if index == 0 && !label.is_empty() {
                self.line(indent, &format!("{label}  {line}"));
            } else {
                self.line(hang, line);
            }
        }
    }
}
