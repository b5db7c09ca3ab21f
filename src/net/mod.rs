//! The only place that opens sockets. Everything it learns leaves it as words of the model.
//!
//! - **The first flight is cloudflared's** (key exchange groups, server name, application protocol,
//!   length of the `ClientHello`, size of the datagrams, don't-fragment): a smaller probe would pass
//!   middleboxes that drop the real one. `tests/it/wire` measures it.
//! - **The hello over QUIC is cut into pieces as cloudflared's library cuts it**
//!   (`net/quic/hello_split.rs`): the second half of the server name travels last, in the second
//!   datagram. A filter that puts nothing together treats both alike, so no doubt is left when one is
//!   accused.
//! - **Experiments** (`Profile`) differ from the tunnel's first flight in one thing each: a small
//!   hello, small packets, another server name, another QUIC version.
//! - **An ICMP error ends no established flow.** It may be forged; cloudflared does not even see it.
//! - **UDP errors surface.** quinn's own socket logs send errors and reports success, so `EPERM` would
//!   look like silence. `net/quic/socket.rs` is a socket of our own under quinn that keeps every send
//!   error and drains the kernel's error queue (`IP_RECVERR`), where ICMP errors carry the address of
//!   their sender.
//! - **Handshakes complete with anyone**, and the chain is judged afterwards (`net/trust.rs`): only so
//!   is an interceptor seen with proof that it holds its key.
//! - **DNS exchanges are our own**, because a library resolver hides which server answered, what it
//!   said, and truncation. The library gives the configuration and the message format;
//!   `net/dns/system.rs` reads resolv.conf itself where the library gives up on a line that Go skips,
//!   or loses the zone of a link-local address. A resolver that gives nothing over UDP is asked one
//!   question over TCP (`observe/udp_blocked.rs`), which is kept apart from the lookups, so that it can
//!   never count as an answer. `options use-vc` and the sources of nsswitch.conf are followed as Go's
//!   resolver does. Answers to one question are kept in the order of the resolvers, because the first
//!   one that speaks is the one that cloudflared hears.
//! - **Windows' sockets have no error queue**, and tell of an ICMP error the kind at best
//!   (`net/windows.rs`). quinn's socket options are set as on Linux, and where the system has none of
//!   them, which is so under Wine, plain datagrams stand in (`net/quic/datagrams.rs`): one binary for
//!   both.
//! - **What others wrote is escaped** (`report/escape.rs`): no control character of a resolver, a
//!   certificate or a server reaches a terminal.

pub mod awake;
pub mod classify;
pub mod dns;
mod environment;
pub mod host;
pub mod quic;
mod service;
pub mod stream;
pub mod trust;

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(windows, path = "windows.rs")]
#[cfg_attr(not(any(target_os = "linux", windows)), path = "portable.rs")]
mod os;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::catalog;
use crate::model::{IcmpError, Profile, Service, StrayError};

/// What an attempt has seen so far. It outlives the attempt, so that one that is given up still
/// tells how far it came.
#[derive(Debug, Clone)]
pub struct Trace(Arc<Mutex<TraceState>>);

/// The contents of a [`Trace`].
#[derive(Debug, Clone)]
pub struct TraceState {
    /// When the first packet left, or, before that, now.
    pub started: Instant,
    /// Whether a packet has left.
    begun: bool,
    /// When the first answer of the other side came, since the start.
    pub contact: Option<Duration>,
    /// When the handshake completed, since the start.
    pub handshake: Option<Duration>,
    /// UDP datagrams sent.
    pub sent: u32,
    /// UDP datagrams received.
    pub received: u32,
    /// A datagram of plain text, while none has come that may be QUIC.
    pub foreign: Option<Vec<u8>>,
    /// Socket errors on the way.
    pub stray: Vec<StrayError>,
}

impl Trace {
    /// A trace that begins now.
    #[must_use]
    pub fn start() -> Self {
        Self(Arc::new(Mutex::new(TraceState {
            started: Instant::now(),
            begun: false,
            contact: None,
            handshake: None,
            sent: 0,
            received: 0,
            foreign: None,
            stray: Vec::new(),
        })))
    }

    /// A copy of what has been seen so far.
    #[must_use]
    pub fn state(&self) -> TraceState {
        self.with(|state| {
            // What waits for its turn on a busy machine has not met silence.
            if !state.begun {
                state.started = Instant::now();
            }
            state.clone()
        })
    }

    /// Notes that the first packet is about to leave; later ones change nothing.
    fn begin(&self) {
        self.with(|state| {
            if !state.begun {
                state.started = Instant::now();
                state.begun = true;
            }
        });
    }

    fn with<T>(&self, change: impl FnOnce(&mut TraceState) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes the first answer; later ones change nothing.
    fn contact(&self) {
        self.with(|state| state.contact = state.contact.or(Some(state.started.elapsed())));
    }

    /// Notes an error that does not end the attempt.
    fn note(&self, stray: StrayError) {
        // Enough to prove the point; a peer that answers every packet with ICMP adds nothing.
        const KEPT: usize = 16;
        self.with(|state| {
            if state.stray.len() < KEPT {
                state.stray.push(stray);
            }
        });
    }

    fn handshake(&self) {
        self.with(|state| state.handshake = Some(state.started.elapsed()));
    }

    fn elapsed(&self) -> Duration {
        self.with(|state| state.started.elapsed())
    }
}

/// The server name that a certificate is judged for: the one that was asked for, but for the control's,
/// which nobody has a certificate for; the edge presents the tunnel's.
fn certificate_name(profile: Profile, service: Service, sni: &str) -> &str {
    match (profile, catalog::tunnel_sni(service)) {
        (Profile::ControlName, Some(tunnel)) => tunnel,
        _ => sni,
    }
}

/// The next ICMP error in a socket's queue; what stands before it is taken off and forgotten.
fn next_icmp(socket: &impl os::Socket) -> Option<IcmpError> {
    std::iter::from_fn(|| os::next_queued_error(socket).ok()).find_map(|queued| queued.icmp)
}

/// Waits for the next error in a socket's queue, which does not wake a reader; for ever where sockets
/// have none.
async fn queued_error(socket: &UdpSocket) -> io::Result<classify::QueuedError> {
    if !os::ERROR_QUEUE {
        return std::future::pending().await;
    }
    let next = || os::next_queued_error(socket);
    socket.async_io(Interest::ERROR, next).await
}

/// A non-blocking socket for one flow, with the kernel's error queue switched on where there is one.
fn new_socket(remote: SocketAddr, bind: Option<IpAddr>, kind: Type) -> io::Result<Socket> {
    let protocol = if kind == Type::STREAM {
        Protocol::TCP
    } else {
        Protocol::UDP
    };
    let socket = Socket::new(Domain::for_address(remote), kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    os::enable_error_queue(&socket, remote.is_ipv6())?;
    if let Some(local) = bind.filter(|local| local.is_ipv4() == remote.is_ipv4()) {
        socket.bind(&SocketAddr::new(local, 0).into())?;
    }
    Ok(socket)
}
