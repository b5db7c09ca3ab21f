//! TCP, TLS on it, and what is spoken above: the edge's HTTP/2 preface or an HTTPS request.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::Type;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::classify::{self, ErrorOrigin, is_own_address};
use super::trust::Trust;
use super::{Trace, awake, certificate_name, new_socket, next_icmp, os};
use crate::catalog;
use crate::model::{
    ContactFailure, HandshakeFailure, OsError, Outcome, Profile, Secured, Service, StrayError,
    Transport,
};

/// One fresh TCP flow: where to, and what to say.
#[derive(Debug, Clone)]
pub struct StreamProbe {
    /// The other side.
    pub remote: SocketAddr,
    /// The local address to bind to, if one was asked for.
    pub bind: Option<IpAddr>,
    /// The server name to present.
    pub sni: String,
    /// `Http2` for the tunnel, `Https` for anything else.
    pub service: Service,
    /// Which first flight to send.
    pub profile: Profile,
}

/// Runs the probe to its end. It has no deadline of its own: dropping it gives it up, and `trace`
/// tells how far it came.
pub async fn probe(probe: &StreamProbe, trust: &Trust, own: &[IpAddr], trace: &Trace) -> Outcome {
    let segment = (probe.profile == Profile::SmallPackets).then_some(catalog::SMALL_SEGMENT);
    let stream = match connect_in(probe.remote, probe.bind, segment, own, trace).await {
        Ok(stream) => stream,
        Err(failure) => return Outcome::Unanswered { failure },
    };
    trace.contact();
    let stream = SoftErrors {
        stream,
        trace: trace.clone(),
        received: Vec::new(),
    };
    match secure(stream, probe, trust, trace).await {
        Ok(secured) => Outcome::Secured { secured },
        Err(failure) => Outcome::Unsecured { failure },
    }
}

/// A TCP handshake whose failure is named with the evidence of the error queue.
pub(super) async fn connect(
    remote: SocketAddr,
    own: &[IpAddr],
    trace: &Trace,
) -> Result<TcpStream, ContactFailure> {
    connect_in(remote, None, None, own, trace).await
}

/// The same from a local address, or in segments of so many octets at most.
async fn connect_in(
    remote: SocketAddr,
    bind: Option<IpAddr>,
    segment: Option<u32>,
    own: &[IpAddr],
    trace: &Trace,
) -> Result<TcpStream, ContactFailure> {
    trace.begin();
    let stream =
        start_connect(remote, bind, segment).map_err(|error| classify::local_error(&error))?;
    let other = |error: io::Error| ContactFailure::Other {
        error: OsError::from(&error),
    };
    stream.writable().await.map_err(other)?;
    let failed = match stream.take_error().map_err(other)? {
        Some(error) => error,
        // Writable without an error and without a peer would be a spurious wake-up of the poller.
        None => match stream.peer_addr() {
            Ok(_) => return Ok(stream),
            Err(error) => error,
        },
    };
    let local = stream.local_addr().ok().map(|address| address.ip());
    let queued = next_icmp(&stream).map(ErrorOrigin::Icmp);
    let behind = queued.or_else(|| os::behind(&failed, Transport::Tcp, remote));
    Err(match behind {
        Some(ErrorOrigin::Icmp(icmp)) => {
            let from_us = icmp
                .from
                .is_some_and(|from| is_own_address(from, local, own));
            classify::icmp_failure(icmp, from_us, trace.elapsed(), OsError::from(&failed))
        }
        Some(ErrorOrigin::Unknown) => other(failed),
        None => classify::connect_error(&failed),
    })
}

fn start_connect(
    remote: SocketAddr,
    bind: Option<IpAddr>,
    segment: Option<u32>,
) -> io::Result<TcpStream> {
    let socket = new_socket(remote, bind, Type::STREAM)?;
    if let Some(octets) = segment {
        os::limit_segments(&socket, octets)?;
    }
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&remote.into()) {
        Ok(()) => {}
        Err(error) if is_in_progress(&error) => {}
        Err(error) => return Err(error),
    }
    TcpStream::from_std(socket.into())
}

fn is_in_progress(error: &io::Error) -> bool {
    #[cfg(unix)]
    let in_progress = error.raw_os_error() == Some(nix::errno::Errno::EINPROGRESS as i32);
    #[cfg(not(unix))]
    let in_progress = false;
    in_progress || error.kind() == io::ErrorKind::WouldBlock
}

async fn secure(
    stream: SoftErrors,
    probe: &StreamProbe,
    trust: &Trust,
    trace: &Trace,
) -> Result<Secured, HandshakeFailure> {
    let name = server_name(&probe.sni)?;
    let config = match (probe.service, probe.profile) {
        (Service::Https, _) => &trust.https_tcp,
        (_, Profile::SmallHello) => &trust.small_tcp,
        _ => &trust.tunnel_tcp,
    };
    let mut tls = handshake(stream, name, config).await?;
    let (_, session) = tls.get_ref();
    let chain = session.peer_certificates().unwrap_or_default();
    let name = certificate_name(probe.profile, probe.service, &probe.sni);
    let name = server_name(name)?;
    let judged = match probe.service {
        Service::Https => trust.judge_https(chain, &name),
        Service::Http2 | Service::Quic => trust.judge_edge(chain, &name),
    };
    judged.map_err(|chain| HandshakeFailure::Untrusted { chain })?;
    trace.handshake();
    let mut secured = describe(session);
    let timeout = answer_timeout(trace);
    match probe.service {
        Service::Https => match awake::within(timeout, http_status(&mut tls, &probe.sni)).await {
            Some(Ok(status)) => secured.http_status = Some(status),
            Some(Err(error)) => secured.http_error = Some(error.to_string()),
            None => secured.http_error = Some(format!("no HTTP response in {timeout:.1?}")),
        },
        Service::Http2 | Service::Quic => secured.preface = Some(preface(&mut tls, timeout).await),
    }
    Ok(secured)
}

fn server_name(name: &str) -> Result<ServerName<'static>, HandshakeFailure> {
    ServerName::try_from(name.to_owned()).map_err(|error| HandshakeFailure::Other {
        error: error.to_string(),
    })
}

/// A TLS handshake that keeps what the other side sent first, for the case that it is no TLS.
async fn handshake(
    stream: SoftErrors,
    name: ServerName<'static>,
    config: &Arc<ClientConfig>,
) -> Result<TlsStream<SoftErrors>, HandshakeFailure> {
    let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
    let mut connecting = pin!(connector.connect(name, stream).into_fallible());
    // An ICMP error does not wake a reader: it is looked for now and then.
    let mut look = tokio::time::interval(Duration::from_millis(200));
    let connected = loop {
        tokio::select! {
            connected = &mut connecting => break connected,
            _ = look.tick() => {}
        }
    };
    connected.map_err(|(error, stream)| classify::tls_error(&error, &stream.received))
}

fn describe(session: &rustls::ClientConnection) -> Secured {
    let leaf = session.peer_certificates().and_then(<[_]>::first);
    Secured {
        version: session
            .protocol_version()
            .map_or_else(String::new, |v| format!("{v:?}")),
        group: session
            .negotiated_key_exchange_group()
            .map(|group| format!("{:?}", group.name())),
        alpn: session
            .alpn_protocol()
            .map(|alpn| String::from_utf8_lossy(alpn).into_owned()),
        issuer: classify::issuer_of(leaf),
        preface: None,
        http_status: None,
        http_error: None,
    }
}

/// How long to wait for what only informs: a few round trips, so that it never holds up a verdict.
fn answer_timeout(trace: &Trace) -> Duration {
    let round_trip = trace.state().contact.unwrap_or_default();
    (Duration::from_millis(250) + 5 * round_trip).min(Duration::from_secs(2))
}

/// Whether the edge, which is the HTTP/2 client here, opens with its preface (RFC 9113, section 3.4).
async fn preface(tls: &mut TlsStream<SoftErrors>, timeout: Duration) -> bool {
    const START: &[u8] = b"PRI * HTTP/2.0\r\n";
    let mut received = [0; START.len()];
    let read = awake::within(timeout, tls.read_exact(&mut received)).await;
    matches!(read, Some(Ok(_))) && received == START
}

/// Asks for the root page and reads the status of the answer.
async fn http_status(tls: &mut TlsStream<SoftErrors>, host: &str) -> io::Result<u16> {
    const LIMIT: usize = 16 * 1024;
    let version = env!("CARGO_PKG_VERSION");
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: tunnelcheck/{version}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    tls.write_all(request.as_bytes()).await?;
    tls.flush().await?;
    let mut head = Vec::new();
    loop {
        if let (Some(status), _) = classify::http_head(&head) {
            return Ok(status);
        }
        if head.len() >= LIMIT {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the answer is not an HTTP response",
            ));
        }
        if tls.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// An established flow that keeps the first octets that it received, and goes on after an ICMP error
/// as every ordinary client's does. Only because of the socket's error queue does the error surface
/// at all (which for an established flow has no more to tell), and it may be forged.
struct SoftErrors {
    stream: TcpStream,
    trace: Trace,
    received: Vec<u8>,
}

impl SoftErrors {
    const KEPT: usize = 1024;

    /// Notes an ICMP error behind a failed call; then the call is worth repeating.
    fn is_soft(&self, error: &io::Error) -> bool {
        let soft = classify::is_soft(error);
        if soft {
            self.trace.note(StrayError {
                at_ms: self.trace.elapsed().into(),
                icmp: None,
                local: false,
                error: OsError::from(error),
            });
        }
        soft
    }
}

impl AsyncRead for SoftErrors {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        loop {
            let error = match Pin::new(&mut self.stream).poll_read(cx, buffer) {
                Poll::Ready(Ok(())) => break,
                Poll::Ready(Err(error)) => error,
                Poll::Pending => match self.stream.take_error()? {
                    Some(error) => error,
                    None => return Poll::Pending,
                },
            };
            if !self.is_soft(&error) {
                return Poll::Ready(Err(error));
            }
        }
        let room = Self::KEPT.saturating_sub(self.received.len());
        let new = buffer.filled().get(before..).unwrap_or_default();
        self.received
            .extend_from_slice(new.get(..room.min(new.len())).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SoftErrors {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, data)) {
                Err(error) if self.is_soft(&error) => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
