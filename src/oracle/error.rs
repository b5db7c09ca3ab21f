//! Why the oracle has no answers.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why there are no answers.
#[derive(Debug, Error, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OracleError {
    /// A tool is not installed.
    #[error("{tool} is missing; install the package {package}")]
    Missing {
        /// The program.
        tool: String,
        /// The package of Debian and others.
        package: String,
    },
    /// No namespaces for this user.
    #[error("no scratch network can be made here: {why}. {}", Self::REMEDY)]
    NoNamespaces {
        /// The system's error.
        why: String,
    },
    /// Only root can send as somebody else.
    #[error("flows cannot be sent as the user {user}: {why}; run it as root")]
    User {
        /// The user.
        user: String,
        /// The system's error.
        why: String,
    },
    /// A part includes other files.
    #[error(
        "{part}, line {line}: `include` is not followed; give the file that is included, or `nft list ruleset`"
    )]
    Include {
        /// The part's name.
        part: String,
        /// From 1.
        line: usize,
    },
    /// A tool does not take a part.
    #[error("{part}{}: {complaint}", line.map(|line| format!(", line {line}")).unwrap_or_default())]
    Rules {
        /// The part's name.
        part: String,
        /// From 1, if known.
        line: Option<usize>,
        /// What the tool says, without content of any file.
        complaint: String,
    },
    /// The time ran out.
    #[error("the trial of the rules did not end within {seconds} s")]
    Time {
        /// The limit.
        seconds: u64,
    },
    /// The question does not fit together: a forwarded flow without an entry, a name of an interface
    /// that is too long.
    #[error("{0}")]
    Question(String),
    /// Something that should not happen.
    #[error("the trial of the rules failed: {0}")]
    Internal(String),
}

impl OracleError {
    /// What to do where namespaces are closed.
    pub const REMEDY: &str = "Run it as root, or allow user namespaces: `sysctl user.max_user_namespaces=10000` \
         (Debian: `kernel.unprivileged_userns_clone=1`, Ubuntu: `kernel.apparmor_restrict_unprivileged_userns=0`)";
}
