//! Rows and columns, side by side where they fit and one below the other where they do not.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};
use unicode_width::UnicodeWidthStr;

use super::page::Page;

/// Space between two columns.
const GUTTER: usize = 2;
/// A cell of up to this width stays on one line; `ok 10/10 21 ms` and `- no IPv6 here` do.
const UNBROKEN: usize = 16;

/// A table with a heading for each column; the first column holds the rows' labels.
pub(in crate::report) struct Grid {
    pub(in crate::report) header: Vec<String>,
    pub(in crate::report) rows: Vec<Vec<String>>,
}

impl Grid {
    /// Writes the grid at an indentation.
    pub(super) fn write(&self, page: &mut Page, indent: usize) {
        let width = page.style.width() - indent;
        if self.least_width() <= width {
            let rows = std::iter::once(&self.header).chain(&self.rows);
            lay_out(page, indent, rows);
        } else {
            self.write_stacked(page, indent);
        }
    }

    /// Each row's label on a line of its own, and its cells below, each beside its column's heading.
    fn write_stacked(&self, page: &mut Page, indent: usize) {
        for row in &self.rows {
            let Some((label, cells)) = row.split_first() else {
                continue;
            };
            page.paragraph(indent, "", label);
            let headings = self.header.iter().skip(1);
            for (heading, cell) in headings.zip(cells).filter(|(_, cell)| !cell.is_empty()) {
                page.paragraph(indent + 2, heading, cell);
            }
        }
    }

    /// The width at which no word and no short cell is broken, with the labels in one piece.
    fn least_width(&self) -> usize {
        let column = |index: usize| {
            let cells = std::iter::once(&self.header)
                .chain(&self.rows)
                .filter_map(|row| row.get(index));
            let longest = |cell: &String| {
                if index == 0 {
                    cell.width()
                } else {
                    least_width(cell)
                }
            };
            cells.map(longest).max().unwrap_or(0)
        };
        let sum = (0..self.header.len()).map(column).sum::<usize>();
        sum + GUTTER * self.header.len().saturating_sub(1)
    }
}

fn least_width(cell: &str) -> usize {
    cell.split(' ')
        .map(UnicodeWidthStr::width)
        .max()
        .unwrap_or(0)
        .max(cell.width().min(UNBROKEN))
}

fn lay_out<'a>(page: &mut Page, indent: usize, rows: impl Iterator<Item = &'a Vec<String>>) {
    let width = page.style.width() - indent;
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(columns(width));
    table.add_rows(rows);
    let last = table.column_count().saturating_sub(1);
    let widths: Vec<_> = (0..=last)
        .map(|index| least_column_width(&table, index))
        .collect();
    for (index, (column, width)) in table.column_iter_mut().zip(widths).enumerate() {
        let gutter = if index == last { 0 } else { GUTTER };
        column.set_padding((0, columns(gutter)));
        column.set_constraint(match index {
            0 => ColumnConstraint::ContentWidth,
            _ => ColumnConstraint::LowerBoundary(Width::Fixed(columns(width + gutter))),
        });
    }
    for line in table.lines() {
        page.line(indent, &line);
    }
}

fn least_column_width(table: &Table, index: usize) -> usize {
    let cells = table.column_cells_iter(index).flatten();
    cells
        .map(|cell| least_width(&cell.content()))
        .max()
        .unwrap_or(0)
}

fn columns(width: usize) -> u16 {
    u16::try_from(width).unwrap_or(u16::MAX)
}
