//! What new rules close, asked of the kernel before this host is touched.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::snapshot::Snapshot;
use super::{Rehearsal, RehearsalError};
use crate::model::{Family, Report, Requirement, Status, Transport};
use crate::net::dns::asked_by_this_host;
use crate::oracle::{
    self, Answer, Closing, Condition, Context, Direction, Flow, On, OracleError, Question, Rule,
    User, What,
};
use crate::rules::Session;

/// How many reasons are given at most.
const MOST_REASONS: usize = 3;

/// Refuses rules that close what cloudflared needs, all resolvers, or SSH. Returns what cannot be known
/// before they are in force.
pub(super) fn judge(
    made: &Snapshot,
    present: &Snapshot,
    before: &Report,
    rehearsal: &Rehearsal,
) -> Result<Vec<String>, RehearsalError> {
    let user = rehearsal.as_user.as_deref().map_or(User::Own, User::named);
    let tunnel = tunnel(before);
    let resolvers = resolvers(rehearsal);
    let session = rehearsal.session;
    let ssh = session.map(|session| ssh(session, present.tracks()));
    let ssh = ssh.unwrap_or_default();
    let flows = [&*tunnel, &resolvers, &ssh].concat();
    if flows.is_empty() {
        return Ok(Vec::new());
    }
    let asked = oracle::ask(&Question {
        parts: made.parts(),
        context: Context::of_host(user),
        flows,
    });
    let answers = match asked {
        Ok(answers) => answers.flows,
        Err(why) => return Ok(vec![unasked(&why)]),
    };
    let mut answers = answers.iter();
    let mut take = |flows: &[Flow]| -> Vec<Answered> {
        let answers = flows.iter().zip(answers.by_ref());
        answers
            .map(|(flow, answer)| answered(flow, answer))
            .collect()
    };
    let (tunnel, dns, ssh) = (take(&tunnel), take(&resolvers), take(&ssh));
    refuse(&tunnel).map_err(RehearsalError::Closed)?;
    if dns.iter().all(|one| matches!(one, Answered::Closed { .. })) {
        refuse(&dns).map_err(RehearsalError::Closed)?;
    }
    if !rehearsal.may_close_ssh {
        refuse(&ssh).map_err(RehearsalError::ClosesSsh)?;
    }
    let notes = [tunnel, dns, ssh].concat().into_iter();
    let notes: BTreeSet<String> = notes.filter_map(Answered::note).collect();
    Ok(notes.into_iter().collect())
}

fn unasked(why: &OracleError) -> String {
    format!("what the rules close is not known before they are in force: {why}")
}

/// Every address that a tunnel needs, of the families that this host has.
fn tunnel(before: &Report) -> Vec<Flow> {
    let required = || {
        let rows = before.destinations.iter();
        rows.filter(|row| row.requirement == Requirement::Required)
    };
    let passing = required().filter(|row| row.status == Status::Reachable);
    let passing: Vec<Family> = passing.map(|row| row.family).collect();
    let counts = |family| passing.is_empty() || passing.contains(&family);
    let rows = required().filter(|row| counts(row.family));
    let attempts = rows.flat_map(|row| &row.probes);
    let mut flows: Vec<Flow> = Vec::new();
    for attempt in attempts {
        let flow = Flow::Out {
            transport: attempt.transport,
            to: SocketAddr::new(attempt.address, attempt.port),
        };
        if !flows.contains(&flow) {
            flows.push(flow);
        }
    }
    flows
}

fn resolvers(rehearsal: &Rehearsal) -> Vec<Flow> {
    let servers = asked_by_this_host(&rehearsal.check.options().resolver);
    let flow = |to| Flow::Out {
        transport: Transport::Udp,
        to,
    };
    servers.into_iter().map(flow).collect()
}

/// The session that is there, and the next one.
fn ssh(session: Session, tracked: bool) -> Vec<Flow> {
    let (from, port) = (session.peer, session.port);
    vec![
        Flow::Session {
            from,
            port,
            tracked,
        },
        Flow::In { from, port },
    ]
}

/// What a flow comes to, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answered {
    Open,
    Closed { flow: String, reason: String },
    Unknown(String),
}

impl Answered {
    fn note(self) -> Option<String> {
        match self {
            Self::Unknown(why) => Some(why),
            Self::Open | Self::Closed { .. } => None,
        }
    }
}

fn answered(flow: &Flow, answer: &Answer) -> Answered {
    let closed = |reason| Answered::Closed {
        flow: name(flow),
        reason,
    };
    match answer {
        Answer::Passes | Answer::Silent(_) => Answered::Open,
        Answer::Closed(closing) => closed(by(closing)),
        Answer::Conditional(Condition {
            rule,
            on: On::User,
            otherwise: Some(closing),
        }) => closed(format!(
            "{}; {} is about another user: rehearse as that one (--as-user NAME)",
            by(closing),
            shown(rule)
        )),
        Answer::Conditional(condition) => Answered::Unknown(format!(
            "whether {} passes depends on {}",
            kind(flow),
            shown(&condition.rule)
        )),
        Answer::Redirected(rule) => Answered::Unknown(format!(
            "{} is sent elsewhere by {}",
            kind(flow),
            shown(rule)
        )),
        Answer::Unclear(why) => {
            Answered::Unknown(format!("whether {} passes is not known: {why}", kind(flow)))
        }
    }
}

/// Flows that share a reason are counted.
fn refuse(answered: &[Answered]) -> Result<(), String> {
    let closed = answered.iter().filter_map(|one| match one {
        Answered::Closed { flow, reason } => Some((flow, reason)),
        _ => None,
    });
    let mut reasons: Vec<(&String, Vec<&String>)> = Vec::new();
    for (flow, reason) in closed {
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, flows)) => flows.push(flow),
            None => reasons.push((reason, vec![flow])),
        }
    }
    if reasons.is_empty() {
        return Ok(());
    }
    let lines = reasons
        .iter()
        .take(MOST_REASONS)
        .map(|(reason, flows)| match flows.as_slice() {
            [first, _, rest @ ..] if !rest.is_empty() => {
                format!("{first} and {} more {reason}", rest.len() + 1)
            }
            [first, second] => format!("{first} and {second} {reason}"),
            others => format!(
                "{} {reason}",
                others.iter().map(|flow| flow.as_str()).collect::<String>()
            ),
        });
    Err(lines.collect::<Vec<_>>().join("; "))
}

fn name(flow: &Flow) -> String {
    match flow {
        Flow::Out { transport, to } | Flow::Forwarded { transport, to } => {
            format!("{transport} to {to}")
        }
        Flow::In { from, port } => format!("a new SSH connection (TCP from {from} to port {port})"),
        Flow::Session { from, port, .. } => {
            format!("the present SSH session (TCP from {from} to port {port})")
        }
    }
}

/// Without the address: rules rarely tell those of the edge apart.
fn kind(flow: &Flow) -> String {
    match flow {
        Flow::Out { transport, to } => format!("{transport} to port {}", to.port()),
        other => name(other),
    }
}

fn by(closing: &Closing) -> String {
    let reply = match closing.direction {
        Direction::Request => "",
        Direction::Reply => "(its replies) ",
    };
    match &closing.by {
        What::Rule(rule) => format!("{reply}by {}", shown(rule)),
        What::Policy {
            family,
            table,
            chain,
            ..
        } => format!("{reply}by the policy of chain {chain} in table {family} {table}"),
    }
}

fn shown(rule: &Rule) -> String {
    let Rule {
        family,
        table,
        chain,
        number,
        text,
        ..
    } = rule;
    format!("rule {number} of chain {chain} in table {family} {table} (`{text}`)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    fn rule(text: &str) -> Rule {
        Rule {
            family: "inet".to_owned(),
            table: "host".to_owned(),
            chain: "out".to_owned(),
            handle: 7,
            number: 2,
            text: text.to_owned(),
            comment: None,
            source: None,
        }
    }

    fn closing(by: What) -> Closing {
        Closing {
            direction: Direction::Request,
            by,
        }
    }

    fn flow(to: &str) -> Flow {
        Flow::Out {
            transport: Transport::Udp,
            to: to.parse().unwrap(),
        }
    }

    #[test]
    fn flows_with_the_same_reason_are_counted() {
        let closed = Answer::Closed(closing(What::Rule(rule("drop"))));
        let of = |to| answered(&flow(to), &closed);
        let reason = "by rule 2 of chain out in table inet host (`drop`)";
        let (one, other) = (of("192.0.2.1:1"), of("192.0.2.2:2"));
        let both = [one.clone(), Answered::Open, other.clone()];
        let expected = format!("UDP to 192.0.2.1:1 and UDP to 192.0.2.2:2 {reason}");
        assert_eq!(refuse(&both), Err(expected));
        let three = [one, other.clone(), other];
        let expected = format!("UDP to 192.0.2.1:1 and 2 more {reason}");
        assert_eq!(refuse(&three), Err(expected));
        assert_eq!(refuse(&[Answered::Open]), Ok(()));
    }

    #[test]
    fn a_rule_for_another_user_closes_and_other_conditions_do_not() {
        let policy = || What::Policy {
            family: "inet".to_owned(),
            table: "host".to_owned(),
            chain: "out".to_owned(),
            source: None,
        };
        let conditional = |on| {
            let condition = Condition {
                rule: rule("meta skuid 999 accept"),
                on,
                otherwise: Some(closing(policy())),
            };
            answered(&flow("192.0.2.1:1"), &Answer::Conditional(condition))
        };
        let told = refuse(&[conditional(On::User)]).unwrap_err();
        assert!(told.contains("the policy of chain out") && told.contains("--as-user"));
        let limited = conditional(On::Limit);
        assert_eq!(refuse(std::slice::from_ref(&limited)), Ok(()));
        assert!(limited.note().is_some());
    }

    #[test]
    fn only_families_of_this_host_count() {
        let mut report = samples::ready();
        let all = tunnel(&report).len();
        assert!(all > 0);
        for row in &mut report.destinations {
            if row.family == Family::Ipv6 {
                row.status = Status::Unavailable;
            }
        }
        let v4 = tunnel(&report);
        assert!(v4.iter().all(|flow| flow.peer().is_ipv4()));
        assert!(!v4.is_empty() && v4.len() <= all);
    }
}
