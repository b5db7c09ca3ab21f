//! The rules in force, tried by the kernel.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::process::{Command, Stdio};

use super::Failed;
use super::routes::Routing;
use crate::model::{OwnFate, OwnFlow, OwnRule, OwnRules};
use crate::oracle::{self, Answer, Closing, Context, Direction, Flow, Question, Rule, User, What};
use crate::rules::check::{Filters, in_force};

/// What is known of the flows. The thread that calls must live as long as the trial does.
pub(super) fn ask(failed: &[Failed], bind: Option<IpAddr>) -> OwnRules {
    let mut flows = forbidden_by_routes(failed);
    let filtered: Vec<_> = failed.iter().filter(|f| f.no_route.is_none()).collect();
    if filtered.is_empty() {
        return OwnRules::Tried { flows };
    }
    if !nix::unistd::geteuid().is_root() {
        return OwnRules::NotPermitted { flows };
    }
    match in_force().and_then(|filters| tried(&filters, &filtered, bind)) {
        Ok(tried) => {
            flows.extend(tried);
            OwnRules::Tried { flows }
        }
        Err(reason) => OwnRules::Failed { reason, flows },
    }
}

/// One trial for each interface by which flows leave.
fn tried(
    filters: &Filters,
    failed: &[&Failed],
    bind: Option<IpAddr>,
) -> Result<Vec<OwnFlow>, String> {
    if filters.parts.iter().all(|part| part.text.trim().is_empty()) {
        let passes = |flow: &&Failed| own_flow(flow, OwnFate::Passes);
        return Ok(failed.iter().map(passes).collect());
    }
    let mut groups = BTreeMap::<String, Vec<(&Failed, IpAddr)>>::new();
    for flow in failed {
        if let Some((interface, own)) = oracle::way_out(flow.to, bind) {
            groups.entry(interface).or_default().push((flow, own));
        }
    }
    let mut flows = Vec::new();
    for (interface, group) in groups {
        let question = question(filters, interface, &group);
        let answers = oracle::ask(&question).map_err(|why| why.to_string())?;
        let fates = answers.flows.into_iter().map(fate);
        let pairs = group.iter().zip(fates);
        flows.extend(pairs.map(|((flow, _), fate)| own_flow(flow, fate)));
    }
    Ok(flows)
}

fn question(filters: &Filters, interface: String, group: &[(&Failed, IpAddr)]) -> Question {
    let mut context = Context::of_host(User::Own);
    context.interface = interface;
    for (_, own) in group {
        match own {
            IpAddr::V4(own) => context.ipv4 = *own,
            IpAddr::V6(own) => context.ipv6 = *own,
        }
    }
    let flows = group.iter().map(|(flow, _)| Flow::Out {
        transport: flow.transport,
        to: flow.to,
    });
    Question {
        parts: filters.for_kernel(),
        context,
        flows: flows.collect(),
    }
}

const fn own_flow(flow: &Failed, fate: OwnFate) -> OwnFlow {
    OwnFlow {
        address: flow.to.ip(),
        port: flow.to.port(),
        transport: flow.transport,
        fate,
    }
}

fn fate(answer: Answer) -> OwnFate {
    match answer {
        Answer::Passes | Answer::Silent(_) => OwnFate::Passes,
        Answer::Closed(Closing { direction, by }) => OwnFate::Closed {
            replies: direction == Direction::Reply,
            rule: match by {
                What::Rule(rule) => own_rule(rule),
                What::Policy {
                    family,
                    table,
                    chain,
                    ..
                } => OwnRule {
                    family,
                    table,
                    chain,
                    number: None,
                    text: "policy drop".to_owned(),
                    comment: None,
                },
            },
        },
        Answer::Conditional(condition) => OwnFate::Conditional {
            on: condition.on.as_str().to_owned(),
            rule: own_rule(condition.rule),
        },
        Answer::Redirected(rule) => OwnFate::Redirected {
            rule: own_rule(rule),
        },
        Answer::Unclear(reason) => OwnFate::Unclear { reason },
    }
}

fn own_rule(rule: Rule) -> OwnRule {
    /// Longer than a rule that a person reads.
    const LONGEST: usize = 400;
    let short = |text: String| text.chars().take(LONGEST).collect();
    OwnRule {
        family: rule.family,
        table: rule.table,
        chain: rule.chain,
        number: Some(rule.number),
        text: short(rule.text),
        comment: rule.comment.map(short),
    }
}

/// The flows that a closing route or a rule of policy routing refuses. It needs no root.
fn forbidden_by_routes(failed: &[Failed]) -> Vec<OwnFlow> {
    if failed.iter().all(|flow| flow.no_route.is_none()) {
        return Vec::new();
    }
    let routing = ["-4", "-6"].map(|family| Routing {
        rules: ip(&[family, "rule", "show"]),
        routes: ip(&[family, "route", "show", "table", "all"]),
    });
    let user = nix::unistd::geteuid().as_raw();
    let [v4, v6] = &routing;
    let named = failed.iter().filter_map(|flow| {
        let own = if flow.to.is_ipv4() { v4 } else { v6 };
        let text = own.closing(flow, user)?;
        Some(own_flow(flow, OwnFate::Route { text }))
    });
    named.collect()
}

/// What `ip` prints; nothing if it is missing or fails.
fn ip(arguments: &[&str]) -> String {
    let output = oracle::program("ip").and_then(|path| {
        let mut command = Command::new(path);
        let command = command.args(arguments).env("LANG", "C");
        command.stdin(Stdio::null()).output().ok()
    });
    output.map_or_else(String::new, |output| {
        String::from_utf8_lossy(&output.stdout).into_owned()
    })
}
