//! Flows, tried: sent, answered, and traced.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::Socket;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until};

use super::trace::{Event, Packet, Trace, Verdict};
use crate::model::{Family, Transport};

/// How long a flow may be silent without a rule that is seen to close it. Nothing here takes longer
/// than a retransmission, which a busy machine may need.
const TIMEOUT: Duration = Duration::from_millis(1500);

/// How often the trace is read.
const LOOK: Duration = Duration::from_millis(1);

/// A flow that is ready to go.
pub(super) struct Probe {
    pub(super) socket: Socket,
    /// A connection that exists already.
    pub(super) is_connected: bool,
    pub(super) transport: Transport,
    pub(super) to: SocketAddr,
}

/// What became of a flow.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// How it ended, if it did.
    pub(super) end: Option<End>,
    /// What its packets met, in order, with whether they were replies.
    pub(super) met: Vec<(Event, bool)>,
}

/// The end of a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// Out and back, twice.
    Through,
    /// Answered by somebody else.
    Elsewhere(String),
    /// Given up by the system.
    Failed(String),
}

impl Seen {
    /// The first packet that was dropped.
    pub(super) fn dropped(&self) -> Option<&(Event, bool)> {
        self.met
            .iter()
            .find(|(event, _)| event.verdict == Verdict::Drop)
    }

    /// The chains that packets came by: family, table, chain.
    pub(super) fn chains(&self) -> BTreeSet<(String, String, String)> {
        let chains = self.met.iter().flat_map(|(event, _)| {
            let into = match &event.verdict {
                Verdict::Into(chain) => Some(chain),
                _ => None,
            };
            [Some(&event.chain), into]
                .into_iter()
                .flatten()
                .map(|chain| (event.family.to_owned(), event.table.clone(), chain.clone()))
        });
        chains.collect()
    }

    fn is_decided(&self) -> bool {
        matches!(self.end, Some(End::Through | End::Elsewhere(_))) || self.dropped().is_some()
    }
}

/// Who a packet belongs to: the side that opens a flow has a port of its own for each.
type Key = (Transport, Family, u16);

/// One message there and back, on a connection that waits for it.
pub(super) fn converse(socket: &Socket) -> io::Result<()> {
    let stream: TcpStream = socket.try_clone()?.into();
    stream.set_read_timeout(Some(TIMEOUT))?;
    (&stream).write_all(b"?")?;
    let mut byte = [0];
    while byte != *b"\n" {
        (&stream).read_exact(&mut byte)?;
    }
    stream.set_read_timeout(None)
}

/// Tries all flows at once.
///
/// # Errors
/// Of the system; `ENOBUFS` where a part of the trace is lost.
pub(super) fn run(probes: Vec<Probe>, trace: &Trace) -> io::Result<Vec<Seen>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(all(probes, trace))
}

async fn all(probes: Vec<Probe>, trace: &Trace) -> io::Result<Vec<Seen>> {
    let mut seen: Vec<Seen> = probes.iter().map(|_| Seen::default()).collect();
    let mut owners = HashMap::new();
    let mut tasks = JoinSet::new();
    for (index, probe) in probes.into_iter().enumerate() {
        let own = probe.socket.local_addr()?.as_socket();
        let port = own.map_or(0, |own| own.port());
        owners.insert((probe.transport, Family::of(probe.to.ip()), port), index);
        tasks.spawn(async move { (index, exchange(probe).await) });
    }
    // The trace is looked at now and then: tokio waits for a file descriptor of one's own by unsafe code only.
    let mut looks = interval(LOOK);
    let mut packets = HashMap::new();
    let until = Instant::now() + TIMEOUT;
    while !tasks.is_empty() && seen.iter().any(|seen| !seen.is_decided()) {
        tokio::select! {
            Some(Ok((index, end))) = tasks.join_next() => seen[index].end = Some(end),
            _ = looks.tick() => sort(trace.events()?, &mut packets, &owners, &mut seen),
            () = sleep_until(until) => break,
        }
    }
    // What is decided by a drop may have come through all the same, and the other way round.
    tokio::task::yield_now().await;
    while let Some(Ok((index, end))) = tasks.try_join_next() {
        seen[index].end = Some(end);
    }
    sort(trace.events()?, &mut packets, &owners, &mut seen);
    Ok(seen)
}

/// Gives each event to the flow that its packet belongs to.
fn sort(
    events: Vec<Event>,
    packets: &mut HashMap<u32, Packet>,
    owners: &HashMap<Key, usize>,
    seen: &mut [Seen],
) {
    for event in events {
        if let Some(packet) = event.packet {
            packets.insert(event.id, packet);
        }
        let Some(packet) = packets.get(&event.id) else {
            continue;
        };
        let family = Family::of(packet.from.0);
        let owner = |port| owners.get(&(packet.transport, family, port));
        let (index, is_reply) = match (owner(packet.from.1), owner(packet.to.1)) {
            (Some(index), _) => (*index, false),
            (None, Some(index)) => (*index, true),
            (None, None) => continue,
        };
        if let Some(seen) = seen.get_mut(index) {
            seen.met.push((event, is_reply));
        }
    }
}

/// Twice out and back: what is new passes otherwise than what is established.
async fn exchange(probe: Probe) -> End {
    let to = probe.to;
    let told = match probe.transport {
        Transport::Tcp => tcp(probe).await,
        Transport::Udp => udp(probe).await,
    };
    match told {
        Ok(told) if told.trim_end() == to.to_string() => End::Through,
        Ok(told) => End::Elsewhere(told.trim_end().to_owned()),
        Err(why) => End::Failed(why.to_string()),
    }
}

async fn tcp(probe: Probe) -> io::Result<String> {
    probe.socket.set_nonblocking(true)?;
    let stream = TcpStream::from(probe.socket);
    let mut stream = if probe.is_connected {
        tokio::net::TcpStream::from_std(stream)?
    } else {
        TcpSocket::from_std_stream(stream).connect(probe.to).await?
    };
    let mut told = String::new();
    for _ in 0..2 {
        stream.write_all(b"?").await?;
        told.clear();
        while !told.ends_with('\n') {
            told.push(stream.read_u8().await?.into());
        }
    }
    Ok(told)
}

async fn udp(probe: Probe) -> io::Result<String> {
    probe.socket.set_nonblocking(true)?;
    let socket = UdpSocket::from_std(probe.socket.into())?;
    socket.connect(probe.to).await?;
    let mut bytes = [0; 64];
    let mut length = 0;
    for _ in 0..2 {
        socket.send(b"?").await?;
        length = socket.recv(&mut bytes).await?;
    }
    Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
}
