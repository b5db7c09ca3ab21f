//! What the oracle answers.

use serde::{Deserialize, Serialize};

/// The answers, and what had to be assumed for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// One for each flow, in their order.
    pub flows: Vec<Answer>,
    /// Users, groups and interfaces in the rules that this host lacks.
    pub stand_ins: Vec<StandIn>,
}

/// A name in the rules that this host lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StandIn {
    /// A user or group, with the unused number that took its place.
    User(String, u32),
    /// An interface, which was made for the trial.
    Interface(String),
}

/// What the rules do with a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Out and back, twice.
    Passes,
    /// As [`Self::Passes`], and only because the rules do not speak of such flows.
    Silent(Silence),
    /// Closed.
    Closed(Closing),
    /// Open or closed, which depends on a rule.
    Conditional(Condition),
    /// A rule sends it to somebody else: `redirect`, `dnat`, `tproxy`. Nothing answers there in the trial, or
    /// somebody other than the destination.
    Redirected(Rule),
    /// Not clear, and why: no reply came, and no rule was seen that closes the flow.
    Unclear(String),
}

/// How the rules do not speak of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Silence {
    /// They have no base chain of the flow's family and hook ([`super::Flow::hook`]).
    NoChain,
    /// They have such chains, with no rule in them, and policy accept.
    EmptyChain,
}

/// What closes a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// Which of its packets meet their end.
    pub direction: Direction,
    /// By what.
    pub by: What,
}

/// Which way a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// From the one who opens the flow.
    Request,
    /// Back to that one.
    Reply,
}

/// A rule or a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// A rule.
    Rule(Rule),
    /// The policy of a base chain.
    Policy {
        /// The family of its table, such as `inet`.
        family: String,
        /// Its table.
        table: String,
        /// The chain.
        chain: String,
        /// Where the policy is set, or the first line about the chain: part and line, from 0 and from 1.
        source: Option<(usize, usize)>,
    },
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The family of its table: `ip`, `ip6`, `inet`, `netdev`, …
    pub family: String,
    /// Its table.
    pub table: String,
    /// Its chain.
    pub chain: String,
    /// Its handle in the scratch namespace. It is the host's own only where a copy keeps it, so show
    /// `number` and `text`.
    pub handle: u64,
    /// Its place in the chain, from 1.
    pub number: usize,
    /// The rule: of iptables as `iptables-save` prints it, of nftables as `nft list` does.
    pub text: String,
    /// Its comment.
    pub comment: Option<String>,
    /// Where it is, if known: the part's index and the line, from 0 and from 1.
    pub source: Option<(usize, usize)>,
}

/// What the answer depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// The rule that makes the difference.
    pub rule: Rule,
    /// What it looks at.
    pub on: On,
    /// What closes the flow if the condition is not favourable.
    pub otherwise: Option<Closing>,
}

/// What a rule looks at that a trial cannot settle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum On {
    /// How much came before: `limit`, `quota`, `recent`, `hashlimit`, `connlimit`, `statistic`, …
    Limit,
    /// A mark of the packet or the connection.
    Mark,
    /// A control group.
    Cgroup,
    /// Another user than the one asked about.
    User,
    /// An interface that is not the way out.
    Interface,
    /// The content of a set that is filled from elsewhere.
    Set,
    /// The time of day, or the date.
    Time,
}

impl On {
    /// What an answer depends on, as a noun.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Limit => "how much was sent before",
            Self::Mark => "a mark",
            Self::Cgroup => "a control group",
            Self::User => "the user",
            Self::Interface => "the interface",
            Self::Set => "a set that is filled from elsewhere",
            Self::Time => "the time",
        }
    }
}
