//! Everything that a run saw: the whole input of the diagnosis.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Attempt, Host, Lookup, Millis, Options, OwnRules};

/// Everything that a run saw. A saved report holds all of it, so that it can be diagnosed again.
#[derive(Debug, Clone, PartialEq)]
pub struct Observations {
    /// When the run began (RFC 3339).
    pub started_at: String,
    /// How long it took.
    pub duration: Millis,
    /// How it ended.
    pub ended: Ended,
    /// The host it ran on.
    pub host: Host,
    /// What it was asked to do.
    pub options: Options,
    /// The resolvers in the order in which they are asked.
    pub resolvers: Vec<SocketAddr>,
    /// All that was asked of them.
    pub lookups: Vec<Lookup>,
    /// What resolvers that fail over UDP said over TCP; no answer for anybody.
    pub over_tcp: Vec<Lookup>,
    /// All attempts, in the order in which they ended.
    pub attempts: Vec<Attempt>,
    /// What this host's own rules do with flows that failed, if that was asked.
    pub own_rules: Option<OwnRules>,
}

/// Why a run stopped looking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// Nothing was left to find out.
    Complete,
    /// The time budget was used up.
    Budget,
    /// The user or the system asked it to stop.
    Interrupted,
}
