//! Rules of packet filters, judged by the kernel.

use std::net::SocketAddr;

use super::fate::{Fate, Target};
use super::filters::{FilterFormat, Filters};
use super::viewpoint::Viewpoint;
use crate::oracle::{
    self, Answer, Closing, Condition, Context, Direction, Entry, Flow, Format, On, OracleError,
    Part, Question, Rule, Silence, StandIn, User, What,
};

/// Whether the rules can be tried at all: it is known before anything is sent.
///
/// # Errors
/// Rules that do not load, or a trial that cannot be made here.
pub fn verify(filters: &Filters, viewpoint: &Viewpoint) -> Result<(), OracleError> {
    ask(filters, viewpoint, Vec::new()).map(|_| ())
}

/// What the rules do with the destinations, in their order, and what was assumed for it.
///
/// # Errors
/// As for [`verify`].
pub(super) fn judge(
    filters: &Filters,
    viewpoint: &Viewpoint,
    targets: &[Target<'_>],
) -> Result<(Vec<Fate>, Vec<String>), OracleError> {
    let flows: Vec<_> = targets
        .iter()
        .map(|target| flow(target, viewpoint))
        .collect();
    let answers = ask(filters, viewpoint, flows.clone())?;
    let fates = flows
        .iter()
        .zip(answers.flows)
        .map(|(flow, answer)| fate(filters, flow, answer));
    let fates = fates.collect();
    Ok((fates, answers.stand_ins.iter().map(assumed).collect()))
}

impl Filters {
    /// The parts as the kernel is asked about them.
    #[must_use]
    pub fn for_kernel(&self) -> Vec<Part> {
        let parts = self.parts.iter().map(|part| Part {
            name: part.name.clone(),
            format: match part.format {
                FilterFormat::Nft => Format::Nft,
                FilterFormat::Iptables => Format::Iptables,
                FilterFormat::Ip6tables => Format::Ip6tables,
            },
            text: part.text.clone(),
        });
        parts.collect()
    }
}

fn ask(
    filters: &Filters,
    viewpoint: &Viewpoint,
    flows: Vec<Flow>,
) -> Result<oracle::Answers, OracleError> {
    let user = viewpoint.user.as_deref().map_or(User::Own, User::named);
    let entry = viewpoint.container.as_ref().map(|container| Entry {
        interface: container.way_in(filters),
        ipv4: container.ipv4,
        ipv6: container.ipv6,
    });
    let context = Context {
        entry,
        ..Context::of_host(user)
    };
    oracle::ask(&Question {
        parts: filters.for_kernel(),
        context,
        flows,
    })
}

fn flow(target: &Target<'_>, viewpoint: &Viewpoint) -> Flow {
    let to = SocketAddr::new(target.address, target.port);
    let transport = target.transport;
    match viewpoint.container {
        None => Flow::Out { transport, to },
        Some(_) => Flow::Forwarded { transport, to },
    }
}

/// What is in force is all that there is, so that what it does not speak of is let out.
fn fate(filters: &Filters, flow: &Flow, answer: Answer) -> Fate {
    match answer {
        Answer::Passes => Fate::Open,
        Answer::Silent(_) if filters.in_force => Fate::Open,
        Answer::Silent(Silence::NoChain) => Fate::NotInFile(format!(
            "no chain is hooked to {} for {}",
            flow.hook(),
            flow.family()
        )),
        Answer::Silent(Silence::EmptyChain) => Fate::NotInFile(format!(
            "the chains of {} for {} have no rule, only the policy accept",
            flow.hook(),
            flow.family()
        )),
        Answer::Closed(closing) => closed(filters, &closing),
        Answer::Conditional(condition) => Fate::Conditional(conditional(filters, &condition)),
        Answer::Redirected(rule) => Fate::Unclear(format!(
            "sent to another address, and whether that one passes it on is not known: {}",
            named(filters, &rule)
        )),
        Answer::Unclear(why) => Fate::Unclear(why),
    }
}

fn closed(filters: &Filters, closing: &Closing) -> Fate {
    let why = by_what(filters, closing);
    match closing.by {
        What::Rule(_) => Fate::Closed(why),
        What::Policy { .. } => Fate::Missing(Some(why)),
    }
}

fn by_what(filters: &Filters, closing: &Closing) -> String {
    let packets = match closing.direction {
        Direction::Request => "",
        Direction::Reply => "its replies: ",
    };
    let by = match &closing.by {
        What::Rule(rule) => named(filters, rule),
        What::Policy {
            family,
            table,
            chain,
            source,
        } => {
            format!(
                "no rule lets it pass the chain {chain} of {family} {table}, whose policy is drop{}",
                place(filters, *source)
            )
        }
    };
    format!("{packets}{by}")
}

fn conditional(filters: &Filters, condition: &Condition) -> String {
    let on = condition.on.as_str();
    let hint = match condition.on {
        On::User => " (--as-user NAME asks for another)",
        _ => "",
    };
    let otherwise = condition
        .otherwise
        .as_ref()
        .map(|closing| by_what(filters, closing));
    let otherwise = otherwise.map_or_else(String::new, |by| format!("; otherwise closed: {by}"));
    format!(
        "depends on {on}{hint}: {}{otherwise}",
        named(filters, &condition.rule)
    )
}

fn named(filters: &Filters, rule: &Rule) -> String {
    format!(
        "`{}` (rule {} of the chain {} of {} {}{})",
        rule.text,
        rule.number,
        rule.chain,
        rule.family,
        rule.table,
        place(filters, rule.source)
    )
}

fn place(filters: &Filters, source: Option<(usize, usize)>) -> String {
    let place = source.and_then(|(part, line)| Some((filters.parts.get(part)?, line)));
    place.map_or_else(String::new, |(part, line)| {
        format!(", {} line {line}", part.name)
    })
}

fn assumed(stand_in: &StandIn) -> String {
    match stand_in {
        StandIn::User(name, id) => {
            format!(
                "The user or group {name}, which this host lacks, was the number {id} in the trial."
            )
        }
        StandIn::Interface(name) => {
            format!("The interface {name}, which this host lacks, was made for the trial.")
        }
    }
}
