//! The worker, and who starts it.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Answers, Context, Question, User, tools, worker};

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
    let asked = serde_json::to_string(question).map_err(internal)?;
    let mut worker = Command::new("/proc/self/exe");
    worker.arg(WORKER);
    let said = tools::finish(&mut worker, &asked, LIMIT, true)?;
    let answer: Result<Result<Answers, OracleError>, _> = serde_json::from_str(&said.out);
    answer.unwrap_or_else(|_| {
        let first = said.err.lines().next().unwrap_or("the worker has no words");
        Err(internal(first))
    })
}

/// How long a trial may take. Rules with many conditions need some seconds.
const LIMIT: Duration = Duration::from_secs(45);

fn internal(why: impl std::fmt::Display) -> OracleError {
    OracleError::Internal(why.to_string())
}

/// Whether this program works as its own worker. Another one that embeds the check does not: to start it
/// again could do anything.
static SERVED: AtomicBool = AtomicBool::new(false);

/// Whether the kernel can be asked in this program: [`serve_if_asked`] was called.
pub(crate) fn can_be_asked() -> bool {
    SERVED.load(Ordering::Relaxed)
}

/// Works as the oracle's worker if the first argument says so. It must run at the very beginning of
/// `main`, before there is a second thread.
#[must_use]
pub fn serve_if_asked() -> Option<ExitCode> {
    SERVED.store(true, Ordering::Relaxed);
    let asked = std::env::args_os()
        .nth(1)
        .is_some_and(|word| word == WORKER);
    asked.then(|| match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}

fn serve() -> io::Result<()> {
    // The worker ends with the thread that asks.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    let question = serde_json::from_reader(io::stdin().lock()).map_err(internal);
    let answer = question.and_then(worker::answer);
    let text = serde_json::to_string(&answer)?;
    io::stdout().lock().write_all(text.as_bytes())
}

/// An address of the Internet for each family. Nothing is sent to it: a route is looked up.
const ELSEWHERE: [&str; 2] = ["198.41.192.7:7844", "[2606:4700:a0::1]:7844"];

pub(super) fn own_context(user: User) -> Context {
    let [ipv4, ipv6] = ELSEWHERE.map(own_address);
    let first = ipv4.or(ipv6);
    let interfaces = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let interface = interfaces.into_iter().find_map(|interface| {
        let address = interface.address?;
        let ip = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        let ip = ip.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())));
        (ip.is_some() && ip == first).then_some(interface.interface_name)
    });
    let default = (
        Ipv4Addr::new(192, 0, 2, 2),
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2),
    );
    Context {
        user,
        interface: interface.unwrap_or_else(|| "eth0".to_owned()),
        ipv4: match ipv4 {
            Some(IpAddr::V4(ip)) => ip,
            _ => default.0,
        },
        ipv6: match ipv6 {
            Some(IpAddr::V6(ip)) => ip,
            _ => default.1,
        },
        entry: None,
    }
}

/// The address from which this host would reach another.
fn own_address(to: &str) -> Option<IpAddr> {
    let to: SocketAddr = to.parse().ok()?;
    let from = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(from).ok()?;
    socket.connect(to).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}
