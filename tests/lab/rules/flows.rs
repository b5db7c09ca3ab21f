//! Flows that share nothing with the product: SSH-like sessions, and what no rule lists.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::Outcome;
use crate::clients::{TIMEOUT, expect, unspecified};
use crate::internet::{self, Family};
use crate::topology::Topology;

/// How long to wait where no answer is right. What must answer gets [`TIMEOUT`].
const SILENCE: Duration = Duration::from_millis(400);

/// The client's addresses.
const CLIENT: [&str; 2] = ["10.0.1.2", "2a01:4f8:1::2"];

/// A port of the client that no rule lists, with a server that answers as sshd's does.
const OTHER_PORT: u16 = 8080;
const SSH_PORT: u16 = 22;

/// A port of the edge at which nobody listens: without a firewall the edge itself refuses.
const UNLISTED_PORT: u16 = 7845;

/// The flows of a world.
pub(crate) struct Flows<'a> {
    topology: &'a Topology,
    sessions: Vec<TcpStream>,
    /// The server's ends of all sessions.
    ends: Arc<Mutex<Vec<TcpStream>>>,
}

impl<'a> Flows<'a> {
    /// Servers on the client, and from the edge's side a session with each of its addresses.
    pub(crate) fn begin(topology: &'a Topology) -> Outcome<Self> {
        let mut flows = Self::outward(topology);
        for port in [SSH_PORT, OTHER_PORT] {
            let ends = Arc::clone(&flows.ends);
            topology.client.run(move || serve(port, ends))?;
        }
        flows.sessions = flows
            .dial(SSH_PORT, TIMEOUT)
            .into_iter()
            .collect::<Result<_, _>>()?;
        flows.expect_session()?;
        Ok(flows)
    }

    /// Flows out of the client alone.
    pub(crate) fn outward(topology: &'a Topology) -> Self {
        Self {
            topology,
            sessions: Vec::new(),
            ends: Arc::default(),
        }
    }

    /// The sessions live although it is the server that speaks first, as a program's output does.
    pub(crate) fn expect_server_first(&mut self) -> Outcome {
        for end in self
            .ends
            .lock()
            .expect("nobody panics with the lock")
            .iter()
        {
            (&mut &*end).write_all(b"hello\n")?;
        }
        for session in &mut self.sessions {
            let mut line = [0; 6];
            session.set_read_timeout(Some(TIMEOUT))?;
            let heard = session.read_exact(&mut line);
            heard.map_err(|error| format!("the server's words do not come: {error}"))?;
        }
        Ok(())
    }

    /// Without a firewall everything that is expected to be closed later on is open.
    pub(crate) fn expect_open(&self) -> Outcome {
        for answer in self.dial(OTHER_PORT, TIMEOUT) {
            answer.map_err(|error| format!("the other port is open before: {error}"))?;
        }
        for (address, kind) in self.reach_out(TIMEOUT) {
            expect(
                kind == ErrorKind::ConnectionRefused,
                &format!("the edge itself refuses {address} before: {kind}"),
            )?;
        }
        Ok(())
    }

    /// The sessions live, and new ones come in.
    pub(crate) fn expect_session(&mut self) -> Outcome {
        for session in &mut self.sessions {
            converse(session).map_err(|error| format!("the session is cut: {error}"))?;
        }
        for answer in self.dial(SSH_PORT, TIMEOUT) {
            converse(&mut answer?).map_err(|error| format!("no new session: {error}"))?;
        }
        Ok(())
    }

    /// What no rule lists goes neither in nor out.
    pub(crate) fn expect_closed(&self) -> Outcome {
        for answer in self.dial(OTHER_PORT, SILENCE) {
            let kind = answer.err().map(|error| error.kind());
            expect(
                kind == Some(ErrorKind::TimedOut),
                &format!("another port is silent: {kind:?}"),
            )?;
        }
        self.expect_nothing_out()
    }

    /// What no rule lists does not get out: the kernel refuses to send UDP, and TCP is silent.
    pub(crate) fn expect_nothing_out(&self) -> Outcome {
        for (address, kind) in self.reach_out(SILENCE) {
            let dropped = matches!(kind, ErrorKind::TimedOut | ErrorKind::PermissionDenied);
            expect(dropped, &format!("{address} is out of reach: {kind}"))?;
        }
        Ok(())
    }

    /// From the edge's side to a port of the client, over both families at once.
    fn dial(&self, port: u16, wait: Duration) -> Vec<std::io::Result<TcpStream>> {
        self.topology.edge.run(move || {
            let dials = CLIENT.map(|address| {
                let to = SocketAddr::new(address.parse().expect("an address"), port);
                thread::spawn(move || TcpStream::connect_timeout(&to, wait))
            });
            dials.map(|dial| dial.join().expect("no panic")).into()
        })
    }

    /// How the client fails to get an answer from a port of the edge, by TCP and by UDP.
    fn reach_out(&self, wait: Duration) -> Vec<(String, ErrorKind)> {
        self.topology.client.run(move || {
            let flows: Vec<_> = Family::BOTH
                .into_iter()
                .flat_map(move |family| {
                    let ip = internet::addresses(internet::REGIONS[0], family)[0];
                    let to = SocketAddr::new(ip, UNLISTED_PORT);
                    [
                        (format!("TCP {to}"), thread::spawn(move || tcp(to, wait))),
                        (format!("UDP {to}"), thread::spawn(move || udp(to, wait))),
                    ]
                })
                .collect();
            let ended = |flow: thread::JoinHandle<ErrorKind>| flow.join().expect("no panic");
            flows
                .into_iter()
                .map(|(name, flow)| (name, ended(flow)))
                .collect()
        })
    }
}

fn tcp(to: SocketAddr, wait: Duration) -> ErrorKind {
    match TcpStream::connect_timeout(&to, wait) {
        Ok(_) => ErrorKind::AlreadyExists,
        Err(error) => error.kind(),
    }
}

fn udp(to: SocketAddr, wait: Duration) -> ErrorKind {
    let answer = || -> std::io::Result<usize> {
        let socket = UdpSocket::bind((unspecified(to.ip()), 0))?;
        socket.set_read_timeout(Some(wait))?;
        socket.connect(to)?;
        socket.send(b"?")?;
        socket.recv(&mut [0; 16])
    };
    match answer() {
        Ok(_) => ErrorKind::AlreadyExists,
        Err(error) if error.kind() == ErrorKind::WouldBlock => ErrorKind::TimedOut,
        Err(error) => error.kind(),
    }
}

/// A server that says back what it hears, over both families.
fn serve(port: u16, ends: Arc<Mutex<Vec<TcpStream>>>) -> Outcome {
    let listener = TcpListener::bind((IpAddr::from(Ipv6Addr::UNSPECIFIED), port))?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let end = stream.try_clone().into_iter();
            ends.lock()
                .expect("nobody panics with the lock")
                .extend(end);
            thread::spawn(move || echo(stream));
        }
    });
    Ok(())
}

fn echo(mut stream: TcpStream) {
    let mut line = [0; 6];
    while stream.read_exact(&mut line).is_ok() && stream.write_all(&line).is_ok() {}
}

fn converse(session: &mut TcpStream) -> std::io::Result<()> {
    session.set_read_timeout(Some(TIMEOUT))?;
    session.write_all(b"hello\n")?;
    let mut answer = [0; 6];
    session.read_exact(&mut answer)
}
