//! The SSH session that a process runs in, also where `sudo` has hidden it.

use std::{env, fs};

use crate::rules::Session;

/// How many processes are looked at, from this one up.
const MOST_ANCESTORS: usize = 64;

/// The session as sshd tells it (`SSH_CONNECTION`). `sudo` and `su` drop that variable, but the
/// processes that they were started by have it still. One that is set and empty means that there is
/// none.
pub(super) fn session() -> Option<Session> {
    match env::var("SSH_CONNECTION") {
        Ok(text) => Session::parse(&text),
        Err(_) => inherited(),
    }
}

/// The session of the nearest ancestor that has one; this host tells where it has `/proc`.
fn inherited() -> Option<Session> {
    let mut process = "self".to_owned();
    for _ in 0..MOST_ANCESTORS {
        let stat = fs::read(format!("/proc/{process}/stat")).ok()?;
        process = parent(&String::from_utf8_lossy(&stat))?;
        // Root may read it of everybody, others of their own processes alone.
        let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
        if let Some(session) = connection(&environment) {
            return Some(session);
        }
    }
    None
}

/// The parent's number from `proc_pid_stat(5)`, in which a name in parentheses may hold anything; none
/// for the first process.
fn parent(stat: &str) -> Option<String> {
    let (_, rest) = stat.rsplit_once(')')?;
    let parent = rest.split_whitespace().nth(1)?;
    (parent != "0").then(|| parent.to_owned())
}

fn connection(environment: &[u8]) -> Option<Session> {
    let mut variables = environment.split(|octet| *octet == 0);
    let text = variables.find_map(|variable| variable.strip_prefix(b"SSH_CONNECTION="))?;
    Session::parse(&String::from_utf8_lossy(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proc_tells_is_read() {
        assert_eq!(parent("7 (a) b) S 42 7 7 0").as_deref(), Some("42"));
        assert_eq!(parent("1 (init) S 0 1 1"), None);
        assert_eq!(parent("nonsense"), None);
        let told = connection(b"A=B\0SSH_CONNECTION=192.0.2.7 1 192.0.2.8 2222\0C=D\0").unwrap();
        assert_eq!(told.port, 2222);
        assert_eq!(
            connection(b"XSSH_CONNECTION=192.0.2.7 1 192.0.2.8 2222\0"),
            None
        );
        assert_eq!(connection(b""), None);
    }
}
