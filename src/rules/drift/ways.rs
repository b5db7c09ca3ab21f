//! The rules of a file in the order in which a firewall asks them, and what comes of a flow there.
//!
//! What is not understood is never guessed: a rule that may be about a flow leaves open both what it
//! says and what comes after it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::BitOr;

use super::permit::{Fit, Permit, Said};
use crate::model::{Family, Transport};

/// What a rule says about a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is let out.
    Accept,
    /// It is kept in.
    Deny,
    /// The rules of another chain are asked, then those that follow.
    Jump(String),
    /// The rules of another chain are asked instead of those that follow.
    Goto(String),
    /// The rules that follow are not asked.
    Return,
    /// Nobody knows: another table, a queue, rules that are not in the file.
    Unknown,
}

/// A rule at its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// What it is about: any of these.
    pub(super) rules: Vec<Permit>,
    /// What it says.
    pub(super) verdict: Verdict,
    /// False where a later rule outweighs it, as in pf.
    pub(super) quick: bool,
    /// Rules of a smaller rank are asked first; those of the same in the order of the file.
    pub(super) rank: i64,
    /// Which of several machines it is for, where the file says so.
    pub(super) scope: Option<String>,
}

impl Step {
    /// A rule whose place is that of the file.
    pub(super) fn new(verdict: Verdict, rules: Vec<Permit>) -> Self {
        Self {
            rules,
            verdict,
            quick: true,
            rank: 0,
            scope: None,
        }
    }

    /// Whether it says the same of the same flows, wherever it stands in the file.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let bare = |step: &Self| {
            let rules = step.rules.iter().map(|rule| Permit { line: 0, ..*rule });
            (step.verdict.clone(), rules.collect::<Vec<_>>())
        };
        bare(self) == bare(other)
    }

    /// Whether it holds is not known.
    pub(super) fn doubt(&mut self) {
        self.rules
            .iter_mut()
            .for_each(|rule| rule.conditional = true);
    }

    pub(super) fn ranked(self, rank: i64) -> Self {
        Self { rank, ..self }
    }

    /// Whether the rule is for everything: the one that closes what no other has let out.
    fn is_total(&self) -> bool {
        let total = |rule: &Permit| {
            rule.block.is_everything() && rule.transport == Said::Any && rule.ports == Said::Any
        };
        self.rules.iter().any(total)
    }

    fn fit(&self, flow: Flow) -> Fit {
        let (address, transport, port) = flow;
        let fits = self.rules.iter().map(|r| r.fit(address, transport, port));
        fits.max().unwrap_or(Fit::No)
    }
}

/// What comes of a flow that no rule is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Policy {
    /// It is let out.
    Accept,
    /// It is kept in.
    Deny,
    /// The file does not say.
    #[default]
    Unsaid,
}

/// A chain that flows have to pass on their way out.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hook {
    chain: String,
    /// Of one family alone.
    family: Option<Family>,
    policy: Policy,
    /// False where letting out says nothing: tables beside the filter, which can only keep in.
    decides: bool,
    /// True where nothing in the file leads to the chain.
    loose: bool,
}

/// All chains of a file, and those that flows begin in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ways {
    chains: BTreeMap<String, Vec<Step>>,
    hooks: Vec<Hook>,
    /// Chains that other packets begin in.
    elsewhere: BTreeSet<String>,
}

/// Where to, over what, to which port.
type Flow = (IpAddr, Transport, u16);

/// Everything that may come of a flow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Outcomes {
    /// A rule may let it out.
    pub(super) accept: bool,
    /// A rule, or the policy, may keep it in.
    pub(super) deny: bool,
    /// No rule may be about it.
    pub(super) end: bool,
}

impl Outcomes {
    const ACCEPT: Self = Self {
        accept: true,
        deny: false,
        end: false,
    };
    const DENY: Self = Self {
        accept: false,
        deny: true,
        end: false,
    };
    const END: Self = Self {
        accept: false,
        deny: false,
        end: true,
    };
    const ANY: Self = Self {
        accept: true,
        deny: true,
        end: true,
    };
}

impl BitOr for Outcomes {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self {
            accept: self.accept || other.accept,
            deny: self.deny || other.deny,
            end: self.end || other.end,
        }
    }
}

/// How many chains may call each other; kernels allow 16.
const DEEPEST: usize = 16;

impl Ways {
    /// The rules of a chain, which is made where it is not there.
    pub(super) fn chain(&mut self, name: &str) -> &mut Vec<Step> {
        self.chains.entry(name.to_owned()).or_default()
    }

    /// Whether a chain is there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.chains.contains_key(name)
    }

    /// The names of all chains.
    pub(super) fn names(&self) -> Vec<String> {
        self.chains.keys().cloned().collect()
    }

    /// Forgets the chains for which that is so.
    pub(super) fn forget(&mut self, is_gone: impl Fn(&str) -> bool) {
        self.chains.retain(|name, _| !is_gone(name));
        self.hooks.retain(|hook| !is_gone(&hook.chain));
    }

    /// Flows begin in a chain; a later policy replaces an earlier one.
    pub(super) fn hook(
        &mut self,
        chain: &str,
        family: Option<Family>,
        policy: Policy,
        decides: bool,
    ) {
        self.chain(chain);
        if let Some(hook) = self.hooks.iter_mut().find(|hook| hook.chain == chain) {
            hook.policy = policy;
            return;
        }
        self.hooks.push(Hook {
            chain: chain.to_owned(),
            family,
            policy,
            decides,
            loose: false,
        });
    }

    /// Other packets begin in a chain, so that what it leads to is not unreached.
    pub(super) fn elsewhere(&mut self, chain: &str) {
        self.chain(chain);
        self.elsewhere.insert(chain.to_owned());
    }

    /// Whether flows begin in a chain.
    pub(super) fn is_hook(&self, chain: &str) -> bool {
        self.hooks.iter().any(|hook| hook.chain == chain)
    }

    /// A chain that nothing in the file leads to may be reached all the same.
    pub(super) fn loose(&mut self, chain: &str, family: Option<Family>) {
        self.hooks.push(Hook {
            chain: chain.to_owned(),
            family,
            policy: Policy::Unsaid,
            decides: true,
            loose: true,
        });
    }

    /// The rules that let something out, wherever a flow may come to them.
    pub(super) fn accepts(&self) -> Vec<Permit> {
        let mut reached = BTreeSet::new();
        let mut open: Vec<&str> = self.hooks.iter().map(|hook| hook.chain.as_str()).collect();
        let mut accepts = Vec::new();
        while let Some(chain) = open.pop() {
            if !reached.insert(chain) {
                continue;
            }
            for step in self.chains.get(chain).into_iter().flatten() {
                match &step.verdict {
                    Verdict::Accept => accepts.extend(&step.rules),
                    Verdict::Jump(to) | Verdict::Goto(to) => open.push(to),
                    Verdict::Deny | Verdict::Return | Verdict::Unknown => {}
                }
            }
        }
        accepts
    }

    /// Makes rules doubtful whose scope is one of several.
    pub(super) fn doubt_scopes(&mut self) {
        let steps = || self.chains.values().flatten();
        let scopes: BTreeSet<_> = steps().filter_map(|step| step.scope.clone()).collect();
        if scopes.len() < 2 {
            return;
        }
        for step in self
            .chains
            .values_mut()
            .flatten()
            .filter(|step| step.scope.is_some())
        {
            step.doubt();
        }
    }

    /// The chains that no rule leads to and no flow begins in.
    pub(super) fn unreached(&self) -> Vec<String> {
        let is_called = |name: &String| {
            let mut steps = self.chains.values().flatten();
            steps.any(
                |step| matches!(&step.verdict, Verdict::Jump(to) | Verdict::Goto(to) if to == name),
            )
        };
        let begins = |name: &String| self.is_hook(name) || self.elsewhere.contains(name);
        let names = self
            .chains
            .keys()
            .filter(|name| !is_called(name) && !begins(name));
        names.cloned().collect()
    }

    /// Puts the rules of every chain into their order.
    pub(super) fn sort(&mut self) {
        for steps in self.chains.values_mut() {
            steps.sort_by_key(|step| step.rank);
        }
    }

    /// Whether what no rule lets out is kept in: the file is the whole of the firewall.
    pub(super) fn is_closed(&self) -> bool {
        let closes = |hook: &Hook| {
            let steps = self.chains.get(&hook.chain).into_iter().flatten();
            let mut denials = steps.filter(|step| step.verdict == Verdict::Deny);
            hook.policy == Policy::Deny || denials.any(Step::is_total)
        };
        self.hooks.iter().any(closes)
    }

    /// Everything that may come of a flow. All chains in which it begins have to let it pass, and one
    /// of them has to let it out.
    pub(super) fn outcomes(&self, address: IpAddr, transport: Transport, port: u16) -> Outcomes {
        let family = Family::of(address);
        let mut all = Outcomes::default();
        let mut let_out = false;
        let passed = self
            .hooks
            .iter()
            .filter(|hook| hook.family.is_none_or(|own| own == family));
        for hook in passed {
            let mut own = self.ask(&hook.chain, (address, transport, port), 0);
            if own.end && hook.policy == Policy::Deny {
                own = Outcomes { end: false, ..own } | Outcomes::DENY;
            }
            own.end |= hook.loose;
            if own == Outcomes::DENY {
                return own;
            }
            own.accept &= hook.decides;
            let_out |= own == Outcomes::ACCEPT;
            // What the policy lets out is let out by no rule, so that others may well be needed.
            own.accept |= own.end && hook.decides && hook.policy == Policy::Accept;
            all = all | own;
        }
        all.end = !let_out && (all.end || !all.accept && !all.deny);
        all
    }

    fn ask(&self, chain: &str, flow: Flow, depth: usize) -> Outcomes {
        let Some(steps) = self.chains.get(chain).filter(|_| depth < DEEPEST) else {
            return Outcomes::ANY;
        };
        let mut settled = Outcomes::default();
        let mut latest = Outcomes::END;
        for step in steps {
            let fit = step.fit(flow);
            if fit == Fit::No {
                continue;
            }
            let said = match &step.verdict {
                Verdict::Accept => Outcomes::ACCEPT,
                Verdict::Deny => Outcomes::DENY,
                Verdict::Return => Outcomes::END,
                Verdict::Unknown => Outcomes::ANY,
                Verdict::Jump(to) | Verdict::Goto(to) => self.ask(to, flow, depth + 1),
            };
            if !step.quick {
                latest = if fit == Fit::Yes { said } else { latest | said };
                continue;
            }
            let goes_on = said.end && matches!(step.verdict, Verdict::Jump(_));
            let own = Outcomes {
                end: said.end && !goes_on,
                ..said
            };
            settled = settled | own;
            if fit == Fit::Yes && !goes_on {
                return settled;
            }
        }
        settled | latest
    }
}

/// The rank of a rule where one that denies outweighs all others.
pub(super) const fn denial_first(accepts: bool) -> i64 {
    accepts as i64
}

/// The rank of a rule of a list that says nothing about its order: a denial that has an aim comes
/// first, and the one that closes the rest comes last.
pub(super) fn unordered(step: Step) -> Step {
    let rank = match step.verdict {
        Verdict::Accept => 1,
        _ if step.is_total() => 2,
        _ => 0,
    };
    step.ranked(rank)
}

#[cfg(test)]
mod tests {
    use super::super::block::Block;
    use super::*;

    fn rule(block: &str, ports: Said<(u16, u16)>, conditional: bool) -> Vec<Permit> {
        vec![Permit {
            block: Block::parse(block).unwrap(),
            transport: Said::Any,
            ports,
            conditional,
            line: 1,
        }]
    }

    const EDGE: Said<(u16, u16)> = Said::Only((7844, 7844));

    /// What comes of TCP 7844, where `a` is what is asked first.
    fn outcomes(steps: Vec<(&str, Step)>, policy: Policy) -> (bool, bool, bool) {
        let mut ways = Ways::default();
        ways.hook("a", None, policy, true);
        for (chain, step) in steps {
            ways.chain(chain).push(step);
        }
        let came = ways.outcomes("198.41.192.7".parse().unwrap(), Transport::Tcp, 7844);
        (came.accept, came.deny, came.end)
    }

    fn sure(verdict: Verdict) -> Step {
        Step::new(verdict, rule("0.0.0.0/0", EDGE, false))
    }

    fn perhaps(verdict: Verdict) -> Step {
        Step::new(verdict, rule("0.0.0.0/0", EDGE, true))
    }

    #[test]
    fn the_first_rule_that_is_about_a_flow_decides() {
        use Verdict::{Accept, Deny, Goto, Jump, Return, Unknown};
        let (yes, no, neither) = (
            (true, false, false),
            (false, true, false),
            (false, false, true),
        );
        let jump = || Jump("b".into());
        let goto = || Goto("b".into());
        for (steps, expected) in [
            (vec![("a", sure(Accept)), ("a", sure(Deny))], yes),
            (vec![("a", sure(Deny)), ("a", sure(Accept))], no),
            (
                vec![("a", perhaps(Deny)), ("a", sure(Accept))],
                (true, true, false),
            ),
            (vec![("a", perhaps(Accept))], (true, false, true)),
            (
                vec![("a", sure(Unknown)), ("a", sure(Accept))],
                (true, true, true),
            ),
            (
                vec![("a", sure(jump())), ("b", sure(Accept)), ("a", sure(Deny))],
                yes,
            ),
            (
                vec![("a", sure(jump())), ("b", sure(Return)), ("a", sure(Deny))],
                no,
            ),
            (
                vec![("a", sure(goto())), ("b", sure(Return)), ("a", sure(Deny))],
                neither,
            ),
            (
                vec![("a", perhaps(jump())), ("b", sure(Accept))],
                (true, false, true),
            ),
            // A chain that the file does not hold, and one that calls itself.
            (vec![("a", sure(jump()))], (true, true, true)),
            (vec![("a", sure(Jump("a".into())))], (true, true, true)),
            (vec![("b", sure(Accept))], neither),
        ] {
            assert_eq!(
                outcomes(steps.clone(), Policy::Unsaid),
                expected,
                "{steps:?}"
            );
        }
        assert_eq!(outcomes(vec![], Policy::Deny), no);
        assert_eq!(outcomes(vec![], Policy::Accept), (true, false, true));
    }

    #[test]
    fn the_last_rule_decides_unless_one_is_quick() {
        use Verdict::{Accept, Deny};
        let slow = |step: Step| {
            (
                "a",
                Step {
                    quick: false,
                    ..step
                },
            )
        };
        let (yes, no) = ((true, false, false), (false, true, false));
        let of = |steps| outcomes(steps, Policy::Unsaid);
        assert_eq!(of(vec![slow(sure(Deny)), slow(sure(Accept))]), yes);
        assert_eq!(of(vec![slow(sure(Accept)), slow(sure(Deny))]), no);
        assert_eq!(of(vec![("a", sure(Accept)), slow(sure(Deny))]), yes);
        assert_eq!(
            of(vec![slow(sure(Accept)), slow(perhaps(Deny))]),
            (true, true, false)
        );
    }

    #[test]
    fn every_chain_in_the_way_has_to_let_a_flow_pass() {
        use Verdict::{Accept, Deny};
        let of = |steps: Vec<(&str, Step)>, second: Policy| {
            let mut ways = Ways::default();
            ways.hook("a", None, Policy::Deny, true);
            ways.hook("b", Some(Family::Ipv4), second, false);
            ways.hook("c", Some(Family::Ipv6), Policy::Deny, true);
            for (chain, step) in steps {
                ways.chain(chain).push(step);
            }
            ways.outcomes("198.41.192.7".parse().unwrap(), Transport::Tcp, 7844)
        };
        assert_eq!(
            of(vec![("a", sure(Accept))], Policy::Accept),
            Outcomes::ACCEPT
        );
        assert_eq!(of(vec![("a", sure(Accept))], Policy::Deny), Outcomes::DENY);
        assert_eq!(
            of(vec![("a", sure(Accept)), ("b", sure(Deny))], Policy::Accept),
            Outcomes::DENY
        );
        let doubtful = of(
            vec![("a", sure(Accept)), ("b", perhaps(Deny))],
            Policy::Accept,
        );
        assert!(doubtful.accept && doubtful.deny && !doubtful.end);
        assert_eq!(
            of(vec![("b", sure(Accept))], Policy::Accept),
            Outcomes::DENY
        );
    }
}
