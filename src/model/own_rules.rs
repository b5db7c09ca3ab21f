//! What this host's own rules do with flows that failed, as the kernel answers for a copy of them.

use std::fmt;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Transport;

/// What a run learned of this host's own rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum OwnRules {
    /// The rules in force can be read by root only.
    NotPermitted {
        /// What is known of single flows without root: closing routes.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        flows: Vec<OwnFlow>,
    },
    /// The rules could not be tried, or not in time.
    Failed {
        /// Why, in words.
        reason: String,
        /// What is known of single flows all the same: closing routes.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        flows: Vec<OwnFlow>,
    },
    /// A copy of the rules was tried with flows that failed.
    Tried {
        /// One entry for each flow.
        flows: Vec<OwnFlow>,
    },
}

impl OwnRules {
    /// The flows of which something is known.
    #[must_use]
    pub fn flows(&self) -> &[OwnFlow] {
        match self {
            Self::NotPermitted { flows } | Self::Failed { flows, .. } | Self::Tried { flows } => {
                flows
            }
        }
    }
}

/// What this host's own rules do with one flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OwnFlow {
    /// The destination.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// The transport.
    pub transport: Transport,
    /// What becomes of it.
    #[serde(flatten)]
    pub fate: OwnFate,
}

/// What becomes of a flow under this host's own rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "fate", rename_all = "snake_case")]
pub enum OwnFate {
    /// The rules let it out, and its replies in.
    Passes,
    /// A rule or a policy drops or rejects it.
    Closed {
        /// True when its replies are what is closed.
        replies: bool,
        /// By what.
        rule: OwnRule,
    },
    /// A rule sends it to another address (NAT).
    Redirected {
        /// By what.
        rule: OwnRule,
    },
    /// A route or a rule of policy routing forbids it.
    Route {
        /// The line, as `ip route show table all` or `ip rule show` prints it.
        text: String,
    },
    /// It is open or closed, which depends on what a trial cannot settle.
    Conditional {
        /// What it depends on, in words.
        on: String,
        /// The rule that makes the difference.
        rule: OwnRule,
    },
    /// The trial gave no answer.
    Unclear {
        /// Why, in words.
        reason: String,
    },
}

/// A rule or the policy of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OwnRule {
    /// The family of the table: `ip`, `ip6`, `inet`, …
    pub family: String,
    /// The table.
    pub table: String,
    /// The chain.
    pub chain: String,
    /// The place in the chain, from 1; null for the policy of the chain.
    pub number: Option<usize>,
    /// The rule as its tool prints it, or `policy drop`.
    pub text: String,
    /// Its comment.
    pub comment: Option<String>,
}

impl fmt::Display for OwnRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            family,
            table,
            chain,
            text,
            ..
        } = self;
        let place = self.number.map_or_else(
            || "the policy".to_owned(),
            |number| format!("rule {number}"),
        );
        write!(
            f,
            "`{text}` ({place} of chain {chain}, table {family} {table}"
        )?;
        match &self.comment {
            Some(comment) if !text.contains(comment.as_str()) => write!(f, ", comment {comment})"),
            _ => f.write_str(")"),
        }
    }
}
