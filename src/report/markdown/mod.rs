//! The report as GitHub Flavored Markdown, for job summaries and issue trackers.
//!
//! Nothing of what others wrote is markup: `text.rs` is the gate. Each text is on one line and behind a
//! beginning of our own, so that it starts no block.

mod text;

use super::{Style, Verbosity, table};
use crate::diff::{Difference, Side, Trend, lines};
use crate::model::{Finding, Report};
use text::{cell, fenced, inline};

/// The width of what stands in a code block, where nothing is wrapped.
const CODE_WIDTH: u16 = 100;

/// Renders a report whose texts are escaped already, and what is different, whose are not.
pub(super) fn write(
    report: Option<&Report>,
    difference: Option<&Difference>,
    verbosity: Verbosity,
) -> String {
    let report = report.map(|report| of_report(report, verbosity));
    let difference = difference.map(|difference| of_difference(difference, verbosity));
    let parts: Vec<_> = report.into_iter().chain(difference).flatten().collect();
    parts.join("\n\n") + "\n"
}

/// The blocks of a report.
fn of_report(report: &Report, verbosity: Verbosity) -> Vec<String> {
    let verdict = report.verdict.to_string().to_uppercase();
    let mut blocks = heading(&verdict, &report.summary);
    if verbosity == Verbosity::Quiet {
        return blocks;
    }
    for section in table::destinations::sections(report, Style::default()) {
        blocks.push(format!("### {}", inline(&section.heading)));
        blocks.push(of_grid(&section.grid));
        blocks.extend(section.note.map(|note| inline(&note)));
    }
    blocks.push("### DNS".to_owned());
    blocks.push(of_dns(report));
    let findings = table::findings::worth_telling(report, verbosity);
    for (index, finding) in findings.iter().enumerate() {
        blocks.extend(of_finding(index + 1, finding));
    }
    if let Some(first) = findings.first() {
        blocks.push(format!(
            "For details about a finding: `tunnelcheck explain {}`.",
            first.code
        ));
    }
    if verbosity == Verbosity::Verbose {
        let style = Style::new(false, Some(CODE_WIDTH));
        blocks.push("<details>\n<summary>Every lookup and every attempt</summary>".to_owned());
        blocks.push(fenced(table::attempts(report, style).trim_matches('\n')));
        blocks.push("</details>".to_owned());
    }
    blocks.push(inline(&report.scope));
    blocks.push(inline(&table::provenance(report)));
    blocks
}

fn heading(word: &str, summary: &str) -> Vec<String> {
    vec![format!("## tunnelcheck: {word}"), inline(summary)]
}

/// A table; its first heading is empty.
fn of_grid(grid: &table::grid::Grid) -> String {
    let line = |cells: &Vec<String>| {
        let cells: Vec<_> = cells.iter().map(|text| cell(text)).collect();
        format!("| {} |", cells.join(" | "))
    };
    let rule = format!("|{}", " --- |".repeat(grid.header.len()));
    let header = [line(&grid.header), rule];
    let lines = header.into_iter().chain(grid.rows.iter().map(line));
    lines.collect::<Vec<_>>().join("\n")
}

fn of_dns(report: &Report) -> String {
    let resolvers = table::dns::resolvers(report);
    if resolvers.is_empty() {
        return "Nothing was looked up.".to_owned();
    }
    let line = |resolver: &table::dns::Resolver| {
        let (name, mark) = (&resolver.name, resolver.mark);
        format!(
            "- {}",
            inline(&format!("{name} {mark}: {}", resolver.answers))
        )
    };
    resolvers.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn of_finding(number: usize, finding: &Finding) -> Vec<String> {
    let title = inline(&finding.title);
    let severity = finding.severity;
    let mut blocks = vec![format!(
        "### {number}. {severity}: {title} (`{}`)",
        finding.code
    )];
    let seen = finding.evidence.iter();
    let seen: Vec<_> = seen
        .map(|evidence| format!("- Seen: {}", inline(&evidence.0)))
        .collect();
    if !seen.is_empty() {
        blocks.push(seen.join("\n"));
    }
    if !finding.detail.is_empty() {
        blocks.push(inline(&finding.detail));
    }
    if !finding.remedy.summary.is_empty() {
        blocks.push(format!("Do: {}", inline(&finding.remedy.summary)));
    }
    let (commands, flows) = finding.remedy.parts();
    let parts = [commands, flows].into_iter();
    let told = parts.filter(|lines| !lines.is_empty());
    blocks.extend(told.map(|lines| fenced(&lines.join("\n"))));
    blocks
}

/// The blocks of a difference.
fn of_difference(difference: &Difference, verbosity: Verbosity) -> Vec<String> {
    let outcome = difference.outcome.to_string().to_uppercase();
    let mut blocks = heading(&outcome, &difference.summary);
    if verbosity == Verbosity::Quiet {
        return blocks;
    }
    let mut about = vec![
        format!("- Before: {}", side(&difference.before)),
        format!("- After: {}", side(&difference.after)),
    ];
    let caveats = difference.caveats.iter();
    about.extend(caveats.map(|caveat| format!("- Note: {}", inline(&caveat.to_string()))));
    blocks.push(about.join("\n"));
    for trend in Trend::ALL {
        blocks.extend(section(trend.heading(), &lines(difference.of(trend))));
    }
    let moved: Vec<_> = difference.moved.iter().map(ToString::to_string).collect();
    blocks.extend(section("Moved", &moved));
    blocks
}

fn section(heading: &str, lines: &[String]) -> Vec<String> {
    if lines.is_empty() {
        return Vec::new();
    }
    let lines = lines.iter().map(|line| format!("- {}", inline(line)));
    let list = lines.collect::<Vec<_>>().join("\n");
    vec![format!("### {heading}"), list]
}

fn side(side: &Side) -> String {
    let host = side.host.as_deref().unwrap_or("a host without a name");
    let (verdict, began) = (side.verdict, &side.started_at);
    inline(&format!("{verdict} on {host}, checked {began}"))
}
