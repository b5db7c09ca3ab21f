//! The rules in force, tried by the kernel.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::{Command, Stdio};

use super::Failed;
use super::routes::Routing;
use crate::model::{OwnFate, OwnFlow, OwnRule, OwnRules};
use crate::oracle::{
    self, Answer, Closing, Context, Direction, Flow, Format, On, Part, Question, Rule, User, What,
};
use crate::rules::check::{FilterFormat, Filters, in_force};

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

/// The interface and the source address of a flow: rules may look at both.
type WayOut = (String, IpAddr);

fn way_out(to: SocketAddr, bind: Option<IpAddr>) -> Option<WayOut> {
    let bind = bind.filter(|own| own.is_ipv4() == to.is_ipv4());
    let any = if to.is_ipv4() { "0.0.0.0" } else { "::" };
    let from = bind.or_else(|| any.parse().ok())?;
    let socket = UdpSocket::bind((from, 0)).ok()?;
    // Nothing is sent: the kernel looks up the route.
    socket.connect(to).ok()?;
    let own = socket.local_addr().ok()?.ip();
    let interfaces = nix::ifaddrs::getifaddrs().ok()?;
    let mut named = interfaces.filter(|interface| {
        let address = interface.address;
        let v4 = address.and_then(|a| a.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip())));
        let v6 = address.and_then(|a| a.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())));
        v4.or(v6) == Some(own)
    });
    Some((named.next()?.interface_name, own))
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
        if let Some((interface, own)) = way_out(flow.to, bind) {
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
    let parts = filters.parts.iter().map(|part| Part {
        name: part.name.clone(),
        format: match part.format {
            FilterFormat::Nft => Format::Nft,
            FilterFormat::Iptables => Format::Iptables,
            FilterFormat::Ip6tables => Format::Ip6tables,
        },
        text: part.text.clone(),
    });
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
        parts: parts.collect(),
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
            on: match condition.on {
                On::Limit => "how much was sent before",
                On::Mark => "a mark",
                On::Cgroup => "a control group",
                On::User => "the user",
                On::Interface => "the interface",
                On::Set => "a set that is filled from elsewhere",
                On::Time => "the time",
            }
            .to_owned(),
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
    let folders = ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip", "/bin/ip"];
    let output = folders.iter().find_map(|path| {
        let mut command = Command::new(path);
        let command = command.args(arguments).env("LANG", "C");
        command.stdin(Stdio::null()).output().ok()
    });
    output.map_or_else(String::new, |output| {
        String::from_utf8_lossy(&output.stdout).into_owned()
    })
}
