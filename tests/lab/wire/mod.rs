//! A wire in user space between the router and the edge: latency, jitter, loss, and middleboxes
//! that read packets. Only the scenarios that ask for it have one.
//!
//! ```text
//!   router  wan ───── near   wire   far ───── eth0  edge
//! ```
//!
//! In the wire's namespace nothing but one thread touches the packets. It reads them from packet
//! sockets and not from TUN devices, because those need `/dev/net/tun`, which containers and
//! unprivileged users often lack; these need no more than the rest of the laboratory does.
//!
//! A packet goes through the boxes in their order, then through the schedule. The boxes stand
//! where the wire meets the router: what they answer is with the client at once.

mod boxes;
mod forge;
mod hello;
mod initial;
mod link;
mod packet;
mod pieces;
mod quic;
mod schedule;
pub(crate) mod selftest;
mod tls;

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use serde::Deserialize;

use crate::Outcome;
use crate::namespace::Namespace;
use boxes::{Kind, Middlebox};
use link::End;
use packet::{Direction, Packet, Transport};
use schedule::Schedule;

/// What the wire of a scenario is like.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Wire {
    /// How long a packet takes, one way.
    delay_ms: f64,
    /// The most that is added to that, evenly distributed.
    jitter_ms: f64,
    /// How many packets in a hundred are lost, each way.
    loss_percent: f64,
    /// What the randomness starts from.
    seed: u64,
    /// How much longer than other packets ICMP errors take on their way to the client.
    icmp_delay_ms: f64,
    boxes: Vec<Kind>,
}

/// How long the end may take to read what the kernel still has.
const DRAIN: Duration = Duration::from_secs(1);

/// The running wire of one scenario.
pub(crate) struct Line {
    /// A byte through it begins the scenario's conditions, its end ends the wire.
    control: Option<UnixStream>,
    thread: Option<JoinHandle<Outcome>>,
}

impl Line {
    /// What `ip` has to do in the router's namespace to lay the wire through `wire`.
    pub(crate) fn links(wire: i32, edge: i32) -> String {
        let (router_end, edge_end) = (link::ROUTER, link::EDGE);
        format!(
            "link add wan address {router_end} type veth peer name near netns {wire}\n\
             link add eth0 netns {edge} address {edge_end} type veth peer name far netns {wire}\n"
        )
    }

    /// What the router has to know of its neighbour beyond the wire.
    pub(crate) fn router_neighbours() -> String {
        neighbours("10.0.2.2", "2a01:4f8:2::2", "wan", link::EDGE)
    }

    pub(crate) fn edge_neighbours() -> String {
        neighbours("10.0.2.1", "2a01:4f8:2::1", "eth0", link::ROUTER)
    }

    /// Begins to carry packets, as a plain cable until [`Self::begin`].
    pub(crate) fn start(namespace: &Namespace, wire: &Wire) -> Outcome<Self> {
        let (control, other) = UnixStream::pair()?;
        let wire = wire.clone();
        let thread = namespace.run(move || -> Outcome<_> {
            let ends = [
                End::open("near", Direction::ToEdge)?,
                End::open("far", Direction::ToClient)?,
            ];
            crate::sandbox::tool(
                "ip",
                &["-batch", "-"],
                "link set near up\nlink set far up\n",
            )?;
            // A thread inherits the namespace, and keeps it when the one that began it ends.
            let thread = std::thread::Builder::new().name("wire".to_owned());
            Ok(thread.spawn(move || Carrier::new(ends, &wire).carry(other))?)
        })?;
        Ok(Self {
            control: Some(control),
            thread: Some(thread),
        })
    }

    /// From now on the wire is what the scenario says.
    pub(crate) fn begin(&mut self) -> Outcome {
        let control = self.control.as_mut().ok_or("the wire has ended")?;
        control.write_all(b"!")?;
        control.read_exact(&mut [0])?;
        Ok(())
    }

    /// Ends the wire; an error when it lost packets that it was not told to lose.
    pub(crate) fn finish(&mut self) -> Outcome {
        drop(self.control.take());
        match self.thread.take() {
            Some(thread) => thread.join().map_err(|_| "the wire's thread panicked")?,
            None => Ok(()),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // Whether it lost anything matters to a run alone, which asks for it.
        drop(self.finish());
    }
}

fn neighbours(v4: &str, v6: &str, interface: &str, hardware: &str) -> String {
    [v4, v6]
        .map(|address| {
            format!("neigh add {address} lladdr {hardware} dev {interface} nud permanent\n")
        })
        .concat()
}

/// The thread that carries the packets.
struct Carrier {
    ends: [End; 2],
    boxes: Vec<Box<dyn Middlebox>>,
    schedule: Schedule,
    has_begun: bool,
}

impl Carrier {
    fn new(ends: [End; 2], wire: &Wire) -> Self {
        Self {
            ends,
            boxes: wire.boxes.iter().map(Kind::build).collect(),
            schedule: Schedule::new(wire),
            has_begun: false,
        }
    }

    fn carry(mut self, mut control: UnixStream) -> Outcome {
        loop {
            if self.wait(&control)? {
                // Packets that came before this word belong to the cable.
                self.move_packets();
                if control.read(&mut [0])? == 0 {
                    return self.settle();
                }
                self.has_begun = true;
                control.write_all(b"!")?;
            }
            self.move_packets();
        }
    }

    /// Sleeps until there is something to do; says whether it is a word from outside.
    fn wait(&self, control: &UnixStream) -> Outcome<bool> {
        let timeout = self
            .schedule
            .next()
            .map(|due| due.saturating_duration_since(Instant::now()).into());
        let [near, far] = &self.ends;
        let mut sources = [control.as_fd(), near.as_fd(), far.as_fd()]
            .map(|source| PollFd::new(source, PollFlags::POLLIN));
        ppoll(&mut sources, timeout, None)?;
        Ok(sources[0].any().unwrap_or(false))
    }

    fn move_packets(&mut self) {
        for end in 0..self.ends.len() {
            while let Some(bytes) = self.ends[end].receive() {
                self.take(bytes, self.ends[end].direction);
            }
        }
        while let Some((direction, bytes)) = self.schedule.due(Instant::now()) {
            // It leaves through the end at which the other direction comes in.
            let end = usize::from(direction == Direction::ToEdge);
            self.ends[end].send(&bytes);
        }
    }

    fn take(&mut self, bytes: Vec<u8>, direction: Direction) {
        let now = Instant::now();
        if !self.has_begun {
            return self.schedule.at(now, direction, bytes);
        }
        let Some(packet) = Packet::read(bytes, direction) else {
            return;
        };
        let mut dropped = false;
        for middlebox in &mut self.boxes {
            let verdict = middlebox.judge(&packet);
            for answer in verdict.answers {
                match answer.direction {
                    Direction::ToClient => self.schedule.at(now, answer.direction, answer.bytes),
                    way @ Direction::ToEdge => self.schedule.enter(now, way, false, answer.bytes),
                }
            }
            dropped = verdict.dropped;
            if dropped {
                break;
            }
        }
        if !dropped {
            let held = packet.transport == Transport::IcmpError && direction == Direction::ToClient;
            self.schedule.enter(now, direction, held, packet.bytes);
        }
    }

    /// Reads what has arrived, and complains when the kernel had to drop some of it.
    fn settle(mut self) -> Outcome {
        let deadline = Instant::now() + DRAIN;
        loop {
            let lost = self.ends[0].lost()? + self.ends[1].lost()?;
            if lost == 0 {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("the wire itself lost {lost} packets").into());
            }
            self.move_packets();
        }
    }
}
