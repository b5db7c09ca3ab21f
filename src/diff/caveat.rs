//! What keeps two reports from being fully comparable.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{Ended, Options, Report};

/// A reason to read a difference with care.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Caveat {
    /// The two runs were asked different things, so that some rows cannot be compared.
    Options {
        /// The options that differ, as they are typed.
        differing: Vec<String>,
    },
    /// The two runs were made on different hosts.
    Host {
        /// The earlier report's.
        before: Option<String>,
        /// The later report's.
        after: Option<String>,
    },
    /// A run ended before it knew all.
    Unfinished {
        /// Whether the earlier one did.
        before: bool,
        /// Whether the later one did.
        after: bool,
    },
    /// The report that is called the later one began first.
    Order,
}

impl fmt::Display for Caveat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unnamed = "a host without a name";
        let which = |before, after| match (before, after) {
            (true, true) => "both runs",
            (true, false) => "the run before",
            _ => "the run after",
        };
        match self {
            Self::Options { differing } => write!(
                f,
                "The two runs were asked different things ({}), so the comparison is of limited worth.",
                differing.join(", ")
            ),
            Self::Host { before, after } => write!(
                f,
                "The two runs were made on different hosts ({} and {}), so the comparison is of limited worth.",
                before.as_deref().unwrap_or(unnamed),
                after.as_deref().unwrap_or(unnamed)
            ),
            Self::Unfinished { before, after } => {
                let which = which(*before, *after);
                write!(f, "Not everything is known: {which} ended early.")
            }
            Self::Order => f.write_str(
                "The report given as the later one began first: are the two the wrong way round?",
            ),
        }
    }
}

/// All that apply, the weightiest first.
pub(super) fn caveats(before: &Report, after: &Report) -> Vec<Caveat> {
    let mut caveats = Vec::new();
    let differing = differing(&before.options, &after.options);
    if !differing.is_empty() {
        caveats.push(Caveat::Options { differing });
    }
    if before.host.name != after.host.name {
        caveats.push(Caveat::Host {
            before: before.host.name.clone(),
            after: after.host.name.clone(),
        });
    }
    let unfinished = [before, after].map(|report| report.ended != Ended::Complete);
    if unfinished.contains(&true) {
        let [before, after] = unfinished;
        caveats.push(Caveat::Unfinished { before, after });
    }
    if began(after) < began(before) {
        caveats.push(Caveat::Order);
    }
    caveats
}

/// When a run began, where the report has a time that can be read.
fn began(report: &Report) -> Option<jiff::Timestamp> {
    report.started_at.parse().ok()
}

/// The optional hosts that the user named.
fn asked(options: &Options) -> Vec<&str> {
    let listed = options.optional_hosts.iter().flatten();
    let asked = listed.filter(|host| host.asked);
    asked.map(|host| host.name.as_str()).collect()
}

/// The options that decide what is probed and what counts. Not among them are those that decide how
/// long it takes and how it exits.
fn differing(before: &Options, after: &Options) -> Vec<String> {
    let pairs = [
        ("--protocol", before.protocol == after.protocol),
        (
            "--edge-ip-version",
            before.edge_ip_version == after.edge_ip_version,
        ),
        (
            "--edge-bind-address",
            before.edge_bind_address == after.edge_bind_address,
        ),
        ("--region", before.region == after.region),
        ("--edge", before.edge == after.edge),
        ("--cacert", before.cacert == after.cacert),
        ("--team", before.team == after.team),
        ("--no-optional", before.optional == after.optional),
        ("--optional-host", asked(before) == asked(after)),
        ("--post-quantum", before.post_quantum == after.post_quantum),
        ("--resolver", before.resolver == after.resolver),
        ("--strict", before.strict == after.strict),
    ];
    let differ = pairs.into_iter().filter(|(_, same)| !same);
    differ.map(|(option, _)| option.to_owned()).collect()
}
