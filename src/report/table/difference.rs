//! What is different between two reports: the outcome first, then what got worse.

use super::super::style::Paint;
use super::super::{Style, Verbosity, escape};
use super::page::Page;
use crate::diff::{Difference, Outcome, Side, Trend, lines};

/// Renders a difference; its texts are escaped here.
pub(in crate::report) fn write(
    difference: &Difference,
    style: Style,
    verbosity: Verbosity,
) -> String {
    let outcome = outcome(difference.outcome, style);
    let summary = escape(&difference.summary);
    if verbosity == Verbosity::Quiet {
        return style.finish(&format!("{outcome}  {summary}\n"));
    }
    let mut page = Page::new(style);
    page.blank();
    page.paragraph(2, &outcome, &summary);
    page.blank();
    page.paragraph(2, "Before:", &side(&difference.before));
    page.paragraph(2, "After: ", &side(&difference.after));
    for caveat in &difference.caveats {
        page.paragraph(2, "Note:  ", &escape(&caveat.to_string()));
    }
    for trend in Trend::ALL {
        section(&mut page, trend.heading(), lines(difference.of(trend)));
    }
    let moved = difference.moved.iter().map(ToString::to_string);
    section(&mut page, "Moved", moved.collect());
    page.blank();
    style.finish(&page.into_text())
}

fn section(page: &mut Page, heading: &str, lines: Vec<String>) {
    if lines.is_empty() {
        return;
    }
    page.heading(heading);
    for line in lines {
        page.labelled(4, "- ", &escape(&line));
    }
}

fn outcome(outcome: Outcome, style: Style) -> String {
    let paint = match outcome {
        Outcome::NotWorse => Paint::Good,
        Outcome::Uncertain => Paint::Fair,
        Outcome::Worse => Paint::Bad,
    };
    style.paint(paint, &outcome.to_string().to_uppercase())
}

fn side(side: &Side) -> String {
    let host = side.host.as_deref().unwrap_or("a host without a name");
    let text = format!("{} on {host}, checked {}", side.verdict, side.started_at);
    escape(&text).into_owned()
}
