//! The worker, and who starts it.

use std::io::{self, Write};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Answers, OracleError, Question, tools, worker};

/// The first argument of the worker.
const WORKER: &str = "oracle-worker";

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
