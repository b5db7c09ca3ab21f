//! What was seen, as answers.

use super::OracleError;
use super::answer::{Answer, Closing, Condition, Direction, Rule, Silence, What};
use super::conditions::{self, Lever};
use super::listing::{Chain, Listing, comment};
use super::question::{Flow, Format, Part};
use super::saved::{self, SavedRule};
use super::sources::{self, Sources};
use super::tools::Tools;
use super::trace::{Event, Verdict};
use super::trial::{End, Seen};
use crate::model::Family;

/// What is known about the rules as they were given.
pub(super) struct Judge {
    pub(super) listing: Listing,
    saved: Vec<Saved>,
}

/// A part of iptables.
struct Saved {
    part: usize,
    family: &'static str,
    lines: Vec<String>,
    rules: Vec<SavedRule>,
    policies: Vec<(String, String, usize)>,
}

impl Judge {
    pub(super) fn new(listing: Listing, parts: &[Part]) -> Self {
        let saved = parts
            .iter()
            .enumerate()
            .filter_map(|(part, Part { format, text, .. })| {
                let family = match format {
                    Format::Nft => return None,
                    Format::Iptables => "ip",
                    Format::Ip6tables => "ip6",
                };
                let (rules, policies) = saved::read(text)?;
                Some(Saved {
                    part,
                    family,
                    lines: text.lines().map(|line| line.trim().to_owned()).collect(),
                    rules,
                    policies,
                })
            });
        let saved = saved.collect();
        Self { listing, saved }
    }

    /// The levers of the chains that nft made.
    pub(super) fn levers(&self) -> Vec<Lever> {
        let chains = self.listing.chains.iter();
        let of_nft = chains.filter(|chain| self.saved(chain).is_none());
        of_nft
            .flat_map(|chain| conditions::of_chain(chain, &self.listing.open_sets))
            .collect()
    }

    /// The part of iptables that has made a chain, and its rules there, one for each of the chain's.
    fn saved(&self, chain: &Chain) -> Option<(&Saved, Vec<&SavedRule>)> {
        self.saved.iter().rev().find_map(|saved| {
            let of_chain =
                |rule: &&SavedRule| rule.table == chain.table && rule.chain == chain.name;
            let named = saved.policies.iter();
            let mut named =
                named.filter(|(table, name, _)| *table == chain.table && *name == chain.name);
            let rules: Vec<_> = saved.rules.iter().filter(of_chain).collect();
            let is_it = saved.family == chain.family
                && rules.len() == chain.rules.len()
                && (named.next().is_some() || !rules.is_empty());
            is_it.then_some((saved, rules))
        })
    }

    /// What a flow met, with the rules that were in force then.
    pub(super) fn answer(&self, seen: &Seen, now: &Listing) -> Answer {
        if seen.end == Some(End::Through) {
            return Answer::Passes;
        }
        if let Some((event, is_reply)) = seen.dropped() {
            let direction = if *is_reply {
                Direction::Reply
            } else {
                Direction::Request
            };
            return match self.what(event, now) {
                Some(by) => Answer::Closed(Closing { direction, by }),
                None => {
                    Answer::Unclear(format!("a rule of the chain {} is not known", event.chain))
                }
            };
        }
        let rules = seen
            .met
            .iter()
            .filter_map(|(event, _)| match self.what(event, now)? {
                What::Rule(rule) => Some((event, rule)),
                What::Policy { .. } => None,
            });
        let rules: Vec<_> = rules.collect();
        if let Some((_, rule)) = rules.iter().rev().find(|(_, rule)| redirects(&rule.text)) {
            return Answer::Redirected(rule.clone());
        }
        if let Some((_, rule)) = rules
            .iter()
            .find(|(event, _)| event.verdict == Verdict::Queue)
        {
            return Answer::Unclear(format!(
                "a rule asks a program (table {}, `{}`)",
                rule.table, rule.text
            ));
        }
        Answer::Unclear(match &seen.end {
            Some(End::Elsewhere(who)) => format!("{who} answered"),
            Some(End::Failed(why)) => why.clone(),
            _ => "no reply came, and no rule was seen that closes the flow".to_owned(),
        })
    }

    fn what(&self, event: &Event, now: &Listing) -> Option<What> {
        let (family, table, name) = (event.family, &event.table, &event.chain);
        let chain = self.listing.chain(family, table, name)?;
        let Some(handle) = event.rule else {
            return Some(self.policy(chain));
        };
        let (_, index) = now.find(family, table, name, handle)?;
        self.rule(chain, index).map(What::Rule)
    }

    fn policy(&self, chain: &Chain) -> What {
        let source = self.saved(chain).and_then(|(saved, _)| {
            let policies = saved.policies.iter();
            let mut policies =
                policies.filter(|(table, name, _)| *table == chain.table && *name == chain.name);
            Some((saved.part, policies.next()?.2 + 1))
        });
        What::Policy {
            family: chain.family.clone(),
            table: chain.table.clone(),
            chain: chain.name.clone(),
            source,
        }
    }

    fn rule(&self, chain: &Chain, index: usize) -> Option<Rule> {
        let listed = chain.rules.get(index)?;
        let saved = self.saved(chain).map(|(saved, rules)| {
            let line = rules[index].line;
            (saved.lines[line].clone(), (saved.part, line + 1))
        });
        let (text, source) = saved.map_or((listed.text.clone(), None), |(text, source)| {
            (text, Some(source))
        });
        Some(Rule {
            family: chain.family.clone(),
            table: chain.table.clone(),
            chain: chain.name.clone(),
            handle: listed.handle,
            number: index + 1,
            comment: comment(&text),
            text,
            source,
        })
    }

    /// Takes up what a flow met when a condition held, where that makes a difference.
    pub(super) fn compare(&self, lever: &Lever, answer: &mut Answer, after: Answer) {
        let otherwise = match (&*answer, &after) {
            (Answer::Closed(closing), Answer::Passes)
            | (Answer::Passes, Answer::Closed(closing)) => closing,
            (_, Answer::Unclear(_)) => {
                *answer = after;
                return;
            }
            _ => return,
        };
        let chain = self
            .listing
            .chain(&lever.family, &lever.table, &lever.chain);
        if let Some(rule) = chain.and_then(|chain| self.rule(chain, lever.index)) {
            *answer = Answer::Conditional(Condition {
                rule,
                on: lever.on,
                otherwise: Some(otherwise.clone()),
            });
        }
    }

    /// How the rules do not speak of a flow.
    pub(super) fn silence(&self, flow: &Flow) -> Option<Silence> {
        let own = match flow.family() {
            Family::Ipv4 => "ip",
            Family::Ipv6 => "ip6",
        };
        let speaks = |chain: &&Chain| {
            let Some(base) = chain.base.as_ref().filter(|base| base.kind != "nat") else {
                return false;
            };
            let here = chain.family == own || chain.family == "inet";
            let leaving = matches!(flow, Flow::Out { .. })
                && chain.family == "netdev"
                && base.hook == "egress";
            (here && base.hook == flow.hook()) || leaving
        };
        let mut chains = self.listing.chains.iter().filter(speaks).peekable();
        if chains.peek().is_none() {
            return Some(Silence::NoChain);
        }
        let empty = chains.all(|chain| {
            chain.rules.is_empty() && chain.base.as_ref().is_some_and(|base| !base.drops)
        });
        empty.then_some(Silence::EmptyChain)
    }

    /// Finds the lines of rules of nft, with one more load, if there is something to find.
    pub(super) fn add_sources(
        answers: &mut [Answer],
        parts: &[Part],
        tools: &Tools,
    ) -> Result<(), OracleError> {
        let mut rules: Vec<&mut Rule> = Vec::new();
        for answer in answers {
            let closing = match answer {
                Answer::Closed(closing) => Some(closing),
                Answer::Conditional(condition) => {
                    rules.push(&mut condition.rule);
                    condition.otherwise.as_mut()
                }
                Answer::Redirected(rule) => {
                    rules.push(rule);
                    None
                }
                _ => None,
            };
            match closing.map(|closing| &mut closing.by) {
                Some(What::Rule(rule)) => rules.push(rule),
                Some(What::Policy { chain, source, .. }) if source.is_none() => {
                    *source = sources::of_chain(parts, chain);
                }
                _ => {}
            }
        }
        rules.retain(|rule| rule.source.is_none());
        if rules.is_empty() || !parts.iter().any(|part| part.format == Format::Nft) {
            return Ok(());
        }
        let sources = Sources::find(parts, tools)?;
        for rule in rules {
            rule.source = sources.of_rule(&rule.family, &rule.table, &rule.chain, rule.handle);
        }
        Ok(())
    }
}

/// Whether a rule changes the destination.
fn redirects(text: &str) -> bool {
    let mut words = text.split_whitespace();
    words.any(|word| {
        matches!(
            word,
            "redirect" | "dnat" | "tproxy" | "REDIRECT" | "DNAT" | "TPROXY"
        )
    })
}
