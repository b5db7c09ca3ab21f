//! The worker, and who starts it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Answers, Context, Question, User};

/// The first argument of the worker.
const WORKER: &str = "oracle-worker";

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

/// Asks the kernel. It takes 0.1 to 0.6 s, and more for rules with conditions. The program that calls
/// must begin with [`serve_if_asked`], because the worker is the same program.
///
/// # Errors
/// No namespaces, a tool that is missing, or rules that do not load; never a guess.
pub fn ask(question: &Question) -> Result<Answers, OracleError> {
    let _ = question;
    Err(OracleError::Internal("not made yet".to_owned()))
}

/// Works as the oracle's worker if the first argument says so. It must run at the very beginning of
/// `main`, before there is a second thread.
#[must_use]
pub fn serve_if_asked() -> Option<ExitCode> {
    let asked = std::env::args_os()
        .nth(1)
        .is_some_and(|word| word == WORKER);
    asked.then_some(ExitCode::FAILURE)
}

pub(super) fn own_context(user: User) -> Context {
    let _ = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    Context {
        user,
        interface: "eth0".to_owned(),
        ipv4: Ipv4Addr::new(192, 0, 2, 2),
        ipv6: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2),
        entry: None,
    }
}
