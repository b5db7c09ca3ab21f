//! The report for people: the verdict first, what was reached, what is wrong and what to do.

pub(super) mod destinations;
mod difference;
pub(super) mod dns;
pub(super) mod findings;
mod forecast;
pub(super) mod grid;
pub(super) mod page;
mod verbose;

use super::style::Paint;
use super::{Style, Verbosity};
use crate::diff::Difference;
use crate::model::{Ended, Report, Verdict};
use page::Page;

/// Renders a report whose texts are escaped already, and below it what is different.
pub(super) fn write_parts(
    report: Option<&Report>,
    difference: Option<&Difference>,
    style: Style,
    verbosity: Verbosity,
) -> String {
    let report = report.map(|report| write(report, style, verbosity));
    let difference = difference.map(|d| difference::write(d, style, verbosity));
    report.unwrap_or_default() + &difference.unwrap_or_default()
}

fn write(report: &Report, style: Style, verbosity: Verbosity) -> String {
    if verbosity == Verbosity::Quiet {
        return style.finish(&format!(
            "{}  {}\n",
            verdict(report.verdict, style),
            report.summary
        ));
    }
    let mut page = Page::new(style);
    page.blank();
    page.paragraph(2, &verdict(report.verdict, style), &report.summary);
    destinations::write(&mut page, report);
    dns::write(&mut page, report);
    if let Some(forecast) = &report.forecast {
        forecast::write(&mut page, forecast, verbosity == Verbosity::Verbose);
    }
    findings::write(&mut page, report, verbosity);
    if verbosity == Verbosity::Verbose {
        verbose::write(&mut page, report);
    }
    page.blank();
    page.paragraph(2, "", &report.scope);
    page.paragraph(2, "", &provenance(report));
    style.finish(&page.into_text())
}

fn verdict(verdict: Verdict, style: Style) -> String {
    let paint = match verdict {
        Verdict::Ready => Paint::Good,
        Verdict::Degraded | Verdict::Inconclusive => Paint::Fair,
        Verdict::Blocked => Paint::Bad,
        Verdict::Skipped => Paint::Faint,
    };
    style.paint(paint, &verdict.to_string().to_uppercase())
}

/// Every lookup and every attempt, and nothing else.
pub(super) fn attempts(report: &Report, style: Style) -> String {
    let mut page = Page::new(style);
    verbose::write(&mut page, report);
    style.finish(&page.into_text())
}

/// When, how long and by what: a table in a ticket must say how old it is.
pub(super) fn provenance(report: &Report) -> String {
    let ended = match report.ended {
        Ended::Complete => "",
        Ended::Budget => ", until its time ended,",
        Ended::Interrupted => ", until it was interrupted,",
    };
    format!(
        "Checked {} for {}{ended} by {} {}.",
        report.started_at, report.duration_ms, report.tool.name, report.tool.version
    )
}

#[cfg(test)]
mod tests;
