//! A UDP socket under quinn that keeps every error which quinn's own would hide.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use socket2::Type;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::Notify;

use super::datagrams::Datagrams;
use crate::model::{IcmpError, OsError, StrayError, Transport};
use crate::net::classify::{ErrorOrigin, QueuedError, is_own_address};
use crate::net::{Trace, new_socket, os, queued_error};

/// A connected UDP socket that counts datagrams and collects errors, and tells quinn of neither:
/// an ICMP error may be forged or passing, and a handshake that completes outweighs it.
pub(super) struct ProbeSocket {
    io: UdpSocket,
    datagrams: Datagrams,
    remote: SocketAddr,
    local: SocketAddr,
    own: Arc<[IpAddr]>,
    trace: Trace,
    failed: Notify,
}

impl ProbeSocket {
    /// Connects, which takes the routing decision and sends nothing.
    ///
    /// # Errors
    /// The routing decision's, or those of a host without sockets to spare.
    pub(super) fn connect(
        remote: SocketAddr,
        bind: Option<IpAddr>,
        own: Arc<[IpAddr]>,
        trace: Trace,
    ) -> io::Result<Self> {
        let socket = new_socket(remote, bind, Type::DGRAM)?;
        socket.connect(&remote.into())?;
        let io = UdpSocket::from_std(socket.into())?;
        let datagrams = Datagrams::of(&io)?;
        let local = io.local_addr()?;
        Ok(Self {
            io,
            datagrams,
            remote,
            local,
            own,
            trace,
            failed: Notify::new(),
        })
    }

    /// Waits for errors that arrive when nobody sends or reads: an ICMP error does not wake a reader.
    pub(super) async fn watch_errors(self: Arc<Self>) {
        loop {
            match queued_error(&self.io).await {
                Ok(queued) => self.note_queued(queued),
                Err(_) => return,
            }
        }
    }

    /// Returns once an error has been seen, and then enough time went by without any datagram.
    pub(super) async fn hopeless(&self) {
        /// A packet that never left cannot be answered; a moment covers the second datagram.
        const AFTER_LOCAL_ERROR: Duration = Duration::from_millis(250);
        /// An ICMP error may be forged, or one route of several; the real answer may be on its way.
        const AFTER_ICMP: Duration = Duration::from_millis(700);
        loop {
            self.failed.notified().await;
            let grace = if self.trace.state().sent == 0 {
                AFTER_LOCAL_ERROR
            } else {
                AFTER_ICMP
            };
            tokio::time::sleep(grace).await;
            if self.trace.state().received == 0 {
                return;
            }
        }
    }

    /// Sends one datagram; what goes wrong is noted.
    pub(super) async fn send(&self, contents: &[u8]) {
        let transmit = Transmit {
            destination: self.remote,
            ecn: None,
            contents,
            segment_size: None,
            src_ip: None,
        };
        while self.io.writable().await.is_ok() {
            match self.try_send(&transmit) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => return,
            }
        }
    }

    /// Receives one datagram; what goes wrong is noted.
    pub(super) async fn recv(&self, datagram: &mut [u8]) -> usize {
        let mut meta = [RecvMeta::default()];
        let received = std::future::poll_fn(|cx| {
            self.poll_recv(cx, &mut [IoSliceMut::new(datagram)], &mut meta)
        });
        match received.await {
            Ok(_) => meta.first().map_or(0, |meta| meta.len),
            // The poller itself has failed, and will not wake anybody again.
            Err(_) => std::future::pending().await,
        }
    }

    fn note_queued(&self, queued: QueuedError) {
        let error = io::Error::from_raw_os_error(queued.errno);
        let local = queued.icmp.as_ref().is_none_or(|icmp| {
            icmp.from
                .is_some_and(|from| is_own_address(from, Some(self.local.ip()), &self.own))
        });
        self.note(StrayError {
            at_ms: self.trace.elapsed().into(),
            icmp: queued.icmp,
            local,
            error: OsError::from(&error),
        });
    }

    fn note(&self, stray: StrayError) {
        self.trace.note(stray);
        self.failed.notify_one();
    }

    /// An error of a system call: the pending one of an earlier ICMP message, which the queue
    /// explains, or this very call's own.
    ///
    /// Returns whether it was a pending one, so that the call is worth repeating.
    fn note_call(&self, error: &io::Error, call: Call) -> bool {
        let mut explained = false;
        while let Ok(queued) = os::next_queued_error(&self.io) {
            explained |= Some(queued.errno) == error.raw_os_error();
            self.note_queued(queued);
        }
        let behind = os::behind(error, Transport::Udp, self.remote);
        // What comes in is somebody's answer. To send is this host's own affair, but for the answer of a
        // closed port that is told late.
        let is_answer = |icmp: &IcmpError| call == Call::Receive || icmp.is_port_unreachable();
        if behind == Some(ErrorOrigin::Unknown) && call == Call::Receive {
            return true;
        }
        if let Some(icmp) = behind.and_then(ErrorOrigin::icmp).filter(is_answer) {
            explained = true;
            self.note(StrayError {
                at_ms: self.trace.elapsed().into(),
                icmp: Some(icmp),
                local: false,
                error: OsError::from(error),
            });
        }
        if !explained && !self.is_pending(error) {
            let error = OsError::from(error);
            self.note(StrayError {
                at_ms: self.trace.elapsed().into(),
                icmp: None,
                local: true,
                error,
            });
        }
        explained || self.is_pending(error)
    }

    /// An error that the watcher has already taken from the queue, and the socket still reports.
    fn is_pending(&self, error: &io::Error) -> bool {
        let code = error.raw_os_error();
        let explains = |stray: &StrayError| stray.icmp.is_some() && stray.error.code == code;
        self.trace.with(|state| state.stray.iter().any(explains))
    }

    fn send_once(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.io.try_io(Interest::WRITABLE, || {
            self.datagrams.send(&self.io, transmit)
        })
    }

    fn receive(&self, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> io::Result<usize> {
        let count = self.io.try_io(Interest::READABLE, || {
            self.datagrams.receive(&self.io, self.remote, bufs, meta)
        })?;
        let datagrams: usize = meta
            .iter()
            .take(count)
            .map(|m| {
                if m.stride == 0 {
                    1
                } else {
                    m.len.div_ceil(m.stride)
                }
            })
            .sum();
        let first = bufs.first().zip(meta.first());
        let first = first.and_then(|(buf, meta)| buf.get(..meta.len));
        self.trace.contact();
        self.trace.with(|state| {
            state.foreign = match (state.received, first) {
                (0, Some(datagram)) if is_foreign(datagram) => Some(datagram.to_vec()),
                (0, _) => None,
                _ => state
                    .foreign
                    .take()
                    .filter(|_| first.is_some_and(is_foreign)),
            };
            state.received += u32::try_from(datagrams).unwrap_or(u32::MAX);
        });
        Ok(count)
    }
}

/// A system call that has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Send,
    Receive,
}

/// Whether a datagram is plain text, and so no QUIC packet, whose octets are encrypted. Nothing less
/// says so: where the first packets of an answer are lost, it may begin with any other.
fn is_foreign(datagram: &[u8]) -> bool {
    const ENOUGH: usize = 16;
    let text = |octet: &u8| octet.is_ascii_graphic() || octet.is_ascii_whitespace();
    datagram.len() >= ENOUGH && datagram.iter().take(2 * ENOUGH).all(text)
}

impl AsyncUdpSocket for ProbeSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Writable(self))
    }

    /// Errors are noted and hidden from quinn, which would end the connection on the first.
    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.trace.begin();
        // A pending error costs a call each; more than a few in a row are no pending ones.
        for _ in 0..4 {
            match self.send_once(transmit) {
                Ok(()) => {
                    self.trace.with(|state| state.sent += 1);
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(error) => {
                    if !self.note_call(&error, Call::Send) {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.io.poll_recv_ready(cx))?;
            match self.receive(bufs, meta) {
                Ok(count) => return Poll::Ready(Ok(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    self.note_call(&error, Call::Receive);
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    fn max_receive_segments(&self) -> usize {
        self.datagrams.most_at_once()
    }

    fn may_fragment(&self) -> bool {
        self.datagrams.may_fragment()
    }
}

impl fmt::Debug for ProbeSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeSocket")
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}

/// Write readiness; a probe's socket has one writer.
struct Writable(Arc<ProbeSocket>);

impl UdpPoller for Writable {
    fn poll_writable(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.io.poll_send_ready(cx)
    }
}

impl fmt::Debug for Writable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writable")
    }
}
