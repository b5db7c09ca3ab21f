//! PURE: what is wrong, on what evidence, what it means for cloudflared, and what to do.

mod answers;
mod dns;
mod environment;
mod family;
mod limits;
mod network;
mod optional;
mod port53;
mod remedies;
mod run;
mod tunnel;

use super::dns::Discovery;
use super::platform::Platform;
use super::verdict::Conclusion;
use super::{JudgedRow, Pressures};
use crate::model::{
    Affected, Evidence, Family, Finding, FindingCode, Observations, Remedy, Severity,
};

/// Everything worth telling, the most fundamental first.
pub(super) fn findings(
    seen: &Observations,
    discovery: &Discovery,
    rows: &[JudgedRow],
    conclusion: &Conclusion,
    pressures: &Pressures,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(run::findings(seen, rows));
    // On a host without any network everything else is a symptom.
    if Family::BOTH
        .iter()
        .any(|family| seen.host.family(*family).is_available())
    {
        findings.extend(dns::findings(seen, discovery));
        findings.extend(answers::findings(seen, discovery));
        findings.extend(family::findings(seen, discovery, rows));
        findings.extend(network::findings(seen, rows, conclusion));
        findings.extend(limits::findings(rows, pressures));
        findings.extend(tunnel::findings(rows));
        findings.extend(environment::findings(seen, rows, conclusion));
        findings.extend(optional::findings(seen, rows));
    }
    findings.sort_by_key(|finding| (finding.severity, finding.code));
    findings
}

/// Whether an address is of a range that somebody makes answers up from.
pub(super) fn is_made_up(address: std::net::IpAddr) -> bool {
    answers::kind(address).is_some()
}

/// A finding in the making: the parts in the order in which a reader wants them.
struct Draft {
    code: FindingCode,
    severity: Severity,
    title: String,
    detail: String,
    evidence: Vec<String>,
    summary: String,
    commands: Vec<String>,
}

impl Draft {
    fn about(self, rows: &[&JudgedRow]) -> Finding {
        Finding {
            code: self.code,
            severity: self.severity,
            title: self.title,
            detail: self.detail,
            affects: rows.iter().map(|row| affected(row)).collect(),
            evidence: self.evidence.into_iter().map(Evidence).collect(),
            remedy: Remedy {
                summary: self.summary,
                commands: self.commands,
            },
        }
    }
}

fn affected(row: &JudgedRow) -> Affected {
    Affected {
        host: row.target.host.clone(),
        port: row.target.port,
        transport: row.target.service.transport(),
        family: row.target.family,
    }
}
