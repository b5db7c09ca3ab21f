//! A terminal that shows what a program draws, and refuses what would leave garbage behind.

use crate::Outcome;

/// The screen of a terminal with so many columns and rows.
pub(crate) struct Screen {
    columns: usize,
    cells: Vec<Vec<char>>,
    row: usize,
    column: usize,
    wraps: bool,
    /// How often the whole screen was cleared, which flickers.
    pub(crate) cleared: usize,
    /// The beginning of a control sequence whose end has not come yet.
    pending: String,
}

impl Screen {
    pub(crate) fn new(columns: usize, rows: usize) -> Self {
        Self {
            columns,
            cells: vec![vec![' '; columns]; rows],
            row: 0,
            column: 0,
            wraps: true,
            cleared: 0,
            pending: String::new(),
        }
    }

    /// The lines as they are seen, without the space behind them.
    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |cells: &Vec<char>| cells.iter().collect::<String>().trim_end().to_owned();
        self.cells.iter().map(line).collect()
    }

    /// Draws a text that may end anywhere.
    ///
    /// # Errors
    /// It would scroll, wrap a line, or holds a control sequence that no drawing needs.
    pub(crate) fn draw(&mut self, text: &str) -> Outcome {
        for c in text.chars() {
            match c {
                _ if !self.pending.is_empty() => self.control(c)?,
                '\x1b' => self.pending.push(c),
                '\r' => self.column = 0,
                '\n' if self.row + 1 == self.cells.len() => return Err("it scrolls".into()),
                '\n' => self.row += 1,
                c if c.is_control() => return Err(format!("it writes {c:?}").into()),
                c => self.put(c)?,
            }
        }
        Ok(())
    }

    fn put(&mut self, c: char) -> Outcome {
        if self.column == self.columns && self.wraps {
            return Err(format!("a line wraps at {c:?}: {:?}", self.lines()).into());
        }
        let column = self.column.min(self.columns - 1);
        self.cells[self.row][column] = c;
        self.column = column + 1;
        Ok(())
    }

    fn control(&mut self, c: char) -> Outcome {
        self.pending.push(c);
        if c == '[' || c == '?' || c == ';' || c.is_ascii_digit() {
            return Ok(());
        }
        let sequence = std::mem::take(&mut self.pending);
        match &sequence[1..] {
            "[2J" => {
                self.cleared += 1;
                self.cells.iter_mut().for_each(|line| line.fill(' '));
            }
            "[H" => (self.row, self.column) = (0, 0),
            "[K" => self.cells[self.row][self.column.min(self.columns)..].fill(' '),
            "[J" => {
                self.cells[self.row][self.column.min(self.columns)..].fill(' ');
                self.cells[self.row + 1..]
                    .iter_mut()
                    .for_each(|line| line.fill(' '));
            }
            "[?7l" => self.wraps = false,
            "[?7h" => self.wraps = true,
            colour if colour.ends_with('m') => {}
            other => return Err(format!("it writes the control sequence {other:?}").into()),
        }
        Ok(())
    }
}
