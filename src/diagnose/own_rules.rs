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
use super::row::{RowVerdict, row_cause};
use super::row_evidence::AddressState;
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
pub(super) fn attribute(verdict: &mut RowVerdict, attempts: &[Attempt], own: &[OwnFlow]) {
    for (address, state) in &mut verdict.addresses {
        let AddressState::Blocked(cause) = *state else {
            continue;
        };
        let flow = own.iter().find(|flow| flow.address == *address);
        if flow.is_some_and(|flow| is_own(cause, *address, attempts, &flow.fate)) {
            *state = AddressState::Blocked(Cause::LocalFirewall);
        }
    }
    if matches!(verdict.status, Status::Blocked | Status::Partial) {
        verdict.cause = row_cause(&verdict.addresses);
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
    let by_another = at_address().any(is_rejected_by_another);
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
    for address in row.verdict.blocked() {
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
    let mut blocked = row.verdict.blocked().peekable();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::tests::{attempt, passed, row_of, unanswered};
    use crate::model::{IcmpError, Service};
    use proptest::prelude::*;
    use proptest::sample::select;

    fn rule(text: &str) -> OwnRule {
        OwnRule {
            family: "inet".to_owned(),
            table: "filter".to_owned(),
            chain: "output".to_owned(),
            number: Some(2),
            text: text.to_owned(),
            comment: None,
        }
    }

    fn closed(replies: bool, text: &str) -> OwnFate {
        OwnFate::Closed {
            replies,
            rule: rule(text),
        }
    }

    /// The cause of an address that fails so, under rules that do this with its flow.
    fn cause(cause: Cause, outcome: Outcome, fate: OwnFate) -> Option<Cause> {
        let target = row_of(Service::Http2);
        let address = target.addresses[0];
        let mut verdict = RowVerdict {
            status: Status::Blocked,
            cause: Some(cause),
            addresses: vec![(address, AddressState::Blocked(cause))],
            tunnel_proven: false,
            probe_passes: false,
            cut_name: None,
            open: None,
        };
        let own = OwnFlow {
            address,
            port: target.port,
            transport: target.service.transport(),
            fate,
        };
        let attempts = [attempt(&target, 0, outcome)];
        attribute(&mut verdict, &attempts, &[own]);
        verdict.cause
    }

    fn silent() -> Outcome {
        unanswered(ContactFailure::Silent)
    }

    fn rejected(from: &str) -> Outcome {
        let icmp = IcmpError {
            from: from.parse().ok(),
            ..IcmpError::v4(3, 3)
        };
        unanswered(ContactFailure::Icmp { icmp })
    }

    #[test]
    fn what_the_rules_do_is_this_hosts() {
        let own = Some(Cause::LocalFirewall);
        let drops = || closed(false, "tcp dport 7844 drop");
        assert_eq!(cause(Cause::Dropped, silent(), drops()), own);
        assert_eq!(cause(Cause::Dropped, silent(), closed(true, "reject")), own);
        let resets = closed(false, "reject with tcp reset");
        let reset = || unanswered(ContactFailure::Reset);
        assert_eq!(cause(Cause::Reset, reset(), resets), own);
        let redirect = || OwnFate::Redirected {
            rule: rule("redirect to :12345"),
        };
        assert_eq!(cause(Cause::Reset, reset(), redirect()), own);
        let itself = row_of(Service::Http2).addresses[0].to_string();
        assert_eq!(cause(Cause::Rejected, rejected(&itself), redirect()), own);
    }

    #[test]
    fn what_the_rules_do_not_do_is_not() {
        let unchanged = |known, outcome, fate| assert_eq!(cause(known, outcome, fate), Some(known));
        let drops = || closed(false, "tcp dport 7844 drop");
        unchanged(Cause::Reset, unanswered(ContactFailure::Reset), drops());
        unchanged(Cause::Dropped, silent(), closed(false, "reject"));
        unchanged(Cause::Rejected, rejected("192.0.2.1"), drops());
        let redirect = OwnFate::Redirected {
            rule: rule("redirect"),
        };
        unchanged(Cause::Rejected, rejected("192.0.2.1"), redirect);
        unchanged(Cause::Dropped, passed(), drops());
    }

    proptest! {
        #[test]
        fn rules_that_let_it_pass_or_may_are_never_the_cause(
            known in select(Cause::ALL),
            fate in select(vec![
                OwnFate::Passes,
                OwnFate::Unclear { reason: "no reply".to_owned() },
                OwnFate::Conditional { on: "a mark".to_owned(), rule: rule("drop") },
            ]),
        ) {
            prop_assert_eq!(cause(known, silent(), fate), Some(known));
        }
    }
}
