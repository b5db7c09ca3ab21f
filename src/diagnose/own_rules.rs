//! PURE: what the answers about this host's own rules prove.
//!
//! ```text
//! seen on the address          the rules of this host          the address is
//!   dropped                    close it without a reject       blocked, local_firewall
//!   dropped                    close its replies               blocked, local_firewall
//!   reset                      reject it with a reset          blocked, local_firewall
//!   dropped, reset, or
//!   rejected in its own name   send it to another address      blocked, local_firewall
//!   anything else              anything                        as before
//! ```
//! An answer of the edge itself outweighs every trial.

use std::net::IpAddr;

use super::JudgedRow;
use super::row::{AddressState, Judgement, row_cause};
use crate::model::{
    Attempt, Cause, ContactFailure, Evidence, Finding, FindingCode, Outcome, OwnFate, OwnFlow,
    OwnRule, OwnRules, Status,
};
use crate::targets::Target;

/// The answers about the flows of a row.
pub(super) fn of_row(target: &Target, rules: Option<&OwnRules>) -> Vec<OwnFlow> {
    let flows = rules.map(OwnRules::flows).unwrap_or_default();
    let own = |flow: &&OwnFlow| {
        flow.port == target.port
            && flow.transport == target.service.transport()
            && target.addresses.contains(&flow.address)
    };
    flows.iter().filter(own).cloned().collect()
}

/// Gives this host what its own rules are proven to do.
pub(super) fn attribute(judgement: &mut Judgement, attempts: &[Attempt], own: &[OwnFlow]) {
    for (address, state) in &mut judgement.addresses {
        let AddressState::Blocked(cause) = *state else {
            continue;
        };
        let flow = own.iter().find(|flow| flow.address == *address);
        if flow.is_some_and(|flow| is_own(cause, *address, attempts, &flow.fate)) {
            *state = AddressState::Blocked(Cause::LocalFirewall);
        }
    }
    if matches!(judgement.status, Status::Blocked | Status::Partial) {
        judgement.cause = row_cause(&judgement.addresses);
    }
}

/// Whether a failure is what the rule does. See the table above.
fn is_own(cause: Cause, address: IpAddr, attempts: &[Attempt], fate: &OwnFate) -> bool {
    let at_address = || attempts.iter().filter(|a| a.address == address);
    // Somebody answered, so the packets came through.
    let answered = |a: &Attempt| {
        matches!(
            a.outcome,
            Outcome::Secured { .. } | Outcome::Unsecured { .. }
        )
    };
    if at_address().any(answered) {
        return false;
    }
    let by_another = at_address().any(|a| is_rejected_by_another(a));
    match (cause, fate) {
        (Cause::Dropped, OwnFate::Closed { replies, rule }) => {
            !by_another && (*replies || !rejects(rule))
        }
        (
            Cause::Reset,
            OwnFate::Closed {
                replies: false,
                rule,
            },
        ) => rejects(rule) && rule.text.contains("reset"),
        (Cause::Dropped | Cause::Reset | Cause::Rejected, OwnFate::Redirected { .. }) => {
            !by_another
        }
        _ => false,
    }
}

fn rejects(rule: &OwnRule) -> bool {
    rule.text.contains("reject") || rule.text.contains("REJECT")
}

/// Whether an ICMP error came from another address than the destination's.
fn is_rejected_by_another(attempt: &Attempt) -> bool {
    let ended = match &attempt.outcome {
        Outcome::Unanswered {
            failure: ContactFailure::Icmp { icmp },
        } => Some(icmp),
        _ => None,
    };
    let strays = attempt.stray.iter().filter(|stray| !stray.local);
    let mut icmp = strays.filter_map(|stray| stray.icmp.as_ref()).chain(ended);
    icmp.any(|icmp| icmp.from.is_some_and(|from| from != attempt.address))
}

/// The rules that close or redirect the blocked addresses of a row, each once.
pub(super) fn deciding(row: &JudgedRow) -> Vec<&OwnFlow> {
    let mut deciding: Vec<&OwnFlow> = Vec::new();
    for address in row.judgement.blocked() {
        let flow = row.own.iter().find(|flow| flow.address == address);
        let decides = |flow: &&OwnFlow| {
            matches!(
                flow.fate,
                OwnFate::Closed { .. } | OwnFate::Redirected { .. } | OwnFate::Route { .. }
            )
        };
        if let Some(flow) = flow.filter(decides)
            && !deciding.iter().any(|known| known.fate == flow.fate)
        {
            deciding.push(flow);
        }
    }
    deciding
}

/// What decides, in words; nothing if nothing is known to.
pub(super) fn words(row: &JudgedRow) -> Option<String> {
    const MOST: usize = 3;
    let deciding = deciding(row);
    let more = match deciding.len().saturating_sub(MOST) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let said = deciding
        .iter()
        .take(MOST)
        .filter_map(|flow| say(&flow.fate));
    let said: Vec<_> = said.collect();
    (!said.is_empty()).then(|| format!("{}{more}", said.join("; ")))
}

fn say(fate: &OwnFate) -> Option<String> {
    match fate {
        OwnFate::Closed {
            replies: false,
            rule,
        } => Some(format!("this host's own rules close it: {rule}")),
        OwnFate::Closed {
            replies: true,
            rule,
        } => Some(format!("this host's own rules close its replies: {rule}")),
        OwnFate::Redirected { rule } => Some(format!(
            "this host's own rules send it to another address: {rule}"
        )),
        OwnFate::Route { text } => Some(format!("it is refused by `{text}`")),
        OwnFate::Conditional { on, rule } => Some(format!(
            "whether this host's own rules let it out depends on {on}: {rule}"
        )),
        OwnFate::Passes | OwnFate::Unclear { .. } => None,
    }
}

/// Whether this host's own rules are known to let all that is blocked out, and the replies in.
pub(super) fn all_pass(row: &JudgedRow) -> bool {
    let passes = |address| {
        row.own
            .iter()
            .any(|flow| flow.address == address && flow.fate == OwnFate::Passes)
    };
    let mut blocked = row.judgement.blocked().peekable();
    blocked.peek().is_some() && blocked.all(passes)
}

/// What is worth adding where this host is not known to be the cause: a redirect or a condition.
pub(super) fn note(row: &JudgedRow) -> Option<String> {
    words(row).or_else(|| {
        let conditional = |flow: &&OwnFlow| matches!(flow.fate, OwnFate::Conditional { .. });
        say(&row.own.iter().find(conditional)?.fate)
    })
}

/// Says once why the rules of this host were not tried, in the first finding that they could explain.
pub(super) fn say_why_not(findings: &mut [Finding], rules: Option<&OwnRules>) {
    let line = match rules {
        Some(OwnRules::NotPermitted { .. }) => {
            "a rule of this host that does this could be named with root: sudo tunnelcheck"
                .to_owned()
        }
        Some(OwnRules::Failed { reason, .. }) => {
            format!("this host's own rules could not be tried: {reason}")
        }
        Some(OwnRules::Tried { .. }) | None => return,
    };
    let explicable = |finding: &&mut Finding| {
        matches!(
            finding.code,
            FindingCode::LocalFirewall
                | FindingCode::UdpDropped
                | FindingCode::TcpDropped
                | FindingCode::TcpReset
        )
    };
    if let Some(first) = findings.iter_mut().find(explicable) {
        first.evidence.push(Evidence(line));
    }
}
