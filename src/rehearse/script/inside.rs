//! The two processes inside: the one that enters the namespaces, and process 1 of them.

use std::io::{self, Read, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};

use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::{set_no_new_privs, set_pdeathsig};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, Uid, read, setgroups, setresgid, setresuid};

use super::super::links;
use super::super::ruleset::{Ruleset, plan};
use super::super::tools::Tools;
use super::{Outcome, Refusal, Task, root};

/// The first word: this process is in a user namespace, and waits for its users.
pub(super) const READY: &str = "ready";

/// Where tools are inside.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How many processes a script may have at once.
const PROCESSES: u64 = 512;

/// How much of what a script prints is looked at.
const LONGEST: u64 = 1 << 20;

/// Enters the namespaces, and starts their first process. The process must have a single thread.
pub fn begin() {
    if let Err(why) = enter() {
        say(&Outcome::Impossible(why.to_string()));
    }
}

fn enter() -> io::Result<()> {
    set_pdeathsig(Signal::SIGKILL)?;
    if let Err(errno) = unshare(CloneFlags::CLONE_NEWUSER) {
        return writeln!(
            io::stdout(),
            "no user namespace: {errno}; see `sysctl user.max_user_namespaces`"
        );
    }
    writeln!(io::stdout(), "{READY}")?;
    // What follows the first byte is for the process inside.
    if read(io::stdin(), &mut [0])? == 0 {
        return Ok(());
    }
    // Without more than one user there are no groups to leave.
    let _ = setgroups(&[]);
    let (user, group) = (Uid::from_raw(0), Gid::from_raw(0));
    setresgid(group, group, group)?;
    setresuid(user, user, user)?;
    // A change of user forgets it.
    set_pdeathsig(Signal::SIGKILL)?;
    unshare(
        CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWNET,
    )?;
    let mut inside = Command::new("/proc/self/exe");
    inside.args(["rehearsal-script", "--inside"]);
    let mut inside = inside.env_clear().env("PATH", PATH).spawn()?;
    inside.wait().map(drop)
}

/// What the first process inside does.
pub fn work() {
    let outcome = attempt().unwrap_or_else(|why| Outcome::Impossible(why.to_string()));
    say(&outcome);
}

fn say(outcome: &Outcome) {
    let text = serde_json::to_vec(outcome).unwrap_or_default();
    let mut out = io::stdout().lock();
    let _ = out.write_all(&text).and_then(|()| out.flush());
}

fn attempt() -> io::Result<Outcome> {
    set_pdeathsig(Signal::SIGKILL)?;
    set_no_new_privs()?;
    let task: Task = serde_json::from_reader(io::stdin().lock())?;
    root::enter(&task.script)?;
    setrlimit(Resource::RLIMIT_NPROC, PROCESSES, PROCESSES)?;
    links::make(&task.interfaces).map_err(io::Error::other)?;
    let tools = Tools::find().map_err(io::Error::other)?;
    let nothing = Ruleset::default();
    let present = &task.present;
    let way = plan(&present.ruleset, present.by_iptables(), &nothing);
    if let Some(setback) = tools.carry_out(&way).first() {
        return Ok(Outcome::Impossible(setback.to_string()));
    }
    if let Some(refusal) = run(if task.bash { "bash" } else { "sh" })? {
        return Ok(Outcome::Refused(refusal));
    }
    let made = tools.look().map_err(io::Error::other)?;
    Ok(Outcome::Made(Box::new(made)))
}

/// Runs the script, and ends whatever it leaves behind.
fn run(shell: &str) -> io::Result<Option<Refusal>> {
    let mut script = Command::new(shell)
        .arg(root::SCRIPT)
        .current_dir("/tmp")
        .env_clear()
        .envs([("PATH", PATH), ("LC_ALL", "C"), ("HOME", "/tmp")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let complaints = script.stderr.take().map(hear);
    let status = script.wait()?;
    // All but this process itself; where there are none, that is well.
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
    let complaints = complaints.map(|reader| reader.join().unwrap_or_default());
    Ok(judge(&complaints.unwrap_or_default(), status))
}

/// Reads on when it has heard enough: a script that cannot go on printing does not end.
fn hear(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.by_ref().take(LONGEST).read_to_end(&mut bytes);
        let _ = io::copy(&mut from, &mut io::sink());
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// What the shell itself complains of counts, even if the script goes on: a program that is not there, a
/// file that cannot be written.
fn judge(complaints: &str, status: ExitStatus) -> Option<Refusal> {
    let own = complaints.lines().find_map(complaint);
    if own.is_some() || status.success() {
        return own;
    }
    let lines = complaints.lines().map(str::trim);
    let said: Vec<&str> = lines.filter(|line| !line.is_empty()).take(3).collect();
    Some(Refusal::Failed(if said.is_empty() {
        status.to_string()
    } else {
        said.join(" | ")
    }))
}

/// `/script: 3: rm: not found` of dash, `/script: line 3: rm: command not found` of bash, and the like.
fn complaint(line: &str) -> Option<Refusal> {
    let rest = line.strip_prefix(root::SCRIPT)?.strip_prefix(": ")?;
    let rest = rest.strip_prefix("line ").unwrap_or(rest);
    let (number, rest) = rest.split_once(": ")?;
    let line = number.parse().ok()?;
    let program = [
        "command not found",
        "not found",
        "No such file or directory",
    ]
    .into_iter()
    .find_map(|end| rest.strip_suffix(end)?.strip_suffix(": "));
    Some(match program {
        Some(program) if !program.contains(' ') => Refusal::Program {
            line,
            program: program.to_owned(),
        },
        _ => Refusal::Shell {
            line,
            complaint: rest.to_owned(),
        },
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn what_shells_say_of_a_program_that_is_not_there() {
        for (said, program) in [
            ("/script: 3: rm: not found", "rm"),
            ("/script: line 3: rm: command not found", "rm"),
            (
                "/script: line 3: /bin/rm: No such file or directory",
                "/bin/rm",
            ),
        ] {
            let program = program.to_owned();
            assert_eq!(complaint(said), Some(Refusal::Program { line: 3, program }));
        }
        let cannot = "/script: 2: cannot create /etc/x: Read-only file system";
        assert!(matches!(
            complaint(cannot),
            Some(Refusal::Shell { line: 2, .. })
        ));
        assert_eq!(
            complaint("iptables: No chain/target/match by that name."),
            None
        );
    }

    #[test]
    fn the_shell_is_heard_although_the_script_goes_on() {
        let (good, bad) = (ExitStatus::from_raw(0), ExitStatus::from_raw(256));
        assert_eq!(judge("Warning: x\n", good), None);
        assert!(judge("/script: 1: rm: not found\n", good).is_some());
        assert_eq!(
            judge("a\n\n b\n", bad),
            Some(Refusal::Failed("a | b".to_owned()))
        );
        let silent = Refusal::Failed("exit status: 1".to_owned());
        assert_eq!(judge("", bad), Some(silent));
    }
}
