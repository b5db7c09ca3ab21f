//! The only place that opens sockets. Everything it learns leaves it as words of the model.

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
