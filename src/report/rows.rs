//! What a row means to a machine that knows nothing but good, bad, not known and not asked, so that
//! the forms for machines agree with each other and with the exit code.
//!
//! ```text
//! status                        counts              meaning
//!   reachable                   either              good
//!   unavailable, skipped        either              not asked
//!   partial, blocked,           yes                 bad
//!   unresolved                  no, or exit code 0  excused
//!   inconclusive                yes                 not known
//!                               no, or exit code 0  excused
//! ```
//! A row counts when a tunnel needs it, or when `--strict` makes it count. So with exit code 0
//! nothing is bad or not known, whatever `--allow-degraded` had to let pass.

use crate::diff::{self, Subject};
use crate::model::{Destination, Finding, Report, Status};

/// What a row means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Handshakes complete.
    Good,
    /// Something that counts does not work.
    Bad,
    /// Too little is known of something that counts.
    Unknown,
    /// It was not to be probed, and that is no fault.
    NotAsked(&'static str),
    /// It does not work, or is not known, and does not count, because of this.
    Excused(&'static str),
}

impl Meaning {
    /// What a row of a report means under the report's own options.
    pub(super) fn of(row: &Destination, report: &Report) -> Self {
        let excuse = excuse(row, report);
        match (row.status, excuse) {
            (Status::Reachable, _) => Self::Good,
            (Status::Unavailable, _) => Self::NotAsked("this host does not have the family"),
            (Status::Skipped, _) => Self::NotAsked("the options exclude it"),
            (_, Some(excuse)) => Self::Excused(excuse),
            (Status::Inconclusive, None) => Self::Unknown,
            (Status::Partial | Status::Blocked | Status::Unresolved, None) => Self::Bad,
        }
    }
}

/// Why the verdict does not depend on what is wrong with a row.
fn excuse(row: &Destination, report: &Report) -> Option<&'static str> {
    if !diff::counts(report, row) {
        return Some("it is optional and does not count");
    }
    if row.status == Status::Unresolved && resolves_otherwise(row, report) {
        return Some("the name has addresses of the other family");
    }
    (report.exit_code == 0).then_some("--allow-degraded lets it pass")
}

fn resolves_otherwise(row: &Destination, report: &Report) -> bool {
    let has_addresses = |other: &Destination| {
        use Status::{Blocked, Inconclusive, Partial, Reachable};
        matches!(other.status, Reachable | Partial | Blocked | Inconclusive)
    };
    let same = report.destinations.iter().filter(|o| o.host == row.host);
    same.clone().any(has_addresses)
}

/// What a row is called, as in a difference: `region1 quic IPv4`, `api.cloudflare.com TCP IPv6`.
pub(super) fn name(row: &Destination) -> String {
    let subject = Subject::Destination {
        service: row.service,
        place: place(row).to_owned(),
        family: row.family,
    };
    subject.to_string()
}

/// `region1`, `region2`, … whatever the name behind it, or the name of an optional host.
pub(super) fn place(row: &Destination) -> &str {
    row.region.as_deref().unwrap_or(&row.host)
}

/// What is known of a row: `partial (dropped), 5 of 10 addresses`.
pub(super) fn state(row: &Destination) -> String {
    let cause = row.cause.map(|cause| format!(" ({cause})"));
    let (reachable, total) = (row.addresses.reachable, row.addresses.total);
    let count = (total > 0).then(|| format!(", {reachable} of {total} addresses"));
    format!(
        "{}{}{}",
        row.status,
        cause.unwrap_or_default(),
        count.unwrap_or_default()
    )
}

/// The findings that are about a row.
pub(super) fn findings<'a>(
    row: &'a Destination,
    report: &'a Report,
) -> impl Iterator<Item = &'a Finding> {
    let is_row = |affected: &crate::model::Affected| {
        (&affected.host, affected.port) == (&row.host, row.port)
            && (affected.transport, affected.family) == (row.transport, row.family)
    };
    let findings = report.findings.iter();
    findings.filter(move |finding| finding.affects.iter().any(is_row))
}

/// A finding as lines of plain text, the title first.
pub(super) fn finding_lines(finding: &Finding) -> Vec<String> {
    let title = format!("{}: {} [{}]", finding.severity, finding.title, finding.code);
    std::iter::once(title).chain(body_lines(finding)).collect()
}

/// What stands below a finding's title, as lines of plain text.
pub(super) fn body_lines(finding: &Finding) -> Vec<String> {
    let seen = finding.evidence.iter();
    let mut lines: Vec<_> = seen.map(|seen| format!("Seen: {}", seen.0)).collect();
    if !finding.detail.is_empty() {
        lines.push(finding.detail.clone());
    }
    if !finding.remedy.summary.is_empty() {
        lines.push(format!("Do: {}", finding.remedy.summary));
    }
    let commands = finding.remedy.commands.iter();
    lines.extend(commands.map(|command| format!("    {command}")));
    lines
}
