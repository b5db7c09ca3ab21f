//! An administrator far away, whose session goes over the network that the rules are about.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use super::stage::{Run, Stage, TIMEOUT, tells, terminal};
use crate::Outcome;

/// The port of SSH, on the client's address.
const SSH: &str = "10.0.1.2:22";

/// Lets everything out but the session: the answer to the question cannot arrive.
const CUTS_SSH: &str = "
table inet bad {
	chain in {
		type filter hook input priority 0; policy accept;
		tcp dport 22 drop
	}
	chain out {
		type filter hook output priority 0; policy accept;
		tcp sport 22 drop
	}
}
";

/// The session hangs while the rules are in force, and goes on when the old ones are back.
pub(super) fn ssh_is_cut() -> Outcome {
    let stage = Stage::build()?;
    let listener = stage.world.topology.client.run(|| TcpListener::bind(SSH))?;
    let router = &stage.world.topology.router;
    let mut far = router.run(|| TcpStream::connect(SSH))?;
    far.set_read_timeout(Some(TIMEOUT))?;
    let (near, _) = listener.accept()?;

    let (keys, screen) = terminal()?;
    let command = stage.terminal_command(CUTS_SSH, &["--deadline", "3"], screen)?;
    let child = stage.spawn(command)?;
    connect(near, &keys)?;

    let mut run = Run::new(child, far.try_clone()?, None);
    run.until("guard")?;
    // TCP sends it over and over: it arrives when the old rules are back, or before the question.
    // Neither is an answer to it.
    far.write_all(b"y\n")?;
    let end = run.until("restored")?;
    tells(&end, &["the deadline has passed"])?;
    drop(keys);
    far.shutdown(Shutdown::Both)?;
    run.ends(Some(4))?;
    stage.is_as_before()
}

/// What sshd does: bytes from the network to the terminal, and back.
fn connect(network: TcpStream, terminal: &File) -> Outcome {
    let (mut from_network, mut to_network) = (network.try_clone()?, network);
    let (mut from_terminal, mut to_terminal) = (terminal.try_clone()?, terminal.try_clone()?);
    thread::spawn(move || pass(&mut from_network, &mut to_terminal));
    thread::spawn(move || pass(&mut from_terminal, &mut to_network));
    Ok(())
}

fn pass(from: &mut impl Read, to: &mut impl Write) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let Some(bytes) = buffer.get(..length) else {
            return;
        };
        if to.write_all(bytes).is_err() {
            return;
        }
    }
}
