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
mod service;
mod tunnel;

use super::platform::Platform;
use super::{Diagnosis, JudgedRow, RateLimits};
use crate::model::{Affected, Evidence, Family, Finding, FindingCode, Remedy, Severity};

/// Everything worth telling, the most fundamental first.
pub(super) fn findings(diagnosis: Diagnosis<'_>, rate_limits: &RateLimits) -> Vec<Finding> {
    let Diagnosis {
        seen,
        discovery,
        rows,
        conclusion,
        ..
    } = diagnosis;
    let mut findings = Vec::new();
    findings.extend(run::findings(seen, rows));
    // On a host without any network everything else is a symptom.
    if Family::BOTH
        .iter()
        .any(|family| seen.host.family(*family).is_available())
    {
        findings.extend(dns::findings(diagnosis));
        findings.extend(answers::findings(seen, discovery));
        findings.extend(family::findings(diagnosis));
        findings.extend(network::findings(diagnosis));
        findings.extend(service::findings(diagnosis));
        findings.extend(limits::findings(rows, rate_limits));
        findings.extend(tunnel::findings(rows));
        findings.extend(environment::findings(seen, rows, conclusion));
        findings.extend(optional::findings(seen, rows));
    }
    findings.sort_by_key(|finding| (finding.severity, finding.code));
    findings
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
