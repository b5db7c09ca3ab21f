//! What is wrong, on what evidence, and what to do.

use super::super::Verbosity;
use super::super::style::Paint;
use super::page::Page;
use crate::model::{Finding, FindingCode, Report, Severity, Verdict};

/// Where a finding's text stands below its number.
const INDENT: usize = 5;

/// Writes the findings, numbered.
pub(super) fn write(page: &mut Page, report: &Report, verbosity: Verbosity) {
    let findings = worth_telling(report, verbosity);
    for (index, finding) in findings.iter().enumerate() {
        page.blank();
        write_title(page, index + 1, finding);
        for evidence in &finding.evidence {
            page.paragraph(INDENT, "Seen:", &evidence.0);
        }
        if verbosity == Verbosity::Verbose && !finding.affects.is_empty() {
            page.paragraph(INDENT, "On:", &affected(finding));
        }
        if !finding.detail.is_empty() {
            page.paragraph(INDENT, "", &finding.detail);
        }
        if !finding.remedy.summary.is_empty() {
            page.paragraph(INDENT, "Do:", &finding.remedy.summary);
        }
        let (commands, flows) = finding.remedy.parts();
        // A shell reads a line that is broken as two commands.
        for command in commands {
            page.line(INDENT + 5, command);
        }
        for flow in flows {
            page.paragraph(INDENT + 5, "", flow);
        }
    }
    if let Some(first) = findings.first() {
        page.blank();
        let more = format!(
            "For details about a finding: `tunnelcheck explain {}`.",
            first.code
        );
        page.paragraph(2, "", &more);
    }
}

/// The findings that people are told.
pub(in crate::report) fn worth_telling(report: &Report, verbosity: Verbosity) -> Vec<&Finding> {
    let matters =
        |finding: &&Finding| verbosity == Verbosity::Verbose || !is_noise(finding, report);
    report.findings.iter().filter(matters).collect()
}

/// Nearly every host has small buffers, and nobody needs to know while QUIC works.
fn is_noise(finding: &Finding, report: &Report) -> bool {
    finding.code == FindingCode::UdpBuffers && report.protocols.quic.status != Verdict::Blocked
}

fn write_title(page: &mut Page, number: usize, finding: &Finding) {
    let paint = match finding.severity {
        Severity::Error => Paint::Bad,
        Severity::Warning => Paint::Fair,
        Severity::Info => Paint::Faint,
    };
    let severity = page.style.paint(paint, &finding.severity.to_string());
    let title = format!("{severity}: {} [{}]", finding.title, finding.code);
    page.labelled(2, &format!("{number}. "), &title);
}

fn affected(finding: &Finding) -> String {
    let affected = finding.affects.iter().map(|affected| {
        let (host, port) = (&affected.host, affected.port);
        format!("{host} {}/{port} {}", affected.transport, affected.family)
    });
    affected.collect::<Vec<_>>().join(", ")
}
